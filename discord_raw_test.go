package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gimletd/bot/discord/discordtest"

	"github.com/gorilla/websocket"
)

// rawDiscord is a Discord of a few lines, made from its documentation alone: nothing of ours is on this side.
type rawDiscord struct {
	t        *testing.T
	key      ed25519.PrivateKey
	server   *httptest.Server
	mu       sync.Mutex
	posts    []string            // messages, as they are now
	ids      map[string]int      // of messages
	edits    map[string][]string // of the answers to interactions
	acks     map[string]string   // first answers by the gateway
	gateway  *websocket.Conn
	upgraded chan struct{}
}

func newRawDiscord(t *testing.T) *rawDiscord {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := &rawDiscord{t: t, key: key, ids: map[string]int{}, edits: map[string][]string{}, acks: map[string]string{}, upgraded: make(chan struct{})}
	mux := http.NewServeMux()
	reply := func(pattern, body string) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
	}
	reply("GET /api/v10/users/@me", `{"id":"3"}`)
	reply("GET /api/v10/applications/@me", `{"id":"1"}`)
	reply("PUT /api/v10/applications/1/guilds/2/commands", `[]`)
	reply("GET /api/v10/guilds/2/roles", `[{"id":"20"},{"id":"21"}]`)
	reply("GET /api/v10/guilds/2/members", `[]`)
	for id, roles := range map[string]string{"10": "20", "11": "21", "12": "21"} {
		reply("GET /api/v10/guilds/2/members/"+id, fmt.Sprintf(`{"user":{"id":%q,"username":"u%s"},"roles":[%q]}`, id, id, roles))
	}
	mux.HandleFunc("POST /api/v10/channels/100/messages", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		d.mu.Lock()
		defer d.mu.Unlock()
		id := strconv.Itoa(1000 + len(d.posts))
		d.ids[id] = len(d.posts)
		d.posts = append(d.posts, string(body))
		var sent struct {
			Content string `json:"content"`
		}
		_ = json.Unmarshal(body, &sent)
		_ = json.NewEncoder(w).Encode(map[string]any{"id": id, "content": sent.Content})
	})
	mux.HandleFunc("PATCH /api/v10/channels/100/messages/{id}", func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.posts[d.ids[r.PathValue("id")]] = string(body)
	})
	reply("POST /api/v10/channels/100/messages/{id}/threads", `{}`)
	reply("POST /api/v10/channels/{thread}/messages", `{"id":"9"}`)
	mux.HandleFunc("/api/v10/webhooks/1/{token}/", func(_ http.ResponseWriter, r *http.Request) { d.answered(r, r.PathValue("token")) })
	mux.HandleFunc("/api/v10/webhooks/1/{token}", func(_ http.ResponseWriter, r *http.Request) { d.answered(r, r.PathValue("token")) })
	mux.HandleFunc("POST /api/v10/interactions/{id}/{token}/callback", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.acks[r.PathValue("token")] = string(body)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /api/v10/gateway", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"url":"ws%s/ws/"}`, strings.TrimPrefix(d.server.URL, "http"))
	})
	mux.HandleFunc("GET /ws/", d.websocket)
	d.server = httptest.NewServer(mux)
	t.Cleanup(d.server.Close)
	return d
}

func (d *rawDiscord) answered(r *http.Request, token string) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.edits[token] = append(d.edits[token], r.Method+" "+string(body))
}

func (d *rawDiscord) websocket(w http.ResponseWriter, r *http.Request) {
	conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gateway != nil {
		return
	}
	d.gateway = conn
	_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"op":10,"d":{"heartbeat_interval":40000}}`))
	_, identify, err := conn.ReadMessage()
	if err != nil || !strings.Contains(string(identify), `"op":2`) || !strings.Contains(string(identify), "raw-token") {
		d.t.Errorf("identified with %s, %v", identify, err)
	}
	_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"op":0,"s":1,"t":"READY","d":{"v":9,"session_id":"s","user":{"id":"3"},"guilds":[]}}`))
	close(d.upgraded)
	go func() { // heartbeats
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	}()
}

// says waits until a message of the channel says the text, and returns it.
func (d *rawDiscord) says(x *world, text string) string {
	d.t.Helper()
	for range 1000 {
		d.mu.Lock()
		for _, post := range d.posts {
			if strings.Contains(post, text) {
				d.mu.Unlock()
				return post
			}
		}
		d.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
	}
	d.t.Fatalf("no message says %q: %v", text, d.posts)
	return ""
}

// interaction is what Discord sends, by the documentation.
func rawInteraction(id int, user, role string, data string, message string) string {
	snowflake := strconv.FormatInt((time.Now().UnixMilli()-1420070400000)<<22+int64(id), 10)
	kind := 2
	if message != "" {
		kind, message = 3, `,"message":`+message
	}
	return fmt.Sprintf(`{"id":%q,"application_id":"1","type":%d,"token":"tok%d","version":1,"guild_id":"2","channel_id":"100",
		"member":{"user":{"id":%q,"username":"u%s"},"roles":[%q]},"data":%s%s}`, snowflake, kind, id, user, user, role, data, message)
}

// TestRawInteractionsDriveTheBinary sends what Discord sends to the built binary: a command, two votes; and reads the answers and
// the commit. First by signed HTTP calls, then by a gateway.
func TestRawInteractionsDriveTheBinary(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "gimletd")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, way := range []string{"http", "gateway"} {
		t.Run(way, func(t *testing.T) {
			d := newRawDiscord(t)
			w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
			w.binary = binary
			publicKey := ""
			if way == "http" {
				publicKey = fmt.Sprintf(", publicKey: %q", hex.EncodeToString(d.key.Public().(ed25519.PublicKey)))
			}
			w.chat = fmt.Sprintf(`environments: [{name: production, channels: ["discord:100"], approval: {count: 2, from: [managers], not: [requester]}}]
roles:
  - {name: developers, members: ["discord:role:20"], can: [release]}
  - {name: managers, members: ["discord:role:21"], can: [approve]}
discord: {botToken: raw-token, applicationID: "1", guildID: "2", apiURL: "%s/api/"%s}
`, d.server.URL, publicKey)
			s := w.start()
			if way == "gateway" {
				<-d.upgraded
			}
			s.post(w.artifact("web", long("1111111"), func(a map[string]any) {
				for _, e := range a["environments"].([]any) {
					delete(e.(map[string]any), "deploy")
				}
			}))
			n := 0
			send := func(body string) string {
				t.Helper()
				n++
				began := time.Now()
				if way == "gateway" {
					d.mu.Lock()
					_ = d.gateway.WriteMessage(websocket.TextMessage, []byte(fmt.Sprintf(`{"op":0,"s":%d,"t":"INTERACTION_CREATE","d":%s}`, n+1, body)))
					d.mu.Unlock()
					token := fmt.Sprintf("tok%d", n)
					for time.Since(began) < 3*time.Second {
						d.mu.Lock()
						ack := d.acks[token]
						d.mu.Unlock()
						if ack != "" {
							return ack
						}
						time.Sleep(5 * time.Millisecond)
					}
					t.Fatalf("not answered in three seconds\n%.3000s", s.log)
				}
				timestamp := strconv.FormatInt(time.Now().Unix(), 10)
				req, _ := http.NewRequest(http.MethodPost, "http://"+s.api+"/discord/interactions", bytes.NewReader([]byte(body)))
				req.Header.Set("X-Signature-Timestamp", timestamp)
				req.Header.Set("X-Signature-Ed25519", hex.EncodeToString(ed25519.Sign(d.key, []byte(timestamp+body))))
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = res.Body.Close() }()
				text, _ := io.ReadAll(res.Body)
				if res.StatusCode != http.StatusOK || time.Since(began) > 3*time.Second {
					t.Fatalf("%d %s after %s", res.StatusCode, text, time.Since(began))
				}
				return string(text)
			}
			ack := send(rawInteraction(1, "10", "20", `{"id":"5","name":"release","type":1,"options":[{"name":"app","type":3,"value":"web"},{"name":"env","type":3,"value":"production"}]}`, ""))
			if !strings.Contains(ack, `"type":5`) || !strings.Contains(ack, `"flags":64`) {
				t.Errorf("the command is answered with %s", ack)
			}
			for i, user := range []string{"11", "12"} {
				post := d.says(w, []string{"0 of 2", "1 of 2"}[i])
				var message struct {
					Components []struct {
						Components []struct {
							Label    string `json:"label"`
							CustomID string `json:"custom_id"`
						} `json:"components"`
					} `json:"components"`
				}
				if err := json.Unmarshal([]byte(post), &message); err != nil {
					t.Fatal(err)
				}
				approve := message.Components[0].Components[0]
				if approve.Label != "Approve" {
					t.Fatalf("the first button is %q", approve.Label)
				}
				ack = send(rawInteraction(2+i, user, "21", fmt.Sprintf(`{"custom_id":%q,"component_type":2}`, approve.CustomID), post))
				if !strings.Contains(ack, `"type":6`) {
					t.Errorf("the click is answered with %s", ack)
				}
			}
			d.says(w, "Released web 1111111 to production")
			d.mu.Lock()
			if got := fmt.Sprint(d.edits["tok1"]); got != "[DELETE ]" { // the channel has the news
				t.Errorf("the command's answer was changed to %s", got)
			}
			d.mu.Unlock()
			x := &scene{t: t, world: w, server: s}
			x.commits(1)
			s.stop()
		})
	}
}

// TestOneQuorumOverBothPlatforms has one release voted on in Slack and in Discord. A person with an account on each is one.
func TestOneQuorumOverBothPlatforms(t *testing.T) {
	t.Parallel()
	x := newScene(t, mode{onSlack, true}, setting{approval: "{count: 2, from: [release-managers], not: [requester], expiresAfter: 4h}"})
	y := newScene(t, mode{onDiscord, true}, setting{approval: twoVotes})
	api := y.discord.URL()
	chat := x.world.chat
	chat = strings.Replace(chat, `channels: ["slack:#releases"]`, `channels: ["slack:#releases", "`+y.releases.Channel()+`"]`, 1)
	chat = strings.Replace(chat, `email: grace@example.com, slack:`, fmt.Sprintf(`email: grace@example.com, discord: %q, slack:`, y.grace.ID), 1)
	chat = strings.Replace(chat, `members: ["slack:@release-managers",`, `members: ["slack:@release-managers", "discord:role:`+y.discord.AddRole("release-managers", y.grace.discord, y.heidi.discord, y.mallory.discord).ID+`",`, 1)
	chat += fmt.Sprintf("discord: {botToken: %s, applicationID: %q, guildID: %q, apiURL: %q}\n", discordtest.BotToken, discordtest.ApplicationID, discordtest.GuildID, api)
	x.world.chat = chat
	x.begin()
	if !y.discord.Connected() || !y.Await(20*time.Second, func() bool { return len(y.discord.Commands()) == 3 }) {
		t.Fatalf("no connection\n%.3000s", x.server.log)
	}
	inSlack := x.asked()
	inDiscord := y.Find(y.releases, "Waiting for approval: web 1111111 to production")
	x.ok(x.grace.Click(inSlack, "Approve"))
	inDiscord.Says("1 of 2 of release-managers (Grace Hopper)")
	x.ok(y.grace.Click(inDiscord, "Approve")) // the same person
	y.told(y.grace, y.releases, "counts already: 1 of 2")
	x.commits(0)
	x.ok(y.mallory.Click(inDiscord, "Approve"))
	for _, m := range []*note{inSlack, inDiscord} {
		m.Says("Released web 1111111 to production")
		m.Says("Grace Hopper, mallory")
	}
	x.commits(1)
	// Each platform's people are mentioned there, and nobody's id of the other is shown.
	x.Await(10*time.Second, func() bool { return len(x.Thread(inSlack)) > 0 && len(y.Thread(inDiscord)) > 0 })
	if all := x.Transcript(x.releases); strings.Contains(all, "discord:role") || !strings.Contains(all, x.mentionOf()) {
		t.Errorf("in Slack:\n%s", all)
	}
	if all := y.Transcript(y.releases); strings.Contains(all, "slack:@") || !strings.Contains(all, y.mentionOf()) {
		t.Errorf("in Discord:\n%s", all)
	}
	x.ok(y.tess.Slash(y.releases, "/release web production"))
	y.told(y.tess, y.releases, "You may not release web to production")
	x.server.stop()
}
