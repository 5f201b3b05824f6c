package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// cliRun runs the binary's command in this process.
func cliRun(args ...string) (status int, out, errOut string) {
	var said, complained bytes.Buffer
	status = run(args, strings.NewReader(""), &said, &complained)
	return status, said.String(), complained.String()
}

func TestPolicyCases(t *testing.T) {
	status, out, errOut := cliRun("policy", "test", "testdata/policies/cases.yaml", "--config", "testdata/policies/gimletd.yaml")
	if status != 0 || strings.Contains(out, "FAIL") || strings.Count(out, "ok    ") != 16 {
		t.Errorf("status %d\n%s%s", status, out, errOut)
	}
	for _, c := range []struct{ name, text, says string }{
		{"another verdict", `{policy: tags, at: 2026-03-06T17:00:00Z, app: web, artifact: {sha: a, event: tag, tag: v1}, want: skip}`, "want skip, got release: the newest of tag v* is v1"},
		{"another reason", `{deploy: {branch: main}, artifact: {sha: a, branch: main}, want: skip, because: marked}`, `skip, but not because of "marked"`},
		{"nothing is wanted", `{deploy: {event: push}, artifact: {sha: a}}`, "want: missing"},
		{"a word that nobody knows", `{deploy: {event: push}, artifact: {sha: a}, want: releases}`, `want: "releases" is not`},
		{"two kinds", `{policy: tags, deploy: {event: push}, want: skip}`, "it must name one of policy, deploy and cleanup"},
		{"no kind", `{want: skip}`, "it must name one of policy, deploy and cleanup"},
		{"another policy", `{policy: tag, at: 2026-03-06T17:00:00Z, app: web, want: skip}`, `policy: there is no "tag" in the configuration`},
		{"no moment", `{policy: tags, app: web, want: skip}`, "at: missing"},
		{"no app", `{policy: tags, at: 2026-03-06T17:00:00Z, want: skip}`, "app: missing"},
		{"nothing to release", `{policy: tags, at: 2026-03-06T17:00:00Z, app: web, want: skip}`, "artifact: missing"},
		{"not when it runs", `{policy: production, at: 2026-03-08T10:00:00+01:00, app: web, artifact: {sha: a}, want: wait}`, "at: the policy does not run at 2026-03-08T10:00:00+01:00; it does at 2026-03-09T10:00:00+01:00"},
		{"ticks and a verdict", `{policy: tags, after: 2026-03-28T12:00:00Z, ticks: [2026-03-28T12:10:00Z], want: release}`, "want: ticks have none"},
		{"what it does not look at", `{deploy: {event: push}, artifact: {sha: a}, rolledBack: true, want: release}`, "rolledBack: such a case does not look at it"},
		{"a held app", `{deploy: {event: push}, artifact: {sha: a}, held: true, want: release}`, "want release, got skip: automation is held"},
		{"a health that nobody knows", `{policy: tags, at: 2026-03-06T17:00:00Z, app: web, artifact: {sha: a}, health: Helthy, want: skip}`, "health: \"Helthy\" is not"},
		{"an event that nobody knows", `{deploy: {event: push}, artifact: {sha: a, event: Push}, want: skip}`, "event: \"Push\" is not"},
		{"a pull request is no push", `{policy: mains, at: 2026-03-06T17:00:00Z, app: web, artifact: {sha: a, branch: main, event: pr}, want: release}`, "want release, got skip: no artifact of branch main"},
		{"no artifact", `{deploy: {event: push}, want: release}`, "artifact: missing"},
		{"a glob that cannot be read", `{deploy: {branch: "a[", event: push}, artifact: {sha: a}, want: skip}`, "deploy.branch: bad glob"},
		{"no branch", `{cleanup: {branch: "*"}, want: keep}`, "deleted: missing"},
		{"another tick", `{policy: tags, after: 2026-03-28T12:00:00Z, ticks: [2026-03-28T12:20:00Z]}`, "ticks[0]: want 2026-03-28T12:20:00Z, got 2026-03-28T12:10:00Z"},
		{"ticks after nothing", `{policy: tags, ticks: [2026-03-28T12:20:00Z]}`, "after: missing"},
	} {
		file := filepath.Join(t.TempDir(), "cases.yaml")
		if err := os.WriteFile(file, []byte("cases:\n  - "+c.text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		status, out, errOut := cliRun("policy", "test", file, "--config", "testdata/policies/gimletd.yaml")
		if status != 1 || !strings.Contains(out, c.says) || !strings.Contains(errOut, "1 of 1 cases failed") {
			t.Errorf("%s: status %d\n%s%s", c.name, status, out, errOut)
		}
	}
	for text, says := range map[string]string{
		"cases: []": "has no cases", "cases:\n  - {wish: skip}": "field wish not found", "case:\n  - {}": "field case not found", "": "has no cases", "cases:\n  - {want: skip}\n---\ncases: []": "there is more after the first document",
	} {
		file := filepath.Join(t.TempDir(), "cases.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, _, errOut := cliRun("policy", "test", file); status != 1 || !strings.Contains(errOut, says) {
			t.Errorf("%q: status %d, %s", text, status, errOut)
		}
	}
}

// TestForecastAndBacktestFromTheCommandLine asks a server that runs.
func TestForecastAndBacktestFromTheCommandLine(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	w.extra = nightly
	s := serveFile(t, w)
	s.post(w.artifact("frontend", strings.Repeat("a", 40), nil))
	s.logs(`"msg":"release published"`)
	status, out, errOut := cliRun("policy", "forecast", "--config", s.file, "--days", "2")
	if status != 0 || !strings.Contains(out, "nightly, from staging to production\n  frontend  aaaaaaa  releases") || !strings.Contains(out, "2 runs, 1 of them with nothing to do") {
		t.Errorf("status %d\n%s%s", status, out, errOut)
	}
	// A changed configuration, which the server does not have.
	changed := filepath.Join(w.dir, "changed.yaml")
	text := "people: [{name: Ada, email: ada@example.com}]\nroles: [{name: managers, members: [ada@example.com], can: [approve]}]\n" + strings.Replace(s.config, "{name: production, channels: [console]}", "{name: production, channels: [console], approval: {count: 1, expiresAfter: 3h}}", 1)
	if err := os.WriteFile(changed, []byte(strings.Replace(text, `"0 2 * * *"`, `"0 */12 * * *"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, errOut = cliRun("policy", "forecast", "--config", changed, "--days", "2")
	if status != 0 || !strings.Contains(out, "asks; then expired") || !strings.Contains(out, "4 runs, 0 of them") {
		t.Errorf("status %d\n%s%s", status, out, errOut)
	}
	status, out, errOut = cliRun("policy", "backtest", "--config", changed, "--since", "2d")
	if status != 0 || !strings.Contains(out, "0 releases differ, 0 would have been the same") {
		t.Errorf("status %d\n%s%s", status, out, errOut)
	}
	if status, out, _ = cliRun("policy", "forecast", "--config", changed, "-o", "json"); status != 0 || !strings.HasPrefix(out, `{"from":`) {
		t.Errorf("status %d\n%s", status, out)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"backtest", "--config", changed, "--since", "soon"}, `--since: "soon" is no time`},
		{[]string{"forecast", "--config", changed, "--days", "63"}, "days"},
		{[]string{"forecast", "--config", filepath.Join(w.dir, "none.yaml")}, "none.yaml"},
	} {
		if status, _, errOut := cliRun(append([]string{"policy"}, c.args...)...); status == 0 || !strings.Contains(errOut, c.says) {
			t.Errorf("%v: status %d %s", c.args, status, errOut)
		}
	}
	if got := fmt.Sprint(s.policies()); got != "[nightly]" {
		t.Errorf("what was tried is in force: %s", got)
	}
	if left, err := filepath.Glob(filepath.Join(w.dir, "gimletd.db.rehearsals", "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// FuzzPolicyCases has files of cases say anything: each case has a verdict, and none is a panic.
func FuzzPolicyCases(f *testing.F) {
	text, err := os.ReadFile("testdata/policies/cases.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("cases: [{policy: tags, at: 2026-03-06T17:00:00Z, app: web, artifact: {sha: a}, live: {sha: a}, want: skip}]"))
	config, err := loadWithoutSecrets("testdata/policies/gimletd.yaml")
	if err != nil {
		f.Fatal(err)
	}
	policies, err := config.scheduledPolicies()
	if err != nil {
		f.Fatal(err)
	}
	j := judge{policies: policies, zone: config.zone()}
	f.Fuzz(func(_ *testing.T, text []byte) {
		var file policyCases
		if yaml.Unmarshal(text, &file) != nil {
			return
		}
		for _, c := range file.Cases {
			j.run(c)
		}
	})
}
