package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"gimletd/bot/discord/discordtest"
)

// discordScenarios are about what only Discord has: its signatures, its second step, its autocomplete, its threads and its gateway.
func discordScenarios() []scenario {
	var all []scenario
	for _, some := range [][]scenario{discordTypingScenarios(), discordFaultScenarios(), discordGatewayScenarios(), discordDeliveryScenarios()} {
		all = append(all, some...)
	}
	return all
}

func choiceWords(a discordtest.Ack) (words []string) {
	for _, c := range a.Choices {
		words = append(words, c.Value)
	}
	return words
}

func discordTypingScenarios() []scenario {
	return []scenario{
		{name: "what is typed is completed, filtered, and only with what the person may", setting: setting{edit: replaced("can: [release, rollback]}", "can: [release, rollback], environments: [staging], apps: [web]}")}, play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.quietly("web", "2222222", nil)
			x.quietly("api", "3333333", nil)
			expect := func(u *person, want string, words ...string) {
				x.t.Helper()
				if got := fmt.Sprint(choiceWords(u.discord.Suggest(x.staging.discord, words...))); got != want {
					x.t.Errorf("%q offers %s, not %s", words, got, want)
				}
			}
			expect(x.tess, "[web]", "/release", "")
			expect(x.tess, "[staging]", "/release", "web", "")
			expect(x.tess, "[]", "/release", "api", "")
			expect(x.tess, "[]", "/release", "web", "staging", "no such")
			expect(x.mallory, "[]", "/release", "")
			expect(x.mallory, "[api web]", "/gimlet", "why", "")
			expect(x.tess, "[]", "/gimlet", "approve", "r-")
			if got := x.tess.discord.Suggest(x.staging.discord, "/release", "web", "staging", "").Choices; len(got) != 2 || !strings.Contains(got[0].Name, "2222222") {
				x.t.Errorf("versions %v", got)
			}
			if got := x.tess.discord.Suggest(x.staging.discord, "/release", "web", "staging", "111").Choices; len(got) != 1 {
				x.t.Errorf("versions that fit 111: %v", got)
			}
			chosen := x.tess.discord.Suggest(x.staging.discord, "/release", "web", "staging", "111").Choices[0].Value
			x.ok(x.tess.Slash(x.staging, "/release web staging "+chosen))
			x.Find(x.staging, "Released web 1111111 to staging")
		}},
		{name: "a list of more versions than Discord shows", only: "http", play: func(x *scene) {
			for i := range 60 {
				x.quietly("web", fmt.Sprintf("%07x", 0x1000000+i), func(a map[string]any) {
					a["version"].(map[string]any)["message"] = strings.Repeat("größer ", 20)
				})
			}
			if got := x.tess.discord.Suggest(x.random.discord, "/release", "web", "staging", ""); len(got.Choices) != 25 {
				x.t.Errorf("%d versions", len(got.Choices))
			}
			x.server.kill()
		}},
		{name: "a word that says nothing without another is asked for together with it", only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			a := x.tess.discord.Give(x.staging.discord, "/release", map[string]string{"app": "web", "version": "1111111"})
			x.ok(a)
			x.told(x.tess, x.staging, "version says something only together with env")
			x.ok(x.tess.discord.Give(x.staging.discord, "/release", map[string]string{"app": " web ", "env": "staging"}))
			x.Find(x.staging, "Released web 1111111 to staging")
			x.commits(1)
		}},
		{name: "every command is there, the seldom ones under more", setting: controlled(""), only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			if got := fmt.Sprint(x.discord.Commands()); got != "[/release /rollback /gimlet]" {
				x.t.Errorf("commands %s", got)
			}
			for _, line := range []string{"/gimlet statsu", "/gimlet home", "/relase web"} {
				if x.discord.Typeable(line) == "" {
					x.t.Errorf("%s can be typed", line)
				}
			}
			x.ok(x.tess.Slash(x.random, "/gimlet more good web 1111111"))
			x.told(x.tess, x.random, "is not marked as bad")
			x.ok(x.tess.Slash(x.random, "/gimlet undelegate"))
			x.told(x.tess, x.random, "You have delegated nothing")
		}},
		{name: "what asks once more does nothing until yes, and nothing after no", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			m := x.Find(x.releases, "acme/web 1111111")
			a := x.tess.discord.Press(m.discord, "Release web to production")
			if a.Message == nil || a.Message.Now().Only != x.tess.ID {
				x.t.Fatalf("it is answered with %+v", a)
			}
			if got := fmt.Sprint(a.Message.Now().Buttons()); got != "[Yes No]" {
				x.t.Errorf("buttons %s", got)
			}
			x.ok(x.tess.discord.Press(a.Message, "No"))
			a.Message.Says("Nothing was done")
			x.commits(0)
			a = x.tess.discord.Press(m.discord, "Release web to production")
			x.ok(x.tess.discord.Press(a.Message, "Yes"))
			x.Find(x.releases, "Released web 1111111 to production")
			x.commits(1)
			// Where the channel has the news, nothing is left before the person.
			if !x.Await(10*time.Second, func() bool { return len(x.Private(x.tess, x.releases)) == 1 }) {
				for _, n := range x.Private(x.tess, x.releases) {
					x.t.Errorf("tess still sees: %s", n.Now().Seen())
				}
			}
		}},
		{name: "a message that does not remember its question is quoted", only: "http", play: func(x *scene) {
			x.discord.ForgetAddresses()
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.staging, "/release web staging"))
			m := x.Find(x.staging, "Released web 1111111 to staging")
			a := x.tess.discord.Press(m.discord, "Roll back")
			a.Message.Says("Are you sure?")
			a.Message.Says("About: ✅ Released web 1111111 to staging")
		}},
		{name: "a button whose words do not fit into an id works, also after a restart", only: "http", play: func(x *scene) {
			app := "a-service-with-a-name-as-long-as-helm-allows-for-one"
			x.quietly(app, "1111111", func(a map[string]any) {
				a["version"].(map[string]any)["repositoryName"] = "acme/" + app
			})
			m := x.Find(x.releases, "New artifact")
			x.server.stop()
			x.begin()
			x.ok(x.tess.Click(m, m.Now().Buttons()[1]))
			x.Find(x.releases, "Released "+app+" 1111111 to production")
		}},
		{name: "in a direct message the rights are those of the server", setting: setting{approval: "{count: 1, from: [release-managers], not: [requester], expiresAfter: 4h, remindAfter: 3s}"}, play: func(x *scene) {
			m := x.asked()
			reminder := x.told(x.heidi, x.random, "Your approval is needed")
			x.AddGroup("release-managers", x.grace)
			x.ok(x.heidi.Click(reminder, "Approve"))
			x.told(x.heidi, x.random, "You may not approve web in production: needs release-managers")
			m.Says("0 of 1")
			x.commits(0)
		}},
		{name: "who left the server may nothing", setting: setting{approval: twoVotes}, play: func(x *scene) {
			m := x.asked()
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("1 of 2")
			x.heidi.discord.Leave()
			x.ok(x.grace.Click(m, "Approve"))
			m.Says("1 of 2 of release-managers (Grace Hopper)")
			x.commits(0)
		}},
		{name: "when Discord does not say which roles an earlier voter has, nothing is decided", setting: setting{approval: twoVotes}, play: func(x *scene) {
			m := x.halfway()
			x.discord.Fail("member", discordtest.Fault{Status: 500}, discordtest.Fault{Status: 500}) // who asked, and who voted
			x.ok(x.heidi.Click(m, "Approve"))
			x.told(x.heidi, x.releases, "cannot be told now")
			x.commits(0)
			x.ok(x.heidi.Click(m, "Approve"))
			m.Says("Released web")
		}},
		{name: "without the members intent, those are reminded who have spoken", setting: setting{approval: "{count: 2, from: [release-managers], not: [requester], expiresAfter: 4h, remindAfter: 4s}"}, only: "http", play: func(x *scene) {
			x.server.stop()
			x.discord.ListMembers(false)
			x.begin()
			x.ok(x.heidi.Slash(x.random, "/gimlet whoami"))
			m := x.asked()
			x.ok(x.grace.Click(m, "Approve"))
			m.Says("1 of 2")
			x.told(x.heidi, x.random, "Your approval is needed")
			if n := len(x.Direct(x.ada)); n > 0 {
				x.t.Errorf("ada, who is not known, has %d messages", n)
			}
			if body := x.readiness(); !strings.Contains(body, `"roles":{"alive":true}`) {
				x.t.Errorf("readiness: %s", body)
			}
		}},
	}
}

func discordFaultScenarios() []scenario {
	command := func(x *scene) []byte {
		body, err := json.Marshal(x.tess.discord.SlashInteraction(x.staging.discord, "/release web staging"))
		if err != nil {
			x.t.Fatal(err)
		}
		return body
	}
	expect := func(x *scene, a discordtest.Ack, status int) {
		x.t.Helper()
		if a.Status != status {
			x.t.Errorf("answered with %d %s, not %d", a.Status, a.Body, status)
		}
	}
	return []scenario{
		{name: "what is not signed by Discord is refused, and its ping is answered", only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			body := command(x)
			expect(x, x.discord.CallWith(body, http.Header{}), 401)
			expect(x, x.discord.CallWith(body, discordtest.New(x.t).Sign(body, time.Now())), 401)
			expect(x, x.discord.CallWith(body, x.discord.Sign(body, time.Now().Add(-6*time.Minute))), 401)
			expect(x, x.discord.CallWith(body, x.discord.Sign(body, time.Now().Add(6*time.Minute))), 401)
			expect(x, x.discord.CallWith(append(body, ' '), x.discord.Sign(body, time.Now())), 401)
			broken := x.discord.Sign(body, time.Now())
			broken.Set("X-Signature-Ed25519", "zz")
			expect(x, x.discord.CallWith(body, broken), 401)
			ping := []byte(fmt.Sprintf(`{"id":"1","application_id":%q,"type":1,"token":"x","version":1}`, discordtest.ApplicationID))
			a := x.discord.CallWith(ping, x.discord.Sign(ping, time.Now()))
			if expect(x, a, 200); strings.TrimSpace(a.Body) != `{"type":1}` {
				x.t.Errorf("a ping is answered with %s", a.Body)
			}
			x.commits(0)
		}},
		{name: "what Discord is made to say a second time does nothing", only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			body := command(x)
			signed := x.discord.Sign(body, time.Now())
			expect(x, x.discord.CallWith(body, signed), 200)
			expect(x, x.discord.CallWith(body, signed), 401)
			x.Find(x.staging, "Released web")
			expect(x, x.discord.CallWith(body, x.discord.Sign(body, time.Now().Add(time.Second))), 200) // the same interaction, signed anew
			x.server.stop()
			x.begin()
			expect(x, x.discord.CallWith(body, signed), 200) // which has forgotten the signature
			x.commits(1)
			if n := len(x.Messages(x.staging, false)); n != 2 {
				x.t.Errorf("%d messages", n)
			}
		}},
		{name: "huge and broken interactions are refused", only: "http", play: func(x *scene) {
			sign := func(body string) discordtest.Ack {
				return x.discord.CallWith([]byte(body), x.discord.Sign([]byte(body), time.Now()))
			}
			expect(x, sign(strings.Repeat("x", 1<<20)), 413)
			expect(x, sign("{"), 400)
			expect(x, sign(`{"type":2}`), 403)
			expect(x, sign(fmt.Sprintf(`{"application_id":%q,"type":2}`, discordtest.ApplicationID)), 400)
			expect(x, sign(fmt.Sprintf(`{"application_id":%q,"type":2,"data":[1]}`, discordtest.ApplicationID)), 400)
		}},
		{name: "interactions of another application or server are refused", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			other := x.tess.discord.SlashInteraction(x.staging.discord, "/release web staging")
			other["application_id"] = "900000000000000009"
			if !x.socket { // it would wait for an answer that must not come
				expect(x, x.discord.Deliver(other), 403)
			}
			other = x.tess.discord.SlashInteraction(x.staging.discord, "/release web staging")
			other["guild_id"] = "900000000000000009"
			a := x.discord.Deliver(other)
			if a.Message == nil || !strings.Contains(a.Message.Now().Seen(), "I work for another server") {
				x.t.Errorf("it is answered with %+v", a)
			}
			x.commits(0)
		}},
		{name: "unknown kinds, buttons that are not ours, and tampered ones do nothing", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			m := x.Find(x.releases, "acme/web")
			tampered := func(u *person, id string) {
				p := u.discord.PressInteraction(m.discord, "Release web to production")
				p["data"] = map[string]any{"custom_id": id, "component_type": 2}
				x.ok(x.discord.Deliver(p))
			}
			tampered(x.tess, "other")
			x.told(x.tess, x.releases, "I do not know this button")
			tampered(x.heidi, "r0:")
			x.told(x.heidi, x.releases, "I do not know this button")
			tampered(x.ada, "R7:")
			x.told(x.ada, x.releases, "I do not know this button")
			tampered(x.grace, "r0:/gimlet|approve|r-222222")
			x.told(x.grace, x.releases, `There is no release "r-222222"`)
			tampered(x.mallory, "r0:/release|web|staging")
			x.told(x.mallory, x.releases, "You may not release web to staging")
			p := x.tess.discord.PressInteraction(m.discord, "Release web to production")
			p["message"].(map[string]any)["components"] = []any{map[string]any{"type": 99, "content": "of the future"}}
			a := x.discord.Deliver(p)
			a.Message.Says("Release web 1111111 to production?")
			modal := x.tess.discord.SlashInteraction(x.random.discord, "/gimlet help")
			modal["type"] = 5
			a = x.discord.Deliver(modal)
			a.Message.Says("I do not know what that was")
			x.commits(0)
		}},
		{name: "a button of a release that is long gone, and of a command that is no more, say so", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			m := x.Find(x.releases, "acme/web")
			p := x.tess.discord.PressInteraction(m.discord, "Release web to production")
			p["data"] = map[string]any{"custom_id": "r0:/rollback|r-999999", "component_type": 2}
			x.ok(x.discord.Deliver(p))
			x.told(x.tess, x.releases, `There is no release "r-999999"`)
			p = x.grace.discord.SlashInteraction(x.random.discord, "/gimlet help")
			p["data"].(map[string]any)["options"].([]any)[0].(map[string]any)["name"] = "gone"
			x.ok(x.discord.Deliver(p))
			x.told(x.grace, x.random, "I do not know /gimlet gone")
		}},
		{name: "what is delivered twice is done once, and a double click is one click", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			p := x.tess.discord.SlashInteraction(x.staging.discord, "/release web staging")
			x.ok(x.discord.Deliver(p))
			x.Find(x.staging, "Released web 1111111")
			x.discord.Again(p)
			x.quietly("web", "2222222", nil)
			m := x.Find(x.releases, "acme/web 2222222")
			for range 3 {
				x.ok(x.tess.Click(m, "Release web to production"))
			}
			x.Find(x.releases, "Released web 2222222 to production")
			x.ok(x.tess.Slash(x.random, "/gimlet history web production"))
			if seen := x.told(x.tess, x.random, "Releases, newest first").Now().Seen(); strings.Count(seen, "r-") != 1 {
				x.t.Errorf("it was asked for more than once: %s", seen)
			}
			x.commits(2)
		}},
		{name: "the right to answer is gone: the person is told directly, if they take that", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			release := make(chan struct{})
			_ = release
			p := x.tess.discord.SlashInteraction(x.staging.discord, "/gimlet whoami")
			x.discord.Fail("original.edit", discordtest.Fault{Status: 401, Code: 50027})
			x.ok(x.discord.Deliver(p))
			x.told(x.tess, x.staging, "You are tess")
			if n := len(x.Direct(x.tess)); n != 1 {
				x.t.Errorf("%d direct messages", n)
			}
			x.heidi.discord.RefuseDirect()
			x.discord.Fail("original.edit", discordtest.Fault{Status: 401, Code: 50027})
			x.ok(x.heidi.Slash(x.staging, "/gimlet whoami"))
			x.ok(x.grace.Slash(x.staging, "/gimlet whoami")) // others are answered
			x.told(x.grace, x.staging, "You are Grace Hopper")
		}},
		{name: "the first answer is known to Discord a moment later: nothing is lost", play: func(x *scene) {
			x.discord.Fail("original.edit", discordtest.Fault{Status: 404, Code: 10015}, discordtest.Fault{Status: 404, Code: 10015})
			x.ok(x.tess.Slash(x.staging, "/gimlet whoami"))
			x.told(x.tess, x.staging, "You are tess")
			if n := len(x.Direct(x.tess)); n != 0 {
				x.t.Errorf("%d direct messages", n)
			}
		}},
	}
}

func discordGatewayScenarios() []scenario {
	works := func(x *scene, sha string) {
		x.t.Helper()
		x.quietly("web", sha, nil)
		x.ok(x.tess.Click(x.Find(x.releases, "acme/web "+sha), "Release web to production"))
		x.Find(x.releases, sha+" to production")
	}
	sessions := func(x *scene, identified, resumed int) {
		x.t.Helper()
		if i, r := x.discord.Sessions(); i != identified || r != resumed {
			x.t.Errorf("%d sessions begun and %d resumed, not %d and %d", i, r, identified, resumed)
		}
	}
	return []scenario{
		{name: "the gateway drops: the session is resumed, and what was missed comes", only: "socket", play: func(x *scene) {
			works(x, "1111111")
			x.discord.Disconnect(0)
			missed := x.discord.Begin(x.tess.discord.SlashInteraction(x.staging.discord, "/release web staging"))
			x.Find(x.staging, "Released web 1111111 to staging")
			missed()
			sessions(x, 1, 1)
			works(x, "2222222")
			x.discord.AskToReconnect()
			x.Await(20*time.Second, func() bool { _, resumed := x.discord.Sessions(); return resumed == 2 })
			works(x, "3333333")
			sessions(x, 1, 2)
		}},
		{name: "the session is no more: a new one begins", only: "socket", play: func(x *scene) {
			x.discord.Disconnect(4009)
			x.discord.ForgetSessions()
			if !x.Connected() {
				x.t.Fatal("no new connection")
			}
			works(x, "1111111")
			sessions(x, 2, 0)
		}},
		{name: "what comes too late to be acknowledged is done, and told directly", only: "socket", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.discord.Fail("callback", discordtest.Fault{Status: 404, Code: 10062})
			p := x.tess.discord.SlashInteraction(x.staging.discord, "/gimlet whoami")
			x.discord.Deliver(p) // people are told that nothing answers
			x.told(x.tess, x.staging, "You are tess")
			if n := len(x.Direct(x.tess)); n != 1 {
				x.t.Errorf("%d direct messages", n)
			}
		}},
		{name: "Discord stumbles over the first answer: it is given again", only: "socket", play: func(x *scene) {
			x.discord.Fail("callback", discordtest.Fault{Status: 502}, discordtest.Fault{Drop: true})
			x.ok(x.tess.Slash(x.staging, "/gimlet whoami"))
			x.told(x.tess, x.staging, "You are tess")
			if n := len(x.Direct(x.tess)); n != 0 {
				x.t.Errorf("%d direct messages", n)
			}
		}},
		{name: "commands that go elsewhere are told of", only: "socket", play: func(x *scene) {
			x.discord.SendTo("https://elsewhere.example/")
			x.server.stop()
			x.begin()
			if !x.Await(20*time.Second, func() bool {
				return strings.Contains(x.readiness(), "commands go to the application's Interactions Endpoint URL")
			}) {
				x.t.Errorf("readiness: %s", x.readiness())
			}
		}},
		{name: "nobody is delegated to who is not there", only: "http", setting: controlled(""), play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			for who, want := range map[string]string{"discord:8035111022467891": "there is nobody with the id", "discord:bob": "There is nobody with the id bob on discord"} {
				x.ok(x.grace.Slash(x.random, "/gimlet delegate "+who+" until tomorrow 8:00 on holiday"))
				x.told(x.grace, x.random, strings.TrimPrefix(want, "t"))
			}
		}},
		{name: "Discord refuses the token for good: readiness says what to do", only: "socket", play: func(x *scene) {
			x.discord.Revoke(true)
			x.discord.Disconnect(4004)
			if !x.Await(20*time.Second, func() bool {
				return strings.Contains(x.readiness(), "no gateway connection: Discord refuses the bot token")
			}) {
				x.t.Errorf("readiness: %s", x.readiness())
			}
			if strings.Contains(x.readiness()+x.server.log.String(), discordtest.BotToken) {
				x.t.Error("the token is told")
			}
		}},
	}
}

func discordDeliveryScenarios() []scenario {
	long := func(x *scene) func(a map[string]any) {
		return func(a map[string]any) {
			var docs strings.Builder
			for i := range 60 {
				fmt.Fprintf(&docs, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: map-%03d}\n", i)
			}
			for _, e := range a["environments"].([]any) {
				one := e.(map[string]any)
				maps.DeleteFunc(one, func(key string, _ any) bool { return key == "chart" || key == "values" })
				one["manifests"] = docs.String()
			}
		}
	}
	return []scenario{
		{name: "a file's answer is lost after the post: no second file", only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", long(x))
			x.Find(x.staging, "New artifact")
			x.Find(x.releases, "New artifact")
			x.Fail(posts, trouble{}, trouble{Drop: true}) // the release, then its file
			x.ok(x.tess.Slash(x.staging, "/release web staging"))
			m := x.Find(x.staging, "Released web 1111111 to staging")
			x.Await(10*time.Second, func() bool { return len(x.Calls(history)) > 0 })
			x.quietly("api", "1111111", nil)
			x.Find(x.staging, "acme/api")
			if thread := x.Thread(m); len(thread) != 1 || len(thread[0].Now().Files) != 1 {
				x.t.Errorf("the thread:\n%s", x.Transcript(x.staging))
			}
		}},
		{name: "a post comes again after its nonce was there: it is the same message, with what is true now", only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.Find(x.staging, "New artifact")
			x.Find(x.releases, "New artifact")
			release := make(chan struct{})
			x.world.git.Before(holding(release))
			x.Fail(posts, trouble{Drop: true})
			x.discord.Fail("messages.list", discordtest.Fault{Status: 403, Code: 50013}) // it may not look
			x.ok(x.tess.Slash(x.staging, "/release web staging"))
			x.Find(x.staging, "Releasing web 1111111 to staging")
			close(release)
			x.Find(x.staging, "Released web 1111111 to staging")
			x.saidOnce()
			if n := len(x.Messages(x.staging, false)); n != 2 {
				x.t.Errorf("%d messages:\n%s", n, x.Transcript(x.staging))
			}
		}},
		{name: "Discord asks for silence everywhere, and gets it", only: "http", play: func(x *scene) {
			x.discord.Fail("messages.create", discordtest.Fault{RetryAfter: 2 * time.Second, Global: true})
			x.quietly("web", "1111111", nil)
			x.Find(x.staging, "New artifact")
			x.Find(x.releases, "New artifact")
			var at time.Time
			for _, c := range x.discord.Calls("messages.create") {
				if !at.IsZero() && c.At.Sub(at) > 50*time.Millisecond && c.At.Sub(at) < 1900*time.Millisecond && c.Refused == "" {
					x.t.Errorf("called again after %s", c.At.Sub(at))
				}
				if c.Refused == "429" {
					at = c.At
				}
			}
			x.saidOnce()
		}},
		{name: "many messages in one channel stay below its limit", only: "http", play: func(x *scene) {
			for i := range 14 {
				x.quietly(fmt.Sprintf("app-%02d", i), "1111111", nil)
			}
			x.Await(60*time.Second, func() bool { return len(x.Messages(x.staging, false)) == 14 })
			x.saidOnce()
			for _, c := range x.discord.Calls("") {
				if c.Refused == "429" {
					x.t.Errorf("%s was called too often", c.Name)
				}
			}
		}},
		{name: "a thread that was put away is taken out again", setting: setting{approval: twoVotes}, only: "http", play: func(x *scene) {
			m := x.asked()
			x.Await(10*time.Second, func() bool { return len(x.Thread(m)) > 0 })
			x.discord.Archive(x.releases.discord)
			x.world.pushed(map[string]string{"production/web/by-hand.yaml": "kind: ConfigMap\nmetadata: {name: by-hand}\n"})
			x.ok(x.grace.Click(m, "Approve"))
			m.Says("1 of 2")
			x.ok(x.heidi.Click(m, "Approve"))
			if !x.Await(10*time.Second, func() bool { return len(x.Thread(m)) > 1 }) {
				x.t.Errorf("the new plan is not told:\n%s", x.Transcript(x.releases))
			}
		}},
	}
}
