package discordtest

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"gimletd/bot/bottest"
)

// User is a person of the server.
type User struct {
	server   *Server
	ID, Name string
	roles    []string
	left     bool
	closed   bool // to direct messages
}

// AddUser adds a person.
func (s *Server) AddUser(name string) *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &User{server: s, ID: s.snowflake(), Name: name}
	s.users = append(s.users, u)
	return u
}

// Leave has the person leave the server.
func (u *User) Leave() {
	u.server.mu.Lock()
	defer u.server.mu.Unlock()
	u.left, u.roles = true, nil
}

// RefuseDirect has the person take no direct messages.
func (u *User) RefuseDirect() {
	u.server.mu.Lock()
	defer u.server.mu.Unlock()
	u.closed = true
}

func (u *User) wire() map[string]any {
	return map[string]any{"id": u.ID, "username": strings.ToLower(u.Name), "global_name": u.Name, "bot": false}
}

func (u *User) member() map[string]any {
	return map[string]any{"user": u.wire(), "nick": nil, "roles": append([]string{}, u.roles...), "permissions": "0"}
}

// Ack is how the app answered an interaction at once.
type Ack struct {
	Status  int // 200, or 0 when it did not in time
	Body    string
	Took    time.Duration
	Type    int
	Message *Message // that was shown, or changed
	Choices []Choice
	Asked   string // the question that was asked once more
}

// Choice is a suggestion.
type Choice struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ackWithin is how long Discord waits for the first answer.
const ackWithin = 3 * time.Second

// Kinds of interactions and of answers.
const (
	pingKind         = 1
	commandKind      = 2
	componentKind    = 3
	autocompleteKind = 4

	showMessage     = 4
	showLater       = 5
	updateLater     = 6
	updateMessage   = 7
	suggest         = 8
	interactionLife = 15 * time.Minute
)

// interaction is one in hand.
type interaction struct {
	id, token string
	user      *User
	channel   *Channel
	kind      int
	made      time.Time
	source    *Message
	original  *Message
	acked     bool
	ack       Ack
}

// Interaction is what Discord sends.
type Interaction map[string]any

// begin makes an interaction.
func (u *User) begin(c *Channel, kind int, data map[string]any, source *Message) Interaction {
	s := u.server
	s.mu.Lock()
	defer s.mu.Unlock()
	i := &interaction{id: s.snowflake(), user: u, channel: c, kind: kind, made: time.Now(), source: source}
	i.token = "token-of-" + i.id
	s.interactions[i.token] = i
	p := Interaction{
		"id": i.id, "application_id": ApplicationID, "type": kind, "token": i.token, "version": 1, "channel_id": c.ID, "locale": "en-US", "app_permissions": "0",
		"data": data, "entitlements": []any{}, "authorizing_integration_owners": map[string]any{},
	}
	if c.direct != "" {
		p["user"], p["context"] = u.wire(), 1
	} else {
		p["member"], p["guild_id"], p["context"] = u.member(), GuildID, 0
	}
	if source != nil {
		p["message"] = source.wire()
	}
	return p
}

// Slash types a registered command in a channel: `/release web staging`. Words go to the command's options in their order; the
// last option takes what is left.
func (u *User) Slash(c *Channel, line string) Ack {
	p := u.SlashInteraction(c, line)
	if p == nil {
		return Ack{}
	}
	return u.server.Deliver(p)
}

// SlashInteraction is what Discord sends for a typed command, or nil when it cannot be typed.
func (u *User) SlashInteraction(c *Channel, line string) Interaction {
	data, fault := u.server.typed(strings.Fields(line), false)
	if fault != "" {
		u.server.wrong("%q cannot be typed: %s", line, fault)
		return nil
	}
	return u.begin(c, commandKind, data, nil)
}

// Give types a command with options by name: Discord lets people leave out what they like.
func (u *User) Give(c *Channel, command string, values map[string]string) Ack {
	data, _ := u.server.typed(strings.Fields(command), true)
	for _, name := range slices.Sorted(mapKeys(values)) {
		options, _ := data["options"].([]any)
		data["options"] = append(options, map[string]any{"name": name, "type": stringOption, "value": values[name]})
	}
	return u.server.Deliver(u.begin(c, commandKind, data, nil))
}

// Suggest types a command whose last word is not finished; "" when it was not begun.
func (u *User) Suggest(c *Channel, words ...string) Ack {
	data, fault := u.server.typed(words, true)
	if fault != "" {
		u.server.wrong("%q cannot be typed: %s", words, fault)
		return Ack{}
	}
	return u.server.Deliver(u.begin(c, autocompleteKind, data, nil))
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// Typeable returns why a line cannot be typed, or "".
func (s *Server) Typeable(line string) string {
	_, fault := s.typed(strings.Fields(line), false)
	return fault
}

// typed finds the command and gives its options the words.
func (s *Server) typed(words []string, unfinished bool) (map[string]any, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	find := func(all []command, name string) *command {
		if i := slices.IndexFunc(all, func(c command) bool { return c.Name == name }); i >= 0 {
			return &all[i]
		}
		return nil
	}
	c := find(s.commands, strings.TrimPrefix(words[0], "/"))
	if c == nil {
		return nil, "there is no such command"
	}
	data := map[string]any{"id": c.ID, "name": c.Name, "type": 1}
	into := data
	words = words[1:]
	for len(c.Options) > 0 && c.Options[0].Type != stringOption {
		if len(words) == 0 {
			return nil, "the rest of the command is missing"
		}
		sub := find(c.Options, words[0])
		for _, group := range c.Options { // people find it by its name, wherever it is
			if sub == nil && group.Type == subCommandGroup && find(group.Options, words[0]) != nil {
				sub, words = &group, append([]string{group.Name}, words...)
			}
		}
		if sub == nil {
			return nil, "there is no command " + words[0]
		}
		next := map[string]any{"name": sub.Name, "type": sub.Type}
		into["options"] = []any{next}
		into, c, words = next, sub, words[1:]
	}
	options := []any{}
	for i, o := range c.Options {
		if i == len(words) {
			if o.Required && !unfinished {
				return nil, o.Name + " is required"
			}
			break
		}
		value := words[i]
		if i == len(c.Options)-1 {
			value = strings.Join(words[i:], " ")
		}
		one := map[string]any{"name": o.Name, "type": stringOption, "value": value}
		if unfinished && i == len(words)-1 {
			if !o.Autocomplete {
				return nil, o.Name + " has no suggestions"
			}
			one["focused"] = true
		}
		options = append(options, one)
	}
	if len(c.Options) == 0 && len(words) > 0 {
		return nil, "it takes no words"
	}
	into["options"] = options
	return data, ""
}

// Press presses a button that the message has now. A button that is not there cannot be pressed.
func (u *User) Press(m *Message, button string) Ack {
	p := u.PressInteraction(m, button)
	if p == nil {
		return Ack{}
	}
	return u.server.Deliver(p)
}

// PressInteraction is what Discord sends for a press.
func (u *User) PressInteraction(m *Message, button string) Interaction {
	now := m.Now()
	for _, b := range buttons(now.Components) {
		if b.Label == button {
			return u.begin(m.channel, componentKind, map[string]any{"custom_id": b.CustomID, "component_type": buttonType}, m)
		}
	}
	u.server.wrong("there is no button %q on: %s", button, now.Seen())
	return nil
}

// Late is a press of a button as it is now, at a later time.
func (u *User) Late(m *Message, button string) func() Ack {
	p := u.PressInteraction(m, button)
	return func() Ack {
		data, _ := p["data"].(map[string]any)
		late := u.begin(m.channel, componentKind, data, m)
		late["message"] = p["message"]
		return u.sure(u.server.Deliver(late))
	}
}

// Yes answers a question that nobody has asked, with the id of its button.
func (u *User) Yes(m *Message, id string) Ack {
	s := u.server
	s.mu.Lock()
	question := s.post(m.channel, &Message{only: u.ID, Payload: Payload{Content: "?"}})
	s.mu.Unlock()
	return s.Deliver(u.begin(m.channel, componentKind, map[string]any{"custom_id": id, "component_type": buttonType}, question))
}

// Click presses a button, and says yes when that is asked once more.
func (u *User) Click(m *Message, button string) Ack {
	return u.sure(u.Press(m, button))
}

func (u *User) sure(a Ack) Ack {
	if a.Type != showMessage || a.Message == nil || !slices.Contains(a.Message.Now().Buttons(), "Yes") {
		return a
	}
	question := a.Message.Now().Seen()
	a = u.Press(a.Message, "Yes")
	a.Asked = question
	return a
}

// Deliver sends an interaction as Discord does: to the app's URL, signed, or by the gateway, and takes the first answer.
func (s *Server) Deliver(p Interaction) Ack {
	token, _ := p["token"].(string)
	s.mu.Lock()
	i, app := s.interactions[token], s.app
	s.mu.Unlock()
	if app == "" {
		s.dispatch("INTERACTION_CREATE", p)
		s.Await(time.Until(i.made.Add(ackWithin)), func() bool { s.mu.Lock(); defer s.mu.Unlock(); return i.acked })
		s.mu.Lock()
		defer s.mu.Unlock()
		return i.ack
	}
	body, err := json.Marshal(p)
	if err != nil {
		s.wrong("%v", err)
	}
	began := time.Now()
	a := s.CallWith(body, s.Sign(body, time.Now()))
	if a.Status != http.StatusOK {
		return a
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refused := s.respond(i, []byte(a.Body)); refused != nil {
		s.wrong("the answer %s is refused: %s", a.Body, refused.text)
	}
	i.ack.Took, i.ack.Body = time.Since(began), a.Body
	return i.ack
}

// Sign returns the headers of a signed call.
func (s *Server) Sign(body []byte, at time.Time) http.Header {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signature := ed25519.Sign(s.private, append([]byte(timestamp), body...))
	return http.Header{"X-Signature-Ed25519": {hex.EncodeToString(signature)}, "X-Signature-Timestamp": {timestamp}}
}

// CallWith makes a call of the app with the headers.
func (s *Server) CallWith(body []byte, header http.Header) Ack {
	header = header.Clone()
	header.Set("Content-Type", "application/json")
	status, text := bottest.Post(s.app+"/discord/interactions", body, header, 2*ackWithin)
	return Ack{Status: status, Body: text}
}

// Forget makes the tokens of all interactions invalid.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.interactions)
}

// Again delivers an interaction that was delivered before, and waits for no answer.
func (s *Server) Again(p Interaction) {
	s.mu.Lock()
	app := s.app
	s.mu.Unlock()
	if app == "" {
		s.dispatch("INTERACTION_CREATE", p)
		return
	}
	body, err := json.Marshal(p)
	if err != nil {
		s.wrong("%v", err)
	}
	s.CallWith(body, s.Sign(body, time.Now().Add(time.Second)))
}

// Begin delivers an interaction; what it returns waits for the answer.
func (s *Server) Begin(p Interaction) func() Ack {
	got := make(chan Ack, 1)
	go func() { got <- s.Deliver(p) }()
	return func() Ack { return <-got }
}
