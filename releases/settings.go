package releases

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of what the audit says of a configuration.
const (
	maxSettings = 30  // keys
	maxSetting  = 120 // characters of a value
)

// Configured records what has changed in the configuration since it was last in force, and who changed it. secrets are the
// keys of secrets that have changed, of which nothing else is kept. Before the first time nothing is known, so nothing has.
func (s *Service) Configured(ctx context.Context, settings map[string]string, secrets []string, by Actor) (changes []string, err error) {
	err = s.store.Update(ctx, func(tx Tx) error {
		before, err := tx.Settings()
		if err != nil {
			return err
		}
		changes = nil
		if before != nil {
			changes = settingsChanged(before, settings)
			for _, key := range secrets {
				changes = append(changes, key+": another secret")
			}
		}
		if before == nil || len(changes) > 0 {
			if err := tx.PutSettings(settings); err != nil {
				return err
			}
		}
		if len(changes) == 0 {
			return nil
		}
		record := s.by(by, "config.changed")
		record.Detail = Redact(strings.Join(bounded(changes), "; "))
		return s.record(tx, record)
	})
	return changes, err
}

// ConfigRefused records that a configuration was not taken, and why.
func (s *Service) ConfigRefused(ctx context.Context, fault string, by Actor) error {
	return s.store.Update(ctx, func(tx Tx) error {
		record := s.by(by, "config.refused")
		record.Refused = Redact(strings.Join(bounded(strings.Split(fault, "\n")), "; "))
		return s.record(tx, record)
	})
}

func bounded(lines []string) []string {
	if more := len(lines) - maxSettings; more > 0 {
		return append(slices.Clone(lines[:maxSettings]), fmt.Sprintf("and %d more", more))
	}
	return lines
}

// settingsChanged tells the keys that are not as before, in order.
func settingsChanged(before, now map[string]string) (changes []string) {
	keys := map[string]bool{}
	for key := range before {
		keys[key] = true
	}
	for key := range now {
		keys[key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		was, had := before[key]
		is, has := now[key]
		switch {
		case !had:
			changes = append(changes, fmt.Sprintf("%s: %s", key, short(is)))
		case !has:
			changes = append(changes, fmt.Sprintf("%s: gone, was %s", key, short(was)))
		case was != is:
			changes = append(changes, fmt.Sprintf("%s: %s → %s", key, short(was), short(is)))
		}
	}
	return changes
}

func short(text string) string {
	if utf8.RuneCountInString(text) > maxSetting {
		text = string([]rune(text)[:maxSetting]) + "…"
	}
	return fmt.Sprintf("%q", text)
}
