package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"gimletd/bot"
	"gimletd/commands"
	"gimletd/releases"
	"gimletd/releases/api"
	"gimletd/storage/bolt"

	"golang.org/x/sync/errgroup"
)

// edges are the HTTP listeners.
type edges struct {
	api, admin net.Listener
	servers    []*http.Server
	fresh      fresh
}

// fresh are the connections that were taken and have said nothing yet. A server that shuts down drops what they say.
type fresh struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
}

// note is for http.Server.ConnState.
func (f *fresh) note(c net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if state == http.StateNew {
		f.conns[c] = true
		return
	}
	delete(f.conns, c)
}

// settle waits a moment until all have said what they came for.
func (f *fresh) settle() {
	const patience, step = time.Second, 5 * time.Millisecond
	for waited := time.Duration(0); waited < patience; waited += step {
		f.mu.Lock()
		n := len(f.conns)
		f.mu.Unlock()
		if n == 0 {
			return
		}
		time.Sleep(step)
	}
}

func (p *process) listen(ctx context.Context, service *releases.Service, members commands.Members, db *bolt.DB, loops *releases.Loops, metrics *api.Metrics, chats []chat) (*edges, error) {
	server := api.New(service, api.Config{
		AdminToken: p.config.Server.AdminToken, MaxBody: p.config.Ingest.MaxBody, Identify: caller(members), Person: func(email string) bool {
			return slices.ContainsFunc(p.config.People, func(c PersonConfig) bool { return strings.EqualFold(c.Email, email) })
		}, Environments: p.config.told(), Issuers: p.config.issuers(), Changed: p.config.changed, Webhooks: api.WebhookConfig{GitHub: p.config.Webhooks.GitHub.Secret, GitLab: p.config.Webhooks.GitLab.SecretToken, GitLabSigning: p.config.Webhooks.GitLab.SigningToken},
	}, metrics, p.log)
	admin := api.Admin{Loops: loops, Metrics: metrics, Now: time.Now, Store: func(r *http.Request) error {
		return db.View(r.Context(), func(releases.Tx) error { return nil })
	}}
	e := &edges{fresh: fresh{conns: map[net.Conn]bool{}}}
	var err error
	p.sockets.drop("api "+p.config.Server.Listen, "admin "+p.config.Server.AdminListen)
	if e.api, err = p.sockets.listen(ctx, "api "+p.config.Server.Listen); err != nil {
		return nil, fmt.Errorf("server.listen: %w", err)
	}
	if e.admin, err = p.sockets.listen(ctx, "admin "+p.config.Server.AdminListen); err != nil {
		return nil, errors.Join(fmt.Errorf("server.adminListen: %w", err), e.api.Close())
	}
	public := http.NewServeMux()
	public.Handle("/", server.Handler())
	for _, c := range chats {
		if c.calls != "" {
			public.Handle(c.calls, c.Handler())
		}
	}
	for _, handler := range []http.Handler{public, admin.Handler()} {
		e.servers = append(e.servers, &http.Server{
			Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute,
			IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug), ConnState: e.fresh.note,
		})
	}
	return e, nil
}

// serve runs the listeners and the conversation until the context or the conversation ends; then it refuses new calls
// and finishes those in hand.
func (e *edges) serve(ctx context.Context, converse func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for i, listener := range []net.Listener{e.api, e.admin} {
		group.Go(func() error {
			if err := e.servers[i].Serve(listener); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
		group.Go(func() error {
			<-ctx.Done()
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), edgesWithin)
			defer cancel()
			if err := listener.Close(); err != nil {
				return err
			}
			e.fresh.settle()
			if err := e.servers[i].Shutdown(ending); err != nil && !errors.Is(err, net.ErrClosed) { // somebody is slower than we can wait
				return errors.Join(err, e.servers[i].Close())
			}
			return nil
		})
	}
	group.Go(func() error {
		defer stop()
		return converse(ctx)
	})
	return group.Wait()
}

// caller says for whom a token of the API speaks.
func caller(members commands.Members) func(context.Context, releases.Token) (releases.Actor, error) {
	return func(ctx context.Context, t releases.Token) (releases.Actor, error) {
		return members.Identify(ctx, bot.User{Platform: "api", ID: t.Account(), Name: t.Name, Email: t.Person})
	}
}
