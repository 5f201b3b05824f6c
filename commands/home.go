package commands

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gimletd/bot"
	"gimletd/releases"
)

func whoamiCommand() command {
	spec := bot.Spec{Name: "gimlet whoami", Summary: "who you are here, and what you may do"}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		c.actor = c.access.Known(ctx, c.actor)
		account := c.user.Platform + ":" + c.user.ID
		m := bot.Message{Title: "You are " + c.actor.Name, Fields: []bot.Field{{Name: "account", Value: account}}}
		if c.actor.Email != "" {
			m.Fields = append(m.Fields, bot.Field{Name: "e-mail", Value: c.actor.Email})
		}
		rows := [][]string{{"MAY", "ENVIRONMENTS"}}
		for _, verb := range releases.Verbs() {
			var envs []string
			for _, env := range c.environmentNames() {
				if c.access.Allow(c.actor, verb, "", env) == nil || c.mayAny(ctx, verb, env) {
					envs = append(envs, env)
				}
			}
			if len(envs) > 0 {
				rows = append(rows, []string{verb, strings.Join(envs, ", ")})
			}
		}
		if len(c.actor.Roles) > 0 {
			m.Fields = append(m.Fields, bot.Field{Name: "roles", Value: strings.Join(c.actor.Roles, ", ")})
		}
		if c.actor.Doubt != "" {
			m.Tone, m.Footer = bot.Warning, "not all of your roles are known now: "+c.actor.Doubt
		}
		if len(rows) > 1 {
			m.Table = rows
			return bot.Say(m), nil
		}
		m.Body = "You may look at everything, and change nothing yet. Whoever keeps the configuration can add you to a role, " +
			"by a group that you are in or by your account:"
		m.Code = fmt.Sprintf("roles:\n  - name: developers\n    members: [\"%s\"]\n    can: [release, rollback]\n    environments: [%s]\n",
			account, strings.Join(c.environmentNames()[:min(1, len(c.environmentNames()))], ", "))
		return bot.Say(m), nil
	}}
}

// mayAny reports whether the person may do it for some app there: a role can be bound to apps.
func (c call) mayAny(ctx context.Context, verb, env string) bool {
	apps, err := c.releases.Apps(ctx)
	if err != nil {
		return false
	}
	for _, app := range apps {
		if c.access.Allow(c.actor, verb, app, env) == nil {
			return true
		}
	}
	return false
}

// homeCommand is the page that a platform shows to one person: what waits for them, what they did, what is live.
func homeCommand() command {
	spec := bot.Spec{Name: "gimlet home", Summary: "your page", Hidden: true}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		c.actor = c.access.Known(ctx, c.actor)
		waiting, err := c.waitingForMe(ctx)
		if err != nil {
			return bot.Reply{}, err
		}
		mine, err := c.mineToday(ctx)
		if err != nil {
			return bot.Reply{}, err
		}
		live, held, err := c.liveEverywhere(ctx)
		if err != nil {
			return bot.Reply{}, err
		}
		controls, err := c.controls(ctx)
		if err != nil {
			return bot.Reply{}, err
		}
		switch {
		case len(controls.Table) > 1:
			waiting = append(waiting, controls)
		case controls.Body != "":
			waiting = append(waiting, bot.Message{Title: "Nothing keeps releases back", Tone: bot.Good, Body: controls.Body})
		}
		page := append(waiting, mine, live)
		if len(held.Buttons) > 0 {
			page = append(page, held)
		}
		return bot.Reply{Messages: page}, nil
	}}
}

func (c call) waitingForMe(ctx context.Context) (page []bot.Message, err error) {
	const most, looked = 10, 500
	found, err := c.releases.Releases(ctx, releases.ReleaseQuery{Statuses: []releases.Status{releases.Waiting}, Since: c.now().Add(-30 * 24 * time.Hour), Limit: looked})
	if err != nil {
		return nil, err
	}
	may, err := c.mayVote(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range found {
		if !r.Needs(releases.BlockVotes) || r.Approval == nil || !may(r) || slices.ContainsFunc(r.Approvers(), c.actor.Is) || len(page) == most {
			continue
		}
		m := bot.Message{
			Tone: bot.Warning, Title: fmt.Sprintf("%s %s → %s waits for you", r.App, r.Version.Short(), r.Env),
			Body: firstLine(r.Version.Message), Footer: fmt.Sprintf("%s · asked for by %s %s · %s", r.ID, r.RequestedBy.Name, ago(c.now(), r.Created), r.Reason),
			Buttons: ballotButtons(r), About: r.ID,
		}
		page = append(page, m)
	}
	if len(page) == 0 {
		page = []bot.Message{{Title: "Nothing waits for your approval", Tone: bot.Good}}
	}
	return page, nil
}

// mayVote tells whether the person may vote on a release: by themselves, or on behalf of somebody who is away.
func (c call) mayVote(ctx context.Context) (func(r releases.Release) bool, error) {
	all, err := c.releases.Delegations(ctx)
	if err != nil {
		return nil, err
	}
	behalf := []releases.Vote{{By: c.actor}}
	for _, d := range all {
		if d.To.Is(c.actor) {
			from := c.access.Known(ctx, d.From)
			behalf = append(behalf, releases.Vote{By: c.actor, For: &from})
		}
	}
	return func(r releases.Release) bool {
		return slices.ContainsFunc(behalf, func(v releases.Vote) bool {
			authority := v.By
			if v.For != nil {
				authority = *v.For
			}
			return c.access.Allow(authority, releases.VerbApprove, r.App, r.Env) == nil && r.Approval.Counts(r, v) == nil
		})
	}, nil
}

func (c call) mineToday(ctx context.Context) (bot.Message, error) {
	const looked = 1000
	found, err := c.releases.Releases(ctx, releases.ReleaseQuery{Since: c.now().Add(-24 * time.Hour), Limit: looked})
	if err != nil {
		return bot.Message{}, err
	}
	rows := [][]string{{"ID", "WHEN", "APP", "ENVIRONMENT", "VERSION", "STATUS"}}
	for _, r := range found {
		if r.RequestedBy.Is(c.actor) {
			rows = append(rows, []string{r.ID, ago(c.now(), r.Created), r.App, r.Env, r.Version.Short(), string(r.Status)})
		}
	}
	if len(rows) == 1 {
		return bot.Message{Title: "You released nothing in the last day", Body: "/release begins one."}, nil
	}
	return bot.Message{Title: "Your releases of the last day", Table: rows}, nil
}

func (c call) liveEverywhere(ctx context.Context) (live, held bot.Message, err error) {
	rows := [][]string{{"ENVIRONMENT", "APP", "VERSION", "WHEN", ""}}
	held = bot.Message{Title: "Automation is held", Tone: bot.Warning}
	var lines []string
	for _, env := range c.environmentNames() {
		states, err := c.releases.Status(ctx, env, "")
		if err != nil {
			return live, held, err
		}
		for _, st := range states {
			full := c.row(st)
			rows = append(rows, []string{full[0], full[1], full[2], full[5], full[6]})
			if st.Hold != nil {
				lines = append(lines, fmt.Sprintf("%s in %s, since %s %s", st.App, env, st.Hold.Why(), ago(c.now(), st.Hold.At)))
				held.Buttons = append(held.Buttons, bot.Button{Label: fmt.Sprintf("Resume %s in %s", st.App, env), Args: []string{"/gimlet", "resume", st.App, env}})
			}
		}
	}
	held.Body = strings.Join(lines, "\n")
	if len(rows) == 1 {
		return bot.Message{Title: "Nothing was released yet"}, held, nil
	}
	return bot.Message{Title: "What is live", Table: rows}, held, nil
}
