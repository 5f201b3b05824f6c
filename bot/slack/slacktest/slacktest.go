// Package slacktest is a Slack for tests: the parts of the Web API, Socket Mode and interactivity that a bot like
// ours uses, with Slack's own limits enforced. What is over a limit is refused as Slack refuses it and reported to the
// test. People of the workspace type commands, click what was really drawn, choose in forms and look at their home.
// https://docs.slack.dev
package slacktest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"gimletd/bot/bottest"
)

// The tokens and ids of the app and its workspace.
const (
	BotToken      = "xoxb-slacktest"
	AppToken      = "xapp-slacktest"
	SigningSecret = "slacktest-signing-secret"
	TeamID        = "T0SLACKTEST"
	AppID         = "A0GIMLETD"
	BotID         = "B0GIMLETD"
	BotUserID     = "U0GIMLETD"
)

// Server is a Slack with one workspace and one app in it.
type Server struct {
	bottest.Bell

	reporter bottest.Reporter
	mux      *http.ServeMux
	url      string // with a slash at the end
	app      string // where the app listens; "" for Socket Mode

	mu        sync.Mutex
	last      int // of what is numbered
	scopes    []string
	users     []*User
	groups    map[string]*group
	channels  []*Channel
	views     map[string]*View
	homes     map[string]*View // by user
	triggers  map[string]time.Time
	responses map[string]*response
	uploads   map[string]*upload
	faults    map[string][]Fault
	calls     []Call
	rates     map[string][]time.Time
	sockets   []*socket
	waiting   map[string]*envelope
	revoked   bool
}

// Channel is a conversation. Its messages are in order.
type Channel struct {
	ID, Name string
	Private  bool
	archived bool
	members  []string
	messages []*Message
}

type group struct {
	id, handle string
	members    []string
}

// Call is one call of the Web API.
type Call struct {
	Method  string
	Channel string
	At      time.Time
	Refused string // the error, or 429
}

// Fault is what a call meets instead of success.
type Fault struct {
	Error      string        // an error code of Slack's
	Status     int           // an HTTP status
	RetryAfter time.Duration // 429
	Drop       bool          // the call is done, and its answer lost
	Wait       time.Duration // before the call is looked at
}

type response struct {
	channel, user string
	until         time.Time
	uses          int
}

type upload struct {
	id, name, content string
}

// New makes a workspace. Serve it, or use its Transport.
func New(r bottest.Reporter) *Server {
	s := &Server{
		reporter: r, mux: http.NewServeMux(), url: "http://slack.test/api/",
		groups: map[string]*group{}, views: map[string]*View{}, homes: map[string]*View{}, triggers: map[string]time.Time{}, responses: map[string]*response{},
		uploads: map[string]*upload{}, faults: map[string][]Fault{}, rates: map[string][]time.Time{}, waiting: map[string]*envelope{}, scopes: AllScopes(),
	}
	s.mux.HandleFunc("/api/{method}", s.api)
	s.mux.HandleFunc("POST /upload/{id}", s.takeUpload)
	s.mux.HandleFunc("POST /response/{id}", s.takeResponse)
	s.mux.HandleFunc("GET /socket", s.connect)
	return s
}

// metadataScope is needed to read messages' metadata.
const metadataScope = "metadata.message:read"

// AllScopes are those that the methods here need.
func AllScopes() []string {
	var all []string
	for _, m := range methods {
		if m.scope != "" && !slices.Contains(all, m.scope) {
			all = append(all, m.scope)
		}
	}
	return append(all, "commands", "groups:read", "groups:history", "users:read.email", metadataScope)
}

// Serve starts an HTTP server on loopback and returns its API's URL. close ends it.
func (s *Server) Serve() (apiURL string, closeServer func()) {
	server := httptest.NewServer(s.mux)
	s.url = server.URL + "/api/"
	return s.url, func() {
		s.DropSockets()
		server.CloseClientConnections()
		server.Close()
	}
}

// URL is the API's URL.
func (s *Server) URL() string { return s.url }

// Transport calls the workspace without a network, so that it works with a simulated clock.
func (s *Server) Transport() http.RoundTripper { return bottest.Transport(s.mux) }

// App says where the app listens, for HTTP mode; without it, events go by Socket Mode.
func (s *Server) App(baseURL string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.app = strings.TrimSuffix(baseURL, "/")
}

// wrong reports what the app does wrong. The lock may be held.
func (s *Server) wrong(format string, args ...any) {
	s.reporter.Errorf("slack: "+format, args...)
}

// next is a number that was not there. The lock is held.
func (s *Server) next() int {
	s.last++
	return s.last
}

// AddChannel adds a channel with the bot in it.
func (s *Server) AddChannel(name string) *Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Channel{ID: fmt.Sprintf("C%04d", s.next()), Name: name, members: []string{BotUserID}}
	s.channels = append(s.channels, c)
	return c
}

// Archive archives a channel, or brings it back.
func (s *Server) Archive(c *Channel, archived bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.archived = archived
}

// Kick takes the bot out of a channel.
func (s *Server) Kick(c *Channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.members = slices.DeleteFunc(c.members, func(m string) bool { return m == BotUserID })
}

// Invite takes the bot into a channel.
func (s *Server) Invite(c *Channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.members = append(c.members, BotUserID)
}

// AddGroup adds a user group, or replaces its members.
func (s *Server) AddGroup(handle string, members ...*User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[handle]
	if g == nil {
		g = &group{id: fmt.Sprintf("S%04d", s.next()), handle: handle}
		s.groups[handle] = g
	}
	g.members = nil
	for _, u := range members {
		g.members = append(g.members, u.ID)
	}
}

// Revoke makes the bot token invalid, or valid again.
func (s *Server) Revoke(revoked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = revoked
}

// Withdraw takes a scope from the app.
func (s *Server) Withdraw(scope string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scopes = slices.DeleteFunc(s.scopes, func(have string) bool { return have == scope })
}

// Fail has the method's next calls meet the faults, one each.
func (s *Server) Fail(method string, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[method] = append(s.faults[method], faults...)
}

// Calls returns the calls of a method so far; "" means all methods.
func (s *Server) Calls(method string) (calls []Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if method == "" || c.Method == method {
			calls = append(calls, c)
		}
	}
	return calls
}

// channel finds a channel by id or name, or the direct one of a person. The lock is held.
func (s *Server) channel(id string) *Channel {
	name := strings.TrimPrefix(id, "#")
	for _, c := range s.channels {
		if c.ID == id || c.Name == name {
			return c
		}
	}
	if i := slices.IndexFunc(s.users, func(u *User) bool { return u.ID == id }); i >= 0 {
		c := &Channel{ID: "D" + id[1:], Name: id, Private: true, members: []string{BotUserID, id}}
		s.channels = append(s.channels, c)
		return c
	}
	return nil
}
