package discord

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"gimletd/bot"

	"github.com/bwmarrin/discordgo"
)

// Permissions are what the bot needs in its channels, each with what it is for.
func Permissions() []Permission {
	return []Permission{
		{discordgo.PermissionViewChannel, "View Channel", "see its channels"},
		{discordgo.PermissionSendMessages, "Send Messages", "say things there"},
		{discordgo.PermissionEmbedLinks, "Embed Links", "show more than a line"},
		{discordgo.PermissionAttachFiles, "Attach Files", "put a long diff into a thread"},
		{discordgo.PermissionReadMessageHistory, "Read Message History", "look whether a message arrived whose sending had no answer, and answer one"},
		{discordgo.PermissionCreatePublicThreads, "Create Public Threads", "keep details out of the channel"},
		{discordgo.PermissionSendMessagesInThreads, "Send Messages in Threads", "say them there"},
		{discordgo.PermissionMentionEveryone, "Mention Everyone", "mention roles that not everybody may mention; nothing else is mentioned by it"},
	}
}

// Permission is a bit with its name in the settings of a role, and what it is for.
type Permission struct {
	Bit       int64
	Name, For string
}

// Invitation is the address at which the bot is invited to the server.
func Invitation(applicationID, guildID string) string {
	var all int64
	for _, p := range Permissions() {
		all |= p.Bit
	}
	return fmt.Sprintf("https://discord.com/oauth2/authorize?client_id=%s&scope=bot%%20applications.commands&permissions=%d&guild_id=%s", applicationID, all, guildID)
}

// CheckOptions are what there is to check beside the connection.
type CheckOptions struct {
	Roles     []string    // role:…, of the configuration's roles
	PublicURL string      // HTTP: where Discord calls
	TestIn    bot.Channel // where the self-test message goes; "" for none
}

// Check proves the configuration against Discord: the token, the server, the channels and what the bot may there, the roles, the
// way in, and with one self-test message, which it posts and edits, the way out. Each finding is reported as soon as it is known.
func (d *Discord) Check(ctx context.Context, o CheckOptions, report func(bot.Finding)) (good bool) {
	list := bot.Checklist{Report: report}
	list.Check(d.identify(ctx), "the bot token is the application's, and its settings fit", "copy the token from the application's page Bot (Reset Token), the Application ID and the Public Key from General Information")
	if !d.isIdentified() {
		return false
	}
	invite := "invite the bot: " + Invitation(d.config.ApplicationID, d.config.GuildID)
	if !list.Check(d.get(ctx, "guilds/"+d.config.GuildID, nil), "the bot is in the server", invite) {
		return false
	}
	for _, c := range d.config.Channels {
		list.Check(d.checkChannel(ctx, c), "can do its work in "+string(c), "give its role what is missing in the channel's permissions, or "+invite)
	}
	for _, role := range o.Roles {
		members, err := d.Members(ctx, role)
		list.Check(err, fmt.Sprintf("discord:%s has %d members", role, len(members)), "copy the role's id (Developer Mode, Server Settings, Roles, ⋮, Copy Role ID) into the configuration's roles")
	}
	list.Check(d.checkIntent(ctx), "the members of roles can be listed", "switch Server Members Intent on (Bot, Privileged Gateway Intents); without it rights work, but reminders go only to people who have spoken to the bot")
	list.Check(d.checkCommands(ctx), "the commands are registered", "run `gimletd discord register`, or start the server, which does the same")
	if d.gateway() {
		list.Check(d.checkGateway(ctx), "the gateway takes connections", "wait until tomorrow, and find out what connects so often")
	} else {
		list.Check(d.checkEndpoint(ctx, o.PublicURL), "Discord calls "+endpoint(o.PublicURL)+", and what is not signed is refused",
			"start the server, make server.publicURL reach it, and put that address into Interactions Endpoint URL (General Information)")
	}
	if o.TestIn != "" {
		list.Check(bot.SelfTest(ctx, d, o.TestIn, d.now()), "a self-test message was posted and edited in "+string(o.TestIn), invite)
	}
	return !list.Failed
}

// checkChannel looks at what the bot may in a channel.
func (d *Discord) checkChannel(ctx context.Context, channel bot.Channel) error {
	self, err := d.whoami(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	var found struct {
		Guild string `json:"guild_id"`
	}
	if err := d.get(ctx, "channels/"+id(channel), &found); err != nil {
		return err
	}
	if found.Guild != d.config.GuildID {
		return fmt.Errorf("it is not a channel of the server %s", d.config.GuildID)
	}
	has, err := d.session().UserChannelPermissions(self, id(channel), discordgo.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("what it may there is not known (%w)", err)
	}
	var missing []string
	for _, p := range Permissions() {
		if has&(p.Bit|discordgo.PermissionAdministrator) == 0 {
			missing = append(missing, fmt.Sprintf("%s (to %s)", p.Name, p.For))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing: %s", strings.Join(missing, ", "))
	}
	return nil
}

func (d *Discord) checkIntent(ctx context.Context) error {
	d.roles.mu.Lock()
	defer d.roles.mu.Unlock()
	if err := d.roles.refresh(ctx, d); err != nil {
		return err
	}
	if d.roles.alone {
		return errors.New("the Server Members Intent is off")
	}
	return nil
}

func (d *Discord) checkCommands(ctx context.Context) error {
	var there []struct {
		Name string `json:"name"`
	}
	if err := d.get(ctx, "applications/"+d.config.ApplicationID+"/guilds/"+d.config.GuildID+"/commands", &there); err != nil {
		return err
	}
	names := map[string]bool{}
	for _, c := range there {
		names["/"+c.Name] = true
	}
	for _, want := range []string{d.config.Commands.Release, d.config.Commands.Rollback, d.config.Commands.Gimlet} {
		if !names[want] {
			return fmt.Errorf("%s is not", want)
		}
	}
	return nil
}

func (d *Discord) checkGateway(ctx context.Context) error {
	var gateway struct {
		Limit struct {
			Remaining int `json:"remaining"`
		} `json:"session_start_limit"`
	}
	if err := d.get(ctx, "gateway/bot", &gateway); err != nil {
		return err
	}
	if gateway.Limit.Remaining < 1 {
		return errors.New("too many connections were begun today")
	}
	return nil
}

func endpoint(publicURL string) string {
	return strings.TrimSuffix(publicURL, "/") + "/discord/interactions"
}

// checkEndpoint calls our own server as nobody but Discord may.
func (d *Discord) checkEndpoint(ctx context.Context, publicURL string) error {
	if publicURL == "" {
		return errors.New("server.publicURL is missing, so Discord does not know where to call")
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint(publicURL), strings.NewReader(`{"type":1}`))
	if err != nil {
		return err
	}
	res, err := d.client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxBody))
	if err := res.Body.Close(); err != nil {
		return err
	}
	if res.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("what is not signed was answered with %s: it is not GimletD, or discord.publicKey is not set there", res.Status)
	}
	var app application
	if err := d.get(ctx, "applications/@me", &app); err != nil {
		return err
	}
	if app.Endpoint != endpoint(publicURL) {
		return fmt.Errorf("the application's Interactions Endpoint URL is %q", app.Endpoint)
	}
	return nil
}
