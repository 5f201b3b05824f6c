package releases_test

import (
	"strings"
	"testing"

	"gimletd/releases"
)

func TestPoliciesThatFightAreTold(t *testing.T) {
	policy := func(name string, from releases.Source, to string, apps ...string) releases.Policy {
		g, err := releases.NewGlobs(apps)
		if err != nil {
			t.Fatal(err)
		}
		return releases.Policy{Name: name, From: from, To: to, Apps: g}
	}
	env := func(name string) releases.Source { return releases.Source{Environment: name} }
	main, next := releases.Source{Branch: "main"}, releases.Source{Branch: "next"}
	for _, c := range []struct {
		name     string
		policies []releases.Policy
		told     []string
	}{
		{"none", nil, nil},
		{"one after the other", []releases.Policy{policy("a", main, "dev"), policy("b", env("dev"), "staging"), policy("c", env("staging"), "production")}, nil},
		{"the same road twice", []releases.Policy{policy("a", main, "dev"), policy("b", main, "dev")}, nil},
		{"two sources", []releases.Policy{policy("a", main, "dev"), policy("b", next, "dev")}, []string{"policies a and b fight over dev: one releases from branch main, the other from branch next"}},
		{"two sources, other apps", []releases.Policy{policy("a", main, "dev", "web-*"), policy("b", next, "dev", "api-*")}, nil},
		{"two sources, some apps", []releases.Policy{policy("a", main, "dev", "web-*"), policy("b", next, "dev", "*-shop")}, []string{"policies a and b fight over dev"}},
		{"what one leaves out", []releases.Policy{policy("a", main, "dev", "*", "!legacy-*"), policy("b", next, "dev", "legacy-*")}, nil},
		{"back and forth", []releases.Policy{policy("a", env("staging"), "production"), policy("b", env("production"), "staging")}, []string{"policies a, b go in a circle"}},
		{"a round of three", []releases.Policy{policy("a", env("x"), "y"), policy("b", env("y"), "z"), policy("c", env("z"), "x")}, []string{"policies a, b, c go in a circle"}},
		{"a round for other apps", []releases.Policy{policy("a", env("x"), "y", "web"), policy("b", env("y"), "x", "api")}, nil},
	} {
		got := releases.Fights(c.policies)
		if len(got) != len(c.told) {
			t.Errorf("%s: %q", c.name, got)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], c.told[i]) {
				t.Errorf("%s: %q, not %q", c.name, got[i], c.told[i])
			}
		}
	}
	var many []releases.Policy
	for i := range 300 {
		many = append(many, policy(string(rune('a'+i%26))+strings.Repeat("x", i/26), releases.Source{Branch: strings.Repeat("b", i+1)}, "dev"))
	}
	if got := releases.Fights(many); len(got) != 21 || !strings.HasSuffix(got[20], "more") {
		t.Errorf("%d lines, the last is %q", len(got), got[len(got)-1])
	}
}
