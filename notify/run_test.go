package notify_test

import (
	"time"

	"gimletd/notify"
	"gimletd/releases"
)

// summaries are what the runs of policies are told as.
func summaries() map[string]releases.RunView {
	due := time.Date(2026, 3, 4, 1, 0, 0, 0, time.UTC)
	base := func(lines ...releases.Line) releases.RunView {
		return releases.RunView{Releases: map[string]releases.Release{}, Run: releases.Run{
			ID: "nightly/2026-03-04T01:00Z", Policy: "nightly", From: "staging", To: "production", Due: due, At: due, Fate: releases.Ran, Next: due.Add(24 * time.Hour),
			Lines: lines, Quiet: map[string]int{releases.SkipLive: 41, releases.SkipUnfit: 2},
		}}
	}
	line := func(app, live, version, skip, reason, release string) releases.Line {
		return releases.Line{Decision: releases.Decision{App: app, Env: "production", Fires: skip == "", Live: live, Version: version, Skip: skip, Reason: reason}, Release: release}
	}
	full := base(
		line("api", "0f9e8d7", "1a2b3c4", "", "1a2b3c4 is live in staging for 26h", "r-bbbbbb"),
		line("billing", "", "2b3c4d5", releases.SkipSoak, "2b3c4d5 is in staging since Tue 3 Mar 2026 14:00 UTC and soaks until Wed 4 Mar 2026 14:00 UTC", ""),
		line("cart", "v1.0.0", "v1.1.0", "", "", "r-cccccc"),
		line("docs", "0f9e8d7", "3c4d5e6", releases.SkipRolledBack, "3c4d5e6 was rolled back from production (r-dddddd); a person may release it again", ""),
		line("mail", "0f9e8d7", "4d5e6f7", "", "", "r-ffffff"),
		line("search", "0f9e8d7", "5e6f7a8", releases.SkipGate, `gate error rate failed: "rate(errors[10m])" is 0.4, more than 0.01`, ""),
		line("web <!channel>", "0f9e8d7", "6f7a8b9", "", "", "r-gggggg"),
	)
	for id, status := range map[string]releases.Status{"r-bbbbbb": releases.Published, "r-cccccc": releases.Waiting, "r-ffffff": releases.Failed, "r-gggggg": releases.Publishing} {
		full.Releases[id] = releases.Release{ID: id, Status: status, Reason: map[releases.Status]string{
			releases.Waiting: "0 of 2 approvals of release-managers", releases.Failed: "values.replicas: expected a number",
		}[status]}
	}
	gates := base(line("web", "0f9e8d7", "6f7a8b9", "", "", ""), line("api", "0f9e8d7", "1a2b3c4", "", "", ""))
	gates.Lines[0].Gates = []releases.GateState{{Name: "smoke", Verdict: releases.Pass, Seen: "200"}, {Name: "error rate", Verdict: releases.Inconclusive, Seen: "no data"}}
	done := base(line("api", "0f9e8d7", "1a2b3c4", "", "", "r-bbbbbb"))
	done.Releases["r-bbbbbb"] = releases.Release{ID: "r-bbbbbb", Status: releases.Published}
	missed, overlapped, many := base(), base(), base()
	missed.Fate, missed.Why, missed.Quiet = releases.Missed, "it is 3h late, and the 2 ticks before were missed: GimletD was down, or its clock was changed", nil
	overlapped.Fate, overlapped.Why, overlapped.Quiet = releases.Overlapped, "the run of Wed 4 Mar 2026 00:00 UTC still waits for its gates", nil
	for range 60 {
		many.Lines = append(many.Lines, line("a-service-with-a-name-of-some-length", "0f9e8d7", "1a2b3c4", releases.SkipSoak, "1a2b3c4 is in staging since Tue 3 Mar 2026 14:00 UTC and soaks until Wed 4 Mar 2026 14:00 UTC", ""))
	}
	return map[string]releases.RunView{
		"1 all that can be": full, "2 gates are asked": gates, "3 done": done, "4 missed": missed, "5 overlapped": overlapped, "6 nothing": base(), "7 many": many,
	}
}

func summaryNote(v releases.RunView) notify.Note {
	return notify.Note{Key: "run/" + v.ID, Message: notify.Summary(v, time.UTC)}
}
