package discord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gimletd/bot"

	"github.com/bwmarrin/discordgo"
)

// What Discord sends is handled here for both ways in. Each handler returns what the interaction is answered with at once; an
// error means that it is not answered, so that Discord tells the person that nothing was done.

// interaction is what is used of one. The library's type cannot be read when a message holds a component that is newer than it.
// https://docs.discord.com/developers/interactions/receiving-and-responding
type interaction struct {
	ID            string                    `json:"id"`
	ApplicationID string                    `json:"application_id"`
	Type          discordgo.InteractionType `json:"type"`
	GuildID       string                    `json:"guild_id"`
	ChannelID     string                    `json:"channel_id"`
	Token         string                    `json:"token"`
	Member        *member                   `json:"member"`
	User          *user                     `json:"user"`
	Message       *message                  `json:"message"`
	Data          struct {
		Name     string   `json:"name"`
		Options  []option `json:"options"`
		CustomID string   `json:"custom_id"`
	} `json:"data"`

	at time.Time // it was made
}

type user struct {
	ID         string `json:"id"`
	Username   string `json:"username"`
	GlobalName string `json:"global_name"`
	Bot        bool   `json:"bot"`
}

type member struct {
	User  user     `json:"user"`
	Nick  string   `json:"nick"`
	Roles []string `json:"roles"`
}

// name is what people call the member. Anybody may call themselves anything, so the name that only one can have stands beside it.
func (m member) name() string { return m.User.called(m.Nick) }

func (u user) called(nick string) string {
	name := firstOf(nick, u.GlobalName)
	if name == "" || u.Username == "" || strings.EqualFold(name, u.Username) {
		return firstOf(name, u.Username, u.ID)
	}
	return name + " (@" + u.Username + ")"
}

func firstOf(names ...string) string {
	i := slices.IndexFunc(names, func(n string) bool { return n != "" })
	if i < 0 {
		return ""
	}
	return names[i]
}

// message is what is used of a message that Discord has.
type message struct {
	ID          string                    `json:"id"`
	Content     string                    `json:"content"`
	Author      user                      `json:"author"`
	Embeds      []*discordgo.MessageEmbed `json:"embeds"`
	Attachments []struct {
		Filename string `json:"filename"`
	} `json:"attachments"`
}

func (m *message) state() state {
	if m != nil {
		for _, e := range m.Embeds {
			if s, ok := readState(e.URL); ok {
				return s
			}
		}
	}
	return state{}
}

// says reports whether the message shows what the payload does.
func (m message) says(p payload) bool {
	shown := func(embeds []*discordgo.MessageEmbed) (all []string) {
		for _, e := range embeds {
			all = append(all, strings.TrimSpace(e.Description))
			for _, f := range e.Fields {
				all = append(all, strings.TrimSpace(f.Name), strings.TrimSpace(f.Value))
			}
		}
		return all
	}
	return strings.TrimSpace(m.Content) == strings.TrimSpace(p.Content) && slices.Equal(shown(m.Embeds), shown(p.Embeds))
}

type option struct {
	Name    string                                 `json:"name"`
	Type    discordgo.ApplicationCommandOptionType `json:"type"`
	Value   any                                    `json:"value"`
	Options []option                               `json:"options"`
	Focused bool                                   `json:"focused"`
}

func (o option) text() string {
	if o.Value == nil {
		return ""
	}
	return strings.TrimSpace(fmt.Sprint(o.Value))
}

// answer is what an interaction is answered with at once.
type answer struct {
	Type discordgo.InteractionResponseType `json:"type"`
	Data any                               `json:"data,omitempty"`
}

var (
	// errForeign refuses what is not of our application.
	errForeign = errors.New("discord: an interaction of another application")
	// errMalformed refuses what cannot be read.
	errMalformed = errors.New("discord: an interaction that cannot be read")
)

// alone is an answer for the person alone.
func (d *Discord) alone(kind discordgo.InteractionResponseType, m bot.Message, key string) answer {
	p := render(d.config.Commands.In(m), key)
	p.Flags = discordgo.MessageFlagsEphemeral
	return answer{Type: kind, Data: p}
}

func (d *Discord) say(m bot.Message) answer {
	return d.alone(discordgo.InteractionResponseChannelMessageWithSource, m, "")
}

func warn(format string, args ...any) bot.Message {
	return bot.Message{Tone: bot.Warning, Title: fmt.Sprintf(format, args...)}
}

// interact handles an interaction.
func (d *Discord) interact(ctx context.Context, raw []byte) (answer, interaction, error) {
	var i interaction
	if err := json.Unmarshal(raw, &i); err != nil {
		return answer{}, i, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if i.ApplicationID != d.config.ApplicationID {
		return answer{}, i, errForeign
	}
	if i.Type == discordgo.InteractionPing {
		return answer{Type: discordgo.InteractionResponsePong}, i, nil
	}
	if i.Member != nil {
		i.User = &i.Member.User
	}
	if i.User == nil || i.User.ID == "" || i.ID == "" || i.Token == "" {
		return answer{}, i, errMalformed
	}
	if i.GuildID != "" && i.GuildID != d.config.GuildID {
		return d.say(warn("I work for another server")), i, nil
	}
	i.at = d.asked(i.ID)
	if i.Member != nil && i.GuildID != "" {
		d.people.saw(*i.Member, i.at)
	}
	a, err := d.answerTo(ctx, i)
	return a, i, err
}

func (d *Discord) answerTo(ctx context.Context, i interaction) (answer, error) {
	switch i.Type {
	case discordgo.InteractionApplicationCommand:
		return d.slash(ctx, i)
	case discordgo.InteractionApplicationCommandAutocomplete:
		return d.suggest(ctx, i), nil
	case discordgo.InteractionMessageComponent:
		return d.pressed(ctx, i)
	case discordgo.InteractionPing, discordgo.InteractionModalSubmit:
	}
	d.log.Info("an interaction of no use", "type", i.Type)
	return d.say(warn("I do not know what that was")), nil
}

// request is what the person asks for.
func (d *Discord) request(i interaction, args []string) bot.Request {
	name := i.User.called("")
	if i.Member != nil {
		name = i.Member.name()
	}
	return bot.Request{
		ID: i.ID, At: i.at, User: bot.User{Platform: Platform, ID: i.User.ID, Name: name}, Channel: bot.Channel(Platform + ":" + i.ChannelID), Args: args,
	}
}

// asked is when an interaction was made, by Discord's clock, unless that is about now: clocks differ.
func (d *Discord) asked(id string) time.Time {
	now := d.now()
	at, err := discordgo.SnowflakeTimestamp(id)
	if err != nil || now.Sub(at) < time.Minute {
		return now
	}
	return at
}

// slash takes a command.
func (d *Discord) slash(ctx context.Context, i interaction) (answer, error) {
	c, fault := d.command(i)
	if fault != "" {
		return d.say(bot.Message{Tone: bot.Warning, Title: fault}), nil
	}
	args, fault := c.args()
	if fault != "" {
		return d.say(bot.Message{Tone: bot.Warning, Title: fault}), nil
	}
	req := d.request(i, args)
	d.tokens.keep(i, first, d.now())
	if err := d.receiver.Receive(ctx, req); err != nil {
		return answer{}, err
	}
	return answer{Type: discordgo.InteractionResponseDeferredChannelMessageWithSource, Data: map[string]any{"flags": discordgo.MessageFlagsEphemeral}}, nil
}

// typed is a command as it was typed, with its Spec.
type typed struct {
	name    []string // its words
	spec    bot.Spec
	options []option
}

// command finds what was typed, or says why it cannot.
func (d *Discord) command(i interaction) (t typed, fault string) {
	own, known := d.config.Commands.Canonical("/" + i.Data.Name)
	if !known {
		return t, fmt.Sprintf("I do not know /%s: register the commands again, or see discord.commands in the configuration", i.Data.Name)
	}
	t = typed{name: []string{own}, options: i.Data.Options}
	for len(t.options) == 1 && (t.options[0].Type == discordgo.ApplicationCommandOptionSubCommand || t.options[0].Type == discordgo.ApplicationCommandOptionSubCommandGroup) {
		if t.options[0].Type == discordgo.ApplicationCommandOptionSubCommand {
			t.name = append(t.name, t.options[0].Name)
		}
		t.options = t.options[0].Options
	}
	name := strings.TrimPrefix(strings.Join(t.name, " "), "/")
	at := slices.IndexFunc(d.specs(), func(s bot.Spec) bool { return s.Name == name && !s.Hidden })
	if at < 0 {
		return t, fmt.Sprintf("I do not know /%s: it may be of another version of me", name)
	}
	t.spec = d.specs()[at]
	return t, ""
}

func (t typed) value(param string) (value option, given bool) {
	at := slices.IndexFunc(t.options, func(o option) bool { return o.Name == param })
	if at < 0 {
		return value, false
	}
	return t.options[at], true
}

// args are the words in the order of the parameters. Discord lets people leave one out and give one after it.
func (t typed) args() (args []string, fault string) {
	missing := ""
	args = slices.Clone(t.name)
	for _, p := range t.spec.Params {
		switch o, given := t.value(p.Name); {
		case !given || o.text() == "":
			missing = firstOf(missing, p.Name)
		case missing != "":
			return nil, fmt.Sprintf("%s says something only together with %s: give that, too", p.Name, missing)
		default:
			args = append(args, o.text())
		}
	}
	return args, ""
}

// Limits of suggestions. https://docs.discord.com/developers/interactions/application-commands#autocomplete
const (
	maxChoices = 25
	maxChoice  = 100
)

// choice is a suggestion.
type choice struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// suggest answers with the words that fit what was typed.
func (d *Discord) suggest(ctx context.Context, i interaction) answer {
	choices := []choice{}
	result := func() answer {
		return answer{Type: discordgo.InteractionApplicationCommandAutocompleteResult, Data: map[string]any{"choices": choices}}
	}
	t, fault := d.command(i)
	if fault != "" || d.completer == nil {
		return result()
	}
	args := slices.Clone(t.name)
	for _, p := range t.spec.Params {
		o, _ := t.value(p.Name)
		args = append(args, o.text())
		if o.Focused {
			break
		}
	}
	ctx, cancel := context.WithTimeout(ctx, suggestWithin)
	defer cancel()
	found, err := d.completer.Complete(ctx, d.request(i, args))
	if err != nil {
		d.log.Warn("nothing can be suggested", "err", err)
		return result()
	}
	for _, f := range found {
		if len([]rune(f.Word)) <= maxChoice && len(choices) < maxChoices {
			choices = append(choices, choice{Name: bot.Cut(bot.Clean(f.Label), maxChoice), Value: f.Word})
		}
	}
	return result()
}

// suggestWithin leaves time for the way back: Discord waits three seconds.
const suggestWithin = 2 * time.Second

// pressed takes a click on a button.
func (d *Discord) pressed(ctx context.Context, i interaction) (answer, error) {
	s := i.Message.state()
	p, ok := readPress(i.Data.CustomID, s)
	switch {
	case !ok:
		return d.say(warn("I do not know this button. The message may be of another version of me: type the command in full")), nil
	case p.kind == leaves:
		return d.alone(discordgo.InteractionResponseUpdateMessage, bot.Message{Title: "Nothing was done"}, ""), nil
	case p.kind == asks:
		return d.alone(discordgo.InteractionResponseChannelMessageWithSource, question(i, p), questionKey), nil
	}
	once := strings.Join([]string{i.ChannelID, digest(strings.Join(p.words, "\x00")), i.User.ID}, " ")
	again := d.clicks.Again(once, d.now())
	// The answer to a question takes the question's place; any other button's message stays as it is.
	place, reply := later, answer{Type: discordgo.InteractionResponseDeferredMessageUpdate}
	if p.kind == sure {
		m := bot.Message{Tone: bot.Working, Title: "On its way"}
		if again {
			m = bot.Message{Title: "You have pressed that already"}
		}
		place, reply = first, d.alone(discordgo.InteractionResponseUpdateMessage, m, "")
	}
	if again {
		return reply, nil
	}
	req := d.request(i, p.words)
	req.Clicked = true
	d.tokens.keep(i, place, d.now())
	d.tokens.remember(i.ID, once)
	if err := d.receiver.Receive(ctx, req); err != nil {
		d.clicks.Forget(once)
		return answer{}, err
	}
	return reply, nil
}

// questionKey marks the messages that ask once more.
const questionKey = "?"

// question asks once more, for the person alone. A message that does not remember what to ask is quoted.
func question(i interaction, p press) bot.Message {
	m := bot.Message{Tone: bot.Warning, Title: p.ask, Buttons: []bot.Button{{Label: "Yes", Tone: bot.Bad, Args: p.words}, {Label: "No"}}}
	if m.Title == "" {
		m.Title = "Are you sure?"
	}
	if p.ask == "" {
		m.Body = strings.Join(p.words, " ")
	}
	if p.ask == "" && i.Message != nil {
		m.Body += "\nAbout: " + plain(i.Message.Content)
	}
	return m
}

// plain takes the Markdown out of a text of ours.
func plain(text string) string {
	text = strings.ReplaceAll(text, "**", "")
	var pairs []string
	for _, c := range "\\*_~`|[]<#>+-" {
		pairs = append(pairs, `\`+string(c), string(c))
	}
	return strings.ReplaceAll(strings.NewReplacer(pairs...).Replace(text), "\u200b", "")
}
