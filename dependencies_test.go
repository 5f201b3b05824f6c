package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gimletd/releases"
	"gimletd/releases/gitops/gittest"
	"gimletd/releases/manifest"

	"github.com/google/go-cmp/cmp"
)

// TestDependenciesOfAChartInGit has a chart with one from an HTTP repository, in the version of its lock, and one that lies beside it;
// helm itself builds the same, and renders it.
func TestDependenciesOfAChartInGit(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	const config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-%s}\n"
	bare := filepath.Join(w.git.Root, "charts.git")
	gittest.Bare(t, bare, map[string]string{
		"outer/Chart.yaml": "apiVersion: v2\nname: outer\nversion: 1.0.0\ndependencies:\n  - {name: webapp, version: ^1.0.0, repository: " + w.charts +
			", alias: web}\n  - {name: common, version: 0.1.0, repository: file://../common}\n",
		"outer/values.yaml": "web: {image: {repository: registry.example/web, tag: v1}}\n", "outer/templates/outer.yaml": fmt.Sprintf(config, "outer"),
		"common/Chart.yaml": "apiVersion: v2\nname: common\nversion: 0.1.0\n", "common/templates/common.yaml": fmt.Sprintf(config, "common"), "common/.helmignore": "*.md\n", "common/README.md": "{{",
		"elsewhere/Chart.yaml": "apiVersion: v2\nname: elsewhere\nversion: 1.0.0\ndependencies:\n  - {name: webapp, version: 1.0.0, repository: http://127.0.0.1:1}\n",
		"gone/Chart.yaml":      "apiVersion: v2\nname: gone\nversion: 1.0.0\ndependencies:\n  - {name: webapp, version: ^9.0.0, repository: " + w.charts + "}\n",
		"out/Chart.yaml":       "apiVersion: v2\nname: out\nversion: 1.0.0\ndependencies:\n  - {name: etc, version: 1.0.0, repository: file://../../../../etc}\n",
		"self/Chart.yaml":      "apiVersion: v2\nname: self\nversion: 1.0.0\ndependencies:\n  - {name: self, version: 1.0.0, repository: file://../self}\n",
		"many/Chart.yaml":      "apiVersion: v2\nname: many\nversion: 1.0.0\ndependencies:\n" + strings.Repeat("  - {name: common, version: 0.1.0, repository: file://../common}\n", 31),
		"named/Chart.yaml":     "apiVersion: v2\nname: named\nversion: 1.0.0\ndependencies:\n  - {name: webapp, version: 1.0.0, repository: \"@stable\"}\n",
	})
	work := gittest.Clone(t, bare)
	tool, err := exec.Command("go", "tool", "-n", "helm").Output()
	if err != nil {
		t.Fatal(err)
	}
	helm := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(strings.TrimSpace(string(tool)), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("helm %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	helm("dependency", "update", filepath.Join(work, "outer"))
	gittest.Git(t, work, "add", "outer/Chart.lock")
	gittest.Git(t, work, "commit", "-qm", "lock")
	gittest.Git(t, work, "push", "-q", "origin", "HEAD:main")
	want := helm("template", "shop", filepath.Join(work, "outer"), "--namespace", "team", "--kube-version", manifest.DefaultKubeVersion)

	location := w.git.URL + "/charts.git"
	r := gitRenderer(t, t.TempDir(), manifest.Source{URL: location}, manifest.Source{URL: w.charts})
	render := func(folder string) (string, error) {
		rendered, err := r.Render(t.Context(), releases.Target{App: "shop", Env: "staging", Namespace: "team"}, releases.Manifest{Chart: releases.Chart{Name: location + "?branch=main&path=" + folder}}, nil)
		text := ""
		for _, f := range rendered.Files {
			text += string(f.Content)
		}
		return text, err
	}
	got, err := render("outer")
	if diff := cmp.Diff(documents(want), documents(got)); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if !strings.Contains(got, "shop-common") || !strings.Contains(got, "registry.example/web") {
		t.Error(got)
	}
	for folder, says := range map[string]string{
		"elsewhere": "its dependency webapp 1.0.0: chart.repository: http://127.0.0.1:1 is not among the charts of the configuration",
		"gone":      "its dependency webapp ^9.0.0: chart webapp ^9.0.0 is not in " + w.charts,
		"out":       "folder etc: it is not there",
		"self":      "more than 4 folders deep",
		"many":      "more than 30 dependencies",
		"named":     `its repository "@stable" is not a URL of charts`,
	} {
		if _, err := render(folder); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", folder, err)
		}
	}
}

// documents are those of YAML, in no order.
func documents(text string) map[string]bool {
	all := map[string]bool{}
	for doc := range strings.SplitSeq("\n"+text, "\n---\n") {
		if doc = strings.TrimSpace(doc); doc != "" {
			all[doc] = true
		}
	}
	return all
}
