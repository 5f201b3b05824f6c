package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"gimletd/releases"
	"gimletd/releases/schedule"
	"gimletd/storage/bolt"
)

// town is a GimletD for tests of policies: the real Service with its loops and a store on disk, on the clock of a synctest
// bubble; what is outside (charts, git) answers at once.
type town struct {
	t            *testing.T
	dir          string
	db           *bolt.DB
	repo         *townRepository
	environments []releases.Environment
	policies     []releases.Policy
	service      *releases.Service
	stop         func()
	sha          int
	life         *life
	clock        func() time.Time // the process's; time.Now without

	mu   sync.Mutex
	runs map[string][]releases.Run // by id: as they were written
}

// townRepository is a GitOps repository in memory.
type townRepository struct {
	mu      sync.Mutex
	folders map[string]releases.Folder
	found   map[string]releases.Result
	commits []releases.Draft
	judge   func(d releases.Draft, before releases.Folder) // is shown each commit
}

// edit changes a folder by hand.
func (r *townRepository) edit(folder string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, there := r.folders[folder]; there && f.Tree != "" {
		f.Tree = releases.HashToken("by hand " + f.Tree)[:40]
		f.Files = append(slices.Clone(f.Files), releases.File{Path: "by-hand.yaml"})
		r.folders[folder] = f
	}
}

func (r *townRepository) Read(_ context.Context, folder string) (releases.Folder, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.folders[folder]
	f.Head = fmt.Sprint("head", len(r.commits))
	return f, nil
}

func (r *townRepository) Publish(_ context.Context, drafts []releases.Draft) (results []releases.Result, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range drafts {
		if r.folders[d.Folder].Tree != d.BaseTree {
			results = append(results, releases.Result{Written: releases.BaseMoved})
			continue
		}
		if r.judge != nil {
			r.judge(d, r.folders[d.Folder])
		}
		r.commits = append(r.commits, d)
		tree := ""
		if len(d.Files) > 0 {
			tree = releases.HashToken(fmt.Sprint(d.Folder, len(r.commits)))[:40]
		}
		r.folders[d.Folder] = releases.Folder{Tree: tree, Files: d.Files}
		result := releases.Result{Written: releases.Committed, Commit: fmt.Sprintf("%040d", len(r.commits)), Tree: tree}
		r.found[d.ReleaseID] = result
		results = append(results, result)
	}
	return results, nil
}

func (r *townRepository) Find(_ context.Context, _ string, folders map[string]string) (map[string]releases.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := map[string]releases.Result{}
	for id := range folders {
		if result, ok := r.found[id]; ok {
			found[id] = result
		}
	}
	return found, nil
}

func (r *townRepository) Contains(_ context.Context, head string, commits []string) (map[string]bool, error) {
	within := map[string]bool{}
	for _, c := range commits {
		within[c] = c <= head
	}
	return within, nil
}

// townRenderer renders the version alone; apps have the branch in their names where a manifest says so.
type townRenderer struct{}

func (townRenderer) Target(m releases.Manifest, vars map[string]string) (releases.Target, error) {
	return releases.Target{App: os.Expand(m.App, func(name string) string { return vars[name] }), Env: m.Env}, nil
}

func (townRenderer) Expand(context.Context, []string) ([]releases.Manifest, error) { return nil, nil }

func (townRenderer) Render(_ context.Context, t releases.Target, _ releases.Manifest, vars map[string]string) (releases.Rendered, error) {
	if t.App == "unforeseen" {
		panic("no ':' separator in digest")
	}
	if t.App == "broken" {
		return releases.Rendered{}, releases.Errorf(releases.Invalid, "values.replicas: expected a number")
	}
	text := fmt.Sprintf("kind: ConfigMap\nmetadata: {name: %s}\ndata: {version: %q}\n", t.App, vars["SHA"])
	return releases.Rendered{Files: []releases.File{{Path: "version.yaml", Content: []byte(text)}}}, nil
}

// watchedStore notes the runs that are written, and when the process is dead writes nothing.
type watchedStore struct {
	releases.Store
	town *town
	life *life
}

func (w watchedStore) Update(ctx context.Context, write func(releases.Tx) error) error {
	if err := w.life.step(); err != nil {
		return err
	}
	if w.life.full.Load() {
		w.life.refused.Add(1)
		return releases.Errorf(releases.Unavailable, "the store is full")
	}
	var runs []releases.Run
	err := w.Store.Update(ctx, func(tx releases.Tx) error {
		runs = nil
		return write(watchedTx{tx, &runs})
	})
	w.town.mu.Lock()
	defer w.town.mu.Unlock()
	for _, r := range runs {
		if err == nil {
			w.town.runs[r.ID] = append(w.town.runs[r.ID], r)
		}
	}
	return err
}

type watchedTx struct {
	releases.Tx
	runs *[]releases.Run
}

func (w watchedTx) PutRun(r releases.Run) error {
	*w.runs = append(*w.runs, r)
	return w.Tx.PutRun(r)
}

// anybody may do anything in town.
type anybody struct{}

func (anybody) Fresh(_ context.Context, a releases.Actor, _, _, _ string, _ time.Time) releases.Actor {
	return a
}
func (anybody) Somewhere(context.Context, releases.Actor, string) bool { return true }

func (anybody) Allow(releases.Actor, string, string, string) error { return nil }

// memory is a folder in memory where there is some.
func memory(t testing.TB) string {
	t.Helper()
	shared := "/dev/shm"
	if _, err := os.Stat(shared); err != nil {
		shared = ""
	}
	dir, err := os.MkdirTemp(shared, "gimletd-town-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func newTown(t *testing.T, environments []releases.Environment, policies []releases.Policy) *town {
	t.Helper()
	w := &town{t: t, dir: memory(t), environments: environments, policies: policies, runs: map[string][]releases.Run{}}
	var err error
	if w.db, err = bolt.Open(bolt.Config{Path: filepath.Join(w.dir, "db")}, time.Now); err != nil {
		t.Fatal(err)
	}
	w.repo = &townRepository{folders: map[string]releases.Folder{}, found: map[string]releases.Result{}}
	return w
}

func (w *town) start() {
	l := &life{}
	w.life = l
	repositories := map[string]releases.Repository{}
	for _, e := range w.environments {
		repositories[e.Repository] = w.repo
	}
	if w.clock == nil {
		w.clock = time.Now
	}
	w.service = releases.NewService(releases.Parts{
		Store: watchedStore{w.db, w, l}, Renderer: townRenderer{}, Repositories: repositories, Environments: w.environments, Policies: w.policies,
		Access: anybody{}, Zone: time.UTC, Now: w.clock, Log: slog.New(slog.DiscardHandler), Loops: releases.NewLoops(), Heartbeat: time.Minute,
		Scratch: func() (releases.Store, func() error, error) { return bolt.Scratch(filepath.Join(w.dir, "db")) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = w.service.Run(ctx); close(ended) }()
	w.stop = func() { l.dead.Store(true); cancel(); <-ended }
}

func (w *town) end() {
	if err := errors.Join(w.db.Close(), os.RemoveAll(w.dir)); err != nil {
		w.t.Error(err)
	}
}

// ship ships a version of an app for all environments; deploys are the policies of its manifests, by environment.
func (w *town) ship(app string, v releases.Version, deploys map[string]*releases.Deploy) *releases.Shipped {
	w.t.Helper()
	w.sha++
	v.RepositoryName = "acme/" + app
	v.SHA = fmt.Sprintf("%07x%033d", w.sha, 0)
	if v.Created == 0 {
		v.Created = time.Now().Unix()
	}
	a := releases.Artifact{Version: v, Vars: map[string]string{"SHA": v.SHA, "BRANCH": v.HeadBranch()}}
	for _, e := range w.environments {
		a.Environments = append(a.Environments, releases.Manifest{App: app, Env: e.Name, Deploy: deploys[e.Name], Manifests: "x: y"})
	}
	return w.ingest(a)
}

func (w *town) ingest(a releases.Artifact) *releases.Shipped {
	w.t.Helper()
	shipped, _, err := w.service.Ingest(w.t.Context(), &a, "", releases.Actor{Name: "ci", Via: releases.ViaAPI, Root: true})
	if err != nil {
		w.t.Fatal(err)
	}
	return shipped
}

// ran are the runs as they were last written, in order of their ticks.
func (w *town) ran() (all []releases.Run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, versions := range w.runs {
		all = append(all, versions[len(versions)-1])
	}
	slices.SortFunc(all, func(a, b releases.Run) int {
		if n := a.Due.Compare(b.Due); n != 0 {
			return n
		}
		return slices.Compare([]string{a.ID}, []string{b.ID})
	})
	return all
}

func ticks(t testing.TB, text, zone string) schedule.Ticks {
	t.Helper()
	made, err := schedule.NewTicks(text, zone)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func globs(t testing.TB, patterns ...string) releases.Globs {
	t.Helper()
	g, err := releases.NewGlobs(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return g
}
