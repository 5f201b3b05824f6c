package releases_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"gimletd/releases"

	"github.com/google/go-cmp/cmp"
)

const goodArtifact = `{"version": {"repositoryName": "acme/web", "sha": "0123456789abcdef", "event": "push"}, "context": {"A": "b"},
"environments": [{"APP": "web", "env": "staging", "namespace": "", "chart": {"repository": "https://c", "name": "web", "version": ""}, "values": {"n": 12345678901234567890, "x": 1.50}},
{"app": "api", "env": "staging", "deploy": {"branch": "main", "event": "push"}, "values": null, "strategicMergePatches": "", "json6902Patches": null, "manifests": "a: b"}],
"items": [{"name": "CI", "n": 1}], "vars": {"V": "w"}}`

// change replaces a part of the good artifact.
func change(old, new string) string {
	if !strings.Contains(goodArtifact, old) {
		panic(old)
	}
	return strings.Replace(goodArtifact, old, new, 1)
}

func TestBadArtifactsAreRefusedWithThePath(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"empty", "", "the body is empty"},
		{"blank", " \n", "the body is empty"},
		{"junk", "hello", "not valid JSON at byte 1"},
		{"half", goodArtifact[:100], "the JSON ends in the middle, after 100 bytes"},
		{"a list", "[]", "the artifact: expected an object, got a list"},
		{"trailing data", goodArtifact + "{}", "unexpected data after the artifact"},
		{"deeply nested", strings.Repeat(`{"items":[`, 60), "the JSON nests deeper than 100 levels"},
		{"deep in a string is fine", `{"version": {"sha": "` + strings.Repeat("[", 500) + `"}}`, "version.repositoryName: missing"},
		{"nothing in it", "{}", "version.repositoryName: missing"},
		{"an unknown key", change(`"context"`, `"contxt"`), "contxt: unknown key"},
		{"an unknown key inside", change(`"branch": "main"`, `"brnch": "main"`), "environments[1].deploy.brnch: unknown key"},
		{"a wrong type", change(`"branch": "main"`, `"branch": 7`), "environments[1].deploy.branch: expected a string, got a number"},
		{"a wrong type in a map", change(`"A": "b"`, `"A": {}`), "context.A: expected a string, got an object"},
		{"a fraction of a second", change(`"sha"`, `"created": 1.5, "sha"`), "version.created: 1.5 is not a whole number"},
		{"no sha", change(`"sha": "0123456789abcdef"`, `"sha": ""`), "version.sha: missing"},
		{"a short sha", change("0123456789abcdef", "0123456"), `version.sha: "0123456" is not a commit hash`},
		{"a repository with a space", change("acme/web", "acme web"), `version.repositoryName: "acme web" has characters`},
		{"a control character", change(`"sha"`, `"branch": "a\u0000b", "sha"`), "version.branch: has control characters"},
		{"an unknown event", change(`"event": "push"}, "context"`, `"event": "psuh"}, "context"`), `version.event: unknown event "psuh": expected push, tag or pr`},
		{"an unknown event in a policy", change(`"event": "push"}, "values"`, `"event": "psuh"}, "values"`), `environments[1].deploy.event: unknown event "psuh"`},
		{"a bad glob", change(`"branch": "main"`, `"branch": "rel["`), `environments[1].deploy.branch: bad glob "rel["`},
		{"a glob that nests", change(`"branch": "main"`, `"branch": "`+strings.Repeat("{", 100000)+`"`), `environments[1].deploy.branch: bad glob "{{{{`},
		{"no app", change(`"app": "api", `, ""), "environments[1].app: missing"},
		{"no env", change(`"app": "api", "env": "staging"`, `"app": "api"`), "environments[1].env: missing"},
		{"nothing to release", change(`"manifests": "a: b"`, `"manifests": ""`), "environments[1].chart.name: missing, and there are no raw manifests either"},
		{"values that are no object", change(`"values": null`, `"values": []`), "environments[1].values: expected an object"},
		{"a patch for nothing", change(`"json6902Patches": null`, `"json6902Patches": [{"patch": "[]", "target": {"kind": "Deployment"}}]`), "environments[1].json6902Patches[0].target.name: missing"},
		{"a patch of nothing", change(`"json6902Patches": null`, `"json6902Patches": [{"target": {"kind": "Deployment", "name": "x"}}]`), "environments[1].json6902Patches[0].patch: missing"},
		{"much CUE", change(`"items"`, `"cueEnvironments": [""`+strings.Repeat(`, ""`, 20)+`], "items"`), "cueEnvironments: 21 sources, at most 20 fit"},
		{"a long branch", change(`"sha"`, `"branch": "`+strings.Repeat("x", 300)+`", "sha"`), "version.branch: 300 bytes, at most 250 are kept"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := releases.DecodeArtifact([]byte(c.body))
			if err == nil {
				err = a.Validate()
			}
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || releases.KindOf(err) != releases.Invalid {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestAGoodArtifactKeepsAllThatItHolds(t *testing.T) {
	a, err := releases.DecodeArtifact([]byte(goodArtifact))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := string(a.Environments[0].Values); got != `{"n": 12345678901234567890, "x": 1.50}` {
		t.Errorf("values became %s", got)
	}
	if a.Environments[0].App != "web" {
		t.Error("keys are to be matched without regard to case")
	}
	if diff := cmp.Diff(map[string]string{"A": "b", "name": "CI", "V": "w"}, a.Variables()); diff != "" {
		t.Error(diff)
	}
}

func FuzzDecodeArtifact(f *testing.F) {
	f.Add([]byte(goodArtifact))
	f.Add([]byte(`{"version":{"created":1e400}}`))
	f.Add([]byte(`{"environments":[null,{"deploy":{"tag":"{"}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := releases.DecodeArtifact(body)
		if err != nil {
			if releases.KindOf(err) != releases.Invalid {
				t.Errorf("%v is not Invalid", err)
			}
			return
		}
		if a.Validate() != nil {
			return
		}
		again, err := json.Marshal(a)
		if err != nil {
			t.Fatalf("what was taken cannot be stored: %v", err)
		}
		if _, err := releases.DecodeArtifact(again); err != nil {
			t.Errorf("what was stored cannot be read: %v", err)
		}
	})
}

func TestSecretsAreDropped(t *testing.T) {
	a := &releases.Artifact{
		Context: map[string]string{
			"SHA": "0123456789abcdef0123456789abcdef01234567", "BRANCH": "token-refresh", "TOKENIZER_VERSION": "3", "EMPTY_TOKEN": "",
			"GITHUB_TOKEN": "short", "DB_PASSWORD": "p", "AWS_SECRET_ACCESS_KEY": "k", "MY_API_KEY": "k",
			"X": "ghp_0123456789012345678901234567890123456789", "Y": "AKIAABCDEFGHIJKLMNOP", "Z": "https://user:pass@git.example/x.git",
			"J": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijklmnop", "K": "-----BEGIN OPENSSH PRIVATE KEY-----\nabc", "INTERNAL_HOST": "h",
		},
		Vars:    map[string]string{"SLACK": "xoxb-123456789012-abcdef", "FINE": "https://git.example/x.git"},
		Items:   []map[string]any{{"name": "CI", "url": "https://ci.example", "key": "glpat-0123456789abcdefghij", "n": 1, "env": map[string]any{"DEEP_TOKEN": "x", "list": []any{map[string]any{"P": "npm_012345678901234567890123456789abcd"}}}}},
		Version: releases.Version{Message: "oops ghp_0123456789012345678901234567890123456789", URL: "https://x:y@git.example/1"},
	}
	dropped := releases.SecretFilter{Names: []string{"INTERNAL_*"}}.Drop(a)
	want := []string{"AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "DEEP_TOKEN", "GITHUB_TOKEN", "INTERNAL_HOST", "J", "K", "MY_API_KEY", "P", "SLACK", "X", "Y", "Z", "key"}
	if diff := cmp.Diff(want, dropped); diff != "" {
		t.Error(diff)
	}
	var kept []string
	for name := range a.Variables() {
		kept = append(kept, name)
	}
	slices.Sort(kept)
	if diff := cmp.Diff([]string{"BRANCH", "EMPTY_TOKEN", "FINE", "SHA", "TOKENIZER_VERSION", "name", "url"}, kept); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(a.Version.Message+a.Version.URL, "ghp_") || strings.Contains(a.Version.URL, "y@") {
		t.Errorf("kept %q %q", a.Version.Message, a.Version.URL)
	}
}
