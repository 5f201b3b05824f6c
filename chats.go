package main

import (
	"context"
	"net/http"
	"time"

	"gimletd/bot"
	"gimletd/bot/discord"
	"gimletd/bot/slack"
	"gimletd/commands"
	"gimletd/notify"
	"gimletd/releases"
)

// How often the groups of roles are looked at, and how often that loop says that it lives.
const (
	rolesEvery = 10 * time.Minute
	rolesBeat  = time.Minute
)

// watchRoles tells, at the start and later, when a role names a group that nobody knows.
func (p *process) watchRoles(ctx context.Context, members commands.Members, loops *releases.Loops) error {
	tick := time.NewTicker(rolesBeat)
	defer tick.Stop()
	var fault error
	for n := 0; ; n++ {
		if n%int(rolesEvery/rolesBeat) == 0 {
			before := fault
			looking, cancel := context.WithTimeout(ctx, rolesBeat)
			fault = members.Check(looking)
			cancel()
			if fault != nil && ctx.Err() == nil && (before == nil || before.Error() != fault.Error()) {
				p.log.Error("not all groups of the roles are known", "err", fault)
			}
		}
		loops.Beat("roles", time.Now(), fault)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// connection is a chat platform's adapter.
type connection interface {
	notify.Sender
	bot.Answerer
	bot.Directory
	Connect(r bot.Receiver, h bot.Handler, c bot.Completer)
	Run(ctx context.Context) error
	Handler() http.Handler
}

// chat is a platform that is configured.
type chat struct {
	connection
	platform  string
	editEvery time.Duration
	calls     string // where the platform calls; "" when it is called
}

// newChats makes the connections to the chats that are configured.
func (p *process) newChats(loops *releases.Loops) (all []chat) {
	client := &http.Client{Timeout: chatWithin}
	beat := func(loop string, fault error) { loops.Beat(loop, time.Now(), fault) }
	if c := p.config.Slack; c.enabled() {
		one := chat{platform: slack.Platform, editEvery: slack.EditEvery, connection: slack.New(c.adapter(p.config), client, time.Now, p.log, beat)}
		if !c.socketMode() {
			one.calls = "/slack/"
		}
		all = append(all, one)
	}
	if c := p.config.Discord; c.enabled() {
		one := chat{platform: discord.Platform, editEvery: discord.EditEvery, connection: discord.New(c.adapter(p.config), client, time.Now, p.log, beat)}
		if c.PublicKey != "" {
			one.calls = "/discord/"
		}
		all = append(all, one)
	}
	return all
}
