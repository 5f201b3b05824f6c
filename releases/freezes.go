package releases

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// FreezeAsk is a request to freeze environments, or to end a freeze.
type FreezeAsk struct {
	Env    string // AllEnvironments: each
	Until  time.Time
	Reason string
	ID     string // to end: which; "" when there is only one
	By     Actor
	At     time.Time
	// Request is the same for the same call that comes again.
	Request string
}

// AllEnvironments stands for every environment.
const AllEnvironments = "*"

// Freeze declares a freeze.
func (s *Service) Freeze(ctx context.Context, ask FreezeAsk) (made []Freeze, err error) {
	envs, err := s.named(ask.Env)
	if err != nil {
		return nil, err
	}
	if ask.Reason, err = plainText("reason", ask.Reason); err != nil {
		return nil, err
	}
	now := s.now()
	switch {
	case ask.Until.IsZero():
		return nil, Errorf(Invalid, "until: missing; a freeze has an end")
	case ask.Reason == "":
		return nil, Errorf(Invalid, "reason: missing; whoever is kept waiting wants to know why")
	case !now.Before(ask.Until):
		return nil, Errorf(Invalid, "until: %s is over", Moment(ask.Until, s.zone))
	case ask.Until.Sub(now) > maxFreeze:
		return nil, Errorf(Invalid, "until: %s is more than a year away", Moment(ask.Until, s.zone))
	}
	for _, env := range envs { // all of them or none
		if ask.By, err = s.allow(ctx, ask.By, VerbFreeze, AllApps, env.Name, ask.At); err != nil {
			record := s.by(ask.By, "freeze.set")
			record.Env, record.Detail = env.Name, ask.Reason
			return nil, s.refusing(ctx, record, err)
		}
	}
	err = s.store.Update(ctx, func(tx Tx) error {
		made = nil
		for _, env := range envs {
			known, err := tx.Freezes(env.Name)
			if err != nil {
				return err
			}
			if i := slices.IndexFunc(known, func(f Freeze) bool { return ask.Request != "" && f.Request == ask.Request }); i >= 0 {
				made = append(made, known[i]) // it was done in an earlier life
				continue
			}
			f := Freeze{ID: drawID("f-"), Request: ask.Request, Env: env.Name, Reason: ask.Reason, By: ask.By, From: now, Until: ask.Until, Rollbacks: slices.Contains(env.Rollbacks, BlockFreeze)}
			if err := s.freezeTold(tx, f, "freeze.set", ask.By); err != nil {
				return err
			}
			made = append(made, f)
		}
		return nil
	})
	if err == nil {
		poke(s.watching)
	}
	return made, err
}

// named are the environments that the word means.
func (s *Service) named(word string) ([]Environment, error) {
	if word == AllEnvironments {
		return s.environments, nil
	}
	env, err := s.environment(word)
	return []Environment{env}, err
}

// freezeTold keeps a freeze that has begun and tells of it.
func (s *Service) freezeTold(tx Tx, f Freeze, action string, by Actor) error {
	if err := tx.PutFreeze(f); err != nil {
		return err
	}
	return s.tellFreeze(tx, f, action, by)
}

func (s *Service) tellFreeze(tx Tx, f Freeze, action string, by Actor) error {
	record := s.by(by, action)
	record.Env, record.Detail = f.Env, f.ID+": "+strings.TrimSpace(f.Name+" "+f.Reason)+" (until "+f.Until.UTC().Format(time.RFC3339)+")"
	if err := s.record(tx, record); err != nil {
		return err
	}
	o := Outcome{At: s.now(), Kind: FreezeChanged, Freeze: &f}
	if !f.Lifted.IsZero() || !s.now().Before(f.Until) {
		o.Ended = by.Name
		env, err := s.environment(f.Env)
		if err != nil {
			return err
		}
		others, err := s.freezes(tx, env, s.now())
		if err != nil {
			return err
		}
		for _, other := range others {
			if other.ID != f.ID {
				o.Still = fmt.Sprintf("it stays frozen until %s: %s", Moment(other.Until, s.zone), other.Title())
			}
		}
	}
	return tx.Publish(o)
}

// Unfreeze ends a freeze before its time; of a planned one, this window of it.
func (s *Service) Unfreeze(ctx context.Context, ask FreezeAsk) (ended []Freeze, err error) {
	envs, err := s.named(ask.Env)
	if err != nil {
		return nil, err
	}
	record := s.by(ask.By, "freeze.lifted")
	record.Env, record.Detail = ask.Env, ask.ID
	for _, env := range envs {
		if ask.By, err = s.allow(ctx, ask.By, VerbFreeze, AllApps, env.Name, ask.At); err != nil {
			return nil, s.refusing(ctx, record, err)
		}
	}
	err = s.store.Update(ctx, func(tx Tx) error {
		ended = nil
		for _, env := range envs {
			on, err := s.freezes(tx, env, s.now())
			if err != nil {
				return err
			}
			if ask.ID != "" {
				on = slices.DeleteFunc(on, func(f Freeze) bool { return f.ID != ask.ID && f.Name != ask.ID })
			}
			ended = append(ended, on...)
		}
		switch {
		case len(ended) == 0:
			return Errorf(NotFound, "there is no freeze %sin %s to end", strings.TrimPrefix(ask.ID+" ", " "), ask.Env)
		case len(ended) > 1 && ask.ID == "" && ask.Env != AllEnvironments:
			ambiguous := &Ambiguous{}
			for _, f := range ended {
				ambiguous.Options = append(ambiguous.Options, Option{Word: f.ID, Label: f.ID + " until " + Moment(f.Until, s.zone) + " (" + f.Title() + ")"})
			}
			return ambiguous
		}
		for i, f := range ended {
			ended[i].Lifted = s.now()
			f.Lifted = s.now()
			if err := s.freezeTold(tx, f, "freeze.lifted", ask.By); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		poke(s.watching)
	}
	return ended, s.refusing(ctx, record, err)
}

// Freezes returns the freezes that are on in an environment, and the next one that is planned, if any.
func (s *Service) Freezes(ctx context.Context, name string) (on []Freeze, next *Freeze, err error) {
	env, err := s.environment(name)
	if err != nil {
		return nil, nil, err
	}
	now := s.now()
	if err = s.store.View(ctx, func(tx Tx) error { on, err = s.freezes(tx, env, now); return err }); err != nil {
		return nil, nil, err
	}
	for _, p := range env.Freezes {
		if from, until, ok := p.Window.Next(now); ok && (next == nil || from.Before(next.From)) {
			f := p.at(env, from, until)
			next = &f
		}
	}
	return on, next, nil
}
