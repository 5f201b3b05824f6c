package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/releases"
)

// TestTheDecisionTable ships an artifact for each row of the deploy policies' table, one way and the other, through the door
// that CI uses, and looks at what was decided, why, and at what was released.
func TestTheDecisionTable(t *testing.T) {
	type version = releases.Version
	push := func(branch string) version {
		return version{Branch: branch, Event: releases.EventPush, Message: "fix: a leak"}
	}
	pr := func(branch string) version {
		return version{Branch: branch, SourceBranch: branch, TargetBranch: "main", Event: releases.EventPR}
	}
	tag := func(name string) version { return version{Tag: name, Branch: "main", Event: releases.EventTag} }
	absent := func(branch string) version { return version{Branch: branch} }
	for _, row := range []struct {
		name    string
		deploy  *releases.Deploy
		fires   []version
		not     []version
		because string // of those that do not
	}{
		{"no policy", nil, nil, []version{push("main"), tag("v1"), pr("x")}, "no deploy policy"},
		{"nothing set in it", &releases.Deploy{}, nil, []version{push("main"), tag("v1")}, "no deploy policy"},
		{"branch, and no event", &releases.Deploy{Branch: "main"}, nil, []version{push("main"), absent("main"), pr("main")}, "not the event push or pr"},
		{"branch, and the event tag", &releases.Deploy{Branch: "main", Event: "tag"}, nil, []version{tag("main"), push("main")}, "not the event push or pr"},
		{"branch and push", &releases.Deploy{Branch: "main", Event: "push"}, []version{push("main"), absent("main")}, []version{push("maine"), pr("main"), tag("main")}, ""},
		{"branch and pr", &releases.Deploy{Branch: "feature/*", Event: "pr"}, []version{pr("feature/a"), pr("feature/a/b")}, []version{push("feature/a"), pr("fix/a")}, ""},
		{"tag, and no event", &releases.Deploy{Tag: "v*"}, nil, []version{tag("v1")}, "not the event tag"},
		{"tag, and the event push", &releases.Deploy{Tag: "v*", Event: "push"}, nil, []version{tag("v1"), push("v1")}, "not the event tag"},
		{"tag and branch", &releases.Deploy{Tag: "v*", Branch: "main", Event: "tag"}, nil, []version{tag("v1"), push("main")}, "never match together"},
		{"another event", &releases.Deploy{Event: "pr"}, []version{pr("x")}, []version{push("x"), absent("x"), tag("v1")}, "wants event pr"},
		{"branch equals", &releases.Deploy{Branch: "release", Event: "push"}, []version{push("release")}, []version{push("release/1"), push("Release")}, "does not match"},
		{"branch glob", &releases.Deploy{Branch: "release/{1,2}.?", Event: "push"}, []version{push("release/1.0"), push("release/2.9")}, []version{push("release/3.0"), push("release/1.10")}, "does not match"},
		{"branch class", &releases.Deploy{Branch: "[a-c]*", Event: "push"}, []version{push("b/x")}, []version{push("d/x")}, "does not match"},
		{"tag equals", &releases.Deploy{Tag: "v1.0.0", Event: "tag"}, []version{tag("v1.0.0")}, []version{tag("v1.0.1")}, "does not match"},
		{"tag glob", &releases.Deploy{Tag: "v*", Event: "tag"}, []version{tag("v1"), tag("v/2")}, []version{tag("1.0")}, "does not match"},
		{"not a branch", &releases.Deploy{Branch: "!main", Event: "push"}, []version{push("feature/a")}, []version{push("main")}, "does not match"},
		{"not branches", &releases.Deploy{Branch: "!release/*", Event: "push"}, []version{push("main")}, []version{push("release/1/2")}, "does not match"},
		{"not a tag", &releases.Deploy{Tag: "!v*", Event: "tag"}, []version{tag("nightly")}, []version{tag("v1")}, "does not match"},
		{"message", &releases.Deploy{Branch: "main", Event: "push", CommitMessagePatterns: []string{"feat:*", "fix:*"}}, []version{push("main")}, []version{{Branch: "main", Event: "push", Message: "docs: a word"}}, "matches none of"},
		{"not a message", &releases.Deploy{Event: "push", CommitMessagePatterns: []string{"!*wip*"}}, []version{push("main")}, []version{{Branch: "main", Event: "push", Message: "wip: not yet"}}, "matches none of"},
		{"event alone", &releases.Deploy{Event: "push"}, []version{push("any/branch"), absent("x")}, []version{tag("v1"), pr("x")}, "wants event push"},
		// What the original got wrong.
		{"an empty tag matches no tag policy", &releases.Deploy{Tag: "*", Event: "tag"}, []version{tag("v1")}, []version{tag("")}, "has no tag"},
		{"an empty tag matches no negated one either", &releases.Deploy{Tag: "!v*", Event: "tag"}, nil, []version{tag("")}, "has no tag"},
		{"an artifact without an event is a push, a policy without one is none", &releases.Deploy{Branch: "*"}, nil, []version{absent("main")}, "not the event push or pr"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTown(t, []releases.Environment{{Name: "staging", Repository: "main", Path: "staging"}}, nil)
				defer w.end()
				w.start()
				defer func() { w.stop() }()
				ship := func(v version, want bool) {
					time.Sleep(time.Minute)
					before := len(w.repo.commits)
					d := w.ship("web", v, map[string]*releases.Deploy{"staging": row.deploy}).Decisions[0]
					synctest.Wait()
					if made := len(w.repo.commits) - before; d.Fires != want || (made == 1) != want {
						t.Errorf("%+v fires: %v, and made %d commits (%s)", v, d.Fires, made, d.Reason)
					}
					if !want && !strings.Contains(d.Reason, row.because) {
						t.Errorf("%+v: it says %q and not %q", v, d.Reason, row.because)
					}
				}
				for _, v := range row.fires {
					ship(v, true)
				}
				for _, v := range row.not {
					ship(v, false)
				}
			})
		})
	}
}

// TestPoliciesThatCannotBeReadAreRefusedAtTheDoor has what killed or fooled the original refused, with the manifest and the
// field, and nothing stored.
func TestPoliciesThatCannotBeReadAreRefusedAtTheDoor(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(m *releases.Manifest)
		says   string
	}{
		{"a glob that cannot be read", func(m *releases.Manifest) { m.Deploy = &releases.Deploy{Branch: "feature/[", Event: "push"} }, "environments[1].deploy.branch: bad glob"},
		{"a negated one", func(m *releases.Manifest) { m.Deploy = &releases.Deploy{Tag: "!{v1,", Event: "tag"} }, "environments[1].deploy.tag: bad glob"},
		{"of messages", func(m *releases.Manifest) {
			m.Deploy = &releases.Deploy{Event: "push", CommitMessagePatterns: []string{"ok", "[z-a]"}}
		}, "environments[1].deploy.commitMessagePatterns[1]: bad glob"},
		{"a typo in the event", func(m *releases.Manifest) { m.Deploy = &releases.Deploy{Branch: "main", Event: "psuh"} }, `environments[1].deploy.event: unknown event "psuh"`},
		{"a cleanup's glob", func(m *releases.Manifest) { m.Cleanup = &releases.Cleanup{App: "web", Branch: "a["} }, "environments[1].cleanup.branch: bad glob"},
		{"a cleanup's event", func(m *releases.Manifest) {
			m.Cleanup = &releases.Cleanup{App: "web", Branch: "*", Event: "branchdeleted"}
		}, "environments[1].cleanup.event: unknown event"},
		{"a cleanup without an app", func(m *releases.Manifest) { m.Cleanup = &releases.Cleanup{Branch: "*"} }, "environments[1].cleanup.app: missing"},
		{"a cleanup of every branch without saying so", func(m *releases.Manifest) { m.Cleanup = &releases.Cleanup{App: "web"} }, "environments[1].cleanup.branch: missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTown(t, []releases.Environment{{Name: "staging", Repository: "main", Path: "staging"}}, nil)
			defer w.end()
			w.start()
			defer func() { w.stop() }()
			bad := releases.Manifest{App: "web", Env: "production", Manifests: "x: y"}
			c.change(&bad)
			a := releases.Artifact{
				Version:      releases.Version{RepositoryName: "acme/web", SHA: strings.Repeat("a", 40)},
				Environments: []releases.Manifest{{App: "web", Env: "staging", Manifests: "x: y"}, bad},
			}
			_, _, err := w.service.Ingest(t.Context(), &a, "", releases.Actor{Name: "ci", Root: true})
			if releases.KindOf(err) != releases.Invalid || !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says %v, not %q", err, c.says)
			}
			if all, err := w.service.Artifacts(t.Context(), releases.ArtifactQuery{}); err != nil || len(all) > 0 {
				t.Errorf("%d artifacts were stored (%v)", len(all), err)
			}
		})
	}
}
