package main

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/releases"
)

var (
	ada   = releases.Actor{Name: "ada", Via: "console", User: "ada", Root: true}
	every = map[string]*releases.Deploy{"staging": {Event: releases.EventPush}}
)

// shipped ships a version for staging without a commit time.
func (s *policyScene) undated(app, branch string, deploys map[string]*releases.Deploy) *releases.Shipped {
	s.sha++
	sha := strings.Repeat("0", 6) + string(rune('a'+s.sha)) + strings.Repeat("0", 33)
	a := releases.Artifact{Version: releases.Version{RepositoryName: "acme/" + app, SHA: sha, Branch: branch, Event: releases.EventPush}, Vars: map[string]string{"SHA": sha}}
	for _, e := range s.environments {
		a.Environments = append(a.Environments, releases.Manifest{App: app, Env: e.Name, Deploy: deploys[e.Name], Manifests: "x: y"})
	}
	made := s.ingest(a)
	synctest.Wait()
	return made
}

func (s *policyScene) done(_ any, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	synctest.Wait()
}

// skips are the apps' kinds of reasons in the newest run.
func (s *policyScene) skips(app string) string {
	s.t.Helper()
	all := s.ran()
	for _, l := range all[len(all)-1].Lines {
		if l.App == app {
			return l.Skip
		}
	}
	return "none"
}

func TestWhatPoliciesLeaveAlone(t *testing.T) {
	fromMain := func(p *releases.Policy, _ *answering) {
		p.From, p.To = releases.Source{Branch: "main"}, "production"
	}
	t.Run("an older version, when CI tells no times", func(t *testing.T) {
		policied(t, fromMain, func(s *policyScene) {
			s.undated("shop", "main", nil)
			newer := s.undated("shop", "main", nil)
			s.until("02 03:00:00")
			s.done(s.service.MarkBad(s.t.Context(), releases.MarkAsk{ArtifactID: newer.ID, Reason: "it leaks", By: ada}))
			s.until("03 03:00:00")
			states, err := s.service.Status(s.t.Context(), "production", "shop")
			if err != nil || len(states) != 1 || states[0].Live.ArtifactID != newer.ID {
				t.Errorf("%+v %v", states, err)
			}
		})
	})
	t.Run("what a person waits for", func(t *testing.T) {
		policied(t, nil, func(s *policyScene) {
			s.stop()
			s.environments[1].Approval = releases.Approval{Needs: []releases.Need{{Count: 1}}}
			s.start()
			other := s.undated("web", "hotfix", nil)
			made, err := s.service.Propose(s.t.Context(), releases.Ask{App: "web", Env: "production", ArtifactID: other.ID, By: ada})
			s.done(made, err)
			s.until("02 03:00:00")
			if r, err := s.service.Release(s.t.Context(), made[0].ID); err != nil || r.Status != releases.Waiting || s.skips("web") != releases.SkipAsked {
				t.Errorf("%s %s %v", r.Status, s.skips("web"), err)
			}
		})
	})
	t.Run("a commit that was rolled back, built again and asked for in vain", func(t *testing.T) {
		policied(t, nil, func(s *policyScene) {
			s.until("02 03:00:00")
			bad := s.undated("web", "main", every)
			s.until("03 03:00:00")
			s.done(s.service.Rollback(s.t.Context(), releases.RollbackAsk{App: "web", Env: "production", By: ada}))
			s.done(nil, s.service.Resume(s.t.Context(), "web", "production", ada, time.Time{}))
			again := bad.Artifact
			again.ID, again.Vars = "", map[string]string{"SHA": bad.Version.SHA, "BUILD": "2"}
			s.ingest(again)
			synctest.Wait()
			s.until("04 03:00:00")
			if got := s.skips("web"); got != releases.SkipRolledBack {
				t.Errorf("skip %q: %v", got, s.lines())
			}
		})
	})
	t.Run("what fails, for a while", func(t *testing.T) {
		policied(t, func(p *releases.Policy, _ *answering) { p.Schedule = ticks(t, "*/5 * * * *", "UTC") }, func(s *policyScene) {
			s.promotable("broken")
			staging := s.ship("broken", releases.Version{Branch: "main", Event: releases.EventPush}, nil)
			_ = staging
			s.until("02 20:00:00")
			all, err := s.service.Releases(s.t.Context(), releases.ReleaseQuery{App: "broken", Limit: 1000})
			if err != nil || len(all) > 5 {
				t.Errorf("%d releases of what cannot be rendered (%v)", len(all), err)
			}
		})
	})
	t.Run("the place of what is no preview", func(t *testing.T) {
		policied(t, func(p *releases.Policy, _ *answering) {
			p.From, p.To = releases.Source{Branch: "feature/*"}, "staging"
		}, func(s *policyScene) {
			yes := true
			s.ingest(releases.Artifact{
				Version: releases.Version{RepositoryName: "acme/web", SHA: strings.Repeat("f", 40), Branch: "feature/b", Event: releases.EventPush, Created: time.Now().Unix()}, Vars: map[string]string{"SHA": "f"},
				Environments: []releases.Manifest{{App: "web", Env: "staging", Preview: &yes, Manifests: "x: y"}},
			})
			s.until("02 03:00:00")
			if got := s.skips("web"); got != releases.SkipDisplaces {
				t.Errorf("skip %q: %v", got, s.lines())
			}
		})
	})
}

// previewed is a scene whose staging has previews of branches.
func previewed(t *testing.T, change func(s *policyScene), play func(s *policyScene)) {
	policied(t, func(p *releases.Policy, _ *answering) {
		p.From, p.To = releases.Source{Branch: "feature/*"}, "staging"
	}, func(s *policyScene) {
		if change != nil {
			s.stop()
			change(s)
			s.start()
		}
		play(s)
	})
}

// feature ships a version of a branch whose app goes with every branch but main.
func (s *policyScene) feature(branch string) *releases.Shipped {
	s.sha++
	sha := strings.Repeat("e", 39) + string(rune('a'+s.sha))
	return s.ingest(releases.Artifact{
		Version: releases.Version{RepositoryName: "acme/shop", SHA: sha, Branch: branch, Event: releases.EventPush, Created: time.Now().Unix()},
		Vars:    map[string]string{"SHA": sha, "SLUG": strings.ReplaceAll(branch, "/", "-")},
		Environments: []releases.Manifest{{
			App: "shop-${SLUG}", Env: "staging", Manifests: "x: y", Deploy: &releases.Deploy{Event: releases.EventPush},
			Cleanup: &releases.Cleanup{App: "shop-${SLUG}", Branch: "!main", Event: releases.BranchDeleted},
		}},
	})
}

func (s *policyScene) deleted(branch string) {
	s.t.Helper()
	_, _, _, err := s.service.DeleteBranch(s.t.Context(), releases.Deletion{Repository: "acme/shop", Branch: branch, By: releases.Actor{Name: "github", Via: releases.ViaWebhook}})
	s.done(nil, err)
}

func (s *policyScene) staged(app string, want bool) {
	s.t.Helper()
	s.repo.mu.Lock()
	defer s.repo.mu.Unlock()
	if got := s.repo.folders["staging/"+app].Tree != ""; got != want {
		s.t.Errorf("%s in staging: %v, want %v", app, got, want)
	}
}

func TestPreviewsThatMustGoDo(t *testing.T) {
	t.Run("one that was on its way when the branch went", func(t *testing.T) {
		previewed(t, nil, func(s *policyScene) {
			s.feature("feature/a")
			synctest.Wait()
			s.feature("feature/a") // and the branch goes before it is planned
			s.deleted("feature/a")
			time.Sleep(time.Hour)
			synctest.Wait()
			s.staged("shop-feature-a", false)
		})
	})
	t.Run("one that was held then goes when it is let", func(t *testing.T) {
		previewed(t, nil, func(s *policyScene) {
			s.feature("feature/a")
			synctest.Wait()
			s.done(nil, s.service.Hold(s.t.Context(), "shop-feature-a", "staging", "a demo", ada, time.Time{}))
			s.deleted("feature/a")
			time.Sleep(time.Hour)
			synctest.Wait()
			s.staged("shop-feature-a", true)
			s.done(nil, s.service.Resume(s.t.Context(), "shop-feature-a", "staging", ada, time.Time{}))
			time.Sleep(time.Hour)
			synctest.Wait()
			s.staged("shop-feature-a", false)
		})
	})
	t.Run("and stays away, until somebody wants it back", func(t *testing.T) {
		previewed(t, nil, func(s *policyScene) {
			a := s.feature("feature/a")
			synctest.Wait()
			s.deleted("feature/a")
			s.until("03 03:00:00")
			s.staged("shop-feature-a", false)
			if got := s.skips("shop-feature-a"); got != releases.SkipRemoved {
				t.Errorf("skip %q", got)
			}
			s.done(s.service.Propose(s.t.Context(), releases.Ask{App: "shop-feature-a", Env: "staging", ArtifactID: a.ID, By: ada}))
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			s.staged("shop-feature-a", true)
		})
	})
	t.Run("what the manifest protects is no preview, however old", func(t *testing.T) {
		previewed(t, func(s *policyScene) { s.environments[0].Previews = releases.Previews{TTL: 10 * time.Hour, Max: 1} }, func(s *policyScene) {
			s.feature("main")
			s.feature("feature/a")
			synctest.Wait()
			s.staged("shop-feature-a", true)
			time.Sleep(100 * time.Hour)
			synctest.Wait()
			s.staged("shop-main", true)
			s.staged("shop-feature-a", false)
		})
	})
	t.Run("one that failed is tried again after a day", func(t *testing.T) {
		previewed(t, func(s *policyScene) { s.environments[0].Previews = releases.Previews{TTL: 10 * time.Hour} }, func(s *policyScene) {
			s.feature("feature/a")
			synctest.Wait()
			s.repo.mu.Lock()
			before := s.repo.folders["staging/shop-feature-a"]
			s.repo.mu.Unlock()
			s.repo.edit("staging/shop-feature-a")
			time.Sleep(20 * time.Hour)
			synctest.Wait()
			s.staged("shop-feature-a", true)
			all, err := s.service.Releases(s.t.Context(), releases.ReleaseQuery{App: "shop-feature-a", Limit: 100})
			if err != nil || len(all) != 2 || all[0].Status != releases.Failed {
				t.Errorf("%d releases, %v", len(all), err)
			}
			s.repo.mu.Lock()
			s.repo.folders["staging/shop-feature-a"] = before
			s.repo.mu.Unlock()
			time.Sleep(20 * time.Hour)
			synctest.Wait()
			s.staged("shop-feature-a", false)
		})
	})
	t.Run("what was there before it was a preview is taken over by its branch", func(t *testing.T) {
		previewed(t, nil, func(s *policyScene) {
			yes := true
			for n, preview := range []*bool{nil, &yes} {
				s.ingest(releases.Artifact{
					Version: releases.Version{RepositoryName: "acme/shop", SHA: strings.Repeat("d", 39) + string(rune('0'+n)), Branch: "feature/c", Event: releases.EventPush, Created: time.Now().Unix()}, Vars: map[string]string{"SHA": string(rune('0' + n))},
					Environments: []releases.Manifest{{App: "shop-c", Env: "staging", Preview: preview, Manifests: "x: y", Deploy: &releases.Deploy{Event: releases.EventPush}}},
				})
				time.Sleep(time.Minute)
				synctest.Wait()
			}
			s.deleted("feature/c")
			s.staged("shop-c", false)
		})
	})
}

func TestRunsThatCannotGoOn(t *testing.T) {
	t.Run("a policy that is changed ends the run that waits for its gates", func(t *testing.T) {
		policied(t, gated, func(s *policyScene) {
			s.until("02 02:05:00")
			s.stop()
			s.policies[0].Gates, s.policies[0].Terms = nil, "another"
			s.start()
			s.until("03 03:00:00")
			s.expect("02 02:00 ran; api stays: gate; web stays: gate", "03 02:00 ran; api goes; web goes")
		})
	})
	t.Run("a clock that was ahead does not keep it", func(t *testing.T) {
		var skew atomic.Int64
		policied(t, gated, func(s *policyScene) {
			s.stop()
			s.clock = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
			skew.Store(int64(40 * 24 * time.Hour))
			s.start()
			s.until("02 02:05:00")
			skew.Store(0)
			s.gate.set("web", releases.Pass)
			s.gate.set("api", releases.Pass)
			s.until("04 03:00:00")
			s.live("web", true)
			for _, r := range s.ran() {
				if r.Ended.IsZero() {
					t.Errorf("%s never ended", r.ID)
				}
			}
		})
	})
	t.Run("a store that cannot be written is not asked all the time", func(t *testing.T) {
		policied(t, nil, func(s *policyScene) {
			s.life.full.Store(true)
			s.until("02 03:00:00")
			if n := s.life.refused.Load(); n == 0 || n > 500 {
				t.Errorf("%d writes in an hour", n)
			}
			s.life.full.Store(false)
			s.until("02 03:10:00")
			s.live("web", true)
		})
	})
}

func TestAForecastOfManyRuns(t *testing.T) {
	policied(t, func(p *releases.Policy, _ *answering) { p.Schedule = ticks(t, "*/30 * * * *", "UTC") }, func(s *policyScene) {
		f, err := s.service.Forecast(s.t.Context(), time.Now().Add(40*24*time.Hour), nil)
		if err != nil || len(f.Runs) != 40*48 {
			t.Errorf("%d runs, %v", len(f.Runs), err)
		}
		if _, err := s.service.Forecast(s.t.Context(), time.Now().Add(100*24*time.Hour), nil); err == nil {
			t.Error("a hundred days can be foretold")
		}
		ended, cancel := context.WithCancel(s.t.Context())
		cancel()
		if _, err := s.service.Forecast(ended, time.Now().Add(24*time.Hour), nil); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody waits any more: %v", err)
		}
	})
}
