package slacktest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gimletd/bot/bottest"
)

// Block is a block of Block Kit as it came.
type Block map[string]any

// Message is a message as the workspace has it. Methods return what it is at the moment.
type Message struct {
	server    *Server
	channel   *Channel
	ts        string
	thread    string
	broadcast bool
	only      string // the user who alone sees it
	text      string
	blocks    []Block
	metadata  map[string]any
	files     []*upload
	edits     int
	history   []string // what it said before, oldest first
	deleted   bool
}

// Snapshot is a message at one moment.
type Snapshot struct {
	TS, Thread, Text string
	Blocks           []Block
	Metadata         map[string]any
	Files            map[string]string // contents by name
	Edits            int
	Only             string // the id of the one who sees it
	Broadcast        bool
}

// Now is the message as it is now.
func (m *Message) Now() Snapshot {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	return m.snapshot()
}

func (m *Message) snapshot() Snapshot {
	s := Snapshot{TS: m.ts, Thread: m.thread, Text: m.text, Blocks: m.blocks, Metadata: m.metadata, Edits: m.edits, Only: m.only, Broadcast: m.broadcast, Files: map[string]string{}}
	for _, f := range m.files {
		s.Files[f.name] = f.content
	}
	return s
}

// Seen is all the text that people see of the message.
func (s Snapshot) Seen() string {
	lines := []string{}
	for _, b := range s.Blocks {
		lines = append(lines, texts(b)...)
	}
	if len(lines) == 0 {
		lines = []string{s.Text}
	}
	for name := range s.Files {
		lines = append(lines, "file: "+name)
	}
	return strings.Join(lines, "\n")
}

func texts(value any) (all []string) {
	switch v := value.(type) {
	case Block:
		return texts(map[string]any(v))
	case map[string]any:
		if v["type"] == "mrkdwn" || v["type"] == "plain_text" {
			text, _ := v["text"].(string)
			return []string{text}
		}
		for _, key := range []string{"title", "label", "text", "fields", "elements", "element", "initial_option"} {
			all = append(all, texts(v[key])...)
		}
	case []any:
		for _, one := range v {
			all = append(all, texts(one)...)
		}
	}
	return all
}

// Buttons are the labels of the message's buttons.
func (s Snapshot) Buttons() (labels []string) {
	for _, b := range buttons(s.Blocks) {
		labels = append(labels, label(b))
	}
	return labels
}

// Confirm is what a button asks once more, or "".
func (s Snapshot) Confirm(button string) string {
	for _, b := range buttons(s.Blocks) {
		if label(b) != button {
			continue
		}
		confirm, _ := b["confirm"].(map[string]any)
		text, _ := confirm["text"].(map[string]any)
		question, _ := text["text"].(string)
		return question
	}
	return ""
}

func label(button map[string]any) string {
	text, _ := button["text"].(map[string]any)
	name, _ := text["text"].(string)
	return name
}

// buttons are the buttons of the blocks, each with its block's id.
func buttons(blocks []Block) (all []map[string]any) {
	for _, b := range blocks {
		list, _ := b["elements"].([]any)
		for _, one := range append(list, b["element"], b["accessory"]) {
			e, ok := one.(map[string]any)
			if ok && e["type"] == "button" {
				e = maps.Clone(e) // the message's own is looked at by others, too
				e["block_id"] = b["block_id"]
				all = append(all, e)
			}
		}
	}
	return all
}

// Messages are those of a channel that everybody sees, in order; with threads or without.
func (s *Server) Messages(c *Channel, threads bool) (all []*Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range c.messages {
		if m.only == "" && !m.deleted && (threads || m.thread == "") {
			all = append(all, m)
		}
	}
	return all
}

// Thread are the replies to a message.
func (s *Server) Thread(m *Message) (all []*Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, reply := range m.channel.messages {
		if reply.thread == m.ts && !reply.deleted {
			all = append(all, reply)
		}
	}
	return all
}

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
		s.wrong("no message in #%s says %q; there are:\n%s", c.Name, text, s.Transcript(c))
	}
	return found
}

const findWithin = 30 * time.Second

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
		now := m.Now()
		indent := ""
		if now.Thread != "" {
			indent = "    ↳ "
		}
		fmt.Fprintf(&b, "%s%s\n", indent, strings.ReplaceAll(now.Seen(), "\n", "\n"+indent))
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
	m.server, m.channel = s, c
	m.ts = fmt.Sprintf("%d.%06d", time.Now().Unix(), s.next())
	s.number(m.blocks)
	c.messages = append(c.messages, m)
	s.Ring()
	return m
}

// number gives blocks without an id one, as Slack does.
func (s *Server) number(blocks []Block) {
	for _, b := range blocks {
		if id, _ := b["block_id"].(string); id == "" {
			b["block_id"] = fmt.Sprintf("b%d", s.next())
		}
	}
}

// Blocks reads blocks, and reports what cannot be read.
func Blocks(r bottest.Reporter, text []byte) []Block {
	blocks, err := decodeBlocks(string(text))
	if err != nil {
		r.Errorf("blocks cannot be read: %v", err)
	}
	return blocks
}

func decodeBlocks(text string) (blocks []Block, err error) {
	if text == "" {
		return nil, nil
	}
	err = json.Unmarshal([]byte(text), &blocks)
	return blocks, err
}

// wire is the message as payloads carry it.
func (m *Message) wire() map[string]any {
	w := map[string]any{"type": "message", "ts": m.ts, "text": m.text, "bot_id": BotID, "app_id": AppID, "user": BotUserID, "blocks": m.blocks}
	if m.thread != "" {
		w["thread_ts"] = m.thread
	}
	if m.metadata != nil {
		w["metadata"] = m.metadata
	}
	var files []map[string]any
	for _, f := range m.files {
		files = append(files, map[string]any{"id": f.id, "name": f.name})
	}
	if files != nil {
		w["files"] = files
	}
	return w
}

// Direct are the direct messages of a person, in order.
func (s *Server) Direct(u *User) []*Message {
	s.mu.Lock()
	c := s.channel("D" + u.ID[1:])
	s.mu.Unlock()
	if c == nil {
		return nil
	}
	return s.Messages(c, true)
}

// Private are the messages that only the person sees in the channel.
func (s *Server) Private(u *User, c *Channel) (all []*Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.messages), func(m *Message) bool { return m.only != u.ID })
}

// Identity is what two messages that say the same would share.
func (s Snapshot) Identity() string { return fmt.Sprint(s.Metadata, s.Files) }
