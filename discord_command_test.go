package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimletd/bot/discord/discordtest"
)

func TestDiscordIsRegisteredAndChecked(t *testing.T) {
	for _, way := range []string{"http", "gateway"} {
		t.Run(way, func(t *testing.T) {
			x := newScene(t, mode{onDiscord, way == "gateway"}, setting{}).begin()
			file := filepath.Join(t.TempDir(), "config.yaml")
			write := func() {
				text := strings.Replace(x.world.config(), "adminToken:", "publicURL: \"http://"+x.server.api+"\", adminToken:", 1)
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write()
			status, out := command("discord", "register", "--config", file, "--print")
			var printed []map[string]any
			if status != exitDone || json.Unmarshal([]byte(out), &printed) != nil || len(printed) != 3 {
				t.Errorf("%d\n%s", status, out)
			}
			if status, out := command("discord", "register", "--config", file); status != exitDone || !strings.Contains(out, "/release, /rollback and /gimlet are registered in the server "+discordtest.GuildID) {
				t.Errorf("%d\n%s", status, out)
			}
			status, out = command("discord", "check", "--config", file)
			if status != exitDone || strings.Contains(out, "✗") {
				t.Errorf("%d\n%s", status, out)
			}
			x.Find(x.staging, "Messages can be posted and changed here")

			x.ThrowOut(x.releases, true)
			x.discord.ListMembers(false)
			x.world.chat = strings.Replace(x.world.chat, "discord:role:", "discord:role:1", 1)
			if way == "http" {
				x.discord.App("http://elsewhere.example")
			}
			write()
			status, out = command("discord", "check", "--config", file, "--quiet")
			for _, want := range []string{
				"✗ can do its work in " + x.releases.Channel(), "Missing Access", "there is no role with the id 1", "the Server Members Intent is off",
				map[string]string{"http": `the application's Interactions Endpoint URL is "http://elsewhere.example/discord/interactions"`, "gateway": "✓ the gateway takes connections"}[way],
			} {
				if !strings.Contains(out, want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
			if status != exitFailed || strings.Contains(out, discordtest.BotToken) {
				t.Errorf("status %d\n%s", status, out)
			}
			x.discord.Revoke(true)
			if status, out := command("discord", "check", "--config", file); status != exitFailed || !strings.Contains(out, "✗ the bot token is the application's") {
				t.Errorf("%d\n%s", status, out)
			}
			x.discord.Revoke(false)
			x.server.stop()
		})
	}
}
