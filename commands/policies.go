package commands

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gimletd/bot"
	"gimletd/releases"
)

const paramPolicy = "policy"

// Bounds of what is shown of policies.
const (
	maxPolicies = 40 // rows
	maxApps     = 25 // lines
	pastRuns    = 5
)

func policiesCommand() command {
	spec := bot.Spec{Name: "gimlet policies", Summary: "what runs by itself, when next, and what it would do now", Params: []bot.Param{
		{Name: paramPolicy, Summary: "one policy, in detail"},
	}}
	return command{Spec: spec, run: func(ctx context.Context, c call) (bot.Reply, error) {
		name := c.words[paramPolicy]
		past := 1
		if name != "" {
			past = pastRuns
		}
		all, err := c.releases.Outlooks(ctx, name, past)
		if err != nil {
			return bot.Reply{}, err
		}
		if name != "" {
			return bot.Say(c.policy(all[0])), nil
		}
		return bot.Say(c.policies(all)), nil
	}}
}

// policies lists the scheduled policies, the next to run first.
func (c call) policies(all []releases.Outlook) bot.Message {
	if len(all) == 0 {
		return bot.Message{
			Title: "No policy runs on a schedule", Body: "Policies of manifests release what CI ships: /gimlet why tells what they said. Scheduled ones stand in the configuration, under policies.",
		}
	}
	slices.SortStableFunc(all, func(a, b releases.Outlook) int {
		if a.Next.IsZero() != b.Next.IsZero() {
			return map[bool]int{true: 1, false: -1}[a.Next.IsZero()]
		}
		return a.Next.Compare(b.Next)
	})
	m := bot.Message{Title: "Policies, the next to run first", Table: [][]string{{"POLICY", "NEXT", "FROM", "TO", "WOULD NOW", "LAST"}}}
	for i, o := range all {
		if i == maxPolicies {
			m.Footer = fmt.Sprintf("and %d more · ", len(all)-maxPolicies)
			break
		}
		last := "-"
		if len(o.Past) > 0 {
			last = c.outcome(o.Past[0])
		}
		m.Table = append(m.Table, []string{o.Policy.Name, c.next(o), o.Policy.From.String(), o.Policy.To, now(o), last})
	}
	m.Footer += "/gimlet policies <name> shows one, app by app"
	if fights := c.releases.Fights(); len(fights) > 0 {
		m.Tone, m.Body = bot.Warning, "! "+strings.Join(fights, "\n! ")
	}
	return m
}

func (c call) next(o releases.Outlook) string {
	if o.Next.IsZero() {
		return "never"
	}
	return o.Next.In(o.Policy.Zone).Format("Mon 2 Jan 15:04 MST")
}

// now counts what the policy would do now.
func now(o releases.Outlook) string {
	fires, words := 0, map[string]int{}
	for _, d := range o.Apps {
		if d.Fires {
			fires++
			continue
		}
		words[skipWord(d.Skip)]++
	}
	parts := []string{}
	if fires > 0 {
		parts = append(parts, fmt.Sprintf("release %d", fires))
	}
	for _, skip := range []string{releases.SkipSoak, releases.SkipHealth, releases.SkipOpen, releases.SkipHold, releases.SkipMark, releases.SkipRefused, releases.SkipRolledBack} {
		if n := words[skipWord(skip)]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, skipWord(skip)))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

func skipWord(skip string) string {
	switch skip {
	case releases.SkipSoak:
		return "soaking"
	case releases.SkipHealth:
		return "not healthy"
	case releases.SkipOpen:
		return "on their way"
	case releases.SkipHold:
		return "held"
	case releases.SkipMark:
		return "marked as bad"
	case releases.SkipRefused:
		return "refused"
	case releases.SkipRolledBack:
		return "rolled back"
	}
	return skip
}

// outcome is what became of a run, in a few words.
func (c call) outcome(v releases.RunView) string {
	if v.Fate != releases.Ran {
		return string(v.Fate) + " " + ago(c.now(), v.Due)
	}
	counts, order := map[string]int{}, []string{}
	for _, l := range v.Lines {
		word := "waits for its gates"
		switch r, asked := v.Releases[l.Release]; {
		case asked:
			word = string(r.Status)
		case !l.Fires && l.Skip == releases.SkipGate:
			word = "stopped"
		case !l.Fires:
			continue
		}
		if counts[word]++; counts[word] == 1 {
			order = append(order, word)
		}
	}
	var parts []string
	for _, word := range order {
		parts = append(parts, fmt.Sprintf("%d %s", counts[word], word))
	}
	if len(parts) == 0 {
		parts = []string{"nothing"}
	}
	return ago(c.now(), v.At) + ": " + strings.Join(parts, ", ")
}

// policy shows one policy: what it would do now, and what it did.
func (c call) policy(o releases.Outlook) bot.Message {
	p := o.Policy
	m := bot.Message{Title: fmt.Sprintf("Policy %s: from %s to %s", p.Name, p.From, p.To)}
	add := func(name, value string) {
		if value != "" {
			m.Fields = append(m.Fields, bot.Field{Name: name, Value: value})
		}
	}
	add("schedule", p.Timing)
	add("next", c.nextRuns(o))
	if p.From.Soak > 0 {
		add("soak", p.From.Soak.String())
	}
	var gates []string
	for _, g := range p.Gates {
		gates = append(gates, g.Name)
	}
	add("gates", strings.Join(gates, ", "))
	missed := "left out"
	if p.RunMissed {
		missed = "run once, when GimletD is up again"
	}
	add("missed", missed)
	lines := []string{"If it ran now:"}
	for i, d := range o.Apps {
		if i == maxApps {
			lines = append(lines, fmt.Sprintf("  and %d more apps", len(o.Apps)-maxApps))
			break
		}
		verdict := "skip"
		if d.Fires {
			verdict = "release"
			if len(gates) > 0 {
				verdict = "release, if its gates pass"
			}
		}
		lines = append(lines, fmt.Sprintf("  %s: %s: %s", d.App, verdict, d.Reason))
	}
	rest := 0
	for _, n := range o.Quiet {
		rest += n
	}
	switch {
	case len(o.Apps) == 0 && rest == 0:
		lines = append(lines, "  it selects no app that is there")
	case rest > 0:
		lines = append(lines, fmt.Sprintf("  %d apps with nothing to do", rest))
	}
	if len(o.Past) > 0 {
		lines = append(lines, "What it did:")
	}
	for _, v := range o.Past {
		text := fmt.Sprintf("  %s: %s", releases.Moment(v.Due, p.Zone), c.outcome(v))
		if v.Why != "" {
			text += " (" + v.Why + ")"
		}
		lines = append(lines, text)
	}
	m.Body = strings.Join(lines, "\n")
	return m
}

// nextRuns are the next few times at which the policy runs.
func (c call) nextRuns(o releases.Outlook) string {
	if o.Next.IsZero() {
		return "never"
	}
	const few = 3
	texts := []string{releases.Moment(o.Next, o.Policy.Zone)}
	for tick := o.Policy.Schedule.Next(later(o.Next, c.now())); len(texts) < few && !tick.IsZero(); tick = o.Policy.Schedule.Next(tick) {
		texts = append(texts, releases.Moment(tick.Add(o.Policy.Delay(tick)), o.Policy.Zone))
	}
	return strings.Join(texts, ", ")
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
