package notify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gimletd/bot"
	"gimletd/releases"
)

// controlled are the notes about what keeps releases back: locks, freezes, holds, marks, reviews.
func controlled(o releases.Outcome, zone *time.Location) []Note {
	switch {
	case o.Hold != nil:
		return []Note{hold(o, zone)}
	case o.Lock != nil && o.Kind == releases.LockChanged:
		return lock(o, zone)
	case o.Freeze != nil:
		return freeze(o, zone)
	case o.Mark != nil:
		return mark(o)
	case o.Review != nil:
		return review(*o.Review, zone)
	}
	return nil
}

// ended is the last state of a message, with a word in its thread that is shown in the channel.
func ended(key string, m bot.Message) []Note {
	said := m
	said.Body, said.Fields, said.Buttons = "", nil, nil
	return []Note{{Key: key, Message: m}, {Key: key + "/ended", Under: key, Once: true, Broadcast: true, Message: said}}
}

func hold(o releases.Outcome, zone *time.Location) Note {
	h := *o.Hold
	if o.Ended == "" {
		return Note{Key: fmt.Sprintf("hold/%d", o.Seq), Message: bot.Message{
			Tone: bot.Warning, Title: fmt.Sprintf("Automation of %s in %s is held", h.App, h.Env), Body: h.Reason, Footer: "held by " + h.By,
			Buttons: []bot.Button{{Label: "Resume automation", Args: []string{"/gimlet", "resume", h.App, h.Env}}},
		}}
	}
	return Note{Key: fmt.Sprintf("resumed/%d", o.Seq), Message: bot.Message{
		Title: fmt.Sprintf("Automation of %s in %s goes on", h.App, h.Env), Tone: bot.Good,
		Footer: fmt.Sprintf("resumed by %s · held since %s by %s", o.Ended, at(h.At, zone), h.By),
	}}
}

func lockKey(l releases.Lock) string { return "lock/" + l.ID }

func unlockButton(l releases.Lock) bot.Button {
	return bot.Button{Label: "Unlock", Args: []string{"/gimlet", "unlock", l.App, l.Env, "lock:" + l.ID}}
}

func lock(o releases.Outcome, zone *time.Location) []Note {
	l := *o.Lock
	if o.Ended != "" {
		m := bot.Message{Tone: bot.Good, Title: "Unlocked: " + l.Where(), Body: "It was: " + l.Reason, Fields: fields("still", o.Still), Footer: fmt.Sprintf("locked by %s · unlocked by %s", l.Owner.Name, because(o))}
		return ended(lockKey(l), m)
	}
	m := bot.Message{
		Tone: bot.Warning, Title: "Locked: " + l.Where(), Body: l.Reason, Fields: fields("by", l.Owner.Name, "until", at(l.Until, zone)),
		Footer: "Only they release there until then; what others ask for waits", Buttons: []bot.Button{unlockButton(l)},
	}
	notes := []Note{{Key: lockKey(l), Message: m}}
	if o.Was != nil {
		before := bot.Message{Tone: bot.Warning, Title: "Locked anew: " + l.Where(), Body: "It was: " + o.Was.Reason, Footer: fmt.Sprintf("locked by %s · then by %s", o.Was.Owner.Name, l.Owner.Name)}
		if !o.Was.Owner.Is(l.Owner) {
			notes[0].Message.Title = "Lock taken over: " + l.Where()
			notes[0].Message.Fields = append(notes[0].Message.Fields, bot.Field{Name: "from", Value: o.Was.Owner.Name})
			before.Title = "Lock taken over: " + l.Where()
		}
		notes = append(notes, Note{Key: lockKey(*o.Was), Message: before, Followup: true})
	}
	return notes
}

// because is who ended something, and why.
func because(o releases.Outcome) string {
	if o.Why == "" {
		return o.Ended
	}
	return o.Ended + ": " + o.Why
}

func freeze(o releases.Outcome, zone *time.Location) []Note {
	f := *o.Freeze
	key := "freeze/" + f.Env + "/" + f.ID
	if o.Ended != "" {
		m := bot.Message{Tone: bot.Good, Title: fmt.Sprintf("The freeze of %s is over", f.Env), Body: "What waited goes on, one by one.", Footer: strings.TrimPrefix(f.Title(), "the freeze ")}
		if o.Still != "" {
			m.Tone, m.Title, m.Body = bot.Warning, fmt.Sprintf("A freeze of %s is over, and another is on", f.Env), strings.ToUpper(o.Still[:1])+o.Still[1:]+"."
		}
		if !f.Lifted.IsZero() {
			m.Footer += fmt.Sprintf(" · ended by %s, %s before its time", o.Ended, span(f.Until.Sub(f.Lifted)))
		}
		notes := ended(key, m)
		notes[1].Message.Body = m.Body
		return notes
	}
	exception := "Rollbacks pass."
	if f.Rollbacks {
		exception = "So do rollbacks."
	}
	m := bot.Message{
		Tone: bot.Warning, Title: fmt.Sprintf("Frozen: %s takes no releases until %s", f.Env, at(f.Until, zone)),
		Body: strings.TrimSpace(f.Reason + "\nWhat is asked for meanwhile waits, and goes on then. " + exception), Footer: "planned: " + f.Name,
		Buttons: []bot.Button{{Label: "Unfreeze", Args: []string{"/gimlet", "unfreeze", f.Env, f.ID}, Confirm: fmt.Sprintf("Let %s take releases now, before %s?", f.Env, at(f.Until, zone))}},
	}
	if f.Name == "" {
		m.Footer = "declared by " + f.By.Name
	}
	return []Note{{Key: key, Message: m}}
}

func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d minutes", int(d.Minutes()))
}

func mark(o releases.Outcome) []Note {
	m := *o.Mark
	what, key := m.Version.RepositoryName+" "+m.Version.Short(), fmt.Sprintf("mark/%s/%d", m.ArtifactID, m.At.Unix())
	if o.Ended != "" {
		return ended(key, bot.Message{Tone: bot.Good, Title: "May be released again: " + what, Body: "It was: " + m.Reason, Footer: "the mark was taken away by " + because(o)})
	}
	return []Note{{Key: key, Message: bot.Message{
		Tone: bot.Bad, Title: "Bad version: " + what, Body: m.Reason + "\nIt is not offered and no policy releases it. To release it all the same takes breaking the glass.",
		Footer: "marked by " + m.By.Name,
	}}}
}

func review(v releases.Review, zone *time.Location) []Note {
	key := "review/" + v.ReleaseID
	what := fmt.Sprintf("%s %s in %s", v.App, v.Version.Short(), v.Env)
	m := bot.Message{
		Tone: bot.Warning, Title: "To be reviewed: " + what + " went out by breaking the glass", Body: v.Glass.Reason,
		Fields: fields("by", v.Glass.By.Name+" and "+v.Glass.Second.Name, "when", at(v.Glass.At, zone), "it passed", strings.Join(v.Glass.Passed, "; ")),
		Footer: v.ReleaseID + " · somebody else, who may approve or break the glass there, signs it off", About: v.ReleaseID,
		Buttons: []bot.Button{{Label: "Sign off", Tone: bot.Good, Args: []string{"/gimlet", "sign-off", v.ReleaseID}, Confirm: fmt.Sprintf("Sign off %s? It says that you have looked at what happened and why.", what)}},
	}
	if v.SignedBy != nil {
		m.Tone, m.Title, m.Buttons, m.Footer = bot.Good, "Reviewed: "+what, nil, v.ReleaseID+" · signed off by "+v.SignedBy.Name
		if v.Remark != "" {
			m.Fields = append(m.Fields, bot.Field{Name: "found", Value: v.Remark})
		}
		return ended(key, m)
	}
	notes := []Note{{Key: key, Message: m}}
	if v.Asked > 1 {
		again := bot.Message{Tone: bot.Warning, Title: fmt.Sprintf("Still to be reviewed: %s (asked %d times)", what, v.Asked), Footer: "Sign off is on the message above"}
		notes = append(notes, Note{Key: fmt.Sprintf("%s/%d", key, v.Asked), Under: key, Once: true, Broadcast: true, Message: again})
	}
	return notes
}

// Personal is whom an outcome concerns directly, and what they are told; ok is false when it concerns nobody alone.
func Personal(o releases.Outcome, zone *time.Location) (who releases.Actor, n Note, ok bool) {
	switch {
	case o.Kind == releases.LockDue:
		l := *o.Lock
		return l.Owner, Note{Key: "due/" + l.ID, Once: true, Message: bot.Message{
			Tone: bot.Warning, Title: fmt.Sprintf("You have locked %s until %s", l.Where(), at(l.Until, zone)), Body: l.Reason,
			Footer: "Do you still need it? Others may wait", Buttons: []bot.Button{unlockButton(l)},
		}}, true
	case o.Kind == releases.LockChanged && o.Was != nil && !o.Was.Owner.Is(o.Lock.Owner):
		return o.Was.Owner, Note{Key: "taken/" + o.Was.ID, Once: true, Message: bot.Message{
			Tone: bot.Warning, Title: fmt.Sprintf("%s took your lock on %s over", o.Lock.Owner.Name, o.Was.Where()), Body: o.Lock.Reason, Footer: "until " + at(o.Lock.Until, zone),
		}}, true
	case o.Kind == releases.LockChanged && o.By != nil && o.By.Via != "gimletd" && !o.By.Is(o.Lock.Owner):
		return o.Lock.Owner, Note{Key: "taken/" + o.Lock.ID, Once: true, Message: bot.Message{
			Tone: bot.Warning, Title: "Your lock on " + o.Lock.Where() + " is over", Body: because(o),
		}}, true
	case o.Delegation != nil:
		d := *o.Delegation
		return d.To, Note{Key: fmt.Sprintf("delegated/%s/%d", d.From.Identity(), d.At.Unix()), Once: true, Message: bot.Message{
			Title: fmt.Sprintf("You may approve on behalf of %s until %s", d.From.Name, at(d.Until, zone)), Body: d.Reason, Footer: "Your vote and theirs count once",
		}}, true
	}
	return who, n, false
}

// at is a moment for messages.
func at(t time.Time, zone *time.Location) string {
	if zone == nil {
		zone = time.UTC
	}
	return t.In(zone).Format(moment)
}

// waitsFor says, beside the votes, what keeps a release back.
func waitsFor(r releases.Release) (lines []string) {
	if doubt, ok := strings.CutPrefix(r.Reason, waiting); ok { // nothing keeps it back any more, but something is not known
		return []string{doubt}
	}
	for _, b := range r.Blocks {
		if b.Kind != releases.BlockVotes {
			lines = append(lines, b.Text)
		}
	}
	return lines
}

// broken tells of a release that passes what would have kept it.
func broken(r releases.Release) bool { return r.Glass != nil && r.Glass.Second != nil }

// glass is what a thread, and the channel, are told of a broken glass.
func glass(r releases.Release, what string) bot.Message {
	return bot.Message{
		Tone: bot.Bad, Title: "The glass was broken for " + what, Body: r.Glass.Reason,
		Fields: fields("by", r.Glass.By.Name+" and "+r.Glass.Second.Name, "it passes", strings.Join(r.Glass.Passed, "; ")),
		Footer: "to be reviewed on the next working day, and signed off by somebody else",
	}
}

// concerns reports whether the outcome is about what controls releases of the environment.
func concerns(o releases.Outcome, env string) bool {
	switch {
	case o.Hold != nil:
		return o.Hold.Env == env
	case o.Lock != nil:
		return o.Lock.Env == env && o.Kind == releases.LockChanged
	case o.Freeze != nil:
		return o.Freeze.Env == env
	case o.Mark != nil:
		return slices.ContainsFunc(o.Mark.Targets, func(t releases.Target) bool { return t.Env == env })
	case o.Review != nil:
		return o.Review.Env == env
	}
	return false
}
