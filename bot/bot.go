// Package bot is the vocabulary of a conversation: what net/http is for the web, for chat. It knows no platform and
// nothing of releases. Adapters (bot/console, bot/slack) turn their platform's events into Requests and Messages into
// whatever looks right there; handlers answer Requests with Replies.
package bot

import (
	"context"
	"time"
)

// Handler answers requests.
type Handler interface {
	Handle(ctx context.Context, req Request) Reply
}

// Receiver takes requests from platforms that do not wait for an answer. Once Receive returns, the request is handled
// even if the process ends now, and once only however often it comes; its reply goes to the platform's Answerer.
type Receiver interface {
	Receive(ctx context.Context, req Request) error
}

// Answerer is a platform's way to answer a request that it has handed to a Receiver. Replies are for the person alone.
type Answerer interface {
	Answer(ctx context.Context, req Request, reply Reply) error
}

// Completer suggests words.
type Completer interface {
	// Complete suggests what may follow the words of the request, of which the last is still being typed ("" when it was
	// not begun). What the person may not ask for is left out.
	Complete(ctx context.Context, req Request) ([]Choice, error)
}

// Choice is a word and what it means.
type Choice struct{ Word, Label string }

// Directory knows a platform's people and their groups.
type Directory interface {
	// User completes what is known of a user by their id.
	User(ctx context.Context, id string) (User, error)
	// Member reports whether a user was in a group at or after a moment. The zero moment takes what is known.
	Member(ctx context.Context, group, user string, since time.Time) (bool, error)
	// Members returns the ids of the people in a group, as far as they are known lately.
	Members(ctx context.Context, group string) ([]string, error)
}

// Request is something that a person typed or clicked.
type Request struct {
	ID      string    `json:"id"` // the same when the platform delivers it again
	At      time.Time `json:"at"`
	User    User      `json:"user"`
	Channel Channel   `json:"channel"`
	Args    []string  `json:"args"` // as of a command line: the command's name first; a click has those of its button
	Clicked bool      `json:"clicked,omitempty"`
}

// User is a person as the platform knows them.
type User struct {
	Platform string `json:"platform"`
	ID       string `json:"id"`
	Name     string `json:"name"`
	Email    string `json:"email,omitempty"`
}

// Channel is where messages go: `console`, or a platform and what it calls the channel or the person: `slack:#releases`.
type Channel string

// Reply is the answer to a request. Without messages there is nothing to say: news will follow.
type Reply struct{ Messages []Message }

// Say is a reply of one message.
func Say(m Message) Reply { return Reply{Messages: []Message{m}} }

// Post is a message on its way to a place.
type Post struct {
	Message
	Channel   Channel
	Thread    string // the id of the message in the channel under which it goes; "" for the channel itself
	Broadcast bool   // shown in the channel as well as in the thread
	Key       string // by which it can be found again when it is not known whether it arrived
}

// Message says something. It is small and holds meaning only; an adapter decides how it looks.
type Message struct {
	Title    string
	Tone     Tone
	Body     string     // lines of text
	Code     string     // preformatted, such as a diff
	Fields   []Field    // short facts
	Table    [][]string // the first row is the head
	File     *File
	Mentions []string // groups and people who are to be notified: slack:@handle, slack:U…
	Buttons  []Button
	Footer   string
	About    string // what commands call the thing that it is about, such as a release's id
}

// Field is a fact with its name, and where to read more.
type Field struct{ Name, Value, URL string }

// File is a text that is too long for a message.
type File struct{ Name, Content string }

// Button offers a command. It carries the command's words, never the right to run it.
type Button struct {
	Label   string
	Args    []string
	Confirm string // what is asked once more before it is run; "" asks nothing
	Tone    Tone   // Good for the one to press, Bad for one that destroys
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

// Symbol says by a picture what the title says by a word.
func (t Tone) Symbol() string {
	switch t {
	case Working:
		return "⏳"
	case Good:
		return "✅"
	case Warning:
		return "⚠️"
	case Bad:
		return "❌"
	case Neutral:
	}
	return "🔹"
}

// Ref is where a message was sent, for edits and threads.
type Ref struct {
	Channel Channel `json:"channel"`
	ID      string  `json:"id"`
}

// Spec describes a command: platforms register from it, help prints it, the parser checks against it.
type Spec struct {
	Name    string // with its group: `release`, `gimlet status`
	Summary string
	Params  []Param
	Preview string // the command that shows, for the same words, what this one would do
	Hidden  bool   // not for people to type
}

// Param is a word that a command takes, in order.
type Param struct {
	Name     string
	Summary  string
	Required bool
	Rest     bool // takes all the words that are left
}
