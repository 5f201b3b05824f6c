package slack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"gimletd/bot"

	"github.com/slack-go/slack"
)

// Limits of blocks, in characters. https://docs.slack.dev/reference/block-kit
const (
	maxSection    = 3000
	maxField      = 2000
	maxFields     = 10
	maxContext    = 2000
	maxButtons    = 25
	maxButtonText = 75
	maxValue      = 2000
	maxConfirm    = 300
	maxOptionText = 75
	maxOption     = 150
	maxFallback   = 3000
	maxCell       = 40
	longestEscape = 5 // what a character may become
)

// render turns messages into blocks.
type render struct{ mention func(name string) string }

func (s *Slack) render(ctx context.Context) render {
	return render{mention: func(name string) string { return s.mention(ctx, name) }}
}

// aboutPrefix begins the id of the block that says what a message is about.
const aboutPrefix = "about:"

// escape makes a text harmless in mrkdwn: nothing in it can mention, link or page.
// https://docs.slack.dev/messaging/formatting-message-text#escaping
func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// fit escapes a text and cuts it so that the result has at most so many characters.
func fit(text string, most int) string {
	text = bot.Cut(text, most)
	for text != "" {
		escaped := escape(text)
		over := utf8.RuneCountInString(escaped) - most
		if over <= 0 {
			return escaped
		}
		text = bot.Cut(text, utf8.RuneCountInString(text)-max(1, over/longestEscape))
	}
	return ""
}

// fallback is the message for notifications and screen readers.
func fallback(m bot.Message) string {
	text := m.Tone.Symbol() + " " + bot.Clean(m.Title)
	if m.Body != "" {
		text += "\n" + bot.CleanLines(m.Body)
	}
	return fit(text, maxFallback)
}

func (r render) blocks(m bot.Message) []slack.Block {
	title := "*" + fit(m.Tone.Symbol()+" "+bot.Clean(m.Title), maxSection-2) + "*"
	blocks := []slack.Block{section(title)}
	blocks = append(blocks, fields(m.Fields)...)
	if body := bot.CleanLines(m.Body); strings.TrimSpace(body) != "" {
		blocks = append(blocks, section(fit(body, maxSection)))
	}
	if len(m.Mentions) > 0 && r.mention != nil {
		var names []string
		for _, name := range m.Mentions[:min(len(m.Mentions), maxFields)] {
			if text := r.mention(name); text != "" {
				names = append(names, bot.Cut(text, maxSection/maxFields-1))
			}
		}
		if len(names) > 0 {
			blocks = append(blocks, section(strings.Join(names, " ")))
		}
	}
	for _, text := range []string{strings.Join(bot.Columns(m.Table, maxCell), "\n"), m.Code} {
		if text != "" {
			blocks = append(blocks, code(text))
		}
	}
	footer := bot.Clean(m.Footer)
	if extra := len(m.Buttons) - maxButtons; extra > 0 {
		footer = strings.TrimPrefix(footer+fmt.Sprintf(" · and %d more choices: type the command in full", extra), " · ")
		m.Buttons = m.Buttons[:maxButtons]
	}
	if elements := buttons(m.Buttons); len(elements) > 0 {
		blocks = append(blocks, slack.NewActionBlock("", elements...))
	}
	if footer != "" {
		blocks = append(blocks, slack.NewContextBlock(about(m.About), slack.NewTextBlockObject(slack.MarkdownType, fit(footer, maxContext), false, true)))
	}
	return blocks
}

func about(thing string) string {
	if thing == "" {
		return ""
	}
	return aboutPrefix + thing
}

func section(text string) slack.Block {
	return slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, text, false, true), nil, nil)
}

// fields are pairs of names and values, ten to a block.
func fields(all []bot.Field) (blocks []slack.Block) {
	const mostBlocks = 3
	for len(all) > 0 && len(blocks) < mostBlocks {
		var texts []*slack.TextBlockObject
		for _, f := range all[:min(len(all), maxFields)] {
			texts = append(texts, slack.NewTextBlockObject(slack.MarkdownType, field(f), false, true))
		}
		blocks = append(blocks, slack.NewSectionBlock(nil, texts, nil))
		all = all[min(len(all), maxFields):]
	}
	return blocks
}

func field(f bot.Field) string {
	const maxName, maxURL = 200, 1000
	name, value := fit(bot.Clean(f.Name), maxName), fit(bot.Clean(f.Value), maxField-maxName-maxURL-10)
	u, err := url.Parse(f.URL)
	if f.URL == "" || err != nil || (u.Scheme != "http" && u.Scheme != "https") || len(u.String()) > maxURL {
		return "*" + name + "*\n" + value
	}
	address := strings.NewReplacer("|", "%7C", "<", "%3C", ">", "%3E", "&", "&amp;").Replace(u.String())
	if f.Value == f.URL {
		value = fit(bot.Clean(strings.TrimPrefix(strings.TrimPrefix(f.Value, "https://"), "http://")), maxURL)
	}
	return "*" + name + "*\n<" + address + "|" + strings.ReplaceAll(value, "|", "¦") + ">"
}

// code shows a text as it is, cut at the end of a line.
func code(text string) slack.Block {
	const fence = "```"
	const more = "…"
	text = strings.ReplaceAll(bot.CleanLines(strings.TrimRight(text, "\n")), fence, "'''")
	most := maxSection - 2*len(fence) - 2
	whole := escape(text)
	if utf8.RuneCountInString(whole) <= most {
		return section(fence + "\n" + whole + "\n" + fence)
	}
	var kept []string
	left := most - len(more) - 1
	for line := range strings.SplitSeq(text, "\n") {
		line = escape(line)
		if left -= utf8.RuneCountInString(line) + 1; left < 0 {
			break
		}
		kept = append(kept, line)
	}
	if len(kept) == 0 {
		kept = []string{fit(text, most-len(more)-1)}
	}
	return section(fence + "\n" + strings.Join(append(kept, more), "\n") + "\n" + fence)
}

// actionPrefix begins the ids of our buttons.
const actionPrefix = "gimletd:"

func buttons(all []bot.Button) (elements []slack.BlockElement) {
	for i, b := range all {
		value, err := json.Marshal(b.Args)
		if err != nil || len(value) > maxValue {
			continue // such a command cannot be pressed; it can still be typed
		}
		e := slack.NewButtonBlockElement(fmt.Sprintf("%s%d", actionPrefix, i), string(value), plain(b.Label, maxButtonText))
		switch b.Tone {
		case bot.Good:
			e.Style = slack.StylePrimary
		case bot.Bad:
			e.Style = slack.StyleDanger
		case bot.Neutral, bot.Working, bot.Warning:
		}
		if b.Confirm != "" {
			const maxTitle, maxAnswer = 100, 30
			yes := b.Label
			if utf8.RuneCountInString(yes) > maxAnswer {
				yes, _, _ = strings.Cut(yes, " ")
			}
			e.Confirm = slack.NewConfirmationBlockObject(plain(b.Label, maxTitle), plain(b.Confirm, maxConfirm), plain(yes, maxAnswer), plain("No", maxAnswer))
		}
		elements = append(elements, e)
	}
	return elements
}

// plain is a text without markup. Slack refuses a message in which one is empty.
func plain(text string, most int) *slack.TextBlockObject {
	if text = bot.Cut(bot.Clean(text), most); strings.TrimSpace(text) == "" {
		text = "–"
	}
	return slack.NewTextBlockObject(slack.PlainTextType, text, false, false)
}
