package commands

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"gimletd/releases"
)

// whenUsage says how a time is typed.
const whenUsage = "for 2h30m, for 3d, until 18:00, until monday 8:00, until 2026-12-24 8:00"

// parseWhen reads how long something lasts off the beginning of a text: `for 2h30m …`, `until monday 8:00 …`. Without such
// words, until is the zero time and rest the whole text.
func parseWhen(text string, now time.Time, zone *time.Location) (until time.Time, rest string, err error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return until, "", nil
	}
	var used int
	switch strings.ToLower(words[0]) {
	case "for":
		until, used, err = parseFor(words[1:], now)
	case "until":
		until, used, err = parseUntil(words[1:], now.In(zone))
	default:
		return until, strings.Join(words, " "), nil
	}
	if err != nil {
		return until, "", err
	}
	return until, strings.Join(words[1+used:], " "), nil
}

func badWhen(text string) error {
	return releases.Errorf(releases.Invalid, "%q is no time; times are such as: %s", text, whenUsage)
}

var days = regexp.MustCompile(`^(\d{1,3})d`)

func parseFor(words []string, now time.Time) (time.Time, int, error) {
	if len(words) == 0 {
		return time.Time{}, 0, badWhen("for")
	}
	text, whole := words[0], time.Duration(0)
	if found := days.FindStringSubmatch(text); found != nil {
		n, _ := strconv.Atoi(found[1])
		whole, text = time.Duration(n)*24*time.Hour, strings.TrimPrefix(text, found[0])
	}
	if text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return time.Time{}, 0, badWhen("for " + words[0])
		}
		whole += d
	}
	if whole <= 0 {
		return time.Time{}, 0, badWhen("for " + words[0])
	}
	return now.Add(whole), 1, nil
}

// parseUntil takes a day, a time of day, or both.
func parseUntil(words []string, now time.Time) (until time.Time, used int, err error) {
	day, named := now, false
	weekday := false
	if len(words) > 0 {
		if found, isWeekday, ok := parseDay(words[0], now); ok {
			day, named, weekday, used = found, true, isWeekday, 1
		}
	}
	hour, minute, timed := 0, 0, false
	if len(words) > used {
		if hour, minute, timed = parseClock(words[used]); timed {
			used++
		}
	}
	if named && !timed && len(words) > used && words[used][0] >= '0' && words[used][0] <= '9' { // meant as a time of day, and not one
		return until, 0, badWhen("until " + words[0] + " " + words[used])
	}
	if !named && !timed {
		return until, 0, badWhen(strings.Join(append([]string{"until"}, words[:min(2, len(words))]...), " "))
	}
	until = time.Date(day.Year(), day.Month(), day.Day(), hour, minute, 0, 0, now.Location())
	switch {
	case !named && !until.After(now):
		until = time.Date(day.Year(), day.Month(), day.Day()+1, hour, minute, 0, 0, now.Location())
	case weekday && !until.After(now):
		until = time.Date(day.Year(), day.Month(), day.Day()+7, hour, minute, 0, 0, now.Location())
	}
	return until, used, nil
}

// parseDay takes today, tomorrow, a weekday (the next one, which may be today), or a date.
func parseDay(word string, now time.Time) (day time.Time, weekday, ok bool) {
	word = strings.ToLower(strings.TrimSuffix(word, ","))
	switch word {
	case "today":
		return now, false, true
	case "tomorrow":
		return now.AddDate(0, 0, 1), false, true
	}
	if date, err := time.ParseInLocation(time.DateOnly, word, now.Location()); err == nil {
		return date, false, true
	}
	for d := time.Sunday; d <= time.Saturday; d++ {
		if name := strings.ToLower(d.String()); len(word) >= 3 && strings.HasPrefix(name, word) {
			return now.AddDate(0, 0, (int(d)-int(now.Weekday())+7)%7), true, true
		}
	}
	return now, false, false
}

var clock = regexp.MustCompile(`^(\d{1,2})(?::(\d{2}))?(am|pm)?$`)

// parseClock takes 8:00, 18:30, 8am.
func parseClock(word string) (hour, minute int, ok bool) {
	found := clock.FindStringSubmatch(strings.ToLower(word))
	if found == nil || (found[2] == "" && found[3] == "") {
		return 0, 0, false
	}
	hour, _ = strconv.Atoi(found[1])
	minute, _ = strconv.Atoi(found[2])
	if found[3] != "" {
		if hour < 1 || hour > 12 {
			return 0, 0, false
		}
		hour %= 12
		if found[3] == "pm" {
			hour += 12
		}
	}
	return hour, minute, hour < 24 && minute < 60
}
