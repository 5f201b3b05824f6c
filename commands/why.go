package commands

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gimletd/bot"
	"gimletd/releases"
)

func diffCommand() command {
	spec := bot.Spec{Name: "gimlet diff", Summary: "what a release would change", Params: []bot.Param{
		{Name: paramApp, Summary: "the app, or the id of a release", Required: true},
		envParam(false),
		versionParam("the newest without; or any word that /release takes, or the id of a release to go back to"),
	}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		app, env := c.words[paramApp], c.words[paramEnv]
		switch {
		case env == "" && releases.IsReleaseID(app):
			return c.review(ctx, app)
		case env == "":
			return bot.Reply{}, releases.Errorf(releases.Invalid, "env is missing: the environment\nusage: %s", usage(spec))
		case releases.IsReleaseID(c.words[paramVersion]):
			return c.review(ctx, c.words[paramVersion])
		}
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
		m := difference(fmt.Sprintf("%s in %s: %s → %s", app, env, from, shipped.Version.Short()), p)
		m.Buttons = []bot.Button{{Label: "Release it", Args: []string{"/release", app, env, shipped.ID}, Confirm: fmt.Sprintf("Release %s %s to %s?", app, shipped.Version.Short(), env)}}
		return bot.Say(m), nil
	}}
}

func diffRollbackCommand() command {
	spec := bot.Spec{Name: "gimlet diff-rollback", Summary: "what a rollback would change", Params: rollbackParams()}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		if err := c.takenBack(ctx); err != nil {
			return bot.Reply{}, err
		}
		if reply, ok, err := c.pick(ctx, spec); !ok {
			return reply, err
		}
		target, p, err := c.releases.ReviewRollback(ctx, releases.RollbackAsk{App: c.words[paramApp], Env: c.words[paramEnv], To: c.words[paramVersion]})
		if err != nil {
			return bot.Reply{}, c.swapped(err)
		}
		return bot.Say(rollbackPreview(target, p)), nil
	}}
}

// rollbackPreview shows what a rollback would change, and what it would not bring back.
func rollbackPreview(target releases.Release, p releases.Preview) bot.Message {
	m := difference(fmt.Sprintf("%s in %s: %s → %s", target.App, target.Env, p.Live.Version.Short(), target.Version.Short()), p)
	label, question := "Roll back", "Roll back "+m.Title+"?"
	if len(p.Hazards) > 0 {
		m.Tone, label = bot.Warning, "Roll back anyway"
		m.Body = "Careful, this does not bring back all that was:\n• " + strings.Join(p.Hazards, "\n• ") + "\n" + m.Body
		question += " Careful: " + strings.Join(p.Hazards, "; ")
	}
	m.Buttons = []bot.Button{{Label: label, Tone: bot.Bad, Args: []string{"/rollback", target.App, target.Env, target.ID + ofMark + p.Live.ReleaseID}, Confirm: question}}
	return m
}

// difference shows a preview.
func difference(title string, p releases.Preview) bot.Message {
	m := bot.Message{Title: title, Code: p.Diff}
	var lines []string
	for _, change := range p.Changes {
		lines = append(lines, change.String())
	}
	m.Body = strings.Join(lines, "\n")
	if p.Diff == "" {
		m.Body = "No object would change."
	}
	return m
}

// review shows what a release changes, or what going back to it would.
func (c call) review(ctx context.Context, id string) (bot.Reply, error) {
	r, p, err := c.releases.Review(ctx, id)
	if err != nil {
		return bot.Reply{}, err
	}
	from := "nothing"
	if p.Live != nil {
		from = p.Live.Version.Short()
	}
	m := difference(fmt.Sprintf("%s in %s: %s → %s (%s)", r.App, r.Env, from, r.Version.Short(), r.ID), p)
	if r.Status == releases.Waiting {
		m.Buttons = ballotButtons(r)
	}
	return bot.Say(m), nil
}

func whyCommand() command {
	spec := bot.Spec{Name: "gimlet why", Summary: "why something was released, or was not", Params: []bot.Param{appParam(true), envParam(true)}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		app, env := c.words[paramApp], c.words[paramEnv]
		e, err := c.releases.Why(ctx, app, env)
		if err != nil {
			return bot.Reply{}, c.swapped(err)
		}
		m := bot.Message{Title: fmt.Sprintf("%s in %s", app, env), Body: e.Answer(app, env, c.now(), c.zone) + "\n\n" + strings.Join(slices.Concat(c.standing(e), c.kept(e, env), c.decisions(e, app, env)), "\n")}
		return bot.Say(m), nil
	}}
}

// kept tells what keeps releases back now.
func (c call) kept(e releases.Explanation, env string) (lines []string) {
	for _, f := range e.Freezes {
		lines = append(lines, fmt.Sprintf("%s takes no releases until %s: %s. What is asked for waits, and goes on then.", env, releases.Moment(f.Until, c.zone), f.Title()))
	}
	for _, l := range e.Locks {
		lines = append(lines, fmt.Sprintf("%s is locked by %s until %s: %s.", l.Where(), l.Owner.Name, releases.Moment(l.Until, c.zone), l.Reason))
	}
	for _, m := range e.Marks {
		lines = append(lines, fmt.Sprintf("%s is marked as bad by %s: %s. Policies leave it alone; to release it takes /gimlet break-glass.", m.Version.Short(), m.By.Name, m.Reason))
	}
	for i, need := range e.Rule.Needs {
		verb := "A release needs"
		if i > 0 {
			verb = "It also needs"
		}
		whom := "of those who may approve"
		if len(need.From) > 0 {
			whom = "of " + strings.Join(need.From, " or ")
		}
		lines = append(lines, fmt.Sprintf("%s the approval of %d %s.", verb, need.Count, whom))
	}
	return lines
}

func (c call) standing(e releases.Explanation) []string {
	lines := []string{"Nothing was released yet."}
	if e.Live != nil {
		lines = []string{fmt.Sprintf("Live: %s since %s, by %s (%s, commit %s).", e.Live.Version.Short(), ago(c.now(), e.Live.At), e.Live.By, e.Live.ReleaseID, releases.ShortSHA(e.Live.Commit))}
	}
	if e.Hold != nil {
		lines = append(lines, fmt.Sprintf("Automation is held: %s (%s). /gimlet resume lets it go on.", e.Hold.Why(), ago(c.now(), e.Hold.At)))
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
	for _, p := range e.Policies {
		next := "never again"
		if !p.Next.IsZero() {
			next = releases.Moment(p.Next, c.zone)
		}
		verdict := "would not release"
		if p.Fires {
			verdict = "would release " + p.Version
		}
		lines = append(lines, fmt.Sprintf("  policy %s (next: %s) %s: %s", p.Policy, next, verdict, p.Reason))
	}
	return lines
}

func helpCommand() command {
	spec := bot.Spec{Name: "gimlet help", Summary: "this list"}
	return command{Spec: spec, run: func(_ context.Context, c call) (bot.Reply, error) {
		rows := [][]string{{"COMMAND", ""}}
		for _, s := range c.Specs() {
			if s.Hidden {
				continue
			}
			rows = append(rows, []string{usage(s), s.Summary})
		}
		footer := ""
		if c.user.Platform == console {
			footer = "a number presses the button that has it"
		}
		return bot.Say(bot.Message{
			Title: "Commands", Table: rows,
			Body:   "version: nothing (the newest), a commit or its first letters, a branch, a tag, an artifact id, or from:<env>.",
			Footer: footer,
		}), nil
	}}
}
