package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/bot"
	"gimletd/commands"
	"gimletd/releases"
	"gimletd/releases/schedule"
	"gimletd/storage/bolt"
)

var (
	sequences = flag.Int("sequences", 120, "how many random sequences of commands, votes, crashes and clock moves are played")
	seed      = flag.Uint64("seed", 0, "play only the sequence with this seed")
)

// TestNoSequenceCommitsWithoutTheRule plays random sequences against the service, with a store on disk and a clock of its own,
// and judges each commit at the moment at which it arrives by a model that shares nothing with the service's own rules.
func TestNoSequenceCommitsWithoutTheRule(t *testing.T) {
	if *seed != 0 {
		synctest.Test(t, func(t *testing.T) { newPlay(t, *seed).run() })
		return
	}
	const workers = 2
	var next, commits, passed atomic.Uint64
	for w := range workers {
		t.Run(fmt.Sprint("worker ", w), func(t *testing.T) {
			t.Parallel()
			for n := next.Add(1); n <= uint64(*sequences) && !t.Failed(); n = next.Add(1) {
				synctest.Test(t, func(t *testing.T) {
					p := newPlay(t, n)
					p.run()
					commits.Add(uint64(len(p.repo.commits)))
					passed.Add(uint64(p.glasses))
				})
			}
		})
	}
	t.Cleanup(func() {
		if n := uint64(*sequences); !t.Failed() && n >= 100 && (commits.Load() < n/2 || passed.Load() < n/100) {
			t.Errorf("%d sequences made %d commits, %d by breaking the glass: that proves nothing", n, commits.Load(), passed.Load())
		}
		t.Logf("%d sequences, %d commits, %d by breaking the glass", *sequences, commits.Load(), passed.Load())
	})
}

// play is one sequence, with a model of what is in force.
type play struct {
	t      *testing.T
	seed   uint64
	rand   *rand.Rand
	dir    string
	db     *bolt.DB
	life   *life
	repo   *judgedRepository
	rule   modelRule
	group  *modelGroups
	access commands.Members
	chart  atomic.Int64 // what the charts render today
	stop   func()

	service *releases.Service
	logging sync.Mutex
	log     []string
	model   sync.Mutex // over what judge reads
	quiet   bool       // artifacts have no policies
	deploys bool       // they all have
	// unjudged plays do what the model is not told of.
	unjudged bool
	change   func(*releases.Environment)
	skew     atomic.Int64 // nanoseconds, of the process's clock
	seen     uint64       // the last outcome that was looked at

	locks     map[string]modelLock // by app
	freezes   map[string]time.Time // declared: id → until
	lifted    map[string]bool      // planned windows that somebody has ended
	marks     map[string]bool
	votes     []modelVote
	glass     []modelGlass
	away      map[string]modelAway // by who is away
	held      bool                 // automation is
	app       string               // that is shipped
	sha       int                  // of what is shipped; the next one when it is 0
	artifacts []string
	authors   map[string]string // artifact → who wrote it
	glasses   int
}

type (
	modelLock struct {
		owner string
		until time.Time
	}
	modelVote  struct{ release, digest, by, behalf string }
	modelGlass struct{ plan, by string } // somebody broke the glass for a release's plan
	modelAway  struct {
		to    string
		until time.Time
	}
	modelRule struct {
		needs      []releases.Need
		notAsker   bool
		notAuthors bool
		planned    bool // minutes 0 to 9 of each hour are frozen
		rollbacks  []string
	}
)

var playPeople = []string{"ada", "grace", "heidi", "ivan", "judy"}

// life is what a crash ends: after it nothing is written, and nothing is pushed.
type life struct {
	dead    atomic.Bool
	after   atomic.Int64 // writes until it ends; 0 means never
	full    atomic.Bool  // writes are refused
	refused atomic.Int64
}

var errDead = errors.New("the process is dead")

func (l *life) step() error {
	if l.after.Load() > 0 && l.after.Add(-1) == 0 {
		l.dead.Store(true)
	}
	if l.dead.Load() {
		return errDead
	}
	return nil
}

type mortalStore struct {
	releases.Store
	life *life
}

func (m mortalStore) View(ctx context.Context, read func(releases.Tx) error) error {
	if m.life.dead.Load() {
		return errDead
	}
	return m.Store.View(ctx, read)
}

func (m mortalStore) Update(ctx context.Context, write func(releases.Tx) error) error {
	if err := m.life.step(); err != nil {
		return err
	}
	if m.life.full.Load() {
		m.life.refused.Add(1)
		return releases.Errorf(releases.Unavailable, "the store is full")
	}
	return m.Store.Update(ctx, write)
}

// modelGroups is a directory, and remembers when who was in which group.
type modelGroups struct {
	mu      sync.Mutex
	members map[string]map[string]bool
	left    map[string]time.Time // group/person → when they were last in it
	down    bool
}

func (g *modelGroups) User(_ context.Context, id string) (bot.User, error) {
	return bot.User{Platform: "chat", ID: id, Name: id, Email: id + "@example.com"}, nil
}

func (g *modelGroups) Member(ctx context.Context, group, user string, _ time.Time) (bool, error) {
	members, err := g.Members(ctx, group)
	return slices.Contains(members, user), err
}

func (g *modelGroups) Members(_ context.Context, group string) (ids []string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.down {
		return nil, errors.New("the directory is down")
	}
	return slices.Sorted(maps.Keys(g.members[strings.TrimPrefix(group, "@")])), nil
}

// was reports whether the person was in the group within the time that membership may be old.
func (g *modelGroups) was(group, person string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members[group][person] || time.Since(g.left[group+"/"+person]) <= 70*time.Second
}

// playRenderer renders what the artifact's variables and the chart say at the moment.
type playRenderer struct{ p *play }

func (r playRenderer) Target(m releases.Manifest, _ map[string]string) (releases.Target, error) {
	return releases.Target{App: m.App, Env: m.Env}, nil
}

func (r playRenderer) Expand(context.Context, []string) ([]releases.Manifest, error) { return nil, nil }

func (r playRenderer) Render(_ context.Context, target releases.Target, _ releases.Manifest, vars map[string]string) (releases.Rendered, error) {
	text := fmt.Sprintf("kind: ConfigMap\nmetadata: {name: %s}\ndata: {version: %q, chart: %q}\n", target.App, vars["SHA"], fmt.Sprint(r.p.chart.Load()))
	return releases.Rendered{Files: []releases.File{{Path: "configmap.yaml", Content: []byte(text)}}}, nil
}

// judgedRepository is the GitOps repository of the model, which judges each commit.
type judgedRepository struct {
	p *play

	mu      sync.Mutex
	folders map[string]releases.Folder
	commits []releases.Draft
	found   map[string]releases.Result
	fail    int // the next publishes fail: odd before, even after they were written
	down    bool
}

var errGit = releases.Errorf(releases.Unavailable, "git does not answer")

func (r *judgedRepository) Read(_ context.Context, folder string) (releases.Folder, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down || r.p.life.dead.Load() {
		return releases.Folder{}, errGit
	}
	f := r.folders[folder]
	f.Head = fmt.Sprint("head", len(r.commits))
	return f, nil
}

func (r *judgedRepository) Publish(_ context.Context, drafts []releases.Draft) (results []releases.Result, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down || r.p.life.dead.Load() {
		return nil, errGit
	}
	if r.fail%2 == 1 {
		r.fail--
		return nil, errGit
	}
	for _, d := range drafts {
		if r.folders[d.Folder].Tree != d.BaseTree {
			results = append(results, releases.Result{Written: releases.BaseMoved})
			continue
		}
		if known, again := r.found[d.ReleaseID]; again && d.Since != "" {
			results = append(results, known)
			continue
		}
		r.p.judge(d)
		r.commits = append(r.commits, d)
		tree := releases.HashToken(fmt.Sprint(d.Files, len(r.commits)))[:40]
		r.folders[d.Folder] = releases.Folder{Tree: tree, Files: d.Files}
		result := releases.Result{Written: releases.Committed, Commit: fmt.Sprintf("%040d", len(r.commits)), Tree: tree}
		r.found[d.ReleaseID] = result
		results = append(results, result)
	}
	if r.fail > 0 {
		r.fail--
		return nil, errGit
	}
	return results, nil
}

func (r *judgedRepository) Find(_ context.Context, _ string, folders map[string]string) (map[string]releases.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down || r.p.life.dead.Load() {
		return nil, errGit
	}
	found := map[string]releases.Result{}
	for id := range folders {
		if result, ok := r.found[id]; ok {
			found[id] = result
		}
	}
	return found, nil
}

func (r *judgedRepository) Contains(context.Context, string, []string) (map[string]bool, error) {
	return nil, nil
}

func newPlay(t *testing.T, seed uint64) *play {
	p := &play{
		t: t, seed: seed, app: "web", rand: rand.New(rand.NewPCG(seed, 7)), locks: map[string]modelLock{}, freezes: map[string]time.Time{}, lifted: map[string]bool{},
		marks: map[string]bool{}, away: map[string]modelAway{}, authors: map[string]string{},
	}
	shared := "/dev/shm"
	if _, err := os.Stat(shared); err != nil {
		shared = ""
	}
	var err error
	if p.dir, err = os.MkdirTemp(shared, "gimletd-play-"); err != nil { //nolint:usetesting // in memory where there is some
		t.Fatal(err)
	}
	if p.db, err = bolt.Open(bolt.Config{Path: filepath.Join(p.dir, "db")}, time.Now); err != nil {
		t.Fatal(err)
	}
	p.repo = &judgedRepository{p: p, folders: map[string]releases.Folder{}, found: map[string]releases.Result{}}
	p.group = &modelGroups{members: map[string]map[string]bool{}, left: map[string]time.Time{}}
	for _, g := range []string{"managers", "security", "breakers", "everybody"} {
		p.group.members[g] = map[string]bool{}
		for _, person := range playPeople {
			if g == "everybody" || p.rand.IntN(4) > 0 {
				p.group.members[g][person] = true
			}
		}
	}
	p.rule = []modelRule{
		{},
		{needs: []releases.Need{{Count: 1, From: []string{"managers"}}}},
		{needs: []releases.Need{{Count: 2, From: []string{"managers"}}}, notAsker: true, notAuthors: true},
		{needs: []releases.Need{{Count: 1, From: []string{"managers"}}, {Count: 1, From: []string{"security"}}}, notAsker: true},
		{needs: []releases.Need{{Count: 2}}, notAuthors: true, rollbacks: []string{releases.BlockVotes, releases.BlockFreeze, releases.BlockLock}},
	}[p.rand.IntN(5)]
	p.rule.planned = p.rand.IntN(2) == 0
	verbs := []string{releases.VerbRelease, releases.VerbRollback, releases.VerbLock, releases.VerbFreeze}
	p.access = commands.Members{Token: func(ctx context.Context, name string) (bool, error) { return p.service.TokenLives(ctx, name) }, Directories: map[string]bot.Directory{"chat": p.group}, Roles: []commands.Role{
		{Role: releases.Role{Name: "all", Can: verbs}, Members: []string{"chat:@everybody"}},
		{Role: releases.Role{Name: "managers", Can: []string{releases.VerbApprove}}, Members: []string{"chat:@managers"}},
		{Role: releases.Role{Name: "security", Can: []string{releases.VerbApprove}}, Members: []string{"chat:@security"}},
		{Role: releases.Role{Name: "breakers", Can: []string{releases.VerbBreakGlass}}, Members: []string{"chat:@breakers"}},
	}}
	return p
}

// begin starts a life of the process.
func (p *play) begin() {
	env := releases.Environment{
		Name: "production", Repository: "main", Path: "production", Rollbacks: p.rule.rollbacks, Pause: time.Second,
		Approval: releases.Approval{Needs: p.rule.needs, ExpiresAfter: 10 * time.Minute, RemindAfter: 5 * time.Minute},
	}
	if p.rule.notAsker {
		env.Approval.Not = append(env.Approval.Not, releases.NotRequester)
	}
	if p.rule.notAuthors {
		env.Approval.Not = append(env.Approval.Not, releases.NotAuthors)
	}
	if p.rule.planned {
		w, err := schedule.NewWindow("0 * * * *", 10*time.Minute, "UTC")
		if err != nil {
			p.t.Fatal(err)
		}
		env.Freezes = []releases.PlannedFreeze{{Name: "hourly", Window: w}}
	}
	if p.change != nil {
		p.change(&env)
	}
	p.life = &life{}
	p.service = releases.NewService(releases.Parts{
		Store: mortalStore{p.db, p.life}, Renderer: playRenderer{p}, Repositories: map[string]releases.Repository{"main": p.repo},
		Environments: []releases.Environment{env}, Access: p.access, Zone: time.UTC, Now: func() time.Time { return time.Now().Add(time.Duration(p.skew.Load())) },
		Log: slog.New(slog.DiscardHandler), Loops: releases.NewLoops(),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = p.service.Run(ctx); close(ended) }()
	p.stop = func() { p.life.dead.Store(true); cancel(); <-ended }
}

func (p *play) say(format string, args ...any) {
	p.logging.Lock()
	defer p.logging.Unlock()
	p.log = append(p.log, time.Now().UTC().Format("15:04:05 ")+fmt.Sprintf(format, args...))
}

func (p *play) fail(format string, args ...any) {
	p.t.Helper()
	p.logging.Lock()
	defer p.logging.Unlock()
	p.t.Errorf("seed %d: %s\nrule %+v\n%s", p.seed, fmt.Sprintf(format, args...), p.rule, strings.Join(p.log, "\n"))
}

func (p *play) run() {
	time.Sleep(time.Duration(p.rand.IntN(3600)) * time.Second)
	p.begin()
	p.ship()
	steps := 30 + p.rand.IntN(40)
	for range steps {
		if p.t.Failed() {
			break
		}
		p.step()
		synctest.Wait()
		if p.life.dead.Load() {
			p.say("it crashed, and starts again")
			p.stop()
			p.begin()
			synctest.Wait()
		}
	}
	p.stop()
	p.once()
	p.chained()
	p.end()
}

func (p *play) end() {
	if err := errors.Join(p.db.Close(), os.RemoveAll(p.dir)); err != nil {
		p.t.Error(err)
	}
}

// once checks that no release is in the repository twice.
func (p *play) once() {
	seen := map[string]bool{}
	for _, c := range p.repo.commits {
		if seen[c.ReleaseID] {
			p.fail("%s was committed twice", c.ReleaseID)
		}
		seen[c.ReleaseID] = true
	}
}

// chained checks the audit, and that each commit anchors it.
func (p *play) chained() {
	var anchors []releases.Anchor
	for _, c := range p.repo.commits {
		a, ok := releases.AnchorOf(c.Message, c.ReleaseID)
		if !ok {
			p.fail("a commit anchors nothing:\n%s", c.Message)
		}
		anchors = append(anchors, a)
	}
	head, lines, err := p.db.Audit()
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := releases.VerifyAudit(lines, &releases.Anchor{Seq: head.Seq, Hash: head.Hash}, anchors); err != nil {
		p.fail("the audit: %v", err)
	}
}

func (p *play) person() string { return playPeople[p.rand.IntN(len(playPeople))] }

func chatActor(name string) releases.Actor {
	return releases.Actor{Name: name, Email: name + "@example.com", Via: "chat", User: name, Person: "chat:" + name}
}

// shipFor ships a version of an app and returns its id.
func (p *play) shipFor(app string) string {
	p.t.Helper()
	p.app = app
	p.ship()
	return p.artifacts[len(p.artifacts)-1]
}

func (p *play) ship() {
	n := len(p.artifacts) + 1
	author := p.person()
	sha := fmt.Sprintf("%040x", 0x1000000+n)
	if p.sha > 0 {
		sha = fmt.Sprintf("%040x", 0x1000000+p.sha)
	}
	a := &releases.Artifact{
		Version: releases.Version{RepositoryName: "acme/" + p.app, SHA: sha, Branch: "main", Created: int64(n), AuthorName: author, AuthorEmail: author + "@example.com"},
		Context: map[string]string{"SHA": sha}, Environments: []releases.Manifest{{App: p.app, Env: "production", Chart: releases.Chart{Name: "x"}}},
	}
	if p.deploys || !p.quiet && p.rand.IntN(3) == 0 {
		a.Environments[0].Deploy = &releases.Deploy{Branch: "main", Event: releases.EventPush}
	}
	p.model.Lock() // a policy may release it before it is noted
	shipped, _, err := p.service.Ingest(context.Background(), a, "", root)
	if err == nil {
		p.artifacts = append(p.artifacts, shipped.ID)
		p.authors[shipped.ID] = author
	}
	p.model.Unlock()
	p.say("ship %d by %s: %v", n, author, err)
}

// step does one random thing.
func (p *play) step() {
	ctx := context.Background()
	who := p.person()
	switch n := p.rand.IntN(100); {
	case n < 10:
		if len(p.artifacts) == 0 {
			return
		}
		id := p.artifacts[max(0, len(p.artifacts)-1-p.rand.IntN(2))]
		made, err := p.service.Propose(ctx, releases.Ask{App: "web", Env: "production", ArtifactID: id, By: chatActor(who)})
		p.say("%s asks for %s: %v %v", who, id[len(id)-4:], ids(made), err)
	case n < 13:
		made, err := p.service.Rollback(ctx, releases.RollbackAsk{App: "web", Env: "production", By: chatActor(who)})
		p.say("%s rolls back: %s %v", who, made.ID, err)
	case n < 17:
		p.ship()
	case n < 57:
		p.vote(ctx, who)
	case n < 59:
		if r, ok := p.waiting(ctx); ok {
			_, err := p.service.Cancel(ctx, r.ID, "", chatActor(who), time.Time{})
			p.say("%s cancels %s: %v", who, r.ID, err)
		}
	case n < 63:
		p.lock(ctx, who)
	case n < 67:
		p.freeze(ctx, who)
	case n < 69:
		p.mark(ctx, who)
	case n < 71:
		p.hold(ctx, who)
	case n < 73:
		p.delegate(ctx, who)
	case n < 77:
		p.breakGlass(ctx, who)
	case n < 81:
		p.regroup(who)
	case n < 83:
		p.repo.mu.Lock()
		p.repo.folders["production/web"] = releases.Folder{Tree: releases.HashToken(fmt.Sprint(p.rand.Int()))[:40], Files: []releases.File{{Path: "by-hand.yaml", Content: []byte("x: 1\n")}}}
		p.repo.mu.Unlock()
		p.say("somebody changes the folder by hand")
	case n < 85:
		p.say("the chart changes to %d", p.chart.Add(1))
	case n < 88:
		p.repo.mu.Lock()
		p.repo.fail, p.repo.down = p.rand.IntN(3), !p.repo.down && p.rand.IntN(4) == 0
		p.say("git: %d failures, down %v", p.repo.fail, p.repo.down)
		p.repo.mu.Unlock()
	case n < 92:
		p.life.after.Store(int64(1 + p.rand.IntN(6)))
		p.say("it will crash")
	default:
		d := time.Duration(1+p.rand.IntN(20)) * time.Second
		if p.rand.IntN(3) == 0 {
			d = time.Duration(1+p.rand.IntN(15)) * time.Minute
		}
		p.say("%s pass", d)
		time.Sleep(d)
	}
}

func ids(made []releases.Release) (all []string) {
	for _, r := range made {
		all = append(all, r.ID)
	}
	return all
}

// waiting is some release that is open.
func (p *play) waiting(ctx context.Context) (releases.Release, bool) {
	open, err := p.service.Releases(ctx, releases.ReleaseQuery{App: "web", Env: "production", Limit: 3, Statuses: []releases.Status{releases.Waiting, releases.Approved, releases.Proposed}})
	if err != nil || len(open) == 0 {
		return releases.Release{}, false
	}
	return open[p.rand.IntN(len(open))], true
}

func (p *play) vote(ctx context.Context, who string) {
	r, ok := p.waiting(ctx)
	if !ok || r.Plan == nil {
		return
	}
	yes := p.rand.IntN(25) > 0
	// What is approved is noted first: the commit may come before the call returns.
	digest, noted := r.Plan.Digest, len(p.votes)
	p.model.Lock()
	if yes {
		p.votes = append(p.votes, modelVote{r.ID, digest, who, ""})
		for from, a := range p.away {
			if a.to == who && time.Now().Before(a.until) {
				p.votes = append(p.votes, modelVote{r.ID, digest, who, from})
			}
		}
	}
	p.model.Unlock()
	_, err := p.service.Vote(ctx, releases.Ballot{ReleaseID: r.ID, Digest: digest, Yes: yes, By: chatActor(who)})
	if err != nil { // a life ends before a write, not in the middle of one
		p.model.Lock()
		p.votes = p.votes[:noted]
		p.model.Unlock()
	}
	p.say("%s votes %v on %s: %v", who, yes, r.ID, err)
}

func (p *play) lock(ctx context.Context, who string) {
	until := time.Now().Add(time.Duration(1+p.rand.IntN(10)) * time.Minute)
	app := []string{"web", releases.AllApps}[p.rand.IntN(2)]
	if p.rand.IntN(3) == 0 {
		_, err := p.service.Unlock(ctx, releases.LockAsk{App: app, Env: "production", Reason: "enough", Take: true, By: chatActor(who)})
		p.say("%s unlocks %s: %v", who, app, err)
		if err == nil {
			p.model.Lock()
			delete(p.locks, app)
			p.model.Unlock()
		}
		return
	}
	_, err := p.service.Lock(ctx, releases.LockAsk{App: app, Env: "production", Until: until, Reason: "testing", Take: p.rand.IntN(2) == 0, By: chatActor(who)})
	p.say("%s locks %s: %v", who, app, err)
	if err == nil {
		p.model.Lock()
		p.locks[app] = modelLock{who, until}
		p.model.Unlock()
	}
}

func (p *play) freeze(ctx context.Context, who string) {
	if p.rand.IntN(2) == 0 {
		p.model.Lock() // what it lets go may be committed before it returns: the lock keeps the judge waiting
		defer p.model.Unlock()
		ended, err := p.service.Unfreeze(ctx, releases.FreezeAsk{Env: releases.AllEnvironments, By: chatActor(who)})
		p.say("%s unfreezes: %v", who, err)
		for _, f := range ended {
			if err == nil && f.Name != "" {
				p.lifted[f.From.UTC().Format(time.RFC3339)] = true
			} else if err == nil {
				delete(p.freezes, f.ID)
			}
		}
		return
	}
	until := time.Now().Add(time.Duration(1+p.rand.IntN(10)) * time.Minute)
	made, err := p.service.Freeze(ctx, releases.FreezeAsk{Env: "production", Until: until, Reason: "testing", By: chatActor(who)})
	p.say("%s freezes: %v", who, err)
	if err == nil {
		p.model.Lock()
		p.freezes[made[0].ID] = until
		p.model.Unlock()
	}
}

func (p *play) mark(ctx context.Context, who string) {
	if len(p.artifacts) == 0 {
		return
	}
	id := p.artifacts[p.rand.IntN(len(p.artifacts))]
	ask := releases.MarkAsk{ArtifactID: id, Reason: "bad", By: chatActor(who)}
	if p.rand.IntN(2) == 0 {
		_, err := p.service.MarkBad(ctx, ask)
		p.say("%s marks %s: %v", who, id[len(id)-4:], err)
		if err == nil {
			p.model.Lock()
			p.marks[id] = true
			p.model.Unlock()
		}
		return
	}
	p.model.Lock()
	defer p.model.Unlock()
	_, err := p.service.ClearMark(ctx, ask)
	p.say("%s clears %s: %v", who, id[len(id)-4:], err)
	if err == nil {
		delete(p.marks, id)
	}
}

func (p *play) delegate(ctx context.Context, who string) {
	to, until := p.person(), time.Now().Add(5*time.Minute)
	err := p.service.Delegate(ctx, releases.Delegation{From: chatActor(who), To: chatActor(to), Until: until})
	p.say("%s delegates to %s: %v", who, to, err)
	if err == nil {
		p.model.Lock()
		p.away[who] = modelAway{to, until}
		p.model.Unlock()
	}
}

func (p *play) breakGlass(ctx context.Context, who string) {
	r, ok := p.waiting(ctx)
	if !ok || r.Plan == nil {
		return
	}
	// Noted first, as with votes; and only of those who may.
	call := modelGlass{r.ID + r.Plan.Digest, who}
	p.model.Lock()
	p.glass = append(p.glass, call)
	p.model.Unlock()
	p.group.mu.Lock()
	may := p.group.members["breakers"][who]
	p.group.mu.Unlock()
	_, err := p.service.BreakGlass(ctx, releases.GlassAsk{ReleaseID: r.ID, Digest: r.Plan.Digest, Reason: "it burns", By: chatActor(who)})
	if err != nil && !strings.Contains(err.Error(), "You have asked anew") {
		p.model.Lock()
		p.glass = p.glass[:len(p.glass)-1]
		p.model.Unlock()
	} else if !may {
		p.fail("%s broke the glass for %s without the right to", who, r.ID)
	}
	p.say("%s breaks the glass for %s: %v", who, r.ID, err)
}

func (p *play) regroup(who string) {
	p.group.mu.Lock()
	defer p.group.mu.Unlock()
	if p.group.down || p.rand.IntN(6) == 0 {
		p.group.down = !p.group.down
		p.say("the directory is down: %v", p.group.down)
		return
	}
	group := []string{"managers", "security", "breakers", "everybody"}[p.rand.IntN(4)]
	if p.group.members[group][who] {
		delete(p.group.members[group], who)
		p.group.left[group+"/"+who] = time.Now()
	} else {
		p.group.members[group][who] = true
	}
	p.say("%s in %s: %v", who, group, p.group.members[group][who])
}

func (p *play) hold(ctx context.Context, who string) {
	p.model.Lock()
	defer p.model.Unlock()
	if p.rand.IntN(3) > 0 {
		err := p.service.Hold(ctx, "web", "production", "testing", chatActor(who), time.Time{})
		p.say("%s holds automation: %v", who, err)
		p.held = p.held || err == nil
		return
	}
	err := p.service.Resume(ctx, "web", "production", chatActor(who), time.Time{})
	p.say("%s resumes automation: %v", who, err)
	p.held = p.held && err != nil
}

var trailerLine = regexp.MustCompile(`(?m)^([A-Za-z-]+): (.*)$`)

// judge looks at a commit at the moment at which it arrives.
func (p *play) judge(d releases.Draft) {
	if p.unjudged {
		return
	}
	p.model.Lock()
	defer p.model.Unlock()
	trailers := map[string][]string{}
	paragraphs := strings.Split(strings.TrimSpace(d.Message), "\n\n")
	for _, found := range trailerLine.FindAllStringSubmatch(paragraphs[len(paragraphs)-1], -1) {
		name, _, _ := strings.Cut(found[2], " <")
		trailers[found[1]] = append(trailers[found[1]], name)
	}
	one := func(name string) string {
		if len(trailers[name]) == 0 {
			return ""
		}
		return trailers[name][0]
	}
	digest, artifact, asker := one("Plan-Digest"), one("Artifact-Id"), one("Requested-by")
	p.say("commit %s, approved by %v for %v, glass %v", d.ReleaseID, trailers["Approved-by"], trailers["On-behalf-of"], trailers["Break-glass-by"])
	if got := releases.Digest(releases.Target{App: path.Base(d.Folder), Env: "production"}, artifact, d.BaseTree, d.Files); got != digest {
		p.fail("%s: what is committed is not the plan %s", d.ReleaseID, digest)
	}
	rollback := one("Rollback-Of") != ""
	stops := func(kind string) bool { return !rollback || slices.Contains(p.rule.rollbacks, kind) }
	votes := p.trailersAreTheVotes(d.ReleaseID, digest, trailers)
	if by := trailers["Break-glass-by"]; len(by) > 0 {
		p.glasses++
		broke := func(who string) bool { return slices.Contains(p.glass, modelGlass{d.ReleaseID + digest, who}) }
		if len(by) != 2 || by[0] == by[1] || !broke(by[0]) || !broke(by[1]) {
			p.fail("%s: the glass was broken by %v, and the commit says %v", d.ReleaseID, p.glass, by)
		}
		return
	}
	if rollback {
		p.held = true
	}
	if policy := one("Policy") != ""; policy && p.held {
		p.fail("%s is a policy's, and automation is held", d.ReleaseID)
	} else if !policy && !rollback && !p.group.was("everybody", asker) {
		p.fail("%s: %s has lost the right to it", d.ReleaseID, asker)
	}
	if p.marks[artifact] {
		p.fail("%s is of a version that is marked as bad", d.ReleaseID)
	}
	now := time.Now()
	for id, until := range p.freezes {
		if stops(releases.BlockFreeze) && now.Before(until) {
			p.fail("%s went out in the freeze %s", d.ReleaseID, id)
		}
	}
	if window := now.UTC().Truncate(time.Hour); p.rule.planned && now.UTC().Minute() < 10 && stops(releases.BlockFreeze) && !p.lifted[window.Format(time.RFC3339)] {
		p.fail("%s went out in the planned freeze", d.ReleaseID)
	}
	for app, l := range p.locks {
		if stops(releases.BlockLock) && now.Before(l.until) && l.owner != asker {
			p.fail("%s by %s went out through the lock of %s on %s", d.ReleaseID, asker, l.owner, app)
		}
	}
	if stops(releases.BlockVotes) && len(p.rule.needs) > 0 && !p.met(votes, asker, artifact) {
		p.fail("%s by %s went out without the rule met: %v", d.ReleaseID, asker, votes)
	}
}

// trailersAreTheVotes checks that the commit names voters of this very plan and nobody else, and returns them.
func (p *play) trailersAreTheVotes(release, digest string, trailers map[string][]string) (votes []modelVote) {
	behalf := slices.Clone(trailers["On-behalf-of"])
	for _, by := range trailers["Approved-by"] {
		i := slices.IndexFunc(p.votes, func(v modelVote) bool {
			return v.release == release && v.digest == digest && v.by == by && v.behalf == ""
		})
		j := slices.IndexFunc(p.votes, func(v modelVote) bool {
			return v.release == release && v.digest == digest && v.by == by && v.behalf != "" && slices.Contains(behalf, v.behalf)
		})
		switch {
		case j >= 0:
			votes = append(votes, p.votes[j])
		case i >= 0:
			votes = append(votes, p.votes[i])
		default:
			p.fail("%s: the commit names %s, who did not vote for this plan", release, by)
		}
	}
	return votes
}

// met tries every way to give the voters to the needs, each of them once.
func (p *play) met(votes []modelVote, asker, artifact string) bool {
	var counting []modelVote
	people := map[string]bool{}
	for _, v := range votes {
		authority := v.by
		if v.behalf != "" {
			authority = v.behalf
		}
		barred := false
		for _, who := range []string{v.by, authority} {
			barred = barred || (p.rule.notAsker && who == asker) || (p.rule.notAuthors && who == p.authors[artifact])
		}
		if barred || people[v.by] || people[authority] {
			continue
		}
		people[v.by], people[authority] = true, true
		counting = append(counting, v)
	}
	var places []releases.Need
	for _, need := range p.rule.needs {
		for range need.Count {
			places = append(places, need)
		}
	}
	var fill func(place int, left []modelVote) bool
	fill = func(place int, left []modelVote) bool {
		if place == len(places) {
			return true
		}
		for i, v := range left {
			authority := v.by
			if v.behalf != "" {
				authority = v.behalf
			}
			from := places[place].From
			if len(from) == 0 {
				from = []string{"managers", "security"}
			}
			if slices.ContainsFunc(from, func(g string) bool { return p.group.was(g, authority) }) && fill(place+1, slices.Delete(slices.Clone(left), i, i+1)) {
				return true
			}
		}
		return false
	}
	return fill(0, counting)
}
