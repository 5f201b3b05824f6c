package discord

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"gimletd/bot"

	"github.com/bwmarrin/discordgo"
)

// Answer tells the person alone: by the interaction's token while it works, else directly.
func (d *Discord) Answer(ctx context.Context, req bot.Request, reply bot.Reply) error {
	t, ok := d.tokens.of(req.ID, d.now())
	if ok && t.once != "" && len(reply.Messages) > 0 {
		d.clicks.Forget(t.once) // with an answer before them, people mean the next click
	}
	if len(reply.Messages) == 0 {
		return d.clear(ctx, t, ok)
	}
	for _, m := range reply.Messages {
		if m.File != nil {
			m.Code, m.File = m.File.Content, nil
		}
		if err := d.tell(ctx, req, m); err != nil {
			return err
		}
	}
	return nil
}

// clear takes away the sign that something is being done: the channel has the news.
func (d *Discord) clear(ctx context.Context, t token, ok bool) error {
	if !ok || t.place != first {
		return nil
	}
	return d.early(t, d.call(ctx, request{method: http.MethodDelete, path: t.path() + "/messages/@original"}, nil))
}

// tell answers with one message.
func (d *Discord) tell(ctx context.Context, req bot.Request, m bot.Message) error {
	p := render(d.config.Commands.In(m), "")
	p.Flags = discordgo.MessageFlagsEphemeral
	if t, ok := d.tokens.of(req.ID, d.now()); ok {
		r := request{method: http.MethodPost, path: t.path(), body: p}
		if t.place == first {
			r.method, r.path = http.MethodPatch, t.path()+"/messages/@original"
		}
		err := d.early(t, d.call(ctx, r, nil))
		if err == nil {
			d.tokens.answered(req.ID)
			return nil
		}
		if _, again := errors.AsType[*bot.TemporaryError](err); again {
			return err
		}
		d.log.Info("an interaction cannot be answered any more; the person is told directly", "err", err)
		d.tokens.forget(req.ID)
	}
	p.Flags = 0
	channel, err := d.direct(ctx, req.User.ID)
	if err != nil {
		return err
	}
	return d.patiently(ctx, d.posting(channel, p), nil)
}

// early says that an interaction which Discord does not know may be one of which it has not had our first answer yet.
func (d *Discord) early(t token, err error) error {
	if (codeOf(err) == unknownWebhook || codeOf(err) == unknownMessage) && d.now().Sub(t.at) < settled {
		return &bot.TemporaryError{After: settled / 20, Err: err, Busy: true}
	}
	if errors.Is(err, bot.ErrNoMessage) && t.place == first {
		return nil // they have dismissed it
	}
	return err
}

// settled is when Discord surely has our first answer, or will have none.
const settled = 5 * time.Second

// Where the next message of an answer goes.
const (
	first = iota // in the place of the first answer
	later        // after it
)

// token is the right to answer an interaction, for a quarter of an hour.
// https://docs.discord.com/developers/interactions/receiving-and-responding#followup-messages
type token struct {
	application string
	secret      string
	place       int
	at          time.Time
	once        string // of a click: what a second one of the same shares
}

func (t token) path() string { return "webhooks/" + t.application + "/" + t.secret }

const tokenFor = 14 * time.Minute

// tokens are those of interactions in hand. They are secrets, so they are kept in memory only.
type tokens struct {
	mu  sync.Mutex
	all map[string]token
}

func (t *tokens) keep(i interaction, place int, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const many = 4096
	if t.all == nil {
		t.all = map[string]token{}
	}
	if len(t.all) >= many {
		for id, old := range t.all {
			if now.Sub(old.at) > tokenFor {
				delete(t.all, id)
			}
		}
	}
	if _, again := t.all[i.ID]; !again {
		t.all[i.ID] = token{application: i.ApplicationID, secret: i.Token, place: place, at: now}
	}
}

func (t *tokens) change(id string, to func(*token)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one, ok := t.all[id]; ok {
		to(&one)
		t.all[id] = one
	}
}

func (t *tokens) remember(id, once string) { t.change(id, func(one *token) { one.once = once }) }
func (t *tokens) answered(id string)       { t.change(id, func(one *token) { one.place = later }) }

func (t *tokens) forget(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, id)
}

func (t *tokens) of(id string, now time.Time) (token, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	one, ok := t.all[id]
	return one, ok && now.Sub(one.at) < tokenFor
}
