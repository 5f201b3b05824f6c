package releases

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// publisher is the one writer of a repository.
type publisher struct {
	*Service
	name       string
	repository Repository
	wake       chan struct{}
	doubts     *retries // releases of which it cannot be told whether they may go out
}

// Limits of one push.
const (
	maxBatch      = 100
	publishWithin = 3 * time.Minute
	finishWithin  = 30 * time.Second // what a shutdown waits for a push in hand
)

// loop publishes what is approved. Releases that wait together leave together.
func (p *publisher) loop(ctx context.Context) error {
	loop := "publisher " + p.name
	again := newRetries()
	tick := time.NewTicker(p.heartbeat)
	defer tick.Stop()
	for {
		if again.due("", p.now()) {
			busy, err := p.work(ctx)
			p.loops.Beat(loop, p.now(), err)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				p.log.Warn("publishing waits", "gitops", p.name, "err", Redact(err.Error()))
				wait := again.failed("", p.now())
				time.AfterFunc(wait, func() { poke(p.wake) })
			default:
				again.forget("")
				if busy {
					continue
				}
			}
		}
		select {
		case <-p.wake:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// work does one round: first it settles what a crash or a lost answer left open, then it publishes what is approved.
func (p *publisher) work(ctx context.Context) (busy bool, err error) {
	var doubtful, approved []Release
	err = p.store.View(ctx, func(tx Tx) error {
		open, err := tx.OpenReleases()
		for _, r := range open {
			if env, err := p.environment(r.Env); err != nil || env.Repository != p.name {
				continue
			}
			switch r.Status {
			case Publishing:
				doubtful = append(doubtful, r)
			case Approved:
				if p.doubts.due(r.ID, p.now()) {
					approved = append(approved, r)
				}
			default: // the planner's
			}
		}
		return err
	})
	if err != nil || len(doubtful)+len(approved) == 0 {
		return false, err
	}
	// A push in hand is finished when the process is asked to stop, within bounds.
	ctx, cancel := lingering(ctx)
	defer cancel()
	if len(doubtful) > 0 {
		if err := p.recover(ctx, doubtful); err != nil {
			p.remarkAll(ctx, doubtful, err)
			return false, err
		}
		return true, nil
	}
	// What cannot wait goes first.
	slices.SortStableFunc(approved, func(a, b Release) int { return cmp.Compare(b.urgency(), a.urgency()) })
	batch, err := p.begin(ctx, approved[:min(len(approved), maxBatch)])
	if err != nil {
		return false, err
	}
	return true, p.publish(ctx, batch)
}

// lingering outlives the context by finishWithin.
func lingering(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), publishWithin)
	stop := context.AfterFunc(parent, func() { time.AfterFunc(finishWithin, cancel) })
	return ctx, func() { stop(); cancel() }
}

// recover asks the repository which of the releases it already has. Only the others are published (again).
func (p *publisher) recover(ctx context.Context, doubtful []Release) error {
	byBase := map[string]map[string]string{}
	for _, r := range doubtful {
		env, err := p.environment(r.Env)
		if err != nil {
			return err
		}
		if byBase[r.Plan.Base] == nil {
			byBase[r.Plan.Base] = map[string]string{}
		}
		byBase[r.Plan.Base][r.ID] = env.Folder(r.App)
	}
	found := map[string]Result{}
	for base, folders := range byBase {
		some, err := p.repository.Find(ctx, base, folders)
		if err != nil {
			return err
		}
		maps.Copy(found, some)
	}
	CrashPoint("recover.found")
	return p.store.Update(ctx, func(tx Tx) error {
		for _, r := range doubtful {
			current, err := tx.Release(r.ID)
			if err != nil {
				return err
			}
			if result, ok := found[r.ID]; ok {
				err = p.conclude(tx, current, result)
			} else {
				_, err = p.move(tx, current, Approved, "the push did not arrive; trying again")
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// membershipFor is how old may be what is known of the groups of those who voted, when a release begins to be published.
const membershipFor = time.Minute

// begin records that the releases may be in the repository from now on. What keeps a release back is looked at once more,
// by who may do what now: one that no longer has what it needs waits again; one that is no longer approved is left out.
func (p *publisher) begin(ctx context.Context, approved []Release) (batch []Release, err error) {
	CrashPoint("publish.before-begin")
	since := p.now().Add(-membershipFor)
	voters, rights := make([]func(Actor) Actor, len(approved)), make([]error, len(approved))
	for i, r := range approved {
		if len(r.Standing()) > 0 && !r.broken() {
			voters[i] = p.asNow(ctx, r, since)
		}
		if r.Kind != KindRollback && !r.broken() {
			rights[i] = p.stillMay(ctx, r, since)
		}
	}
	doubts := map[string]error{}
	err = p.store.Update(ctx, func(tx Tx) error {
		batch = nil
		clear(doubts)
		for i, r := range approved {
			current, err := tx.Release(r.ID)
			if err != nil {
				return err
			}
			if current.Status != Approved {
				continue
			}
			if KindOf(rights[i]) == NotAllowed {
				if err := p.forsaken(tx, current); err != nil {
					return err
				}
				continue
			}
			begun, goes, err := current, false, rights[i]
			if err == nil {
				begun, goes, err = p.start(tx, current, voters[i])
			}
			switch {
			case KindOf(err) == Unavailable:
				doubts[r.ID] = err
			case err != nil:
				return err
			case goes:
				batch = append(batch, begun)
			}
		}
		return nil
	})
	CrashPoint("publish.begun")
	for id, doubt := range doubts {
		wait := p.doubts.failed(id, p.now())
		time.AfterFunc(wait, func() { poke(p.wake) })
		p.remark(ctx, id, waitingFor(doubt))
	}
	for _, r := range batch {
		p.doubts.forget(r.ID)
	}
	return batch, err
}

// urgency puts rollbacks and what two people have broken the glass for before all else.
func (r Release) urgency() int {
	if r.Kind == KindRollback || r.broken() {
		return 1
	}
	return 0
}

// start moves a release on to being published, or, when something keeps it back after all, back to waiting.
func (p *publisher) start(tx Tx, r Release, now func(Actor) Actor) (begun Release, goes bool, err error) {
	env, err := p.environment(r.Env)
	if err != nil {
		return r, false, err
	}
	c, err := p.controls(tx, r, env)
	if err != nil {
		return r, false, err
	}
	if len(c.Rule.Needs) > 0 && now != nil && (r.Kind != KindRollback || slices.Contains(c.Rollbacks, BlockVotes)) {
		if err := r.refresh(c.Rule, now, true); err != nil {
			return r, false, err
		}
		if r.Votes, err = p.fallen(tx, r, r.Votes, func(v Vote) bool { return c.Rule.Counts(r, v) != nil }); err != nil {
			return r, false, err
		}
	}
	if r.Blocks = Gate(r, c, p.now()); len(r.Blocks) > 0 {
		r.Expires, r.Reminded = time.Time{}, time.Time{}
		if r.Needs(BlockVotes) {
			r.Approval, r.Asked = &c.Rule, p.now()
		}
		_, err := p.move(tx, r.waitFor(p.now()), Waiting, reasonOf(r.Blocks))
		return r, false, err
	}
	r.Attempts++
	begun, err = p.move(tx, r, Publishing, "")
	return begun, true, err
}

// publish pushes the batch and records what became of each release. When the remote refuses a batch, its halves are
// tried, so that one bad release does not keep the others back.
func (p *publisher) publish(ctx context.Context, batch []Release) error {
	if len(batch) == 0 {
		return nil
	}
	results := make([]Result, len(batch))
	drafts, places := p.drafts(ctx, batch, results)
	written, err := p.repository.Publish(ctx, drafts)
	CrashPoint("publish.pushed")
	switch {
	case KindOf(err) == Conflict && len(batch) > 1:
		for i := range batch {
			batch[i].Attempts++ // some may have gone out before the refusal: their commits are looked for
		}
		middle := len(batch) / 2
		return errors.Join(p.publish(ctx, batch[:middle]), p.publish(ctx, batch[middle:]))
	case KindOf(err) == Conflict:
		written = []Result{{Err: err}}
	case err != nil:
		p.remarkAll(ctx, batch, err)
		return err // the next round asks the repository what arrived
	}
	for i, result := range written {
		results[places[i]] = result
	}
	err = p.store.Update(ctx, func(tx Tx) error {
		for i, r := range batch {
			current, err := tx.Release(r.ID)
			if err != nil {
				return err
			}
			if err := p.conclude(tx, current, results[i]); err != nil {
				return err
			}
		}
		return nil
	})
	CrashPoint("publish.concluded")
	p.Service.wake()
	return err
}

func (p *publisher) remarkAll(ctx context.Context, batch []Release, cause error) {
	for _, r := range batch {
		p.remark(ctx, r.ID, waitingFor(cause))
	}
}

// drafts makes the commits to be. A release whose plan cannot be read back gets its result here; places says where in
// the batch each draft belongs.
func (p *publisher) drafts(ctx context.Context, batch []Release, results []Result) (drafts []Draft, places []int) {
	for i, r := range batch {
		d, err := p.draft(ctx, r)
		if err != nil {
			results[i] = Result{Err: err}
			continue
		}
		drafts, places = append(drafts, d), append(places, i)
	}
	return drafts, places
}

func (p *publisher) draft(ctx context.Context, r Release) (Draft, error) {
	env, err := p.environment(r.Env)
	if err != nil {
		return Draft{}, err
	}
	var files []File
	if r.Kind != KindCleanup { // which leaves none
		if err := p.store.View(ctx, func(tx Tx) error { files, err = tx.Files(r.ID); return err }); err != nil {
			return Draft{}, err
		}
	}
	// What is committed is what was planned, to the byte.
	if Digest(Target{App: r.App, Env: r.Env}, r.ArtifactID, r.Plan.BaseTree, files) != r.Plan.Digest {
		return Draft{}, Errorf(Conflict, "the stored files of release %s are not those of its plan", r.ID)
	}
	d := Draft{
		ReleaseID: r.ID, Folder: env.Folder(r.App), Keep: env.Path, BaseTree: r.Plan.BaseTree, Files: files,
		Message: CommitMessage(r), Author: Person{Name: r.RequestedBy.Name, Email: r.RequestedBy.Email}, At: p.now(),
	}
	if r.Attempts > 1 {
		// A push of an earlier life may still have arrived after it was looked for.
		if d.Since = r.Plan.Base; d.Since == "" {
			d.Since = strings.Repeat("0", 40) // planned in an empty repository
		}
	}
	return d, nil
}

// conclude records a release's fate.
func (p *publisher) conclude(tx Tx, r Release, result Result) error {
	if result.Err != nil {
		if err := tx.PutFiles(r.ID, nil); err != nil {
			return err
		}
		_, err := p.move(tx, r, Failed, Redact(result.Err.Error()))
		return err
	}
	switch result.Written {
	case BaseMoved:
		_, err := p.move(tx, r, Proposed, "the folder was changed by somebody else meanwhile; planning again")
		return err
	case NothingToDo:
		return p.unchanged(tx, r, result.Tree)
	case Committed:
		return p.published(tx, r, result)
	}
	return Errorf(Conflict, "release %s: unknown result %q", r.ID, result.Written)
}

// keptFiles is how many releases of an app in an environment can be rolled back to.
const keptFiles = 100

func (p *publisher) published(tx Tx, r Release, result Result) error {
	r.Commit, r.Tree = result.Commit, result.Tree
	if r.Kind == KindRollback {
		if err := p.rolledBack(tx, r); err != nil {
			return err
		}
	}
	makeLive := func() error { return tx.PutLive(r.live(p.now())) }
	if r.Kind == KindCleanup {
		makeLive = func() error { return p.cleaned(tx, r) }
	}
	if err := errors.Join(makeLive(), p.review(tx, r)); err != nil {
		return err
	}
	old, err := tx.Releases(ReleaseQuery{App: r.App, Env: r.Env, Statuses: []Status{Published}, Offset: keptFiles, Limit: 5})
	if err != nil {
		return err
	}
	for _, o := range old {
		if err := errors.Join(tx.PutFiles(o.ID, nil), tx.PutDiff(o.ID, "")); err != nil {
			return err
		}
	}
	_, err = p.move(tx, r, Published, "")
	return err
}

// rolledBack notes what was taken back, and holds automation, unless somebody holds it already.
func (s *Service) rolledBack(tx Tx, r Release) error {
	if err := markRolledBack(tx, r); err != nil {
		return err
	}
	hold, err := tx.Hold(r.App, r.Env)
	if err != nil || (hold != nil && hold.Release == "") {
		return err
	}
	if err := s.record(tx, s.by(r.RequestedBy, "hold.set").about(r)); err != nil {
		return err
	}
	return tx.PutHold(Hold{App: r.App, Env: r.Env, By: r.RequestedBy.Name, Release: r.ID, At: s.now()})
}

// markRolledBack notes on the releases after the target that they were taken back.
func markRolledBack(tx Tx, rollback Release) error {
	target, err := tx.Release(rollback.Target)
	if err != nil {
		return err
	}
	if target.RolledBack {
		target.RolledBack = false
		if err := tx.PutRelease(target); err != nil {
			return err
		}
	}
	after, err := tx.Releases(ReleaseQuery{
		App: rollback.App, Env: rollback.Env, Statuses: []Status{Published}, Since: target.Key.Time(), Limit: maxPast,
	})
	if err != nil {
		return err
	}
	for _, r := range after {
		if r.Key <= target.Key || r.RolledBack || r.ID == rollback.ID {
			continue
		}
		r.RolledBack = true
		if err := tx.PutRelease(r); err != nil {
			return err
		}
	}
	return nil
}
