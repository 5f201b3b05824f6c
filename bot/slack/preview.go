package slack

import (
	"encoding/json"

	"gimletd/bot"
)

// Rendered is a message as Slack gets it.
type Rendered struct {
	Text   string          `json:"text"`
	Blocks json.RawMessage `json:"blocks"`
}

// Render returns what a message looks like in Slack, for those who want to see it without one. Mentions stay as they are
// named.
func Render(m bot.Message) (Rendered, error) {
	if m.File != nil {
		m.Code, m.File = m.File.Content, nil
	}
	blocks, err := json.Marshal(render{mention: func(name string) string { return escape(bot.Clean(name)) }}.blocks(m))
	return Rendered{Text: fallback(m), Blocks: blocks}, err
}
