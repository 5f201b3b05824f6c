package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gimletd/releases"

	"gimletd/releases/schedule"
)

// ApprovalConfig says how many of whom must agree before a release goes out: count and from, or several groups together.
type ApprovalConfig struct {
	Count        int           `yaml:"count"`
	From         []string      `yaml:"from"`   // roles
	Groups       []GroupConfig `yaml:"groups"` // all of them
	Not          []string      `yaml:"not"`    // requester, authors
	ExpiresAfter time.Duration `yaml:"expiresAfter"`
	RemindAfter  time.Duration `yaml:"remindAfter"`
}

// GroupConfig is one of the groups that have to agree.
type GroupConfig struct {
	Count int      `yaml:"count"`
	From  []string `yaml:"from"`
}

// FreezeConfig is a planned freeze.
type FreezeConfig struct {
	Name     string        `yaml:"name"`
	Reason   string        `yaml:"reason"`
	Start    string        `yaml:"start"` // cron, five fields
	Duration time.Duration `yaml:"duration"`
	Timezone string        `yaml:"timezone"`
}

// pauseDefault is the time between releases that go on once nothing keeps them back any more.
const pauseDefault = 10 * time.Second

// approval is the rule for the domain. Reminders come at half of the time, unless configured.
func (c ApprovalConfig) approval() releases.Approval {
	a := releases.Approval{Not: c.Not, ExpiresAfter: c.ExpiresAfter, RemindAfter: c.RemindAfter}
	for _, g := range c.groups() {
		if g.Count > 0 {
			a.Needs = append(a.Needs, releases.Need{Count: g.Count, From: g.From})
		}
	}
	if a.RemindAfter == 0 {
		a.RemindAfter = a.ExpiresAfter / 2
	}
	return a
}

func (c ApprovalConfig) groups() []GroupConfig {
	if len(c.Groups) > 0 {
		return c.Groups
	}
	return []GroupConfig{{c.Count, c.From}}
}

func (c FreezeConfig) planned() (releases.PlannedFreeze, error) {
	w, err := schedule.NewWindow(c.Start, c.Duration, c.Timezone)
	return releases.PlannedFreeze{Name: c.Name, Reason: c.Reason, Window: w}, err
}

// blocks are the words by which a rollback's obstacles are configured.
func blocks() map[string]string {
	return map[string]string{"approval": releases.BlockVotes, "freeze": releases.BlockFreeze, "lock": releases.BlockLock}
}

func (c Config) zone() *time.Location {
	zone, err := schedule.Zone(c.Timezone)
	if err != nil {
		return time.UTC // refused by validate
	}
	return zone
}

func (c Config) validateControl() (faults []fault) {
	add := func(path, format string, args ...any) {
		faults = append(faults, fault{path, fmt.Errorf(format, args...)})
	}
	if _, err := schedule.Zone(c.Timezone); err != nil {
		add("timezone", "%w", err)
	}
	for i, e := range c.Environments {
		at := fmt.Sprintf("environments[%d]", i)
		c.validateApproval(at+".approval", e, add)
		c.validateFreezes(at+".freezes", e, add)
		if e.MaxCommits < 0 || e.MaxCommits > 400 {
			add(at+".maxCommits", "%d is not between 0 and 400", e.MaxCommits)
		}
		if e.MaxCommits > 0 && len(e.Approval.approval().Needs) == 0 {
			if voters, open := c.countVoters(e, nil); len(voters) == 0 && !open && len(c.Roles) > 0 {
				add(at+".maxCommits", "nobody could say yes: no role with members can approve in %s", e.Name)
			}
		}
		for j, word := range e.Rollbacks {
			if blocks()[word] == "" {
				add(fmt.Sprintf("%s.rollbacks[%d]", at, j), "%q is not approval, freeze or lock", word)
			}
		}
		if e.Pause != nil && (*e.Pause < 0 || *e.Pause > time.Hour) {
			add(at+".pause", "%s is not between 0 and an hour", *e.Pause)
		}
	}
	return faults
}

// validateFreezes refuses windows that make no sense, and those of which together one is always on.
func (c Config) validateFreezes(at string, e EnvironmentConfig, add addFault) {
	names := map[string]bool{}
	var windows []releases.PlannedFreeze
	for i, f := range e.Freezes {
		here := fmt.Sprintf("%s[%d]", at, i)
		if f.Name == "" || strings.ContainsAny(f.Name, " \t/") {
			add(here+".name", "%q is not a name without spaces", f.Name)
		}
		if names[f.Name] {
			add(here+".name", "there is another freeze %q", f.Name)
		}
		names[f.Name] = true
		p, err := f.planned()
		if err != nil {
			add(here, "%w", err)
			continue
		}
		windows = append(windows, p)
	}
	if from := neverOpen(windows); !from.IsZero() {
		add(at, "together they never open: from %s on there is no moment in which none of them is on", from.Format(time.DateOnly))
	}
}

// neverOpen looks for a year, or, where windows are very many, a month, without a moment that no window covers, and returns
// its beginning; the zero time when there is none.
func neverOpen(windows []releases.PlannedFreeze) time.Time {
	const year, month, most = 366 * 24 * time.Hour, 30 * 24 * time.Hour, 2000 // most: windows to look through
	if len(windows) < 2 {
		return time.Time{} // one alone was looked at when it was read
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for begin, t, n := now, now, 0; t.Before(now.Add(2*year)) && n < most; n++ {
		covered := false
		for _, p := range windows {
			if _, until, in := p.Window.At(t); in {
				t, covered = until, true
			}
		}
		switch {
		case covered && t.Sub(begin) >= year:
			return begin
		case !covered:
			next := time.Time{}
			for _, p := range windows {
				if from, _, ok := p.Window.Next(t); ok && (next.IsZero() || from.Before(next)) {
					next = from
				}
			}
			if next.IsZero() {
				return next
			}
			begin, t = next, next
		}
		if n == most-1 && t.Sub(begin) > month {
			return begin
		}
	}
	return time.Time{}
}

// validateApproval refuses a rule that nobody can meet.
func (c Config) validateApproval(at string, e EnvironmentConfig, add addFault) {
	a := e.Approval
	if a.ExpiresAfter < 0 || a.RemindAfter < 0 {
		add(at, "times are not negative")
	}
	for i, who := range a.Not {
		if who != releases.NotRequester && who != releases.NotAuthors {
			add(fmt.Sprintf("%s.not[%d]", at, i), "%q is not requester or authors", who)
		}
	}
	if len(a.Groups) > 0 && (a.Count > 0 || len(a.From) > 0) {
		add(at+".groups", "count and from are set, too: either those or groups")
	}
	for i, g := range a.groups() {
		here := at
		if len(a.Groups) > 0 {
			here = fmt.Sprintf("%s.groups[%d]", at, i)
		}
		if g.Count < 0 || g.Count > 20 {
			add(here+".count", "%d is not between 0 and 20", g.Count)
		}
		for j, name := range g.From {
			if !slices.ContainsFunc(c.Roles, func(r RoleConfig) bool { return r.Name == name }) {
				add(fmt.Sprintf("%s.from[%d]", here, j), "there is no role %q", name)
			}
		}
		if g.Count == 0 && (len(g.From)+len(a.Not) > 0 || a.ExpiresAfter > 0 || len(a.Groups) > 0) {
			add(here+".count", "missing; how many votes are needed?")
		}
	}
	c.validateVoters(at, e, add)
}

// validateVoters refuses a rule for which there are too few people, each of whom counts once.
func (c Config) validateVoters(at string, e EnvironmentConfig, add addFault) {
	rule := e.Approval.approval()
	everybody := map[string][]string{} // the roles with which each person could vote
	anyOpen := false
	for i, need := range rule.Needs {
		here := at + ".count"
		if len(e.Approval.Groups) > 0 {
			here = fmt.Sprintf("%s.groups[%d].count", at, i)
		}
		voters, open := c.countVoters(e, need.From)
		anyOpen = anyOpen || open
		for person, roles := range voters {
			everybody[person] = append(everybody[person], roles...)
		}
		switch {
		case len(voters) == 0 && !open:
			add(at, "nobody could vote: no role with members %s can approve in %s", describeFrom(need.From), e.Name)
			return
		case len(voters) < need.Count && !open:
			add(here, "%d votes are needed, but only %d people could vote", need.Count, len(voters))
			return
		}
	}
	if anyOpen || len(rule.Needs) < 2 {
		return
	}
	if met, _ := together(rule, everybody); !met {
		add(at+".groups", "there are too few people: each counts for one of the groups only")
	}
}

// together reports whether the rule is met when everybody votes.
func together(rule releases.Approval, everybody map[string][]string) (bool, string) {
	rule.Not = nil
	r := releases.Release{Plan: &releases.Plan{}}
	for _, person := range sortedNames(everybody) {
		r.Votes = append(r.Votes, releases.Vote{Yes: true, By: releases.Actor{Name: person, Person: person, Roles: everybody[person]}})
	}
	return rule.Met(r)
}

func describeFrom(from []string) string {
	if len(from) == 0 {
		return "at all"
	}
	return "of " + strings.Join(from, " or ")
}

// countVoters finds the people who could vote in the environment, each with the roles that let them; open is true when a
// group is among them, whose members only the platform knows.
func (c Config) countVoters(e EnvironmentConfig, from []string) (people map[string][]string, open bool) {
	people = map[string][]string{}
	for _, r := range c.roles() {
		anyApp := releases.Role{Name: r.Name, Can: r.Can, Environments: r.Environments}
		may := releases.Allow([]releases.Role{anyApp}, releases.Actor{Roles: []string{r.Name}}, releases.VerbApprove, "", e.Name) == nil
		if !may || (len(from) > 0 && !slices.Contains(from, r.Name)) {
			continue
		}
		for _, m := range r.Members {
			_, id, ok := strings.Cut(m, ":")
			if ok && (slackGroupName.MatchString(id) || discordRole.MatchString(id)) {
				open = true
				continue
			}
			for _, p := range c.People {
				if strings.EqualFold(m, p.Email) || m == "slack:"+p.Slack || m == "discord:"+p.Discord {
					m = strings.ToLower(p.Email) // the same person by another name
				}
			}
			people[m] = append(people[m], r.Name)
		}
	}
	return people, open
}

// environments are those of the configuration for the domain.
func (c Config) environments() (all []releases.Environment, err error) {
	for _, e := range c.Environments {
		env := releases.Environment{
			Name: e.Name, Repository: e.GitOps, Path: *e.Path, Channels: e.Channels, Approval: e.Approval.approval(), MaxCommits: e.MaxCommits, Pause: *e.Pause,
			Previews: releases.Previews(e.Previews),
		}
		for _, word := range e.Rollbacks {
			env.Rollbacks = append(env.Rollbacks, blocks()[word])
		}
		for _, f := range e.Freezes {
			planned, err := f.planned()
			if err != nil {
				return nil, err
			}
			env.Freezes = append(env.Freezes, planned)
		}
		all = append(all, env)
	}
	return all, nil
}
