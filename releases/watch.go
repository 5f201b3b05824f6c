package releases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// watch looks at what time changes: what waits for too long, what is no longer kept back, locks and freezes that begin
// and end, reviews that are due.
func (s *Service) watch(ctx context.Context) error {
	w := watcher{Service: s, opened: map[string]time.Time{}, doubts: newRetries()}
	for {
		fault := w.look(ctx)
		next, unknown := w.next(ctx)
		s.loops.Beat("watch", s.now(), errors.Join(fault, unknown))
		wait := s.heartbeat
		if !next.IsZero() {
			wait = max(min(wait, next.Sub(s.now())), time.Millisecond)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.watching:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // being told to stop is no failure
		}
	}
}

// next is the next moment at which something changes by itself: what waits has waited for too long, locks and freezes begin or
// end, the pause between two releases is over. It is the zero time when there is none.
func (w watcher) next(ctx context.Context) (next time.Time, err error) {
	now := w.now()
	could := func(at time.Time) {
		if at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	err = w.store.View(ctx, func(tx Tx) error {
		next = time.Time{}
		open, err := tx.OpenReleases()
		if err != nil {
			return err
		}
		for _, r := range open {
			could(r.Expires)
		}
		locks, err := tx.Locks("")
		if err != nil {
			return err
		}
		for _, l := range locks {
			could(l.Until)
		}
		for _, e := range w.environments {
			could(w.opened[e.Name].Add(e.Pause))
			freezes, err := tx.Freezes(e.Name)
			if err != nil {
				return err
			}
			for _, f := range freezes {
				could(f.Until)
			}
			for _, f := range e.Freezes {
				if _, until, in := f.Window.At(now); in {
					could(until)
				}
				if from, _, ok := f.Window.Next(now); ok {
					could(from)
				}
			}
		}
		return nil
	})
	return next, err
}

// watcher remembers when it last let a queued release of an environment go on, and of which ones that cannot be told.
type watcher struct {
	*Service
	opened map[string]time.Time
	doubts *retries
}

// maxDoubts is how many unanswered questions one look waits for: it has other things to do.
const maxDoubts = 3

// look does its parts apart, so that none keeps the others from being done.
func (w watcher) look(ctx context.Context) error {
	return errors.Join(w.controlsDue(ctx), w.waitingDue(ctx), w.open(ctx))
}

// waitingDue ends what has waited for too long, reminds of what will, and tells when what keeps a release back has changed.
func (w watcher) waitingDue(ctx context.Context) error {
	found := false
	err := w.store.View(ctx, func(tx Tx) error {
		open, err := tx.OpenReleases()
		if err != nil {
			return err
		}
		for _, r := range open {
			if !found && r.Status == Waiting {
				if found, err = w.due(tx, r); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil || !found {
		return err
	}
	return w.store.Update(ctx, func(tx Tx) error {
		open, err := tx.OpenReleases()
		if err != nil {
			return err
		}
		for _, r := range open {
			if r.Status != Waiting {
				continue
			}
			if err := w.attend(tx, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// due reports whether something is to be done about a waiting release, beside letting it go.
func (w watcher) due(tx Tx, r Release) (bool, error) {
	now := w.now()
	if r.expired(now) || r.toRemind(now) || r.lapsed(now) {
		return true, nil
	}
	blocks, err := w.blocks(tx, r)
	return !r.goesOn(blocks) && reasonOf(blocks) != reasonOf(r.Blocks), err
}

// goesOn reports whether a waiting release, with what keeps it back now, is to be looked at anew: nothing does, or only votes
// do, and something else did before.
func (r Release) goesOn(now []Block) bool {
	return len(now) == 0 || (r.Queued() && !queued(now))
}

// blocks is what keeps a waiting release back now. One whose environment has left the configuration is the planner's.
func (w watcher) blocks(tx Tx, r Release) ([]Block, error) {
	env, err := w.environment(r.Env)
	if err != nil {
		return r.Blocks, nil //nolint:nilerr // see above
	}
	c, err := w.controls(tx, r, env)
	if err != nil {
		return nil, err
	}
	return Gate(r, c, w.now()), nil
}

func (w watcher) attend(tx Tx, r Release) error {
	now := w.now()
	if r.expired(now) {
		_, err := w.expire(tx, r)
		return err
	}
	if r.toRemind(now) {
		r.Reminded = now
		if err := tx.PutRelease(r); err != nil {
			return err
		}
		told := r
		if err := tx.Publish(Outcome{At: now, Kind: ApprovalDue, Reminder: &told}); err != nil {
			return err
		}
	}
	blocks, err := w.blocks(tx, r)
	if err != nil {
		return err
	}
	if r.lapsed(now) {
		r.Glass = nil
		r = r.note(r.Reason, now)
		if err := w.save(tx, r); err != nil {
			return err
		}
	}
	if r.goesOn(blocks) || reasonOf(blocks) == reasonOf(r.Blocks) {
		return nil
	}
	r.Blocks = blocks
	if env, err := w.environment(r.Env); err == nil {
		rule := w.rule(r, env)
		r.Approval = &rule
	}
	return w.save(tx, r.waitFor(now).note(reasonOf(blocks), now))
}

// waitFor begins or ends the time in which votes must come: it runs while nothing but votes is missing.
func (r Release) waitFor(now time.Time) Release {
	switch {
	case !r.Needs(BlockVotes) || r.Queued():
		r.Expires = time.Time{}
	case r.Expires.IsZero() && r.Approval != nil && r.Approval.ExpiresAfter > 0:
		r.Asked, r.Expires, r.Reminded = now, now.Add(r.Approval.ExpiresAfter), time.Time{}
	}
	return r
}

func (r Release) toRemind(now time.Time) bool {
	if r.Approval == nil || r.Approval.RemindAfter <= 0 || !r.Reminded.IsZero() || !r.Needs(BlockVotes) || r.Queued() {
		return false
	}
	return !now.Before(r.Asked.Add(r.Approval.RemindAfter))
}

// open lets releases go on that nothing keeps back any more: the oldest of each environment, then, after a pause, the next.
// They are planned again, so that what they were kept with is looked at anew; who asked must still have the right to. One
// of which that cannot be told does not keep the others.
func (w watcher) open(ctx context.Context) error {
	free := map[string][]Release{}
	err := w.store.View(ctx, func(tx Tx) error {
		clear(free)
		open, err := tx.OpenReleases()
		if err != nil {
			return err
		}
		for _, r := range open {
			if r.Status != Waiting {
				continue
			}
			blocks, err := w.blocks(tx, r)
			if err != nil {
				return err
			}
			if r.goesOn(blocks) {
				free[r.Env] = append(free[r.Env], r)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var faults []error
	for name, waiting := range free {
		env, err := w.environment(name)
		if err != nil || w.now().Before(w.opened[name].Add(env.Pause)) {
			continue
		}
		for _, r := range waiting {
			if len(faults) >= maxDoubts || !w.doubts.due(r.ID, w.now()) {
				continue
			}
			moved, err := w.goOn(ctx, r)
			if moved {
				w.opened[name] = w.now()
			}
			if err == nil {
				w.doubts.forget(r.ID)
				if moved {
					break
				}
				continue
			}
			w.doubts.failed(r.ID, w.now())
			faults = append(faults, err)
			w.remark(ctx, r.ID, waitingFor(err))
		}
	}
	return errors.Join(faults...)
}

// goOn has a release planned again that was kept back, unless who asked for it has lost the right to. moved is false when it was not
// there to go on any more.
func (w watcher) goOn(ctx context.Context, r Release) (moved bool, err error) {
	denied := w.stillMay(ctx, r, time.Time{})
	if KindOf(denied) == Unavailable {
		return false, denied
	}
	err = w.store.Update(ctx, func(tx Tx) error {
		moved = false
		current, err := tx.Release(r.ID)
		if err != nil || current.Status != Waiting || current.expired(w.now()) {
			return err
		}
		blocks, err := w.blocks(tx, current)
		if err != nil || !current.goesOn(blocks) {
			return err
		}
		moved = true
		if denied != nil {
			return w.forsaken(tx, current)
		}
		over := slices.DeleteFunc(slices.Clone(current.Blocks), func(b Block) bool { return b.Kind == BlockVotes && len(current.Blocks) > 1 })
		_, err = w.move(tx, current, Proposed, "what kept it back is over ("+reasonOf(over)+"); planning again")
		return err
	})
	if moved = moved && err == nil; moved {
		w.wake()
	}
	return moved, err
}

// stillMay returns an Error unless who asked for the release has the right to now.
func (s *Service) stillMay(ctx context.Context, r Release, since time.Time) error {
	if r.RequestedBy.Via == ViaPolicy {
		return nil
	}
	by, err := s.allow(ctx, r.RequestedBy, r.Verb(), r.App, r.Env, since)
	if KindOf(err) == Unavailable {
		return Errorf(Unavailable, "whether %s, who asked for it, still has the right to cannot be told now (%s)", by.Name, by.Doubt)
	}
	return err
}

// forsaken ends a release whose requester has lost the right to it.
func (s *Service) forsaken(tx Tx, r Release) error {
	reason := fmt.Sprintf("%s asked for it, and has no right to any more", r.RequestedBy.Name)
	if r.RequestedBy.Via == ViaAPI {
		all, err := tx.Tokens()
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(all, func(t Token) bool { return t.Account() == r.RequestedBy.User && !t.expired(s.now()) }) {
			reason = fmt.Sprintf("the token by which %s asked for it has expired or was revoked", r.RequestedBy.Name)
		}
	}
	_, err := s.end(tx, r, Cancelled, reason)
	return err
}

// controlsDue ends locks, tells when freezes begin and end, and reminds.
func (w watcher) controlsDue(ctx context.Context) error {
	write := func(tx Tx) error {
		for _, env := range w.environments {
			if err := w.freezesDue(tx, env); err != nil {
				return err
			}
		}
		return w.locksAndReviewsDue(tx)
	}
	// The same look, with nothing written, says whether a transaction is worth its fsync.
	dry := &dryTx{}
	err := w.store.View(ctx, func(tx Tx) error {
		dry.Tx = tx
		return write(dry)
	})
	if err != nil || !dry.wanted {
		return err
	}
	return w.store.Update(ctx, write)
}

// dryTx notes that something would be written.
type dryTx struct {
	Tx
	wanted bool
}

func (d *dryTx) note() error                      { d.wanted = true; return nil }
func (d *dryTx) PutLock(Lock) error               { return d.note() }
func (d *dryTx) ClearLock(string, string) error   { return d.note() }
func (d *dryTx) PutFreeze(Freeze) error           { return d.note() }
func (d *dryTx) ClearFreeze(string, string) error { return d.note() }
func (d *dryTx) PutReview(Review) error           { return d.note() }
func (d *dryTx) ClearDelegation(string) error     { return d.note() }
func (d *dryTx) PutRecord(Record) error           { return d.note() }
func (d *dryTx) Publish(Outcome) error            { return d.note() }

// freezesDue tells of planned freezes that have begun, and of freezes that are over.
func (w watcher) freezesDue(tx Tx, env Environment) error {
	now := w.now()
	kept, err := tx.Freezes(env.Name)
	if err != nil {
		return err
	}
	for _, p := range env.Freezes {
		from, until, in := p.Window.At(now)
		if !in {
			continue
		}
		f := p.at(env, from, until)
		if slices.ContainsFunc(kept, func(k Freeze) bool { return k.ID == f.ID }) {
			continue
		}
		if err := w.freezeTold(tx, f, "freeze.begun", itself()); err != nil {
			return err
		}
	}
	for _, f := range kept {
		if now.Before(f.Until) {
			continue
		}
		if err := tx.ClearFreeze(f.Env, f.ID); err != nil {
			return err
		}
		if !f.Lifted.IsZero() {
			continue
		}
		if err := w.tellFreeze(tx, f, "freeze.ended", itself()); err != nil {
			return err
		}
	}
	return nil
}

// locksAndReviewsDue ends locks and delegations whose time is over, reminds their owners, and asks for reviews.
func (w watcher) locksAndReviewsDue(tx Tx) error {
	now := w.now()
	locks, err := tx.Locks("")
	if err != nil {
		return err
	}
	for _, l := range locks {
		switch half := l.At.Add(l.Until.Sub(l.At) / 2); {
		case !now.Before(l.Until):
			if err := w.unlock(tx, l, itself(), "its time is over"); err != nil {
				return err
			}
		case l.Reminded.IsZero() && !now.Before(half) && l.Until.Sub(l.At) >= leastReminded:
			l.Reminded = now
			if err := tx.PutLock(l); err != nil {
				return err
			}
			if err := tx.Publish(Outcome{At: now, Kind: LockDue, Lock: &l}); err != nil {
				return err
			}
		}
	}
	delegations, err := tx.Delegations()
	if err != nil {
		return err
	}
	for _, d := range delegations {
		if now.Before(d.Until) {
			continue
		}
		if err := tx.ClearDelegation(d.From.Identity()); err != nil {
			return err
		}
		rec := w.by(itself(), "delegation.ended")
		rec.Detail = d.From.Name + " to " + d.To.Name
		if err := w.record(tx, rec); err != nil {
			return err
		}
	}
	reviews, err := tx.Reviews()
	if err != nil {
		return err
	}
	for _, v := range reviews {
		if now.Before(v.Due) {
			continue
		}
		v.Asked++
		v.Due = w.nextMorning(now)
		if err := tx.PutReview(v); err != nil {
			return err
		}
		if err := tx.Publish(Outcome{At: now, Kind: ReviewDue, Review: &v}); err != nil {
			return err
		}
	}
	return nil
}

// leastReminded is how long a lock must be for its owner to be reminded of it.
const leastReminded = 30 * time.Minute

// nextMorning is when people are asked to look back at what happened: the next day on which they are at work.
func (s *Service) nextMorning(now time.Time) time.Time {
	const hour = 9
	local := now.In(s.zone)
	day := 1
	for weekend := []time.Weekday{time.Saturday, time.Sunday}; slices.Contains(weekend, local.AddDate(0, 0, day).Weekday()); {
		day++
	}
	return time.Date(local.Year(), local.Month(), local.Day()+day, hour, 0, 0, 0, s.zone)
}
