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

// lockFor is how long a lock lasts that names no end: a working day.
const lockFor = 8 * time.Hour

func placeParams(why string) []bot.Param {
	return []bot.Param{
		{Name: paramApp, Summary: "the app; * is the whole environment", Required: true},
		envParam(true),
		{Name: "reason", Summary: why, Rest: true},
	}
}

const lockWhy = "how long, and why: until 18:00 looking at a leak; without a time it lasts 8 hours"

func lockCommand() command {
	spec := bot.Spec{Name: "gimlet lock", Summary: "keep everybody else from releasing there", Params: placeParams(lockWhy)}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) { return c.lock(ctx, false) }}
}

func stealCommand() command {
	spec := bot.Spec{Name: "gimlet steal", Summary: "take a lock over from who has it; they are told", Params: placeParams(lockWhy)}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) { return c.lock(ctx, true) }}
}

func (c call) lock(ctx context.Context, take bool) (bot.Reply, error) {
	until, reason, err := parseWhen(c.words["reason"], c.now(), c.zone)
	if err != nil {
		return bot.Reply{}, err
	}
	if until.IsZero() {
		until = c.now().Add(lockFor)
	}
	app, env := everything(c.words[paramApp]), c.words[paramEnv]
	l, err := c.releases.Lock(ctx, releases.LockAsk{App: app, Env: env, Until: until, Reason: reason, Take: take, By: c.actor, At: c.at})
	if releases.KindOf(err) == releases.Conflict && !take {
		return bot.Say(bot.Message{
			Tone: bot.Warning, Title: sentence(err.Error()), Footer: "they are told when it is taken from them",
			Buttons: []bot.Button{{
				Label: "Take it over", Tone: bot.Bad, Args: []string{"/gimlet", "steal", app, env, until.In(c.zone).Format("until 2006-01-02 15:04 ") + reason},
				Confirm: fmt.Sprintf("Take the lock on %s from who has it?", releases.Lock{App: app, Env: env}.Where()),
			}},
		}), nil
	}
	if err != nil {
		return bot.Reply{}, c.swapped(err)
	}
	return c.told(env, bot.Message{Tone: bot.Good, Title: fmt.Sprintf("You have locked %s until %s", l.Where(), releases.Moment(l.Until, c.zone))}), nil
}

// everything lets people say `all` for the whole environment.
func everything(word string) string {
	if strings.EqualFold(word, "all") {
		return releases.AllApps
	}
	return word
}

// The words by which buttons say which lock they mean, and that the person was asked once more.
const (
	lockMark = "lock:"
	sureMark = "sure:"
)

func unlockCommand() command {
	spec := bot.Spec{Name: "gimlet unlock", Summary: "end a lock; somebody else's with a reason", Params: placeParams("why, when it is not yours")}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		ask := releases.LockAsk{App: everything(c.words[paramApp]), Env: c.words[paramEnv], Reason: c.words["reason"], By: c.actor, At: c.at}
		if first, rest, _ := strings.Cut(ask.Reason, " "); strings.HasPrefix(first, lockMark) {
			ask.ID, ask.Reason = strings.TrimPrefix(first, lockMark), rest
		}
		if first, rest, _ := strings.Cut(ask.Reason, " "); first == sureMark {
			ask.Take, ask.Reason = true, rest
		}
		l, err := c.releases.Unlock(ctx, ask)
		if releases.KindOf(err) == releases.Conflict && ask.Reason != "" && !ask.Take && l.ID != "" {
			return bot.Say(bot.Message{
				Tone: bot.Warning, Title: fmt.Sprintf("%s is locked by %s until %s: %s", l.Where(), l.Owner.Name, releases.Moment(l.Until, c.zone), l.Reason),
				Footer: "they are told when it is taken from them",
				Buttons: []bot.Button{{
					Label: "Unlock it", Tone: bot.Bad, Args: []string{"/gimlet", "unlock", ask.App, ask.Env, lockMark + l.ID, sureMark, ask.Reason},
					Confirm: fmt.Sprintf("Unlock %s, which %s has locked?", l.Where(), l.Owner.Name),
				}},
			}), nil
		}
		if err != nil {
			return bot.Reply{}, err
		}
		return c.told(l.Env, bot.Message{Tone: bot.Good, Title: "Unlocked " + l.Where()}), nil
	}}
}

func freezeCommand() command {
	spec := bot.Spec{Name: "gimlet freeze", Summary: "have an environment take no releases until a time; rollbacks pass", Params: []bot.Param{
		{Name: paramEnv, Summary: "the environment; * is all of them", Required: true},
		{Name: "reason", Summary: "until when, and why: until monday 8:00 the migration", Rest: true, Required: true},
	}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		until, reason, err := parseWhen(c.words["reason"], c.now(), c.zone)
		if err != nil {
			return bot.Reply{}, err
		}
		if until.IsZero() {
			return bot.Reply{}, releases.Errorf(releases.Invalid, "until when? A freeze has an end: %s", whenUsage)
		}
		made, err := c.releases.Freeze(ctx, releases.FreezeAsk{Env: everything(c.words[paramEnv]), Until: until, Reason: reason, By: c.actor, At: c.at, Request: c.request})
		if err != nil {
			return bot.Reply{}, err
		}
		return c.told(made[0].Env, bot.Message{Tone: bot.Good, Title: fmt.Sprintf("You have frozen %s until %s", environmentsOf(made), releases.Moment(until, c.zone))}), nil
	}}
}

func environmentsOf(all []releases.Freeze) string {
	var names []string
	for _, f := range all {
		names = append(names, f.Env)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

func unfreezeCommand() command {
	spec := bot.Spec{Name: "gimlet unfreeze", Summary: "end a freeze before its time", Params: []bot.Param{
		{Name: paramEnv, Summary: "the environment; * is all of them", Required: true}, {Name: "freeze", Summary: "which, by its id or name; the only one without", Rest: true},
	}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		ended, err := c.releases.Unfreeze(ctx, releases.FreezeAsk{Env: everything(c.words[paramEnv]), ID: c.words["freeze"], By: c.actor, At: c.at})
		if err != nil {
			return bot.Reply{}, err
		}
		return c.told(ended[0].Env, bot.Message{Tone: bot.Good, Title: "You have ended the freeze of " + environmentsOf(ended)}), nil
	}}
}

func holdCommand() command {
	spec := bot.Spec{Name: "gimlet hold", Summary: "keep policies from releasing there until it is resumed", Params: []bot.Param{
		appParam(true), envParam(true), {Name: "reason", Summary: "why", Rest: true, Required: true},
	}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		app, env := c.words[paramApp], c.words[paramEnv]
		if err := c.releases.Hold(ctx, app, env, c.words["reason"], c.actor, c.at); err != nil {
			return bot.Reply{}, c.swapped(err)
		}
		return c.told(env, bot.Message{Tone: bot.Good, Title: fmt.Sprintf("Automation of %s in %s is held", app, env)}), nil
	}}
}

func resumeCommand() command {
	spec := bot.Spec{Name: "gimlet resume", Summary: "let policies release again after a hold or a rollback", Params: []bot.Param{appParam(true), envParam(true)}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		app, env := c.words[paramApp], c.words[paramEnv]
		if err := c.releases.Resume(ctx, app, env, c.actor, c.at); err != nil {
			return bot.Reply{}, c.swapped(err)
		}
		return c.told(env, bot.Message{Tone: bot.Good, Title: fmt.Sprintf("Automation of %s in %s goes on", app, env)}), nil
	}}
}

func markParams(required bool) []bot.Param {
	return []bot.Param{
		appParam(true),
		{Name: paramVersion, Summary: "a commit, tag or artifact id", Required: true},
		{Name: "reason", Summary: "why", Rest: true, Required: required},
	}
}

func badCommand() command {
	spec := bot.Spec{Name: "gimlet bad", Summary: "mark a version as one that is not to be released", Params: markParams(true)}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		shipped, err := c.anywhere(ctx)
		if err != nil {
			return bot.Reply{}, err
		}
		m, err := c.releases.MarkBad(ctx, releases.MarkAsk{ArtifactID: shipped.ID, Reason: c.words["reason"], By: c.actor, At: c.at})
		if err != nil {
			return bot.Reply{}, err
		}
		return c.told(m.Targets[0].Env, bot.Message{Tone: bot.Good, Title: fmt.Sprintf("%s %s is marked as bad", m.Version.RepositoryName, m.Version.Short())}), nil
	}}
}

func goodCommand() command {
	spec := bot.Spec{Name: "gimlet good", Summary: "take the mark of a bad version away", Params: markParams(false)}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		shipped, err := c.anywhere(ctx)
		if err != nil {
			return bot.Reply{}, err
		}
		m, err := c.releases.ClearMark(ctx, releases.MarkAsk{ArtifactID: shipped.ID, Reason: c.words["reason"], By: c.actor, At: c.at})
		if err != nil {
			return bot.Reply{}, err
		}
		return c.told(m.Targets[0].Env, bot.Message{Tone: bot.Good, Title: fmt.Sprintf("%s %s may be released again", m.Version.RepositoryName, m.Version.Short())}), nil
	}}
}

// anywhere finds the version of an app, whatever environment it is for.
func (c call) anywhere(ctx context.Context) (*releases.Shipped, error) {
	envs, err := c.environmentsOf(ctx, c.words[paramApp])
	if err != nil {
		return nil, err
	}
	for _, env := range envs {
		shipped, resolved := c.releases.Resolve(ctx, c.words[paramApp], env, c.words[paramVersion])
		if resolved == nil {
			return shipped, nil
		}
		if releases.KindOf(resolved) != releases.NotFound {
			return nil, resolved
		}
		err = resolved
	}
	return nil, err
}

func breakGlassCommand() command {
	spec := bot.Spec{Name: "gimlet break-glass", Summary: "with a second person: let a release pass what keeps it back", Params: []bot.Param{releaseParam(), reasonParam()}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		digest, reason := releases.CutPlanWord(c.words["reason"])
		r, err := c.releases.BreakGlass(ctx, releases.GlassAsk{ReleaseID: c.words["release"], Digest: digest, Reason: reason, By: c.actor, At: c.at, Request: c.request})
		if err != nil {
			return bot.Reply{}, err
		}
		title := fmt.Sprintf("You want to break the glass for %s; a second person has to agree", r.ID)
		if r.Glass.Second != nil {
			title = fmt.Sprintf("The glass is broken for %s: it goes out, and is to be reviewed on the next working day", r.ID)
		}
		return c.told(r.Env, bot.Message{Tone: bot.Warning, Title: title}), nil
	}}
}

func signOffCommand() command {
	spec := bot.Spec{Name: "gimlet sign-off", Summary: "end the review of a release that went out by breaking the glass", Params: []bot.Param{releaseParam(), {Name: "remark", Summary: "what you found", Rest: true}}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		v, err := c.releases.SignOff(ctx, c.words["release"], c.words["remark"], c.actor, c.at)
		if err != nil {
			return bot.Reply{}, err
		}
		return c.told(v.Env, bot.Message{Tone: bot.Good, Title: "You have signed off " + v.ReleaseID}), nil
	}}
}

func delegateCommand() command {
	spec := bot.Spec{Name: "gimlet delegate", Summary: "let somebody approve on your behalf while you are away", Params: []bot.Param{
		{Name: "person", Summary: "their e-mail address, or account: slack:U…", Required: true},
		{Name: "reason", Summary: "until when, and why: until monday 8:00 on holiday", Rest: true, Required: true},
	}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		until, reason, err := parseWhen(c.words["reason"], c.now(), c.zone)
		if err != nil {
			return bot.Reply{}, err
		}
		if until.IsZero() {
			return bot.Reply{}, releases.Errorf(releases.Invalid, "until when? %s", whenUsage)
		}
		to, err := c.access.Find(ctx, c.words["person"])
		if err != nil {
			return bot.Reply{}, err
		}
		if err := c.releases.Delegate(ctx, releases.Delegation{From: c.actor, To: to, Until: until, Reason: reason}); err != nil {
			return bot.Reply{}, err
		}
		return bot.Say(bot.Message{
			Tone: bot.Good, Title: fmt.Sprintf("%s may approve on your behalf until %s", to.Name, releases.Moment(until, c.zone)),
			Body: "Your vote and theirs count once.", Buttons: []bot.Button{{Label: "Take it back", Args: []string{"/gimlet", "undelegate"}}},
		}), nil
	}}
}

func undelegateCommand() command {
	spec := bot.Spec{Name: "gimlet undelegate", Summary: "take back what you have delegated"}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		if err := c.releases.EndDelegation(ctx, c.actor); err != nil {
			return bot.Reply{}, err
		}
		return bot.Say(bot.Message{Tone: bot.Good, Title: "Nobody approves on your behalf any more"}), nil
	}}
}
