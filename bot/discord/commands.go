package discord

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"gimletd/bot"

	"github.com/bwmarrin/discordgo"
)

// Limits of commands. https://docs.discord.com/developers/interactions/application-commands
const (
	maxOptions    = 25
	maxDescribing = 100
)

// more is the group under which seldom commands stand.
const more = "more"

// Commands are the application's commands, made from their Specs.
func Commands(specs []bot.Spec, names bot.Names, seldom []string) []*discordgo.ApplicationCommand {
	own := bot.OwnNames()
	local := map[string]string{own.Release: names.Release, own.Rollback: names.Rollback, own.Gimlet: names.Gimlet}
	var all []*discordgo.ApplicationCommand
	var group, rare *discordgo.ApplicationCommandOption
	var top *discordgo.ApplicationCommand
	for _, s := range specs {
		first, sub, nested := strings.Cut(s.Name, " ")
		name := strings.TrimPrefix(local["/"+first], "/")
		if s.Hidden || name == "" {
			continue
		}
		if !nested {
			all = append(all, &discordgo.ApplicationCommand{Type: discordgo.ChatApplicationCommand, Name: name, Description: describe(s.Summary), Options: options(s.Params)})
			continue
		}
		if top == nil {
			top = &discordgo.ApplicationCommand{Type: discordgo.ChatApplicationCommand, Name: name, Description: "What is live, who may, why, and everything else"}
			all = append(all, top)
		}
		group = &discordgo.ApplicationCommandOption{Type: discordgo.ApplicationCommandOptionSubCommand, Name: sub, Description: describe(s.Summary), Options: options(s.Params)}
		if !slices.Contains(seldom, sub) {
			top.Options = append(top.Options, group)
			continue
		}
		if rare == nil {
			rare = &discordgo.ApplicationCommandOption{Type: discordgo.ApplicationCommandOptionSubCommandGroup, Name: more, Description: "What is not needed every day"}
			top.Options = append(top.Options, rare)
		}
		rare.Options = append(rare.Options, group)
	}
	return all
}

func options(params []bot.Param) (all []*discordgo.ApplicationCommandOption) {
	for _, p := range params {
		all = append(all, &discordgo.ApplicationCommandOption{
			Type: discordgo.ApplicationCommandOptionString, Name: p.Name, Description: describe(p.Summary), Required: p.Required, Autocomplete: !p.Rest,
		})
	}
	return all
}

func describe(summary string) string {
	return bot.Cut(strings.ToUpper(summary[:1])+summary[1:], maxDescribing)
}

// Register puts the commands into the server, in the place of those that were there. It changes nothing when they are the same.
func (d *Discord) Register(ctx context.Context) error {
	all := Commands(d.specs(), d.config.Commands, d.config.Seldom)
	for _, c := range all {
		if len(c.Options) > maxOptions {
			return fmt.Errorf("discord: /%s has %d commands, there is room for %d", c.Name, len(c.Options), maxOptions)
		}
	}
	path := "applications/" + d.config.ApplicationID + "/guilds/" + d.config.GuildID + "/commands"
	return d.call(ctx, request{method: http.MethodPut, path: path, route: "PUT applications/commands", body: all}, nil)
}
