package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gimletd/bot/slack/slacktest"
	"gimletd/releases/gitops/gittest"
)

// scene is a workspace with people, and a GimletD that is connected to it.
type scene struct {
	*slacktest.Server
	t      testing.TB
	world  *world
	server *server
	socket bool

	// tess may release, grace and heidi may approve, ada wrote what is shipped and may approve, mallory may nothing.
	tess, grace, heidi, ada, mallory *slacktest.User
	ivan                             *slacktest.User // where there is one
	staging, releases, ops, random   *slacktest.Channel
}

// setting is what a scene's configuration says.
type setting struct {
	approval string // of production
	channels string // of production
	edit     func(chat string) string
}

const twoVotes = "{count: 2, from: [release-managers], not: [requester, authors], expiresAfter: 4h}"

func newScene(t testing.TB, socket bool, s setting) *scene {
	t.Helper()
	fake := slacktest.New(t)
	api, closeFake := fake.Serve()
	t.Cleanup(closeFake)
	x := &scene{Server: fake, t: t, world: newWorld(t, map[string]string{"README.md": "GitOps\n"}), socket: socket}
	x.tess, x.grace, x.heidi = fake.AddUser("tess", "tess@example.com"), fake.AddUser("grace", "grace@example.com"), fake.AddUser("heidi", "heidi@example.com")
	x.ada, x.mallory = fake.AddUser("ada", "ada@example.com"), fake.AddUser("mallory", "mallory@example.com")
	fake.AddGroup("developers", x.tess, x.ada)
	fake.AddGroup("release-managers", x.grace, x.heidi, x.ada)
	x.random, x.staging, x.releases, x.ops = fake.AddChannel("random"), fake.AddChannel("staging"), fake.AddChannel("releases"), fake.AddChannel("ops")
	if s.approval == "" {
		s.approval = "{count: 0}"
	}
	if s.channels == "" {
		s.channels = `["slack:#releases"]`
	}
	secret := "signingSecret: " + slacktest.SigningSecret
	if socket {
		secret = "appToken: " + slacktest.AppToken
	}
	x.world.chat = fmt.Sprintf(`environments:
  - {name: staging, channels: ["slack:#staging"]}
  - {name: production, channels: %s, approval: %s}
people:
  - {name: Grace Hopper, email: grace@example.com, slack: %s}
  - {name: tess, email: tess@example.com, slack: %s}
roles:
  - {name: developers, members: ["slack:@developers"], can: [release, rollback]}
  - {name: release-managers, members: ["slack:@release-managers", "console:tess"], can: [approve, rollback]}
slack: {botToken: %s, %s, apiURL: %q}
notify: {fallback: "slack:#ops", owner: "slack:%s"}
`, s.channels, s.approval, x.grace.ID, x.tess.ID, slacktest.BotToken, secret, api, x.heidi.ID)
	if s.edit != nil {
		x.world.chat = s.edit(x.world.chat)
	}
	return x
}

// begin starts the server and waits until it is connected.
func (x *scene) begin() *scene {
	x.t.Helper()
	before, listed := len(x.Calls("bots.info")), len(x.Calls("conversations.list"))
	x.server = x.world.start()
	if x.socket {
		if !x.Connected() {
			x.t.Fatalf("no connection\n%.4000s", x.server.log)
		}
	} else {
		x.App("http://" + x.server.api)
	}
	// It is ready for people once it knows who it is.
	if !x.Await(20*time.Second, func() bool {
		return len(x.Calls("bots.info")) > before && len(x.Calls("conversations.list")) > listed+1
	}) {
		x.t.Fatal("it does not ask who it is")
	}
	return x
}

// ship ships an artifact of an app whose policy releases it to staging.
func (x *scene) ship(app, sha string) string {
	x.t.Helper()
	return x.server.post(x.world.artifact(app, long(sha), nil))
}

// quietly ships an artifact without a policy.
func (x *scene) quietly(app, sha string, change func(a map[string]any)) string {
	x.t.Helper()
	return x.server.post(x.world.artifact(app, long(sha), func(a map[string]any) {
		for _, e := range a["environments"].([]any) {
			delete(e.(map[string]any), "deploy")
		}
		if change != nil {
			change(a)
		}
	}))
}

func long(sha string) string { return sha + strings.Repeat("0", 40-len(sha)) }

// told waits until something that only the person sees says the text, in the channel or directly.
func (x *scene) told(u *slacktest.User, c *slacktest.Channel, text string) *slacktest.Message {
	x.t.Helper()
	var found *slacktest.Message
	all := ""
	x.Await(20*time.Second, func() bool {
		all = ""
		for _, m := range append(x.Private(u, c), x.Direct(u)...) {
			seen := m.Now().Seen()
			all += seen + "\n"
			if strings.Contains(seen, text) {
				found = m
				return true
			}
		}
		return false
	})
	if found == nil {
		x.t.Fatalf("%s is not told %q, but:\n%s\n%.3000s", u.Name, text, all, x.server.log)
	}
	return found
}

// ok fails the test unless the acknowledgement was good.
func (x *scene) ok(a slacktest.Ack) {
	x.t.Helper()
	if a.Status != 200 {
		x.t.Errorf("acknowledged with %d %s", a.Status, a.Body)
	}
}

// commits waits until the remote has so many releases, and returns their ids, newest first.
func (x *scene) commits(n int) []string {
	x.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	ids := x.world.releaseIDs()
	for len(ids) < n && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
		ids = x.world.releaseIDs()
	}
	if len(ids) != n {
		x.t.Errorf("%d releases are in the repository, not %d", len(ids), n)
	}
	return ids
}

// pushed is a change of the remote by somebody else.
func (w *world) pushed(files map[string]string) {
	w.tb.Helper()
	dir := gittest.Clone(w.tb, w.remote)
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			w.tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			w.tb.Fatal(err)
		}
	}
	gittest.Git(w.tb, dir, "add", "-A")
	gittest.Git(w.tb, dir, "commit", "-qm", "by hand")
	gittest.Git(w.tb, dir, "push", "-q", "origin", "HEAD:main")
}

// readiness is what /readyz says.
func (x *scene) readiness() string {
	res, err := http.Get("http://" + x.server.admin + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// holding keeps every git request until the channel is closed.
func holding(release <-chan struct{}) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return false
	}
}
