package manifest_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"gimletd/releases"

	"github.com/google/go-cmp/cmp"
)

const twoInstances = `
import "text/template"

_instances: ["first", "second"]

configs: [for instance in _instances {
	app:       template.Execute("shop-{{ . }}", instance)
	env:       "staging"
	namespace: "team"
	deploy: {branch: "main", event: "push"}
	chart: {repository: "https://charts.example", name: "web", version: 0.30}
	values: {
		image: tag: "{{ .SHA }}"
		replicas: 1 + 2
	}
}]
`

func TestCUEMakesManifests(t *testing.T) {
	got, err := renderer(t).Expand(t.Context(), []string{twoInstances, `configs: [{app: "third", env: "staging", manifests: "kind: ConfigMap"}]`})
	if err != nil {
		t.Fatal(err)
	}
	instance := func(app string) releases.Manifest {
		return releases.Manifest{
			App: app, Env: "staging", Namespace: "team", Deploy: &releases.Deploy{Branch: "main", Event: "push"},
			Chart: releases.Chart{Repository: "https://charts.example", Name: "web", Version: "0.30"}, Values: json.RawMessage(`{"image":{"tag":"{{ .SHA }}"},"replicas":3}`),
		}
	}
	want := []releases.Manifest{instance("shop-first"), instance("shop-second"), {App: "third", Env: "staging", Manifests: "kind: ConfigMap"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if none, err := renderer(t).Expand(t.Context(), nil); err != nil || none != nil {
		t.Errorf("%v %v", none, err)
	}
}

// TestCUEThatCannotBeMeantIsRefused has each fault named where it is.
func TestCUEThatCannotBeMeantIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ source, says string }{
		"no CUE":            {"configs: [", "cueEnvironments[1]: line 1: "},
		"no list":           {"apps: []", "configs: missing"},
		"something else":    {`configs: "web"`, "configs: is not a list"},
		"texts in the list": {`configs: ["web"]`, "configs: is not a list of objects"},
		"a conflict":        {"configs: [{\n\tapp: \"web\"\n\tapp: \"shop\"\n}]", `: configs.0.app: conflicting values "`},
		"not concrete":      {"configs: [{\n\tapp: string\n}]", "configs.0.app: incomplete value string"},
		"an unknown key":    {`configs: [{app: "web", env: "staging", chart: {name: "web"}, valuse: {}}]`, "cueEnvironments[1].configs[0].valuse: unknown key"},
		"a wrong type":      {`configs: [{app: "web", env: "staging", chart: "web"}]`, "cueEnvironments[1].configs[0].chart: expected an object"},
		"a wrong event":     {`configs: [{app: "web", env: "staging", chart: {name: "web"}, deploy: {event: "pushed"}}]`, `cueEnvironments[1].configs[0].deploy.event: unknown event "pushed"`},
		"no app":            {`configs: [{env: "staging", chart: {name: "web"}}]`, "cueEnvironments[1].configs[0].app: missing"},
		"a module":          {"import \"example.com/x\"\nconfigs: x.configs", "example.com/x"},
		"a file of ours":    {"import \"tool/file\"\nx: file.Read & {filename: \"/etc/passwd\"}\nconfigs: [x.contents]", ""},
		"too many":          {"import \"list\"\nconfigs: [for i in list.Range(0, 300, 1) {app: \"a\\(i)\", env: \"staging\", chart: {name: \"web\"}}]", "300 manifests, at most 200"},
		"too large":         {"import \"strings\"\nconfigs: [for i in [1, 2, 3] {app: \"a\\(i)\", env: \"staging\", chart: {name: \"web\"}, values: x: strings.Repeat(\"x\", 1000000)}]", "larger than 2 MiB"},
		"without an end":    {"import \"list\"\n#n: list.Range(0, 100000, 1)\nconfigs: [for a in #n for b in #n for c in #n if a*b*c == -1 {app: \"a\"}]", "was stopped"},
		"without bounds":    {"import \"list\"\n#n: list.Range(0, 100000, 1)\nconfigs: [for a in #n for b in #n {app: \"a\\(a)-\\(b)\"}]", "was stopped"},
		"a long text":       {"import \"strings\"\n_a: strings.Repeat(\"x\", 100000000)\nconfigs: [{app: _a}]", "line 2: _a: error in call to strings.Repeat"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := renderer(t).Expand(t.Context(), []string{"configs: []", c.source})
			if releases.KindOf(err) != releases.Invalid || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "cueEnvironments") {
				t.Errorf("%s: %v, not %s", releases.KindOf(err), err, c.says)
			}
			if err != nil && strings.Contains(err.Error(), "root:") {
				t.Error("it has read a file of ours")
			}
		})
	}
}

// TestTheExampleInTheDocumentation is evaluated as it is printed.
func TestTheExampleInTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/manifests.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```cue\n")
	source, _, found := strings.Cut(rest, "```")
	manifests, err := renderer(t).Expand(t.Context(), []string{source})
	if !found || err != nil || len(manifests) != 3 || manifests[1].App != "shop-us" || manifests[2].Env != "production" {
		t.Errorf("%+v %v", manifests, err)
	}
}
