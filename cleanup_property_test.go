package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/releases"
)

// TestOnlyPreviewsOfTheBranchVanish plays random histories of shipping, releasing, rolling back, holding, editing by hand and
// deleting branches, and judges each commit that removes a folder: it must have been as a release of a preview of that branch
// wrote it, and the branch must have been deleted since. What must go, goes.
func TestOnlyPreviewsOfTheBranchVanish(t *testing.T) {
	t.Parallel()
	var removals, kept atomic.Int64
	histories := *sequences
	for seed := range uint64(histories) {
		synctest.Test(t, func(t *testing.T) {
			h := newPreviewHistory(t, seed)
			h.play()
			removals.Add(int64(h.removed))
			kept.Add(int64(h.stayed))
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if removals.Load() < int64(histories)/2 || kept.Load() < int64(histories)/2 {
		t.Errorf("%d folders went and %d stayed in %d histories: that proves nothing", removals.Load(), kept.Load(), histories)
	}
	t.Logf("%d histories, %d folders went, %d stayed where a careless cleanup would have taken them", histories, removals.Load(), kept.Load())
}

// previewHistory is a history and what the judge knows of it.
type previewHistory struct {
	*town
	rand      *rand.Rand
	artifacts map[string]shippedPreview
	owner     map[string]string    // folder → release that wrote it last
	byHand    map[string]bool      // folder → changed since by somebody else
	deleted   map[string]time.Time // repository branch → when it was deleted last
	removed   int
	stayed    int
}

// shippedPreview is an artifact as the judge remembers it.
type shippedPreview struct {
	repository, branch string
	previews           map[string]bool // apps of its manifests that are previews
}

func newPreviewHistory(t *testing.T, seed uint64) *previewHistory {
	h := &previewHistory{
		rand: rand.New(rand.NewPCG(seed, 5)), artifacts: map[string]shippedPreview{}, owner: map[string]string{}, byHand: map[string]bool{},
		deleted: map[string]time.Time{},
	}
	h.town = newTown(t, []releases.Environment{{Name: "dev", Repository: "main", Path: "dev"}, {Name: "staging", Repository: "main", Path: "staging"}}, nil)
	h.repo.judge = h.look
	return h
}

// look judges a commit as it arrives.
func (h *previewHistory) look(d releases.Draft, before releases.Folder) {
	if len(d.Files) > 0 {
		h.owner[d.Folder], h.byHand[d.Folder] = d.ReleaseID, false
		return
	}
	h.removed++
	say := func(format string, args ...any) {
		h.t.Errorf("%s vanished (%s): %s", d.Folder, strings.SplitN(d.Message, "\n", 2)[0], fmt.Sprintf(format, args...))
	}
	if before.Tree == "" {
		say("there was nothing")
	}
	if h.byHand[d.Folder] {
		say("somebody had changed it by hand")
	}
	writer := h.owner[d.Folder]
	if writer == "" {
		say("no release of ours wrote it")
		return
	}
	r, err := h.service.Release(h.t.Context(), writer)
	if err != nil {
		h.t.Error(err)
		return
	}
	a := h.artifacts[r.ArtifactID]
	if !a.previews[r.App] {
		say("%s, which wrote it, was no preview", writer)
	}
	if gone := h.deleted[a.repository+" "+a.branch]; gone.IsZero() || gone.Before(r.Created) {
		say("branch %s of %s was not deleted since it was asked for", a.branch, a.repository)
	}
	delete(h.owner, d.Folder)
}

var previewBranches = []string{"main", "feature/a", "feature/b", "fix/c", "release-1"}

func (h *previewHistory) play() {
	defer h.end()
	h.start()
	defer func() { h.stop() }()
	me := releases.Actor{Name: "ada", Via: "console", User: "ada", Root: true}
	ctx := h.t.Context()
	for range 25 + h.rand.IntN(25) {
		time.Sleep(time.Duration(1+h.rand.IntN(50)) * time.Minute)
		app, branch := h.anyApp()
		env := pick(h.rand, "dev", "staging")
		switch h.rand.IntN(14) {
		case 0, 1, 2, 3, 4, 5:
			h.shipPreview(pick(h.rand, "web", "api"), pick(h.rand, previewBranches...))
		case 6:
			_, _ = h.service.Rollback(ctx, releases.RollbackAsk{App: app, Env: env, By: me})
		case 7:
			_ = h.service.Hold(ctx, app, env, "because", me, time.Time{})
		case 8:
			_ = h.service.Resume(ctx, app, env, me, time.Time{})
		case 9:
			h.repo.edit(env + "/" + app)
			h.byHand[env+"/"+app] = true
		case 10: // a person puts some other version in its place
			all, err := h.service.Artifacts(ctx, releases.ArtifactQuery{Target: releases.Target{App: app, Env: env}, Limit: 20})
			if err == nil && len(all) > 0 {
				_, _ = h.service.Propose(ctx, releases.Ask{App: app, Env: env, ArtifactID: all[h.rand.IntN(len(all))].ID, By: me})
			}
		default:
			h.delete(pick(h.rand, "acme/web", "acme/api", "acme/other"), branch)
		}
		if h.rand.IntN(10) > 0 { // sometimes things happen at once
			synctest.Wait()
		}
		if h.rand.IntN(12) == 0 {
			h.stop()
			h.start()
		}
	}
	synctest.Wait()
}

// anyApp is an app that there could be, and a branch.
func (h *previewHistory) anyApp() (app, branch string) {
	branch = pick(h.rand, previewBranches...)
	app = pick(h.rand, "web", "api")
	if h.rand.IntN(2) == 0 {
		app += "-" + strings.ReplaceAll(branch, "/", "-")
	}
	return app, branch
}

// shipPreview ships a version with an app that stays, one that goes with the branch, and cleanups that name what they should not.
func (h *previewHistory) shipPreview(app, branch string) {
	h.sha++
	sha := fmt.Sprintf("%07x%033d", h.sha, 0)
	slug, yes := strings.ReplaceAll(branch, "/", "-"), true
	every := &releases.Deploy{Event: releases.EventPush}
	v := releases.Version{RepositoryName: "acme/" + app, SHA: sha, Branch: branch, Event: releases.EventPush, Created: time.Now().Unix()}
	if h.rand.IntN(4) == 0 {
		v.Event, v.SourceBranch, v.Branch = releases.EventPR, branch, "main"
		every = &releases.Deploy{Event: releases.EventPR}
	}
	a := releases.Artifact{Version: v, Vars: map[string]string{"SHA": sha, "SLUG": slug, "BRANCH": branch}}
	known := shippedPreview{repository: v.RepositoryName, branch: branch, previews: map[string]bool{}}
	stays := releases.Manifest{App: app, Env: "dev", Manifests: "x: y", Deploy: every}
	switch h.rand.IntN(4) {
	case 0: // a cleanup of another app than its own
		stays.Cleanup = &releases.Cleanup{App: pick(h.rand, "web", "api", "web-main", "api-feature-a"), Branch: "*", Event: releases.BranchDeleted}
		known.previews[app] = stays.Cleanup.App == app
	case 1:
		stays.Cleanup = &releases.Cleanup{App: app, Branch: pick(h.rand, "!main", "feature/*"), Event: releases.BranchDeleted}
		known.previews[app] = true
	}
	goes := releases.Manifest{App: app + "-${SLUG}", Env: "staging", Manifests: "x: y", Deploy: every}
	switch h.rand.IntN(3) {
	case 0:
		goes.Preview = &yes
		known.previews[app+"-"+slug] = true
	case 1:
		goes.Cleanup = &releases.Cleanup{App: app + "-${SLUG}", Branch: pick(h.rand, "*", "!main", "feature/*"), Event: releases.BranchDeleted}
		known.previews[app+"-"+slug] = true
	}
	a.Environments = []releases.Manifest{stays, goes}
	h.artifacts[h.ingest(a).ID] = known
}

// delete deletes a branch, and checks that what had to go did.
func (h *previewHistory) delete(repository, branch string) {
	synctest.Wait()
	h.deleted[repository+" "+branch] = time.Now()
	_, decisions, _, err := h.service.DeleteBranch(h.t.Context(), releases.Deletion{Repository: repository, Branch: branch, By: releases.Actor{Name: "github", Via: releases.ViaWebhook}})
	if err != nil {
		h.t.Error(err)
		return
	}
	synctest.Wait()
	for _, d := range decisions {
		folder := d.Env + "/" + d.App
		h.repo.mu.Lock()
		there := h.repo.folders[folder].Tree != ""
		h.repo.mu.Unlock()
		switch {
		case !d.Fires && there:
			h.stayed++
		case d.Fires && !h.says(repository, branch, d):
			h.t.Errorf("%s goes with branch %s of %s, and no manifest of its newest version says so", folder, branch, repository)
		case d.Fires && there && !h.byHand[folder]:
			h.t.Errorf("%s is still there after branch %s of %s was deleted: %s", folder, branch, repository, d.Reason)
		}
	}
	// A preview of the branch's newest version that nobody has touched does not stay.
	lives, err := h.service.Status(h.t.Context(), "staging", "")
	if err != nil {
		h.t.Error(err)
	}
	for _, st := range lives {
		if st.Live == nil || st.Hold != nil || h.byHand["staging/"+st.App] {
			continue
		}
		a := h.artifacts[st.Live.ArtifactID]
		newest := h.newest(repository, branch)
		if a.repository == repository && a.branch == branch && newest == st.Live.ArtifactID && a.previews[st.App] && h.takes(st.App, branch) {
			h.t.Errorf("%s in staging outlived branch %s of %s", st.App, branch, repository)
		}
	}
}

// says reports whether a manifest of the branch's newest artifact says that the app goes with it.
func (h *previewHistory) says(repository, branch string, d releases.Decision) bool {
	a, err := h.service.Artifact(h.t.Context(), h.newest(repository, branch))
	if err != nil {
		return false
	}
	slug := strings.ReplaceAll(branch, "/", "-")
	for _, m := range a.Environments {
		app := m.App
		if m.Cleanup != nil {
			app = m.Cleanup.App
		}
		if m.Env == d.Env && strings.ReplaceAll(app, "${SLUG}", slug) == d.App && (m.Cleanup == nil || forBranch(m.Cleanup.Branch, branch)) {
			return true
		}
	}
	return false
}

// takes reports whether the newest artifact's cleanup is for the branch.
func (h *previewHistory) takes(app, branch string) bool {
	all, err := h.service.Artifacts(h.t.Context(), releases.ArtifactQuery{Target: releases.Target{App: app, Env: "staging"}, Limit: 1})
	if err != nil || len(all) == 0 {
		return false
	}
	m := all[0].Environments[1]
	return m.Cleanup == nil || forBranch(m.Cleanup.Branch, branch)
}

// forBranch knows the patterns of this test.
func forBranch(pattern, branch string) bool {
	switch pattern {
	case "!main":
		return branch != "main"
	case "feature/*":
		return strings.HasPrefix(branch, "feature/")
	}
	return true
}

// newest is the newest artifact of the branch.
func (h *previewHistory) newest(repository, branch string) (id string) {
	all, err := h.service.Artifacts(h.t.Context(), releases.ArtifactQuery{Repository: repository, Limit: 1000})
	if err != nil {
		h.t.Error(err)
	}
	for _, a := range all {
		if h.artifacts[a.ID].branch == branch {
			return a.ID
		}
	}
	return ""
}
