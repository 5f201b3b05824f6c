package console

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

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
	fmt.Fprintf(&b, "%s %s\n", s.symbol(m.Tone), s.paint(bold, clean(m.Title)))
	for _, f := range m.Fields {
		fmt.Fprintf(&b, "    %s %s\n", s.paint(dim, clean(f.Name)+":"), clean(f.Value))
	}
	for line := range strings.Lines(m.Body) {
		fmt.Fprintf(&b, "    %s\n", clean(strings.TrimRight(line, "\n")))
	}
	s.table(&b, m.Table)
	for line := range strings.Lines(m.Code) {
		b.WriteString("    " + s.diffLine(clean(strings.TrimRight(line, "\n"))) + "\n")
	}
	if m.Footer != "" {
		fmt.Fprintf(&b, "    %s\n", s.paint(dim, clean(m.Footer)))
	}
	for i, button := range m.Buttons {
		fmt.Fprintf(&b, "    %s %s\n", s.paint(blue, fmt.Sprintf("[%d]", first+i)), clean(button.Label))
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
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(clean(cell)))
		}
	}
	for n, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			cell = clean(cell)
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		text := strings.TrimRight(line.String(), " ")
		if n == 0 {
			text = s.paint(dim, text)
		}
		fmt.Fprintf(b, "    %s\n", text)
	}
}

// clean takes out of a text what could move the cursor, change the terminal, or show words in another order: much of
// what is printed was written by strangers.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case unicode.IsControl(r), r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f:
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
}
