package releases

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// CheckGlob reports whether the pattern of a policy, with or without a leading "!", can be read.
func CheckGlob(pattern string) error {
	_, err := compileGlob(strings.TrimPrefix(pattern, "!"))
	return err
}

// Limits of a glob, which comes with every artifact.
const (
	maxGlob     = 500 // bytes
	maxGlobNest = 10  // braces within braces
)

// compileGlob turns a glob into a regular expression, which takes linear time whatever it is matched with. `*` crosses
// `/`; there are `?`, `[a-c]`, `[!a-c]`, `{a,b}`, and `\` before a character that is meant as itself.
func compileGlob(pattern string) (*regexp.Regexp, error) {
	bad := func(why string) error { return fmt.Errorf("bad glob %q: %s", pattern[:min(len(pattern), 60)], why) }
	if len(pattern) > maxGlob {
		return nil, bad(fmt.Sprintf("longer than %d bytes", maxGlob))
	}
	out, depth := strings.Builder{}, 0
	out.WriteString(`(?s)^(?:`)
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '*':
			out.WriteString(`.*`)
		case c == '?':
			out.WriteString(`.`)
		case c == '{':
			if depth++; depth > maxGlobNest {
				return nil, bad("too many braces within braces")
			}
			out.WriteString(`(?:`)
		case c == '}' && depth > 0:
			depth--
			out.WriteString(`)`)
		case c == ',' && depth > 0:
			out.WriteString(`|`)
		case c == '[':
			class, rest, closed := strings.Cut(pattern[i+1:], "]")
			if !closed || strings.Trim(class, "!^") == "" {
				return nil, bad("a [ is not closed, or empty")
			}
			out.WriteString(characterClass(class))
			i = len(pattern) - len(rest) - 1
		case c == '\\' && i+1 < len(pattern):
			i++
			out.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		case c < utf8.RuneSelf:
			out.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		default:
			out.WriteByte(c) // a part of a longer character
		}
	}
	if depth > 0 {
		return nil, bad("a { is not closed")
	}
	out.WriteString(`)$`)
	re, err := regexp.Compile(out.String())
	if err != nil {
		return nil, bad("its characters make no sense")
	}
	return re, nil
}

// characterClass is a glob's class as a regular expression's.
func characterClass(class string) string {
	negation := ""
	if class[0] == '!' || class[0] == '^' {
		negation, class = "^", class[1:]
	}
	return "[" + negation + strings.NewReplacer(`\`, `\\`, `[`, `\[`, `^`, `\^`, `&`, `\&`).Replace(class) + "]"
}

// MatchGlob reports whether the pattern of a policy, with or without a leading "!", matches the text.
func MatchGlob(pattern, text string) bool { return matchOne(pattern, text) }

func matchOne(pattern, text string) bool {
	rest, negated := strings.CutPrefix(pattern, "!")
	if rest == text {
		return !negated
	}
	re, err := compileGlob(rest)
	if err != nil {
		return false // refused at ingest; an unreadable pattern matches nothing, negated or not
	}
	return re.MatchString(text) != negated
}

func matchAny(patterns []string, text string) bool {
	for _, pattern := range patterns {
		if matchOne(pattern, text) {
			return true
		}
	}
	return false
}

// Globs selects names: those that one of its patterns matches, and none of those that begin with "!". Only such patterns select
// all others.
type Globs struct {
	patterns []string
	yes, no  []func(string) bool
}

// NewGlobs reads patterns.
func NewGlobs(patterns []string) (Globs, error) {
	g := Globs{patterns: patterns}
	for i, pattern := range patterns {
		rest, negated := strings.CutPrefix(pattern, "!")
		match, err := matcher(rest)
		if err != nil {
			return g, fmt.Errorf("[%d]: %w", i, err)
		}
		if negated {
			g.no = append(g.no, match)
		} else {
			g.yes = append(g.yes, match)
		}
	}
	return g, nil
}

// String lists the patterns.
func (g Globs) String() string { return strings.Join(g.patterns, ", ") }

// Match reports whether the name is selected.
func (g Globs) Match(name string) bool {
	matches := func(match func(string) bool) bool { return match(name) }
	return (len(g.yes) == 0 || slices.ContainsFunc(g.yes, matches)) && !slices.ContainsFunc(g.no, matches)
}

// matcher compiles one pattern; plain ones, which are most, need no regular expression.
func matcher(pattern string) (func(string) bool, error) {
	prefix, star := strings.CutSuffix(pattern, "*")
	switch {
	case pattern == "":
		return nil, fmt.Errorf("an empty pattern matches nothing")
	case strings.ContainsAny(prefix, `*?[{\`):
	case star:
		return func(name string) bool { return strings.HasPrefix(name, prefix) }, nil
	default:
		return func(name string) bool { return name == pattern }, nil
	}
	re, err := compileGlob(pattern)
	if err != nil {
		return nil, err
	}
	return re.MatchString, nil
}

// overlap reports whether there could be a name that both select. It may say so of two that do not, never the other way.
func (g Globs) overlap(other Globs) bool {
	all := func(patterns []string) (yes []string) {
		for _, p := range patterns {
			if !strings.HasPrefix(p, "!") {
				yes = append(yes, p)
			}
		}
		if len(yes) == 0 {
			yes = []string{"*"}
		}
		return yes
	}
	// What the other leaves out by the same pattern, or by the beginning of it, is left out whole.
	excludes := func(patterns []string, pattern string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			no, negated := strings.CutPrefix(p, "!")
			begin, star := strings.CutSuffix(no, "*")
			return negated && (no == pattern || (star && !strings.ContainsAny(begin, `*?[{\`) && strings.HasPrefix(pattern, begin)))
		})
	}
	for _, a := range all(g.patterns) {
		for _, b := range all(other.patterns) {
			if !excludes(other.patterns, a) && !excludes(g.patterns, b) && meet(loose(a), loose(b)) {
				return true
			}
		}
	}
	return false
}

// loose is a pattern that matches at least what the glob does, of letters, `?` and `*` alone.
func loose(glob string) string {
	if i := strings.IndexAny(glob, `[{\`); i >= 0 {
		return glob[:i] + "*"
	}
	return glob
}

// meet reports whether some name matches both loose patterns. What is left of each is looked at once.
func meet(a, b string) bool {
	met := make([][]bool, len(a)+1)
	for i := len(a); i >= 0; i-- {
		met[i] = make([]bool, len(b)+1)
		for j := len(b); j >= 0; j-- {
			starA, starB := i < len(a) && a[i] == '*', j < len(b) && b[j] == '*'
			switch {
			case i == len(a) && j == len(b):
				met[i][j] = true
			case starA || starB:
				met[i][j] = (starA && met[i+1][j]) || (starB && met[i][j+1]) || (starA && j < len(b) && met[i][j+1]) || (starB && i < len(a) && met[i+1][j])
			case i < len(a) && j < len(b) && (a[i] == b[j] || a[i] == '?' || b[j] == '?'):
				met[i][j] = met[i+1][j+1]
			}
		}
	}
	return met[0][0]
}
