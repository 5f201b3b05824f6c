package main

import (
	"fmt"
	"strings"
	"time"

	"gimletd/releases/gitops/gittest"
)

// controlled is a scene in which tess and ada may lock and freeze, grace and heidi may break the glass, too.
func controlled(approval string) setting {
	return setting{approval: approval, edit: func(chat string) string {
		chat = strings.Replace(chat, "can: [release, rollback]}", "can: [release, rollback, lock, freeze]}", 1)
		return strings.Replace(chat, "can: [approve, rollback]}", "can: [approve, rollback, lock, break-glass]}", 1)
	}}
}

func controlScenarios() []scenario {
	return []scenario{
		{name: "a lock keeps others' releases waiting; its end lets them go on", setting: controlled(""), play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.grace.Slash(x.releases, "/gimlet lock web production until 23:59 looking at a leak"))
			l := x.Find(x.releases, "Locked: web in production")
			l.Says("looking at a leak")
			l.Says("Grace Hopper")
			x.ok(x.tess.Slash(x.releases, "/release web production"))
			m := x.Find(x.releases, "Queued: web 1111111 to production")
			m.Says("web in production is locked by Grace Hopper until")
			if got := fmt.Sprint(m.Now().Buttons()); got != "[Cancel]" {
				x.t.Errorf("buttons %s", got)
			}
			x.ok(x.tess.Slash(x.random, "/gimlet why web production"))
			x.told(x.tess, x.random, "web in production is locked by Grace Hopper until")
			x.ok(x.grace.Click(l, "Unlock"))
			l.Says("Unlocked: web in production")
			if got := l.Now().Buttons(); len(got) > 0 {
				x.t.Errorf("the lock still has %v", got)
			}
			m.Says("Released web 1111111 to production")
			x.commits(1)
		}},
		{name: "somebody else's lock is taken over with a reason, once more asked for, and they are told", setting: controlled(""), play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.grace.Slash(x.releases, "/gimlet lock web production for 2h looking at a leak"))
			l := x.Find(x.releases, "Locked: web in production")
			x.ok(x.tess.Slash(x.releases, "/gimlet lock web production for 1h the hotfix"))
			ask := x.told(x.tess, x.releases, "is locked by Grace Hopper until")
			if got := x.confirm(ask, "Take it over"); !strings.Contains(got, "Take the lock on web in production") {
				x.t.Errorf("it asks %q", got)
			}
			x.ok(x.tess.Click(ask, "Take it over"))
			x.Find(x.releases, "Lock taken over: web in production")
			l.Says("then by tess")
			x.told(x.grace, x.random, "tess took your lock on web in production over")
			x.ok(x.grace.Slash(x.random, "/gimlet unlock web production"))
			x.told(x.grace, x.random, "To take it from them, say why")
			x.ok(x.grace.Slash(x.random, "/gimlet unlock web production I am back"))
			sure := x.told(x.grace, x.random, "they are told when it is taken from them")
			x.ok(x.grace.Click(sure, "Unlock it"))
			x.told(x.tess, x.random, "Your lock on web in production is over")
		}},
		{name: "a button of a lock that is over ends no other", setting: controlled(""), play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.grace.Slash(x.releases, "/gimlet lock web production a look"))
			late := x.grace.Late(x.Find(x.releases, "Locked: web in production"), "Unlock")
			x.ok(x.grace.Slash(x.random, "/gimlet unlock web production"))
			x.told(x.grace, x.random, "Unlocked web in production")
			x.ok(x.grace.Slash(x.random, "/gimlet lock web production another look"))
			x.told(x.grace, x.random, "You have locked web in production")
			x.ok(late())
			x.told(x.grace, x.releases, "That lock is over")
		}},
		{name: "times are read as people write them", setting: controlled(""), only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			for line, want := range map[string]string{
				"/gimlet lock web staging for 3d x":                         "You have locked web in staging until",
				"/gimlet lock web production":                               "Reason: missing",
				"/gimlet lock web production until":                         `"until" is no time`,
				"/gimlet lock web production until later x":                 `"until later x" is no time`,
				"/gimlet lock web production for ever x":                    `"for ever" is no time`,
				"/gimlet lock web production until 2020-01-01 x":            "is over",
				"/gimlet lock web production for 900d x":                    "is more than 30 days away",
				"/gimlet lock wbe production x":                             `There is no app "wbe"`,
				"/gimlet lock web moon x":                                   "there are: staging, production",
				"/gimlet freeze production the migration":                   "Until when? A freeze has an end",
				"/gimlet freeze production until tomorrow 8:00":             "Reason: missing",
				"/gimlet unfreeze production":                               "There is no freeze in production to end",
				"/gimlet delegate nobody@example.com until monday 8:00 sun": "I do not know",
				"/gimlet steal web production x":                            "Nobody has locked",
				"/gimlet resume web production":                             "is not held",
				"/gimlet good web 1111111":                                  "is not marked as bad",
				"/gimlet break-glass r-222222 x":                            `There is no release "r-222222"`,
				"/gimlet sign-off r-222222 x":                               `There is no release "r-222222"`,
				"/gimlet undelegate":                                        "You have delegated nothing",
			} {
				x.ok(x.tess.Slash(x.random, line))
				x.told(x.tess, x.random, want)
			}
		}},
		{name: "in a freeze releases wait, rollbacks pass, and its end lets go on what waited", setting: controlled(""), play: func(x *scene) {
			x.releasedTwice()
			x.quietly("web", "3333333", nil)
			x.ok(x.tess.Slash(x.staging, "/gimlet freeze staging until tomorrow 8:00 the migration"))
			f := x.Find(x.staging, "Frozen: staging takes no releases until")
			f.Says("the migration")
			x.ok(x.tess.Slash(x.staging, "/rollback web staging"))
			x.Find(x.staging, "Rolled back web in staging: 2222222 → 1111111")
			x.ok(x.tess.Slash(x.staging, "/release web staging"))
			m := x.Find(x.staging, "Queued: web 1111111 → 3333333 to staging")
			m.Says("staging is frozen until")
			x.ok(x.mallory.Click(f, "Unfreeze"))
			x.told(x.mallory, x.staging, "You may not freeze staging: needs developers")
			x.ok(x.tess.Click(f, "Unfreeze"))
			f.Says("The freeze of staging is over")
			m.Says("Released web 1111111 → 3333333 to staging")
			x.commits(4)
		}},
		{name: "a freeze ends by itself; what was cancelled meanwhile does not go on", setting: controlled(""), play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.quietly("api", "2222222", nil)
			x.ok(x.tess.Slash(x.staging, "/gimlet freeze staging for 12s the migration"))
			f := x.Find(x.staging, "Frozen: staging")
			x.ok(x.tess.Slash(x.staging, "/release web staging"))
			x.ok(x.tess.Slash(x.staging, "/release api staging"))
			m := x.Find(x.staging, "Queued: web 1111111 to staging")
			x.ok(x.tess.Click(x.Find(x.staging, "Queued: api 2222222 to staging"), "Cancel"))
			x.Find(x.staging, "Cancelled: api 2222222 to staging")
			f.Says("The freeze of staging is over")
			m.Says("Released web 1111111 to staging")
			x.commits(1)
		}},
		{name: "votes come in while a lock is on, and count when it is over", setting: controlled(twoVotes), play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.ada.Slash(x.releases, "/gimlet lock web production a look"))
			x.Find(x.releases, "Locked: web in production")
			x.ok(x.tess.Slash(x.releases, "/release web production"))
			m := x.Find(x.releases, "Waiting for approval: web 1111111 to production")
			m.Says("is locked by ada")
			x.ok(x.grace.Click(m, "Approve"))
			m.Says("1 of 2")
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("Queued: web 1111111 to production")
			x.commits(0)
			x.ok(x.ada.Slash(x.random, "/gimlet unlock web production"))
			m.Says("Released web 1111111 to production")
			m.Says("Grace Hopper, heidi")
			x.commits(1)
		}},
		{name: "breaking the glass takes two, is loud, and is reviewed", setting: controlled(twoVotes), play: func(x *scene) {
			m := x.asked()
			id := releaseOf(m)
			x.ok(x.tess.Slash(x.random, "/gimlet break-glass "+id+" it burns"))
			x.told(x.tess, x.random, "You may not break the glass for web in production: needs release-managers")
			x.ok(x.grace.Slash(x.random, "/gimlet break-glass "+id))
			x.told(x.grace, x.random, "Reason: missing; why must "+id+" pass what keeps it back (0 of 2 approvals of release-managers)?")
			x.ok(x.grace.Slash(x.random, "/gimlet break-glass "+id+" customers cannot pay"))
			m.Says("Grace Hopper wants to: customers cannot pay")
			if got := x.confirm(m, "Break the glass"); !strings.Contains(got, "0 of 2 approvals") || !strings.Contains(got, "Grace Hopper asks: customers cannot pay") {
				x.t.Errorf("it asks %q", got)
			}
			x.ok(x.grace.Click(m, "Break the glass"))
			x.told(x.grace, x.releases, "a second person who may break the glass has to agree")
			x.commits(0)
			x.ok(x.heidi.Click(m, "Break the glass"))
			m.Says("Released web 1111111 to production")
			m.Says("Grace Hopper and heidi: customers cannot pay")
			loud := func() bool {
				for _, reply := range x.Thread(m) {
					if s := reply.Now(); s.Broadcast && strings.Contains(s.Seen(), "The glass was broken for web 1111111 to production") {
						return true
					}
				}
				return false
			}
			if !x.Await(20*time.Second, loud) {
				x.t.Errorf("the channel is not shown that the glass was broken:\n%s", x.Transcript(x.releases))
			}
			x.commits(1)
			log := gittest.Git(x.t, x.world.remote, "log", "-1", "--format=%B", "main")
			for _, want := range []string{"Break-glass-by: Grace Hopper <grace@example.com>", "Break-glass-by: heidi <heidi@example.com>", "Break-glass-reason: customers cannot pay", "Audit-Head: "} {
				if !strings.Contains(log, want) {
					x.t.Errorf("the commit does not say %q:\n%s", want, log)
				}
			}
			x.ok(x.heidi.Slash(x.random, "/gimlet sign-off "+id))
			x.told(x.heidi, x.random, "You broke the glass for "+id)
			x.ok(x.ada.Slash(x.random, "/gimlet sign-off "+id+" it was needed"))
			x.Find(x.releases, "Reviewed: web 1111111 in production")
		}},
		{name: "a bad version is not offered, waits when it is named, and is told everywhere", setting: controlled(""), play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.quietly("web", "2222222", nil)
			x.ok(x.tess.Slash(x.random, "/gimlet bad web 2222222 it leaks"))
			x.Find(x.staging, "Bad version: acme/web 2222222")
			bad := x.Find(x.releases, "Bad version: acme/web 2222222")
			x.ok(x.tess.Slash(x.releases, "/release web production"))
			x.Find(x.releases, "Released web 1111111 to production")
			x.ok(x.tess.Slash(x.releases, "/release web production 2222222"))
			m := x.Find(x.releases, "Queued: web 1111111 → 2222222 to production")
			m.Says("2222222 is marked as bad by tess: it leaks")
			x.ok(x.tess.Slash(x.random, "/gimlet good web 2222222 it was the test"))
			bad.Says("May be released again: acme/web 2222222")
			m.Says("Released web 1111111 → 2222222 to production")
		}},
		{name: "who is away lets somebody else approve on their behalf", setting: controlled("{count: 1, from: [release-managers], not: [requester]}"), play: func(x *scene) {
			m := x.asked()
			x.ok(x.mallory.Click(m, "Approve"))
			x.told(x.mallory, x.releases, "You may not approve web in production")
			x.ok(x.grace.Slash(x.random, "/gimlet delegate "+x.platform+":"+x.mallory.ID+" until tomorrow 8:00 on holiday"))
			x.told(x.grace, x.random, "mallory may approve on your behalf until")
			x.told(x.mallory, x.random, "You may approve on behalf of Grace Hopper until")
			x.ok(x.mallory.Slash(x.releases, "/gimlet approve "+releaseOf(m)))
			m.Says("Released web 1111111 to production")
			m.Says("mallory for Grace Hopper")
			log := gittest.Git(x.t, x.world.remote, "log", "-1", "--format=%B", "main")
			mallory := "mallory"
			if x.slack != nil { // Discord tells nobody's address
				mallory += " <mallory@example.com>"
			}
			if !strings.Contains(log, "Approved-by: "+mallory+"\nOn-behalf-of: Grace Hopper <grace@example.com>\n") {
				x.t.Errorf("the commit says:\n%s", log)
			}
		}},
		{name: "several groups together", setting: setting{approval: "{groups: [{count: 1, from: [release-managers]}, {count: 1, from: [developers]}], not: [requester]}", edit: replaced("can: [release, rollback]}", "can: [release, rollback, approve]}")}, play: func(x *scene) {
			m := x.asked()
			m.Says("0 of 1 of release-managers, 0 of 1 of developers")
			x.ok(x.grace.Click(m, "Approve"))
			m.Says("1 of 1 of release-managers, 0 of 1 of developers (Grace Hopper)")
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("1 of 1 of release-managers, 0 of 1 of developers (Grace Hopper, heidi)") // one more than is needed of them
			x.commits(0)
			x.ok(x.ada.Click(m, "Approve"))
			m.Says("Released web 1111111 to production")
		}},
		{name: "a typed rollback that cannot undo all shows what before it is done", setting: controlled(""), play: func(x *scene) {
			migrating := func(a map[string]any) {
				for _, e := range a["environments"].([]any) {
					m := e.(map[string]any)
					delete(m, "chart")
					delete(m, "values")
					m["manifests"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {version: '{{ .SHA }}'}\n---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: 'migrate-{{ .SHA }}'}\n"
				}
			}
			var m *note
			for _, sha := range []string{"1111111", "2222222"} {
				x.quietly("web", sha, migrating)
				x.ok(x.tess.Slash(x.staging, "/release web staging"))
				m = x.Find(x.staging, map[string]string{"1111111": "Released web 1111111 to staging", "2222222": "Released web 1111111 → 2222222 to staging"}[sha])
			}
			if got := x.confirm(m, "Roll back"); !strings.Contains(got, "has run; what it did (a migration?) is not undone") {
				x.t.Errorf("it asks %q", got)
			}
			x.ok(x.tess.Slash(x.staging, "/rollback web staging"))
			ask := x.told(x.tess, x.staging, "Careful, this does not bring back all that was")
			ask.Says("has run; what it did (a migration?) is not undone")
			x.commits(2)
			x.ok(x.tess.Click(ask, "Roll back anyway"))
			x.Find(x.staging, "Rolled back web in staging: 2222222 → 1111111")
			x.commits(3)
		}},
		{name: "automation is held until somebody resumes it", setting: controlled(""), play: func(x *scene) {
			x.quietly("web", "0000001", nil)
			x.ok(x.tess.Slash(x.staging, "/gimlet hold web staging the load test"))
			h := x.Find(x.staging, "Automation of web in staging is held")
			x.ship("web", "1111111")
			x.Find(x.releases, "not released by itself (automation is held: tess held it: the load test")
			x.ok(x.tess.Click(h, "Resume automation"))
			x.Find(x.staging, "Automation of web in staging goes on")
			x.ship("web", "2222222")
			x.Find(x.staging, "Released web 2222222 to staging")
		}},
		{name: "home and the audit show what is in force, and who did it", setting: controlled(twoVotes), play: func(x *scene) {
			m := x.asked()
			x.ok(x.grace.Slash(x.releases, "/gimlet lock all production a look"))
			x.Find(x.releases, "Locked: all of production")
			x.ok(x.tess.Slash(x.staging, "/gimlet freeze staging for 1h the migration"))
			x.Find(x.staging, "Frozen: staging")
			x.ok(x.mallory.Click(m, "Approve"))
			x.told(x.mallory, x.releases, "You may not approve")
			if x.slack != nil {
				v := x.grace.slack.Home()
				for _, want := range []string{"What keeps releases back", "all of production", "the migration", "web 1111111 → production waits for you"} {
					v.Says(want)
				}
			}
			x.ok(x.grace.Slash(x.random, "/gimlet controls"))
			x.told(x.grace, x.random, "What keeps releases back").Says("a look")
			x.ok(x.grace.Slash(x.random, "/gimlet audit"))
			a := x.told(x.grace, x.random, "The audit, newest first")
			for _, want := range []string{"freeze.set", "lock.set", "request.release", "vote.approve (refused)", "mallory"} {
				a.Says(want)
			}
			x.ok(x.grace.Slash(x.random, "/gimlet status production"))
			x.told(x.grace, x.random, "is waiting; locked by")
		}},
		{name: "a queue survives the end of the process", setting: controlled(""), play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.staging, "/gimlet freeze staging for 1h the migration"))
			x.Find(x.staging, "Frozen: staging")
			x.ok(x.tess.Slash(x.staging, "/release web staging"))
			m := x.Find(x.staging, "Queued: web 1111111 to staging")
			x.server.kill()
			<-x.server.done
			x.begin()
			x.ok(x.tess.Slash(x.staging, "/gimlet unfreeze staging"))
			m.Says("Released web 1111111 to staging")
			x.commits(1)
		}},
	}
}
