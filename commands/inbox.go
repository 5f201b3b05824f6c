package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gimletd/bot"
	"gimletd/releases"
)

// Mailbox remembers requests until they are handled.
type Mailbox interface {
	// Accept remembers a request durably, unless its id is known.
	Accept(ctx context.Context, id string, body []byte) (known bool, err error)
	// Finish notes that the request was handled.
	Finish(ctx context.Context, id string) error
	// Unfinished returns the bodies of those that were not, oldest first.
	Unfinished(ctx context.Context) ([][]byte, error)
}

// Inbox is a bot.Receiver: it remembers requests, has them handled side by side, and answers. What a crash left
// unhandled is handled at the next start.
type Inbox struct {
	mailbox   Mailbox
	handler   bot.Handler
	answerers map[string]bot.Answerer // by platform
	now       func() time.Time
	log       *slog.Logger

	began   time.Time
	arrived atomic.Int64    // how long after began the last request came
	ctx     context.Context //nolint:containedctx // requests outlive the calls that bring them, and end with the process
	stop    context.CancelFunc
	busy    sync.WaitGroup
	room    chan struct{} // a place for each request in hand
}

// Limits of the inbox.
const (
	handledAtOnce = 256
	handleWithin  = time.Minute
	giveWayStep   = 15 * time.Millisecond
	giveWaySteps  = 20
	// tooLate is how old a request may be that a crash or a shutdown has left: people would be surprised by a release that
	// they asked for long ago.
	tooLate = 15 * time.Minute
)

// NewInbox makes an Inbox. Answerers may be added until Start.
func NewInbox(m Mailbox, h bot.Handler, now func() time.Time, log *slog.Logger) *Inbox {
	ctx, stop := context.WithCancel(context.Background())
	return &Inbox{
		mailbox: m, handler: h, answerers: map[string]bot.Answerer{}, now: now, log: log.With("component", "inbox"), began: time.Now(),
		ctx: ctx, stop: stop, room: make(chan struct{}, handledAtOnce),
	}
}

// AnswerBy has the platform's requests answered.
func (i *Inbox) AnswerBy(platform string, a bot.Answerer) { i.answerers[platform] = a }

// Receive remembers the request and has it handled. A request that was received before is left alone.
func (i *Inbox) Receive(ctx context.Context, req bot.Request) error {
	i.arrived.Store(int64(time.Since(i.began)))
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	known, err := i.mailbox.Accept(ctx, req.User.Platform+" "+req.ID, body)
	if err != nil {
		return err
	}
	releases.CrashPoint("inbox.accepted")
	if known {
		i.log.Info("a request came again", "id", req.ID, "user", req.User.Name)
		return nil
	}
	i.begin(req) //nolint:contextcheck // it outlives the call
	return nil
}

// Start takes up what the last life of the process has left.
func (i *Inbox) Start(ctx context.Context) error {
	bodies, err := i.mailbox.Unfinished(ctx)
	if err != nil {
		return err
	}
	for _, body := range bodies {
		var req bot.Request
		if err := json.Unmarshal(body, &req); err != nil {
			i.log.Error("a request of an earlier life cannot be read", "err", err)
			continue
		}
		i.begin(req) //nolint:contextcheck // it outlives the call
	}
	return nil
}

// Stop waits for the requests in hand, until the context ends.
func (i *Inbox) Stop(ctx context.Context) {
	done := make(chan struct{})
	go func() { i.busy.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	i.stop()
}

func (i *Inbox) begin(req bot.Request) {
	i.busy.Go(func() {
		select {
		case i.room <- struct{}{}:
			defer func() { <-i.room }()
		case <-i.ctx.Done():
			return
		}
		i.giveWay()
		ctx, cancel := context.WithTimeout(i.ctx, handleWithin)
		defer cancel()
		reply := i.handle(ctx, req)
		if i.ctx.Err() != nil {
			return // not finished: the next life does it
		}
		releases.CrashPoint("inbox.handled")
		err := i.answer(req, reply)
		if err != nil {
			i.log.Warn("somebody was not answered", "user", req.User.Name, "args", req.Args, "err", releases.Redact(err.Error()))
		}
		if err := i.mailbox.Finish(i.ctx, req.User.Platform+" "+req.ID); err != nil {
			i.log.Error("a handled request cannot be marked", "id", req.ID, "err", err)
		}
	})
}

// giveWay lets requests that arrive now be acknowledged first: somebody waits for that, for three seconds at most.
func (i *Inbox) giveWay() {
	for range giveWaySteps {
		if time.Since(i.began)-time.Duration(i.arrived.Load()) > giveWayStep {
			return
		}
		time.Sleep(giveWayStep)
	}
}

func (i *Inbox) handle(ctx context.Context, req bot.Request) (reply bot.Reply) {
	defer func() {
		if p := recover(); p != nil {
			i.log.Error("a command panicked", "args", req.Args, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			reply = bot.Say(bot.Message{Tone: bot.Bad, Title: "That went wrong here, and nothing was done", Body: "It is a fault of mine; my log says more."})
		}
	}()
	if age := i.now().Sub(req.At); age > tooLate {
		return bot.Say(bot.Message{
			Tone: bot.Warning, Title: "I was away when you asked, and now it is too late",
			Body: fmt.Sprintf("%d minutes ago you asked for: %s\nIf I had not begun it by then, it was not done: /gimlet history shows. Ask again if you still want it.", int(age.Minutes()), joined(req.Args)),
		})
	}
	return i.handler.Handle(ctx, req)
}

func joined(args []string) string {
	var text strings.Builder
	for _, a := range args {
		text.WriteString(a + " ")
	}
	return bot.Cut(text.String(), 200)
}

// answer tries for a while: the person waits.
func (i *Inbox) answer(req bot.Request, reply bot.Reply) error {
	answerer := i.answerers[req.User.Platform]
	if answerer == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(i.ctx, handleWithin)
	defer cancel()
	for {
		err := answerer.Answer(ctx, req, reply)
		temporary, ok := errors.AsType[*bot.TemporaryError](err)
		if !ok {
			return err
		}
		select {
		case <-time.After(temporary.After):
		case <-ctx.Done():
			return err
		}
	}
}
