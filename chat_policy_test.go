package main

import (
	"strings"
	"time"
)

// everyMinute is a scene with a policy that promotes from staging to production each minute.
func everyMinute(approval string) setting {
	return setting{approval: approval, edit: func(chat string) string {
		return chat + "policies:\n  - {name: promotion, schedule: \"* * * * *\", timezone: UTC, from: {environment: staging}, to: production}\n"
	}}
}

func policyScenarios() []scenario {
	staged := func(x *scene, app, sha string) {
		x.ship(app, sha)
		x.Find(x.staging, "Released "+app+" "+sha+" to staging")
	}
	// find waits for what comes with the next tick.
	find := func(x *scene, text string) *note {
		x.Await(80*time.Second, func() bool { return strings.Contains(x.Transcript(x.releases), text) })
		return x.Find(x.releases, text)
	}
	return []scenario{
		{name: "a policy's run is one message with a line for each app", setting: everyMinute(""), play: func(x *scene) {
			// Both versions are to be live in staging before the same tick.
			x.Await(time.Minute, func() bool { return time.Now().Second() < 20 })
			staged(x, "web", "1111111")
			staged(x, "api", "2222222")
			m := find(x, "promotion: 2 apps from staging to production")
			m.Says("✓ web 1111111")
			m.Says("✓ api 2222222")
			x.commits(4)
			if all := x.Transcript(x.releases); strings.Contains(all, "Released") {
				x.t.Errorf("it was told again:\n%s", all)
			}
			x.ok(x.tess.Slash(x.random, "/gimlet policies"))
			x.told(x.tess, x.random, "promotion")
			x.ok(x.tess.Slash(x.random, "/gimlet policies promotion"))
			x.told(x.tess, x.random, "2 apps with nothing to do")
			x.ok(x.tess.Slash(x.random, "/gimlet why web production"))
			x.told(x.tess, x.random, "policy:promotion released it")
		}},
		{name: "what a policy asks for waits for votes in a message of its own, and the summary follows", setting: everyMinute("{count: 1, from: [release-managers]}"), play: func(x *scene) {
			staged(x, "web", "1111111")
			m := find(x, "promotion: 1 app from staging to production")
			m.Says("waits: 0 of 1 approvals of release-managers")
			vote := x.Find(x.releases, "Waiting for approval: web 1111111 to production")
			x.ok(x.grace.Click(vote, "Approve"))
			m.Says("✓ web 1111111")
			vote.Says("Released web 1111111 to production")
			x.commits(2)
		}},
	}
}
