package discord

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"gimletd/bot"
)

// Limits of what is sent.
const (
	maxThreadName = 100
	archiveAfter  = 1440 // minutes without a word, after which a thread is put away
	historyPage   = 100
	maxDirects    = 20_000
)

// posting is the call that posts to a channel.
func (d *Discord) posting(channel string, p payload) request {
	return request{method: http.MethodPost, path: "channels/" + channel + "/messages", route: "POST channels/" + channel + "/messages", body: p}
}

// Send posts a message. A doubtful error is a TemporaryError that is not Busy; within some minutes the same post is never there
// twice, by its nonce; later, Find tells.
func (d *Discord) Send(ctx context.Context, post bot.Post) (bot.Ref, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	channel, err := d.place(ctx, post)
	if err != nil {
		return bot.Ref{}, err
	}
	p := d.payload(&post)
	p.Nonce, p.EnforceNonce = digest(channel+" "+post.Key), true
	if post.Thread != "" && channel == id(post.Channel) {
		p.Reference = &reference{Message: post.Thread}
	}
	r := d.posting(channel, p)
	r.file = post.File
	var there message
	err = d.call(ctx, r, &there)
	switch code := codeOf(err); {
	case code == archivedThread:
		if err = d.wake(ctx, channel); err == nil {
			err = d.call(ctx, r, &there)
		}
	case closedTo(code) && channel == post.Thread: // somebody has deleted it, or nobody may write there: it becomes an answer
		d.threads.Forget(channel)
		channel = id(post.Channel)
		p.Reference = &reference{Message: post.Thread}
		r = d.posting(channel, p)
		r.file = post.File
		err = d.call(ctx, r, &there)
	}
	if codeOf(err) == cannotReply { // without the right to read the history; it is news without that, too
		p.Reference = nil
		r.body = p
		err = d.call(ctx, r, &there)
	}
	if err != nil {
		return bot.Ref{}, err
	}
	if d.gone.Has(there.ID, d.now()) { // somebody has deleted what had the nonce
		p.Nonce = digest(channel + " " + post.Key + " " + there.ID)
		r.body = p
		if err := d.call(ctx, r, &there); err != nil {
			return bot.Ref{}, err
		}
	}
	ref := bot.Ref{Channel: bot.Channel(Platform + ":" + channel), ID: there.ID}
	if !there.says(p) { // it was there already, with what was true then
		return ref, d.Edit(ctx, ref, post.Message)
	}
	return ref, nil
}

// closedTo reports whether an error says that there is no such place, or no right to write there.
func closedTo(code int) bool {
	return code == unknownChannel || code == missingAccess || code == missingPermissions
}

// payload is the post as Discord gets it. A file that is short stands in the message.
func (d *Discord) payload(post *bot.Post) payload {
	m := d.config.Commands.In(post.Message)
	if post.File != nil && short(post.File.Content) {
		m.Code, post.File = post.File.Content, nil
	}
	return render(m, digest(post.Key))
}

// short reports whether a text may stand in a message instead of a file.
func short(text string) bool {
	const characters, lines = 2500, 40
	return len(text) <= characters && strings.Count(text, "\n") <= lines
}

// place returns the channel that the post goes to: a channel, a person's direct one, or a thread. What is for a thread and for
// everybody is an answer in the channel.
func (d *Discord) place(ctx context.Context, post bot.Post) (string, error) {
	channel := id(post.Channel)
	switch {
	case post.Thread != "" && post.Broadcast:
		return channel, nil
	case post.Thread != "":
		return d.thread(ctx, channel, post)
	case d.isChannel(post.Channel):
		return channel, nil
	}
	return d.direct(ctx, channel)
}

// thread makes the message's thread, unless it is there. It has the id of the message.
// https://docs.discord.com/developers/topics/threads
func (d *Discord) thread(ctx context.Context, channel string, post bot.Post) (string, error) {
	if d.threads.Again(post.Thread, d.now()) {
		return post.Thread, nil
	}
	err := d.call(ctx, request{
		method: http.MethodPost, path: "channels/" + channel + "/messages/" + post.Thread + "/threads", route: "POST channels/" + channel + "/threads",
		body: map[string]any{"name": bot.Cut(bot.Clean(firstOf(post.Title, "details")), maxThreadName), "auto_archive_duration": archiveAfter},
	}, nil)
	switch codeOf(err) {
	case threadExists:
		return post.Thread, nil
	case wrongChannelType, missingAccess, missingPermissions: // such as a direct one: it is an answer
		d.threads.Forget(post.Thread)
		return channel, nil
	}
	if err != nil {
		d.threads.Forget(post.Thread)
	}
	return post.Thread, err
}

// wake takes a thread out of the archive.
func (d *Discord) wake(ctx context.Context, thread string) error {
	return d.call(ctx, request{method: http.MethodPatch, path: "channels/" + thread, route: "PATCH channels/" + thread, body: map[string]any{"archived": false}}, nil)
}

// direct returns the direct channel of a person.
func (d *Discord) direct(ctx context.Context, person string) (string, error) {
	if !snowflake.MatchString(person) {
		return "", fmt.Errorf("%w (%q is no channel, and nobody's id)", bot.ErrNoChannel, person)
	}
	if channel := d.directs.of(person); channel != "" {
		return channel, nil
	}
	var made struct {
		ID string `json:"id"`
	}
	err := d.patiently(ctx, request{method: http.MethodPost, path: "users/@me/channels", route: "POST users/@me/channels", body: map[string]string{"recipient_id": person}}, &made)
	if err != nil {
		return "", err
	}
	d.directs.keep(person, made.ID)
	return made.ID, nil
}

// directs are the direct channels by person.
type directs struct {
	mu  sync.Mutex
	all map[string]string
}

func (c *directs) of(person string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[person]
}

func (c *directs) keep(person, channel string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= maxDirects {
		c.all = map[string]string{}
	}
	c.all[person] = channel
}

// Edit changes a message.
func (d *Discord) Edit(ctx context.Context, ref bot.Ref, m bot.Message) error {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	m.File = nil
	channel := id(ref.Channel)
	r := request{
		method: http.MethodPatch, path: "channels/" + channel + "/messages/" + ref.ID, route: "PATCH channels/" + channel + "/messages",
		body: render(d.config.Commands.In(m), ""),
	}
	err := d.call(ctx, r, nil)
	if codeOf(err) == archivedThread {
		if err = d.wake(ctx, channel); err == nil {
			err = d.call(ctx, r, nil)
		}
	}
	if codeOf(err) == unknownMessage {
		d.gone.Again(ref.ID, d.now())
	}
	return err
}

// Find looks for a post among what was said since, by the key that messages remember, or by the file's name.
func (d *Discord) Find(ctx context.Context, post bot.Post, since time.Time) (ref bot.Ref, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	self, err := d.whoami(ctx)
	if err != nil {
		return ref, false, err
	}
	channel, err := d.place(ctx, post)
	if err != nil {
		return ref, false, err
	}
	const clockSkew = time.Minute
	query := url.Values{"limit": {strconv.Itoa(historyPage)}, "after": {after(since.Add(-clockSkew))}}
	var messages []message
	r := request{method: http.MethodGet, path: "channels/" + channel + "/messages?" + query.Encode(), route: "GET channels/" + channel + "/messages"}
	if err := d.patiently(ctx, r, &messages); err != nil {
		return ref, false, err
	}
	key, looks := digest(post.Key), d.payload(&post)
	for _, m := range messages {
		ours := m.state().Key == key || (len(looks.Embeds) == 0 && len(m.Embeds) == 0 && m.Content == looks.Content)
		if post.File != nil {
			ours = len(m.Attachments) > 0 && m.Attachments[0].Filename == post.File.Name
		}
		if ours && m.Author.ID == self {
			return bot.Ref{Channel: bot.Channel(Platform + ":" + channel), ID: m.ID}, true, nil
		}
	}
	return ref, false, nil
}

// after is the id that a message at the moment would have.
func after(t time.Time) string {
	const epoch = 1420070400000 // 2015, in milliseconds
	const shift = 22
	return strconv.FormatInt(max(0, t.UnixMilli()-epoch)<<shift, 10)
}
