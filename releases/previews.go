package releases

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// previewsEvery is how often previews are looked at, at least.
const previewsEvery = 30 * time.Second

// previewsDue takes away the previews that are too old, and those that are too many.
func (c *scheduler) previewsDue(ctx context.Context) error {
	now := c.now()
	if at := c.previews; now.Before(at) && at.Sub(now) <= previewsEvery {
		return nil
	}
	c.previews = now.Add(previewsEvery)
	found := false
	look := func(tx Tx, visit func(Live, string) error) error {
		deleted, err := tx.Deletions(now.Add(-deletedFor))
		if err != nil {
			return err
		}
		for _, env := range c.environments {
			if env.Previews == (Previews{}) && len(deleted) == 0 {
				continue
			}
			lives, err := tx.Lives(env.Name)
			if err != nil {
				return err
			}
			for _, l := range lives {
				if ends := l.At.Add(env.Previews.TTL); l.Preview != "" && env.Previews.TTL > 0 && ends.After(now) && ends.Before(c.previews) {
					c.previews = ends
				}
			}
			gone, err := orphans(tx, lives, deleted)
			if err != nil {
				return err
			}
			for _, old := range append(gone, surplus(lives, env.Previews, now)...) {
				if free, err := settledFor(tx, old.Live, now); err != nil {
					return err
				} else if free {
					if err := visit(old.Live, old.why); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}
	err := c.store.View(ctx, func(tx Tx) error {
		return look(tx, func(Live, string) error { found = true; return nil })
	})
	if err != nil || !found {
		return err
	}
	err = c.store.Update(ctx, func(tx Tx) error {
		request := uuid.NewString()
		return look(tx, func(l Live, why string) error {
			_, err := c.cleanUp(tx, l, request, why)
			return err
		})
	})
	if err == nil {
		c.wake()
	}
	return err
}

// deletedFor is how long a branch that is gone takes previews along that come to light later: that were being pushed, or held.
const deletedFor = 30 * 24 * time.Hour

// orphans are the previews of branches that were deleted after they were asked for.
func orphans(tx Tx, lives []Live, deleted map[string]time.Time) (gone []oldPreview, err error) {
	for _, l := range lives {
		at, ok := deleted[l.Version.RepositoryName+" "+l.Version.HeadBranch()]
		if l.Preview == "" || !ok {
			continue
		}
		wrote, err := tx.Release(l.ReleaseID)
		if err != nil {
			return nil, err
		}
		if !wrote.Created.After(at) { // who asks for it after that wants it back
			gone = append(gone, oldPreview{l, fmt.Sprintf("branch %q of %s was deleted", l.Version.HeadBranch(), l.Version.RepositoryName)})
		}
	}
	return gone, nil
}

// hasPreviews reports whether an environment bounds its previews.
func (s *Service) hasPreviews() bool {
	return slices.ContainsFunc(s.environments, func(e Environment) bool { return e.Previews != (Previews{}) })
}

// oldPreview is a preview that has to go.
type oldPreview struct {
	Live
	why string
}

// surplus are the previews beyond the bounds, oldest first. It is pure.
func surplus(lives []Live, bounds Previews, now time.Time) (old []oldPreview) {
	lives = slices.DeleteFunc(slices.Clone(lives), func(l Live) bool { return l.Preview == "" })
	slices.SortStableFunc(lives, func(a, b Live) int { return b.At.Compare(a.At) })
	of := map[string]int{}
	for _, l := range lives {
		switch age := now.Sub(l.At); {
		case bounds.TTL > 0 && age >= bounds.TTL:
			old = append(old, oldPreview{l, fmt.Sprintf("it was last released %s ago; previews in %s live for %s", span(age), l.Env, span(bounds.TTL))})
			continue
		case bounds.Max > 0 && of[l.Preview] >= bounds.Max:
			old = append(old, oldPreview{l, fmt.Sprintf("%s takes %d previews of one manifest, and there are newer ones", l.Env, bounds.Max)})
			continue
		}
		of[l.Preview]++
	}
	slices.Reverse(old)
	return old
}

// How long a cleanup that did not happen is not asked for again.
const (
	afterSuperseded = 10 * time.Minute
	afterFailed     = 24 * time.Hour
)

// settledFor reports whether nothing is on its way for what is live, and nobody has stopped its cleanup. One that failed is tried
// again after a day.
func settledFor(tx Tx, l Live, now time.Time) (bool, error) {
	hold, err := tx.Hold(l.App, l.Env)
	if err != nil || hold != nil {
		return false, err
	}
	newest, err := tx.Releases(ReleaseQuery{App: l.App, Env: l.Env, Limit: 1})
	if err != nil || len(newest) == 0 {
		return err == nil, err
	}
	switch r := newest[0]; {
	case r.Status.Open():
		return false, nil
	case r.Kind != KindCleanup:
		return true, nil
	case r.Status == Superseded:
		return now.Sub(r.Updated) >= afterSuperseded, nil
	case r.Status == Failed || r.Status == Expired:
		return now.Sub(r.Updated) >= afterFailed, nil
	}
	return false, nil
}
