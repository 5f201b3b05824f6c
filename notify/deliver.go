package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"gimletd/bot"
	"gimletd/releases"
)

// Sender is a platform's way out.
type Sender interface {
	Send(ctx context.Context, post bot.Post) (bot.Ref, error)
	Edit(ctx context.Context, ref bot.Ref, m bot.Message) error
	// Find looks for a post that was sent at or after a moment, of which it is not known whether it arrived.
	Find(ctx context.Context, post bot.Post, since time.Time) (ref bot.Ref, found bool, err error)
}

// Platform is a Sender and its manner.
type Platform struct {
	Sender
	// EditEvery is the least time between two edits of one message; states in between are left out, the last never is.
	// With 0 every state is told.
	EditEvery time.Duration
}

// Queue gives outcomes in order of their Seq; each is given again at the next start until it is done.
type Queue interface {
	// Next waits for the oldest outcome after one.
	Next(ctx context.Context, after uint64) (releases.Outcome, error)
	Done(ctx context.Context, seq uint64) error
}

// Ledger remembers where a message was sent.
type Ledger interface {
	Sent(ctx context.Context, key string) (ref string, ok bool, err error)
	SetSent(ctx context.Context, key, ref string) error
}

// Approvers knows who may vote on a release.
type Approvers interface {
	// Voters are the direct channels of those who may vote and have not.
	Voters(ctx context.Context, r releases.Release) ([]bot.Channel, error)
	// Groups are the names to mention of those who have the right to the verb.
	Groups(r releases.Release, verb string) []string
	// Direct is the channel of a person alone; "" when there is none.
	Direct(a releases.Actor) bot.Channel
}

// Diffs gives the whole diff of a release.
type Diffs interface {
	Diff(ctx context.Context, releaseID string) (string, error)
}

// Runs gives the runs of scheduled policies.
type Runs interface {
	RunOf(ctx context.Context, id string) (releases.RunView, error)
}

// Dispatcher delivers what the queue gives: to each channel in a line of its own, so that none waits for another.
type Dispatcher struct {
	Queue        Queue
	Ledger       Ledger
	Platforms    map[string]Platform
	Environments []releases.Environment
	Approvers    Approvers
	Diffs        Diffs
	Runs         Runs
	// Fallback is where the news of a channel go that cannot be posted to; Owner is who is told of it. "" means nowhere.
	Fallback, Owner bot.Channel
	Zone            *time.Location // of the times in messages
	Loops           *releases.Loops
	Now             func() time.Time
	Log             *slog.Logger

	ctx     context.Context //nolint:containedctx // the lines live as long as Run
	running sync.WaitGroup

	mu    sync.Mutex
	lines map[bot.Channel]*line
	open  int                         // outcomes that are not done
	order map[string][]*telling       // by release: what is not done, in order, so that a restart ends with the newest state
	asked map[string]releases.Release // releases whose voters are being looked up, as they are now
	fault error                       // what keeps news from being told
}

// Limits of delivery.
const (
	sendWithin = 30 * time.Second
	lookWithin = 15 * time.Second
	lookAgain  = 30 * time.Second
	maxLooks   = 5
	loopName   = "notifier"
	heartbeat  = 5 * time.Second
	// maxOpen bounds the outcomes that are held in memory; those after them wait in the store.
	maxOpen = 20_000
)

// Run delivers until the context ends.
func (d *Dispatcher) Run(ctx context.Context) error {
	d.lines, d.order, d.asked = map[bot.Channel]*line{}, map[string][]*telling{}, map[string]releases.Release{}
	defer d.running.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d.ctx = ctx
	var last uint64
	for ctx.Err() == nil {
		d.beat()
		if d.full() {
			pause(ctx, time.Second)
			continue
		}
		o, err := d.next(ctx, last)
		switch {
		case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded): // the end, or nothing new
		case err != nil:
			d.Log.Error("an outcome cannot be read", "err", err)
			pause(ctx, time.Second)
		default:
			last = o.Seq
			d.spread(ctx, o)
		}
	}
	return nil
}

func (d *Dispatcher) next(ctx context.Context, after uint64) (releases.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	return d.Queue.Next(ctx, after)
}

func (d *Dispatcher) beat() {
	d.mu.Lock()
	fault := d.fault
	d.mu.Unlock()
	d.Loops.Beat(loopName, d.Now(), fault)
}

func (d *Dispatcher) full() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open >= maxOpen
}

// telling counts what is left to be told of an outcome.
type telling struct {
	seq     uint64
	release string // whose outcomes are done in order
	left    int
}

// spread gives the outcome's notes to the lines of their channels.
func (d *Dispatcher) spread(ctx context.Context, o releases.Outcome) {
	t := d.begin(o)
	add := func(channel bot.Channel, n Note) {
		d.mu.Lock()
		t.left++
		d.mu.Unlock()
		d.line(channel).add(n, t)
	}
	notes := Compose(o, d.Zone)
	for _, channel := range Route(o, d.Environments) {
		for _, n := range notes {
			add(channel, n)
		}
	}
	if who, n, ok := Personal(o, d.Zone); ok {
		if channel := d.Approvers.Direct(who); channel != "" {
			add(channel, n)
		}
	}
	if r := o.Release; r != nil && !r.Asked.IsZero() {
		for _, reminder := range d.reminded(ctx, r.ID) {
			add(reminder.Channel, followUp(*r, reminder.Plan, d.Zone))
		}
	}
	if r := o.Reminder; r != nil {
		d.running.Go(func() { // whom to remind is asked of a platform, for which nobody else waits
			channels, now := d.remind(ctx, *r)
			if ctx.Err() != nil {
				return // not done: it is looked up again at the next start
			}
			for _, channel := range channels {
				add(channel, Remind(now, d.Zone))
			}
			d.told(ctx, t)
		})
		return
	}
	d.told(ctx, t)
}

// begin takes an outcome in hand.
func (d *Dispatcher) begin(o releases.Outcome) *telling {
	t := &telling{seq: o.Seq, left: 1}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open++
	for _, r := range []*releases.Release{o.Release, o.Reminder} {
		if r == nil {
			continue
		}
		t.release = r.ID
		if _, looking := d.asked[r.ID]; looking || o.Reminder != nil {
			d.asked[r.ID] = *r
		}
	}
	if t.release != "" {
		d.order[t.release] = append(d.order[t.release], t)
	}
	return t
}

// told notes that one part of the outcome needs no more telling.
func (d *Dispatcher) told(ctx context.Context, t *telling) {
	if t == nil {
		return
	}
	for _, seq := range d.finished(t) {
		if err := d.Queue.Done(ctx, seq); err != nil && ctx.Err() == nil {
			d.Log.Error("an outcome cannot be marked done; it will be told again", "seq", seq, "err", err)
		}
	}
}

// finished counts the part and returns the outcomes that are done by it: for a release none before those that came before.
func (d *Dispatcher) finished(t *telling) (seqs []uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.left--; t.left > 0 {
		return nil
	}
	if t.release == "" {
		d.open--
		return []uint64{t.seq}
	}
	queue := d.order[t.release]
	for len(queue) > 0 && queue[0].left == 0 {
		seqs = append(seqs, queue[0].seq)
		queue = queue[1:]
		d.open--
	}
	if d.order[t.release] = queue; len(queue) == 0 {
		delete(d.order, t.release)
	}
	return seqs
}

// reminder is a direct message that asks for a vote on a plan.
type reminder struct {
	Channel bot.Channel `json:"channel"`
	Plan    string      `json:"plan"`
}

// remind finds who is to be reminded of the release as it is by then, and remembers it, so that those messages can be
// followed up.
func (d *Dispatcher) remind(ctx context.Context, r releases.Release) (channels []bot.Channel, now releases.Release) {
	channels, err := d.voters(ctx, r)
	for try := 1; err != nil && try < maxLooks && ctx.Err() == nil; try++ {
		d.Log.Warn("not everybody who could vote is known", "release", r.ID, "err", err)
		pause(ctx, lookAgain)
		channels, err = d.voters(ctx, r)
	}
	all := d.reminded(ctx, r.ID)
	for _, channel := range channels {
		if one := (reminder{channel, r.PlanWord()}); !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	text, err := json.Marshal(all)
	if err == nil {
		err = d.Ledger.SetSent(ctx, "reminded/"+r.ID, string(text))
	}
	if err != nil {
		d.Log.Error("a reminder is not remembered", "release", r.ID, "err", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now = d.asked[r.ID]
	delete(d.asked, r.ID)
	if now.Status != releases.Waiting || now.PlanWord() != r.PlanWord() {
		return nil, now // it was decided meanwhile, or is another plan's
	}
	return channels, now
}

func (d *Dispatcher) voters(ctx context.Context, r releases.Release) ([]bot.Channel, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	return d.Approvers.Voters(ctx, r)
}

func (d *Dispatcher) reminded(ctx context.Context, id string) (all []reminder) {
	text, ok, err := d.Ledger.Sent(ctx, "reminded/"+id)
	if err == nil && ok {
		err = json.Unmarshal([]byte(text), &all)
	}
	if err != nil {
		d.Log.Error("who was reminded is not known", "release", id, "err", err)
	}
	return all
}

// line returns the channel's line, which it starts if there is none.
func (d *Dispatcher) line(channel bot.Channel) *line {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lines[channel]
	if l == nil {
		platform, _, _ := strings.Cut(string(channel), ":")
		l = newLine(d, channel, d.Platforms[platform])
		d.lines[channel] = l
		d.running.Go(func() { l.run(d.ctx) })
	}
	return l
}

// failing remembers what keeps news from being told; nil when they go out.
func (d *Dispatcher) failing(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = err
}

// entry is what the ledger holds of a message: where it is, or since when it is not known whether it was sent.
type entry struct {
	bot.Ref
	Tried time.Time `json:"tried,omitzero"`
	Stray bool      `json:"stray,omitempty"` // it is in the fallback
}

func (d *Dispatcher) entry(ctx context.Context, key string) (e entry, err error) {
	text, ok, err := d.Ledger.Sent(ctx, key)
	if err != nil || !ok {
		return e, err
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return e, fmt.Errorf("ledger %s: %w", key, err)
	}
	return e, nil
}

func (d *Dispatcher) setEntry(ctx context.Context, key string, e entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return d.Ledger.SetSent(ctx, key, string(text))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
