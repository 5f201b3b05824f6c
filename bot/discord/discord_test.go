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
	f.Add("x", "y", "", "ci", "https://ci.example/"+strings.Repeat("(", 300), "l", "f", 1)
	f.Add("https://a/**[x](https://e.co)", "fix https://a](https://evil.example)[x", " ", " ", "https://git.example/1", "l", "f", 1)
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
	d.link = bot.NewLink(Platform, Platform+" gateway", func(string, error) {}, d.log)
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
	case <-time.After(6 * time.Second):
		t.Error("it does not end")
	}
}

// online is a Discord at a simulated clock with one channel.
func online(t *testing.T) (*discordtest.Server, *discordtest.Channel, *Discord, bot.Channel) {
	afterItsBeginning()
	fake := discordtest.New(t)
	c := fake.AddChannel("staging")
	d := connected(t, fake, &http.Client{Transport: fake.Transport()})
	name := bot.Channel("discord:" + c.ID)
	d.config.Channels = []bot.Channel{name}
	return fake, c, d, name
}

func TestALongSilenceThatIsAskedForKeepsTheLoopAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, _, d, _ := online(t)
		fake.Fail("me", discordtest.Fault{RetryAfter: time.Hour})
		beats := 0
		d.link = bot.NewLink(Platform, "", func(string, error) { beats++ }, d.log)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		if err := d.Run(ctx); err != nil || beats < 60 {
			t.Errorf("%d beats in half an hour, %v", beats, err)
		}
	})
}

func TestWhatHasNoThreadIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, c, d, name := online(t)
		for i, trouble := range []func(m *discordtest.Message){
			func(m *discordtest.Message) { fake.DeleteThread(m) },
			func(*discordtest.Message) { fake.Fail("threads.create", discordtest.Fault{Status: 403, Code: 50013}) },
		} {
			key := string(rune('a' + i))
			main, err := d.Send(t.Context(), bot.Post{Channel: name, Key: key, Message: bot.Message{Title: "main " + key}})
			if err != nil {
				t.Fatal(err)
			}
			m := fake.Find(c, "main "+key)
			if i == 0 {
				if _, err := d.Send(t.Context(), bot.Post{Channel: main.Channel, Thread: main.ID, Key: "first", Message: bot.Message{Title: "first"}}); err != nil {
					t.Fatal(err)
				}
			}
			trouble(m)
			ref, err := d.Send(t.Context(), bot.Post{Channel: main.Channel, Thread: main.ID, Key: key + "/more", Message: bot.Message{Title: "more of " + key}})
			if err != nil || ref.Channel != name {
				t.Errorf("%d: %+v %v", i, ref, err)
			}
			m = fake.Find(c, "more of "+key)
			if m == nil {
				t.FailNow()
			}
			if r := m.Now().Reference; r == nil || r.Message != main.ID {
				t.Errorf("%d: it answers %+v", i, r)
			}
		}
		time.Sleep(10 * time.Second) // for the channel's limit
		// A broadcast is an answer, too; without the right to read the history it is a message.
		fake.Fail("messages.create", discordtest.Fault{Status: 403, Code: 160002})
		if _, err := d.Send(t.Context(), bot.Post{Channel: name, Thread: "1", Broadcast: true, Key: "loud", Message: bot.Message{Title: "loud"}}); err != nil {
			t.Error(err)
		}
		if fake.Find(c, "loud").Now().Reference != nil {
			t.Error("it answers")
		}
	})
}

func TestAPostThatWasThereIsMadeTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, c, d, name := online(t)
		post := func(votes string) bot.Post {
			return bot.Post{Channel: name, Key: "k", Message: bot.Message{Title: "waiting", Fields: []bot.Field{{Name: "approvals", Value: votes}}}}
		}
		fake.Fail("messages.create", discordtest.Fault{Drop: true})
		if _, err := d.Send(t.Context(), post("0 of 2")); err == nil {
			t.Fatal("its answer is lost")
		}
		if _, err := d.Send(t.Context(), post("1 of 2")); err != nil {
			t.Fatal(err)
		}
		if m := fake.Find(c, "waiting"); !strings.Contains(m.Now().Seen(), "1 of 2") || len(fake.Messages(c, true)) != 1 {
			t.Errorf("it says:\n%s", fake.Transcript(c))
		}
	})
}

func TestTheRolesComeWithTheClick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, c, d, _ := online(t)
		ada := fake.AddUser("ada")
		role := "role:" + fake.AddRole("managers", ada).ID
		if err := d.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(ada.SlashInteraction(c, "/release web staging"))
		if err != nil {
			t.Fatal(err)
		}
		_, i, err := d.interact(t.Context(), raw)
		if err != nil {
			t.Fatal(err)
		}
		if in, err := d.Member(t.Context(), role, ada.ID, d.request(i, nil).At); err != nil || !in || len(fake.Calls("member")) > 0 {
			t.Errorf("%v %v after %d calls", in, err, len(fake.Calls("member")))
		}
		// What is replayed later says less than what was asked since.
		fake.AddRole("managers")
		time.Sleep(5 * time.Minute)
		if in, err := d.Member(t.Context(), role, ada.ID, time.Now()); err != nil || in {
			t.Errorf("%v %v", in, err)
		}
		if _, _, err := d.interact(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		if in, err := d.Member(t.Context(), role, ada.ID, time.Time{}); err != nil || in {
			t.Errorf("an old click brings a role back: %v %v", in, err)
		}
	})
}

func TestSettingsThatDoNotFitAreTold(t *testing.T) {
	key, err := hex.DecodeString(strings.Repeat("ab", 32))
	if err != nil {
		t.Fatal(err)
	}
	d := connected(t, discordtest.New(t), http.DefaultClient)
	own := hex.EncodeToString(d.config.PublicKey)
	id := discordtest.ApplicationID
	for _, c := range []struct {
		key  []byte
		app  application
		want string
	}{
		{nil, application{ID: id}, ""},
		{nil, application{ID: id, Endpoint: "https://x"}, "commands go to the application's Interactions Endpoint URL (https://x)"},
		{d.config.PublicKey, application{ID: id, Endpoint: "https://x", VerifyKey: own}, ""},
		{d.config.PublicKey, application{ID: id, VerifyKey: own}, "has no Interactions Endpoint URL"},
		{key, application{ID: id, Endpoint: "https://x", VerifyKey: own}, "is not the application's Public Key"},
		{nil, application{ID: "7"}, "belongs to the application 7"},
	} {
		d.config.PublicKey = c.key
		err := d.fits(c.app)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.app, err, c.want)
		}
	}
}

func TestNamesThatAnybodyCanTakeAreNotAlone(t *testing.T) {
	for _, c := range []struct {
		member member
		want   string
	}{
		{member{User: user{ID: "1", Username: "ada"}}, "ada"},
		{member{User: user{ID: "1", Username: "ada", GlobalName: "Ada"}}, "Ada"},
		{member{User: user{ID: "1", Username: "mallory"}, Nick: "Grace Hopper"}, "Grace Hopper (@mallory)"},
		{member{User: user{ID: "1"}}, "1"},
	} {
		if got := c.member.name(); got != c.want {
			t.Errorf("%+v is called %q", c.member, got)
		}
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
