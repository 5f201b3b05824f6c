package discordtest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Types and flags. https://docs.discord.com/developers/components/reference
const (
	rowType    = 1
	buttonType = 2
	ephemeral  = 64
)

var (
	mentioned = regexp.MustCompile(`<@(&?)!?([0-9]+)>`)
	paging    = regexp.MustCompile(`@(everyone|here)`)
	fenced    = regexp.MustCompile("(?s)```.*?```")
)

// Validate returns what Discord would refuse of a message, or "", and what nothing of ours may do: to notify anybody by accident.
// https://docs.discord.com/developers/resources/message
func Validate(p Payload) string {
	total := 0
	count := func(what, text string, most int) string {
		n := utf8.RuneCountInString(text)
		total += n
		switch {
		case n > most:
			return fmt.Sprintf("%s of %d characters, %d are allowed", what, n, most)
		case !utf8.ValidString(text):
			return what + " is not UTF-8"
		}
		return ""
	}
	if fault := count("content", p.Content, 2000); fault != "" {
		return fault
	}
	total = 0
	if len(p.Embeds) > 10 {
		return fmt.Sprintf("%d embeds", len(p.Embeds))
	}
	for _, e := range p.Embeds {
		if len(e.Fields) > 25 {
			return fmt.Sprintf("%d fields", len(e.Fields))
		}
		faults := []string{count("title", e.Title, 256), count("description", e.Description, 4096)}
		for _, f := range e.Fields {
			if strings.TrimSpace(f.Name) == "" || strings.TrimSpace(f.Value) == "" {
				return "a field without a name or value"
			}
			faults = append(faults, count("field name", f.Name, 256), count("field value", f.Value, 1024))
		}
		if e.Footer != nil {
			faults = append(faults, count("footer", e.Footer.Text, 2048))
		}
		if len(e.URL) > 2048 {
			return "an address of more than 2048 characters"
		}
		if e.Title == "" && e.Description == "" && len(e.Fields) == 0 && e.Footer == nil {
			return "an embed with nothing in it"
		}
		if i := slices.IndexFunc(faults, func(f string) bool { return f != "" }); i >= 0 {
			return faults[i]
		}
	}
	if total > 6000 {
		return fmt.Sprintf("embeds of %d characters in all", total)
	}
	if p.Content == "" && len(p.Embeds) == 0 {
		return "an empty message"
	}
	if utf8.RuneCountInString(p.Nonce) > 25 {
		return "a nonce of more than 25 characters"
	}
	if fault := notified(p); fault != "" {
		return fault
	}
	return components(p.Components)
}

// notified returns whom the message would notify though nobody said so.
func notified(p Payload) string {
	if p.Mentions == nil || p.Mentions.Parse == nil || len(p.Mentions.Parse) > 0 {
		return "allowed_mentions are not closed: whoever is named in a commit message would be notified"
	}
	texts := []string{p.Content}
	for _, e := range p.Embeds {
		texts = append(texts, e.Description)
		for _, f := range e.Fields {
			texts = append(texts, f.Name, f.Value)
		}
	}
	for _, text := range texts {
		text = fenced.ReplaceAllString(text, "") // nothing is read there
		for _, m := range mentioned.FindAllStringSubmatchIndex(text, -1) {
			id, role := text[m[4]:m[5]], m[2] != m[3]
			allowed := p.Mentions.Users
			if role {
				allowed = p.Mentions.Roles
			}
			if (m[0] == 0 || text[m[0]-1] != '\\') && !slices.Contains(allowed, id) {
				return "it looks like a mention of somebody who is not meant: " + text
			}
		}
		if paging.MatchString(text) {
			return "it looks like a mention of everybody: " + text
		}
	}
	return ""
}

func components(rows []Component) string {
	if len(rows) > 5 {
		return fmt.Sprintf("%d rows", len(rows))
	}
	ids := map[string]bool{}
	for _, row := range rows {
		if row.Type != rowType || len(row.Components) == 0 || len(row.Components) > 5 {
			return fmt.Sprintf("a row of type %d with %d buttons", row.Type, len(row.Components))
		}
		for _, b := range row.Components {
			n := utf8.RuneCountInString(b.CustomID)
			switch {
			case b.Type != buttonType:
				return fmt.Sprintf("component of type %d", b.Type)
			case n == 0 || n > 100:
				return fmt.Sprintf("custom_id of %d characters", n)
			case ids[b.CustomID]:
				return "custom_id is there twice: " + b.CustomID
			case b.Label == "" || utf8.RuneCountInString(b.Label) > 80:
				return fmt.Sprintf("label %q", b.Label)
			case b.Style < 1 || b.Style > 4:
				return fmt.Sprintf("style %d", b.Style)
			}
			ids[b.CustomID] = true
		}
	}
	return ""
}

// command is a registered command, or a part of one. https://docs.discord.com/developers/interactions/application-commands
type command struct {
	ID           string    `json:"id"`
	Type         int       `json:"type"`
	Name         string    `json:"name"`
	Description  string    `json:"description"`
	Required     bool      `json:"required,omitempty"`
	Autocomplete bool      `json:"autocomplete,omitempty"`
	Options      []command `json:"options,omitempty"`
}

// Types of options.
const (
	subCommand      = 1
	subCommandGroup = 2
	stringOption    = 3
)

var commandName = regexp.MustCompile(`^[-_'\p{L}\p{N}]{1,32}$`)

// validateCommands returns what Discord would refuse of commands.
func validateCommands(all []command) string {
	if len(all) > 100 {
		return "more than 100 commands"
	}
	seen := map[string]bool{}
	for _, c := range all {
		if seen[c.Name] {
			return "two commands " + c.Name
		}
		seen[c.Name] = true
		if fault := validateCommand(c, 0); fault != "" {
			return "/" + c.Name + ": " + fault
		}
		if n := size(c); n > 8000 {
			return fmt.Sprintf("/%s has %d characters, 8000 are allowed", c.Name, n)
		}
	}
	return ""
}

func size(c command) int {
	n := utf8.RuneCountInString(c.Name + c.Description)
	for _, o := range c.Options {
		n += size(o)
	}
	return n
}

func validateCommand(c command, depth int) string {
	switch {
	case !commandName.MatchString(c.Name):
		return fmt.Sprintf("name %q", c.Name)
	case c.Description == "" || utf8.RuneCountInString(c.Description) > 100:
		return fmt.Sprintf("%s: description %q", c.Name, c.Description)
	case len(c.Options) > 25:
		return fmt.Sprintf("%s: %d options, 25 are allowed", c.Name, len(c.Options))
	}
	optional := false
	seen := map[string]bool{}
	for _, o := range c.Options {
		switch {
		case seen[o.Name]:
			return "two options " + o.Name
		case o.Type == stringOption && o.Required && optional:
			return fmt.Sprintf("%s: %s is required and comes after one that is not", c.Name, o.Name)
		case o.Type == subCommandGroup && depth > 0, o.Type == subCommand && depth > 1, o.Type < subCommand, o.Type > stringOption:
			return fmt.Sprintf("%s: option of type %d", c.Name, o.Type)
		case (o.Type == stringOption) != (c.Options[0].Type == stringOption):
			return c.Name + ": commands beside options"
		}
		seen[o.Name] = true
		optional = optional || !o.Required
		if fault := validateCommand(o, depth+1); fault != "" {
			return fault
		}
	}
	return ""
}
