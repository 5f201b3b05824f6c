package commands

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"gimletd/bot"
	"gimletd/releases"
)

// Releases is what commands ask of the service.
type Releases interface {
	actions
	queries
}

type actions interface {
	Propose(ctx context.Context, ask releases.Ask) ([]releases.Release, error)
	Rollback(ctx context.Context, ask releases.RollbackAsk) (releases.Release, error)
	Remove(ctx context.Context, ask releases.RemoveAsk) (releases.Release, error)
	Vote(ctx context.Context, b releases.Ballot) (releases.Release, error)
	Cancel(ctx context.Context, id, reason string, by releases.Actor, at time.Time) (releases.Release, error)
	controls
}

// controls is what keeps releases back, and lets them pass.
type controls interface {
	Hold(ctx context.Context, app, env, reason string, by releases.Actor, at time.Time) error
	Resume(ctx context.Context, app, env string, by releases.Actor, at time.Time) error
	Lock(ctx context.Context, ask releases.LockAsk) (releases.Lock, error)
	Unlock(ctx context.Context, ask releases.LockAsk) (releases.Lock, error)
	Freeze(ctx context.Context, ask releases.FreezeAsk) ([]releases.Freeze, error)
	Unfreeze(ctx context.Context, ask releases.FreezeAsk) ([]releases.Freeze, error)
	MarkBad(ctx context.Context, ask releases.MarkAsk) (releases.Mark, error)
	ClearMark(ctx context.Context, ask releases.MarkAsk) (releases.Mark, error)
	Delegate(ctx context.Context, d releases.Delegation) error
	EndDelegation(ctx context.Context, by releases.Actor) error
	BreakGlass(ctx context.Context, ask releases.GlassAsk) (releases.Release, error)
	SignOff(ctx context.Context, releaseID, remark string, by releases.Actor, at time.Time) (releases.Review, error)
}

type queries interface {
	Environments() []releases.Environment
	Apps(ctx context.Context) ([]string, error)
	Resolve(ctx context.Context, app, env, word string) (*releases.Shipped, error)
	Artifacts(ctx context.Context, q releases.ArtifactQuery) ([]*releases.Shipped, error)
	Release(ctx context.Context, id string) (releases.Release, error)
	Past(ctx context.Context, app, env string, limit int) ([]releases.Release, error)
	ReviewRollback(ctx context.Context, ask releases.RollbackAsk) (releases.Release, releases.Preview, error)
	Review(ctx context.Context, releaseID string) (releases.Release, releases.Preview, error)
	Releases(ctx context.Context, q releases.ReleaseQuery) ([]releases.Release, error)
	Status(ctx context.Context, env, app string) ([]releases.State, error)
	Preview(ctx context.Context, app, env, artifactID string) (releases.Preview, error)
	Why(ctx context.Context, app, env string) (releases.Explanation, error)
	Outlooks(ctx context.Context, name string, past int) ([]releases.Outlook, error)
	Policies() []string
	Fights() []string
	Locks(ctx context.Context) ([]releases.Lock, error)
	Freezes(ctx context.Context, env string) (on []releases.Freeze, next *releases.Freeze, err error)
	Marks(ctx context.Context) ([]releases.Mark, error)
	Delegations(ctx context.Context) ([]releases.Delegation, error)
	Reviews(ctx context.Context) ([]releases.Review, error)
	Audit(ctx context.Context, q releases.AuditQuery) ([]releases.Record, error)
}

// Router is a bot.Handler: it finds the command, identifies who asks, parses, and runs it.
type Router struct {
	releases Releases
	access   Access
	zone     *time.Location // of the times that people type and read
	now      func() time.Time
	log      *slog.Logger
	commands []command
}

// command is a Spec and what it does.
type command struct {
	bot.Spec
	run func(context.Context, call) (bot.Reply, error)
}

// call is a command with all that it needs.
type call struct {
	*Router
	words
	actor   releases.Actor
	user    bot.User
	channel bot.Channel
	request string // the request's id
	of      string // the release that a rollback is to take back
	at      time.Time
}

// NewRouter makes a Router with all commands.
func NewRouter(r Releases, access Access, zone *time.Location, now func() time.Time, log *slog.Logger) *Router {
	return &Router{releases: r, access: access, zone: zone, now: now, log: log.With("component", "commands"), commands: []command{
		releaseCommand(), rollbackCommand(), statusCommand(), historyCommand(), artifactsCommand(), diffCommand(), diffRollbackCommand(), whyCommand(), policiesCommand(),
		approveCommand(), rejectCommand(), cancelCommand(), retryCommand(),
		lockCommand(), unlockCommand(), stealCommand(), freezeCommand(), unfreezeCommand(), holdCommand(), resumeCommand(), badCommand(), goodCommand(),
		controlsCommand(), breakGlassCommand(), signOffCommand(), delegateCommand(), undelegateCommand(), auditCommand(), whoamiCommand(), homeCommand(), helpCommand(),
	}}
}

// Specs returns what the commands look like.
func (r *Router) Specs() []bot.Spec {
	var specs []bot.Spec
	for _, c := range r.commands {
		specs = append(specs, c.Spec)
	}
	return specs
}

// Handle answers a request.
func (r *Router) Handle(ctx context.Context, req bot.Request) bot.Reply {
	name, args := normalize(req.Args)
	i := slices.IndexFunc(r.commands, func(c command) bool { return c.Name == name })
	if i < 0 {
		return r.unknown(name)
	}
	reply, err := r.run(ctx, r.commands[i], args, req)
	if err != nil {
		r.log.Info("a command was answered with an error", "command", name, "user", req.User.Name, "err", releases.Redact(err.Error()))
		return explain(r.commands[i].Spec, args, err)
	}
	return reply
}

func (r *Router) run(ctx context.Context, c command, args []string, req bot.Request) (bot.Reply, error) {
	actor, err := r.access.Identify(ctx, req.User)
	if err != nil {
		return bot.Reply{}, err
	}
	words, err := parse(c.Spec, args)
	if err != nil {
		return bot.Reply{}, err
	}
	return c.run(ctx, call{Router: r, words: words, actor: actor, user: req.User, channel: req.Channel, request: req.ID, at: req.At})
}

func (r *Router) unknown(name string) bot.Reply {
	var text strings.Builder
	text.WriteString("There is no command " + name + ".")
	for _, c := range r.commands {
		if short := strings.TrimPrefix(c.Name, group+" "); short == name || "/"+short == name {
			fmt.Fprintf(&text, " Did you mean /%s?", c.Name)
		}
	}
	return bot.Say(bot.Message{Title: text.String(), Tone: bot.Warning, Footer: "/gimlet help lists the commands"})
}

func (r *Router) environmentNames() []string {
	var names []string
	for _, e := range r.releases.Environments() {
		names = append(names, e.Name)
	}
	return names
}

// The names of parameters that several commands have.
const (
	paramApp     = "app"
	paramEnv     = "env"
	paramVersion = "version"
)

func appParam(required bool) bot.Param {
	return bot.Param{Name: paramApp, Summary: "the app", Required: required}
}

func envParam(required bool) bot.Param {
	return bot.Param{Name: paramEnv, Summary: "the environment", Required: required}
}
