package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gimletd/bot/slack/slacktest"
)

// rawCall is a call as Slack makes it: nothing of ours is on this side.
func rawCall(t *testing.T, address string, form url.Values) {
	t.Helper()
	body := []byte(form.Encode())
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(slacktest.SigningSecret))
	mac.Write([]byte("v0:" + timestamp + ":"))
	mac.Write(body)
	req, err := http.NewRequest(http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Slack-Request-Timestamp", timestamp)
	req.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
	began := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK || len(text) > 0 || time.Since(began) > 3*time.Second {
		t.Errorf("%s answered %d %q after %s", address, res.StatusCode, text, time.Since(began))
	}
}

// TestRawRequestsDriveTheBinary sends what Slack sends to the built binary: a command, two votes; and reads the commit.
func TestRawRequestsDriveTheBinary(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "gimletd")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	x := newScene(t, mode{onSlack, false}, setting{approval: twoVotes})
	x.world.binary = binary
	x.begin()
	x.quietly("web", "1111111", nil)
	base := "http://" + x.server.api
	rawCall(t, base+"/slack/commands", url.Values{
		"token": {"x"}, "team_id": {slacktest.TeamID}, "api_app_id": {slacktest.AppID}, "channel_id": {x.releases.ID}, "channel_name": {"releases"},
		"user_id": {x.tess.ID}, "user_name": {"tess"}, "command": {"/release"}, "text": {"web production"}, "trigger_id": {"1.2.3"}, "response_url": {""},
	})
	m := x.Find(x.releases, "Waiting for approval: web 1111111 to production")
	for i, u := range []*person{x.grace, x.heidi} {
		now := m.slack.Now()
		var button map[string]any
		for _, b := range now.Blocks {
			if b["type"] == "actions" {
				button = b["elements"].([]any)[0].(map[string]any)
			}
		}
		payload, err := json.Marshal(map[string]any{
			"type": "block_actions", "team": map[string]string{"id": slacktest.TeamID}, "api_app_id": slacktest.AppID, "trigger_id": fmt.Sprint(i),
			"user": map[string]string{"id": u.ID, "name": u.Name, "team_id": slacktest.TeamID}, "channel": map[string]string{"id": x.releases.ID},
			"container": map[string]any{"type": "message", "message_ts": now.TS, "channel_id": x.releases.ID}, "response_url": "",
			"actions": []any{map[string]any{"type": "button", "block_id": "b", "action_id": button["action_id"], "value": button["value"], "action_ts": fmt.Sprintf("%d.5", i)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		rawCall(t, base+"/slack/interactions", url.Values{"payload": {string(payload)}})
		if !m.Says(map[int]string{0: "1 of 2", 1: "Released web 1111111 to production"}[i]) {
			t.Fatalf("%.3000s", x.server.log)
		}
	}
	x.commits(1)
	x.server.stop()
}

// TestTwoPeopleApproveAtTheSameInstant presses the button from both sides of the last vote, a hundred times.
func TestTwoPeopleApproveAtTheSameInstant(t *testing.T) {
	t.Parallel()
	const times = 100
	// The console tells every release at once; a channel of Slack's takes one message a second.
	x := newScene(t, mode{onSlack, false}, setting{approval: "{count: 1, from: [release-managers], not: [requester]}", channels: "[console]"})
	x.world.chat = strings.Replace(x.world.chat, `members: ["slack:@release-managers"]`, fmt.Sprintf(`members: ["slack:%s", "slack:%s"]`, x.grace.ID, x.heidi.ID), 1)
	x.begin()
	for i := range times {
		app := fmt.Sprintf("web-%03d", i)
		id := x.ask(app, x.quietly(app, "1111111", nil))
		var both sync.WaitGroup
		for n, u := range []*person{x.grace, x.heidi} {
			p := x.vote(u, id, n)
			both.Go(func() { x.ok(x.slack.Deliver("interactions", p)) })
		}
		both.Wait()
	}
	x.commits(times)
	decided, late := 0, 0
	x.Await(30*time.Second, func() bool {
		decided, late = 0, 0
		for _, u := range []*person{x.grace, x.heidi} {
			for _, m := range x.Private(u, x.random) {
				switch seen := m.Now().Seen(); {
				case strings.Contains(seen, "counts: approved by"):
					decided++
				case strings.Contains(seen, "approved by") && strings.Contains(seen, "there is nothing to decide any more"):
					late++
				default:
					t.Errorf("%s is told: %s", u.Name, seen)
				}
			}
		}
		return decided+late >= 2*times
	})
	if decided != times || late != times {
		t.Errorf("%d people decided, %d were told that they came too late; of each there should be %d", decided, late, times)
	}
	seen := map[string]bool{}
	for _, id := range x.world.releaseIDs() {
		if seen[id] {
			t.Errorf("%s was committed twice", id)
		}
		seen[id] = true
	}
	x.server.stop()
}

var waitingFor = regexp.MustCompile(`Waiting for approval: (\S+) [^\n]*\n(?:    .*\n)*?    (r-\w{6}) ·`)

// ask asks for a release in production by the API, and returns its id once it waits for votes.
func (x *scene) ask(app, artifact string) (id string) {
	x.t.Helper()
	body, _ := json.Marshal(map[string]string{"env": "production", "app": app, "artifactId": artifact})
	status, text, err := x.server.call(http.MethodPost, "/api/releases", body)
	if err != nil || status != http.StatusCreated {
		x.t.Fatalf("%d %s %v", status, text, err)
	}
	if err := x.server.out.await("Waiting for approval: "+app+" ", nil); err != nil {
		x.t.Fatal(err)
	}
	for _, found := range waitingFor.FindAllStringSubmatch(x.server.said(), -1) {
		if found[1] == app {
			return found[2]
		}
	}
	x.t.Fatalf("no id of %s in:\n%s", app, x.server.said())
	return ""
}

// vote is a click on Approve of a release.
func (x *scene) vote(u *person, release string, n int) map[string]any {
	value, _ := json.Marshal([]string{"/gimlet", "approve", release})
	return map[string]any{
		"type": "block_actions", "team": map[string]any{"id": slacktest.TeamID}, "api_app_id": slacktest.AppID, "trigger_id": release + u.ID,
		"user": map[string]any{"id": u.ID, "name": u.Name, "team_id": slacktest.TeamID}, "channel": map[string]any{"id": x.random.ID},
		"container": map[string]any{"type": "message", "message_ts": release, "channel_id": x.random.ID}, "response_url": u.slack.ResponseURL(x.random.slack),
		"actions": []any{map[string]any{"type": "button", "block_id": "b", "action_id": "gimletd:0", "value": string(value), "action_ts": fmt.Sprint(n)}},
	}
}
