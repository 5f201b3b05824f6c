package releases

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// LockAsk is a request to lock, to take a lock over, or to unlock.
type LockAsk struct {
	App, Env string // App may be AllApps
	Until    time.Time
	Reason   string
	Take     bool   // from whoever has it
	ID       string // to unlock: which lock is meant; "" means whichever there is
	By       Actor
	At       time.Time
}

// Limits of how long something may be kept back.
const (
	maxLock   = 30 * 24 * time.Hour
	maxFreeze = 366 * 24 * time.Hour
)

// Lock locks an app in an environment. Its owner may lock it anew, with another end; from somebody else it has to be taken.
func (s *Service) Lock(ctx context.Context, ask LockAsk) (l Lock, err error) {
	action := "lock.set"
	if ask.Take {
		action = "lock.taken"
	}
	if ask.Reason, err = plainText("reason", ask.Reason); err != nil {
		return l, err
	}
	if err := s.lockable(ctx, ask); err != nil {
		return l, err
	}
	record := s.lockRecord(ask, action)
	if ask.By, err = s.allow(ctx, ask.By, VerbLock, ask.App, ask.Env, ask.At); err != nil {
		return l, s.refusing(ctx, record, err)
	}
	err = s.store.Update(ctx, func(tx Tx) error {
		was, err := lockOf(tx, ask.App, ask.Env)
		if err != nil {
			return err
		}
		now := s.now()
		other := was != nil && !was.Owner.Is(ask.By) && now.Before(was.Until)
		if other && !ask.Take {
			return Errorf(Conflict, "%s is locked by %s until %s: %s", was.Where(), was.Owner.Name, Moment(was.Until, s.zone), was.Reason)
		}
		if was == nil && ask.Take {
			return Errorf(NotFound, "nobody has locked %s in %s, so there is nothing to take over", ask.App, ask.Env)
		}
		l = Lock{ID: drawID("l-"), App: ask.App, Env: ask.Env, Owner: ask.By, Reason: ask.Reason, At: now, Until: ask.Until}
		told := Outcome{At: now, Kind: LockChanged, Lock: &l, Was: was}
		record := s.lockRecord(ask, "lock.set")
		if other {
			record = s.lockRecord(ask, action)
			record.Detail = "from " + was.Owner.Name + ": " + record.Detail
		}
		if err := tx.PutLock(l); err != nil {
			return err
		}
		if err := s.record(tx, record); err != nil {
			return err
		}
		return tx.Publish(told)
	})
	if err != nil {
		return l, s.refusing(ctx, record, err)
	}
	poke(s.watching)
	return l, nil
}

func (s *Service) lockable(ctx context.Context, ask LockAsk) error {
	if _, err := s.environment(ask.Env); err != nil {
		return err
	}
	if err := s.store.View(ctx, func(tx Tx) error { return shippedFor(tx, ask.App, ask.Env) }); err != nil {
		return err
	}
	now := s.now()
	switch {
	case ask.Until.IsZero():
		return Errorf(Invalid, "until: missing; a lock has an end")
	case ask.Reason == "":
		return Errorf(Invalid, "reason: missing; whoever is kept out wants to know why")
	case !now.Before(ask.Until):
		return Errorf(Invalid, "until: %s is over", Moment(ask.Until, s.zone))
	case ask.Until.Sub(now) > maxLock:
		return Errorf(Invalid, "until: %s is more than %d days away", Moment(ask.Until, s.zone), int(maxLock.Hours()/24))
	}
	return nil
}

func (s *Service) lockRecord(ask LockAsk, action string) Record {
	r := s.by(ask.By, action)
	r.App, r.Env, r.Detail = ask.App, ask.Env, strings.TrimSpace(ask.Reason)
	if !ask.Until.IsZero() {
		r.Detail += " (until " + ask.Until.UTC().Format(time.RFC3339) + ")"
	}
	return r
}

// lockOf returns the lock of just this app and environment, or nil.
func lockOf(tx Tx, app, env string) (*Lock, error) {
	all, err := tx.Locks(env)
	for _, l := range all {
		if l.App == app {
			return &l, nil
		}
	}
	return nil, err
}

// Unlock ends a lock. Its owner may, and, to take it from them, with Take and a reason, who may lock there.
func (s *Service) Unlock(ctx context.Context, ask LockAsk) (l Lock, err error) {
	if ask.Reason, err = plainText("reason", ask.Reason); err != nil {
		return l, err
	}
	record := s.lockRecord(ask, "lock.released")
	if _, err := s.environment(ask.Env); err != nil {
		return l, err
	}
	var was *Lock
	if err := s.store.View(ctx, func(tx Tx) error { was, err = lockOf(tx, ask.App, ask.Env); return err }); err != nil {
		return l, err
	}
	if was == nil {
		return l, Errorf(NotFound, "%s is not locked", Lock{App: ask.App, Env: ask.Env}.Where())
	}
	own := was.Owner.Is(ask.By)
	if !own {
		if ask.By, err = s.allow(ctx, ask.By, VerbLock, ask.App, ask.Env, ask.At); err != nil {
			return *was, s.refusing(ctx, record, err)
		}
	}
	err = s.store.Update(ctx, func(tx Tx) error {
		if was, err = lockOf(tx, ask.App, ask.Env); err != nil {
			return err
		}
		switch {
		case was == nil:
			return Errorf(Stale, "%s is not locked any more", Lock{App: ask.App, Env: ask.Env}.Where())
		case ask.ID != "" && was.ID != ask.ID:
			return Errorf(Stale, "that lock is over; %s is locked by %s until %s: %s", was.Where(), was.Owner.Name, Moment(was.Until, s.zone), was.Reason)
		case own && !was.Owner.Is(ask.By):
			return Errorf(Stale, "%s took the lock on %s over just now: %s", was.Owner.Name, was.Where(), was.Reason)
		case !was.Owner.Is(ask.By) && (!ask.Take || ask.Reason == ""):
			return Errorf(Conflict, "%s is locked by %s until %s: %s\nTo take it from them, say why: /gimlet unlock %s %s <why>", was.Where(), was.Owner.Name, Moment(was.Until, s.zone), was.Reason, was.App, was.Env)
		}
		return s.unlock(tx, *was, ask.By, ask.Reason)
	})
	if was != nil {
		l = *was
	}
	if err != nil {
		return l, s.refusing(ctx, record, err)
	}
	poke(s.watching)
	return l, nil
}

// unlock removes the lock and tells.
func (s *Service) unlock(tx Tx, l Lock, by Actor, reason string) error {
	if err := tx.ClearLock(l.App, l.Env); err != nil {
		return err
	}
	record := s.by(by, "lock.released")
	record.App, record.Env, record.Detail = l.App, l.Env, reason
	if !l.Owner.Is(by) {
		record.Detail = "of " + l.Owner.Name + ": " + reason
	}
	if err := s.record(tx, record); err != nil {
		return err
	}
	still, err := s.stillLocked(tx, l)
	if err != nil {
		return err
	}
	return tx.Publish(Outcome{At: s.now(), Kind: LockChanged, Lock: &l, Ended: by.Name, By: &by, Why: reason, Still: still})
}

// stillLocked says which other lock keeps others out of the same place.
func (s *Service) stillLocked(tx Tx, ended Lock) (string, error) {
	all, err := tx.Locks(ended.Env)
	for _, l := range all {
		if l.App != ended.App && (l.App == AllApps || ended.App == AllApps) && s.now().Before(l.Until) {
			return fmt.Sprintf("%s is locked by %s until %s: %s", l.Where(), l.Owner.Name, Moment(l.Until, s.zone), l.Reason), err
		}
	}
	return "", err
}

// Locks returns the locks of all environments.
func (s *Service) Locks(ctx context.Context) (all []Lock, err error) {
	err = s.store.View(ctx, func(tx Tx) error { all, err = tx.Locks(""); return err })
	return all, err
}

// Hold stops automation of an app in an environment until somebody resumes it.
func (s *Service) Hold(ctx context.Context, app, env, reason string, by Actor, at time.Time) error {
	if _, err := s.environment(env); err != nil {
		return err
	}
	reason, err := plainText("reason", reason)
	if app == AllApps {
		err = Errorf(Invalid, "app: a hold is of one app; to stop everything: /gimlet freeze %s until <when> <why>", env)
	}
	if err == nil && reason == "" {
		err = Errorf(Invalid, "reason: missing; whoever wonders why nothing is released wants to know")
	}
	if err != nil {
		return err
	}
	record := s.by(by, "hold.set")
	record.App, record.Env, record.Detail = app, env, reason
	if by, err = s.allow(ctx, by, VerbRelease, app, env, at); err == nil {
		err = s.store.Update(ctx, func(tx Tx) error {
			hold, err := tx.Hold(app, env)
			if err != nil {
				return err
			}
			if hold != nil {
				return Errorf(Conflict, "automation of %s in %s is held already: %s", app, env, hold.Why())
			}
			if err := shippedFor(tx, app, env); err != nil {
				return err
			}
			hold = &Hold{App: app, Env: env, By: by.Name, Reason: reason, At: s.now()}
			if err := tx.PutHold(*hold); err != nil {
				return err
			}
			if err := s.record(tx, record); err != nil {
				return err
			}
			return tx.Publish(Outcome{At: s.now(), Kind: HoldChanged, Hold: hold})
		})
	}
	return s.refusing(ctx, record, err)
}

// Resume lifts a hold, so that policies release again.
func (s *Service) Resume(ctx context.Context, app, env string, by Actor, at time.Time) error {
	if _, err := s.environment(env); err != nil {
		return err
	}
	record := s.by(by, "hold.lifted")
	record.App, record.Env = app, env
	by, err := s.allow(ctx, by, VerbRelease, app, env, at)
	if err == nil {
		err = s.store.Update(ctx, func(tx Tx) error {
			hold, err := tx.Hold(app, env)
			if err != nil {
				return err
			}
			if hold == nil {
				return Errorf(NotFound, "automation of %s in %s is not held", app, env)
			}
			if err := tx.ClearHold(app, env); err != nil {
				return err
			}
			if err := s.record(tx, record); err != nil {
				return err
			}
			return tx.Publish(Outcome{At: s.now(), Kind: HoldChanged, Hold: hold, Ended: by.Name})
		})
		poke(s.watching)
	}
	return s.refusing(ctx, record, err)
}
