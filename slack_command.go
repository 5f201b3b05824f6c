package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"gimletd/bot/slack"
)

type slackGroup struct {
	Manifest slackManifest `cmd:"" help:"Print the Slack app's manifest, to paste where a new app is made."`
	Check    slackCheck    `cmd:"" help:"Prove a configuration against Slack: token, scopes, channels, groups, the way in, and one self-test message."`
}

type slackManifest struct {
	Config string `help:"The configuration file. Without one, the manifest has the default commands and Socket Mode." type:"existingfile"`
}

// Run prints the manifest. A configuration that has an app token, or no public URL, connects by Socket Mode.
func (c slackManifest) Run(std streams) error {
	config := defaults()
	if c.Config != "" {
		var err error
		if config, err = LoadConfig(c.Config); err != nil {
			return err
		}
	}
	publicURL := config.Server.PublicURL
	if config.Slack.socketMode() {
		publicURL = ""
	}
	text, err := json.MarshalIndent(slack.Manifest(config.Slack.adapter(config).Commands, publicURL), "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.out, string(text))
	return err
}

type slackCheck struct {
	Config string `help:"The configuration file." required:"" type:"existingfile"`
	SelfTest
}

// Run reports what it finds.
func (c slackCheck) Run(ctx context.Context, std streams) error {
	config, err := LoadConfig(c.Config)
	if err != nil {
		return err
	}
	if !config.Slack.enabled() {
		return errors.New("the configuration has no slack.botToken")
	}
	adapter := config.Slack.adapter(config)
	o := slack.CheckOptions{Groups: config.groups(slack.Platform, slackGroupName), PublicURL: config.Server.PublicURL, TestIn: c.channel(slack.Platform, adapter.Channels)}
	s := slack.New(adapter, &http.Client{Timeout: chatWithin}, time.Now, slog.New(slog.DiscardHandler), func(string, error) {})
	return checked(s.Check(ctx, o, std.found))
}
