package commands

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gimletd/bot"
	"gimletd/releases"
)

// explain turns an error into what people read. It is the one place of this package that does.
func explain(spec bot.Spec, args []string, err error) bot.Reply {
	if ambiguous, ok := errors.AsType[*releases.Ambiguous](err); ok {
		title := fmt.Sprintf("%q could be several versions. Which?", ambiguous.Word)
		if ambiguous.Word == "" {
			title = "There are several. Which?"
		}
		return choice(title, spec, args, ambiguous.Word, ambiguous.Options)
	}
	m := bot.Message{Tone: bot.Warning}
	title, body, _ := strings.Cut(releases.Redact(err.Error()), "\n")
	m.Title, m.Body = sentence(title), body
	if releases.KindOf(err) == "" || releases.KindOf(err) == releases.Unavailable {
		m.Tone = bot.Bad
	}
	return bot.Say(m)
}

// choice offers the options in place of the ambiguous word, or after all words when one was left out.
func choice(title string, spec bot.Spec, args []string, word string, options []releases.Option) bot.Reply {
	m := bot.Message{Title: title}
	at := slices.Index(args, word)
	if word == "" || at < 0 {
		at, args = len(args), append(slices.Clone(args), "")
	}
	for _, o := range options {
		words := slices.Clone(args)
		words[at] = o.Word
		m.Buttons = append(m.Buttons, bot.Button{Label: o.Label, Args: append(typed(spec), words...)})
	}
	return bot.Say(m)
}

// offer asks for the command's next word.
func offer(title string, spec bot.Spec, args []string, options []string) bot.Reply {
	m := bot.Message{Title: title}
	for _, o := range options {
		m.Buttons = append(m.Buttons, bot.Button{Label: o, Args: append(append(typed(spec), args...), o)})
	}
	if len(options) == 0 {
		m.Footer = "no artifact has come in yet; CI posts them to POST /api/artifact"
	}
	return bot.Say(m)
}

// typed are the words of the command's name as they are typed.
func typed(spec bot.Spec) []string { return strings.Fields("/" + spec.Name) }

func sentence(text string) string {
	if first, _, _ := strings.Cut(text, " "); text == "" || releases.IsReleaseID(first) {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// ago is a time as people say it.
func ago(now, t time.Time) string {
	switch d := now.Sub(t); {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	case d < 30*24*time.Hour:
		return fmt.Sprintf("%d d ago", int(d.Hours()/24))
	}
	return t.Format("2 Jan 2006")
}

func firstLine(text string) string {
	const most = 60
	first, _, _ := strings.Cut(text, "\n")
	if runes := []rune(first); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return first
}
