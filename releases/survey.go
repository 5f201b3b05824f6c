package releases

import (
	"cmp"
	"fmt"
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
	open   map[Target][]Release       // on their way
	apps   []string
	newest map[string]*Shipped // by source and target
	// known are the candidates of each road, in the order of its apps: policies that differ in their schedule or patterns
	// alone share them.
	known map[road][]*Candidate
}

// road is where policies take versions from and to.
type road struct{ environment, branch, tag, to string }

func newSurvey(tx Tx) *survey {
	return &survey{tx: tx, lives: map[string]map[string]Live{}, names: map[string][]string{}, newest: map[string]*Shipped{}, known: map[road][]*Candidate{}}
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

// candidates are what decisions on the apps of the policy's road are made from, in order; those that nobody has asked for yet
// are nil.
func (s *survey) candidates(p Policy) (apps []string, known []*Candidate, err error) {
	on := road{p.From.Environment, p.From.Branch, p.From.Tag, p.To}
	switch {
	case p.From.Environment != "":
		if _, err := s.live(p.From.Environment); err != nil {
			return nil, nil, err
		}
		apps = s.names[p.From.Environment]
	case s.apps == nil:
		if s.apps, err = s.tx.Apps(); err != nil {
			return nil, nil, err
		}
		apps = s.apps
	default:
		apps = s.apps
	}
	if s.known[on] == nil {
		s.known[on] = make([]*Candidate, len(apps))
	}
	return apps, s.known[on], nil
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
	return c, s.history(target, &c)
}

// history reads what was before: what became of the version there, what took the app away, and what came in first.
func (s *survey) history(target Target, c *Candidate) (err error) {
	if c.Older, err = arrivedBefore(s.tx, c.Live, c.ArtifactID, *c.Version); err != nil {
		return err
	}
	a, err := s.tx.Artifact(c.ArtifactID)
	if err != nil {
		return err
	}
	if c.Displaces, err = rival(s.tx, target, a); err != nil {
		return err
	}
	c.Displaces = cmp.Or(c.Displaces, Snapshot{Live: c.Live, Preview: a.family(target.App, target.Env)}.displaces(*c.Version))
	if c.Past, err = refusal(s.tx, target, *c.Version); err != nil || c.Live != nil {
		return err
	}
	newest, err := s.tx.Releases(ReleaseQuery{App: target.App, Env: target.Env, Statuses: []Status{Published, Unchanged}, Limit: 1})
	if len(newest) > 0 && newest[0].Kind == KindCleanup && newest[0].Key > a.Key {
		c.Removed = &newest[0]
	}
	return err
}

// refusal is the newest release of the version there that somebody has refused or rolled back, or that has failed, unless it
// went out after that. A commit that was built again is the same version.
func refusal(tx Tx, target Target, v Version) (*Release, error) {
	const most = 30
	past, err := tx.Releases(ReleaseQuery{App: target.App, Env: target.Env, Repository: v.RepositoryName, Limit: most})
	if err != nil {
		return nil, err
	}
	var failed *Release
	for _, r := range past {
		if r.Version.SHA != v.SHA || r.Kind != KindRelease {
			continue
		}
		switch {
		case r.RolledBack || r.Status == Rejected || r.Status == Cancelled:
			return &r, nil
		case r.Status == Published || r.Status == Unchanged:
			return failed, nil
		case failed == nil && (r.Status == Failed || r.Status == Expired):
			failed = &r
		}
	}
	return failed, nil
}

// arrivedBefore explains why automation must not put the artifact in place of what is live although CI has told no time of one of
// the commits: it came in before. "" when it did not.
func arrivedBefore(tx Tx, live *Live, artifactID string, v Version) (string, error) {
	if live == nil || live.ArtifactID == artifactID || live.Version.RepositoryName != v.RepositoryName || (v.Created != 0 && live.Version.Created != 0) {
		return "", nil
	}
	there, known, err := tx.Arrival(live.ArtifactID)
	if err != nil || !known {
		return "", err
	}
	here, known, err := tx.Arrival(artifactID)
	if err != nil || !known || here >= there {
		return "", err
	}
	return fmt.Sprintf("%s is live and came in after %s; automation never goes backwards (a person may: /release)", live.Version.Short(), v.Short()), nil
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
		if found, err = s.matching(p.From, target, time.Time{}); err != nil {
			return err
		}
		s.newest[key] = found
	}
	if found != nil {
		c.Version, c.ArtifactID = &found.Version, found.ID
	}
	return nil
}

// matching is the newest artifact for the target, until a moment if there is one, that the source's pattern matches and that is not
// marked as bad.
func (s *survey) matching(from Source, target Target, until time.Time) (*Shipped, error) {
	q, pattern := ArtifactQuery{Event: EventPush, Until: until}, from.Branch
	if from.Tag != "" {
		q.Event, pattern = EventTag, from.Tag
	}
	if !strings.ContainsAny(pattern, `!*?[{\`) {
		q.Branch, q.Tag = from.Branch, from.Tag
	}
	return versions{tx: s.tx, target: target}.newest(q, from.Fits)
}

// onItsWay are the open releases of the target.
func (s *survey) onItsWay(target Target) ([]Release, error) {
	if s.open == nil {
		all, err := s.tx.OpenReleases()
		if err != nil {
			return nil, err
		}
		s.open = map[Target][]Release{}
		for _, r := range all {
			at := Target{App: r.App, Env: r.Env}
			s.open[at] = append(s.open[at], r)
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
	apps, known, err := s.candidates(p)
	if err != nil {
		return nil, nil, err
	}
	for i, app := range apps {
		if !p.Apps.Match(app) {
			continue
		}
		if known[i] == nil {
			c, err := s.candidate(p, app)
			if err != nil {
				return nil, nil, err
			}
			known[i] = &c
		}
		candidate := known[i]
		skip := candidate.settled()
		if skip == SkipNothing {
			continue
		}
		var d Decision
		if skip == "" {
			d = p.Decide(candidate, now)
			skip = d.Skip
		}
		switch {
		case quiet(skip):
			if silent == nil {
				silent = map[string]int{}
			}
			silent[skip]++
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
