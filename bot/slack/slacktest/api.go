package slacktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// method is what Slack says of one: the scope that it needs, and how often it may be called.
type method struct {
	scope     string
	perMinute int // of the workspace; 0 for a limit of another kind
	answer    func(s *Server, c call) (map[string]any, string)
}

// Tiers. https://docs.slack.dev/apis/web-api/rate-limits
const (
	tier2 = 20
	tier3 = 50
	tier4 = 100
)

var methods map[string]method

func init() {
	methods = map[string]method{
		"auth.test": {"", 0, (*Server).authTest},
		"bots.info": {"users:read", tier3, func(*Server, call) (map[string]any, string) {
			return map[string]any{"bot": map[string]any{"id": BotID, "app_id": AppID}}, ""
		}},
		"apps.connections.open":        {"", 0, (*Server).openConnection},
		"chat.postMessage":             {"chat:write", 0, (*Server).postMessage},
		"chat.update":                  {"chat:write", tier3, (*Server).updateMessage},
		"chat.postEphemeral":           {"chat:write", tier4, (*Server).postEphemeral},
		"conversations.list":           {"channels:read", tier2, (*Server).listChannels},
		"conversations.info":           {"channels:read", tier3, (*Server).channelInfo},
		"conversations.history":        {"channels:history", tier3, (*Server).readHistory},
		"conversations.replies":        {"channels:history", tier3, (*Server).readHistory},
		"users.info":                   {"users:read", tier4, (*Server).userInfo},
		"usergroups.list":              {"usergroups:read", tier2, (*Server).listGroups},
		"usergroups.users.list":        {"usergroups:read", tier2, (*Server).listMembers},
		"views.open":                   {"", tier4, (*Server).openView},
		"views.update":                 {"", tier4, (*Server).updateView},
		"views.publish":                {"", tier4, (*Server).publishView},
		"files.getUploadURLExternal":   {"files:write", tier4, (*Server).beginUpload},
		"files.completeUploadExternal": {"files:write", tier4, (*Server).finishUpload},
	}
}

// call is a call's arguments, whichever way they came.
type call struct{ args map[string]any }

func (c call) text(name string) string {
	switch v := c.args[name].(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		text, _ := json.Marshal(v)
		return string(text)
	}
}

// api answers a call of the Web API.
func (s *Server) api(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("method")
	m, known := methods[name]
	if !known {
		s.wrong("the method %s is not known here", name)
		answer(w, nil, "unknown_method")
		return
	}
	c, token, err := readCall(r)
	if err != nil {
		answer(w, nil, "invalid_form_data")
		return
	}
	fault := s.nextFault(name)
	time.Sleep(fault.Wait)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := Call{Method: name, Channel: c.text("channel"), At: time.Now()}
	defer func() { s.calls = append(s.calls, at); s.Ring() }()
	w.Header().Set("X-OAuth-Scopes", strings.Join(s.scopes, ","))
	if at.Refused = s.refuse(name, m, c, token); at.Refused == "" {
		at.Refused = fault.Error
	}
	switch {
	case at.Refused == "429" || fault.RetryAfter > 0:
		at.Refused = "429"
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(fault.RetryAfter/time.Second))))
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case fault.Status != 0:
		at.Refused = strconv.Itoa(fault.Status)
		w.WriteHeader(fault.Status)
		return
	case at.Refused == "missing_scope":
		answer(w, map[string]any{"needed": m.scope, "provided": strings.Join(s.scopes, ",")}, at.Refused)
		return
	case at.Refused != "":
		answer(w, nil, at.Refused)
		return
	}
	body, code := m.answer(s, c)
	at.Refused = code
	if fault.Drop {
		panic(http.ErrAbortHandler)
	}
	answer(w, body, code)
}

func answer(w http.ResponseWriter, body map[string]any, code string) {
	all := map[string]any{"ok": code == ""}
	if code != "" {
		all["error"] = code
	}
	maps.Copy(all, body)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(all)
}

func readCall(r *http.Request) (c call, token string, err error) {
	c.args = map[string]any{}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		if err = json.NewDecoder(r.Body).Decode(&c.args); errors.Is(err, io.EOF) {
			err = nil
		}
	} else {
		if r.Body != nil && r.Body != http.NoBody {
			err = r.ParseForm()
		}
		for name := range r.Form {
			c.args[name] = r.Form.Get(name)
		}
	}
	token = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token == "" {
		token = c.text("token")
	}
	return c, token, err
}

func (s *Server) nextFault(name string) (f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if queue := s.faults[name]; len(queue) > 0 {
		f, s.faults[name] = queue[0], queue[1:]
	}
	return f
}

// refuse is the error of a call that Slack would not look at: token, scope, rate.
func (s *Server) refuse(name string, m method, c call, token string) string {
	want := BotToken
	if name == "apps.connections.open" {
		want = AppToken
	}
	switch {
	case token != want:
		return "invalid_auth"
	case s.revoked:
		return "token_revoked"
	case m.scope != "" && !slices.Contains(s.scopes, m.scope):
		return "missing_scope"
	case m.perMinute > 0 && s.tooMany(name, m.perMinute, time.Minute):
		return "429"
	}
	channel := c.text("channel")
	const perChannel = 980 * time.Millisecond // a second, with some tolerance for the way
	if name == "chat.postMessage" && s.tooMany(name+" "+channel, 1, perChannel) {
		return "429"
	}
	return ""
}

// tooMany counts a call, and reports whether there were too many in the time before.
func (s *Server) tooMany(name string, most int, in time.Duration) bool {
	now := time.Now()
	recent := slices.DeleteFunc(s.rates[name], func(t time.Time) bool { return now.Sub(t) >= in })
	if len(recent) >= most {
		s.rates[name] = recent
		return true
	}
	s.rates[name] = append(recent, now)
	return false
}

func (s *Server) authTest(call) (map[string]any, string) {
	return map[string]any{"url": "https://test.slack.com/", "team": "Test", "user": "gimletd", "team_id": TeamID, "user_id": BotUserID, "bot_id": BotID}, ""
}

// place finds the channel of a post, if the bot may post there.
func (s *Server) place(c call) (*Channel, string) {
	channel := s.channel(c.text("channel"))
	switch {
	case channel == nil:
		return nil, "channel_not_found"
	case channel.archived:
		return nil, "is_archived"
	case !slices.Contains(channel.members, BotUserID):
		return nil, "not_in_channel"
	}
	return channel, ""
}

// content reads and checks a message's text and blocks.
func (s *Server) content(c call) (text string, blocks []Block, code string) {
	text = c.text("text")
	blocks, err := decodeBlocks(c.text("blocks"))
	if err != nil {
		s.wrong("blocks cannot be read: %v", err)
		return "", nil, "invalid_blocks_format"
	}
	if fault := Validate(blocks); fault != "" {
		s.wrong("blocks are refused: %s", fault)
		return "", nil, "invalid_blocks"
	}
	const maxText = 4000 // more is allowed, and not advised
	switch {
	case text == "":
		s.wrong("a message has no text for notifications and screen readers")
		return "", nil, "no_text"
	case len([]rune(text)) > maxText:
		s.wrong("a text of %d characters", len([]rune(text)))
		return "", nil, "msg_too_long"
	case pages(text):
		s.wrong("a text pages a whole channel: %s", text)
	}
	return text, blocks, ""
}

// placed is the channel and the checked content of a message.
func (s *Server) placed(c call) (channel *Channel, text string, blocks []Block, code string) {
	if channel, code = s.place(c); code != "" {
		return nil, "", nil, code
	}
	text, blocks, code = s.content(c)
	return channel, text, blocks, code
}

func (s *Server) postMessage(c call) (map[string]any, string) {
	channel, text, blocks, code := s.placed(c)
	if code != "" {
		return nil, code
	}
	m := &Message{text: text, blocks: blocks, thread: c.text("thread_ts"), broadcast: c.text("reply_broadcast") == "true"}
	if metadata := c.text("metadata"); metadata != "" {
		if json.Unmarshal([]byte(metadata), &m.metadata) != nil {
			return nil, "invalid_metadata_format"
		}
	}
	if m.thread != "" && !slices.ContainsFunc(channel.messages, func(p *Message) bool { return p.ts == m.thread && !p.deleted }) {
		return nil, "thread_not_found"
	}
	s.post(channel, m)
	return map[string]any{"channel": channel.ID, "ts": m.ts, "message": m.wire()}, ""
}

func (s *Server) updateMessage(c call) (map[string]any, string) {
	channel, text, blocks, code := s.placed(c)
	if code != "" {
		return nil, code
	}
	i := slices.IndexFunc(channel.messages, func(m *Message) bool { return m.ts == c.text("ts") && !m.deleted && m.only == "" })
	if i < 0 {
		return nil, "message_not_found"
	}
	m := channel.messages[i]
	m.history = append(m.history, m.snapshot().Seen())
	m.text, m.blocks = text, blocks
	m.edits++
	s.number(m.blocks)
	s.Ring()
	return map[string]any{"channel": channel.ID, "ts": m.ts, "text": text}, ""
}

func (s *Server) postEphemeral(c call) (map[string]any, string) {
	channel, text, blocks, code := s.placed(c)
	if code != "" {
		return nil, code
	}
	if !slices.ContainsFunc(s.users, func(u *User) bool { return u.ID == c.text("user") }) {
		return nil, "user_not_in_channel"
	}
	m := s.post(channel, &Message{text: text, blocks: blocks, only: c.text("user")})
	return map[string]any{"message_ts": m.ts}, ""
}

func (c *Channel) wire() map[string]any {
	return map[string]any{
		"id": c.ID, "name": c.Name, "is_channel": !c.Private, "is_private": c.Private, "is_archived": c.archived,
		"is_member": slices.Contains(c.members, BotUserID),
	}
}

// listChannels pages by two, so that whoever reads one page only is found out.
func (s *Server) listChannels(c call) (map[string]any, string) {
	const page = 2
	begin, _ := strconv.Atoi(c.text("cursor"))
	all := slices.DeleteFunc(slices.Clone(s.channels), func(ch *Channel) bool { return strings.HasPrefix(ch.ID, "D") || ch.archived })
	found := []map[string]any{}
	for _, ch := range all[min(begin, len(all)):min(begin+page, len(all))] {
		found = append(found, ch.wire())
	}
	next := ""
	if begin+page < len(all) {
		next = strconv.Itoa(begin + page)
	}
	return map[string]any{"channels": found, "response_metadata": map[string]any{"next_cursor": next}}, ""
}

func (s *Server) channelInfo(c call) (map[string]any, string) {
	channel := s.channel(c.text("channel"))
	if channel == nil {
		return nil, "channel_not_found"
	}
	return map[string]any{"channel": channel.wire()}, ""
}

func (s *Server) readHistory(c call) (map[string]any, string) {
	channel := s.channel(c.text("channel"))
	if channel == nil {
		return nil, "channel_not_found"
	}
	thread := c.text("ts")
	found := []map[string]any{}
	for _, m := range slices.Backward(channel.messages) {
		if m.only == "" && !m.deleted && m.ts >= c.text("oldest") && (thread == "" && m.thread == "" || thread != "" && (m.thread == thread || m.ts == thread)) {
			w := m.wire()
			if all := c.text("include_all_metadata"); (all != "true" && all != "1") || !slices.Contains(s.scopes, metadataScope) {
				delete(w, "metadata")
			}
			found = append(found, w)
		}
	}
	return map[string]any{"messages": found, "has_more": false}, ""
}

func (s *Server) userInfo(c call) (map[string]any, string) {
	for _, u := range s.users {
		if u.ID == c.text("user") {
			profile := map[string]any{"real_name": u.Name, "display_name": u.Name}
			if slices.Contains(s.scopes, "users:read.email") {
				profile["email"] = u.Email
			}
			return map[string]any{"user": map[string]any{"id": u.ID, "team_id": TeamID, "name": u.Name, "profile": profile}}, ""
		}
	}
	return nil, "user_not_found"
}

func (s *Server) listGroups(call) (map[string]any, string) {
	found := []map[string]any{}
	for _, g := range s.groups {
		found = append(found, map[string]any{"id": g.id, "handle": g.handle, "name": g.handle})
	}
	return map[string]any{"usergroups": found}, ""
}

func (s *Server) listMembers(c call) (map[string]any, string) {
	for _, g := range s.groups {
		if g.id == c.text("usergroup") {
			return map[string]any{"users": append([]string{}, g.members...)}, ""
		}
	}
	return nil, "no_such_subteam"
}

func (s *Server) beginUpload(c call) (map[string]any, string) {
	length, err := strconv.Atoi(c.text("length"))
	if err != nil || length <= 0 || c.text("filename") == "" {
		return nil, "invalid_arguments"
	}
	u := &upload{id: fmt.Sprintf("F%04d", s.next()), name: c.text("filename")}
	s.uploads[u.id] = u
	return map[string]any{"upload_url": strings.TrimSuffix(s.url, "api/") + "upload/" + u.id, "file_id": u.id}, ""
}

func (s *Server) takeUpload(w http.ResponseWriter, r *http.Request) {
	reader := io.Reader(r.Body)
	if parts, err := r.MultipartReader(); err == nil {
		part, err := parts.NextPart()
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		reader = part
	}
	content, err := io.ReadAll(reader)
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[r.PathValue("id")]
	if u == nil || err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	u.content = string(content)
}

func (s *Server) finishUpload(c call) (map[string]any, string) {
	args := c.args
	if name := c.text("channel_id"); name != "" {
		args["channel"] = name
	}
	channel, code := s.place(c)
	if code != "" {
		return nil, code
	}
	var list []struct{ ID, Title string }
	if json.Unmarshal([]byte(c.text("files")), &list) != nil || len(list) == 0 {
		return nil, "invalid_arguments"
	}
	m := &Message{text: c.text("initial_comment"), thread: c.text("thread_ts")}
	if pages(m.text) {
		s.wrong("a file's comment pages a whole channel: %s", m.text)
	}
	files := []map[string]any{}
	for _, f := range list {
		u := s.uploads[f.ID]
		if u == nil || u.content == "" {
			return nil, "file_not_found"
		}
		m.files = append(m.files, u)
		files = append(files, map[string]any{"id": u.id, "title": f.Title})
	}
	s.post(channel, m)
	return map[string]any{"files": files}, ""
}
