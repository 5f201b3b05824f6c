package bot

import (
	"context"
	"fmt"
	"time"
)

// Finding is one thing that was checked of a platform's set-up.
type Finding struct {
	OK   bool
	What string
	Next string // what to do when it is not
}

// Checklist reports what is checked, each finding as soon as it is known.
type Checklist struct {
	Report func(Finding)
	Failed bool // something was not as it must be
}

// Check reports one finding, and whether it is good.
func (c *Checklist) Check(err error, what, next string) bool {
	if err != nil {
		c.Failed = true
		c.Report(Finding{What: fmt.Sprintf("%s: %v", what, err), Next: next})
		return false
	}
	c.Report(Finding{OK: true, What: what})
	return true
}

type poster interface {
	Send(ctx context.Context, p Post) (Ref, error)
	Edit(ctx context.Context, ref Ref, m Message) error
}

// SelfTest posts a message and changes it, as every release does.
func SelfTest(ctx context.Context, p poster, channel Channel, now time.Time) error {
	m := Message{Title: "Self-test of GimletD", Tone: Working, Body: "If this stays, messages can be posted and not changed."}
	ref, err := p.Send(ctx, Post{Channel: channel, Message: m, Key: "self-test/" + now.UTC().Format(time.RFC3339Nano)})
	if err != nil {
		return err
	}
	m.Tone, m.Body = Good, "Messages can be posted and changed here. Try /gimlet whoami."
	return p.Edit(ctx, ref, m)
}
