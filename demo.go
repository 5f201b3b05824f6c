package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gimletd/bot/console"
	"gimletd/commands/demo"
	"gimletd/releases"
	"gimletd/releases/gitops"
	"gimletd/releases/manifest"
)

type demoCommand struct {
	Dir  string `help:"Where to keep everything. A temporary folder without, which goes when the demo ends." type:"path"`
	User string `help:"Who sits at the console. The operating system's user without."`
}

// Run shows everything working, in one folder and one process.
func (c demoCommand) Run(ctx context.Context, std streams) (err error) {
	dir := c.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "gimletd-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	d := demonstration{dir: dir, console: consoleConfig(std, c.User), shipped: make(chan error, 1)}
	return d.run(ctx)
}

// demonstration is a running demo.
type demonstration struct {
	dir     string
	console console.Config
	charts  string // URL of the chart repository
	token   string
	fresh   bool       // nothing was here before
	shipped chan error // what became of the CI's artifacts
}

func (d *demonstration) repository() string { return filepath.Join(d.dir, "gitops.git") }

func (d *demonstration) run(ctx context.Context) error {
	d.token = rand.Text()
	if err := d.makeRepository(); err != nil {
		return err
	}
	closeCharts, err := d.serveCharts(ctx)
	if err != nil {
		return err
	}
	defer closeCharts()
	logFile, err := os.OpenFile(filepath.Join(d.dir, "gimletd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = logFile.Close() }()
	config := d.config()
	log, err := newLog(config.Log, logFile)
	if err != nil {
		return err
	}
	p := process{config: config, log: log, console: d.console}
	p.prepared = func(ctx context.Context, api, _ string) error { return d.greet(ctx, api) }
	p.settling = append(p.settling, d.awaitCI)
	return p.run(ctx)
}

func (d *demonstration) makeRepository() error {
	if err := os.MkdirAll(d.dir, 0o750); err != nil {
		return err
	}
	if _, err := os.Stat(d.repository()); err == nil {
		return nil
	}
	d.fresh = true
	return gitops.InitBare(d.repository(), "main")
}

// serveCharts starts the chart repository. A demo that is opened again finds it at the same address, which the
// artifacts of the last time name.
func (d *demonstration) serveCharts(ctx context.Context) (stop func(), err error) {
	handler, err := demo.ChartRepository()
	if err != nil {
		return nil, err
	}
	remembered := filepath.Join(d.dir, "charts.address")
	address, err := os.ReadFile(remembered) //nolint:gosec // a file of the demo's own
	if err != nil {
		address = []byte("127.0.0.1:0")
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", strings.TrimSpace(string(address)))
	if err != nil {
		return nil, fmt.Errorf("the demo's chart repository: %w", err)
	}
	d.charts = "http://" + listener.Addr().String()
	if err := os.WriteFile(remembered, []byte(listener.Addr().String()+"\n"), 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }()
	return func() { _ = server.Close() }, nil
}

func (d *demonstration) config() Config {
	c := defaults()
	c.Server = ServerConfig{Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", AdminToken: releases.Secret(d.token)}
	c.Storage.Bolt.Path = filepath.Join(d.dir, "gimletd.db")
	c.GitOps = map[string]gitops.Config{"demo": {
		URL: d.repository(), Committer: gitops.CommitterConfig{Name: "GimletD", Email: "gimletd@acme.example"},
	}}
	c.Charts = []manifest.Source{{URL: d.charts}}
	c.Environments = []EnvironmentConfig{
		{Name: "staging", Channels: []string{"console"}},
		{Name: "production", Channels: []string{"console"}},
	}
	c.Log.Format = "text"
	c.fill()
	return c
}

// greet says what there is to see, and lets the CI run.
func (d *demonstration) greet(ctx context.Context, api string) error {
	text := `GimletD, the release manager that lives in chat. This is a demo: everything is real and runs here.

  The GitOps repository   git -C %s log --stat
  The API                 http://%s (its log: %s)

A CI ships a few artifacts now. Policies in them release the main branch to staging, and tags to production. Then it is
your turn:

  /release frontend production            the newest version
  /gimlet status                          what is live where
  /gimlet diff backend production         what a release would change
  /rollback frontend production           back to the release before
  /gimlet why frontend staging            why something was released, or was not
  /gimlet help                            all commands;  a number presses a button;  /quit ends

`
	if _, err := fmt.Fprintf(d.console.Out, text, d.repository(), api, filepath.Join(d.dir, "gimletd.log")); err != nil {
		return err
	}
	if !d.fresh {
		d.shipped <- nil
		return nil
	}
	go func() {
		err := demo.CI{API: api, Token: d.token, Charts: d.charts}.Run(ctx)
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(d.console.Out, "the demo's CI failed:", err)
		}
		d.shipped <- err
	}()
	return nil
}

// awaitCI waits until the CI has shipped everything.
func (d *demonstration) awaitCI(ctx context.Context) error {
	select {
	case err := <-d.shipped:
		d.shipped <- err
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
