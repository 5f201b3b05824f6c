package main

import (
	"testing"
)

func TestSmoke(t *testing.T) {
	inBothModes(t, setting{approval: twoVotes}, func(x *scene) {
		x.ship("web", "1111111")
		m := x.Find(x.staging, "Released web 1111111 to staging")
		x.t.Log(x.Transcript(x.staging))
		x.ok(x.tess.Slash(x.random, "/release web production"))
		x.told(x.tess, x.random, "Accepted")
		m = x.Find(x.releases, "Waiting for approval")
		x.ok(x.grace.Click(m, "Approve"))
		m.Says("1 of 2")
		x.ok(x.ada.Click(m, "Approve"))
		x.told(x.ada, x.releases, "You wrote")
		x.ok(x.heidi.Click(m, "Approve"))
		m.Says("Released web")
		x.commits(2)
		x.t.Log(x.Transcript(x.releases))
	})
}
