package gitops

import (
	"context"
	"errors"

	"gimletd/releases"

	"github.com/go-git/go-git/v5/plumbing"
)

// Anchors returns what the commits of the branch anchor of the audit. It asks the remote, and fetches the history if the copy
// does not have it.
func (r *Repository) Anchors(ctx context.Context) ([]releases.Anchor, error) {
	head, err := r.refresh(ctx)
	if err != nil {
		return nil, err
	}
	var found []releases.Anchor
	err = r.healing(ctx, func() error {
		all, complete, err := r.anchors(ctx, head)
		if err == nil && !complete {
			if err := r.backend.deepen(ctx); err != nil {
				return r.unavailable(err)
			}
			all, _, err = r.anchors(ctx, head)
		}
		found = all
		return err
	})
	return found, err
}

// anchors walks all commits that the copy has; complete is false when it ends before the history does.
func (r *Repository) anchors(ctx context.Context, head plumbing.Hash) (found []releases.Anchor, complete bool, err error) {
	complete = true
	seen := map[plumbing.Hash]bool{head: true}
	for queue := []plumbing.Hash{head}; len(queue) > 0 && !head.IsZero(); {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		at := queue[0]
		queue = queue[1:]
		commit, err := readCommit(r, at)
		if err != nil {
			return nil, false, err
		}
		if a, ok := releases.AnchorOf(commit.Message, commit.Hash.String()); ok {
			a.At = commit.Committer.When
			found = append(found, a)
		}
		for _, parent := range commit.ParentHashes {
			if seen[parent] {
				continue
			}
			seen[parent] = true
			if _, err := readCommit(r, parent); errors.Is(err, plumbing.ErrObjectNotFound) && r.backend.cut(at) {
				complete = false
				continue
			}
			queue = append(queue, parent)
		}
	}
	return found, complete, nil
}
