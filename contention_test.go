package main

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gimletd/releases/gitops/gittest"
)

// TestOthersPushWhileReleasesGoOut has somebody else push every 200 ms while 200 releases go out.
func TestOthersPushWhileReleasesGoOut(t *testing.T) {
	for _, kind := range []string{"http", "local"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
			if kind == "local" {
				w.url = w.remote
			}
			s := w.start()
			ctx, stop := context.WithCancel(t.Context())
			pushed := make(chan int)
			go func() { pushed <- pushOften(ctx, t, w) }()

			const releases = 200
			// Not all at once: they would leave in a few pushes, and somebody who pulls before each push never got in.
			pace := time.NewTicker(60 * time.Millisecond)
			defer pace.Stop()
			for i := range releases {
				app := fmt.Sprintf("app-%03d", i)
				s.post(w.artifact(app, fmt.Sprintf("%040x", 0xabc0000+i), nil))
				<-pace.C
			}
			s.typed("# all")
			stop()
			others := <-pushed
			if others < 10 {
				t.Errorf("only %d pushes of others: there was no contention", others)
			}
			var all []struct{ App, GitopsRef string }
			get(t, s, "/api/releases?env=staging&limit=1000", &all)
			if len(all) != releases {
				t.Errorf("%d releases are published, want %d", len(all), releases)
			}
			s.stop()
			if ids := w.releaseIDs(); len(ids) != releases {
				t.Errorf("%d commits of releases, want %d", len(ids), releases)
			}
			for _, r := range all {
				if out, err := gittest.Run(w.remote, "merge-base", "--is-ancestor", r.GitopsRef, "main"); err != nil {
					t.Errorf("the commit of %s is not in the history: %s", r.App, out)
				}
			}
			tree := gittest.Git(t, w.remote, "ls-tree", "-r", "--name-only", "main")
			if n := strings.Count(tree, "staging/app-"); n != 3*releases {
				t.Errorf("%d files in staging, want %d", n, 3*releases)
			}
			if n := strings.Count(tree, "others/"); n != others {
				t.Errorf("%d files of others, they pushed %d", n, others)
			}
			gittest.Git(t, w.remote, "fsck", "--strict")
			t.Logf("%d pushes of others, %d requests to the git server", others, w.git.Requests())
		})
	}
}

// pushOften has a git process put a commit of somebody else on the branch every 200 ms, until the context ends. It works
// in the remote itself: a clone that pulls before it pushes is too slow to ever be first. After ten pushes in a row it
// stands back until GimletD got in: on a machine where a push takes seconds nobody ever would.
func pushOften(ctx context.Context, t *testing.T, w *world) (pushed int) {
	const most = 10
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	head, inARow := "", 0
	for ctx.Err() == nil {
		if now, err := gittest.Run(w.remote, "rev-parse", "refs/heads/main"); err != nil || now != head {
			inARow = 0
		}
		if inARow >= most {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
			continue
		}
		stream := fmt.Sprintf("commit refs/heads/main\ncommitter Somebody Else <else@example.com> %d +0000\ndata 16\nby somebody else\n"+
			"from refs/heads/main^0\nM 100644 inline others/%04d\ndata 1\nx\n\n", time.Now().Unix(), pushed)
		cmd := exec.Command("git", "fast-import", "--quiet")
		cmd.Dir, cmd.Env, cmd.Stdin = w.remote, gittest.Env(), strings.NewReader(stream)
		if cmd.Run() != nil {
			continue // GimletD was faster: once more on its commit
		}
		pushed++
		inARow++
		head, _ = gittest.Run(w.remote, "rev-parse", "refs/heads/main")
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return pushed
}

// TestARemoteThatIsDownForAWhileLosesNothing takes the git server away while releases are asked for.
func TestARemoteThatIsDownForAWhileLosesNothing(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	s := w.start()
	down := make(chan struct{})
	w.git.Before(func(rw http.ResponseWriter, _ *http.Request) bool {
		select {
		case <-down:
			return false
		default:
			http.Error(rw, "maintenance", http.StatusServiceUnavailable)
			return true
		}
	})
	s.post(w.artifact("frontend", fmt.Sprintf("%040x", 0xabc0001), nil))
	if err := s.out.await("Waiting: the GitOps repository main cannot be reached", nil); err != nil {
		t.Fatal(err)
	}
	if status, body, err := s.call(http.MethodGet, "/api/status?env=staging", nil); err != nil || status != http.StatusOK {
		t.Errorf("the API does not answer while the remote is down: %d %s %v", status, body, err)
	}
	close(down)
	s.typed("# settled?")
	if err := s.out.await("✓ Released frontend", nil); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if ids := w.releaseIDs(); len(ids) != 1 {
		t.Errorf("%d commits, want 1", len(ids))
	}
	if n := strings.Count(s.out.String(), "Waiting:"); n != 1 {
		t.Errorf("people were told %d times that it waits, want once", n)
	}
}
