package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gimletd/releases"
	"gimletd/releases/gitops/gittest"
	"gimletd/releases/manifest"

	"github.com/google/go-cmp/cmp"
)

// folderFiles are the files of a folder, by their place below another one.
func folderFiles(t *testing.T, folder, below string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		inside, _ := filepath.Rel(folder, path)
		files[filepath.Join(below, inside)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// gitRenderer takes charts from the sources, git repositories among them, which it clones into a folder of scratch.
func gitRenderer(t *testing.T, scratch string, sources ...manifest.Source) *manifest.Renderer {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	reader, err := newGitCharts(filepath.Join(scratch, "clones"))
	if err != nil {
		t.Fatal(err)
	}
	r := manifest.New(manifest.Config{Sources: sources, Cache: t.TempDir(), Worker: []string{self, manifest.WorkerCommand}, Git: reader}, slog.New(slog.DiscardHandler))
	t.Cleanup(r.Close)
	return r
}

// TestChartsOfAGitRepository renders a chart by commit, tag and branch, from a git server that asks who one is.
func TestChartsOfAGitRepository(t *testing.T) {
	const charts = "releases/manifest/testdata/charts"
	server := gittest.Serve(t)
	bare := filepath.Join(server.Root, "charts.git")
	files := folderFiles(t, filepath.Join(charts, "web"), "charts/web")
	files["charts/web/.helmignore"] = "old/\n*.bak.yaml\n"
	files["charts/web/templates/old/a.yaml"], files["charts/web/templates/b.bak.yaml"] = `{{ fail "an old one" }}`, `{{ fail "a copy" }}`
	gittest.Bare(t, bare, files)
	work := gittest.Clone(t, bare)
	gittest.Git(t, work, "tag", "-am", "first", "v1")
	first := strings.TrimSpace(gittest.Git(t, work, "rev-parse", "HEAD"))
	replaceIn(t, filepath.Join(work, "charts/web/Chart.yaml"), "version: 1.2.0", "version: 7.7.7")
	gittest.Git(t, work, "commit", "-qam", "seven")
	gittest.Git(t, work, "branch", "feature/x")
	if err := os.Symlink("/etc/passwd", filepath.Join(work, "charts/web/templates/passwd.yaml")); err != nil {
		t.Fatal(err)
	}
	gittest.Git(t, work, "checkout", "-qb", "links")
	gittest.Git(t, work, "add", "-A")
	gittest.Git(t, work, "commit", "-qm", "a link")
	gittest.Git(t, work, "push", "-q", "origin", "HEAD:links", "feature/x", "feature/x:main", "--tags")
	gittest.Git(t, work, "checkout", "-qb", "ignores", "main")
	if err := os.WriteFile(filepath.Join(work, "charts/web/.helmignore"), bytes.Repeat([]byte("a\n"), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	gittest.Git(t, work, "commit", "-qam", "much to ignore")
	gittest.Git(t, work, "push", "-q", "origin", "HEAD:ignores")
	gittest.Bomb(t, bare, "bomb")
	down := false
	server.Before(func(w http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		switch {
		case down:
			http.Error(w, "down", http.StatusBadGateway)
		case user != "ci" || password != "hush":
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
		default:
			return false
		}
		return true
	})
	location := server.URL + "/charts.git"
	scratch := t.TempDir()
	newRenderer := func(password releases.Secret) *manifest.Renderer {
		return gitRenderer(t, scratch, manifest.Source{URL: location, Username: "ci", Password: password}, manifest.Source{URL: "file://" + abs(t, charts)})
	}
	r := newRenderer("hush")
	target := releases.Target{App: "shop", Env: "staging", Namespace: "team"}
	render := func(r *manifest.Renderer, c releases.Chart) ([]releases.File, error) {
		rendered, err := r.Render(t.Context(), target, releases.Manifest{Chart: c}, map[string]string{"TAG": "v1"})
		files := rendered.Files
		return files, err
	}
	want, err := render(r, releases.Chart{Repository: "file://" + abs(t, charts), Name: "web", Version: "1.2.0"})
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"?path=/charts/web/&tag=v1", "?path=charts/web&sha=" + first, "?path=/charts/web&tag={{ .TAG }}"} {
		got, err := render(r, releases.Chart{Name: location + query})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", query, err, diff)
		}
	}
	for _, query := range []string{"?path=/charts/web/&branch=feature/x", "?path=/charts/web/"} { // the remote's HEAD is main
		got, err := render(r, releases.Chart{Name: location + query})
		if err != nil || !strings.Contains(fmt.Sprintf("%s", got), "web-7.7.7") {
			t.Errorf("%s: %v", query, err)
		}
	}
	for _, c := range []struct {
		name  string
		chart releases.Chart
		kind  releases.Kind
		want  string
	}{
		{"a branch that is not there", releases.Chart{Name: location + "?path=charts/web&branch=nope"}, releases.NotFound, "refs/heads/nope"},
		{"a tag that is not there", releases.Chart{Name: location + "?path=charts/web&tag=nope"}, releases.NotFound, "refs/tags/nope"},
		{"a commit that is not there", releases.Chart{Name: location + "?path=charts/web&sha=" + strings.Repeat("1", 40)}, "", ""},
		{"half a commit", releases.Chart{Name: location + "?path=charts/web&sha=" + first[:10]}, releases.NotFound, "is not the 40 digits of a commit"},
		{"a folder that is not there", releases.Chart{Name: location + "?path=charts/nope&tag=v1"}, releases.NotFound, "charts/nope"},
		{"a folder without a chart", releases.Chart{Name: location + "?path=charts&tag=v1"}, releases.NotFound, "there is no Chart.yaml"},
		{"climbing out", releases.Chart{Name: location + "?path=../../etc&tag=v1"}, releases.NotFound, "folder etc"},
		{"a link", releases.Chart{Name: location + "?path=charts/web&branch=links"}, "", "is a link"},
		{"two places", releases.Chart{Name: location + "?path=charts/web&tag=v1&branch=main"}, releases.Invalid, "one of sha, tag and branch"},
		{"an option of git's", releases.Chart{Name: location + "?path=charts/web&--upload-pack=touch+x"}, releases.Invalid, "--upload-pack is unknown"},
		{"credentials inside", releases.Chart{Name: strings.Replace(location, "://", "://me:secret@", 1) + "?path=charts/web"}, releases.Invalid, "credentials"},
		{"a file", releases.Chart{Name: "file://" + bare + "?path=charts/web"}, releases.Invalid, "named by https://"},
		{"a password over ssh", releases.Chart{Name: "ssh://git:secret@git.example/x.git?path=charts/web"}, releases.Invalid, "credentials"},
		{"another host over ssh", releases.Chart{Name: "ssh://git@git.example/x.git?path=charts/web"}, releases.Invalid, "is not among the charts"},
		{"folders without end", releases.Chart{Name: location + "?branch=bomb"}, "", "more than 10000 files and folders"},
		{"a long .helmignore", releases.Chart{Name: location + "?path=charts/web&branch=ignores"}, releases.Invalid, "larger than 16 KiB"},
		{"a repository that is not listed", releases.Chart{Name: server.URL + "/other.git?path=charts/web"}, releases.Invalid, "is not among the charts"},
		{"a version", releases.Chart{Name: location + "?path=charts/web&tag=v1", Version: "1.0.0"}, releases.Invalid, "has the version of its commit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files, err := render(r, c.chart)
			if err == nil || (c.kind != "" && releases.KindOf(err) != c.kind) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "secret") {
				t.Errorf("%d files, %s: %v", len(files), releases.KindOf(err), err)
			}
		})
	}
	if _, err := render(newRenderer("wrong"), releases.Chart{Name: location + "?path=charts/web&tag=v1"}); releases.KindOf(err) != releases.Unavailable || !strings.Contains(err.Error(), "refuses its credentials") {
		t.Errorf("wrong credentials: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(scratch, "clones", "*")); err != nil || len(left) > 0 {
		t.Errorf("clones that are left: %v %v", left, err)
	}
	// A commit that was used needs no server; a tag may have moved.
	down = true
	if got, err := render(r, releases.Chart{Name: location + "?path=charts/web&sha=" + first}); err != nil || !cmp.Equal(want, got) {
		t.Errorf("%v", err)
	}
	if _, err := render(r, releases.Chart{Name: location + "?path=charts/web&tag=v1"}); releases.KindOf(err) != releases.Unavailable {
		t.Errorf("a tag without its server: %v", err)
	}
}

// TestChartsOfAGitRepositoryOverSSH renders a chart from a server whose key is known, and none from one that says to be it.
func TestChartsOfAGitRepositoryOverSSH(t *testing.T) {
	const charts = "releases/manifest/testdata/charts"
	server := gittest.ServeSSH(t)
	bare := filepath.Join(server.Root, "charts.git")
	gittest.Bare(t, bare, folderFiles(t, filepath.Join(charts, "web"), "charts/web"))
	first := strings.TrimSpace(gittest.Git(t, bare, "rev-parse", "main"))
	location := server.URL + "/charts.git"
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	mute := "ssh://git@" + silent.Addr().String() + "/charts.git"
	render := func(c releases.Chart, knownHosts, key string) ([]releases.File, error) {
		r := gitRenderer(t, t.TempDir(), manifest.Source{URL: mute, SSHKeyFile: key, KnownHostsFile: knownHosts},
			manifest.Source{URL: location, SSHKeyFile: key, KnownHostsFile: knownHosts}, manifest.Source{URL: "file://" + abs(t, charts)})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		rendered, err := r.Render(ctx, releases.Target{App: "shop", Env: "staging", Namespace: "team"}, releases.Manifest{Chart: c}, nil)
		files := rendered.Files
		return files, err
	}
	want, err := render(releases.Chart{Repository: "file://" + abs(t, charts), Name: "web", Version: "1.2.0"}, server.KnownHosts, server.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"&sha=" + first, "&branch=main", ""} {
		got, err := render(releases.Chart{Name: location + "?path=charts/web" + query}, server.KnownHosts, server.KeyFile)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", query, err, diff)
		}
	}
	chart := releases.Chart{Name: location + "?path=charts/web"}
	if _, err := render(chart, server.Strangers, server.KeyFile); releases.KindOf(err) != releases.Unavailable || !strings.Contains(err.Error(), "knownHostsFile") {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := render(chart, server.KnownHosts, gittest.ServeSSH(t).KeyFile); releases.KindOf(err) != releases.Unavailable || !strings.Contains(err.Error(), "refuses its credentials") {
		t.Errorf("another's key: %v", err)
	}
	begin := time.Now()
	if _, err := render(releases.Chart{Name: mute + "?path=web"}, server.KnownHosts, server.KeyFile); releases.KindOf(err) != releases.Unavailable || time.Since(begin) > 15*time.Second {
		t.Errorf("a host that says nothing, after %s: %v", time.Since(begin), err)
	}
}

func abs(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func replaceIn(t *testing.T, file, old, now string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), old, now, 1)
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil || changed == string(text) {
		t.Fatal(err, "nothing was replaced")
	}
}
