package releases

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Ballot is a vote to be cast.
type Ballot struct {
	ReleaseID string
	// Digest is the plan that the voter saw, or the beginning of its digest; "" means the one that waits now.
	Digest string
	Yes    bool
	Reason string
	By     Actor
	// Now says who somebody is now who asked or voted before, with the roles that they have. When nil they are who they were.
	Now func(Actor) Actor
}

// Vote casts a vote. A plan that has all it needs is approved in the same transaction; one that is rejected ends. The
// release is returned as it then is, also with an error.
func (s *Service) Vote(ctx context.Context, b Ballot) (r Release, err error) {
	if b.Now == nil {
		b.Now = func(a Actor) Actor { return a }
	}
	var refused error // with something written all the same
	err = s.store.Update(ctx, func(tx Tx) error {
		refused = nil
		if r, err = tx.Release(b.ReleaseID); err != nil {
			return err
		}
		now := s.now()
		if r.Status == Waiting && r.expired(now) {
			refused = Errorf(Stale, "%s waited for approvals until %s and has expired; ask for it again", r.ID, r.Expires.UTC().Format(clock))
			r, err = s.expire(tx, r)
			return err
		}
		if err := r.votable(b); err != nil {
			return err
		}
		env, err := s.environment(r.Env)
		if err != nil {
			return err
		}
		rule := env.Approval
		if err := r.refresh(b, rule); err != nil {
			return err
		}
		if err := rule.Eligible(r, b.By); err != nil && b.By.Doubt != "" {
			return Errorf(Unavailable, "whether you may vote on %s cannot be told now, so nothing was done: %s; try again in a moment", r.ID, b.By.Doubt)
		} else if err != nil {
			return err
		}
		r, err = s.count(tx, r, rule, b)
		return err
	})
	if err == nil {
		s.wake()
	}
	if err == nil && refused != nil {
		err = refused
	}
	return r, err
}

// clock is how a moment is told in sentences.
const clock = "2006-01-02 15:04 MST"

// votable returns what keeps anybody from voting on the release now.
func (r Release) votable(b Ballot) error {
	if r.Status != Waiting {
		return Errorf(Conflict, "%s", r.AsItIs())
	}
	if b.Digest != "" && !strings.HasPrefix(r.Plan.Digest, b.Digest) {
		return Errorf(Stale, "the plan of %s has changed since that button was drawn, so nothing was decided; look at it again: /gimlet diff %s", r.ID, r.ID)
	}
	for _, v := range r.Standing() {
		if v.By.Is(b.By) && v.Yes == b.Yes {
			return Errorf(Conflict, "your approval of %s counts already: %s", r.ID, r.Reason)
		}
	}
	return nil
}

// refresh puts those who asked and voted before as they are now. When that cannot be told of somebody whose vote would
// count, nothing is decided.
func (r *Release) refresh(b Ballot, rule Approval) error {
	r.RequestedBy = b.Now(r.RequestedBy)
	votes := r.Standing()
	for i, v := range votes {
		votes[i].By = b.Now(v.By)
		if b.Yes && votes[i].By.Doubt != "" && rule.Eligible(*r, votes[i].By) != nil {
			return Errorf(Unavailable, "whether the approval of %s still counts cannot be told now, so nothing was done: %s; try again in a moment", v.By.Name, votes[i].By.Doubt)
		}
	}
	r.Votes = votes
	return nil
}

// AsItIs tells how a release stands, for whoever comes late.
func (r Release) AsItIs() string {
	text := fmt.Sprintf("%s is %s", r.ID, r.Status)
	switch names := namesOf(r.Approvers()); {
	case r.Status == Proposed:
		return text + ": its plan is being made; look again in a moment"
	case r.Status == Approved || r.Status == Publishing || r.Status == Published:
		if names != "" {
			text += fmt.Sprintf(", approved by %s at %s", names, r.Decided().UTC().Format(clock))
		}
	case r.Reason != "":
		text += ": " + r.Reason
	}
	return text + "; there is nothing to decide any more"
}

// Decided is when the release stopped waiting for votes; zero when it never waited or still does.
func (r Release) Decided() (at time.Time) {
	for i, step := range r.Steps {
		if i > 0 && r.Steps[i-1].Status == Waiting && step.Status != Waiting {
			at = step.At
		}
	}
	return at
}

func namesOf(actors []Actor) string {
	var names []string
	for _, a := range actors {
		names = append(names, a.Name)
	}
	return strings.Join(names, " and ")
}

// count adds the vote and moves the release on if that decides it.
func (s *Service) count(tx Tx, r Release, rule Approval, b Ballot) (Release, error) {
	var votes []Vote
	for _, v := range r.Standing() { // those of people who may no longer vote have fallen, and a person has one vote
		if !v.By.Is(b.By) && rule.Eligible(r, v.By) == nil {
			votes = append(votes, v)
		}
	}
	r.Votes = append(votes, Vote{By: b.By, Yes: b.Yes, Reason: b.Reason, Digest: r.Plan.Digest, At: s.now()})
	r.Approval = &rule
	if !b.Yes {
		reason := "rejected by " + b.By.Name
		if b.Reason != "" {
			reason += ": " + b.Reason
		}
		return s.end(tx, r, Rejected, reason)
	}
	met, reason := rule.Met(r)
	CrashPoint("vote.counted")
	if met {
		return s.move(tx, r, Approved, "approved by "+namesOf(r.Approvers()))
	}
	r = r.note(reason, s.now())
	s.log.Info("vote", "release", r.ID, "app", r.App, "env", r.Env, "by", b.By.Name, "standing", reason)
	return r, s.save(tx, r)
}

// end takes a release out of its life before it was published.
func (s *Service) end(tx Tx, r Release, to Status, reason string) (Release, error) {
	if err := errors.Join(tx.PutFiles(r.ID, nil), tx.PutDiff(r.ID, "")); err != nil {
		return r, err
	}
	return s.move(tx, r, to, reason)
}

func (r Release) expired(now time.Time) bool { return !r.Expires.IsZero() && !now.Before(r.Expires) }

func (s *Service) expire(tx Tx, r Release) (Release, error) {
	return s.end(tx, r, Expired, fmt.Sprintf("nobody decided until %s (%s)", r.Expires.UTC().Format(clock), r.Reason))
}

// Cancel takes back a release that is not out yet.
func (s *Service) Cancel(ctx context.Context, id, reason string, by Actor) (r Release, err error) {
	err = s.store.Update(ctx, func(tx Tx) error {
		if r, err = tx.Release(id); err != nil {
			return err
		}
		switch r.Status {
		case Proposed, Waiting, Approved:
		case Publishing:
			return Errorf(Conflict, "%s is being pushed right now; to take it back: /rollback %s %s", r.ID, r.App, r.Env)
		case Published:
			return Errorf(Conflict, "%s is live already; to take it back: /rollback %s %s", r.ID, r.App, r.Env)
		default:
			return Errorf(Conflict, "%s", r.AsItIs())
		}
		text := "cancelled by " + by.Name
		if reason != "" {
			text += ": " + reason
		}
		r, err = s.end(tx, r, Cancelled, text)
		return err
	})
	if err == nil {
		s.wake()
	}
	return r, err
}

// watch ends what waits for too long, and reminds of what will.
func (s *Service) watch(ctx context.Context) error {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		err := s.look(ctx)
		s.loops.Beat("watch", s.now(), err)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Service) look(ctx context.Context) error {
	// free are those that have waited for votes which the configuration no longer asks for.
	free := func(r Release) bool {
		env, err := s.environment(r.Env)
		return err == nil && env.Approval.Count == 0
	}
	due := func(r Release, now time.Time) bool {
		return r.Status == Waiting && (r.expired(now) || r.toRemind(now) || free(r))
	}
	found := false
	err := s.store.View(ctx, func(tx Tx) error {
		open, err := tx.OpenReleases()
		for _, r := range open {
			found = found || due(r, s.now())
		}
		return err
	})
	if err != nil || !found {
		return err
	}
	return s.store.Update(ctx, func(tx Tx) error {
		open, err := tx.OpenReleases()
		for _, r := range open {
			now := s.now()
			switch {
			case !due(r, now):
			case r.expired(now):
				if _, err := s.expire(tx, r); err != nil {
					return err
				}
			case free(r):
				if _, err := s.move(tx, r, Approved, "no approval is needed any more"); err != nil {
					return err
				}
				s.wake()
			default:
				r.Reminded = now
				if err := tx.PutRelease(r); err != nil {
					return err
				}
				told := r
				if err := tx.Publish(Outcome{At: now, Kind: ApprovalDue, Reminder: &told}); err != nil {
					return err
				}
			}
		}
		return err
	})
}

func (r Release) toRemind(now time.Time) bool {
	if r.Approval == nil || r.Approval.RemindAfter <= 0 || !r.Reminded.IsZero() || len(r.Steps) == 0 {
		return false
	}
	return !now.Before(r.Asked.Add(r.Approval.RemindAfter))
}
