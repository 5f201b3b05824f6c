package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"gimletd/commands/demo"
	"gimletd/releases/gitops/gittest"
)

// seedArtifact is the artifact of GimletD's concept page, made valid JSON: the trailing comma is gone, and the `[...]`
// among the variables stands for those that its manifest uses.
const seedArtifact = `{
  "id": "mycompany/frontend-ffd302df-2d85-4aa4-acd1-957ea6bcceeb",
  "version": {
    "repositoryName": "mycompany/frontend",
    "sha": "deae5dbaf237766240181fa397e923d3c5253112",
    "branch": "new-feature",
    "event": "pr",
    "sourceBranch": "new-feature",
    "authorName": "Laszlo Fogas",
    "authorEmail": "xxx",
    "committerName": "Laszlo Fogas",
    "committerEmail": "xxx",
    "message": "This is a wonderful new feature",
    "url": "https://github.com/mycompany/frontend/pull/100"
  },
  "context": {
    "CIRCLECI": "true",
    "CIRCLECI_PKG_DIR": "/opt/circleci",
    "CIRCLE_BRANCH": "persist-insights-filters",
    "CIRCLE_BUILD_NUM": "2254",
    "CIRCLE_BUILD_URL": "https://circleci.com/gh/mycompany/frontend/22",
    "CIRCLE_COMPARE_URL": "",
    "CIRCLE_SHA1": "deae5dbaf237766240181fa397e923d3c5253112"
  },
  "environments": [
    {
      "app": "frontend",
      "env": "staging",
      "namespace": "staging",
      "chart": {"repository": "https://chart.onechart.dev", "name": "onechart", "version": "0.10.0"},
      "values": {
        "containerPort": 5000,
        "image": {"pullPolicy": "Always", "repository": "mycompany/frontend", "tag": "{{ .CIRCLE_SHA1 }}"},
        "ingress": {
          "annotations": {"cert-manager.io/cluster-issuer": "letsencrypt", "kubernetes.io/ingress.class": "nginx"},
          "host": "frontend.staging.mycompany.com",
          "tlsEnabled": true
        },
        "probe": {"enabled": true, "path": "/healthcheck"},
        "replicas": 1,
        "vars": {"NODE_ENV": "production"}
      }
    }
  ],
  "items": [
    {"name": "CI", "url": "https://circleci.com/gh/mycompany/frontend/22"},
    {"name": "docker-image", "url": "mycompany/frontend:deaevvbaf237766240181fa397e923d3c5253112"}
  ]
}`

func TestTheSeedArtifactIsAcceptedAnnouncedAndReleasable(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	proxy, ca := internet(t, "chart.onechart.dev")
	w.env = []string{"HTTPS_PROXY=" + proxy, "SSL_CERT_FILE=" + ca}
	w.charts = "https://chart.onechart.dev"
	s := w.start()
	id := s.post([]byte(seedArtifact))
	if !strings.HasPrefix(id, "mycompany/frontend-") || strings.HasSuffix(id, "957ea6bcceeb") {
		t.Errorf("the server assigns ids, this one is %s", id)
	}
	s.typed("/release frontend staging deae5dba")
	for _, want := range []string{
		"• New artifact: mycompany/frontend deae5db", "This is a wonderful new feature", "new-feature (pull request)", "author: Laszlo Fogas",
		"docker-image: mycompany/frontend:deaevvbaf", "frontend → staging: not released by itself (no deploy policy in the manifest)",
		"✓ Released frontend deae5db to staging",
	} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("the console does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(s.out)
	}
	s.stop()
	text := gittest.Git(t, w.remote, "show", "main:staging/frontend/deployment.yaml")
	if !strings.Contains(text, "image: mycompany/frontend:deae5dbaf237766240181fa397e923d3c5253112") {
		t.Error(text)
	}
}

// internet is a proxy behind which the one host answers, with a chart repository that has a stand-in for its chart. It
// returns the proxy's URL and the file of the authority that signed the host's certificate.
func internet(t *testing.T, host string) (proxy, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	archive, err := demo.Pack("onechart", fstest.MapFS{
		"Chart.yaml":                {Data: []byte("apiVersion: v2\nname: onechart\nversion: 0.10.0\n")},
		"templates/deployment.yaml": {Data: []byte("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}\nspec:\n  replicas: {{ .Values.replicas }}\n  template:\n    spec:\n      containers:\n        - name: app\n          image: {{ .Values.image.repository }}:{{ .Values.image.tag }}\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	site := httptest.NewUnstartedServer(demo.Serve("onechart", "0.10.0", archive))
	site.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	site.StartTLS()
	t.Cleanup(site.Close)
	tunnel := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != host+":443" {
			http.Error(rw, "no such host", http.StatusBadGateway)
			return
		}
		up, err := net.Dial("tcp", site.Listener.Addr().String())
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadGateway)
			return
		}
		down, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			_ = up.Close()
			return
		}
		_, _ = io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(up, down); _ = up.Close() }()
		go func() { _, _ = io.Copy(down, up); _ = down.Close() }()
	}))
	t.Cleanup(tunnel.Close)
	return tunnel.URL, ca
}

func TestBadCallsAreAnsweredWithOneClearSentence(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	w.extra = "ingest: {maxBody: 20000}\n"
	s := w.start()
	sha := fmt.Sprintf("%040x", 0xabc0001)
	id := s.post(w.artifact("frontend", sha, nil))
	with := func(change func(a map[string]any)) string { return string(w.artifact("frontend", sha, change)) }
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"junk", "POST", "/api/artifact", "hello", 400, "not valid JSON"},
		{"empty", "POST", "/api/artifact", "", 400, "the body is empty"},
		{"huge", "POST", "/api/artifact", strings.Repeat(" ", 30000), 413, "larger than 19 KiB"},
		{"an app that is a path", "POST", "/api/artifact", with(func(a map[string]any) { a["environments"].([]any)[1].(map[string]any)["app"] = "../production/x" }), 400, `environments[1].app: "../production/x" is not a DNS-1123 label`},
		{"a missing variable in a name", "POST", "/api/artifact", with(func(a map[string]any) { a["environments"].([]any)[0].(map[string]any)["app"] = "x-{{ .NOPE }}" }), 400, `environments[0].app: "x-{{ .NOPE }}": variable NOPE is missing`},
		{"the same target twice", "POST", "/api/artifact", with(func(a map[string]any) { a["environments"].([]any)[1].(map[string]any)["env"] = "staging" }), 400, `environments[1]: app "frontend" in "staging" is also environments[0]`},
		{"unknown artifact", "POST", "/api/releases", `{"env":"staging","artifactId":"nope"}`, 404, `there is no artifact "nope"`},
		{"unknown environment", "POST", "/api/releases", `{"env":"nope","artifactId":"` + id + `"}`, 404, `there is no environment "nope"; there are: staging, production`},
		{"unknown app", "POST", "/api/releases", `{"env":"staging","app":"nope","artifactId":"` + id + `"}`, 404, "has no manifest for nope in staging"},
		{"no artifact", "POST", "/api/releases", `{"env":"staging"}`, 400, "artifactId: missing"},
		{"an unknown key", "POST", "/api/releases", `{"environ":"staging"}`, 400, "unknown field"},
		{"no environment", "GET", "/api/releases", "", 400, "env: missing"},
		{"a bad limit", "GET", "/api/artifacts?limit=many", "", 400, `limit: "many" is not a number`},
		{"a bad time", "GET", "/api/artifacts?since=yesterday", "", 400, `since: "yesterday" is not a time`},
		{"a bad event", "GET", "/api/artifacts?event=psuh", "", 400, `event: unknown event "psuh"`},
		{"unknown track", "GET", "/api/eventReleaseTrack?id=nope", "", 404, `there is no release "nope"`},
		{"unknown artifact track", "GET", "/api/eventArtifactTrack?artifactId=a/b", "", 404, `there is no artifact "a/b"`},
		{"nothing to roll back", "POST", "/api/rollback?env=production&app=frontend&sha=abcd1234", "", 404, "nothing of frontend was released to production yet"},
		{"no such call", "GET", "/api/nonsense", "", 404, "there is no GET /api/nonsense"},
		{"a token in the URL", "GET", "/api/artifacts?access_token=" + adminToken, "", 401, "a token in the URL is not accepted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body, err := s.call(c.method, c.path, []byte(c.body))
			var answer struct{ Error, Code string }
			if err != nil || json.Unmarshal(body, &answer) != nil || status != c.status || !strings.Contains(answer.Error, c.want) || answer.Code == "" {
				t.Errorf("got %d %s %v\nwant %d %s", status, body, err, c.status, c.want)
			}
		})
	}
	for _, token := range []string{"", "Bearer wrong", "Basic " + adminToken, adminToken} {
		req, err := http.NewRequest(http.MethodGet, "http://"+s.api+"/api/artifacts", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%q is answered %s", token, res.Status)
		}
	}
	halfSent(t, s)
	s.typed("# settled?")
	s.stop()
	if log := s.log.String(); strings.Contains(log, adminToken) {
		t.Error("the token is in the log")
	}
}

// halfSent sends half a body and hangs up; the server must go on.
func halfSent(t *testing.T, s *server) {
	t.Helper()
	conn, err := net.Dial("tcp", s.api)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /api/artifact HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 500\r\n\r\n{\"version\":", adminToken)
	_ = conn.Close()
	if status, _, err := s.call(http.MethodGet, "/api/artifacts", nil); err != nil || status != http.StatusOK {
		t.Errorf("after half a body: %d %v", status, err)
	}
}

func TestTheSameArtifactTwiceIsOne(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	s := w.start()
	sha := fmt.Sprintf("%040x", 0xabc0001)
	id := s.post(w.artifact("frontend", sha, nil))
	ship := func(key string, body []byte) (int, string) {
		req, err := http.NewRequest(http.MethodPost, "http://"+s.api+"/api/artifact", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+adminToken)
		req.Header.Set("Idempotency-Key", key)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		var a struct{ ID string }
		_ = json.NewDecoder(res.Body).Decode(&a)
		return res.StatusCode, a.ID
	}
	rotated := w.artifact("frontend", sha, func(a map[string]any) {
		a["context"] = map[string]string{"SHA": sha, "CI_TOKEN": "rotates-with-each-job"}
	})
	other := w.artifact("frontend", sha, func(a map[string]any) { a["context"] = map[string]string{"SHA": sha, "BUILD": "2"} })
	for _, c := range []struct {
		name, key string
		body      []byte
		status    int
		same      bool
	}{
		{"the same content", "", w.artifact("frontend", sha, nil), http.StatusOK, true},
		{"the same but for a secret", "", rotated, http.StatusOK, true},
		{"another content", "k1", other, http.StatusCreated, false},
		{"the same key again", "k1", other, http.StatusOK, false},
		{"the same key for something else", "k1", rotated, http.StatusConflict, false},
	} {
		status, got := ship(c.key, c.body)
		if status != c.status || (got == id) != c.same {
			t.Errorf("%s: %d %s", c.name, status, got)
		}
	}
	s.typed("# settled?")
	s.stop()
	if n := strings.Count(s.out.String(), "• New artifact"); n != 2 {
		t.Errorf("%d announcements, want 2", n)
	}
	if n := len(w.releaseIDs()); n != 2 {
		t.Errorf("%d releases, want 2", n)
	}
}

func TestARemoteThatRefusesIsToldAndOthersGoOut(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	gittest.Hook(t, w.remote, "pre-receive", `while read old new ref; do
  if git diff --name-only $old $new | grep -q '/forbidden/'; then echo "forbidden is not allowed here" >&2; exit 1; fi
done
`)
	s := w.start()
	// While the first push hangs, the others gather and leave together.
	gathered := make(chan struct{})
	first := true
	w.git.Before(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/git-receive-pack") && r.Method == http.MethodPost && first {
			first = false
			<-gathered
		}
		return false
	})
	for i, app := range []string{"plug", "api", "forbidden", "web"} {
		s.post(w.artifact(app, fmt.Sprintf("%040x", 0xabc0000+i), nil))
	}
	close(gathered)
	s.typed("# settled?")
	s.stop()
	if ids := w.releaseIDs(); len(ids) != 3 {
		t.Errorf("%d commits, want 3", len(ids))
	}
	for _, want := range []string{"✗ Not released: forbidden", "refuses the commit: forbidden is not allowed here", "✓ Released api", "✓ Released web"} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("the console does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(s.out)
	}
}

func TestAFullStoreRefusesAndGoesOnWhenThereIsRoom(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	s := w.start()
	s.stop()
	info, err := os.Stat(filepath.Join(w.dir, "gimletd.db"))
	if err != nil {
		t.Fatal(err)
	}
	roomy := w.dir
	w.limit = info.Size() + 64<<10
	s = w.start()
	acknowledged, refused := 0, false
	for i := range 200 {
		status, body, err := s.call(http.MethodPost, "/api/artifact", w.artifact("frontend", fmt.Sprintf("%040x", 0xabc0000+i), func(a map[string]any) {
			a["environments"] = []any{}
			a["context"] = map[string]string{"FILL": strings.Repeat("x", 4000)}
		}))
		if err != nil {
			t.Fatal(err)
		}
		if status == http.StatusServiceUnavailable && strings.Contains(string(body), "the store cannot be written (disk full?)") {
			refused = true
			break
		}
		if status != http.StatusCreated {
			t.Fatalf("%d %s", status, body)
		}
		acknowledged++
	}
	if !refused {
		t.Fatal("the store was never full")
	}
	_ = s.cmd.Process.Kill()
	<-s.done
	w.dir, w.limit = roomy, 0
	s = w.start()
	var all []struct{ ID string }
	get(t, s, "/api/artifacts?limit=1000", &all)
	if len(all) != acknowledged {
		t.Errorf("%d artifacts, %d were acknowledged", len(all), acknowledged)
	}
	s.post(w.artifact("frontend", fmt.Sprintf("%040x", 0xdef0000), nil))
	s.typed("# settled?")
	s.stop()
}

func TestStoppingFinishesThePushInHand(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	s := w.start()
	arrived, goOn := make(chan struct{}), make(chan struct{})
	w.git.Before(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/git-receive-pack") && r.Method == http.MethodPost {
			close(arrived)
			<-goOn
		}
		return false
	})
	s.post(w.artifact("frontend", fmt.Sprintf("%040x", 0xabc0001), nil))
	<-arrived
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	// New work is refused from now on.
	for {
		conn, err := net.Dial("tcp", s.api)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	close(goOn)
	if err := <-s.done; err != nil {
		t.Fatalf("it ended with %v\n%s", err, s.log)
	}
	s.done <- nil
	if n := len(w.releaseIDs()); n != 1 {
		t.Errorf("%d commits, want 1", n)
	}
	if !strings.Contains(s.out.String(), "✓ Released frontend") {
		t.Errorf("people were not told:\n%s", s.out)
	}
}

// TestARollbackThatSomebodyElseHasMadeStillHolds reverts the folder with git, as a person in a hurry does, and then asks
// for the same rollback.
func TestARollbackThatSomebodyElseHasMadeStillHolds(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	s := w.start()
	for i := range 2 {
		s.post(w.artifact("frontend", fmt.Sprintf("%040x", 0xabc0000+i), nil))
		s.typed("# settled?")
	}
	work := gittest.Clone(t, w.remote)
	gittest.Git(t, work, "revert", "--no-edit", "HEAD")
	gittest.Git(t, work, "push", "--quiet", "origin", "HEAD:main")
	s.typed("/rollback frontend staging", "/gimlet status staging")
	s.post(w.artifact("frontend", fmt.Sprintf("%040x", 0xabc0002), nil))
	s.typed("# settled?")
	s.stop()
	for _, want := range []string{"✓ Nothing to change: frontend 0000000 in staging", "automation held by tess", "not released by itself (automation is held: tess rolled back"} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("the console does not say %q", want)
		}
	}
	if n := len(w.releaseIDs()); n != 2 {
		t.Errorf("%d commits of releases, want 2", n)
	}
	if t.Failed() {
		t.Log(s.out)
	}
}

func TestReadinessAndMetrics(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	s := w.start()
	s.post(w.artifact("frontend", fmt.Sprintf("%040x", 0xabc0001), nil))
	s.typed("# settled?")
	for path, wants := range map[string][]string{
		"/healthz": {"ok"},
		"/readyz":  {`"planner":{"alive":true}`, `"publisher main":{"alive":true}`, `"notifier":{"alive":true}`, `"store":{"alive":true}`},
		"/metrics": {`gimletd_http_requests_total{call="POST /api/artifact",code="201"} 1`, `gimletd_loop_fault{loop="publisher main"} 0`, `gimletd_releases_open{status="proposed"} 0`, "gimletd_outcomes_untold 0"},
	} {
		res, err := http.Get("http://" + s.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		for _, want := range wants {
			if !strings.Contains(string(body), want) {
				t.Errorf("%s does not say %s:\n%s", path, want, body)
			}
		}
	}
	if status := run([]string{"healthcheck", "--url", "http://" + s.admin + "/readyz"}, nil, io.Discard, io.Discard); status != exitDone {
		t.Errorf("healthcheck ends with %d", status)
	}
	s.stop()
}
