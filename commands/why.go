package commands

import (
	"context"
	"fmt"
	"strings"

	"gimletd/bot"
	"gimletd/releases"
)

func diffCommand() command {
	spec := bot.Spec{Name: "gimlet diff", Summary: "what a release would change", Params: []bot.Param{
		appParam(true), envParam(true), versionParam("the newest without; or any word that /release takes"),
	}}
	return command{spec, func(ctx context.Context, c call) (bot.Reply, error) {
		app, env := c.words[paramApp], c.words[paramEnv]
		shipped, err := c.releases.Resolve(ctx, app, env, c.words[paramVersion])
		if err != nil {
			return bot.Reply{}, c.swapped(err)
		}
		p, err := c.releases.Preview(ctx, app, env, shipped.ID)
		if err != nil {
			return bot.Reply{}, err
		}
		from := "nothing"
		if p.Live != nil {
			from = p.Live.Version.Short()
		}
		m := bot.Message{Title: fmt.Sprintf("%s in %s: %s → %s", app, env, from, shipped.Version.Short()), Code: p.Diff}
		var lines []string
		for _, change := range p.Changes {
			lines = append(lines, change.String())
		}
		m.Body = strings.Join(lines, "\n")
		if p.Diff == "" {
			m.Body = "No object would change."
		}
		m.Buttons = []bot.Button{{Label: "Release it", Args: []string{"/release", app, env, shipped.ID}, Confirm: fmt.Sprintf("Release %s %s to %s?", app, shipped.Version.Short(), env)}}
		return bot.Reply{Message: m}, nil
	}}
}

func whyCommand() command {
	spec := bot.Spec{Name: "gimlet why", Summary: "why something was released, or was not", Params: []bot.Param{appParam(true), envParam(true)}}
	return command{spec, func(ctx context.Context, c call) (bot.Reply, error) {
		app, env := c.words[paramApp], c.words[paramEnv]
		e, err := c.releases.Why(ctx, app, env)
		if err != nil {
			return bot.Reply{}, c.swapped(err)
		}
		m := bot.Message{Title: fmt.Sprintf("%s in %s", app, env), Body: strings.Join(append(c.standing(e), c.decisions(e, app, env)...), "\n")}
		return bot.Reply{Message: m}, nil
	}}
}

func (c call) standing(e releases.Explanation) []string {
	lines := []string{"Nothing was released yet."}
	if e.Live != nil {
		lines = []string{fmt.Sprintf("Live: %s since %s, by %s (%s, commit %s).", e.Live.Version.Short(), ago(c.now(), e.Live.At), e.Live.By, e.Live.ReleaseID, releases.ShortSHA(e.Live.Commit))}
	}
	if e.Hold != nil {
		lines = append(lines, fmt.Sprintf("Automation is held since %s rolled back (%s).", e.Hold.By, ago(c.now(), e.Hold.At)))
	}
	for _, r := range e.Releases {
		text := fmt.Sprintf("%s %s of %s is %s", r.ID, r.Kind, r.Version.Short(), r.Status)
		if r.Reason != "" {
			text += ": " + r.Reason
		}
		lines = append(lines, text)
	}
	return lines
}

func (c call) decisions(e releases.Explanation, app, env string) []string {
	lines := []string{"What the policies said of the newest artifacts:"}
	for _, a := range e.Shipped {
		for _, d := range a.Decisions {
			if d.App != app || d.Env != env {
				continue
			}
			verdict := "did not release"
			if d.Fires {
				verdict = "released"
			}
			lines = append(lines, fmt.Sprintf("  %s (%s): policy %s %s: %s", a.Version.Short(), ago(c.now(), a.Key.Time()), d.Policy, verdict, d.Reason))
		}
	}
	return lines
}

func resumeCommand() command {
	spec := bot.Spec{Name: "gimlet resume", Summary: "let policies release again after a rollback", Params: []bot.Param{appParam(true), envParam(true)}}
	return command{spec, func(ctx context.Context, c call) (bot.Reply, error) {
		app, env := c.words[paramApp], c.words[paramEnv]
		if err := c.access.Allow(c.actor, verbRelease, app, env); err != nil {
			return bot.Reply{}, err
		}
		if err := c.releases.Resume(ctx, app, env, c.actor); err != nil {
			return bot.Reply{}, c.swapped(err)
		}
		return bot.Reply{Silent: true}, nil
	}}
}

func helpCommand() command {
	spec := bot.Spec{Name: "gimlet help", Summary: "this list"}
	return command{spec, func(_ context.Context, c call) (bot.Reply, error) {
		rows := [][]string{{"COMMAND", ""}}
		for _, s := range c.Specs() {
			rows = append(rows, []string{usage(s), s.Summary})
		}
		return bot.Reply{Message: bot.Message{
			Title: "Commands", Table: rows,
			Body:   "version: nothing (the newest), a commit or its first letters, a branch, a tag, an artifact id, or from:<env>.",
			Footer: "a number presses the button that has it",
		}}, nil
	}}
}
