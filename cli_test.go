package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gimletd/releases/gitops/gittest"
)

// TestAPipelineOfCommands does what a CI does, with the binary's own commands: in a clone, in GitHub Actions.
func TestAPipelineOfCommands(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	s := w.start()
	source := filepath.Join(w.git.Root, "source.git")
	gittest.Bare(t, source, map[string]string{"main.go": "package main\n"})
	clone := gittest.Clone(t, source)
	sha := strings.TrimSpace(gittest.Git(t, clone, "rev-parse", "HEAD"))
	author := strings.TrimSpace(gittest.Git(t, clone, "log", "-1", "--format=%an"))
	t.Chdir(clone)
	for name, value := range map[string]string{
		"GIMLET_SERVER": "http://" + s.api, "GIMLET_TOKEN": adminToken,
		"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/web", "GITHUB_SHA": sha, "GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "main", "GITHUB_JOB": "build",
		"GITHUB_SERVER_URL": "https://github.com", "GITHUB_RUN_ID": "7", "GITHUB_HEAD_REF": "", "GITHUB_ACTOR": "ada",
	} {
		t.Setenv(name, value)
	}
	gimlet := func(want int, says string, args ...string) string {
		t.Helper()
		status, out := command(args...)
		if status != want || !strings.Contains(out, says) {
			t.Fatalf("gimletd %s: %d\n%s\nnot %d %q", strings.Join(args, " "), status, out, want, says)
		}
		return out
	}
	file := filepath.Join(t.TempDir(), "artifact.json")
	gimlet(exitDone, "", "artifact", "create", "-o", file)
	var drafted struct {
		Version struct{ RepositoryName, SHA, Branch, Event, AuthorName, Message, URL string }
		Items   []map[string]string
		Vars    map[string]string
	}
	read := func() {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil || json.Unmarshal(text, &drafted) != nil {
			t.Fatalf("%s %v", text, err)
		}
	}
	read()
	if v := drafted.Version; v.RepositoryName != "acme/web" || v.SHA != sha || v.Branch != "main" || v.Event != "push" || v.Message == "" || v.URL != "https://github.com/acme/web/commit/"+sha {
		t.Errorf("the version is %+v", v)
	}
	if drafted.Version.AuthorName != "ada" || author == "" {
		t.Errorf("by %q, and %q in the clone", drafted.Version.AuthorName, author)
	}
	if drafted.Vars["REPO"] != "web" || drafted.Vars["JOB"] != "build" || drafted.Items[0]["url"] != "https://github.com/acme/web/actions/runs/7" {
		t.Errorf("vars %v, items %v", drafted.Vars, drafted.Items)
	}
	manifests := "app: web\nenv: %s\nnamespace: web\n%smanifests: |\n  apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: web}\n  data: {color: '{{ .COLOR }}', sha: '{{ .SHA }}'}\n"
	both := fmt.Sprintf(manifests, "staging", "deploy: {branch: main, event: push}\n") + "---\n" + fmt.Sprintf(manifests, "production", "")
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	gimlet(exitDone, "", "artifact", "add", "-f", file, "--field", "name=scan", "--field", "url=https://scan.example/1?a=b")
	gimlet(exitDone, "", "artifact", "add", "-f", file, "--envFile", write("env.yaml", both))
	gimlet(exitDone, "", "artifact", "add", "-f", file, "--varsFile", write("vars", "# comment\nexport COLOR=\"red\"\nOTHER='a b'\n"), "--var", "COLOR=blue")
	gimlet(exitFailed, `"nope" is not NAME=value`, "artifact", "add", "-f", file, "--var", "nope")
	gimlet(exitFailed, "is empty", "artifact", "add", "-f", file, "--envFile", write("empty.yaml", ""))
	gimlet(exitFailed, "is not a manifest", "artifact", "add", "-f", file, "--envFile", write("bad.yaml", "a: ["))
	var shipped struct{ ID string }
	if err := json.Unmarshal([]byte(gimlet(exitDone, `"id"`, "artifact", "push", "-f", file, "-o", "json")), &shipped); err != nil {
		t.Fatal(err)
	}
	gimlet(exitDone, "Shipped: "+shipped.ID, "artifact", "push", "--file", file) // again: it is one artifact
	gimlet(exitDone, "ReconciliationSucceeded", "artifact", "track", "--wait", shipped.ID)
	if got := gittest.Git(t, w.remote, "show", "main:staging/web/manifests.yaml"); !strings.Contains(got, "blue") || !strings.Contains(got, sha) {
		t.Errorf("in the repository: %s", got)
	}
	if out := gimlet(exitDone, shipped.ID, "artifact", "list", "--repository", "acme/web", "--sha", sha, "--branch=main"); strings.Count(out, "\n") != 2 {
		t.Errorf("listed:\n%s", out)
	}
	dry := gimlet(exitDone, "web in production: nothing → "+sha[:7], "release", "make", "--dry-run", "--artifact", shipped.ID, "--env", "production")
	if !strings.Contains(dry, "added ConfigMap web") || !strings.Contains(dry, "+  data: {color: 'blue'") && !strings.Contains(dry, "blue") {
		t.Errorf("it would release:\n%s", dry)
	}
	gimlet(exitDone, "{}", "release", "status", "--env", "production", "-o", "json") // and has not
	gimlet(exitDone, "web", "release", "make", "--artifact", shipped.ID, "--env", "production", "--wait", "--every", "20ms")
	first := gimlet(exitDone, "web", "release", "list", "--env", "production", "-o", "json")
	var listed []struct{ GitopsRef, App string }
	if err := json.Unmarshal([]byte(first), &listed); err != nil || len(listed) != 1 {
		t.Fatalf("%v %s", err, first)
	}
	// The next version, by flags alone.
	second := filepath.Join(t.TempDir(), "second.json")
	gimlet(exitDone, "", "artifact", "create", "--repository=acme/web", "--sha=2222222222222222222222222222222222222222", "--created=2026-01-02T15:04:05+01:00", "--branch=main",
		"--event=push", "--authorName=Grace", "--message=Next", "-o", second)
	gimlet(exitDone, "", "artifact", "add", "-f", second, "--envFile", write("env.yaml", both), "--var", "COLOR=green", "--var", "SHA=2222222")
	if err := json.Unmarshal([]byte(gimlet(exitDone, "", "artifact", "push", "-f", second, "-o", "json")), &shipped); err != nil {
		t.Fatal(err)
	}
	asked := gimlet(exitDone, "Asked for: ", "release", "make", "--env", "production", "--app", "web", "--artifact", shipped.ID)
	id := strings.Fields(strings.TrimPrefix(asked, "Asked for: "))[0]
	gimlet(exitDone, "success", "release", "track", id, "--wait", "--every", "20ms")
	gimlet(exitDone, "2222222", "release", "status", "--env", "production")
	gimlet(exitDone, "", "release", "rollback", "--env", "production", "--app", "web", "--to", listed[0].GitopsRef[:8], "--wait", "--every", "20ms")
	gimlet(exitDone, sha[:7], "release", "status", "--env", "production", "--app", "web")
	gimlet(exitDone, "rolled back", "release", "list", "--env", "production", "--app", "web")
	gimlet(exitDone, "web", "release", "delete", "--env", "production", "--app", "web", "--wait", "--every", "20ms")
	gimlet(exitDone, "nothing", "release", "status", "--env", "production", "--app", "web")

	// What goes wrong says what, and is told by the exit status.
	gimlet(exitFailed, `there is no artifact "nope"`, "release", "make", "--env", "production", "--artifact", "nope")
	gimlet(exitUsage, "missing flags: --env", "release", "make", "--artifact", "nope")
	gimlet(exitUsage, "unknown flag --evn", "release", "status", "--evn", "production")
	gimlet(exitFailed, "the token is not known", "release", "status", "--env", "production", "--token", "wrong")
	gimlet(exitFailed, "is not the URL of a server", "release", "status", "--env", "production", "--server", "nowhere")
	gimlet(exitFailed, "2 votes", "artifact", "create", "--created", "2 votes", "-o", file)
	// What is no file is written to, and not replaced: a pipe, here.
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	piped := make(chan []byte, 1)
	go func() { text, _ := os.ReadFile(pipe); piped <- text }()
	gimlet(exitDone, "", "artifact", "create", "-o", pipe)
	if text := <-piped; json.Unmarshal(text, &drafted) != nil || drafted.Version.SHA != sha {
		t.Errorf("the pipe was told %q", text)
	}
	broken := filepath.Join(t.TempDir(), "broken.json")
	gimlet(exitDone, "", "artifact", "create", "--repository=acme/web", "--sha=3333333333333333333333333333333333333333", "--branch=main", "-o", broken)
	gimlet(exitDone, "", "artifact", "add", "-f", broken, "--envFile", write("env.yaml", both)) // without COLOR
	if err := json.Unmarshal([]byte(gimlet(exitDone, "", "artifact", "push", "-f", broken, "-o", "json")), &shipped); err != nil {
		t.Fatal(err)
	}
	gimlet(exitFailed, "variable COLOR is missing", "release", "make", "--env", "production", "--artifact", shipped.ID, "--wait", "--every", "20ms")
	s.stop()
}

// TestAClientIsPatientAndSendsItsTokenNowhereElse has a server that is not ready, one that sends on, and one that is something else.
func TestAClientIsPatientAndSendsItsTokenNowhereElse(t *testing.T) {
	calls := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("it is called elsewhere, with %q", r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		switch {
		case r.URL.Query().Get("env") == "moved":
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		case r.URL.Query().Get("env") == "strange":
			_, _ = w.Write([]byte("<html>"))
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"error": "not now", "code": "unavailable"}`))
		case calls < 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			_, _ = w.Write([]byte(`{"web": null}`))
		}
	}))
	defer server.Close()
	at := []string{"--server", server.URL, "--token", "secret-token"}
	began := time.Now()
	if status, out := command(append([]string{"release", "status", "--env", "staging"}, at...)...); status != exitDone || calls != 3 || time.Since(began) < 2*time.Second {
		t.Errorf("%d %s after %d calls", status, out, calls)
	}
	calls = 0
	if status, out := command(append([]string{"release", "make", "--env", "staging", "--artifact", "a"}, at...)...); status != exitFailed || calls != 1 || !strings.Contains(out, "not now") {
		t.Errorf("what could be done twice is tried %d times: %d %s", calls, status, out)
	}
	for env, want := range map[string]string{"moved": "307", "strange": "is it a GimletD?"} {
		if status, out := command(append([]string{"release", "status", "--env", env}, at...)...); status != exitFailed || !strings.Contains(out, want) || strings.Contains(out, "secret-token") {
			t.Errorf("%s: %d %s", env, status, out)
		}
	}
}

// TestADryRunSaysWhatItWouldNeed asks for what may not be asked for, and would wait.
func TestADryRunSaysWhatItWouldNeed(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	w.extra = `  - {name: guarded, channels: [console], approval: {count: 2}}
roles:
  - {name: readers, members: ["token:reader"], can: [ship]}
  - {name: approvers, members: ["console:tess", "console:grace"], can: [approve, lock]}
`
	s := w.start()
	artifact := s.post(w.artifact("web", long("1111111"), func(a map[string]any) {
		one := a["environments"].([]any)[0].(map[string]any)
		delete(one, "deploy")
		one["env"] = "guarded"
		a["environments"] = []any{one}
	}))
	var made struct{ Token string }
	status, text, err := s.call(http.MethodPost, "/api/tokens", []byte(`{"name": "reader"}`))
	if err != nil || status != http.StatusCreated || json.Unmarshal(text, &made) != nil {
		t.Fatalf("%d %s %v", status, text, err)
	}
	s.typed("/gimlet lock web guarded for 1h a look")
	for token, denied := range map[string]bool{adminToken: false, made.Token: true} {
		status, out := command("release", "make", "--dry-run", "--env", "guarded", "--artifact", artifact, "--server", "http://"+s.api, "--token", token)
		for _, want := range []string{"would wait: 0 of 2 approvals", "would wait: web in guarded is locked by tess until", "added Deployment staging/web"} {
			if status != exitDone || !strings.Contains(out, want) {
				t.Errorf("%d, not %q:\n%s", status, want, out)
			}
		}
		if strings.Contains(out, "would be refused") != denied {
			t.Errorf("refused is not %v:\n%s", denied, out)
		}
	}
	if status, text, err := s.call(http.MethodPost, "/api/releases?dryRun=perhaps", fmt.Appendf(nil, `{"env":"guarded","artifactId":%q}`, artifact)); status != http.StatusBadRequest || err != nil {
		t.Errorf("%d %s %v", status, text, err)
	}
	if ids := w.releaseIDs(); len(ids) > 0 {
		t.Errorf("released: %v", ids)
	}
	s.stop()
}
