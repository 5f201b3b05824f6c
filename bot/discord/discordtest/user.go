package discordtest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
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
	req, err := http.NewRequest(http.MethodPost, s.app+"/discord/interactions", bytes.NewReader(body)) //nolint:noctx // the client has a time-out
	if err != nil {
		s.wrong("%v", err)
		return Ack{}
	}
	req.Header = header.Clone()
	req.Header.Set("Content-Type", "application/json")
	res, err := (&http.Client{Timeout: 2 * ackWithin}).Do(req)
	if err != nil {
		return Ack{Body: err.Error()}
	}
	defer func() { _ = res.Body.Close() }()
	text, _ := io.ReadAll(res.Body)
	return Ack{Status: res.StatusCode, Body: string(text)}
}

// callback takes the first answer to an interaction that came by the gateway.
func (s *Server) callback(r *http.Request, body []byte) (any, *problem) {
	i := s.interactions[r.PathValue("token")]
	if i == nil || i.id != r.PathValue("id") {
		return nil, unknown(10062, "interaction")
	}
	return nil, s.respond(i, body)
}

// respond does what the first answer says. The lock is held.
func (s *Server) respond(i *interaction, body []byte) *problem {
	var a struct {
		Type int             `json:"type"`
		Data json.RawMessage `json:"data"`
	}
	took := time.Since(i.made)
	switch {
	case i.acked:
		return &problem{http.StatusBadRequest, 40060, "Interaction has already been acknowledged."}
	case took > ackWithin:
		return unknown(10062, "interaction")
	case json.Unmarshal(body, &a) != nil:
		return invalid("the answer cannot be read")
	}
	ack := Ack{Status: http.StatusOK, Type: a.Type, Took: took}
	fits := map[int][]int{commandKind: {showMessage, showLater}, componentKind: {showMessage, showLater, updateLater, updateMessage}, autocompleteKind: {suggest}}
	if !slices.Contains(fits[i.kind], a.Type) {
		return invalid(fmt.Sprintf("an answer of type %d to an interaction of type %d", a.Type, i.kind))
	}
	var refused *problem
	switch a.Type {
	case showMessage:
		var p Payload
		if p, refused = s.payload(a.Data); refused == nil {
			ack.Message = s.alone(i, p, false)
		}
	case showLater:
		var p Payload
		_ = json.Unmarshal(a.Data, &p)
		ack.Message = s.alone(i, p, true)
	case updateLater:
		i.original = i.source
	case updateMessage:
		var p Payload
		if p, refused = s.payload(a.Data); refused == nil {
			if i.source.only == "" {
				s.wrong("a click changes what everybody sees before it is done")
			}
			i.source.Payload, i.original, ack.Message = p, i.source, i.source
		}
	case suggest:
		ack.Choices, refused = s.choices(a.Data)
	}
	if refused != nil {
		return refused
	}
	if ack.Message != nil {
		i.original = ack.Message
	}
	i.acked, i.ack = true, ack
	s.touch()
	return nil
}

// alone shows a message to the person of the interaction. The lock is held.
func (s *Server) alone(i *interaction, p Payload, loading bool) *Message {
	if p.Flags != ephemeral {
		s.wrong("an answer that everybody would see: %s", p.Content)
	}
	return s.post(i.channel, &Message{Payload: p, only: i.user.ID, loading: loading})
}

func (s *Server) choices(data []byte) ([]Choice, *problem) {
	var d struct {
		Choices *[]Choice `json:"choices"`
	}
	if json.Unmarshal(data, &d) != nil || d.Choices == nil || len(*d.Choices) > 25 {
		s.wrong("suggestions are refused: %s", data)
		return nil, invalid("choices")
	}
	for _, c := range *d.Choices {
		if n := utf8.RuneCountInString(c.Name); n == 0 || n > 100 || c.Value == "" || utf8.RuneCountInString(c.Value) > 100 {
			s.wrong("a suggestion is refused: %q %q", c.Name, c.Value)
			return nil, invalid("choice")
		}
	}
	return *d.Choices, nil
}

// answered finds the interaction of a token that was answered and still is good. The lock is held.
func (s *Server) answered(r *http.Request) (*interaction, *problem) {
	i := s.interactions[r.PathValue("token")]
	switch {
	case r.PathValue("app") != ApplicationID, i == nil, !i.acked:
		return nil, unknown(10015, "Webhook")
	case time.Since(i.made) > interactionLife:
		return nil, &problem{http.StatusUnauthorized, 50027, "Invalid Webhook Token"}
	}
	return i, nil
}

func (s *Server) editOriginal(r *http.Request, body []byte) (any, *problem) {
	i, refused := s.answered(r)
	if refused != nil {
		return nil, refused
	}
	if i.original == nil || i.original.deleted {
		return nil, unknown(10008, "Message")
	}
	p, refused := s.payload(body)
	if refused != nil {
		return nil, refused
	}
	if i.original.only == "" {
		s.wrong("an answer for one person changes what everybody sees")
	}
	i.original.Payload, i.original.loading = p, false
	s.settle(i.original)
	s.touch()
	return i.original.wire(), nil
}

func (s *Server) deleteOriginal(r *http.Request, _ []byte) (any, *problem) {
	i, refused := s.answered(r)
	if refused != nil {
		return nil, refused
	}
	if i.original == nil || i.original.deleted {
		return nil, unknown(10008, "Message")
	}
	if i.original.only == "" {
		s.wrong("an answer for one person deletes what everybody sees")
	}
	i.original.deleted = true
	s.touch()
	return nil, nil
}

func (s *Server) followUp(r *http.Request, body []byte) (any, *problem) {
	i, refused := s.answered(r)
	if refused != nil {
		return nil, refused
	}
	p, refused := s.payload(body)
	if refused != nil {
		return nil, refused
	}
	return s.alone(i, p, false).wire(), nil
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
