package slack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
)

const longestBackoff = 20 * time.Second

// socket keeps a Socket Mode connection: https://docs.slack.dev/apis/events-api/using-socket-mode
func (s *Slack) socket(ctx context.Context) {
	const first, last = time.Second, time.Minute
	wait := first
	for ctx.Err() == nil {
		began := s.now()
		client := socketmode.New(s.api)
		serving, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); s.serve(serving, client, stop) }()
		err := client.RunContext(serving)
		stop()
		<-done
		if ctx.Err() != nil {
			return
		}
		s.link.Connected(fmt.Errorf("the Socket Mode connection ended: %w", err))
		s.log.Warn("the Socket Mode connection ended", "err", err)
		if s.now().Sub(began) > last {
			wait = first
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, last)
	}
}

// serve hands each event to a goroutine of its own, so that none waits for another.
func (s *Slack) serve(ctx context.Context, client *socketmode.Client, stop func()) {
	for {
		select {
		case e := <-client.Events:
			s.link.Go(func() { s.envelope(ctx, client, e, stop) })
		case <-ctx.Done():
			return
		}
	}
}

// envelope handles one event and acknowledges it. What is not acknowledged comes again, or Slack tells the person.
func (s *Slack) envelope(ctx context.Context, client *socketmode.Client, e socketmode.Event, giveUp func()) {
	if e.Type == socketmode.EventTypeConnected {
		s.link.Connected(nil)
		s.log.Info("connected to Slack by Socket Mode")
	}
	if failed, ok := e.Data.(*slack.ConnectionErrorEvent); ok {
		s.link.Connected(fmt.Errorf("no Socket Mode connection: %w", failed.ErrorObj))
		s.log.Warn("no Socket Mode connection", "err", failed.ErrorObj)
		if failed.Backoff > longestBackoff {
			giveUp() // the library would wait ever longer; a new connection begins at once
		}
	}
	if e.Request == nil || e.Request.EnvelopeID == "" {
		return
	}
	payload, err := s.safely(func() (any, error) {
		switch e.Type {
		case socketmode.EventTypeSlashCommand:
			c, ok := e.Data.(slack.SlashCommand)
			if !ok {
				return nil, errMalformed
			}
			return s.slash(ctx, c)
		case socketmode.EventTypeInteractive:
			return s.interaction(ctx, e.Request.Payload)
		case socketmode.EventTypeEventsAPI:
			return nil, s.event(ctx, e.Request.Payload)
		default:
			return nil, nil
		}
	})
	if err != nil && !errors.Is(err, errForeign) && !errors.Is(err, errMalformed) {
		s.log.Warn("an event was not taken", "type", e.Type, "err", err)
		return
	}
	if err != nil {
		s.log.Warn("an event was refused", "type", e.Type, "err", err)
	}
	if payload == nil {
		err = client.AckCtx(ctx, e.Request.EnvelopeID, nil)
	} else {
		err = client.AckCtx(ctx, e.Request.EnvelopeID, payload)
	}
	if err != nil {
		s.log.Warn("an event was not acknowledged", "type", e.Type, "err", err)
	}
}
