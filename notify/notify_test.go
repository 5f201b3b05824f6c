package notify_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/bot"
	"gimletd/bot/console"
	"gimletd/notify"
	"gimletd/releases"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden file anew")

func version() releases.Version {
	return releases.Version{
		RepositoryName: "acme/web", SHA: "1a2b3c4d5e6f", Branch: "main", AuthorName: "Ada", URL: "https://git.example/1",
		Message: "Add a cart <!channel> \x1b[31mred\x1b[0m\n\nMore.",
	}
}

// outcomes are one of each kind and state.
func outcomes() []releases.Outcome {
	news := releases.News{
		ID: "acme/web-1", Version: version(), Items: []map[string]any{{"name": "CI", "url": "https://ci.example/1"}, {"n": 1}}, Dropped: []string{"NPM_TOKEN"},
		Decisions: []releases.Decision{{App: "web", Env: "staging", Fires: true, Reason: "every push fires"}, {App: "web", Env: "production", Reason: "no deploy policy in the manifest"}},
	}
	all := []releases.Outcome{
		{Kind: releases.ArtifactShipped, Artifact: &news},
		{Kind: releases.ArtifactShipped, Artifact: &releases.News{ID: "acme/lib-1", Version: releases.Version{RepositoryName: "acme/lib", SHA: "1a2b3c4d5e6f", Tag: "v2", Event: "tag"}}},
		{Kind: releases.HoldChanged, Hold: &releases.Hold{App: "web", Env: "production", By: "ada", At: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)}, Resumed: "grace", Seq: 7},
	}
	plan := &releases.Plan{Unstable: []string{"secret.yaml"}}
	for i := range 10 {
		plan.Changes = append(plan.Changes, releases.Change{Action: "changed", Object: fmt.Sprintf("Deployment web-%d", i), Fields: []string{"replicas 1 → 2"}, Risky: i == 0})
	}
	for _, kind := range []string{releases.KindRelease, releases.KindRollback} {
		for _, state := range []struct {
			status releases.Status
			reason string
		}{
			{releases.Proposed, "every push fires"},
			{releases.Proposed, "waiting: the GitOps repository main cannot be reached: connection refused"},
			{releases.Approved, "no approval is needed"},
			{releases.Publishing, ""},
			{releases.Published, ""},
			{releases.Unchanged, "the repository already holds exactly this; no commit was needed"},
			{releases.Failed, `values.image.tag: "{{ .SHA }}": variable SHA is missing`},
			{releases.Superseded, "ada rolls back"},
		} {
			r := releases.Release{
				ID: "r-7f3k2m", Kind: kind, App: "web", Env: "production", ArtifactID: "acme/web-1", Version: version(), From: "0f9e8d7",
				RequestedBy: releases.Actor{Name: "ada"}, Status: state.status, Reason: state.reason,
			}
			if state.status == releases.Published {
				r.Plan, r.Commit = plan, "abcdef0123456789"
			}
			if state.status == releases.Proposed && kind == releases.KindRelease {
				r.Policy = "deploy"
			}
			if kind == releases.KindRollback {
				r.Target = "r-before"
			}
			all = append(all, releases.Outcome{Kind: releases.ReleaseChanged, Release: &r})
		}
	}
	return all
}

func TestEveryMessageInEveryState(t *testing.T) {
	var out bytes.Buffer
	terminal := console.New(console.Config{In: strings.NewReader(""), Out: &out})
	for _, o := range outcomes() {
		m, key, ok := notify.Compose(o)
		name := o.Kind
		if o.Release != nil {
			name = fmt.Sprintf("%s %s (%s)", o.Release.Kind, o.Release.Status, o.Release.Reason)
		}
		fmt.Fprintf(&out, "== %s\n", name)
		if !ok {
			fmt.Fprintln(&out, "(people are not told)")
			continue
		}
		fmt.Fprintf(&out, "-- %s\n", key)
		if _, err := terminal.Send(t.Context(), "console", m); err != nil {
			t.Fatal(err)
		}
		for _, b := range m.Buttons {
			fmt.Fprintf(&out, "   %q asks %q\n", b.Args, b.Confirm)
		}
	}
	const golden = "testdata/messages.golden"
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("a message carries a terminal's control sequence")
	}
}

func TestRoute(t *testing.T) {
	environments := []releases.Environment{
		{Name: "staging", Channels: []string{"console", "slack:#staging"}}, {Name: "production", Channels: []string{"slack:#prod", "console"}}, {Name: "quiet"},
	}
	for _, c := range []struct {
		name string
		o    releases.Outcome
		want []bot.Channel
	}{
		{"a release", releases.Outcome{Release: &releases.Release{Env: "production"}}, []bot.Channel{"slack:#prod", "console"}},
		{"a release without channels", releases.Outcome{Release: &releases.Release{Env: "quiet"}}, nil},
		{"an artifact for both", releases.Outcome{Artifact: &releases.News{Decisions: []releases.Decision{{Env: "production"}, {Env: "staging"}}}}, []bot.Channel{"console", "slack:#staging", "slack:#prod"}},
		{"an artifact for none", releases.Outcome{Artifact: &releases.News{}}, []bot.Channel{"console", "slack:#staging", "slack:#prod"}},
		{"a hold", releases.Outcome{Hold: &releases.Hold{Env: "staging"}}, []bot.Channel{"console", "slack:#staging"}},
	} {
		if diff := cmp.Diff(c.want, notify.Route(c.o, environments)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// memory is a queue and a ledger.
type memory struct {
	mu     sync.Mutex
	queue  []releases.Outcome
	ledger map[string]string
	empty  chan struct{}
}

func (m *memory) Next(ctx context.Context) (releases.Outcome, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) > 0 {
		return m.queue[0], nil
	}
	select {
	case <-m.empty:
	default:
		close(m.empty)
	}
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	return releases.Outcome{}, ctx.Err()
}

func (m *memory) Done(_ context.Context, seq uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.queue[0].Seq != seq {
		return errors.New("not the first")
	}
	m.queue = m.queue[1:]
	return nil
}

func (m *memory) Sent(_ context.Context, key string) (string, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ref, ok := m.ledger[key]
	return ref, ok, nil
}

func (m *memory) SetSent(_ context.Context, key, ref string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ledger[key] = ref
	return nil
}

// platform records what it is given and fails as it is told.
type platform struct {
	calls []string
	fail  []error
}

func (p *platform) next() error {
	if len(p.fail) == 0 {
		return nil
	}
	err := p.fail[0]
	p.fail = p.fail[1:]
	return err
}

func (p *platform) Send(_ context.Context, c bot.Channel, m bot.Message) (bot.Ref, error) {
	p.calls = append(p.calls, fmt.Sprintf("send %s %s", c, m.Tone))
	return bot.Ref{Channel: c, ID: "1"}, p.next()
}

func (p *platform) Edit(_ context.Context, r bot.Ref, m bot.Message) error {
	p.calls = append(p.calls, fmt.Sprintf("edit %s/%s %s", r.Channel, r.ID, m.Tone))
	return p.next()
}

func TestOneMessageForEachReleaseWhateverThePlatformAnswers(t *testing.T) {
	r := func(seq uint64, status releases.Status) releases.Outcome {
		return releases.Outcome{Seq: seq, Release: &releases.Release{ID: "r-1", Env: "staging", Status: status}}
	}
	for _, c := range []struct {
		name string
		fail []error
		want []string
	}{
		{"all well", nil, []string{"send console working", "edit console/1 good"}},
		{"busy for a while", []error{&bot.TemporaryError{After: time.Minute, Err: errors.New("429")}}, []string{"send console working", "send console working", "edit console/1 good"}},
		{"refused for good", []error{errors.New("channel is archived")}, []string{"send console working", "send console good"}},
		{"busy for ever", slicesRepeat(&bot.TemporaryError{After: time.Second, Err: errors.New("500")}, 5), []string{
			"send console working", "send console working", "send console working", "send console working", "send console working", "send console good",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &memory{ledger: map[string]string{}, empty: make(chan struct{}), queue: []releases.Outcome{r(1, releases.Proposed), r(2, releases.Approved), r(3, releases.Published)}}
				p := &platform{fail: c.fail}
				d := &notify.Dispatcher{
					Queue: m, Ledger: m, Senders: map[string]notify.Sender{"console": p}, Loops: releases.NewLoops(), Now: time.Now, Log: slog.New(slog.DiscardHandler),
					Environments: []releases.Environment{{Name: "staging", Channels: []string{"console", "slack:#nowhere"}}},
				}
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- d.Run(ctx) }()
				<-m.empty
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(c.want, p.calls); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func slicesRepeat(err error, n int) (all []error) {
	for range n {
		all = append(all, err)
	}
	return all
}
