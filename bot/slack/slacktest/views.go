package slacktest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// View is a modal or a home page that somebody looks at.
type View struct {
	server *Server
	id     string
	hash   string
	user   string
	view   map[string]any
	chosen map[string]map[string]any // options by block id
	closed bool
}

// View returns what is seen of it: its text, and the ids of its inputs' blocks in order.
func (v *View) View() (seen string, inputs []string) {
	v.server.mu.Lock()
	defer v.server.mu.Unlock()
	for _, b := range v.blocks() {
		if b["type"] == "input" {
			id, _ := b["block_id"].(string)
			inputs = append(inputs, id)
		}
	}
	s := Snapshot{Blocks: append([]Block{{"type": "title", "text": v.view["title"]}}, v.blocks()...)}
	return s.Seen(), inputs
}

// Page is the view as a message, for its buttons.
func (v *View) Page() Snapshot {
	v.server.mu.Lock()
	defer v.server.mu.Unlock()
	return Snapshot{Blocks: v.blocks()}
}

// Closed reports whether the view was closed.
func (v *View) Closed() bool {
	v.server.mu.Lock()
	defer v.server.mu.Unlock()
	return v.closed
}

func (v *View) blocks() []Block {
	text, _ := json.Marshal(v.view["blocks"])
	blocks, _ := decodeBlocks(string(text))
	return blocks
}

// wire is the view as payloads carry it.
func (v *View) wire() map[string]any {
	w := map[string]any{"id": v.id, "hash": v.hash, "team_id": TeamID, "app_id": AppID, "bot_id": BotID}
	for _, key := range []string{"type", "callback_id", "private_metadata", "title", "submit", "close", "blocks"} {
		if v.view[key] != nil {
			w[key] = v.view[key]
		}
	}
	values := map[string]any{}
	for _, b := range v.blocks() {
		id, _ := b["block_id"].(string)
		e, _ := b["element"].(map[string]any)
		if e == nil {
			continue
		}
		option := v.chosen[id]
		if initial, ok := e["initial_option"].(map[string]any); ok && option == nil {
			option = initial
		}
		value := map[string]any{"type": e["type"], "selected_option": nil}
		if option != nil {
			value["selected_option"] = option
		}
		action, _ := e["action_id"].(string)
		values[id] = map[string]any{action: value}
	}
	w["state"] = map[string]any{"values": values}
	return w
}

// set checks a view and puts it in place. The lock is held.
func (s *Server) set(v *View, text string) string {
	var view map[string]any
	if json.Unmarshal([]byte(text), &view) != nil {
		return "invalid_arguments"
	}
	if fault := validateView(view); fault != "" {
		s.wrong("a view is refused: %s", fault)
		return "invalid_arguments"
	}
	blocks, _ := view["blocks"].([]any)
	for _, one := range blocks {
		if b, ok := one.(map[string]any); ok && b["block_id"] == nil {
			b["block_id"] = fmt.Sprintf("b%d", s.next())
		}
	}
	v.view, v.hash = view, fmt.Sprintf("%d.h%d", time.Now().Unix(), s.next())
	s.Ring()
	return ""
}

func (s *Server) openView(c call) (map[string]any, string) {
	trigger := c.text("trigger_id")
	began, known := s.triggers[trigger]
	switch {
	case !known:
		return nil, "invalid_trigger_id"
	case began.IsZero():
		s.wrong("a trigger_id was used twice")
		return nil, "exchanged_trigger_id"
	case time.Since(began) > 3*time.Second:
		s.wrong("a trigger_id was used after %s", time.Since(began))
		return nil, "expired_trigger_id"
	}
	s.triggers[trigger] = time.Time{}
	v := &View{server: s, id: fmt.Sprintf("V%04d", s.next()), chosen: map[string]map[string]any{}, user: userOf(trigger)}
	if code := s.set(v, c.text("view")); code != "" {
		return nil, code
	}
	s.views[v.id] = v
	return map[string]any{"view": v.wire()}, ""
}

func (s *Server) updateView(c call) (map[string]any, string) {
	v := s.views[c.text("view_id")]
	switch {
	case v == nil || v.closed:
		return nil, "not_found"
	case c.text("hash") != "" && c.text("hash") != v.hash:
		return nil, "hash_conflict"
	}
	if code := s.set(v, c.text("view")); code != "" {
		return nil, code
	}
	// What was chosen in blocks that are gone is forgotten.
	kept := map[string]map[string]any{}
	for _, b := range v.blocks() {
		id, _ := b["block_id"].(string)
		if v.chosen[id] != nil {
			kept[id] = v.chosen[id]
		}
	}
	v.chosen = kept
	return map[string]any{"view": v.wire()}, ""
}

func (s *Server) publishView(c call) (map[string]any, string) {
	user := c.text("user_id")
	if !slices.ContainsFunc(s.users, func(u *User) bool { return u.ID == user }) {
		return nil, "user_not_found"
	}
	v := s.homes[user]
	if v == nil {
		v = &View{server: s, id: fmt.Sprintf("V%04d", s.next()), user: user, chosen: map[string]map[string]any{}}
	}
	if code := s.set(v, c.text("view")); code != "" {
		return nil, code
	}
	s.homes[user] = v
	return map[string]any{"view": v.wire()}, ""
}
