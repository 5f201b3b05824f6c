package main

import (
	"fmt"
	"regexp"
	"slices"
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

// scenario is something that happens in a place.
type scenario struct {
	name string
	setting
	on   string // the platform; all without
	only string // "http" or "socket"; both without
	play func(x *scene)
}

func (s scenario) plays(m mode) bool {
	return (s.on == "" || s.on == m.platform) && (s.only == "" || (s.only == "socket") == m.socket)
}

// TestChat plays every scenario on each platform and each way in. They wait a lot, for the platforms' limits, so many run at once.
func TestChat(t *testing.T) {
	const atOnce = 12
	room := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	names := map[string]bool{}
	for _, s := range scenarios() {
		if names[s.name] {
			t.Fatalf("two scenarios %q", s.name)
		}
		names[s.name] = true
		for _, m := range modes() {
			if !s.plays(m) {
				continue
			}
			running.Go(func() {
				room <- struct{}{}
				defer func() { <-room }()
				t.Run(s.name+"/"+m.String(), func(t *testing.T) {
					x := newScene(t, m, s.setting).begin()
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

// scenarios are those of all platforms, and those of what only one has.
func scenarios() (all []scenario) {
	for _, some := range [][]scenario{commandScenarios(), voteScenarios(), controlScenarios(), policyScenarios(), deliveryScenarios(), limitScenarios(), secretScenarios()} {
		all = append(all, some...)
	}
	for _, s := range slices.Concat(formScenarios(), slackFaultScenarios()) {
		s.on = onSlack
		all = append(all, s)
	}
	for _, s := range discordScenarios() {
		s.on = onDiscord
		all = append(all, s)
	}
	return all
}

func commandScenarios() []scenario {
	return []scenario{
		{name: "an artifact is announced with all that people want to know", play: func(x *scene) {
			x.ship("web", "1111111")
			m := x.Find(x.releases, "New artifact: acme/web 1111111")
			for _, want := range []string{
				x.link("https://git.example/web/"+long("1111111"), "1111111 Change web"), "main", "Ada", x.link("https://ci.example/1", "ci.example/1"),
				"web → staging: releasing now", "web → production: not released by itself (no deploy policy in the manifest)",
			} {
				m.Says(want)
			}
			now := m.Now()
			if got, asks := fmt.Sprint(now.Buttons()), x.confirm(m, "Release web to production"); got != "[Release web to production]" || asks != "Release web 1111111 to production?" {
				x.t.Errorf("buttons %s, asking %q", got, asks)
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
			if got := x.confirm(next, "Release web to production"); got != "Release web 2222222 to production? When this was announced, 1111111 was live there." {
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
			if got := x.confirm(m, "Roll back"); got != "Roll web in staging back: 2222222 → 1111111?" {
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
			x.told(x.tess, x.random, "news in "+x.staging.Channel())
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
			for _, want := range []string{x.platform + ":" + x.mallory.ID, "members: [\"" + x.platform + ":" + x.mallory.ID + "\"]"} {
				m.Says(want)
			}
			x.ok(x.grace.Slash(x.random, "/gimlet whoami"))
			m = x.told(x.grace, x.random, "You are Grace Hopper")
			m.Says("release-managers")
		}},
		{name: "without roles everybody may look, and is told what to add", setting: setting{edit: func(chat string) string {
			before, after, _ := strings.Cut(chat, "roles:")
			at := strings.LastIndex(after, ": {botToken")
			at = strings.LastIndex(after[:at], "\n")
			return before + after[at+1:]
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
		{name: "what a phone makes of quotes is understood, an open quote is not", on: onSlack, play: func(x *scene) {
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
			if x.slack != nil { // on Discord it cannot be typed
				x.ok(x.tess.Slash(x.random, "/gimlet statsu"))
				x.told(x.tess, x.random, "There is no command gimlet statsu")
			}
			x.ok(x.tess.Slash(x.random, "/release staging web"))
			x.told(x.tess, x.random, "The app comes first")
			x.ok(x.tess.Slash(x.random, "/release web moon"))
			x.told(x.tess, x.random, "there are: staging, production")
			if x.slack != nil { // on Discord they are all the version
				x.ok(x.tess.Slash(x.random, "/release web staging main extra"))
				x.told(x.tess, x.random, "Too many words")
			}
			x.ok(x.tess.Slash(x.random, "/release web"))
			x.told(x.tess, x.random, "web in which environment?")
		}},
		{name: "the commands have the names of the configuration", setting: setting{edit: replaced(": {botToken", ": {commands: {release: /ship, rollback: /unship, gimlet: /gim}, botToken")}, only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.staging, "/ship web staging"))
			x.Find(x.staging, "Released web 1111111")
			x.ok(x.tess.Slash(x.staging, "/gim status"))
			x.told(x.tess, x.staging, "What is live")
			x.ok(x.tess.Slash(x.staging, "/gim help"))
			x.told(x.tess, x.staging, "/ship [app] [env] [version]")
			if x.slack != nil { // on Discord it cannot be typed
				x.ok(x.tess.Slash(x.staging, "/release web staging"))
				x.told(x.tess, x.staging, "I do not know /release")
			}
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
		{name: "the console and the chat see the same", setting: setting{channels: `["#releases", console]`, approval: twoVotes}, play: func(x *scene) {
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
func releaseOf(m *note) string { return releaseID.FindString(m.Now().Seen()) }

var releaseID = regexp.MustCompile(`\br-[a-z0-9]{6}\b`)

// asked ships a version, asks for it in production and returns the message that asks for votes.
func (x *scene) asked() *note {
	x.t.Helper()
	x.quietly("web", "1111111", nil)
	x.ok(x.tess.Slash(x.releases, "/release web production"))
	return x.Find(x.releases, "Waiting for approval: web 1111111 to production")
}

// halfway is asked, with one of two votes.
func (x *scene) halfway() *note {
	x.t.Helper()
	m := x.asked()
	x.ok(x.grace.Click(m, "Approve"))
	m.Says("1 of 2")
	return m
}

// releasedTwice releases two versions to staging and returns the message of the second.
func (x *scene) releasedTwice() *note {
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
				mentions += strings.Count(reply.Now().Text+reply.Now().Seen(), x.mentionOf())
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
			for _, u := range []*person{x.tess, x.mallory} {
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
			late := x.ada.Late(m, "Approve")
			lateReject := x.heidi.Late(m, "Reject")
			x.ok(x.grace.Click(m, "Approve"))
			m.Says("1 of 2")
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("Released web")
			x.ok(late())
			x.told(x.ada, x.releases, "approved by Grace Hopper and heidi")
			x.ok(lateReject())
			x.told(x.heidi, x.releases, "there is nothing to decide any more")
			x.commits(1)
		}},
		{name: "nobody decides in time", setting: setting{approval: "{count: 1, from: [release-managers], expiresAfter: 3s, remindAfter: 1h}"}, play: func(x *scene) {
			m := x.asked()
			late := x.grace.Late(m, "Approve")
			m.Says("Expired: web 1111111 to production")
			x.ok(late())
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
			old := x.ada.Late(m, "Approve")
			x.ok(x.grace.Click(m, "Approve"))
			m.Says("1 of 2")
			x.world.pushed(map[string]string{"production/web/by-hand.yaml": "kind: ConfigMap\nmetadata: {name: by-hand}\n"})
			x.ok(x.heidi.Click(m, "Approve")) // enough votes, for a plan that is no longer true
			m.Says("0 of 2")
			m.Says("removed ConfigMap by-hand")
			if at := x.world.releaseIDs(); len(at) != 0 {
				x.t.Fatalf("it was released: %v", at)
			}
			x.ok(old())
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
		{name: "when Slack does not say who is in a group, nothing is decided", on: onSlack, setting: two, play: func(x *scene) {
			m := x.asked()
			x.slack.Fail("usergroups.users.list", slacktest.Fault{Status: 500})
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
			for _, u := range []*person{x.grace, x.tess} {
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
