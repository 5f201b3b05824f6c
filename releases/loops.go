package releases

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Loops knows how the loops that run for ever are doing, for readiness and metrics.
type Loops struct {
	mu    sync.Mutex
	state map[string]Beat
}

// Beat is what a loop last said of itself.
type Beat struct {
	Name  string
	At    time.Time // of its last sign of life
	Fault string    // what keeps it from its work now; "" when nothing does
}

// NewLoops makes an empty Loops.
func NewLoops() *Loops { return &Loops{state: map[string]Beat{}} }

// Beat notes a sign of life, with what keeps the loop from its work, if anything.
func (l *Loops) Beat(name string, now time.Time, fault error) {
	b := Beat{Name: name, At: now}
	if fault != nil {
		b.Fault = Redact(fault.Error())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state[name] = b
}

// All returns the beats by name.
func (l *Loops) All() []Beat {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.state), func(a, b Beat) int { return strings.Compare(a.Name, b.Name) })
}
