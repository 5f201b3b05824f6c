package discord

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/bot"
	"gimletd/bot/discord/discordtest"
)

// deaf takes requests and does nothing.
type deaf struct{}

func (deaf) Receive(context.Context, bot.Request) error                  { return nil }
func (deaf) Handle(context.Context, bot.Request) bot.Reply               { return bot.Reply{} }
func (deaf) Complete(context.Context, bot.Request) ([]bot.Choice, error) { return nil, nil }
func (deaf) Specs() []bot.Spec {
	param := bot.Param{Name: "app", Summary: "the app"}
	return []bot.Spec{
		{Name: "release", Summary: "release", Params: []bot.Param{param, {Name: "env", Summary: "the environment"}}},
		{Name: "gimlet status", Summary: "what is live", Params: []bot.Param{param}},
		{Name: "gimlet help", Summary: "this list"},
	}
}

func connected(t testing.TB, fake *discordtest.Server, client *http.Client) *Discord {
	t.Helper()
	key, err := hex.DecodeString(fake.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	d := New(Config{
		BotToken: discordtest.BotToken, ApplicationID: discordtest.ApplicationID, GuildID: discordtest.GuildID, PublicKey: key, APIURL: fake.URL(), Commands: bot.OwnNames(),
	}, client, time.Now, slog.New(slog.DiscardHandler), func(string, error) {})
	d.Connect(deaf{}, deaf{}, deaf{})
	return d
}

// FuzzRender holds whatever a message says to Discord's limits: nothing is refused, and nobody is notified.
func FuzzRender(f *testing.F) {
	f.Add("New artifact", "web → staging", "+a\n-b", "commit", "https://git.example/1", "Release", "footer", 3)
	f.Add("<@1> @everyone", strings.Repeat("*_`", 5000), strings.Repeat("```x\n", 3000), "*b*", "javascript:alert(1)", strings.Repeat("l", 400), "\u202e", 30)
	f.Add("", "\n\n", "", "", "https://x/?a=()>&b", "", "", 0)
	f.Add(strings.Repeat("🚀", 4000), "\xff\xfe", "\x00", "n", "https://"+strings.Repeat("x", 3000), "ok", "f", 1)
	f.Add("https://a/<@1>", "@https://x @@everyone", "<@&1>", "[a](https://b)", "https://[x]/)(", "\\", "f", 2)
	f.Fuzz(func(t *testing.T, title, body, code, name, address, label, footer string, n int) {
		m := bot.Message{Title: title, Body: body, Code: code, Footer: footer, Mentions: []string{name}, Table: [][]string{{title, name}, {body, code}}}
		for range n % 40 {
			m.Fields = append(m.Fields, bot.Field{Name: name, Value: body, URL: address}, bot.Field{Name: name, Value: address, URL: address})
			m.Buttons = append(m.Buttons, bot.Button{Label: label + "!", Args: []string{"/release", name, title}, Confirm: body, Tone: bot.Bad})
		}
		rendered, err := Render(m)
		if err != nil {
			t.Fatal(err)
		}
		var p discordtest.Payload
		if err := json.Unmarshal(rendered, &p); err != nil {
			t.Fatal(err)
		}
		if fault := discordtest.Validate(p); fault != "" {
			t.Errorf("%s\n%s", fault, rendered)
		}
	})
}

// FuzzButton packs a button's words and question, and finds them again.
func FuzzButton(f *testing.F) {
	f.Add("/release", "web", "production", "acme/web-1", "Release web?")
	f.Add("/gimlet", `a|b\c`, "", strings.Repeat("x", 200), "")
	f.Fuzz(func(t *testing.T, a, b, c, e, ask string) {
		for _, s := range []*string{&a, &b, &c, &e, &ask} {
			if *s = strings.ToValidUTF8(*s, "?"); len(*s) > 300 {
				return
			}
		}
		if a == "" {
			return
		}
		words := []string{a, b, c, e}
		s := state{Key: "k", Asks: map[int]string{}, Words: map[int][]string{}}
		rows([]bot.Button{{Label: "x", Args: words, Confirm: ask}}, &s)
		kind := runs
		if ask != "" {
			kind = asks
		}
		id, _ := customID(kind, 0, words)
		back, ok := readState(s.address())
		if !ok {
			t.Fatalf("the state is lost: %q", s.address())
		}
		p, ok := readPress(id, back)
		if !ok || !slices.Equal(p.words, words) || p.ask != ask || p.kind != kind || len([]rune(id)) > maxCustomID {
			t.Errorf("%q with %+v is %+v", id, back, p)
		}
	})
}

func TestAStateThatDoesNotFitLosesItsLastButtons(t *testing.T) {
	s := state{Key: "k", Asks: map[int]string{}, Words: map[int][]string{}}
	for i := range maxButtons {
		for n := range 10 {
			s.Asks[i] += digest(strings.Repeat(string(rune('a'+n)), i))
		}
	}
	back, ok := readState(s.address())
	if !ok || len(s.address()) > maxAddress || back.Key != "k" || back.Asks[0] == "" || back.Asks[maxButtons-1] != "" {
		t.Errorf("%d characters, %+v", len(s.address()), back)
	}
}

// FuzzInteraction sends signed calls with anything inside: every one is answered, and none makes it panic.
func FuzzInteraction(f *testing.F) {
	fake := discordtest.New(f)
	u, c := fake.AddUser("ada"), fake.AddChannel("staging")
	d := connected(f, fake, &http.Client{Transport: fake.Transport()})
	if err := d.Register(context.Background()); err != nil {
		f.Fatal(err)
	}
	for _, i := range []discordtest.Interaction{u.SlashInteraction(c, "/release web staging"), u.SlashInteraction(c, "/gimlet status web")} {
		text, err := json.Marshal(i)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
		f.Add(strings.Replace(string(text), `"type":2`, `"type":4`, 1))
		f.Add(strings.Replace(string(text), `"name":"status"`, `"name":1`, 1))
	}
	head := `{"application_id":"` + discordtest.ApplicationID + `","id":"1","token":"t","user":{"id":"2"},`
	f.Add(head + `"type":3,"data":{"custom_id":"a0:/release|web"},"message":{"embeds":[{"url":"` + state{Key: "k", Asks: map[int]string{0: "sure?"}}.address() + `"}]}}`)
	f.Add(head + `"type":3,"data":{"custom_id":"Y0:"},"message":null}`)
	f.Add(head + `"type":3,"data":{"custom_id":"a:"}}`)
	f.Add(head + `"type":2,"data":{"name":"gimlet","options":[{"type":2,"options":[{"type":1,"name":"help","options":null}]}]}}`)
	f.Add(`{"application_id":"` + discordtest.ApplicationID + `","type":1}`)
	handler := d.Handler()
	f.Fuzz(func(t *testing.T, body string) {
		req := httptest.NewRequest(http.MethodPost, "/discord/interactions", strings.NewReader(body))
		req.Header = fake.Sign([]byte(body), time.Now())
		d.replays.Forget(req.Header.Get("X-Signature-Ed25519"))
		res := httptest.NewRecorder()
		handler.ServeHTTP(res, req)
		if res.Code == http.StatusInternalServerError {
			t.Errorf("status %d %s", res.Code, res.Body)
		}
	})
}

// afterItsBeginning lets the simulated clock go on to when there is a Discord: ids hold the time since 2015.
func afterItsBeginning() { time.Sleep(time.Until(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))) }

func TestMembershipIsAsFreshAsItIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		afterItsBeginning()
		fake := discordtest.New(t)
		ada, grace := fake.AddUser("ada"), fake.AddUser("grace")
		role := "role:" + fake.AddRole("managers", ada).ID
		d := connected(t, fake, &http.Client{Transport: fake.Transport()})
		expect := func(since time.Time, want ...*discordtest.User) {
			t.Helper()
			for _, u := range []*discordtest.User{ada, grace} {
				if in, err := d.Member(t.Context(), role, u.ID, since); err != nil || in != slices.Contains(want, u) {
					t.Errorf("%s: %v %v", u.Name, in, err)
				}
			}
		}
		expect(time.Time{}, ada)
		fake.AddRole("managers", ada, grace)
		expect(time.Time{}, ada) // as it was a moment ago
		time.Sleep(time.Second)
		expect(time.Now(), ada, grace)
		now, before := time.Now(), len(fake.Calls("member"))
		for range 30 { // those who ask for the same moment share one call
			expect(now, ada, grace)
		}
		if n := len(fake.Calls("member")) - before; n != 0 {
			t.Errorf("%d calls", n)
		}
		grace.Leave()
		time.Sleep(10 * time.Minute)
		expect(time.Time{}, ada)
		fake.Fail("member", discordtest.Fault{Status: 500}, discordtest.Fault{Status: 500}, discordtest.Fault{Status: 500})
		time.Sleep(10 * time.Minute)
		expect(time.Time{}, ada) // it will do for looking
		if _, err := d.Member(t.Context(), role, ada.ID, time.Now()); err == nil {
			t.Error("it will not do for deciding")
		}
		if in, err := d.Member(t.Context(), "role:"+discordtest.GuildID, ada.ID, time.Now()); err != nil || !in {
			t.Errorf("ada is not everybody: %v %v", in, err)
		}
		if ids, err := d.Members(t.Context(), role); err != nil || !slices.Equal(ids, []string{ada.ID}) {
			t.Errorf("members %v %v", ids, err)
		}
		if _, err := d.Members(t.Context(), "role:1"); err == nil || !strings.Contains(err.Error(), "there is no role with the id 1") {
			t.Errorf("an unknown role: %v", err)
		}
	})
}

func TestCallsThatAreRefusedDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		afterItsBeginning()
		fake := discordtest.New(t)
		c := fake.AddChannel("staging")
		fake.Hide(c, true)
		d := connected(t, fake, &http.Client{Transport: fake.Transport()})
		name := bot.Channel("discord:" + c.ID)
		d.config.Channels = []bot.Channel{name}
		post := func() error {
			_, err := d.Send(t.Context(), bot.Post{Channel: name, Key: "k", Message: bot.Message{Title: "x"}})
			return err
		}
		refused := 0
		for begin := time.Now(); time.Since(begin) < 10*time.Minute; time.Sleep(50 * time.Millisecond) {
			if err := post(); errors.Is(err, bot.ErrNoChannel) {
				refused++
			}
		}
		if refused < 500 || refused > refusedAtMost {
			t.Errorf("%d calls were refused in ten minutes, ten thousand are answered with a ban", refused)
		}
		fake.Hide(c, false)
		fake.Revoke(true)
		time.Sleep(20 * time.Minute)
		if err := post(); err == nil || !strings.Contains(err.Error(), "refuses the bot token") {
			t.Errorf("it says %v", err)
		}
		before := len(fake.Calls(""))
		for range 30 {
			if err := post(); err == nil {
				t.Error("it is sent")
			}
			time.Sleep(time.Second)
		}
		if n := len(fake.Calls("")) - before; n > 1 {
			t.Errorf("%d calls with a token that is refused", n)
		}
	})
}

// TestADeadGatewayIsLeft has a gateway that takes everything and answers nothing.
func TestADeadGatewayIsLeft(t *testing.T) {
	fake := discordtest.New(t)
	_, stop := fake.Serve()
	defer stop()
	fake.Heartbeat(200 * time.Millisecond)
	d := connected(t, fake, &http.Client{Timeout: time.Minute})
	d.config.PublicKey, d.silence = nil, 2*time.Second
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	if !fake.Connected() {
		t.Fatal("no connection")
	}
	fake.Die()
	if !fake.Await(20*time.Second, func() bool { _, resumed := fake.Sessions(); return resumed == 1 }) {
		t.Error("it stays with the dead")
	}
	cancel()
	select {
	case <-done:
	case <-time.After(finishWithin + time.Second):
		t.Error("it does not end")
	}
}

func TestNoTokenIsTold(t *testing.T) {
	fake := discordtest.New(t)
	u, c := fake.AddUser("ada"), fake.AddChannel("staging")
	var log bytes.Buffer
	d := connected(t, fake, &http.Client{Transport: failing{}})
	d.log = slog.New(slog.NewTextHandler(&log, nil))
	raw, err := json.Marshal(map[string]any{
		"id": "1", "application_id": discordtest.ApplicationID, "type": 2, "token": "interaction-secret", "guild_id": discordtest.GuildID, "channel_id": c.ID,
		"member": map[string]any{"user": map[string]any{"id": u.ID}}, "data": map[string]any{"name": "release"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.interact(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	err = d.Answer(t.Context(), bot.Request{ID: "1", User: bot.User{ID: u.ID}}, bot.Say(bot.Message{Title: "x"}))
	if text := err.Error() + log.String(); strings.Contains(text, "interaction-secret") || strings.Contains(text, discordtest.BotToken) {
		t.Errorf("it tells a secret: %s", text)
	}
}

type failing struct{}

// RoundTrip fails as the standard library does, with the address in the error.
func (failing) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, errors.New("dial tcp: connection refused")
}
