package main

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// percentile is the time below which that part of the acknowledgements lies, in milliseconds.
func percentile(all []time.Duration, part float64) float64 {
	slices.Sort(all)
	return float64(all[min(len(all)-1, int(part*float64(len(all))))].Microseconds()) / 1000
}

// BenchmarkAcknowledge sends 200 commands and clicks at once while the git remote hangs, and reports how long they waited
// for their acknowledgement. The platforms' limit is 3 s.
func BenchmarkAcknowledge(b *testing.B) {
	for _, m := range modes() {
		b.Run(m.String(), func(b *testing.B) {
			var all []time.Duration
			for b.Loop() {
				b.StopTimer()
				x := newScene(b, m, setting{}).begin()
				x.quietly("web", "1111111", nil)
				announced := x.Find(x.releases, "acme/web")
				release := make(chan struct{})
				x.world.git.Before(holding(release))
				burst := x.burst(announced)
				took := make([]time.Duration, len(burst))
				b.StartTimer()
				var running sync.WaitGroup
				for i, send := range burst {
					running.Go(func() {
						a := send()
						x.ok(a)
						took[i] = a.Took
					})
				}
				running.Wait()
				all = append(all, took...)
				close(release)
				_ = x.server.cmd.Process.Kill()
			}
			b.ReportMetric(percentile(all, 0.50), "p50-ms")
			b.ReportMetric(percentile(all, 0.99), "p99-ms")
		})
	}
}

// burst are 200 commands and clicks.
func (x *scene) burst(m *note) (sends []func() ack) {
	const atOnce = 200
	for i := range atOnce {
		switch {
		case i%2 == 0:
			sends = append(sends, func() ack { return x.tess.Slash(x.staging, "/release web staging") })
		case x.slack != nil:
			p := x.tess.slack.ClickPayload(m.slack, "Release web to production")
			p["container"].(map[string]any)["message_ts"] = fmt.Sprint(i) // each on a message of its own
			sends = append(sends, func() ack { return fromSlack(x.slack.Deliver("interactions", p)) })
		default:
			sends = append(sends, func() ack {
				return fromDiscord(x.tess.discord.Yes(m.discord, fmt.Sprintf("y0:/release|web|production|r%d", i)))
			})
		}
	}
	return sends
}

// BenchmarkOptions loads a form's lists with 5,000 artifacts of 500 apps, and of one app, in the store.
func BenchmarkOptions(b *testing.B) {
	x := newScene(b, mode{onSlack, false}, setting{channels: "[console]"})
	x.world.chat = replaced(`{name: staging, channels: ["slack:#staging"]}`, `{name: staging, channels: [console]}`)(x.world.chat)
	x.begin()
	var running sync.WaitGroup
	room := make(chan struct{}, 32)
	for i := range 5000 {
		room <- struct{}{}
		running.Go(func() {
			defer func() { <-room }()
			app := "web"
			if i%2 == 0 {
				app = fmt.Sprintf("app-%03d", i/2%500)
			}
			x.quietly(app, fmt.Sprintf("%07x", i+0x1000000), nil)
		})
	}
	running.Wait()
	x.ok(x.tess.Slash(x.random, "/release"))
	v := x.chooseStaging()
	for _, c := range []struct{ param, typed string }{{"app", ""}, {"app", "app-2"}, {"version", ""}, {"version", "Change"}} {
		b.Run(c.param+"/"+c.typed, func(b *testing.B) {
			var all []time.Duration
			for b.Loop() {
				options, a := x.tess.slack.Suggest(v, c.param, c.typed)
				if len(options) == 0 {
					b.Fatal("nothing is offered")
				}
				all = append(all, a.Took)
			}
			b.ReportMetric(percentile(all, 0.99), "p99-ms")
		})
	}
	_ = x.server.cmd.Process.Kill()
}
