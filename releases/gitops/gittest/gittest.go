// Package gittest serves real git repositories to tests: over HTTP through git http-backend, and over SSH. It needs
// the git binary, as only tests may.
package gittest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Env is the environment of git processes in tests: nothing of the machine's own configuration.
func Env() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Somebody Else", "GIT_AUTHOR_EMAIL=else@example.com",
		"GIT_COMMITTER_NAME=Somebody Else", "GIT_COMMITTER_EMAIL=else@example.com", "GIT_TERMINAL_PROMPT=0",
	}
}

// Run runs git in the folder and returns what it printed.
func Run(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = dir, Env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimRight(string(out), "\n"), err
}

// Git is Run that fails the test on an error.
func Git(tb testing.TB, dir string, args ...string) string {
	tb.Helper()
	out, err := Run(dir, args...)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// Bare makes a bare repository with the files in one first commit on main. It accepts pushes over HTTP.
func Bare(tb testing.TB, dir string, files map[string]string) {
	tb.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	Git(tb, dir, "init", "--quiet", "--bare", "--initial-branch=main")
	Git(tb, dir, "config", "http.receivepack", "true")
	Git(tb, dir, "config", "gc.auto", "0")
	if len(files) == 0 {
		return
	}
	var stream strings.Builder
	stream.WriteString("commit refs/heads/main\ncommitter Somebody Else <else@example.com> 1700000000 +0000\ndata 5\nstart\n")
	for name, content := range files {
		fmt.Fprintf(&stream, "M 100644 inline %s\ndata %d\n%s\n", name, len(content), content)
	}
	FastImport(tb, dir, stream.String())
}

// FastImport feeds a stream to git fast-import.
func FastImport(tb testing.TB, dir, stream string) {
	tb.Helper()
	cmd := exec.Command("git", "fast-import", "--quiet")
	cmd.Dir, cmd.Env, cmd.Stdin = dir, Env(), strings.NewReader(stream)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("git fast-import: %v: %s", err, out)
	}
}

// Clone makes a work tree of the URL in a temporary folder.
func Clone(tb testing.TB, url string) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "work")
	Git(tb, filepath.Dir(dir), "clone", "--quiet", url, dir)
	return dir
}

// Server is a git server over HTTP.
type Server struct {
	URL  string // of the folder that holds the repositories
	Root string

	backend  http.Handler
	mu       sync.Mutex
	before   func(w http.ResponseWriter, r *http.Request) bool
	received atomic.Int64
	requests atomic.Int64
}

// Serve serves the repositories in a new folder.
func Serve(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{Root: tb.TempDir()}
	s.backend = &cgi.Handler{
		Path: gitPath(tb), Args: []string{"http-backend"}, Dir: s.Root, Stderr: os.Stderr,
		Env: append(Env(), "GIT_PROJECT_ROOT="+s.Root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=tester"),
	}
	listener := httptest.NewServer(s)
	tb.Cleanup(listener.Close)
	s.URL = listener.URL
	return s
}

func gitPath(tb testing.TB) string {
	tb.Helper()
	path, err := exec.LookPath("git")
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// Before lets a test answer requests itself; the function returns true when it did.
func (s *Server) Before(before func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

// Received is how many bytes of request bodies were announced so far.
func (s *Server) Received() int64 { return s.received.Load() }

// Requests is how many requests were made so far.
func (s *Server) Requests() int64 { return s.requests.Load() }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	s.requests.Add(1)
	if r.ContentLength > 0 {
		s.received.Add(r.ContentLength)
	}
	if before != nil && before(w, r) {
		return
	}
	s.backend.ServeHTTP(w, r)
}

// Backend answers a request with git itself, for use inside Before.
func (s *Server) Backend(w http.ResponseWriter, r *http.Request) { s.backend.ServeHTTP(w, r) }

// Hook installs a hook in a repository.
func Hook(tb testing.TB, repo, name, script string) {
	tb.Helper()
	path := filepath.Join(repo, "hooks", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		tb.Fatal(err)
	}
}

// hostPort is the address of a listener as an ssh URL and a known_hosts line write it.
func hostPort(l net.Listener) (host, port string) {
	host, port, _ = net.SplitHostPort(l.Addr().String())
	return host, port
}
