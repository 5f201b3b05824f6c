package releases

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Ask is a request for a release.
type Ask struct {
	App        string // "" means every app that the artifact has for the environment
	Env        string
	ArtifactID string
	By         Actor
	At         time.Time // when it was asked; rights are those of then or later
	// Request, when set, makes the request the same as another with it: what was made for that one is returned.
	Request string
}

// Propose accepts a request: once it returns, the releases survive a crash, and the worker makes their plans. They
// share a Request.
func (s *Service) Propose(ctx context.Context, ask Ask) ([]Release, error) {
	if _, err := s.environment(ask.Env); err != nil {
		return nil, err
	}
	record := s.by(ask.By, "request.release")
	record.App, record.Env, record.Artifact = ask.App, ask.Env, ask.ArtifactID
	a, apps, err := s.releasable(ctx, ask)
	if err != nil {
		return nil, err
	}
	if err := ask.By.SpeaksFor(a.Version.RepositoryName); err != nil {
		return nil, s.refusing(ctx, record, err)
	}
	for _, app := range apps {
		if ask.By, err = s.allow(ctx, ask.By, VerbRelease, app, ask.Env, ask.At); err != nil {
			return nil, s.refusing(ctx, record, err)
		}
	}
	var made []Release
	err = s.store.Update(ctx, func(tx Tx) error {
		request, known, err := asked(tx, ask.Request)
		made = known
		if err != nil || len(known) > 0 {
			return err
		}
		for _, app := range apps {
			r, err := s.propose(tx, Release{
				Request: request, Kind: KindRelease, App: app, Env: ask.Env, ArtifactID: a.ID, Version: a.Version, RequestedBy: ask.By, Preview: a.family(app, ask.Env),
			})
			if err != nil {
				return err
			}
			made = append(made, r)
		}
		return nil
	})
	return made, s.accepted(made, err)
}

// releasable are the artifact and the apps that the request is about.
func (s *Service) releasable(ctx context.Context, ask Ask) (a *Shipped, apps []string, err error) {
	if ask.App != "" {
		apps = []string{ask.App}
	}
	if a, err = s.Artifact(ctx, ask.ArtifactID); err != nil {
		return nil, nil, err
	}
	for _, t := range a.Targets {
		if t.Env == ask.Env && (ask.App == "" || t.App == ask.App) && !slices.Contains(apps, t.App) {
			apps = append(apps, t.App)
		}
	}
	if _, _, err := a.Manifest(ask.App, ask.Env); err != nil && ask.App != "" {
		return nil, nil, err
	}
	if len(apps) == 0 {
		return nil, nil, Errorf(NotFound, "artifact %s has no manifest for any app in %s", a.ID, ask.Env)
	}
	return a, apps, nil
}

// asked returns what was made for the request already, or, without one, a new name for it.
func asked(tx Tx, request string) (name string, made []Release, err error) {
	if request == "" {
		return uuid.NewString(), nil, nil
	}
	made, err = tx.Releases(ReleaseQuery{Request: request, Limit: maxPast})
	return request, made, err
}

// replaceWaiting ends a release that waits for votes in favour of a newer one for the same app and environment, once that
// one has its plan. It returns why the older one is kept instead, or "".
func (s *Service) replaceWaiting(tx Tx, newer Release) (kept string, err error) {
	open, err := tx.OpenReleases()
	if err != nil {
		return "", err
	}
	for _, r := range open {
		if r.App != newer.App || r.Env != newer.Env || r.Status != Waiting || r.ID == newer.ID {
			continue
		}
		if r.expired(s.now()) { // and nobody has looked yet
			if _, err := s.expire(tx, r); err != nil {
				return "", err
			}
			continue
		}
		if newer.Kind == KindRelease && r.Key > newer.Key {
			return fmt.Sprintf("%s was asked for later, and waits", r.ID), nil
		}
		if newer.Kind == KindRelease && r.Kind == KindRelease && r.ArtifactID == newer.ArtifactID {
			return fmt.Sprintf("%s asks for the same already; its votes count", r.ID), nil
		}
		if newer.Policy != "" && backwards(&Live{Version: r.Version}, newer.Version) != "" {
			return fmt.Sprintf("%s of the newer %s waits; automation never goes backwards", r.ID, r.Version.Short()), nil
		}
		if newer.Policy != "" && (r.Kind == KindRollback || (newer.Run != "" && r.RequestedBy.Via != ViaPolicy)) {
			return fmt.Sprintf("%s by %s waits; a policy does not take its place", r.ID, r.RequestedBy.Name), nil
		}
		reason := fmt.Sprintf("%s of %s by %s took its place", newer.ID, newer.Version.Short(), newer.RequestedBy.Name)
		if _, err := s.end(tx, r, Superseded, reason); err != nil {
			return "", err
		}
	}
	return "", nil
}

func (s *Service) accepted(made []Release, err error) error {
	CrashPoint("propose.after-store")
	if err != nil {
		return err
	}
	for _, r := range made {
		s.log.Info(r.Kind+" proposed", "release", r.ID, "app", r.App, "env", r.Env, "by", r.RequestedBy.Name)
	}
	s.wake()
	return nil
}

// RollbackAsk is a request to put an earlier release's files back.
type RollbackAsk struct {
	App, Env string
	// To names the release: its id, its version (tag, commit hash or prefix), its artifact's id, or its commit in the
	// GitOps repository. "" means the one before.
	To string
	// Of, when set, is the release that must be what is live.
	Of string
	By Actor
	At time.Time // as in Ask
	// Request is as in Ask.
	Request string
}

// Rollback accepts a request for a rollback.
func (s *Service) Rollback(ctx context.Context, ask RollbackAsk) (Release, error) {
	if _, err := s.environment(ask.Env); err != nil {
		return Release{}, err
	}
	record := s.by(ask.By, "request.rollback")
	record.App, record.Env, record.Detail = ask.App, ask.Env, ask.To
	var err error
	if ask.By, err = s.allow(ctx, ask.By, VerbRollback, ask.App, ask.Env, ask.At); err != nil {
		return Release{}, s.refusing(ctx, record, err)
	}
	var made Release
	err = s.store.Update(ctx, func(tx Tx) error {
		h := past{tx: tx, app: ask.App, env: ask.Env}
		request, known, err := asked(tx, ask.Request)
		if err != nil {
			return err
		}
		if len(known) > 0 {
			made = known[0]
			return nil
		}
		r := Release{Request: request, Kind: KindRollback, App: ask.App, Env: ask.Env, RequestedBy: ask.By}
		target, live, err := h.target(ask.To)
		if err != nil {
			return err
		}
		if ask.Of != "" && live.ReleaseID != ask.Of {
			return Errorf(Conflict, "%s is no longer what is live: %s of %s is\nTo go back from there: /rollback %s %s", ask.Of, live.Version.Short(), live.ReleaseID, ask.App, ask.Env)
		}
		if _, err := tx.Files(target.ID); err != nil {
			return err
		}
		if err := s.clear(tx, ask); err != nil {
			return err
		}
		r.Target, r.RollbackOf, r.ArtifactID, r.Version, r.Preview = target.ID, live.ReleaseID, target.ArtifactID, target.Version, target.Preview
		made, err = s.propose(tx, r)
		return err
	})
	if err != nil {
		return made, s.refusing(ctx, record, err)
	}
	return made, s.accepted([]Release{made}, nil)
}

// clear takes what is on its way for the app and environment out of a rollback's way.
func (s *Service) clear(tx Tx, ask RollbackAsk) error {
	open, err := tx.OpenReleases()
	if err != nil {
		return err
	}
	for _, r := range open {
		switch {
		case r.App != ask.App || r.Env != ask.Env:
		case r.Status == Publishing:
			return Errorf(Conflict, "release %s of %s is being pushed to %s right now; try again in a moment", r.ID, r.App, r.Env)
		default:
			if _, err := s.end(tx, r, Superseded, ask.By.Name+" rolls back"); err != nil {
				return err
			}
		}
	}
	return nil
}

// past is what was released of an app to an environment.
type past struct {
	tx       Tx
	app, env string
}

// maxPast is how far back a rollback looks, in releases.
const maxPast = 500

func (p past) target(to string) (Release, *Live, error) {
	live, err := p.tx.Live(p.app, p.env)
	if err != nil {
		return Release{}, nil, err
	}
	if live == nil {
		return Release{}, nil, Errorf(NotFound, "nothing of %s was released to %s yet, so there is nothing to roll back", p.app, p.env)
	}
	all, err := p.tx.Releases(ReleaseQuery{App: p.app, Env: p.env, Statuses: []Status{Published}, Limit: maxPast})
	if err != nil {
		return Release{}, nil, err
	}
	var target Release
	if to == "" {
		target, err = p.before(all, live)
	} else {
		target, err = p.named(all, live, to)
	}
	return target, live, err
}

// before is the newest release older than the one whose files are live, leaving out what was rolled back, and what is
// marked as bad.
func (p past) before(all []Release, live *Live) (Release, error) {
	origin := p.origin(all, live.ReleaseID)
	for _, r := range all {
		if r.Kind != KindRelease || r.Key >= origin.Key || r.RolledBack || r.Tree == live.Tree {
			continue
		}
		if mark, err := p.tx.Mark(r.ArtifactID); err != nil || mark == nil {
			return r, err
		}
	}
	return Release{}, Errorf(NotFound, "there is no release of %s in %s before %s to go back to", p.app, p.env, live.Version.Short())
}

// origin follows rollbacks to the release that first wrote the files.
func (p past) origin(all []Release, id string) Release {
	for {
		i := slices.IndexFunc(all, func(r Release) bool { return r.ID == id })
		if i < 0 {
			return Release{}
		}
		if all[i].Kind != KindRollback {
			return all[i]
		}
		id = all[i].Target
	}
}

func (p past) named(all []Release, live *Live, to string) (Release, error) {
	var hits []Release
	for _, r := range all {
		if r.Kind == KindCleanup || !r.names(to) {
			continue
		}
		r = p.originOr(all, r)
		if !slices.ContainsFunc(hits, func(h Release) bool { return h.Tree == r.Tree }) {
			hits = append(hits, r)
		}
	}
	switch {
	case len(hits) == 0:
		return Release{}, Errorf(NotFound, "there is no earlier release %q of %s in %s; /gimlet history %s %s lists them", to, p.app, p.env, p.app, p.env)
	case len(hits) == 1 && hits[0].Tree == live.Tree:
		return Release{}, Errorf(Conflict, "nothing to roll back: %s of %s is live in %s already", live.Version.Short(), p.app, p.env)
	case len(hits) == 1:
		return hits[0], nil
	}
	ambiguous := &Ambiguous{Word: to}
	for _, h := range hits {
		ambiguous.Options = append(ambiguous.Options, Option{Word: h.ID, Label: h.ID + " " + describe(h.Version)})
	}
	return Release{}, ambiguous
}

func (p past) originOr(all []Release, r Release) Release {
	if origin := p.origin(all, r.ID); origin.ID != "" {
		return origin
	}
	return r
}

// names reports whether the word names the release.
func (r Release) names(word string) bool {
	if word == r.ID || word == r.ArtifactID || (r.Version.Tag != "" && word == r.Version.Tag) {
		return true
	}
	word = strings.ToLower(word)
	return len(word) >= minPrefix && isHex(word) &&
		(strings.HasPrefix(strings.ToLower(r.Version.SHA), word) || strings.HasPrefix(r.Commit, word))
}
