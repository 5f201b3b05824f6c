package releases

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// GlassAsk is a request to let a release pass what keeps it back.
type GlassAsk struct {
	ReleaseID string
	Digest    string // as in Ballot
	Reason    string // needed of the first person
	Request   string // the same for the same call that comes again
	By        Actor
	At        time.Time
}

// BreakGlass lets a waiting release pass freezes, locks, marks and missing votes. It takes two people who have the right to,
// and a reason; the first call asks, the second, by somebody else, does it.
func (s *Service) BreakGlass(ctx context.Context, ask GlassAsk) (r Release, err error) {
	if r, err = s.Release(ctx, ask.ReleaseID); err != nil {
		return r, err
	}
	record := s.by(ask.By, "glass.asked").about(r)
	if ask.Reason, err = plainText("reason", ask.Reason); err != nil {
		return r, err
	}
	record.Detail = ask.Reason
	by, err := s.allow(ctx, ask.By, VerbBreakGlass, r.App, r.Env, ask.At)
	if err = cmp.Or(err, by.SpeaksFor(r.Version.RepositoryName)); err != nil {
		return r, s.refusing(ctx, record, err)
	}
	var first error // why the one who asked may not any more
	if r.Glass != nil {
		var asker Actor
		if asker, first = s.allow(ctx, r.Glass.By, VerbBreakGlass, r.App, r.Env, ask.At); KindOf(first) == Unavailable {
			first = Errorf(Unavailable, "whether %s, who asked for it, may break the glass cannot be told now, so nothing was done: %s; try again in a moment", asker.Name, asker.Doubt)
		}
	}
	var changed error // with something written all the same
	err = s.store.Update(ctx, func(tx Tx) error {
		changed = nil
		if r, err = tx.Release(ask.ReleaseID); err != nil {
			return err
		}
		switch {
		case r.Glass != nil && ask.Request != "" && r.Glass.Request == ask.Request:
			return nil // it was done in an earlier life
		case r.Status != Waiting:
			return Errorf(Conflict, "%s", r.AsItIs())
		case r.expired(s.now()):
			return Errorf(Stale, "%s waited until %s and has expired; ask for it again", r.ID, r.Expires.UTC().Format(clock))
		}
		if ask.Digest != "" && !strings.HasPrefix(r.Plan.Digest, ask.Digest) {
			return Errorf(Stale, "the plan of %s has changed since that button was drawn, so nothing was done; look at it again: /gimlet diff %s", r.ID, r.ID)
		}
		record = s.by(by, "glass.asked").about(r)
		record.Detail = ask.Reason
		env, err := s.environment(r.Env)
		if err != nil {
			return err
		}
		c, err := s.controls(tx, r, env)
		if err != nil {
			return err
		}
		blocks := Gate(r, c, s.now())
		if r.lapsed(s.now()) && ask.Reason == "" {
			return Errorf(Stale, "%s asked for it more than %s ago, so it lapsed; to ask anew: /gimlet break-glass %s <why>", r.Glass.By.Name, glassFor, r.ID)
		}
		if r.Glass == nil || r.Glass.Digest != r.Plan.Digest || first != nil || r.lapsed(s.now()) {
			if KindOf(first) == Unavailable {
				return first
			}
			return s.askToBreak(tx, &r, ask, by, blocks, record)
		}
		if r.Glass.By.Is(by) {
			return Errorf(Conflict, "you have asked for it; a second person who may break the glass has to agree")
		}
		if unforeseen := r.Glass.unforeseen(blocks); len(unforeseen) > 0 {
			first := r.Glass.By.Name
			anew := ask
			if anew.Reason == "" {
				anew.Reason = r.Glass.Reason
			}
			record.Detail = anew.Reason
			changed = Errorf(Stale, "since %s asked, something else keeps %s back: %s\nYou have asked anew for it to pass that, too; somebody else has to agree", first, r.ID, reasonOf(unforeseen))
			return s.askToBreak(tx, &r, anew, by, blocks, record)
		}
		return s.smash(tx, &r, by, blocks, record)
	})
	if err != nil {
		return r, s.refusing(ctx, record, err)
	}
	s.wake()
	return r, changed
}

// glassFor is how long a second person has to agree.
const glassFor = time.Hour

// lapsed reports whether nobody has agreed in time to break the glass.
func (r Release) lapsed(now time.Time) bool {
	return r.Glass != nil && r.Glass.Second == nil && now.Sub(r.Glass.At) > glassFor
}

// unforeseen are blocks that the first person did not see when they asked.
func (g Glass) unforeseen(blocks []Block) (all []Block) {
	for _, b := range blocks {
		seen := slices.ContainsFunc(g.Passed, func(text string) bool { return strings.Contains(text, b.Text) })
		if b.Kind != BlockVotes && !seen {
			all = append(all, b)
		}
	}
	return all
}

func (s *Service) askToBreak(tx Tx, r *Release, ask GlassAsk, by Actor, blocks []Block, record Record) error {
	if strings.TrimSpace(ask.Reason) == "" {
		return Errorf(Invalid, "reason: missing; why must %s pass what keeps it back (%s)?\nusage: /gimlet break-glass %s <reason …>", r.ID, r.Reason, r.ID)
	}
	r.Glass = &Glass{By: by, Reason: ask.Reason, Digest: r.Plan.Digest, At: s.now(), Request: ask.Request}
	for _, b := range blocks {
		r.Glass.Passed = append(r.Glass.Passed, b.Text)
	}
	if err := s.record(tx, record); err != nil {
		return err
	}
	return s.save(tx, *r)
}

// smash lets the release go.
func (s *Service) smash(tx Tx, r *Release, second Actor, blocks []Block, record Record) error {
	glass := *r.Glass
	glass.Second, glass.Passed = &second, nil
	for _, b := range blocks {
		glass.Passed = append(glass.Passed, b.Text)
	}
	r.Glass = &glass
	record.Action = "glass.broken"
	record.Detail = "asked for by " + glass.By.Name + ": " + glass.Reason + "; passing " + strings.Join(glass.Passed, "; ")
	if err := s.record(tx, record); err != nil {
		return err
	}
	moved, err := s.move(tx, *r, Approved, r.freed())
	*r = moved
	return err
}

// review asks people to look back at a release that has passed what would have kept it.
func (s *Service) review(tx Tx, r Release) error {
	if !r.broken() {
		return nil
	}
	return tx.PutReview(Review{ReleaseID: r.ID, App: r.App, Env: r.Env, Version: r.Version, Glass: *r.Glass, Due: s.nextMorning(s.now())})
}

// SignOff ends the review of a release: somebody who may approve there, and is none of the two who broke the glass, has
// looked at it.
func (s *Service) SignOff(ctx context.Context, releaseID, remark string, by Actor, at time.Time) (v Review, err error) {
	r, err := s.Release(ctx, releaseID)
	if err != nil {
		return v, err
	}
	if remark, err = plainText("remark", remark); err != nil {
		return v, err
	}
	record := s.by(by, "review.signed").about(r)
	record.Detail = remark
	signer, err := s.allow(ctx, by, VerbApprove, r.App, r.Env, at)
	if KindOf(err) == NotAllowed { // who may break the glass may look back at what others broke
		if breaker, denied := s.allow(ctx, by, VerbBreakGlass, r.App, r.Env, at); denied == nil {
			signer, err = breaker, nil
		}
	}
	if err = cmp.Or(err, signer.SpeaksFor(r.Version.RepositoryName)); err != nil {
		return v, s.refusing(ctx, record, err)
	}
	by = signer
	err = s.store.Update(ctx, func(tx Tx) error {
		found, err := tx.Review(releaseID)
		switch {
		case err != nil:
			return err
		case found == nil:
			return Errorf(NotFound, "%s has nothing to review", releaseID)
		case found.SignedBy != nil:
			return Errorf(Conflict, "%s was signed off by %s already", releaseID, found.SignedBy.Name)
		case found.Glass.By.Is(by) || found.Glass.Second.Is(by):
			return Errorf(NotAllowed, "you broke the glass for %s, so somebody else has to sign it off", releaseID)
		}
		v = *found
		v.SignedBy, v.Remark, v.SignedAt = &by, remark, s.now()
		if err := tx.PutReview(v); err != nil {
			return err
		}
		if err := s.record(tx, record); err != nil {
			return err
		}
		return tx.Publish(Outcome{At: s.now(), Kind: ReviewDue, Review: &v})
	})
	return v, s.refusing(ctx, record, err)
}

// Reviews returns what nobody has signed off yet.
func (s *Service) Reviews(ctx context.Context) (all []Review, err error) {
	err = s.store.View(ctx, func(tx Tx) error { all, err = tx.Reviews(); return err })
	return all, err
}
