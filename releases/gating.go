package releases

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits of asking gates.
const (
	askedAtOnce = 16
	askWithin   = 10 * time.Second
)

// answers are what gates have said lately. They are asked again after a restart.
type answers struct {
	now     func() time.Time
	changed func()
	slots   chan struct{}
	running sync.WaitGroup

	mu   sync.Mutex
	said map[string]*answer // by run, gate and question
}

type answer struct {
	verdict Verdict
	seen    string
	again   time.Time // when to ask again, while it is inconclusive
	asking  bool
}

func newAnswers(now func() time.Time, changed func()) *answers {
	return &answers{now: now, changed: changed, slots: make(chan struct{}, askedAtOnce), said: map[string]*answer{}}
}

func (a *answers) wait() { a.running.Wait() }

// to returns what the gate says to the question by now, and has it asked if that is due.
func (a *answers) to(ctx context.Context, key, question string, g PolicyGate, now time.Time) (Verdict, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.said[key]
	if known == nil {
		known = &answer{verdict: Inconclusive}
		a.said[key] = known
	}
	if known.verdict == Inconclusive && !known.asking && (!now.Before(known.again) || known.again.Sub(now) > g.Every) { // the clock may be put back
		known.asking = true
		a.running.Go(func() { a.ask(ctx, known, question, g) })
	}
	return known.verdict, known.seen
}

func (a *answers) ask(ctx context.Context, into *answer, question string, g PolicyGate) {
	verdict, seen := Inconclusive, ""
	select {
	case a.slots <- struct{}{}:
		asking, cancel := context.WithTimeout(ctx, askWithin)
		verdict, seen = g.Check.Ask(asking, question)
		cancel()
		<-a.slots
	case <-ctx.Done():
	}
	a.mu.Lock()
	into.verdict, into.seen, into.asking = verdict, plainly(seen), false
	into.again = a.now().Add(g.Every)
	a.mu.Unlock()
	time.AfterFunc(g.Every, a.changed)
	a.changed()
}

// maxSeen bounds what is told of an answer, in characters.
const maxSeen = 300

// plainly is what a gate has seen, without what differs each time.
func plainly(seen string) string {
	seen = connection.ReplaceAllString(Redact(strings.Join(strings.Fields(strings.ToValidUTF8(seen, "")), " ")), "$1 $2 ")
	if runes := []rune(seen); len(runes) > maxSeen {
		seen = string(runes[:maxSeen]) + "…"
	}
	return seen
}

// forget drops what was said to runs that are over.
func (a *answers) forget(open []Run) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key := range a.said {
		if !slices.ContainsFunc(open, func(r Run) bool { return len(key) > len(r.ID) && key[:len(r.ID)] == r.ID && key[len(r.ID)] == '\n' }) {
			delete(a.said, key)
		}
	}
}

// gatesDue asks the gates of the runs that wait for them, and goes on with what has its answers.
func (c *scheduler) gatesDue(ctx context.Context) error {
	var open []Run
	err := c.store.View(ctx, func(tx Tx) (err error) { open, err = tx.OpenRuns(); return err })
	if err != nil {
		return err
	}
	c.answers.forget(open)
	for _, run := range open {
		p, ok := c.policy(run.Policy)
		if !ok {
			continue // ended at the next start
		}
		if run.At.After(c.now().Add(late)) { // the clock was ahead when it began
			run.At = c.now()
			if err := c.store.Update(ctx, func(tx Tx) error { return tx.PutRun(run) }); err != nil {
				return err
			}
		}
		heard := c.hear(ctx, p, run)
		if len(heard) == 0 {
			continue
		}
		made := 0
		err := c.store.Update(ctx, func(tx Tx) (err error) { made, err = c.goOnWith(tx, p, run.ID, heard); return err })
		if err != nil {
			return fmt.Errorf("policy %s: %w", p.Name, err)
		}
		if made > 0 {
			c.wake()
		}
	}
	return nil
}

func (s *Service) policy(name string) (Policy, bool) {
	i := slices.IndexFunc(s.policies, func(p Policy) bool { return p.Name == name })
	if i < 0 {
		return Policy{}, false
	}
	return s.policies[i], true
}

// hear asks the gates about each app that waits for them, and returns those lines of which something new is known.
func (c *scheduler) hear(ctx context.Context, p Policy, run Run) (heard []Line) {
	now := c.now()
	for _, line := range run.Lines {
		if !line.pending() {
			continue
		}
		before := slices.Clone(line.Gates)
		line.Gates = slices.Clone(before)
		for _, g := range p.Gates {
			state := line.gate(g.Name)
			if state.Verdict != "" && state.Verdict != Inconclusive {
				continue
			}
			if g.Check == nil {
				state.Verdict, state.Seen = c.rollout(ctx, p.From.Environment, line)
			} else {
				question := g.Check.Question(Subject{App: line.App, From: p.From.Environment, To: p.To, SHA: line.SHA})
				state.Verdict, state.Seen = c.answers.to(ctx, run.ID+"\n"+g.Name+"\n"+question, question, g, now)
			}
			if state.Verdict == Inconclusive && now.Sub(run.At) >= g.Timeout {
				state.Verdict = TimedOut
			}
		}
		if !slices.EqualFunc(before, line.Gates, func(a, b GateState) bool { return a.Name == b.Name && a.Verdict == b.Verdict }) || line.passed(p) {
			heard = append(heard, line)
		}
	}
	return heard
}

// rollout is what a gate without a Check asks: how the rollout of what is to be promoted went.
func (c *scheduler) rollout(ctx context.Context, env string, l Line) (verdict Verdict, seen string) {
	verdict = Inconclusive
	err := c.store.View(ctx, func(tx Tx) error {
		live, err := tx.Live(l.App, env)
		switch {
		case err != nil:
		case live == nil || live.ArtifactID != l.Artifact:
			verdict, seen = Fail, fmt.Sprintf("%s is no longer what is live in %s", l.Version, env)
		case live.Health == Unhealthy:
			verdict, seen = Fail, fmt.Sprintf("the rollout of %s in %s failed", l.Version, env)
		case live.Health == Healthy:
			verdict, seen = Pass, fmt.Sprintf("%s is healthy in %s", l.Version, env)
		default:
			seen = fmt.Sprintf("%s has not told of the rollout of %s", env, l.Version)
		}
		return err
	})
	if err != nil {
		return Inconclusive, err.Error()
	}
	return verdict, seen
}

// goOnWith records what the gates have said, and asks for the releases that they let through.
func (c *scheduler) goOnWith(tx Tx, p Policy, id string, heard []Line) (made int, err error) {
	run, err := tx.Run(id)
	if err != nil {
		return 0, err
	}
	sv := newSurvey(tx)
	for _, line := range heard {
		i := slices.IndexFunc(run.Lines, func(l Line) bool { return l.App == line.App && l.pending() })
		if i < 0 {
			continue
		}
		line = line.judged(p)
		if line.Fires && line.passed(p) {
			candidate, err := sv.candidate(p, line.App)
			if err != nil {
				return 0, err
			}
			now := p.Decide(&candidate, c.now())
			switch {
			case !now.Fires:
				line.Fires, line.Skip, line.Reason = false, now.Skip, now.Reason
			case now.Artifact != line.Artifact:
				line.Fires, line.Skip = false, SkipGate
				line.Reason = fmt.Sprintf("its gates were asked about %s, and by now %s would be released; the next run asks anew", line.Version, now.Version)
			default:
				if line.Release, err = c.promote(tx, p, *run, line, *candidate.Version); err != nil {
					return 0, err
				}
				made++
			}
		}
		run.Lines[i] = line
	}
	return made, c.settled(tx, *run, false)
}

// judged ends the line when a gate has said no, or nothing in time.
func (l Line) judged(p Policy) Line {
	for _, g := range l.Gates {
		if g.Verdict != Fail && g.Verdict != TimedOut {
			continue
		}
		l.Fires, l.Skip = false, SkipGate
		l.Reason = fmt.Sprintf("gate %s failed: %s", g.Name, g.Seen)
		if g.Verdict == TimedOut {
			i := slices.IndexFunc(p.Gates, func(pg PolicyGate) bool { return pg.Name == g.Name })
			l.Reason = fmt.Sprintf("gate %s gave no answer within %s: %s", g.Name, p.Gates[i].Timeout, orNothing(g.Seen))
		}
		return l
	}
	return l
}

func orNothing(seen string) string {
	if seen == "" {
		return "it did not answer at all"
	}
	return seen
}

// passed reports whether all gates let the line through.
func (l Line) passed(p Policy) bool {
	for _, g := range p.Gates {
		if l.gate(g.Name).Verdict != Pass {
			return false
		}
	}
	return true
}
