package main

import (
	"fmt"
	"strings"
	"time"

	"gimletd/bot/slack/slacktest"
)

// These scenarios are about messages that meet trouble on their way out. They do not depend on how commands come in.
func deliveryScenarios() []scenario {
	released := func(x *scene) *note {
		x.ok(x.tess.Slash(x.staging, "/release web staging"))
		return x.Find(x.staging, "Released web 1111111 to staging")
	}
	return []scenario{
		{name: "the platform says 429 and is left alone as long as it asks", only: "http", play: func(x *scene) {
			x.Fail(posts, trouble{RetryAfter: 2 * time.Second})
			x.quietly("web", "1111111", nil)
			x.Find(x.staging, "New artifact")
			released(x)
			var refused call
			for _, c := range x.Calls(posts) {
				if c.Channel == refused.Channel && c.At.Sub(refused.At) < 1900*time.Millisecond {
					x.t.Errorf("called again after %s", c.At.Sub(refused.At))
				}
				if c.Refused == "429" {
					refused = c
				}
			}
			x.saidOnce()
		}},
		{name: "the platform fails for a while", only: "http", play: func(x *scene) {
			x.Fail(posts, trouble{Status: 500}, trouble{Status: 503})
			x.Fail(edits, trouble{Status: 503})
			x.quietly("web", "1111111", nil)
			released(x)
			x.Find(x.releases, "New artifact")
			x.saidOnce()
		}},
		{name: "an answer is lost after the post was done: no second message", only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.Find(x.staging, "New artifact")
			x.Find(x.releases, "New artifact")
			x.Fail(posts, trouble{Drop: true})
			released(x)
			x.Await(10*time.Second, func() bool { return len(x.Calls(history)) > 0 })
			x.quietly("api", "1111111", nil)
			x.Find(x.staging, "acme/api") // by then the doubt is settled
			x.saidOnce()
			if n := len(x.Calls(history)); n != 1 {
				x.t.Errorf("the history was read %d times", n)
			}
		}},
		{name: "a file's answer is lost after the upload: no second file", on: onSlack, only: "http", play: func(x *scene) {
			x.slack.Fail("files.completeUploadExternal", slacktest.Fault{Drop: true})
			x.quietly("web", "1111111", nil)
			m := released(x)
			x.Await(10*time.Second, func() bool { return len(x.slack.Calls("conversations.replies")) > 0 })
			x.quietly("api", "1111111", nil)
			x.Find(x.staging, "acme/api")
			if n := len(x.Thread(m)); n != 1 {
				x.t.Errorf("%d files", n)
			}
		}},
		{name: "somebody deletes the message: the outcome is told anew", setting: setting{approval: twoVotes}, only: "http", play: func(x *scene) {
			m := x.asked()
			m.Delete()
			x.ok(x.grace.Slash(x.releases, "/gimlet approve "+releaseOf(m)))
			x.ok(x.heidi.Slash(x.releases, "/gimlet approve "+releaseOf(m)))
			x.Find(x.releases, "Released web 1111111 to production")
		}},
		{name: "the channel is no more: the news go to the fallback, and the owner is told", only: "http", play: func(x *scene) {
			x.Close(x.staging, true)
			x.quietly("web", "1111111", nil)
			x.ok(x.tess.Slash(x.random, "/release web staging"))
			m := x.Find(x.ops, "Released web 1111111 to staging")
			m.Says("meant for " + x.staging.Channel())
			x.told(x.heidi, x.random, "I cannot post in "+x.staging.Channel())
			x.Close(x.staging, false)
			x.quietly("web", "2222222", nil)
			x.Find(x.staging, "acme/web 2222222") // it is used again as soon as it can be
		}},
		{name: "the bot is thrown out of the channel, and invited again", only: "http", play: func(x *scene) {
			x.ThrowOut(x.staging, true)
			x.quietly("web", "1111111", nil)
			x.Find(x.ops, "New artifact: acme/web 1111111")
			x.told(x.heidi, x.random, "Invite me there")
			x.quietly("web", "2222222", nil)
			x.Find(x.ops, "New artifact: acme/web 2222222")
			if n := len(x.Direct(x.heidi)); n != 1 {
				x.t.Errorf("the owner was told %d times", n)
			}
			x.ThrowOut(x.staging, false)
			x.quietly("web", "3333333", nil)
			x.Find(x.staging, "acme/web 3333333")
		}},
		{name: "the token is revoked: readiness says so, and nothing is lost", only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.Find(x.staging, "New artifact")
			x.Find(x.releases, "New artifact")
			x.Revoke(true)
			x.quietly("web", "2222222", nil)
			x.Await(10*time.Second, func() bool {
				return strings.Contains(x.readiness(), "refuses the bot token")
			})
			if body := x.readiness(); !strings.Contains(body, "refuses the bot token") {
				x.t.Errorf("readiness: %s", body)
			}
			x.Revoke(false)
			x.server.stop()
			x.begin()
			x.Find(x.staging, "acme/web 2222222")
			x.Find(x.releases, "acme/web 2222222")
			x.saidOnce()
		}},
		{name: "a scope is missing: nothing is decided, and the person is told", on: onSlack, setting: setting{approval: twoVotes}, only: "http", play: func(x *scene) {
			m := x.asked()
			x.slack.Withdraw("usergroups:read")
			x.ok(x.grace.Click(m, "Approve"))
			x.told(x.grace, x.releases, "lacks the scope usergroups:read")
			x.commits(0)
		}},
		{name: "the connection drops and comes back", only: "socket", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			m := x.Find(x.releases, "acme/web")
			x.Drop()
			x.Connected() // again
			x.ok(x.tess.Click(m, "Release web to production"))
			x.Find(x.releases, "Released web 1111111 to production")
		}},
		{name: "what is not acknowledged before the connection drops comes again and is done once", only: "socket", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.Drop()
			x.ok(x.tess.Slash(x.staging, "/release web staging")) // waits for the next connection
			x.Find(x.staging, "Released web 1111111")
			x.commits(1)
		}},
		{name: "the git remote hangs: everything is still acknowledged, and people see why it waits", only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", nil)
			x.Find(x.staging, "New artifact")
			release := make(chan struct{})
			x.world.git.Before(holding(release))
			a := x.tess.Slash(x.staging, "/release web staging")
			x.ok(a)
			if a.Took > time.Second {
				x.t.Errorf("acknowledged after %s", a.Took)
			}
			x.Find(x.staging, "Releasing web 1111111 to staging")
			x.ok(x.tess.Slash(x.random, "/gimlet status"))
			x.told(x.tess, x.random, "is proposed")
			close(release)
			x.Find(x.staging, "Released web 1111111 to staging")
		}},
		{name: "the answer's address no longer works: the person is told another way", on: onSlack, only: "http", play: func(x *scene) {
			p := x.tess.slack.SlashPayload(x.staging.slack, "/gimlet help")
			p["response_url"] = strings.TrimSuffix(x.slack.URL(), "api/") + "response/gone"
			x.ok(x.slack.Deliver("commands", p))
			x.told(x.tess, x.staging, "/gimlet status")
			p = x.tess.slack.SlashPayload(x.staging.slack, "/gimlet whoami")
			p["response_url"] = ""
			x.slack.Kick(x.staging.slack)
			x.ok(x.slack.Deliver("commands", p))
			x.told(x.tess, x.staging, "You are tess") // directly
		}},
	}
}

// These are about what is too long, too much or meant to harm. The fake refuses what Slack would.
func limitScenarios() []scenario {
	return []scenario{
		{name: "a message of 40 KB, in every script, that pages everybody", only: "http", play: func(x *scene) {
			nasty := "<!channel> <!here> <@U1> @everyone <@&900000000000000002> *bold* `code` ``` & <https://evil.example|click> \u202egnol\u202c שלום 🚀🚀 "
			x.quietly("web", "1111111", func(a map[string]any) {
				v := a["version"].(map[string]any)
				v["message"] = nasty + strings.Repeat("é🚀<", 5_800)
				v["authorName"], v["branch"] = "<!everyone> Ada", "feature/<!here>"
			})
			m := x.Find(x.staging, "New artifact")
			seen := m.Now().Seen()
			shown := "!channel" // in a link's label
			if x.slack != nil {
				shown = "&lt;!channel&gt;" // people see it as it was written
			}
			if (x.slack != nil && strings.Contains(seen, "<!")) || !strings.Contains(seen, shown) || strings.Contains(seen, "\u202e") {
				x.t.Errorf("it says %.500s", seen)
			}
			x.ok(x.tess.Slash(x.staging, "/release web staging"))
			x.Find(x.staging, "Released web 1111111 to staging")
		}},
		{name: "300 objects", setting: setting{approval: twoVotes}, only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", func(a map[string]any) {
				var docs strings.Builder
				for i := range 300 {
					fmt.Fprintf(&docs, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: map-%03d}\ndata: {key: %q}\n", i, strings.Repeat("<value> & ", 20))
				}
				for _, e := range a["environments"].([]any) {
					delete(e.(map[string]any), "chart")
					delete(e.(map[string]any), "values")
					e.(map[string]any)["manifests"] = docs.String()
				}
			})
			x.ok(x.tess.Slash(x.releases, "/release web production"))
			m := x.Find(x.releases, "Waiting for approval")
			m.Says("and 292 more objects")
			x.Await(10*time.Second, func() bool { return len(x.Thread(m)) > 0 })
			for _, reply := range x.Thread(m) {
				for _, diff := range reply.Now().Files {
					if !strings.Contains(diff, "map-299") {
						x.t.Error("the whole diff is not there")
					}
				}
			}
			x.ok(x.grace.Slash(x.random, "/gimlet diff "+releaseOf(m)))
			x.told(x.grace, x.random, "…")
		}},
		{name: "a Secret's values are never shown", setting: setting{approval: twoVotes}, only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", func(a map[string]any) {
				for _, e := range a["environments"].([]any) {
					delete(e.(map[string]any), "chart")
					delete(e.(map[string]any), "values")
					e.(map[string]any)["manifests"] = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hush-hush}\n"
				}
			})
			x.ok(x.tess.Slash(x.releases, "/release web production"))
			m := x.Find(x.releases, "Waiting for approval")
			m.Says("added Secret s (!)")
			x.Await(10*time.Second, func() bool { return len(x.Thread(m)) > 0 })
			all := x.Transcript(x.releases)
			for _, reply := range x.Thread(m) {
				all += fmt.Sprint(reply.Now().Files)
			}
			if strings.Contains(all, "hush") || !strings.Contains(all, "fingerprint") {
				x.t.Errorf("it says:\n%s", all)
			}
		}},
		{name: "forty apps in one artifact", only: "http", play: func(x *scene) {
			x.quietly("web", "1111111", func(a map[string]any) {
				var all []any
				for i := range 40 {
					all = append(all, map[string]any{"app": fmt.Sprintf("%s-%02d", strings.Repeat("long", 10), i), "env": "staging", "namespace": "x", "manifests": "kind: ConfigMap\nmetadata: {name: a}\n"})
				}
				a["environments"] = all
				for i := range 60 {
					a["items"] = append(a["items"].([]any), map[string]string{"name": strings.Repeat("n", 300), "url": fmt.Sprintf("https://ci.example/%d?%s", i, strings.Repeat("q", 2000))})
				}
			})
			m := x.Find(x.staging, "New artifact")
			if n := len(m.Now().Buttons()); n != 25 {
				x.t.Errorf("%d buttons", n)
			}
			m.Says("and 15 more choices")
		}},
		{name: "a long history and many apps in a table", only: "http", play: func(x *scene) {
			for i := range 30 {
				x.quietly(fmt.Sprintf("app-%s-%02d", strings.Repeat("x", 30), i), "1111111", nil)
			}
			x.ok(x.tess.Slash(x.random, "/gimlet artifacts"))
			x.told(x.tess, x.random, "Artifacts, newest first")
			if x.slack != nil {
				x.tess.slack.Home().Says("Nothing was released yet")
			}
		}},
	}
}
