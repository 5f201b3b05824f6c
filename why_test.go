package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/releases"
	"gimletd/releases/schedule"

	"github.com/google/go-cmp/cmp"
)

// TestWhy prepares situations and holds what `/gimlet why` answers first against a golden file: sentences for newcomers.
func TestWhy(t *testing.T) {
	const golden = "testdata/why.golden"
	me := releases.Actor{Name: "ada", Via: "console", User: "ada", Root: true}
	grace := releases.Actor{Name: "grace", Via: "console", User: "grace", Root: true}
	push := releases.Version{Branch: "main", Event: releases.EventPush}
	auto := map[string]*releases.Deploy{"staging": {Branch: "main", Event: releases.EventPush}}
	var b strings.Builder
	for _, s := range []struct {
		name    string
		env     string
		prepare func(w *whyTown)
	}{
		{"it is live", "staging", func(w *whyTown) { w.ship("web", push, auto) }},
		{"nobody asked, and no policy is there", "production", func(w *whyTown) { w.ship("web", push, nil) }},
		{"its policy wants another branch", "staging", func(w *whyTown) {
			w.ship("web", releases.Version{Branch: "feature/x", Event: releases.EventPush}, auto)
		}},
		{"its policy names a branch and no event", "staging", func(w *whyTown) { w.ship("web", push, map[string]*releases.Deploy{"staging": {Branch: "main"}}) }},
		{"something newer is live", "staging", func(w *whyTown) {
			w.ship("web", push, auto)
			old := push
			old.Created = time.Now().Add(-48 * time.Hour).Unix()
			w.ship("web", old, auto)
		}},
		{"it waits for votes", "production", func(w *whyTown) { w.votes(); w.release(w.ship("web", push, nil), me) }},
		{"it was rejected", "production", func(w *whyTown) {
			w.votes()
			r := w.release(w.ship("web", push, nil), me)
			w.try(w.service.Vote(w.t.Context(), releases.Ballot{ReleaseID: r, Yes: false, Reason: "not on a Friday", By: grace}))
		}},
		{"too few voted", "production", func(w *whyTown) { w.votes(); w.release(w.ship("web", push, nil), me); time.Sleep(5 * time.Hour) }},
		{"it was cancelled", "production", func(w *whyTown) {
			w.votes()
			r := w.release(w.ship("web", push, nil), me)
			w.try(w.service.Cancel(w.t.Context(), r, "wrong version", me, time.Time{}))
		}},
		{"a freeze is on", "production", func(w *whyTown) {
			w.try(w.service.Freeze(w.t.Context(), releases.FreezeAsk{Env: "production", Reason: "Black Friday", Until: time.Now().Add(30 * time.Hour), By: grace}))
			w.release(w.ship("web", push, nil), me)
		}},
		{"somebody has locked it", "production", func(w *whyTown) {
			a := w.ship("web", push, nil)
			w.try(w.service.Lock(w.t.Context(), releases.LockAsk{App: "web", Env: "production", Reason: "a migration", Until: time.Now().Add(3 * time.Hour), By: grace}))
			w.release(a, me)
		}},
		{"it is marked as bad", "staging", func(w *whyTown) {
			a := w.ship("web", releases.Version{Branch: "hotfix", Event: releases.EventPush}, auto)
			w.try(w.service.MarkBad(w.t.Context(), releases.MarkAsk{ArtifactID: a.ID, Reason: "it leaks memory", By: grace}))
		}},
		{"automation is held", "staging", func(w *whyTown) {
			w.ship("web", push, auto)
			if err := w.service.Hold(w.t.Context(), "web", "staging", "load test", grace, time.Time{}); err != nil {
				t.Error(err)
			}
			w.ship("web", push, auto)
		}},
		{"it was rolled back", "staging", func(w *whyTown) { w.ship("web", push, auto); w.ship("web", push, auto); w.rollback(me) }},
		{"it was rolled back, and automation goes on", "staging", func(w *whyTown) {
			w.ship("web", push, auto)
			w.ship("web", push, auto)
			w.rollback(me)
			if err := w.service.Resume(w.t.Context(), "web", "staging", me, time.Time{}); err != nil {
				t.Error(err)
			}
		}},
		{"the nightly policy will release it", "production", func(w *whyTown) { w.ship("web", push, auto); time.Sleep(30 * time.Hour) }},
		{"it soaks", "production", func(w *whyTown) { w.ship("web", push, auto) }},
		{"the policy takes what is live, and that is another", "production", func(w *whyTown) {
			w.ship("web", push, auto)
			w.ship("web", releases.Version{Branch: "feature/x", Event: releases.EventPush}, auto)
		}},
		{"an older one was released after it", "staging", func(w *whyTown) {
			a := w.ship("web", push, auto)
			w.ship("web", push, auto)
			w.try(w.service.Propose(w.t.Context(), releases.Ask{App: "web", Env: "staging", ArtifactID: a.ID, By: me}))
		}},
		{"it failed", "production", func(w *whyTown) { w.release(w.ship("broken", push, nil), me) }},
		{"it was removed", "staging", func(w *whyTown) {
			w.ship("web", push, auto)
			w.try(w.service.Remove(w.t.Context(), releases.RemoveAsk{App: "web", Env: "staging", By: me}))
		}},
		{"a policy that has released it waits for votes", "production", func(w *whyTown) { w.votes(); w.ship("web", push, auto); time.Sleep(42 * time.Hour) }},
	} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(time.Date(2000, 3, 1, 9, 0, 0, 0, time.UTC)))
			w := newWhyTown(t)
			defer w.end()
			w.start()
			defer func() { w.stop() }()
			s.prepare(w)
			synctest.Wait()
			e, err := w.service.Why(t.Context(), w.app, s.env)
			if err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			answer := e.Answer(w.app, s.env, time.Now(), time.UTC)
			for i, v := range slices.Backward(e.Releases) {
				answer = strings.ReplaceAll(answer, v.ID, fmt.Sprintf("r-%d", len(e.Releases)-i))
			}
			fmt.Fprintf(&b, "%s\n    %s\n\n", s.name, answer)
		})
	}
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Error(diff)
	}
}

// whyTown is a town with one nightly policy and an app.
type whyTown struct {
	*town
	app string
}

func newWhyTown(t *testing.T) *whyTown {
	nightly, err := schedule.NewTicks("0 2 * * *", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	return &whyTown{newTown(t, []releases.Environment{
		{Name: "staging", Repository: "main", Path: "staging"}, {Name: "production", Repository: "main", Path: "production"},
	}, []releases.Policy{{
		Name: "nightly", Schedule: nightly, Zone: time.UTC, Timing: "0 2 * * *", From: releases.Source{Environment: "staging", Soak: 24 * time.Hour}, To: "production", RunMissed: true,
	}}), "web"}
}

// votes makes production ask for a vote.
func (w *whyTown) votes() {
	w.stop()
	w.environments[1].Approval = releases.Approval{Needs: []releases.Need{{Count: 1, From: []string{"managers"}}}, ExpiresAfter: 4 * time.Hour}
	w.start()
}

func (w *whyTown) ship(app string, v releases.Version, deploys map[string]*releases.Deploy) *releases.Shipped {
	w.app = app
	a := w.town.ship(app, v, deploys)
	synctest.Wait()
	time.Sleep(time.Minute)
	return a
}

func (w *whyTown) release(a *releases.Shipped, by releases.Actor) string {
	made, err := w.service.Propose(w.t.Context(), releases.Ask{App: w.app, Env: "production", ArtifactID: a.ID, By: by})
	w.try(nil, err)
	synctest.Wait()
	return made[0].ID
}

func (w *whyTown) rollback(by releases.Actor) {
	w.try(w.service.Rollback(w.t.Context(), releases.RollbackAsk{App: w.app, Env: "staging", By: by}))
	synctest.Wait()
}

func (w *whyTown) try(_ any, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Error(err)
	}
}
