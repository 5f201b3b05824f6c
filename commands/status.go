package commands

import (
	"context"
	"fmt"
	"strings"

	"gimletd/bot"
	"gimletd/releases"
)

func statusCommand() command {
	spec := bot.Spec{Name: "gimlet status", Summary: "what is live where, and what is on its way", Params: []bot.Param{envParam(false), appParam(false)}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		envs := c.environmentNames()
		if env := c.words[paramEnv]; env != "" {
			envs = []string{env}
		}
		rows := [][]string{{"ENVIRONMENT", "APP", "VERSION", "COMMIT", "BY", "WHEN", ""}}
		for _, env := range envs {
			states, err := c.releases.Status(ctx, env, c.words[paramApp])
			if err != nil {
				return bot.Reply{}, err
			}
			for _, st := range states {
				rows = append(rows, c.row(st))
			}
		}
		m := bot.Message{Title: "What is live", Table: rows}
		if len(rows) == 1 {
			m = bot.Message{Title: "Nothing was released yet", Footer: "/gimlet artifacts shows what could be"}
		}
		return bot.Say(m), nil
	}}
}

func (c call) row(st releases.State) []string {
	row := []string{st.Env, st.App, "-", "-", "-", "-", ""}
	if live := st.Live; live != nil {
		row = []string{st.Env, st.App, live.Version.Short(), releases.ShortSHA(live.Commit), live.By, ago(c.now(), live.At), ""}
	}
	var notes []string
	for _, r := range st.Open {
		notes = append(notes, fmt.Sprintf("%s %s is %s", r.ID, r.Version.Short(), r.Status))
	}
	if st.Hold != nil {
		notes = append(notes, "automation held by "+st.Hold.By)
	}
	if st.Lock != nil {
		notes = append(notes, fmt.Sprintf("locked by %s until %s", st.Lock.Owner.Name, releases.Moment(st.Lock.Until, c.zone)))
	}
	row[6] = strings.Join(notes, "; ")
	return row
}

func historyCommand() command {
	spec := bot.Spec{Name: "gimlet history", Summary: "the newest releases", Params: []bot.Param{appParam(false), envParam(false)}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		const most = 15
		all, err := c.releases.Releases(ctx, releases.ReleaseQuery{App: c.words[paramApp], Env: c.words[paramEnv], Limit: most})
		if err != nil {
			return bot.Reply{}, err
		}
		if len(all) == 0 {
			return bot.Say(bot.Message{Title: "There are no releases to show"}), nil
		}
		rows := [][]string{{"ID", "WHEN", "APP", "ENVIRONMENT", "VERSION", "STATUS", "COMMIT", "BY"}}
		for _, r := range all {
			status := string(r.Status)
			switch {
			case r.RolledBack:
				status = "rolled back"
			case r.Kind == releases.KindRollback:
				status += " (rollback)"
			case r.Kind == releases.KindCleanup:
				status += " (removed)"
			}
			by := r.RequestedBy.Name
			rows = append(rows, []string{r.ID, ago(c.now(), r.Created), r.App, r.Env, r.Version.Short(), status, dash(releases.ShortSHA(r.Commit)), by})
		}
		return bot.Say(bot.Message{Title: "Releases, newest first", Table: rows}), nil
	}}
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func artifactsCommand() command {
	spec := bot.Spec{Name: "gimlet artifacts", Summary: "the newest artifacts", Params: []bot.Param{
		appParam(false), {Name: "branch", Summary: "only of this branch"},
	}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		found, err := c.releases.Artifacts(ctx, releases.ArtifactQuery{Target: releases.Target{App: c.words[paramApp]}, Branch: c.words["branch"]})
		if err != nil {
			return bot.Reply{}, err
		}
		if len(found) == 0 {
			return bot.Say(bot.Message{Title: "There are no artifacts to show"}), nil
		}
		rows := [][]string{{"VERSION", "WHEN", "REPOSITORY", "BRANCH", "AUTHOR", "MESSAGE", "FOR"}}
		for _, a := range found {
			var targets []string
			for _, t := range a.Targets {
				targets = append(targets, t.App+"→"+t.Env)
			}
			v := a.Version
			rows = append(rows, []string{v.Short(), ago(c.now(), a.Key.Time()), v.RepositoryName, dash(v.Branch), v.AuthorName, firstLine(v.Message), strings.Join(targets, " ")})
		}
		return bot.Say(bot.Message{Title: "Artifacts, newest first", Table: rows}), nil
	}}
}
