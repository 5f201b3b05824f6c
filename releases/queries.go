package releases

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Artifact returns the artifact with the id.
func (s *Service) Artifact(ctx context.Context, id string) (a *Shipped, err error) {
	err = s.store.View(ctx, func(tx Tx) error { a, err = tx.Artifact(id); return err })
	return a, err
}

// Artifacts returns the newest artifacts that match.
func (s *Service) Artifacts(ctx context.Context, q ArtifactQuery) (all []*Shipped, err error) {
	err = s.store.View(ctx, func(tx Tx) error { all, err = tx.Artifacts(q); return err })
	return all, err
}

// Release returns the release with the id.
func (s *Service) Release(ctx context.Context, id string) (r Release, err error) {
	err = s.store.View(ctx, func(tx Tx) error { r, err = tx.Release(id); return err })
	return r, err
}

// Releases returns the newest releases that match.
func (s *Service) Releases(ctx context.Context, q ReleaseQuery) (all []Release, err error) {
	err = s.store.View(ctx, func(tx Tx) error { all, err = tx.Releases(q); return err })
	return all, err
}

// State is how an app stands in an environment.
type State struct {
	App, Env string
	Live     *Live // nil: nothing was released
	Hold     *Hold
	Lock     *Lock
	Open     []Release // on their way
}

// Status returns the state of the apps in an environment, or of one of them.
func (s *Service) Status(ctx context.Context, env, app string) (states []State, err error) {
	if _, err := s.environment(env); err != nil {
		return nil, err
	}
	err = s.store.View(ctx, func(tx Tx) error {
		lives, err := tx.Lives(env)
		if err != nil {
			return err
		}
		open, err := tx.OpenReleases()
		if err != nil {
			return err
		}
		states, err = collect(tx, env, lives, open)
		return err
	})
	if app != "" {
		states = slices.DeleteFunc(states, func(st State) bool { return st.App != app })
	}
	return states, err
}

func collect(tx Tx, env string, lives []Live, open []Release) ([]State, error) {
	var states []State
	index := map[string]int{}
	at := func(app string) *State {
		i, known := index[app]
		if !known {
			i = len(states)
			index[app] = i
			states = append(states, State{App: app, Env: env})
		}
		return &states[i]
	}
	for _, live := range lives {
		at(live.App).Live = &live
	}
	for _, r := range open {
		if r.Env == env {
			st := at(r.App)
			st.Open = append(st.Open, r)
		}
	}
	for i := range states {
		hold, err := tx.Hold(states[i].App, env)
		if err != nil {
			return nil, err
		}
		states[i].Hold = hold
	}
	locks, err := tx.Locks(env)
	if err != nil {
		return nil, err
	}
	for _, l := range locks {
		for i := range states {
			if l.concerns(states[i].App) {
				states[i].Lock = &l
			}
		}
	}
	return states, nil
}

// Explanation answers "why did this release, and why did that not?".
type Explanation struct {
	Live     *Live
	Hold     *Hold
	Locks    []Lock
	Freezes  []Freeze
	Marks    []Mark // of the artifacts below
	Rule     Approval
	Policies []Foresight // what scheduled policies say of it now, the next to run first
	Releases []Release   // newest first
	Shipped  []*Shipped
}

// Why gathers what was decided lately of an app in an environment.
func (s *Service) Why(ctx context.Context, app, env string) (e Explanation, err error) {
	where, err := s.environment(env)
	if err != nil {
		return e, err
	}
	e.Rule = where.Approval
	const few = 5
	err = s.store.View(ctx, func(tx Tx) error {
		if e.Live, err = tx.Live(app, env); err != nil {
			return err
		}
		if e.Hold, err = tx.Hold(app, env); err != nil {
			return err
		}
		if e.Releases, err = tx.Releases(ReleaseQuery{App: app, Env: env, Limit: few}); err != nil {
			return err
		}
		if e.Shipped, err = tx.Artifacts(ArtifactQuery{Target: Target{App: app, Env: env}, Limit: few}); err != nil {
			return err
		}
		if e.Freezes, err = s.freezes(tx, where, s.now()); err != nil {
			return err
		}
		if e.Policies, err = s.foresee(tx, app, env); err != nil {
			return err
		}
		locks, err := tx.Locks(env)
		if err != nil {
			return err
		}
		e.Locks = slices.DeleteFunc(locks, func(l Lock) bool { return !l.concerns(app) })
		for _, a := range e.Shipped {
			mark, err := tx.Mark(a.ID)
			if err != nil {
				return err
			}
			if mark != nil {
				e.Marks = append(e.Marks, *mark)
			}
		}
		if len(e.Shipped) == 0 && len(e.Releases) == 0 {
			return versions{tx: tx, target: Target{App: app, Env: env}}.unknownApp()
		}
		return nil
	})
	return e, err
}

// Apps returns the names of all apps that artifacts were shipped for, in order.
func (s *Service) Apps(ctx context.Context) (apps []string, err error) {
	err = s.store.View(ctx, func(tx Tx) error { apps, err = tx.Apps(); return err })
	return apps, err
}

// Diff returns what a release changes or would change, as a unified diff; "" when it is no longer kept.
func (s *Service) Diff(ctx context.Context, releaseID string) (diff string, err error) {
	err = s.store.View(ctx, func(tx Tx) error { diff, err = tx.Diff(releaseID); return err })
	return diff, err
}

// Review returns what a release changes: its own plan while it is on its way; and what putting its files back would
// change once it is over.
func (s *Service) Review(ctx context.Context, releaseID string) (r Release, p Preview, err error) {
	var files []File
	err = s.store.View(ctx, func(tx Tx) error {
		if r, err = tx.Release(releaseID); err != nil {
			return err
		}
		if p.Live, err = tx.Live(r.App, r.Env); err != nil {
			return err
		}
		if r.Status.Open() && r.Plan != nil {
			p.Changes = r.Plan.Changes
			p.Diff, err = tx.Diff(r.ID)
			return err
		}
		if r.Status != Published {
			return Errorf(Conflict, "%s", r.AsItIs())
		}
		files, err = tx.Files(r.origin())
		return err
	})
	if err != nil || files == nil {
		return r, p, err
	}
	e, err := s.environment(r.Env)
	if err != nil {
		return r, p, err
	}
	err = s.compare(ctx, e, r.App, files, &p)
	return r, p, err
}

// ReviewRollback returns what a rollback would go back to and change, without asking for it.
func (s *Service) ReviewRollback(ctx context.Context, ask RollbackAsk) (target Release, p Preview, err error) {
	e, err := s.environment(ask.Env)
	if err != nil {
		return target, p, err
	}
	var files []File
	err = s.store.View(ctx, func(tx Tx) error {
		if target, p.Live, err = (past{tx: tx, app: ask.App, env: ask.Env}).target(ask.To); err != nil {
			return err
		}
		files, err = tx.Files(target.ID)
		return err
	})
	if err != nil {
		return target, p, err
	}
	if err = s.compare(ctx, e, target.App, files, &p); err != nil {
		return target, p, err
	}
	p.Hazards = Hazards(p.files, files)
	if age := s.now().Sub(target.Updated); age > oldTarget {
		p.Hazards = append(p.Hazards, fmt.Sprintf("what comes back was released %d days ago; what it works with may have moved on", int(age.Hours()/24)))
	}
	return target, p, nil
}

// oldTarget is how long ago something was released when going back to it deserves a second thought.
const oldTarget = 14 * 24 * time.Hour

// compare says what the files would change in the repository.
func (s *Service) compare(ctx context.Context, e Environment, app string, files []File, p *Preview) error {
	folder, err := s.repositories[e.Repository].Read(ctx, e.Folder(app))
	if err != nil {
		return err
	}
	p.files, p.Changes, p.Diff = folder.Files, Compare(folder.Files, files), TextDiff(folder.Files, files)
	return nil
}

// Past returns the releases that a rollback could go back to, newest first, without the one that is live.
func (s *Service) Past(ctx context.Context, app, env string, limit int) (back []Release, err error) {
	err = s.store.View(ctx, func(tx Tx) error {
		back = nil
		live, err := tx.Live(app, env)
		if err != nil || live == nil {
			return err
		}
		all, err := tx.Releases(ReleaseQuery{App: app, Env: env, Statuses: []Status{Published}, Limit: keptFiles})
		for _, r := range all {
			if len(back) < limit && r.Kind == KindRelease && r.Tree != live.Tree {
				back = append(back, r)
			}
		}
		return err
	})
	return back, err
}

// Preview is what a release would change, without asking for it.
type Preview struct {
	Shipped *Shipped
	Live    *Live
	Changes []Change
	Diff    string   // unified
	Hazards []string // of a rollback: what it would not bring back, or destroy
	files   []File   // as they are in the repository
}

// Preview renders the artifact and compares it with what the repository holds.
func (s *Service) Preview(ctx context.Context, app, env, artifactID string) (Preview, error) {
	e, err := s.environment(env)
	if err != nil {
		return Preview{}, err
	}
	var p Preview
	err = s.store.View(ctx, func(tx Tx) error {
		if p.Shipped, err = tx.Artifact(artifactID); err != nil {
			return err
		}
		p.Live, err = tx.Live(app, env)
		return err
	})
	if err != nil {
		return p, err
	}
	rendered, err := s.render(ctx, p.Shipped, app, env, nil)
	if err != nil {
		return p, err
	}
	err = s.compare(ctx, e, app, rendered.Files, &p)
	return p, err
}

// Open counts the releases on their way, by status.
func (s *Service) Open(ctx context.Context) (counts map[Status]int, err error) {
	counts = map[Status]int{}
	err = s.store.View(ctx, func(tx Tx) error {
		open, err := tx.OpenReleases()
		for _, r := range open {
			counts[r.Status]++
		}
		return err
	})
	return counts, err
}
