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

	"gimletd/commands"
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

// again ends the life of the process and begins the next, with what was changed meanwhile.
func (p *play) again() {
	p.stop()
	p.begin()
	synctest.Wait()
}

// pass lets time pass, and the service do what it does.
func (p *play) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// committed are the commits so far.
func (p *play) committed() []releases.Draft {
	p.repo.mu.Lock()
	defer p.repo.mu.Unlock()
	return slices.Clone(p.repo.commits)
}

// byHand changes an app's folder as somebody else would.
func (p *play) byHand(app string) {
	p.repo.mu.Lock()
	defer p.repo.mu.Unlock()
	p.repo.folders["production/"+app] = releases.Folder{Tree: strings.Repeat("a", 40), Files: []releases.File{{Path: "by-hand.yaml", Content: []byte("x: 1\n")}}}
}

func (g *modelGroups) leave(group, person string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.members[group], person)
	g.left[group+"/"+person] = time.Now()
}

func (g *modelGroups) fall(down bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = down
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
			p := quietPlay(t, func(env *releases.Environment) {
				env.Approval.ExpiresAfter, env.Approval.RemindAfter = 0, 0
				if change != nil {
					change(env)
				}
			})
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
			p.pass(time.Second)
		}
		for _, id := range asked {
			p.expect(id, releases.Waiting, "production is frozen until Wed 5 Jan 2000 13:00 UTC: a freeze by ada (the migration)")
		}
		p.pass(59 * time.Minute)
		if len(p.committed()) > 0 {
			t.Error("something went out in the freeze")
		}
		p.pass(2 * time.Minute)
		var apps []string
		for i, c := range p.committed() {
			apps = append(apps, path.Base(c.Folder))
			if i > 0 && c.At.Sub(p.committed()[i-1].At) < 10*time.Second {
				t.Errorf("there are only %s between two of them", c.At.Sub(p.committed()[i-1].At))
			}
		}
		if !slices.Equal(apps, []string{"c", "a", "b"}) {
			t.Errorf("the order is %v", apps)
		}
	})
	timeless(t, "who has lost the right meanwhile is not served", nil, func(_ context.Context, p *play) {
		freeze(p, time.Hour)
		lost := p.request("a", p.shipFor("a"), "heidi")
		kept := p.request("b", p.shipFor("b"), "ivan")
		p.group.leave("everybody", "heidi")
		p.pass(2 * time.Hour)
		p.expect(lost.ID, releases.Cancelled, "heidi asked for it, and has no right to any more")
		p.expect(kept.ID, releases.Published, "")
	})
	timeless(t, "when nobody knows who may, what waits goes on waiting", nil, func(_ context.Context, p *play) {
		freeze(p, time.Hour)
		r := p.request("a", p.shipFor("a"), "heidi")
		p.group.fall(true)
		p.pass(2 * time.Hour)
		p.expect(r.ID, releases.Waiting, "")
		p.group.fall(false)
		p.pass(time.Minute)
		p.expect(r.ID, releases.Published, "")
	})
	timeless(t, "a newer request takes the place of one that waits for a freeze to end", nil, func(_ context.Context, p *play) {
		first := p.shipFor("a")
		freeze(p, time.Hour)
		old := p.request("a", first, "ada")
		fresh := p.request("a", p.shipFor("a"), "ivan")
		p.expect(old.ID, releases.Superseded, fresh.ID+" of ")
		p.pass(2 * time.Hour)
		p.expect(fresh.ID, releases.Published, "")
	})
	timeless(t, "a folder that was changed in the freeze is planned anew", nil, func(_ context.Context, p *play) {
		freeze(p, time.Hour)
		r := p.request("a", p.shipFor("a"), "ada")
		p.byHand("a")
		p.pass(2 * time.Hour)
		p.expect(r.ID, releases.Published, "")
		if after := p.now(r.ID); after.Plan.Digest == r.Plan.Digest || len(p.committed()) != 1 {
			t.Errorf("%d commits, of the plan that it waited with", len(p.committed()))
		}
	})
	timeless(t, "votes may be cast in a freeze, do not expire in it, and count after it", func(env *releases.Environment) {
		oneVote(env)
		env.Approval.ExpiresAfter = 10 * time.Minute
	}, func(ctx context.Context, p *play) {
		freeze(p, time.Hour)
		r := p.request("a", p.shipFor("a"), "ada")
		p.expect(r.ID, releases.Waiting, "0 of 1 approvals of managers")
		p.pass(30 * time.Minute)
		after, err := p.service.Vote(ctx, releases.Ballot{ReleaseID: r.ID, Yes: true, By: chatActor("grace")})
		p.ok(err)
		if after.Status != releases.Waiting || after.Needs(releases.BlockVotes) {
			t.Errorf("%+v", after)
		}
		p.pass(time.Hour)
		p.expect(r.ID, releases.Published, "")
	})
	timeless(t, "without votes they expire, counted from the end of the freeze, also at the click", func(env *releases.Environment) {
		oneVote(env)
		env.Approval.ExpiresAfter = 10 * time.Minute
	}, func(ctx context.Context, p *play) {
		freeze(p, time.Hour)
		r := p.request("a", p.shipFor("a"), "ada")
		p.pass(time.Hour + 9*time.Minute)
		p.expect(r.ID, releases.Waiting, "0 of 1 approvals")
		p.pass(65 * time.Second)
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
		p.pass(2*time.Hour + time.Minute)
		if got := strings.Join(p.told(), "\n"); got != `freeze.changed: production until Wed 15:00, ended by ""` {
			t.Errorf("at its beginning: %s", got)
		}
		r = p.request("a", p.shipFor("a"), "ada")
		p.expect(r.ID, releases.Waiting, "production is frozen until Wed 5 Jan 2000 15:00 UTC: the freeze planned-0")
		p.told()
		p.pass(time.Hour)
		p.expect(r.ID, releases.Waiting, "production is frozen until Wed 5 Jan 2000 15:30 UTC: the freeze planned-1")
		ended, err := p.service.Unfreeze(ctx, releases.FreezeAsk{Env: "production", ID: "planned-1", By: chatActor("ada")})
		p.ok(err)
		if len(ended) != 1 {
			t.Errorf("%d freezes were ended", len(ended))
		}
		p.pass(time.Minute)
		p.expect(r.ID, releases.Published, "")
		_, next, err := p.service.Freezes(ctx, "production")
		p.ok(err)
		if next == nil || next.From.Hour() != 20 {
			t.Errorf("next is %+v", next)
		}
		p.pass(24 * time.Hour) // another day, another window
		r = p.request("a", p.shipFor("a"), "ada")
		p.expect(r.ID, releases.Waiting, "planned-1")
	})
	timeless(t, "a lock keeps others out, its owner is reminded, and it ends by itself", nil, func(ctx context.Context, p *play) {
		version, until := p.shipFor("a"), time.Now().Add(2*time.Hour)
		_, err := p.service.Lock(ctx, releases.LockAsk{App: "a", Env: "production", Until: until, Reason: "a look", By: chatActor("grace")})
		p.ok(err)
		mine := p.request("a", version, "grace")
		p.expect(mine.ID, releases.Published, "")
		theirs := p.request("a", p.shipFor("a"), "ada")
		p.expect(theirs.ID, releases.Waiting, "a in production is locked by grace until Wed 5 Jan 2000 14:00 UTC: a look")
		elsewhere := p.request("b", p.shipFor("b"), "ada")
		p.expect(elsewhere.ID, releases.Published, "")
		p.told()
		p.pass(61 * time.Minute)
		if got := strings.Join(p.told(), "\n"); got != `lock.due: a in production by grace, ended by ""` {
			t.Errorf("at half of its time: %s", got)
		}
		p.pass(time.Hour)
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
		p.pass(2 * time.Hour)
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
			if !strings.Contains(p.committed()[0].Message, want) {
				t.Errorf("the commit does not say %s:\n%s", want, p.committed()[0].Message)
			}
		}
		p.told()
		p.pass(20*time.Hour + 59*time.Minute)
		if got := p.told(); len(got) > 0 {
			t.Errorf("at night: %v", got)
		}
		p.pass(2 * time.Minute)
		if got := strings.Join(p.told(), "\n"); got != "review.due: the 1. time, signed false" {
			t.Errorf("in the morning: %s", got)
		}
		p.pass(24 * time.Hour)
		if got := strings.Join(p.told(), "\n"); got != "review.due: the 2. time, signed false" {
			t.Errorf("a day later: %s", got)
		}
		_, err = p.service.SignOff(ctx, r.ID, "", chatActor("grace"), time.Time{})
		p.refused(err, releases.NotAllowed, "you broke the glass")
		_, err = p.service.SignOff(ctx, r.ID, "it was needed", chatActor("ivan"), time.Time{})
		p.ok(err)
		p.pass(48 * time.Hour)
		if got := strings.Join(p.told(), "\n"); got != "review.due: the 2. time, signed true" {
			t.Errorf("signed off: %s", got)
		}
	})
	timeless(t, "a glass that was asked to break falls with the plan", oneVote, func(ctx context.Context, p *play) {
		r := p.request("a", p.shipFor("a"), "ada")
		_, err := p.service.BreakGlass(ctx, releases.GlassAsk{ReleaseID: r.ID, Reason: "it burns", By: chatActor("ada")})
		p.ok(err)
		p.byHand("a")
		_, err = p.service.Vote(ctx, releases.Ballot{ReleaseID: r.ID, Yes: true, By: chatActor("ivan")}) // it is published, and planned again
		p.ok(err)
		synctest.Wait()
		_, err = p.service.BreakGlass(ctx, releases.GlassAsk{ReleaseID: r.ID, By: chatActor("grace")})
		p.refused(err, releases.Invalid, "reason: missing")
	})
	timeless(t, "a delegation lets somebody vote until it ends; two people's votes count once", func(env *releases.Environment) {
		env.Approval.Needs = []releases.Need{{Count: 2, From: []string{"security"}}}
	}, func(ctx context.Context, p *play) {
		p.group.leave("security", "heidi")
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
		p.pass(2 * time.Hour)
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
		p.pass(time.Minute)
		p.expect(r.ID, releases.Published, "")
	})
}

// TestWhatPeopleLoseMeanwhile takes rights, tokens and votes away while a release is on its way.
func TestWhatPeopleLoseMeanwhile(t *testing.T) {
	freeze := func(p *play, d time.Duration) {
		_, err := p.service.Freeze(context.Background(), releases.FreezeAsk{Env: "production", Until: time.Now().Add(d), Reason: "the migration", By: root})
		p.ok(err)
	}
	yes := func(p *play, id, who string) error {
		_, err := p.service.Vote(context.Background(), releases.Ballot{ReleaseID: id, Yes: true, By: chatActor(who)})
		return err
	}
	timeless(t, "one of whom nobody knows what they may does not keep the others of the queue", nil, func(_ context.Context, p *play) {
		p.access.Roles = append(p.access.Roles, commands.Role{Role: releases.Role{Name: "named", Can: []string{releases.VerbRelease}}, Members: []string{"chat:ivan"}})
		p.again()
		freeze(p, time.Hour)
		stuck := p.request("a", p.shipFor("a"), "ada")
		free := p.request("b", p.shipFor("b"), "ivan")
		p.group.fall(true)
		p.pass(2 * time.Hour)
		p.expect(free.ID, releases.Published, "")
		p.expect(stuck.ID, releases.Waiting, "waiting: whether ada, who asked for it, still has the right to cannot be told now")
	})
	timeless(t, "who lost the right in the freeze is not served by a vote after it", oneVote, func(_ context.Context, p *play) {
		freeze(p, time.Hour)
		r := p.request("a", p.shipFor("a"), "ada")
		p.group.leave("everybody", "ada")
		p.pass(2 * time.Hour)
		p.expect(r.ID, releases.Cancelled, "has no right to any more")
	})
	timeless(t, "who lost the right while votes were missing is not served by the last of them", oneVote, func(_ context.Context, p *play) {
		r := p.request("a", p.shipFor("a"), "ada")
		p.group.leave("everybody", "ada")
		p.refused(yes(p, r.ID, "grace"), releases.Stale, "has no right to any more")
		p.expect(r.ID, releases.Cancelled, "has no right to any more")
	})
	timeless(t, "what was kept by a freeze is rendered again after it, also when votes are missing", oneVote, func(_ context.Context, p *play) {
		freeze(p, time.Hour)
		r := p.request("a", p.shipFor("a"), "ada")
		p.chart.Add(1)
		p.pass(2 * time.Hour)
		if after := p.now(r.ID); after.Plan.Digest == r.Plan.Digest {
			t.Error("it waits with the plan from before the freeze")
		}
		p.ok(yes(p, r.ID, "grace"))
		p.pass(time.Second)
		p.expect(r.ID, releases.Published, "")
	})
	timeless(t, "a broken glass passes a vote of which nobody knows whether it counts", func(env *releases.Environment) {
		env.Approval.Needs = []releases.Need{{Count: 2, From: []string{"managers"}}}
	}, func(ctx context.Context, p *play) {
		p.access.Roles[3].Members = []string{"chat:heidi", "chat:ivan"}
		p.again()
		r := p.request("a", p.shipFor("a"), "ada")
		p.ok(yes(p, r.ID, "grace"))
		p.group.fall(true)
		for _, who := range []string{"heidi", "ivan"} {
			_, err := p.service.BreakGlass(ctx, releases.GlassAsk{ReleaseID: r.ID, Reason: "it burns", By: chatActor(who)})
			p.ok(err)
		}
		p.pass(time.Minute)
		p.expect(r.ID, releases.Published, "")
	})
	timeless(t, "a glass does not pass what came up after it was asked for, unless that is said again", oneVote, func(ctx context.Context, p *play) {
		bad := p.shipFor("a")
		r := p.request("a", bad, "ada")
		smash := func(who string) error {
			_, err := p.service.BreakGlass(ctx, releases.GlassAsk{ReleaseID: r.ID, Reason: "it burns", By: chatActor(who)})
			return err
		}
		p.ok(smash("grace"))
		_, err := p.service.MarkBad(ctx, releases.MarkAsk{ArtifactID: bad, Reason: "it deletes data", By: root})
		p.ok(err)
		p.refused(smash("heidi"), releases.Stale, "something else keeps")
		p.expect(r.ID, releases.Waiting, "")
		p.refused(smash("heidi"), releases.Conflict, "a second person")
		p.ok(smash("grace"))
		p.pass(time.Second)
		p.expect(r.ID, releases.Published, "")
		if passed := strings.Join(p.now(r.ID).Glass.Passed, "; "); !strings.Contains(passed, "it deletes data") {
			t.Errorf("it is said to pass %s", passed)
		}
	})
	timeless(t, "asking to break the glass lapses", oneVote, func(ctx context.Context, p *play) {
		r := p.request("a", p.shipFor("a"), "ada")
		_, err := p.service.BreakGlass(ctx, releases.GlassAsk{ReleaseID: r.ID, Reason: "it burns", By: chatActor("grace")})
		p.ok(err)
		p.pass(61 * time.Minute)
		if p.now(r.ID).Glass != nil {
			t.Error("its button is still there")
		}
		_, err = p.service.BreakGlass(ctx, releases.GlassAsk{ReleaseID: r.ID, By: chatActor("heidi")})
		p.refused(err, releases.Invalid, "reason: missing")
	})
	timeless(t, "a hold stops what a policy has asked for and people still vote on", oneVote, func(ctx context.Context, p *play) {
		p.deploys = true
		artifact := p.shipFor("a")
		synctest.Wait()
		all, err := p.service.Releases(ctx, releases.ReleaseQuery{ArtifactID: artifact})
		p.ok(err)
		r := all[0]
		p.ok(p.service.Hold(ctx, "a", "production", "the load test", chatActor("ada"), time.Time{}))
		p.ok(yes(p, r.ID, "grace"))
		p.pass(time.Minute)
		p.expect(r.ID, releases.Waiting, "automation is held: ada held it: the load test")
		p.ok(p.service.Resume(ctx, "a", "production", chatActor("ada"), time.Time{}))
		p.pass(time.Minute)
		p.expect(r.ID, releases.Published, "")
	})
	timeless(t, "a rollback leaves somebody's hold as it is", nil, func(ctx context.Context, p *play) {
		p.request("a", p.shipFor("a"), "ada")
		p.request("a", p.shipFor("a"), "ada")
		p.ok(p.service.Hold(ctx, "a", "production", "until the migration is done", chatActor("ada"), time.Time{}))
		_, err := p.service.Rollback(ctx, releases.RollbackAsk{App: "a", Env: "production", By: chatActor("ivan")})
		p.ok(err)
		p.pass(time.Second)
		states, err := p.service.Status(ctx, "production", "a")
		p.ok(err)
		if got := states[0].Hold.Why(); got != "ada held it: until the migration is done" {
			t.Errorf("it is held because %s", got)
		}
	})
	timeless(t, "votes on behalf of somebody fall when they take the delegation back", func(env *releases.Environment) {
		env.Approval.Needs = []releases.Need{{Count: 2, From: []string{"security"}}}
	}, func(ctx context.Context, p *play) {
		p.group.leave("security", "heidi")
		r := p.request("a", p.shipFor("a"), "ada")
		p.ok(p.service.Delegate(ctx, releases.Delegation{From: chatActor("grace"), To: chatActor("heidi"), Until: time.Now().Add(time.Hour)}))
		p.ok(yes(p, r.ID, "heidi"))
		p.ok(p.service.EndDelegation(ctx, chatActor("grace")))
		p.ok(yes(p, r.ID, "ivan"))
		p.pass(time.Minute)
		p.expect(r.ID, releases.Waiting, "1 of 2 approvals of security")
	})
	timeless(t, "the vote of a token falls when the token is revoked", func(env *releases.Environment) {
		env.Approval.Needs = []releases.Need{{Count: 2, From: []string{"gates"}}}
	}, func(ctx context.Context, p *play) {
		p.access.Roles = append(p.access.Roles, commands.Role{Role: releases.Role{Name: "gates", Can: []string{releases.VerbApprove}}, Members: []string{"token:gate", "chat:grace", "chat:ivan"}})
		p.again()
		secret, err := p.service.CreateToken(ctx, releases.Token{Name: "gate"}, root)
		p.ok(err)
		token, err := p.service.TokenOf(ctx, secret)
		p.ok(err)
		r := p.request("a", p.shipFor("a"), "ada")
		gate := releases.Actor{Name: "gate", Via: releases.ViaAPI, User: token.Account(), Person: "api:" + token.Account()}
		_, err = p.service.Vote(ctx, releases.Ballot{ReleaseID: r.ID, Yes: true, By: gate})
		p.ok(err)
		p.expect(r.ID, releases.Waiting, "1 of 2 approvals of gates")
		p.ok(p.service.RevokeToken(ctx, "gate", root))
		_, err = p.service.CreateToken(ctx, releases.Token{Name: "gate"}, root) // another one of the same name
		p.ok(err)
		p.ok(yes(p, r.ID, "ivan"))
		p.pass(time.Minute)
		p.expect(r.ID, releases.Waiting, "1 of 2 approvals of gates")
		p.ok(yes(p, r.ID, "grace"))
		p.pass(time.Minute)
		p.expect(r.ID, releases.Published, "")
	})
	timeless(t, "the admin token is nobody's, and does not decide", oneVote, func(ctx context.Context, p *play) {
		r := p.request("a", p.shipFor("a"), "ada")
		_, err := p.service.Vote(ctx, releases.Ballot{ReleaseID: r.ID, Yes: true, By: root})
		p.refused(err, releases.NotAllowed, "the admin token is nobody's")
		_, err = p.service.BreakGlass(ctx, releases.GlassAsk{ReleaseID: r.ID, Reason: "it burns", By: root})
		p.refused(err, releases.NotAllowed, "the admin token is nobody's")
	})
	timeless(t, "a release that goes back to waiting has its time again", func(env *releases.Environment) {
		oneVote(env)
		env.Approval.ExpiresAfter = 10 * time.Minute
	}, func(_ context.Context, p *play) {
		r := p.request("a", p.shipFor("a"), "ada")
		p.repo.mu.Lock()
		p.repo.down = true
		p.repo.mu.Unlock()
		p.ok(yes(p, r.ID, "grace"))
		synctest.Wait()
		p.group.leave("managers", "grace")
		p.pass(20 * time.Minute)
		p.repo.mu.Lock()
		p.repo.down = false
		p.repo.mu.Unlock()
		p.pass(5 * time.Minute)
		p.expect(r.ID, releases.Waiting, "0 of 1 approvals of managers")
		p.pass(10 * time.Minute)
		p.expect(r.ID, releases.Expired, "")
	})
	timeless(t, "a vote between a freeze's end and the look at what waits lets nothing go with the old plan, and expires", func(env *releases.Environment) {
		env.Approval.Needs = []releases.Need{{Count: 2, From: []string{"managers"}}}
		env.Approval.ExpiresAfter, env.Pause = 10*time.Minute, 10*time.Minute
	}, func(_ context.Context, p *play) {
		freeze(p, time.Hour)
		p.request("a", p.shipFor("a"), "ada")
		r := p.request("b", p.shipFor("b"), "ada")
		p.chart.Add(1)
		p.pass(61 * time.Minute) // a goes on, b waits for its turn
		p.ok(yes(p, r.ID, "grace"))
		synctest.Wait()
		if after := p.now(r.ID); after.Plan.Digest == r.Plan.Digest || after.Expires.IsZero() || after.Status != releases.Waiting {
			t.Errorf("%+v", after)
		}
		p.pass(11 * time.Minute)
		p.expect(r.ID, releases.Expired, "")
	})
	timeless(t, "what waits for votes does not expire behind a lock that came before the vote", func(env *releases.Environment) {
		env.Approval.Needs = []releases.Need{{Count: 2, From: []string{"managers"}}}
		env.Approval.ExpiresAfter = 10 * time.Minute
	}, func(ctx context.Context, p *play) {
		r := p.request("a", p.shipFor("a"), "ada")
		_, err := p.service.Lock(ctx, releases.LockAsk{App: "a", Env: "production", Until: time.Now().Add(time.Hour), Reason: "a look", By: chatActor("judy")})
		p.ok(err)
		p.ok(yes(p, r.ID, "grace"))
		p.pass(30 * time.Minute)
		p.expect(r.ID, releases.Waiting, "a in production is locked by judy")
	})
	timeless(t, "a full store is not asked again and again", nil, func(_ context.Context, p *play) {
		freeze(p, time.Hour)
		p.request("a", p.shipFor("a"), "ada")
		p.life.full.Store(true)
		p.pass(61 * time.Minute)
		if n := p.life.refused.Load(); n > 200 {
			t.Errorf("%d writes were tried in a minute", n)
		}
		p.life.full.Store(false)
		p.pass(time.Minute)
	})
	timeless(t, "a version that is built again is as bad as before", nil, func(ctx context.Context, p *play) {
		bad := p.shipFor("a")
		_, err := p.service.MarkBad(ctx, releases.MarkAsk{ArtifactID: bad, Reason: "it leaks", By: root})
		p.ok(err)
		p.deploys, p.sha = true, 1
		again := p.shipFor("a")
		a, err := p.service.Artifact(ctx, again)
		p.ok(err)
		if again == bad || a.Decisions[0].Fires || !strings.Contains(a.Decisions[0].Reason, "marked as bad by admin: it leaks") {
			t.Errorf("%+v", a.Decisions)
		}
		p.expect(p.request("a", again, "ada").ID, releases.Waiting, "is marked as bad")
	})
	timeless(t, "what people say is one line, of bounded length, without credentials", nil, func(ctx context.Context, p *play) {
		p.shipFor("a")
		err := p.service.Hold(ctx, releases.AllApps, "production", "incident", chatActor("ada"), time.Time{})
		p.refused(err, releases.Invalid, "to stop everything: /gimlet freeze production")
		err = p.service.Hold(ctx, "a", "production", strings.Repeat("x", 401), chatActor("ada"), time.Time{})
		p.refused(err, releases.Invalid, "reason: 401 characters are more than 400")
		p.ok(p.service.Hold(ctx, "a", "production", "with gimletd_abcdefghijklmnopqrstuvwxyz\nand more", chatActor("ada"), time.Time{}))
		states, err := p.service.Audit(ctx, releases.AuditQuery{App: "a", Limit: 100})
		p.ok(err)
		for _, r := range states {
			if strings.Contains(r.Detail, "gimletd_") || strings.Contains(r.Detail, "\n") {
				t.Errorf("the audit says %q", r.Detail)
			}
		}
	})
}

// TestClocksThatJump moves the clock against what was written before.
func TestClocksThatJump(t *testing.T) {
	timeless(t, "forward over a freeze's end", nil, func(ctx context.Context, p *play) {
		_, err := p.service.Freeze(ctx, releases.FreezeAsk{Env: "production", Until: time.Now().Add(time.Hour), Reason: "x", By: chatActor("ada")})
		p.ok(err)
		r := p.request("a", p.shipFor("a"), "ada")
		p.skew.Store(int64(90 * time.Minute))
		p.pass(time.Minute)
		p.expect(r.ID, releases.Published, "")
	})
	timeless(t, "back to before a freeze's beginning", nil, func(ctx context.Context, p *play) {
		_, err := p.service.Freeze(ctx, releases.FreezeAsk{Env: "production", Until: time.Now().Add(time.Hour), Reason: "x", By: chatActor("ada")})
		p.ok(err)
		p.skew.Store(-int64(time.Hour))
		r := p.request("a", p.shipFor("a"), "ada")
		p.expect(r.ID, releases.Waiting, "is frozen") // it was declared, and did not end
		p.skew.Store(0)
		p.pass(2 * time.Hour)
		p.expect(r.ID, releases.Published, "")
	})
}
