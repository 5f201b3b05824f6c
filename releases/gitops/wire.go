package gitops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"

	"gimletd/releases"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// wire is the backend for remotes over ssh and http(s): go-git's transports, and a bare clone on disk.
type wire struct {
	client   transport.Transport
	endpoint *transport.Endpoint
	auth     transport.AuthMethod
	branch   string
	log      *slog.Logger
	// oneTrip: a push may go out without asking for the refs first; the server's compare-and-swap decides.
	oneTrip bool
	clone   *clone

	mu      sync.Mutex // guards oneTrip and what follows, up to wholeNext
	pending []item     // pushed by us and not yet in the clone on disk
	byHash  map[plumbing.Hash]item
	size    int
	commits int
	// wholeNext: the remote could not resolve a thin pack; the next one goes without deltas.
	wholeNext bool
	refresher sync.Mutex // one exchange that writes into the clone at a time
	flushing  sync.Mutex // one writer of what is pending at a time
}

// Limits of what is kept in memory before it is written into the clone as one pack.
const (
	maxPendingCommits = 100
	maxPendingBytes   = 32 << 20
)

func (w *wire) ref() plumbing.ReferenceName { return plumbing.NewBranchReferenceName(w.branch) }

// at is the endpoint for one session, which rewrites it when it is redirected.
func (w *wire) at() *transport.Endpoint {
	endpoint := *w.endpoint
	return &endpoint
}

// connect opens a session within the context. go-git's ssh takes none, and a host that accepts a connection and then says
// nothing would be waited for forever.
func connect[S io.Closer](ctx context.Context, open func() (S, error)) (S, error) {
	return within(ctx, open, func(late S) { _ = late.Close() })
}

// within does something that heeds no context, and leaves it alone when the context ends. late gets what it brings after that.
func within[T any](ctx context.Context, do func() (T, error), late func(T)) (T, error) {
	type outcome struct {
		what T
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		what, err := do()
		done <- outcome{what, err}
	}()
	select {
	case o := <-done:
		return o.what, o.err
	case <-ctx.Done():
		go func() {
			if o := <-done; o.err == nil {
				late(o.what)
			}
		}()
		var none T
		return none, ctx.Err()
	}
}

func (w *wire) object(hash plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	w.mu.Lock()
	o, ok := w.byHash[hash]
	w.mu.Unlock()
	if ok {
		return o.typ, o.raw, nil
	}
	return w.clone.object(hash)
}

func (w *wire) has(hash plumbing.Hash) bool {
	_, _, err := w.object(hash)
	return err == nil
}

func (w *wire) refresh(ctx context.Context) (plumbing.Hash, error) {
	w.refresher.Lock()
	defer w.refresher.Unlock()
	session, err := connect(ctx, func() (transport.UploadPackSession, error) { return w.client.NewUploadPackSession(w.at(), w.auth) })
	if err != nil {
		return plumbing.ZeroHash, explain(err)
	}
	defer func() { _ = session.Close() }()
	refs, err := session.AdvertisedReferencesContext(ctx)
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return plumbing.ZeroHash, nil
	}
	if err != nil {
		return plumbing.ZeroHash, explain(err)
	}
	head, ok := refs.References[w.ref().String()]
	if !ok {
		return plumbing.ZeroHash, releases.Errorf(releases.Unavailable, "the GitOps repository has no branch %q", w.branch)
	}
	if w.has(head) {
		return head, nil
	}
	return head, w.fetch(ctx, session, refs, head)
}

// fetch brings the clone from what it has to the head.
func (w *wire) fetch(ctx context.Context, session transport.UploadPackSession, refs *packp.AdvRefs, head plumbing.Hash) error {
	if err := w.flush(); err != nil {
		w.log.Warn("the clone cannot be written; making it anew", "err", err)
		if err := w.forget(); err != nil {
			return err
		}
	}
	have, err := w.clone.open()
	if err != nil {
		w.log.Warn("the clone cannot be opened; making it anew", "err", err)
	}
	if err == nil && !have.IsZero() && w.clone.packs() < maxPacks {
		pack, _, err := w.download(ctx, session, refs, head, have, 0)
		if err != nil {
			return err
		}
		if err := w.clone.add(pack, head, nil); err != nil {
			return errors.Join(err, w.forget()) // the next refresh makes it anew
		}
		return nil
	}
	w.log.Info("cloning the newest commit of the repository")
	pack, shallow, err := w.download(ctx, session, refs, head, plumbing.ZeroHash, 1)
	if err != nil {
		return err
	}
	return w.clone.replace(pack, head, shallow)
}

// infinite is git's own number for "all the history".
const infinite = 0x7fffffff

// download asks for the head, given what the clone has, and spools the pack to a file.
func (w *wire) download(ctx context.Context, session transport.UploadPackSession, refs *packp.AdvRefs, head, have plumbing.Hash, depth int) (string, []plumbing.Hash, error) {
	req := packp.NewUploadPackRequestFromCapabilities(refs.Capabilities)
	req.Wants = []plumbing.Hash{head}
	if refs.Capabilities.Supports(capability.NoProgress) {
		_ = req.Capabilities.Set(capability.NoProgress)
	}
	shallow := w.clone.shallow()
	if !have.IsZero() {
		req.Haves, req.Shallows = []plumbing.Hash{have}, shallow
	}
	if depth > 0 {
		req.Depth = packp.DepthCommits(depth)
	}
	if depth > 0 || len(req.Shallows) > 0 {
		_ = req.Capabilities.Set(capability.Shallow)
	}
	response, err := session.UploadPack(ctx, req)
	if err != nil {
		return "", nil, explain(err)
	}
	defer func() { _ = response.Close() }()
	file, err := w.clone.spool(demux(req.Capabilities, response))
	if err != nil {
		return "", nil, explain(err)
	}
	return file, response.Shallows, nil
}

func demux(caps *capability.List, r io.Reader) io.Reader {
	switch {
	case caps.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, r)
	case caps.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, r)
	}
	return r
}

// heal makes the clone anew at the next refresh, and refreshes.
func (w *wire) heal(ctx context.Context) error {
	if err := w.forget(); err != nil {
		return err
	}
	_, err := w.refresh(ctx)
	return err
}

func (w *wire) forget() error {
	w.flushing.Lock()
	defer w.flushing.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending, w.byHash, w.size, w.commits = nil, nil, 0, 0
	return w.clone.discard()
}

func (w *wire) cut(commit plumbing.Hash) bool { return w.clone.isShallow(commit) }

// deepen fetches all the history.
func (w *wire) deepen(ctx context.Context) error {
	w.refresher.Lock()
	defer w.refresher.Unlock()
	session, err := connect(ctx, func() (transport.UploadPackSession, error) { return w.client.NewUploadPackSession(w.at(), w.auth) })
	if err != nil {
		return explain(err)
	}
	defer func() { _ = session.Close() }()
	refs, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		return explain(err)
	}
	head, ok := refs.References[w.ref().String()]
	if !ok {
		return releases.Errorf(releases.Unavailable, "the GitOps repository has no branch %q", w.branch)
	}
	pack, _, err := w.download(ctx, session, refs, head, plumbing.ZeroHash, infinite)
	if err != nil {
		return err
	}
	return w.clone.replace(pack, head, nil)
}

func (w *wire) push(ctx context.Context, old, head plumbing.Hash, objects []item, bases map[string]item) error {
	session, err := connect(ctx, func() (transport.ReceivePackSession, error) { return w.client.NewReceivePackSession(w.at(), w.auth) })
	if err != nil {
		return explain(err)
	}
	defer func() { _ = session.Close() }()
	w.mu.Lock()
	ask := !w.oneTrip
	if w.wholeNext {
		bases = nil
	}
	w.mu.Unlock()
	if ask {
		refs, err := session.AdvertisedReferencesContext(ctx)
		if err != nil {
			return explain(err)
		}
		if refs.References[w.ref().String()] != old {
			return errMoved
		}
	}
	data, err := pack(objects, bases)
	if err != nil {
		return err
	}
	if err := w.send(ctx, session, old, head, data); err != nil {
		if _, ok := errors.AsType[*refusedError](err); !ok {
			w.mu.Lock()
			w.oneTrip = false // it may have been redirected, which only the question for the refs tells
			w.mu.Unlock()
		}
		return err
	}
	w.keep(objects)
	return nil
}

func (w *wire) send(ctx context.Context, session transport.ReceivePackSession, old, head plumbing.Hash, data []byte) error {
	req := packp.NewReferenceUpdateRequest()
	for _, c := range []capability.Capability{capability.ReportStatus, capability.Sideband64k} {
		if err := req.Capabilities.Set(c); err != nil {
			return err
		}
	}
	words := &firstWords{}
	req.Progress = words
	req.Commands = []*packp.Command{{Name: w.ref(), Old: old, New: head}}
	req.Packfile = io.NopCloser(bytes.NewReader(data))
	report, err := session.ReceivePack(ctx, req)
	if err == nil && report == nil {
		return errors.New("the remote answered the push with nothing")
	}
	if report == nil || err == nil {
		return explain(err)
	}
	if report.UnpackStatus != "ok" {
		w.mu.Lock()
		w.wholeNext = true // it may have lost the trees that the deltas are against
		w.mu.Unlock()
	}
	said := err.Error()
	if words.Len() > 0 {
		said = words.String() + " (" + said + ")"
	}
	return &refusedError{words: sanitize(said)}
}

// keep remembers what was pushed until it is written into the clone.
func (w *wire) keep(objects []item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wholeNext = false
	if w.byHash == nil {
		w.byHash = map[plumbing.Hash]item{}
	}
	for _, o := range objects {
		w.byHash[o.hash] = o
		w.size += len(o.raw)
		if o.typ == plumbing.CommitObject {
			w.commits++
		}
	}
	w.pending = append(w.pending, objects...)
	if w.commits > maxPendingCommits || w.size > maxPendingBytes {
		go func() {
			if err := w.flush(); err != nil {
				w.log.Warn("the clone cannot be written; it will be fetched anew", "err", errors.Join(err, w.forget()))
			}
		}()
	}
}

// flush writes what is pending into the clone as one pack.
func (w *wire) flush() error {
	w.flushing.Lock()
	defer w.flushing.Unlock()
	w.mu.Lock()
	pending := w.pending
	w.mu.Unlock()
	if len(pending) == 0 {
		return nil
	}
	data, err := pack(pending, nil)
	if err != nil {
		return err
	}
	head := pending[len(pending)-1].hash // a batch ends with its last commit
	file, err := w.clone.spool(bytes.NewReader(data))
	if err != nil {
		return err
	}
	if err := w.clone.add(file, head, nil); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = w.pending[len(pending):]
	w.byHash, w.size, w.commits = map[plumbing.Hash]item{}, 0, 0
	for _, o := range w.pending {
		w.byHash[o.hash] = o
		w.size += len(o.raw)
	}
	return nil
}

func (w *wire) close() error {
	w.refresher.Lock()
	defer w.refresher.Unlock()
	return w.flush()
}

// explain gives the errors of go-git's transports that people can do something about a sentence.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return releases.Wrap(releases.Unavailable, err, "the GitOps repository does not accept our credentials; check gitops auth in the configuration")
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return releases.Wrap(releases.Unavailable, err, "the GitOps repository does not exist, or is not shown to us; check its url and auth")
	case Strange(err):
		return releases.Wrap(releases.Unavailable, err, "the GitOps host's key is not the one in knownHostsFile")
	}
	return err
}

// firstWords keeps the beginning of what a remote's hooks say.
type firstWords struct{ bytes.Buffer }

func (f *firstWords) Write(p []byte) (int, error) {
	const most = 2000
	f.Buffer.Write(p[:min(len(p), max(0, most-f.Len()))])
	return len(p), nil
}

// wholeReports reads answers to pushes to their end: go-git leaves them half-read and unclosed, which would leak a
// connection for each.
type wholeReports struct{ next http.RoundTripper }

const maxReport = 1 << 20

func (t wholeReports) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.next.RoundTrip(req)
	if err != nil || !strings.HasSuffix(req.URL.Path, "/git-receive-pack") {
		return res, err
	}
	report, err := io.ReadAll(io.LimitReader(res.Body, maxReport))
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return nil, fmt.Errorf("read the answer to the push: %w", err)
	}
	res.Body = io.NopCloser(bytes.NewReader(report))
	return res, nil
}

func isNotExist(err error) bool { return errors.Is(err, os.ErrNotExist) }
