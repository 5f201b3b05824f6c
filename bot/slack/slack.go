// Package slack speaks with people in Slack: by Socket Mode or by HTTP, with slash commands, buttons, modals, a message
// shortcut and App Home. It knows chat and nothing of releases; what people want goes to a bot.Receiver, what they are
// told comes as bot.Messages. https://docs.slack.dev
package slack

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"gimletd/bot"

	"github.com/slack-go/slack"
)

// Platform is Slack's name in channels and users.
const Platform = "slack"

// EditEvery is the least time between two edits of one message: chat.update allows 50 a minute for all of them.
const EditEvery = 3 * time.Second

// Config is the Slack app. It has an AppToken (Socket Mode) or a SigningSecret (HTTP).
type Config struct {
	BotToken      string
	AppToken      string
	SigningSecret string
	Commands      bot.Names
	APIURL        string        // ends with a slash
	Channels      []bot.Channel // those of the configuration, by whose names requests are known
}

// Slack is a connection to a workspace. It is a notify.Sender, a bot.Answerer and a bot.Directory.
type Slack struct {
	config Config
	api    *slack.Client
	client *http.Client
	now    func() time.Time
	log    *slog.Logger
	link   *bot.Link

	receiver  bot.Receiver
	handler   bot.Handler
	completer bot.Completer

	limits    *limits
	channels  channelNames
	groups    groups
	users     users
	replays   bot.Seen // signatures
	clicks    bot.Seen // double ones
	responses responses

	mu         sync.Mutex
	identity   identity
	identified chan struct{} // closed once the identity is known
}

// identity is who the bot token belongs to.
type identity struct{ team, app, bot, url string }

// New makes a Slack. beat is told, at each sign of life of a loop, what keeps it from its work, if anything.
func New(c Config, client *http.Client, now func() time.Time, log *slog.Logger, beat func(loop string, fault error)) *Slack {
	log = log.With("component", Platform)
	way := ""
	if c.AppToken != "" {
		way = Platform + " socket"
	}
	s := &Slack{
		link: bot.NewLink(Platform, way, beat, log), config: c, client: client, now: now, log: log,
		limits: newLimits(now), identified: make(chan struct{}),
		replays: bot.Seen{Lifetime: replayWindow}, clicks: bot.Seen{Lifetime: doubleClick}, responses: responses{urls: map[string]responseURL{}},
	}
	options := []slack.Option{slack.OptionAPIURL(c.APIURL), slack.OptionHTTPClient(client)}
	if c.AppToken != "" {
		options = append(options, slack.OptionAppLevelToken(c.AppToken))
	}
	s.api = slack.New(c.BotToken, options...)
	return s
}

// Connect says where requests go: those that change something to the receiver; previews, pages and suggestions, for which
// somebody waits, to the others.
func (s *Slack) Connect(r bot.Receiver, h bot.Handler, c bot.Completer) {
	s.receiver, s.handler, s.completer = r, h, c
}

// Limits of background work.
const (
	replayWindow  = 10 * time.Minute
	doubleClick   = 3 * time.Second
	backgroundFor = time.Minute
	identifyWait  = 2 * time.Second // for what comes before the identity is known
)

// Run keeps the connection until the context ends.
func (s *Slack) Run(ctx context.Context) error {
	if s.config.AppToken != "" {
		s.link.Go(func() { s.socket(ctx) })
	}
	s.link.Keep(ctx, func(ctx context.Context) error {
		err := s.identify(ctx)
		if err == nil {
			err = s.channels.resolve(ctx, s)
		}
		return err
	})
	return nil
}

// identify learns whose token it is, so that payloads of others are refused.
func (s *Slack) identify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	var found identity
	err := s.call("auth.test", "", func() error {
		res, err := s.api.AuthTestContext(ctx)
		if err == nil {
			found = identity{team: res.TeamID, bot: res.BotID, url: res.URL}
		}
		return err
	})
	if err != nil {
		return err
	}
	err = s.call("bots.info", "", func() error {
		b, err := s.api.GetBotInfoContext(ctx, slack.GetBotInfoParameters{Bot: found.bot})
		if err == nil {
			found.app = b.AppID
		}
		return err
	})
	if err != nil {
		s.log.Warn("the app's id is not known, so payloads are checked by signature and workspace only", "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.identity.team == "" {
		close(s.identified)
	}
	s.identity = found
	return nil
}

// known waits until it is known who the bot is.
func (s *Slack) known(ctx context.Context) error {
	select {
	case <-s.identified:
		return nil
	case <-time.After(identifyWait):
	case <-ctx.Done():
	}
	return &bot.TemporaryError{After: identifyWait, Err: errStarting, Busy: true}
}

func (s *Slack) whoami() identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity
}

// background runs something that outlives the call that asked for it.
func (s *Slack) background(ctx context.Context, what string, do func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), backgroundFor)
	s.link.Go(func() {
		defer cancel()
		defer s.survive(what)
		if err := do(ctx); err != nil {
			s.log.Warn(what+" failed", "err", err)
		}
	})
}

// survive keeps one bad event from ending the process.
func (s *Slack) survive(what string) {
	if p := recover(); p != nil {
		s.log.Error(what+" panicked", "panic", p)
	}
}

func (s *Slack) user(id, name string) bot.User {
	return bot.User{Platform: Platform, ID: id, Name: name}
}

// id is the part of a channel that Slack knows.
func id(c bot.Channel) string { return strings.TrimPrefix(string(c), Platform+":") }
