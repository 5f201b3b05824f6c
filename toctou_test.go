package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/releases"
)

// TestNothingElseThanWhatWasVotedOnIsCommitted changes the world between the deciding vote and the push, which git's outage
// keeps apart.
func TestNothingElseThanWhatWasVotedOnIsCommitted(t *testing.T) {
	store := func(p *play, write func(tx releases.Tx) error) {
		p.t.Helper()
		if err := p.db.Update(context.Background(), write); err != nil {
			p.t.Fatal(err)
		}
	}
	leave := func(p *play, person string) { p.group.leave("managers", person) }
	for _, c := range []struct {
		name   string
		change func(p *play, r releases.Release)
		wait   time.Duration // before git answers again
		status releases.Status
		reason string // a part of it
	}{
		{"nothing", func(*play, releases.Release) {}, 0, releases.Published, ""},
		{"nothing, for an hour", func(*play, releases.Release) {}, time.Hour, releases.Published, ""},
		{"the chart", func(p *play, _ releases.Release) { p.chart.Add(1) }, 0, releases.Published, ""},
		{"the artifact's variables", func(p *play, r releases.Release) {
			err := p.db.Update(context.Background(), func(tx releases.Tx) error {
				a, err := tx.Artifact(r.ArtifactID)
				if err != nil {
					return err
				}
				a.Context["SHA"] = "another"
				return tx.PutArtifact(a)
			})
			if err == nil {
				p.t.Error("an artifact that is there was replaced")
			}
			p.chart.Add(1) // and what it would render today is something else, too
		}, 0, releases.Published, ""},
		{"the files in the store", func(p *play, r releases.Release) {
			store(p, func(tx releases.Tx) error {
				return tx.PutFiles(r.ID, []releases.File{{Path: "configmap.yaml", Content: []byte("evil: true\n")}})
			})
		}, 0, releases.Failed, "are not those of its plan"},
		{"the files in the store are gone", func(p *play, r releases.Release) {
			store(p, func(tx releases.Tx) error { return tx.PutFiles(r.ID, nil) })
		}, 0, releases.Failed, "no longer kept"},
		{"the live folder", func(p *play, _ releases.Release) {
			p.byHand("web")
		}, 0, releases.Waiting, "0 of 2 approvals"},
		{"a voter leaves the group", func(p *play, _ releases.Release) { leave(p, "heidi") }, 2 * time.Minute, releases.Waiting, "1 of 2 approvals"},
		{"all voters leave", func(p *play, _ releases.Release) { leave(p, "heidi"); leave(p, "grace") }, 2 * time.Minute, releases.Waiting, "0 of 2 approvals"},
		{"nobody knows any more who is in the group", func(p *play, _ releases.Release) { p.group.fall(true) }, 2 * time.Minute, releases.Approved, "cannot be told now"},
		{"somebody freezes it", func(p *play, _ releases.Release) {
			if _, err := p.service.Freeze(context.Background(), releases.FreezeAsk{Env: "production", Until: time.Now().Add(time.Hour), Reason: "a look", By: root}); err != nil {
				p.t.Error(err)
			}
		}, 0, releases.Waiting, "is frozen until"},
		{"somebody locks it", func(p *play, _ releases.Release) {
			if _, err := p.service.Lock(context.Background(), releases.LockAsk{App: "web", Env: "production", Until: time.Now().Add(time.Hour), Reason: "a look", By: chatActor("ada")}); err != nil {
				p.t.Error(err)
			}
		}, 0, releases.Waiting, "is locked by ada"},
		{"somebody marks it as bad", func(p *play, r releases.Release) {
			if _, err := p.service.MarkBad(context.Background(), releases.MarkAsk{ArtifactID: r.ArtifactID, Reason: "it leaks", By: root}); err != nil {
				p.t.Error(err)
			}
		}, 0, releases.Waiting, "is marked as bad"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlay(t, 1)
				p.rule = modelRule{needs: []releases.Need{{Count: 2, From: []string{"managers"}}}}
				p.quiet = true
				for _, person := range playPeople {
					p.group.members["managers"][person] = true
				}
				p.begin()
				p.ship()
				ctx := context.Background()
				made, err := p.service.Propose(ctx, releases.Ask{App: "web", Env: "production", ArtifactID: p.artifacts[0], By: chatActor("ivan")})
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				p.repo.mu.Lock()
				p.repo.down = true
				p.repo.mu.Unlock()
				r, _ := p.service.Release(ctx, made[0].ID)
				for _, who := range []string{"grace", "heidi"} {
					p.model.Lock()
					p.votes = append(p.votes, modelVote{r.ID, r.Plan.Digest, who, ""})
					p.model.Unlock()
					if _, err := p.service.Vote(ctx, releases.Ballot{ReleaseID: r.ID, Digest: r.Plan.Digest, Yes: true, By: chatActor(who)}); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				c.change(p, r)
				time.Sleep(c.wait)
				p.repo.mu.Lock()
				p.repo.down = false
				p.repo.mu.Unlock()
				p.pass(2 * time.Minute)
				after, err := p.service.Release(ctx, r.ID)
				told := slices.ContainsFunc(after.Steps, func(s releases.Step) bool { return strings.Contains(s.Reason, c.reason) })
				if err != nil || after.Status != c.status || !told {
					t.Errorf("it is %s: %s, %v\n%+v", after.Status, after.Reason, err, after.Steps)
				}
				for _, d := range p.committed() {
					if !strings.Contains(d.Message, "Plan-Digest: "+r.Plan.Digest) {
						t.Errorf("what is committed is not what was voted on:\n%s", d.Message)
					}
				}
				p.stop()
				p.end()
			})
		})
	}
}
