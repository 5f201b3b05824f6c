package main

import (
	"slices"
	"strings"
	"time"

	"gimletd/bot/discord/discordtest"
	"gimletd/bot/slack/slacktest"
)

// What follows lets a scenario speak of people, places and messages, whatever the platform is.

// person is somebody on the scene's platform.
type person struct {
	ID, Name string
	slack    *slacktest.User
	discord  *discordtest.User
}

// channel is where people talk.
type channel struct {
	ID, Name string
	slack    *slacktest.Channel
	discord  *discordtest.Channel
}

// Channel is what the configuration calls it.
func (p *channel) Channel() string {
	if p.slack != nil {
		return "slack:#" + p.Name
	}
	return "discord:" + p.ID
}

// note is a message.
type note struct {
	slack   *slacktest.Message
	discord *discordtest.Message
}

// look is a message at one moment.
type look struct {
	Text      string // for notifications
	Files     map[string]string
	Broadcast bool
	seen      string
	buttons   []string
	same      string // what two messages that say the same share
}

// Seen is all the text that people see.
func (l look) Seen() string { return l.seen }

// Buttons are the labels of the buttons.
func (l look) Buttons() []string { return l.buttons }

// ack is how something was acknowledged.
type ack struct {
	Status int
	Body   string
	Took   time.Duration
}

func (x *scene) person(name string) *person {
	if x.slack != nil {
		u := x.slack.AddUser(name, name+"@example.com")
		return &person{ID: u.ID, Name: name, slack: u}
	}
	u := x.discord.AddUser(name)
	return &person{ID: u.ID, Name: name, discord: u}
}

func (x *scene) place(name string) *channel {
	if x.slack != nil {
		c := x.slack.AddChannel(name)
		return &channel{ID: c.ID, Name: name, slack: c}
	}
	c := x.discord.AddChannel(name)
	return &channel{ID: c.ID, Name: name, discord: c}
}

// AddGroup makes a user group, or a role, or replaces its members.
func (x *scene) AddGroup(name string, members ...*person) {
	if x.slack != nil {
		var users []*slacktest.User
		for _, m := range members {
			users = append(users, m.slack)
		}
		x.slack.AddGroup(name, users...)
		return
	}
	var users []*discordtest.User
	for _, m := range members {
		users = append(users, m.discord)
	}
	if x.members == nil {
		x.members = map[string][]*discordtest.User{}
	}
	x.members[name] = users
	x.discord.AddRole(name, users...)
}

// Await waits until the condition holds, and reports whether it came to.
func (x *scene) Await(within time.Duration, condition func() bool) bool {
	if x.slack != nil {
		return x.slack.Await(within, condition)
	}
	return x.discord.Await(within, condition)
}

// Find waits for a message in the channel, outside of threads, in which the text is seen.
func (x *scene) Find(c *channel, text string) *note {
	x.t.Helper()
	if x.slack != nil {
		if m := x.slack.Find(c.slack, text); m != nil {
			return &note{slack: m}
		}
	} else if m := x.discord.Find(c.discord, text); m != nil {
		return &note{discord: m}
	}
	x.t.FailNow()
	return nil
}

func slackNotes(all []*slacktest.Message) (notes []*note) {
	for _, m := range all {
		notes = append(notes, &note{slack: m})
	}
	return notes
}

func discordNotes(all []*discordtest.Message) (notes []*note) {
	for _, m := range all {
		notes = append(notes, &note{discord: m})
	}
	return notes
}

// Messages are those of a channel that everybody sees; with threads, and what was told beside them, or without.
func (x *scene) Messages(c *channel, threads bool) []*note {
	if x.slack != nil {
		return slackNotes(x.slack.Messages(c.slack, threads))
	}
	all := discordNotes(x.discord.Messages(c.discord, threads))
	return slices.DeleteFunc(all, func(n *note) bool { return !threads && n.Now().Broadcast })
}

// Thread are the messages below one.
func (x *scene) Thread(m *note) []*note {
	if x.slack != nil {
		return slackNotes(x.slack.Thread(m.slack))
	}
	all := discordNotes(x.discord.Thread(m.discord))
	for _, c := range []*channel{x.random, x.staging, x.releases, x.ops} {
		for _, n := range x.Messages(c, true) {
			if r := n.discord.Now().Reference; r != nil && r.Message == m.discord.ID() {
				all = append(all, n)
			}
		}
	}
	return all
}

// Transcript is all that a channel shows.
func (x *scene) Transcript(c *channel) string {
	if x.slack != nil {
		return x.slack.Transcript(c.slack)
	}
	return x.discord.Transcript(c.discord)
}

// Direct are the direct messages of a person.
func (x *scene) Direct(u *person) []*note {
	if x.slack != nil {
		return slackNotes(x.slack.Direct(u.slack))
	}
	return discordNotes(x.discord.Direct(u.discord))
}

// Private are the messages in a channel that only the person sees.
func (x *scene) Private(u *person, c *channel) []*note {
	if x.slack != nil {
		return slackNotes(x.slack.Private(u.slack, c.slack))
	}
	return discordNotes(x.discord.Private(u.discord, c.discord))
}

// Now is the message as it is now.
func (n *note) Now() look {
	if n.slack != nil {
		s := n.slack.Now()
		return look{Text: s.Text, Files: s.Files, Broadcast: s.Broadcast, seen: s.Seen(), buttons: s.Buttons(), same: s.Identity()}
	}
	s := n.discord.Now()
	return look{Text: discordtest.Plain(s.Content), Files: s.Files, Broadcast: s.Reference != nil, seen: s.Seen(), buttons: s.Buttons(), same: s.Nonce}
}

// Says waits until the message says the text.
func (n *note) Says(text string) bool {
	if n.slack != nil {
		return n.slack.Says(text)
	}
	return n.discord.Says(text)
}

// Delete deletes the message, as somebody who may.
func (n *note) Delete() {
	if n.slack != nil {
		n.slack.Delete()
		return
	}
	n.discord.Delete()
}

func fromSlack(a slacktest.Ack) ack { return ack{Status: a.Status, Body: a.Body, Took: a.Took} }

func fromDiscord(a discordtest.Ack) ack { return ack{Status: a.Status, Body: a.Body, Took: a.Took} }

// Slash types a command in a channel.
func (u *person) Slash(c *channel, line string) ack {
	if u.slack != nil {
		return fromSlack(u.slack.Slash(c.slack, line))
	}
	return fromDiscord(u.discord.Slash(c.discord, line))
}

// Click presses a button, and says yes when that is asked once more.
func (u *person) Click(m *note, button string) ack {
	if u.slack != nil {
		return fromSlack(u.slack.Click(m.slack, button))
	}
	return fromDiscord(u.discord.Click(m.discord, button))
}

// Late is a click on a button as it is now, at a later time.
func (u *person) Late(m *note, button string) func() ack {
	if u.slack != nil {
		payload := u.slack.ClickPayload(m.slack, button)
		return func() ack { return fromSlack(u.slack.Send("interactions", payload)) }
	}
	click := u.discord.Late(m.discord, button)
	return func() ack { return fromDiscord(click()) }
}

// confirm is what a button asks once more, or "".
func (x *scene) confirm(m *note, button string) string {
	x.t.Helper()
	if m.slack != nil {
		return m.slack.Now().Confirm(button)
	}
	a := x.tess.discord.Press(m.discord, button)
	if a.Message == nil {
		return ""
	}
	_, question, _ := strings.Cut(a.Message.Now().Seen(), " ")
	x.tess.discord.Press(a.Message, "No")
	return question
}

// trouble is what a call meets instead of success.
type trouble struct {
	Status     int
	RetryAfter time.Duration
	Drop       bool // it is done, and the answer lost
}

// Kinds of calls, by what they are called on each platform.
const (
	posts   = "posts"
	edits   = "edits"
	history = "history"
)

func (x *scene) callName(kind string) string {
	names := map[string][2]string{
		posts: {"chat.postMessage", "messages.create"}, edits: {"chat.update", "messages.edit"}, history: {"conversations.history", "messages.list"},
	}[kind]
	if x.slack != nil {
		return names[0]
	}
	return names[1]
}

// Fail has the next calls of a kind meet trouble, one each.
func (x *scene) Fail(kind string, all ...trouble) {
	for _, t := range all {
		if x.slack != nil {
			x.slack.Fail(x.callName(kind), slacktest.Fault{Status: t.Status, RetryAfter: t.RetryAfter, Drop: t.Drop})
		} else {
			x.discord.Fail(x.callName(kind), discordtest.Fault{Status: t.Status, RetryAfter: t.RetryAfter, Drop: t.Drop})
		}
	}
}

// call is one of the bot's.
type call struct {
	Channel string
	At      time.Time
	Refused string
}

// Calls returns the calls of a kind so far.
func (x *scene) Calls(kind string) (all []call) {
	if x.slack != nil {
		for _, c := range x.slack.Calls(x.callName(kind)) {
			all = append(all, call{c.Channel, c.At, c.Refused})
		}
		return all
	}
	for _, c := range x.discord.Calls(x.callName(kind)) {
		all = append(all, call{c.Channel, c.At, c.Refused})
	}
	return all
}

// Close ends a channel, or opens it again: it is archived on Slack, and deleted on Discord.
func (x *scene) Close(c *channel, closed bool) {
	if x.slack != nil {
		x.slack.Archive(c.slack, closed)
		return
	}
	x.discord.DeleteChannel(c.discord, closed)
}

// ThrowOut takes the bot out of a channel, or lets it in again.
func (x *scene) ThrowOut(c *channel, out bool) {
	switch {
	case x.discord != nil:
		x.discord.Hide(c.discord, out)
	case out:
		x.slack.Kick(c.slack)
	default:
		x.slack.Invite(c.slack)
	}
}

// Revoke makes the bot token invalid, or valid again.
func (x *scene) Revoke(revoked bool) {
	if x.slack != nil {
		x.slack.Revoke(revoked)
		return
	}
	x.discord.Revoke(revoked)
}

// Drop ends the connections by which commands come.
func (x *scene) Drop() {
	if x.slack != nil {
		x.slack.DropSockets()
		return
	}
	x.discord.Disconnect(0)
}

// Connected waits until there is one.
func (x *scene) Connected() bool {
	if x.slack != nil {
		return x.slack.Connected()
	}
	return x.discord.Connected()
}

// link is how a link to an address is seen.
func (x *scene) link(address, label string) string {
	if x.slack != nil {
		return "<" + address + "|" + label + ">"
	}
	return label
}

// mentionOf is how a mention of the approvers begins.
func (x *scene) mentionOf() string {
	if x.slack != nil {
		return "<!subteam^"
	}
	return "<@&"
}
