package storagetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"gimletd/releases"

	"github.com/google/go-cmp/cmp"
)

func testPolicies(t *testing.T, s Store) {
	run := func(policy string, n int, ended bool) releases.Run {
		due := start.Add(time.Duration(n) * time.Hour)
		r := releases.Run{ID: fmt.Sprintf("%s/%s", policy, due.Format("2006-01-02T15:04Z")), Policy: policy, Due: due, At: due, Fate: releases.Ran, Quiet: map[string]int{"live": n}}
		if ended {
			r.Ended = due
		}
		return r
	}
	same := func(what string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	state := releases.PolicyState{Name: "nightly", Timing: "0 2 * * *", Last: start}
	other := releases.PolicyState{Name: "night", Timing: "0 2 * * *", Last: start}
	artifact := &releases.Shipped{Targets: []releases.Target{{App: "web", Env: "staging"}}}
	artifact.ID, artifact.Version = "acme/policies-1", releases.Version{RepositoryName: "acme/policies", SHA: "abcdef0123"}
	artifact.Environments = []releases.Manifest{{App: "web", Env: "staging"}}
	update(t, s, func(tx releases.Tx) error {
		for n := range 5 {
			if err := errors.Join(tx.PutRun(run("nightly", n, true)), tx.PutRun(run("night", n, n > 0))); err != nil {
				return err
			}
		}
		var err error
		if artifact.Key, err = tx.NextKey(start); err != nil {
			return err
		}
		return errors.Join(tx.PutPolicyState(state), tx.PutPolicyState(other), tx.PutRun(run("nightly", 5, false)), tx.PutArtifact(artifact),
			tx.PutLive(releases.Live{App: "policies-web", Env: "staging", Tree: "t"}), tx.PutSettings(map[string]string{"a": "b"}))
	})
	view(t, s, func(tx releases.Tx) error {
		states, err1 := tx.PolicyStates()
		same("states", states, []releases.PolicyState{other, state})
		newest, err2 := tx.Runs("nightly", 2)
		same("the newest runs", newest, []releases.Run{run("nightly", 5, false), run("nightly", 4, true)})
		all, err3 := tx.Runs("night", 100)
		same("all runs of a policy whose name begins another's", len(all), 5)
		none, err4 := tx.Runs("nigh", 100)
		same("runs of no policy", len(none), 0)
		open, err5 := tx.OpenRuns()
		same("open runs", open, []releases.Run{run("night", 0, false), run("nightly", 5, false)})
		one, err6 := tx.Run(run("nightly", 3, true).ID)
		same("a run", *one, run("nightly", 3, true))
		if _, err := tx.Run("nightly/never"); releases.KindOf(err) != releases.NotFound {
			t.Errorf("no run: %v", err)
		}
		fits, err7 := tx.Fits("acme/policies-1", releases.Target{App: "web", Env: "staging"})
		same("it fits", fits, true)
		for _, target := range []releases.Target{{App: "web", Env: "production"}, {App: "we", Env: "staging"}, {App: "web2", Env: "staging"}} {
			fits, err := tx.Fits("acme/policies-1", target)
			same("it fits "+target.String(), fits, false)
			err7 = errors.Join(err7, err)
		}
		fits, err8 := tx.Fits("acme/none", releases.Target{App: "web", Env: "staging"})
		same("nothing fits", fits, false)
		settings, err9 := tx.Settings()
		same("settings", settings, map[string]string{"a": "b"})
		return errors.Join(err1, err2, err3, err4, err5, err6, err7, err8, err9)
	})
	update(t, s, func(tx releases.Tx) error {
		first, err1 := tx.Hear("github 1", start)
		again, err2 := tx.Hear("github 1", start.Add(1000*time.Hour))
		same("heard", []bool{first, again}, []bool{true, false})
		return errors.Join(err1, err2, tx.PruneRuns("nightly", 2, nil), tx.PruneRuns("night", 0, map[string]bool{run("night", 3, true).ID: true}), tx.PutRun(run("nightly", 5, true)), tx.ClearPolicyState("night"), tx.ClearLive("policies-web", "staging"))
	})
	view(t, s, func(tx releases.Tx) error {
		needed, err0 := tx.Runs("night", 100)
		same("what is needed is left", needed, []releases.Run{run("night", 3, true), run("night", 0, false)})
		left, err1 := tx.Runs("nightly", 100)
		same("runs that are left", left, []releases.Run{run("nightly", 5, true), run("nightly", 4, true)})
		open, err2 := tx.OpenRuns()
		same("an open run is never pruned", open, []releases.Run{run("night", 0, false)})
		states, err3 := tx.PolicyStates()
		same("states that are left", states, []releases.PolicyState{state})
		live, err4 := tx.Live("policies-web", "staging")
		same("nothing is live", live, (*releases.Live)(nil))
		return errors.Join(err0, err1, err2, err3, err4)
	})
}
