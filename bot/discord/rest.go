package discord

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"gimletd/bot"

	"github.com/bwmarrin/discordgo"
	"golang.org/x/time/rate"
)

// The library's own calls sleep through their context, cannot send a nonce, and keep a bucket for ever for each path that
// they were at. So calls are made here; its types, encoders and its gateway are used.

// Limits of calls.
const (
	callWithin = 20 * time.Second
	maxAnswer  = 8 << 20 // bytes: a thousand members
	apiVersion = "v10/"
	userAgent  = "DiscordBot (https://github.com/gimlet-io/gimletd, 1)"
)

// request is one call of the REST API. https://docs.discord.com/developers/reference
type request struct {
	method string
	path   string
	// route is what Discord limits together: the path's shape with its major parameter. Without one nothing is limited
	// beforehand, as for interactions, whose tokens have a limit each.
	route string
	body  any
	file  *bot.File
}

func (d *Discord) get(ctx context.Context, path string, into any) error {
	return d.patiently(ctx, request{method: http.MethodGet, path: path, route: "GET " + path}, into)
}

// call makes one call when its limits allow it, and says what its error means. The answer is read into a value, unless that
// is nil.
func (d *Discord) call(ctx context.Context, r request, into any) error {
	if wait, why := d.limits.take(r.route); wait > 0 {
		if why != nil {
			return &bot.TemporaryError{After: wait, Err: why}
		}
		return &bot.TemporaryError{After: wait, Err: fmt.Errorf("discord: %s has reached its limit", r.what()), Busy: true}
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	out, err := d.encode(ctx, r)
	if err != nil {
		return err
	}
	res, err := d.client.Do(out)
	if err != nil {
		return lost(r, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return lost(r, err)
	}
	d.limits.note(r.route, res.StatusCode, res.Header)
	if res.StatusCode >= http.StatusMultipleChoices {
		return d.meaning(r, res, body)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return lost(r, err)
	}
	return nil
}

// patiently makes a call for which somebody waits; being over a limit is waited out until the context ends.
func (d *Discord) patiently(ctx context.Context, r request, into any) error {
	for {
		err := d.call(ctx, r, into)
		busy, ok := errors.AsType[*bot.TemporaryError](err)
		if !ok || !busy.Busy {
			return err
		}
		if end, bounded := ctx.Deadline(); bounded && time.Until(end) < busy.After {
			return err
		}
		select {
		case <-time.After(busy.After):
		case <-ctx.Done():
			return err
		}
	}
}

// what names the call in errors, without what is secret in its path.
func (r request) what() string {
	if strings.HasPrefix(r.path, "interactions/") || strings.HasPrefix(r.path, "webhooks/") {
		shape, _, _ := strings.Cut(r.path, "/")
		return r.method + " " + shape
	}
	return r.method + " " + r.path
}

func (d *Discord) encode(ctx context.Context, r request) (*http.Request, error) {
	var body io.Reader
	contentType := ""
	switch {
	case r.file != nil:
		kind, text, err := discordgo.MultipartBodyWithJSON(r.body, []*discordgo.File{{
			Name: r.file.Name, ContentType: "text/x-diff; charset=utf-8", Reader: strings.NewReader(r.file.Content),
		}})
		if err != nil {
			return nil, err
		}
		body, contentType = bytes.NewReader(text), kind
	case r.body != nil:
		text, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body, contentType = bytes.NewReader(text), "application/json"
	}
	out, err := http.NewRequestWithContext(ctx, r.method, d.config.APIURL+apiVersion+r.path, body)
	if err != nil {
		return nil, fmt.Errorf("discord: %s cannot be called", r.what())
	}
	out.Header.Set("User-Agent", userAgent)
	if contentType != "" {
		out.Header.Set("Content-Type", contentType)
	}
	if !strings.HasPrefix(r.path, "interactions/") && !strings.HasPrefix(r.path, "webhooks/") { // their path is their right
		out.Header.Set("Authorization", "Bot "+d.config.BotToken)
	}
	return out, nil
}

// lost is what a call without an answer means: it may have been done or not.
func lost(r request, err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // the address may hold a token
	}
	return &bot.TemporaryError{After: time.Second, Err: fmt.Errorf("discord: %s: %w", r.what(), err)}
}

// refusal is an error that Discord names. https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
type refusal struct {
	what    string
	status  int
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Errors  json.RawMessage `json:"errors"`
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("discord: %s: %s (%d", r.what, bot.Clean(bot.Cut(r.Message, 200)), r.status)
	if r.Code != 0 {
		text += fmt.Sprintf(", code %d", r.Code)
	}
	text += ")"
	if len(r.Errors) > 0 {
		text += " " + bot.Cut(bot.Clean(string(r.Errors)), 300)
	}
	return text
}

// Codes of errors.
const (
	unknownChannel      = 10003
	unknownGuild        = 10004
	unknownMember       = 10007
	unknownMessage      = 10008
	unknownUser         = 10013
	unknownWebhook      = 10015
	unknownInteraction  = 10062
	slowMode            = 20016
	editsOfOldMessages  = 30046
	missingAccess       = 50001
	editOfAnother       = 50005
	userCannotBeReached = 50007
	noTextChannel       = 50008
	missingPermissions  = 50013
	wrongChannelType    = 50024
	invalidToken        = 50027
	invalidRecipients   = 50033
	archivedThread      = 50083
	cannotReply         = 160002
	alreadyAnswered     = 40060
	threadExists        = 160004
)

func codeOf(err error) int {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.Code
	}
	return 0
}

// meaning turns Discord's error into one that says what can be done.
func (d *Discord) meaning(r request, res *http.Response, body []byte) error {
	said := &refusal{what: r.what(), status: res.StatusCode}
	if json.Unmarshal(body, said) != nil || said.Message == "" {
		said.Message = http.StatusText(res.StatusCode)
	}
	switch {
	case res.StatusCode == http.StatusTooManyRequests:
		return &bot.TemporaryError{After: d.limits.blocked(r.route, res.Header, body), Err: fmt.Errorf("discord: %s: too many calls", r.what()), Busy: true}
	case res.StatusCode == http.StatusUnauthorized && out(r):
		return &bot.TemporaryError{After: tokenAgain, Err: errToken}
	case res.StatusCode >= http.StatusInternalServerError:
		return &bot.TemporaryError{After: time.Second, Err: said}
	}
	place := strings.HasPrefix(r.path, "channels/") || r.path == "users/@me/channels"
	switch said.Code {
	case unknownChannel, unknownGuild, missingAccess, userCannotBeReached, noTextChannel, missingPermissions, invalidRecipients:
		if !place {
			return said
		}
		return fmt.Errorf("%w (%w)", bot.ErrNoChannel, said)
	case unknownMessage, editOfAnother:
		return fmt.Errorf("%w (%w)", bot.ErrNoMessage, said)
	case editsOfOldMessages, slowMode:
		return &bot.TemporaryError{After: 10 * time.Second, Err: said, Busy: true}
	}
	return said
}

// out reports whether the call is one that the bot token is for.
func out(r request) bool {
	return !strings.HasPrefix(r.path, "interactions/") && !strings.HasPrefix(r.path, "webhooks/")
}

// limits keep us below Discord's: those of each route as its answers tell them, fifty calls a second in all, and few calls that
// are refused, of which ten thousand in ten minutes are answered with a ban.
// https://docs.discord.com/developers/topics/rate-limits
type limits struct {
	now func() time.Time

	mu      sync.Mutex
	routes  map[string]window
	all     *rate.Limiter
	until   time.Time // nothing is called before
	why     error     // that is so, when it is no limit
	refused int       // calls that were, since
	since   time.Time
}

// window is what is left of a route's limit until it begins anew.
type window struct {
	left  int
	until time.Time
}

const (
	perSecond     = 45
	manyRoutes    = 4096
	refusedIn     = 10 * time.Minute
	refusedAtMost = 5000
	tokenAgain    = time.Minute
	margin        = 20 * time.Millisecond // what it says is rounded
)

func newLimits(now func() time.Time) *limits {
	return &limits{now: now, routes: map[string]window{}, all: rate.NewLimiter(perSecond, perSecond)}
}

// errToken says that Discord does not know the bot token.
var errToken = errors.New("discord refuses the bot token; give me the one of the application's page Bot (Reset Token makes a new one)")

// take takes one call, or says how long to wait, and why when it is for no limit.
func (l *limits) take(route string) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if route == "" {
		return 0, nil
	}
	if now.Before(l.until) {
		return l.until.Sub(now), l.why
	}
	w, known := l.routes[route]
	if known && w.left <= 0 && now.Before(w.until) {
		return w.until.Sub(now), nil
	}
	r := l.all.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return wait, nil
	}
	if known {
		w.left--
		l.routes[route] = w
	}
	return 0, nil
}

// note learns from an answer.
func (l *limits) note(route string, status int, h http.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if status == http.StatusUnauthorized || status == http.StatusForbidden || (status == http.StatusTooManyRequests && h.Get("X-RateLimit-Scope") != "shared") {
		if now.Sub(l.since) > refusedIn {
			l.refused, l.since = 0, now
		}
		if l.refused++; l.refused >= refusedAtMost {
			l.until, l.why = l.since.Add(refusedIn), errors.New("discord: so many calls were refused that I stop calling for a while; what was refused is above in the log")
		}
	}
	if status == http.StatusUnauthorized && route != "" {
		l.until, l.why = now.Add(tokenAgain), errToken
	}
	left, err := strconv.Atoi(h.Get("X-RateLimit-Remaining"))
	after, bad := strconv.ParseFloat(h.Get("X-RateLimit-Reset-After"), 64)
	if route == "" || err != nil || bad != nil {
		return
	}
	if len(l.routes) >= manyRoutes {
		for old, w := range l.routes {
			if !now.Before(w.until) {
				delete(l.routes, old)
			}
		}
	}
	l.routes[route] = window{left: left, until: now.Add(seconds(after) + margin)}
}

// blocked notes that Discord has answered 429, and returns how long to wait.
func (l *limits) blocked(route string, h http.Header, body []byte) time.Duration {
	var said struct {
		RetryAfter float64 `json:"retry_after"`
		Global     bool    `json:"global"`
	}
	if json.Unmarshal(body, &said) != nil || said.RetryAfter <= 0 { // what stands before Discord says so, and means everything
		said.RetryAfter, _ = strconv.ParseFloat(h.Get("Retry-After"), 64)
		said.Global = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	const least = 100 * time.Millisecond
	wait := max(seconds(said.RetryAfter), least)
	if until := l.now().Add(wait); said.Global || h.Get("X-RateLimit-Global") == "true" {
		l.until, l.why = until, nil
	} else if route != "" {
		l.routes[route] = window{until: until}
	}
	return wait
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
