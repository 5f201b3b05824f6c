package slack

import (
	"strings"

	"gimletd/bot"
)

// Scopes are what the bot token needs, each with what it is for.
func Scopes() [][2]string {
	return [][2]string{
		{"commands", "slash commands and the message shortcut"},
		{"chat:write", "say things in channels that it was invited to, and directly"},
		{"files:write", "put a long diff into a thread as a file"},
		{"channels:read", "find public channels by name"},
		{"groups:read", "find private channels that it is in by name"},
		{"channels:history", "look whether a message arrived whose sending had no answer"},
		{"groups:history", "the same in private channels"},
		{"metadata.message:read", "tell its own messages apart, there"},
		{"usergroups:read", "who is in the groups that roles name"},
		{"users:read", "the names of people"},
		{"users:read.email", "their addresses: for commits, and to keep authors from approving their own work"},
	}
}

// Manifest is the app's manifest: https://docs.slack.dev/reference/app-manifest. Without a public URL it connects by
// Socket Mode.
func Manifest(c bot.Names, publicURL string) map[string]any {
	base := strings.TrimSuffix(publicURL, "/")
	socket := base == ""
	at := func(path string, into map[string]any) map[string]any {
		if !socket {
			into["url"] = base + path
		}
		return into
	}
	var scopes []string
	for _, s := range Scopes() {
		scopes = append(scopes, s[0])
	}
	interactivity := map[string]any{"is_enabled": true}
	events := map[string]any{"bot_events": []string{"app_home_opened"}}
	if !socket {
		interactivity["request_url"] = base + "/slack/interactions"
		interactivity["message_menu_options_url"] = base + "/slack/options"
		events["request_url"] = base + "/slack/events"
	}
	command := func(name, description, hint string) map[string]any {
		return at("/slack/commands", map[string]any{"command": name, "description": description, "usage_hint": hint, "should_escape": false})
	}
	return map[string]any{
		"display_information": map[string]any{"name": "GimletD", "description": "Releases and rollbacks, where you talk about them", "background_color": "#2f6f4f"},
		"features": map[string]any{
			"app_home": map[string]any{"home_tab_enabled": true, "messages_tab_enabled": true, "messages_tab_read_only_enabled": true},
			"bot_user": map[string]any{"display_name": "GimletD", "always_online": true},
			"shortcuts": []any{map[string]any{
				"name": "Roll back this release", "type": "message", "callback_id": shortcutCallback, "description": "Shows what would change, and puts the version before back",
			}},
			"slash_commands": []any{
				command(c.Release, "Release an app to an environment", "[app] [env] [version]"),
				command(c.Rollback, "Put an earlier release of an app back", "[app] [env] [version]"),
				command(c.Gimlet, "What is live, who may, why, and everything else", "help"),
			},
		},
		"oauth_config": map[string]any{"scopes": map[string]any{"bot": scopes}},
		"settings": map[string]any{
			"event_subscriptions": events, "interactivity": interactivity, "org_deploy_enabled": false, "socket_mode_enabled": socket, "token_rotation_enabled": false,
		},
	}
}
