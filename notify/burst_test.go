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
	"gimletd/bot/discord"
	"gimletd/bot/discord/discordtest"
	"gimletd/bot/slack"
	"gimletd/bot/slack/slacktest"
	"gimletd/notify"
	"gimletd/releases"
)

const burst = 1000

// burstOf tells a thousand releases in ten seconds to one channel, and gives the platform two hours to show them.
func burstOf(t *testing.T, channel string, p notify.Platform) {
	m := newMemory()
	platform, _, _ := strings.Cut(channel, ":")
	d := &notify.Dispatcher{
		Queue: m, Ledger: m, Platforms: map[string]notify.Platform{platform: p}, Approvers: m, Diffs: m, Loops: releases.NewLoops(), Now: time.Now,
		Log: slog.New(slog.DiscardHandler), Environments: []releases.Environment{{Name: "staging", Channels: []string{channel}}},
	}
	stop := start(t, d)
	seq := uint64(0)
	for i := range burst {
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
}

// TestABurstInDiscord goes through Discord's limits with a simulated clock, as the one in Slack.
func TestABurstInDiscord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))) // ids hold the time since 2015
		fake := discordtest.New(t)
		channel := fake.AddChannel("releases")
		began := time.Now()
		name := bot.Channel("discord:" + channel.ID)
		d := discord.New(discord.Config{BotToken: discordtest.BotToken, GuildID: discordtest.GuildID, APIURL: fake.URL(), Commands: bot.OwnNames(), Channels: []bot.Channel{name}},
			&http.Client{Transport: fake.Transport()}, time.Now, slog.New(slog.DiscardHandler), func(string, error) {})
		burstOf(t, string(name), notify.Platform{Sender: d, EditEvery: discord.EditEvery})
		calls := fake.Calls("")
		last := began
		for _, c := range calls {
			if c.Refused != "" {
				t.Fatalf("Discord refused %s with %s", c.Name, c.Refused)
			}
			last = c.At
		}
		shown := map[string]bool{}
		for _, message := range fake.Messages(channel, false) {
			now := message.Now()
			if !strings.Contains(now.Seen(), "Released app-") || shown[now.Nonce] {
				t.Errorf("a message ends as %s", now.Seen())
			}
			shown[now.Nonce] = true
		}
		if len(shown) != burst {
			t.Errorf("%d releases are shown, not %d", len(shown), burst)
		}
		t.Logf("%d releases: %d posts, %d edits, %d threads, in %s", burst, len(fake.Calls("messages.create")), len(fake.Calls("messages.edit")), len(fake.Calls("threads.create")), last.Sub(began))
	})
}

// TestABurstOfAThousandReleases goes through Slack's limits with a simulated clock: the fake refuses what is too much, and
// in the end every release's message shows its last state.
func TestABurstOfAThousandReleases(t *testing.T) {
	const n = burst
	synctest.Test(t, func(t *testing.T) {
		fake := slacktest.New(t)
		fake.AddChannel("staging")
		channel := fake.AddChannel("releases")
		began := time.Now()
		s := slack.New(slack.Config{BotToken: slacktest.BotToken, APIURL: fake.URL(), Channels: []bot.Channel{"slack:#releases"}},
			&http.Client{Transport: fake.Transport()}, time.Now, slog.New(slog.DiscardHandler), func(string, error) {})
		burstOf(t, "slack:#releases", notify.Platform{Sender: s, EditEvery: slack.EditEvery})
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
