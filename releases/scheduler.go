package releases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Limits of scheduled policies.
const (
	// late is how long after its time a tick is still dealt with as if it were on time.
	late = 2 * time.Minute
	// ahead is how far in the future a tick may lie that was dealt with: more than that, and the clock was wrong then.
	ahead = 26 * time.Hour
	// keptRuns is how many runs of a policy are remembered.
	keptRuns = 30
	// maxMissed bounds the counting of ticks that were missed.
	maxMissed = 1000
)

// scheduler runs the scheduled policies. What it remembers beside the store may be lost at any time.
type scheduler struct {
	*Service
	next     map[string]time.Time // when to look at a policy again
	answers  *answers
	keep     int             // how many runs of a policy are remembered
	began    func(id string) // is told of each run
	prepared bool
	looked   time.Time
	// previews is when to look at previews again.
	previews time.Time
}

func (s *Service) newScheduler() *scheduler {
	return &scheduler{Service: s, next: map[string]time.Time{}, keep: keptRuns, began: func(string) {}, answers: newAnswers(s.now, func() { poke(s.scheduling) })}
}

// schedule runs what is due until the context ends.
func (s *Service) schedule(ctx context.Context) error {
	c := s.newScheduler()
	defer c.answers.wait()
	for {
		err := c.look(ctx)
		s.loops.Beat("policies", s.now(), err)
		wait := c.idle()
		if err != nil { // the store cannot be written: it is tried again at leisure
			wait = c.heartbeat
		}
		timer := time.NewTimer(wait)
		select {
		case <-s.scheduling:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// idle is how long nothing is due.
func (c *scheduler) idle() time.Duration {
	wait := c.heartbeat
	for _, at := range c.next {
		wait = min(wait, at.Sub(c.now()))
	}
	if c.hasPreviews() {
		wait = min(wait, c.previews.Sub(c.now()))
	}
	return max(wait, time.Millisecond)
}

// look runs what is due: ticks, gates that are to be asked, previews that are too old.
func (c *scheduler) look(ctx context.Context) error {
	if !c.prepared {
		if err := c.prepare(ctx); err != nil {
			return err
		}
		c.prepared = true
	}
	return errors.Join(c.ticksDue(ctx), c.gatesDue(ctx), c.previewsDue(ctx))
}

// ticksDue deals with each policy whose time has come, in a transaction of its own.
func (c *scheduler) ticksDue(ctx context.Context) error {
	var due []Policy
	now := c.now()
	for _, p := range c.policies {
		if at, known := c.next[p.Name]; !known || !now.Before(at) || now.Before(c.looked) { // the clock may be put back
			due = append(due, p)
		}
	}
	c.looked = now
	if len(due) == 0 {
		return nil
	}
	states := map[string]PolicyState{}
	err := c.store.View(ctx, func(tx Tx) error {
		all, err := tx.PolicyStates()
		for _, s := range all {
			states[s.Name] = s
		}
		return err
	})
	if err != nil {
		return err
	}
	var faults []error
	for _, p := range due {
		if err := c.tickDue(ctx, p, states[p.Name], now); err != nil {
			faults = append(faults, fmt.Errorf("policy %s: %w", p.Name, err))
		}
	}
	return errors.Join(faults...)
}

// tickDue deals with a policy. asOf is when the look began: what takes long in between makes nobody late.
func (c *scheduler) tickDue(ctx context.Context, p Policy, state PolicyState, asOf time.Time) error {
	if step := p.step(state, asOf); step.begins || step.state != state {
		var made int
		err := c.store.Update(ctx, func(tx Tx) (err error) {
			made, err = c.take(tx, p, asOf)
			return err
		})
		if err != nil {
			return err
		}
		if made > 0 {
			c.wake()
		}
		state = step.state
	}
	c.next[p.Name] = p.step(state, c.now()).next
	return nil
}

// tickStep is what is to be done about a policy at a moment.
type tickStep struct {
	state  PolicyState // after it
	begins bool        // a tick is to be dealt with: state.Last
	missed int         // ticks before that one that were not dealt with
	late   bool
	next   time.Time // when to look again, when nothing begins
	clock  bool      // the clock was far ahead, and is not any more
}

// step is what is to be done about the policy now. It is pure.
func (p Policy) step(state PolicyState, now time.Time) (s tickStep) {
	s.state = state
	switch {
	case state.Timing != p.Timing || state.Last.IsZero():
		s.state = PolicyState{Name: p.Name, Timing: p.Timing, Last: now.UTC()}
	case state.Last.After(now.Add(ahead)):
		s.state.Last, s.clock = now.UTC(), true
	}
	tick := p.Schedule.Last(s.state.Last, now)
	if tick.IsZero() {
		if first := p.Schedule.Next(s.state.Last); !first.IsZero() {
			s.next = first.Add(p.Delay(first))
		} else {
			s.next = now.Add(ahead)
		}
		return s
	}
	if begins := tick.Add(p.Delay(tick)); now.Before(begins) {
		s.next = begins
		return s
	}
	s.begins, s.late = true, now.Sub(tick.Add(p.Delay(tick))) > late
	for at := p.Schedule.Next(s.state.Last); at.Before(tick) && s.missed < maxMissed; at = p.Schedule.Next(at) {
		s.missed++
	}
	s.state.Last = tick.UTC()
	return s
}

// take deals with the policy's tick that is due, and returns how many releases it has asked for.
func (c *scheduler) take(tx Tx, p Policy, asOf time.Time) (made int, err error) {
	now := c.now()
	states, err := tx.PolicyStates()
	if err != nil {
		return 0, err
	}
	var state PolicyState
	if i := slices.IndexFunc(states, func(s PolicyState) bool { return s.Name == p.Name }); i >= 0 {
		state = states[i]
	}
	step := p.step(state, asOf)
	if err := tx.PutPolicyState(step.state); err != nil {
		return 0, err
	}
	if step.clock {
		record := c.by(p.actor(), "policy.clock")
		record.Detail = fmt.Sprintf("the clock was at %s when it ran last, and is not any more; it goes on from now", state.Last.Format(time.RFC3339))
		return 0, c.record(tx, record)
	}
	if !step.begins {
		return 0, nil
	}
	due := step.state.Last
	run := Run{ID: runID(p.Name, due), Policy: p.Name, From: p.From.String(), To: p.To, Due: due, At: now, Terms: p.Terms, Fate: Ran, Next: p.Schedule.Next(due)}
	if step.missed > 0 || step.late {
		run.Why = missedText(step, asOf.Sub(due))
	}
	if run, made, err = c.begin(tx, p, run, step); err != nil || run.ID == "" {
		return 0, err
	}
	c.began(run.ID)
	if err := c.settled(tx, run, true); err != nil {
		return 0, err
	}
	open, err := tx.OpenReleases()
	if err != nil {
		return 0, err
	}
	needed := map[string]bool{} // a summary follows its releases to their end
	for _, r := range open {
		needed[r.Run] = true
	}
	return made, tx.PruneRuns(p.Name, c.keep, needed)
}

func missedText(step tickStep, by time.Duration) string {
	switch {
	case step.missed > 0 && step.late:
		return fmt.Sprintf("it is %s late, and the %d ticks before were missed: GimletD was down, or its clock was changed", span(by), step.missed)
	case step.missed > 0:
		return fmt.Sprintf("the %d ticks before were missed: GimletD was down, or its clock was changed", step.missed)
	}
	return fmt.Sprintf("it is %s late: GimletD was down, or its clock was changed", span(by))
}

// begin decides on the tick, and, when it is to run, on each app.
func (c *scheduler) begin(tx Tx, p Policy, run Run, step tickStep) (Run, int, error) {
	if _, err := tx.Run(run.ID); KindOf(err) != NotFound {
		return Run{}, 0, err // it was dealt with before the clock was put back
	}
	open, err := tx.OpenRuns()
	if err != nil {
		return run, 0, err
	}
	if i := slices.IndexFunc(open, func(r Run) bool { return r.Policy == p.Name }); i >= 0 {
		run.Fate, run.Why = Overlapped, fmt.Sprintf("the run of %s still waits for its gates", Moment(open[i].Due, p.Zone))
		return run, 0, nil
	}
	if step.late && !p.RunMissed {
		run.Fate = Missed
		return run, 0, nil
	}
	considered, quiet, err := newSurvey(tx).consider(p, run.At)
	if err != nil {
		return run, 0, err
	}
	run.Quiet = quiet
	made := 0
	for _, one := range considered {
		line := Line{Decision: one.Decision}
		if line.Fires && len(p.Gates) == 0 {
			if line.Release, err = c.promote(tx, p, run, line, one.version); err != nil {
				return run, 0, err
			}
			made++
		}
		run.Lines = append(run.Lines, line)
	}
	return run, made, nil
}

// promote asks for the release of a line.
func (s *Service) promote(tx Tx, p Policy, run Run, l Line, v Version) (id string, err error) {
	a, err := tx.Artifact(l.Artifact)
	if err != nil {
		return "", err
	}
	r := Release{
		Preview: a.family(l.App, p.To),
		Request: run.ID, Run: run.ID, Kind: KindRelease, App: l.App, Env: p.To, ArtifactID: l.Artifact, Version: v,
		RequestedBy: p.actor(), Policy: p.Name, Reason: l.Reason,
	}
	made, err := s.propose(tx, r)
	return made.ID, err
}

// settled stores a run, and tells of it when there is something to tell.
func (c *scheduler) settled(tx Tx, run Run, begun bool) error {
	if run.Ended.IsZero() && !slices.ContainsFunc(run.Lines, Line.pending) {
		run.Ended = c.now()
	}
	before, err := tx.Runs(run.Policy, 2)
	if err != nil {
		return err
	}
	before = slices.DeleteFunc(before, func(r Run) bool { return r.ID == run.ID })
	if err := tx.PutRun(run); err != nil {
		return err
	}
	if begun {
		record := c.by(Actor{Name: "policy:" + run.Policy, Via: ViaPolicy, User: run.Policy}, "policy."+string(run.Fate))
		record.Env, record.Detail = run.To, run.summary()
		if err := c.record(tx, record); err != nil {
			return err
		}
		c.log.Info("policy "+string(run.Fate), "policy", run.Policy, "due", run.Due, "apps", run.summary())
	}
	news := slices.ContainsFunc(run.Lines, func(l Line) bool { return l.Fires })
	if !news && (len(before) > 0 && before[0].says() == run.says() || len(before) == 0 && len(run.Lines) == 0) {
		return nil
	}
	return tx.Publish(Outcome{At: c.now(), Kind: RunChanged, Run: &run})
}

// summary counts what became of the apps.
func (r Run) summary() string {
	fired := 0
	for _, l := range r.Lines {
		if l.Fires {
			fired++
		}
	}
	text := fmt.Sprintf("%d of %d apps from %s", fired, r.Apps(), r.From)
	if r.Why != "" {
		text += "; " + r.Why
	}
	return text
}

// Apps is how many apps the run was about.
func (r Run) Apps() int {
	n := len(r.Lines)
	for _, count := range r.Quiet {
		n += count
	}
	return n
}

// prepare brings what is remembered in line with the policies of the configuration: it forgets those that are gone, and begins
// with those that are new or have another schedule.
func (c *scheduler) prepare(ctx context.Context) error {
	s := c.Service
	return s.store.Update(ctx, func(tx Tx) error {
		states, err := tx.PolicyStates()
		if err != nil {
			return err
		}
		byName := map[string]PolicyState{}
		for _, st := range states {
			byName[st.Name] = st
		}
		for _, p := range s.policies {
			if st := byName[p.Name]; st.Timing != p.Timing {
				if err := tx.PutPolicyState(PolicyState{Name: p.Name, Timing: p.Timing, Last: s.now().UTC()}); err != nil {
					return err
				}
			}
		}
		known := func(name string) bool {
			return slices.ContainsFunc(s.policies, func(p Policy) bool { return p.Name == name })
		}
		for _, st := range states {
			if !known(st.Name) {
				if err := tx.ClearPolicyState(st.Name); err != nil {
					return err
				}
			}
		}
		open, err := tx.OpenRuns()
		if err != nil {
			return err
		}
		for _, run := range open {
			if p, ok := s.policy(run.Policy); ok && p.Terms == run.Terms {
				continue
			}
			run.Ended = s.now()
			for i := range run.Lines {
				if run.Lines[i].pending() {
					run.Lines[i].Fires, run.Lines[i].Skip, run.Lines[i].Reason = false, SkipGate, "the policy is another one by now; its next run asks anew"
				}
			}
			if err := errors.Join(tx.PutRun(run), tx.Publish(Outcome{At: s.now(), Kind: RunChanged, Run: &run})); err != nil {
				return err
			}
		}
		return nil
	})
}
