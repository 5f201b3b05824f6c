package notify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"gimletd/bot"
	"gimletd/releases"
)

// runNote is the note that shows a policy's run as it is when it is told.
func runNote(id string) Note { return Note{Key: "run/" + id, RunOf: id} }

// inSummary reports whether the summary of a policy's run is all that people need to see of its release.
func inSummary(r releases.Release) bool {
	return r.Run != "" && r.Asked.IsZero() && r.Status != releases.Failed && r.Glass == nil && !r.Needs(releases.BlockVotes)
}

// Bounds of a summary: how many apps it lists, and how much of all it says, in characters.
const (
	maxRunLines = 30
	maxRunLine  = 220
	maxRunText  = 2500
)

// Summary shows what a policy has made of a tick: a line for each app of which there is something to say.
func Summary(v releases.RunView, zone *time.Location) bot.Message {
	m := bot.Message{Title: runTitle(v), Tone: bot.Good}
	type row struct {
		rank int
		text string
	}
	var rows []row
	for _, l := range v.Lines {
		rank, text := runLine(l, v)
		rows = append(rows, row{rank, text})
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.rank, b.rank) })
	var lines []string
	if v.Why != "" {
		lines = append(lines, strings.ToUpper(v.Why[:1])+v.Why[1:]+".")
	}
	said := 0
	for i, r := range rows {
		text := short(r.text)
		if said += len(text); i == maxRunLines || said > maxRunText {
			lines = append(lines, fmt.Sprintf("and %d more", len(rows)-i))
			break
		}
		lines = append(lines, text)
	}
	if rest := quietly(v.Run); rest != "" {
		lines = append(lines, rest)
	}
	m.Body = strings.Join(lines, "\n")
	switch {
	case v.Fate != releases.Ran:
		m.Tone = bot.Warning
	case slices.ContainsFunc(rows, func(r row) bool { return r.rank == rankFailed }):
		m.Tone = bot.Bad
	case slices.ContainsFunc(rows, func(r row) bool { return r.rank == rankStopped }):
		m.Tone = bot.Warning
	case slices.ContainsFunc(rows, func(r row) bool { return r.rank == rankWaits || r.rank == rankMoving }):
		m.Tone = bot.Working
	}
	m.Footer = "policy " + v.Policy + " · due " + at(v.Due, zone)
	if !v.Next.IsZero() {
		m.Footer += " · next " + at(v.Next, zone)
	}
	return m
}

// short is the first line of a text, and no more than fits.
func short(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if runes := []rune(text); len(runes) > maxRunLine {
		text = string(runes[:maxRunLine]) + "…"
	}
	return text
}

func runTitle(v releases.RunView) string {
	fired, stopped := 0, 0
	for _, l := range v.Lines {
		switch {
		case l.Fires:
			fired++
		case l.Skip == releases.SkipGate:
			stopped++
		}
	}
	switch {
	case v.Fate == releases.Missed:
		return fmt.Sprintf("%s did not run: its time was missed, and it leaves missed ones out", v.Policy)
	case v.Fate == releases.Overlapped:
		return fmt.Sprintf("%s did not run again", v.Policy)
	case fired == 0 && stopped > 0:
		return fmt.Sprintf("%s: stopped by its gates, from %s to %s", v.Policy, v.From, v.To)
	case fired == 0:
		return fmt.Sprintf("%s: nothing to release from %s to %s", v.Policy, v.From, v.To)
	case fired == 1:
		return fmt.Sprintf("%s: 1 app from %s to %s", v.Policy, v.From, v.To)
	}
	return fmt.Sprintf("%s: %d apps from %s to %s", v.Policy, fired, v.From, v.To)
}

// The order of a summary's lines.
const (
	rankFailed = iota
	rankStopped
	rankWaits
	rankMoving
	rankReleased
	rankSkipped
)

// runLine tells what became of one app.
func runLine(l releases.Line, v releases.RunView) (rank int, text string) {
	name := l.App + " " + l.Version
	if l.Live != "" && l.Live != l.Version {
		name = l.App + " " + l.Live + " → " + l.Version
	}
	r, asked := v.Releases[l.Release]
	switch {
	case !l.Fires && l.Skip == releases.SkipGate:
		return rankStopped, fmt.Sprintf("✗ %s: stopped: %s", name, l.Reason)
	case !l.Fires:
		return rankSkipped, fmt.Sprintf("– %s: skipped: %s", l.App, l.Reason)
	case l.Release == "":
		return rankWaits, fmt.Sprintf("… %s: %s", name, gatesOf(l))
	case !asked:
		return rankMoving, fmt.Sprintf("… %s: asked for (%s)", name, l.Release)
	}
	name += " (" + r.ID + ")"
	switch r.Status {
	case releases.Published:
		if r.RolledBack {
			return rankStopped, "– " + name + ": released, and rolled back since"
		}
		return rankReleased, "✓ " + name + ": released"
	case releases.Unchanged:
		return rankReleased, "✓ " + name + ": nothing to change"
	case releases.Failed:
		return rankFailed, "✗ " + name + ": failed: " + r.Reason
	case releases.Waiting:
		return rankWaits, "… " + name + ": waits: " + r.Reason
	case releases.Proposed, releases.Approved, releases.Publishing:
		if text, ok := strings.CutPrefix(r.Reason, waiting); ok {
			return rankMoving, "… " + name + ": waits: " + text
		}
		return rankMoving, "… " + name + ": on its way"
	case releases.Superseded, releases.Rejected, releases.Expired, releases.Cancelled:
	}
	return rankStopped, fmt.Sprintf("– %s: %s: %s", name, r.Status, r.Reason)
}

// gatesOf tells what the gates of an app have said so far.
func gatesOf(l releases.Line) string {
	var open []string
	for _, g := range l.Gates {
		if g.Verdict == releases.Inconclusive {
			text := g.Name
			if g.Seen != "" {
				text += " (" + g.Seen + ")"
			}
			open = append(open, text)
		}
	}
	if len(open) == 0 {
		return "its gates are asked"
	}
	return "waits for gate " + strings.Join(open, ", ")
}

// quietly counts the apps of which there is nothing to say.
func quietly(r releases.Run) string {
	words := map[string]string{
		releases.SkipLive: "%d up to date", releases.SkipUnfit: "%d not for " + r.To, releases.SkipBackwards: "%d with something newer in " + r.To,
	}
	var parts []string
	for _, skip := range []string{releases.SkipLive, releases.SkipBackwards, releases.SkipUnfit} {
		if n := r.Quiet[skip]; n > 0 {
			parts = append(parts, fmt.Sprintf(words[skip], n))
		}
	}
	switch {
	case len(parts) == 0:
		return ""
	case len(r.Lines) == 0:
		return strings.Join(parts, ", ")
	}
	return "besides: " + strings.Join(parts, ", ")
}
