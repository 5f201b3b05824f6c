package discord

import (
	"encoding/json"

	"gimletd/bot"
)

// Render returns what a message looks like in Discord, for those who want to see it without one.
func Render(m bot.Message) (json.RawMessage, error) {
	if m.File != nil {
		m.Code, m.File = m.File.Content, nil
	}
	return json.Marshal(render(m, "preview"))
}
