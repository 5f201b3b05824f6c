package slacktest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gimletd/bot/bottest"
)

// User is a person of the workspace.
type User struct {
	server          *Server
	ID, Name, Email string
}

// AddUser adds a person.
func (s *Server) AddUser(name, email string) *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &User{server: s, ID: fmt.Sprintf("U%04d", s.next()), Name: name, Email: email}
	s.users = append(s.users, u)
	return u
}

// Ack is how the app acknowledged something.
type Ack struct {
	Status int
	Body   string
	Took   time.Duration
}

// ackWithin is how long Slack waits for an acknowledgement.
const ackWithin = 3 * time.Second

// trigger makes a trigger_id for the person.
func (u *User) trigger() string {
	s := u.server
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fmt.Sprintf("%d.%s", s.next(), u.ID)
	s.triggers[id] = time.Now()
	return id
}

func userOf(trigger string) string {
	_, user, _ := strings.Cut(trigger, ".")
	return user
}

// ResponseURL makes an address for answers.
func (u *User) ResponseURL(c *Channel) string {
	s := u.server
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fmt.Sprintf("r%d", s.next())
	s.responses[id] = &response{channel: c.ID, user: u.ID, until: time.Now().Add(30 * time.Minute)}
	return strings.TrimSuffix(s.url, "api/") + "response/" + id
}

// takeResponse takes an answer at a response_url: five times, for half an hour.
func (s *Server) takeResponse(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Type   string  `json:"response_type"`
		Text   string  `json:"text"`
		Blocks []Block `json:"blocks"`
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.responses[r.PathValue("id")]
	if to == nil || time.Now().After(to.until) || to.uses == 5 {
		http.Error(w, "used_url", http.StatusNotFound)
		return
	}
	to.uses++
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Type != "ephemeral" {
		s.wrong("an answer that is not for the person alone, or cannot be read: %v", err)
		http.Error(w, "invalid_payload", http.StatusBadRequest)
		return
	}
	if fault := Validate(body.Blocks); fault != "" {
		s.wrong("an answer's blocks are refused: %s", fault)
		http.Error(w, "invalid_blocks", http.StatusBadRequest)
		return
	}
	s.post(s.channel(to.channel), &Message{text: body.Text, blocks: body.Blocks, only: to.user})
	_, _ = io.WriteString(w, "ok")
}

// Slash types a command in a channel: `/release web staging`.
func (u *User) Slash(c *Channel, line string) Ack {
	return u.server.deliver("commands", u.SlashPayload(c, line))
}

// SlashPayload is what Slack sends for a typed command.
func (u *User) SlashPayload(c *Channel, line string) map[string]any {
	command, text, _ := strings.Cut(line, " ")
	return map[string]any{
		"token": "legacy", "team_id": TeamID, "team_domain": "test", "channel_id": c.ID, "channel_name": c.Name, "user_id": u.ID, "user_name": u.Name,
		"command": command, "text": text, "response_url": u.ResponseURL(c), "trigger_id": u.trigger(), "api_app_id": AppID,
	}
}

// Click presses a button that the message has now. A button that is not there cannot be pressed.
func (u *User) Click(m *Message, button string) Ack {
	payload := u.ClickPayload(m, button)
	if payload == nil {
		return Ack{}
	}
	return u.server.deliver("interactions", payload)
}

// ClickPayload is what Slack sends for a click.
func (u *User) ClickPayload(m *Message, button string) map[string]any {
	now := m.Now()
	for _, b := range buttons(now.Blocks) {
		if label(b) == button {
			return u.click(m, b)
		}
	}
	u.server.wrong("there is no button %q on: %s", button, now.Seen())
	return nil
}

func (u *User) click(m *Message, b map[string]any) map[string]any {
	p := u.payload("block_actions")
	container := map[string]any{"type": "message", "message_ts": m.ts, "channel_id": m.channel.ID, "is_ephemeral": m.only != ""}
	p["container"] = container
	p["channel"] = map[string]any{"id": m.channel.ID, "name": m.channel.Name}
	p["response_url"] = u.ResponseURL(m.channel)
	if m.only == "" {
		u.server.mu.Lock()
		p["message"] = m.wire()
		u.server.mu.Unlock()
	}
	p["actions"] = []any{u.action(b)}
	return p
}

func (u *User) action(b map[string]any) map[string]any {
	u.server.mu.Lock()
	defer u.server.mu.Unlock()
	return map[string]any{
		"type": "button", "action_id": b["action_id"], "block_id": b["block_id"], "value": b["value"], "text": b["text"],
		"action_ts": fmt.Sprintf("%d.%06d", time.Now().Unix(), u.server.next()),
	}
}

func (u *User) payload(kind string) map[string]any {
	return map[string]any{
		"type": kind, "team": map[string]any{"id": TeamID, "domain": "test"}, "api_app_id": AppID, "trigger_id": u.trigger(),
		"user": map[string]any{"id": u.ID, "username": u.Name, "name": u.Name, "team_id": TeamID},
	}
}

// Look returns the modal that the person has before them, waiting for it to appear.
func (u *User) Look() *View {
	var found *View
	u.server.Await(findWithin, func() bool {
		u.server.mu.Lock()
		defer u.server.mu.Unlock()
		for _, v := range u.server.views {
			if v.user == u.ID && !v.closed && (found == nil || v.id > found.id) {
				found = v
			}
		}
		return found != nil
	})
	if found == nil {
		u.server.wrong("%s sees no modal", u.Name)
	}
	return found
}

// Says waits until the view says the text.
func (v *View) Says(text string) bool {
	ok := v.server.Await(findWithin, func() bool { seen, _ := v.View(); return strings.Contains(seen, text) })
	if !ok {
		seen, _ := v.View()
		v.server.wrong("the view does not come to say %q; it says:\n%s", text, seen)
	}
	return ok
}

// input is the block id and action id of the view's input for a parameter.
func (v *View) input(param string) (block, action string) {
	v.server.mu.Lock()
	defer v.server.mu.Unlock()
	for _, b := range v.blocks() {
		id, _ := b["block_id"].(string)
		name, _, _ := strings.Cut(id, "/")
		e, _ := b["element"].(map[string]any)
		if name == param && e != nil {
			action, _ = e["action_id"].(string)
			return id, action
		}
	}
	return "", ""
}

// Suggest types into a list of the view and returns the options that it then offers.
func (u *User) Suggest(v *View, param, typed string) (options []map[string]any, ack Ack) {
	block, action := v.input(param)
	p := u.payload("block_suggestion")
	p["action_id"], p["block_id"], p["value"] = action, block, typed
	p["container"] = map[string]any{"type": "view", "view_id": v.id}
	u.server.mu.Lock()
	p["view"] = v.wire()
	u.server.mu.Unlock()
	ack = u.server.deliver("options", p)
	var body struct {
		Options []map[string]any `json:"options"`
	}
	if err := json.Unmarshal([]byte(ack.Body), &body); err != nil || body.Options == nil {
		u.server.wrong("options are answered with %q", ack.Body)
	}
	if len(body.Options) > 100 {
		u.server.wrong("%d options, 100 are allowed", len(body.Options))
	}
	for _, o := range body.Options {
		if fault := option(o); fault != "" {
			u.server.wrong("%s", fault)
		}
	}
	return body.Options, ack
}

// Choose types into a list, and takes the first option that has the text.
func (u *User) Choose(v *View, param, typed string) Ack {
	options, _ := u.Suggest(v, param, typed)
	i := slices.IndexFunc(options, func(o map[string]any) bool { return strings.Contains(label(o), typed) })
	if i < 0 {
		u.server.wrong("%s offers nothing for %q: %v", param, typed, options)
		return Ack{}
	}
	block, action := v.input(param)
	u.server.mu.Lock()
	v.chosen[block] = options[i]
	p := map[string]any{"view": v.wire()}
	u.server.mu.Unlock()
	maps.Copy(p, u.payload("block_actions"))
	p["container"] = map[string]any{"type": "view", "view_id": v.id}
	p["actions"] = []any{map[string]any{"type": "external_select", "action_id": action, "block_id": block, "selected_option": options[i], "action_ts": strconv.FormatInt(time.Now().UnixNano(), 10)}}
	return u.server.deliver("interactions", p)
}

// Submit sends the view's form, which closes it when the app takes it.
func (u *User) Submit(v *View) Ack {
	p := u.payload("view_submission")
	u.server.mu.Lock()
	p["view"] = v.wire()
	u.server.mu.Unlock()
	ack := u.server.deliver("interactions", p)
	if ack.Status == http.StatusOK {
		u.server.mu.Lock()
		v.closed = true
		u.server.Ring()
		u.server.mu.Unlock()
	}
	return ack
}

// Shortcut takes "Roll back this release" from the message's menu.
func (u *User) Shortcut(m *Message, callback string) Ack {
	p := u.payload("message_action")
	p["callback_id"] = callback
	p["channel"] = map[string]any{"id": m.channel.ID, "name": m.channel.Name}
	p["message_ts"], p["response_url"] = m.ts, u.ResponseURL(m.channel)
	u.server.mu.Lock()
	p["message"] = m.wire()
	u.server.mu.Unlock()
	return u.server.deliver("interactions", p)
}

// Home opens the app's home page, and waits for it.
func (u *User) Home() *View {
	u.server.deliver("events", map[string]any{
		"type": "event_callback", "team_id": TeamID, "api_app_id": AppID, "event_id": "Ev" + u.trigger(),
		"event": map[string]any{"type": "app_home_opened", "user": u.ID, "tab": "home"},
	})
	var v *View
	u.server.Await(findWithin, func() bool {
		u.server.mu.Lock()
		defer u.server.mu.Unlock()
		v = u.server.homes[u.ID]
		return v != nil
	})
	if v == nil {
		u.server.wrong("%s has no home page", u.Name)
	}
	return v
}

// Press clicks a button of the person's home page.
func (u *User) Press(v *View, button string) Ack {
	for _, b := range buttons(v.Page().Blocks) {
		if label(b) != button {
			continue
		}
		p := u.payload("block_actions")
		p["container"] = map[string]any{"type": "view", "view_id": v.id}
		u.server.mu.Lock()
		p["view"] = v.wire()
		u.server.mu.Unlock()
		p["actions"] = []any{u.action(b)}
		return u.server.deliver("interactions", p)
	}
	u.server.wrong("there is no button %q on the page", button)
	return Ack{}
}

// Send delivers a payload.
func (u *User) Send(kind string, payload map[string]any) Ack { return u.server.deliver(kind, payload) }

// Deliver sends a payload as Slack does: to the app's URL, signed, or by a socket. kind is commands, interactions,
// options or events.
func (s *Server) Deliver(kind string, payload map[string]any) Ack { return s.deliver(kind, payload) }

func (s *Server) deliver(kind string, payload map[string]any) (ack Ack) {
	began := time.Now()
	s.mu.Lock()
	app := s.app
	s.mu.Unlock()
	if app == "" {
		ack = s.envelope(kind, payload)
	} else {
		ack = s.Call(kind, Encode(kind, payload), SigningSecret, time.Now())
	}
	ack.Took = time.Since(began)
	if ack.Took > ackWithin && ack.Status == http.StatusOK {
		s.wrong("%s was acknowledged after %s; people see an error", kind, ack.Took)
	}
	if kind == "commands" && ack.Body != "" {
		s.answered(payload, ack.Body)
	}
	return ack
}

// answered shows what the acknowledgement of a command says.
func (s *Server) answered(payload map[string]any, body string) {
	var m struct {
		Type   string  `json:"response_type"`
		Text   string  `json:"text"`
		Blocks []Block `json:"blocks"`
	}
	if json.Unmarshal([]byte(body), &m) != nil || m.Text == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if fault := Validate(m.Blocks); fault != "" {
		s.wrong("an acknowledgement's blocks are refused: %s", fault)
	}
	channel, _ := payload["channel_id"].(string)
	user, _ := payload["user_id"].(string)
	s.post(s.channel(channel), &Message{text: m.Text, blocks: m.Blocks, only: user})
}

// Encode is the body that Slack sends for a payload.
func Encode(kind string, payload map[string]any) []byte {
	text, _ := json.Marshal(payload)
	switch kind {
	case "commands":
		form := url.Values{}
		for key, value := range payload {
			form.Set(key, fmt.Sprint(value))
		}
		return []byte(form.Encode())
	case "events":
		return text
	}
	return []byte(url.Values{"payload": {string(text)}}.Encode())
}

// Sign returns the headers of a signed call. https://docs.slack.dev/authentication/verifying-requests-from-slack
func Sign(body []byte, secret string, at time.Time) http.Header {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "v0:%s:%s", timestamp, body)
	return http.Header{"X-Slack-Request-Timestamp": {timestamp}, "X-Slack-Signature": {"v0=" + hex.EncodeToString(mac.Sum(nil))}}
}

// Call makes a signed call of the app.
func (s *Server) Call(kind string, body []byte, secret string, at time.Time) Ack {
	return s.CallWith(kind, body, Sign(body, secret, at))
}

// CallWith makes a call of the app with the headers.
func (s *Server) CallWith(kind string, body []byte, header http.Header) Ack {
	header = header.Clone()
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	if kind == "events" {
		header.Set("Content-Type", "application/json")
	}
	status, text := bottest.Post(s.app+"/slack/"+kind, body, header, 2*ackWithin)
	return Ack{Status: status, Body: text}
}
