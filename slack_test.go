package main

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"gimletd/bot/slack/slacktest"
)

func formScenarios() []scenario {
	return []scenario{
		{name: "a form asks for app, environment and version, and shows the change before it is sent", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.quietly("web", "2222222", nil)
			x.quietly("api", "3333333", nil)
			x.ok(x.tess.Slash(x.staging, "/release"))
			v := x.tess.slack.Look()
			if _, inputs := v.View(); len(inputs) != 3 {
				x.t.Fatalf("inputs %v", inputs)
			}
			if options, _ := x.tess.slack.Suggest(v, "app", ""); len(options) != 2 {
				x.t.Errorf("apps %v", options)
			}
			x.ok(x.tess.slack.Choose(v, "app", "web"))
			v.Says("web")
			x.awaitTurn(v, "env/1")
			x.ok(x.tess.slack.Choose(v, "env", "staging"))
			v.Says("web in staging: nothing → 2222222")
			options, _ := x.tess.slack.Suggest(v, "version", "")
			if len(options) != 2 || !strings.Contains(fmt.Sprint(options[0]), "2222222") {
				x.t.Errorf("versions %v", options)
			}
			if options, _ := x.tess.slack.Suggest(v, "version", "111"); len(options) != 1 {
				x.t.Errorf("versions that fit 111: %v", options)
			}
			x.ok(x.tess.slack.Choose(v, "version", "1111111"))
			v.Says("web in staging: nothing → 1111111")
			v.Says("added Deployment staging/web")
			x.ok(x.tess.slack.Submit(v))
			x.Find(x.staging, "Released web 1111111 to staging")
			x.commits(1)
		}},
		{name: "a form without a version sends the one that it has shown", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.staging, "/release"))
			v := x.chooseStaging()
			v.Says("web in staging: nothing → 1111111")
			x.quietly("web", "2222222", nil) // comes in while it is looked at
			x.ok(x.tess.slack.Submit(v))
			x.Find(x.staging, "Released web 1111111 to staging")
		}},
		{name: "a form for a rollback offers what was released", play: func(x *scene) {
			x.releasedTwice()
			x.ok(x.tess.Slash(x.staging, "/rollback"))
			v := x.chooseStaging()
			options, _ := x.tess.slack.Suggest(v, "version", "")
			if len(options) != 1 || !strings.Contains(fmt.Sprint(options), "1111111") {
				x.t.Errorf("it offers %v", options)
			}
			x.ok(x.tess.slack.Choose(v, "version", "1111111"))
			v.Says("web in staging: 2222222 → 1111111")
			x.ok(x.tess.slack.Submit(v))
			x.Find(x.staging, "Rolled back web in staging: 2222222 → 1111111")
		}},
		{name: "a form offers nobody what they may not", setting: setting{edit: replaced("can: [release, rollback]}", "can: [release, rollback], environments: [staging], apps: [web]}")}, only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.quietly("api", "1111111", nil)
			x.ok(x.tess.Slash(x.staging, "/release"))
			v := x.tess.slack.Look()
			if options, _ := x.tess.slack.Suggest(v, "app", ""); len(options) != 1 || !strings.Contains(fmt.Sprint(options), "web") {
				x.t.Errorf("apps %v", options)
			}
			x.ok(x.tess.slack.Choose(v, "app", "web"))
			x.awaitTurn(v, "env/1")
			if options, _ := x.tess.slack.Suggest(v, "env", ""); len(options) != 1 || !strings.Contains(fmt.Sprint(options), "staging") {
				x.t.Errorf("environments %v", options)
			}
			x.ok(x.mallory.Slash(x.staging, "/release"))
			if options, _ := x.mallory.slack.Suggest(x.mallory.slack.Look(), "app", ""); len(options) != 0 {
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
			options, a := x.tess.slack.Suggest(v, "version", "")
			x.ok(a)
			if len(options) < 30 {
				x.t.Errorf("%d versions", len(options))
			}
			x.server.kill()
		}},
		{name: "the shortcut on a message shows what would change and rolls back", play: func(x *scene) {
			m := x.releasedTwice()
			x.ok(x.tess.slack.Shortcut(m.slack, "gimletd_rollback"))
			v := x.tess.slack.Look()
			v.Says("web in staging: 2222222 → 1111111")
			x.ok(x.tess.slack.Submit(v))
			x.Find(x.staging, "Rolled back web in staging: 2222222 → 1111111")
			x.commits(3)
		}},
		{name: "the shortcut on another message says that there is nothing to roll back", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.slack.Shortcut(x.Find(x.staging, "New artifact").slack, "gimletd_rollback"))
			x.tess.slack.Look().Says("not one of mine about a release")
		}},
		{name: "home shows what waits, what was done, what is live, and its buttons work", setting: setting{approval: twoVotes}, play: func(x *scene) {
			m := x.asked()
			x.ok(x.tess.Slash(x.staging, "/release web staging"))
			x.Find(x.staging, "Released web 1111111 to staging")
			mine := x.tess.slack.Home()
			mine.Says("Nothing waits for your approval")
			mine.Says("Your releases of the last day")
			mine.Says(releaseOf(m))
			v := x.grace.slack.Home()
			v.Says("web 1111111 → production waits for you")
			v.Says("What is live")
			x.ok(x.grace.slack.Press(v, "Approve"))
			m.Says("1 of 2 of release-managers (Grace Hopper)")
			x.told(x.grace, x.random, "Your vote on")
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("Released web")
			x.grace.slack.Home().Says("Nothing waits for your approval")
		}},
	}
}

// chooseStaging chooses web and staging in the form that tess has before her.
func (x *scene) chooseStaging() *slacktest.View {
	x.t.Helper()
	v := x.tess.slack.Look()
	x.ok(x.tess.slack.Choose(v, "app", "web"))
	x.awaitTurn(v, "env/1")
	x.ok(x.tess.slack.Choose(v, "env", "staging"))
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

func slackFaultScenarios() []scenario {
	command := func(x *scene) []byte {
		return slacktest.Encode("commands", x.tess.slack.SlashPayload(x.staging.slack, "/release web staging"))
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
			expect(x, x.slack.CallWith("commands", body, http.Header{}), 401)
			expect(x, x.slack.Call("commands", body, "another secret", time.Now()), 401)
			expect(x, x.slack.Call("commands", body, slacktest.SigningSecret, time.Now().Add(-6*time.Minute)), 401)
			expect(x, x.slack.Call("commands", body, slacktest.SigningSecret, time.Now().Add(6*time.Minute)), 401)
			signed := slacktest.Sign(body, slacktest.SigningSecret, time.Now())
			expect(x, x.slack.CallWith("commands", append(body, "&text=web+production"...), signed), 401)
			for _, kind := range []string{"interactions", "options", "events"} {
				expect(x, x.slack.Call(kind, body, "another secret", time.Now()), 401)
			}
			x.commits(0)
		}},
		{name: "what comes a second time does nothing", only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			body := command(x)
			signed := slacktest.Sign(body, slacktest.SigningSecret, time.Now())
			expect(x, x.slack.CallWith("commands", body, signed), 200)
			expect(x, x.slack.CallWith("commands", body, signed), 401)
			x.Find(x.staging, "Released web")
			// Also not after a restart, which has forgotten the signature.
			x.server.stop()
			x.begin()
			expect(x, x.slack.CallWith("commands", body, signed), 200)
			x.commits(1)
			if n := len(x.Messages(x.staging, false)); n != 2 {
				x.t.Errorf("%d messages", n)
			}
		}},
		{name: "what Slack delivers twice is done once", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.slack.Repeat("commands", x.tess.slack.SlashPayload(x.staging.slack, "/release web staging")))
			m := x.Find(x.staging, "Released web 1111111")
			x.quietly("web", "2222222", nil)
			x.ok(x.slack.Repeat("interactions", x.tess.slack.ClickPayload(x.Find(x.releases, "acme/web 2222222").slack, "Release web to production")))
			x.Find(x.releases, "Released web 2222222 to production")
			x.ok(x.slack.Repeat("interactions", x.tess.slack.ClickPayload(m.slack, "Roll back")))
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
				p := x.tess.slack.SlashPayload(x.staging.slack, "/release web staging")
				maps.Copy(p, change)
				x.slack.Deliver("commands", p)
			}
			click := x.tess.slack.ClickPayload(x.Find(x.releases, "acme/web").slack, "Release web to production")
			click["team"] = map[string]any{"id": "T0OTHER"}
			x.slack.Deliver("interactions", click)
			guest := x.mallory.slack.ClickPayload(x.Find(x.releases, "acme/web").slack, "Release web to production")
			guest["user"] = map[string]any{"id": x.tess.ID, "name": "tess", "team_id": "T0OTHER"}
			x.ok(x.slack.Deliver("interactions", guest))
			x.told(x.mallory, x.releases, "Only people of this workspace")
			x.ok(x.tess.Slash(x.random, "/gimlet history"))
			x.told(x.tess, x.random, "There are no releases to show")
			x.commits(0)
		}},
		{name: "huge and broken calls are refused", only: "http", play: func(x *scene) {
			sign := func(kind, body string) slacktest.Ack {
				return x.slack.Call(kind, []byte(body), slacktest.SigningSecret, time.Now())
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
			tampered := func(u *person, change func(action map[string]any)) {
				p := u.slack.ClickPayload(m.slack, "Release web to production")
				change(p["actions"].([]any)[0].(map[string]any))
				x.ok(x.slack.Deliver("interactions", p))
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
			p := x.tess.slack.ClickPayload(m.slack, "Roll back")
			p["actions"].([]any)[0].(map[string]any)["value"] = `["/rollback","r-999999"]`
			x.ok(x.slack.Deliver("interactions", p))
			x.told(x.tess, x.staging, `There is no release "r-999999"`)
		}},
		{name: "the answer's address may be nobody else's", only: "http", play: func(x *scene) {
			p := x.tess.slack.SlashPayload(x.staging.slack, "/gimlet help")
			p["response_url"] = "http://169.254.169.254/latest"
			x.ok(x.slack.Deliver("commands", p))
			x.told(x.tess, x.staging, "/gimlet status") // told another way
		}},
		{name: "a form that is not ours is not taken", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.staging, "/release"))
			v := x.tess.slack.Look()
			payload := map[string]any{
				"type": "view_submission", "team": map[string]any{"id": slacktest.TeamID}, "api_app_id": slacktest.AppID, "user": map[string]any{"id": x.tess.ID, "team_id": slacktest.TeamID},
				"view": map[string]any{"id": "V1", "type": "modal", "callback_id": "other", "private_metadata": "{}", "state": map[string]any{"values": map[string]any{}}},
			}
			if x.socket {
				return // it would wait for an acknowledgement that must not come
			}
			if a := x.slack.Deliver("interactions", payload); a.Status == 200 {
				x.t.Error("it was taken")
			}
			if v.Closed() {
				x.t.Error("the form was closed")
			}
		}},
	}
}
