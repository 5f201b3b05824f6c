package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gimletd/bot/discord/discordtest"
	"gimletd/bot/slack/slacktest"
	"gimletd/releases/gitops/gittest"
)

// mode is a chat platform and a way in.
type mode struct {
	platform string // slack or discord
	socket   bool   // Socket Mode, or the gateway; HTTP without
}

func (m mode) String() string {
	switch {
	case !m.socket:
		return m.platform + " http"
	case m.platform == onDiscord:
		return "discord gateway"
	}
	return "slack socket"
}

const (
	onSlack   = "slack"
	onDiscord = "discord"
)

// modes are all that there are.
func modes() []mode {
	return []mode{{onSlack, false}, {onSlack, true}, {onDiscord, false}, {onDiscord, true}}
}

// scene is a place with people, and a GimletD that is connected to it.
type scene struct {
	mode
	slack   *slacktest.Server   // one of them
	discord *discordtest.Server // is there
	t       testing.TB
	world   *world
	server  *server

	// tess may release, grace and heidi may approve, ada wrote what is shipped and may approve, mallory may nothing.
	tess, grace, heidi, ada, mallory *person
	ivan                             *person // where there is one
	members                          map[string][]*discordtest.User
	staging, releases, ops, random   *channel
}

// setting is what a scene's configuration says.
type setting struct {
	approval string // of production
	channels string // of production
	edit     func(chat string) string
}

const twoVotes = "{count: 2, from: [release-managers], not: [requester, authors], expiresAfter: 4h}"

func newScene(t testing.TB, m mode, s setting) *scene {
	t.Helper()
	x := &scene{mode: m, t: t, world: newWorld(t, map[string]string{"README.md": "GitOps\n"})}
	var api string
	var closeFake func()
	if m.platform == onSlack {
		x.slack = slacktest.New(t)
		api, closeFake = x.slack.Serve()
	} else {
		x.discord = discordtest.New(t)
		api, closeFake = x.discord.Serve()
	}
	t.Cleanup(closeFake)
	x.tess, x.grace, x.heidi, x.ada, x.mallory = x.person("tess"), x.person("grace"), x.person("heidi"), x.person("ada"), x.person("mallory")
	x.AddGroup("developers", x.tess, x.ada)
	x.AddGroup("release-managers", x.grace, x.heidi, x.ada)
	x.random, x.staging, x.releases, x.ops = x.place("random"), x.place("staging"), x.place("releases"), x.place("ops")
	if s.approval == "" {
		s.approval = "{count: 0}"
	}
	if s.channels == "" {
		s.channels = `["#releases"]`
	}
	x.world.chat = fmt.Sprintf(`environments:
  - {name: staging, channels: ["#staging"]}
  - {name: production, channels: %s, approval: %s}
people:
%sroles:
  - {name: developers, members: ["@developers"], can: [release, rollback]}
  - {name: release-managers, members: ["@release-managers", "console:tess"], can: [approve, rollback]}
%s
notify: {fallback: "#ops", owner: "%s:%s"}
`, s.channels, s.approval, x.people(), x.connection(api), m.platform, x.heidi.ID)
	if s.edit != nil {
		x.world.chat = s.edit(x.world.chat)
	}
	x.world.chat = x.localised(x.world.chat)
	return x
}

// people are those whom the configuration knows. Discord tells nobody's address, so there it has more of them.
func (x *scene) people() string {
	known := map[*person]string{x.grace: "Grace Hopper", x.tess: "tess"}
	order := []*person{x.grace, x.tess}
	if x.platform == onDiscord {
		known[x.heidi], known[x.ada] = "heidi", "ada"
		order = append(order, x.heidi, x.ada)
	}
	text := ""
	for _, u := range order {
		text += fmt.Sprintf("  - {name: %s, email: %s@example.com, %s: %q}\n", known[u], u.Name, x.platform, u.ID)
	}
	return text
}

// connection is the platform's part of the configuration.
func (x *scene) connection(api string) string {
	switch {
	case x.platform == onDiscord && x.socket:
		return fmt.Sprintf("discord: {botToken: %s, applicationID: %q, guildID: %q, apiURL: %q}", discordtest.BotToken, discordtest.ApplicationID, discordtest.GuildID, api)
	case x.platform == onDiscord:
		return fmt.Sprintf("discord: {botToken: %s, applicationID: %q, guildID: %q, apiURL: %q, publicKey: %q}",
			discordtest.BotToken, discordtest.ApplicationID, discordtest.GuildID, api, x.discord.PublicKey())
	case x.socket:
		return fmt.Sprintf("slack: {botToken: %s, appToken: %s, apiURL: %q}", slacktest.BotToken, slacktest.AppToken, api)
	}
	return fmt.Sprintf("slack: {botToken: %s, signingSecret: %s, apiURL: %q}", slacktest.BotToken, slacktest.SigningSecret, api)
}

var localName = regexp.MustCompile(`"[#@][a-z-]+"`)

// localised writes the names of channels and groups as the platform's configuration does: `"#staging"`, `"@developers"`.
func (x *scene) localised(chat string) string {
	return localName.ReplaceAllStringFunc(chat, func(quoted string) string {
		name := strings.Trim(quoted, `"`)
		switch {
		case x.platform == onSlack:
			return `"slack:` + name + `"`
		case name[0] == '@':
			return `"discord:role:` + x.discord.AddRole(name[1:], x.members[name[1:]]...).ID + `"`
		}
		for _, c := range []*channel{x.random, x.staging, x.releases, x.ops} {
			if c.Name == name[1:] {
				return `"` + c.Channel() + `"`
			}
		}
		return quoted
	})
}

// begin starts the server and waits until it is connected.
func (x *scene) begin() *scene {
	x.t.Helper()
	ready := x.slackReady
	if x.platform == onDiscord {
		ready = x.discordReady
	}
	condition := ready()
	x.server = x.world.start()
	switch {
	case x.socket && x.slack != nil && !x.slack.Connected(), x.socket && x.discord != nil && !x.discord.Connected():
		x.t.Fatalf("no connection\n%.4000s", x.server.log)
	case x.socket:
	case x.slack != nil:
		x.slack.App("http://" + x.server.api)
	default:
		x.discord.App("http://" + x.server.api)
	}
	// It is ready for people once it knows who it is.
	if !x.Await(20*time.Second, condition) {
		x.t.Fatalf("it does not ask who it is\n%.4000s", x.server.log)
	}
	return x
}

func (x *scene) slackReady() func() bool {
	before, listed := len(x.slack.Calls("bots.info")), len(x.slack.Calls("conversations.list"))
	return func() bool {
		return len(x.slack.Calls("bots.info")) > before && len(x.slack.Calls("conversations.list")) > listed+1
	}
}

func (x *scene) discordReady() func() bool {
	before := len(x.discord.Calls("commands.set"))
	return func() bool { return len(x.discord.Calls("commands.set")) > before }
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
func (x *scene) told(u *person, c *channel, text string) *note {
	x.t.Helper()
	var found *note
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
		log := ""
		if x.server != nil {
			log = x.server.log.String()
		}
		x.t.Fatalf("%s is not told %q, but:\n%s\n%.3000s", u.Name, text, all, log)
	}
	return found
}

// ok fails the test unless the acknowledgement was good.
func (x *scene) ok(a any) {
	x.t.Helper()
	status, body := 0, ""
	switch a := a.(type) {
	case ack:
		status, body = a.Status, a.Body
	case slacktest.Ack:
		status, body = a.Status, a.Body
	case discordtest.Ack:
		status, body = a.Status, a.Body
	}
	if status != http.StatusOK {
		x.t.Errorf("acknowledged with %d %s", status, body)
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
