package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimletd/bot/slack"
	"gimletd/bot/slack/slacktest"
)

// command runs the binary's own code with the arguments.
func command(args ...string) (status int, out string) {
	var b bytes.Buffer
	status = run(args, strings.NewReader(""), &b, &b)
	return status, b.String()
}

func TestTheManifestIsMadeFromTheConfiguration(t *testing.T) {
	for _, c := range []struct{ name, chat, want, not string }{
		{"socket", "slack: {botToken: xoxb-1, appToken: xapp-1}", `"socket_mode_enabled": true`, "request_url"},
		{"http", "slack: {botToken: xoxb-1, signingSecret: s, commands: {release: /ship}}", `"url": "https://gimletd.example/slack/commands"`, `"/release"`},
	} {
		file := filepath.Join(t.TempDir(), "config.yaml")
		text := "server: {publicURL: \"https://gimletd.example/\"}\ngitops: {main: {url: /srv/gitops.git}}\nenvironments: [{name: staging}]\n" + c.chat + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		status, out := command("slack", "manifest", "--config", file)
		var manifest map[string]any
		if status != exitDone || json.Unmarshal([]byte(out), &manifest) != nil || !strings.Contains(out, c.want) || strings.Contains(out, c.not) {
			t.Errorf("%s: %d\n%s", c.name, status, out)
		}
		if strings.Contains(out, "xoxb") || strings.Contains(out, "xapp") {
			t.Errorf("%s: a token is in the manifest", c.name)
		}
	}
	if status, out := command("slack", "manifest"); status != exitDone || !strings.Contains(out, `"/gimlet"`) {
		t.Errorf("without a configuration: %d %s", status, out)
	}
}

func TestTheManifestHasTheScopesThatTheMethodsNeed(t *testing.T) {
	var asked []string
	for _, s := range slack.Scopes() {
		asked = append(asked, s[0])
	}
	slices.Sort(asked)
	needed := slacktest.AllScopes()
	slices.Sort(needed)
	if !slices.Equal(asked, slices.Compact(needed)) {
		t.Errorf("asked for %v\nneeded    %v", asked, needed)
	}
}

func TestCheckProvesAConfiguration(t *testing.T) {
	for _, way := range []string{"http", "socket"} {
		t.Run(way, func(t *testing.T) {
			x := newScene(t, mode{onSlack, way == "socket"}, setting{}).begin()
			file := filepath.Join(t.TempDir(), "config.yaml")
			write := func() {
				text := strings.Replace(x.world.config(), "adminToken:", "publicURL: \"http://"+x.server.api+"\", adminToken:", 1)
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write()
			status, out := command("slack", "check", "--config", file)
			if status != exitDone || strings.Contains(out, "✗") {
				t.Errorf("%d\n%s", status, out)
			}
			x.Find(x.ops, "Messages can be posted and changed here")

			x.slack.Kick(x.releases.slack)
			x.slack.Withdraw("files:write")
			x.world.chat = strings.Replace(x.world.chat, slacktest.SigningSecret, "another-secret", 1)
			x.world.chat = strings.Replace(x.world.chat, "@developers", "@nobody", 1)
			write()
			status, out = command("slack", "check", "--config", file, "--quiet")
			for _, want := range []string{
				"✗ can post in slack:#releases: the bot is not in it\n  → invite the bot there", "missing: files:write (to put a long diff into a thread as a file)",
				"there is no user group @nobody in Slack",
			} {
				if !strings.Contains(out, want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
			if way == "http" && !strings.Contains(out, "what is signed is not taken") {
				t.Errorf("the wrong secret is not found:\n%s", out)
			}
			if status != exitFailed {
				t.Errorf("status %d", status)
			}
			x.slack.Revoke(true)
			if status, out := command("slack", "check", "--config", file); status != exitFailed || !strings.Contains(out, "✗ the bot token works") {
				t.Errorf("%d\n%s", status, out)
			}
			x.slack.Revoke(false)
			x.server.stop()
		})
	}
}
