package notify_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gimletd/bot"
	"gimletd/bot/slack"
	"gimletd/bot/slack/slacktest"
	"gimletd/notify"
	"gimletd/releases"
)

// TestABurstOfAThousandReleases goes through Slack's limits with a simulated clock: the fake refuses what is too much, and
// in the end every release's message shows its last state.
func TestABurstOfAThousandReleases(t *testing.T) {
	const n = 1000
	synctest.Test(t, func(t *testing.T) {
		fake := slacktest.New(t)
		fake.AddChannel("staging")
		channel := fake.AddChannel("releases")
		began := time.Now()
		s := slack.New(slack.Config{BotToken: slacktest.BotToken, APIURL: fake.URL(), Channels: []bot.Channel{"slack:#releases"}},
			&http.Client{Transport: fake.Transport()}, time.Now, slog.New(slog.DiscardHandler), func(string, error) {})
		m := newMemory()
		d := &notify.Dispatcher{
			Queue: m, Ledger: m, Platforms: map[string]notify.Platform{"slack": {Sender: s, EditEvery: slack.EditEvery}}, Approvers: m, Diffs: m,
			Loops: releases.NewLoops(), Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Environments: []releases.Environment{{Name: "staging", Channels: []string{"slack:#releases"}}},
		}
		stop := start(t, d)
		seq := uint64(0)
		for i := range n {
			for _, status := range []releases.Status{releases.Proposed, releases.Approved, releases.Publishing, releases.Published} {
				seq++
				o := state(seq, fmt.Sprintf("app-%04d", i), status)
				if status == releases.Published {
					o.Release.Plan.Changes = []releases.Change{{Action: "added", Object: "Deployment web"}}
				}
				m.add(o)
			}
			time.Sleep(10 * time.Millisecond) // a hundred releases a second
		}
		time.Sleep(2 * time.Hour)
		stop()
		if left := m.left(); left > 0 {
			t.Errorf("%d outcomes are not told", left)
		}
		refused, calls := 0, fake.Calls("")
		last := began
		for _, c := range calls {
			if c.Refused != "" {
				refused++
			}
			last = c.At
		}
		if refused > 0 {
			t.Errorf("Slack refused %d of %d calls", refused, len(calls))
		}
		shown := map[string]bool{}
		for _, message := range fake.Messages(channel, false) {
			now := message.Now()
			key, _ := json.Marshal(now.Metadata["event_payload"])
			if !strings.Contains(now.Seen(), "Released app-") || shown[string(key)] {
				t.Errorf("a message ends as %s", now.Seen())
			}
			shown[string(key)] = true
		}
		if len(shown) != n {
			t.Errorf("%d releases are shown, not %d", len(shown), n)
		}
		t.Logf("%d releases: %d posts, %d edits, in %s", n, len(fake.Calls("chat.postMessage")), len(fake.Calls("chat.update")), last.Sub(began))
	})
}
