package notify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"gimletd/bot/discord"
	"gimletd/bot/discord/discordtest"
	"gimletd/notify"
)

// TestEveryMessageInDiscord keeps each message in each state as Discord gets it, and holds it to Discord's limits.
func TestEveryMessageInDiscord(t *testing.T) {
	var out strings.Builder
	each(func(name string, n notify.Note) {
		if n.Key == "" {
			return
		}
		rendered, err := discord.Render(n.Message)
		if err != nil {
			t.Fatal(err)
		}
		var payload discordtest.Payload
		if err := json.Unmarshal(rendered, &payload); err != nil {
			t.Fatal(err)
		}
		if fault := discordtest.Validate(payload); fault != "" {
			t.Errorf("%s: %s", name, fault)
		}
		if n.Message.Title != "" && !strings.Contains(discordtest.Plain(payload.Content), strings.TrimSpace(n.Message.Title)) {
			t.Errorf("%s: what is read out says %q", name, payload.Content)
		}
		for i := range payload.Embeds {
			payload.Embeds[i].URL = "" // packed; the buttons' tests look into it
		}
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", " ")
		if err := encoder.Encode(payload); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "== %s: %s\n%s\n%s", name, n.Key, discordtest.Snapshot{Payload: payload}.Seen(), text.String())
	})
	compare(t, "testdata/discord.golden", out.String())
}
