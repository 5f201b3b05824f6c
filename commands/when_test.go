package commands

import (
	"testing"
	"time"
)

func TestTimesAsPeopleTypeThem(t *testing.T) {
	budapest, err := time.LoadLocation("Europe/Budapest")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 10, 23, 15, 30, 0, 0, budapest) // a Friday; the clocks go back on Sunday
	for _, c := range []struct{ text, want, rest string }{
		{"", "", ""},
		{"looking at a leak", "", "looking at a leak"},
		{"for 2h a leak", "2026-10-23T17:30:00+02:00", "a leak"},
		{"for 2h30m a leak", "2026-10-23T18:00:00+02:00", "a leak"},
		{"for 3d", "2026-10-26T14:30:00+01:00", ""},
		{"for 1d12h x", "2026-10-25T02:30:00+01:00", "x"},
		{"until 18:00 a leak", "2026-10-23T18:00:00+02:00", "a leak"},
		{"until 8:00 a leak", "2026-10-24T08:00:00+02:00", "a leak"},
		{"until 6pm a leak", "2026-10-23T18:00:00+02:00", "a leak"},
		{"until 12am x", "2026-10-24T00:00:00+02:00", "x"},
		{"until monday 8:00 the migration", "2026-10-26T08:00:00+01:00", "the migration"},
		{"Until Mon 8:00", "2026-10-26T08:00:00+01:00", ""},
		{"until friday 16:00 x", "2026-10-23T16:00:00+02:00", "x"},
		{"until friday 15:00 x", "2026-10-30T15:00:00+01:00", "x"},
		{"until friday x", "2026-10-30T00:00:00+01:00", "x"},
		{"until tomorrow the end", "2026-10-24T00:00:00+02:00", "the end"},
		{"until today 23:59 x", "2026-10-23T23:59:00+02:00", "x"},
		{"until 2026-12-24 18:00 x", "2026-12-24T18:00:00+01:00", "x"},
		{"until 2026-12-24 x", "2026-12-24T00:00:00+01:00", "x"},
		{"for", "error", ""},
		{"for ever", "error", ""},
		{"for -2h x", "error", ""},
		{"for 2 hours", "error", ""},
		{"until", "error", ""},
		{"until later", "error", ""},
		{"until monday 8 the migration", "error", ""},
		{"until monday 8.30 x", "error", ""},
		{"until 25:00 x", "error", ""},
		{"until 13pm x", "error", ""},
		{"until 2026-13-01 x", "error", ""},
	} {
		until, rest, err := parseWhen(c.text, now, budapest)
		got := ""
		switch {
		case err != nil:
			got, rest = "error", ""
		case !until.IsZero():
			got = until.In(budapest).Format(time.RFC3339)
		}
		if got != c.want || rest != c.rest {
			t.Errorf("%q: %s %q (%v), not %s %q", c.text, got, rest, err, c.want, c.rest)
		}
	}
}

func FuzzTimesThatPeopleType(f *testing.F) {
	for _, text := range []string{"for 2h x", "until monday 8:00 x", "until 2026-12-24 8am", "for 999d", "until 8:00"} {
		f.Add(text)
	}
	now := time.Date(2026, 3, 29, 0, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		until, rest, err := parseWhen(text, now, time.UTC)
		if err == nil && !until.IsZero() && len(rest) > len(text) {
			t.Errorf("%q leaves %q", text, rest)
		}
	})
}
