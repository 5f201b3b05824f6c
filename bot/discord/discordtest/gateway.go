package discordtest

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// session is what can be resumed. https://docs.discord.com/developers/events/gateway
type session struct {
	id     string
	seq    int
	events []event
	line   *line
}

// event is one that was sent.
type event struct {
	Op   int    `json:"op"`
	Data any    `json:"d"`
	Seq  int    `json:"s,omitempty"`
	Type string `json:"t,omitempty"`
}

// line is a connection.
type line struct {
	conn  *websocket.Conn
	write sync.Mutex
	dead  bool // it answers no heartbeat
}

func (l *line) send(e event) {
	l.write.Lock()
	defer l.write.Unlock()
	_ = l.conn.WriteJSON(e)
}

func (l *line) close(code int) {
	l.write.Lock()
	defer l.write.Unlock()
	if code != 0 {
		_ = l.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "closed"), time.Now().Add(time.Second))
	}
	_ = l.conn.Close()
}

// Operations of the gateway.
const (
	opDispatch       = 0
	opHeartbeat      = 1
	opIdentify       = 2
	opResume         = 6
	opReconnect      = 7
	opInvalidSession = 9
	opHello          = 10
	opAck            = 11
	badToken         = 4004
)

// connect takes a gateway connection.
func (s *Server) connect(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	l := &line{conn: conn}
	defer func() { s.lost(l); _ = conn.Close() }()
	s.mu.Lock()
	beat := s.heartbeat
	s.mu.Unlock()
	l.send(event{Op: opHello, Data: map[string]any{"heartbeat_interval": beat.Milliseconds()}})
	for {
		var in struct {
			Op   int             `json:"op"`
			Data json.RawMessage `json:"d"`
		}
		if conn.ReadJSON(&in) != nil {
			return
		}
		switch in.Op {
		case opHeartbeat:
			s.mu.Lock()
			dead := l.dead
			s.mu.Unlock()
			if !dead {
				l.send(event{Op: opAck})
			}
		case opIdentify:
			if !s.identify(l, in.Data) {
				return
			}
		case opResume:
			if !s.resume(l, in.Data) {
				return
			}
		}
	}
}

func (s *Server) authorised(token string) bool {
	return strings.TrimPrefix(token, "Bot ") == BotToken && !s.revoked
}

func (s *Server) identify(l *line, data []byte) bool {
	var in struct {
		Token   string `json:"token"`
		Intents *int   `json:"intents"`
	}
	err := json.Unmarshal(data, &in)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || in.Intents == nil || !s.authorised(in.Token) {
		l.close(badToken)
		return false
	}
	s.identified++
	one := &session{id: s.snowflake(), line: l, seq: 1}
	s.sessions[one.id] = one
	l.send(event{Op: opDispatch, Seq: 1, Type: "READY", Data: map[string]any{
		"v": 9, "session_id": one.id, "user": map[string]any{"id": BotUserID, "username": "GimletD", "bot": true}, "guilds": []any{map[string]any{"id": GuildID, "unavailable": true}},
		"application": map[string]any{"id": ApplicationID}, "resume_gateway_url": strings.Replace(s.url, "http://", "ws://", 1),
	}})
	s.Ring()
	return true
}

func (s *Server) resume(l *line, data []byte) bool {
	var in struct {
		Token   string `json:"token"`
		Session string `json:"session_id"`
		Seq     int    `json:"seq"`
	}
	err := json.Unmarshal(data, &in)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || !s.authorised(in.Token) {
		l.close(badToken)
		return false
	}
	one := s.sessions[in.Session]
	if one == nil {
		l.send(event{Op: opInvalidSession, Data: false})
		return true
	}
	s.resumed++
	one.line = l
	for _, e := range one.events {
		if e.Seq > in.Seq {
			l.send(e)
		}
	}
	one.seq++
	l.send(event{Op: opDispatch, Seq: one.seq, Type: "RESUMED", Data: map[string]any{}})
	s.Ring()
	return true
}

// dispatch sends an event to every session; one without a connection gets it when it is resumed.
func (s *Server) dispatch(kind string, data any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.sessions {
		one.seq++
		e := event{Op: opDispatch, Seq: one.seq, Type: kind, Data: data}
		one.events = append(one.events, e)
		if one.line != nil {
			one.line.send(e)
		}
	}
}

func (s *Server) lost(l *line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.sessions {
		if one.line == l {
			one.line = nil
		}
	}
	s.Ring()
}

// Connected waits until there is a session with a connection.
func (s *Server) Connected() bool {
	return s.Await(findWithin, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, one := range s.sessions {
			if one.line != nil {
				return true
			}
		}
		return false
	})
}

// Sessions returns how often the app has begun and resumed a session.
func (s *Server) Sessions() (identified, resumed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identified, s.resumed
}

// each does something with each connection.
func (s *Server) each(do func(l *line)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.sessions {
		if one.line != nil {
			do(one.line)
		}
	}
}

// Disconnect ends the connections with a code; 0 without a word.
func (s *Server) Disconnect(code int) {
	s.each(func(l *line) { l.close(code) })
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.sessions {
		one.line = nil
	}
}

// AskToReconnect has the app connect again.
func (s *Server) AskToReconnect() {
	s.each(func(l *line) { l.send(event{Op: opReconnect}) })
}

// Die has the connections answer nothing any more.
func (s *Server) Die() { s.each(func(l *line) { l.dead = true }) }

// ForgetSessions makes all sessions invalid.
func (s *Server) ForgetSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}
