package commands

import (
	"context"
	"fmt"
	"slices"

	"gimletd/bot"
	"gimletd/releases"
)

func releaseParam() bot.Param {
	return bot.Param{Name: "release", Summary: "the id of a release", Required: true}
}

func reasonParam() bot.Param { return bot.Param{Name: "reason", Summary: "why", Rest: true} }

// ballotButtons are those of a release that waits for votes. They say which plan they mean.
func ballotButtons(r releases.Release) []bot.Button {
	plan := r.PlanWord()
	return []bot.Button{
		{Label: "Approve", Tone: bot.Good, Args: []string{"/gimlet", "approve", r.ID, plan}},
		{Label: "Reject", Tone: bot.Bad, Args: []string{"/gimlet", "reject", r.ID, plan}, Confirm: fmt.Sprintf("Reject %s %s for %s? This ends the request.", r.App, r.Version.Short(), r.Env)},
	}
}

func approveCommand() command {
	spec := bot.Spec{Name: "gimlet approve", Summary: "vote for a release that waits", Params: []bot.Param{releaseParam(), reasonParam()}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) { return c.vote(ctx, true) }}
}

func rejectCommand() command {
	spec := bot.Spec{Name: "gimlet reject", Summary: "vote against a release that waits, which ends it", Params: []bot.Param{releaseParam(), reasonParam()}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) { return c.vote(ctx, false) }}
}

func (c call) vote(ctx context.Context, yes bool) (bot.Reply, error) {
	r, err := c.releases.Release(ctx, c.words["release"])
	if err != nil {
		return bot.Reply{}, err
	}
	if err := c.allow(ctx, releases.VerbApprove, r.App, r.Env); err != nil {
		return bot.Reply{}, err
	}
	digest, reason := releases.CutPlanWord(c.words["reason"])
	people := map[string]releases.Actor{} // who asked and voted before, as they are now
	for _, before := range append(actorsOf(r.Votes), r.RequestedBy) {
		people[accountOf(before)] = c.asNow(ctx, before, r)
	}
	after, err := c.releases.Vote(ctx, releases.Ballot{
		ReleaseID: r.ID, Digest: digest, Yes: yes, Reason: reason, By: c.actor,
		Now: func(a releases.Actor) releases.Actor {
			if now, asked := people[accountOf(a)]; asked {
				return now
			}
			return a // came a moment ago, and was looked up then
		},
	})
	if err != nil {
		return bot.Reply{}, err
	}
	return c.told(r.Env, bot.Message{Tone: bot.Good, Title: fmt.Sprintf("Your vote on %s counts: %s", after.ID, after.Reason)}), nil
}

// accountOf tells the accounts of one person apart: at the console they may more than in a chat.
func accountOf(a releases.Actor) string { return a.Via + " " + a.User + " " + a.Identity() }

func actorsOf(votes []releases.Vote) (all []releases.Actor) {
	for _, v := range votes {
		all = append(all, v.By)
	}
	return all
}

// asNow identifies somebody anew who acted before, with the roles that let them vote on the release.
func (c call) asNow(ctx context.Context, a releases.Actor, r releases.Release) releases.Actor {
	if a.User == "" || a.Root {
		return a
	}
	now, err := c.access.Identify(ctx, bot.User{Platform: a.Via, ID: a.User, Name: a.Name, Email: a.Email})
	if err != nil {
		return a
	}
	return c.access.Fresh(ctx, now, releases.VerbApprove, r.App, r.Env, c.at)
}

// told says the message where the news of the environment do not come by themselves.
func (c call) told(env string, m bot.Message) bot.Reply {
	for _, e := range c.releases.Environments() {
		if e.Name == env && slices.Contains(e.Channels, string(c.channel)) {
			return bot.Reply{}
		}
	}
	return bot.Say(m)
}

func cancelCommand() command {
	spec := bot.Spec{Name: "gimlet cancel", Summary: "take back a release that is not out yet", Params: []bot.Param{releaseParam(), reasonParam()}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		r, err := c.releases.Release(ctx, c.words["release"])
		if err != nil {
			return bot.Reply{}, err
		}
		if !r.RequestedBy.Is(c.actor) {
			if err := c.allow(ctx, verbOf(r), r.App, r.Env); err != nil {
				return bot.Reply{}, err
			}
		}
		after, err := c.releases.Cancel(ctx, r.ID, c.words["reason"], c.actor)
		if err != nil {
			return bot.Reply{}, err
		}
		return c.told(r.Env, bot.Message{Tone: bot.Good, Title: fmt.Sprintf("%s is %s", after.ID, after.Reason)}), nil
	}}
}

func retryCommand() command {
	spec := bot.Spec{Name: "gimlet retry", Summary: "ask again for a release that did not go out", Params: []bot.Param{releaseParam()}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		r, err := c.releases.Release(ctx, c.words["release"])
		if err != nil {
			return bot.Reply{}, err
		}
		if r.Status.Open() || r.Status == releases.Published || r.Status == releases.Unchanged {
			return bot.Reply{}, releases.Errorf(releases.Conflict, "%s is %s, so there is nothing to try again", r.ID, r.Status)
		}
		if err := c.allow(ctx, verbOf(r), r.App, r.Env); err != nil {
			return bot.Reply{}, err
		}
		made, err := c.again(ctx, r)
		if err != nil {
			return bot.Reply{}, err
		}
		return c.accepted(r.Env, made), nil
	}}
}

// verbOf is the right that asking for such a release needs.
func verbOf(r releases.Release) string {
	if r.Kind == releases.KindRollback {
		return releases.VerbRollback
	}
	return releases.VerbRelease
}

func (c call) again(ctx context.Context, r releases.Release) (releases.Release, error) {
	if r.Kind == releases.KindRollback {
		return c.releases.Rollback(ctx, releases.RollbackAsk{App: r.App, Env: r.Env, To: r.Target, Of: r.RollbackOf, By: c.actor, Request: c.request})
	}
	made, err := c.releases.Propose(ctx, releases.Ask{App: r.App, Env: r.Env, ArtifactID: r.ArtifactID, By: c.actor, Request: c.request})
	if err != nil {
		return r, err
	}
	return made[0], nil
}
