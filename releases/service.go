package releases

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Environment is one of the configuration.
type Environment struct {
	Name       string
	Repository string   // the GitOps repository's name
	Path       string   // the folder in it; "" for a repository per environment
	Channels   []string // where its news go
	Approval   Approval
	MaxCommits int             // a release that brings more at once is asked about; 0 means any number
	Freezes    []PlannedFreeze // beside those that people declare
	Rollbacks  []string        // the kinds of Block that stop a rollback, too; without any nothing does
	Previews   Previews
	Pause      time.Duration // between releases that go on once nothing keeps them back any more
}

// Folder is where an app's files lie in the environment's repository.
func (e Environment) Folder(app string) string { return path.Join(e.Path, app) }

// Service is the only door to releases for every edge.
type Service struct {
	store        Store
	renderer     Renderer
	repositories map[string]Repository
	environments []Environment
	secrets      SecretFilter
	access       Access
	zone         *time.Location
	now          func() time.Time
	log          *slog.Logger
	planning     chan struct{}            // something may have to be planned
	watching     chan struct{}            // something may have begun or ended
	publishing   map[string]chan struct{} // by repository: something may have to be published
	loops        *Loops
	policies     []Policy
	scratch      func() (Store, func() error, error)
	heartbeat    time.Duration
	scheduling   chan struct{} // a gate has answered
	dryRuns      chan struct{} // holds one for each that is being made
}

// Parts are what a Service works with. All are needed.
type Parts struct {
	Store        Store
	Renderer     Renderer
	Repositories map[string]Repository
	Environments []Environment
	Policies     []Policy // scheduled ones
	Secrets      SecretFilter
	Access       Access
	Zone         *time.Location // of the times in sentences
	Now          func() time.Time
	Log          *slog.Logger
	Loops        *Loops
	Heartbeat    time.Duration // how often each loop looks whether something is due, without being woken; 0 is 5 s
	// Scratch makes an empty store for a rehearsal, and says how to end it.
	Scratch func() (Store, func() error, error)
}

// NewService makes a Service. Run makes it work on what is proposed.
func NewService(p Parts) *Service {
	s := &Service{
		store: p.Store, renderer: p.Renderer, repositories: p.Repositories, environments: p.Environments, secrets: p.Secrets,
		access: p.Access, zone: p.Zone, watching: make(chan struct{}, 1), now: p.Now, log: p.Log.With("component", "releases"), loops: p.Loops,
		planning: make(chan struct{}, 1), publishing: map[string]chan struct{}{},
		policies: p.Policies, scratch: p.Scratch, scheduling: make(chan struct{}, 1), dryRuns: make(chan struct{}, maxDryRuns),
	}
	const often = 5 * time.Second
	if s.heartbeat = p.Heartbeat; s.heartbeat == 0 {
		s.heartbeat = often
	}
	for name := range p.Repositories {
		s.publishing[name] = make(chan struct{}, 1)
	}
	return s
}

// Environments returns the configured environments in order.
func (s *Service) Environments() []Environment { return s.environments }

func (s *Service) environment(name string) (Environment, error) {
	for _, e := range s.environments {
		if e.Name == name {
			return e, nil
		}
	}
	var names []string
	for _, e := range s.environments {
		names = append(names, e.Name)
	}
	return Environment{}, Errorf(NotFound, "there is no environment %q; there are: %s", name, strings.Join(names, ", "))
}

// wake tells the worker that there may be something to do.
func (s *Service) wake() {
	poke(s.planning)
	poke(s.watching)
	for _, c := range s.publishing {
		poke(c)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Ingest takes an artifact in: once it returns, the artifact, what the policies decided of it and the releases that
// they ask for survive a crash. An artifact that was shipped before within a day (the same idempotency key, or the
// same content) is returned as it is, with isNew false.
func (s *Service) Ingest(ctx context.Context, a *Artifact, idempotencyKey string, by Actor) (shipped *Shipped, isNew bool, err error) {
	if err := a.Validate(); err != nil {
		return nil, false, err
	}
	if len(idempotencyKey) > maxName {
		return nil, false, Errorf(Invalid, "Idempotency-Key: longer than %d bytes", maxName)
	}
	dropped := s.secrets.Drop(a)
	record := s.by(by, ArtifactShipped)
	record.Detail = a.Version.RepositoryName + " " + a.Version.SHA
	err = by.SpeaksFor(a.Version.RepositoryName)
	if err == nil && len(a.CueEnvironments) > 0 && !s.access.Somewhere(ctx, by, VerbShip) { // what it is for is hard work to find out
		err = Errorf(NotAllowed, "you may not ship anything anywhere: none of your roles can %s\n/gimlet whoami shows what you may do", VerbShip)
	}
	if err != nil {
		return nil, false, s.refusing(ctx, record, err)
	}
	expanded, err := s.renderer.Expand(ctx, a.CueEnvironments)
	if err != nil {
		return nil, false, err
	}
	if n := len(a.Environments) + len(expanded); n > maxEnvironments {
		return nil, false, Errorf(Invalid, "environments: %d manifests with those of cueEnvironments, at most %d fit in one artifact", n, maxEnvironments)
	}
	targets, err := s.targets(a, expanded)
	if err != nil {
		return nil, false, err
	}
	if by, err = s.mayShip(ctx, targets, by); err != nil {
		return nil, false, s.refusing(ctx, record, err)
	}
	content, err := a.content()
	if err != nil {
		return nil, false, Wrap(Invalid, err, "the artifact cannot be stored")
	}
	sum := sha256.Sum256(content)
	prints := fingerprints{content: "content " + hex.EncodeToString(sum[:])}
	if idempotencyKey != "" {
		prints.key = "key " + a.Version.RepositoryName + " " + idempotencyKey // each repository has its own
	}
	CrashPoint("ingest.before-store")
	err = s.store.Update(ctx, func(tx Tx) error {
		fresh := *a
		shipped = &Shipped{Artifact: fresh, Expanded: expanded, Speaks: by.Repositories, Targets: targets, Dropped: dropped}
		isNew = false
		id, err := prints.seen(tx, s.now())
		if err != nil {
			return err
		}
		if id != "" {
			shipped, err = tx.Artifact(id)
			return err
		}
		isNew = true
		return s.enter(tx, shipped, prints, by)
	})
	if err != nil {
		return nil, false, err
	}
	CrashPoint("ingest.after-store")
	if isNew {
		s.log.Info("artifact shipped", "artifact", shipped.ID, "repository", a.Version.RepositoryName, "sha", a.Version.SHA)
		s.wake()
	}
	return shipped, isNew, nil
}

// inherited is the mark that an artifact gets because another one of the same commit has it: a build that is repeated is the
// same version.
func inherited(tx Tx, shipped *Shipped) (*Mark, error) {
	all, err := tx.Marks()
	for _, m := range all {
		if m.Version.RepositoryName == shipped.Version.RepositoryName && m.Version.SHA == shipped.Version.SHA {
			m.ArtifactID, m.Targets = shipped.ID, shipped.Targets
			return &m, err
		}
	}
	return nil, err
}

// mayShip returns an Error unless somebody may ship for all the targets; without any, for everything.
func (s *Service) mayShip(ctx context.Context, targets []Target, by Actor) (_ Actor, err error) {
	if len(targets) == 0 && !by.Root {
		targets = []Target{{App: AllApps, Env: AllEnvironments}}
	}
	for _, t := range targets {
		if by, err = s.allow(ctx, by, VerbShip, t.App, t.Env, time.Time{}); err != nil {
			return by, err
		}
	}
	return by, nil
}

// enter writes a new artifact with its decisions, its releases and its announcement.
func (s *Service) enter(tx Tx, shipped *Shipped, prints fingerprints, by Actor) error {
	now := s.now()
	key, err := tx.NextKey(now)
	if err != nil {
		return err
	}
	shipped.Key = key
	shipped.Created = key.Time().Unix()
	shipped.ID = shipped.Version.RepositoryName + "-" + uuid.NewString()
	if shipped.mark, err = inherited(tx, shipped); err != nil {
		return err
	}
	if shipped.Decisions, err = s.decide(tx, shipped); err != nil {
		return err
	}
	if err := tx.PutArtifact(shipped); err != nil {
		return err
	}
	if shipped.mark != nil {
		if err := tx.PutMark(*shipped.mark); err != nil {
			return err
		}
	}
	if err := prints.remember(tx, shipped.ID, now); err != nil {
		return err
	}
	record := s.by(by, ArtifactShipped)
	record.Artifact, record.Detail = shipped.ID, shipped.Version.SHA
	if err := s.record(tx, record); err != nil {
		return err
	}
	// The announcement first, so that the releases it leads to are told after it.
	news := &News{ID: shipped.ID, Version: shipped.Version, Items: shipped.Items, Decisions: shipped.Decisions, Dropped: shipped.Dropped}
	if err := tx.Publish(Outcome{At: now, Kind: ArtifactShipped, Artifact: news}); err != nil {
		return err
	}
	request := uuid.NewString()
	for _, d := range shipped.Decisions {
		if !d.Fires {
			continue
		}
		r := Release{
			Request: request, Kind: KindRelease, App: d.App, Env: d.Env, ArtifactID: shipped.ID, Version: shipped.Version,
			RequestedBy: Actor{Name: "policy " + d.Policy, Via: ViaPolicy, User: d.Policy}, Policy: d.Policy, Reason: d.Reason,
			Preview: shipped.family(d.App, d.Env),
		}
		if _, err := s.propose(tx, r); err != nil {
			return err
		}
	}
	return nil
}

// targets resolves where each manifest goes. A name that cannot be one is refused here, at the door.
func (s *Service) targets(a *Artifact, expanded []Manifest) ([]Target, error) {
	vars := a.Variables()
	var targets []Target
	name := func(i int) string {
		if i < len(a.Environments) {
			return fmt.Sprintf("environments[%d]", i)
		}
		return fmt.Sprintf("manifest %d of cueEnvironments", i-len(a.Environments)+1)
	}
	for i, m := range slices.Concat(a.Environments, expanded) {
		t, err := s.renderer.Target(m, vars)
		if err != nil {
			return nil, Errorf(Invalid, "%s.%v", name(i), err)
		}
		for j, other := range targets {
			if other.App == t.App && other.Env == t.Env {
				return nil, Errorf(Invalid, "%s: app %q in %q is also %s", name(i), t.App, t.Env, name(j))
			}
		}
		targets = append(targets, t)
	}
	return targets, nil
}

func (s *Service) decide(tx Tx, shipped *Shipped) ([]Decision, error) {
	decisions, manifests := make([]Decision, 0, len(shipped.Targets)), shipped.Manifests()
	for i, t := range shipped.Targets {
		if _, err := s.environment(t.Env); err != nil {
			decisions = append(decisions, Decision{Policy: DeployPolicy, App: t.App, Env: t.Env, Unknown: true, Reason: fmt.Sprintf("environment %q is not in the configuration", t.Env)})
			continue
		}
		live, err := tx.Live(t.App, t.Env)
		if err != nil {
			return nil, err
		}
		hold, err := tx.Hold(t.App, t.Env)
		if err != nil {
			return nil, err
		}
		now := Snapshot{Live: live, Hold: hold, Mark: shipped.mark, Preview: shipped.family(t.App, t.Env)}
		if now.Rival, err = rival(tx, t, shipped); err != nil {
			return nil, err
		}
		decisions = append(decisions, Decide(t, manifests[i].Deploy, shipped.Version, now))
	}
	return decisions, nil
}

// fingerprints are under what an artifact is known again.
type fingerprints struct{ content, key string }

func (f fingerprints) seen(tx Tx, now time.Time) (id string, err error) {
	if f.key != "" {
		known, err := tx.Seen(f.key, now)
		if err != nil {
			return "", err
		}
		id, content, _ := strings.Cut(known, "\n")
		if id != "" && content != f.content {
			return "", Errorf(Conflict, "Idempotency-Key: it was used for another artifact (%s)", id)
		}
		if id != "" {
			return id, nil
		}
	}
	return tx.Seen(f.content, now)
}

func (f fingerprints) remember(tx Tx, id string, now time.Time) error {
	if f.key != "" {
		if err := tx.Remember(f.key, id+"\n"+f.content, now); err != nil {
			return err
		}
	}
	return tx.Remember(f.content, id, now)
}

// propose writes a new release and its event.
func (s *Service) propose(tx Tx, r Release) (Release, error) {
	if err := r.RequestedBy.SpeaksFor(r.Version.RepositoryName); err != nil {
		return r, err
	}
	now := s.now()
	key, err := tx.NextKey(now)
	if err != nil {
		return r, err
	}
	if r.ID, err = freeID(tx); err != nil {
		return r, err
	}
	r.Key, r.Status, r.Created = key, Proposed, now
	r = r.note(r.Reason, now)
	if live, err := tx.Live(r.App, r.Env); err != nil {
		return r, err
	} else if live != nil {
		r.From = live.Version.Short()
	}
	record := s.by(r.RequestedBy, "request."+r.Kind).about(r)
	record.Detail = strings.TrimSpace(r.Version.Short() + " " + r.Reason)
	if err := s.record(tx, record); err != nil {
		return r, err
	}
	return r, s.save(tx, r)
}

// save writes a release and the event that tells of it.
func (s *Service) save(tx Tx, r Release) error {
	if err := tx.PutRelease(r); err != nil {
		return err
	}
	told := r
	return tx.Publish(Outcome{At: s.now(), Kind: ReleaseChanged, Release: &told})
}

// move takes a release to its next status.
func (s *Service) move(tx Tx, r Release, to Status, reason string) (Release, error) {
	moved, err := r.Advance(to, reason, s.now())
	if err != nil {
		return r, err
	}
	if to != Waiting {
		moved.Blocks = nil
	}
	s.log.Info("release "+string(to), "release", r.ID, "app", r.App, "env", r.Env, "reason", reason)
	record := s.by(itself(), "release."+string(to)).about(moved)
	record.Detail = reason
	if err := s.record(tx, record); err != nil {
		return r, err
	}
	if to == Publishing { // the commit anchors all that has led to it
		head, err := tx.LastRecord()
		if err != nil {
			return r, err
		}
		moved.AuditHead = head.Head()
	}
	return moved, s.save(tx, moved)
}

// idAlphabet has no vowels, which could spell words, and no letters that look like digits.
const idAlphabet = "23456789bcdfghjkmnpqrstvwxz"

const idLetters = 6

// drawID draws an id: a prefix and six characters.
func drawID(prefix string) string {
	id := []byte(prefix)
	for range idLetters {
		id = append(id, idAlphabet[rand.IntN(len(idAlphabet))]) //nolint:gosec // a name, not a secret
	}
	return string(id)
}

// freeID draws a release id that is not taken.
func freeID(tx Tx) (string, error) {
	for range 10 {
		id := drawID("r-")
		if _, err := tx.Release(id); KindOf(err) == NotFound {
			return id, nil
		} else if err != nil {
			return "", err
		}
	}
	return "", Errorf(Conflict, "no free release id was found")
}
