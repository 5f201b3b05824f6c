package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"gimletd/bot"

	"github.com/slack-go/slack"
)

// metadataType marks our messages; the payload's key names each.
const metadataType = "gimletd_message"

// Send posts a message. A doubtful error is a TemporaryError that is not Busy; Find then tells.
func (s *Slack) Send(ctx context.Context, post bot.Post) (bot.Ref, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	channel, err := s.channels.id(ctx, s, post.Channel)
	if err != nil {
		return bot.Ref{}, err
	}
	if post.File != nil && !short(post.File.Content) {
		return s.upload(ctx, channel, post)
	}
	m := post.Message
	if m.File != nil {
		m.Code, m.File = m.File.Content, nil
	}
	options := append(s.options(ctx, m), slack.MsgOptionMetadata(slack.SlackMetadata{
		EventType: metadataType, EventPayload: map[string]any{"key": post.Key},
	}))
	if post.Thread != "" {
		options = append(options, slack.MsgOptionTS(post.Thread))
		if post.Broadcast {
			options = append(options, slack.MsgOptionBroadcast())
		}
	}
	ref := bot.Ref{}
	err = s.call("chat.postMessage", channel, func() error {
		in, ts, err := s.api.PostMessageContext(ctx, channel, options...)
		ref = bot.Ref{Channel: bot.Channel(Platform + ":" + in), ID: ts}
		return err
	})
	return ref, err
}

// short reports whether a text may stand in a message instead of a file.
func short(text string) bool {
	const characters, lines = 2500, 40
	return len(text) <= characters && strings.Count(text, "\n") <= lines
}

func (s *Slack) options(ctx context.Context, m bot.Message) []slack.MsgOption {
	m, r := s.config.Commands.In(m), s.render(ctx)
	return []slack.MsgOption{
		slack.MsgOptionText(fallback(m), false), slack.MsgOptionBlocks(r.blocks(m)...),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
	}
}

// upload puts the message's file into the thread, with the rest of the message as its comment.
func (s *Slack) upload(ctx context.Context, channel string, post bot.Post) (bot.Ref, error) {
	var text strings.Builder
	text.WriteString(fallback(s.config.Commands.In(post.Message)))
	for _, name := range post.Mentions {
		text.WriteString("\n" + s.mention(ctx, name))
	}
	ref := bot.Ref{}
	err := s.call("files.completeUploadExternal", channel, func() error {
		file, err := s.api.UploadFileContext(ctx, slack.UploadFileParameters{
			Filename: post.File.Name, Title: post.File.Name, FileSize: len(post.File.Content), Content: post.File.Content, SnippetType: "diff",
			Channel: channel, ThreadTimestamp: post.Thread, InitialComment: text.String(),
		})
		if err == nil {
			ref = bot.Ref{Channel: bot.Channel(Platform + ":" + channel), ID: file.ID}
		}
		return err
	})
	return ref, err
}

// Edit changes a message.
func (s *Slack) Edit(ctx context.Context, ref bot.Ref, m bot.Message) error {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	m.File = nil
	return s.call("chat.update", "", func() error {
		_, _, _, err := s.api.UpdateMessageContext(ctx, id(ref.Channel), ref.ID, s.options(ctx, m)...)
		return err
	})
}

// Find looks for a post by its metadata, or its file's name, among what was said since. It reads the history, which
// normal running never does.
func (s *Slack) Find(ctx context.Context, post bot.Post, since time.Time) (ref bot.Ref, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	channel, err := s.channels.id(ctx, s, post.Channel)
	if err != nil {
		return ref, false, err
	}
	if err := s.known(ctx); err != nil {
		return ref, false, err
	}
	if userID.MatchString(channel) {
		return ref, false, nil // direct messages are not ours to read; a reminder may come twice
	}
	const most, clockSkew = 200, time.Minute
	oldest := strconv.FormatInt(since.Add(-clockSkew).Unix(), 10)
	var messages []slack.Message
	if post.Thread == "" {
		err = s.call("conversations.history", "", func() error {
			res, err := s.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{
				ChannelID: channel, Oldest: oldest, Limit: most, IncludeAllMetadata: true,
			})
			if err == nil {
				messages = res.Messages
			}
			return err
		})
	} else {
		err = s.call("conversations.replies", "", func() error {
			messages, _, _, err = s.api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{
				ChannelID: channel, Timestamp: post.Thread, Oldest: oldest, Limit: most, IncludeAllMetadata: true,
			})
			return err
		})
	}
	for _, m := range messages {
		ours := m.BotID == s.whoami().bot && m.Metadata.EventType == metadataType && m.Metadata.EventPayload["key"] == post.Key
		for _, f := range m.Files {
			ours = ours || (post.File != nil && f.Name == post.File.Name)
		}
		if ours {
			return bot.Ref{Channel: bot.Channel(Platform + ":" + channel), ID: m.Timestamp}, true, nil
		}
	}
	return ref, false, err
}

// Answer tells the person alone: by the address that came with their request while it works, else in the channel for
// their eyes only, else directly.
func (s *Slack) Answer(ctx context.Context, req bot.Request, reply bot.Reply) error {
	if req.Clicked && len(reply.Messages) > 0 { // with an answer before them, people mean the next click
		once, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(req.ID, "click "), homeClick), afterOnce)
		s.clicks.Forget(once)
	}
	if strings.HasPrefix(req.ID, homeClick) {
		s.background(ctx, "a home page", func(ctx context.Context) error { return s.home(ctx, req.User.ID, req.User.Name) })
	}
	for _, m := range reply.Messages {
		if m.File != nil {
			m.Code, m.File = m.File.Content, nil
		}
		if err := s.answer(ctx, req, m); err != nil {
			return err
		}
	}
	return nil
}

func (s *Slack) answer(ctx context.Context, req bot.Request, m bot.Message) error {
	if address, ok := s.responses.use(req.ID, s.now()); ok && s.respond(ctx, address, m) == nil {
		return nil
	}
	channel, err := s.channels.id(ctx, s, req.Channel)
	if err == nil && !strings.HasPrefix(channel, "U") && !strings.HasPrefix(channel, "W") {
		err = s.call("chat.postEphemeral", "", func() error {
			_, err := s.api.PostEphemeralContext(ctx, channel, req.User.ID, s.options(ctx, m)...)
			return err
		})
		if _, again := errors.AsType[*bot.TemporaryError](err); err == nil || again {
			return err
		}
	}
	return s.call("chat.postMessage", req.User.ID, func() error {
		_, _, err := s.api.PostMessageContext(ctx, req.User.ID, s.options(ctx, m)...)
		return err
	})
}

// respond posts to a response_url. https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
func (s *Slack) respond(ctx context.Context, address string, m bot.Message) error {
	m, r := s.config.Commands.In(m), s.render(ctx)
	body, err := json.Marshal(map[string]any{
		"response_type": "ephemeral", "replace_original": false, "text": fallback(m), "blocks": r.blocks(m),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	post.Header.Set("Content-Type", "application/json; charset=utf-8")
	res, err := s.client.Do(post)
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("response_url answered %s", res.Status)
	}
	return nil
}

// ours reports whether an address is Slack's, so that no payload can send us elsewhere.
func (s *Slack) ours(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	if own, err := url.Parse(s.config.APIURL); err == nil && own.Host == u.Host && own.Scheme == u.Scheme {
		return true
	}
	return u.Scheme == "https" && u.Hostname() == "hooks.slack.com"
}

// responses are the addresses that came with requests: five uses each, for half an hour. They are kept in memory only.
type responses struct {
	mu   sync.Mutex
	urls map[string]responseURL
}

type responseURL struct {
	address string
	until   time.Time
	uses    int
}

const (
	responseFor  = 29 * time.Minute
	responseUses = 5
)

func (r *responses) keep(requestID, address string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	const many = 4096
	if len(r.urls) >= many {
		for old, u := range r.urls {
			if now.After(u.until) {
				delete(r.urls, old)
			}
		}
	}
	r.urls[requestID] = responseURL{address: address, until: now.Add(responseFor)}
}

func (r *responses) use(requestID string, now time.Time) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u, ok := r.urls[requestID]
	if !ok || u.uses == responseUses || now.After(u.until) {
		delete(r.urls, requestID)
		return "", false
	}
	u.uses++
	r.urls[requestID] = u
	return u.address, true
}
