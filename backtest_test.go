package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/releases"
)

// history lets ten days pass over a policyScene's town, with versions that come in, people who release and roll back, and a
// planned freeze.
func (s *policyScene) history(r *rand.Rand) {
	me := releases.Actor{Name: "ada", Via: "console", User: "ada", Root: true}
	apps := []string{"web", "api", "batch"}
	for end := time.Now().Add(10 * 24 * time.Hour); time.Now().Before(end); {
		time.Sleep(time.Duration(1+r.IntN(8*60)) * time.Minute)
		app := pick(r, apps...)
		switch r.IntN(8) {
		case 0:
			_, _ = s.service.Rollback(s.t.Context(), releases.RollbackAsk{App: app, Env: "staging", By: me})
			synctest.Wait()
			_ = s.service.Resume(s.t.Context(), app, "staging", me, time.Time{})
		case 1:
			all, err := s.service.Artifacts(s.t.Context(), releases.ArtifactQuery{Target: releases.Target{App: app, Env: "production"}, Limit: 5})
			if err == nil && len(all) > 0 {
				_, _ = s.service.Propose(s.t.Context(), releases.Ask{App: app, Env: "production", ArtifactID: all[r.IntN(len(all))].ID, By: me})
			}
		default:
			s.promotable(app)
		}
		synctest.Wait()
	}
}

func TestABacktestOfTheSamePoliciesFindsNoDifference(t *testing.T) {
	for seed := range uint64(6) {
		policied(t, func(p *releases.Policy, _ *answering) {
			p.From.Soak = time.Duration(seed%3) * 10 * time.Hour
			p.Jitter = time.Duration(seed%2) * 9 * time.Minute
		}, func(s *policyScene) {
			began := time.Now()
			s.history(rand.New(rand.NewPCG(seed, 1)))
			time.Sleep(time.Second)
			for _, back := range []time.Duration{time.Since(began) - time.Minute, 4*24*time.Hour + 3*time.Hour} {
				b, err := s.service.Backtest(s.t.Context(), time.Now().Add(-back), nil)
				if err != nil {
					t.Fatal(err)
				}
				if len(b.Compared) < 1 {
					t.Errorf("seed %d: %d releases prove nothing", seed, len(b.Compared))
				}
				for _, c := range b.Compared {
					if !c.Same() {
						t.Errorf("seed %d, from %s on: %+v", seed, b.From, c)
					}
				}
			}
		})
	}
}

func TestABacktestTellsWhatAnotherPolicyWouldHaveDone(t *testing.T) {
	policied(t, nil, func(s *policyScene) {
		s.until("02 12:00:00")
		s.promotable("web")
		s.until("04 12:00:00")
		other := s.policies[0]
		noon := ticks(t, "0 13 * * *", "UTC")
		other.Name, other.Schedule, other.Apps = "noon", noon, globs(t, "web")
		b, err := s.service.Backtest(s.t.Context(), time.Date(2000, 3, 1, 21, 0, 0, 0, time.UTC), &releases.Changed{Environments: s.environments, Policies: []releases.Policy{other}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range b.Compared {
			text := fmt.Sprintf("%s %s: would %s", c.App, c.Version, c.Would)
			if c.Would != "" {
				text += c.WouldAt.Format(" 02 15:04")
			}
			text += ", did " + c.Did
			if c.Did != "" {
				text += c.DidAt.Format(" 02 15:04")
			}
			got = append(got, text)
		}
		want := []string{
			"api 0000002: would , did nightly 02 02:00",
			"web 0000001: would , did nightly 02 02:00",
			"web 0000003: would noon 02 13:00, did nightly 03 02:00",
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q\nnot\n%q", got, want)
		}
	})
}
