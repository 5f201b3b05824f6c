package releases

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"time"
)

// rehearsal is a Service with a store, a repository and a clock of its own, that goes from one moment at which something
// could happen to the next. What it decides is decided by the same code that acts.
type rehearsal struct {
	*Service
	at         time.Time
	scheduler  *scheduler
	watcher    watcher
	publishers []*publisher
	again      *retries
	writes     *counted
	feed       []happening // what comes from outside, in order
	runs       []string    // ids of the runs, as they began
}

// happening is something that comes from outside at a moment.
type happening struct {
	at    time.Time
	apply func(Tx) error
}

// counted counts what is written.
type counted struct {
	Store
	n int
}

// Update is for Store.
func (c *counted) Update(ctx context.Context, write func(Tx) error) error {
	c.n++
	return c.Store.Update(ctx, write)
}

// everybody may do what they have asked for: nobody else asks during a rehearsal.
type everybody struct{}

// Fresh is for Access.
func (everybody) Fresh(_ context.Context, a Actor, _, _, _ string, _ time.Time) Actor { return a }

// Somewhere is for Access.
func (everybody) Somewhere(context.Context, Actor, string) bool { return true }

// Allow is for Access.
func (everybody) Allow(Actor, string, string, string) error { return nil }

// blank renders nothing but the name of what is rendered.
type blank struct{ Renderer }

// Render is for Renderer.
func (blank) Render(_ context.Context, t Target, _ Manifest, _ map[string]string) (Rendered, error) {
	return Rendered{Files: []File{{Path: "rehearsed", Content: []byte(t.String())}}}, nil
}

// imagined is a repository in memory.
type imagined struct {
	folders map[string]Folder
	commits int
}

// Read is for Repository.
func (i *imagined) Read(_ context.Context, folder string) (Folder, error) {
	f := i.folders[folder]
	f.Head = strconv.Itoa(i.commits)
	return f, nil
}

// Publish is for Repository.
func (i *imagined) Publish(_ context.Context, drafts []Draft) (results []Result, err error) {
	for _, d := range drafts {
		if i.folders[d.Folder].Tree != d.BaseTree {
			results = append(results, Result{Written: BaseMoved})
			continue
		}
		i.commits++
		tree := "rehearsed " + strconv.Itoa(i.commits)
		if len(d.Files) == 0 {
			tree = ""
		}
		i.folders[d.Folder] = Folder{Tree: tree, Files: d.Files}
		results = append(results, Result{Written: Committed, Commit: HashToken(tree + strconv.Itoa(i.commits))[:40], Tree: tree})
	}
	return results, nil
}

// Find is for Repository.
func (*imagined) Find(context.Context, string, map[string]string) (map[string]Result, error) {
	return nil, nil
}

// Contains is for Repository.
func (*imagined) Contains(context.Context, string, []string) (map[string]bool, error) {
	return nil, nil
}

// Changed is a configuration to rehearse in the place of the one in force.
type Changed struct {
	Environments []Environment
	Policies     []Policy
}

// rehearse makes a rehearsal that begins at a moment. Gates and rollouts are taken to be well: nobody can tell what they will
// say. end has to be called.
func (s *Service) rehearse(at time.Time, c Changed) (r *rehearsal, end func() error, err error) {
	store, end, err := s.scratch()
	if err != nil {
		return nil, nil, err
	}
	r = &rehearsal{at: at, writes: &counted{Store: store}, again: newRetries()}
	policies := slices.Clone(c.Policies)
	for i := range policies {
		policies[i].Gates, policies[i].From.Healthy = nil, false
	}
	repositories := map[string]Repository{}
	for _, e := range c.Environments {
		if repositories[e.Repository] == nil {
			repositories[e.Repository] = &imagined{folders: map[string]Folder{}}
		}
	}
	r.Service = NewService(Parts{
		Store: r.writes, Renderer: blank{s.renderer}, Repositories: repositories, Environments: c.Environments, Policies: policies, Access: everybody{},
		Zone: s.zone, Now: func() time.Time { return r.at }, Log: slog.New(slog.DiscardHandler), Loops: NewLoops(), Scratch: s.scratch,
	})
	r.scheduler = r.newScheduler()
	r.scheduler.keep = maxMoments
	r.scheduler.began = func(id string) { r.runs = append(r.runs, id) }
	r.watcher = watcher{Service: r.Service, opened: map[string]time.Time{}, doubts: newRetries()}
	for name, repository := range repositories {
		r.publishers = append(r.publishers, &publisher{Service: r.Service, name: name, repository: repository, wake: r.publishing[name], doubts: newRetries()})
	}
	return r, end, nil
}

// maxMoments bounds a rehearsal.
const maxMoments = 100_000

// until plays what happens up to a moment.
func (r *rehearsal) until(ctx context.Context, end time.Time) error {
	for range maxMoments {
		if err := r.moment(ctx); err != nil {
			return err
		}
		next, err := r.next(ctx)
		if err != nil || next.IsZero() || next.After(end) {
			r.at = end
			return err
		}
		r.at = next
	}
	return Errorf(Invalid, "too much would happen to foretell it: name fewer days, or fewer policies")
}

// moment does all that is due now.
func (r *rehearsal) moment(ctx context.Context) error {
	for len(r.feed) > 0 && !r.feed[0].at.After(r.at) {
		if err := r.store.Update(ctx, r.feed[0].apply); err != nil {
			return err
		}
		r.feed = r.feed[1:]
	}
	const most = 1000 // rounds; each takes what is on its way one step further
	for range most {
		if err := ctx.Err(); err != nil {
			return Wrap(Unavailable, err, "foretelling took too long; name fewer days")
		}
		before := r.writes.n
		if err := r.round(ctx); err != nil || r.writes.n == before {
			return err
		}
	}
	return errors.New("a rehearsal does not come to rest")
}

func (r *rehearsal) round(ctx context.Context) error {
	r.scheduler.previews = time.Time{}
	if err := r.scheduler.look(ctx); err != nil {
		return err
	}
	for {
		due, err := r.plannable(ctx)
		if err != nil {
			return err
		}
		for _, release := range due {
			r.planOne(ctx, release, r.again)
		}
		if len(due) == 0 {
			break
		}
	}
	if err := r.watcher.look(ctx); err != nil {
		return err
	}
	for _, p := range r.publishers {
		for busy := true; busy; {
			var err error
			if busy, err = p.work(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// next is the next moment at which something could happen by itself; the zero time when there is none.
func (r *rehearsal) next(ctx context.Context) (next time.Time, err error) {
	could := func(at time.Time) {
		if at.After(r.at) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for _, at := range r.scheduler.next {
		could(at)
	}
	if len(r.feed) > 0 {
		could(r.feed[0].at)
	}
	changes, err := r.watcher.next(ctx)
	if err != nil {
		return next, err
	}
	could(changes)
	err = r.store.View(ctx, func(tx Tx) error {
		for _, e := range r.environments {
			if e.Previews.TTL == 0 {
				continue
			}
			lives, err := tx.Lives(e.Name)
			if err != nil {
				return err
			}
			for _, l := range lives {
				if l.Preview != "" {
					could(l.At.Add(e.Previews.TTL))
				}
			}
		}
		return nil
	})
	return next, err
}

// puts makes the folder as a release that is live wrote it.
func (r *rehearsal) puts(l Live) {
	env, err := r.environment(l.Env)
	if err != nil {
		return
	}
	if repository, ok := r.repositories[env.Repository].(*imagined); ok {
		repository.folders[env.Folder(l.App)] = Folder{Tree: l.Tree, Files: []File{{Path: "live"}}}
	}
}
