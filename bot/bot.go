// Package bot is the vocabulary of a conversation: what net/http is for the web, for chat. It knows no platform and
// nothing of releases. Adapters (bot/console) turn their platform's events into Requests and Messages into whatever
// looks right there; handlers answer Requests with Replies.
package bot

import (
	"context"
	"fmt"
	"time"
)

// Handler answers requests.
type Handler interface {
	Handle(ctx context.Context, req Request) Reply
}

// Request is something that a person typed or clicked.
type Request struct {
	User    User
	Channel Channel
	Args    []string // as of a command line: the command's name first; a click has those of its button
	Clicked bool
}

// User is a person as the platform knows them.
type User struct {
	Platform string
	ID       string
	Name     string
}

// Channel is where messages go: `console`, or a platform and the channel's name in it.
type Channel string

// Reply is the answer to a request.
type Reply struct {
	Message Message
	// Silent means there is nothing to say: news will follow.
	Silent bool
}

// Message says something. It is small and holds meaning only; an adapter decides how it looks.
type Message struct {
	Title   string
	Tone    Tone
	Body    string     // lines of text
	Code    string     // preformatted, such as a diff
	Fields  []Field    // short facts
	Table   [][]string // the first row is the head
	Buttons []Button
	Footer  string
}

// Field is a fact with its name.
type Field struct{ Name, Value string }

// Button offers a command. It carries the command's words, never the right to run it.
type Button struct {
	Label   string
	Args    []string
	Confirm string // what is asked once more before it is run; "" asks nothing
}

// Tone is how a message feels. Adapters show it by a symbol and a word as well as by colour.
type Tone string

// The tones.
const (
	Neutral Tone = ""
	Working Tone = "working"
	Good    Tone = "good"
	Warning Tone = "warning"
	Bad     Tone = "bad"
)

// Ref is where a message was sent, for edits.
type Ref struct {
	Channel Channel `json:"channel"`
	ID      string  `json:"id"`
}

// Spec describes a command: platforms register from it, help prints it, the parser checks against it.
type Spec struct {
	Name    string // with its group: `release`, `gimlet status`
	Summary string
	Params  []Param
}

// Param is a word that a command takes, in order.
type Param struct {
	Name     string
	Summary  string
	Required bool
}

// TemporaryError is an error of Send or Edit that goes away: the same call may work after the wait. Every other error
// of theirs is for good.
type TemporaryError struct {
	After time.Duration
	Err   error
}

func (e *TemporaryError) Error() string { return fmt.Sprintf("try again after %s: %v", e.After, e.Err) }

// Unwrap returns the cause.
func (e *TemporaryError) Unwrap() error { return e.Err }
