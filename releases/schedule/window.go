package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Window is a span of time that comes again: it begins when the clock on the wall shows what the schedule says, and ends
// when it shows the beginning plus the duration. A freeze from Friday 16:00 for 64h ends on Monday at 8:00, also when the
// clocks changed in between.
//
// A beginning that the clock skips is the moment of the change; one that it shows twice is the first. An end that it skips
// is as long after the change as was meant; one that it shows twice is the second. So a window is never shorter than meant.
type Window struct {
	schedule cron.Schedule
	duration time.Duration
	wallClock
}

// Limits of a window.
const (
	maxDuration = 366 * 24 * time.Hour
	maxChain    = 2000 // windows that touch each other, looked through for the end
)

// NewWindow reads a schedule of five fields (minute, hour, day of month, month, day of week; crontab(5)) in a time zone of the
// IANA database.
func NewWindow(schedule string, duration time.Duration, zone string) (Window, error) {
	location, err := Zone(zone)
	if err != nil {
		return Window{}, fmt.Errorf("timezone: %w", err)
	}
	switch {
	case duration < time.Minute:
		return Window{}, fmt.Errorf("duration: %s is less than a minute", duration)
	case duration > maxDuration:
		return Window{}, fmt.Errorf("duration: %s is more than a year", duration)
	}
	parsed, err := parse(schedule)
	if err != nil {
		return Window{}, fmt.Errorf("start: %w", err)
	}
	w := Window{schedule: parsed, duration: duration, wallClock: wallClock{location}}
	return w, w.check()
}

// parse reads a schedule of five fields.
func parse(schedule string) (cron.Schedule, error) {
	if strings.Contains(schedule, "TZ=") || strings.HasPrefix(strings.TrimSpace(schedule), "@every") {
		return nil, fmt.Errorf("%q is not a schedule of five fields; the time zone has a key of its own", schedule)
	}
	parsed, err := cron.ParseStandard(schedule)
	if err != nil {
		return nil, fmt.Errorf("%q is not a schedule of five fields such as \"0 16 * * 5\": %w", schedule, err)
	}
	if parsed.Next(leapYear()).IsZero() {
		return nil, fmt.Errorf("that day never comes")
	}
	return parsed, nil
}

// leapYear is from when on schedules are tried: 29 February comes, too.
func leapYear() time.Time { return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) }

// Zone finds a time zone by its name.
func Zone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("%q is not a time zone such as Europe/Budapest", name)
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("there is no time zone %q; names are such as Europe/Budapest or UTC", name)
	}
	return location, nil
}

// check refuses a window that never ends.
func (w Window) check() error {
	first := w.schedule.Next(leapYear())
	begin, n := w.schedule.Next(first), 0
	for end := first.Add(w.duration); !begin.IsZero() && !begin.After(end); n++ {
		if n > maxChain || begin.Sub(first) > maxDuration {
			return fmt.Errorf("duration: it begins again before it ends, so it would never open")
		}
		begin, end = w.schedule.Next(begin), begin.Add(w.duration)
	}
	return nil
}

// At returns the window that the moment is in; windows that touch are one.
func (w Window) At(now time.Time) (from, until time.Time, in bool) {
	for back := w.duration + slack; ; back *= 2 {
		begin := w.schedule.Next(w.wall(now).Add(-back))
		first := w.earliest(begin)
		from, until, in = w.chain(begin, now)
		if !in || from.After(first) || back > maxDuration {
			return from, until, in
		}
	}
}

// slack is more than any clock is ever changed by, and a day.
const slack = 27 * time.Hour

// chain goes through the windows from one that begins on, joining those that touch, to the one that the moment is in.
func (w Window) chain(begin, now time.Time) (from, until time.Time, in bool) {
	for n := 0; !begin.IsZero() && n < 2*maxChain; n++ {
		start, end := w.earliest(begin), w.latest(begin.Add(w.duration))
		switch {
		case !start.After(until):
			until = later(until, end)
		case start.After(now):
			return from, until, now.Before(until)
		default:
			from, until = start, end
		}
		begin = w.schedule.Next(begin)
	}
	return from, until, !from.IsZero() && now.Before(until)
}

// Next returns the next window that begins after the moment.
func (w Window) Next(now time.Time) (from, until time.Time, ok bool) {
	if _, end, in := w.At(now); in {
		now = end
	}
	begin := w.schedule.Next(w.wall(now).Add(-slack))
	for n := 0; !begin.IsZero() && n < maxChain; n++ {
		if start := w.earliest(begin); start.After(now) {
			_, until, _ = w.At(start)
			return start, until, true
		}
		begin = w.schedule.Next(begin)
	}
	return from, until, false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
