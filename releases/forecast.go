package releases

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// Forecast is what the policies will do if nobody does anything else.
type Forecast struct {
	From, Until time.Time
	Runs        []RunView // in order
	Removed     []Release // previews that go
}

// maxForecast is how far people may look ahead.
const maxForecast = 62 * 24 * time.Hour

// Forecast foretells what the policies will do from now until a moment, when nobody ships, releases, votes or changes anything,
// and gates let everything pass. With c, it foretells for another configuration than the one in force.
func (s *Service) Forecast(ctx context.Context, until time.Time, c *Changed) (f Forecast, err error) {
	now := s.now()
	if !until.After(now) || until.Sub(now) > maxForecast {
		return f, Errorf(Invalid, "days: from 1 to 62 can be foretold")
	}
	if c == nil {
		c = &Changed{s.environments, s.policies}
	}
	r, end, err := s.rehearse(now, *c)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, end()) }()
	if err := s.store.View(ctx, func(from Tx) error {
		return r.store.Update(ctx, func(to Tx) error { return r.copy(from, to) })
	}); err != nil {
		return f, err
	}
	if err := r.until(ctx, until); err != nil {
		return f, err
	}
	f.From, f.Until = now, until
	f.Runs, err = r.views(ctx)
	if err != nil {
		return f, err
	}
	f.Removed, err = r.removed(ctx, now)
	return f, err
}

// views are the runs that began in the rehearsal.
func (r *rehearsal) views(ctx context.Context) (all []RunView, err error) {
	err = r.store.View(ctx, func(tx Tx) error {
		for _, id := range r.runs {
			v, err := runView(tx, id)
			if err != nil {
				return err
			}
			all = append(all, v)
		}
		return nil
	})
	return all, err
}

// removed are the previews that went, in order.
func (r *rehearsal) removed(ctx context.Context, since time.Time) (gone []Release, err error) {
	const most = 100_000
	err = r.store.View(ctx, func(tx Tx) error {
		for _, e := range r.environments {
			if e.Previews == (Previews{}) {
				continue
			}
			all, err := tx.Releases(ReleaseQuery{Env: e.Name, Since: since, Limit: most})
			if err != nil {
				return err
			}
			for _, one := range all {
				if one.Kind == KindCleanup && (one.Status == Published || one.Status == Unchanged) {
					gone = append(gone, one)
				}
			}
		}
		slices.SortFunc(gone, func(a, b Release) int { return a.Created.Compare(b.Created) })
		return nil
	})
	return gone, err
}

// copy takes over, from the real store, what the future depends on.
func (r *rehearsal) copy(from, to Tx) error {
	artifacts := map[string]bool{}
	apps := map[string][]string{} // by app: artifacts that could be released
	take := func(app, id string) error {
		if !slices.Contains(apps[app], id) {
			apps[app] = append(apps[app], id)
		}
		if artifacts[id] {
			return nil
		}
		artifacts[id] = true
		a, err := from.Artifact(id)
		if KindOf(err) == NotFound {
			return nil
		} else if err != nil {
			return err
		}
		return to.PutArtifact(a)
	}
	for _, e := range r.environments {
		lives, err := from.Lives(e.Name)
		if err != nil {
			return err
		}
		for _, l := range lives {
			r.puts(l)
			if err := errors.Join(to.PutLive(l), take(l.App, l.ArtifactID)); err != nil {
				return err
			}
		}
	}
	sv := newSurvey(from)
	for _, p := range r.policies {
		if p.From.Environment != "" {
			continue
		}
		all, _, err := sv.candidates(p)
		if err != nil {
			return err
		}
		for _, app := range all {
			c := Candidate{}
			if err := sv.source(p, Target{App: app, Env: p.To}, &c); err != nil {
				return err
			}
			if c.Version == nil {
				continue
			}
			if err := take(app, c.ArtifactID); err != nil {
				return err
			}
		}
	}
	return errors.Join(r.copyReleases(from, to, apps, take), r.copyControls(from, to), r.copyPolicies(from, to))
}

// copyReleases takes over what is on its way, and what became of the artifacts that could be released.
func (r *rehearsal) copyReleases(from, to Tx, apps map[string][]string, take func(app, id string) error) error {
	open, err := from.OpenReleases()
	if err != nil {
		return err
	}
	for _, o := range open {
		files, err := from.Files(o.ID)
		if err != nil && KindOf(err) != NotFound {
			return err
		}
		if err := errors.Join(take(o.App, o.ArtifactID), to.PutRelease(o), to.PutFiles(o.ID, files)); err != nil {
			return err
		}
		if o.Kind == KindRollback {
			if err := copyTarget(from, to, o); err != nil {
				return err
			}
		}
	}
	for app, ids := range apps {
		for _, e := range r.environments {
			hold, err := from.Hold(app, e.Name)
			if err != nil {
				return err
			}
			if hold != nil {
				if err := to.PutHold(*hold); err != nil {
					return err
				}
			}
			newest, err := from.Releases(ReleaseQuery{App: app, Env: e.Name, Limit: 1})
			if err != nil {
				return err
			}
			for _, id := range ids {
				a, err := from.Artifact(id)
				if KindOf(err) == NotFound {
					continue
				} else if err != nil {
					return err
				}
				past, err := refusal(from, Target{App: app, Env: e.Name}, a.Version)
				if err != nil {
					return err
				}
				if past != nil {
					newest = append(newest, *past)
				}
			}
			for _, one := range newest {
				if err := to.PutRelease(one); err != nil {
					return err
				}
			}
			if e.MaxCommits > 0 {
				if err := copyBetween(from, to, Target{App: app, Env: e.Name}, ids); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// copyTarget takes over what a rollback goes back to, and what it marks as taken back.
func copyTarget(from, to Tx, rollback Release) error {
	target, err := from.Release(rollback.Target)
	if err != nil {
		return err
	}
	files, err := from.Files(target.ID)
	if err != nil && KindOf(err) != NotFound {
		return err
	}
	after, err := from.Releases(ReleaseQuery{App: rollback.App, Env: rollback.Env, Statuses: []Status{Published}, Since: target.Key.Time(), Limit: maxPast})
	if err != nil {
		return err
	}
	for _, one := range append(after, target) {
		if err := to.PutRelease(one); err != nil {
			return err
		}
	}
	return to.PutFiles(target.ID, files)
}

// copyBetween takes over the artifacts that came in between what is live and what could be released: they are counted.
func copyBetween(from, to Tx, target Target, ids []string) error {
	const most = 500
	live, err := from.Live(target.App, target.Env)
	if err != nil || live == nil {
		return err
	}
	since, known, err := from.Arrival(live.ArtifactID)
	if err != nil || !known {
		return err
	}
	var until Key
	for _, id := range ids {
		k, _, err := from.Arrival(id)
		if err != nil {
			return err
		}
		until = max(until, k)
	}
	between, err := from.Artifacts(ArtifactQuery{Target: target, Since: since.Time(), Until: until.Time(), Limit: most})
	for _, a := range between {
		if err == nil {
			err = to.PutArtifact(a)
		}
		if KindOf(err) == Conflict { // it is there
			err = nil
		}
	}
	return err
}

func (r *rehearsal) copyControls(from, to Tx) error {
	locks, err := from.Locks("")
	if err != nil {
		return err
	}
	for _, l := range locks {
		if err := to.PutLock(l); err != nil {
			return err
		}
	}
	for _, e := range r.environments {
		freezes, err := from.Freezes(e.Name)
		if err != nil {
			return err
		}
		for _, f := range freezes {
			if err := to.PutFreeze(f); err != nil {
				return err
			}
		}
	}
	deleted, err := from.Deletions(r.at.Add(-deletedFor))
	if err != nil {
		return err
	}
	for name, at := range deleted {
		repository, branch, _ := strings.Cut(name, " ")
		if err := to.PutDeletion(repository, branch, at); err != nil {
			return err
		}
	}
	marks, err := from.Marks()
	if err != nil {
		return err
	}
	for _, m := range marks {
		if err := to.PutMark(m); err != nil {
			return err
		}
	}
	return nil
}

func (r *rehearsal) copyPolicies(from, to Tx) error {
	states, err := from.PolicyStates()
	if err != nil {
		return err
	}
	for _, st := range states {
		if err := to.PutPolicyState(st); err != nil {
			return err
		}
	}
	open, err := from.OpenRuns()
	if err != nil {
		return err
	}
	for _, run := range open {
		if err := to.PutRun(run); err != nil {
			return err
		}
	}
	return nil
}
