package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"gimletd/bot"
	"gimletd/bot/console"
	"gimletd/commands"
	"gimletd/notify"
	"gimletd/releases"
	"gimletd/releases/api"
	"gimletd/releases/gitops"
	"gimletd/storage/bolt"

	"golang.org/x/sync/errgroup"
)

// process is a running GimletD: what it is made of and the order in which it starts and stops.
type process struct {
	config  Config
	log     *slog.Logger
	console console.Config // without In it only prints
	// prepared runs when everything listens, before the console reads; the addresses are those of the API and of the
	// admin listener.
	prepared func(ctx context.Context, api, admin string) error
	settling []func(context.Context) error // what a piped console waits for, beside the releases

	file     string            // the configuration's, which is watched; "" for none
	print    [sha256.Size]byte // of what stood in it last
	errOut   io.Writer         // where the log goes
	sockets  *sockets          // nil: each round has its own
	hangups  chan os.Signal
	ready    bool     // this round got as far as serving
	reloaded *Config  // the round has ended in favour of this one
	fellBack bool     // the newest did not work, and this is the one before
	how      string   // it came: by the file, by SIGHUP
	secrets  []string // keys of secrets that it changes
	refused  error    // what is wrong with the newest configuration
}

// How long a shutdown may take: first the edges, then the work in hand.
const (
	edgesWithin = 10 * time.Second
	chatWithin  = 30 * time.Second // one call
	workWithin  = 40 * time.Second
)

// run starts everything, serves until the context ends or the console's input does, and stops in order.
func (p *process) run(ctx context.Context) (err error) {
	p.ready = false
	db, err := bolt.Open(p.config.Storage.Bolt, time.Now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := bolt.ClearScratch(p.config.Storage.Bolt.Path); err != nil {
		return err
	}

	repositories, closeAll, err := p.openRepositories()
	defer closeAll()
	if err != nil {
		return err
	}
	renderer, err := p.newRenderer()
	if err != nil {
		return err
	}
	defer renderer.Close()

	loops := releases.NewLoops()
	environments, err := p.config.environments()
	if err != nil {
		return err
	}
	policies, err := p.config.scheduledPolicies()
	if err != nil {
		return err
	}
	for _, fight := range releases.Fights(policies) {
		p.log.Warn("policies work against each other", "what", fight)
	}
	var service *releases.Service
	members := commands.Members{
		People: p.config.people(), Roles: p.config.roles(), Directories: map[string]bot.Directory{},
		Token: func(ctx context.Context, account string) (bool, error) {
			if name, ok := releases.IssuerOf(account); ok { // it was verified as it came, and is not kept
				return slices.ContainsFunc(p.config.Server.OIDC, func(o OIDCConfig) bool { return o.Name == name }), nil
			}
			return service.TokenLives(ctx, account)
		},
		Delegations: func(ctx context.Context) ([]releases.Delegation, error) { return service.Delegations(ctx) },
	}
	service = releases.NewService(releases.Parts{
		Store: db, Renderer: renderer, Repositories: repositories, Environments: environments, Policies: policies, Access: members, Zone: p.config.zone(),
		Secrets: releases.SecretFilter{Names: p.config.Ingest.DropVariables}, Now: time.Now, Log: p.log, Loops: loops,
		Scratch: func() (releases.Store, func() error, error) { return bolt.Scratch(p.config.Storage.Bolt.Path) },
	})
	router := commands.NewRouter(service, members, p.config.zone(), time.Now, p.log)
	inbox := commands.NewInbox(db, router, time.Now, p.log)
	platforms := map[string]notify.Platform{}
	chats := p.newChats(loops)
	for _, c := range chats {
		c.Connect(inbox, router, router)
		inbox.AnswerBy(c.platform, c)
		members.Directories[c.platform] = c
		platforms[c.platform] = notify.Platform{Sender: c, EditEvery: c.editEvery}
	}
	p.console.Settle = func(ctx context.Context) error { return p.settle(ctx, service, db) }
	p.console.Completer = router
	terminal := console.New(p.console)
	platforms["console"] = notify.Platform{Sender: terminal}
	dispatcher := &notify.Dispatcher{
		Queue: db, Ledger: db, Platforms: platforms, Environments: environments,
		Approvers: members, Diffs: service, Runs: service, Zone: p.config.zone(), Loops: loops, Now: time.Now, Log: p.log.With("component", "notify"),
	}
	dispatcher.Fallback, dispatcher.Owner = p.config.fallback()
	metrics := api.NewMetrics(loops, func() map[releases.Status]int { //nolint:contextcheck // a scrape has none
		counts, _ := service.Open(context.Background())
		return counts
	}, db.Pending)
	edges, err := p.listen(ctx, service, members, db, loops, metrics, chats)
	if err != nil {
		return err
	}
	if err := p.configured(ctx, service); err != nil {
		return err
	}

	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	workers, work := errgroup.WithContext(work)
	workers.Go(func() error { return service.Run(work) })
	if len(chats) > 0 {
		workers.Go(func() error { return p.watchRoles(work, members, loops) })
	}
	news, stopNews := context.WithCancel(context.WithoutCancel(ctx))
	defer stopNews()
	told := make(chan error, 1)
	go func() { told <- dispatcher.Run(news) }()

	if err := inbox.Start(ctx); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p.ready = true
	if p.file != "" {
		workers.Go(func() error { return p.watchConfig(work, service, loops, stop) })
	}
	context.AfterFunc(work, stop) // a worker that fails ends the process
	err = edges.serve(ctx, func(ctx context.Context) error {
		ctx, end := context.WithCancel(ctx)
		all, ctx := errgroup.WithContext(ctx)
		for _, c := range chats {
			all.Go(func() error { return c.Run(ctx) })
		}
		all.Go(func() error {
			defer end()
			return p.converse(ctx, edges, terminal, router)
		})
		return all.Wait()
	})
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), edgesWithin)
	defer cancel()
	inbox.Stop(ending)
	stopWork()
	err = errors.Join(err, within(workWithin, workers.Wait))
	tellTheLast(db)
	stopNews()
	return errors.Join(err, within(edgesWithin, func() error { return <-told }))
}

// converse runs what happens once everything listens. It returns when the process is to stop.
func (p *process) converse(ctx context.Context, e *edges, terminal *console.Console, router bot.Handler) error {
	if p.prepared != nil {
		if err := p.prepared(ctx, e.api.Addr().String(), e.admin.Addr().String()); err != nil {
			return err
		}
	}
	p.log.Info("ready", "api", e.api.Addr().String(), "admin", e.admin.Addr().String())
	if p.console.In == nil {
		<-ctx.Done()
		return nil
	}
	err := terminal.Run(ctx, router)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // being told to stop is no failure
	}
	return err
}

func (p *process) openRepositories() (map[string]releases.Repository, func(), error) {
	repositories := map[string]releases.Repository{}
	var opened []*gitops.Repository
	closeAll := func() {
		for _, r := range opened {
			if err := r.Close(); err != nil {
				p.log.Warn("a clone was not closed cleanly; it will be made anew", "err", err)
			}
		}
	}
	for name, c := range p.config.GitOps {
		r, err := gitops.New(name, c, p.log)
		if err != nil {
			return nil, closeAll, err
		}
		opened = append(opened, r)
		repositories[name] = r
	}
	return repositories, closeAll, nil
}

// settle waits until nothing is on its way and everything was told. What waits for people waits for the next line, too; a
// release that waits for something outside would keep it for ever, so it gives up after a while.
func (p *process) settle(ctx context.Context, service *releases.Service, db *bolt.DB) error {
	for _, wait := range p.settling {
		if err := wait(ctx); err != nil {
			return err
		}
	}
	const patience, step = 20 * time.Second, 5 * time.Millisecond
	for waited := time.Duration(0); waited < patience; waited += step {
		open, err := service.Open(ctx)
		delete(open, releases.Waiting)
		if err != nil || (len(open) == 0 && db.Pending() == 0) {
			return err
		}
		select {
		case <-time.After(step):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// tellTheLast gives the notifier a moment for what the last pushes have brought.
func tellTheLast(db *bolt.DB) {
	for range 100 {
		if db.Pending() == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// errLingers says that a part of the process did not end: another round must not begin beside it.
var errLingers = errors.New("the work in hand did not end in time; it is taken up again at the next start")

func within(limit time.Duration, wait func() error) error {
	done := make(chan error, 1)
	go func() { done <- wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		return errLingers
	}
}

// newLog makes the process's log.
func newLog(c LogConfig, out io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(out, options)), nil
	}
	return slog.New(slog.NewJSONHandler(out, options)), nil
}
