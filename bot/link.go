package bot

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// How often an adapter looks whether it still may speak, and how long things take around that.
const (
	identifyEvery = 5 * time.Minute
	identifyAgain = 5 * time.Second // when it failed
	beatEvery     = 20 * time.Second
	finishWithin  = 5 * time.Second
)

// Link keeps the connection to a chat platform: it gives the signs of life of an adapter's loops, and waits for the work in hand at the
// end. Make it with NewLink.
type Link struct {
	platform, way string
	beat          func(loop string, fault error)
	log           *slog.Logger
	busy          sync.WaitGroup

	mu     sync.Mutex
	broken error
}

// NewLink makes the link of a platform. way names the loop of the connection by which requests come, such as "slack socket"; "" when they
// come as calls. beat is told, at each sign of life of a loop, what keeps it from its work, if anything.
func NewLink(platform, way string, beat func(loop string, fault error), log *slog.Logger) *Link {
	return &Link{platform: platform, way: way, beat: beat, log: log, broken: errors.New("not connected yet")}
}

// Go runs something that Keep waits for at the end.
func (l *Link) Go(do func()) { l.busy.Go(do) }

// Connected notes how the connection is by which requests come; nil is well.
func (l *Link) Connected(broken error) {
	l.mu.Lock()
	l.broken = broken
	l.mu.Unlock()
	l.beat(l.way, broken)
}

// Keep proves every now and then, sooner after a failure, that the platform knows the adapter, until the context ends. Then it waits a
// little for the work in hand.
func (l *Link) Keep(ctx context.Context, identify func(ctx context.Context) error) {
	defer l.finish()
	for {
		err := identify(ctx)
		l.beats(err)
		wait := identifyEvery
		if err != nil {
			wait = identifyAgain
			if ctx.Err() == nil {
				l.log.Warn("not all is well with "+l.platform+"; trying again", "err", err, "in", wait.String())
			}
		}
		if !l.wait(ctx, wait, err) {
			return
		}
	}
}

// wait gives signs of life until the time is over; false means the context is.
func (l *Link) wait(ctx context.Context, span time.Duration, fault error) bool {
	for span > 0 {
		step := min(span, beatEvery)
		select {
		case <-time.After(step):
		case <-ctx.Done():
			return false
		}
		span -= step
		l.beats(fault)
	}
	return true
}

func (l *Link) beats(fault error) {
	l.beat(l.platform, fault)
	if l.way == "" {
		return
	}
	l.mu.Lock()
	broken := l.broken
	l.mu.Unlock()
	l.beat(l.way, broken)
}

func (l *Link) finish() {
	done := make(chan struct{})
	go func() { l.busy.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(finishWithin):
	}
}
