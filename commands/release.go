package commands

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gimletd/bot"
	"gimletd/releases"
)

func versionParam(summary string) bot.Param { return bot.Param{Name: paramVersion, Summary: summary} }

func releaseCommand() command {
	spec := bot.Spec{Name: "release", Summary: "release an app to an environment", Preview: "gimlet diff", Params: []bot.Param{
		appParam(false), envParam(false),
		versionParam("the newest without; or a commit, branch, tag, artifact id, or from:<env>"),
	}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		if reply, ok, err := c.pick(ctx, spec); !ok {
			return reply, err
		}
		app, env := c.words[paramApp], c.words[paramEnv]
		shipped, err := c.releases.Resolve(ctx, app, env, c.words[paramVersion])
		if err != nil {
			return bot.Reply{}, c.swapped(err)
		}
		made, err := c.releases.Propose(ctx, releases.Ask{App: app, Env: env, ArtifactID: shipped.ID, By: c.actor, At: c.at, Request: c.request})
		if err != nil {
			return bot.Reply{}, err
		}
		return c.accepted(env, made[0]), nil
	}}
}

func rollbackParams() []bot.Param {
	return []bot.Param{
		{Name: paramApp, Summary: "the app, or the id of the release to take back"},
		envParam(false),
		versionParam("the release before without; or a commit, tag, release id or artifact id"),
	}
}

func rollbackCommand() command {
	spec := bot.Spec{Name: "rollback", Summary: "put an earlier release of an app back", Preview: "gimlet diff-rollback", Params: rollbackParams()}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		if made, err := c.made(ctx); err != nil || made != nil {
			return c.accepted(c.words[paramEnv], made...), err
		}
		if err := c.takenBack(ctx); err != nil {
			return bot.Reply{}, err
		}
		if reply, ok, err := c.pick(ctx, spec); !ok {
			return reply, err
		}
		app, env := c.words[paramApp], c.words[paramEnv]
		if to, of, shown := strings.Cut(c.words[paramVersion], ofMark); shown {
			c.words[paramVersion], c.of = to, of
		} else if reply, ask := c.hazardous(ctx); ask {
			return reply, nil
		}
		made, err := c.releases.Rollback(ctx, releases.RollbackAsk{App: app, Env: env, To: c.words[paramVersion], Of: c.of, By: c.actor, At: c.at, Request: c.request})
		if err != nil {
			return bot.Reply{}, c.swapped(err)
		}
		return c.accepted(env, made), nil
	}}
}

// hazardous shows what a typed rollback would not bring back, or destroy, before it is done; ask is false when there is
// nothing to show. It never stands in the way: what cannot be found out is not asked.
func (c call) hazardous(ctx context.Context) (reply bot.Reply, ask bool) {
	if c.of != "" { // the button asked already
		return reply, false
	}
	target, p, err := c.releases.ReviewRollback(ctx, releases.RollbackAsk{App: c.words[paramApp], Env: c.words[paramEnv], To: c.words[paramVersion]})
	if err != nil || len(p.Hazards) == 0 {
		return reply, false
	}
	return bot.Say(rollbackPreview(target, p)), true
}

// ofMark is in the word of a button that says which live release its rollback was shown to take back.
const ofMark = ",of:"

// made returns what the request has made already, in an earlier life of the process.
func (c call) made(ctx context.Context) ([]releases.Release, error) {
	if c.request == "" {
		return nil, nil
	}
	found, err := c.releases.Releases(ctx, releases.ReleaseQuery{Request: c.request, Limit: 1})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	c.words[paramEnv] = found[0].Env
	return found, nil
}

// takenBack puts the app and environment in place of the id of a release that is to be taken back. It must be what is
// live: taking back another one would do something else than it says.
func (c *call) takenBack(ctx context.Context) error {
	id := c.words[paramApp]
	if !releases.IsReleaseID(id) || c.words[paramEnv] != "" {
		return nil
	}
	r, err := c.releases.Release(ctx, id)
	if err != nil {
		return err
	}
	states, err := c.releases.Status(ctx, r.Env, r.App)
	if err != nil {
		return err
	}
	for _, st := range states {
		if st.Live != nil && st.Live.ReleaseID == id {
			c.words[paramApp], c.words[paramEnv], c.of = r.App, r.Env, id
			return nil
		}
		if st.Live != nil {
			return releases.Errorf(releases.Conflict, "%s is not what is live: %s of %s is\nTo go back from there: /rollback %s %s", id, st.Live.Version.Short(), st.Live.ReleaseID, r.App, r.Env)
		}
	}
	return releases.Errorf(releases.Conflict, "%s is not what is live in %s", id, r.Env)
}

// pick offers the apps or environments when they were left out; ok is true when there is nothing to pick.
func (c call) pick(ctx context.Context, spec bot.Spec) (reply bot.Reply, ok bool, err error) {
	app, env := c.words[paramApp], c.words[paramEnv]
	switch {
	case app == "":
		apps, err := c.releases.Apps(ctx)
		return offer("Which app?", spec, nil, apps), false, err
	case env == "":
		envs, err := c.environmentsOf(ctx, app)
		return offer(fmt.Sprintf("%s in which environment?", app), spec, []string{app}, envs), false, err
	}
	return bot.Reply{}, true, nil
}

func (c call) environmentsOf(ctx context.Context, app string) (envs []string, err error) {
	for _, e := range c.releases.Environments() {
		found, err := c.releases.Artifacts(ctx, releases.ArtifactQuery{Target: releases.Target{App: app, Env: e.Name}, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			envs = append(envs, e.Name)
		}
	}
	if len(envs) == 0 {
		return nil, releases.Errorf(releases.NotFound, "there is no app %q: no artifact was shipped for it", app)
	}
	return envs, nil
}

// swapped adds a hint when the environment was typed where the app belongs.
func (c call) swapped(err error) error {
	app, env := c.words[paramApp], c.words[paramEnv]
	if releases.KindOf(err) == releases.NotFound && slices.Contains(c.environmentNames(), app) && !slices.Contains(c.environmentNames(), env) {
		return releases.Errorf(releases.NotFound, "%v\nThe app comes first, then the environment: %s %s", err, env, app)
	}
	return err
}

// accepted answers a request whose news come by themselves: where they come, if not here.
func (c call) accepted(env string, made ...releases.Release) bot.Reply {
	if len(made) == 0 {
		return bot.Reply{}
	}
	r := made[0]
	for _, e := range c.releases.Environments() {
		if e.Name == env && !slices.Contains(e.Channels, string(c.channel)) {
			where := "no channel is configured for it"
			if len(e.Channels) > 0 {
				where = "news in " + strings.Join(e.Channels, ", ")
			}
			return bot.Say(bot.Message{Tone: bot.Working, Title: fmt.Sprintf("Accepted: %s (%s)", r.ID, where)})
		}
	}
	return bot.Reply{}
}
