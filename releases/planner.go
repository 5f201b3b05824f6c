package releases

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Limits of the worker's patience.
const (
	plannersAtOnce = 4
	firstRetry     = 500 * time.Millisecond
	lastRetry      = 30 * time.Second
	giveUpAfter    = 30 * time.Minute // how long a plan may wait for what does not answer
	planWithin     = 2 * time.Minute
)

// Run works on what is proposed until the context ends; then it finishes the pushes in hand and returns.
func (s *Service) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.planLoop(ctx) })
	group.Go(func() error { return s.watch(ctx) })
	group.Go(func() error { return s.schedule(ctx) })
	for name, repository := range s.repositories {
		p := &publisher{Service: s, name: name, repository: repository, wake: s.publishing[name], doubts: newRetries()}
		group.Go(func() error { return p.loop(ctx) })
	}
	s.wake()
	return group.Wait()
}

// retries knows when something that did not answer may be asked again.
type retries struct {
	mu    sync.Mutex
	first map[string]time.Time
	after map[string]time.Time
	wait  map[string]time.Duration
}

func newRetries() *retries {
	return &retries{first: map[string]time.Time{}, after: map[string]time.Time{}, wait: map[string]time.Duration{}}
}

func (r *retries) failed(id string, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	wait := min(max(firstRetry, 2*r.wait[id]), lastRetry)
	r.wait[id], r.after[id] = wait, now.Add(wait)
	if r.first[id].IsZero() {
		r.first[id] = now
	}
	return wait
}

// since is how long it has been failing.
func (r *retries) since(id string, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.Sub(r.first[id])
}

func (r *retries) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.wait, id)
	delete(r.first, id)
	delete(r.after, id)
}

func (r *retries) due(id string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !now.Before(r.after[id])
}

// planLoop makes plans, several at once, but for each app and environment in the order of the requests.
func (s *Service) planLoop(ctx context.Context) error {
	const name = "planner"
	var busy sync.Map // targets that are being planned
	var workers errgroup.Group
	workers.SetLimit(plannersAtOnce)
	again := newRetries()
	tick := time.NewTicker(s.heartbeat)
	defer tick.Stop()
	for {
		due, err := s.plannable(ctx)
		s.loops.Beat(name, s.now(), err)
		for _, r := range due {
			target := Target{App: r.App, Env: r.Env}
			if !again.due(r.ID, s.now()) {
				continue
			}
			if _, taken := busy.LoadOrStore(target, true); taken {
				continue
			}
			workers.Go(func() error {
				wait := s.planOne(ctx, r, again)
				busy.Delete(target)
				if wait > 0 {
					time.AfterFunc(wait, func() { poke(s.planning) })
				}
				s.wake()
				return nil
			})
		}
		select {
		case <-s.planning:
		case <-tick.C:
		case <-ctx.Done():
			return workers.Wait()
		}
	}
}

// plannable returns, for each app and environment, the oldest open release if it waits for its plan; also one whose
// environment has left the configuration, which no publisher would take.
func (s *Service) plannable(ctx context.Context) (due []Release, err error) {
	err = s.store.View(ctx, func(tx Tx) error {
		open, err := tx.OpenReleases()
		first := map[Target]bool{}
		for _, r := range open {
			target := Target{App: r.App, Env: r.Env}
			_, gone := s.environment(r.Env)
			if !first[target] && (r.Status == Proposed || (r.Status != Publishing && gone != nil)) {
				due = append(due, r)
			}
			first[target] = first[target] || r.Status != Waiting // what waits for votes keeps nobody else back
		}
		return err
	})
	return due, err
}

// planSafely makes a plan. What breaks on one release's chart fails that release: it would break again after a restart, and again.
func (s *Service) planSafely(ctx context.Context, r Release) (err error) {
	defer func() {
		if broken := recover(); broken != nil {
			s.log.Error("a plan broke", "release", r.ID, "panic", Redact(fmt.Sprint(broken)), "stack", string(debug.Stack()))
			err = fmt.Errorf("GimletD broke while it planned this, and its log says where; nothing was changed (%v)", broken)
		}
	}()
	return s.plan(ctx, r)
}

// planOne makes one release's plan and says how long to wait before it is tried again; 0 when it is settled.
func (s *Service) planOne(ctx context.Context, r Release, again *retries) (wait time.Duration) {
	err := s.planSafely(ctx, r)
	if err == nil {
		again.forget(r.ID)
		return 0
	}
	if ctx.Err() != nil {
		return 0 // shutting down: it stays proposed
	}
	now := s.now()
	wait = again.failed(r.ID, now)
	if KindOf(err) == Unavailable && again.since(r.ID, now) < giveUpAfter {
		s.remark(ctx, r.ID, waitingFor(err))
		return wait
	}
	reason := Redact(err.Error())
	if KindOf(err) == Unavailable {
		reason += "; gave up after " + giveUpAfter.String()
	}
	err = s.store.Update(ctx, func(tx Tx) error {
		current, err := tx.Release(r.ID)
		if err != nil || current.Status != r.Status { // somebody else has decided meanwhile
			return err
		}
		_, err = s.move(tx, current, Failed, reason)
		return err
	})
	if err != nil {
		s.log.Error("a failed plan cannot be recorded", "release", r.ID, "err", err)
		return wait
	}
	again.forget(r.ID)
	return 0
}

// connection matches the ports of one connection, which would make each failure of a kind look like another.
var connection = regexp.MustCompile(`\b(read|write) (tcp|udp) \S+->`)

// waitingFor is the reason of a release that something outside keeps from going on.
func waitingFor(err error) string {
	return "waiting: " + connection.ReplaceAllString(Redact(err.Error()), "$1 $2 ")
}

// remark tells people why a release does not move, once for each reason.
func (s *Service) remark(ctx context.Context, id, reason string) {
	err := s.store.Update(ctx, func(tx Tx) error {
		r, err := tx.Release(id)
		if err != nil || r.Reason == reason || !r.Status.Open() {
			return err
		}
		return s.save(tx, r.note(reason, s.now()))
	})
	s.log.Warn("release waits", "release", id, "reason", reason)
	if err != nil {
		s.log.Error("a reason cannot be recorded", "release", id, "err", err)
	}
}

// plan renders the release, compares it with the repository, and moves it on.
func (s *Service) plan(ctx context.Context, r Release) error {
	ctx, cancel := context.WithTimeout(ctx, planWithin)
	defer cancel()
	env, err := s.environment(r.Env)
	if err != nil {
		return err
	}
	if reason, err := s.outdated(ctx, r); err != nil || reason != "" {
		return errors.Join(err, s.supersede(ctx, r.ID, reason))
	}
	rendered, err := s.files(ctx, r)
	if err != nil {
		return err
	}
	files := rendered.Files
	CrashPoint("plan.rendered")
	folder, err := s.repositories[env.Repository].Read(ctx, env.Folder(r.App))
	if err != nil {
		return err
	}
	if r.Kind == KindCleanup {
		if err := s.ours(ctx, r, env, folder); err != nil {
			return err
		}
	}
	if sameRelease(folder.Files, files) {
		return s.store.Update(ctx, func(tx Tx) error {
			current, err := tx.Release(r.ID)
			if err != nil || current.Status != Proposed {
				return err
			}
			return s.unchanged(tx, current, folder.Tree)
		})
	}
	commits, err := s.commits(ctx, r)
	if err != nil {
		return err
	}
	plan := &Plan{
		Commits: commits, Back: hazardsBack(files, folder), Base: folder.Head, BaseTree: folder.Tree, Changes: Compare(folder.Files, files), Unstable: rendered.Unstable,
		Recipe: rendered.Recipe, Digest: Digest(Target{App: r.App, Env: r.Env}, r.ArtifactID, folder.Tree, files),
	}
	err = s.store.Update(ctx, func(tx Tx) error {
		current, err := tx.Release(r.ID)
		if err != nil || current.Status != Proposed { // somebody else has moved it meanwhile
			return err
		}
		current.Plan = plan
		if err := tx.PutFiles(r.ID, files); err != nil {
			return err
		}
		if err := tx.PutDiff(r.ID, shorten(TextDiff(folder.Files, files))); err != nil {
			return err
		}
		return s.planned(tx, current, env)
	})
	CrashPoint("plan.stored")
	return err
}

// planned lets the release go, or has it wait for what keeps it back.
func (s *Service) planned(tx Tx, r Release, env Environment) error {
	kept, err := s.replaceWaiting(tx, r)
	if err != nil {
		return err
	}
	if kept != "" {
		_, err := s.end(tx, r, Superseded, kept)
		return err
	}
	c, err := s.controls(tx, r, env)
	if err != nil {
		return err
	}
	now := s.now()
	if r.Votes, err = s.fallen(tx, r, r.Votes, func(v Vote) bool { return v.Digest != r.Plan.Digest }); err != nil {
		return err
	}
	if r.Glass != nil && r.Glass.Digest != r.Plan.Digest {
		r.Glass = nil
	}
	r.Approval, r.Asked, r.Expires, r.Reminded = nil, time.Time{}, time.Time{}, time.Time{}
	if r.Blocks = Gate(r, c, now); len(r.Blocks) == 0 {
		_, err := s.move(tx, r, Approved, r.freed())
		return err
	}
	if r.Needs(BlockVotes) {
		r.Approval, r.Asked = &c.Rule, now
	}
	_, err = s.move(tx, r.waitFor(now), Waiting, reasonOf(r.Blocks))
	return err
}

// commits counts what a release brings at once: the commits of its repository and branch that artifacts were shipped for
// since the one that is live.
func (s *Service) commits(ctx context.Context, r Release) (n int, err error) {
	const most = 500
	if r.Kind != KindRelease {
		return 0, nil
	}
	err = s.store.View(ctx, func(tx Tx) error {
		live, err := tx.Live(r.App, r.Env)
		if err != nil || live == nil {
			return err
		}
		was, err := tx.Artifact(live.ArtifactID)
		if KindOf(err) == NotFound {
			return nil
		} else if err != nil {
			return err
		}
		is, err := tx.Artifact(r.ArtifactID)
		if err != nil || is.Key <= was.Key {
			return err
		}
		between, err := tx.Artifacts(ArtifactQuery{
			Repository: r.Version.RepositoryName, Branch: r.Version.Branch, Target: Target{App: r.App, Env: r.Env},
			Since: was.Key.Time(), Until: is.Key.Time(), Limit: most,
		})
		seen := map[string]bool{live.Version.SHA: true, is.Version.SHA: true}
		for _, a := range between {
			seen[a.Version.SHA] = true
		}
		n = len(seen) - 1
		return err
	})
	return n, err
}

// outdated explains why a release that a policy asked for must not go on, or returns "".
func (s *Service) outdated(ctx context.Context, r Release) (reason string, err error) {
	if r.Policy == "" && r.Kind != KindCleanup {
		return "", nil
	}
	err = s.store.View(ctx, func(tx Tx) error {
		live, err := tx.Live(r.App, r.Env)
		if err != nil {
			return err
		}
		hold, err := tx.Hold(r.App, r.Env)
		if err != nil {
			return err
		}
		mark, err := tx.Mark(r.ArtifactID)
		if err != nil {
			return err
		}
		if reason = backwards(live, r.Version); reason == "" && r.Kind == KindRelease {
			if reason, err = arrivedBefore(tx, live, r.ArtifactID, r.Version); err != nil {
				return err
			}
		}
		if reason == "" && r.Kind == KindRelease {
			a, err := tx.Artifact(r.ArtifactID)
			if err != nil {
				return err
			}
			if reason, err = rival(tx, Target{App: r.App, Env: r.Env}, a); err != nil {
				return err
			}
		}
		if reason == "" && r.Kind == KindRelease {
			reason = Snapshot{Live: live, Preview: r.Preview}.displaces(r.Version)
		}
		switch {
		case r.Kind == KindCleanup && (live == nil || live.ReleaseID != r.RollbackOf):
			reason = r.RollbackOf + ", which it was to remove, is no longer what is live"
		case reason != "" || r.Policy == "":
		case hold != nil:
			reason = hold.explain(Target{App: r.App, Env: r.Env})
		case mark != nil && r.Kind != KindCleanup:
			reason = fmt.Sprintf("%s is marked as bad by %s: %s", r.Version.Short(), mark.By.Name, mark.Reason)
		}
		return nil
	})
	return reason, err
}

// supersede ends a release that must not go on.
func (s *Service) supersede(ctx context.Context, id, reason string) error {
	if reason == "" {
		return nil
	}
	return s.store.Update(ctx, func(tx Tx) error {
		r, err := tx.Release(id)
		if err != nil || r.Status != Proposed {
			return err
		}
		_, err = s.move(tx, r, Superseded, reason)
		return err
	})
}

// unchanged ends a release whose files the folder already holds, whoever wrote them. What is live and held is as if it
// had written them itself.
func (s *Service) unchanged(tx Tx, r Release, tree string) error {
	if err := tx.PutFiles(r.ID, nil); err != nil {
		return err
	}
	if r.Kind == KindRollback {
		if err := s.rolledBack(tx, r); err != nil {
			return err
		}
	}
	if r.Kind == KindCleanup {
		if err := s.cleaned(tx, r); err != nil {
			return err
		}
		_, err := s.move(tx, r, Unchanged, "its folder is gone already; no commit was needed")
		return err
	}
	live, err := tx.Live(r.App, r.Env)
	if err != nil {
		return err
	}
	writers, err := tx.Releases(ReleaseQuery{App: r.App, Env: r.Env, Statuses: []Status{Published}, Limit: maxPast})
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(writers, func(w Release) bool { return w.Tree == tree }); i >= 0 && (live == nil || live.Tree != tree) {
		if err := tx.PutLive(writers[i].live(s.now())); err != nil {
			return err
		}
	}
	_, err = s.move(tx, r, Unchanged, "the repository already holds exactly this; no commit was needed")
	return err
}

// live is what the release makes live.
func (r Release) live(at time.Time) Live {
	return Live{
		App: r.App, Env: r.Env, ReleaseID: r.ID, ArtifactID: r.ArtifactID, Version: r.Version, By: r.RequestedBy.Name,
		Tree: r.Tree, Commit: r.Commit, At: at, Preview: r.Preview, Health: r.Rollout,
	}
}

// files are what the release's folder becomes: rendered, or, for a rollback, as the target release wrote them. What was planned before
// is rendered from the same chart again: people have seen that one, whatever a range or a branch stands for by now.
func (s *Service) files(ctx context.Context, r Release) (rendered Rendered, err error) {
	switch r.Kind {
	case KindRollback:
		err = s.store.View(ctx, func(tx Tx) error { rendered.Files, err = tx.Files(r.Target); return err })
		return rendered, err
	case KindCleanup:
		return rendered, nil
	}
	var shipped *Shipped
	if err := s.store.View(ctx, func(tx Tx) error { shipped, err = tx.Artifact(r.ArtifactID); return err }); err != nil {
		return rendered, err
	}
	var planned *Chart
	if r.Plan != nil && r.Plan.Recipe != nil {
		planned = &r.Plan.Recipe.Chart
	}
	if rendered, err = s.render(ctx, shipped, r.App, r.Env, planned); err != nil {
		return rendered, err
	}
	if planned != nil && rendered.Recipe != nil && rendered.Recipe.Digest != r.Plan.Recipe.Digest {
		return rendered, Errorf(Conflict, "chart %s is no longer the one that was planned, although it has the same name; ask for the release again", strings.TrimSpace(planned.Name+" "+planned.Version))
	}
	rendered.Files, err = withReleaseFile(rendered.Files, r)
	return rendered, err
}

// render makes the files of the artifact's manifest, from the chart when one is given, or from the manifest's.
func (s *Service) render(ctx context.Context, shipped *Shipped, app, env string, chart *Chart) (Rendered, error) {
	m, target, err := shipped.Manifest(app, env)
	if err != nil {
		return Rendered{}, err
	}
	if chart != nil {
		m.Chart = *chart
	}
	rendered, err := s.renderer.Render(ctx, target, m, shipped.Variables())
	i := slices.IndexFunc(shipped.Dropped, func(name string) bool {
		return err != nil && strings.Contains(err.Error(), "variable "+name+" is missing")
	})
	if i >= 0 {
		err = Errorf(KindOf(err), "%v (it was dropped when the artifact came in, because it looks like a secret)", err)
	}
	return rendered, err
}
