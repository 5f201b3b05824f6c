package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"gimletd/commands/demo"
	"gimletd/releases/gitops/gittest"
)

// TestMain lets the test binary be gimletd: with a subcommand, and as its own render worker.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// world is everything around a GimletD under test: a git server, a chart repository, a folder for its state.
type world struct {
	tb     testing.TB
	dir    string
	git    *gittest.Server
	remote string // the bare repository's folder
	charts string // URL
	url    string // of the remote, as configured
	binary string
	env    []string
	extra  string // appended to the configuration
	server string // more keys of server: ", key: value"
	limit  int64  // of the store's size
	user   string // who sits at the console; tess without
	chat   string // environments and what else a configuration for chat has; "" for the console alone
}

const adminToken = "test-admin-token"

func newWorld(tb testing.TB, files map[string]string) *world {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	handler, err := demo.ChartRepository()
	if err != nil {
		tb.Fatal(err)
	}
	charts := httptest.NewServer(handler)
	tb.Cleanup(charts.Close)
	w := &world{tb: tb, dir: tb.TempDir(), git: gittest.Serve(tb), charts: charts.URL, binary: self}
	w.remote = filepath.Join(w.git.Root, "gitops.git")
	gittest.Bare(tb, w.remote, files)
	w.url = w.git.URL + "/gitops.git"
	return w
}

func (w *world) config() string {
	if w.chat != "" {
		return fmt.Sprintf(`server: {listen: "127.0.0.1:0", adminListen: "127.0.0.1:0", adminToken: %s%s}
storage: {bolt: {path: "%s/gimletd.db"}}
gitops: {main: {url: %s}}
charts: [{url: %s}]
%s`, adminToken, w.server, w.dir, w.url, w.charts, w.chat)
	}
	return fmt.Sprintf(`server: {listen: "127.0.0.1:0", adminListen: "127.0.0.1:0", adminToken: %s%s}
storage: {bolt: {path: %s/gimletd.db, maxSize: %d}}
gitops:
  main: {url: %s}
charts: [{url: %s}]
environments:
  - {name: staging, channels: [console]}
  - {name: production, channels: [console]}
%s`, adminToken, w.server, w.dir, w.limit, w.url, w.charts, w.extra)
}

// server is a running gimletd.
type server struct {
	world *world
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *transcript
	log   *transcript
	api   string
	admin string
	done  chan error

	killed bool
	made   sync.Map // the operations of the API that were done
}

// kill ends the process without letting it finish.
func (s *server) kill() {
	s.killed = true
	_ = s.cmd.Process.Kill()
}

// transcript collects output and lets a test wait for some.
type transcript struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{}
}

func newTranscript() *transcript { return &transcript{changed: make(chan struct{})} }

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.Write(p)
	close(t.changed)
	t.changed = make(chan struct{})
	return len(p), nil
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// await waits until the text holds the words.
func (t *transcript) await(words string, ended <-chan struct{}) error {
	timeout := time.After(60 * time.Second)
	for {
		t.mu.Lock()
		has, changed := strings.Contains(t.text.String(), words), t.changed
		t.mu.Unlock()
		if has {
			return nil
		}
		select {
		case <-changed:
		case <-ended:
			if !strings.Contains(t.String(), words) {
				return fmt.Errorf("it ended before it said %q:\n%s", words, t)
			}
		case <-timeout:
			return fmt.Errorf("it does not say %q:\n%s", words, t)
		}
	}
}

// launch starts the process without waiting for it.
func (w *world) launch() *server {
	w.tb.Helper()
	file := filepath.Join(w.dir, "config.yaml")
	if err := os.WriteFile(file, []byte(w.config()), 0o600); err != nil {
		w.tb.Fatal(err)
	}
	s := &server{world: w, out: newTranscript(), log: newTranscript(), done: make(chan error, 1)}
	user := w.user
	if user == "" {
		user = "tess"
	}
	s.cmd = exec.Command(w.binary, "serve", "--config", file, "--console", "--user", user)
	s.cmd.Env = append([]string{"HOME=/nonexistent", "PATH=/nonexistent", "GORACE=halt_on_error=1"}, w.env...)
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.log
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		w.tb.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		w.tb.Fatal(err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	w.tb.Cleanup(func() { _ = s.cmd.Process.Kill() })
	return s
}

// start starts the process and waits until it is ready.
func (w *world) start() *server {
	w.tb.Helper()
	s := w.launch()
	if err := s.ready(); err != nil {
		w.tb.Fatal(err)
	}
	return s
}

// ready waits for the log line that says so, and takes the addresses from it.
func (s *server) ready() error {
	ended := make(chan struct{})
	go func() {
		err := <-s.done
		close(ended)
		s.done <- err
	}()
	if err := s.log.await(`"msg":"ready"`, ended); err != nil {
		return err
	}
	lines := bufio.NewScanner(strings.NewReader(s.log.String()))
	for lines.Scan() {
		var line struct{ Msg, API, Admin string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "ready" {
			s.api, s.admin = line.API, line.Admin
		}
	}
	return nil
}

// call makes a request to the API with the admin token.
func (s *server) call(method, path string, body []byte) (int, []byte, error) {
	return s.callAs(adminToken, method, path, body)
}

// callAs makes a request to the API.
func (s *server) callAs(token, method, path string, body []byte) (int, []byte, error) {
	req, err := http.NewRequest(method, "http://"+s.api+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
		if body[0] != '{' {
			req.Header.Set("Content-Type", "application/yaml")
		}
	}
	return s.send(req, body)
}

// send makes a request with the body, and fails the test unless the API describes it so.
func (s *server) send(req *http.Request, body []byte) (int, []byte, error) {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil, err
	}
	operation, err := asDescribed(req, body, res, text)
	if err != nil {
		s.world.tb.Error(err)
	} else if res.StatusCode < 300 {
		s.made.Store(operation, true)
	}
	return res.StatusCode, text, nil
}

// post ships an artifact and returns its id.
func (s *server) post(artifact []byte) string {
	s.world.tb.Helper()
	status, body, err := s.call(http.MethodPost, "/api/artifact", artifact)
	if err != nil || status != http.StatusCreated {
		s.world.tb.Fatalf("POST /api/artifact: %d %s %v\n%.8000s", status, body, err, s.log)
	}
	var a struct{ ID string }
	if err := json.Unmarshal(body, &a); err != nil {
		s.world.tb.Fatal(err)
	}
	return a.ID
}

// typed types lines and waits until all that they ask for has happened and was told: the console reads its next line
// only then, and says that it does not know this one.
func (s *server) typed(lines ...string) {
	s.world.tb.Helper()
	marker := fmt.Sprintf("sync-%d", strings.Count(s.out.String(), "There is no command sync-"))
	for _, line := range append(lines, marker) {
		if _, err := io.WriteString(s.in, line+"\n"); err != nil {
			s.world.tb.Fatal(err)
		}
	}
	if err := s.out.await("There is no command "+marker+".", nil); err != nil {
		s.world.tb.Fatal(err, s.log)
	}
}

var syncNoise = regexp.MustCompile(`(?m)^> sync-\d+\n! There is no command sync-\d+\.\n.*\n`)

// said is what the console has printed, without the marks that typed leaves.
func (s *server) said() string { return syncNoise.ReplaceAllString(s.out.String(), "") }

// stop closes the console and waits for the end.
func (s *server) stop() {
	s.world.tb.Helper()
	_ = s.in.Close()
	select {
	case err := <-s.done:
		s.done <- err
		if err != nil {
			s.world.tb.Fatalf("gimletd ended with %v\n%s", err, s.log)
		}
	case <-time.After(60 * time.Second):
		s.world.tb.Fatalf("gimletd does not end\n%s", s.log)
	}
}

// artifact is what a CI ships of an app at a commit; change alters it before it is encoded.
func (w *world) artifact(app, sha string, change func(a map[string]any)) []byte {
	w.tb.Helper()
	environment := func(env string, deploy any) map[string]any {
		return map[string]any{
			"app": app, "env": env, "namespace": env, "deploy": deploy,
			"chart":  map[string]string{"repository": w.charts, "name": "webapp", "version": "1.0.0"},
			"values": map[string]any{"image": map[string]string{"repository": "registry.example/" + app, "tag": "{{ .SHA }}"}},
		}
	}
	a := map[string]any{
		"version": map[string]any{
			"repositoryName": "acme/" + app, "sha": sha, "created": 1_700_000_000, "branch": "main", "event": "push",
			"authorName": "Ada", "authorEmail": "ada@example.com", "committerName": "Ada", "committerEmail": "ada@example.com",
			"message": "Change " + app + "\n\nBecause.", "url": "https://git.example/" + app + "/" + sha,
		},
		"context":      map[string]string{"SHA": sha},
		"environments": []any{environment("staging", map[string]string{"branch": "main", "event": "push"}), environment("production", nil)},
		"items":        []any{map[string]string{"name": "CI", "url": "https://ci.example/1"}},
	}
	if change != nil {
		change(a)
	}
	text, err := json.Marshal(a)
	if err != nil {
		w.tb.Fatal(err)
	}
	return text
}

// releaseIDs are the ids in the trailers of the remote's commits, newest first.
func (w *world) releaseIDs() []string {
	w.tb.Helper()
	var ids []string
	for line := range strings.Lines(gittest.Git(w.tb, w.remote, "log", "--format=%(trailers:key=Release-Id,valueonly)", "main")) {
		if id := strings.TrimSpace(line); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}
