package bot

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean takes out of a line of text what could move a cursor, change a terminal, or show words in another order: much
// of what is said was written by strangers. Line ends and tabs become spaces.
func Clean(text string) string {
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

// CleanLines is Clean for each line.
func CleanLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = Clean(strings.TrimSuffix(line, "\r"))
	}
	return strings.Join(lines, "\n")
}

// Cut shortens a text to a number of characters; the last one then is an ellipsis. Where there is room for none, nothing is left.
func Cut(text string, most int) string {
	if most < 1 {
		return ""
	}
	if len(text) <= most {
		return text
	}
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}

// Columns lays rows out in columns, a line each. Cells are cut to a number of characters; 0 cuts none.
func Columns(rows [][]string, most int) (lines []string) {
	var widths []int
	cells := make([][]string, len(rows))
	for n, row := range rows {
		for i, cell := range row {
			if cell = Clean(cell); most > 0 {
				cell = Cut(cell, most)
			}
			cells[n] = append(cells[n], cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range cells {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	return lines
}

// Split cuts a line into words as a shell does: by spaces, with quotes around words that have some inside.
func Split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	quote, inWord := rune(0), false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case (r == '"' || r == '\'') && !inWord: // within a word it is an apostrophe
			quote, inWord = r, true
		case unicode.IsSpace(r):
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a %c is not closed", quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
