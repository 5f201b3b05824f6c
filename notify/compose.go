package notify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gimletd/bot"
	"gimletd/releases"
)

// Note is a message that tells of an outcome. Notes with the same key are states of one message.
type Note struct {
	Key     string
	Message bot.Message
	// Under is the key of the message whose thread it belongs to; "" for the channel itself.
	Under string
	// Broadcast shows a thread's note in the channel, too.
	Broadcast bool
	// DiffOf is the release whose whole diff is to be attached.
	DiffOf string
	// AskFor is the release whose approvers are to be mentioned.
	AskFor *releases.Release
	// Verb is the right that those have who are mentioned; "" is that to approve.
	Verb string
	// Once is told and never changed.
	Once bool
	// Decides ends the asking for votes: what still waits to be asked in the message's thread is not asked, or, with
	// Goes, told without asking.
	Decides, Goes bool
	// RunOf is the run of a policy that the message shows, as it is when it is told.
	RunOf string
	// Followup changes a message that was sent, and is nothing where none was.
	Followup bool
}

// Compose makes the notes that tell of the outcome, for each channel that it concerns. There are none for a state that
// people need not see.
func Compose(o releases.Outcome, zone *time.Location) []Note {
	switch {
	case o.Artifact != nil:
		return []Note{{Key: "artifact/" + o.Artifact.ID, Message: artifact(*o.Artifact)}}
	case o.Release != nil:
		return released(*o.Release, zone)
	case o.Run != nil:
		return []Note{runNote(o.Run.ID)}
	}
	return controlled(o, zone)
}

// released are a release's message and what its thread says of the state.
func released(r releases.Release, zone *time.Location) (notes []Note) {
	if r.Run != "" {
		notes = append(notes, runNote(r.Run))
	}
	m, ok := release(r, zone)
	if !ok || inSummary(r) {
		return notes
	}
	key := releaseKey(r)
	own := Note{Key: key, Message: m, Decides: (r.Status != releases.Waiting || !r.Needs(releases.BlockVotes)) && !r.Asked.IsZero()}
	own.Goes = slices.Contains([]releases.Status{releases.Approved, releases.Publishing, releases.Published}, r.Status)
	notes = append(notes, own)
	thread := func(name string, n Note) {
		n.Key, n.Under, n.Once = key+"/"+name, key, true
		notes = append(notes, n)
	}
	if asked := r.Glass; r.Status == releases.Waiting && asked != nil && r.Plan != nil && asked.Digest == r.Plan.Digest {
		thread(fmt.Sprintf("glass?/%s/%d", r.PlanWord(), asked.At.Unix()), Note{Broadcast: true, AskFor: &r, Verb: releases.VerbBreakGlass, Message: bot.Message{
			Tone: bot.Warning, Title: fmt.Sprintf("%s wants to break the glass for %s", asked.By.Name, what(r)), Body: asked.Reason,
			Fields: fields("it would pass", strings.Join(asked.Passed, "; ")), Footer: "a second person has to agree, within an hour: Break the glass is on the message above",
		}})
	}
	if broken(r) && slices.Contains([]releases.Status{releases.Approved, releases.Publishing, releases.Published}, r.Status) {
		thread("glass/"+r.PlanWord(), Note{Broadcast: true, Message: glass(r, what(r))})
	}
	switch {
	case r.Status == releases.Waiting && r.Needs(releases.BlockVotes) && len(r.Standing()) == 0:
		m := bot.Message{Title: "Approval needed: " + approvalLine(r), Body: "This is all that would change. The buttons are on the message above."}
		thread("ask/"+r.PlanWord(), Note{DiffOf: r.ID, AskFor: &r, Message: m})
	case r.Status == releases.Published && r.Asked.IsZero() && len(r.Plan.Changes) > 0:
		thread("diff", Note{DiffOf: r.ID, Message: bot.Message{Title: whatChanged}})
	case r.Status == releases.Failed:
		thread("failed", Note{Broadcast: true, Message: bot.Message{
			Tone: bot.Bad, Title: m.Title, Body: r.Reason, Footer: "nothing was written; Try again is on the message, /gimlet why " + r.App + " " + r.Env + " tells the rest",
		}})
	}
	return notes
}

// whatChanged is the title of a diff that nobody has to decide on.
const whatChanged = "What changed"

func releaseKey(r releases.Release) string { return "release/" + r.ID }

// Remind is the direct message to somebody who has not voted on the release's plan.
func Remind(r releases.Release, zone *time.Location) Note {
	m, _ := release(r, zone)
	m.Title = strings.Replace(m.Title, "Waiting for approval", "Your approval is needed", 1)
	return Note{Key: "reminder/" + r.ID + "/" + r.PlanWord(), Message: m}
}

// followUp changes a reminder about a plan to what has become of the release.
func followUp(r releases.Release, plan string, zone *time.Location) Note {
	if r.Status == releases.Waiting && r.PlanWord() == plan && r.Needs(releases.BlockVotes) {
		n := Remind(r, zone)
		n.Followup = true
		return n
	}
	m, told := release(r, zone)
	if !told {
		m.Title, m.Tone = "Decided: "+m.Title, bot.Working
	}
	m.Buttons = nil
	return Note{Key: "reminder/" + r.ID + "/" + plan, Message: m, Followup: true}
}

func artifact(a releases.News) bot.Message {
	v := a.Version
	m := bot.Message{Title: fmt.Sprintf("New artifact: %s %s", v.RepositoryName, v.Short())}
	first, _, _ := strings.Cut(v.Message, "\n")
	m.Fields = append(fields("commit", strings.TrimSpace(releases.ShortSHA(v.SHA)+" "+first), "branch", branch(v), "author", v.AuthorName), m.Fields...)
	if len(m.Fields) > 0 {
		m.Fields[0].URL = v.URL
	}
	for _, item := range a.Items {
		name, _ := item["name"].(string)
		url, _ := item["url"].(string)
		if name != "" && url != "" && url != v.URL {
			m.Fields = append(m.Fields, bot.Field{Name: name, Value: url, URL: url})
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
	question := fmt.Sprintf("Release %s %s to %s?", d.App, a.Version.Short(), d.Env)
	if d.Live != "" {
		question += fmt.Sprintf(" When this was announced, %s was live there.", d.Live)
	}
	return bot.Button{Label: fmt.Sprintf("Release %s to %s", d.App, d.Env), Args: []string{"/release", d.App, d.Env, a.ID}, Confirm: question}
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

// what names the release, with the versions from and to.
func what(r releases.Release) string {
	switch r.Kind {
	case releases.KindRollback:
		return fmt.Sprintf("%s in %s: %s", r.App, r.Env, step(r))
	case releases.KindCleanup:
		return fmt.Sprintf("%s from %s", r.App, r.Env)
	}
	return fmt.Sprintf("%s %s to %s", r.App, step(r), r.Env)
}

func release(r releases.Release, zone *time.Location) (bot.Message, bool) {
	m := bot.Message{Footer: r.ID + " · " + asked(r), About: r.ID}
	what := what(r)
	doing, done, not := verbs(r.Kind)
	doing, done, not = doing+" "+what, done+" "+what, not+": "+what
	again := []bot.Button{{Label: "Ask again", Args: []string{"/gimlet", "retry", r.ID}, Confirm: "Ask again for " + what + "?"}}
	switch r.Status {
	case releases.Proposed, releases.Approved, releases.Publishing:
		return progress(m, r, doing, zone)
	case releases.Waiting:
		return ballot(m, r, what, zone), true
	case releases.Published:
		return live(m, r, done, zone), true
	case releases.Unchanged:
		m.Title, m.Tone, m.Body = fmt.Sprintf("Nothing to change: %s %s in %s", r.App, r.Version.Short(), r.Env), bot.Good, r.Reason
	case releases.Superseded:
		m.Title, m.Tone, m.Body = not, bot.Warning, r.Reason
	case releases.Rejected:
		m.Title, m.Tone, m.Body, m.Buttons = "Rejected: "+what, bot.Bad, r.Reason, again
	case releases.Expired:
		m.Title, m.Tone, m.Body, m.Buttons = "Expired: "+what, bot.Warning, r.Reason, again
	case releases.Cancelled:
		m.Title, m.Tone, m.Body, m.Buttons = "Cancelled: "+what, bot.Warning, r.Reason, again
	case releases.Failed:
		m.Title, m.Tone, m.Body = not, bot.Bad, r.Reason
		m.Buttons = []bot.Button{{Label: "Try again", Args: []string{"/gimlet", "retry", r.ID}, Confirm: "Try again: " + what + "?"}}
	}
	if r.Status == releases.Failed {
		m.Fields = decided(r, zone)
	}
	return m, true
}

// verbs are the words for what a release does, has done, and has not.
func verbs(kind string) (doing, done, not string) {
	switch kind {
	case releases.KindRollback:
		return "Rolling back", "Rolled back", "Not rolled back"
	case releases.KindCleanup:
		return "Removing", "Removed", "Not removed"
	}
	return "Releasing", "Released", "Not released"
}

// ballot shows a release that waits: for votes, for something else, or for both.
func ballot(m bot.Message, r releases.Release, what string, zone *time.Location) bot.Message {
	plan := r.PlanWord()
	m.Title, m.Tone, m.Body = "Queued: "+what, bot.Working, changes(r.Plan)
	for _, line := range waitsFor(r) {
		m.Fields = append(m.Fields, bot.Field{Name: "waits", Value: line})
	}
	if r.Needs(releases.BlockVotes) && r.Approval != nil {
		m.Title = "Waiting for approval: " + what
		m.Fields = append(m.Fields, fields("approvals", approvalLine(r), "asked because", r.Approval.Because)...)
		m.Buttons = []bot.Button{
			{Label: "Approve", Tone: bot.Good, Args: []string{"/gimlet", "approve", r.ID, plan}},
			{Label: "Reject", Tone: bot.Bad, Args: []string{"/gimlet", "reject", r.ID, plan}, Confirm: fmt.Sprintf("Reject %s? This ends the request.", what)},
		}
	} else {
		m.Fields = append(m.Fields, decided(r, zone)...)
	}
	if r.Queued() {
		m.Footer += " · goes on by itself; if it cannot wait: /gimlet break-glass " + r.ID + " <why>"
	}
	if !r.Expires.IsZero() {
		m.Fields = append(m.Fields, bot.Field{Name: "expires", Value: at(r.Expires, zone)})
	}
	first, _, _ := strings.Cut(r.Version.Message, "\n")
	if text := strings.TrimSpace(releases.ShortSHA(r.Version.SHA) + " " + first); text != "" {
		m.Fields = append(m.Fields, bot.Field{Name: "commit", Value: text, URL: r.Version.URL})
	}
	if r.Plan != nil && r.Plan.Commits > 1 {
		m.Fields = append(m.Fields, bot.Field{Name: "brings", Value: fmt.Sprintf("%d commits", r.Plan.Commits)})
	}
	if r.Glass != nil && r.Plan != nil && r.Glass.Digest == r.Plan.Digest {
		m.Tone = bot.Warning
		m.Fields = append(m.Fields, bot.Field{Name: "break the glass?", Value: fmt.Sprintf("%s wants to: %s. A second person has to agree.", r.Glass.By.Name, r.Glass.Reason)})
		m.Buttons = append(m.Buttons, bot.Button{
			Label: "Break the glass", Tone: bot.Bad, Args: []string{"/gimlet", "break-glass", r.ID, plan},
			Confirm: fmt.Sprintf("Let %s pass what keeps it back (%s)? %s asks: %s", what, r.Reason, r.Glass.By.Name, r.Glass.Reason),
		})
	}
	m.Buttons = append(m.Buttons, bot.Button{Label: "Cancel", Args: []string{"/gimlet", "cancel", r.ID}, Confirm: fmt.Sprintf("Take the request for %s back?", what)})
	return m
}

// why is the reason for which the release was asked for.
func why(r releases.Release) string {
	if len(r.Steps) == 0 || r.Steps[0].Reason == "" {
		return ""
	}
	return strings.ToUpper(r.Steps[0].Reason[:1]) + r.Steps[0].Reason[1:] + "."
}

const moment = "Mon 2 Jan 15:04 MST"

// approvalLine is how the votes stand.
func approvalLine(r releases.Release) string {
	text := strings.Join(r.Approval.Tally(r), ", ")
	if votes := r.Approvals(); len(votes) > 0 {
		text += " (" + names(votes) + ")"
	}
	return text
}

func names(votes []releases.Vote) string {
	var all []string
	for _, v := range votes {
		all = append(all, v.Name())
	}
	return strings.Join(all, ", ")
}

// decided says who decided on a release that had to be voted on, and when.
func decided(r releases.Release, zone *time.Location) (all []bot.Field) {
	when := r.Decided()
	switch votes := r.Approvals(); {
	case len(votes) == 0:
	case when.IsZero() && r.Status == releases.Waiting:
		all = append(all, bot.Field{Name: "approved by", Value: names(votes)})
	case !when.IsZero():
		all = append(all, bot.Field{Name: "approved by", Value: names(votes) + ", " + at(when, zone)})
	}
	if broken(r) {
		all = append(all, bot.Field{Name: "glass broken by", Value: fmt.Sprintf("%s and %s: %s", r.Glass.By.Name, r.Glass.Second.Name, r.Glass.Reason)})
	}
	return all
}

// live shows a release that is in the repository.
func live(m bot.Message, r releases.Release, done string, zone *time.Location) bot.Message {
	m.Title, m.Tone, m.Body = done, bot.Good, changes(r.Plan)
	m.Fields = append(fields("commit", releases.ShortSHA(r.Commit)), decided(r, zone)...)
	m.Buttons = []bot.Button{rollbackButton(r)}
	switch r.Kind {
	case releases.KindCleanup:
		m.Body = why(r) + "\n" + m.Body
		m.Buttons = []bot.Button{{Label: "Release it again", Args: []string{"/release", r.App, r.Env, r.ArtifactID}, Confirm: fmt.Sprintf("Release %s %s to %s again?", r.App, r.Version.Short(), r.Env)}}
	case releases.KindRollback:
		m.Fields = append(m.Fields, bot.Field{Name: "automation", Value: fmt.Sprintf("held until /gimlet resume %s %s", r.App, r.Env)})
		m.Buttons = []bot.Button{{Label: "Resume automation", Args: []string{"/gimlet", "resume", r.App, r.Env}}}
	}
	return m
}

// progress shows a release on its way. What lasts milliseconds is not told, what makes it wait is.
func progress(m bot.Message, r releases.Release, doing string, zone *time.Location) (bot.Message, bool) {
	m.Title, m.Tone = doing, bot.Working
	switch {
	case strings.HasPrefix(r.Reason, waiting):
		m.Tone, m.Body = bot.Warning, "Waiting: "+strings.TrimPrefix(r.Reason, waiting)+". It goes on by itself."
		return m, true
	case r.Status == releases.Proposed:
		m.Body = r.Reason
		return m, true
	case r.Status == releases.Approved && (!r.Asked.IsZero() || broken(r)):
		m.Fields = decided(r, zone)
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

// rollbackButton takes this release back, and no other: by its id.
func rollbackButton(r releases.Release) bot.Button {
	question := fmt.Sprintf("Roll %s in %s back from %s?", r.App, r.Env, r.Version.Short())
	if r.From != "" {
		question = fmt.Sprintf("Roll %s in %s back: %s → %s?", r.App, r.Env, r.Version.Short(), r.From)
	}
	if r.Plan != nil && len(r.Plan.Back) > 0 {
		question += " Careful: " + strings.Join(r.Plan.Back, "; ") + "."
	}
	return bot.Button{Label: "Roll back", Args: []string{"/rollback", r.ID}, Confirm: question, Tone: bot.Bad}
}

// stray is the word to the owner about a channel that cannot be posted to.
func stray(channel, fallback bot.Channel, cause error, at time.Time) Note {
	m := bot.Message{
		Tone: bot.Warning, Title: fmt.Sprintf("I cannot post in %s", channel),
		Body: fmt.Sprintf("%v.\nInvite me there, or change the channel in the configuration. The next news try it again.", cause),
	}
	if fallback != "" && fallback != channel {
		m.Footer = fmt.Sprintf("until then its news go to %s", fallback)
	} else {
		m.Footer = "until then its news go nowhere: notify.fallback names a channel for them"
	}
	return Note{Key: fmt.Sprintf("stray/%s/%s", channel, at.UTC().Format(time.DateOnly)), Message: m, Once: true}
}
