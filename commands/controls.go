package commands

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gimletd/bot"
	"gimletd/releases"
)

func controlsCommand() command {
	spec := bot.Spec{Name: "gimlet controls", Summary: "what keeps releases back: freezes, locks, holds, marks; and what is to be reviewed"}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		m, err := c.controls(ctx)
		if err != nil {
			return bot.Reply{}, err
		}
		for _, env := range c.environmentNames() {
			states, err := c.releases.Status(ctx, env, "")
			if err != nil {
				return bot.Reply{}, err
			}
			for _, st := range states {
				if st.Hold != nil {
					m.Table = append(m.Table, []string{"hold", st.App + " in " + env, st.Hold.By, "until resumed", st.Hold.Why()})
				}
			}
		}
		if len(m.Table) == 1 {
			m = bot.Message{Title: "Nothing keeps releases back", Tone: bot.Good, Body: m.Body}
		}
		return bot.Say(m), nil
	}}
}

// controls lists what keeps releases back, and what opens next.
func (c call) controls(ctx context.Context) (m bot.Message, err error) {
	m = bot.Message{Title: "What keeps releases back", Tone: bot.Warning, Table: [][]string{{"WHAT", "WHERE", "BY", "UNTIL", "WHY"}}}
	var next []string
	for _, env := range c.environmentNames() {
		on, coming, err := c.releases.Freezes(ctx, env)
		if err != nil {
			return m, err
		}
		for _, f := range on {
			m.Table = append(m.Table, []string{"freeze", env, planned(f), c.until(f.Until), first(f.Reason, f.Name)})
			m.Buttons = append(m.Buttons, bot.Button{Label: "Unfreeze " + env, Args: []string{"/gimlet", "unfreeze", env, f.ID}, Confirm: fmt.Sprintf("End %s of %s before its time?", f.Title(), env)})
		}
		if coming != nil {
			next = append(next, fmt.Sprintf("%s freezes next at %s, until %s (%s)", env, c.until(coming.From), c.until(coming.Until), coming.Name))
		}
	}
	m.Body = strings.Join(next, "\n")
	locks, err := c.releases.Locks(ctx)
	if err != nil {
		return m, err
	}
	for _, l := range locks {
		m.Table = append(m.Table, []string{"lock", l.Where(), l.Owner.Name, c.until(l.Until), l.Reason})
		if l.Owner.Is(c.actor) {
			m.Buttons = append(m.Buttons, bot.Button{Label: "Unlock " + l.Where(), Args: []string{"/gimlet", "unlock", l.App, l.Env, lockMark + l.ID}})
		}
	}
	marks, err := c.releases.Marks(ctx)
	if err != nil {
		return m, err
	}
	for _, mark := range marks {
		m.Table = append(m.Table, []string{"bad version", mark.Version.RepositoryName + " " + mark.Version.Short(), mark.By.Name, "-", mark.Reason})
	}
	delegations, err := c.releases.Delegations(ctx)
	if err != nil {
		return m, err
	}
	for _, d := range delegations {
		m.Table = append(m.Table, []string{"delegation", "to " + d.To.Name, d.From.Name, c.until(d.Until), dash(d.Reason)})
	}
	reviews, err := c.releases.Reviews(ctx)
	if err != nil {
		return m, err
	}
	for _, v := range reviews {
		m.Table = append(m.Table, []string{"review", fmt.Sprintf("%s (%s %s in %s)", v.ReleaseID, v.App, v.Version.Short(), v.Env), v.Glass.By.Name + " and " + v.Glass.Second.Name, "signed off", v.Glass.Reason})
	}
	return m, nil
}

func planned(f releases.Freeze) string {
	if f.Name != "" {
		return "planned"
	}
	return f.By.Name
}

// until is a moment in the zone that people read, short.
func (c call) until(t time.Time) string { return t.In(c.zone).Format("Mon 2 Jan 15:04 MST") }

func auditCommand() command {
	spec := bot.Spec{Name: "gimlet audit", Summary: "who did what, newest first", Params: []bot.Param{
		{Name: paramApp, Summary: "of an app, or of a release by its id"}, envParam(false),
	}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		const most = 20
		q := releases.AuditQuery{App: c.words[paramApp], Env: c.words[paramEnv], Limit: most}
		if releases.IsReleaseID(q.App) {
			q.App, q.Release = "", q.App
		}
		found, err := c.releases.Audit(ctx, q)
		if err != nil {
			return bot.Reply{}, err
		}
		if len(found) == 0 {
			return bot.Say(bot.Message{Title: "The audit has nothing about that"}), nil
		}
		rows := [][]string{{"NO", "WHEN", "WHO", "BY", "WHAT", "ABOUT", ""}}
		for _, r := range found {
			what := r.Action
			if r.Refused != "" {
				what += " (refused)"
			}
			about := first(strings.Join(present(r.Release, r.App, r.Env), " "), r.Artifact)
			detail, _, _ := strings.Cut(first(r.Refused, r.Detail), "\n")
			rows = append(rows, []string{fmt.Sprint(r.Seq), r.At.In(c.zone).Format("2 Jan 15:04:05"), r.Actor, r.Door, what, about, firstLine(detail)})
		}
		return bot.Say(bot.Message{Title: "The audit, newest first", Table: rows, Footer: "gimletd audit export has all of it; gimletd audit verify proves it"}), nil
	}}
}
