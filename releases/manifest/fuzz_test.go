package manifest

import (
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimletd/releases"
)

// FuzzChartArchive has archives that no Helm has packed rendered, beginning with one that it has.
func FuzzChartArchive(f *testing.F) {
	files := map[string][]byte{
		"Chart.yaml": []byte("apiVersion: v2\nname: a\nversion: 1.0.0\n"), "values.yaml": []byte("a: 1\n"), "values.schema.json": []byte(`{"type": "object"}`),
		"templates/a.yaml": []byte("kind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {a: {{ .Values.a | quote }}}\n"),
	}
	good, err := pack(files)
	if err != nil {
		f.Fatal(err)
	}
	files["../../escaped"] = []byte("x")
	climbing, err := pack(files)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("", good)
	f.Add("", climbing)
	f.Add("", good[:len(good)/2])
	f.Add("templates/b.yaml", []byte(`{{ include "b" . }}{{ define "b" }}{{ lookup "v1" "Secret" "" "" }}{{ end }}`))
	f.Add("values.yaml", []byte("a: {b: [1, null]}"))
	f.Add("Chart.yaml", []byte("apiVersion: v2\nname: a\nversion: 1.0.0\ndependencies: [{name: b, version: 1.x.x, condition: a.b}]\n"))
	f.Add("charts/b/Chart.yaml", []byte("apiVersion: v1\nname: b\nversion: 1.0.0\n"))
	delete(files, "../../escaped")
	f.Fuzz(func(t *testing.T, name string, archive []byte) {
		if name != "" {
			all := maps.Clone(files)
			all[name] = archive
			var err error
			if archive, err = pack(all); err != nil {
				return
			}
		}
		dir := t.TempDir()
		path := filepath.Join(dir, "in", "chart.tgz")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, archive, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = renderChart(path, "a", "b", map[string]any{}, cluster{})
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("something is outside: %v %v", left, err)
		}
	})
}

// FuzzChartName has names that are to be read as places. What is accepted is an https URL, or a repository without what a URL has beside it.
func FuzzChartName(f *testing.F) {
	for _, name := range []string{
		"https://git.example/a.git?path=/charts/a/&sha=0123", "https://u:p@git.example/a.git", "file:///etc/a.git", "https://git.example/a.git?--upload-pack=x",
		"oci://r.example/a/b:1.0.0", "oci://r.example:5000/a@sha256:00", "oci://../..",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		folder, fault := readGitFolder(name)
		u, err := url.Parse(folder.URL)
		good := err == nil && slices.Contains([]string{"http", "https", "ssh"}, u.Scheme) && u.Host != "" && u.RawQuery == "" && u.Fragment == "" && !secretIn(u)
		if fault == "" && (!good || strings.Contains("/"+folder.Path+"/", "/../")) {
			t.Errorf("%q is %+v", name, folder)
		}
		if r := readOCIReference(name); strings.HasSuffix(r.repository, "/") {
			t.Errorf("%q is %+v", name, r)
		}
	})
}

// FuzzPatches patches something with anything. What no patch concerns stays as it is.
func FuzzPatches(f *testing.F) {
	const object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n"
	f.Add("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: c}\n", "")
	f.Add("", `[{"op": "replace", "path": "/data/a", "value": 1}]`)
	f.Add("kind: &a [*a]", `[{"op": "copy", "from": "", "path": "/a"}]`)
	f.Fuzz(func(t *testing.T, merge, patch string) {
		m := releases.Manifest{StrategicMergePatches: merge}
		if patch != "" {
			m.JSON6902Patches = []releases.JSONPatch{{Patch: patch, Target: releases.PatchTarget{Kind: "ConfigMap", Name: "a"}}}
		}
		other := releases.File{Path: "b.yaml", Content: []byte("kind: Other # as it is\nmetadata: {name:   b}\n")}
		out, err := (job{Manifest: m}).patched([]releases.File{{Path: "a.yaml", Content: []byte(object)}, other}, newResolver(map[string]string{}))
		if err != nil {
			return
		}
		for _, file := range out {
			if file.Path == other.Path && string(file.Content) != string(other.Content) && !strings.Contains(merge, "Other") {
				t.Errorf("%q", file.Content)
			}
		}
	})
}
