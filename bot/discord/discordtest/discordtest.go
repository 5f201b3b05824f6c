// Package discordtest is a Discord for tests: the parts of the REST API, the gateway and of interactions that a bot like ours
// uses, with Discord's own limits enforced. What is over a limit is refused as Discord refuses it and reported to the test.
// People of the server type registered commands, press what was really drawn, and see what is shown to them alone.
// https://docs.discord.com/developers
package discordtest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gimletd/bot/bottest"
)

// The token and ids of the application and its server.
const (
	BotToken      = "discordtest-token"
	ApplicationID = "900000000000000001"
	GuildID       = "900000000000000002"
	BotUserID     = "900000000000000003"
)

// Server is a Discord with one server (guild) and one application in it.
type Server struct {
	bottest.Bell

	reporter bottest.Reporter
	mux      *http.ServeMux
	url      string // with a slash at the end, without a version
	app      string // where the app listens; "" for the gateway
	private  ed25519.PrivateKey

	mu           sync.Mutex
	last         uint64 // of what is numbered
	users        []*User
	roles        []*Role
	channels     []*Channel
	commands     []command
	interactions map[string]*interaction // by token
	nonces       map[string]*Message
	faults       map[string][]Fault
	calls        []Call
	rates        map[string][]time.Time
	sessions     map[string]*session
	heartbeat    time.Duration
	identified   int
	resumed      int
	revoked      bool
	listing      bool   // the Server Members Intent
	endpoint     string // where interactions are to go
	forgetURLs   bool   // of embeds without a title
}

// Channel is a conversation. Its messages are in order.
type Channel struct {
	ID, Name string
	direct   string // the person whose direct channel it is
	parent   *Channel
	deleted  bool
	out      bool // the bot may not see it
	archived bool
	messages []*Message
}

// Role is a role of the server.
type Role struct{ ID, Name string }

// Call is one call of the REST API.
type Call struct {
	Name    string // such as messages.create
	Channel string
	At      time.Time
	Refused string // a code, or 429
}

// Fault is what a call meets instead of success.
type Fault struct {
	Status     int           // an HTTP status
	Code       int           // of Discord's errors, with the status
	RetryAfter time.Duration // 429
	Global     bool          // of the 429
	Drop       bool          // the call is done, and its answer lost
}

// New makes a server. Serve it.
func New(r bottest.Reporter) *Server {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		r.Errorf("%v", err)
	}
	s := &Server{
		reporter: r, mux: http.NewServeMux(), url: "http://discord.test/api/", private: private, interactions: map[string]*interaction{}, nonces: map[string]*Message{},
		faults: map[string][]Fault{}, rates: map[string][]time.Time{}, sessions: map[string]*session{}, heartbeat: 41250 * time.Millisecond, listing: true,
		roles: []*Role{{ID: GuildID, Name: "@everyone"}},
	}
	s.routes()
	return s
}

// PublicKey is what interactions are verified with, in hexadecimal digits.
func (s *Server) PublicKey() string {
	public, _ := s.private.Public().(ed25519.PublicKey)
	return hex.EncodeToString(public)
}

// Serve starts an HTTP server on loopback and returns its API's URL. close ends it.
func (s *Server) Serve() (apiURL string, closeServer func()) {
	server := httptest.NewServer(s.mux)
	s.url = server.URL + "/api/"
	return s.url, func() {
		s.Disconnect(0)
		server.CloseClientConnections()
		server.Close()
	}
}

// App says where the app listens, for HTTP interactions; without it, they go by the gateway.
func (s *Server) App(baseURL string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.app = strings.TrimSuffix(baseURL, "/")
	s.endpoint = s.app + "/discord/interactions"
}

// SendTo sets the application's Interactions Endpoint URL, and nothing else.
func (s *Server) SendTo(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoint = url
}

// wrong reports what the app does wrong. The lock may be held.
func (s *Server) wrong(format string, args ...any) {
	s.reporter.Errorf("discord: "+format, args...)
}

// epoch is Discord's, in milliseconds. https://docs.discord.com/developers/reference#snowflakes
const epoch = 1420070400000

// snowflake is an id that was not there. The lock is held.
func (s *Server) snowflake() string {
	id := uint64(time.Now().UnixMilli()-epoch) << 22
	s.last = max(s.last+1, id)
	return strconv.FormatUint(s.last, 10)
}

// madeAt is when an id was made.
func madeAt(id string) time.Time {
	n, _ := strconv.ParseUint(id, 10, 64)
	return time.UnixMilli(int64(n>>22) + epoch)
}

// AddChannel adds a channel that the bot may use.
func (s *Server) AddChannel(name string) *Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Channel{ID: s.snowflake(), Name: name}
	s.channels = append(s.channels, c)
	return c
}

// AddRole adds a role with its members, or replaces them.
func (s *Server) AddRole(name string, members ...*User) *Role {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.roles, func(r *Role) bool { return r.Name == name })
	if i < 0 {
		s.roles = append(s.roles, &Role{ID: s.snowflake(), Name: name})
		i = len(s.roles) - 1
	}
	role := s.roles[i]
	for _, u := range s.users {
		u.roles = slices.DeleteFunc(u.roles, func(id string) bool { return id == role.ID })
		if slices.Contains(members, u) {
			u.roles = append(u.roles, role.ID)
		}
	}
	return role
}

// Hide takes the channel from the bot's sight, or gives it back.
func (s *Server) Hide(c *Channel, hidden bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.out = hidden
}

// DeleteChannel deletes a channel, or brings it back, which no Discord does.
func (s *Server) DeleteChannel(c *Channel, deleted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.deleted = deleted
}

// Archive puts the threads of a channel away.
func (s *Server) Archive(c *Channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.channels {
		if t.parent == c {
			t.archived = true
		}
	}
}

// Heartbeat says how often the gateway wants one.
func (s *Server) Heartbeat(every time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heartbeat = every
}

// DeleteThread deletes a message's thread, as somebody who may. There is never another one.
func (s *Server) DeleteThread(m *Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.channel(m.id); t != nil {
		t.deleted = true
	}
}

// Revoke makes the bot token invalid, or valid again.
func (s *Server) Revoke(revoked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = revoked
}

// ListMembers switches the Server Members Intent.
func (s *Server) ListMembers(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listing = on
}

// ForgetAddresses has embeds lose the address that they have without a title.
func (s *Server) ForgetAddresses() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetURLs = true
}

// Fail has the next calls of the name meet the faults, one each.
func (s *Server) Fail(name string, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[name] = append(s.faults[name], faults...)
}

// Calls returns the calls of a name so far; "" means all.
func (s *Server) Calls(name string) (calls []Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if name == "" || c.Name == name {
			calls = append(calls, c)
		}
	}
	return calls
}

// channel finds a channel by id. The lock is held.
func (s *Server) channel(id string) *Channel {
	for _, c := range s.channels {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// directOf finds or makes the direct channel of a person. The lock is held.
func (s *Server) directOf(u *User) *Channel {
	for _, c := range s.channels {
		if c.direct == u.ID {
			return c
		}
	}
	c := &Channel{ID: s.snowflake(), Name: "@" + u.Name, direct: u.ID}
	s.channels = append(s.channels, c)
	return c
}

func (s *Server) user(id string) *User {
	for _, u := range s.users {
		if u.ID == id {
			return u
		}
	}
	return nil
}

// Commands are the names of the registered commands, with their slash.
func (s *Server) Commands() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.commands {
		names = append(names, "/"+c.Name)
	}
	return names
}

func (c *Channel) String() string { return fmt.Sprintf("#%s (%s)", c.Name, c.ID) }

// Transport calls the server without a network, so that it works with a simulated clock.
func (s *Server) Transport() http.RoundTripper { return bottest.Transport(s.mux) }

// URL is the API's URL.
func (s *Server) URL() string { return s.url }
