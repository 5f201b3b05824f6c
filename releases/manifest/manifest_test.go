package manifest_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"gimletd/releases"
	"gimletd/releases/manifest"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// TestMain lets the test binary be its own render worker.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == manifest.WorkerCommand {
		if err := manifest.Work(os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func renderer(tb testing.TB, sources ...manifest.Source) *manifest.Renderer {
	tb.Helper()
	return rendererIn(tb, tb.TempDir(), sources...)
}

// rendererIn makes one that keeps charts in the folder.
func rendererIn(tb testing.TB, cache string, sources ...manifest.Source) *manifest.Renderer {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	r := manifest.New(manifest.Config{
		Sources: sources, Cache: cache, Worker: []string{self, manifest.WorkerCommand},
		Clusters: map[string]manifest.Cluster{"monitored": {KubeVersion: "v1.31.2", APIVersions: []string{"monitoring.coreos.com/v1"}}},
	}, slog.New(slog.DiscardHandler))
	tb.Cleanup(r.Close)
	return r
}

// shipped is the folder of charts that the project ships as test data, as a source.
func shipped(tb testing.TB) manifest.Source {
	tb.Helper()
	dir, err := filepath.Abs("testdata/charts")
	if err != nil {
		tb.Fatal(err)
	}
	return manifest.Source{URL: "file://" + dir}
}

func target() releases.Target {
	return releases.Target{App: "shop", Env: "staging", Namespace: "team"}
}

func chart(source manifest.Source, name, values string) releases.Manifest {
	return releases.Manifest{Chart: releases.Chart{Repository: source.URL, Name: name}, Values: json.RawMessage(values)}
}

func TestTargetResolvesAndValidatesNames(t *testing.T) {
	r := renderer(t)
	vars := map[string]string{"BRANCH": "feature/Über-Cool_thing", "PATH_UP": "../production/x"}
	for _, c := range []struct{ name, app, namespace, want, fault string }{
		{"plain", "web", "team", "web/team", ""},
		{"sanitized branch", "web-{{ sanitizeDNSName .BRANCH }}", "", "web-feature-ber-cool-thing/", ""},
		{"a pipeline", "{{ .BRANCH | lower | trunc 4 }}", "", "feat/", ""},
		{"a path", "../production/x", "", "", `app: "../production/x" is not a DNS-1123 label`},
		{"a path from a variable", "{{ .PATH_UP }}", "", "", `app: "../production/x" is not a DNS-1123 label`},
		{"a bad namespace", "web", "Team", "", `namespace: "Team" is not a DNS-1123 label`},
		{"a missing variable", "{{ .NOPE }}", "", "", `app: "{{ .NOPE }}": variable NOPE is missing`},
		{"the environment of the server", `{{ env "HOME" }}`, "", "", `function "env" not defined`},
		{"a loop", `{{ range until 9 }}x{{ end }}`, "", "", `function "until" not defined`},
		{"a loop over the variables", `{{ range . }}x{{ end }}`, "", "", "loops and nested templates are not available in names"},
		{"a text that grows", `{{ "a" | replace "" "aaaaaaaaaa" | replace "" "aaaaaaaaaa" }}`, "", "", "nothing longer in its place"},
		{"slashes made dashes", `{{ "feature/x" | replace "/" "-" }}`, "", "feature-x/", ""},
		{"a long template", strings.Repeat("{{ .BRANCH }}", 100), "", "", "longer than 1000 bytes"},
		{"a bomb", `{{ printf "%999999999d" 1 }}`, "", "", "printf is not available in names"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := r.Target(releases.Manifest{App: c.app, Env: "staging", Namespace: c.namespace}, vars)
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Errorf("got %v, %v, want %s", got, err, c.fault)
				}
				return
			}
			if err != nil || got.App+"/"+got.Namespace != c.want {
				t.Errorf("got %v, %v, want %s", got, err, c.want)
			}
		})
	}
}

func TestAVariableStaysInsideItsString(t *testing.T) {
	r := renderer(t, shipped(t))
	evil := "x'\"\n  env: production\n# {{ .SECRET }} \\\" }"
	m := chart(shipped(t), "web", `{"vars": {"BRANCH": "{{ .BRANCH }}"}}`)
	m.Manifests = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\ndata:\n  quoted: \"{{ .BRANCH }}\"\n  plain: {{ .BRANCH }}\n  inside: a-{{ .BRANCH }}-b\n  count: {{ .N }}\n"
	rendered, err := r.Render(t.Context(), target(), m, map[string]string{"BRANCH": evil, "N": "3", "SECRET": "boo"})
	files := rendered.Files
	if err != nil {
		t.Fatal(err)
	}
	var raw struct {
		Data map[string]any
	}
	decode(t, find(t, files, "manifests.yaml"), &raw)
	if diff := cmp.Diff(map[string]any{"quoted": evil, "plain": evil, "inside": "a-" + evil + "-b", "count": 3}, raw.Data); diff != "" {
		t.Error(diff)
	}
	var deployment struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Env []struct{ Name, Value string }
					}
				}
			}
		}
	}
	decode(t, find(t, files, "deployment.yaml"), &deployment)
	if got := deployment.Spec.Template.Spec.Containers[0].Env[0].Value; got != evil {
		t.Errorf("the value became %q", got)
	}
}

func decode(tb testing.TB, text []byte, into any) {
	tb.Helper()
	if err := yaml.Unmarshal(text, into); err != nil {
		tb.Fatalf("%v in\n%s", err, text)
	}
}

func find(tb testing.TB, files []releases.File, name string) []byte {
	tb.Helper()
	var names []string
	for _, f := range files {
		if f.Path == name {
			return f.Content
		}
		names = append(names, f.Path)
	}
	tb.Fatalf("no file %s among %v", name, names)
	return nil
}

func TestOneFilePerTemplate(t *testing.T) {
	r := renderer(t, shipped(t))
	for name, want := range map[string][]string{
		"web":      {"config.yaml", "deployment.yaml", "jobs-migrate.yaml", "service.yaml", "tests-smoke.yaml"},
		"operator": {"crds-widgets.yaml", "rbac.yaml"},
		"umbrella": {"config.yaml", "extra-secret.yaml", "sessions-crds-caches.yaml", "sessions-service.yaml"},
		"peek":     {"list.yaml", "secret.yaml", "v1list.yaml", "weird.json"},
	} {
		rendered, err := r.Render(t.Context(), target(), chart(shipped(t), name, `{}`), nil)
		files := rendered.Files
		unstable := rendered.Unstable
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var names []string
		for _, f := range files {
			names = append(names, f.Path)
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if len(unstable) > 0 {
			t.Errorf("%s: unstable %v", name, unstable)
		}
	}
}

func TestFaultsAreOneClearSentence(t *testing.T) {
	r := renderer(t, shipped(t))
	local := shipped(t)
	for _, c := range []struct {
		name  string
		m     releases.Manifest
		vars  map[string]string
		fault string
	}{
		{"missing variable in values", chart(local, "web", `{"image": {"tag": ["{{ .SHA }}"]}}`), nil, `values.image.tag[0]: "{{ .SHA }}": variable SHA is missing`},
		{"the server's environment", chart(local, "web", `{"x": "{{ env \"HOME\" }}"}`), nil, `function "env" not defined`},
		{"name lookups", chart(local, "web", `{"x": "{{ getHostByName \"a.b\" }}"}`), nil, `function "getHostByName" not defined`},
		{"values against the schema", chart(local, "strict", `{"replicas": 99}`), nil, "at '/replicas': maximum: got 99, want 10"},
		{"a schema that reads files", chart(local, "reader", `{"x": 1}`), nil, `$ref "file:///etc/passwd" points outside the schema`},
		{"a value that a chart requires", chart(local, "web", `{"ingress": {"enabled": true}}`), nil, "ingress.host is needed"},
		{"a library chart", chart(local, "umbrella/charts/common", `{}`), nil, `chart.name: "umbrella/charts/common" is not the name of a chart`},
		{"a local path", releases.Manifest{Chart: releases.Chart{Name: "/etc"}}, nil, `chart.name: "/etc" is not the name of a chart`},
		{"a path out of the folder", chart(local, "..", `{}`), nil, `chart.name: ".." is not the name of a chart`},
		{"a missing chart", chart(local, "nope", `{}`), nil, "chart nope  is not in"},
		{"a repository that is not listed", releases.Manifest{Chart: releases.Chart{Repository: "https://evil.example", Name: "web"}}, nil, "chart.repository: https://evil.example is not among the charts of the configuration"},
		{"an OCI reference that is not listed", releases.Manifest{Chart: releases.Chart{Name: "oci://ghcr.io/x/y"}}, nil, "is not among the charts"},
		{"raw YAML that is none", releases.Manifest{Manifests: "a: [1\n"}, nil, "manifests: line"},
		{"a template across lines", releases.Manifest{Manifests: "a: 1\n{{ if .X }}\nb: 2\n{{ end }}\n"}, map[string]string{"X": "1"}, "manifests: "},
		{"nothing to release", releases.Manifest{Manifests: "# nothing\n"}, nil, "the manifest renders to nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := r.Render(t.Context(), target(), c.m, c.vars)
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("got %v\nwant %s", err, c.fault)
			}
		})
	}
}

func TestAChartThatLoopsOrEatsIsStoppedAndOthersGoOn(t *testing.T) {
	r := renderer(t, shipped(t))
	faults := make(chan error, 2)
	for _, name := range []string{"loops", "hungry"} {
		go func() {
			_, err := r.Render(t.Context(), target(), chart(shipped(t), name, `{}`), nil)
			faults <- fmt.Errorf("%s: %w", name, err)
		}()
	}
	if _, err := r.Render(t.Context(), target(), chart(shipped(t), "web", `{}`), nil); err != nil {
		t.Errorf("another chart was kept from rendering: %v", err)
	}
	for range 2 {
		err := <-faults
		if !strings.Contains(err.Error(), "was stopped") || releases.KindOf(err) != releases.Invalid {
			t.Errorf("got %v", err)
		}
	}
	if _, err := r.Render(t.Context(), target(), chart(shipped(t), "web", `{}`), nil); err != nil {
		t.Errorf("after it: %v", err)
	}
}

func TestFilesThatRenderDifferentlyEachTimeAreNamed(t *testing.T) {
	rendered, err := renderer(t, shipped(t)).Render(t.Context(), target(), chart(shipped(t), "random", `{}`), nil)
	unstable := rendered.Unstable
	if diff := cmp.Diff([]string{"secret.yaml"}, unstable); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// chartRepo serves the shipped charts as an HTTP repository. down makes it fail.
func chartRepo(tb testing.TB, names ...string) (url string, down *atomic.Bool, requests *atomic.Int64) {
	tb.Helper()
	archives, index := map[string][]byte{}, "apiVersion: v1\nentries:\n"
	for _, name := range names {
		body := archive(tb, filepath.Join("testdata/charts", name), name)
		version := chartVersion(tb, name)
		file := name + "-" + version + ".tgz"
		archives["/"+file] = body
		index += fmt.Sprintf("  %s:\n  - name: %s\n    version: %s\n    apiVersion: v2\n    digest: %x\n    urls: [%s]\n", name, name, version, sha256.Sum256(body), file)
	}
	down, requests = &atomic.Bool{}, &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		user, password, _ := r.BasicAuth()
		switch body, ok := archives[r.URL.Path]; {
		case down.Load():
			http.Error(w, "down", http.StatusBadGateway)
		case user != "ci" || password != "hush":
			http.Error(w, "who are you", http.StatusUnauthorized)
		case r.URL.Path == "/index.yaml":
			_, _ = io.WriteString(w, index)
		case ok:
			_, _ = w.Write(body)
		default:
			http.NotFound(w, r)
		}
	}))
	tb.Cleanup(server.Close)
	return server.URL, down, requests
}

func chartVersion(tb testing.TB, name string) string {
	tb.Helper()
	var meta struct{ Version string }
	text, err := os.ReadFile(filepath.Join("testdata/charts", name, "Chart.yaml"))
	if err != nil {
		tb.Fatal(err)
	}
	decode(tb, text, &meta)
	return meta.Version
}

func archive(tb testing.TB, dir, name string) []byte {
	tb.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		inside, _ := filepath.Rel(dir, path)
		if err := w.WriteHeader(&tar.Header{Name: name + "/" + filepath.ToSlash(inside), Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func TestChartsAreKeptAndUsableWhenTheirRepositoryIsDown(t *testing.T) {
	url, down, requests := chartRepo(t, "web", "peek")
	r := renderer(t, manifest.Source{URL: url, Username: "ci", Password: "hush"})
	m := releases.Manifest{Chart: releases.Chart{Repository: url + "/", Name: "web", Version: "1.2.0"}}
	one, err := r.Render(t.Context(), target(), m, nil)
	first := one.Files
	if err != nil {
		t.Fatal(err)
	}
	before := requests.Load()
	down.Store(true)
	two, err := r.Render(t.Context(), target(), m, nil)
	second := two.Files
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
	if requests.Load() != before {
		t.Error("a chart that is kept was asked for again")
	}
	m.Chart.Name, m.Chart.Version = "peek", "0.0.1"
	_, err = r.Render(t.Context(), target(), m, nil)
	if releases.KindOf(err) != releases.Unavailable {
		t.Errorf("a chart that was never fetched: %v", err)
	}
	down.Store(false)
	if _, err = r.Render(t.Context(), target(), m, nil); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}

func TestAVersionRangePicksTheNewestAndAWrongDigestIsRefused(t *testing.T) {
	body := archive(t, "testdata/charts/web", "web")
	digest := fmt.Sprintf("%x", sha256.Sum256(body))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/index.yaml" {
			fmt.Fprintf(w, "apiVersion: v1\nentries:\n  web:\n  - {name: web, version: 1.2.0, apiVersion: v2, digest: %s, urls: [web.tgz]}\n  - {name: web, version: 1.1.0, apiVersion: v2, digest: %064d, urls: [web.tgz]}\n", digest, 7)
			return
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(server.Close)
	r := renderer(t, manifest.Source{URL: server.URL})
	m := releases.Manifest{Chart: releases.Chart{Repository: server.URL, Name: "web", Version: "^1.0.0"}}
	if _, err := r.Render(t.Context(), target(), m, nil); err != nil {
		t.Error(err)
	}
	m.Chart.Version = "1.1.0"
	if _, err := r.Render(t.Context(), target(), m, nil); err == nil || !strings.Contains(err.Error(), "is not the one that its repository's index names") {
		t.Errorf("got %v", err)
	}
}

func FuzzRawManifest(f *testing.F) {
	f.Add("a: {{ .X }}\nb: '{{ .X }}'\n", "v")
	f.Add("a: |\n  {{ .X }}\n", "x\n---\nkind: Evil")
	f.Add("- {{ .X }}: {{ .X }}\n", "[")
	f.Fuzz(func(t *testing.T, text, value string) {
		plain, errPlain := manifest.ResolveRaw(text, map[string]string{"X": "v"})
		out, err := manifest.ResolveRaw(text, map[string]string{"X": value})
		if err != nil || errPlain != nil || !strings.Contains(text, "{{") {
			return
		}
		if want, got := shape(t, plain), shape(t, out); want != got {
			t.Errorf("the value %q changed the structure of %q: %s became %s", value, text, want, got)
		}
	})
}

// shape is the structure of YAML documents without their scalars' values.
func shape(t *testing.T, text []byte) string {
	var out strings.Builder
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc yaml.Node
		if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
			return out.String()
		} else if err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		var walk func(n *yaml.Node)
		walk = func(n *yaml.Node) {
			fmt.Fprintf(&out, "(%d", n.Kind)
			for _, c := range n.Content {
				walk(c)
			}
			out.WriteString(")")
		}
		walk(&doc)
	}
}
