package main

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"gimletd/bot"
	"gimletd/bot/discord"
	"gimletd/bot/slack"
	"gimletd/commands"
	"gimletd/releases"
)

// PersonConfig is somebody with all their accounts.
type PersonConfig struct {
	Name    string `yaml:"name"`
	Email   string `yaml:"email"`
	Slack   string `yaml:"slack"`   // user id
	Discord string `yaml:"discord"` // user id
}

// RoleConfig says what its members may do, and where.
type RoleConfig struct {
	Name         string   `yaml:"name"`
	Members      []string `yaml:"members"`
	Can          []string `yaml:"can"`
	Environments []string `yaml:"environments"` // globs; all without
	Apps         []string `yaml:"apps"`         // globs; all without
}

// NotifyConfig is where news go that have no other place.
type NotifyConfig struct {
	Fallback string `yaml:"fallback"` // a channel
	Owner    string `yaml:"owner"`    // a person
}

// SlackConfig is the Slack app.
type SlackConfig struct {
	BotToken          releases.Secret `yaml:"botToken"`
	BotTokenFile      string          `yaml:"botTokenFile"`
	AppToken          releases.Secret `yaml:"appToken"` // Socket Mode
	AppTokenFile      string          `yaml:"appTokenFile"`
	SigningSecret     releases.Secret `yaml:"signingSecret"` // HTTP
	SigningSecretFile string          `yaml:"signingSecretFile"`
	Commands          CommandsConfig  `yaml:"commands"`
	APIURL            string          `yaml:"apiURL"`
}

// CommandsConfig are the names of the slash commands.
type CommandsConfig struct {
	Release  string `yaml:"release"`
	Rollback string `yaml:"rollback"`
	Gimlet   string `yaml:"gimlet"`
}

func commandDefaults() CommandsConfig { return CommandsConfig(bot.OwnNames()) }

func (c CommandsConfig) names() bot.Names { return bot.Names(c) }

func (c CommandsConfig) validate(path string, add addFault) {
	names := []string{c.Release, c.Rollback, c.Gimlet}
	for i, key := range []string{"release", "rollback", "gimlet"} {
		if !slashCommand.MatchString(names[i]) {
			add(path+"."+key, "%q is not a slash command (a slash, and up to 31 lower-case letters, digits, '-' or '_')", names[i])
		}
		if slices.Index(names, names[i]) != i {
			add(path+"."+key, "there is another command %s", names[i])
		}
	}
}

func slackDefaults() SlackConfig {
	return SlackConfig{Commands: commandDefaults(), APIURL: "https://slack.com/api/"}
}

func (c SlackConfig) enabled() bool { return c.BotToken != "" }

// socketMode reports whether Slack is reached by a connection of ours instead of calls of theirs.
func (c SlackConfig) socketMode() bool { return c.AppToken != "" }

// adapter is the configuration of the package.
func (c SlackConfig) adapter(whole Config) slack.Config {
	s := slack.Config{
		BotToken: c.BotToken.Reveal(), AppToken: c.AppToken.Reveal(), SigningSecret: c.SigningSecret.Reveal(), APIURL: c.APIURL,
		Commands: c.Commands.names(),
	}
	for _, channel := range whole.channels() {
		if strings.HasPrefix(channel, slack.Platform+":") {
			s.Channels = append(s.Channels, bot.Channel(channel))
		}
	}
	return s
}

// channels are all that the configuration names, each once.
func (c Config) channels() (all []string) {
	for _, e := range c.Environments {
		all = append(all, e.Channels...)
	}
	if c.Notify.Fallback != "" {
		all = append(all, c.Notify.Fallback)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (c Config) roles() (all []commands.Role) {
	for _, r := range c.Roles {
		all = append(all, commands.Role{
			Role: releases.Role{Name: r.Name, Can: r.Can, Environments: r.Environments, Apps: r.Apps}, Members: r.Members,
		})
	}
	return all
}

func (c Config) people() (all []commands.Person) {
	for _, p := range c.People {
		all = append(all, commands.Person{Name: p.Name, Email: p.Email, Accounts: map[string]string{slack.Platform: p.Slack, discord.Platform: p.Discord}})
	}
	return all
}

var (
	slackUserID      = regexp.MustCompile(`^[UW][A-Z0-9]{2,}$`)
	slackGroupName   = regexp.MustCompile(`^(S[A-Z0-9]{2,}|@[a-z0-9._-]+)$`)
	slackChannelName = regexp.MustCompile(`^(#[^\s#@]{1,80}|[CG][A-Z0-9]{2,})$`)
	slashCommand     = regexp.MustCompile(`^/[a-z0-9_-]{1,31}$`)
)

func (c Config) validateChat() (faults []fault) {
	add := func(path, format string, args ...any) {
		faults = append(faults, fault{path, fmt.Errorf(format, args...)})
	}
	if c.Server.PublicURL != "" {
		if u, err := url.Parse(c.Server.PublicURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			add("server.publicURL", "%q is not a URL such as https://gimletd.example.com", c.Server.PublicURL)
		}
	}
	if c.Notify.Fallback != "" {
		c.checkChannel("notify.fallback", c.Notify.Fallback, add)
	}
	if c.Notify.Owner != "" && !c.isPerson(c.Notify.Owner) {
		add("notify.owner", "%q is not a person on a platform that is configured: slack:U… or discord:<id>", c.Notify.Owner)
	}
	c.validateSlack(add)
	c.validateDiscord(add)
	c.validatePeople(add)
	c.validateRoles(add)
	return faults
}

type addFault func(path, format string, args ...any)

// isPerson reports whether a word names somebody on a platform that is configured.
func (c Config) isPerson(word string) bool {
	platform, id, _ := strings.Cut(word, ":")
	switch platform {
	case slack.Platform:
		return c.Slack.enabled() && slackUserID.MatchString(id)
	case discord.Platform:
		return c.Discord.enabled() && discordID.MatchString(id)
	}
	return false
}

// checkChannel refuses what is no channel, or is on a platform that is not configured.
func (c Config) checkChannel(path, channel string, add addFault) {
	platform, name, _ := strings.Cut(channel, ":")
	switch {
	case channel == "console":
	case platform == "slack" && !c.Slack.enabled():
		add(path, "%q is on Slack, which is not configured (slack.botToken is missing)", channel)
	case platform == "slack" && slackChannelName.MatchString(name):
	case platform == "slack":
		add(path, "%q is not a Slack channel: slack:#name or slack:C…", channel)
	case platform == discord.Platform && !c.Discord.enabled():
		add(path, "%q is on Discord, which is not configured (discord.botToken is missing)", channel)
	case platform == discord.Platform && discordID.MatchString(name):
	case platform == discord.Platform:
		add(path, "%q is not a Discord channel: discord:<id> (with Developer Mode on, its menu has Copy Channel ID)", channel)
	default:
		add(path, "%q is not a channel: console, slack:#name, slack:C… or discord:<id>", channel)
	}
}

func (c Config) validateSlack(add addFault) {
	s := c.Slack
	if !s.enabled() {
		if s.AppToken != "" || s.SigningSecret != "" {
			add("slack.botToken", "missing; without it nothing can be said")
		}
		return
	}
	switch {
	case s.AppToken == "" && s.SigningSecret == "":
		add("slack", "one of appToken (Socket Mode) and signingSecret (HTTP) is needed, or no command would arrive")
	case s.AppToken != "" && s.SigningSecret != "":
		add("slack.signingSecret", "appToken is set, too: commands arrive by Socket Mode or by HTTP, not by both")
	}
	if s.AppToken != "" && !strings.HasPrefix(s.AppToken.Reveal(), "xapp-") {
		add("slack.appToken", "does not begin with xapp-; it is the app-level token, not the bot's")
	}
	if !strings.HasPrefix(s.BotToken.Reveal(), "xox") {
		add("slack.botToken", "does not begin with xoxb-; it is under OAuth & Permissions in the app's settings")
	}
	if u, err := url.Parse(s.APIURL); err != nil || u.Host == "" || !strings.HasSuffix(s.APIURL, "/") {
		add("slack.apiURL", "%q is not a URL that ends with a slash", s.APIURL)
	}
	s.Commands.validate("slack.commands", add)
}

func (c Config) validatePeople(add addFault) {
	seen := map[string]bool{}
	for i, p := range c.People {
		at := fmt.Sprintf("people[%d]", i)
		if p.Name == "" {
			add(at+".name", "missing")
		}
		if !strings.Contains(p.Email, "@") {
			add(at+".email", "%q is not an e-mail address, by which roles name people", p.Email)
		}
		if p.Slack != "" && !slackUserID.MatchString(p.Slack) {
			add(at+".slack", "%q is not a Slack user id (U…; in a profile under ⋮, Copy member ID)", p.Slack)
		}
		if p.Discord != "" && !discordID.MatchString(p.Discord) {
			add(at+".discord", "%q is not a Discord user id (with Developer Mode on, the menu on their name has Copy User ID)", p.Discord)
		}
		for _, name := range []string{strings.ToLower(p.Email), p.Slack, p.Discord} {
			if name != "" && seen[name] {
				add(at, "%s is somebody else's, too", name)
			}
			seen[name] = true
		}
	}
}

func (c Config) validateRoles(add addFault) {
	names := map[string]bool{}
	for i, r := range c.Roles {
		at := fmt.Sprintf("roles[%d]", i)
		if r.Name == "" || strings.ContainsAny(r.Name, " \t,:") {
			add(at+".name", "%q is not a name without spaces", r.Name)
		}
		if names[r.Name] {
			add(at+".name", "there is another role %q", r.Name)
		}
		names[r.Name] = true
		if len(r.Can) == 0 {
			add(at+".can", "missing; a role can some of: %s", strings.Join(releases.Verbs(), ", "))
		}
		for j, verb := range r.Can {
			if !slices.Contains(releases.Verbs(), verb) {
				add(fmt.Sprintf("%s.can[%d]", at, j), "%q is not one of: %s", verb, strings.Join(releases.Verbs(), ", "))
			}
		}
		for j, m := range r.Members {
			c.validateMember(fmt.Sprintf("%s.members[%d]", at, j), m, add)
		}
		for j, env := range r.Environments {
			c.validateEnvironmentGlob(fmt.Sprintf("%s.environments[%d]", at, j), env, add)
		}
		for j, app := range r.Apps {
			if err := releases.CheckGlob(app); err != nil {
				add(fmt.Sprintf("%s.apps[%d]", at, j), "%w", err)
			}
		}
	}
}

func (c Config) validateEnvironmentGlob(path, glob string, add addFault) {
	if err := releases.CheckGlob(glob); err != nil {
		add(path, "%w", err)
		return
	}
	known := slices.ContainsFunc(c.Environments, func(e EnvironmentConfig) bool { return e.Name == glob })
	if !known && !strings.ContainsAny(glob, "*?[{!") {
		add(path, "there is no environment %q", glob)
	}
}

func (c Config) validateMember(path, member string, add addFault) {
	platform, id, ok := strings.Cut(member, ":")
	if platform == "console" || platform == "token" {
		if id == "" {
			add(path, "%q names nobody: console:<name> is who sits at the console, token:<name> an API token", member)
		}
		return
	}
	switch {
	case !ok && slices.ContainsFunc(c.People, func(p PersonConfig) bool { return strings.EqualFold(p.Email, member) }):
	case !ok:
		add(path, "%q is not the e-mail address of anybody in people", member)
	case platform == discord.Platform && !c.Discord.enabled():
		add(path, "%q is on Discord, which is not configured (discord.botToken is missing)", member)
	case platform == discord.Platform && !discordID.MatchString(id) && !discordRole.MatchString(id):
		add(path, "%q is not a Discord role (discord:role:<id>) or person (discord:<id>)", member)
	case platform == discord.Platform:
	case platform != slack.Platform:
		add(path, "%q is not a member: slack:@handle, slack:S… (a group), slack:U… (a person), discord:role:<id>, discord:<id> (a person), console:<name>, token:<name>, or an e-mail address of people", member)
	case !c.Slack.enabled():
		add(path, "%q is on Slack, which is not configured (slack.botToken is missing)", member)
	case !slackUserID.MatchString(id) && !slackGroupName.MatchString(id):
		add(path, "%q is not a Slack group (slack:@handle, slack:S…) or person (slack:U…)", member)
	}
}

func (c Config) fallback() (fallback, owner bot.Channel) {
	return bot.Channel(c.Notify.Fallback), bot.Channel(c.Notify.Owner)
}
