package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/releases"
)

// answering is a gate's check that answers as it is told to.
type answering struct {
	mu    sync.Mutex
	says  map[string]releases.Verdict // by app
	hangs bool
	asked map[string]int
}

func (a *answering) Question(s releases.Subject) string { return s.App }

func (a *answering) Ask(ctx context.Context, question string) (releases.Verdict, string) {
	a.mu.Lock()
	a.asked[question]++
	says, hangs := a.says[question], a.hangs
	a.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return releases.Inconclusive, "it hangs"
	}
	if says == "" {
		says = releases.Inconclusive
	}
	return says, "seen: " + question
}

func (a *answering) set(app string, v releases.Verdict) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.says[app] = v
}

// policyScene is a town with a policy that promotes to production each day at 2:00, and apps that are live in staging.
type policyScene struct {
	*town
	gate *answering
}

func policied(t *testing.T, change func(p *releases.Policy, gate *answering), play func(s *policyScene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2000, 3, 1, 20, 0, 0, 0, time.UTC)))
		nightly := ticks(t, "0 2 * * *", "UTC")
		gate := &answering{says: map[string]releases.Verdict{}, asked: map[string]int{}}
		p := releases.Policy{Name: "nightly", Schedule: nightly, Zone: time.UTC, Timing: "0 2 * * * UTC", From: releases.Source{Environment: "staging"}, To: "production", RunMissed: true}
		if change != nil {
			change(&p, gate)
		}
		s := &policyScene{gate: gate, town: newTown(t, []releases.Environment{
			{Name: "staging", Repository: "main", Path: "staging"}, {Name: "production", Repository: "main", Path: "production"},
		}, []releases.Policy{p})}
		defer s.end()
		s.start()
		defer func() { s.stop() }()
		s.promotable("web")
		s.promotable("api")
		play(s)
	})
}

// promotable ships a version that goes to staging by itself.
func (s *policyScene) promotable(app string) {
	s.ship(app, releases.Version{Branch: "main", Event: releases.EventPush}, map[string]*releases.Deploy{"staging": {Event: releases.EventPush}})
	synctest.Wait()
}

// until lets time pass to a moment of the night after the first.
func (s *policyScene) until(text string) {
	s.t.Helper()
	at, err := time.Parse("02 15:04:05", text)
	if err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(time.Until(time.Date(2000, 3, at.Day(), at.Hour(), at.Minute(), at.Second(), 0, time.UTC)))
	synctest.Wait()
}

// lines are the runs so far, a line for each app.
func (s *policyScene) lines() (all []string) {
	for _, r := range s.ran() {
		text := r.Due.Format("02 15:04 ") + string(r.Fate)
		if r.Why != "" {
			text += " (" + r.Why + ")"
		}
		if r.Ended.IsZero() {
			text += " …"
		}
		for _, l := range r.Lines {
			text += fmt.Sprintf("; %s %s%s", l.App, map[bool]string{true: "goes", false: "stays: " + l.Skip}[l.Release != ""], map[bool]string{true: " (gates)"}[l.Fires && l.Release == ""])
		}
		all = append(all, text)
	}
	return all
}

func (s *policyScene) expect(want ...string) {
	s.t.Helper()
	if got := s.lines(); !slices.Equal(got, want) {
		s.t.Errorf("the runs are\n  %s\nnot\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func (s *policyScene) live(app string, want bool) {
	s.t.Helper()
	s.repo.mu.Lock()
	defer s.repo.mu.Unlock()
	if got := s.repo.folders["production/"+app].Tree != ""; got != want {
		s.t.Errorf("%s in production: %v, want %v", app, got, want)
	}
}

func gated(p *releases.Policy, gate *answering) {
	p.Gates = []releases.PolicyGate{{Name: "smoke", Timeout: 10 * time.Minute, Every: time.Minute, Check: gate}}
}

func TestPolicyRuns(t *testing.T) {
	t.Run("on time, each app once", func(t *testing.T) {
		policied(t, nil, func(s *policyScene) {
			s.until("03 12:00:00")
			s.expect("02 02:00 ran; api goes; web goes", "03 02:00 ran")
			s.live("web", true)
		})
	})
	t.Run("what came in while the process was down is caught up with once", func(t *testing.T) {
		policied(t, nil, func(s *policyScene) {
			s.stop()
			s.until("05 09:00:00")
			s.start()
			s.until("05 09:30:00")
			s.expect("05 02:00 ran (it is 7h late, and the 3 ticks before were missed: GimletD was down, or its clock was changed); api goes; web goes")
		})
	})
	t.Run("or left out", func(t *testing.T) {
		policied(t, func(p *releases.Policy, _ *answering) { p.RunMissed = false }, func(s *policyScene) {
			s.stop()
			s.until("02 02:03:00")
			s.start()
			s.until("02 09:30:00")
			s.expect("02 02:00 missed (it is 3m late: GimletD was down, or its clock was changed)")
			s.live("web", false)
			s.until("03 09:30:00")
			s.live("web", true)
		})
	})
	t.Run("a short stop is not missed", func(t *testing.T) {
		policied(t, func(p *releases.Policy, _ *answering) { p.RunMissed = false }, func(s *policyScene) {
			s.until("02 01:59:30")
			s.stop()
			s.until("02 02:01:30")
			s.start()
			synctest.Wait()
			s.expect("02 02:00 ran; api goes; web goes")
		})
	})
	t.Run("a schedule that is changed is not caught up with", func(t *testing.T) {
		policied(t, nil, func(s *policyScene) {
			s.until("02 10:00:00")
			s.stop()
			s.policies[0].Schedule, s.policies[0].Timing = ticks(t, "0 9 * * *", "UTC"), "0 9 * * * UTC"
			s.start()
			s.until("03 08:00:00")
			s.expect("02 02:00 ran; api goes; web goes")
			s.until("03 10:00:00")
			s.expect("02 02:00 ran; api goes; web goes", "03 09:00 ran")
		})
	})
	t.Run("a policy that went and comes back begins anew", func(t *testing.T) {
		policied(t, nil, func(s *policyScene) {
			s.stop()
			before := s.policies
			s.policies = nil
			s.start()
			s.until("02 10:00:00")
			s.stop()
			s.policies = before
			s.start()
			s.until("02 20:00:00")
			s.expect()
		})
	})
	t.Run("what was rolled back is not promoted again", func(t *testing.T) {
		policied(t, nil, func(s *policyScene) {
			me := releases.Actor{Name: "ada", Via: "console", User: "ada", Root: true}
			s.until("02 03:00:00")
			s.promotable("web")
			s.until("03 03:00:00")
			if _, err := s.service.Rollback(s.t.Context(), releases.RollbackAsk{App: "web", Env: "production", By: me}); err != nil {
				t.Fatal(err)
			}
			s.until("04 03:00:00")
			if err := s.service.Resume(s.t.Context(), "web", "production", me, time.Time{}); err != nil {
				t.Fatal(err)
			}
			s.until("05 03:00:00")
			s.expect("02 02:00 ran; api goes; web goes", "03 02:00 ran; web goes", "04 02:00 ran; web stays: hold", "05 02:00 ran; web stays: rolledBack")
		})
	})
	t.Run("what somebody has cancelled is not asked for again", func(t *testing.T) {
		policied(t, nil, func(s *policyScene) {
			me := releases.Actor{Name: "ada", Via: "console", User: "ada", Root: true}
			if _, err := s.service.Freeze(s.t.Context(), releases.FreezeAsk{Env: "production", Until: time.Now().Add(20 * time.Hour), Reason: "because", By: me}); err != nil {
				t.Fatal(err)
			}
			s.until("02 03:00:00")
			for _, r := range s.ran()[0].Lines {
				if r.App == "web" {
					if _, err := s.service.Cancel(s.t.Context(), r.Release, "not now", me, time.Time{}); err != nil {
						t.Fatal(err)
					}
				}
			}
			s.until("04 03:00:00")
			s.expect("02 02:00 ran; api goes; web goes", "03 02:00 ran; web stays: refused", "04 02:00 ran; web stays: refused")
			s.live("api", true)
			s.live("web", false)
		})
	})
}

func TestPolicyGates(t *testing.T) {
	t.Run("each app goes when its gates pass", func(t *testing.T) {
		policied(t, gated, func(s *policyScene) {
			s.gate.set("web", releases.Pass)
			s.until("02 02:00:30")
			s.expect("02 02:00 ran …; api stays:  (gates); web goes")
			s.live("web", true)
			s.until("02 02:04:30")
			s.gate.set("api", releases.Pass)
			s.until("02 02:05:30")
			s.expect("02 02:00 ran; api goes; web goes")
			if s.gate.asked["web"] != 1 || s.gate.asked["api"] != 6 {
				t.Errorf("the gate was asked %v times", s.gate.asked)
			}
		})
	})
	t.Run("a no is a no, and others go", func(t *testing.T) {
		policied(t, gated, func(s *policyScene) {
			s.gate.set("web", releases.Fail)
			s.gate.set("api", releases.Pass)
			s.until("02 02:00:30")
			s.expect("02 02:00 ran; api goes; web stays: gate")
			if got := s.ran()[0].Lines[1].Reason; got != "gate smoke failed: seen: web" {
				t.Errorf("it says %q", got)
			}
			s.until("02 20:00:00")
			s.live("web", false)
		})
	})
	t.Run("no answer is a no when its time is over", func(t *testing.T) {
		policied(t, gated, func(s *policyScene) {
			s.until("02 02:09:00")
			s.expect("02 02:00 ran …; api stays:  (gates); web stays:  (gates)")
			s.until("02 02:12:00")
			s.expect("02 02:00 ran; api stays: gate; web stays: gate")
			if got := s.ran()[0].Lines[1].Reason; got != "gate smoke gave no answer within 10m0s: seen: web" {
				t.Errorf("it says %q", got)
			}
		})
	})
	t.Run("a gate that hangs keeps nobody else", func(t *testing.T) {
		policied(t, func(p *releases.Policy, gate *answering) { gated(p, gate); gate.hangs = true }, func(s *policyScene) {
			s.until("02 02:05:00")
			s.promotable("other")
			s.repo.mu.Lock()
			there := s.repo.folders["staging/other"].Tree != ""
			s.repo.mu.Unlock()
			if !there {
				t.Error("a release waits for a gate that is not its own")
			}
			s.until("02 02:12:00")
			s.expect("02 02:00 ran; api stays: gate; web stays: gate")
		})
	})
	t.Run("after a restart the gates are asked again, within the same time", func(t *testing.T) {
		policied(t, gated, func(s *policyScene) {
			s.until("02 02:05:00")
			s.stop()
			s.gate.set("web", releases.Pass)
			s.start()
			s.until("02 02:06:00")
			s.expect("02 02:00 ran …; api stays:  (gates); web goes")
			s.until("02 02:12:00")
			s.expect("02 02:00 ran; api stays: gate; web goes")
		})
	})
	t.Run("the next tick does not begin while gates are asked", func(t *testing.T) {
		policied(t, func(p *releases.Policy, gate *answering) {
			gated(p, gate)
			p.Gates[0].Timeout = 20 * time.Hour
			p.Schedule, p.Timing = ticks(t, "0 */6 * * *", "UTC"), "0 */6 * * * UTC"
		}, func(s *policyScene) {
			s.until("02 07:00:00")
			s.expect("02 00:00 ran …; api stays:  (gates); web stays:  (gates)", "02 06:00 overlapped (the run of Thu 2 Mar 2000 00:00 UTC still waits for its gates)")
		})
	})
	t.Run("a newer version is not let through by the answer about an older", func(t *testing.T) {
		policied(t, gated, func(s *policyScene) {
			s.until("02 02:05:00")
			s.promotable("web")
			s.gate.set("web", releases.Pass)
			s.until("02 02:07:00")
			if l := s.ran()[0].Lines[1]; l.Release != "" || !strings.Contains(l.Reason, "its gates were asked about 0000001, and by now 0000003 would be released") {
				t.Errorf("%+v", l)
			}
		})
	})
	t.Run("the rollout is a gate", func(t *testing.T) {
		policied(t, func(p *releases.Policy, _ *answering) {
			p.Gates = []releases.PolicyGate{{Name: "healthy", Timeout: 10 * time.Minute, Every: time.Minute}}
		}, func(s *policyScene) {
			s.until("02 02:05:00")
			s.expect("02 02:00 ran …; api stays:  (gates); web stays:  (gates)")
			s.rolledOut("web", releases.Healthy)
			s.expect("02 02:00 ran …; api stays:  (gates); web goes")
			s.rolledOut("api", releases.Unhealthy)
			s.expect("02 02:00 ran; api stays: gate; web goes")
		})
	})
	t.Run("only what is healthy", func(t *testing.T) {
		policied(t, func(p *releases.Policy, _ *answering) { p.From.Healthy = true }, func(s *policyScene) {
			s.rolledOut("web", releases.Healthy)
			s.until("02 03:00:00")
			s.expect("02 02:00 ran; api stays: health; web goes")
		})
	})
}

// rolledOut tells of the rollout of the commit by which the app is live in staging.
func (s *policyScene) rolledOut(app string, health releases.Health) {
	s.t.Helper()
	states, err := s.service.Status(s.t.Context(), "staging", app)
	if err != nil || len(states) != 1 {
		s.t.Fatal(states, err)
	}
	ci := releases.Actor{Name: "flux", Via: releases.ViaAPI, Root: true}
	if _, err := s.service.RolledOut(s.t.Context(), releases.Rollout{Env: "staging", Commit: states[0].Live.Commit, Health: health, By: ci}); err != nil {
		s.t.Fatal(err)
	}
	synctest.Wait()
}
