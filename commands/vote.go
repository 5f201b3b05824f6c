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
	digest, reason := releases.CutPlanWord(c.words["reason"])
	after, err := c.releases.Vote(ctx, releases.Ballot{ReleaseID: r.ID, Digest: digest, Yes: yes, Reason: reason, By: c.actor, At: c.at})
	if err != nil {
		return bot.Reply{}, err
	}
	return c.told(r.Env, bot.Message{Tone: bot.Good, Title: fmt.Sprintf("Your vote on %s counts: %s", after.ID, after.Reason)}), nil
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
		after, err := c.releases.Cancel(ctx, c.words["release"], c.words["reason"], c.actor, c.at)
		if err != nil {
			return bot.Reply{}, err
		}
		return c.told(after.Env, bot.Message{Tone: bot.Good, Title: fmt.Sprintf("%s is %s", after.ID, after.Reason)}), nil
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
		made, err := c.again(ctx, r)
		if err != nil {
			return bot.Reply{}, err
		}
		return c.accepted(r.Env, made), nil
	}}
}

func (c call) again(ctx context.Context, r releases.Release) (releases.Release, error) {
	if r.Kind == releases.KindRollback {
		return c.releases.Rollback(ctx, releases.RollbackAsk{App: r.App, Env: r.Env, To: r.Target, Of: r.RollbackOf, By: c.actor, At: c.at, Request: c.request})
	}
	if r.Kind == releases.KindCleanup {
		return c.releases.Remove(ctx, releases.RemoveAsk{App: r.App, Env: r.Env, Of: r.RollbackOf, By: c.actor, At: c.at, Request: c.request})
	}
	made, err := c.releases.Propose(ctx, releases.Ask{App: r.App, Env: r.Env, ArtifactID: r.ArtifactID, By: c.actor, At: c.at, Request: c.request})
	if err != nil {
		return r, err
	}
	return made[0], nil
}
