package gitops

import (
	"context"
	"errors"

	"github.com/go-git/go-git/v5/plumbing"
)

// maxContained is how many commits are looked through for others.
const maxContained = 5000

// Contains reports which of the commits are the head or in the history before it, as far as that is looked through.
func (r *Repository) Contains(ctx context.Context, head string, commits []string) (map[string]bool, error) {
	if _, err := r.refresh(ctx); err != nil {
		return nil, err
	}
	var within map[string]bool
	err := r.healing(ctx, func() (err error) {
		within, err = r.contains(ctx, plumbing.NewHash(head), commits)
		return err
	})
	return within, err
}

func (r *Repository) contains(ctx context.Context, head plumbing.Hash, commits []string) (map[string]bool, error) {
	wanted, within := map[string]bool{}, map[string]bool{}
	for _, c := range commits {
		wanted[c] = true
	}
	seen := map[plumbing.Hash]bool{head: true}
	queue := []plumbing.Hash{head}
	for n := 0; len(queue) > 0 && len(within) < len(wanted) && n < maxContained; n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		hash := queue[0]
		queue = queue[1:]
		commit, err := readCommit(r.backend, hash)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			continue // not of this repository, or before what the copy holds
		} else if err != nil {
			return nil, err
		}
		if wanted[hash.String()] {
			within[hash.String()] = true
		}
		for _, parent := range commit.ParentHashes {
			if !seen[parent] {
				seen[parent] = true
				queue = append(queue, parent)
			}
		}
	}
	return within, nil
}
