package discord

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"gimletd/bot"

	"github.com/bwmarrin/discordgo"
)

// Limits of messages, in characters. https://docs.discord.com/developers/resources/message
const (
	maxContent     = 2000
	maxDescription = 4096
	maxEmbed       = 6000 // in all
	maxFields      = 25
	maxFieldName   = 256
	maxFieldValue  = 1024
	maxFooter      = 1000
	maxInFields    = 3000 // so that there is room for the rest
	maxMentions    = 10
	maxCell        = 40
	leastCode      = 50 // less of a text is not worth showing
	longestEscape  = 2  // what a character may become
)

// payload is a message as Discord gets it.
type payload struct {
	Content         string                            `json:"content"`
	Embeds          []*discordgo.MessageEmbed         `json:"embeds"`
	Components      []discordgo.MessageComponent      `json:"components"`
	AllowedMentions *discordgo.MessageAllowedMentions `json:"allowed_mentions"`
	Flags           discordgo.MessageFlags            `json:"flags,omitempty"`
	Nonce           string                            `json:"nonce,omitempty"`
	EnforceNonce    bool                              `json:"enforce_nonce,omitempty"`
	Reference       *reference                        `json:"message_reference,omitempty"`
}

// reference makes a message an answer to another.
type reference struct {
	Message string `json:"message_id"`
	Fail    bool   `json:"fail_if_not_exists"`
}

func colour(t bot.Tone) int {
	const blue, green, amber, red, grey = 0x3b82f6, 0x2f9e6e, 0xe0a100, 0xd64545, 0x8d96a0
	switch t {
	case bot.Working:
		return blue
	case bot.Good:
		return green
	case bot.Warning:
		return amber
	case bot.Bad:
		return red
	case bot.Neutral:
	}
	return grey
}

var (
	// special is what means something in Discord's Markdown.
	special = regexp.MustCompile("[\\\\*_~`|\\[\\]<]")
	// begins is what means something at the beginning of a line.
	begins   = regexp.MustCompile(`(?m)^(\s*)([#>+-])`)
	everyone = regexp.MustCompile(`@(everyone|here)`)
	// address ends where Markdown could begin.
	address = regexp.MustCompile("https?://[^\\s<>\"*\\[\\]()|\\\\`]+")
)

// escape makes a text harmless: nothing in it can mention, link to something else, or change how the rest looks. Addresses stay
// ones, without the pictures that Discord would fetch for them.
func escape(text string) string {
	var b strings.Builder
	for text != "" {
		at := address.FindStringIndex(text)
		if at == nil {
			at = []int{len(text), len(text)}
		}
		b.WriteString(everyone.ReplaceAllString(begins.ReplaceAllString(special.ReplaceAllString(text[:at[0]], `\$0`), `$1\$2`), "@\u200b$1"))
		if at[0] < at[1] {
			b.WriteString("<" + text[at[0]:at[1]] + ">")
		}
		text = text[at[1]:]
	}
	return b.String()
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

// render turns a message into what Discord gets. The key is by what it is found again; a message without one is not looked for.
func render(m bot.Message, key string) payload {
	s := state{Key: key, Asks: map[int]string{}, Words: map[int][]string{}}
	if extra := len(m.Buttons) - maxButtons; extra > 0 {
		m.Footer = strings.TrimPrefix(fmt.Sprintf("%s · and %d more choices: type the command in full", m.Footer, extra), " · ")
		m.Buttons = m.Buttons[:maxButtons]
	}
	p := payload{Components: rows(m.Buttons, &s), AllowedMentions: &discordgo.MessageAllowedMentions{Parse: []discordgo.AllowedMentionType{}}, Embeds: []*discordgo.MessageEmbed{}}
	p.Content = p.mention(m.Mentions)
	p.Content = m.Tone.Symbol() + " **" + fit(bot.Clean(m.Title), maxContent-utf8.RuneCountInString(p.Content)-10) + "**" + p.Content
	e := embed(m)
	if e == nil && len(s.Asks)+len(s.Words) > 0 {
		e = &discordgo.MessageEmbed{Color: colour(m.Tone), Description: "\u200b"} // something has to be there that can remember
	}
	if e != nil {
		e.URL = s.address()
		p.Embeds = append(p.Embeds, e)
	}
	return p
}

// mention is the text that notifies groups and people, none of which can be notified by anything else in the message.
func (p *payload) mention(names []string) string {
	var text strings.Builder
	for _, name := range names {
		name, own := strings.CutPrefix(name, Platform+":")
		role, isRole := strings.CutPrefix(name, "role:")
		switch {
		case !own || len(p.AllowedMentions.Roles)+len(p.AllowedMentions.Users) >= maxMentions: // of another platform, or too many
		case isRole && snowflake.MatchString(role):
			p.AllowedMentions.Roles = append(p.AllowedMentions.Roles, role)
			text.WriteString(" <@&" + role + ">")
		case snowflake.MatchString(name):
			p.AllowedMentions.Users = append(p.AllowedMentions.Users, name)
			text.WriteString(" <@" + name + ">")
		}
	}
	if text.Len() == 0 {
		return ""
	}
	return "\n" + strings.TrimSpace(text.String())
}

var snowflake = regexp.MustCompile(`^[0-9]{1,20}$`)

// embed is what stands below the title, or nil when nothing does.
func embed(m bot.Message) *discordgo.MessageEmbed {
	e := &discordgo.MessageEmbed{Color: colour(m.Tone), Fields: fields(m.Fields)}
	left := maxEmbed
	for _, f := range e.Fields {
		left -= utf8.RuneCountInString(f.Name + f.Value)
	}
	if footer := bot.Clean(m.Footer); footer != "" {
		e.Footer = &discordgo.MessageEmbedFooter{Text: bot.Cut(footer, maxFooter)} // no Markdown there
		left -= utf8.RuneCountInString(e.Footer.Text)
	}
	var parts []string
	left = min(left, maxDescription)
	add := func(text string) {
		parts = append(parts, text)
		left -= utf8.RuneCountInString(text) + 1
	}
	body := bot.CleanLines(m.Body)
	table := strings.Join(bot.Columns(m.Table, maxCell), "\n")
	if strings.TrimSpace(body) != "" {
		most := left
		if table != "" || m.Code != "" {
			most = left / 2
		}
		add(fit(body, most))
	}
	if table != "" {
		add(code("", table, left))
	}
	if m.Code != "" && left >= leastCode {
		add(code("diff", m.Code, left))
	}
	e.Description = strings.Join(parts, "\n")
	if e.Description == "" && len(e.Fields) == 0 && e.Footer == nil {
		return nil
	}
	return e
}

func fields(all []bot.Field) (made []*discordgo.MessageEmbedField) {
	left := maxInFields
	for _, f := range all {
		one := &discordgo.MessageEmbedField{Name: fit(bot.Clean(f.Name), maxFieldName), Value: field(f), Inline: len(f.Value) < maxCell}
		if left -= utf8.RuneCountInString(one.Name + one.Value); left < 0 || len(made) == maxFields {
			break
		}
		if strings.TrimSpace(one.Name) != "" && strings.TrimSpace(one.Value) != "" { // it would refuse all of the message
			made = append(made, one)
		}
	}
	return made
}

func field(f bot.Field) string {
	const maxLink = 600
	target := ""
	if u, err := url.Parse(f.URL); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		target = strings.NewReplacer("(", "%28", ")", "%29", "<", "%3C", ">", "%3E", " ", "%20").Replace(u.String())
	}
	text := label(f.Value)
	if target == "" || len(target) > maxLink || text == "" {
		return fit(bot.Clean(f.Value), maxFieldValue)
	}
	return "[" + bot.Cut(text, maxFieldValue-len(target)-len("[]()")) + "](" + target + ")"
}

// label is a text as a link's: there, backslashes do not protect, and an address would make people believe that it is where they go.
func label(text string) string {
	text = strings.NewReplacer("https://", "", "http://", "", "[", "", "]", "", "<", "", ">", "", `\`, "", "`", "'").Replace(bot.Clean(text))
	return strings.TrimSpace(everyone.ReplaceAllString(strings.ReplaceAll(text, "://", ""), "@\u200b$1"))
}

// code shows a text as it is, cut at the end of a line.
func code(language, text string, most int) string {
	const fence, more = "```", "…"
	text = strings.ReplaceAll(bot.CleanLines(strings.TrimRight(text, "\n")), fence, "'''")
	wrap := func(text string) string { return fence + language + "\n" + text + "\n" + fence }
	if utf8.RuneCountInString(wrap(text)) <= most {
		return wrap(text)
	}
	var kept []string
	left := most - utf8.RuneCountInString(wrap(more)) - 1
	for line := range strings.SplitSeq(text, "\n") {
		if left -= utf8.RuneCountInString(line) + 1; left < 0 {
			break
		}
		kept = append(kept, line)
	}
	if len(kept) == 0 {
		kept = []string{bot.Cut(text, max(1, most-utf8.RuneCountInString(wrap(more))-1))}
	}
	return wrap(strings.Join(append(kept, more), "\n"))
}
