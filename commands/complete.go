package commands

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gimletd/bot"
	"gimletd/releases"
)

// Limits of what is offered.
const (
	maxChoices = 100
	maxScanned = 300 // artifacts that are looked through for those that fit what was typed
)

// Complete suggests the word that is being typed. Of what needs a right, only what the person may ask for is offered.
func (r *Router) Complete(ctx context.Context, req bot.Request) ([]bot.Choice, error) {
	if len(req.Args) == 0 {
		return nil, nil
	}
	before, typed := req.Args[:len(req.Args)-1], strings.ToLower(req.Args[len(req.Args)-1])
	if len(before) == 0 {
		return fitting(choices("/release", "/rollback", "/gimlet"), typed), nil
	}
	name, args := normalize(before)
	if name == group+" help" && len(before) == 1 {
		return fitting(r.subcommands(), typed), nil
	}
	i := slices.IndexFunc(r.commands, func(c command) bool { return c.Name == name })
	if i < 0 || len(args) >= len(r.commands[i].Params) {
		return nil, nil
	}
	actor, err := r.access.Identify(ctx, req.User)
	if err != nil {
		return nil, err
	}
	s := suggester{Router: r, actor: r.access.Known(ctx, actor), verb: name, typed: typed, args: args}
	return s.suggest(ctx, r.commands[i].Params[len(args)].Name)
}

func (r *Router) subcommands() (all []bot.Choice) {
	for _, c := range r.commands {
		if short, ok := strings.CutPrefix(c.Name, group+" "); ok && !c.Hidden {
			all = append(all, bot.Choice{Word: short, Label: short})
		}
	}
	return all
}

func choices(words ...string) (all []bot.Choice) {
	for _, w := range words {
		all = append(all, bot.Choice{Word: w, Label: w})
	}
	return all
}

// fitting are the choices that hold what was typed; those that begin with it come first.
func fitting(all []bot.Choice, typed string) (fit []bot.Choice) {
	var rest []bot.Choice
	for _, c := range all {
		label := strings.ToLower(c.Label)
		switch {
		case strings.HasPrefix(label, typed):
			fit = append(fit, c)
		case strings.Contains(label, typed):
			rest = append(rest, c)
		}
	}
	fit = append(fit, rest...)
	return fit[:min(len(fit), maxChoices)]
}

// suggester finds the words of one parameter.
type suggester struct {
	*Router
	actor releases.Actor
	verb  string // of the command: release and rollback need a right
	typed string
	args  []string
}

func (s suggester) suggest(ctx context.Context, param string) ([]bot.Choice, error) {
	switch param {
	case paramEnv:
		envs := s.environmentNames()
		if len(s.args) > 0 {
			envs = slices.DeleteFunc(envs, func(env string) bool { return !s.may(s.args[0], env) })
		}
		return fitting(choices(envs...), s.typed), nil
	case paramApp:
		apps, err := s.releases.Apps(ctx)
		if err != nil {
			return nil, err
		}
		apps = slices.DeleteFunc(apps, func(app string) bool {
			return !slices.ContainsFunc(s.environmentNames(), func(env string) bool { return s.may(app, env) })
		})
		return fitting(choices(apps...), s.typed), nil
	case paramPolicy:
		return fitting(choices(s.releases.Policies()...), s.typed), nil
	case paramVersion:
		if s.verb == "rollback" {
			return s.earlier(ctx)
		}
		return s.versions(ctx)
	}
	return nil, nil
}

// may reports whether the person may use the command there.
func (s suggester) may(app, env string) bool {
	if s.verb != releases.VerbRelease && s.verb != releases.VerbRollback {
		return true
	}
	return s.access.Allow(s.actor, s.verb, app, env) == nil
}

func (s suggester) versions(ctx context.Context) ([]bot.Choice, error) {
	if len(s.args) < 2 || !s.may(s.args[0], s.args[1]) {
		return nil, nil
	}
	found, err := s.releases.Artifacts(ctx, releases.ArtifactQuery{Target: releases.Target{App: s.args[0], Env: s.args[1]}, Limit: maxScanned})
	if err != nil {
		return nil, err
	}
	marks, err := s.releases.Marks(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]bot.Choice, 0, len(found))
	for _, a := range found {
		if slices.ContainsFunc(marks, func(m releases.Mark) bool { return m.ArtifactID == a.ID }) {
			continue
		}
		v := a.Version
		where := v.Branch
		if v.Event == releases.EventPR {
			where += " (pull request)"
		}
		all = append(all, bot.Choice{Word: a.ID, Label: strings.Join(present(v.Short(), where, firstLine(v.Message), v.AuthorName, ago(s.now(), a.Key.Time())), " · ")})
	}
	return fitting(all, s.typed), nil
}

func (s suggester) earlier(ctx context.Context) ([]bot.Choice, error) {
	if len(s.args) < 2 || !s.may(s.args[0], s.args[1]) {
		return nil, nil
	}
	back, err := s.releases.Past(ctx, s.args[0], s.args[1], maxChoices)
	if err != nil {
		return nil, err
	}
	var all []bot.Choice
	for _, r := range back {
		label := fmt.Sprintf("%s · released %s by %s · %s", r.Version.Short(), ago(s.now(), r.Updated), r.RequestedBy.Name, firstLine(r.Version.Message))
		if r.RolledBack {
			label += " (was rolled back)"
		}
		all = append(all, bot.Choice{Word: r.ID, Label: label})
	}
	return fitting(all, s.typed), nil
}

func present(words ...string) []string {
	return slices.DeleteFunc(words, func(w string) bool { return w == "" })
}
