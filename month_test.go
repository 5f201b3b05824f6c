package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/releases"
)

var monthDays = flag.Int("monthdays", 12, "how many days are simulated; both changes of the clocks are within the first ten")

// rule is a schedule as the judge knows it: by looking at the clock on the wall each minute.
type rule struct {
	text   string
	hourly bool // goes by the time that passes
	at     func(wall time.Time) bool
}

func clock(hour, minute int) func(time.Time) bool {
	return func(w time.Time) bool { return w.Hour() == hour && w.Minute() == minute }
}

func weekday(at func(time.Time) bool) func(time.Time) bool {
	return func(w time.Time) bool { return at(w) && w.Weekday() != time.Saturday && w.Weekday() != time.Sunday }
}

var rules = []rule{
	{"0 2 * * 1-5", false, weekday(clock(2, 0))},
	{"30 2 * * *", false, clock(2, 30)},
	{"30 1 * * *", false, clock(1, 30)},
	{"15 9,17 * * *", false, func(w time.Time) bool { return w.Minute() == 15 && (w.Hour() == 9 || w.Hour() == 17) }},
	{"0 */6 * * *", true, func(w time.Time) bool { return w.Minute() == 0 && w.Hour()%6 == 0 }},
	{"20 * * * *", true, func(w time.Time) bool { return w.Minute() == 20 }},
	{"*/20 2 * * 0", false, func(w time.Time) bool { return w.Hour() == 2 && w.Minute()%20 == 0 && w.Weekday() == time.Sunday }},
	{"0 12 1 * *", false, func(w time.Time) bool { return w.Day() == 1 && w.Hour() == 12 && w.Minute() == 0 }},
}

// ticks are the rule's moments, found without a cron library: a minute that the clock skips passes at the moment of the change,
// and one that it shows twice passes the first time.
func (r rule) ticks(zone *time.Location, from, until time.Time) (all []time.Time) {
	naive := func(t time.Time) time.Time {
		_, offset := t.In(zone).Zone()
		return t.UTC().Add(time.Duration(offset) * time.Second)
	}
	first := from.Add(-25 * time.Hour).Truncate(time.Minute)
	passed := naive(first)
	for t := first.Add(time.Minute); !t.After(until); t = t.Add(time.Minute) {
		wall, due := naive(t), false
		if r.hourly {
			due = r.at(wall)
		} else {
			for ; passed.Before(wall); passed = passed.Add(time.Minute) {
				due = due || r.at(passed.Add(time.Minute))
			}
		}
		if due && t.After(from) {
			all = append(all, t)
		}
	}
	return all
}

// TestAMonthOfPolicies lets a month pass over 200 apps and 20 policies, with two changes of the clocks, artifacts that come in,
// and a process that goes down at random: each tick runs exactly once, or is left out as configured.
func TestAMonthOfPolicies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { newMonth(t, 1).play() })
}

// month is a simulated month, and what the judge knows of it.
type month struct {
	*town
	rand  *rand.Rand
	rules []rule // by policy
	up    []span // when the process ran
	apps  []string
}

type span struct{ from, until time.Time }

func newMonth(t *testing.T, seed uint64) *month {
	m := &month{rand: rand.New(rand.NewPCG(seed, 3))}
	time.Sleep(time.Until(time.Date(2000, 3, 24, 13, 0, 30, 0, time.UTC)))
	environments := []releases.Environment{
		{Name: "staging", Repository: "main", Path: "staging"}, {Name: "production", Repository: "main", Path: "production"}, {Name: "eu", Repository: "main", Path: "eu"},
	}
	for n := range 200 {
		m.apps = append(m.apps, fmt.Sprintf("app-%02d-%d", n/10, n%10))
	}
	zones := []string{"Europe/Budapest", "America/New_York", "UTC", "Europe/Budapest", "America/New_York"}
	var policies []releases.Policy
	for n := range 20 {
		rule, zone := rules[n%len(rules)], zones[n%len(zones)]
		schedule := ticks(t, rule.text, zone)
		p := releases.Policy{
			Name: fmt.Sprint("policy-", n), Schedule: schedule, Zone: schedule.Zone(), Timing: rule.text + zone, RunMissed: n%3 != 0,
			Apps: globs(t, fmt.Sprintf("app-%02d-*", n), fmt.Sprintf("app-%02d-*", (n*7)%20)), From: releases.Source{Environment: "staging", Soak: time.Duration(n%4) * 8 * time.Hour}, To: "production",
		}
		if n%5 == 4 {
			p.From, p.To = releases.Source{Environment: "production", Soak: 6 * time.Hour}, "eu"
		}
		if n%4 == 1 {
			p.Jitter = 7 * time.Minute
		}
		m.rules, policies = append(m.rules, rule), append(policies, p)
	}
	m.town = newTown(t, environments, policies)
	return m
}

func (m *month) play() {
	t := m.t
	defer m.end()
	began := time.Now()
	until := began.Add(time.Duration(*monthDays) * 24 * time.Hour)
	deploys := map[string]*releases.Deploy{"staging": {Branch: "main", Event: releases.EventPush}}
	m.start()
	m.up = append(m.up, span{from: began})
	synctest.Wait()
	restarts := 0
	for time.Now().Before(until) {
		time.Sleep(time.Duration(1+m.rand.IntN(90*60)) * time.Second)
		switch m.rand.IntN(12) {
		case 0:
			m.stop()
			m.up[len(m.up)-1].until = time.Now()
			time.Sleep(pick(m.rand, time.Duration(m.rand.IntN(240))*time.Second, time.Duration(m.rand.IntN(9*60))*time.Minute))
			m.start()
			m.up = append(m.up, span{from: time.Now()})
			restarts++
		case 1: // it dies at one of the next writes, and is back within a minute
			m.life.after.Store(1 + m.rand.Int64N(30))
			for range 6 * 60 {
				time.Sleep(time.Minute)
				synctest.Wait()
				if m.life.dead.Load() {
					break
				}
			}
			m.stop()
			m.up[len(m.up)-1].until = time.Now()
			m.start()
			m.up = append(m.up, span{from: time.Now()})
			restarts++
		default:
			m.ship(m.apps[m.rand.IntN(len(m.apps))], releases.Version{Branch: "main", Event: releases.EventPush}, deploys)
		}
		synctest.Wait()
	}
	m.stop()
	end := time.Now()
	m.up[len(m.up)-1].until = end
	m.judge(began, end, restarts)
	seen := map[string]bool{}
	for _, c := range m.repo.commits {
		if seen[c.ReleaseID] {
			t.Errorf("%s was committed twice", c.ReleaseID)
		}
		seen[c.ReleaseID] = true
	}
	promoted := 0
	for _, c := range m.repo.commits {
		if strings.HasPrefix(c.Folder, "production/") || strings.HasPrefix(c.Folder, "eu/") {
			promoted++
		}
	}
	if promoted < 20**monthDays/2 {
		t.Errorf("%d releases by policies prove little", promoted)
	}
	t.Logf("%d restarts, %d commits, %d of them by policies", restarts, len(m.repo.commits), promoted)
}

// judge compares each tick with what became of it.
func (m *month) judge(began, end time.Time, restarts int) {
	runs := map[string]map[time.Time]releases.Run{}
	total, ran, left := 0, 0, 0
	for _, r := range m.ran() {
		if runs[r.Policy] == nil {
			runs[r.Policy] = map[time.Time]releases.Run{}
		}
		runs[r.Policy][r.Due.UTC()] = r
	}
	for id, versions := range m.runs {
		if len(versions) != 1 {
			m.t.Errorf("%s was begun %d times", id, len(versions))
		}
	}
	for n, p := range m.policies {
		for due, fate := range m.expect(p, m.rules[n].ticks(p.Zone, began, end.Add(-10*time.Minute))) {
			total++
			r, happened := runs[p.Name][due.UTC()]
			delete(runs[p.Name], due.UTC())
			switch {
			case fate == "" && happened:
				m.t.Errorf("%s of %s was %s; it was missed, and there was a later one", p.Name, due, r.Fate)
			case fate != "" && !happened:
				m.t.Errorf("%s of %s: nothing happened; want %s", p.Name, due.In(p.Zone), fate)
			case fate != r.Fate:
				m.t.Errorf("%s of %s: %s, want %s", p.Name, due.In(p.Zone), r.Fate, fate)
			}
			if fate == releases.Ran {
				ran++
			} else {
				left++
			}
		}
		for due, r := range runs[p.Name] {
			if due.Before(end.Add(-10 * time.Minute)) {
				m.t.Errorf("%s ran at %s (%s), which is no tick of %s", p.Name, due.In(p.Zone), r.Fate, p.Timing)
			}
		}
	}
	if ran < 100 || left < restarts/10 {
		m.t.Errorf("%d ticks ran and %d did not: that proves nothing", ran, left)
	}
	m.t.Logf("%d ticks: %d ran, %d were left out", total, ran, left)
}

// expect is what must become of each tick: "" for one that was missed when a later one had come, too.
func (m *month) expect(p releases.Policy, ticks []time.Time) map[time.Time]releases.Fate {
	const grace = 2 * time.Minute
	fates := map[time.Time]releases.Fate{}
	begins := func(tick time.Time) time.Time { return tick.Add(p.Delay(tick)) }
	for i, tick := range ticks {
		at := begins(tick)
		var up time.Time // when the process was first there to see it
		for _, s := range m.up {
			if !s.until.Before(at) && (up.IsZero() || s.from.Before(up)) {
				up = s.from
				if at.After(up) {
					up = at
				}
				break
			}
		}
		later := i+1 < len(ticks) && !ticks[i+1].After(up)
		switch {
		case later:
			fates[tick] = ""
		case up.Sub(at) > grace && !p.RunMissed:
			fates[tick] = releases.Missed
		default:
			fates[tick] = releases.Ran
		}
	}
	return fates
}
