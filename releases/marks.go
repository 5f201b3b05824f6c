package releases

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// MarkAsk is a request to mark an artifact as one that is not to be released, or to take the mark away.
type MarkAsk struct {
	ArtifactID string
	Reason     string
	By         Actor
	At         time.Time
}

// MarkBad marks an artifact: it is never offered and never released by itself; to release it takes breaking the glass. Who
// may lock one of the places that it is for may mark it.
func (s *Service) MarkBad(ctx context.Context, ask MarkAsk) (m Mark, err error) {
	if ask.Reason, err = plainText("reason", ask.Reason); err != nil {
		return m, err
	}
	if ask.Reason == "" {
		return m, Errorf(Invalid, "reason: missing; whoever wants to release it wants to know why not")
	}
	a, err := s.Artifact(ctx, ask.ArtifactID)
	if err != nil {
		return m, err
	}
	record := s.markRecord(ask, a, "artifact.marked")
	var by Actor
	for _, t := range a.Targets { // one of them is enough
		if by, err = s.allow(ctx, ask.By, VerbLock, t.App, t.Env, ask.At); err == nil {
			break
		}
	}
	if err = cmp.Or(err, ask.By.SpeaksFor(a.Version.RepositoryName)); err != nil {
		return m, s.refusing(ctx, record, err)
	}
	m = Mark{ArtifactID: a.ID, Version: a.Version, Targets: a.Targets, Reason: ask.Reason, By: by, At: s.now()}
	if len(a.Targets) == 0 {
		return m, Errorf(Conflict, "artifact %s has no manifests, so nobody can release it anyway", a.ID)
	}
	return m, s.refusing(ctx, record, s.setMark(ctx, record, m, true))
}

// ClearMark takes the mark away. It takes the right to lock all that the artifact is for.
func (s *Service) ClearMark(ctx context.Context, ask MarkAsk) (m Mark, err error) {
	if ask.Reason, err = plainText("reason", ask.Reason); err != nil {
		return m, err
	}
	a, err := s.Artifact(ctx, ask.ArtifactID)
	if err != nil {
		return m, err
	}
	record := s.markRecord(ask, a, "artifact.cleared")
	by, places := ask.By, slices.DeleteFunc(slices.Clone(a.Targets), func(t Target) bool { _, err := s.environment(t.Env); return err != nil })
	if len(places) == 0 { // none that is known: it takes the right to lock everything
		places = []Target{{App: AllApps, Env: AllEnvironments}}
	}
	for _, t := range places {
		if by, err = s.allow(ctx, ask.By, VerbLock, t.App, t.Env, ask.At); err != nil {
			return m, s.refusing(ctx, record, err)
		}
	}
	if err := ask.By.SpeaksFor(a.Version.RepositoryName); err != nil {
		return m, s.refusing(ctx, record, err)
	}
	m = Mark{ArtifactID: a.ID, Version: a.Version, Targets: a.Targets, Reason: ask.Reason, By: by, At: s.now()}
	return m, s.refusing(ctx, record, s.setMark(ctx, record, m, false))
}

func (s *Service) markRecord(ask MarkAsk, a *Shipped, action string) Record {
	r := s.by(ask.By, action)
	r.Artifact, r.Detail = a.ID, ask.Reason
	if len(a.Targets) > 0 {
		r.App = a.Targets[0].App
	}
	return r
}

func (s *Service) setMark(ctx context.Context, record Record, m Mark, set bool) error {
	err := s.store.Update(ctx, func(tx Tx) error {
		was, err := tx.Mark(m.ArtifactID)
		switch {
		case err != nil:
			return err
		case set && was != nil:
			return Errorf(Conflict, "%s is marked already, by %s: %s", m.Version.Short(), was.By.Name, was.Reason)
		case !set && was == nil:
			return Errorf(NotFound, "%s is not marked as bad", m.Version.Short())
		case set:
			err = tx.PutMark(m)
		default:
			err = tx.ClearMark(m.ArtifactID)
		}
		if err != nil {
			return err
		}
		if err := s.record(tx, record); err != nil {
			return err
		}
		o := Outcome{At: s.now(), Kind: MarkChanged, Mark: &m}
		if !set {
			o.Mark, o.Ended, o.Why = was, m.By.Name, m.Reason
		}
		return tx.Publish(o)
	})
	if err == nil {
		poke(s.watching)
	}
	return err
}

// Marks returns the artifacts that are marked as bad.
func (s *Service) Marks(ctx context.Context) (all []Mark, err error) {
	err = s.store.View(ctx, func(tx Tx) error { all, err = tx.Marks(); return err })
	return all, err
}

// Delegate lets somebody vote on behalf of somebody who is away, until then. A later one takes the place of an earlier.
func (s *Service) Delegate(ctx context.Context, d Delegation) error {
	now := s.now()
	switch {
	case d.From.Is(d.To):
		return Errorf(Invalid, "person: that is you")
	case d.From.Root:
		return Errorf(Invalid, "a token that may do everything has nothing to delegate")
	case !now.Before(d.Until):
		return Errorf(Invalid, "until: %s is over", Moment(d.Until, s.zone))
	case d.Until.Sub(now) > maxLock:
		return Errorf(Invalid, "until: %s is more than %d days away", Moment(d.Until, s.zone), int(maxLock.Hours()/24))
	}
	d.At = now
	var err error
	if d.Reason, err = plainText("reason", d.Reason); err != nil {
		return err
	}
	record := s.by(d.From, "delegation.set")
	record.Detail = "to " + d.To.Name + " until " + d.Until.UTC().Format(time.RFC3339)
	if d.Reason != "" {
		record.Detail += ": " + d.Reason
	}
	return s.store.Update(ctx, func(tx Tx) error {
		if _, err := s.endDelegation(tx, d.From); err != nil {
			return err
		}
		if err := tx.PutDelegation(d); err != nil {
			return err
		}
		if err := s.record(tx, record); err != nil {
			return err
		}
		return tx.Publish(Outcome{At: now, Kind: DelegationSet, Delegation: &d})
	})
}

// EndDelegation takes it back.
func (s *Service) EndDelegation(ctx context.Context, by Actor) error {
	return s.store.Update(ctx, func(tx Tx) error {
		ended, err := s.endDelegation(tx, by)
		if err == nil && !ended {
			return Errorf(NotFound, "you have delegated nothing")
		}
		return err
	})
}

// endDelegation takes back what somebody has delegated, by whatever account of theirs.
func (s *Service) endDelegation(tx Tx, by Actor) (ended bool, err error) {
	all, err := tx.Delegations()
	if err != nil {
		return false, err
	}
	for _, d := range all {
		if !d.From.Is(by) {
			continue
		}
		record := s.by(by, "delegation.ended")
		record.Detail = "to " + d.To.Name
		if err := errors.Join(tx.ClearDelegation(d.From.Identity()), s.record(tx, record), s.takeBack(tx, d)); err != nil {
			return false, err
		}
		ended = true
	}
	return ended, nil
}

// takeBack has the votes fall that were cast on somebody's behalf, of releases that are not out yet.
func (s *Service) takeBack(tx Tx, d Delegation) error {
	open, err := tx.OpenReleases()
	if err != nil {
		return err
	}
	for _, r := range open {
		left, err := s.fallen(tx, r, r.Votes, func(v Vote) bool { return v.For != nil && v.For.Is(d.From) && v.By.Is(d.To) })
		if err != nil {
			return err
		}
		if len(left) == len(r.Votes) || r.Status == Publishing {
			continue
		}
		r.Votes = left
		if err := tx.PutRelease(r); err != nil {
			return err
		}
	}
	return nil
}

// Delegations returns those that are in force.
func (s *Service) Delegations(ctx context.Context) (all []Delegation, err error) {
	err = s.store.View(ctx, func(tx Tx) error { all, err = tx.Delegations(); return err })
	return slices.DeleteFunc(all, func(d Delegation) bool { return !s.now().Before(d.Until) }), err
}
