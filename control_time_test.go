package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/releases"
	"gimletd/releases/schedule"
)

// quietPlay is a play of a test's own making: everybody is in every group, artifacts have no policies, and the clock stands
// at noon on Wednesday, 5 January 2000.
func quietPlay(t *testing.T, change func(env *releases.Environment)) *play {
	p := newPlay(t, 1)
	p.quiet, p.unjudged, p.rule, p.change = true, true, modelRule{}, change
	for _, members := range p.group.members {
		for _, person := range playPeople {
			members[person] = true
		}
	}
	time.Sleep(time.Until(time.Date(2000, 1, 5, 12, 0, 0, 0, time.UTC)))
	p.begin()
	return p
}

// told are the outcomes that were published since the last call, as short lines.
func (p *play) told() (lines []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	for {
		o, err := p.db.Next(ctx, p.seen)
		if err != nil {
			return lines
		}
		p.seen = o.Seq
		lines = append(lines, outcomeLine(o))
	}
}

func outcomeLine(o releases.Outcome) string {
	switch {
	case o.Release != nil:
		return fmt.Sprintf("%s of %s: %s", o.Release.App, o.Release.Version.Short(), o.Release.Status)
	case o.Lock != nil:
		return fmt.Sprintf("%s: %s by %s, ended by %q", o.Kind, o.Lock.Where(), o.Lock.Owner.Name, o.Ended)
	case o.Freeze != nil:
		return fmt.Sprintf("%s: %s until %s, ended by %q", o.Kind, o.Freeze.Env, o.Freeze.Until.UTC().Format("Mon 15:04"), o.Ended)
	case o.Review != nil:
		return fmt.Sprintf("%s: the %d. time, signed %v", o.Kind, o.Review.Asked, o.Review.SignedBy != nil)
	}
	return o.Kind
}

// request asks for a release and waits until the service has done what it can.
func (p *play) request(app, artifact, who string) releases.Release {
	p.t.Helper()
	made, err := p.service.Propose(context.Background(), releases.Ask{App: app, Env: "production", ArtifactID: artifact, By: chatActor(who)})
	if err != nil {
		p.t.Fatal(err)
	}
	synctest.Wait()
	return p.now(made[0].ID)
}

func (p *play) now(id string) releases.Release {
	p.t.Helper()
	r, err := p.service.Release(context.Background(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

func (p *play) expect(id string, status releases.Status, reason string) {
	p.t.Helper()
	if r := p.now(id); r.Status != status || !strings.Contains(r.Reason, reason) {
		p.t.Errorf("%s %s is %s: %q, not %s: %q", r.App, id, r.Status, r.Reason, status, reason)
	}
}

func (p *play) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Error(err)
	}
}

func (p *play) refused(err error, kind releases.Kind, words string) {
	p.t.Helper()
	if releases.KindOf(err) != kind || !strings.Contains(err.Error(), words) {
		p.t.Errorf("%v, not %s: %s", err, kind, words)
	}
}

func timeless(t *testing.T, name string, change func(env *releases.Environment), play func(ctx context.Context, p *play)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := quietPlay(t, change)
			play(context.Background(), p)
			p.stop()
			p.once()
			p.chained()
			p.end()
		})
	})
}

func oneVote(env *releases.Environment) {
	env.Approval.Needs = []releases.Need{{Count: 1, From: []string{"managers"}}}
}

func planned(schedules ...string) func(env *releases.Environment) {
	return func(env *releases.Environment) {
		for i, s := range schedules {
			w, err := schedule.NewWindow(s, time.Hour, "UTC")
			if err != nil {
				panic(err)
			}
			env.Freezes = append(env.Freezes, releases.PlannedFreeze{Name: fmt.Sprint("planned-", i), Window: w})
		}
	}
}

func TestWhatTimeDoesToReleases(t *testing.T) {
	freeze := func(p *play, d time.Duration) {
		_, err := p.service.Freeze(context.Background(), releases.FreezeAsk{Env: "production", Until: time.Now().Add(d), Reason: "the migration", By: chatActor("ada")})
		p.ok(err)
	}
	unordered := func(env *releases.Environment) { env.Pause = 10 * time.Second }

	timeless(t, "what a freeze keeps goes on one by one, oldest first, with a pause", unordered, func(_ context.Context, p *play) {
		freeze(p, time.Hour)
		var asked []string
		for _, app := range []string{"c", "a", "b"} {
			asked = append(asked, p.request(app, p.shipFor(app), "ada").ID)
			time.Sleep(time.Second)
		}
		for _, id := range asked {
			p.expect(id, releases.Waiting, "production is frozen until Wed 5 Jan 2000 13:00 UTC: a freeze by ada (the migration)")
		}
		time.Sleep(59 * time.Minute)
		if len(p.repo.commits) > 0 {
			t.Error("something went out in the freeze")
		}
		time.Sleep(2 * time.Minute)
		var apps []string
		for i, c := range p.repo.commits {
			apps = append(apps, path.Base(c.Folder))
			if i > 0 && c.At.Sub(p.repo.commits[i-1].At) < 10*time.Second {
				t.Errorf("there are only %s between two of them", c.At.Sub(p.repo.commits[i-1].At))
			}
		}
		if !slices.Equal(apps, []string{"c", "a", "b"}) {
			t.Errorf("the order is %v", apps)
		}
	})
	timeless(t, "who has lost the right meanwhile is not served", nil, func(_ context.Context, p *play) {
		p.group.members["releasers"] = map[string]bool{"ada": true, "ivan": true}
		p.access.Roles[0].Members = []string{"chat:@releasers"}
		p.group.members["releasers"]["heidi"] = true
		freeze(p, time.Hour)
		lost := p.request("a", p.shipFor("a"), "heidi")
		kept := p.request("b", p.shipFor("b"), "ivan")
		delete(p.group.members["releasers"], "heidi")
		time.Sleep(2 * time.Hour)
		p.expect(lost.ID, releases.Cancelled, "heidi asked for it, and has no right to any more")
		p.expect(kept.ID, releases.Published, "")
	})
	timeless(t, "when nobody knows who may, what waits goes on waiting", nil, func(_ context.Context, p *play) {
		p.access.Roles[0].Members = []string{"chat:@managers"}
		freeze(p, time.Hour)
		r := p.request("a", p.shipFor("a"), "heidi")
		p.group.down = true
		time.Sleep(2 * time.Hour)
		p.expect(r.ID, releases.Waiting, "")
		p.group.down = false
		time.Sleep(time.Minute)
		p.expect(r.ID, releases.Published, "")
	})
	timeless(t, "a newer request takes the place of one that waits for a freeze to end", nil, func(_ context.Context, p *play) {
		first := p.shipFor("a")
		freeze(p, time.Hour)
		old := p.request("a", first, "ada")
		fresh := p.request("a", p.shipFor("a"), "ivan")
		p.expect(old.ID, releases.Superseded, fresh.ID+" of ")
		time.Sleep(2 * time.Hour)
		p.expect(fresh.ID, releases.Published, "")
	})
	timeless(t, "a folder that was changed in the freeze is planned anew", nil, func(_ context.Context, p *play) {
		freeze(p, time.Hour)
		r := p.request("a", p.shipFor("a"), "ada")
		p.repo.folders["production/a"] = releases.Folder{Tree: strings.Repeat("a", 40), Files: []releases.File{{Path: "by-hand.yaml", Content: []byte("x: 1\n")}}}
		time.Sleep(2 * time.Hour)
		p.expect(r.ID, releases.Published, "")
		if after := p.now(r.ID); after.Plan.Digest == r.Plan.Digest || len(p.repo.commits) != 1 {
			t.Errorf("%d commits, of the plan that it waited with", len(p.repo.commits))
		}
	})
	timeless(t, "votes may be cast in a freeze, do not expire in it, and count after it", func(env *releases.Environment) {
		oneVote(env)
		env.Approval.ExpiresAfter = 10 * time.Minute
	}, func(ctx context.Context, p *play) {
		freeze(p, time.Hour)
		r := p.request("a", p.shipFor("a"), "ada")
		p.expect(r.ID, releases.Waiting, "0 of 1 approvals of managers")
		time.Sleep(30 * time.Minute)
		after, err := p.service.Vote(ctx, releases.Ballot{ReleaseID: r.ID, Yes: true, By: chatActor("grace")})
		p.ok(err)
		if after.Status != releases.Waiting || after.Needs(releases.BlockVotes) {
			t.Errorf("%+v", after)
		}
		time.Sleep(time.Hour)
		p.expect(r.ID, releases.Published, "")
	})
	timeless(t, "without votes they expire, counted from the end of the freeze, also at the click", func(env *releases.Environment) {
		oneVote(env)
		env.Approval.ExpiresAfter = 10 * time.Minute
	}, func(ctx context.Context, p *play) {
		freeze(p, time.Hour)
		r := p.request("a", p.shipFor("a"), "ada")
		time.Sleep(time.Hour + 9*time.Minute)
		p.expect(r.ID, releases.Waiting, "0 of 1 approvals")
		time.Sleep(65 * time.Second)
		_, err := p.service.Vote(ctx, releases.Ballot{ReleaseID: r.ID, Yes: true, By: chatActor("grace")})
		if err == nil {
			t.Error("a late vote counted")
		}
		p.expect(r.ID, releases.Expired, "nobody decided until")
	})
	timeless(t, "planned freezes are told when they begin and end, and can be ended before", planned("0 14 * * *", "30 14 * * *", "0 20 * * *"), func(ctx context.Context, p *play) {
		r := p.request("a", p.shipFor("a"), "ada")
		p.expect(r.ID, releases.Published, "")
		p.told()
		time.Sleep(2*time.Hour + time.Minute)
		if got := strings.Join(p.told(), "\n"); got != `freeze.changed: production until Wed 15:00, ended by ""` {
			t.Errorf("at its beginning: %s", got)
		}
		r = p.request("a", p.shipFor("a"), "ada")
		p.expect(r.ID, releases.Waiting, "production is frozen until Wed 5 Jan 2000 15:00 UTC: the freeze planned-0")
		p.told()
		time.Sleep(time.Hour)
		p.expect(r.ID, releases.Waiting, "production is frozen until Wed 5 Jan 2000 15:30 UTC: the freeze planned-1")
		ended, err := p.service.Unfreeze(ctx, releases.FreezeAsk{Env: "production", ID: "planned-1", By: chatActor("ada")})
		p.ok(err)
		if len(ended) != 1 {
			t.Errorf("%d freezes were ended", len(ended))
		}
		time.Sleep(time.Minute)
		p.expect(r.ID, releases.Published, "")
		_, next, err := p.service.Freezes(ctx, "production")
		p.ok(err)
		if next == nil || next.From.Hour() != 20 {
			t.Errorf("next is %+v", next)
		}
		time.Sleep(24 * time.Hour) // another day, another window
		r = p.request("a", p.shipFor("a"), "ada")
		p.expect(r.ID, releases.Waiting, "planned-1")
	})
	timeless(t, "a lock keeps others out, its owner is reminded, and it ends by itself", nil, func(ctx context.Context, p *play) {
		until := time.Now().Add(2 * time.Hour)
		_, err := p.service.Lock(ctx, releases.LockAsk{App: "a", Env: "production", Until: until, Reason: "a look", By: chatActor("grace")})
		p.ok(err)
		mine := p.request("a", p.shipFor("a"), "grace")
		p.expect(mine.ID, releases.Published, "")
		theirs := p.request("a", p.shipFor("a"), "ada")
		p.expect(theirs.ID, releases.Waiting, "a in production is locked by grace until Wed 5 Jan 2000 14:00 UTC: a look")
		elsewhere := p.request("b", p.shipFor("b"), "ada")
		p.expect(elsewhere.ID, releases.Published, "")
		p.told()
		time.Sleep(61 * time.Minute)
		if got := strings.Join(p.told(), "\n"); got != `lock.due: a in production by grace, ended by ""` {
			t.Errorf("at half of its time: %s", got)
		}
		time.Sleep(time.Hour)
		if got := strings.Join(p.told(), "\n"); !strings.HasPrefix(got, `lock.changed: a in production by grace, ended by "gimletd"`) {
			t.Errorf("at its end: %s", got)
		}
		p.expect(theirs.ID, releases.Published, "")
	})
	timeless(t, "a lock on everything keeps out of each app; a rollback passes", nil, func(ctx context.Context, p *play) {
		p.request("a", p.shipFor("a"), "ada")
		p.request("a", p.shipFor("a"), "ada")
		_, err := p.service.Lock(ctx, releases.LockAsk{App: releases.AllApps, Env: "production", Until: time.Now().Add(time.Hour), Reason: "a look", By: chatActor("grace")})
		p.ok(err)
		freeze(p, time.Hour)
		back, err := p.service.Rollback(ctx, releases.RollbackAsk{App: "a", Env: "production", By: chatActor("ivan")})
		p.ok(err)
		synctest.Wait()
		p.expect(back.ID, releases.Published, "")
	})
	timeless(t, "a rollback waits where the configuration says so", func(env *releases.Environment) {
		env.Rollbacks = []string{releases.BlockFreeze}
	}, func(ctx context.Context, p *play) {
		p.request("a", p.shipFor("a"), "ada")
		p.request("a", p.shipFor("a"), "ada")
		freeze(p, time.Hour)
		back, err := p.service.Rollback(ctx, releases.RollbackAsk{App: "a", Env: "production", By: chatActor("ivan")})
		p.ok(err)
		synctest.Wait()
		p.expect(back.ID, releases.Waiting, "is frozen")
		time.Sleep(2 * time.Hour)
		p.expect(back.ID, releases.Published, "")
	})
	timeless(t, "a broken glass is reviewed the next morning, each day, until somebody else signs it off", oneVote, func(ctx context.Context, p *play) {
		r := p.request("a", p.shipFor("a"), "ada")
		_, err := p.service.BreakGlass(ctx, releases.GlassAsk{ReleaseID: r.ID, By: chatActor("ada")})
		p.refused(err, releases.Invalid, "reason: missing")
		_, err = p.service.BreakGlass(ctx, releases.GlassAsk{ReleaseID: r.ID, Reason: "it burns", By: chatActor("ada")})
		p.ok(err)
		_, err = p.service.BreakGlass(ctx, releases.GlassAsk{ReleaseID: r.ID, By: chatActor("ada")})
		p.refused(err, releases.Conflict, "a second person")
		_, err = p.service.BreakGlass(ctx, releases.GlassAsk{ReleaseID: r.ID, By: chatActor("grace")})
		p.ok(err)
		synctest.Wait()
		p.expect(r.ID, releases.Published, "")
		for _, want := range []string{"Break-glass-by: ada <ada@example.com>", "Break-glass-by: grace <grace@example.com>", "Break-glass-reason: it burns"} {
			if !strings.Contains(p.repo.commits[0].Message, want) {
				t.Errorf("the commit does not say %s:\n%s", want, p.repo.commits[0].Message)
			}
		}
		p.told()
		time.Sleep(20*time.Hour + 59*time.Minute)
		if got := p.told(); len(got) > 0 {
			t.Errorf("at night: %v", got)
		}
		time.Sleep(2 * time.Minute)
		if got := strings.Join(p.told(), "\n"); got != "review.due: the 1. time, signed false" {
			t.Errorf("in the morning: %s", got)
		}
		time.Sleep(24 * time.Hour)
		if got := strings.Join(p.told(), "\n"); got != "review.due: the 2. time, signed false" {
			t.Errorf("a day later: %s", got)
		}
		_, err = p.service.SignOff(ctx, r.ID, "", chatActor("grace"), time.Time{})
		p.refused(err, releases.NotAllowed, "you broke the glass")
		_, err = p.service.SignOff(ctx, r.ID, "it was needed", chatActor("ivan"), time.Time{})
		p.ok(err)
		time.Sleep(48 * time.Hour)
		if got := strings.Join(p.told(), "\n"); got != "review.due: the 2. time, signed true" {
			t.Errorf("signed off: %s", got)
		}
	})
	timeless(t, "a glass that was asked to break falls with the plan", oneVote, func(ctx context.Context, p *play) {
		r := p.request("a", p.shipFor("a"), "ada")
		_, err := p.service.BreakGlass(ctx, releases.GlassAsk{ReleaseID: r.ID, Reason: "it burns", By: chatActor("ada")})
		p.ok(err)
		p.repo.folders["production/a"] = releases.Folder{Tree: strings.Repeat("a", 40), Files: []releases.File{{Path: "by-hand.yaml", Content: []byte("x: 1\n")}}}
		_, err = p.service.Vote(ctx, releases.Ballot{ReleaseID: r.ID, Yes: true, By: chatActor("ivan")}) // it is published, and planned again
		p.ok(err)
		synctest.Wait()
		_, err = p.service.BreakGlass(ctx, releases.GlassAsk{ReleaseID: r.ID, By: chatActor("grace")})
		p.refused(err, releases.Invalid, "reason: missing")
	})
	timeless(t, "a delegation lets somebody vote until it ends; two people's votes count once", func(env *releases.Environment) {
		env.Approval.Needs = []releases.Need{{Count: 2, From: []string{"security"}}}
	}, func(ctx context.Context, p *play) {
		delete(p.group.members["security"], "heidi")
		vote := func(r releases.Release, who string) (releases.Release, error) {
			return p.service.Vote(ctx, releases.Ballot{ReleaseID: r.ID, Yes: true, By: chatActor(who)})
		}
		r := p.request("a", p.shipFor("a"), "ada")
		_, err := vote(r, "heidi")
		p.refused(err, releases.NotAllowed, "needs security")
		p.ok(p.service.Delegate(ctx, releases.Delegation{From: chatActor("grace"), To: chatActor("heidi"), Until: time.Now().Add(time.Hour)}))
		after, err := vote(r, "heidi")
		p.ok(err)
		if after.Reason != "1 of 2 approvals of security" {
			t.Errorf("%s", after.Reason)
		}
		after, err = vote(r, "grace") // who is back: it is hers, and counts once
		p.ok(err)
		if after.Reason != "1 of 2 approvals of security" || len(after.Approvals()) != 1 || after.Approvals()[0].By.Name != "grace" {
			t.Errorf("%s %+v", after.Reason, after.Approvals())
		}
		_, err = vote(r, "ivan")
		p.ok(err)
		synctest.Wait()
		p.expect(r.ID, releases.Published, "")
		p.ok(p.service.Delegate(ctx, releases.Delegation{From: chatActor("judy"), To: chatActor("heidi"), Until: time.Now().Add(time.Hour)}))
		time.Sleep(2 * time.Hour)
		_, err = vote(p.request("a", p.shipFor("a"), "ada"), "heidi")
		p.refused(err, releases.NotAllowed, "needs security")
	})
	timeless(t, "a release that brings very much at once asks", func(env *releases.Environment) { env.MaxCommits = 3 }, func(ctx context.Context, p *play) {
		p.request("a", p.shipFor("a"), "ada")
		few := p.shipFor("a")
		p.expect(p.request("a", few, "ada").ID, releases.Published, "")
		var newest string
		for range 4 {
			newest = p.shipFor("a")
		}
		r := p.request("a", newest, "ada")
		p.expect(r.ID, releases.Waiting, "0 of 1 approvals: it brings 4 commits at once, and production takes 3 unasked")
		_, err := p.service.Vote(ctx, releases.Ballot{ReleaseID: r.ID, Yes: true, By: chatActor("grace")})
		p.ok(err)
		synctest.Wait()
		p.expect(r.ID, releases.Published, "")
	})
	timeless(t, "a version that is marked as bad is not offered, and waits when it is named", nil, func(ctx context.Context, p *play) {
		good, bad := p.shipFor("a"), p.shipFor("a")
		p.request("a", good, "ada")
		_, err := p.service.MarkBad(ctx, releases.MarkAsk{ArtifactID: bad, Reason: "it leaks", By: chatActor("ada")})
		p.ok(err)
		newest, err := p.service.Resolve(ctx, "a", "production", "")
		p.ok(err)
		if newest.ID != good {
			t.Errorf("%s is offered", newest.ID)
		}
		if branch, err := p.service.Resolve(ctx, "a", "production", "main"); err != nil || branch.ID != good {
			t.Errorf("%v is what the branch means: %v", branch, err)
		}
		r := p.request("a", bad, "ada")
		p.expect(r.ID, releases.Waiting, "is marked as bad by ada: it leaks")
		_, err = p.service.ClearMark(ctx, releases.MarkAsk{ArtifactID: bad, By: chatActor("ada")})
		p.ok(err)
		time.Sleep(time.Minute)
		p.expect(r.ID, releases.Published, "")
	})
}

// TestClocksThatJump moves the clock against what was written before.
func TestClocksThatJump(t *testing.T) {
	timeless(t, "forward over a freeze's end", nil, func(ctx context.Context, p *play) {
		_, err := p.service.Freeze(ctx, releases.FreezeAsk{Env: "production", Until: time.Now().Add(time.Hour), Reason: "x", By: chatActor("ada")})
		p.ok(err)
		r := p.request("a", p.shipFor("a"), "ada")
		p.skew = 90 * time.Minute
		time.Sleep(time.Minute)
		p.expect(r.ID, releases.Published, "")
	})
	timeless(t, "back to before a freeze's beginning", nil, func(ctx context.Context, p *play) {
		_, err := p.service.Freeze(ctx, releases.FreezeAsk{Env: "production", Until: time.Now().Add(time.Hour), Reason: "x", By: chatActor("ada")})
		p.ok(err)
		p.skew = -time.Hour
		r := p.request("a", p.shipFor("a"), "ada")
		p.expect(r.ID, releases.Waiting, "is frozen") // it was declared, and did not end
		p.skew = 0
		time.Sleep(2 * time.Hour)
		p.expect(r.ID, releases.Published, "")
	})
}
