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
		for _, env := range c.environments {
			if env.Previews == (Previews{}) {
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
			for _, old := range surplus(lives, env.Previews, now) {
				if free, err := settledFor(tx, old.Live); err != nil {
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

// settledFor reports whether nothing is on its way for what is live, and nobody has stopped its cleanup.
func settledFor(tx Tx, l Live) (bool, error) {
	hold, err := tx.Hold(l.App, l.Env)
	if err != nil || hold != nil {
		return false, err
	}
	newest, err := tx.Releases(ReleaseQuery{App: l.App, Env: l.Env, Limit: 1})
	if err != nil || len(newest) == 0 {
		return err == nil, err
	}
	r := newest[0]
	return !r.Status.Open() && r.Kind != KindCleanup, nil
}
