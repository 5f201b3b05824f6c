package releases

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"
)

// Policy is a scheduled one, of the configuration.
type Policy struct {
	Name     string
	Schedule Schedule
	Zone     *time.Location // of the schedule
	Terms    string         // all else that it says, to tell one from another
	Timing   string         // the schedule as it is configured: ticks from before it was changed are not caught up with
	Apps     Globs
	From     Source
	To       string // environment
	// RunMissed has a tick that was missed run once, when it is found; without, it is left out.
	RunMissed bool
	Jitter    time.Duration // each run begins up to this much after its tick, always the same for the same tick
	Gates     []PolicyGate
}

// Source is what a policy releases: what is live in an environment, or the newest artifact of a branch or tag.
type Source struct {
	Environment string
	Soak        time.Duration // how long it must have been live there
	Healthy     bool          // its rollout there must have succeeded
	Branch, Tag string        // globs
}

// Fits reports whether a version is of the source's branch or tag.
func (s Source) Fits(v Version) bool {
	if s.Tag != "" {
		return v.Event == EventTag && matchOne(s.Tag, v.Tag)
	}
	return (v.Event == EventPush || v.Event == "") && matchOne(s.Branch, v.Branch)
}

func (s Source) String() string {
	switch {
	case s.Environment != "":
		return s.Environment
	case s.Branch != "":
		return "branch " + s.Branch
	}
	return "tag " + s.Tag
}

// Schedule gives the ticks of a policy.
type Schedule interface {
	// Next returns the first tick after the moment; the zero time when there is none.
	Next(after time.Time) time.Time
	// Last returns the newest tick after one moment that is not after another; the zero time when there is none.
	Last(after, until time.Time) time.Time
}

// PolicyGate is a question that must be answered well before a policy releases an app.
type PolicyGate struct {
	Name    string
	Timeout time.Duration // how long it may remain without an answer
	Every   time.Duration // how often it is asked until then
	Check   Check         // nil: whether the rollout is healthy where it comes from
}

// Check asks a gate's question once.
type Check interface {
	// Question is what is asked of the subject; the same question is asked once for all.
	Question(Subject) string
	// Ask returns the answer, and what was seen.
	Ask(ctx context.Context, question string) (Verdict, string)
}

// Subject is what a gate is asked about.
type Subject struct {
	App, From, To, SHA string
}

// Verdict is the answer of a gate.
type Verdict string

// The verdicts. One that is inconclusive is asked for again until the gate's time is over.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Inconclusive Verdict = "inconclusive"
	TimedOut     Verdict = "timed out"
)

// Why a policy does not release something.
const (
	SkipNothing    = "nothing"    // there is nothing to release
	SkipLive       = "live"       // it is live already
	SkipUnfit      = "unfit"      // the artifact has no manifest for the environment
	SkipSoak       = "soak"       // it is not long enough live where it comes from
	SkipHealth     = "health"     // where it comes from it is not healthy
	SkipHold       = "hold"       // automation is held
	SkipMark       = "mark"       // the version is marked as bad
	SkipBackwards  = "backwards"  // something newer is live
	SkipOpen       = "open"       // it is on its way already
	SkipAsked      = "asked"      // a person has asked for something else there
	SkipRefused    = "refused"    // somebody said no to it
	SkipFailed     = "failed"     // its last release failed, or found too few votes, a short while ago
	SkipRemoved    = "removed"    // it was taken away with its branch, or for its age
	SkipDisplaces  = "displaces"  // a preview would take the place of what is none, or of another branch's
	SkipRolledBack = "rolledBack" // it was live, and was rolled back
	SkipGate       = "gate"       // a gate said no, or nothing in time
)

// Candidate is what a policy's decision on an app is made from.
type Candidate struct {
	App     string
	Version *Version // nil: there is nothing
	// ArtifactID is what would be released, Since since when it is live where it comes from.
	ArtifactID string
	Since      time.Time
	Health     Health
	Fits       bool // the artifact has a manifest for the environment that it would go to
	Live       *Live
	Hold       *Hold
	Mark       *Mark
	Open       []Release // on their way to the environment
	Past       *Release  // what became of the version there before, when that is a reason not to ask again
	Removed    *Release  // the cleanup that took the app away, when nothing was shipped since
	Older      string    // why the version is older than what is live; "" when it is not
	Displaces  string    // why it must not take the place of what is live
}

// Health is how a rollout went.
type Health string

// The healths; "" is unknown.
const (
	Healthy   Health = "healthy"
	Unhealthy Health = "unhealthy"
)

// Decide says whether the policy releases the candidate, and why. It is pure: it looks at nothing but its arguments.
func (p Policy) Decide(c *Candidate, now time.Time) Decision {
	d := Decision{Policy: p.Name, App: c.App, Env: p.To, Artifact: c.ArtifactID}
	if c.Live != nil {
		d.Live = c.Live.Version.Short()
	}
	if c.Version != nil {
		d.Version, d.SHA = c.Version.Short(), c.Version.SHA
	}
	d.Skip, d.Reason = p.reject(c, now)
	if d.Fires = d.Skip == ""; d.Fires {
		d.Reason = p.firing(c, now)
	}
	return d
}

// reject is why the policy does not release the candidate; "" when it does.
func (p Policy) reject(c *Candidate, now time.Time) (skip, reason string) {
	target := Target{App: c.App, Env: p.To}
	v := c.Version
	switch c.settled() {
	case SkipNothing:
		if p.From.Environment != "" {
			return SkipNothing, fmt.Sprintf("nothing is live in %s", p.From.Environment)
		}
		return SkipNothing, fmt.Sprintf("no artifact of %s was shipped for it", p.From)
	case SkipLive:
		return SkipLive, fmt.Sprintf("%s is live in %s already", v.Short(), p.To)
	case SkipUnfit:
		return SkipUnfit, fmt.Sprintf("%s has no manifest for %s", v.Short(), p.To)
	}
	switch {
	case c.Mark != nil:
		return SkipMark, fmt.Sprintf("%s is marked as bad by %s: %s", v.Short(), c.Mark.By.Name, c.Mark.Reason)
	case c.Hold != nil:
		return SkipHold, c.Hold.explain(target)
	case c.Older != "":
		return SkipBackwards, c.Older
	case backwards(c.Live, *v) != "":
		return SkipBackwards, backwards(c.Live, *v)
	case c.Displaces != "":
		return SkipDisplaces, c.Displaces
	case c.Removed != nil:
		return SkipRemoved, fmt.Sprintf("%s took it away; a newer version, or a person, brings it back", c.Removed.ID)
	}
	if skip, reason := p.refused(c, now); skip != "" {
		return skip, reason
	}
	return p.unready(c, now)
}

// settled is why no policy releases the candidate, whatever it says; "" when it comes to that.
func (c *Candidate) settled() (skip string) {
	switch {
	case c.Version == nil:
		return SkipNothing
	case c.Live != nil && c.Live.ArtifactID == c.ArtifactID:
		return SkipLive
	case !c.Fits:
		return SkipUnfit
	}
	return ""
}

// patience is how long a policy does not ask again for what has failed, or found too few votes.
const patience = 6 * time.Hour

// refused is what people, or an earlier request, have made of the candidate.
func (p Policy) refused(c *Candidate, now time.Time) (skip, reason string) {
	for _, o := range c.Open {
		switch {
		case o.Status == Waiting && o.expired(now) && o.ArtifactID != c.ArtifactID: // over, and nobody has looked yet
		case o.Status == Waiting && o.expired(now):
			return SkipFailed, fmt.Sprintf("%s of it found too few votes in time; the policy asks again after %s", o.ID, span(patience))
		case o.Kind != KindCleanup && o.ArtifactID == c.ArtifactID:
			return SkipOpen, fmt.Sprintf("%s asks for it already and is %s", o.ID, o.Status)
		case o.RequestedBy.Via != ViaPolicy:
			return SkipAsked, fmt.Sprintf("%s by %s is %s there", o.ID, o.RequestedBy.Name, o.Status)
		case backwards(&Live{Version: o.Version}, *c.Version) != "":
			return SkipOpen, fmt.Sprintf("%s of the newer %s is %s", o.ID, o.Version.Short(), o.Status)
		}
	}
	switch o := c.Past; {
	case o == nil:
	case o.RolledBack:
		return SkipRolledBack, fmt.Sprintf("%s was rolled back from %s (%s); a person may release it again", o.Version.Short(), p.To, o.ID)
	case o.Status == Rejected || o.Status == Cancelled:
		return SkipRefused, fmt.Sprintf("%s of it was %s (%s); a person may release it", o.ID, o.Status, o.Reason)
	case now.Truncate(time.Minute).Sub(o.ended().Truncate(time.Minute)) < patience && !o.ended().After(now): // as with soak
		return SkipFailed, fmt.Sprintf("%s of it %s (%s); the policy asks again after %s, /gimlet retry %s does now", o.ID, o.Status, o.Reason, span(patience), o.ID)
	}
	return "", ""
}

// ended is when the release was over.
func (r Release) ended() time.Time {
	if r.Status == Expired && !r.Expires.IsZero() {
		return r.Expires
	}
	return r.Updated
}

// unready is what time brings.
func (p Policy) unready(c *Candidate, now time.Time) (skip, reason string) {
	if p.From.Healthy && c.Health != Healthy {
		state := "is not known to be healthy"
		if c.Health == Unhealthy {
			state = "is not healthy"
		}
		return SkipHealth, fmt.Sprintf("%s %s in %s", c.Version.Short(), state, p.From.Environment)
	}
	// In whole minutes: what one run put there a moment after its tick is old enough for a tick that long after it.
	if soaked := now.Truncate(time.Minute).Sub(c.Since.Truncate(time.Minute)); p.From.Environment != "" && soaked < p.From.Soak {
		until := c.Since.Truncate(time.Minute).Add(p.From.Soak)
		return SkipSoak, fmt.Sprintf("%s is in %s since %s and soaks until %s", c.Version.Short(), p.From.Environment, Moment(c.Since, p.Zone), Moment(until, p.Zone))
	}
	return "", ""
}

func (p Policy) firing(c *Candidate, now time.Time) string {
	if p.From.Environment == "" {
		return fmt.Sprintf("the newest of %s is %s", p.From, c.Version.Short())
	}
	return fmt.Sprintf("%s is live in %s for %s", c.Version.Short(), p.From.Environment, span(now.Sub(c.Since)))
}

// span is a time in words, in its two greatest units.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(0, d.Truncate(time.Minute)); {
	case d >= day:
		return units(d/day, "d", d%day/time.Hour, "h")
	case d >= time.Hour:
		return units(d/time.Hour, "h", d%time.Hour/time.Minute, "m")
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}

func units(n time.Duration, unit string, rest time.Duration, smaller string) string {
	if rest == 0 {
		return fmt.Sprintf("%d%s", n, unit)
	}
	return fmt.Sprintf("%d%s%d%s", n, unit, rest, smaller)
}

// Runs reports whether the policy runs at the moment: at a tick, or within its jitter after one.
func (p Policy) Runs(at time.Time) bool {
	return !p.Schedule.Last(at.Add(-max(p.Jitter, time.Second)), at).IsZero()
}

// Delay is how long after its tick a run begins: spread over the jitter, the same whenever it is asked for.
func (p Policy) Delay(tick time.Time) time.Duration {
	if p.Jitter < time.Second {
		return 0
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", p.Name, tick.Unix())
	return time.Duration(h.Sum64()%uint64(p.Jitter/time.Second)) * time.Second
}

// actor is as whom the policy asks. What it may do is in the configuration.
func (p Policy) actor() Actor { return Actor{Name: "policy:" + p.Name, Via: ViaPolicy, User: p.Name} }
