package discordtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// problem is an error as Discord answers it.
type problem struct {
	status, code int
	text         string
}

func (p *problem) Error() string { return p.text }

// Problems. https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
func unknown(code int, what string) *problem {
	return &problem{http.StatusNotFound, code, "Unknown " + what}
}

func forbidden(code int, text string) *problem { return &problem{http.StatusForbidden, code, text} }

func invalid(text string) *problem { return &problem{http.StatusBadRequest, 50035, text} }

// handler answers a call. The lock is held.
type handler func(r *http.Request, body []byte) (any, *problem)

// routes are the calls that there are, each with a name for Fail and Calls, and how many it takes in five seconds, for a channel.
func (s *Server) routes() {
	add := func(name, pattern string, per5s int, do handler) {
		method, path, _ := strings.Cut(pattern, " ")
		for _, version := range []string{"v9", "v10"} {
			s.mux.HandleFunc(method+" /api/"+version+"/"+path, s.route(name, per5s, do))
		}
	}
	add("me", "GET users/@me", 0, func(*http.Request, []byte) (any, *problem) {
		return map[string]any{"id": BotUserID, "username": "GimletD", "bot": true}, nil
	})
	add("application", "GET applications/@me", 0, func(*http.Request, []byte) (any, *problem) {
		return map[string]any{"id": ApplicationID, "name": "GimletD", "flags": 0, "interactions_endpoint_url": s.endpoint, "verify_key": s.PublicKey()}, nil
	})
	add("commands.set", "PUT applications/{app}/guilds/{guild}/commands", 0, s.setCommands)
	add("commands.get", "GET applications/{app}/guilds/{guild}/commands", 0, func(*http.Request, []byte) (any, *problem) { return s.commands, nil })
	add("guild", "GET guilds/{guild}", 0, s.getGuild)
	add("roles", "GET guilds/{guild}/roles", 0, func(*http.Request, []byte) (any, *problem) { return s.wireRoles(), nil })
	add("members", "GET guilds/{guild}/members", 0, s.getMembers)
	add("member", "GET guilds/{guild}/members/{user}", 0, s.getMember)
	add("channel", "GET channels/{channel}", 0, s.getChannel)
	add("channel.edit", "PATCH channels/{channel}", 0, s.editChannel)
	add("messages.list", "GET channels/{channel}/messages", 0, s.listMessages)
	add("messages.create", "POST channels/{channel}/messages", 5, s.createMessage)
	add("messages.edit", "PATCH channels/{channel}/messages/{message}", 5, s.editMessage)
	add("threads.create", "POST channels/{channel}/messages/{message}/threads", 50, s.createThread)
	add("direct", "POST users/@me/channels", 0, s.openDirect)
	add("callback", "POST interactions/{id}/{token}/callback", 0, s.callback)
	add("original.edit", "PATCH webhooks/{app}/{token}/messages/@original", 0, s.editOriginal)
	add("original.delete", "DELETE webhooks/{app}/{token}/messages/@original", 0, s.deleteOriginal)
	add("followup", "POST webhooks/{app}/{token}", 0, s.followUp)
	add("gateway", "GET gateway", 0, s.getGateway)
	add("gateway", "GET gateway/bot", 0, s.getGateway)
	s.mux.HandleFunc("GET /gateway/", s.connect)
}

// route wraps a handler with what all calls meet: the token, limits and faults.
func (s *Server) route(name string, per5s int, do handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(w, r)
		s.mu.Lock()
		defer s.mu.Unlock()
		call := Call{Name: name, Channel: r.PathValue("channel"), At: time.Now()}
		defer func() { s.calls = append(s.calls, call); s.Ring() }()
		fail := func(p *problem) {
			call.Refused = strconv.Itoa(p.code)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(p.status)
			_ = json.NewEncoder(w).Encode(map[string]any{"code": p.code, "message": p.text})
		}
		tokened := r.PathValue("token") != ""
		switch {
		case err != nil:
			fail(invalid(err.Error()))
			return
		case !tokened && (r.Header.Get("Authorization") != "Bot "+BotToken || s.revoked):
			fail(&problem{http.StatusUnauthorized, 0, "401: Unauthorized"})
			return
		case tokened && r.Header.Get("Authorization") != "":
			s.wrong("the bot token is sent to %s", r.URL.Path)
		case !strings.HasPrefix(r.UserAgent(), "DiscordBot"):
			s.wrong("%s: user agent %q", name, r.UserAgent())
		}
		var fault Fault
		if queue := s.faults[name]; len(queue) > 0 {
			fault, s.faults[name] = queue[0], queue[1:]
		}
		switch {
		case fault.RetryAfter > 0:
			call.Refused = "429"
			tooMany(w, fault.RetryAfter, fault.Global)
			return
		case fault.Status > 0:
			fail(&problem{fault.Status, fault.Code, http.StatusText(fault.Status)})
			return
		}
		if wait := s.limit(w, name+" "+call.Channel, per5s); wait > 0 {
			call.Refused = "429"
			tooMany(w, wait, false)
			return
		}
		answer, refused := do(r, body)
		switch {
		case fault.Drop:
			call.Refused = "dropped"
			panic(http.ErrAbortHandler)
		case refused != nil:
			fail(refused)
		case answer == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(answer)
		}
	}
}

// readBody reads JSON, or a form's payload_json with its file.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	const most = 12 << 20
	r.Body = http.MaxBytesReader(w, r.Body, most)
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		return io.ReadAll(r.Body)
	}
	if err := r.ParseMultipartForm(most); err != nil { //nolint:gosec // it is bounded above
		return nil, err
	}
	return []byte(r.FormValue("payload_json")), nil
}

func tooMany(w http.ResponseWriter, after time.Duration, global bool) {
	w.Header().Set("Retry-After", strconv.Itoa(int(after.Seconds())+1))
	w.Header().Set("X-RateLimit-Scope", "user")
	if global {
		w.Header().Set("X-RateLimit-Global", "true")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusTooManyRequests)
	_ = json.NewEncoder(w).Encode(map[string]any{"message": "You are being rate limited.", "retry_after": after.Seconds(), "global": global})
}

// limit counts a call, and tells in its headers what is left. The lock is held.
func (s *Server) limit(w http.ResponseWriter, route string, most int) time.Duration {
	const span = 5 * time.Second
	if most == 0 {
		return 0
	}
	now := time.Now()
	recent := slices.DeleteFunc(s.rates[route], func(at time.Time) bool { return now.Sub(at) >= span })
	wait := time.Duration(0)
	if len(recent) >= most {
		wait = recent[0].Add(span).Sub(now)
	} else {
		recent = append(recent, now)
	}
	s.rates[route] = recent
	w.Header().Set("X-RateLimit-Limit", strconv.Itoa(most))
	w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(most-len(recent)))
	w.Header().Set("X-RateLimit-Reset-After", fmt.Sprintf("%.3f", recent[0].Add(span).Sub(now).Seconds()))
	w.Header().Set("X-RateLimit-Bucket", fmt.Sprintf("%x", len(route)))
	return wait
}

func (s *Server) setCommands(r *http.Request, body []byte) (any, *problem) {
	var all []command
	if r.PathValue("app") != ApplicationID || r.PathValue("guild") != GuildID {
		return nil, forbidden(50001, "Missing Access")
	}
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, invalid(err.Error())
	}
	if fault := validateCommands(all); fault != "" {
		s.wrong("commands are refused: %s", fault)
		return nil, invalid(fault)
	}
	for i := range all {
		all[i].ID = s.snowflake()
	}
	s.commands = all
	return all, nil
}

func (s *Server) getGuild(r *http.Request, _ []byte) (any, *problem) {
	if r.PathValue("guild") != GuildID {
		return nil, unknown(10004, "Guild")
	}
	return map[string]any{"id": GuildID, "name": "Test", "owner_id": "1", "roles": s.wireRoles(), "emojis": []any{}, "features": []any{}}, nil
}

func (s *Server) wireRoles() (all []map[string]any) {
	for _, r := range s.roles {
		permissions := "0"
		if r.ID == GuildID {
			permissions = strconv.FormatInt(1<<53-1, 10)
		}
		all = append(all, map[string]any{"id": r.ID, "name": r.Name, "permissions": permissions, "mentionable": false})
	}
	return all
}

func (s *Server) getMembers(r *http.Request, _ []byte) (any, *problem) {
	if !s.listing {
		return nil, forbidden(50001, "Missing Access")
	}
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	if limit < 1 || limit > 1000 {
		return nil, invalid("limit")
	}
	all := []any{}
	users := slices.Clone(s.users)
	slices.SortFunc(users, func(a, b *User) int { return strings.Compare(a.ID, b.ID) })
	for _, u := range users {
		if u.ID > r.URL.Query().Get("after") && !u.left && len(all) < limit {
			all = append(all, u.member())
		}
	}
	return all, nil
}

func (s *Server) getMember(r *http.Request, _ []byte) (any, *problem) {
	if r.PathValue("user") == BotUserID {
		return map[string]any{"user": map[string]any{"id": BotUserID, "username": "GimletD", "bot": true}, "roles": []string{}}, nil
	}
	u := s.user(r.PathValue("user"))
	switch {
	case u == nil:
		return nil, unknown(10013, "User")
	case u.left:
		return nil, unknown(10007, "Member")
	}
	return u.member(), nil
}

// visible finds a channel that the bot may use.
func (s *Server) visible(r *http.Request) (*Channel, *problem) {
	c := s.channel(r.PathValue("channel"))
	switch {
	case c == nil, c.deleted, c.parent != nil && c.parent.deleted:
		return nil, unknown(10003, "Channel")
	case c.out, c.parent != nil && c.parent.out:
		return nil, forbidden(50001, "Missing Access")
	}
	return c, nil
}

func (s *Server) getChannel(r *http.Request, _ []byte) (any, *problem) {
	c, refused := s.visible(r)
	if refused != nil {
		return nil, refused
	}
	return map[string]any{"id": c.ID, "name": c.Name, "guild_id": GuildID, "type": 0, "permission_overwrites": []any{}}, nil
}

func (s *Server) editChannel(r *http.Request, body []byte) (any, *problem) {
	c, refused := s.visible(r)
	if refused != nil {
		return nil, refused
	}
	var change struct {
		Archived *bool `json:"archived"`
	}
	if json.Unmarshal(body, &change) != nil || change.Archived == nil || c.parent == nil {
		return nil, invalid("archived")
	}
	c.archived = *change.Archived
	return map[string]any{"id": c.ID}, nil
}

func (s *Server) listMessages(r *http.Request, _ []byte) (any, *problem) {
	c, refused := s.visible(r)
	if refused != nil {
		return nil, refused
	}
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	if limit < 1 || limit > 100 {
		return nil, invalid("limit")
	}
	all := []any{}
	for _, m := range slices.Backward(c.messages) {
		if m.only == "" && !m.deleted && len(all) < limit && older(r.URL.Query().Get("after"), m.id) {
			all = append(all, m.wire())
		}
	}
	return all, nil
}

func older(a, b string) bool {
	x, _ := strconv.ParseUint(a, 10, 64)
	y, _ := strconv.ParseUint(b, 10, 64)
	return x < y
}

// payload reads a message, and refuses one that is over a limit.
func (s *Server) payload(body []byte) (p Payload, refused *problem) {
	if err := json.Unmarshal(body, &p); err != nil {
		return p, invalid(err.Error())
	}
	if fault := Validate(p); fault != "" {
		s.wrong("a message is refused: %s\n%.3000s", fault, body)
		return p, invalid(fault)
	}
	return p, nil
}

func (s *Server) createMessage(r *http.Request, body []byte) (any, *problem) {
	c, refused := s.visible(r)
	if refused != nil {
		return nil, refused
	}
	p, refused := s.payload(body)
	if refused != nil {
		return nil, refused
	}
	if u := s.user(c.direct); u != nil && u.closed {
		return nil, forbidden(50007, "Cannot send messages to this user")
	}
	if there := s.nonces[c.ID+" "+p.Nonce]; p.Enforce && there != nil && time.Since(madeAt(there.id)) < 5*time.Minute {
		return there.wire(), nil
	}
	c.archived = false
	m := &Message{Payload: p, files: map[string]string{}}
	if r.MultipartForm != nil {
		for _, headers := range r.MultipartForm.File {
			f, err := headers[0].Open()
			if err != nil {
				return nil, invalid(err.Error())
			}
			content, err := io.ReadAll(f)
			if err != nil || len(content) > 10<<20 {
				return nil, &problem{http.StatusRequestEntityTooLarge, 40005, "Request entity too large"}
			}
			m.files[headers[0].Filename] = string(content)
		}
	}
	s.post(c, m)
	if p.Nonce != "" {
		s.nonces[c.ID+" "+p.Nonce] = m
	}
	return m.wire(), nil
}

// message finds a message of the channel that is not for one person alone.
func (s *Server) message(r *http.Request) (*Message, *problem) {
	c, refused := s.visible(r)
	if refused != nil {
		return nil, refused
	}
	for _, m := range c.messages {
		if m.id == r.PathValue("message") && !m.deleted && m.only == "" {
			return m, nil
		}
	}
	return nil, unknown(10008, "Message")
}

func (s *Server) editMessage(r *http.Request, body []byte) (any, *problem) {
	m, refused := s.message(r)
	if refused != nil {
		return nil, refused
	}
	if m.channel.archived {
		return nil, &problem{http.StatusBadRequest, 50083, "Thread is archived"}
	}
	p, refused := s.payload(body)
	if refused != nil {
		return nil, refused
	}
	p.Nonce, p.Reference = m.Nonce, m.Reference
	m.Payload = p
	s.settle(m)
	m.edits++
	s.Ring()
	return m.wire(), nil
}

func (s *Server) createThread(r *http.Request, body []byte) (any, *problem) {
	m, refused := s.message(r)
	if refused != nil {
		return nil, refused
	}
	var thread struct {
		Name     string `json:"name"`
		Duration int    `json:"auto_archive_duration"`
	}
	switch {
	case json.Unmarshal(body, &thread) != nil, thread.Name == "", len([]rune(thread.Name)) > 100, !slices.Contains([]int{60, 1440, 4320, 10080}, thread.Duration):
		s.wrong("a thread is refused: %s", body)
		return nil, invalid("thread")
	case m.channel.direct != "", m.channel.parent != nil:
		return nil, &problem{http.StatusBadRequest, 50024, "Cannot execute action on this channel type"}
	case s.channel(m.id) != nil:
		return nil, &problem{http.StatusBadRequest, 160004, "A thread has already been created for this message"}
	}
	c := &Channel{ID: m.id, Name: thread.Name, parent: m.channel}
	s.channels = append(s.channels, c)
	return map[string]any{"id": c.ID, "name": c.Name, "type": 11}, nil
}

func (s *Server) openDirect(_ *http.Request, body []byte) (any, *problem) {
	var to struct {
		ID string `json:"recipient_id"`
	}
	if json.Unmarshal(body, &to) != nil {
		return nil, invalid("recipient_id")
	}
	u := s.user(to.ID)
	if u == nil {
		return nil, &problem{http.StatusBadRequest, 50033, "Invalid Recipient(s)"}
	}
	return map[string]any{"id": s.directOf(u).ID, "type": 1}, nil
}

func (s *Server) getGateway(*http.Request, []byte) (any, *problem) {
	return map[string]any{
		"url": strings.Replace(strings.TrimSuffix(s.url, "/api/"), "http://", "ws://", 1) + "/gateway/", "shards": 1,
		"session_start_limit": map[string]any{"total": 1000, "remaining": 1000 - s.identified, "reset_after": 1000, "max_concurrency": 1},
	}, nil
}
