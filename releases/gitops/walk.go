package gitops

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"gimletd/releases"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Find looks for the releases' commits after `since`; see releases.Repository.
func (r *Repository) Find(ctx context.Context, since string, folders map[string]string) (map[string]releases.Result, error) {
	head, err := r.refresh(ctx)
	if err != nil {
		return nil, err
	}
	var found map[string]releases.Result
	err = r.healing(ctx, func() (err error) {
		found, err = r.walk(ctx, head, plumbing.NewHash(since), folders)
		return err
	})
	return found, err
}

// walk searches the history from head back to since for the trailers of the releases. A shallow copy that ends
// before since is deepened first.
func (r *Repository) walk(ctx context.Context, head, since plumbing.Hash, folders map[string]string) (map[string]releases.Result, error) {
	if head.IsZero() || head == since {
		return nil, nil
	}
	w := &walker{from: r, history: r.backend, since: since, wanted: folders, found: map[string]releases.Result{}}
	complete, err := w.run(ctx, head)
	if err != nil || complete {
		return w.found, err
	}
	r.log.Warn("the history between two known commits is not in the copy; fetching all of it", "since", since.String())
	if err := r.backend.deepen(ctx); err != nil {
		return nil, r.unavailable(err)
	}
	_, err = w.run(ctx, head)
	return w.found, err
}

// A merge of an old branch leads the walk past `since` into all the history before it. From eagerSteps commits on,
// one that claims to be older than `since` by more than clockSkew ends the walk; before, clocks are not trusted.
const (
	eagerSteps = 2000
	clockSkew  = 7 * 24 * time.Hour
)

type walker struct {
	from    reader
	history history
	since   plumbing.Hash
	wanted  map[string]string
	found   map[string]releases.Result
}

// run walks newest first. It is complete when it has found all, or has met since, or has seen all there is; it is
// not when the copy ended before.
func (w *walker) run(ctx context.Context, head plumbing.Hash) (complete bool, err error) {
	oldest := time.Time{}
	if since, err := readCommit(w.from, w.since); err == nil && !w.since.IsZero() {
		oldest = since.Committer.When.Add(-clockSkew)
	}
	seen := map[plumbing.Hash]bool{head: true, w.since: true}
	first, err := readCommit(w.from, head)
	if err != nil {
		return false, err
	}
	queue := &commitQueue{first}
	met, ended := false, false
	for steps := 0; queue.Len() > 0 && len(w.found) < len(w.wanted); steps++ {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		commit := heap.Pop(queue).(*object.Commit) //nolint:forcetypeassert // the queue holds nothing else
		if steps > eagerSteps && commit.Committer.When.Before(oldest) {
			break
		}
		id := releases.ReleaseIDOf(commit.Message)
		if folder, wanted := w.wanted[id]; wanted {
			if w.found[id], err = w.result(commit.Hash, folder); err != nil {
				return false, err
			}
		}
		for _, parent := range commit.ParentHashes {
			met = met || parent == w.since
			if seen[parent] {
				continue
			}
			seen[parent] = true
			before, err := readCommit(w.from, parent)
			switch {
			case err == nil:
				heap.Push(queue, before)
			case errors.Is(err, plumbing.ErrObjectNotFound) && w.history.cut(commit.Hash):
				ended = true
			default:
				return false, err
			}
		}
	}
	return met || !ended || len(w.found) == len(w.wanted), nil
}

func (w *walker) result(commit plumbing.Hash, folder string) (releases.Result, error) {
	b, err := newBatch(w.from, commit, releases.Person{}, nil)
	if err != nil {
		return releases.Result{}, err
	}
	tree, err := b.treeAt(folder)
	return releases.Result{Written: releases.Committed, Commit: commit.String(), Tree: hex(tree)}, err
}

// commitQueue is a heap of commits, newest first.
type commitQueue []*object.Commit

func (q commitQueue) Len() int           { return len(q) }
func (q commitQueue) Less(i, j int) bool { return q[i].Committer.When.After(q[j].Committer.When) }
func (q commitQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push and Pop are for container/heap.
func (q *commitQueue) Push(x any) { *q = append(*q, x.(*object.Commit)) } //nolint:forcetypeassert // see above

// Pop removes the last element.
func (q *commitQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}
