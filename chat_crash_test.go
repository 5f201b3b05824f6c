package main

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// chatCrashPoints are the places at which the process is killed while people talk with it.
var chatCrashPoints = []string{"inbox.accepted", "inbox.handled", "vote.counted", "notify.before-send", "notify.after-send"}

// TestKilledWhileItTalksNothingIsSaidTwice kills the real binary at each of the places, once for each time that it comes
// by. After the restart the story goes on with the buttons that are there: one message for each thing, one commit.
func TestKilledWhileItTalksNothingIsSaidTwice(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "gimletd")
	if out, err := exec.Command("go", "build", "-tags", "crashtest", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var running sync.WaitGroup
	defer running.Wait()
	for _, point := range chatCrashPoints {
		for after := range 6 {
			m := mode{platform: []string{onSlack, onDiscord}[after/3], socket: after%2 == 1}
			after := after % 3
			running.Go(func() {
				t.Run(fmt.Sprintf("%s/%s/%d", m, point, after), func(t *testing.T) {
					x := newScene(t, m, setting{approval: twoVotes})
					x.world.binary = binary
					x.world.env = []string{"GIMLETD_CRASH_AT=" + point, fmt.Sprintf("GIMLETD_CRASH_AFTER=%d", after)}
					x.begin()
					crashes := x.talk()
					if crashes != 1 && (point != "vote.counted" || after < 2) { // there are two votes
						t.Errorf("it was killed %d times", crashes)
					}
					x.saidOnce()
					x.commits(1)
				})
			})
		}
	}
}

// talk plays the story, and starts the process again whenever it has died. It returns how often that was.
func (x *scene) talk() (crashes int) {
	x.t.Helper()
	alive := func() bool {
		select {
		case <-x.server.done:
			crashes++
			x.world.env = nil
			x.begin()
			return false
		default:
			return true
		}
	}
	// until does something as often as the person would have to, and waits for what it brings.
	until := func(there func() bool, do func() ack) {
		acked := false
		for range 600 {
			if there() {
				return
			}
			if !acked {
				acked = do().Status == 200
			}
			if !alive() {
				continue
			}
			x.Await(100*time.Millisecond, there)
		}
		x.t.Fatalf("it does not go on:\n%s\n%.4000s", x.Transcript(x.releases), x.server.log)
	}
	nothing := func() ack { return ack{Status: 200} }
	has := func(c *channel, text string) func() bool {
		return func() bool { return x.message(c, text) != nil }
	}
	artifact := x.world.artifact("web", long("1111111"), func(a map[string]any) {
		for _, e := range a["environments"].([]any) {
			delete(e.(map[string]any), "deploy")
		}
	})
	until(has(x.releases, "New artifact"), func() ack { // a CI tries again, too
		if status, _, err := x.server.call(http.MethodPost, "/api/artifact", artifact); err != nil || status >= http.StatusBadRequest {
			return ack{}
		}
		return ack{Status: http.StatusOK}
	})
	until(has(x.staging, "New artifact"), nothing)
	until(has(x.releases, "Waiting for approval"), func() ack { return x.tess.Slash(x.releases, "/release web production") })
	until(has(x.releases, "1 of 2"), func() ack { return x.approve(x.grace, "Waiting for approval") })
	until(has(x.releases, "Released web 1111111 to production"), func() ack { return x.approve(x.heidi, "1 of 2") })
	m := x.message(x.releases, "Released web")
	until(func() bool { return len(x.Thread(m)) > 0 }, nothing) // with the diff
	return crashes
}

// approve presses the button of the message that says the text; when there is none now, nothing was acknowledged.
func (x *scene) approve(u *person, text string) ack {
	m := x.message(x.releases, text)
	if m == nil {
		return ack{}
	}
	return u.Click(m, "Approve")
}

// message is the message of the channel that says the text now, or nil.
func (x *scene) message(c *channel, text string) *note {
	for _, m := range x.Messages(c, false) {
		if strings.Contains(m.Now().Seen(), text) {
			return m
		}
	}
	return nil
}

// saidOnce fails the test when a message is there twice.
func (x *scene) saidOnce() {
	x.t.Helper()
	for _, c := range []*channel{x.staging, x.releases} {
		seen := map[string]int{}
		for _, m := range x.Messages(c, true) {
			now := m.Now()
			seen[now.same]++
		}
		for key, n := range seen {
			if n > 1 {
				x.t.Errorf("%d messages of %.200s:\n%s", n, key, x.Transcript(c))
			}
		}
	}
}
