package slack

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"gimletd/bot"

	"github.com/slack-go/slack"
)

// Forms ask for a command's words, each by a list that is filtered while one types, and show what it would do before it
// is sent. They are made from the command's Spec.

// formState is what a form remembers between its changes. It is no authority: what it says is checked like anything typed.
type formState struct {
	Command string            `json:"c"`
	Channel string            `json:"ch"`
	Words   map[string]string `json:"w,omitempty"`
	Labels  map[string]string `json:"l,omitempty"`
	Turn    int               `json:"t,omitempty"`
	About   string            `json:"a,omitempty"` // of a shortcut: the command's only word
	Send    []string          `json:"s,omitempty"` // the words that mean just what was shown
	Shown   []string          `json:"v,omitempty"` // the words that it was shown for
}

const (
	formCallback     = "gimletd_form"
	shortcutCallback = "gimletd_rollback"
	maxModalTitle    = 24
)

// specifier has commands described. The handler is one when its commands have forms.
type specifier interface{ Specs() []bot.Spec }

// form returns the command's Spec if it has a form.
func (s *Slack) form(command string) (bot.Spec, bool) {
	if commands, ok := s.handler.(specifier); ok {
		for _, spec := range commands.Specs() {
			if "/"+spec.Name == command && spec.Preview != "" {
				return spec, true
			}
		}
	}
	return bot.Spec{}, false
}

func readForm(v slack.View) (state formState, ok bool) {
	if v.CallbackID != formCallback && v.CallbackID != shortcutCallback {
		return state, false
	}
	err := json.Unmarshal([]byte(v.PrivateMetadata), &state)
	if state.Words == nil {
		state.Words = map[string]string{}
	}
	if state.Labels == nil {
		state.Labels = map[string]string{}
	}
	return state, err == nil
}

// openForm opens it at once; the lists are filled when they are looked at.
func (s *Slack) openForm(ctx context.Context, trigger string, spec bot.Spec, req bot.Request) error {
	state := formState{Command: req.Args[0], Channel: string(req.Channel)}
	view, err := formView(spec, state, nil)
	if err != nil {
		return err
	}
	return s.call("views.open", "", func() error {
		_, err := s.api.OpenViewContext(ctx, trigger, view)
		return err
	})
}

func formView(spec bot.Spec, state formState, preview []slack.Block) (slack.ModalViewRequest, error) {
	metadata, err := json.Marshal(state)
	if err != nil {
		return slack.ModalViewRequest{}, err
	}
	var blocks []slack.Block
	for _, p := range spec.Params {
		list := slack.NewOptionsSelectBlockElement(slack.OptTypeExternal, plain(p.Summary, maxOption), "word")
		least := 0
		list.MinQueryLength = &least
		if word := state.Words[p.Name]; word != "" {
			list.InitialOption = option(word, firstOf(state.Labels[p.Name], word))
		}
		// A new block id makes Slack forget what was chosen before.
		input := slack.NewInputBlock(p.Name+"/"+strconv.Itoa(state.Turn), plain(p.Name, maxOptionText), nil, list)
		input.DispatchAction, input.Optional = true, p.Name == "version"
		blocks = append(blocks, input)
	}
	title := strings.ToUpper(spec.Name[:1]) + spec.Name[1:]
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: formCallback, PrivateMetadata: string(metadata), Title: plain(title, maxModalTitle),
		Submit: plain(title, maxModalTitle), Close: plain("Cancel", maxModalTitle), Blocks: slack.Blocks{BlockSet: append(blocks, preview...)},
	}, nil
}

// chosen notes a choice, makes those after it be chosen again, and shows what the command would do.
func (s *Slack) chosen(ctx context.Context, c slack.InteractionCallback) error {
	state, ok := readForm(c.View)
	spec, known := s.form(state.Command)
	if !ok || !known {
		return nil
	}
	for _, a := range c.ActionCallback.BlockActions {
		name, _, _ := strings.Cut(a.BlockID, "/")
		state.choose(spec, name, a.SelectedOption)
	}
	user := s.user(c.User.ID, c.User.Name)
	s.background(ctx, "a form", func(ctx context.Context) error {
		words := state.args(spec)
		const enough = 2
		if len(words) < enough {
			_, err := s.changeForm(ctx, c.View.ID, c.View.Hash, spec, state, nil)
			return unlessOutdated(err)
		}
		wait := code("Looking at what would change …")
		looking := []slack.Block{slack.NewDividerBlock(), wait}
		hash, err := s.changeForm(ctx, c.View.ID, c.View.Hash, spec, state, looking)
		if err != nil && strings.Contains(err.Error(), "hash_conflict") {
			// The preview of an earlier choice has come between: the newest choice counts.
			hash, err = s.changeForm(ctx, c.View.ID, "", spec, state, looking)
		}
		if err != nil {
			return unlessOutdated(err)
		}
		blocks, send := s.preview(ctx, spec, user, bot.Channel(state.Channel), words)
		if len(send) > 0 && send[0] == state.Command {
			state.Shown, state.Send = words, send
		}
		_, err = s.changeForm(ctx, c.View.ID, hash, spec, state, blocks)
		return unlessOutdated(err)
	})
	return nil
}

// choose keeps a word and drops those after it, which were chosen for another.
func (f *formState) choose(spec bot.Spec, name string, chosen slack.OptionBlockObject) {
	after := false
	for _, p := range spec.Params {
		if after && f.Words[p.Name] != "" {
			delete(f.Words, p.Name)
			delete(f.Labels, p.Name)
		}
		after = after || p.Name == name
	}
	if !after {
		return
	}
	f.Turn++
	f.Shown, f.Send = nil, nil
	f.Words[name] = chosen.Value
	if chosen.Text != nil {
		f.Labels[name] = chosen.Text.Text
	}
	if chosen.Value == "" {
		delete(f.Words, name)
	}
}

// args are the words as they would be typed, up to the first that is missing.
func (f *formState) args(spec bot.Spec) (words []string) {
	for _, p := range spec.Params {
		if f.Words[p.Name] == "" {
			break
		}
		words = append(words, f.Words[p.Name])
	}
	return words
}

// unlessOutdated forgives that somebody has changed or closed the form meanwhile.
func unlessOutdated(err error) error {
	if err != nil && (strings.Contains(err.Error(), "hash_conflict") || strings.Contains(err.Error(), "not_found")) {
		return nil
	}
	return err
}

func (s *Slack) changeForm(ctx context.Context, viewID, hash string, spec bot.Spec, state formState, preview []slack.Block) (string, error) {
	view, err := formView(spec, state, preview)
	if err != nil {
		return "", err
	}
	return s.updateView(ctx, view, hash, viewID)
}

func (s *Slack) updateView(ctx context.Context, view slack.ModalViewRequest, hash, viewID string) (newHash string, err error) {
	err = s.patiently(ctx, "views.update", func() error {
		res, err := s.api.UpdateViewContext(ctx, view, "", hash, viewID)
		if err == nil {
			newHash = res.Hash
		}
		return err
	})
	return newHash, err
}

// preview asks what the command would do. The first button of the answer has the words that do just that, whatever
// comes in until the form is sent.
func (s *Slack) preview(ctx context.Context, spec bot.Spec, user bot.User, channel bot.Channel, words []string) (blocks []slack.Block, send []string) {
	args := append(strings.Fields("/"+spec.Preview), words...)
	blocks = []slack.Block{slack.NewDividerBlock()}
	for _, m := range s.handler.Handle(ctx, bot.Request{At: s.now(), User: user, Channel: channel, Args: args}).Messages {
		if len(m.Buttons) > 0 && send == nil {
			send = m.Buttons[0].Args
		}
		m.Buttons = nil // the form has its own
		blocks = append(blocks, s.render(ctx).blocks(s.config.Commands.In(m))...)
	}
	return blocks, send
}

// submitted takes a form that was sent.
func (s *Slack) submitted(ctx context.Context, c slack.InteractionCallback) error {
	state, ok := readForm(c.View)
	if !ok {
		return errors.New("slack: a form that is not ours was sent")
	}
	args := []string{state.Command}
	if state.About != "" {
		args = append(args, state.About)
	} else {
		spec, known := s.form(state.Command)
		if !known {
			return errors.New("slack: a form of a command that I do not have was sent")
		}
		for _, p := range spec.Params { // what is on the screen counts
			state.Words[p.Name] = chosenIn(c.View, p.Name)
		}
		args = append(args, state.args(spec)...)
		if len(state.Send) > 0 && slices.Equal(args[1:], state.Shown) {
			args = state.Send
		}
	}
	return s.receiver.Receive(ctx, bot.Request{
		ID: "form " + c.View.ID + " " + c.View.Hash, At: s.now(), User: s.user(c.User.ID, c.User.Name), Channel: bot.Channel(state.Channel), Args: args, Clicked: true,
	})
}

func chosenIn(v slack.View, param string) string {
	if v.State == nil {
		return ""
	}
	for block, actions := range v.State.Values {
		if name, _, _ := strings.Cut(block, "/"); name != param {
			continue
		}
		for _, a := range actions {
			return a.SelectedOption.Value
		}
	}
	return ""
}

// shortcut takes "Roll back this release" on a message.
func (s *Slack) shortcut(ctx context.Context, c slack.InteractionCallback) error {
	if c.CallbackID != shortcutCallback {
		return nil
	}
	thing := ""
	for _, b := range c.Message.Blocks.BlockSet {
		if found, ok := strings.CutPrefix(b.ID(), aboutPrefix); ok && c.Message.BotID == s.whoami().bot {
			thing = found
		}
	}
	user, channel := s.user(c.User.ID, c.User.Name), s.configured(c.Channel.ID)
	state := formState{Command: "/rollback", Channel: string(channel), About: thing}
	metadata, err := json.Marshal(state)
	if err != nil {
		return err
	}
	view := slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: shortcutCallback, PrivateMetadata: string(metadata), Title: plain("Roll back", maxModalTitle), Close: plain("Cancel", maxModalTitle),
	}
	show := func(blocks ...slack.Block) slack.ModalViewRequest {
		view.Blocks = slack.Blocks{BlockSet: blocks}
		return view
	}
	s.background(ctx, "a shortcut", func(ctx context.Context) error {
		first := show(section("Looking at what would change …"))
		if thing == "" {
			first = show(section("That message is not one of mine about a release, so there is nothing to roll back."))
		}
		var opened *slack.ViewResponse
		err := s.call("views.open", "", func() error {
			opened, err = s.api.OpenViewContext(ctx, c.TriggerID, first)
			return err
		})
		if err != nil || thing == "" {
			return err
		}
		view.Submit = plain("Roll back", maxModalTitle)
		spec, _ := s.form(state.Command)
		blocks, _ := s.preview(ctx, spec, user, channel, []string{thing})
		_, err = s.updateView(ctx, show(blocks...), opened.Hash, opened.ID)
		return unlessOutdated(err)
	})
	return nil
}
