package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"gimletd/bot/discord"
	"gimletd/commands"
)

type discordGroup struct {
	Register discordRegister `cmd:"" help:"Register the slash commands in the server. A start of the server does the same."`
	Check    discordCheck    `cmd:"" help:"Prove a configuration against Discord: token, server, channels, roles, the way in, and one self-test message."`
}

type discordRegister struct {
	Config string `help:"The configuration file." required:"" type:"existingfile"`
	Print  bool   `help:"Print the commands, and register nothing."`
}

// Run puts the commands into the server, and prints how to invite the bot there.
func (c discordRegister) Run(ctx context.Context, std streams) error {
	config, d, err := discordOf(c.Config)
	if err != nil {
		return err
	}
	adapter := config.Discord.adapter(config)
	router := commands.NewRouter(nil, nil, config.zone(), time.Now, slog.New(slog.DiscardHandler))
	if c.Print {
		text, err := json.MarshalIndent(discord.Commands(router.Specs(), adapter.Commands, adapter.Seldom), "", "  ")
		if err == nil {
			_, err = fmt.Fprintln(std.out, string(text))
		}
		return err
	}
	d.Connect(nil, router, nil)
	if err := d.Register(ctx); err != nil {
		return fmt.Errorf("%w\nis the bot in the server? It is invited at\n%s", err, discord.Invitation(adapter.ApplicationID, adapter.GuildID))
	}
	_, err = fmt.Fprintf(std.out, "%s, %s and %s are registered in the server %s\n", adapter.Commands.Release, adapter.Commands.Rollback, adapter.Commands.Gimlet, adapter.GuildID)
	return err
}

type discordCheck struct {
	Config string `help:"The configuration file." required:"" type:"existingfile"`
	SelfTest
}

// Run reports what it finds.
func (c discordCheck) Run(ctx context.Context, std streams) error {
	config, d, err := discordOf(c.Config)
	if err != nil {
		return err
	}
	o := discord.CheckOptions{Roles: config.groups(discord.Platform, discordRole), PublicURL: config.Server.PublicURL}
	o.TestIn = c.channel(discord.Platform, config.Discord.adapter(config).Channels)
	return checked(d.Check(ctx, o, std.found))
}

// discordOf reads a configuration that has Discord in it.
func discordOf(file string) (Config, *discord.Discord, error) {
	config, err := LoadConfig(file)
	if err != nil {
		return config, nil, err
	}
	if !config.Discord.enabled() {
		return config, nil, errors.New("the configuration has no discord.botToken")
	}
	return config, discord.New(config.Discord.adapter(config), &http.Client{Timeout: chatWithin}, time.Now, slog.New(slog.DiscardHandler), func(string, error) {}), nil
}
