package notify_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/bot"
	"gimletd/notify"
	"gimletd/releases"

	"github.com/google/go-cmp/cmp"
)

// memory is a queue, a ledger, and what a dispatcher asks besides.
type memory struct {
	mu      sync.Mutex
	queue   []releases.Outcome
	ledger  map[string]string
	changed chan struct{}
}

func newMemory(queue ...releases.Outcome) *memory {
	return &memory{queue: queue, ledger: map[string]string{}, changed: make(chan struct{}, 1)}
}

func (m *memory) add(o releases.Outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = append(m.queue, o)
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (m *memory) Next(ctx context.Context, after uint64) (releases.Outcome, error) {
	for {
		m.mu.Lock()
		i := slices.IndexFunc(m.queue, func(o releases.Outcome) bool { return o.Seq > after })
		if i >= 0 {
			o := m.queue[i]
			m.mu.Unlock()
			return o, nil
		}
		m.mu.Unlock()
		select {
		case <-m.changed:
		case <-ctx.Done():
			return releases.Outcome{}, ctx.Err()
		}
	}
}

func (m *memory) Done(_ context.Context, seq uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = slices.DeleteFunc(m.queue, func(o releases.Outcome) bool { return o.Seq == seq })
	return nil
}

func (m *memory) left() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue)
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

func (m *memory) Diff(context.Context, string) (string, error) { return "+a\n", nil }

func (m *memory) Groups(releases.Release, string) []string { return []string{"slack:@managers"} }

func (m *memory) Voters(context.Context, releases.Release) ([]bot.Channel, error) {
	return []bot.Channel{"slack:U1", "slack:U2"}, nil
}

// platform records what it is given, and fails as it is told.
type platform struct {
	mu    sync.Mutex
	start time.Time
	calls []string
	fail  []error
	lost  bool // what failed arrived all the same
}

func (p *platform) call(format string, args ...any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, fmt.Sprintf("%.1fs ", time.Since(p.start).Seconds())+fmt.Sprintf(format, args...))
	if len(p.fail) == 0 {
		return nil
	}
	err := p.fail[0]
	p.fail = p.fail[1:]
	return err
}

func (p *platform) Send(_ context.Context, post bot.Post) (bot.Ref, error) {
	extra := ""
	if post.Thread != "" {
		extra = " in " + post.Thread
	}
	if post.File != nil {
		extra += " with " + post.File.Name
	}
	if len(post.Mentions) > 0 {
		extra += " to " + strings.Join(post.Mentions, " ")
	}
	err := p.call("send %s: %s%s", post.Channel, post.Title, extra)
	return bot.Ref{Channel: post.Channel, ID: "1"}, err
}

func (p *platform) Edit(_ context.Context, r bot.Ref, m bot.Message) error {
	return p.call("edit %s/%s: %s", r.Channel, r.ID, m.Title)
}

func (p *platform) Find(_ context.Context, post bot.Post, _ time.Time) (bot.Ref, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, fmt.Sprintf("%.1fs find %s", time.Since(p.start).Seconds(), post.Key))
	return bot.Ref{Channel: post.Channel, ID: "9"}, p.lost, nil
}

// state is an outcome of a release of the app.
func state(seq uint64, app string, status releases.Status) releases.Outcome {
	return releases.Outcome{Seq: seq, Release: &releases.Release{
		ID: "r-" + app, App: app, Env: "staging", Status: status, Version: releases.Version{SHA: "1111111"}, Plan: &releases.Plan{Digest: "d"},
	}}
}

func TestDelivery(t *testing.T) {
	busy := &bot.TemporaryError{After: 10 * time.Second, Err: errors.New("429"), Busy: true}
	doubt := &bot.TemporaryError{Err: errors.New("timeout")}
	gone := fmt.Errorf("message_not_found: %w", bot.ErrNoMessage)
	archived := fmt.Errorf("is_archived: %w", bot.ErrNoChannel)
	life := func(app string) []releases.Outcome {
		return []releases.Outcome{state(1, app, releases.Proposed), state(2, app, releases.Approved), state(3, app, releases.Published)}
	}
	reminder := state(1, "web", releases.Waiting)
	reminder.Reminder, reminder.Release = reminder.Release, nil
	reminder.Reminder.Approval, reminder.Reminder.Reminded = &releases.Approval{Needs: []releases.Need{{Count: 1}}}, time.Unix(1, 0)
	reminder.Reminder.Blocks = []releases.Block{{Kind: releases.BlockVotes}}
	decided := state(2, "web", releases.Rejected)
	decided.Release.Asked = time.Unix(1, 0)
	failed := state(1, "web", releases.Failed)
	for _, c := range []struct {
		name     string
		outcomes []releases.Outcome
		late     releases.Outcome // after a minute
		fail     []error
		lost     bool
		want     []string
	}{
		{name: "the newest state is what is sent", outcomes: life("web"), want: []string{"0.0s send slack:#staging: Released web 1111111 to staging"}},
		{
			name: "a later state is an edit", outcomes: life("web")[:1], late: state(3, "web", releases.Published),
			want: []string{"0.0s send slack:#staging: Releasing web 1111111 to staging", "60.0s edit slack:#staging/1: Released web 1111111 to staging"},
		},
		{
			name: "being busy is no failure", outcomes: life("web"), fail: []error{busy, busy},
			want: []string{"0.0s send slack:#staging: Released web 1111111 to staging", "10.0s send slack:#staging: Released web 1111111 to staging", "20.0s send slack:#staging: Released web 1111111 to staging"},
		},
		{
			name: "a doubtful post is looked for, and edited when it arrived", outcomes: life("web"), fail: []error{doubt}, lost: true,
			want: []string{"0.0s send slack:#staging: Released web 1111111 to staging", "1.0s find release/r-web/slack:#staging", "1.0s edit slack:#staging/9: Released web 1111111 to staging"},
		},
		{
			name: "a doubtful post is looked for, and sent again when it did not arrive", outcomes: life("web"), fail: []error{doubt},
			want: []string{"0.0s send slack:#staging: Released web 1111111 to staging", "1.0s find release/r-web/slack:#staging", "1.0s send slack:#staging: Released web 1111111 to staging"},
		},
		{
			name: "an outage is waited out, with ever longer pauses", outcomes: life("web"), fail: []error{doubt, doubt, doubt},
			want: []string{
				"0.0s send slack:#staging: Released web 1111111 to staging", "1.0s find release/r-web/slack:#staging", "1.0s send slack:#staging: Released web 1111111 to staging",
				"3.0s find release/r-web/slack:#staging", "3.0s send slack:#staging: Released web 1111111 to staging",
				"7.0s find release/r-web/slack:#staging", "7.0s send slack:#staging: Released web 1111111 to staging",
			},
		},
		{
			name: "a deleted message is sent anew", outcomes: life("web")[:1], late: state(3, "web", releases.Published), fail: []error{nil, gone},
			want: []string{"0.0s send slack:#staging: Releasing web 1111111 to staging", "60.0s edit slack:#staging/1: Released web 1111111 to staging", "60.0s send slack:#staging: Released web 1111111 to staging"},
		},
		{
			name: "a lost channel's news go to the fallback, and its owner is told once", outcomes: append(life("web"), state(4, "api", releases.Published)), fail: []error{archived, nil, archived},
			want: []string{
				"0.0s send slack:#staging: Released web 1111111 to staging", "0.0s send slack:#fallback: Released web 1111111 to staging",
				"0.0s send slack:#staging: Released api 1111111 to staging", "0.0s send slack:#fallback: Released api 1111111 to staging",
				"0.0s send slack:U9: I cannot post in slack:#staging",
			},
		},
		{
			name: "a lost channel's message stays marked, and goes to its own channel when it is deleted", outcomes: life("web")[:1], late: state(3, "web", releases.Published), fail: []error{archived, nil, nil, gone},
			want: []string{
				"0.0s send slack:#staging: Releasing web 1111111 to staging", "0.0s send slack:#fallback: Releasing web 1111111 to staging",
				"0.0s send slack:U9: I cannot post in slack:#staging",
				"60.0s edit slack:#fallback/1: Released web 1111111 to staging", "60.0s send slack:#staging: Released web 1111111 to staging",
			},
		},
		{
			name: "what is for one person goes to nobody else", outcomes: []releases.Outcome{reminder}, fail: []error{archived, archived},
			want: []string{"0.0s send slack:U1: Your approval is needed: web 1111111 to staging", "0.0s send slack:U2: Your approval is needed: web 1111111 to staging"},
		},
		{
			name: "what is refused for good keeps nobody else back", outcomes: []releases.Outcome{state(1, "web", releases.Published), state(2, "api", releases.Published)}, fail: []error{errors.New("invalid_blocks")},
			want: []string{"0.0s send slack:#staging: Released web 1111111 to staging", "0.0s send slack:#staging: Released api 1111111 to staging"},
		},
		{
			name: "messages come before threads", outcomes: []releases.Outcome{failed, state(2, "api", releases.Published)},
			want: []string{"0.0s send slack:#staging: Not released: web 1111111 to staging", "0.0s send slack:#staging: Released api 1111111 to staging", "0.0s send slack:#staging: Not released: web 1111111 to staging in 1"},
		},
		{
			name: "reminders go to those who have not voted, and are followed up", outcomes: []releases.Outcome{reminder}, late: decided,
			want: []string{
				"0.0s send slack:U1: Your approval is needed: web 1111111 to staging", "0.0s send slack:U2: Your approval is needed: web 1111111 to staging",
				"60.0s edit slack:U1/1: Rejected: web 1111111 to staging", "60.0s edit slack:U2/1: Rejected: web 1111111 to staging", "60.0s send slack:#staging: Rejected: web 1111111 to staging",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, p := newMemory(c.outcomes...), &platform{fail: c.fail, lost: c.lost, start: time.Now()}
				stop := run(t, m, map[string]notify.Platform{"slack": {Sender: p, EditEvery: 3 * time.Second}})
				synctest.Wait()
				if c.late.Seq > 0 {
					time.Sleep(time.Minute)
					m.add(c.late)
				}
				time.Sleep(5 * time.Minute)
				stop()
				if left := m.left(); left > 0 {
					t.Errorf("%d outcomes are not done", left)
				}
				got := slices.Clone(p.calls)
				if strings.HasPrefix(c.name, "a lost") || strings.HasPrefix(c.name, "reminders") || strings.HasPrefix(c.name, "what is for") { // several lines at one moment
					slices.Sort(got)
					slices.Sort(c.want)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestAFallbackMayBeOfAnotherPlatform has the news of a closed channel told elsewhere, and edited there.
func TestAFallbackMayBeOfAnotherPlatform(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(state(1, "web", releases.Proposed))
		here := &platform{start: time.Now(), fail: []error{fmt.Errorf("deleted: %w", bot.ErrNoChannel)}}
		there := &platform{start: time.Now()}
		d := &notify.Dispatcher{
			Queue: m, Ledger: m, Platforms: map[string]notify.Platform{"discord": {Sender: here, EditEvery: time.Second}, "slack": {Sender: there, EditEvery: time.Second}},
			Approvers: m, Diffs: m, Fallback: "slack:#fallback", Loops: releases.NewLoops(), Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Environments: []releases.Environment{{Name: "staging", Channels: []string{"discord:1"}}},
		}
		stop := start(t, d)
		time.Sleep(time.Minute)
		m.add(state(2, "web", releases.Published))
		time.Sleep(time.Minute)
		stop()
		want := []string{"0.0s send slack:#fallback: Releasing web 1111111 to staging", "60.0s edit slack:#fallback/1: Released web 1111111 to staging"}
		if diff := cmp.Diff(want, there.calls); diff != "" || len(here.calls) != 1 {
			t.Errorf("%s\n%q", diff, here.calls)
		}
	})
}

// shaky is a platform whose code panics over one message.
type shaky struct{ platform }

func (s *shaky) Send(ctx context.Context, post bot.Post) (bot.Ref, error) {
	if strings.Contains(post.Title, "web") {
		panic("over that one")
	}
	return s.platform.Send(ctx, post)
}

// TestAPanicOverOneMessageCostsThatMessage keeps the process alive, and the others told.
func TestAPanicOverOneMessageCostsThatMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := newMemory(state(1, "web", releases.Published), state(2, "api", releases.Published)), &shaky{platform{start: time.Now()}}
		stop := run(t, m, map[string]notify.Platform{"slack": {Sender: s, EditEvery: time.Second}})
		time.Sleep(time.Minute)
		stop()
		if left := m.left(); left > 0 || len(s.calls) != 1 || !strings.Contains(s.calls[0], "api") {
			t.Errorf("%d left, %q", left, s.calls)
		}
	})
}

func run(t *testing.T, m *memory, platforms map[string]notify.Platform) (stop func()) {
	t.Helper()
	d := &notify.Dispatcher{
		Queue: m, Ledger: m, Platforms: platforms, Approvers: m, Diffs: m, Fallback: "slack:#fallback", Owner: "slack:U9",
		Loops: releases.NewLoops(), Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Environments: []releases.Environment{{Name: "staging", Channels: []string{"slack:#staging"}}},
	}
	return start(t, d)
}

func start(t *testing.T, d *notify.Dispatcher) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestEditsOfAMessageAreSpacedAndTheLastIsToldAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMemory(), &platform{start: time.Now()}
		stop := run(t, m, map[string]notify.Platform{"slack": {Sender: p, EditEvery: 3 * time.Second}})
		for seq := range uint64(10) {
			o := state(seq+1, "web", releases.Proposed)
			if seq == 9 {
				o = state(seq+1, "web", releases.Unchanged)
			}
			m.add(o)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		stop()
		want := []string{
			"0.0s send slack:#staging: Releasing web 1111111 to staging", "1.0s edit slack:#staging/1: Releasing web 1111111 to staging",
			"4.0s edit slack:#staging/1: Releasing web 1111111 to staging", "7.0s edit slack:#staging/1: Releasing web 1111111 to staging", "10.0s edit slack:#staging/1: Nothing to change: web 1111111 in staging",
		}
		if diff := cmp.Diff(want, p.calls); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAPlatformThatHangsKeepsNoOtherBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMemory(state(1, "web", releases.Published)), &platform{start: time.Now()}
		d := &notify.Dispatcher{
			Queue: m, Ledger: m, Platforms: map[string]notify.Platform{"slack": {Sender: hanging{p}}, "console": {Sender: p}}, Approvers: m, Diffs: m,
			Loops: releases.NewLoops(), Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Environments: []releases.Environment{{Name: "staging", Channels: []string{"slack:#staging", "console"}}},
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.Run(ctx) }()
		synctest.Wait()
		if len(p.calls) != 1 || !strings.Contains(p.calls[0], "send console") {
			t.Errorf("got %q", p.calls)
		}
		cancel()
		<-ended
		if m.left() != 1 {
			t.Error("what was not told everywhere is done")
		}
	})
}

type hanging struct{ *platform }

func (hanging) Send(ctx context.Context, _ bot.Post) (bot.Ref, error) {
	<-ctx.Done()
	return bot.Ref{}, ctx.Err()
}

// held takes nothing into threads until it is let go, and says who may vote only after a while.
type held struct {
	*platform
	threads bool
	looking time.Duration
	*memory
}

func (h *held) Send(ctx context.Context, post bot.Post) (bot.Ref, error) {
	if post.Thread != "" && !h.threads {
		return bot.Ref{}, &bot.TemporaryError{After: time.Minute, Err: errors.New("later"), Busy: true}
	}
	return h.platform.Send(ctx, post)
}

func (h *held) Voters(ctx context.Context, r releases.Release) ([]bot.Channel, error) {
	time.Sleep(h.looking)
	return h.memory.Voters(ctx, r)
}

func asking(seq uint64, status releases.Status) releases.Outcome {
	o := state(seq, "web", status)
	if status == releases.Waiting {
		o.Release.Blocks = []releases.Block{{Kind: releases.BlockVotes}}
	}
	o.Release.Asked, o.Release.Approval = time.Unix(1, 0), &releases.Approval{Needs: []releases.Need{{Count: 1}}}
	return o
}

func TestARestartEndsWithTheNewestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(asking(1, releases.Waiting))
		h := &held{platform: &platform{start: time.Now()}, memory: m}
		life := func() (stop func()) {
			return run(t, m, map[string]notify.Platform{"slack": {Sender: h, EditEvery: 3 * time.Second}})
		}
		stop := life()
		time.Sleep(10 * time.Second)
		m.add(asking(2, releases.Rejected)) // while the thread of the one before has not been told
		time.Sleep(10 * time.Second)
		stop()
		h.threads = true
		stop = life()
		time.Sleep(10 * time.Minute)
		stop()
		last := h.calls[len(h.calls)-1]
		if !strings.Contains(last, "Rejected") || m.left() > 0 || strings.Contains(fmt.Sprint(h.calls), "Approval needed") {
			t.Errorf("%d left; it said %q", m.left(), h.calls)
		}
	})
}

func TestNobodyIsRemindedOfWhatWasDecidedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reminder := asking(1, releases.Waiting)
		reminder.Reminder, reminder.Release = reminder.Release, nil
		m := newMemory(reminder)
		h := &held{platform: &platform{start: time.Now()}, memory: m, looking: 10 * time.Second}
		d := &notify.Dispatcher{
			Queue: m, Ledger: m, Platforms: map[string]notify.Platform{"slack": {Sender: h, EditEvery: time.Second}}, Approvers: h, Diffs: m,
			Loops: releases.NewLoops(), Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Environments: []releases.Environment{{Name: "staging", Channels: []string{"slack:#staging"}}},
		}
		stop := start(t, d)
		time.Sleep(5 * time.Second)
		m.add(asking(2, releases.Rejected))
		time.Sleep(time.Minute)
		stop()
		if got := fmt.Sprint(h.calls); strings.Contains(got, "Your approval is needed") || m.left() > 0 {
			t.Errorf("%d left; it said %s", m.left(), got)
		}
	})
}

func (m *memory) Direct(a releases.Actor) bot.Channel { return bot.Channel(a.Via + ":" + a.User) }
