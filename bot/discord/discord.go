// Package discord speaks with people in Discord: by the gateway or by HTTP interactions, with slash commands, autocomplete,
// buttons and threads. It knows chat and nothing of releases; what people want goes to a bot.Receiver, what they are told
// comes as bot.Messages. https://docs.discord.com/developers
package discord

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"gimletd/bot"
)

// Platform is Discord's name in channels and users.
const Platform = "discord"

// EditEvery is the least time between two edits of one message: a channel takes five in five seconds.
const EditEvery = 1500 * time.Millisecond

// Config is the Discord application and the one server (guild) that it works for.
type Config struct {
	BotToken      string
	ApplicationID string
	GuildID       string
	PublicKey     ed25519.PublicKey // interactions come by HTTP; without it, by the gateway
	Commands      bot.Names
	// Seldom are commands of the group that stand under `more`: Discord has room for 25 in one list.
	Seldom   []string
	APIURL   string        // ends with a slash, and has no version
	Channels []bot.Channel // those of the configuration; every other id is a person's
}

// Discord is a connection to a server. It is a notify.Sender, a bot.Answerer and a bot.Directory.
type Discord struct {
	config Config
	client *http.Client
	now    func() time.Time
	log    *slog.Logger
	link   *bot.Link

	receiver  bot.Receiver
	handler   bot.Handler
	completer bot.Completer

	limits  *limits
	silence time.Duration // after which a gateway connection is taken to be dead
	tokens  tokens
	people  people
	roles   roles
	directs directs
	threads bot.Seen // that are known to be there
	replays bot.Seen // signatures
	clicks  bot.Seen // double ones
	gone    bot.Seen // messages that somebody has deleted

	mu         sync.Mutex
	self       string // the bot's user id
	identified chan struct{}
}

// Limits of background work.
const (
	doubleClick  = 3 * time.Second
	threadsFor   = 24 * time.Hour
	nonceFor     = time.Hour // longer than Discord remembers one
	identifyWait = 2 * time.Second
)

// New makes a Discord. beat is told, at each sign of life of a loop, what keeps it from its work, if anything.
func New(c Config, client *http.Client, now func() time.Time, log *slog.Logger, beat func(loop string, fault error)) *Discord {
	log = log.With("component", Platform)
	way := Platform + " gateway"
	if len(c.PublicKey) > 0 {
		way = ""
	}
	return &Discord{
		link: bot.NewLink(Platform, way, beat, log), config: c, client: client, now: now, log: log, limits: newLimits(now), silence: silence, identified: make(chan struct{}),
		replays: bot.Seen{Lifetime: 2 * maxSkew}, clicks: bot.Seen{Lifetime: doubleClick}, threads: bot.Seen{Lifetime: threadsFor}, gone: bot.Seen{Lifetime: nonceFor},
	}
}

// Connect says where requests go: those that change something to the receiver; suggestions, for which somebody waits, to
// the completer. The handler describes the commands.
func (d *Discord) Connect(r bot.Receiver, h bot.Handler, c bot.Completer) {
	d.receiver, d.handler, d.completer = r, h, c
}

// gateway reports whether interactions come by a connection of ours instead of calls of theirs.
func (d *Discord) gateway() bool { return len(d.config.PublicKey) == 0 }

// Run keeps the connection until the context ends.
func (d *Discord) Run(ctx context.Context) error {
	if d.gateway() {
		d.link.Go(func() { d.listen(ctx) })
	}
	registered := false
	d.link.Keep(ctx, func(ctx context.Context) error {
		err := d.identify(ctx)
		if d.isIdentified() && !registered {
			failed := d.Register(ctx)
			registered = failed == nil
			err = errors.Join(err, failed)
		}
		return err
	})
	return nil
}

// identify learns who the bot is, and that the token is that of the application.
func (d *Discord) identify(ctx context.Context) error {
	var self struct {
		ID string `json:"id"`
	}
	if err := d.call(ctx, request{method: http.MethodGet, path: "users/@me", route: "GET users/@me"}, &self); err != nil {
		return err
	}
	var app application
	if err := d.call(ctx, request{method: http.MethodGet, path: "applications/@me", route: "GET applications/@me"}, &app); err != nil {
		return err
	}
	d.mu.Lock()
	if d.self == "" {
		close(d.identified)
	}
	d.self = self.ID
	d.mu.Unlock()
	return d.fits(app)
}

// fits says what of the application's settings does not fit the configuration, so that no interaction would come.
func (d *Discord) fits(app application) error {
	switch {
	case app.ID != d.config.ApplicationID:
		return fmt.Errorf("discord.botToken belongs to the application %s, and discord.applicationID is %s", app.ID, d.config.ApplicationID)
	case d.gateway() && app.Endpoint != "":
		return fmt.Errorf("commands go to the application's Interactions Endpoint URL (%s) and not to the gateway: remove it (General Information), or set discord.publicKey", app.Endpoint)
	case !d.gateway() && app.VerifyKey != "" && !strings.EqualFold(app.VerifyKey, hex.EncodeToString(d.config.PublicKey)):
		return errors.New("discord.publicKey is not the application's Public Key (General Information)")
	case !d.gateway() && app.Endpoint == "":
		return errors.New("the application has no Interactions Endpoint URL (General Information): it is server.publicURL with /discord/interactions after it")
	}
	return nil
}

// application is what Discord says of ours.
type application struct {
	ID        string `json:"id"`
	Endpoint  string `json:"interactions_endpoint_url"`
	VerifyKey string `json:"verify_key"`
}

// whoami waits until it is known who the bot is.
func (d *Discord) whoami(ctx context.Context) (string, error) {
	select {
	case <-d.identified:
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.self, nil
	case <-time.After(identifyWait):
	case <-ctx.Done():
	}
	return "", &bot.TemporaryError{After: identifyWait, Err: fmt.Errorf("discord: who I am is not known yet"), Busy: true}
}

func (d *Discord) isIdentified() bool {
	select {
	case <-d.identified:
		return true
	default:
		return false
	}
}

// id is the part of a channel that Discord knows.
func id(c bot.Channel) string { return strings.TrimPrefix(string(c), Platform+":") }

// isChannel tells a channel from a person: the configuration names all channels.
func (d *Discord) isChannel(c bot.Channel) bool { return slices.Contains(d.config.Channels, c) }

// specifier has commands described.
type specifier interface{ Specs() []bot.Spec }

func (d *Discord) specs() []bot.Spec {
	if commands, ok := d.handler.(specifier); ok {
		return commands.Specs()
	}
	return nil
}
