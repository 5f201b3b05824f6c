package console

import (
	"fmt"
	"strings"

	"gimletd/bot"
)

// ANSI colours; used on a terminal only, and never alone: a symbol says the same.
const (
	reset  = "\x1b[0m"
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	blue   = "\x1b[34m"
)

// style renders messages as text.
type style struct{ color bool }

func (s style) paint(code, text string) string {
	if !s.color || text == "" {
		return text
	}
	return code + text + reset
}

func (s style) symbol(t bot.Tone) string {
	switch t {
	case bot.Working:
		return s.paint(blue, "◌")
	case bot.Good:
		return s.paint(green, "✓")
	case bot.Warning:
		return s.paint(yellow, "!")
	case bot.Bad:
		return s.paint(red, "✗")
	default:
		return s.paint(blue, "•")
	}
}

// message renders a message; first is the number of its first button.
func (s style) message(m bot.Message, first int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", s.symbol(m.Tone), s.paint(bold, bot.Clean(m.Title)))
	for _, f := range m.Fields {
		value := f.Value
		if f.URL != "" && f.URL != f.Value {
			value += " " + f.URL
		}
		fmt.Fprintf(&b, "    %s %s\n", s.paint(dim, bot.Clean(f.Name)+":"), bot.Clean(value))
	}
	for line := range strings.Lines(m.Body) {
		fmt.Fprintf(&b, "    %s\n", bot.Clean(strings.TrimRight(line, "\n")))
	}
	s.table(&b, m.Table)
	for line := range strings.Lines(m.Code) {
		b.WriteString("    " + s.diffLine(bot.Clean(strings.TrimRight(line, "\n"))) + "\n")
	}
	if m.Footer != "" {
		fmt.Fprintf(&b, "    %s\n", s.paint(dim, bot.Clean(m.Footer)))
	}
	for i, button := range m.Buttons {
		fmt.Fprintf(&b, "    %s %s\n", s.paint(blue, fmt.Sprintf("[%d]", first+i)), bot.Clean(button.Label))
	}
	return b.String()
}

func (s style) diffLine(line string) string {
	switch {
	case strings.HasPrefix(line, "+"):
		return s.paint(green, line)
	case strings.HasPrefix(line, "-"):
		return s.paint(red, line)
	case strings.HasPrefix(line, "@@"):
		return s.paint(blue, line)
	}
	return line
}

func (s style) table(b *strings.Builder, rows [][]string) {
	for n, line := range bot.Columns(rows, 0) {
		if n == 0 {
			line = s.paint(dim, line)
		}
		fmt.Fprintf(b, "    %s\n", line)
	}
}
