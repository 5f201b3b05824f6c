package discordtest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Payload is a message as it came.
type Payload struct {
	Content    string           `json:"content"`
	Embeds     []Embed          `json:"embeds"`
	Components []Component      `json:"components"`
	Mentions   *AllowedMentions `json:"allowed_mentions"`
	Flags      int              `json:"flags"`
	Nonce      string           `json:"nonce"`
	Enforce    bool             `json:"enforce_nonce"`
	Reference  *struct {
		Message string `json:"message_id"`
	} `json:"message_reference"`
}

// Embed is what stands below the content.
type Embed struct {
	URL         string  `json:"url,omitempty"`
	Title       string  `json:"title,omitempty"`
	Description string  `json:"description,omitempty"`
	Color       int     `json:"color,omitempty"`
	Fields      []Field `json:"fields,omitempty"`
	Footer      *struct {
		Text string `json:"text"`
	} `json:"footer,omitempty"`
}

// Field is a fact of an embed.
type Field struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Inline bool   `json:"inline,omitempty"`
}

// Component is a row of buttons, or a button.
type Component struct {
	Type       int         `json:"type"`
	Label      string      `json:"label,omitempty"`
	CustomID   string      `json:"custom_id,omitempty"`
	Style      int         `json:"style,omitempty"`
	Components []Component `json:"components,omitempty"`
}

// AllowedMentions are who may be notified by the message.
type AllowedMentions struct {
	Parse []string `json:"parse"`
	Roles []string `json:"roles"`
	Users []string `json:"users"`
}

// Message is a message as the server has it. Methods return what it is at the moment.
type Message struct {
	server  *Server
	channel *Channel
	id      string
	only    string // the user who alone sees it
	loading bool   // an answer that is awaited
	deleted bool
	edits   int
	files   map[string]string
	Payload
}

// Snapshot is a message at one moment.
type Snapshot struct {
	ID    string
	Files map[string]string // contents by name
	Edits int
	Only  string // the id of the one who sees it
	Payload
}

// Now is the message as it is now.
func (m *Message) Now() Snapshot {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	return Snapshot{ID: m.id, Files: m.files, Edits: m.edits, Only: m.only, Payload: m.Payload}
}

// ID is the message's id.
func (m *Message) ID() string { return m.id }

// Seen is all the text that people see of the message.
func (s Snapshot) Seen() string {
	lines := []string{Plain(s.Content)}
	for _, e := range s.Embeds {
		lines = append(lines, Plain(e.Title), Plain(e.Description))
		for _, f := range e.Fields {
			lines = append(lines, Plain(f.Name), Plain(f.Value))
		}
		if e.Footer != nil {
			lines = append(lines, e.Footer.Text)
		}
	}
	for name := range s.Files {
		lines = append(lines, "file: "+name)
	}
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return l == "" }), "\n")
}

var (
	maskedLink = regexp.MustCompile(`\[((?:\\.|[^\]\\])*)\]\((https?://[^\s)]+)\)`)
	bareLink   = regexp.MustCompile(`<(https?://[^\s>]+)>`)
)

// Plain is what people see of Discord's Markdown.
func Plain(text string) string {
	text = bareLink.ReplaceAllString(maskedLink.ReplaceAllString(text, "$1"), "$1")
	var b strings.Builder
	for text != "" {
		switch {
		case strings.HasPrefix(text, "```"):
			body, rest, _ := strings.Cut(text[3:], "```")
			_, body, _ = strings.Cut(body, "\n")
			b.WriteString(body)
			text = rest
		case strings.HasPrefix(text, "**"):
			text = text[2:]
		case len(text) > 1 && text[0] == '\\' && strings.ContainsRune("\\*_~`|>#[]()<-+:@", rune(text[1])):
			b.WriteByte(text[1])
			text = text[2:]
		default:
			b.WriteByte(text[0])
			text = text[1:]
		}
	}
	return strings.ReplaceAll(b.String(), "\u200b", "")
}

// Buttons are the labels of the message's buttons.
func (s Snapshot) Buttons() (labels []string) {
	for _, b := range buttons(s.Components) {
		labels = append(labels, b.Label)
	}
	return labels
}

func buttons(components []Component) (all []Component) {
	for _, c := range components {
		if c.Type == buttonType {
			all = append(all, c)
		}
		all = append(all, buttons(c.Components)...)
	}
	return all
}

// Messages are those of a channel that everybody sees, in order; with threads or without.
func (s *Server) Messages(c *Channel, threads bool) (all []*Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range c.messages {
		if m.only == "" && !m.deleted {
			all = append(all, m)
			if t := s.channel(m.id); threads && t != nil {
				all = append(all, t.messages...)
			}
		}
	}
	return all
}

// Thread are the messages of a message's thread.
func (s *Server) Thread(m *Message) (all []*Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.channel(m.id); t != nil {
		all = append(all, t.messages...)
	}
	return all
}

// Direct are the direct messages of a person, in order.
func (s *Server) Direct(u *User) []*Message {
	s.mu.Lock()
	c := s.directOf(u)
	s.mu.Unlock()
	return append(s.Messages(c, true), s.Private(u, c)...)
}

// Private are the messages that only the person sees in the channel, as far as they are there.
func (s *Server) Private(u *User, c *Channel) (all []*Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range c.messages {
		if m.only == u.ID && !m.deleted && !m.loading {
			all = append(all, m)
		}
	}
	return all
}

const findWithin = 30 * time.Second

// Find waits for a message in the channel, outside of threads, in which the text is seen.
func (s *Server) Find(c *Channel, text string) *Message {
	var found *Message
	s.Await(findWithin, func() bool {
		for _, m := range s.Messages(c, false) {
			if strings.Contains(m.Now().Seen(), text) {
				found = m
				return true
			}
		}
		return false
	})
	if found == nil {
		s.wrong("no message in %s says %q; there are:\n%s", c, text, s.Transcript(c))
	}
	return found
}

// Says waits until the message says the text.
func (m *Message) Says(text string) bool {
	ok := m.server.Await(findWithin, func() bool { return strings.Contains(m.Now().Seen(), text) })
	if !ok {
		m.server.wrong("the message does not come to say %q; it says:\n%s", text, m.Now().Seen())
	}
	return ok
}

// Transcript is all that a channel shows, for people.
func (s *Server) Transcript(c *Channel) string {
	var b strings.Builder
	for _, m := range s.Messages(c, true) {
		indent := ""
		if m.channel != c {
			indent = "    ↳ "
		}
		fmt.Fprintf(&b, "%s%s\n", indent, strings.ReplaceAll(m.Now().Seen(), "\n", "\n"+indent))
	}
	return b.String()
}

// Delete deletes a message, as somebody who may.
func (m *Message) Delete() {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	m.deleted = true
	m.server.Ring()
}

// post adds a message. The lock is held.
func (s *Server) post(c *Channel, m *Message) *Message {
	m.server, m.channel, m.id = s, c, s.snowflake()
	s.settle(m)
	c.messages = append(c.messages, m)
	s.Ring()
	return m
}

// settle is what Discord does to a message.
func (s *Server) settle(m *Message) {
	if s.forgetURLs {
		for i := range m.Embeds {
			m.Embeds[i].URL = ""
		}
	}
}

// wire is the message as Discord sends it.
func (m *Message) wire() map[string]any {
	files := []map[string]any{}
	for name := range m.files {
		files = append(files, map[string]any{"id": "1", "filename": name, "size": len(m.files[name])})
	}
	flags := 0
	if m.only != "" {
		flags = ephemeral
	}
	return map[string]any{
		"id": m.id, "channel_id": m.channel.ID, "type": 0, "content": m.Content, "embeds": m.Embeds, "components": append([]Component{}, m.Components...), "attachments": files,
		"author": map[string]any{"id": BotUserID, "username": "GimletD", "bot": true}, "timestamp": madeAt(m.id).UTC().Format(time.RFC3339Nano), "flags": flags,
		"mentions": []any{}, "mention_roles": []any{},
	}
}
