package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// crashPoints are the places at which the process is killed. A test below holds the list to the code.
var crashPoints = []string{
	"ingest.before-store", "ingest.after-store", "store.commit", "propose.after-store", "plan.rendered", "plan.stored",
	"publish.before-begin", "publish.begun", "gitops.before-push", "gitops.after-push", "publish.pushed", "publish.concluded",
	"recover.found", "notify.before-send", "notify.after-send", "gitops.locked",
}

func TestCrashPointsAreAllTried(t *testing.T) {
	out, err := exec.Command("grep", "-rhoE", `CrashPoint\("[a-z.-]+"\)`, "--include=*.go", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	var inCode []string
	for line := range strings.Lines(string(out)) {
		inCode = append(inCode, strings.Split(line, `"`)[1])
	}
	slices.Sort(inCode)
	want := slices.Compact(slices.Sorted(slices.Values(slices.Concat(crashPoints, chatCrashPoints))))
	if !slices.Equal(slices.Compact(inCode), want) {
		t.Errorf("in the code: %v\ntried: %v", inCode, want)
	}
}

// TestKilledAnywhereNothingIsLostOrDoubled kills the real binary with SIGKILL at every labelled step, each time after a
// different number of passes, starts it again, and looks at what the remote and the people have.
func TestKilledAnywhereNothingIsLostOrDoubled(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "gimletd")
	if out, err := exec.Command("go", "build", "-tags", "crashtest", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const seeds = 5
	for _, point := range crashPoints {
		for seed := range seeds {
			t.Run(fmt.Sprintf("%s/%d", point, seed), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
				w.binary = binary
				if point == "gitops.locked" {
					w.url = w.remote // only there we hold a lock
				}
				crashAndCheck(t, w, point, seed)
			})
		}
	}
}

// workload is what CI and people ask for, and what was promised to them.
type workload struct {
	random   *rand.Rand
	shipped  map[string]string // sha → artifact id, once acknowledged
	accepted map[string]string // request id → sha, once acknowledged
	said     string            // by all lives of the process
}

func crashAndCheck(t *testing.T, w *world, point string, seed int) {
	load := &workload{random: rand.New(rand.NewPCG(uint64(seed), 1)), shipped: map[string]string{}, accepted: map[string]string{}}
	// A few passes before the crash, so that it strikes at different moments of different requests.
	after := load.random.IntN(3)
	if point == "store.commit" {
		after = 1 + load.random.IntN(25)
	}
	first := point
	if point == "recover.found" {
		first = "gitops.after-push" // leaves something to recover
	}
	if !load.live(t, w, first, after) {
		t.Errorf("the process was not killed at %s", first)
	}
	if point == "recover.found" && !load.live(t, w, point, 0) {
		t.Error("the process was not killed while it recovered")
	}
	if load.live(t, w, "", 0) {
		t.Fatal("the process died without being told to")
	}
	load.check(t, w)
}

// live runs one life of the process: until the crash, or until all is done. It reports whether there was a crash.
func (l *workload) live(t *testing.T, w *world, crashAt string, after int) (crashed bool) {
	w.env = []string{"GIMLETD_CRASH_AT=" + crashAt, fmt.Sprintf("GIMLETD_CRASH_AFTER=%d", after)}
	s := w.launch()
	defer func() {
		if !crashed {
			s.stop()
		}
		err := <-s.done
		s.done <- err
		l.said += s.out.String()
	}()
	if s.ready() != nil {
		return true
	}
	if l.ask(w, s) != nil {
		return true
	}
	// All was asked for; wait until it has happened.
	for n, line := range []string{"# settle", fmt.Sprintf("end-%d", len(l.said))} {
		if _, err := fmt.Fprintln(s.in, line); err != nil {
			return true
		}
		if n == 0 {
			continue
		}
		ended := make(chan struct{})
		go func() {
			err := <-s.done
			s.done <- err
			close(ended)
		}()
		if s.out.await("There is no command "+line, ended) != nil {
			return true
		}
	}
	return false
}

// ask ships artifacts and asks for releases, as CI does: what was not acknowledged is asked again.
func (l *workload) ask(w *world, s *server) error {
	for i := range 6 {
		sha := fmt.Sprintf("%040x", 0xabc0000+i)
		app := []string{"frontend", "backend", "worker"}[i%3]
		if l.shipped[sha] == "" {
			status, body, err := s.call(http.MethodPost, "/api/artifact", w.artifact(app, sha, func(a map[string]any) {
				a["version"].(map[string]any)["created"] = 1_700_000_000 + i
			}))
			if err != nil {
				return err
			}
			var a struct{ ID string }
			if err := json.Unmarshal(body, &a); err != nil || status > http.StatusCreated {
				return fmt.Errorf("%d %s: %w", status, body, err)
			}
			l.shipped[sha] = a.ID
		}
		if i%2 == 0 || slices.Contains(slices.Collect(maps.Values(l.accepted)), sha) {
			continue
		}
		body := fmt.Sprintf(`{"env": "production", "app": %q, "artifactId": %q}`, app, l.shipped[sha])
		status, answer, err := s.call(http.MethodPost, "/api/releases", []byte(body))
		if err != nil {
			return err
		}
		var made struct{ ID string }
		if err := json.Unmarshal(answer, &made); err != nil || status != http.StatusCreated {
			return fmt.Errorf("%d %s: %w", status, answer, err)
		}
		l.accepted[made.ID] = sha
	}
	return nil
}

func (l *workload) check(t *testing.T, w *world) {
	w.env = nil
	s := w.start()
	defer s.stop()
	var artifacts []struct {
		ID      string
		Version struct{ SHA string }
	}
	get(t, s, "/api/artifacts?limit=1000", &artifacts)
	bySHA := map[string][]string{}
	for _, a := range artifacts {
		bySHA[a.Version.SHA] = append(bySHA[a.Version.SHA], a.ID)
	}
	for sha, id := range l.shipped {
		if !slices.Equal(bySHA[sha], []string{id}) {
			t.Errorf("artifact %s was acknowledged as %s, the store has %v", sha, id, bySHA[sha])
		}
	}
	commits := map[string]int{}
	for _, id := range w.releaseIDs() {
		commits[id]++
	}
	for id, n := range commits {
		if n != 1 {
			t.Errorf("release %s has %d commits", id, n)
		}
	}
	published := 0
	for _, env := range []string{"staging", "production"} {
		var all []struct{ GitopsRef string }
		get(t, s, "/api/releases?limit=1000&env="+env, &all)
		published += len(all)
	}
	if published != len(commits) {
		t.Errorf("%d releases are published, the remote has %d commits of releases", published, len(commits))
	}
	for request, sha := range l.accepted {
		var tracked struct {
			Status  string
			Results []struct{ Hash, Status, StatusDesc string }
		}
		get(t, s, "/api/eventReleaseTrack?id="+request, &tracked)
		if tracked.Status != "processed" || len(tracked.Results) != 1 || tracked.Results[0].Status != "success" {
			t.Errorf("release of %s was accepted as %s, now it is %+v", sha, request, tracked)
		}
	}
	l.checkTold(t, bySHA)
}

var told = regexp.MustCompile(`(?m)^(.) ((?:New artifact|Releas|Nothing to change).*)$(?:\n    .*)*?\n    (r-[2-9a-z]{6}) ·`)

// checkTold counts how often people were told of each state.
func (l *workload) checkTold(t *testing.T, bySHA map[string][]string) {
	announced := map[string]int{}
	for _, line := range regexp.MustCompile(`(?m)^    commit: .* https://git\.example/\w+/(\w+)$`).FindAllStringSubmatch(l.said, -1) {
		announced[line[1]]++
	}
	for sha := range bySHA {
		if announced[sha] < 1 || announced[sha] > 2 {
			t.Errorf("artifact %s was announced %d times", sha, announced[sha])
		}
	}
	states := map[string]int{}
	for _, m := range told.FindAllStringSubmatch(l.said, -1) {
		states[m[3]+" "+m[1]]++
	}
	for state, n := range states {
		if n > 2 {
			t.Errorf("people were told %q %d times", state, n)
		}
	}
}

func get(t *testing.T, s *server, path string, into any) {
	t.Helper()
	status, body, err := s.call(http.MethodGet, path, nil)
	if err != nil || status != http.StatusOK {
		t.Fatalf("GET %s: %d %s %v", path, status, body, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatal(err)
	}
}
