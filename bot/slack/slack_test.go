package slack_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/bot"
	"gimletd/bot/slack"
	"gimletd/bot/slack/slacktest"
)

// FuzzRender holds whatever a message says to Slack's limits: nothing is refused, and nobody is paged.
func FuzzRender(f *testing.F) {
	f.Add("New artifact", "web → staging", "+a\n-b", "commit", "https://git.example/1", "Release", "footer", 3)
	f.Add("<!channel>", strings.Repeat("&<>", 5000), strings.Repeat("```x\n", 3000), "*b*", "javascript:alert(1)", strings.Repeat("l", 400), "\u202e", 30)
	f.Add("", "\n\n", "", "", "https://x/?a=|>&b", "", "", 0)
	f.Add(strings.Repeat("🚀", 4000), "\xff\xfe", "\x00", "n", "https://"+strings.Repeat("x", 3000), "ok", "f", 1)
	f.Fuzz(func(t *testing.T, title, body, code, name, address, label, footer string, n int) {
		m := bot.Message{Title: title, Body: body, Code: code, Footer: footer, About: "r-222222", Mentions: []string{name}, Table: [][]string{{title, name}, {body, code}}}
		for range n % 40 {
			m.Fields = append(m.Fields, bot.Field{Name: name, Value: body, URL: address}, bot.Field{Name: name, Value: address, URL: address})
			m.Buttons = append(m.Buttons, bot.Button{Label: label, Args: []string{"/release", name, title}, Confirm: body, Tone: bot.Bad})
		}
		rendered, err := slack.Render(m)
		if err != nil {
			t.Fatal(err)
		}
		blocks := slacktest.Blocks(t, rendered.Blocks)
		if fault := slacktest.Validate(blocks); fault != "" {
			t.Errorf("%s\n%s", fault, rendered.Blocks)
		}
		if strings.Contains(rendered.Text, "<!") || len([]rune(rendered.Text)) > 3000 {
			t.Errorf("text: %q", rendered.Text)
		}
	})
}

// deaf takes requests and does nothing.
type deaf struct{}

func (deaf) Receive(context.Context, bot.Request) error                  { return nil }
func (deaf) Handle(context.Context, bot.Request) bot.Reply               { return bot.Reply{} }
func (deaf) Complete(context.Context, bot.Request) ([]bot.Choice, error) { return nil, nil }

func connected(t testing.TB, fake *slacktest.Server) (s *slack.Slack, stop func()) {
	t.Helper()
	s = slack.New(slack.Config{
		BotToken: slacktest.BotToken, SigningSecret: slacktest.SigningSecret, APIURL: fake.URL(), Commands: bot.Names{Release: "/release", Rollback: "/rollback", Gimlet: "/gimlet"},
	}, &http.Client{Transport: fake.Transport()}, time.Now, slog.New(slog.DiscardHandler), func(string, error) {})
	s.Connect(deaf{}, deaf{}, deaf{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	return s, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// FuzzPayload sends signed calls with anything inside: every one is answered, and none makes it panic.
func FuzzPayload(f *testing.F) {
	fake := slacktest.New(f)
	u, c := fake.AddUser("ada", "ada@example.com"), fake.AddChannel("staging")
	f.Add("commands", string(slacktest.Encode("commands", u.SlashPayload(c, "/release web staging"))))
	f.Add("interactions", `payload={"type":"block_actions","team":{"id":"T0SLACKTEST"},"actions":[{"block_id":"b","action_id":"gimletd:0","value":"[\"/release\"]"}]}`)
	f.Add("interactions", `payload={"type":"block_actions","team":{"id":"T0SLACKTEST"},"view":{"type":"modal","callback_id":"gimletd_form","private_metadata":"{}"},"actions":[{"block_id":"app/0"}]}`)
	f.Add("options", `payload={"type":"block_suggestion","team":{"id":"T0SLACKTEST"},"block_id":"app/1","view":{"callback_id":"gimletd_form","private_metadata":"null"}}`)
	f.Add("interactions", `payload={"type":"view_submission","team":{"id":"T0SLACKTEST"},"view":{"callback_id":"gimletd_form","private_metadata":"{\"c\":\"/release\"}","state":{"values":{"app":null}}}}`)
	f.Add("interactions", `payload={"type":"message_action","team":{"id":"T0SLACKTEST"},"callback_id":"gimletd_rollback","message":{"blocks":[{"type":"context","block_id":"about:x"}]}}`)
	f.Add("events", `{"team_id":"T0SLACKTEST","event":{"type":"app_home_opened","tab":"home","user":"U1"}}`)
	s, stop := connected(f, fake)
	defer stop()
	handler := s.Handler()
	call := func(kind, body string) int {
		req := httptest.NewRequest(http.MethodPost, "/slack/"+url.PathEscape(kind), strings.NewReader(body))
		req.Header = slacktest.Sign([]byte(body), slacktest.SigningSecret, time.Now())
		res := httptest.NewRecorder()
		handler.ServeHTTP(res, req)
		return res.Code
	}
	// The first call is answered once it is known whose workspace it is.
	if status := call("events", `{"team_id":"T0SLACKTEST"}`); status != http.StatusOK {
		f.Fatalf("status %d", status)
	}
	f.Fuzz(func(t *testing.T, kind, body string) {
		if status := call(kind, body); status == http.StatusInternalServerError && kind != "interactions" {
			t.Errorf("status %d", status) // of interactions, forms that are not ours are not taken
		}
	})
}

func TestErrorsSayWhatCanBeDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := slacktest.New(t)
		c := fake.AddChannel("staging")
		s, stop := connected(t, fake)
		defer stop()
		synctest.Wait()
		post := bot.Post{Channel: "slack:#staging", Message: bot.Message{Title: "hello"}, Key: "k"}
		for _, f := range []struct {
			fault     slacktest.Fault
			temporary bool
			busy      bool
			is        error
		}{
			{slacktest.Fault{RetryAfter: 7 * time.Second}, true, true, nil},
			{slacktest.Fault{Status: 500}, true, false, nil},
			{slacktest.Fault{Drop: true}, true, false, nil},
			{slacktest.Fault{Error: "internal_error"}, true, false, nil},
			{slacktest.Fault{Error: "token_revoked"}, true, false, nil},
			{slacktest.Fault{Error: "is_archived"}, false, false, bot.ErrNoChannel},
			{slacktest.Fault{Error: "not_in_channel"}, false, false, bot.ErrNoChannel},
			{slacktest.Fault{Error: "invalid_blocks"}, false, false, nil},
		} {
			time.Sleep(time.Minute)
			fake.Fail("chat.postMessage", f.fault)
			_, err := s.Send(t.Context(), post)
			temporary, ok := errors.AsType[*bot.TemporaryError](err)
			if err == nil || ok != f.temporary || (ok && temporary.Busy != f.busy) || (f.is != nil && !errors.Is(err, f.is)) {
				t.Errorf("%+v: %v", f.fault, err)
			}
			if f.fault.RetryAfter > 0 && temporary.After != f.fault.RetryAfter {
				t.Errorf("wait %s", temporary.After)
			}
		}
		time.Sleep(time.Minute)
		ref, found, err := s.Find(t.Context(), post, time.Now().Add(-time.Hour))
		if err != nil || !found { // the answer that was lost
			t.Errorf("found %v %v", found, err)
		}
		if err := s.Edit(t.Context(), ref, bot.Message{Title: "edited"}); err != nil {
			t.Error(err)
		}
		if err := s.Edit(t.Context(), bot.Ref{Channel: ref.Channel, ID: "1.1"}, bot.Message{Title: "x"}); !errors.Is(err, bot.ErrNoMessage) {
			t.Errorf("an edit of nothing: %v", err)
		}
		if _, found, err := s.Find(t.Context(), bot.Post{Channel: "slack:#staging", Key: "other"}, time.Now().Add(-time.Hour)); found || err != nil {
			t.Errorf("found another's: %v %v", found, err)
		}
		if _, err := s.Send(t.Context(), bot.Post{Channel: "slack:#nowhere", Message: bot.Message{Title: "x"}}); !errors.Is(err, bot.ErrNoChannel) {
			t.Errorf("no such channel: %v", err)
		}
		if got := fake.Messages(c, true)[0].Now().Seen(); !strings.Contains(got, "edited") {
			t.Errorf("it says %s", got)
		}
	})
}

func TestMembershipIsAsFreshAsItIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := slacktest.New(t)
		ada, grace := fake.AddUser("ada", "ada@example.com"), fake.AddUser("grace", "grace@example.com")
		fake.AddGroup("managers", ada)
		s, stop := connected(t, fake)
		defer stop()
		expect := func(since time.Time, want ...string) {
			t.Helper()
			for _, u := range []*slacktest.User{ada, grace} {
				in, err := s.Member(t.Context(), "@managers", u.ID, since)
				if err != nil || in != slices.Contains(want, u.ID) {
					t.Errorf("%s: %v %v, want %v", u.Name, in, err, want)
				}
			}
		}
		expect(time.Time{}, ada.ID)
		fake.AddGroup("managers", ada, grace)
		expect(time.Time{}, ada.ID) // as it was a moment ago
		time.Sleep(time.Second)
		expect(time.Now(), ada.ID, grace.ID) // as it is now
		fake.AddGroup("managers", grace)
		time.Sleep(10 * time.Minute)
		expect(time.Time{}, grace.ID)
		fake.Fail("usergroups.users.list", slacktest.Fault{Status: 500}, slacktest.Fault{Status: 500}, slacktest.Fault{Status: 500})
		time.Sleep(10 * time.Minute)
		expect(time.Time{}, grace.ID) // it will do for looking
		if _, err := s.Member(t.Context(), "@managers", ada.ID, time.Now()); err == nil {
			t.Error("it will not do for deciding")
		}
		before := len(fake.Calls("usergroups.users.list"))
		now := time.Now()
		for range 30 { // those who ask for the same moment share one call
			expect(now, grace.ID)
		}
		if n := len(fake.Calls("usergroups.users.list")) - before; n != 1 {
			t.Errorf("%d calls", n)
		}
		for range 60 { // a decision a second stays below the limit, and each is answered
			time.Sleep(time.Second)
			expect(time.Now(), grace.ID)
		}
		for _, c := range fake.Calls("") {
			if c.Refused == "429" {
				t.Errorf("%s was called too often", c.Method)
			}
		}
		if _, err := s.Members(t.Context(), "@nobody"); err == nil || !strings.Contains(err.Error(), "there is no user group @nobody") {
			t.Errorf("an unknown group: %v", err)
		}
	})
}
