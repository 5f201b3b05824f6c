package notify

import (
	"fmt"
	"slices"
	"strings"

	"gimletd/bot"
	"gimletd/releases"
)

// Compose makes the message that tells of the outcome. key names the message: outcomes with the same key are states of
// one message. ok is false for a state that people need not see.
func Compose(o releases.Outcome) (m bot.Message, key string, ok bool) {
	switch {
	case o.Artifact != nil:
		return artifact(*o.Artifact), "artifact/" + o.Artifact.ID, true
	case o.Release != nil:
		m, ok = release(*o.Release)
		return m, "release/" + o.Release.ID, ok
	case o.Hold != nil && o.Resumed != "":
		return resumed(*o.Hold, o.Resumed), fmt.Sprintf("resumed/%d", o.Seq), true
	}
	return m, "", false
}

func artifact(a releases.News) bot.Message {
	v := a.Version
	m := bot.Message{Title: fmt.Sprintf("New artifact: %s %s", v.RepositoryName, v.Short())}
	first, _, _ := strings.Cut(v.Message, "\n")
	m.Fields = append(m.Fields, fields("commit", strings.TrimSpace(releases.ShortSHA(v.SHA)+" "+first), "branch", branch(v), "author", v.AuthorName, "link", v.URL)...)
	for _, item := range a.Items {
		name, _ := item["name"].(string)
		url, _ := item["url"].(string)
		if name != "" && url != "" && url != v.URL {
			m.Fields = append(m.Fields, bot.Field{Name: name, Value: url})
		}
	}
	if len(a.Dropped) > 0 {
		m.Fields = append(m.Fields, bot.Field{Name: "not kept", Value: strings.Join(a.Dropped, ", ") + " (they look like secrets)"})
	}
	var lines []string
	for _, d := range a.Decisions {
		mark := "not released by itself"
		switch {
		case d.Fires:
			mark = "releasing now"
		case !d.Unknown:
			m.Buttons = append(m.Buttons, releaseButton(d, a))
		}
		lines = append(lines, fmt.Sprintf("%s → %s: %s (%s)", d.App, d.Env, mark, d.Reason))
	}
	if len(lines) == 0 {
		lines = []string{"It has no manifests, so there is nothing to release."}
	}
	m.Body = strings.Join(lines, "\n")
	return m
}

func releaseButton(d releases.Decision, a releases.News) bot.Button {
	return bot.Button{
		Label:   fmt.Sprintf("Release %s to %s", d.App, d.Env),
		Args:    []string{"/release", d.App, d.Env, a.ID},
		Confirm: fmt.Sprintf("Release %s %s to %s?", d.App, a.Version.Short(), d.Env),
	}
}

func branch(v releases.Version) string {
	switch {
	case v.Event == releases.EventPR && v.TargetBranch != "":
		return v.SourceBranch + " → " + v.TargetBranch + " (pull request)"
	case v.Event == releases.EventPR:
		return v.Branch + " (pull request)"
	}
	return v.Branch
}

// fields makes fields of names and values, leaving out those without a value.
func fields(pairs ...string) []bot.Field {
	var all []bot.Field
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			all = append(all, bot.Field{Name: pair[0], Value: pair[1]})
		}
	}
	return all
}

// waiting is how the reason of a release begins that cannot go on for now.
const waiting = "waiting: "

func release(r releases.Release) (bot.Message, bool) {
	m := bot.Message{Footer: r.ID + " · " + asked(r)}
	what := fmt.Sprintf("%s %s to %s", r.App, step(r), r.Env)
	doing, done, failed := "Releasing "+what, "Released "+what, "Not released: "+what
	if r.Kind == releases.KindRollback {
		what = fmt.Sprintf("%s in %s: %s", r.App, r.Env, step(r))
		doing, done, failed = "Rolling back "+what, "Rolled back "+what, "Not rolled back: "+what
	}
	switch r.Status {
	case releases.Proposed, releases.Approved, releases.Publishing:
		return progress(m, r, doing)
	case releases.Published:
		m.Title, m.Tone = done, bot.Good
		m.Fields = fields("commit", releases.ShortSHA(r.Commit))
		m.Body = changes(r.Plan)
		m.Buttons = []bot.Button{rollbackButton(r)}
		if r.Kind == releases.KindRollback {
			m.Fields = append(m.Fields, bot.Field{Name: "automation", Value: fmt.Sprintf("held until /gimlet resume %s %s", r.App, r.Env)})
			m.Buttons = []bot.Button{{Label: "Resume automation", Args: []string{"/gimlet", "resume", r.App, r.Env}}}
		}
	case releases.Unchanged:
		m.Title, m.Tone, m.Body = fmt.Sprintf("Nothing to change: %s %s in %s", r.App, r.Version.Short(), r.Env), bot.Good, r.Reason
	case releases.Superseded:
		m.Title, m.Tone, m.Body = failed, bot.Warning, r.Reason
	case releases.Failed:
		m.Title, m.Tone, m.Body = failed, bot.Bad, r.Reason
		m.Buttons = []bot.Button{{Label: "Try again", Args: again(r)}}
	}
	return m, true
}

// progress shows a release on its way. What lasts milliseconds is not told, what makes it wait is.
func progress(m bot.Message, r releases.Release, doing string) (bot.Message, bool) {
	m.Title, m.Tone = doing, bot.Working
	switch {
	case strings.HasPrefix(r.Reason, waiting):
		m.Tone, m.Body = bot.Warning, "Waiting: "+strings.TrimPrefix(r.Reason, waiting)+". It goes on by itself."
		return m, true
	case r.Status == releases.Proposed:
		m.Body = r.Reason
		return m, true
	}
	return m, false
}

// step is `old → new`, or only the new version when nothing was live.
func step(r releases.Release) string {
	if r.From == "" || r.From == r.Version.Short() {
		return r.Version.Short()
	}
	return r.From + " → " + r.Version.Short()
}

func asked(r releases.Release) string {
	if r.Policy != "" {
		return "by policy " + r.Policy
	}
	return "asked for by " + r.RequestedBy.Name
}

// maxChanges is how many changed objects a message lists.
const maxChanges = 8

func changes(p *releases.Plan) string {
	if p == nil {
		return ""
	}
	var lines []string
	for _, c := range p.Changes {
		if len(lines) == maxChanges {
			lines = append(lines, fmt.Sprintf("and %d more objects", len(p.Changes)-maxChanges))
			break
		}
		lines = append(lines, c.String())
	}
	if len(p.Changes) == 0 {
		lines = []string{"no object changes, only the version"}
	}
	if len(p.Unstable) > 0 {
		lines = append(lines, "! renders differently each time: "+strings.Join(p.Unstable, ", "))
	}
	return strings.Join(lines, "\n")
}

func rollbackButton(r releases.Release) bot.Button {
	return bot.Button{
		Label:   "Roll back",
		Args:    []string{"/rollback", r.App, r.Env},
		Confirm: fmt.Sprintf("Roll %s in %s back from %s?", r.App, r.Env, r.Version.Short()),
	}
}

func again(r releases.Release) []string {
	if r.Kind == releases.KindRollback {
		return []string{"/rollback", r.App, r.Env, r.Target}
	}
	return []string{"/release", r.App, r.Env, r.ArtifactID}
}

func resumed(h releases.Hold, by string) bot.Message {
	return bot.Message{
		Title: fmt.Sprintf("Automation of %s in %s goes on", h.App, h.Env), Tone: bot.Good,
		Footer: fmt.Sprintf("resumed by %s · held since %s by %s", by, h.At.Format("2 Jan 15:04 MST"), h.By),
	}
}
