package slack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"gimletd/bot"

	"github.com/slack-go/slack"
)

// What Slack sends is handled here for both ways in. Each handler returns what the acknowledgement carries; an error
// means that it must not be acknowledged, so that Slack tells the person that nothing was done.

// errForeign refuses what is not of our app or workspace.
var errForeign = errors.New("slack: a payload of another app or workspace")

// errStarting refuses what comes before it is known whose token this is.
var errStarting = errors.New("slack: who I am is not known yet")

func (s *Slack) check(ctx context.Context, team, app string) error {
	if s.known(ctx) != nil {
		return errStarting
	}
	own := s.whoami()
	switch {
	case team != own.team, own.app != "" && app != "" && app != own.app:
		return errForeign
	}
	return nil
}

// ephemeral is an answer in the acknowledgement of a slash command.
func (s *Slack) ephemeral(ctx context.Context, m bot.Message) any {
	return map[string]any{"response_type": "ephemeral", "text": fallback(m), "blocks": s.render(ctx).blocks(m)}
}

// straight undoes what a phone's keyboard does to quotes and dashes.
func straight(text string) string {
	return strings.NewReplacer("“", `"`, "”", `"`, "„", `"`, "‘", "'", "’", "'", "–", "-", "—", "--").Replace(text)
}

// slash takes a slash command.
func (s *Slack) slash(ctx context.Context, c slack.SlashCommand) (any, error) {
	if err := s.check(ctx, c.TeamID, c.APIAppID); err != nil {
		return nil, err
	}
	command, known := s.config.Commands.Canonical(c.Command)
	if !known {
		return s.ephemeral(ctx, bot.Message{Tone: bot.Warning, Title: "I do not know " + c.Command, Body: "The app's settings and slack.commands in the configuration name different commands."}), nil
	}
	words, err := bot.Split(straight(unescape(c.Text)))
	if err != nil {
		return s.ephemeral(ctx, bot.Message{Tone: bot.Warning, Title: err.Error()}), nil //nolint:nilerr // the person is told
	}
	req := bot.Request{
		ID: "slash " + c.TriggerID, At: s.now(), User: s.user(c.UserID, c.UserName), Channel: s.configured(c.ChannelID),
		Args: append([]string{command}, words...),
	}
	s.keepResponse(req.ID, c.ResponseURL)
	if spec, ok := s.form(command); ok && len(words) == 0 {
		s.background(ctx, "a form", func(ctx context.Context) error {
			err := s.openForm(ctx, c.TriggerID, spec, req)
			if err == nil {
				return nil
			}
			// Without the form, the command still asks for what it needs.
			return errors.Join(err, s.receiver.Receive(ctx, req))
		})
		return nil, nil
	}
	return nil, s.receiver.Receive(ctx, req)
}

// unescape takes back what Slack does to the text of commands.
func unescape(text string) string {
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(text)
}

func (s *Slack) keepResponse(requestID, address string) {
	if s.ours(address) {
		s.responses.keep(requestID, address, s.now())
	}
}

// interaction takes a click, a choice, a submitted form, or a shortcut.
func (s *Slack) interaction(ctx context.Context, raw []byte) (any, error) {
	var c slack.InteractionCallback
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if err := s.check(ctx, c.Team.ID, c.APIAppID); err != nil {
		return nil, err
	}
	if c.User.TeamID != "" && c.User.TeamID != s.whoami().team {
		return nil, s.refuse(ctx, c, "Only people of this workspace may press that")
	}
	switch c.Type {
	case slack.InteractionTypeBlockActions:
		return nil, s.pressed(ctx, c)
	case slack.InteractionTypeBlockSuggestion:
		return s.suggest(ctx, c)
	case slack.InteractionTypeViewSubmission:
		return nil, s.submitted(ctx, c)
	case slack.InteractionTypeMessageAction:
		return nil, s.shortcut(ctx, c)
	default:
		s.log.Info("an interaction of no use", "type", c.Type)
		return nil, nil
	}
}

// homeClick begins the ids of requests that come from a home page.
const homeClick = "home "

// afterOnce ends the part of a click's id that a second click of the same shares.
const afterOnce = " at "

// pressed takes a click on a button, or a choice in a form.
func (s *Slack) pressed(ctx context.Context, c slack.InteractionCallback) error {
	if c.View.Type == slack.VTModal {
		return s.chosen(ctx, c)
	}
	const unknown = "I do not know this button. The message may be of another app, or of another version of me"
	if len(c.ActionCallback.BlockActions) == 0 {
		return s.refuse(ctx, c, unknown)
	}
	for _, a := range c.ActionCallback.BlockActions {
		var args []string
		if !strings.HasPrefix(a.ActionID, actionPrefix) || json.Unmarshal([]byte(a.Value), &args) != nil || len(args) == 0 {
			return s.refuse(ctx, c, unknown)
		}
		place, channel, prefix := c.Channel.ID+" "+c.Container.MessageTs, s.configured(c.Channel.ID), "click "
		if c.View.Type == slack.VTHomeTab {
			place, channel, prefix = "home", bot.Channel(Platform+":"+c.User.ID), homeClick
		}
		once := strings.Join([]string{place, a.ActionID, digest(a.Value), c.User.ID}, " ")
		at := firstOf(a.ActionTs, c.ActionTs, c.TriggerID)
		if s.clicks.Again(once+" "+at, s.now()) {
			return nil // delivered again; the first one is on its way
		}
		if s.clicks.Again(once, s.now()) {
			continue // pressed twice
		}
		req := bot.Request{
			ID: prefix + once + afterOnce + at, At: s.now(), User: s.user(c.User.ID, firstOf(c.User.Name, c.User.ID)), Channel: channel, Args: args, Clicked: true,
		}
		s.keepResponse(req.ID, c.ResponseURL)
		if err := s.receiver.Receive(ctx, req); err != nil {
			s.clicks.Forget(once, once+" "+at)
			return err
		}
	}
	return nil
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// refuse tells the person why nothing was done.
func (s *Slack) refuse(ctx context.Context, c slack.InteractionCallback, why string) error {
	req := bot.Request{ID: "refused " + c.TriggerID, User: s.user(c.User.ID, c.User.Name), Channel: bot.Channel(Platform + ":" + firstOf(c.Channel.ID, c.User.ID))}
	s.keepResponse(req.ID, c.ResponseURL)
	s.background(ctx, "a refusal", func(ctx context.Context) error {
		return s.answer(ctx, req, bot.Message{Tone: bot.Warning, Title: why})
	})
	return nil
}

// suggest answers with the options that fit what was typed.
func (s *Slack) suggest(ctx context.Context, c slack.InteractionCallback) (any, error) {
	none := map[string]any{"options": []any{}}
	state, ok := readForm(c.View)
	if !ok || s.completer == nil {
		return none, nil
	}
	name, _, _ := strings.Cut(c.BlockID, "/")
	args := []string{state.Command}
	spec, _ := s.form(state.Command)
	for _, p := range spec.Params {
		if p.Name == name {
			break
		}
		args = append(args, state.Words[p.Name])
	}
	found, err := s.completer.Complete(ctx, bot.Request{
		At: s.now(), User: s.user(c.User.ID, c.User.Name), Channel: bot.Channel(state.Channel), Args: append(args, c.Value),
	})
	if err != nil {
		s.log.Warn("nothing can be suggested", "err", err)
		return none, nil
	}
	options := []*slack.OptionBlockObject{}
	const most, mostBytes, frame = 100, 16 << 10, 80 // Socket Mode drops answers of 20 KB
	size := 0
	for _, f := range found {
		size += len(f.Word) + 2*len(f.Label) + frame
		if len(f.Word) <= maxOption && len(options) < most && size < mostBytes {
			options = append(options, option(f.Word, f.Label))
		}
	}
	return map[string]any{"options": options}, nil
}

func option(word, label string) *slack.OptionBlockObject {
	return slack.NewOptionBlockObject(word, plain(label, maxOptionText), nil)
}

// event takes an event of the Events API.
func (s *Slack) event(ctx context.Context, raw []byte) error {
	var e struct {
		TeamID   string `json:"team_id"`
		APIAppID string `json:"api_app_id"`
		Event    struct {
			Type string `json:"type"`
			User string `json:"user"`
			Tab  string `json:"tab"`
		} `json:"event"`
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if err := s.check(ctx, e.TeamID, e.APIAppID); err != nil {
		return err
	}
	if e.Event.Type == "app_home_opened" && e.Event.Tab == "home" {
		s.background(ctx, "a home page", func(ctx context.Context) error { return s.home(ctx, e.Event.User, "") })
	}
	return nil
}

// home shows a person their page.
func (s *Slack) home(ctx context.Context, user, name string) error {
	reply := s.handler.Handle(ctx, bot.Request{At: s.now(), User: s.user(user, name), Channel: bot.Channel(Platform + ":" + user), Args: []string{"/gimlet", "home"}})
	const most = 100
	var blocks []slack.Block
	r := s.render(ctx)
	for i, m := range reply.Messages {
		next := r.blocks(s.config.Commands.In(m))
		if i > 0 {
			next = append([]slack.Block{slack.NewDividerBlock()}, next...)
		}
		if len(blocks)+len(next) > most {
			break
		}
		blocks = append(blocks, next...)
	}
	return s.patiently(ctx, "views.publish", func() error {
		_, err := s.api.PublishViewContext(ctx, slack.PublishViewContextRequest{
			UserID: user, View: slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: unique(blocks)}},
		})
		return err
	})
}

// unique drops ids that two blocks of a page would share, which Slack refuses.
func unique(blocks []slack.Block) []slack.Block {
	seen := map[string]bool{}
	for _, b := range blocks {
		c, ok := b.(*slack.ContextBlock)
		if ok && c.BlockID != "" && seen[c.BlockID] {
			c.BlockID = ""
		}
		seen[b.ID()] = true
	}
	return blocks
}
