package schedule

import (
	"slices"
	"time"
)

// wallClock is the clock on the wall in a time zone.
type wallClock struct{ zone *time.Location }

// wall is what the clock on the wall shows, as a time in UTC.
func (w wallClock) wall(t time.Time) time.Time {
	_, offset := t.In(w.zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// changesNear reports whether the clock is changed a short while before or after the moment.
func (w wallClock) changesNear(t time.Time) bool {
	begin, end := t.In(w.zone).ZoneBounds()
	return (!begin.IsZero() && t.Sub(begin) < slack) || (!end.IsZero() && end.Sub(t) < slack)
}

// earliest is the first moment at which the clock shows the time, or, if it skips it, the moment of the change.
func (w wallClock) earliest(wall time.Time) time.Time {
	moments, change, _ := w.moments(wall)
	if len(moments) == 0 {
		return change
	}
	return moments[0]
}

// latest is the last moment at which the clock shows the time, or, if it skips it, the moment when it would have.
func (w wallClock) latest(wall time.Time) time.Time {
	moments, _, would := w.moments(wall)
	if len(moments) == 0 {
		return would
	}
	return moments[len(moments)-1]
}

// moments are those at which the clock shows the time, in order. Without any, change is when it skips it, and would is when
// it would have shown it without the change.
func (w wallClock) moments(wall time.Time) (moments []time.Time, change, would time.Time) {
	var offsets []time.Duration
	for t := wall.Add(-slack); t.Before(wall.Add(slack)); {
		_, seconds := t.In(w.zone).Zone()
		if offset := time.Duration(seconds) * time.Second; !slices.Contains(offsets, offset) {
			offsets = append(offsets, offset)
		}
		_, end := t.In(w.zone).ZoneBounds()
		if end.IsZero() {
			break
		}
		t = end
	}
	for _, offset := range offsets {
		if t := wall.Add(-offset); w.wall(t).Equal(wall) {
			moments = append(moments, t.In(w.zone))
		}
	}
	slices.SortFunc(moments, time.Time.Compare)
	if len(moments) == 0 && len(offsets) > 0 {
		would = wall.Add(-offsets[0]).In(w.zone)
		change, _ = would.ZoneBounds()
	}
	return moments, change, would
}
