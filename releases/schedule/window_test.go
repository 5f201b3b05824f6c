package schedule_test

import (
	"strings"
	"testing"
	"time"

	"gimletd/releases/schedule"
)

// Each case is a window and the moments, in the zone's own time with its offset, at which it begins and ends.
func TestWindowsAroundWhatClocksDo(t *testing.T) {
	for _, c := range []struct {
		name, start, duration, zone string
		around                      string // some moment from which the next window is asked for
		from, until                 string
	}{
		{"a weekend", "0 16 * * 5", "64h", "Europe/Budapest", "2026-06-03T12:00:00Z", "2026-06-05T16:00:00+02:00", "2026-06-08T08:00:00+02:00"},
		{"the weekend in which Budapest's clocks go forward", "0 16 * * 5", "64h", "Europe/Budapest", "2026-03-25T12:00:00Z", "2026-03-27T16:00:00+01:00", "2026-03-30T08:00:00+02:00"},
		{"the weekend in which Budapest's clocks go back", "0 16 * * 5", "64h", "Europe/Budapest", "2026-10-21T12:00:00Z", "2026-10-23T16:00:00+02:00", "2026-10-26T08:00:00+01:00"},
		{"the weekend in which New York's clocks go forward", "0 16 * * 5", "64h", "America/New_York", "2026-03-04T12:00:00Z", "2026-03-06T16:00:00-05:00", "2026-03-09T08:00:00-04:00"},
		{"the weekend in which New York's clocks go back", "0 16 * * 5", "64h", "America/New_York", "2026-10-28T12:00:00Z", "2026-10-30T16:00:00-04:00", "2026-11-02T08:00:00-05:00"},
		{"a beginning that Budapest's clocks skip is the moment of the change", "30 2 * * *", "1h", "Europe/Budapest", "2026-03-28T12:00:00Z", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"},
		{"a beginning that New York's clocks skip", "30 2 * * *", "1h", "America/New_York", "2026-03-07T12:00:00Z", "2026-03-08T03:00:00-04:00", "2026-03-08T03:30:00-04:00"},
		{"a beginning that Budapest's clocks show twice is the first", "30 2 * * *", "10m", "Europe/Budapest", "2026-10-24T12:00:00Z", "2026-10-25T02:30:00+02:00", "2026-10-25T02:40:00+01:00"},
		{"a beginning that New York's clocks show twice", "30 1 * * *", "10m", "America/New_York", "2026-10-31T12:00:00Z", "2026-11-01T01:30:00-04:00", "2026-11-01T01:40:00-05:00"},
		{"an end that Budapest's clocks skip is as long as was meant", "0 1 * * *", "90m", "Europe/Budapest", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00+01:00", "2026-03-29T03:30:00+02:00"},
		{"an end that Budapest's clocks show twice is the second", "0 1 * * *", "90m", "Europe/Budapest", "2026-10-24T12:00:00Z", "2026-10-25T01:00:00+02:00", "2026-10-25T02:30:00+01:00"},
		{"an end that New York's clocks skip", "0 1 * * *", "90m", "America/New_York", "2026-03-07T12:00:00Z", "2026-03-08T01:00:00-05:00", "2026-03-08T03:30:00-04:00"},
		{"an end that New York's clocks show twice", "0 0 * * *", "90m", "America/New_York", "2026-10-31T12:00:00Z", "2026-11-01T00:00:00-04:00", "2026-11-01T01:30:00-05:00"},
		{"a whole day of 23 hours", "0 0 * * 0", "24h", "Europe/Budapest", "2026-03-26T12:00:00Z", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"},
		{"a whole day of 25 hours", "0 0 * * 0", "24h", "Europe/Budapest", "2026-10-22T12:00:00Z", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"},
		{"a leap day", "0 0 29 2 *", "24h", "Europe/Budapest", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00+01:00", "2028-03-01T00:00:00+01:00"},
		{"over a leap day", "0 12 28 2 *", "48h", "America/New_York", "2028-01-01T00:00:00Z", "2028-02-28T12:00:00-05:00", "2028-03-01T12:00:00-05:00"},
		{"over a day that is no leap day", "0 12 28 2 *", "48h", "America/New_York", "2027-01-01T00:00:00Z", "2027-02-28T12:00:00-05:00", "2027-03-02T12:00:00-05:00"},
		{"the end of the year", "0 18 20 12 *", "350h", "Europe/Budapest", "2026-11-01T00:00:00Z", "2026-12-20T18:00:00+01:00", "2027-01-04T08:00:00+01:00"},
		{"the end of the year, far west", "0 18 31 12 *", "14h", "America/New_York", "2026-11-01T00:00:00Z", "2026-12-31T18:00:00-05:00", "2027-01-01T08:00:00-05:00"},
		{"nights that touch are one", "0 0,12 * * 6", "12h", "UTC", "2026-06-03T00:00:00Z", "2026-06-06T00:00:00Z", "2026-06-07T00:00:00Z"},
		{"days that touch are one, however many", "0 0 * * 1-5", "24h", "Europe/Budapest", "2026-06-06T12:00:00Z", "2026-06-08T00:00:00+02:00", "2026-06-13T00:00:00+02:00"},
		{"where clocks change by half an hour", "45 1 * * *", "30m", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-04T01:45:00+10:30", "2026-10-04T02:45:00+11:00"},
	} {
		d, _ := time.ParseDuration(c.duration)
		w, err := schedule.NewWindow(c.start, d, c.zone)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		at := func(text string) time.Time {
			when, err := time.Parse(time.RFC3339, text)
			if err != nil {
				t.Fatal(err)
			}
			return when
		}
		from, until, ok := w.Next(at(c.around))
		if got := from.Format(time.RFC3339) + " " + until.Format(time.RFC3339); !ok || got != c.from+" "+c.until {
			t.Errorf("%s: %s, not %s %s", c.name, got, c.from, c.until)
		}
		for _, moment := range []struct {
			at time.Time
			in bool
		}{
			{at(c.from).Add(-time.Second), false},
			{at(c.from), true},
			{at(c.from).Add(at(c.until).Sub(at(c.from)) / 2), true},
			{at(c.until).Add(-time.Second), true},
			{at(c.until), false},
		} {
			begin, end, in := w.At(moment.at)
			if in != moment.in || (in && (!begin.Equal(at(c.from)) || !end.Equal(at(c.until)))) {
				t.Errorf("%s: at %s it says %v, %s to %s", c.name, moment.at, in, begin, end)
			}
		}
	}
}

// Every ten minutes of a year is either in a window or not, and At, Next and a count by hand agree about it.
func TestWindowsThroughAYear(t *testing.T) {
	for _, zone := range []string{"Europe/Budapest", "America/New_York", "Australia/Lord_Howe", "UTC"} {
		w, err := schedule.NewWindow("30 2 * * *", 90*time.Minute, zone)
		if err != nil {
			t.Fatal(err)
		}
		from, until, _ := w.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		windows := 0
		for now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); now.Year() < 2027; now = now.Add(10 * time.Minute) {
			if !now.Before(until) {
				from, until, _ = w.Next(now)
				windows++
			}
			should := !now.Before(from) && now.Before(until)
			if _, _, in := w.At(now); in != should {
				t.Fatalf("%s: at %s it says %v, between %s and %s", zone, now, in, from, until)
			}
		}
		if windows < 364 || windows > 366 {
			t.Errorf("%s: %d windows in a year", zone, windows)
		}
	}
}

func TestWindowsThatMakeNoSense(t *testing.T) {
	for _, c := range []struct {
		start    string
		duration time.Duration
		zone     string
		want     string
	}{
		{"0 16 * * 5", time.Hour, "Europe/Atlantis", `timezone: there is no time zone "Europe/Atlantis"`},
		{"0 16 * * 5", time.Hour, "", "timezone: "},
		{"0 16 * * 5", time.Hour, "Local", "timezone: "},
		{"0 16 * *", time.Hour, "UTC", "start: "},
		{"0 25 * * *", time.Hour, "UTC", "start: "},
		{"@every 1h", time.Minute, "UTC", "start: "},
		{"CRON_TZ=UTC 0 1 * * *", time.Hour, "UTC", "start: "},
		{"0 0 30 2 *", time.Hour, "UTC", "start: that day never comes"},
		{"0 16 * * 5", 0, "UTC", "duration: "},
		{"0 16 * * 5", -time.Hour, "UTC", "duration: "},
		{"0 16 * * 5", 9000 * time.Hour, "UTC", "duration: "},
		{"0 0 * * *", 24 * time.Hour, "UTC", "duration: it begins again before it ends, so it would never open"},
		{"* * * * *", time.Hour, "UTC", "duration: it begins again before it ends"},
		{"0 0 * * 1", 8 * 24 * time.Hour, "UTC", "duration: it begins again before it ends"},
	} {
		_, err := schedule.NewWindow(c.start, c.duration, c.zone)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %s in %q: %v, not %q", c.start, c.duration, c.zone, err, c.want)
		}
	}
}
