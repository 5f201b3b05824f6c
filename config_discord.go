package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"net/url"
	"regexp"
	"strings"

	"gimletd/bot"
	"gimletd/bot/discord"
	"gimletd/releases"
)

// DiscordConfig is the Discord application, and the server that it works for.
type DiscordConfig struct {
	BotToken      releases.Secret `yaml:"botToken"`
	BotTokenFile  string          `yaml:"botTokenFile"`
	ApplicationID string          `yaml:"applicationID"`
	GuildID       string          `yaml:"guildID"`
	PublicKey     string          `yaml:"publicKey"` // HTTP interactions; the gateway without
	Commands      CommandsConfig  `yaml:"commands"`
	APIURL        string          `yaml:"apiURL"`
}

func discordDefaults() DiscordConfig {
	return DiscordConfig{Commands: commandDefaults(), APIURL: "https://discord.com/api/"}
}

func (c DiscordConfig) enabled() bool { return c.BotToken != "" }

// seldom are the commands that stand under /gimlet more: Discord has room for 25.
func seldom() []string { return []string{"diff-rollback", "steal", "good", "sign-off", "undelegate"} }

// adapter is the configuration of the package.
func (c DiscordConfig) adapter(whole Config) discord.Config {
	key, _ := hex.DecodeString(c.PublicKey)
	d := discord.Config{
		BotToken: c.BotToken.Reveal(), ApplicationID: c.ApplicationID, GuildID: c.GuildID, PublicKey: ed25519.PublicKey(key), APIURL: c.APIURL,
		Commands: c.Commands.names(), Seldom: seldom(),
	}
	for _, channel := range whole.channels() {
		if strings.HasPrefix(channel, discord.Platform+":") {
			d.Channels = append(d.Channels, bot.Channel(channel))
		}
	}
	return d
}

var (
	discordID   = regexp.MustCompile(`^[0-9]{1,20}$`)
	discordRole = regexp.MustCompile(`^role:[0-9]{1,20}$`)
)

func (c Config) validateDiscord(add addFault) {
	d := c.Discord
	if !d.enabled() {
		if d.ApplicationID != "" || d.GuildID != "" || d.PublicKey != "" {
			add("discord.botToken", "missing; without it nothing can be said")
		}
		return
	}
	if strings.HasPrefix(d.BotToken.Reveal(), "Bot ") {
		add("discord.botToken", "is the token alone, without the word Bot before it")
	}
	if !discordID.MatchString(d.ApplicationID) {
		add("discord.applicationID", "%q is not an id; it is under General Information in the application's settings", d.ApplicationID)
	}
	if !discordID.MatchString(d.GuildID) {
		add("discord.guildID", "%q is not an id; with Developer Mode on, the server's menu has Copy Server ID", d.GuildID)
	}
	if key, err := hex.DecodeString(d.PublicKey); err != nil || (d.PublicKey != "" && len(key) != ed25519.PublicKeySize) {
		add("discord.publicKey", "is not 64 hexadecimal digits; it is under General Information in the application's settings")
	}
	if u, err := url.Parse(d.APIURL); err != nil || u.Host == "" || !strings.HasSuffix(d.APIURL, "/") {
		add("discord.apiURL", "%q is not a URL that ends with a slash", d.APIURL)
	}
	d.Commands.validate("discord.commands", add)
}
