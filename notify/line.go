package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"gimletd/bot"
	"gimletd/releases"
)

// line tells one channel its news. What waits for its turn is replaced by a newer state of the same message; posts and
// edits, which platforms limit apart, do not wait for each other.
type line struct {
	*Dispatcher
	channel  bot.Channel
	platform Platform

	mu      sync.Mutex
	cards   []*card
	byKey   map[string]*card     // the newest of each key
	sent    map[string]bool      // messages that are there, so that the next state is an edit
	edited  map[string]time.Time // when a message was last edited
	blocked [2]time.Time         // until when posts and edits have to wait
	backoff [2]time.Duration
	changed chan struct{}
}

// card is a note that waits to be told.
type card struct {
	Note
	tellings []*telling
	after    time.Time
	over     bool // it need not be told any more
}

// gather is how long a state waits for the next one of the same message: most releases are through in a moment.
const gather = 20 * time.Millisecond

// What a line does with a card.
const (
	posting = 0
	editing = 1
)

func newLine(d *Dispatcher, channel bot.Channel, p Platform) *line {
	return &line{
		Dispatcher: d, channel: channel, platform: p, byKey: map[string]*card{}, sent: map[string]bool{}, edited: map[string]time.Time{}, changed: make(chan struct{}, 1),
	}
}

// add puts the note in line.
func (l *line) add(n Note, t *telling) {
	l.insert(&card{Note: n, tellings: []*telling{t}}, false)
}

// insert puts a card in line. One that comes back to it is older than one of the same message that is there.
func (l *line) insert(c *card, back bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.platform.EditEvery > 0 || c.RunOf != "" { // a summary is made when it is told, so one is enough
		if !back {
			c.after = l.Now().Add(gather)
		}
		if there := l.byKey[c.Key]; there != nil {
			there.tellings = append(there.tellings, c.tellings...)
			if !back {
				there.Note = c.Note
				l.decide(c.Note)
			}
			l.poke()
			return
		}
	}
	l.decide(c.Note)
	l.byKey[c.Key] = c
	if back {
		l.cards = slices.Insert(l.cards, 0, c)
	} else {
		l.cards = append(l.cards, c)
	}
	l.poke()
}

// decide ends the asking that still waits in line; the lock is held.
func (l *line) decide(n Note) {
	if !n.Decides {
		return
	}
	for _, other := range l.cards {
		switch {
		case other.AskFor == nil || other.Under != n.Key:
		case n.Goes && other.DiffOf != "":
			other.AskFor, other.Message = nil, bot.Message{Title: whatChanged}
		default:
			other.over = true
		}
	}
}

func (l *line) poke() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// run tells what is in line until the context ends.
func (l *line) run(ctx context.Context) {
	for ctx.Err() == nil {
		c, kind, wait := l.take()
		if c == nil {
			l.idle(ctx, wait)
			continue
		}
		err := l.safely(ctx, c)
		if ctx.Err() != nil && err != nil {
			return // not done: it is told again at the next start
		}
		l.settle(ctx, c, kind, err)
	}
}

func (l *line) idle(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-l.changed:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// take removes the card whose turn it is: messages before what belongs in their threads, older before newer. Without one
// it says how long to wait.
func (l *line) take() (taken *card, kind int, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.Now()
	wait = time.Hour
	best := -1
	for i, c := range l.cards {
		k := l.kind(c)
		ready := later(c.after, l.blocked[k])
		if at := l.edited[c.Key]; !at.IsZero() {
			ready = later(ready, at.Add(l.platform.EditEvery))
		}
		if now.Before(ready) {
			wait = min(wait, ready.Sub(now))
			continue
		}
		if c.Under != "" && l.byKey[c.Under] != nil && !l.sent[c.Under] {
			continue // the message whose thread it belongs in comes first
		}
		if best < 0 || (l.cards[best].Under != "" && c.Under == "") {
			best, kind = i, k
		}
		if c.Under == "" {
			break
		}
	}
	if best < 0 {
		return nil, 0, wait
	}
	taken = l.cards[best]
	l.cards = slices.Delete(l.cards, best, best+1)
	if l.byKey[taken.Key] == taken {
		delete(l.byKey, taken.Key)
	}
	return taken, kind, 0
}

func (l *line) kind(c *card) int {
	if l.sent[c.Key] {
		return editing
	}
	return posting
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Limits of a line's patience with a platform that fails.
const (
	firstBackoff = time.Second
	lastBackoff  = time.Minute
	storeAgain   = time.Second
	maxRecent    = 10_000 // messages whose last edit is remembered
)

// settle records what became of a card: told, to be tried again, or given up.
func (l *line) settle(ctx context.Context, c *card, kind int, err error) {
	temporary, again := errors.AsType[*bot.TemporaryError](err)
	if again {
		l.mu.Lock()
		wait := temporary.After
		if !temporary.Busy {
			l.backoff[kind] = min(max(firstBackoff, 2*l.backoff[kind]), lastBackoff)
			wait = max(wait, l.backoff[kind])
		}
		l.blocked[kind] = l.Now().Add(wait)
		l.mu.Unlock()
		if !temporary.Busy {
			l.failing(fmt.Errorf("%s cannot be told: %w", l.channel, temporary.Err))
			l.Log.Warn("people are told later", "channel", l.channel, "message", c.Key, "err", temporary.Err)
		}
		l.insert(c, true)
		return
	}
	l.mu.Lock()
	l.backoff[kind] = 0
	if err == nil {
		l.sent[c.Key] = true
	}
	if len(l.edited) > maxRecent || len(l.sent) > maxRecent { // the ledger knows
		clear(l.edited)
		clear(l.sent)
	}
	if kind == editing {
		l.edited[c.Key] = l.Now()
	}
	l.mu.Unlock()
	if err != nil {
		l.Log.Error("people were not told", "channel", l.channel, "message", c.Key, "err", releases.Redact(err.Error()))
	} else {
		l.failing(nil)
	}
	for _, t := range c.tellings {
		l.told(ctx, t)
	}
}

// safely turns a panic over one message into its loss: the next start would meet it again.
func (l *line) safely(ctx context.Context, c *card) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("telling it panicked: %v", p)
		}
	}()
	return l.tell(ctx, c)
}

// tell edits the card's message, or sends it when there is none yet.
func (l *line) tell(ctx context.Context, c *card) error {
	if l.platform.Sender == nil {
		return fmt.Errorf("there is no %s here", l.channel)
	}
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	key := l.ledgerKey(c.Key)
	known, err := l.entry(ctx, key)
	if err != nil {
		return &bot.TemporaryError{After: storeAgain, Err: err}
	}
	post, err := l.post(ctx, c.Note)
	if err != nil {
		return err
	}
	if known.ID == "" && !known.Tried.IsZero() {
		if known, err = l.reconcile(ctx, key, post, known); err != nil {
			return err
		}
	}
	switch {
	case c.over, known.ID != "" && c.Once, known.ID == "" && c.Followup:
		return nil
	case known.ID != "":
		now := post
		if known.Stray {
			now = l.strayed(post)
		}
		err := l.sender(known.Channel).Edit(ctx, known.Ref, now.Message)
		switch {
		case c.Under != "" || c.Followup:
			return err
		case errors.Is(err, bot.ErrNoChannel):
			return l.elsewhere(ctx, key, post, err)
		case !errors.Is(err, bot.ErrNoMessage):
			return err
		}
		// Somebody deleted the message; what it says now is still news.
	}
	err = l.send(ctx, key, post)
	if errors.Is(err, bot.ErrNoChannel) {
		err = l.elsewhere(ctx, key, post, err)
	}
	return err
}

func (l *line) ledgerKey(noteKey string) string { return noteKey + "/" + string(l.channel) }

// post makes the note's message complete: with its diff, its mentions, and its place.
func (l *line) post(ctx context.Context, n Note) (bot.Post, error) {
	post := bot.Post{Message: n.Message, Channel: l.channel, Broadcast: n.Broadcast, Key: l.ledgerKey(n.Key)}
	if n.Under != "" {
		parent, err := l.entry(ctx, l.ledgerKey(n.Under))
		if err != nil {
			return post, err
		}
		if parent.ID == "" {
			return post, fmt.Errorf("the message whose thread it belongs in was not sent")
		}
		post.Channel, post.Thread = parent.Channel, parent.ID
	}
	if n.RunOf != "" {
		v, err := l.Runs.RunOf(ctx, n.RunOf)
		if err != nil {
			return post, err
		}
		post.Message = Summary(v, l.Zone)
	}
	if n.DiffOf != "" {
		diff, err := l.Diffs.Diff(ctx, n.DiffOf)
		if err != nil {
			return post, err
		}
		if diff != "" {
			name := n.Key[strings.LastIndexAny(n.Key, "/:")+1:] // the plan, so that another plan's file is another one
			post.File = &bot.File{Name: n.DiffOf + "-" + name + ".diff", Content: diff}
		}
	}
	if n.AskFor != nil {
		verb := n.Verb
		if verb == "" {
			verb = releases.VerbApprove
		}
		post.Mentions = l.Approvers.Groups(*n.AskFor, verb)
	}
	return post, nil
}

// reconcile finds out whether a message arrived whose sending had no answer.
func (l *line) reconcile(ctx context.Context, key string, post bot.Post, known entry) (entry, error) {
	ref, found, err := l.platform.Find(ctx, post, known.Tried)
	if _, again := errors.AsType[*bot.TemporaryError](err); again {
		return known, err
	}
	if err != nil {
		l.Log.Warn("whether a message arrived cannot be found out; it is sent again", "channel", l.channel, "err", err)
		return known, nil
	}
	if !found {
		return known, nil
	}
	known = entry{Ref: ref}
	return known, l.setEntry(ctx, key, known)
}

// send posts with a note in the ledger before and after, so that a crash in between leaves a doubt and not a double.
func (l *line) send(ctx context.Context, key string, post bot.Post) error {
	if err := l.setEntry(ctx, key, entry{Tried: l.Now()}); err != nil {
		return &bot.TemporaryError{After: storeAgain, Err: err}
	}
	releases.CrashPoint("notify.before-send")
	ref, err := l.sender(post.Channel).Send(ctx, post)
	releases.CrashPoint("notify.after-send")
	if err == nil {
		if err := l.setEntry(ctx, key, entry{Ref: ref, Stray: post.Channel == l.Fallback && l.channel != l.Fallback}); err != nil {
			return &bot.TemporaryError{After: storeAgain, Err: err} // it is found again
		}
		return nil
	}
	temporary, again := errors.AsType[*bot.TemporaryError](err)
	if again && !temporary.Busy {
		return err // in doubt: it is looked for before it is sent again
	}
	return errors.Join(err, l.setEntry(ctx, key, entry{}))
}

// tellOwner has the owner told, once a day, that the channel does not get its news.
func (l *line) tellOwner(cause error) {
	if l.Owner != "" && l.Owner != l.channel && l.platform.Sender != nil {
		l.line(l.Owner).add(stray(l.channel, l.Fallback, cause, l.Now()), nil)
	}
}

// elsewhere sends to the fallback what its channel cannot take, and has the owner told.
func (l *line) elsewhere(ctx context.Context, key string, post bot.Post, cause error) error {
	if !l.named(l.channel) {
		return cause // what is for one person is for nobody else
	}
	l.tellOwner(cause)
	if l.Fallback == "" || l.Fallback == l.channel {
		return cause
	}
	post = l.strayed(post)
	post.Channel, post.Thread = l.Fallback, ""
	return l.send(ctx, key, post)
}

// named reports whether the configuration names the channel.
func (d *Dispatcher) named(c bot.Channel) bool {
	return slices.ContainsFunc(d.Environments, func(e releases.Environment) bool { return slices.Contains(e.Channels, string(c)) })
}

// sender is the way out to a channel, which may be of another platform than the line's.
func (l *line) sender(c bot.Channel) Sender {
	platform, _, _ := strings.Cut(string(c), ":")
	if p, ok := l.Platforms[platform]; ok {
		return p.Sender
	}
	return l.platform.Sender
}

// strayed says where the message was to be.
func (l *line) strayed(post bot.Post) bot.Post {
	meant := "meant for " + string(l.channel)
	if post.Footer != "" {
		meant = post.Footer + " · " + meant
	}
	post.Footer = meant
	return post
}
