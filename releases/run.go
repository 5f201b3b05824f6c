package releases

import (
	"slices"
	"strings"
	"time"
)

// PolicyState is how far a scheduled policy is.
type PolicyState struct {
	Name   string    `json:"name"`
	Timing string    `json:"timing"`
	Last   time.Time `json:"last"` // the newest tick that was dealt with
}

// Run is what a scheduled policy made of one tick.
type Run struct {
	ID     string    `json:"id"` // the policy and its tick
	Policy string    `json:"policy"`
	From   string    `json:"from"`
	To     string    `json:"to"`
	Due    time.Time `json:"due"` // the tick
	At     time.Time `json:"at"`
	Ended  time.Time `json:"ended,omitzero"`  // zero while its gates are asked
	Terms  string    `json:"terms,omitempty"` // the policy's, when it began
	Fate   Fate      `json:"fate"`
	Why    string    `json:"why,omitempty"`
	Lines  []Line    `json:"lines,omitempty"` // of the apps of which there is something to say
	// Quiet counts the others, by the kind of reason.
	Quiet map[string]int `json:"quiet,omitempty"`
	Next  time.Time      `json:"next,omitzero"` // the tick after it, when it began
}

// Fate is what became of a tick.
type Fate string

// The fates.
const (
	Ran        Fate = "ran"
	Missed     Fate = "missed"     // the process was down, and the policy leaves such ticks out
	Overlapped Fate = "overlapped" // the run before was not over
)

// Line is what a run made of one app.
type Line struct {
	Decision
	Release string      `json:"release,omitempty"` // that it asked for
	Gates   []GateState `json:"gates,omitempty"`
}

// GateState is what a gate has said of an app.
type GateState struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	Seen    string  `json:"seen,omitempty"`
}

// runID names the run of a policy's tick: there is never another.
func runID(policy string, due time.Time) string {
	return policy + "/" + due.UTC().Format("2006-01-02T15:04Z")
}

// pending reports whether the line waits for its gates.
func (l Line) pending() bool { return l.Fires && l.Release == "" }

// gate returns what the gate has said of the line's app.
func (l *Line) gate(name string) *GateState {
	i := slices.IndexFunc(l.Gates, func(g GateState) bool { return g.Name == name })
	if i < 0 {
		l.Gates = append(l.Gates, GateState{Name: name})
		i = len(l.Gates) - 1
	}
	return &l.Gates[i]
}

// quiet reports whether people need no line for the decision: nothing is new.
func quiet(skip string) bool {
	return slices.Contains([]string{SkipLive, SkipUnfit, SkipBackwards}, skip)
}

// says is what the run tells, to compare it with the one before.
func (r Run) says() string {
	var b strings.Builder
	b.WriteString(string(r.Fate))
	for _, l := range r.Lines {
		b.WriteString("\n" + l.App + " " + l.Version + " " + l.Skip + l.Release)
		for _, g := range l.Gates {
			b.WriteString(" " + g.Name + " " + string(g.Verdict))
		}
	}
	return b.String()
}

// RunView is a run with its releases as they are.
type RunView struct {
	Run
	Releases map[string]Release // by id
}
