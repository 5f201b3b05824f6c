package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"gimletd/commands/demo"
	"gimletd/releases/gitops/gittest"

	"go.etcd.io/bbolt"
)

// planted are secrets, by where they come in.
var planted = map[string]string{
	"a variable by its name":       "plantedByName1",
	"a variable by its value":      "ghp_plantedByValue2aaaaaaaaaaaaaaaaaaaa",
	"an item":                      "glpat-plantedInItem3aaaa",
	"a body that cannot be read":   "ghp_plantedInBody4aaaaaaaaaaaaaaaaaaaaa",
	"the password of charts":       "plantedForCharts5",
	"the password of the gitops":   "plantedForGit6",
	"a guess":                      "gimletd_plantedguess7aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	"a Secret of the cluster":      "plantedInCluster8",
	"a Secret, as it is encoded":   "cGxhbnRlZEluQ2x1c3Rlcjk=",
	"a Secret that is in its way":  "plantedBefore10",
	"a token in a URL":             "plantedInURL11",
	"a webhook that is not signed": "plantedInHook12",
}

// TestNoSecretIsToldOrKept plants secrets wherever one can come in, has releases made, refused, failed and rolled back, and looks for
// them wherever something can be read.
func TestNoSecretIsToldOrKept(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	chart := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(chart, "vault", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cluster := func(value string) {
		write("Chart.yaml", "apiVersion: v2\nname: vault\nversion: 1.0.0\n")
		write("templates/secret.yaml", fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: vault}\nstringData: {password: %q}\ndata: {key: %q}\n",
			value, planted["a Secret, as it is encoded"]))
	}
	cluster(planted["a Secret that is in its way"])
	inner, err := demo.ChartRepository()
	if err != nil {
		t.Fatal(err)
	}
	var refusing atomic.Bool
	charts := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != planted["the password of charts"] || refusing.Load() {
			http.Error(rw, "no: "+r.Header.Get("Authorization"), http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(rw, r)
	}))
	defer charts.Close()
	w.charts = fmt.Sprintf("%s, username: ci, password: %s}, {url: file://%s", charts.URL, planted["the password of charts"], chart)
	w.url += ", auth: {username: ci, password: " + planted["the password of the gitops"] + "}"
	s := w.start()

	var answers strings.Builder
	ask := func(token, method, path, body string, want int) (made struct{ ID string }) {
		t.Helper()
		status, text, err := s.callAs(token, method, path, []byte(body))
		if err != nil || status != want {
			t.Errorf("%s %s: %d %s %v", method, path, status, text, err)
		}
		answers.Write(append(text, 0x0a))
		_ = json.Unmarshal(text, &made) // not all answers have one
		s.typed("# settled?")
		return made
	}
	shipped := func(n int) string {
		return string(w.artifact("web", long(fmt.Sprint(n, "bcdef1")), func(a map[string]any) {
			a["context"] = map[string]string{"SHA": long(fmt.Sprint(n, "bcdef1")), "AWS_SECRET_ACCESS_KEY": planted["a variable by its name"], "FINE": planted["a variable by its value"]}
			a["items"] = []any{map[string]string{"name": "CI", "key": planted["an item"]}}
			for i, e := range a["environments"].([]any) {
				m := e.(map[string]any)
				delete(m, "deploy")
				m["chart"] = map[string]string{"repository": "file://" + chart, "name": "vault", "version": "1.0.0"}
				if i == 1 {
					m["chart"] = map[string]string{"repository": charts.URL, "name": "webapp", "version": "1.0.0"}
				}
			}
		}))
	}
	release := func(artifact, env string) string {
		return fmt.Sprintf(`{"env":%q,"app":"web","artifactId":%q}`, env, artifact)
	}
	first := ask(adminToken, http.MethodPost, "/api/artifact", shipped(1), 201).ID
	second := ask(adminToken, http.MethodPost, "/api/artifact", shipped(2), 201).ID
	ask(adminToken, http.MethodPost, "/api/artifact", `{"version": "`+planted["a body that cannot be read"]+`"}`, 400)
	ask(adminToken, http.MethodPost, "/api/releases", release(first, "staging"), 201)
	cluster(planted["a Secret of the cluster"])
	ask(adminToken, http.MethodPost, "/api/releases?dryRun=true", release(second, "staging"), 200)
	made := ask(adminToken, http.MethodPost, "/api/releases", release(second, "staging"), 201)
	ask(adminToken, http.MethodGet, "/api/eventReleaseTrack?id="+made.ID, "", 200)
	ask(adminToken, http.MethodPost, "/api/releases", release(first, "production"), 201)
	refusing.Store(true)
	if err := os.RemoveAll(filepath.Join(w.dir, "charts")); err != nil { // nothing is kept
		t.Fatal(err)
	}
	ask(adminToken, http.MethodPost, "/api/releases?dryRun=true", release(second, "production"), 503)
	ask(planted["a guess"], http.MethodGet, "/api/status?env=staging", "", 401)
	ask(adminToken, http.MethodGet, "/api/status?env=staging&access_token="+planted["a token in a URL"], "", 401)
	ask(adminToken, http.MethodPost, "/webhooks/github", `{"ref": "`+planted["a webhook that is not signed"]+`"}`, 401)
	s.typed("/gimlet why web staging", "/gimlet diff web staging", "/rollback web staging", "/gimlet status staging", "/gimlet history web staging")
	for _, path := range []string{
		"/api/artifacts", "/api/releases?env=staging", "/api/releases?env=production", "/api/status?env=staging", "/api/audit", "/api/tokens", "/api/policies", "/api/gitopsRepo",
		"/api/gitopsCommits", "/api/eventArtifactTrack?artifactId=" + second,
	} {
		ask(adminToken, http.MethodGet, path, "", 200)
	}
	s.stop()

	repository := gitShow(t, w)
	for _, where := range []string{"a Secret of the cluster", "a Secret that is in its way", "a Secret, as it is encoded"} {
		if !strings.Contains(repository, planted[where]) {
			t.Errorf("%s never came to the repository, so that nothing is shown", where)
		}
	}
	for where, secret := range planted {
		for what, text := range map[string]string{"the log": s.log.String(), "the messages": s.out.String(), "the answers": answers.String()} {
			if strings.Contains(text, secret) {
				at := strings.Index(text, secret)
				t.Errorf("%s is in %s: %s", where, what, text[max(0, at-200):at+len(secret)])
			}
		}
	}
	lookThrough(t, filepath.Join(w.dir, "gimletd.db"))
}

// secretScenarios look for planted secrets in all that is told in a chat.
func secretScenarios() []scenario {
	return []scenario{{name: "no secret is told", play: func(x *scene) {
		ship := func(sha, inCluster string, wrong bool) {
			x.quietly("web", sha, func(a map[string]any) {
				a["context"] = map[string]string{"SHA": long(sha), "AWS_SECRET_ACCESS_KEY": planted["a variable by its name"], "FINE": planted["a variable by its value"]}
				a["items"] = []any{map[string]string{"name": "CI", "key": planted["an item"]}}
				staging := a["environments"].([]any)[0].(map[string]any)
				staging["manifests"] = fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: vault}\nstringData: {password: %s}\ndata: {key: %s}\n", inCluster, planted["a Secret, as it is encoded"])
				if wrong {
					staging["manifests"] = "kind: ConfigMap\nmetadata: {name: x}\ndata: {key: \"{{ .AWS_SECRET_ACCESS_KEY }}\"}\n"
				}
			})
		}
		ship("1111111", planted["a Secret that is in its way"], false)
		x.ok(x.tess.Slash(x.random, "/release web staging"))
		x.Find(x.staging, "Released web 1111111 to staging")
		ship("2222222", planted["a Secret of the cluster"], false)
		x.ok(x.tess.Slash(x.random, "/gimlet diff web staging"))
		x.told(x.tess, x.random, "Secret vault: stringData.password")
		x.ok(x.tess.Slash(x.random, "/release web staging"))
		x.Find(x.staging, "Released web 1111111 → 2222222 to staging")
		ship("3333333", "", true)
		x.ok(x.tess.Slash(x.random, "/release web staging"))
		x.Find(x.staging, "AWS_SECRET_ACCESS_KEY is missing")
		x.ok(x.tess.Slash(x.random, "/gimlet why web staging"))
		x.told(x.tess, x.random, "web in staging")
		x.ok(x.tess.Slash(x.random, "/rollback web staging"))
		x.ok(x.tess.Click(x.told(x.tess, x.random, "Careful, this does not bring back all that was"), "Roll back anyway"))
		x.Find(x.staging, "Rolled back web")
		for _, c := range []*channel{x.random, x.staging, x.releases, x.ops} {
			all := x.Messages(c, true)
			for _, u := range []*person{x.tess, x.grace, x.heidi, x.ada, x.mallory} {
				all = append(append(all, x.Private(u, c)...), x.Direct(u)...)
			}
			for _, m := range all {
				now := m.Now()
				for where, secret := range planted {
					if text := fmt.Sprint(now.Text, now.Seen(), now.Files, now.same); strings.Contains(text, secret) {
						x.t.Errorf("%s is told: %s", where, text)
					}
				}
			}
		}
	}}}
}

// lookThrough looks for secrets in the store. The files of plans are what the repository has, Secrets of the cluster among them.
func lookThrough(t *testing.T, path string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	values := 0
	look := func(bucket string, value []byte) {
		if zip, err := gzip.NewReader(bytes.NewReader(value)); err == nil {
			if value, err = io.ReadAll(zip); err != nil {
				t.Error(err)
			}
		}
		values++
		for where, secret := range planted {
			if bytes.Contains(value, []byte(secret)) && (bucket != "files" || !strings.HasPrefix(where, "a Secret")) {
				t.Errorf("%s is in the store's %s: %.200s", where, bucket, value)
			}
		}
	}
	var walk func(name string, b *bbolt.Bucket) error
	walk = func(name string, b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				return walk(name+"/"+string(k), b.Bucket(k))
			}
			look(name, k)
			look(name, v)
			return nil
		})
	}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error { return walk(string(name), b) })
	})
	if err != nil || values < 20 {
		t.Errorf("%d values were looked at: %v", values, err)
	}
}

// gitShow is all that was ever committed.
func gitShow(t *testing.T, w *world) string {
	t.Helper()
	return gittest.Git(t, w.remote, "log", "-p", "main")
}
