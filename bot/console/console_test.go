package console_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"gimletd/bot"
	"gimletd/bot/console"

	"github.com/google/go-cmp/cmp"
)

// echo answers with the words it was given, and with a button.
type echo struct{ clicked []bool }

func (e *echo) Handle(_ context.Context, req bot.Request) bot.Reply {
	e.clicked = append(e.clicked, req.Clicked)
	if req.Args[0] == "/silent" {
		return bot.Reply{}
	}
	return bot.Say(bot.Message{
		Title:   fmt.Sprintf("%s says %q", req.User.Name, req.Args),
		Buttons: []bot.Button{{Label: "Again", Args: []string{"/again", "with spaces"}, Confirm: "Sure?"}},
	})
}

func TestAPipeSettlesBeforeEachLine(t *testing.T) {
	var out bytes.Buffer
	settled := 0
	in := "/one 'two three' \"\"\n\n# a comment\n1\n9\n/silent\n/open 'quote\n/last"
	c := console.New(console.Config{
		In: strings.NewReader(in), Out: &out, User: bot.User{Name: "ada"}, Settle: func(context.Context) error { settled++; return nil },
	})
	e := &echo{}
	if err := c.Run(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	want := `> /one 'two three' ""
• ada says ["/one" "two three" ""]
    [1] Again
> 1
• ada says ["/again" "with spaces"]
    [2] Again
> 9
! There is no choice [9].
> /silent
> /open 'quote
! a ' is not closed
> /last
• ada says ["/last"]
    [3] Again
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if !slices.Equal(e.clicked, []bool{false, true, false, false}) {
		t.Errorf("clicked: %v", e.clicked)
	}
	if settled != 9 {
		t.Errorf("settled %d times for 8 lines and the end", settled)
	}
}

func TestQuitEndsAPipe(t *testing.T) {
	var out bytes.Buffer
	c := console.New(console.Config{In: strings.NewReader("/quit\n/never\n"), Out: &out, Settle: func(context.Context) error { return nil }})
	if err := c.Run(t.Context(), &echo{}); err != nil || strings.Contains(out.String(), "never") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestAConsoleThatCannotReadEndsWithTheContext(t *testing.T) {
	in, _ := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	c := console.New(console.Config{In: in, Out: io.Discard, Settle: func(context.Context) error { cancel(); return nil }})
	if err := c.Run(ctx, &echo{}); err != nil {
		t.Error(err)
	}
}

func TestABrokenOutputIsAnError(t *testing.T) {
	out, in := io.Pipe()
	_ = out.CloseWithError(errors.New("gone"))
	c := console.New(console.Config{In: strings.NewReader("/x\n"), Out: in, Settle: func(context.Context) error { return nil }})
	if err := c.Run(t.Context(), &echo{}); err == nil {
		t.Error("it went on")
	}
}

func TestMessagesOfStrangersCannotMoveTheCursor(t *testing.T) {
	var out bytes.Buffer
	c := console.New(console.Config{In: strings.NewReader(""), Out: &out})
	evil := "a\x1b[2Jb\rc\u202Ed\u0000e\nf\tg\xff"
	m := bot.Message{
		Title: evil, Body: evil, Code: "+" + evil, Footer: evil, Fields: []bot.Field{{Name: evil, Value: evil}},
		Table: [][]string{{"HEAD", "X"}, {evil, "häß"}, {"short", ""}}, Buttons: []bot.Button{{Label: evil}},
	}
	ref, err := c.Send(t.Context(), bot.Post{Channel: console.Channel, Message: m})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Edit(t.Context(), ref, bot.Message{Title: "later", Tone: bot.Bad}); err != nil {
		t.Fatal(err)
	}
	for _, r := range out.String() {
		if (r < ' ' && r != '\n') || r == 0x7f || r == 0x202e {
			t.Fatalf("%q is in\n%q", r, out.String())
		}
	}
	for _, want := range []string{"• a[2Jb cde f g�\n", "    HEAD            X\n", "    short\n", "✗ later\n", "    [1] a[2Jb"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(`/release "a b" 'c'`)
	f.Fuzz(func(t *testing.T, line string) {
		words, err := bot.Split(line)
		if err != nil {
			return
		}
		var quoted []string
		for _, w := range words {
			if strings.Contains(w, `"`) {
				return
			}
			quoted = append(quoted, `"`+w+`"`)
		}
		again, err := bot.Split(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(words, again) {
			t.Errorf("%q became %q, then %q %v", line, words, again, err)
		}
	})
}
