package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"gimletd/releases"
	"gimletd/releases/api"
	"gimletd/releases/gitops"
	"gimletd/storage/bolt"
)

type auditGroup struct {
	Verify auditVerify `cmd:"" help:"Prove that no record of the audit was changed, removed or moved: by its hashes, and by what the commits in the GitOps repositories anchor of it."`
	Export auditExport `cmd:"" help:"Print the audit, one record of JSON on each line."`
}

type auditVerify struct {
	Config    string    `help:"The configuration file." required:"" type:"existingfile"`
	Store     string    `help:"Look at this copy of the store instead of the configured one." type:"existingfile"`
	File      string    `help:"Look at this export instead of the store." type:"existingfile"`
	Since     time.Time `help:"Look only at commits after this moment (RFC 3339): where the store was begun anew, those before anchor another audit."`
	NoAnchors bool      `help:"Do not ask the GitOps repositories; then a store in which everything was replaced cannot be told from a true one."`
}

type auditExport struct {
	Config string `help:"The configuration file." required:"" type:"existingfile"`
	Store  string `help:"Read this copy of the store instead of the configured one." type:"existingfile"`
}

// source is where the audit is read from. Without a head it is known only when all lines were read.
type source struct {
	lines iter.Seq2[[]byte, error]
	head  *releases.Anchor
	close func() error
}

// Run verifies.
func (c auditVerify) Run(ctx context.Context, std streams) error {
	config, err := LoadConfig(c.Config)
	if err != nil {
		return err
	}
	var anchors []releases.Anchor
	if !c.NoAnchors {
		if anchors, err = readAnchors(ctx, config, std); err != nil {
			return fmt.Errorf("what the commits anchor cannot be read (--no-anchors leaves that out): %w", err)
		}
	}
	anchors = slices.DeleteFunc(anchors, func(a releases.Anchor) bool { return a.At.Before(c.Since) })
	// The anchors first: what is written after they were read is newer than them.
	from, err := openAudit(ctx, config, c.Store, c.File)
	if err != nil {
		return err
	}
	defer func() { _ = from.close() }()
	n, err := releases.VerifyAudit(from.lines, from.head, anchors)
	if errors.Is(err, releases.ErrUnread) {
		return err
	}
	if err != nil {
		return fmt.Errorf("the audit is NOT intact: %w", err)
	}
	fmt.Fprintf(std.out, "The audit is intact: %d records, %d of them anchored in commits.\n", n, len(anchors))
	return nil
}

// Run exports.
func (c auditExport) Run(ctx context.Context, std streams) error {
	config, err := LoadConfig(c.Config)
	if err != nil {
		return err
	}
	from, err := openAudit(ctx, config, c.Store, "")
	if err != nil {
		return err
	}
	defer func() { _ = from.close() }()
	out := bufio.NewWriter(std.out)
	for line, err := range from.lines {
		if err != nil {
			return err
		}
		if _, err := out.Write(append(bytes.Clone(line), '\n')); err != nil {
			return err
		}
	}
	return out.Flush()
}

// openAudit finds the audit: in a file, in the store, or, while a server has the store open, by the server's API.
func openAudit(ctx context.Context, c Config, store, file string) (source, error) {
	if file != "" {
		return exported(file)
	}
	if store == "" {
		store = c.Storage.Bolt.Path
	}
	db, err := bolt.OpenReadOnly(store)
	if errors.Is(err, bolt.ErrHeld) && store == c.Storage.Bolt.Path {
		return served(ctx, c)
	}
	if err != nil {
		return source{}, err
	}
	head, lines, err := db.Audit()
	if err != nil {
		return source{}, errors.Join(err, db.Close())
	}
	return source{lines: lines, head: &releases.Anchor{Seq: head.Seq, Hash: head.Hash}, close: db.Close}, nil
}

// maxLine bounds a record of an export, in bytes.
const maxLine = 1 << 20

func exported(name string) (source, error) {
	f, err := os.Open(name) //nolint:gosec // the operator's own path
	if err != nil {
		return source{}, err
	}
	lines := func(yield func([]byte, error) bool) {
		scanner := bufio.NewScanner(f)
		scanner.Buffer(nil, maxLine)
		for scanner.Scan() {
			if !yield(scanner.Bytes(), nil) {
				return
			}
		}
		if err := scanner.Err(); err != nil {
			yield(nil, err)
		}
	}
	return source{lines: lines, close: f.Close}, nil
}

// served reads from the running server.
func served(ctx context.Context, c Config) (source, error) {
	if c.Server.AdminToken == "" {
		return source{}, errors.New("a server has the store open, and the configuration has no server.adminToken by which it could be asked; stop it, or name a copy of the store with --store")
	}
	_, head, err := auditPage(ctx, c, 0, 1)
	if err != nil {
		return source{}, err
	}
	lines := func(yield func([]byte, error) bool) {
		for after := uint64(0); after < head.Seq; {
			page, _, err := auditPage(ctx, c, after, int(min(head.Seq-after, 1000)))
			if err != nil {
				yield(nil, err)
				return
			}
			if len(page) == 0 {
				return // it ends before its head: VerifyAudit says so
			}
			for _, line := range page {
				if !yield(line, nil) {
					return
				}
			}
			after += uint64(len(page))
		}
	}
	return source{lines: lines, head: &head, close: func() error { return nil }}, nil
}

func auditPage(ctx context.Context, c Config, after uint64, limit int) (page [][]byte, head releases.Anchor, err error) {
	query := url.Values{"after": {strconv.FormatUint(after, 10)}, "limit": {strconv.Itoa(limit)}}
	res, err := callServer(ctx, c, http.MethodGet, "/api/audit?"+query.Encode(), nil)
	if err != nil {
		return nil, head, err
	}
	defer func() { _ = res.Body.Close() }()
	head, _ = releases.ParseAnchor(res.Header.Get(api.HeadHeader), "")
	scanner := bufio.NewScanner(res.Body)
	scanner.Buffer(nil, maxLine)
	for scanner.Scan() {
		page = append(page, bytes.Clone(scanner.Bytes()))
	}
	return page, head, scanner.Err()
}

// callServer calls the API of the server that runs with the configuration, with its admin token.
func callServer(ctx context.Context, c Config, method, path string, body io.Reader) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, serverWithin)
	req, err := http.NewRequestWithContext(ctx, method, "http://"+reachable(c.Server.Listen)+path, body)
	if err != nil {
		cancel()
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.Server.AdminToken.Reveal())
	client := http.Client{ // the token goes to that server and to nobody else: by no proxy, and to nowhere that it is sent on to
		Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		cancel()
		return nil, err
	}
	res.Body = closing{res.Body, cancel}
	if res.StatusCode >= http.StatusMultipleChoices {
		defer func() { _ = res.Body.Close() }()
		said, err := io.ReadAll(io.LimitReader(res.Body, maxLine))
		return nil, errors.Join(err, fmt.Errorf("the server at %s answered %s: %s", c.Server.Listen, res.Status, bytes.TrimSpace(said)))
	}
	return res, nil
}

// reachable is an address at which the process that listens on one can be called from its own machine.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || (ip != nil && ip.IsUnspecified())) {
		return net.JoinHostPort("localhost", port)
	}
	return listen
}

const serverWithin = time.Minute

// closing ends a call's context with its body.
type closing struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close closes the body.
func (c closing) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// readAnchors asks every GitOps repository. The server's own copies stay untouched: they may be in use.
func readAnchors(ctx context.Context, c Config, std streams) (all []releases.Anchor, err error) {
	log, err := newLog(LogConfig{Level: "warn", Format: "text"}, std.err)
	if err != nil {
		return nil, err
	}
	for _, name := range sortedNames(c.GitOps) {
		cache, err := os.MkdirTemp("", "gimletd-audit-")
		if err != nil {
			return nil, err
		}
		g := c.GitOps[name]
		g.Cache = cache
		found, err := anchorsOf(ctx, name, g, log)
		if err := errors.Join(err, os.RemoveAll(cache)); err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func anchorsOf(ctx context.Context, name string, g gitops.Config, log *slog.Logger) (found []releases.Anchor, err error) {
	r, err := gitops.New(name, g, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return r.Anchors(ctx)
}
