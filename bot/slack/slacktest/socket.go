package slacktest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// socket is one Socket Mode connection. https://docs.slack.dev/apis/events-api/using-socket-mode
type socket struct {
	mu   sync.Mutex // of writes
	conn *websocket.Conn
}

func (k *socket) write(kind int, text []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.conn.WriteMessage(kind, text)
}

// envelope is something sent that waits for its acknowledgement.
type envelope struct {
	text  []byte
	acked chan string
}

func (s *Server) openConnection(call) (map[string]any, string) {
	return map[string]any{"url": strings.Replace(strings.TrimSuffix(s.url, "api/"), "http", "ws", 1) + "socket"}, ""
}

// connect takes a connection, says hello, pings, and sends again what was not acknowledged.
func (s *Server) connect(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	k := &socket{conn: conn}
	hello, _ := json.Marshal(map[string]any{"type": "hello", "num_connections": 1, "connection_info": map[string]any{"app_id": AppID}, "debug_info": map[string]any{"host": "slacktest"}})
	if k.write(websocket.TextMessage, hello) != nil {
		return
	}
	s.mu.Lock()
	s.sockets = append(s.sockets, k)
	for _, e := range s.waiting {
		_ = k.write(websocket.TextMessage, e.text)
	}
	s.Ring()
	s.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = k.write(websocket.PingMessage, []byte("ping"))
			case <-gone:
				return
			}
		}
	}()
	s.read(k)
	close(gone)
}

// read takes acknowledgements until the connection ends.
func (s *Server) read(k *socket) {
	const maxAck = 20 << 10
	for {
		_, text, err := k.conn.ReadMessage()
		if err != nil {
			s.mu.Lock()
			for i, other := range s.sockets {
				if other == k {
					s.sockets = append(s.sockets[:i:i], s.sockets[i+1:]...)
					break
				}
			}
			s.mu.Unlock()
			return
		}
		var ack struct {
			ID      string          `json:"envelope_id"`
			Payload json.RawMessage `json:"payload"`
		}
		if json.Unmarshal(text, &ack) != nil || len(text) >= maxAck {
			s.wrong("an acknowledgement cannot be read or has %d bytes, and was dropped", len(text))
			continue
		}
		s.mu.Lock()
		e := s.waiting[ack.ID]
		delete(s.waiting, ack.ID)
		s.mu.Unlock()
		if e != nil {
			e.acked <- string(ack.Payload)
		}
	}
}

// Connected waits until the app has a connection.
func (s *Server) Connected() bool {
	return s.Await(findWithin, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.sockets) > 0
	})
}

// DropSockets ends all connections, as Slack does now and then.
func (s *Server) DropSockets() {
	s.mu.Lock()
	sockets := s.sockets
	s.sockets = nil
	s.mu.Unlock()
	for _, k := range sockets {
		_ = k.conn.Close()
	}
}

// envelope sends a payload by a socket and waits for its acknowledgement.
func (s *Server) envelope(kind string, payload map[string]any) Ack {
	types := map[string]string{"commands": "slash_commands", "interactions": "interactive", "options": "interactive", "events": "events_api"}
	s.mu.Lock()
	id := fmt.Sprintf("envelope-%d", s.next())
	text, _ := json.Marshal(map[string]any{"envelope_id": id, "type": types[kind], "payload": payload, "accepts_response_payload": kind != "events"})
	e := &envelope{text: text, acked: make(chan string, 1)}
	s.waiting[id] = e
	sockets := s.sockets
	s.mu.Unlock()
	if len(sockets) > 0 {
		_ = sockets[s.pick(len(sockets))].write(websocket.TextMessage, text)
	}
	select {
	case body := <-e.acked:
		if body == "null" {
			body = ""
		}
		return Ack{Status: http.StatusOK, Body: body}
	case <-time.After(ackWithin):
		s.mu.Lock()
		delete(s.waiting, id)
		s.mu.Unlock()
		return Ack{Status: http.StatusGatewayTimeout, Body: "no acknowledgement"}
	}
}

// Repeat sends a payload, and then the same again, as Slack does when an acknowledgement was lost.
func (s *Server) Repeat(kind string, payload map[string]any) Ack {
	s.deliver(kind, payload)
	s.mu.Lock()
	app := s.app
	s.mu.Unlock()
	if app == "" {
		return s.deliver(kind, payload)
	}
	body := Encode(kind, payload)
	header := Sign(body, SigningSecret, time.Now().Add(time.Second)) // signed anew
	header.Set("X-Slack-Retry-Num", "1")
	header.Set("X-Slack-Retry-Reason", "http_timeout")
	return s.CallWith(kind, body, header)
}

func (s *Server) pick(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next() % n
}
