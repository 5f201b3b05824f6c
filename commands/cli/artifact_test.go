package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimletd/releases"

	"github.com/google/go-cmp/cmp"
)

// TestAddingChangesNothingElse adds to an artifact that has what this client does not know, and values that YAML and JSON see differently.
func TestAddingChangesNothingElse(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("artifact.json", `{"version": {"sha": "abc", "later": 9007199254740993}, "extra": [1.10], "vars": {"B": "b"}}`)
	manifest := write("manifest.yaml", `---
# two of them
app: web
values: &v
  big: 123456789012345678
  day: 2024-01-02
  text: "08"
  ports: {80: http}
---
app: api
values: {<<: &x {a: 1}, b: true}
`)
	for range 2 {
		if err := (artifactAdd{File: file, Var: []string{"A=1=2"}}).Run(); err != nil {
			t.Fatal(err)
		}
	}
	if err := (artifactAdd{File: file, EnvFile: []string{manifest}, Field: []string{"name=scan"}}).Run(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	encoder := json.NewEncoder(&got)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(json.RawMessage(text)); err != nil {
		t.Fatal(err)
	}
	const want = `{"environments":[{"app":"web","values":{"big":123456789012345678,"day":"2024-01-02","ports":{"80":"http"},"text":"08"}},{"app":"api","values":{"a":1,"b":true}}],` +
		`"extra":[1.10],"items":[{"name":"scan"}],"vars":{"A":"1=2","B":"b"},"version":{"sha":"abc","later":9007199254740993}}` + "\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".artifact-*"))
	if err != nil || len(left) > 0 {
		t.Error(left, err)
	}
	for name, text := range map[string]string{"twice.yaml": "app: a\napp: b\n", "empty.yaml": "", "list.yaml": "[", "none.json": "{}"} {
		path := write(name, text)
		add := artifactAdd{File: file, EnvFile: []string{path}}
		if filepath.Ext(name) == ".json" {
			add = artifactAdd{File: path, Var: []string{"A=1"}}
		}
		if err := add.Run(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAnArtifactIsOfOneCommit makes one of another commit than the CI's, of a tag that only the clone knows, and of nothing.
func TestAnArtifactIsOfOneCommit(t *testing.T) {
	clone := func(string) (releases.Version, error) {
		return releases.Version{RepositoryName: "acme/web", SHA: "ccc", Tag: "v1.2.0", AuthorName: "Ada"}, nil
	}
	none := func(string) (releases.Version, error) { return releases.Version{}, errors.New("no clone") }
	github := map[string]string{
		"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://gh", "GITHUB_REPOSITORY": "acme/web", "GITHUB_SHA": "ccc", "GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "main",
		"GITHUB_JOB": "ship",
	}
	for _, c := range []struct {
		name   string
		env    map[string]string
		create artifactCreate
		local  Local
		want   string // of the version, with the variables
	}{
		{"another commit than the CI's", github, artifactCreate{Repository: "acme/api", SHA: "ddd", Branch: "release/1"}, none, `acme/api ddd release/1   "" BRANCH=release/1 JOB=ship OWNER=acme REPO=api SHA=ddd`},
		{"the CI's own", github, artifactCreate{}, none, `acme/web ccc main  push "https://gh/acme/web/commit/ccc" BRANCH=main EVENT=push JOB=ship OWNER=acme REPO=web SHA=ccc`},
		{"a tag of the clone", nil, artifactCreate{}, clone, `acme/web ccc  v1.2.0 tag "" ACTOR=Ada EVENT=tag OWNER=acme REPO=web SHA=ccc TAG=v1.2.0`},
		{"a tag by hand", nil, artifactCreate{Repository: "acme/web", SHA: "eee", Tag: "v2"}, none, `acme/web eee  v2 tag "" EVENT=tag OWNER=acme REPO=web SHA=eee TAG=v2`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, name := range []string{"GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "CI", "TF_BUILD", "JENKINS_URL", "GITHUB_HEAD_REF"} {
				t.Setenv(name, "")
			}
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			c.create.Output = filepath.Join(t.TempDir(), "a.json")
			if err := c.create.Run(c.local); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(c.create.Output)
			if err != nil {
				t.Fatal(err)
			}
			var made struct {
				Version releases.Version
				Vars    map[string]string
			}
			if err := json.Unmarshal(text, &made); err != nil {
				t.Fatal(err)
			}
			v := made.Version
			url, err := json.Marshal(v.URL)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join([]string{v.RepositoryName, v.SHA, v.Branch, v.Tag, string(v.Event), string(url)}, " ")
			for _, name := range sortedKeys(made.Vars) {
				got += " " + name + "=" + made.Vars[name]
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
