package releases_test

import (
	"strings"
	"testing"

	"gimletd/releases"
)

func TestWhoMayVoteAndWhatCounts(t *testing.T) {
	person := func(name string, change func(*releases.Actor)) releases.Actor {
		a := releases.Actor{Name: name, Email: name + "@example.com", Via: "slack", User: "U" + name, Person: "slack:U" + name, Roles: []string{"managers"}}
		if change != nil {
			change(&a)
		}
		return a
	}
	ada, grace, tess := person("ada", nil), person("grace", nil), person("tess", nil)
	linked := person("ada", func(a *releases.Actor) { a.Person = "person:ada@example.com" })
	elsewhere := person("ada", func(a *releases.Actor) { a.Person, a.Via, a.User = "person:ada@example.com", "discord", "1" })
	left := person("heidi", func(a *releases.Actor) { a.Roles = nil })
	unknown := person("ivan", func(a *releases.Actor) { a.Email = "" })
	root := releases.Actor{Name: "console", Via: "console", User: "console", Person: "console:console", Root: true}
	two := releases.Approval{Needs: []releases.Need{{Count: 2, From: []string{"managers"}}}, Not: []string{releases.NotRequester, releases.NotAuthors}}
	anybody := releases.Approval{Needs: []releases.Need{{Count: 2}}}
	wroteIt := releases.Version{SHA: "1111111", AuthorName: "Someone", AuthorEmail: "GRACE@example.com"}
	somebody := releases.Version{SHA: "1111111", AuthorName: "Else", AuthorEmail: "else@example.com"}
	for _, c := range []struct {
		name    string
		rule    releases.Approval
		version releases.Version
		voters  []releases.Actor
		met     bool
		says    string
	}{
		{"nobody", two, somebody, nil, false, "0 of 2 approvals of managers"},
		{"one", two, somebody, []releases.Actor{ada}, false, "1 of 2"},
		{"two", two, somebody, []releases.Actor{ada, grace}, true, "2 of 2"},
		{"one twice", two, somebody, []releases.Actor{ada, ada}, false, "1 of 2"},
		{"one from two platforms", two, somebody, []releases.Actor{linked, elsewhere}, false, "1 of 2"},
		{"one before and after they were added to people", two, somebody, []releases.Actor{ada, linked}, false, "1 of 2"},
		{"one who has lost the role", two, somebody, []releases.Actor{ada, left}, false, "1 of 2"},
		{"one who has lost the role, without a list of roles", anybody, somebody, []releases.Actor{ada, left}, false, "1 of 2"},
		{"who asked", two, somebody, []releases.Actor{ada, tess}, false, "1 of 2"},
		{"who asked, where that is no matter", anybody, somebody, []releases.Actor{ada, tess}, true, "2 of 2"},
		{"who wrote it, by address in any case", two, wroteIt, []releases.Actor{ada, grace}, false, "1 of 2"},
		{"whose address is not known", two, somebody, []releases.Actor{ada, unknown}, false, "1 of 2"},
		{"nobody knows who wrote it", two, releases.Version{SHA: "1111111"}, []releases.Actor{ada, grace}, false, "0 of 2"},
		{"who sits at the console", two, somebody, []releases.Actor{ada, root}, true, "2 of 2"},
	} {
		r := releases.Release{App: "web", Env: "production", Version: c.version, RequestedBy: tess, Plan: &releases.Plan{Digest: "d"}}
		for _, v := range c.voters {
			r.Votes = append(r.Votes, releases.Vote{By: v, Yes: true, Digest: "d"})
		}
		met, says := c.rule.Met(r)
		if met != c.met || !strings.Contains(says, c.says) {
			t.Errorf("%s: %v, %s", c.name, met, says)
		}
		r.Plan = &releases.Plan{Digest: "another"}
		if met, says := c.rule.Met(r); met || !strings.HasPrefix(says, "0 of 2") {
			t.Errorf("%s, for another plan: %v, %s", c.name, met, says)
		}
		r.Plan.Digest = "d"
		r.Votes = append(r.Votes, releases.Vote{By: ada, Digest: "d"})
		if met, _ := c.rule.Met(r); met {
			t.Errorf("%s: met with a vote against it", c.name)
		}
	}
}

func TestAllow(t *testing.T) {
	roles := []releases.Role{
		{Name: "developers", Can: []string{"release"}, Environments: []string{"staging", "preview-*"}, Apps: []string{"web", "api-*"}},
		{Name: "managers", Can: []string{"release", "approve"}},
	}
	for _, c := range []struct {
		actor          releases.Actor
		verb, app, env string
		want           string // the kind of the error, and a part of what it says
	}{
		{releases.Actor{Roles: []string{"developers"}}, "release", "web", "staging", ""},
		{releases.Actor{Roles: []string{"developers"}}, "release", "api-1", "preview-7", ""},
		{releases.Actor{Roles: []string{"developers"}}, "release", "other", "staging", "not allowed: needs managers"},
		{releases.Actor{Roles: []string{"developers"}}, "release", "web", "production", "not allowed: needs managers"},
		{releases.Actor{Roles: []string{"developers"}}, "approve", "web", "staging", "not allowed: needs managers"},
		{releases.Actor{Roles: []string{"managers"}}, "approve", "web", "production", ""},
		{releases.Actor{Roles: []string{"managers"}}, "rollback", "web", "production", "not allowed: no role may"},
		{releases.Actor{}, "release", "web", "staging", "not allowed: needs developers or managers"},
		{releases.Actor{Doubt: "Slack is down"}, "release", "web", "staging", "unavailable: Slack is down"},
		{releases.Actor{Root: true}, "rollback", "web", "production", ""},
	} {
		err := releases.Allow(roles, c.actor, c.verb, c.app, c.env)
		kind, part, _ := strings.Cut(c.want, ": ")
		if string(releases.KindOf(err)) != kind || (err != nil && !strings.Contains(err.Error(), part)) {
			t.Errorf("%v %s %s %s: %v", c.actor, c.verb, c.app, c.env, err)
		}
	}
	if err := releases.Allow(nil, releases.Actor{}, "release", "web", "staging"); err == nil || !strings.Contains(err.Error(), "no roles yet") {
		t.Errorf("without roles: %v", err)
	}
}
