package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// reloadable is a gimletd that serves without a console, from a file that the test changes.
type reloadable struct {
	*server
	file   string
	config string
}

func serveFile(t *testing.T, w *world) *reloadable {
	t.Helper()
	s := &reloadable{server: &server{world: w, out: newTranscript(), log: newTranscript(), done: make(chan error, 1)}, file: filepath.Join(w.dir, "config.yaml")}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.config = strings.Replace(w.config(), `listen: "127.0.0.1:0"`, fmt.Sprintf("listen: %q", listener.Addr()), 1)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	s.write(s.config)
	s.cmd = exec.Command(w.binary, "serve", "--config", s.file)
	s.cmd.Env = append([]string{"HOME=/nonexistent", "PATH=/nonexistent", "GORACE=halt_on_error=1"}, w.env...)
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		if err := <-s.done; err != nil {
			t.Errorf("gimletd ended with %v\n%s", err, s.log)
		}
	})
	if err := s.ready(); err != nil {
		t.Fatal(err, s.log)
	}
	return s
}

func (s *reloadable) write(config string) {
	s.world.tb.Helper()
	// As editors and mounted volumes do it: another file in its place.
	if err := os.WriteFile(s.file+".new", []byte(config), 0o600); err != nil {
		s.world.tb.Fatal(err)
	}
	if err := os.Rename(s.file+".new", s.file); err != nil {
		s.world.tb.Fatal(err)
	}
}

func (s *reloadable) logs(words string) {
	s.world.tb.Helper()
	if err := s.log.await(words, nil); err != nil {
		s.world.tb.Fatalf("%v\n%s", err, s.log)
	}
}

// policies are the names of the policies in force.
func (s *reloadable) policies() (names []string) {
	s.world.tb.Helper()
	status, body, err := s.call(http.MethodGet, "/api/policies", nil)
	var all []struct{ Policy string }
	if err != nil || status != http.StatusOK || json.Unmarshal(body, &all) != nil {
		s.world.tb.Fatalf("%d %s %v", status, body, err)
	}
	for _, p := range all {
		names = append(names, p.Policy)
	}
	return names
}

// audited are the audit's records of an action, one line of JSON each.
func (s *reloadable) audited(action string) (found []string) {
	s.world.tb.Helper()
	_, body, err := s.call(http.MethodGet, "/api/audit", nil)
	if err != nil {
		s.world.tb.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if strings.Contains(line, `"action":"`+action+`"`) {
			found = append(found, line)
		}
	}
	return found
}

const nightly = "policies:\n  - {name: nightly, schedule: \"0 2 * * *\", timezone: Europe/Budapest, from: {environment: staging}, to: production}\n"

func TestTheConfigurationIsReadAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	s := serveFile(t, w)
	if got := s.policies(); len(got) != 0 {
		t.Fatalf("policies %v", got)
	}

	// Somebody calls all the time, and is never refused.
	var calling sync.WaitGroup
	stop := make(chan struct{})
	calls := 0
	calling.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			status, body, err := s.call(http.MethodGet, "/api/policies", nil)
			if err != nil || status != http.StatusOK {
				t.Errorf("a call during a reload: %d %s %v", status, body, err)
				return
			}
			calls++
		}
	})

	s.write(s.config + nightly)
	s.logs(`"msg":"the configuration is in force"`)
	if got := fmt.Sprint(s.policies()); got != "[nightly]" {
		t.Errorf("policies %s", got)
	}
	changed := s.audited("config.changed")
	if len(changed) != 1 || !strings.Contains(changed[0], `policies[nightly].schedule: \"0 2 * * *\"`) || !strings.Contains(changed[0], `"door":"configuration","account":"file"`) {
		t.Errorf("the audit says %v", changed)
	}

	// A bad one is told, and the one before goes on.
	s.write(s.config + strings.Replace(nightly, "to: production", "to: prod", 1))
	s.logs("the new configuration is bad; going on with the one before")
	if got := fmt.Sprint(s.policies()); got != "[nightly]" {
		t.Errorf("policies %s", got)
	}
	if refused := s.audited("config.refused"); len(refused) != 1 || !strings.Contains(refused[0], `there is no environment \"prod\"`) {
		t.Errorf("the audit says %v", refused)
	}

	// One that is good to read and cannot work leaves the one before in force, too.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	s.write(strings.Replace(s.config, `adminListen: "127.0.0.1:0"`, fmt.Sprintf("adminListen: %q", taken.Addr()), 1) + nightly)
	s.logs("the new configuration does not work; going on with the one before")
	if got := fmt.Sprint(s.policies()); got != "[nightly]" {
		t.Errorf("policies %s", got)
	}

	// SIGHUP reads secrets again, of which the audit says only that they are others.
	secret := filepath.Join(w.dir, "hook")
	if err := os.WriteFile(secret, []byte("first-secret-of-a-hook"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.write(s.config + nightly + "webhooks: {github: {secretFile: " + secret + "}}\n")
	s.logs(`webhooks.github.secret: \"(secret)\"`)
	if err := os.WriteFile(secret, []byte("second-secret-of-a-hook"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.logs("webhooks.github.secret: another secret")
	close(stop)
	calling.Wait()
	changed = s.audited("config.changed")
	last := changed[len(changed)-1]
	if !strings.Contains(last, "webhooks.github.secret: another secret") || !strings.Contains(last, `"account":"SIGHUP"`) {
		t.Errorf("the audit says %s", last)
	}
	if all := s.log.String() + strings.Join(changed, ""); strings.Contains(all, "secret-of-a-hook") {
		t.Error("a secret is in the log or in the audit")
	}
	body := []byte(`{"ref": "x", "ref_type": "branch", "repository": {"full_name": "acme/web"}}`)
	if status, _ := s.hook("/webhooks/github", body, map[string]string{"X-GitHub-Event": "delete", "X-Hub-Signature-256": sign("second-secret-of-a-hook", body)}); status != http.StatusOK {
		t.Errorf("the new secret: %d", status)
	}
	if calls < 20 {
		t.Errorf("only %d calls were made", calls)
	}
}
