package main

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"gimletd/bot/slack/slacktest"
	"gimletd/releases/gitops/gittest"
)

// replaced edits a configuration.
func replaced(old, now string) func(string) string {
	return func(chat string) string { return strings.Replace(chat, old, now, 1) }
}

// scenario is something that happens in a workspace.
type scenario struct {
	name string
	setting
	only string // "http" or "socket"; both without
	play func(x *scene)
}

// TestSlack plays every scenario by Socket Mode and by HTTP. They wait a lot, for Slack's limits, so many run at once.
func TestSlack(t *testing.T) {
	const atOnce = 12
	room := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	names := map[string]bool{}
	for _, s := range slackScenarios() {
		if names[s.name] {
			t.Fatalf("two scenarios %q", s.name)
		}
		names[s.name] = true
		for _, mode := range []string{"http", "socket"} {
			if s.only != "" && s.only != mode {
				continue
			}
			running.Go(func() {
				room <- struct{}{}
				defer func() { <-room }()
				t.Run(s.name+"/"+mode, func(t *testing.T) {
					x := newScene(t, mode == "socket", s.setting).begin()
					s.play(x)
					if !t.Failed() && !x.server.killed {
						x.server.stop()
					}
				})
			})
		}
	}
	running.Wait()
}

func slackScenarios() (all []scenario) {
	all = append(all, commandScenarios()...)
	all = append(all, voteScenarios()...)
	all = append(all, formScenarios()...)
	all = append(all, faultScenarios()...)
	all = append(all, deliveryScenarios()...)
	all = append(all, controlScenarios()...)
	all = append(all, policyScenarios()...)
	return append(all, limitScenarios()...)
}

func commandScenarios() []scenario {
	return []scenario{
		{name: "an artifact is announced with all that people want to know", play: func(x *scene) {
			x.ship("web", "1111111")
			m := x.Find(x.releases, "New artifact: acme/web 1111111")
			for _, want := range []string{
				"<https://git.example/web/" + long("1111111") + "|1111111 Change web>", "main", "Ada", "<https://ci.example/1|ci.example/1>",
				"web → staging: releasing now", "web → production: not released by itself (no deploy policy in the manifest)",
			} {
				m.Says(want)
			}
			now := m.Now()
			if got := fmt.Sprint(now.Buttons()); got != "[Release web to production]" || now.Confirm("Release web to production") != "Release web 1111111 to production?" {
				x.t.Errorf("buttons %s, asking %q", got, now.Confirm("Release web to production"))
			}
			if !strings.Contains(now.Text, "New artifact: acme/web 1111111") {
				x.t.Errorf("for notifications it says %q", now.Text)
			}
		}},
		{name: "a release is one message, edited in place, with its diff in the thread", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.staging, "/release web staging"))
			m := x.Find(x.staging, "web 1111111 to staging")
			m.Says("Released web 1111111 to staging")
			m.Says("asked for by tess")
			x.Await(10*time.Second, func() bool { return len(x.Thread(m)) > 0 })
			if thread := x.Thread(m); len(thread) != 1 || !strings.Contains(fmt.Sprint(thread[0].Now().Files, thread[0].Now().Seen()), "+kind: Deployment") {
				x.t.Errorf("the thread: %s", x.Transcript(x.staging))
			}
			if n := len(x.Messages(x.staging, false)); n != 2 { // the announcement and the release
				x.t.Errorf("%d messages:\n%s", n, x.Transcript(x.staging))
			}
			x.commits(1)
		}},
		{name: "a button releases, and the live version is in the next message", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Click(x.Find(x.releases, "acme/web 1111111"), "Release web to production"))
			m := x.Find(x.releases, "Released web 1111111 to production")
			x.quietly("web", "2222222", nil)
			next := x.Find(x.releases, "acme/web 2222222")
			if got := next.Now().Confirm("Release web to production"); got != "Release web 2222222 to production? When this was announced, 1111111 was live there." {
				x.t.Errorf("it asks %q", got)
			}
			x.ok(x.tess.Click(next, "Release web to production"))
			x.Find(x.releases, "Released web 1111111 → 2222222 to production")
			// The first one's button would take something else back than it says.
			x.ok(x.tess.Click(m, "Roll back"))
			x.told(x.tess, x.releases, "is not what is live")
			x.commits(2)
		}},
		{name: "a rollback asks once more, puts the old version back, and holds automation until resumed", play: func(x *scene) {
			m := x.releasedTwice()
			if got := m.Now().Confirm("Roll back"); got != "Roll web in staging back: 2222222 → 1111111?" {
				x.t.Errorf("it asks %q", got)
			}
			x.ok(x.tess.Click(m, "Roll back"))
			back := x.Find(x.staging, "Rolled back web in staging: 2222222 → 1111111")
			back.Says("held until /gimlet resume web staging")
			x.ok(x.tess.Click(back, "Resume automation"))
			x.Find(x.staging, "Automation of web in staging goes on")
			x.commits(3)
		}},
		{name: "help is for the person alone", play: func(x *scene) {
			x.ok(x.tess.Slash(x.random, "/gimlet help"))
			x.told(x.tess, x.random, "/gimlet status [env] [app]")
			if n := len(x.Messages(x.random, true)); n > 0 {
				x.t.Errorf("everybody sees %d messages", n)
			}
		}},
		{name: "where the channel has no news of it, the person is told where they are", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.random, "/release web staging"))
			x.told(x.tess, x.random, "news in slack:#staging")
			x.Find(x.staging, "Released web")
		}},
		{name: "who may not is refused, alone, with what is needed", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.mallory.Slash(x.releases, "/release web production"))
			x.told(x.mallory, x.releases, "You may not release web to production: needs developers")
			x.ok(x.mallory.Click(x.Find(x.releases, "acme/web"), "Release web to production"))
			x.told(x.mallory, x.releases, "needs developers")
			if n := len(x.Messages(x.releases, true)); n != 1 {
				x.t.Errorf("everybody sees:\n%s", x.Transcript(x.releases))
			}
			x.commits(0)
		}},
		{name: "who is not known learns what to add", play: func(x *scene) {
			x.ok(x.mallory.Slash(x.random, "/gimlet whoami"))
			m := x.told(x.mallory, x.random, "You are mallory")
			for _, want := range []string{"slack:" + x.mallory.ID, "members: [\"slack:" + x.mallory.ID + "\"]"} {
				m.Says(want)
			}
			x.ok(x.grace.Slash(x.random, "/gimlet whoami"))
			m = x.told(x.grace, x.random, "You are Grace Hopper")
			m.Says("release-managers")
		}},
		{name: "without roles everybody may look, and is told what to add", setting: setting{edit: func(chat string) string {
			before, after, _ := strings.Cut(chat, "roles:")
			_, after, _ = strings.Cut(after, "slack: {bot")
			return before + "slack: {bot" + after
		}}, play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.staging, "/release web staging"))
			x.told(x.tess, x.staging, "the configuration has no roles yet")
			x.ok(x.tess.Slash(x.staging, "/gimlet artifacts"))
			x.told(x.tess, x.staging, "acme/web")
			x.commits(0)
		}},
		{name: "an ambiguous word gets a choice, not a guess", play: func(x *scene) {
			x.quietly("web", "1111aaa", nil)
			x.quietly("web", "1111bbb", nil)
			x.ok(x.tess.Slash(x.staging, "/release web staging 1111"))
			m := x.told(x.tess, x.staging, "could be several versions")
			if n := len(m.Now().Buttons()); n != 2 {
				x.t.Fatalf("%d choices: %s", n, m.Now().Seen())
			}
			for _, b := range m.Now().Buttons() {
				if strings.Contains(b, "1111aaa") {
					x.ok(x.tess.Click(m, b))
				}
			}
			x.Find(x.staging, "Released web 1111aaa to staging")
			x.commits(1)
		}},
		{name: "what a phone makes of quotes is understood, an open quote is not", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.staging, "/release “web” ‘staging’"))
			x.Find(x.staging, "Released web 1111111 to staging")
			x.ok(x.tess.Slash(x.random, "/gimlet cancel r-222222 it's late"))
			x.told(x.tess, x.random, `There is no release "r-222222"`)
			x.ok(x.tess.Slash(x.staging, "/release web 'stag"))
			x.told(x.tess, x.staging, "is not closed")
		}},
		{name: "words that mean nothing are answered with what would", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.random, "/gimlet statsu"))
			x.told(x.tess, x.random, "There is no command gimlet statsu")
			x.ok(x.tess.Slash(x.random, "/release staging web"))
			x.told(x.tess, x.random, "The app comes first")
			x.ok(x.tess.Slash(x.random, "/release web moon"))
			x.told(x.tess, x.random, "there are: staging, production")
			x.ok(x.tess.Slash(x.random, "/release web staging main extra"))
			x.told(x.tess, x.random, "Too many words")
			x.ok(x.tess.Slash(x.random, "/release web"))
			x.told(x.tess, x.random, "web in which environment?")
		}},
		{name: "the commands have the names of the configuration", setting: setting{edit: replaced("slack: {", "slack: {commands: {release: /ship, rollback: /unship, gimlet: /gim}, ")}, only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.staging, "/ship web staging"))
			x.Find(x.staging, "Released web 1111111")
			x.ok(x.tess.Slash(x.staging, "/gim status"))
			x.told(x.tess, x.staging, "What is live")
			x.ok(x.tess.Slash(x.staging, "/gim help"))
			x.told(x.tess, x.staging, "/ship [app] [env] [version]")
			x.ok(x.tess.Slash(x.staging, "/release web staging"))
			x.told(x.tess, x.staging, "I do not know /release")
		}},
		{name: "what is live, what was released, what was shipped and why can be asked", play: func(x *scene) {
			x.ship("web", "1111111")
			x.Find(x.staging, "Released web 1111111")
			for ask, want := range map[string]string{
				"status": "staging", "history": "published", "artifacts": "acme/web", "why web staging": "policy deploy released", "diff web production": "added Deployment production/web",
			} {
				x.ok(x.grace.Slash(x.random, "/gimlet "+ask))
				x.told(x.grace, x.random, want)
			}
		}},
		{name: "a manifest that cannot be rendered fails loudly, and can be tried again", play: func(x *scene) {
			x.quietly("web", "1111111", func(a map[string]any) {
				for _, e := range a["environments"].([]any) {
					e.(map[string]any)["values"] = map[string]any{"image": map[string]string{"tag": "{{ .MISSING }}"}}
				}
			})
			x.ok(x.tess.Slash(x.staging, "/release web staging"))
			m := x.Find(x.staging, "Not released: web 1111111 to staging")
			m.Says("variable MISSING is missing")
			x.Await(10*time.Second, func() bool { return len(x.Thread(m)) > 0 })
			if thread := x.Thread(m); len(thread) != 1 || !thread[0].Now().Broadcast {
				x.t.Errorf("the failure is not shown in the channel:\n%s", x.Transcript(x.staging))
			}
			x.ok(x.tess.Click(m, "Try again"))
			x.Await(10*time.Second, func() bool { return len(x.Messages(x.staging, false)) == 3 })
			if n := len(x.Messages(x.staging, false)); n != 3 {
				x.t.Errorf("%d messages", n)
			}
		}},
		{name: "the console and Slack see the same", setting: setting{channels: `["slack:#releases", console]`, approval: twoVotes}, play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.ada.Slash(x.releases, "/release web production"))
			m := x.Find(x.releases, "Waiting for approval: web 1111111 to production")
			x.ok(x.grace.Click(m, "Approve"))
			m.Says("1 of 2 of release-managers (Grace Hopper)")
			x.server.typed("/gimlet approve " + releaseOf(m))
			m.Says("Released web 1111111 to production")
			m.Says("Grace Hopper, tess")
			if !strings.Contains(x.server.said(), "✓ Released web 1111111 to production") {
				x.t.Errorf("the console said:\n%s", x.server.said())
			}
			x.commits(1)
		}},
	}
}

// releaseOf is the id of the release that the message is about.
func releaseOf(m *slacktest.Message) string {
	for _, b := range m.Now().Blocks {
		if id, ok := strings.CutPrefix(fmt.Sprint(b["block_id"]), "about:"); ok {
			return id
		}
	}
	return ""
}

// asked ships a version, asks for it in production and returns the message that asks for votes.
func (x *scene) asked() *slacktest.Message {
	x.t.Helper()
	x.quietly("web", "1111111", nil)
	x.ok(x.tess.Slash(x.releases, "/release web production"))
	return x.Find(x.releases, "Waiting for approval: web 1111111 to production")
}

// halfway is asked, with one of two votes.
func (x *scene) halfway() *slacktest.Message {
	x.t.Helper()
	m := x.asked()
	x.ok(x.grace.Click(m, "Approve"))
	m.Says("1 of 2")
	return m
}

// releasedTwice releases two versions to staging and returns the message of the second.
func (x *scene) releasedTwice() *slacktest.Message {
	x.t.Helper()
	x.quietly("web", "1111111", nil)
	x.ok(x.tess.Slash(x.staging, "/release web staging"))
	x.Find(x.staging, "Released web 1111111 to staging")
	x.quietly("web", "2222222", nil)
	x.ok(x.tess.Slash(x.staging, "/release web staging"))
	return x.Find(x.staging, "Released web 1111111 → 2222222 to staging")
}

func voteScenarios() []scenario {
	two := setting{approval: twoVotes}
	return []scenario{
		{name: "two votes release; the buttons give way to who decided", setting: two, play: func(x *scene) {
			m := x.asked()
			if got := fmt.Sprint(m.Now().Buttons()); got != "[Approve Reject Cancel]" {
				x.t.Errorf("buttons %s", got)
			}
			m.Says("0 of 2 of release-managers")
			m.Says("added Deployment production/web")
			x.ok(x.grace.Click(m, "Approve"))
			m.Says("1 of 2 of release-managers (Grace Hopper)")
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("Released web 1111111 to production")
			m.Says("Grace Hopper, heidi")
			if got := fmt.Sprint(m.Now().Buttons()); got != "[Roll back]" {
				x.t.Errorf("buttons %s", got)
			}
			id := x.commits(1)[0]
			log := gittest.Git(x.t, x.world.remote, "log", "-1", "--format=%B", "main")
			for _, want := range []string{"Release-Id: " + id, "Requested-by: tess <tess@example.com>", "Approved-by: Grace Hopper <grace@example.com>", "Approved-by: heidi <heidi@example.com>"} {
				if !strings.Contains(log, want) {
					x.t.Errorf("the commit does not say %q:\n%s", want, log)
				}
			}
		}},
		{name: "approvers are mentioned once, beside the whole diff", setting: two, play: func(x *scene) {
			m := x.asked()
			x.Await(10*time.Second, func() bool { return len(x.Thread(m)) > 0 })
			x.ok(x.grace.Click(m, "Approve"))
			m.Says("1 of 2")
			mentions, files := 0, 0
			for _, reply := range x.Messages(x.releases, true) {
				mentions += strings.Count(reply.Now().Text+reply.Now().Seen(), "<!subteam^")
				files += len(reply.Now().Files)
			}
			if mentions == 0 || mentions > 2 || files != 1 { // once, in the text and in what is seen
				x.t.Errorf("%d mentions, %d files:\n%s", mentions, files, x.Transcript(x.releases))
			}
		}},
		{name: "who asked may not vote", setting: setting{approval: "{count: 1, from: [developers], not: [requester]}", edit: replaced("can: [release, rollback]}", "can: [release, rollback, approve]}")}, play: func(x *scene) {
			m := x.asked()
			x.ok(x.tess.Click(m, "Approve"))
			x.told(x.tess, x.releases, "You asked for")
			x.commits(0)
			x.ok(x.ada.Click(m, "Approve"))
			m.Says("Released web")
		}},
		{name: "who wrote it may not vote", setting: two, play: func(x *scene) {
			m := x.asked()
			x.ok(x.ada.Click(m, "Approve"))
			x.told(x.ada, x.releases, "You wrote 1111111, so somebody else has to decide")
			m.Says("0 of 2")
		}},
		{name: "who may not vote is told what it needs", setting: two, play: func(x *scene) {
			m := x.asked()
			for _, u := range []*slacktest.User{x.tess, x.mallory} {
				x.ok(u.Click(m, "Approve"))
				x.told(u, x.releases, "You may not approve web in production: needs release-managers")
				x.ok(u.Click(m, "Reject"))
			}
			x.commits(0)
			m.Says("0 of 2")
		}},
		{name: "a second vote of one person does not count", setting: two, play: func(x *scene) {
			m := x.halfway()
			x.ok(x.grace.Slash(x.releases, "/gimlet approve "+releaseOf(m)))
			x.told(x.grace, x.releases, "counts already: 1 of 2")
			x.commits(0)
		}},
		{name: "one rejection ends it, with its reason; it can be asked for again", setting: two, play: func(x *scene) {
			m := x.asked()
			x.ok(x.grace.Click(m, "Approve"))
			x.ok(x.heidi.Slash(x.releases, "/gimlet reject "+releaseOf(m)+" not on a Friday"))
			m.Says("Rejected: web 1111111 to production")
			m.Says("rejected by heidi: not on a Friday")
			if got := fmt.Sprint(m.Now().Buttons()); got != "[Ask again]" {
				x.t.Errorf("buttons %s", got)
			}
			x.ok(x.tess.Click(m, "Ask again"))
			again := x.Find(x.releases, "0 of 2")
			if releaseOf(again) == releaseOf(m) {
				x.t.Error("the same release was asked for again")
			}
			x.commits(0)
		}},
		{name: "a late click is answered with the state as it is", setting: two, play: func(x *scene) {
			m := x.asked()
			late := x.ada.ClickPayload(m, "Approve")
			lateReject := x.heidi.ClickPayload(m, "Reject")
			x.ok(x.grace.Click(m, "Approve"))
			m.Says("1 of 2")
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("Released web")
			x.ok(x.Deliver("interactions", late))
			x.told(x.ada, x.releases, "approved by Grace Hopper and heidi")
			x.ok(x.Deliver("interactions", lateReject))
			x.told(x.heidi, x.releases, "there is nothing to decide any more")
			x.commits(1)
		}},
		{name: "nobody decides in time", setting: setting{approval: "{count: 1, from: [release-managers], expiresAfter: 3s, remindAfter: 1h}"}, play: func(x *scene) {
			m := x.asked()
			late := x.grace.ClickPayload(m, "Approve")
			m.Says("Expired: web 1111111 to production")
			x.ok(x.Deliver("interactions", late))
			x.told(x.grace, x.releases, "is expired")
			x.commits(0)
		}},
		{name: "who asked takes it back, others may not", setting: two, play: func(x *scene) {
			m := x.asked()
			x.ok(x.mallory.Click(m, "Cancel"))
			x.told(x.mallory, x.releases, "You may not release web to production")
			x.ok(x.tess.Click(m, "Cancel"))
			m.Says("Cancelled: web 1111111 to production")
			m.Says("cancelled by tess")
			x.commits(0)
		}},
		{name: "a newer request takes the place of one that waits", setting: two, play: func(x *scene) {
			m := x.asked()
			x.quietly("web", "2222222", nil)
			x.ok(x.tess.Slash(x.releases, "/release web production"))
			m.Says("took its place")
			x.Find(x.releases, "Waiting for approval: web 2222222 to production")
		}},
		{name: "the same again keeps the request that waits, and its votes", setting: two, play: func(x *scene) {
			m := x.halfway()
			x.ok(x.tess.Slash(x.releases, "/release web production 1111111"))
			x.Find(x.releases, "asks for the same already; its votes count")
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("Released web")
			x.commits(1)
		}},
		{name: "a request that cannot be planned takes nobody's place", setting: two, play: func(x *scene) {
			m := x.halfway()
			x.quietly("web", "2222222", func(a map[string]any) {
				for _, e := range a["environments"].([]any) {
					e.(map[string]any)["values"] = map[string]any{"image": map[string]string{"tag": "{{ .MISSING }}"}}
				}
			})
			x.ok(x.tess.Slash(x.releases, "/release web production"))
			x.Find(x.releases, "variable MISSING is missing")
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("Released web 1111111")
		}},
		{name: "a vote binds to the plan: another change of the folder makes the votes fall", setting: two, play: func(x *scene) {
			m := x.asked()
			old := x.ada.ClickPayload(m, "Approve")
			x.ok(x.grace.Click(m, "Approve"))
			m.Says("1 of 2")
			x.world.pushed(map[string]string{"production/web/by-hand.yaml": "kind: ConfigMap\nmetadata: {name: by-hand}\n"})
			x.ok(x.heidi.Click(m, "Approve")) // enough votes, for a plan that is no longer true
			m.Says("0 of 2")
			m.Says("removed ConfigMap by-hand")
			if at := x.world.releaseIDs(); len(at) != 0 {
				x.t.Fatalf("it was released: %v", at)
			}
			x.ok(x.Deliver("interactions", old))
			x.told(x.ada, x.releases, "has changed since that button was drawn")
			x.ok(x.grace.Click(m, "Approve"))
			m.Says("1 of 2")
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("Released web")
			x.commits(1)
		}},
		{name: "a change of another folder leaves the votes alone", setting: two, play: func(x *scene) {
			m := x.halfway()
			x.world.pushed(map[string]string{"production/api/by-hand.yaml": "kind: ConfigMap\nmetadata: {name: by-hand}\n"})
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("Released web")
			x.commits(1)
		}},
		{name: "who left the group after the message was drawn may not vote", setting: two, play: func(x *scene) {
			m := x.asked()
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("1 of 2")
			x.AddGroup("release-managers", x.heidi, x.ada)
			x.ok(x.grace.Click(m, "Approve"))
			x.told(x.grace, x.releases, "needs release-managers")
			x.commits(0)
		}},
		{name: "the vote of somebody who has left the group since does not count", setting: two, play: func(x *scene) {
			m := x.asked()
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("1 of 2")
			x.AddGroup("release-managers", x.grace, x.ada)
			x.ok(x.grace.Click(m, "Approve"))
			m.Says("1 of 2 of release-managers (Grace Hopper)")
			x.commits(0)
			x.ok(x.ada.Slash(x.releases, "/gimlet status"))
			x.told(x.ada, x.releases, "is waiting")
		}},
		{name: "when Slack does not say who is in a group, nothing is decided", setting: two, play: func(x *scene) {
			m := x.asked()
			x.Fail("usergroups.users.list", slacktest.Fault{Status: 500})
			x.ok(x.grace.Click(m, "Approve"))
			x.told(x.grace, x.releases, "cannot be told now, so nothing was done")
			x.commits(0)
			x.ok(x.grace.Click(m, "Approve")) // at once, for it was answered
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("Released web")
		}},
		{name: "those who have not voted are reminded, and see it decided", setting: setting{approval: "{count: 2, from: [release-managers], not: [requester], expiresAfter: 4h, remindAfter: 3s}"}, play: func(x *scene) {
			m := x.asked()
			x.ok(x.grace.Click(m, "Approve"))
			reminder := x.told(x.heidi, x.random, "Your approval is needed: web 1111111 to production")
			x.told(x.ada, x.random, "Your approval is needed")
			for _, u := range []*slacktest.User{x.grace, x.tess} {
				for _, direct := range x.Direct(u) {
					x.t.Errorf("%s is reminded: %s", u.Name, direct.Now().Seen())
				}
			}
			x.ok(x.heidi.Click(reminder, "Approve"))
			m.Says("Released web")
			reminder.Says("Released web")
			if got := reminder.Now().Buttons(); len(got) > 0 {
				x.t.Errorf("the reminder still has buttons %v", got)
			}
		}},
		{name: "a rollback needs no votes", setting: two, play: func(x *scene) {
			m := x.asked()
			x.ok(x.grace.Click(m, "Approve"))
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("Released web")
			x.quietly("web", "2222222", nil)
			x.ok(x.tess.Slash(x.releases, "/release web production"))
			next := x.Find(x.releases, "Waiting for approval: web 1111111 → 2222222 to production")
			x.ok(x.grace.Click(next, "Approve"))
			x.ok(x.heidi.Click(next, "Approve"))
			next.Says("Released web")
			x.ok(x.tess.Click(next, "Roll back"))
			x.Find(x.releases, "Rolled back web in production: 2222222 → 1111111")
			x.commits(3)
		}},
		{name: "what a policy asks for waits for votes, too", setting: setting{approval: "{count: 1, from: [release-managers], not: [authors]}"}, play: func(x *scene) {
			x.server.post(x.world.artifact("web", long("1111111"), func(a map[string]any) {
				for _, e := range a["environments"].([]any) {
					e.(map[string]any)["deploy"] = map[string]string{"branch": "main", "event": "push"}
				}
			}))
			m := x.Find(x.releases, "Waiting for approval: web 1111111 to production")
			m.Says("by policy deploy")
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("Released web")
			x.commits(2)
		}},
		{name: "an environment without a rule asks nobody", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.releases, "/release web production"))
			x.Find(x.releases, "Released web 1111111 to production")
		}},
	}
}

func formScenarios() []scenario {
	return []scenario{
		{name: "a form asks for app, environment and version, and shows the change before it is sent", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.quietly("web", "2222222", nil)
			x.quietly("api", "3333333", nil)
			x.ok(x.tess.Slash(x.staging, "/release"))
			v := x.tess.Look()
			if _, inputs := v.View(); len(inputs) != 3 {
				x.t.Fatalf("inputs %v", inputs)
			}
			if options, _ := x.tess.Suggest(v, "app", ""); len(options) != 2 {
				x.t.Errorf("apps %v", options)
			}
			x.ok(x.tess.Choose(v, "app", "web"))
			v.Says("web")
			x.awaitTurn(v, "env/1")
			x.ok(x.tess.Choose(v, "env", "staging"))
			v.Says("web in staging: nothing → 2222222")
			options, _ := x.tess.Suggest(v, "version", "")
			if len(options) != 2 || !strings.Contains(fmt.Sprint(options[0]), "2222222") {
				x.t.Errorf("versions %v", options)
			}
			if options, _ := x.tess.Suggest(v, "version", "111"); len(options) != 1 {
				x.t.Errorf("versions that fit 111: %v", options)
			}
			x.ok(x.tess.Choose(v, "version", "1111111"))
			v.Says("web in staging: nothing → 1111111")
			v.Says("added Deployment staging/web")
			x.ok(x.tess.Submit(v))
			x.Find(x.staging, "Released web 1111111 to staging")
			x.commits(1)
		}},
		{name: "a form without a version sends the one that it has shown", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.staging, "/release"))
			v := x.chooseStaging()
			v.Says("web in staging: nothing → 1111111")
			x.quietly("web", "2222222", nil) // comes in while it is looked at
			x.ok(x.tess.Submit(v))
			x.Find(x.staging, "Released web 1111111 to staging")
		}},
		{name: "a form for a rollback offers what was released", play: func(x *scene) {
			x.releasedTwice()
			x.ok(x.tess.Slash(x.staging, "/rollback"))
			v := x.chooseStaging()
			options, _ := x.tess.Suggest(v, "version", "")
			if len(options) != 1 || !strings.Contains(fmt.Sprint(options), "1111111") {
				x.t.Errorf("it offers %v", options)
			}
			x.ok(x.tess.Choose(v, "version", "1111111"))
			v.Says("web in staging: 2222222 → 1111111")
			x.ok(x.tess.Submit(v))
			x.Find(x.staging, "Rolled back web in staging: 2222222 → 1111111")
		}},
		{name: "a form offers nobody what they may not", setting: setting{edit: replaced("can: [release, rollback]}", "can: [release, rollback], environments: [staging], apps: [web]}")}, only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.quietly("api", "1111111", nil)
			x.ok(x.tess.Slash(x.staging, "/release"))
			v := x.tess.Look()
			if options, _ := x.tess.Suggest(v, "app", ""); len(options) != 1 || !strings.Contains(fmt.Sprint(options), "web") {
				x.t.Errorf("apps %v", options)
			}
			x.ok(x.tess.Choose(v, "app", "web"))
			x.awaitTurn(v, "env/1")
			if options, _ := x.tess.Suggest(v, "env", ""); len(options) != 1 || !strings.Contains(fmt.Sprint(options), "staging") {
				x.t.Errorf("environments %v", options)
			}
			x.ok(x.mallory.Slash(x.staging, "/release"))
			if options, _ := x.mallory.Suggest(x.mallory.Look(), "app", ""); len(options) != 0 {
				x.t.Errorf("mallory is offered %v", options)
			}
		}},
		{name: "a list of more versions than an answer may hold", play: func(x *scene) {
			for i := range 120 {
				x.quietly("web", fmt.Sprintf("%07x", 0x1000000+i), func(a map[string]any) {
					v := a["version"].(map[string]any)
					v["repositoryName"] = "acme/" + strings.Repeat("a-long-name-", 8)
					v["message"] = strings.Repeat("größer ", 20)
				})
			}
			x.ok(x.tess.Slash(x.random, "/release"))
			v := x.chooseStaging()
			options, a := x.tess.Suggest(v, "version", "")
			x.ok(a)
			if len(options) < 30 {
				x.t.Errorf("%d versions", len(options))
			}
			x.server.kill()
		}},
		{name: "the shortcut on a message shows what would change and rolls back", play: func(x *scene) {
			m := x.releasedTwice()
			x.ok(x.tess.Shortcut(m, "gimletd_rollback"))
			v := x.tess.Look()
			v.Says("web in staging: 2222222 → 1111111")
			x.ok(x.tess.Submit(v))
			x.Find(x.staging, "Rolled back web in staging: 2222222 → 1111111")
			x.commits(3)
		}},
		{name: "the shortcut on another message says that there is nothing to roll back", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Shortcut(x.Find(x.staging, "New artifact"), "gimletd_rollback"))
			x.tess.Look().Says("not one of mine about a release")
		}},
		{name: "home shows what waits, what was done, what is live, and its buttons work", setting: setting{approval: twoVotes}, play: func(x *scene) {
			m := x.asked()
			x.ok(x.tess.Slash(x.staging, "/release web staging"))
			x.Find(x.staging, "Released web 1111111 to staging")
			mine := x.tess.Home()
			mine.Says("Nothing waits for your approval")
			mine.Says("Your releases of the last day")
			mine.Says(releaseOf(m))
			v := x.grace.Home()
			v.Says("web 1111111 → production waits for you")
			v.Says("What is live")
			x.ok(x.grace.Press(v, "Approve"))
			m.Says("1 of 2 of release-managers (Grace Hopper)")
			x.told(x.grace, x.random, "Your vote on")
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("Released web")
			x.grace.Home().Says("Nothing waits for your approval")
		}},
	}
}

// chooseStaging chooses web and staging in the form that tess has before her.
func (x *scene) chooseStaging() *slacktest.View {
	x.t.Helper()
	v := x.tess.Look()
	x.ok(x.tess.Choose(v, "app", "web"))
	x.awaitTurn(v, "env/1")
	x.ok(x.tess.Choose(v, "env", "staging"))
	x.awaitTurn(v, "version/2")
	return v
}

// awaitTurn waits until the form has the block.
func (x *scene) awaitTurn(v *slacktest.View, block string) {
	x.t.Helper()
	if !x.Await(10*time.Second, func() bool { _, inputs := v.View(); return strings.Contains(fmt.Sprint(inputs), block) }) {
		_, inputs := v.View()
		x.t.Fatalf("the form has %v, not %s", inputs, block)
	}
}

func faultScenarios() []scenario {
	command := func(x *scene) []byte {
		return slacktest.Encode("commands", x.tess.SlashPayload(x.staging, "/release web staging"))
	}
	expect := func(x *scene, a slacktest.Ack, status int) {
		x.t.Helper()
		if a.Status != status {
			x.t.Errorf("answered with %d %s, not %d", a.Status, a.Body, status)
		}
	}
	return []scenario{
		{name: "what is not signed by Slack is refused", only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			body := command(x)
			expect(x, x.CallWith("commands", body, http.Header{}), 401)
			expect(x, x.Call("commands", body, "another secret", time.Now()), 401)
			expect(x, x.Call("commands", body, slacktest.SigningSecret, time.Now().Add(-6*time.Minute)), 401)
			expect(x, x.Call("commands", body, slacktest.SigningSecret, time.Now().Add(6*time.Minute)), 401)
			signed := slacktest.Sign(body, slacktest.SigningSecret, time.Now())
			expect(x, x.CallWith("commands", append(body, "&text=web+production"...), signed), 401)
			for _, kind := range []string{"interactions", "options", "events"} {
				expect(x, x.Call(kind, body, "another secret", time.Now()), 401)
			}
			x.commits(0)
		}},
		{name: "what comes a second time does nothing", only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			body := command(x)
			signed := slacktest.Sign(body, slacktest.SigningSecret, time.Now())
			expect(x, x.CallWith("commands", body, signed), 200)
			expect(x, x.CallWith("commands", body, signed), 401)
			x.Find(x.staging, "Released web")
			// Also not after a restart, which has forgotten the signature.
			x.server.stop()
			x.begin()
			expect(x, x.CallWith("commands", body, signed), 200)
			x.commits(1)
			if n := len(x.Messages(x.staging, false)); n != 2 {
				x.t.Errorf("%d messages", n)
			}
		}},
		{name: "what Slack delivers twice is done once", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.Repeat("commands", x.tess.SlashPayload(x.staging, "/release web staging")))
			m := x.Find(x.staging, "Released web 1111111")
			x.quietly("web", "2222222", nil)
			x.ok(x.Repeat("interactions", x.tess.ClickPayload(x.Find(x.releases, "acme/web 2222222"), "Release web to production")))
			x.Find(x.releases, "Released web 2222222 to production")
			x.ok(x.Repeat("interactions", x.tess.ClickPayload(m, "Roll back")))
			x.commits(2)
		}},
		{name: "a double click is one click", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			m := x.Find(x.releases, "acme/web 1111111")
			for range 3 {
				x.ok(x.tess.Click(m, "Release web to production"))
			}
			x.Find(x.releases, "Released web 1111111 to production")
			x.ok(x.tess.Slash(x.random, "/gimlet history web production"))
			seen := x.told(x.tess, x.random, "Releases, newest first").Now().Seen()
			if n := strings.Count(seen, "r-"); n != 1 {
				x.t.Errorf("%d releases: %s", n, seen)
			}
			x.commits(1)
		}},
		{name: "payloads of another workspace or app are refused", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			for _, change := range []map[string]any{{"team_id": "T0OTHER"}, {"api_app_id": "A0OTHER"}} {
				p := x.tess.SlashPayload(x.staging, "/release web staging")
				maps.Copy(p, change)
				x.Deliver("commands", p)
			}
			click := x.tess.ClickPayload(x.Find(x.releases, "acme/web"), "Release web to production")
			click["team"] = map[string]any{"id": "T0OTHER"}
			x.Deliver("interactions", click)
			guest := x.mallory.ClickPayload(x.Find(x.releases, "acme/web"), "Release web to production")
			guest["user"] = map[string]any{"id": x.tess.ID, "name": "tess", "team_id": "T0OTHER"}
			x.ok(x.Deliver("interactions", guest))
			x.told(x.mallory, x.releases, "Only people of this workspace")
			x.ok(x.tess.Slash(x.random, "/gimlet history"))
			x.told(x.tess, x.random, "There are no releases to show")
			x.commits(0)
		}},
		{name: "huge and broken calls are refused", only: "http", play: func(x *scene) {
			sign := func(kind, body string) slacktest.Ack {
				return x.Call(kind, []byte(body), slacktest.SigningSecret, time.Now())
			}
			expect(x, sign("commands", "text="+strings.Repeat("x", 1<<20)), 413)
			expect(x, sign("commands", "command=%2Frelease"), 400)
			expect(x, sign("commands", "%zz"), 400)
			expect(x, sign("interactions", "payload={"), 400)
			expect(x, sign("interactions", "nothing=1"), 400)
			expect(x, sign("events", "{"), 400)
			expect(x, sign("events", `{"type":"url_verification","challenge":"abc"}`), 200)
			expect(x, sign("commands", "ssl_check=1"), 200)
		}},
		{name: "buttons that are not ours, or were tampered with, do nothing", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			m := x.Find(x.releases, "acme/web")
			tampered := func(u *slacktest.User, change func(action map[string]any)) {
				p := u.ClickPayload(m, "Release web to production")
				change(p["actions"].([]any)[0].(map[string]any))
				x.ok(x.Deliver("interactions", p))
			}
			tampered(x.tess, func(a map[string]any) { a["action_id"] = "other" })
			x.told(x.tess, x.releases, "I do not know this button")
			tampered(x.heidi, func(a map[string]any) { a["value"] = "rm -rf" })
			x.told(x.heidi, x.releases, "I do not know this button")
			tampered(x.grace, func(a map[string]any) { a["value"] = `["/gimlet","approve","r-222222"]` })
			x.told(x.grace, x.releases, `There is no release "r-222222"`)
			tampered(x.mallory, func(a map[string]any) { a["value"] = `["/release","web","staging"]` })
			x.told(x.mallory, x.releases, "You may not release web to staging")
			x.commits(0)
		}},
		{name: "a button of a release that is long gone says so", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.staging, "/release web staging"))
			m := x.Find(x.staging, "Released web 1111111")
			p := x.tess.ClickPayload(m, "Roll back")
			p["actions"].([]any)[0].(map[string]any)["value"] = `["/rollback","r-999999"]`
			x.ok(x.Deliver("interactions", p))
			x.told(x.tess, x.staging, `There is no release "r-999999"`)
		}},
		{name: "the answer's address may be nobody else's", only: "http", play: func(x *scene) {
			p := x.tess.SlashPayload(x.staging, "/gimlet help")
			p["response_url"] = "http://169.254.169.254/latest"
			x.ok(x.Deliver("commands", p))
			x.told(x.tess, x.staging, "/gimlet status") // told another way
		}},
		{name: "a form that is not ours is not taken", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.staging, "/release"))
			v := x.tess.Look()
			payload := map[string]any{
				"type": "view_submission", "team": map[string]any{"id": slacktest.TeamID}, "api_app_id": slacktest.AppID, "user": map[string]any{"id": x.tess.ID, "team_id": slacktest.TeamID},
				"view": map[string]any{"id": "V1", "type": "modal", "callback_id": "other", "private_metadata": "{}", "state": map[string]any{"values": map[string]any{}}},
			}
			if x.socket {
				return // it would wait for an acknowledgement that must not come
			}
			if a := x.Deliver("interactions", payload); a.Status == 200 {
				x.t.Error("it was taken")
			}
			if v.Closed() {
				x.t.Error("the form was closed")
			}
		}},
	}
}
