package releases

import (
	"fmt"
	"slices"
	"strings"
)

// maxFights bounds what is told of policies that fight.
const maxFights = 20

// Fights returns sentences about policies that work against each other: two that could release the same app to the same
// environment from different places, and those that go in a circle.
func Fights(policies []Policy) (told []string) {
	for i, p := range policies {
		for _, q := range policies[:i] {
			if p.To == q.To && p.From.String() != q.From.String() && p.Apps.overlap(q.Apps) {
				told = append(told, fmt.Sprintf("policies %s and %s fight over %s: one releases from %s, the other from %s, and there could be apps that both select (%s; %s)",
					q.Name, p.Name, p.To, q.From, p.From, q.Apps, p.Apps))
			}
		}
	}
	told = append(told, circles(policies)...)
	if more := len(told) - maxFights; more > 0 {
		told = append(told[:maxFights], fmt.Sprintf("and %d more", more))
	}
	return told
}

// circles finds policies that together bring an app back to where it came from.
func circles(policies []Policy) (told []string) {
	back := map[[2]string]bool{} // whether policies lead from one environment to another
	var names []string
	for _, p := range policies {
		back[[2]string{p.From.Environment, p.To}] = true
		names = append(names, p.From.Environment, p.To)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, by := range names {
		for _, from := range names {
			for _, to := range names {
				if back[[2]string{from, by}] && back[[2]string{by, to}] {
					back[[2]string{from, to}] = true
				}
			}
		}
	}
	var round []Policy // those that could be part of a circle
	for _, p := range policies {
		if p.From.Environment != "" && back[[2]string{p.To, p.From.Environment}] {
			round = append(round, p)
		}
	}
	found := map[string]bool{}
	for _, p := range round {
		if found[p.Name] {
			continue
		}
		if chain := leadsBack(round, []Policy{p}); chain != nil {
			for _, name := range chain {
				found[name] = true
			}
			told = append(told, fmt.Sprintf("policies %s go in a circle: what they release comes back to where it was", strings.Join(chain, ", ")))
		}
	}
	return told
}

// leadsBack follows the chain to where it ends, or returns the names of those that lead back to its first.
func leadsBack(policies, chain []Policy) []string {
	const most = 6 // environments in a circle
	first, last := chain[0], chain[len(chain)-1]
	for _, next := range policies {
		seen := slices.ContainsFunc(chain, func(p Policy) bool { return p.Name == next.Name })
		switch {
		case next.From.Environment != last.To || !next.Apps.overlap(first.Apps):
		case next.To == first.From.Environment || next.Name == first.Name:
			names := make([]string, 0, len(chain)+1)
			for _, p := range chain {
				names = append(names, p.Name)
			}
			if !seen {
				names = append(names, next.Name)
			}
			return names
		case !seen && len(chain) < most:
			if names := leadsBack(policies, append(slices.Clone(chain), next)); names != nil {
				return names
			}
		}
	}
	return nil
}
