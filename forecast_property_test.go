package main

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/releases"
	"gimletd/releases/schedule"

	gocmp "github.com/google/go-cmp/cmp"
)

var (
	policySets = flag.Int("policysets", 4, "how many random sets of policies are foretold")
	policySeed = flag.Uint64("policyseed", 0, "foretell only the set with this seed")
)

// TestForecastsComeTrue makes random sets of policies, environments and states of things, foretells a week, lets the week pass,
// and compares what happened with what was foretold, to the app, version and end of each release.
func TestForecastsComeTrue(t *testing.T) {
	var sets, runs, releasesMade, kept atomic.Int64
	play := func(t *testing.T, seed uint64) {
		synctest.Test(t, func(t *testing.T) {
			foretold := foretell(t, seed)
			sets.Add(1)
			for _, line := range foretold {
				if strings.Contains(line, "run") {
					runs.Add(1)
				}
				if strings.Contains(line, "published") {
					releasesMade.Add(1)
				}
				if strings.Contains(line, "waiting") || strings.Contains(line, "expired") {
					kept.Add(1)
				}
			}
		})
	}
	if *policySeed != 0 {
		play(t, *policySeed)
		return
	}
	var next atomic.Uint64
	const workers = 2
	for n := range workers {
		t.Run(fmt.Sprint("worker ", n), func(t *testing.T) {
			t.Parallel()
			for seed := next.Add(1); seed <= uint64(*policySets) && !t.Failed(); seed = next.Add(1) {
				play(t, seed)
			}
		})
	}
	t.Cleanup(func() {
		if n := sets.Load(); !t.Failed() && n >= 20 && (runs.Load() < 10*n || releasesMade.Load() < n || kept.Load() < n/10) {
			t.Errorf("%d sets had %d runs, %d releases, %d that were kept back: that proves nothing", n, runs.Load(), releasesMade.Load(), kept.Load())
		}
		t.Logf("%d sets, %d runs, %d releases, %d kept back", sets.Load(), runs.Load(), releasesMade.Load(), kept.Load())
	})
}

// foretell plays one set.
func foretell(t *testing.T, seed uint64) []string {
	r := rand.New(rand.NewPCG(seed, 11))
	time.Sleep(time.Until(time.Date(2000, 3, 8+r.IntN(26), r.IntN(24), r.IntN(60), r.IntN(60), 0, time.UTC)))
	w := randomTown(t, r)
	defer w.end()
	w.start()
	defer func() { w.stop() }()
	randomState(w, r)
	synctest.Wait()
	ctx := t.Context()
	began := time.Now()
	until := began.Add(7 * 24 * time.Hour)
	f, err := w.service.Forecast(ctx, until, nil)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	time.Sleep(time.Until(until))
	synctest.Wait()
	var foretold, happened []string
	for _, v := range f.Runs {
		foretold = append(foretold, runText(v))
	}
	for _, run := range w.ran() {
		if run.At.Before(began) {
			continue
		}
		v, err := w.service.RunOf(ctx, run.ID)
		if err == nil {
			happened = append(happened, runText(v))
			continue
		}
		// Only the newest runs are kept; the releases are all there.
		v = releases.RunView{Run: run, Releases: map[string]releases.Release{}}
		for _, l := range run.Lines {
			if l.Release == "" {
				continue
			}
			if v.Releases[l.Release], err = w.service.Release(ctx, l.Release); err != nil {
				t.Fatal(err)
			}
		}
		happened = append(happened, runText(v))
	}
	all, err := w.service.Releases(ctx, releases.ReleaseQuery{Since: began, Limit: 10000})
	if err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(one releases.Release) bool { return one.Kind != releases.KindCleanup })
	foretold, happened = append(foretold, removedText(f.Removed, began)...), append(happened, removedText(all, began)...)
	slices.Sort(foretold)
	slices.Sort(happened)
	if diff := gocmp.Diff(foretold, happened); diff != "" {
		t.Fatalf("seed %d: foretold (-) and happened (+) from %s on: %s\n%s", seed, began, diff, w.describe())
	}
	return foretold
}

// removedText are the previews' ends as the test compares them. One that makes room for a newer one may do so half a minute
// later than it could.
func removedText(gone []releases.Release, began time.Time) (all []string) {
	gone = slices.SortedFunc(slices.Values(gone), func(a, b releases.Release) int {
		return cmp.Or(strings.Compare(a.App, b.App), a.Created.Compare(b.Created))
	})
	for _, r := range gone {
		all = append(all, fmt.Sprintf("cleanup %s after %.0f hours %s %s", r.App, r.Created.Sub(began).Hours(), r.Status, r.Reason))
	}
	return all
}

// runText is a run as the test compares it.
func runText(v releases.RunView) string {
	var b strings.Builder
	fmt.Fprintf(&b, "run %s at %s: %s", v.ID, v.At.UTC().Format("02 15:04:05"), v.Fate)
	for _, l := range v.Lines {
		fmt.Fprintf(&b, "\n  %s %s %q", l.App, l.SHA[:min(7, len(l.SHA))], l.Skip)
		if l.Release != "" {
			fmt.Fprintf(&b, " %s", v.Releases[l.Release].Status)
		}
	}
	fmt.Fprint(&b, "\n  ", v.Quiet)
	return b.String()
}

func (w *town) describe() string {
	var b strings.Builder
	for _, e := range w.environments {
		fmt.Fprintf(&b, "%+v\n", e)
	}
	for _, p := range w.policies {
		fmt.Fprintf(&b, "%s %s from %v to %s jitter %s apps %s\n", p.Name, p.Timing, p.From, p.To, p.Jitter, p.Apps)
	}
	return b.String()
}

// pick is one of some.
func pick[T any](r *rand.Rand, some ...T) T { return some[r.IntN(len(some))] }

var randomZones = []string{"UTC", "Europe/Budapest", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"}

func randomTown(t *testing.T, r *rand.Rand) *town {
	names := []string{"dev", "staging", "production"}
	var environments []releases.Environment
	for _, name := range names {
		e := releases.Environment{Name: name, Repository: "main", Path: name}
		if name != "dev" && r.IntN(3) == 0 {
			e.Approval = releases.Approval{Needs: []releases.Need{{Count: 1 + r.IntN(2)}}, ExpiresAfter: time.Duration(1+r.IntN(40)) * time.Hour}
		}
		if r.IntN(3) == 0 {
			window, err := schedule.NewWindow(pick(r, "0 16 * * 5", "30 1 * * *", "0 22 * * 1-4", "15 2 * * 0"), time.Duration(1+r.IntN(30))*time.Hour/2, pick(r, randomZones...))
			if err == nil {
				e.Freezes = []releases.PlannedFreeze{{Name: "planned", Window: window}}
			}
		}
		if name == "dev" && r.IntN(2) == 0 {
			e.Previews = releases.Previews{TTL: time.Duration(10+r.IntN(100)) * time.Hour, Max: r.IntN(4)}
		}
		environments = append(environments, e)
	}
	var policies []releases.Policy
	for n := range 2 + r.IntN(6) {
		policies = append(policies, randomPolicy(t, r, fmt.Sprint("p", n)))
	}
	return newTown(t, environments, policies)
}

func randomPolicy(t *testing.T, r *rand.Rand, name string) releases.Policy {
	text, zone := pick(r, "0 2 * * 1-5", "30 2 * * *", "0 */6 * * *", "15 9,17 * * *", "0 0 * * 0", "*/30 4 * * *", "0 3 29 * *", "59 23 * * 1,3,5", "20 * * * *"), pick(r, randomZones...)
	schedule := ticks(t, text, zone)
	p := releases.Policy{
		Name: name, Schedule: schedule, Zone: schedule.Zone(), Timing: text + " " + zone, RunMissed: r.IntN(2) == 0,
		Apps: globs(t, pick(r, []string{"*"}, []string{"a*"}, []string{"*", "!app-1"}, []string{"app-[0-2]", "b*"})...),
	}
	switch r.IntN(5) {
	case 0:
		p.From, p.To = releases.Source{Branch: pick(r, "main", "rel*", "!main")}, pick(r, "dev", "staging")
	case 1:
		p.From, p.To = releases.Source{Tag: pick(r, "v*", "!v0*")}, pick(r, "staging", "production")
	case 2:
		p.From, p.To = releases.Source{Environment: "dev"}, "staging"
	default:
		p.From, p.To = releases.Source{Environment: "staging"}, "production"
	}
	if p.From.Environment != "" {
		p.From.Soak = pick(r, 0, 20*time.Minute, 6*time.Hour, 24*time.Hour, 50*time.Hour)
	}
	p.Jitter = pick(r, 0, 0, 3*time.Minute, 14*time.Minute)
	return p
}

// randomState ships, releases, rolls back, holds, locks, marks and freezes.
func randomState(w *town, r *rand.Rand) {
	ctx := w.t.Context()
	me := releases.Actor{Name: "ada", Via: "console", User: "ada", Root: true}
	apps := []string{"app-0", "app-1", "app-2", "api", "batch"}[:2+r.IntN(4)]
	var shipped []*releases.Shipped
	for range 8 + r.IntN(20) {
		time.Sleep(time.Duration(r.IntN(20)) * time.Hour / 4)
		v := releases.Version{Branch: pick(r, "main", "main", "rel/1", "feature/x"), Event: releases.EventPush}
		if r.IntN(4) == 0 {
			v.Event, v.Tag = releases.EventTag, pick(r, "v1.2", "v0.9", "nightly")
		}
		if r.IntN(5) == 0 {
			v.Created = time.Now().Add(-time.Duration(r.IntN(100)) * time.Hour).Unix()
		}
		deploys := map[string]*releases.Deploy{}
		for _, e := range w.environments {
			if r.IntN(2) == 0 {
				deploys[e.Name] = &releases.Deploy{Branch: "*", Event: releases.EventPush}
			}
		}
		shipped = append(shipped, w.ship(pick(r, apps...), v, deploys))
		if r.IntN(3) == 0 {
			w.preview(pick(r, apps...), pick(r, "feature/a", "feature/b", "feature/c", "feature/d"))
		}
		synctest.Wait()
	}
	env := func() string { return pick(r, "dev", "staging", "production") }
	for range r.IntN(8) {
		time.Sleep(time.Duration(r.IntN(120)) * time.Minute)
		app := pick(r, apps...)
		switch r.IntN(7) {
		case 0:
			_, _ = w.service.Rollback(ctx, releases.RollbackAsk{App: app, Env: env(), By: me})
		case 1:
			_ = w.service.Hold(ctx, app, env(), "because", me, time.Time{})
		case 2:
			_, _ = w.service.Lock(ctx, releases.LockAsk{App: app, Env: env(), Reason: "because", Until: time.Now().Add(time.Duration(1+r.IntN(100)) * time.Hour), By: me})
		case 3:
			_, _ = w.service.MarkBad(ctx, releases.MarkAsk{ArtifactID: shipped[r.IntN(len(shipped))].ID, Reason: "it leaks", By: me})
		case 4:
			_, _ = w.service.Freeze(ctx, releases.FreezeAsk{Env: env(), Reason: "because", Until: time.Now().Add(time.Duration(1+r.IntN(100)) * time.Hour), By: me})
		case 5:
			a := shipped[r.IntN(len(shipped))]
			_, _ = w.service.Propose(ctx, releases.Ask{App: a.Targets[0].App, Env: env(), ArtifactID: a.ID, By: me})
		case 6:
			_ = w.service.Resume(ctx, app, env(), me, time.Time{})
		}
		synctest.Wait()
	}
	time.Sleep(time.Duration(1+r.IntN(100)) * time.Second)
}

// preview ships a version of a branch whose manifest is a preview's.
func (w *town) preview(app, branch string) *releases.Shipped {
	w.sha++
	sha := fmt.Sprintf("%07x%033d", w.sha, 0)
	yes := true
	slug := strings.ReplaceAll(branch, "/", "-")
	return w.ingest(releases.Artifact{
		Version: releases.Version{RepositoryName: "acme/" + app, SHA: sha, Branch: branch, Event: releases.EventPush, Created: time.Now().Unix()},
		Vars:    map[string]string{"SHA": sha, "SLUG": slug},
		Environments: []releases.Manifest{{
			App: app + "-${SLUG}", Env: "dev", Preview: &yes, Deploy: &releases.Deploy{Branch: "feature/*", Event: releases.EventPush}, Manifests: "x: y",
		}},
	})
}
