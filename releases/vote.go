package releases

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	At     time.Time // when it was cast; roles are those of then or later
}

// Vote casts a vote. A plan that has all it needs is approved in the same transaction; one that is rejected ends. The
// release is returned as it then is, also with an error.
func (s *Service) Vote(ctx context.Context, b Ballot) (r Release, err error) {
	action := "vote.reject"
	if b.Yes {
		action = "vote.approve"
	}
	if r, err = s.Release(ctx, b.ReleaseID); err != nil {
		return r, err
	}
	record := s.by(b.By, action).about(r)
	voter, err := s.voter(ctx, r, b)
	if err != nil {
		return r, s.refusing(ctx, record, err)
	}
	if b.Reason, err = plainText("reason", b.Reason); err != nil {
		return r, err
	}
	record.Detail = b.Reason
	now, requester := s.asNow(ctx, r, b.At), s.stillMay(ctx, r, b.At)
	if KindOf(requester) == Unavailable && b.Yes {
		return r, s.refusing(ctx, record, requester)
	}
	var refused error // with something written all the same
	err = s.store.Update(ctx, func(tx Tx) error {
		refused = nil
		if r, err = tx.Release(b.ReleaseID); err != nil {
			return err
		}
		record = s.by(voter.self, action).about(r)
		record.Detail = b.Reason
		if r.Status == Waiting && r.expired(s.now()) {
			refused = Errorf(Stale, "%s waited for approvals until %s and has expired; ask for it again", r.ID, r.Expires.UTC().Format(clock))
			r, err = s.expire(tx, r)
			return err
		}
		if KindOf(requester) == NotAllowed && b.Yes && r.Status == Waiting {
			refused = Errorf(Stale, "%s was asked for by %s, who has no right to any more, so it is over", r.ID, r.RequestedBy.Name)
			return s.forsaken(tx, r)
		}
		r, err = s.cast(tx, r, b, voter, now, record)
		return err
	})
	if err == nil {
		s.wake()
		err = refused
	}
	if err != nil {
		return r, s.refusing(ctx, record, err)
	}
	return r, nil
}

// voter is somebody who votes, and those on whose behalf they may.
type voter struct {
	self   Actor
	denied error // why they may not by themselves
	behalf []Actor
}

// voter finds out with whose rights somebody may vote on the release.
func (s *Service) voter(ctx context.Context, r Release, b Ballot) (v voter, err error) {
	if err := b.By.SpeaksFor(r.Version.RepositoryName); err != nil {
		return v, err
	}
	v.self, v.denied = s.allow(ctx, b.By, VerbApprove, r.App, r.Env, b.At)
	var all []Delegation
	if err := s.store.View(ctx, func(tx Tx) error { all, err = tx.Delegations(); return err }); err != nil {
		return v, err
	}
	for _, d := range all {
		if !d.To.Is(v.self) || !s.now().Before(d.Until) {
			continue
		}
		from, denied := s.allow(ctx, d.From, VerbApprove, r.App, r.Env, b.At)
		if denied == nil {
			v.behalf = append(v.behalf, from)
		} else if KindOf(denied) == Unavailable && v.denied != nil {
			v.denied = Errorf(Unavailable, "whether %s, for whom you vote, may approve cannot be told now, so nothing was done: %s; try again in a moment", from.Name, from.Doubt)
		}
	}
	if v.denied != nil && len(v.behalf) == 0 {
		return v, v.denied
	}
	return v, nil
}

// vote is the voter's under the rule: their own when it counts, or on behalf of the first for whom it does.
func (v voter) vote(rule Approval, r Release, b Ballot, at time.Time) (Vote, error) {
	own := Vote{By: v.self, Yes: b.Yes, Reason: b.Reason, Digest: r.Plan.Digest, At: at}
	err := v.denied
	if err == nil {
		if err = rule.Counts(r, own); err == nil {
			return own, nil
		}
	}
	for _, from := range v.behalf {
		other := own
		other.For = &from
		if behalf := rule.Counts(r, other); behalf == nil {
			return other, nil
		} else if v.denied != nil {
			err = behalf
		}
	}
	if v.self.Doubt != "" {
		return own, Errorf(Unavailable, "whether you may vote on %s cannot be told now, so nothing was done: %s; try again in a moment", r.ID, v.self.Doubt)
	}
	return own, err
}

// cast counts the vote, or says why it cannot be.
func (s *Service) cast(tx Tx, r Release, b Ballot, by voter, now func(Actor) Actor, record Record) (Release, error) {
	if err := r.votable(b); err != nil {
		return r, err
	}
	env, err := s.environment(r.Env)
	if err != nil {
		return r, err
	}
	rule := s.rule(r, env)
	if b.Yes && len(rule.Needs) == 0 {
		return r, Errorf(Conflict, "%s needs no approval; it waits because %s", r.ID, r.Reason)
	}
	if err := r.refresh(rule, now, b.Yes); err != nil {
		return r, err
	}
	vote, err := by.vote(rule, r, b, s.now())
	if err != nil {
		return r, err
	}
	if vote.For != nil {
		record.Detail = strings.TrimSpace("on behalf of " + vote.For.Name + " " + record.Detail)
	}
	if err := s.record(tx, record); err != nil {
		return r, err
	}
	return s.count(tx, r, env, vote)
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

// asNow looks up who asked and voted, with the roles that let them vote, at or after the moment. The function that it
// returns answers for those; somebody else came a moment ago, and was looked up then.
func (s *Service) asNow(ctx context.Context, r Release, since time.Time) func(Actor) Actor {
	if since.IsZero() {
		since = s.now()
	}
	people := map[string]Actor{}
	look := func(a Actor) {
		if _, known := people[a.account()]; !known {
			people[a.account()] = s.access.Fresh(ctx, a, VerbApprove, r.App, r.Env, since)
		}
	}
	look(r.RequestedBy)
	for _, v := range r.Standing() {
		for _, a := range v.people() {
			look(a)
		}
	}
	return func(a Actor) Actor {
		if now, ok := people[a.account()]; ok {
			return now
		}
		return a
	}
}

// account tells the accounts of one person apart: at the console they may more than in a chat.
func (a Actor) account() string { return a.Via + " " + a.User + " " + a.Identity() }

// refresh puts those who asked and voted before as they are now. When that cannot be told of somebody whose vote would
// count, nothing is decided.
func (r *Release) refresh(rule Approval, now func(Actor) Actor, deciding bool) error {
	r.RequestedBy = now(r.RequestedBy)
	votes := slices.Clone(r.Standing())
	for i, v := range votes {
		votes[i].By = now(v.By)
		doubt := votes[i].By.Doubt
		if v.For != nil {
			from := now(*v.For)
			votes[i].For, doubt = &from, from.Doubt
		}
		if deciding && doubt != "" && rule.Counts(*r, votes[i]) != nil {
			return Errorf(Unavailable, "whether the approval of %s still counts cannot be told now, so nothing was done: %s; try again in a moment", v.By.Name, doubt)
		}
	}
	r.Votes = votes
	return nil
}

// AsItIs tells how a release stands, for whoever comes late.
func (r Release) AsItIs() string {
	text := fmt.Sprintf("%s is %s", r.ID, r.Status)
	switch names := namesOf(r.Approvals()); {
	case r.Status == Proposed:
		return text + ": its plan is being made; look again in a moment"
	case r.Status == Waiting:
		return text + ": " + r.Reason
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

// namesOf are the people behind votes, for sentences.
func namesOf(votes []Vote) string {
	var names []string
	for _, v := range votes {
		names = append(names, v.Name())
	}
	return strings.Join(names, " and ")
}

// Name is who voted, and on whose behalf.
func (v Vote) Name() string {
	if v.For != nil {
		return v.By.Name + " for " + v.For.Name
	}
	return v.By.Name
}

// count adds the vote and moves the release on if that decides it.
func (s *Service) count(tx Tx, r Release, env Environment, vote Vote) (Release, error) {
	rule := s.rule(r, env)
	// Those of people who may no longer vote fall, and a person has one vote.
	votes, err := s.fallen(tx, r, r.Standing(), func(v Vote) bool { return v.shares(vote) || rule.Counts(r, v) != nil })
	if err != nil {
		return r, err
	}
	r.Votes = append(votes, vote)
	r.Approval = &rule
	if !vote.Yes {
		reason := "rejected by " + vote.Name()
		if vote.Reason != "" {
			reason += ": " + vote.Reason
		}
		return s.end(tx, r, Rejected, reason)
	}
	CrashPoint("vote.counted")
	before := r.Reason
	r, err = s.settle(tx, r, env)
	if err == nil && r.Status == Waiting {
		if r.Reason == before {
			r = r.note(r.Reason, s.now())
		}
		s.log.Info("vote", "release", r.ID, "app", r.App, "env", r.Env, "by", vote.By.Name, "standing", r.Reason)
		err = s.save(tx, r)
	}
	return r, err
}

// fallen takes the votes away for which gone is true, and notes in the audit that they fell.
func (s *Service) fallen(tx Tx, r Release, votes []Vote, gone func(Vote) bool) (left []Vote, err error) {
	var names []string
	for _, v := range votes {
		if !gone(v) {
			left = append(left, v)
			continue
		}
		names = append(names, v.Name())
	}
	if len(names) == 0 {
		return left, nil
	}
	record := s.by(itself(), "vote.fallen").about(r)
	record.Detail = "of " + strings.Join(names, ", ")
	return left, s.record(tx, record)
}

// settle looks at what keeps a waiting release back: nothing lets it go, in the same transaction. Otherwise it is
// returned with what does, and not saved.
func (s *Service) settle(tx Tx, r Release, env Environment) (Release, error) {
	c, err := s.controls(tx, r, env)
	if err != nil {
		return r, err
	}
	now, was := s.now(), r.Queued()
	if r.Blocks = Gate(r, c, now); was && !queued(r.Blocks) { // it is looked at anew; votes for the same plan stand
		return s.move(tx, r, Proposed, "what kept it back is over; planning again")
	}
	if len(r.Blocks) == 0 {
		return s.move(tx, r, Approved, r.freed())
	}
	if r = r.waitFor(now); r.Reason != reasonOf(r.Blocks) {
		r = r.note(reasonOf(r.Blocks), now)
	}
	return r, nil
}

// freed tells why a release may go out.
func (r Release) freed() string {
	switch {
	case r.broken():
		return fmt.Sprintf("%s and %s broke the glass: %s", r.Glass.By.Name, r.Glass.Second.Name, r.Glass.Reason)
	case len(r.Approvals()) > 0:
		return "approved by " + namesOf(r.Approvals())
	}
	return "no approval is needed"
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

// Cancel takes back a release that is not out yet: who asked for it may, and who may ask for such a one.
func (s *Service) Cancel(ctx context.Context, id, reason string, by Actor, at time.Time) (r Release, err error) {
	if r, err = s.Release(ctx, id); err != nil {
		return r, err
	}
	if reason, err = plainText("reason", reason); err != nil {
		return r, err
	}
	record := s.by(by, "request.cancel").about(r)
	record.Detail = reason
	if err = by.SpeaksFor(r.Version.RepositoryName); err == nil && !r.RequestedBy.Is(by) {
		by, err = s.allow(ctx, by, r.Verb(), r.App, r.Env, at)
	}
	if err != nil {
		return r, s.refusing(ctx, record, err)
	}
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
		if err := s.record(tx, record); err != nil {
			return err
		}
		text := "cancelled by " + by.Name
		if reason != "" {
			text += ": " + reason
		}
		r, err = s.end(tx, r, Cancelled, text)
		return err
	})
	if err != nil {
		return r, s.refusing(ctx, record, err)
	}
	s.wake()
	return r, nil
}

// Verb is the right that asking for such a release needs.
func (r Release) Verb() string {
	if r.Kind == KindRollback {
		return VerbRollback
	}
	return VerbRelease
}
