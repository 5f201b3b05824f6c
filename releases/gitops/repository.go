package gitops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"gimletd/releases"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sync/singleflight"
)

// backend is where the repository is: behind a wire, or on this machine.
type backend interface {
	reader
	// refresh returns the remote's head and makes it readable; the zero hash is an empty repository.
	refresh(ctx context.Context) (plumbing.Hash, error)
	// push moves the branch from old to new, which the objects make up. bases are trees that the remote has.
	// errMoved and *refusedError say what the remote answered; after any other error it may have done it or not.
	push(ctx context.Context, old, new plumbing.Hash, objects []item, bases map[string]item) error
	// heal makes the copy on this machine anew.
	heal(ctx context.Context) error
	history
	close() error
}

// history is what a walk over commits needs to know of a copy that may not have all of them.
type history interface {
	// cut reports whether the commit's parents are missing because the copy is shallow.
	cut(plumbing.Hash) bool
	deepen(ctx context.Context) error
}

var errMoved = errors.New("the remote has moved on")

// refusedError is the remote's no, in its words.
type refusedError struct{ words string }

func (e *refusedError) Error() string { return "the remote refused the push: " + e.words }

// Repository implements releases.Repository.
type Repository struct {
	name      string
	backend   backend
	committer releases.Person
	sign      signer
	log       *slog.Logger
	refreshes singleflight.Group
	publish   chan struct{} // holds one token: who has it publishes

	mu     sync.Mutex
	head   plumbing.Hash
	fresh  bool // head was learned from the remote since the start
	pushes int  // of ours that arrived
	trees  map[plumbing.Hash][]byte
	held   int // bytes in trees
}

// Limits of how hard one Publish tries, and of what one exchange with the remote may take.
const (
	maxUnmoved = 3  // failures while the remote's head stands still
	maxMoved   = 40 // times that others may be faster
	netTimeout = time.Minute
)

// New opens the repository. It does not talk to the remote yet.
func New(name string, c Config, log *slog.Logger) (*Repository, error) {
	r := &Repository{
		name: name, committer: releases.Person{Name: c.Committer.Name, Email: c.Committer.Email},
		log: log.With("gitops", name), publish: make(chan struct{}, 1), trees: map[plumbing.Hash][]byte{},
	}
	if c.Signing.SSHKeyFile != "" {
		s, err := newSSHSigner(c.Signing.SSHKeyFile)
		if err != nil {
			return nil, fmt.Errorf("gitops.%s.signing: %w", name, err)
		}
		r.sign = s
	}
	var err error
	if r.backend, err = open(c, r.log); err != nil {
		return nil, fmt.Errorf("gitops.%s: %w", name, err)
	}
	return r, nil
}

// Close writes what is only in memory into the copy on disk.
func (r *Repository) Close() error { return r.backend.close() }

// Read returns the folder at the remote's newest commit.
func (r *Repository) Read(ctx context.Context, folder string) (releases.Folder, error) {
	head, err := r.refresh(ctx)
	if err != nil {
		return releases.Folder{}, err
	}
	var found releases.Folder
	err = r.healing(ctx, func() error {
		found = releases.Folder{Head: hex(head)}
		b, err := newBatch(r, head, r.committer, nil)
		if err != nil {
			return err
		}
		tree, err := b.treeAt(folder)
		if err != nil || tree.IsZero() {
			return err
		}
		found.Tree = tree.String()
		found.Files, err = readFiles(r, b.raw[tree])
		return err
	})
	return found, err
}

// Publish writes the drafts; see releases.Repository.
func (r *Repository) Publish(ctx context.Context, drafts []releases.Draft) ([]releases.Result, error) {
	select {
	case r.publish <- struct{}{}:
		defer func() { <-r.publish }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p := &publication{r: r, drafts: drafts, results: make([]releases.Result, len(drafts)), settled: make([]bool, len(drafts))}
	for _, d := range drafts {
		p.since = append(p.since, d.Since)
	}
	return p.run(ctx)
}

// refresh learns the remote's head. Callers that wait together share one exchange.
func (r *Repository) refresh(ctx context.Context) (plumbing.Hash, error) {
	answer := r.refreshes.DoChan("", func() (any, error) {
		shared, cancel := context.WithTimeout(context.WithoutCancel(ctx), netTimeout)
		defer cancel()
		r.mu.Lock()
		pushes := r.pushes
		r.mu.Unlock()
		head, err := r.backend.refresh(shared)
		if err != nil {
			return plumbing.ZeroHash, r.unavailable(err)
		}
		r.learn(head, pushes)
		return head, nil
	})
	select {
	case a := <-answer:
		if a.Err != nil {
			return plumbing.ZeroHash, a.Err
		}
		return a.Val.(plumbing.Hash), nil //nolint:forcetypeassert // the closure above returns it
	case <-ctx.Done():
		return plumbing.ZeroHash, r.unavailable(ctx.Err())
	}
}

// learn takes the head that was asked for when there had been so many pushes; one of ours since then is newer.
func (r *Repository) learn(head plumbing.Hash, pushes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pushes == pushes {
		r.head, r.fresh = head, true
	}
}

// known returns the head as it was last heard of, asking when nothing was heard yet.
func (r *Repository) known(ctx context.Context) (plumbing.Hash, error) {
	r.mu.Lock()
	head, fresh := r.head, r.fresh
	r.mu.Unlock()
	if fresh {
		return head, nil
	}
	return r.refresh(ctx)
}

// healing runs the read again on a copy made anew when the copy turns out to be damaged.
func (r *Repository) healing(ctx context.Context, read func() error) error {
	err := read()
	var told *releases.Error
	if err == nil || errors.As(err, &told) || ctx.Err() != nil {
		return err
	}
	r.log.Warn("the copy of the repository is damaged; fetching it anew", "err", err)
	if err := r.backend.heal(ctx); err != nil {
		return r.unavailable(err)
	}
	r.mu.Lock()
	clear(r.trees)
	r.held = 0
	r.mu.Unlock()
	return read()
}

func (r *Repository) unavailable(err error) error {
	if _, ok := errors.AsType[*releases.Error](err); ok {
		return err
	}
	return releases.Wrap(releases.Unavailable, err, "the GitOps repository %s cannot be reached", r.name)
}

// maxHeld bounds the trees that are kept in memory, in bytes.
const maxHeld = 16 << 20

// object reads through a small memory of large trees: the same ones stand on the path of every release.
func (r *Repository) object(hash plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	r.mu.Lock()
	raw, held := r.trees[hash]
	r.mu.Unlock()
	if held {
		return plumbing.TreeObject, raw, nil
	}
	typ, raw, err := r.backend.object(hash)
	if err == nil && typ == plumbing.TreeObject && len(raw) >= minDelta {
		r.hold(hash, raw)
	}
	return typ, raw, err
}

func (r *Repository) hold(hash plumbing.Hash, raw []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held += len(raw); r.held > maxHeld {
		clear(r.trees)
		r.held = len(raw)
	}
	r.trees[hash] = raw
}

// publication is one call of Publish.
type publication struct {
	r       *Repository
	drafts  []releases.Draft
	results []releases.Result
	settled []bool
	// since, for a draft that was pushed before and may have arrived, is a commit that does not have it yet.
	since   []string
	limit   int // how many leave in one push
	unmoved int
	moved   int
}

func (p *publication) run(ctx context.Context) ([]releases.Result, error) {
	base, err := p.r.known(ctx)
	if err != nil {
		return nil, err
	}
	verified := false // the head was asked for, not remembered
	for p.limit = len(p.drafts); slices.Contains(p.settled, false); {
		var b *batch
		var built []int
		err := p.r.healing(ctx, func() error {
			err := p.settleArrived(ctx, base)
			if err == nil {
				b, built, err = p.build(base)
			}
			return err
		})
		if err != nil {
			return nil, p.r.unavailable(err)
		}
		if len(b.objects) == 0 {
			// No push will tell whether the head is still true, and "nothing to do" must be.
			head, err := p.r.refresh(ctx)
			if err != nil {
				return nil, err
			}
			if head == base || verified {
				p.settle(built)
			}
			base, verified = head, true
			continue
		}
		releases.CrashPoint("gitops.before-push")
		err = p.push(ctx, base, b)
		releases.CrashPoint("gitops.after-push")
		head := b.head
		if err != nil {
			if head, err = p.again(ctx, base, b, err); err != nil {
				return nil, err
			}
		}
		if head == b.head {
			p.settle(built)
			p.moved, p.unmoved = 0, 0
			p.limit = min(2*p.limit, len(p.drafts))
		}
		base, verified = head, true
	}
	return p.results, nil
}

func (p *publication) settle(built []int) {
	for _, i := range built {
		p.settled[i] = true
	}
}

// build makes the commits of the first drafts that are not settled, on the base, and says which.
func (p *publication) build(base plumbing.Hash) (b *batch, built []int, err error) {
	if b, err = newBatch(p.r, base, p.r.committer, p.r.sign); err != nil {
		return nil, nil, err
	}
	for i, d := range p.drafts {
		if p.settled[i] || len(built) == p.limit {
			continue
		}
		built = append(built, i)
		p.results[i], err = b.add(d)
		if told, ok := errors.AsType[*releases.Error](err); ok {
			p.results[i] = releases.Result{Err: told}
		} else if err != nil {
			return nil, nil, err
		}
	}
	return b, built, nil
}

func (p *publication) push(ctx context.Context, base plumbing.Hash, b *batch) error {
	ctx, cancel := context.WithTimeout(ctx, netTimeout)
	defer cancel()
	err := p.r.backend.push(ctx, base, b.head, b.objects, b.bases)
	p.r.refreshes.Forget("") // an answer that was asked for before the push would be an old one
	if err != nil {
		return err
	}
	for _, hash := range b.trees {
		if raw := b.raw[hash]; len(raw) >= minDelta {
			p.r.hold(hash, raw)
		}
	}
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.r.pushes++
	if p.r.head == base { // unless a refresh has seen more meanwhile
		p.r.head = b.head
	}
	return nil
}

// again decides after a push that failed, or whose answer was lost. The remote's refs are the truth: no host's
// wording is asked. It returns the head to build on; the batch's own when the push has arrived after all.
func (p *publication) again(ctx context.Context, base plumbing.Hash, b *batch, cause error) (plumbing.Hash, error) {
	for i := range p.drafts {
		if p.since[i] == "" {
			p.since[i] = base.String() // the zero hash, in an empty repository: all of the history is looked at
		}
	}
	// The pause comes before the question, not after it: the answer is true for a moment only.
	if err := pause(ctx, p.unmoved+p.moved); err != nil {
		return base, err
	}
	head, err := p.r.refresh(ctx)
	if err != nil {
		return base, releases.Wrap(releases.Unavailable, cause, "the GitOps repository %s did not answer the push", p.r.name)
	}
	switch head {
	case b.head:
		return head, nil
	case base:
		if p.unmoved++; p.unmoved >= maxUnmoved {
			if refused, ok := errors.AsType[*refusedError](cause); ok {
				return base, releases.Errorf(releases.Conflict, "the GitOps repository %s refuses the commit: %s", p.r.name, refused.words)
			}
			return base, releases.Wrap(releases.Unavailable, cause, "the GitOps repository %s does not take the push", p.r.name)
		}
	default:
		p.r.log.Info("the remote moved on; building on its new head", "head", shortHash(head), "attempt", p.moved+1)
		if p.moved++; p.moved%2 == 0 {
			p.limit = max(1, p.limit/2) // a smaller batch is built and checked sooner than the next rival comes
		}
		if p.moved >= maxMoved {
			return base, releases.Errorf(releases.Unavailable, "others were faster on the GitOps repository %s %d times in a row", p.r.name, p.moved)
		}
	}
	return head, nil
}

// settleArrived settles the drafts that were pushed before and whose commits are in the history of the base after all: an
// answer was lost, or a push of an earlier life of the process arrived late.
func (p *publication) settleArrived(ctx context.Context, base plumbing.Hash) error {
	bySince := map[string]map[string]string{}
	for i, d := range p.drafts {
		if p.settled[i] || p.since[i] == "" || p.since[i] == base.String() {
			continue
		}
		if bySince[p.since[i]] == nil {
			bySince[p.since[i]] = map[string]string{}
		}
		bySince[p.since[i]][d.ReleaseID] = d.Folder
	}
	for since, folders := range bySince {
		found, err := p.r.walk(ctx, base, plumbing.NewHash(since), folders)
		if err != nil {
			return err
		}
		for i, d := range p.drafts {
			if result, ok := found[d.ReleaseID]; ok {
				p.results[i], p.settled[i] = result, true
			}
		}
	}
	return nil
}

// pause waits a little longer each time, with jitter so that rivals fall out of step.
func pause(ctx context.Context, attempt int) error {
	most := min(10*time.Millisecond<<min(attempt, 6), 500*time.Millisecond)
	select {
	case <-time.After(rand.N(most)): //nolint:gosec // jitter
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sanitize makes a remote's words fit for one line of a message.
func sanitize(words string) string {
	const most = 300
	words = strings.Join(strings.FieldsFunc(words, func(r rune) bool { return r < ' ' || r == 0x7f || r == ' ' }), " ")
	if runes := []rune(words); len(runes) > most {
		words = string(runes[:most]) + "…"
	}
	return releases.Redact(words)
}
