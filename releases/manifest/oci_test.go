package manifest_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"gimletd/releases"
	"gimletd/releases/manifest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
)

// ociRegistry is a registry on loopback that asks who one is. change may answer in its place.
type ociRegistry struct {
	host   string
	down   atomic.Bool
	calls  atomic.Int64
	change func(w http.ResponseWriter, r *http.Request) bool
}

func newOCIRegistry(t *testing.T) *ociRegistry {
	t.Helper()
	o := &ociRegistry{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.calls.Add(1)
		user, password, _ := r.BasicAuth()
		switch {
		case o.down.Load():
			http.Error(w, "down", http.StatusBadGateway)
		case user != "ci" || password != "hush":
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		case o.change == nil || !o.change(w, r):
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	o.host = strings.TrimPrefix(server.URL, "http://")
	return o
}

// push has helm itself put a chart there.
func (o *ociRegistry) push(t *testing.T, chart, version string) {
	t.Helper()
	dir := t.TempDir()
	run := helmIn(t, dir)
	run("package", filepath.Join("testdata/charts", chart), "--version", version, "--destination", dir)
	o.pushFile(t, filepath.Join(dir, chart+"-"+version+".tgz"))
}

// pushFile has helm push an archive, and the signature that lies beside it.
func (o *ociRegistry) pushFile(t *testing.T, file string) {
	t.Helper()
	run := helmIn(t, t.TempDir())
	run("registry", "login", o.host, "--username", "ci", "--password", "hush", "--plain-http")
	run("push", file, "oci://"+o.host+"/acme/charts", "--plain-http")
}

// tag has a chart be there under another name, too.
func (o *ociRegistry) tag(t *testing.T, from, version, to, tag string) {
	t.Helper()
	call := func(method, path string, header http.Header, body io.Reader) (*http.Response, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+o.host+"/v2/acme/charts/"+path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		req.SetBasicAuth("ci", "hush")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode >= 300 {
			t.Fatalf("%s %s: %s %s %v", method, path, res.Status, text, err)
		}
		return res, text
	}
	const kind = "application/vnd.oci.image.manifest.v1+json"
	_, manifest := call(http.MethodGet, from+"/manifests/"+version, http.Header{"Accept": {kind}}, nil)
	call(http.MethodPut, to+"/manifests/"+tag, http.Header{"Content-Type": {kind}}, bytes.NewReader(manifest))
}

// helmIn runs helm with its state in the folder.
func helmIn(t *testing.T, dir string) func(args ...string) {
	binary := helm(t)
	return func(args ...string) {
		t.Helper()
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+dir, "HELM_CONFIG_HOME="+dir, "HELM_DATA_HOME="+dir, "HELM_REGISTRY_CONFIG="+filepath.Join(dir, "registry.json"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("helm %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
}

func TestChartsOfAnOCIRegistry(t *testing.T) {
	o := newOCIRegistry(t)
	for _, version := range []string{"1.0.0", "1.2.0+build.7", "2.0.0", "3.0.0-rc.1"} {
		o.push(t, "web", version)
	}
	base := "oci://" + o.host + "/acme/charts"
	r := renderer(t, manifest.Source{URL: base + "/", Username: "ci", Password: "hush"})
	render := func(c releases.Chart) (string, error) {
		rendered, err := r.Render(t.Context(), target(), releases.Manifest{Chart: c}, map[string]string{"VERSION": "1.0.0"})
		files := rendered.Files
		var all bytes.Buffer
		for _, f := range files {
			all.Write(f.Content)
		}
		return all.String(), err
	}
	whole, err := render(releases.Chart{Name: base + "/web", Version: "1.0.0"})
	if err != nil || !strings.Contains(whole, "web-1.0.0") {
		t.Fatalf("%s %v", whole, err)
	}
	for _, c := range []struct {
		chart releases.Chart
		want  string
	}{
		{releases.Chart{Repository: base, Name: "web", Version: "1.0.0"}, "web-1.0.0"},
		{releases.Chart{Name: base + "/web:2.0.0"}, "web-2.0.0"},
		{releases.Chart{Name: base + "/web", Version: "{{ .VERSION }}"}, "web-1.0.0"},
		{releases.Chart{Name: base + "/web", Version: "1.2.0+build.7"}, "web-1.2.0+build.7"},
		{releases.Chart{Name: base + "/web", Version: "^1.0.0"}, "web-1.2.0+build.7"},
		{releases.Chart{Name: base + "/web", Version: "~1.0"}, "web-1.0.0"},
		{releases.Chart{Name: base + "/web"}, "web-2.0.0"}, // the newest that is no pre-release
		{releases.Chart{Name: base + "/web", Version: ">0.0.0-0"}, "web-3.0.0-rc.1"},
	} {
		got, err := render(c.chart)
		if err != nil || !strings.Contains(got, c.want) {
			t.Errorf("%+v: not %s: %v", c.chart, c.want, err)
		}
	}
	// What was used before needs no registry; a range does.
	o.down.Store(true)
	again, err := render(releases.Chart{Name: base + "/web", Version: "1.0.0"})
	if diff := cmp.Diff(whole, again); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := render(releases.Chart{Name: base + "/web", Version: "^1.0.0"}); releases.KindOf(err) != releases.Unavailable {
		t.Errorf("a range without its registry: %v", err)
	}
}

// call asks the registry itself for, or gives it, a chart's manifest.
func (o *ociRegistry) call(t *testing.T, method, tag string, body []byte) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+o.host+"/v2/acme/charts/web/manifests/"+tag, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("ci", "hush")
	req.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= http.StatusBadRequest {
		t.Fatalf("%s %s: %s %s %v", method, tag, resp.Status, text, err)
	}
	return text
}

// TestTagsThatAreNoVersions moves one, and writes one as people do in git.
func TestTagsThatAreNoVersions(t *testing.T) {
	o := newOCIRegistry(t)
	o.push(t, "web", "1.0.0")
	o.push(t, "web", "2.0.0")
	tag := func(name, version string) { o.call(t, http.MethodPut, name, o.call(t, http.MethodGet, version, nil)) }
	base := "oci://" + o.host + "/acme/charts"
	r := renderer(t, manifest.Source{URL: base, Username: "ci", Password: "hush"})
	for _, c := range []struct {
		move, to string
		chart    releases.Chart
		want     string
	}{
		{"latest", "1.0.0", releases.Chart{Name: base + "/web", Version: "latest"}, "web-1.0.0"},
		{"latest", "2.0.0", releases.Chart{Name: base + "/web", Version: "latest"}, "web-2.0.0"},
		{"latest", "1.0.0", releases.Chart{Name: base + "/web:latest"}, "web-1.0.0"},
		{"v9.0.0", "1.0.0", releases.Chart{Name: base + "/web", Version: "v9.0.0"}, "web-1.0.0"},
		{"v1", "2.0.0", releases.Chart{Name: base + "/web:2.0.0", Version: "2.0.0"}, "web-2.0.0"},
	} {
		tag(c.move, c.to)
		rendered, err := r.Render(t.Context(), target(), releases.Manifest{Chart: c.chart}, nil)
		files := rendered.Files
		var all strings.Builder
		for _, f := range files {
			all.Write(f.Content)
		}
		if err != nil || !strings.Contains(all.String(), c.want) {
			t.Errorf("%+v: not %s: %v", c.chart, c.want, err)
		}
	}
	o.call(t, http.MethodPut, "3.0.0", regexp.MustCompile(`sha256:[0-9a-f]+`).ReplaceAll(o.call(t, http.MethodGet, "1.0.0", nil), []byte("nodigest")))
	if _, err := r.Render(t.Context(), target(), releases.Manifest{Chart: releases.Chart{Name: base + "/web", Version: "3.0.0"}}, nil); releases.KindOf(err) != releases.Invalid {
		t.Errorf("a layer without a digest: %s: %v", releases.KindOf(err), err)
	}
	for _, chart := range []releases.Chart{
		{Name: base + "/web:1.0.0", Version: "2.0.0"},
		{Name: base + "/web@sha256:" + strings.Repeat("0", 64), Version: "2.0.0"},
	} {
		if _, err := r.Render(t.Context(), target(), releases.Manifest{Chart: chart}, nil); releases.KindOf(err) != releases.Invalid || !strings.Contains(err.Error(), "leave one of them out") {
			t.Errorf("%+v: %v", chart, err)
		}
	}
}

func TestWhatARegistryMayNotDo(t *testing.T) {
	o := newOCIRegistry(t)
	o.push(t, "web", "1.0.0")
	base := "oci://" + o.host + "/acme/charts"
	good := manifest.Source{URL: base, Username: "ci", Password: "hush"}
	stranger := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the credentials are sent elsewhere")
		}
	}))
	defer stranger.Close()
	blob := func(do func(w http.ResponseWriter)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
				do(w)
				return true
			}
			return false
		}
	}
	for _, c := range []struct {
		name   string
		source manifest.Source
		chart  releases.Chart
		change func(w http.ResponseWriter, r *http.Request) bool
		kind   releases.Kind
		want   string
	}{
		{"a place that is not listed", good, releases.Chart{Name: "oci://" + o.host + "/other/web", Version: "1.0.0"}, nil, releases.Invalid, "is not among the charts"},
		{"a neighbour with the same beginning", good, releases.Chart{Name: base + "-evil/web", Version: "1.0.0"}, nil, releases.Invalid, "is not among the charts"},
		{"climbing out", good, releases.Chart{Name: base + "/../../secret", Version: "1.0.0"}, nil, releases.Invalid, "is not a reference"},
		{"another version", good, releases.Chart{Name: base + "/web", Version: "9.9.9"}, nil, releases.NotFound, "is not in its registry"},
		{"a range that nothing fits", good, releases.Chart{Name: base + "/web", Version: "^9"}, nil, releases.NotFound, "is not in its registry"},
		{"another chart", good, releases.Chart{Name: base + "/nothing", Version: "1.0.0"}, nil, releases.NotFound, "is not in its registry"},
		{"wrong credentials", manifest.Source{URL: base, Username: "ci", Password: "wrong"}, releases.Chart{Name: base + "/web", Version: "1.0.0"}, nil, releases.Unavailable, "refuses its credentials"},
		{"no credentials", manifest.Source{URL: base}, releases.Chart{Name: base + "/web", Version: "1.0.0"}, nil, releases.Unavailable, "asks for credentials"},
		{"another archive", good, releases.Chart{Name: base + "/web", Version: "1.0.0"}, blob(func(w http.ResponseWriter) { _, _ = io.WriteString(w, "something else") }), "", ""},
		{"a redirect to a stranger", good, releases.Chart{Name: base + "/web", Version: "1.0.0"}, blob(func(w http.ResponseWriter) {
			w.Header().Set("Location", stranger.URL)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}), "", ""},
		{"something that is no chart", good, releases.Chart{Name: base + "/web", Version: "1.0.0"}, func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			body := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}`
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Docker-Content-Digest", "sha256:a03c6b8c0f3b7ac7a8ea4fa0ba0d2b65d1a98a8b4c04e6ba0b2b5c9a3dd5d3a3")
			_, _ = io.WriteString(w, body)
			return true
		}, "", ""},
		{"an archive of 10 GB", good, releases.Chart{Name: base + "/web", Version: "1.0.0"}, func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/blobs/") {
				return false
			}
			w.Header().Set("Content-Length", fmt.Sprint(10<<30))
			for range 1 << 10 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					break
				}
			}
			return true
		}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o.change = c.change
			defer func() { o.change = nil }()
			rendered, err := renderer(t, c.source).Render(t.Context(), target(), releases.Manifest{Chart: c.chart}, nil)
			files := rendered.Files
			if err == nil {
				t.Fatalf("it renders %d files", len(files))
			}
			if (c.kind != "" && releases.KindOf(err) != c.kind) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("%s: %v", releases.KindOf(err), err)
			}
		})
	}
}
