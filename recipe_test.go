package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimletd/releases"
	"gimletd/releases/gitops/gittest"
)

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
