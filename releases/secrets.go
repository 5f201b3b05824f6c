package releases

import (
	"regexp"
	"slices"
	"strings"
)

var (
	// tokenPattern matches values that are credentials by their form: GitHub, GitLab, Slack, AWS, Google, npm,
	// Docker Hub, PyPI and Stripe tokens, JSON web tokens, private keys, and URLs with a password inside.
	tokenPattern = regexp.MustCompile(`\b(gh[pousr]_[0-9A-Za-z]{20,}|github_pat_[0-9A-Za-z_]{20,}|gl(pat|ptt|rt|cbt|dt|ft|soat)-[0-9A-Za-z_-]{16,}` +
		`|xox[abeoprs]-[0-9A-Za-z-]{10,}|xapp-[0-9A-Za-z-]{10,}|(AKIA|ASIA)[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{35}|ya29\.[0-9A-Za-z_-]{20,}` +
		`|gimletd_[0-9a-z]{20,}|npm_[0-9A-Za-z]{30,}|dckr_pat_[0-9A-Za-z_-]{20,}|pypi-[0-9A-Za-z_-]{30,}|[rs]k_live_[0-9A-Za-z]{16,}|hvs\.[0-9A-Za-z_-]{20,}` +
		`|eyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,})` +
		`|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(-----END [A-Z ]*PRIVATE KEY-----)?|[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@`)

	// secretName matches the names that CI systems and people give to credentials, word by word.
	secretName = regexp.MustCompile(`(?i)(^|[_.-])(token|secret|secrets|password|passwd|passphrase|credential|credentials|apikey|` +
		`(api|access|private|secret|signing|deploy|encryption)[_.-]?key)([_.-]|$)`)
)

// Redacted stands where a credential stood.
const Redacted = "<redacted>"

// Redact replaces what looks like a credential inside a text that people or logs will see.
func Redact(text string) string {
	if !mayHoldToken(text) {
		return text
	}
	return tokenPattern.ReplaceAllString(text, Redacted)
}

// mayHoldToken is a cheap test that lets most values pass the regular expression by.
func mayHoldToken(text string) bool {
	return len(text) >= 12 && (strings.ContainsAny(text, "_-.") || strings.Contains(text, "://") || strings.Contains(text, "AKIA") || strings.Contains(text, "ASIA") || strings.Contains(text, "AIza"))
}

// SecretFilter recognises variables that must not be kept.
type SecretFilter struct {
	Names []string // globs of variable names beside the built-in ones
}

// Drop removes from the artifact's context, vars and items whatever looks like a credential by its name or its
// value, and returns the sorted names of what it removed.
func (f SecretFilter) Drop(a *Artifact) []string {
	var dropped []string
	for _, vars := range []map[string]string{a.Context, a.Vars} {
		for name, value := range vars {
			if f.secret(name, value) {
				delete(vars, name)
				dropped = append(dropped, name)
			}
		}
	}
	for _, item := range a.Items {
		dropped = append(dropped, f.dropFrom(item)...)
	}
	a.Version.URL = Redact(a.Version.URL)
	a.Version.Message = Redact(a.Version.Message)
	slices.Sort(dropped)
	return slices.Compact(dropped)
}

// dropFrom removes credentials from a free object, however deep they lie.
func (f SecretFilter) dropFrom(node any) (dropped []string) {
	switch node := node.(type) {
	case []any:
		for i, element := range node {
			if text, ok := element.(string); ok {
				node[i] = Redact(text)
			}
			dropped = append(dropped, f.dropFrom(element)...)
		}
	case map[string]any:
		for name, value := range node {
			if text, ok := value.(string); ok && f.secret(name, text) {
				delete(node, name)
				dropped = append(dropped, name)
				continue
			}
			dropped = append(dropped, f.dropFrom(value)...)
		}
	}
	return dropped
}

func (f SecretFilter) secret(name, value string) bool {
	if value == "" {
		return false
	}
	return secretName.MatchString(name) || matchAny(f.Names, name) || (mayHoldToken(value) && tokenPattern.MatchString(value))
}
