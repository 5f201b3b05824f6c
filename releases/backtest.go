package releases

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// Backtest is what scheduled policies would have released in the past, beside what they did.
type Backtest struct {
	From, Until time.Time
	Compared    []Comparison // in order
}

// Comparison is one release of an artifact: as it would have been, and as it was.
type Comparison struct {
	App      string    `json:"app"`
	Env      string    `json:"env"`
	Version  string    `json:"version"`
	Artifact string    `json:"artifactId"`
	Would    string    `json:"would,omitempty"` // the policy that would have released it; "" when none would have
	WouldAt  time.Time `json:"wouldAt,omitzero"`
	Did      string    `json:"did,omitempty"` // the policy that did; "" when none did
	DidAt    time.Time `json:"didAt,omitzero"`
}

// Same reports whether it would have gone as it did, up to a few minutes.
func (c Comparison) Same() bool {
	const few = 5 * time.Minute
	return c.Would == c.Did && c.WouldAt.Sub(c.DidAt).Abs() <= few
}

// maxBacktest is how far back people may look.
const maxBacktest = 367 * 24 * time.Hour

// Backtest tells what policies would have released since a moment, from the artifacts that were shipped and what people and
// manifests' own policies released meanwhile. Gates, votes, locks and declared freezes are not known any more: everything is
// taken to have been let pass, but planned freezes, marks and holds of rollbacks count. With c, it tells of another configuration
// than the one in force.
func (s *Service) Backtest(ctx context.Context, since time.Time, c *Changed) (b Backtest, err error) {
	now := s.now()
	if !since.Before(now) || now.Sub(since) > maxBacktest {
		return b, Errorf(Invalid, "since: from a day to a year ago can be told of")
	}
	if c == nil {
		c = &Changed{s.environments, s.policies}
	}
	unasked := *c
	unasked.Environments = slices.Clone(c.Environments)
	for i := range unasked.Environments {
		e := &unasked.Environments[i]
		e.Approval, e.MaxCommits, e.Pause, e.Previews = Approval{}, 0, 0, Previews{}
	}
	r, end, err := s.rehearse(since, unasked)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, end()) }()
	h := history{rehearsal: r, since: since, until: now}
	if err := s.store.View(ctx, h.read); err != nil {
		return b, err
	}
	if err := r.store.Update(ctx, h.begin); err != nil {
		return b, err
	}
	if err := r.until(ctx, now); err != nil {
		return b, err
	}
	views, err := r.views(ctx)
	return Backtest{From: since, Until: now, Compared: compareRuns(views, h.did)}, err
}

// history is what happened since a moment.
type history struct {
	*rehearsal
	since, until time.Time
	lives        []Live    // at the beginning
	shipped      []string  // artifacts that were live then, or released since
	did          []Release // what scheduled policies released
	artifacts    map[string]*Shipped
}

// maxHistory bounds what a backtest goes through: releases, and all that happened.
const maxHistory = 50_000

func (h *history) read(tx Tx) error {
	h.artifacts = map[string]*Shipped{}
	if err := errors.Join(h.readLives(tx), h.readReleases(tx), h.readShipped(tx), h.readSources(tx), h.readArtifacts(tx)); err != nil {
		return err
	}
	marks, err := tx.Marks()
	for _, m := range marks {
		h.feed = append(h.feed, happening{m.At, func(to Tx) error { return to.PutMark(m) }})
	}
	slices.SortStableFunc(h.feed, func(a, b happening) int { return a.at.Compare(b.at) })
	return err
}

// readLives finds what was live at the beginning.
func (h *history) readLives(tx Tx) error {
	apps, err := tx.Apps()
	if err != nil {
		return err
	}
	for _, e := range h.environments {
		for _, app := range apps {
			before, err := tx.Releases(ReleaseQuery{App: app, Env: e.Name, Statuses: []Status{Published}, Until: h.since, Limit: 1})
			if err != nil {
				return err
			}
			if len(before) > 0 && before[0].Kind != KindCleanup {
				h.lives = append(h.lives, before[0].live(before[0].published()))
				h.shipped = append(h.shipped, before[0].ArtifactID)
			}
		}
	}
	return nil
}

// readShipped reads the artifacts of what was live at the beginning, and of what was released since: some are older.
func (h *history) readShipped(tx Tx) error {
	for _, id := range h.shipped {
		if h.artifacts[id] != nil {
			continue
		}
		a, err := tx.Artifact(id)
		if err != nil && KindOf(err) != NotFound {
			return err
		}
		if err == nil {
			h.artifacts[id] = lean(a)
		}
	}
	return nil
}

// lean leaves of an artifact what decisions are made from.
func lean(a *Shipped) *Shipped {
	for _, manifests := range [][]Manifest{a.Environments, a.Expanded} {
		for i, m := range manifests {
			manifests[i] = Manifest{App: m.App, Env: m.Env, Namespace: m.Namespace, Preview: m.Preview, Cleanup: m.Cleanup}
		}
	}
	a.Items, a.Context, a.CueEnvironments, a.Decisions = nil, nil, nil, nil
	return a
}

// readSources finds what policies that take the newest of a branch or tag would have taken at the beginning.
func (h *history) readSources(tx Tx) error {
	apps, err := tx.Apps()
	if err != nil {
		return err
	}
	for _, p := range h.policies {
		if p.From.Environment != "" {
			continue
		}
		for _, app := range apps {
			if !p.Apps.Match(app) {
				continue
			}
			a, err := (&survey{tx: tx}).matching(p.From, Target{App: app, Env: p.To}, h.since)
			if err != nil {
				return err
			}
			if a != nil && h.artifacts[a.ID] == nil {
				h.artifacts[a.ID] = lean(a)
			}
		}
	}
	return nil
}

// readReleases takes what people and manifests' own policies released as it was, and keeps what scheduled ones did for the
// comparison.
func (h *history) readReleases(tx Tx) error {
	all, err := tx.Releases(ReleaseQuery{Statuses: []Status{Published}, Since: h.since, Limit: maxHistory})
	if err != nil {
		return err
	}
	if len(all) == maxHistory {
		return Errorf(Invalid, "since: too much was released since then to look through; name fewer days")
	}
	slices.Reverse(all)
	for _, r := range all {
		h.shipped = append(h.shipped, r.ArtifactID)
		if r.Run != "" {
			h.did = append(h.did, r)
			h.feed = append(h.feed, happening{r.published().Add(-time.Second), func(to Tx) error { return to.ClearHold(r.App, r.Env) }})
			continue
		}
		if _, err := h.environment(r.Env); err != nil {
			continue
		}
		h.feed = append(h.feed, happening{r.published(), func(to Tx) error { return h.happened(to, r) }})
	}
	return nil
}

// published is when the release went out.
func (r Release) published() time.Time {
	for _, s := range r.Steps {
		if s.Status == Published {
			return s.At
		}
	}
	return r.Updated
}

// happened makes what somebody released live.
func (h *history) happened(to Tx, r Release) error {
	l := r.live(r.published())
	if r.Kind == KindCleanup {
		l.Tree = ""
	}
	h.puts(l)
	if r.Kind == KindRollback {
		if err := h.takenBack(to, r); err != nil {
			return err
		}
	} else if err := to.ClearHold(r.App, r.Env); err != nil {
		return err
	}
	r.RolledBack = false // it was not yet
	if err := to.PutRelease(r); err != nil {
		return err
	}
	if r.Kind == KindCleanup {
		return h.cleaned(to, r)
	}
	return to.PutLive(l)
}

// takenBack holds automation, as the rollback did, until something was released again, and marks what it took back.
func (h *history) takenBack(to Tx, r Release) error {
	live, err := to.Live(r.App, r.Env)
	if err != nil {
		return err
	}
	if live != nil {
		wrote, err := to.Releases(ReleaseQuery{App: r.App, Env: r.Env, ArtifactID: live.ArtifactID, Statuses: []Status{Published}, Limit: maxPast})
		if err != nil {
			return err
		}
		for _, w := range wrote {
			w.RolledBack = true
			if err := to.PutRelease(w); err != nil {
				return err
			}
		}
	}
	return to.PutHold(Hold{App: r.App, Env: r.Env, By: r.RequestedBy.Name, Release: r.ID, At: r.published()})
}

// readArtifacts has each artifact come in when it did.
func (h *history) readArtifacts(tx Tx) error {
	const page = 500
	for until := h.until; ; {
		some, err := tx.Artifacts(ArtifactQuery{Since: h.since, Until: until, Limit: page})
		if err != nil {
			return err
		}
		for _, a := range some {
			at := a.Key.Time()
			if len(h.feed) > maxHistory {
				return Errorf(Invalid, "since: too much was shipped since then to look through; name fewer days")
			}
			lean(a)
			h.feed = append(h.feed, happening{at, func(to Tx) error { return to.PutArtifact(a) }})
		}
		if len(some) < page {
			return nil
		}
		until = some[len(some)-1].Key.Time().Add(-1)
	}
}

// begin puts the state of the beginning in place.
func (h *history) begin(to Tx) error {
	for _, a := range h.artifacts {
		if a.Key.Time().Before(h.since) {
			if err := to.PutArtifact(a); err != nil {
				return err
			}
		}
	}
	for _, l := range h.lives {
		h.puts(l)
		if err := to.PutLive(l); err != nil {
			return err
		}
	}
	return nil
}

// compareRuns puts what would have been released beside what was.
func compareRuns(views []RunView, did []Release) (all []Comparison) {
	for _, v := range views {
		for _, l := range v.Lines {
			if r := v.Releases[l.Release]; r.Status == Published {
				all = append(all, Comparison{
					App: l.App, Env: v.To, Version: l.Version, Artifact: l.Artifact, Would: v.Policy, WouldAt: r.published(),
				})
			}
		}
	}
	for _, r := range did {
		i := slices.IndexFunc(all, func(c Comparison) bool {
			return c.Did == "" && c.App == r.App && c.Env == r.Env && c.Artifact == r.ArtifactID
		})
		if i < 0 {
			all = append(all, Comparison{App: r.App, Env: r.Env, Version: r.Version.Short(), Artifact: r.ArtifactID})
			i = len(all) - 1
		}
		all[i].Did, all[i].DidAt = r.Policy, r.published()
	}
	slices.SortStableFunc(all, func(a, b Comparison) int {
		if n := a.at().Compare(b.at()); n != 0 {
			return n
		}
		return strings.Compare(a.App, b.App)
	})
	return all
}

func (c Comparison) at() time.Time {
	if c.Would != "" {
		return c.WouldAt
	}
	return c.DidAt
}
