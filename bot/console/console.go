package console

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"gimletd/bot"

	"golang.org/x/term"
)

// Channel is the console's only channel.
const Channel bot.Channel = "console"

// Config is a console's surroundings.
type Config struct {
	In  io.Reader
	Out io.Writer
	// User is who types.
	User bot.User
	// NoColor turns colours off on a terminal, too (https://no-color.org).
	NoColor bool
	// Settle waits until what was asked for has happened and was told. In a pipe it runs before each line is read.
	Settle func(context.Context) error
	// Completer suggests words.
	Completer bot.Completer
}

// Console is a chat in a terminal or a pipe. It implements notify.Sender.
type Console struct {
	config Config
	style  style
	tty    *os.File // nil in a pipe

	mu      sync.Mutex
	out     io.Writer
	sent    int
	buttons []bot.Button // the last ones shown; numbers count from the start of the session
}

// New makes a console. With a terminal at both ends it edits lines and may use colour.
func New(c Config) *Console {
	console := &Console{config: c, out: c.Out}
	in, inFile := c.In.(*os.File)
	out, outFile := c.Out.(*os.File)
	if outFile && term.IsTerminal(int(out.Fd())) {
		console.style.color = !c.NoColor
		if inFile && term.IsTerminal(int(in.Fd())) {
			console.tty = in
		}
	}
	return console
}

// Send prints a message. There are no threads here: what would go into one can be asked for.
func (c *Console) Send(_ context.Context, post bot.Post) (bot.Ref, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	ref := bot.Ref{Channel: post.Channel, ID: strconv.Itoa(c.sent)}
	if post.Thread != "" {
		return ref, nil
	}
	return ref, c.print(post.Message)
}

// Edit prints the message's new state: what scrolled by cannot be changed.
func (c *Console) Edit(_ context.Context, _ bot.Ref, m bot.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.print(m)
}

// Find finds nothing: what was printed by an earlier life of the process is not ours to read.
func (c *Console) Find(context.Context, bot.Post, time.Time) (bot.Ref, bool, error) {
	return bot.Ref{}, false, nil
}

// print needs the lock.
func (c *Console) print(m bot.Message) error {
	first := len(c.buttons) + 1
	if c.config.In == nil {
		m.Buttons = nil // nobody can press them
	}
	c.buttons = append(c.buttons, m.Buttons...)
	_, err := io.WriteString(c.out, c.style.message(m, first))
	return err
}

// Run reads commands until the input ends, and hands them to the handler.
func (c *Console) Run(ctx context.Context, handler bot.Handler) error {
	if c.tty != nil {
		return c.interactive(ctx, handler)
	}
	return c.piped(ctx, handler)
}

func (c *Console) piped(ctx context.Context, handler bot.Handler) error {
	lines := read(c.config.In)
	for {
		if err := c.config.Settle(ctx); err != nil {
			return err
		}
		var line string
		select {
		case next := <-lines:
			if next.err != nil {
				return unlessEOF(next.err)
			}
			line = strings.TrimSpace(next.text)
		case <-ctx.Done():
			return nil
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		c.mu.Lock()
		_, err := fmt.Fprintf(c.out, "> %s\n", bot.Clean(line))
		c.mu.Unlock()
		if err != nil {
			return err
		}
		if quit(line) {
			return nil
		}
		if err := c.handle(ctx, handler, line, nil); err != nil {
			return err
		}
	}
}

// line is a line of the input, or its end.
type line struct {
	text string
	err  error
}

// read reads lines as they are asked for. A read cannot be given up, so it has a goroutine of its own.
func read(in io.Reader) <-chan line {
	lines := make(chan line)
	go func() {
		reader := bufio.NewReader(in)
		for {
			text, err := reader.ReadString('\n')
			if err != nil && text != "" {
				lines <- line{text: text}
			}
			lines <- line{text: text, err: err}
			if err != nil {
				return
			}
		}
	}()
	return lines
}

// unlessEOF is nil for the end of the input.
func unlessEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (c *Console) interactive(ctx context.Context, handler bot.Handler) error {
	fd := int(c.tty.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(fd, before) }()
	terminal := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{c.config.In, c.config.Out}, "> ")
	terminal.AutoCompleteCallback = c.complete
	if width, height, err := term.GetSize(fd); err == nil {
		_ = terminal.SetSize(width, height)
	}
	c.mu.Lock()
	c.out = terminal
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.out = c.config.Out
		c.mu.Unlock()
	}()
	typed := make(chan string)
	ended := make(chan error, 1)
	asked := make(chan struct{})
	go func() {
		for range asked {
			line, err := terminal.ReadLine()
			if err != nil {
				ended <- err
				return
			}
			typed <- line
		}
	}()
	defer close(asked)
	next := func() (string, error) {
		asked <- struct{}{}
		select {
		case line := <-typed:
			return line, nil
		case err := <-ended:
			return "", err
		case <-ctx.Done():
			return "", io.EOF
		}
	}
	for {
		line, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line = strings.TrimSpace(line)
		if quit(line) {
			return nil
		}
		confirm := func(question string) (bool, error) {
			terminal.SetPrompt(bot.Clean(question) + " [y/N] ")
			defer terminal.SetPrompt("> ")
			answer, err := next()
			return strings.EqualFold(strings.TrimSpace(answer), "y"), err
		}
		if err := c.handle(ctx, handler, line, confirm); err != nil {
			return unlessEOF(err)
		}
	}
}

func quit(line string) bool {
	return line == "/quit" || line == "/exit" || line == "quit" || line == "exit"
}

// handle runs one line: a command, or the number of a button. confirm is nil where nobody can be asked.
func (c *Console) handle(ctx context.Context, handler bot.Handler, line string, confirm func(string) (bool, error)) error {
	if line == "" {
		return nil
	}
	req := bot.Request{User: c.config.User, Channel: Channel, At: time.Now()}
	if number, err := strconv.Atoi(line); err == nil {
		button, ok := c.button(number)
		if !ok {
			return c.say(bot.Message{Tone: bot.Warning, Title: fmt.Sprintf("There is no choice [%d].", number)})
		}
		if button.Confirm != "" && confirm != nil {
			if yes, err := confirm(button.Confirm); err != nil || !yes {
				return err
			}
		}
		req.Args, req.Clicked = button.Args, true
	} else {
		args, err := bot.Split(line)
		if err != nil {
			return c.say(bot.Message{Tone: bot.Warning, Title: err.Error()})
		}
		req.Args = args
	}
	reply := handler.Handle(ctx, req)
	for _, m := range reply.Messages {
		if err := c.say(m); err != nil {
			return err
		}
	}
	return nil
}

func (c *Console) button(number int) (bot.Button, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if number < 1 || number > len(c.buttons) {
		return bot.Button{}, false
	}
	return c.buttons[number-1], true
}

func (c *Console) say(m bot.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.print(m)
}

// completeWithin is how long the one who types waits for suggestions.
const completeWithin = time.Second

// complete extends the word before the cursor when there is one way to, and else by what all ways share.
func (c *Console) complete(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' || c.config.Completer == nil || pos != len(line) {
		return "", 0, false
	}
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasSuffix(line, " ") {
		words = append(words, "")
	}
	last := words[len(words)-1]
	ctx, cancel := context.WithTimeout(context.Background(), completeWithin)
	defer cancel()
	found, err := c.config.Completer.Complete(ctx, bot.Request{User: c.config.User, Channel: Channel, Args: words})
	if err != nil {
		return "", 0, false
	}
	var fits []string
	for _, choice := range found {
		if strings.HasPrefix(choice.Word, last) {
			fits = append(fits, choice.Word)
		}
	}
	if len(fits) == 0 {
		return "", 0, false
	}
	shared := fits[0]
	for _, fit := range fits[1:] {
		for !strings.HasPrefix(fit, shared) {
			shared = shared[:len(shared)-1]
		}
	}
	if len(fits) == 1 {
		shared += " "
	}
	line = strings.TrimSuffix(line, last) + shared
	return line, len(line), true
}
