package notify_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimletd/bot"
	"gimletd/bot/slack"
	"gimletd/bot/slack/slacktest"
	"gimletd/notify"
)

// TestEveryMessageInSlack keeps each message in each state as Slack gets it, and holds it to Slack's limits.
func TestEveryMessageInSlack(t *testing.T) {
	var out strings.Builder
	each(func(name string, n notify.Note) {
		if n.Key == "" {
			return
		}
		rendered, err := slack.Render(n.Message)
		if err != nil {
			t.Fatal(err)
		}
		blocks := slacktest.Blocks(t, rendered.Blocks)
		if fault := slacktest.Validate(blocks); fault != "" {
			t.Errorf("%s: %s", name, fault)
		}
		text, err := json.MarshalIndent(blocks, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "== %s: %s\ntext: %q\n%s\n", name, n.Key, rendered.Text, text)
	})
	compare(t, "testdata/slack.golden", out.String())
}

// TestPicturesForTheDocumentation draws the main messages from their blocks: `go test ./notify -run Pictures -update`.
func TestPicturesForTheDocumentation(t *testing.T) {
	wanted := map[string]string{
		"artifact.shipped": "announcement", "release waiting (1 of 2 approvals of release-managers)": "approval",
		"release published ()": "released", "release rejected (rejected by grace: not on a Friday)": "rejected",
		`release failed (the GitOps repository refused the push: protected branch)`: "failed", "rollback published ()": "rolledback",
		"release waiting (production is frozen until Mon 9 Mar 2026 08:00 CET: the freeze weekend; web in production is locked by heidi until Wed 4 Mar 2026 18:00 CET: looking at a leak; )": "queued",
		"run: 1 all that can be": "run", "lock.changed": "locked", "freeze.changed": "frozen",
	}
	drawn := map[string]bool{}
	each(func(name string, n notify.Note) {
		picture := wanted[name]
		if picture == "" || drawn[picture] || n.Under != "" {
			return
		}
		drawn[picture] = true
		n.Message.Title = strings.ReplaceAll(n.Message.Title, " <!channel>", "")
		compare(t, filepath.Join("..", "docs", "pictures", picture+".svg"), draw(t, presentable(n.Message)))
	})
	if len(drawn) != len(wanted) {
		t.Errorf("drawn: %v", drawn)
	}
	entries, err := os.ReadDir(filepath.Join("..", "docs", "pictures"))
	if err != nil || len(entries) < len(wanted) {
		t.Errorf("%d pictures, %v", len(entries), err)
	}
}

func draw(t *testing.T, m bot.Message) string {
	t.Helper()
	rendered, err := slack.Render(m)
	if err != nil {
		t.Fatal(err)
	}
	blocks := slacktest.Blocks(t, rendered.Blocks)
	return slacktest.Picture(blocks)
}

// presentable takes out what is in the messages to harm.
func presentable(m bot.Message) bot.Message {
	tame := strings.NewReplacer(" <!channel> \x1b[31mred\x1b[0m", "")
	for i := range m.Fields {
		m.Fields[i].Value = tame.Replace(m.Fields[i].Value)
	}
	return m
}
