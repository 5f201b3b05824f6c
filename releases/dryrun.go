package releases

import (
	"context"
	"fmt"
	"time"
)

// Foreseen is what a release would be: what it would change, and what it would wait for.
type Foreseen struct {
	App, Env string
	Preview
	// Blocks are what would keep it back now, votes among them.
	Blocks []Block
	// Denied is why who asks may not ask for it; nil when they may.
	Denied error
}

// Limits of dry runs: how many are made at a time, as the releases that are asked for render, too; and how long others wait.
const (
	maxDryRuns   = 2
	dryRunWithin = 15 * time.Second
)

// DryRun says what a request would bring, by the code that would bring it, and asks for nothing.
func (s *Service) DryRun(ctx context.Context, ask Ask) (all []Foreseen, err error) {
	env, err := s.environment(ask.Env)
	if err != nil {
		return nil, err
	}
	a, apps, err := s.releasable(ctx, ask)
	if err != nil {
		return nil, err
	}
	if err := ask.By.SpeaksFor(a.Version.RepositoryName); err != nil {
		return nil, err
	}
	select {
	case s.dryRuns <- struct{}{}:
		defer func() { <-s.dryRuns }()
	case <-time.After(dryRunWithin):
		return nil, Errorf(Unavailable, "other dry runs take long; try again in a moment")
	case <-ctx.Done():
		return nil, Wrap(Unavailable, ctx.Err(), "other dry runs take long")
	}
	for _, app := range apps {
		if err := s.concerns(ctx, ask.By, VerbRelease, app, ask.Env); err != nil { // the difference would show what is another's
			return nil, err
		}
		f := Foreseen{App: app, Env: ask.Env}
		by, denied := s.allow(ctx, ask.By, VerbRelease, app, ask.Env, ask.At)
		f.Denied = denied
		if f.Preview, err = s.Preview(ctx, app, ask.Env, ask.ArtifactID); err != nil {
			return nil, fmt.Errorf("%s in %s: %w", app, ask.Env, err)
		}
		r := Release{
			Kind: KindRelease, App: app, Env: ask.Env, ArtifactID: ask.ArtifactID, Version: f.Shipped.Version, RequestedBy: by,
			Plan: &Plan{Changes: f.Changes},
		}
		if r.Plan.Commits, err = s.commits(ctx, r); err != nil {
			return nil, err
		}
		err = s.store.View(ctx, func(tx Tx) error {
			c, err := s.controls(tx, r, env)
			if err == nil {
				f.Blocks = Gate(r, c, s.now())
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}
