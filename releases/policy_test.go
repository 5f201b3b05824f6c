package releases_test

import (
	"strings"
	"testing"
	"time"

	"gimletd/releases"
)

func TestDecide(t *testing.T) {
	push := releases.Version{RepositoryName: "acme/web", Branch: "main", Event: releases.EventPush, Message: "fix: a thing\n\nmore", Created: 100}
	on := func(change func(v *releases.Version)) releases.Version {
		v := push
		change(&v)
		return v
	}
	tag := on(func(v *releases.Version) { v.Event, v.Tag, v.Branch = releases.EventTag, "v1.2.0", "" })
	for _, c := range []struct {
		name   string
		deploy *releases.Deploy
		v      releases.Version
		fires  bool
		reason string
	}{
		{"no policy", nil, push, false, "no deploy policy"},
		{"an empty policy", &releases.Deploy{}, push, false, "no deploy policy"},
		{"branch without event", &releases.Deploy{Branch: "main"}, push, false, "not the event push or pr"},
		{"branch with event tag", &releases.Deploy{Branch: "main", Event: "tag"}, push, false, "not the event push or pr"},
		{"tag without event", &releases.Deploy{Tag: "v*"}, tag, false, "not the event tag"},
		{"tag and branch", &releases.Deploy{Tag: "v*", Branch: "main", Event: "push"}, push, false, "can never match together"},
		{"another event", &releases.Deploy{Branch: "main", Event: "pr"}, push, false, "wants event pr, this is a push"},
		{"an absent event is a push", &releases.Deploy{Branch: "main", Event: "push"}, on(func(v *releases.Version) { v.Event = "" }), true, `push on branch "main" matches "main"`},
		{"branch equals", &releases.Deploy{Branch: "main", Event: "push"}, push, true, `matches "main"`},
		{"branch differs", &releases.Deploy{Branch: "main", Event: "push"}, on(func(v *releases.Version) { v.Branch = "mainly" }), false, `"mainly" does not match`},
		{"a star crosses slashes", &releases.Deploy{Branch: "feature/*", Event: "push"}, on(func(v *releases.Version) { v.Branch = "feature/a/b" }), true, "matches"},
		{"alternatives", &releases.Deploy{Branch: "{main,release-[0-9]}", Event: "push"}, on(func(v *releases.Version) { v.Branch = "release-7" }), true, "matches"},
		{"one character", &releases.Deploy{Branch: "v?", Event: "push"}, on(func(v *releases.Version) { v.Branch = "v12" }), false, "does not match"},
		{"a negated branch", &releases.Deploy{Branch: "!main", Event: "push"}, push, false, "does not match"},
		{"a negated branch, another", &releases.Deploy{Branch: "!main", Event: "push"}, on(func(v *releases.Version) { v.Branch = "dev" }), true, "matches"},
		{"tag matches", &releases.Deploy{Tag: "v*", Event: "tag"}, tag, true, `tag "v1.2.0" matches "v*"`},
		{"a negated tag excludes", &releases.Deploy{Tag: "!v*", Event: "tag"}, tag, false, "does not match"},
		{"a negated tag, another", &releases.Deploy{Tag: "!v*", Event: "tag"}, on(func(v *releases.Version) { v.Event, v.Tag = releases.EventTag, "nightly" }), true, "matches"},
		{"an empty tag matches no tag policy", &releases.Deploy{Tag: "*", Event: "tag"}, on(func(v *releases.Version) { v.Event = releases.EventTag }), false, "has no tag"},
		{"an empty tag matches no negated one", &releases.Deploy{Tag: "!v*", Event: "tag"}, on(func(v *releases.Version) { v.Event = releases.EventTag }), false, "has no tag"},
		{"event alone", &releases.Deploy{Event: "push"}, on(func(v *releases.Version) { v.Branch = "any" }), true, "every push fires"},
		{"a message matches", &releases.Deploy{Branch: "main", Event: "push", CommitMessagePatterns: []string{"feat:*", "fix:*"}}, push, true, "matches"},
		{"no message matches", &releases.Deploy{Branch: "main", Event: "push", CommitMessagePatterns: []string{"feat:*"}}, push, false, "matches none of"},
		{"messages alone", &releases.Deploy{CommitMessagePatterns: []string{"*"}}, push, false, "they narrow a branch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := releases.Decide(releases.Target{App: "web", Env: "staging"}, c.deploy, c.v, releases.Snapshot{})
			if got.Fires != c.fires || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("fires %v because %q, want %v because %q", got.Fires, got.Reason, c.fires, c.reason)
			}
		})
	}
}

func TestAutomationNeverGoesBackwardsAndRespectsHolds(t *testing.T) {
	deploy := &releases.Deploy{Branch: "main", Event: "push"}
	v := releases.Version{RepositoryName: "acme/web", Branch: "main", SHA: "aaaaaaaaaa", Created: 100}
	live := func(created int64, repository string) *releases.Live {
		return &releases.Live{Version: releases.Version{RepositoryName: repository, SHA: "bbbbbbbbbb", Created: created}}
	}
	for _, c := range []struct {
		name  string
		now   releases.Snapshot
		fires bool
	}{
		{"nothing is live", releases.Snapshot{}, true},
		{"an older one is live", releases.Snapshot{Live: live(99, "acme/web")}, true},
		{"the same age", releases.Snapshot{Live: live(100, "acme/web")}, true},
		{"a newer one is live", releases.Snapshot{Live: live(101, "acme/web")}, false},
		{"another repository's is live", releases.Snapshot{Live: live(101, "acme/other")}, true},
		{"one of unknown age is live", releases.Snapshot{Live: live(0, "acme/web")}, true},
		{"held", releases.Snapshot{Hold: &releases.Hold{By: "ada", At: time.Now()}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := releases.Decide(releases.Target{App: "web", Env: "staging"}, deploy, v, c.now)
			if got.Fires != c.fires || got.Reason == "" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func FuzzGlob(f *testing.F) {
	for _, seed := range []string{"feature/*", "!v*", "[a-c]?", "{a,b}", "rel[", "{", "\\", "[!]", "**", "[]a]", "{a,{b,c}}"} {
		f.Add(seed, "feature/a")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if releases.CheckGlob(pattern) != nil {
			return
		}
		v := releases.Version{Branch: text}
		decide := func(p string) bool {
			return releases.Decide(releases.Target{}, &releases.Deploy{Branch: p, Event: "push"}, v, releases.Snapshot{}).Fires
		}
		if strings.HasPrefix(pattern, "!") || pattern == "" {
			return
		}
		if decide(pattern) == decide("!"+pattern) {
			t.Errorf("%q and its negation agree on %q", pattern, text)
		}
	})
}
