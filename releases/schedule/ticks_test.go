package schedule_test

import (
	"strings"
	"testing"
	"time"

	"gimletd/releases/schedule"
)

func TestTicksAroundWhatClocksDo(t *testing.T) {
	for _, c := range []struct {
		name, schedule, zone, after string
		ticks                       []string
	}{
		{"every working day", "0 2 * * 1-5", "Europe/Budapest", "2026-03-06T12:00:00Z", []string{"2026-03-09T02:00:00+01:00", "2026-03-10T02:00:00+01:00"}},
		{"a time that Budapest's clocks skip comes at the change", "30 2 * * *", "Europe/Budapest", "2026-03-28T12:00:00Z", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"a time that they show twice comes the first time", "30 2 * * *", "Europe/Budapest", "2026-10-24T12:00:00Z", []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"a time that New York's clocks skip", "30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", []string{"2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"}},
		{"a time that they show twice", "30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", []string{"2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"}},
		{"all that is skipped comes once", "0,15,30,45 2 * * *", "Europe/Budapest", "2026-03-29T00:30:00Z", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
		{"every hour is every hour, when one is skipped", "0 * * * *", "Europe/Budapest", "2026-03-28T23:30:00Z", []string{"2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"}},
		{"and when one comes twice", "0 * * * *", "Europe/Budapest", "2026-10-24T23:30:00Z", []string{"2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"}},
		{"every twenty minutes of an hour that comes twice", "*/20 * * * *", "America/New_York", "2026-11-01T05:30:00Z", []string{"2026-11-01T01:40:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-01T01:20:00-05:00"}},
		{"half an hour", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		{"a leap day", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		{"a word", "@daily", "UTC", "2026-01-01T00:00:00Z", []string{"2026-01-02T00:00:00Z"}},
	} {
		ticks, err := schedule.NewTicks(c.schedule, c.zone)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		at, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range c.ticks {
			next := ticks.Next(at)
			if got := next.In(ticks.Zone()).Format(time.RFC3339); got != want {
				t.Errorf("%s: tick %d is %s, not %s", c.name, i, got, want)
			}
			if last := ticks.Last(at, next); !last.Equal(next) {
				t.Errorf("%s: the last until tick %d is %s", c.name, i, last)
			}
			if last := ticks.Last(at, next.Add(-time.Nanosecond)); !last.IsZero() {
				t.Errorf("%s: before tick %d there is %s", c.name, i, last)
			}
			at = next
		}
	}
}

func TestTheLastTickIsFoundHoweverLongAgo(t *testing.T) {
	ticks, err := schedule.NewTicks("*/5 * * * *", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 6, 1, 12, 3, 0, 0, time.UTC)
	for _, back := range []time.Duration{time.Hour, 40 * 24 * time.Hour, 9 * 366 * 24 * time.Hour} {
		if got := ticks.Last(now.Add(-back), now); !got.Equal(now.Add(-3 * time.Minute)) {
			t.Errorf("after %s: %s", back, got)
		}
	}
	yearly, err := schedule.NewTicks("0 0 29 2 *", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	if got := yearly.Last(now.AddDate(-8, 0, 0), now); !got.Equal(time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("the last leap day was %s", got)
	}
}

func TestTicksThatMakeNoSense(t *testing.T) {
	for _, c := range []struct{ schedule, zone, says string }{
		{"0 0 30 2 *", "UTC", "schedule: that day never comes"},
		{"0 0 31 4,6,9,11 *", "UTC", "schedule: that day never comes"},
		{"0 2 * *", "UTC", "schedule: \"0 2 * *\" is not a schedule of five fields"},
		{"60 2 * * *", "UTC", "schedule: "},
		{"@every 1h", "UTC", "schedule: "},
		{"TZ=UTC 0 2 * * *", "UTC", "schedule: "},
		{"0 2 * * *", "Europe/Budapst", "timezone: there is no time zone"},
		{"0 2 * * *", "", "timezone: \"\" is not a time zone"},
		{"0 2 * * *", "Local", "timezone: "},
	} {
		if _, err := schedule.NewTicks(c.schedule, c.zone); err == nil || !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%q in %q: %v, not %s", c.schedule, c.zone, err, c.says)
		}
	}
}
