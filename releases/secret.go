package releases

import "log/slog"

// Secret is a credential. However it is printed, logged or encoded, its value does not show; Reveal is the only
// way to it.
type Secret string

const hidden = "<secret>"

// Reveal returns the value.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString keeps %#v from showing the value.
func (s Secret) GoString() string { return s.String() }

// LogValue keeps slog from showing the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps every encoder from showing the value.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
