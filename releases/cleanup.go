package releases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// CleanupPolicy is the name of what takes previews away.
const CleanupPolicy = "cleanup"

func cleaner() Actor {
	return Actor{Name: "policy " + CleanupPolicy, Via: ViaPolicy, User: CleanupPolicy}
}

// Previews are an environment's bounds on previews. Zero is no bound.
type Previews struct {
	TTL time.Duration // one that was not released anew for so long goes
	Max int           // of one manifest; the oldest go
}

// displaces explains why a preview must not take the place of what is live, or returns "".
func (s Snapshot) displaces(v Version) string {
	switch {
	case s.Preview == "" || s.Live == nil:
		return ""
	case s.Live.Version.RepositoryName == v.RepositoryName && s.Live.Version.HeadBranch() == v.HeadBranch():
		return "" // its own; it may have been released before it was a preview
	case s.Live.Preview == "":
		return fmt.Sprintf("%s is live there and is no preview; a preview never takes its place (is the branch in the app's name?)", s.Live.Version.Short())
	default:
		return fmt.Sprintf("the preview of branch %q is live there; one of another branch never takes its place (is the branch in the app's name?)", s.Live.Version.HeadBranch())
	}
}

// Deletion says that a branch of a source repository is gone.
type Deletion struct {
	Repository, Branch string
	By                 Actor
	// Delivery, when set, names the message that tells of it: one that was heard before changes nothing.
	Delivery string
}

// DeleteBranch takes away the previews of a branch that is gone: what the cleanup policies of the branch's newest artifact
// say. It returns a decision for each of them, and the releases that were asked for. isNew is false for a Delivery that was
// heard before.
func (s *Service) DeleteBranch(ctx context.Context, d Deletion) (made []Release, decisions []Decision, isNew bool, err error) {
	if d.Repository == "" || d.Branch == "" {
		return nil, nil, false, Errorf(Invalid, "repository and branch are needed")
	}
	var newest *Shipped
	var previews []Target
	if err := s.store.View(ctx, func(tx Tx) error {
		newest, err = newestOf(tx, d)
		if err == nil {
			previews, err = s.previewsOf(tx, d)
		}
		return err
	}); err != nil {
		return nil, nil, false, err
	}
	targets, decided := s.cleanups(newest, d.Branch)
	if d.By.Via != ViaWebhook { // git hosts' calls are signed
		err = d.By.SpeaksFor(d.Repository)
		if all := slices.Concat(targets, previews); err == nil && len(all) > 0 { // nobody needs a right for nothing
			d.By, err = s.mayShip(ctx, all, d.By)
		}
		if err != nil {
			record := s.by(d.By, "branch.deleted")
			record.Detail = d.Repository + " " + d.Branch
			return nil, nil, false, s.refusing(ctx, record, err)
		}
	}
	err = s.store.Update(ctx, func(tx Tx) error {
		if isNew, err = firstHeard(tx, d, s.now()); err != nil || !isNew {
			made, decisions = nil, nil
			return err
		}
		made, decisions, err = s.takeAlong(tx, d, targets)
		return err
	})
	if err != nil {
		return nil, nil, false, err
	}
	if isNew {
		decisions = append(decisions, decided...)
	}
	for _, c := range decisions {
		s.log.Info("branch deleted", "repository", d.Repository, "branch", d.Branch, "app", c.App, "env", c.Env, "removes", c.Fires, "reason", c.Reason)
	}
	if len(made) > 0 {
		s.wake()
	}
	return made, decisions, isNew, nil
}

// previewsOf are the live previews of the branch, which go with it whatever its newest artifact says.
func (s *Service) previewsOf(tx Tx, d Deletion) (all []Target, err error) {
	for _, env := range s.environments {
		lives, err := tx.Lives(env.Name)
		if err != nil {
			return nil, err
		}
		for _, l := range lives {
			if l.Preview != "" && l.Version.RepositoryName == d.Repository && l.Version.HeadBranch() == d.Branch {
				all = append(all, Target{App: l.App, Env: l.Env})
			}
		}
	}
	return all, nil
}

// firstHeard reports whether the message that tells of the deletion, if there is one, is heard for the first time.
func firstHeard(tx Tx, d Deletion, now time.Time) (bool, error) {
	if d.Delivery == "" {
		return true, nil
	}
	return tx.Hear(d.Delivery, now)
}

// takeAlong remembers that the branch is gone, ends what is on its way of its previews, and asks for those that are live to be
// removed.
func (s *Service) takeAlong(tx Tx, d Deletion, targets []Target) (made []Release, decisions []Decision, err error) {
	record := s.by(d.By, "branch.deleted")
	record.Detail = d.Repository + " " + d.Branch
	if err := s.record(tx, record); err != nil {
		return nil, nil, err
	}
	if err := errors.Join(tx.PutDeletion(d.Repository, d.Branch, s.now()), s.endPreviews(tx, d)); err != nil {
		return nil, nil, err
	}
	request := uuid.NewString()
	for _, t := range targets {
		live, err := tx.Live(t.App, t.Env)
		if err != nil {
			return nil, nil, err
		}
		hold, err := tx.Hold(t.App, t.Env)
		if err != nil {
			return nil, nil, err
		}
		decision := DecideCleanup(t, d, Snapshot{Live: live, Hold: hold})
		if decision.Fires {
			if decision, err = notTwice(tx, decision, *live); err != nil {
				return nil, nil, err
			}
		}
		decisions = append(decisions, decision)
		if !decision.Fires {
			continue
		}
		r, err := s.cleanUp(tx, *live, request, decision.Reason)
		if err != nil {
			return nil, nil, err
		}
		made = append(made, r)
	}
	return made, decisions, nil
}

// endPreviews ends what is on its way of the branch's previews. What is being pushed is taken away once it is there.
func (s *Service) endPreviews(tx Tx, d Deletion) error {
	open, err := tx.OpenReleases()
	if err != nil {
		return err
	}
	for _, r := range open {
		if r.Kind != KindRelease || r.Preview == "" || r.Status == Publishing || r.Version.RepositoryName != d.Repository || r.Version.HeadBranch() != d.Branch {
			continue
		}
		if _, err := s.end(tx, r, Superseded, fmt.Sprintf("branch %q of %s was deleted", d.Branch, d.Repository)); err != nil {
			return err
		}
	}
	return nil
}

// newestOf is the newest artifact of the branch, or nil.
func newestOf(tx Tx, d Deletion) (newest *Shipped, err error) {
	for _, q := range []ArtifactQuery{
		{Repository: d.Repository, Branch: d.Branch, Limit: 100}, {Repository: d.Repository, SourceBranch: d.Branch, Event: EventPR, Limit: 1},
	} {
		all, err := tx.Artifacts(q)
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			if a.Version.HeadBranch() == d.Branch && (newest == nil || a.Key > newest.Key) {
				newest = a
			}
		}
	}
	return newest, nil
}

// cleanups are where the artifact's cleanup policies for the branch go; one that cannot be read becomes a decision.
func (s *Service) cleanups(a *Shipped, branch string) (targets []Target, unread []Decision) {
	if a == nil {
		return nil, nil
	}
	vars := a.Variables()
	vars["BRANCH"] = branch
	for i, m := range a.Manifests() {
		app := m.App
		switch {
		case m.Cleanup != nil && !matchOne(m.Cleanup.Branch, branch):
			unread = append(unread, Decision{Policy: CleanupPolicy, App: a.Targets[i].App, Env: a.Targets[i].Env, Reason: fmt.Sprintf("branch %q does not match %q", branch, m.Cleanup.Branch)})
			continue
		case m.Cleanup != nil:
			app = m.Cleanup.App
		case !m.preview(branch):
			continue
		}
		t, err := s.renderer.Target(Manifest{App: app, Env: m.Env, Namespace: m.Namespace}, vars)
		if err != nil {
			unread = append(unread, Decision{Policy: CleanupPolicy, App: app, Env: m.Env, Reason: fmt.Sprintf("cleanup.app: %v", err)})
			continue
		}
		targets = append(targets, t)
	}
	return targets, unread
}

// DecideCleanup says whether what is live for the target goes with the branch, and why. It is pure. Only what a release of a
// preview of that branch wrote does.
func DecideCleanup(t Target, d Deletion, now Snapshot) Decision {
	decision := Decision{Policy: CleanupPolicy, App: t.App, Env: t.Env}
	live := now.Live
	switch {
	case live == nil:
		decision.Reason = "no release of ours is there"
	case live.Preview == "":
		decision.Reason = fmt.Sprintf("%s (%s) is live there, which is no preview", live.Version.Short(), live.ReleaseID)
	case live.Version.RepositoryName != d.Repository || live.Version.HeadBranch() != d.Branch:
		decision.Reason = fmt.Sprintf("the preview of branch %q of %s is live there", live.Version.HeadBranch(), live.Version.RepositoryName)
	case now.Hold != nil:
		decision.Reason = now.Hold.explain(t)
	default:
		decision.Fires, decision.Reason = true, fmt.Sprintf("branch %q of %s was deleted", d.Branch, d.Repository)
	}
	if live != nil {
		decision.Live = live.Version.Short()
	}
	return decision
}

// notTwice leaves what is being taken away already.
func notTwice(tx Tx, d Decision, live Live) (Decision, error) {
	open, err := tx.OpenReleases()
	for _, o := range open {
		if o.Kind == KindCleanup && o.App == live.App && o.Env == live.Env && o.RollbackOf == live.ReleaseID {
			d.Fires, d.Reason = false, o.ID+" removes it already"
		}
	}
	return d, err
}

// cleanUp asks for what is live to be taken away.
func (s *Service) cleanUp(tx Tx, live Live, request, reason string) (Release, error) {
	return s.propose(tx, Release{
		Request: request, Kind: KindCleanup, App: live.App, Env: live.Env, ArtifactID: live.ArtifactID, Version: live.Version, RollbackOf: live.ReleaseID,
		RequestedBy: cleaner(), Policy: CleanupPolicy, Reason: reason, Preview: live.Preview,
	})
}

// RemoveAsk is a request to take away what is live.
type RemoveAsk struct {
	App, Env string
	Of       string // when set, the release that must be what is live
	By       Actor
	At       time.Time // as in Ask
	Request  string    // as in Ask
}

// Remove accepts a request to take away what is live: a release that leaves nothing.
func (s *Service) Remove(ctx context.Context, ask RemoveAsk) (made Release, err error) {
	if _, err := s.environment(ask.Env); err != nil {
		return made, err
	}
	record := s.by(ask.By, "request.cleanup")
	record.App, record.Env = ask.App, ask.Env
	if ask.By, err = s.allow(ctx, ask.By, VerbRelease, ask.App, ask.Env, ask.At); err != nil {
		return made, s.refusing(ctx, record, err)
	}
	err = s.store.Update(ctx, func(tx Tx) error {
		request, known, err := asked(tx, ask.Request)
		if err != nil {
			return err
		}
		if len(known) > 0 {
			made = known[0]
			return nil
		}
		live, err := tx.Live(ask.App, ask.Env)
		switch {
		case err != nil:
			return err
		case live == nil:
			return Errorf(NotFound, "nothing of %s was released to %s, so there is nothing to remove", ask.App, ask.Env)
		case ask.Of != "" && live.ReleaseID != ask.Of:
			return Errorf(Conflict, "%s is no longer what is live: %s of %s is", ask.Of, live.Version.Short(), live.ReleaseID)
		}
		made, err = s.propose(tx, Release{
			Request: request, Kind: KindCleanup, App: live.App, Env: live.Env, ArtifactID: live.ArtifactID, Version: live.Version, RollbackOf: live.ReleaseID,
			RequestedBy: ask.By, Preview: live.Preview,
		})
		return err
	})
	if err != nil {
		return made, s.refusing(ctx, record, err)
	}
	return made, s.accepted([]Release{made}, nil)
}

// ours returns an Error unless the folder is as the release that is to be taken away wrote it.
func (s *Service) ours(ctx context.Context, r Release, env Environment, folder Folder) error {
	var live *Live
	if err := s.store.View(ctx, func(tx Tx) (err error) { live, err = tx.Live(r.App, r.Env); return err }); err != nil {
		return err
	}
	if folder.Tree != "" && (live == nil || folder.Tree != live.Tree) {
		return Errorf(Conflict, "%s is not as %s wrote it: somebody else has changed it, so it is not taken away; remove it in the repository, or release it anew first", env.Folder(r.App), r.RollbackOf)
	}
	return nil
}

// cleaned forgets what was live where a cleanup has taken it away.
func (s *Service) cleaned(tx Tx, r Release) error {
	return tx.ClearLive(r.App, r.Env)
}
