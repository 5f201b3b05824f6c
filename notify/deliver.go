package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"gimletd/bot"
	"gimletd/releases"
)

// Sender is a platform's way out.
type Sender interface {
	Send(ctx context.Context, channel bot.Channel, m bot.Message) (bot.Ref, error)
	Edit(ctx context.Context, ref bot.Ref, m bot.Message) error
}

// Queue gives outcomes in order; each again until it is done.
type Queue interface {
	Next(ctx context.Context) (releases.Outcome, error)
	Done(ctx context.Context, seq uint64) error
}

// Ledger remembers where a message was sent.
type Ledger interface {
	Sent(ctx context.Context, key string) (ref string, ok bool, err error)
	SetSent(ctx context.Context, key, ref string) error
}

// Dispatcher delivers what the queue gives.
type Dispatcher struct {
	Queue        Queue
	Ledger       Ledger
	Senders      map[string]Sender // by platform
	Environments []releases.Environment
	Loops        *releases.Loops
	Now          func() time.Time
	Log          *slog.Logger
}

// Limits of one delivery.
const (
	sendWithin = 15 * time.Second
	maxTries   = 5
	loopName   = "notifier"
	heartbeat  = 5 * time.Second
)

// Run delivers until the context ends.
func (d *Dispatcher) Run(ctx context.Context) error {
	for {
		d.Loops.Beat(loopName, d.Now(), nil)
		o, err := d.next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // being told to stop is no failure
		case errors.Is(err, context.DeadlineExceeded):
			continue // nothing new: a sign of life
		case err != nil:
			d.Log.Error("an outcome cannot be read", "err", err)
			d.Loops.Beat(loopName, d.Now(), err)
			pause(ctx, time.Second)
			continue
		}
		for _, channel := range Route(o, d.Environments) {
			if err := d.deliver(ctx, o, channel); err != nil && ctx.Err() == nil {
				d.Log.Error("people were not told", "channel", channel, "seq", o.Seq, "kind", o.Kind, "err", err)
			}
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // not done: it is told again at the next start
		}
		if err := d.Queue.Done(ctx, o.Seq); err != nil {
			d.Log.Error("an outcome cannot be marked done", "seq", o.Seq, "err", err)
			pause(ctx, time.Second)
		}
	}
}

func (d *Dispatcher) next(ctx context.Context) (releases.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	return d.Queue.Next(ctx)
}

func (d *Dispatcher) deliver(ctx context.Context, o releases.Outcome, channel bot.Channel) error {
	m, key, ok := Compose(o)
	if !ok {
		return nil
	}
	platform, _, _ := strings.Cut(string(channel), ":")
	sender := d.Senders[platform]
	if sender == nil {
		return fmt.Errorf("there is no %s here", platform)
	}
	key += "/" + string(channel)
	for try := 1; ; try++ {
		err := d.tell(ctx, sender, key, channel, m)
		var temporary *bot.TemporaryError
		if err == nil || !errors.As(err, &temporary) || try == maxTries {
			return err
		}
		pause(ctx, temporary.After)
	}
}

// tell edits the message with the key, or sends it when there is none yet.
func (d *Dispatcher) tell(ctx context.Context, sender Sender, key string, channel bot.Channel, m bot.Message) error {
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	known, ok, err := d.Ledger.Sent(ctx, key)
	if err != nil {
		return err
	}
	if ok {
		var ref bot.Ref
		if err := json.Unmarshal([]byte(known), &ref); err != nil {
			return fmt.Errorf("ledger %s: %w", key, err)
		}
		return sender.Edit(ctx, ref, m)
	}
	releases.CrashPoint("notify.before-send")
	ref, err := sender.Send(ctx, channel, m)
	releases.CrashPoint("notify.after-send")
	if err != nil {
		return err
	}
	text, err := json.Marshal(ref)
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
