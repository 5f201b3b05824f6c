package releases

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// survey reads what policies decide from. It remembers what many of them ask for, and lives no longer than its transaction.
type survey struct {
	tx     Tx
	lives  map[string]map[string]Live // by environment and app
	names  map[string][]string        // of the apps that are live in an environment
	open   map[Target]*Release        // the newest on its way
	apps   []string
	newest map[string]*Shipped // by source and target
}

func newSurvey(tx Tx) *survey {
	return &survey{tx: tx, lives: map[string]map[string]Live{}, names: map[string][]string{}, newest: map[string]*Shipped{}}
}

// live returns what is live in an environment.
func (s *survey) live(env string) (map[string]Live, error) {
	if known, ok := s.lives[env]; ok {
		return known, nil
	}
	all, err := s.tx.Lives(env)
	if err != nil {
		return nil, err
	}
	byApp := make(map[string]Live, len(all))
	for _, l := range all {
		byApp[l.App] = l
	}
	s.lives[env], s.names[env] = byApp, slices.Sorted(maps.Keys(byApp))
	return byApp, nil
}

// selected are the apps that the policy is about, in order.
func (s *survey) selected(p Policy) (apps []string, err error) {
	from := s.apps
	switch {
	case p.From.Environment != "":
		if _, err := s.live(p.From.Environment); err != nil {
			return nil, err
		}
		from = s.names[p.From.Environment]
	case from == nil:
		if s.apps, err = s.tx.Apps(); err != nil {
			return nil, err
		}
		from = s.apps
	}
	for _, app := range from {
		if p.Apps.Match(app) {
			apps = append(apps, app)
		}
	}
	return apps, nil
}

// candidate reads what the policy's decision on an app is made from, as far as it comes to that.
func (s *survey) candidate(p Policy, app string) (c Candidate, err error) {
	c.App = app
	target := Target{App: app, Env: p.To}
	there, err := s.live(p.To)
	if err != nil {
		return c, err
	}
	if live, ok := there[app]; ok {
		c.Live = &live
	}
	if err := s.source(p, target, &c); err != nil || c.Version == nil {
		return c, err
	}
	if c.Live != nil && c.Live.ArtifactID == c.ArtifactID {
		return c, nil
	}
	if c.Fits, err = s.tx.Fits(c.ArtifactID, target); err != nil || !c.Fits {
		return c, err
	}
	if c.Mark, err = s.tx.Mark(c.ArtifactID); err != nil {
		return c, err
	}
	if c.Hold, err = s.tx.Hold(app, p.To); err != nil {
		return c, err
	}
	if c.Open, err = s.onItsWay(target); err != nil {
		return c, err
	}
	past, err := s.tx.Releases(ReleaseQuery{App: app, Env: p.To, ArtifactID: c.ArtifactID, Limit: 1})
	if len(past) > 0 && !past[0].Status.Open() {
		c.Past = &past[0]
	}
	return c, err
}

// source finds what the policy would release.
func (s *survey) source(p Policy, target Target, c *Candidate) error {
	if env := p.From.Environment; env != "" {
		there, err := s.live(env)
		if live, ok := there[target.App]; ok {
			c.Version, c.ArtifactID, c.Since, c.Health = &live.Version, live.ArtifactID, live.At, live.Health
		}
		return err
	}
	key := p.From.String() + "\n" + target.String()
	found, known := s.newest[key]
	if !known {
		var err error
		if found, err = s.matching(p.From, target); err != nil {
			return err
		}
		s.newest[key] = found
	}
	if found != nil {
		c.Version, c.ArtifactID = &found.Version, found.ID
	}
	return nil
}

// matching is the newest artifact for the target that the source's pattern matches and that is not marked as bad.
func (s *survey) matching(from Source, target Target) (*Shipped, error) {
	q, pattern := ArtifactQuery{Event: EventPush}, from.Branch
	if from.Tag != "" {
		q.Event, pattern = EventTag, from.Tag
	}
	if !strings.ContainsAny(pattern, `!*?[{\`) {
		q.Branch, q.Tag = from.Branch, from.Tag
	}
	word := func(v Version) string {
		if from.Tag != "" {
			return v.Tag
		}
		return v.Branch
	}
	return versions{tx: s.tx, target: target}.newest(q, func(v Version) bool { return matchOne(pattern, word(v)) })
}

// onItsWay is the newest open release of the target.
func (s *survey) onItsWay(target Target) (*Release, error) {
	if s.open == nil {
		all, err := s.tx.OpenReleases()
		if err != nil {
			return nil, err
		}
		s.open = map[Target]*Release{}
		for _, r := range all {
			s.open[Target{App: r.App, Env: r.Env}] = &r
		}
	}
	return s.open[target], nil
}

// considered is a decision on an app, with the version that it is about.
type considered struct {
	Decision
	version Version
}

// consider decides on each app that the policy selects. Those of which there is nothing to say are counted, by the kind of
// reason; those for which there is nothing at all are not mentioned.
func (s *survey) consider(p Policy, now time.Time) (all []considered, silent map[string]int, err error) {
	apps, err := s.selected(p)
	if err != nil {
		return nil, nil, err
	}
	for _, app := range apps {
		candidate, err := s.candidate(p, app)
		if err != nil {
			return nil, nil, err
		}
		d := p.Decide(candidate, now)
		switch {
		case d.Skip == SkipNothing:
		case quiet(d.Skip):
			if silent == nil {
				silent = map[string]int{}
			}
			silent[d.Skip]++
		default:
			one := considered{Decision: d}
			if candidate.Version != nil {
				one.version = *candidate.Version
			}
			all = append(all, one)
		}
	}
	return all, silent, nil
}
