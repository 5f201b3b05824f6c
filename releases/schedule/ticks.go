package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Ticks are the moments of a schedule in a time zone.
//
// A schedule that names hours goes by the clock on the wall: a time that the clock skips comes at the moment of the change,
// one that it shows twice comes the first time only. One that runs in every hour goes by the time that passes, so that the
// hour that the clock shows twice has its ticks twice (both as in cron(8) of Vixie).
type Ticks struct {
	schedule cron.Schedule
	byHour   bool // runs in every hour
	wallClock
}

// NewTicks reads a schedule of five fields (minute, hour, day of month, month, day of week; crontab(5)) in a time zone of the
// IANA database. One that never comes is refused.
func NewTicks(schedule, zone string) (Ticks, error) {
	location, err := Zone(zone)
	if err != nil {
		return Ticks{}, fmt.Errorf("timezone: %w", err)
	}
	parsed, err := parse(schedule)
	if err != nil {
		return Ticks{}, fmt.Errorf("schedule: %w", err)
	}
	fields := strings.Fields(schedule)
	byHour := fields[0] == "@hourly" || (len(fields) > 1 && strings.HasPrefix(fields[1], "*"))
	return Ticks{schedule: parsed, byHour: byHour, wallClock: wallClock{location}}, nil
}

// Zone is where the clock hangs.
func (t Ticks) Zone() *time.Location { return t.zone }

// Next returns the first tick after the moment; the zero time when there is none for years.
func (t Ticks) Next(after time.Time) time.Time {
	if t.byHour {
		return t.schedule.Next(after.In(t.zone))
	}
	begin := t.wall(after)
	if t.changesNear(after) {
		begin = begin.Add(-slack)
	}
	for wall := t.schedule.Next(begin); !wall.IsZero(); wall = t.schedule.Next(wall) {
		if tick := t.earliest(wall); tick.After(after) {
			return tick
		}
	}
	return time.Time{}
}

// Last returns the newest tick after one moment that is not after another; the zero time when there is none.
func (t Ticks) Last(after, until time.Time) (last time.Time) {
	const day = 24 * time.Hour
	// From near to far, so that a schedule of minutes need not be walked through for years.
	for _, back := range []time.Duration{time.Hour, day, 8 * day, 32 * day, 367 * day, 10 * 367 * day} {
		from := until.Add(-back)
		if from.Before(after) {
			from = after
		}
		for tick := t.Next(from); !tick.IsZero() && !tick.After(until); tick = t.Next(tick) {
			last = tick
		}
		if !last.IsZero() || !from.After(after) {
			return last
		}
	}
	return last
}
