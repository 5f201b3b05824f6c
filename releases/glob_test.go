package releases_test

import (
	"testing"

	"gimletd/releases"
)

func TestGlobsSelectNames(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		yes, no  []string
	}{
		{nil, []string{"web", "api"}, nil},
		{[]string{"*"}, []string{"web", ""}, nil},
		{[]string{"web"}, []string{"web"}, []string{"webs", "we"}},
		{[]string{"team-*"}, []string{"team-", "team-a"}, []string{"team", "steam-a"}},
		{[]string{"*-api"}, []string{"a-api"}, []string{"a-apis"}},
		{[]string{"*", "!legacy-*"}, []string{"web"}, []string{"legacy-web"}},
		{[]string{"!legacy-*"}, []string{"web"}, []string{"legacy-web"}},
		{[]string{"a", "b", "!b"}, []string{"a"}, []string{"b", "c"}},
		{[]string{"app-[0-2]"}, []string{"app-1"}, []string{"app-3"}},
		{[]string{"{web,api}-?"}, []string{"web-1", "api-2"}, []string{"web-12", "db-1"}},
	} {
		g, err := releases.NewGlobs(c.patterns)
		if err != nil {
			t.Errorf("%v: %v", c.patterns, err)
			continue
		}
		for _, name := range c.yes {
			if !g.Match(name) {
				t.Errorf("%v does not select %q", c.patterns, name)
			}
		}
		for _, name := range c.no {
			if g.Match(name) {
				t.Errorf("%v selects %q", c.patterns, name)
			}
		}
	}
	for _, bad := range []string{"", "!", "a[", "{a"} {
		if _, err := releases.NewGlobs([]string{"ok", bad}); err == nil {
			t.Errorf("%q can be read", bad)
		}
	}
}

// FuzzGlobsThatAreApart checks that what is said never to select a name in common never does.
func FuzzGlobsThatAreApart(f *testing.F) {
	f.Add("web-*", "*-api", "web-api")
	f.Add("a?c", "ab*", "abc")
	f.Add("{a,b}", "b", "b")
	f.Add("!x*", "xy", "xy")
	f.Fuzz(func(t *testing.T, one, other, name string) {
		a, err1 := releases.NewGlobs([]string{one})
		b, err2 := releases.NewGlobs([]string{other})
		if err1 != nil || err2 != nil || !a.Match(name) || !b.Match(name) {
			return
		}
		policies := []releases.Policy{
			{Name: "a", Apps: a, From: releases.Source{Branch: "main"}, To: "x"}, {Name: "b", Apps: b, From: releases.Source{Branch: "next"}, To: "x"},
		}
		if len(releases.Fights(policies)) == 0 {
			t.Errorf("%q and %q both select %q, and are said not to fight", one, other, name)
		}
	})
}
