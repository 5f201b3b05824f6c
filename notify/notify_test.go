package notify_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gimletd/bot"
	"gimletd/bot/console"
	"gimletd/notify"
	"gimletd/releases"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden file anew")

func version() releases.Version {
	return releases.Version{
		RepositoryName: "acme/web", SHA: "1a2b3c4d5e6f", Branch: "main", AuthorName: "Ada", URL: "https://git.example/1",
		Message: "Add a cart <!channel> \x1b[31mred\x1b[0m\n\nMore.",
	}
}

// outcomes are one of each kind and state.
func outcomes() []releases.Outcome {
	news := releases.News{
		ID: "acme/web-1", Version: version(), Items: []map[string]any{{"name": "CI", "url": "https://ci.example/1"}, {"n": 1}}, Dropped: []string{"NPM_TOKEN"},
		Decisions: []releases.Decision{{App: "web", Env: "staging", Fires: true, Reason: "every push fires"}, {App: "web", Env: "production", Reason: "no deploy policy in the manifest"}},
	}
	all := []releases.Outcome{
		{Kind: releases.ArtifactShipped, Artifact: &news},
		{Kind: releases.ArtifactShipped, Artifact: &releases.News{ID: "acme/lib-1", Version: releases.Version{RepositoryName: "acme/lib", SHA: "1a2b3c4d5e6f", Tag: "v2", Event: "tag"}}},
		{Kind: releases.HoldChanged, Hold: &releases.Hold{App: "web", Env: "production", By: "ada", At: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)}, Ended: "grace", Seq: 7},
	}
	plan := &releases.Plan{Unstable: []string{"secret.yaml"}}
	for i := range 10 {
		plan.Changes = append(plan.Changes, releases.Change{Action: "changed", Object: fmt.Sprintf("Deployment web-%d", i), Fields: []string{"replicas 1 → 2"}, Risky: i == 0})
	}
	for _, kind := range []string{releases.KindRelease, releases.KindRollback, releases.KindCleanup} {
		for _, state := range []struct {
			status releases.Status
			reason string
		}{
			{releases.Proposed, "every push fires"},
			{releases.Proposed, "waiting: the GitOps repository main cannot be reached: connection refused"},
			{releases.Approved, "no approval is needed"},
			{releases.Publishing, ""},
			{releases.Published, ""},
			{releases.Unchanged, "the repository already holds exactly this; no commit was needed"},
			{releases.Failed, `values.image.tag: "{{ .SHA }}": variable SHA is missing`},
			{releases.Superseded, "ada rolls back"},
		} {
			r := releases.Release{
				ID: "r-7f3k2m", Kind: kind, App: "web", Env: "production", ArtifactID: "acme/web-1", Version: version(), From: "0f9e8d7",
				RequestedBy: releases.Actor{Name: "ada"}, Status: state.status, Reason: state.reason,
			}
			if state.status == releases.Published {
				r.Plan, r.Commit = plan, "abcdef0123456789"
			}
			if state.status == releases.Proposed && kind == releases.KindRelease {
				r.Policy = "deploy"
			}
			switch kind {
			case releases.KindRollback:
				r.Target = "r-before"
			case releases.KindCleanup:
				r.Policy, r.From = releases.CleanupPolicy, ""
				r.Steps = []releases.Step{{Status: releases.Proposed, Reason: `branch "feature/cart" of acme/web was deleted`}}
			}
			all = append(all, releases.Outcome{Kind: releases.ReleaseChanged, Release: &r})
		}
	}
	all = append(all, votes(plan)...)
	return append(append(all, queued(plan)...), controls()...)
}

// queued are the states of a release that something else than votes keeps back.
func queued(plan *releases.Plan) (all []releases.Outcome) {
	at := time.Date(2026, 3, 4, 9, 0, 0, 0, time.UTC)
	roles := []string{"release-managers"}
	ada, grace := releases.Actor{Name: "ada", Roles: roles}, releases.Actor{Name: "grace", Roles: roles}
	frozen := releases.Block{Kind: releases.BlockFreeze, Text: "production is frozen until Mon 9 Mar 2026 08:00 CET: the freeze weekend"}
	locked := releases.Block{Kind: releases.BlockLock, Text: "web in production is locked by heidi until Wed 4 Mar 2026 18:00 CET: looking at a leak"}
	votes := releases.Block{Kind: releases.BlockVotes, Text: "0 of 2 approvals of release-managers"}
	rule := &releases.Approval{Needs: []releases.Need{{Count: 2, From: roles}}}
	two := &releases.Approval{Needs: []releases.Need{{Count: 1, From: roles}, {Count: 1, From: []string{"security"}}}}
	many := &releases.Approval{Needs: []releases.Need{{Count: 1}}, Because: "it brings 40 commits at once, and production takes 20 unasked"}
	plan = &releases.Plan{Digest: "0123456789abcdef0123", Changes: plan.Changes[:1], Commits: 40, Back: []string{"Job migrate has run; what it did (a migration?) is not undone"}}
	for _, state := range []struct {
		status releases.Status
		blocks []releases.Block
		rule   *releases.Approval
		votes  []releases.Actor
		glass  []releases.Actor
	}{
		{releases.Waiting, []releases.Block{frozen, locked}, nil, nil, nil},
		{releases.Waiting, []releases.Block{frozen, votes}, rule, nil, nil},
		{releases.Waiting, []releases.Block{votes}, two, []releases.Actor{ada}, nil},
		{releases.Waiting, []releases.Block{votes}, many, nil, nil},
		{releases.Waiting, []releases.Block{frozen}, rule, []releases.Actor{ada, grace}, nil},
		{releases.Waiting, []releases.Block{frozen, votes}, rule, nil, []releases.Actor{ada}},
		{releases.Approved, nil, rule, nil, []releases.Actor{ada, grace}},
		{releases.Published, nil, rule, nil, []releases.Actor{ada, grace}},
	} {
		r := releases.Release{
			ID: "r-7f3k2m", Kind: releases.KindRelease, App: "web", Env: "production", ArtifactID: "acme/web-1", Version: version(), From: "0f9e8d7",
			RequestedBy: releases.Actor{Name: "tess"}, Status: state.status, Plan: plan, Approval: state.rule, Blocks: state.blocks,
		}
		for _, b := range state.blocks {
			r.Reason += b.Text + "; "
		}
		if state.rule != nil {
			r.Asked = at
		}
		for _, a := range state.votes {
			r.Votes = append(r.Votes, releases.Vote{By: a, Yes: true, Digest: plan.Digest, At: at})
		}
		if len(state.votes) > 1 {
			r.Votes[1].For = &releases.Actor{Name: "judy", Roles: roles}
		}
		if len(state.glass) > 0 {
			r.Glass = &releases.Glass{By: state.glass[0], Reason: "customers cannot pay", Digest: plan.Digest, At: at, Passed: []string{frozen.Text, votes.Text}}
		}
		if len(state.glass) > 1 {
			r.Glass.Second = &state.glass[1]
		}
		all = append(all, releases.Outcome{Kind: releases.ReleaseChanged, Release: &r})
	}
	return all
}

// controls are one of each thing that keeps releases back, and of what becomes of it.
func controls() []releases.Outcome {
	at := time.Date(2026, 3, 4, 9, 0, 0, 0, time.UTC)
	ada, grace := releases.Actor{Name: "ada", Via: "slack", User: "U1"}, releases.Actor{Name: "grace", Via: "slack", User: "U2"}
	lock := releases.Lock{ID: "l-222222", App: "web", Env: "production", Owner: ada, Reason: "looking at a leak", At: at, Until: at.Add(8 * time.Hour)}
	taken := lock
	taken.ID, taken.Owner, taken.Reason = "l-333333", grace, "the hotfix cannot wait"
	everything := lock
	everything.App = releases.AllApps
	declared := releases.Freeze{ID: "f-222222", Env: "production", Reason: "the migration", By: ada, From: at, Until: at.Add(63 * time.Hour)}
	planned := releases.Freeze{ID: "weekend 1", Env: "production", Name: "weekend", From: at, Until: at.Add(64 * time.Hour)}
	lifted := planned
	lifted.Lifted = at.Add(4 * time.Hour)
	mark := releases.Mark{ArtifactID: "acme/web-1", Version: version(), Targets: []releases.Target{{App: "web", Env: "production"}}, Reason: "it leaks", By: ada, At: at}
	review := releases.Review{ReleaseID: "r-7f3k2m", App: "web", Env: "production", Version: version(), Asked: 1, Glass: releases.Glass{
		By: ada, Second: &grace, Reason: "customers cannot pay", Passed: []string{"0 of 2 approvals of release-managers"}, At: at,
	}}
	again, signed := review, review
	again.Asked = 2
	signed.SignedBy, signed.Remark, signed.SignedAt = &releases.Actor{Name: "heidi"}, "it was needed", at
	return []releases.Outcome{
		{Kind: releases.HoldChanged, Hold: &releases.Hold{App: "web", Env: "production", By: "ada", Reason: "the load test", At: at}, Seq: 8},
		{Kind: releases.LockChanged, Lock: &lock},
		{Kind: releases.LockChanged, Lock: &everything},
		{Kind: releases.LockChanged, Lock: &taken, Was: &lock},
		{Kind: releases.LockChanged, Lock: &lock, Ended: "ada"},
		{Kind: releases.LockChanged, Lock: &lock, Ended: "grace", Why: "the hotfix cannot wait"},
		{Kind: releases.LockDue, Lock: &lock},
		{Kind: releases.FreezeChanged, Freeze: &declared},
		{Kind: releases.FreezeChanged, Freeze: &planned},
		{Kind: releases.FreezeChanged, Freeze: &planned, Ended: "gimletd"},
		{Kind: releases.FreezeChanged, Freeze: &lifted, Ended: "grace"},
		{Kind: releases.MarkChanged, Mark: &mark},
		{Kind: releases.MarkChanged, Mark: &mark, Ended: "grace"},
		{Kind: releases.ReviewDue, Review: &review},
		{Kind: releases.ReviewDue, Review: &again},
		{Kind: releases.ReviewDue, Review: &signed},
		{Kind: releases.DelegationSet, Delegation: &releases.Delegation{From: ada, To: grace, Reason: "on holiday", At: at, Until: at.Add(48 * time.Hour)}},
	}
}

// votes are the states of a release that has to be approved.
func votes(plan *releases.Plan) (all []releases.Outcome) {
	asked := time.Date(2026, 3, 4, 9, 0, 0, 0, time.UTC)
	plan = &releases.Plan{Digest: "0123456789abcdef0123", Changes: plan.Changes[:2]}
	roles := []string{"release-managers"}
	ada, grace := releases.Actor{Name: "ada", Roles: roles}, releases.Actor{Name: "grace", Roles: roles}
	yes := func(by releases.Actor) releases.Vote {
		return releases.Vote{By: by, Yes: true, Digest: plan.Digest, At: asked}
	}
	one, two := []releases.Vote{yes(ada)}, []releases.Vote{yes(ada), yes(grace)}
	for _, state := range []struct {
		status releases.Status
		reason string
		votes  []releases.Vote
	}{
		{releases.Waiting, "0 of 2 approvals of release-managers", nil},
		{releases.Waiting, "1 of 2 approvals of release-managers", one},
		{releases.Approved, "approved by ada and grace", two},
		{releases.Published, "", two},
		{releases.Failed, "the GitOps repository refused the push: protected branch", two},
		{releases.Proposed, "the folder was changed by somebody else meanwhile; planning again", one},
		{releases.Rejected, "rejected by grace: not on a Friday", one},
		{releases.Expired, "nobody decided until 2026-03-04 13:00 UTC (1 of 2 approvals)", one},
		{releases.Cancelled, "cancelled by tess", nil},
		{releases.Superseded, "r-newone of 9f8e7d6 by tess took its place", one},
	} {
		r := releases.Release{
			ID: "r-7f3k2m", Kind: releases.KindRelease, App: "web", Env: "production", ArtifactID: "acme/web-1", Version: version(), From: "0f9e8d7",
			RequestedBy: releases.Actor{Name: "tess"}, Status: state.status, Reason: state.reason, Plan: plan, Votes: state.votes, Asked: asked,
			Expires: asked.Add(4 * time.Hour), Approval: &releases.Approval{Needs: []releases.Need{{Count: 2, From: []string{"release-managers"}}}},
			Steps: []releases.Step{{Status: releases.Proposed, At: asked}, {Status: releases.Waiting, At: asked}},
		}
		if state.status == releases.Waiting {
			r.Blocks = []releases.Block{{Kind: releases.BlockVotes, Text: state.reason}}
		} else {
			r.Steps = append(r.Steps, releases.Step{Status: state.status, At: asked.Add(time.Hour)})
		}
		if state.status == releases.Published {
			r.Commit = "abcdef0123456789"
		}
		all = append(all, releases.Outcome{Kind: releases.ReleaseChanged, Release: &r})
		if state.status == releases.Waiting && len(state.votes) == 1 {
			all = append(all, releases.Outcome{Kind: releases.ApprovalDue, Reminder: &r})
		}
	}
	return all
}

// each calls do with every note of every outcome, and a name for it.
func each(do func(name string, n notify.Note)) {
	for _, o := range outcomes() {
		name := o.Kind
		if o.Release != nil {
			name = fmt.Sprintf("%s %s (%s)", o.Release.Kind, o.Release.Status, o.Release.Reason)
		}
		notes := notify.Compose(o, time.UTC)
		if o.Reminder != nil {
			notes = append(notes, notify.Remind(*o.Reminder, time.UTC))
		}
		if who, n, ok := notify.Personal(o, time.UTC); ok {
			do(name+", to "+who.Name+" alone", n)
		}
		for _, n := range notes {
			do(name, n)
		}
		if len(notes) == 0 {
			do(name, notify.Note{})
		}
	}
	views := summaries()
	for _, name := range slices.Sorted(maps.Keys(views)) {
		do("run: "+name, summaryNote(views[name]))
	}
}

func compare(t *testing.T, golden, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

func TestEveryMessageInEveryState(t *testing.T) {
	var out bytes.Buffer
	terminal := console.New(console.Config{In: strings.NewReader(""), Out: &out})
	each(func(name string, n notify.Note) {
		fmt.Fprintf(&out, "== %s\n", name)
		if n.Key == "" {
			fmt.Fprintln(&out, "(people are not told)")
			return
		}
		fmt.Fprintf(&out, "-- %s", n.Key)
		if n.Under != "" {
			fmt.Fprintf(&out, " in the thread of %s", n.Under)
		}
		if n.DiffOf != "" {
			fmt.Fprint(&out, ", with the diff")
		}
		if n.Broadcast {
			fmt.Fprint(&out, ", shown in the channel")
		}
		fmt.Fprintln(&out)
		if _, err := terminal.Send(t.Context(), bot.Post{Channel: "console", Message: n.Message}); err != nil {
			t.Fatal(err)
		}
		for _, b := range n.Message.Buttons {
			fmt.Fprintf(&out, "   %q asks %q\n", b.Args, b.Confirm)
		}
	})
	compare(t, "testdata/messages.golden", out.String())
	if strings.Contains(out.String(), "\x1b") {
		t.Error("a message carries a terminal's control sequence")
	}
}

func TestRoute(t *testing.T) {
	environments := []releases.Environment{
		{Name: "staging", Channels: []string{"console", "slack:#staging"}}, {Name: "production", Channels: []string{"slack:#prod", "console"}}, {Name: "quiet"},
	}
	for _, c := range []struct {
		name string
		o    releases.Outcome
		want []bot.Channel
	}{
		{"a release", releases.Outcome{Release: &releases.Release{Env: "production"}}, []bot.Channel{"slack:#prod", "console"}},
		{"a release without channels", releases.Outcome{Release: &releases.Release{Env: "quiet"}}, nil},
		{"an artifact for both", releases.Outcome{Artifact: &releases.News{Decisions: []releases.Decision{{Env: "production"}, {Env: "staging"}}}}, []bot.Channel{"console", "slack:#staging", "slack:#prod"}},
		{"an artifact for none", releases.Outcome{Artifact: &releases.News{}}, []bot.Channel{"console", "slack:#staging", "slack:#prod"}},
		{"a hold", releases.Outcome{Hold: &releases.Hold{Env: "staging"}}, []bot.Channel{"console", "slack:#staging"}},
	} {
		if diff := cmp.Diff(c.want, notify.Route(c.o, environments)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}
