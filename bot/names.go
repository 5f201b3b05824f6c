package bot

import (
	"regexp"
	"slices"
	"strings"
)

// Names are what the slash commands are called in a place, each with its slash: two bots must not take each other's.
type Names struct{ Release, Rollback, Gimlet string }

// OwnNames are the names that commands have by themselves, and by which messages speak of them.
func OwnNames() Names { return Names{Release: "/release", Rollback: "/rollback", Gimlet: "/gimlet"} }

// Canonical returns the command's own name for the one that it has in the place.
func (n Names) Canonical(command string) (string, bool) {
	own := OwnNames()
	switch command {
	case n.Release:
		return own.Release, true
	case n.Rollback:
		return own.Rollback, true
	case n.Gimlet:
		return own.Gimlet, true
	}
	return "", false
}

var commandName = regexp.MustCompile(`(^|[\s(])/(release|rollback|gimlet)\b`)

// In puts the names into what a message says of commands.
func (n Names) In(m Message) Message {
	if n == OwnNames() {
		return m
	}
	names := map[string]string{"release": n.Release, "rollback": n.Rollback, "gimlet": n.Gimlet}
	rename := func(text string) string {
		return commandName.ReplaceAllStringFunc(text, func(found string) string {
			before, command, _ := strings.Cut(found, "/")
			return before + names[command]
		})
	}
	m.Title, m.Body, m.Footer = rename(m.Title), rename(m.Body), rename(m.Footer)
	m.Fields, m.Table = slices.Clone(m.Fields), slices.Clone(m.Table)
	for i := range m.Fields {
		m.Fields[i].Value = rename(m.Fields[i].Value)
	}
	for i, row := range m.Table {
		m.Table[i] = slices.Clone(row)
		for j := range row {
			m.Table[i][j] = rename(row[j])
		}
	}
	return m
}
