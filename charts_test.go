package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
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
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	location := server.URL + "/charts.git"
	scratch := t.TempDir()
	reader, err := newGitCharts(filepath.Join(scratch, "clones"))
	if err != nil {
		t.Fatal(err)
	}
	newRenderer := func(password releases.Secret) *manifest.Renderer {
		r := manifest.New(manifest.Config{
			Sources: []manifest.Source{{URL: location, Username: "ci", Password: password}, {URL: "file://" + abs(t, charts)}}, Cache: t.TempDir(),
			Worker: []string{self, manifest.WorkerCommand}, Git: reader,
		}, slog.New(slog.DiscardHandler))
		t.Cleanup(r.Close)
		return r
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
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	reader, err := newGitCharts(filepath.Join(t.TempDir(), "clones"))
	if err != nil {
		t.Fatal(err)
	}
	location := server.URL + "/charts.git"
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	mute := "ssh://git@" + silent.Addr().String() + "/charts.git"
	render := func(c releases.Chart, knownHosts, key string) ([]releases.File, error) {
		r := manifest.New(manifest.Config{
			Sources: []manifest.Source{{URL: mute, SSHKeyFile: key, KnownHostsFile: knownHosts}, {URL: location, SSHKeyFile: key, KnownHostsFile: knownHosts}, {URL: "file://" + abs(t, charts)}}, Cache: t.TempDir(),
			Worker: []string{self, manifest.WorkerCommand}, Git: reader,
		}, slog.New(slog.DiscardHandler))
		defer r.Close()
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

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	reader, err := newGitCharts(filepath.Join(t.TempDir(), "clones"))
	if err != nil {
		t.Fatal(err)
	}
	location := w.git.URL + "/charts.git"
	r := manifest.New(manifest.Config{
		Sources: []manifest.Source{{URL: location}, {URL: w.charts}}, Cache: t.TempDir(), Worker: []string{self, manifest.WorkerCommand}, Git: reader,
	}, slog.New(slog.DiscardHandler))
	defer r.Close()
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

// waitingScene has a release wait for a vote in production, of a chart that somebody changes meanwhile.
type waitingScene struct {
	*server
	t        *testing.T
	artifact string
	grace    string // a token
	waiting  shownRelease
}

type shownRelease struct {
	ID, Status, Plan, Reason string
	Recipe                   releases.Recipe
}

func newWaitingScene(t *testing.T, w *world, chart map[string]string) *waitingScene {
	t.Helper()
	w.chat = `environments:
  - {name: production, channels: [console], approval: {count: 1, from: [managers]}}
people: [{name: grace, email: grace@example.com}]
roles: [{name: managers, members: [grace@example.com], can: [approve]}]
`
	x := &waitingScene{server: w.start(), t: t}
	x.artifact = x.post(w.artifact("shop", long("1111111"), func(a map[string]any) {
		one := a["environments"].([]any)[1].(map[string]any)
		one["chart"], one["values"] = chart, map[string]any{}
		a["environments"] = []any{one}
	}))
	status, text, err := x.call(http.MethodPost, "/api/tokens", []byte(`{"name": "grace", "person": "grace@example.com"}`))
	var token struct{ Token string }
	if err != nil || status != http.StatusCreated || json.Unmarshal(text, &token) != nil {
		t.Fatalf("%d %s %v", status, text, err)
	}
	x.grace = token.Token
	if x.waiting = x.ask(); x.waiting.Status != "waiting" || len(x.waiting.Recipe.Digest) != 64 || x.waiting.Recipe.KubeVersion == "" || !strings.HasPrefix(x.waiting.Recipe.Helm, "v3.") {
		t.Fatalf("%+v", x.waiting)
	}
	return x
}

// ask asks for a release, and returns it.
func (x *waitingScene) ask() shownRelease {
	x.t.Helper()
	status, text, err := x.call(http.MethodPost, "/api/releases", fmt.Appendf(nil, `{"env": "production", "artifactId": %q}`, x.artifact))
	if err != nil || status != http.StatusCreated {
		x.t.Fatalf("%d %s %v", status, text, err)
	}
	x.typed("# settled?")
	var all []shownRelease
	get(x.t, x.server, "/api/releases?env=production&status=any", &all)
	return x.now(all[0].ID)
}

func (x *waitingScene) now(id string) (shown shownRelease) {
	x.t.Helper()
	get(x.t, x.server, "/api/releases/"+id, &shown)
	return shown
}

// approve has grace vote for what waits.
func (x *waitingScene) approve() shownRelease {
	x.t.Helper()
	status, text, err := x.callAs(x.grace, http.MethodPost, "/api/releases/"+x.waiting.ID+"/approve", nil)
	if err != nil || status != http.StatusOK {
		x.t.Fatalf("%d %s %v", status, text, err)
	}
	x.typed("# settled?")
	return x.now(x.waiting.ID)
}

// changeByHand changes the folder under the plan, which is noticed when it is to be pushed.
func (x *waitingScene) changeByHand() {
	x.t.Helper()
	folder := gittest.Clone(x.t, x.world.remote)
	if err := os.MkdirAll(filepath.Join(folder, "production/shop"), 0o750); err != nil {
		x.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "production/shop/by-hand.yaml"), []byte("kind: ConfigMap\nmetadata: {name: x}\n"), 0o600); err != nil {
		x.t.Fatal(err)
	}
	gittest.Git(x.t, folder, "add", "-A")
	gittest.Git(x.t, folder, "commit", "-qm", "by hand")
	gittest.Git(x.t, folder, "push", "-q", "origin", "HEAD:main")
}

// TestAReleaseIsPlannedAgainFromTheSameChart moves the chart's branch on, and the app's folder, while a release waits for votes: it is
// planned again, and what people have seen of the chart stays what it is.
func TestAReleaseIsPlannedAgainFromTheSameChart(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	repository := filepath.Join(w.git.Root, "charts.git")
	gittest.Bare(t, repository, folderFiles(t, "releases/manifest/testdata/charts/web", "web"))
	work := gittest.Clone(t, repository)
	first := strings.TrimSpace(gittest.Git(t, work, "rev-parse", "HEAD"))
	w.charts = w.git.URL + "/charts.git"
	x := newWaitingScene(t, w, map[string]string{"name": w.charts + "?path=web&branch=main"})
	if name := x.waiting.Recipe.Chart.Name; name != w.charts+"?path=web&sha="+first {
		t.Error(name)
	}
	chart := filepath.Join(work, "web/Chart.yaml")
	replaceIn(t, chart, "version: 1.2.0", "version: 7.7.7")
	gittest.Git(t, work, "commit", "-qam", "seven")
	gittest.Git(t, work, "push", "-q", "origin", "HEAD:main")
	x.changeByHand()
	again := x.approve()
	if again.Status != "waiting" || again.Plan == x.waiting.Plan || again.Recipe.Chart != x.waiting.Recipe.Chart || again.Recipe.Digest != x.waiting.Recipe.Digest {
		t.Errorf("it is %s, planned again from %+v, not %+v", again.Status, again.Recipe, x.waiting.Recipe)
	}
	if live := x.approve(); live.Status != "published" {
		t.Errorf("%+v", live)
	}
	if text := gittest.Git(t, w.remote, "show", "main:production/shop/deployment.yaml"); !strings.Contains(text, "web-1.2.0") || strings.Contains(text, "7.7.7") {
		t.Errorf("what is live is not what was seen:\n%s", text)
	}
	if later := x.ask(); later.Recipe.Chart == x.waiting.Recipe.Chart || later.Status != "waiting" {
		t.Errorf("a release that is asked for now is made from %+v and is %s", later.Recipe, later.Status)
	}
	x.stop()
}

// TestAChartThatHasChangedUnderItsNameIsNotReleased changes a chart in a folder, which has no other name then.
func TestAChartThatHasChangedUnderItsNameIsNotReleased(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	charts := t.TempDir()
	if err := os.CopyFS(filepath.Join(charts, "web"), os.DirFS("releases/manifest/testdata/charts/web")); err != nil {
		t.Fatal(err)
	}
	w.charts = "file://" + charts
	x := newWaitingScene(t, w, map[string]string{"repository": w.charts, "name": "web"})
	replaceIn(t, filepath.Join(charts, "web/Chart.yaml"), "version: 1.2.0", "version: 7.7.7")
	x.changeByHand()
	if after := x.approve(); after.Status != "failed" || !strings.Contains(after.Reason, "chart web is no longer the one that was planned") {
		t.Errorf("%+v", after)
	}
	if later := x.ask(); later.Status != "waiting" || later.Recipe.Digest == x.waiting.Recipe.Digest {
		t.Errorf("%+v", later)
	}
	x.stop()
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

// TestAnArtifactWithCUEIsReleased ships two apps that one CUE source makes, and releases them after a restart, too.
func TestAnArtifactWithCUEIsReleased(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	s := w.start()
	source := fmt.Sprintf(`
_shop: {
	namespace: "shop"
	chart: {repository: %q, name: "webapp", version: "1.0.0"}
	values: image: {repository: "registry.example/shop", tag: "{{ .SHA }}"}
}
configs: [
	for name in ["shop-a", "shop-b"] {_shop, app: name, env: "staging", deploy: {branch: "main", event: "push"}},
	{_shop, app: "shop-a", env: "production"},
]
`, w.charts)
	ship := func(sha string, cue ...string) []byte {
		return w.artifact("web", long(sha), func(a map[string]any) { a["cueEnvironments"], a["environments"] = cue, nil })
	}
	refuse := func(says string, body []byte) {
		t.Helper()
		if status, text, err := s.call(http.MethodPost, "/api/artifact", body); err != nil || status != http.StatusBadRequest || !strings.Contains(string(text), says) {
			t.Errorf("%d %s %v, not %s", status, text, err, says)
		}
	}
	refuse(`cueEnvironments[0]: line 1: configs.0.env: conflicting values`, ship("1111111", `configs: [{env: "staging", env: "production"}]`))
	refuse(`manifest 4 of cueEnvironments: app \"shop-a\" in \"staging\" is also manifest 1 of cueEnvironments`, ship("1111111", source, source))
	refuse("cueEnvironments[1]: configs: missing", ship("1111111", source, "apps: []"))

	id := s.post(ship("1111111", source))
	s.typed("# settled?")
	for _, app := range []string{"shop-a", "shop-b"} {
		if text := gittest.Git(t, w.remote, "show", "main:staging/"+app+"/deployment.yaml"); !strings.Contains(text, "registry.example/shop:"+long("1111111")) {
			t.Errorf("%s: %s", app, text)
		}
	}
	s.stop()
	s = w.start()
	status, text, err := s.call(http.MethodPost, "/api/releases", fmt.Appendf(nil, `{"env": "production", "artifactId": %q}`, id))
	if err != nil || status != http.StatusCreated {
		t.Fatalf("%d %s %v", status, text, err)
	}
	s.typed("# settled?")
	if files := gittest.Git(t, w.remote, "ls-tree", "--name-only", "-r", "main", "production/"); !strings.Contains(files, "production/shop-a/deployment.yaml") || strings.Contains(files, "shop-b") {
		t.Errorf("production holds %s", files)
	}
	// It is kept as it was shipped: shipped again, it is the same.
	status, text, err = s.call(http.MethodPost, "/api/artifact", ship("1111111", source))
	if err != nil || status != http.StatusOK || !strings.Contains(string(text), id) || !strings.Contains(string(text), "_shop, app: name") {
		t.Errorf("%d %s %v", status, text, err)
	}
	s.stop()
}
