package releases

import (
	"context"
	"fmt"
	"strings"
)

// Ambiguous says that a word names more than one version, and which.
type Ambiguous struct {
	Word    string
	Options []Option
}

// Option is one of several versions that a word may mean.
type Option struct {
	Word  string // names it and nothing else
	Label string // for people
}

func (a *Ambiguous) Error() string {
	var labels []string
	for _, o := range a.Options {
		labels = append(labels, o.Label)
	}
	return fmt.Sprintf("%q could be %s", a.Word, strings.Join(labels, " or "))
}

// minPrefix is how many characters of a hash must be given, as in git.
const minPrefix = 4

// Resolve finds the artifact that a word means for an app in an environment: nothing (the newest), an artifact's id,
// a branch, a tag, a commit hash or a prefix of one, or `from:<env>` (what is live there). A word that means more than
// one is an *Ambiguous error.
func (s *Service) Resolve(ctx context.Context, app, env, word string) (found *Shipped, err error) {
	if _, err := s.environment(env); err != nil {
		return nil, err
	}
	err = s.store.View(ctx, func(tx Tx) error {
		v := versions{tx: tx, target: Target{App: app, Env: env}}
		found, err = v.resolve(word)
		return err
	})
	return found, err
}

type versions struct {
	tx     Tx
	target Target
}

func (v versions) resolve(word string) (*Shipped, error) {
	if from, ok := strings.CutPrefix(word, "from:"); ok {
		return v.liveIn(from)
	}
	newest, err := v.fitting()
	if err != nil {
		return nil, err
	}
	if newest == nil {
		all, err := v.tx.Artifacts(ArtifactQuery{Target: v.target, Limit: 1})
		switch {
		case err != nil:
			return nil, err
		case len(all) == 0:
			return nil, v.unknownApp()
		case word == "" || word == "latest":
			return nil, Errorf(NotFound, "the newest versions of %s are all marked as bad; to release one of them, name it", v.target)
		}
	}
	if word == "" || word == "latest" {
		return newest, nil
	}
	if exact, err := v.tx.Artifact(word); err == nil {
		_, _, err := exact.Manifest(v.target.App, v.target.Env)
		return exact, err
	} else if KindOf(err) != NotFound {
		return nil, err
	}
	candidates, err := v.candidates(word)
	if err != nil {
		return nil, err
	}
	switch len(candidates) {
	case 0:
		return nil, Errorf(NotFound, "no version of %s is %q: it is no artifact id, branch, tag or commit that was shipped for it; /gimlet artifacts %s lists them", v.target, word, v.target.App)
	case 1:
		return candidates[0], nil
	}
	ambiguous := &Ambiguous{Word: word}
	for _, c := range candidates {
		ambiguous.Options = append(ambiguous.Options, Option{Word: c.ID, Label: describe(c.Version)})
	}
	return nil, ambiguous
}

// fitting is the newest artifact that a release without a version means: a pull request's only when there is no other.
func (v versions) fitting() (*Shipped, error) {
	var best *Shipped
	for _, event := range []Event{EventPush, EventTag} {
		a, err := v.newest(ArtifactQuery{Event: event}, anyVersion)
		if err != nil {
			return nil, err
		}
		if a != nil && (best == nil || a.Key > best.Key) {
			best = a
		}
	}
	if best != nil {
		return best, nil
	}
	return v.newest(ArtifactQuery{}, anyVersion)
}

// candidates are the newest artifacts for each thing that the word may name, each once.
func (v versions) candidates(word string) ([]*Shipped, error) {
	var found []*Shipped
	seen := map[string]bool{}
	if a, err := v.newest(ArtifactQuery{Branch: word}, anyVersion); err != nil {
		return nil, err
	} else if a != nil {
		found, seen[a.ID] = append(found, a), true
	}
	queries := []ArtifactQuery{{Tag: word}}
	if isHex(word) && len(word) >= minPrefix {
		const most = 5
		shas, err := v.tx.SHAs(word, v.target, most)
		if err != nil {
			return nil, err
		}
		for _, sha := range shas {
			queries = append(queries, ArtifactQuery{SHAs: []string{sha}})
		}
	}
	for _, q := range queries { // what is named is meant, also when it is marked as bad
		q.Target, q.Limit = v.target, 1
		named, err := v.tx.Artifacts(q)
		if err != nil {
			return nil, err
		}
		for _, a := range named {
			if !seen[a.ID] {
				found, seen[a.ID] = append(found, a), true
			}
		}
	}
	return found, nil
}

// newest is the newest that fits and is not marked as bad.
func (v versions) newest(q ArtifactQuery, fits func(Version) bool) (*Shipped, error) {
	const page, most = 20, 500
	q.Target, q.Limit = v.target, page
	for ; q.Offset < most; q.Offset += page {
		found, err := v.tx.Artifacts(q)
		if err != nil {
			return nil, err
		}
		for _, a := range found {
			if !fits(a.Version) {
				continue
			}
			if mark, err := v.tx.Mark(a.ID); err != nil || mark == nil {
				return a, err
			}
		}
		if len(found) < page {
			break
		}
	}
	return nil, nil
}

func anyVersion(Version) bool { return true }

func (v versions) liveIn(env string) (*Shipped, error) {
	live, err := v.tx.Live(v.target.App, env)
	if err != nil {
		return nil, err
	}
	if live == nil {
		return nil, Errorf(NotFound, "nothing of %s was released to %s yet", v.target.App, env)
	}
	a, err := v.tx.Artifact(live.ArtifactID)
	if err != nil {
		return nil, err
	}
	_, _, err = a.Manifest(v.target.App, v.target.Env)
	return a, err
}

func (v versions) unknownApp() error {
	elsewhere, err := v.tx.Artifacts(ArtifactQuery{Target: Target{App: v.target.App}, Limit: 1})
	if err != nil {
		return err
	}
	if len(elsewhere) == 0 {
		return Errorf(NotFound, "there is no app %q: no artifact was shipped for it", v.target.App)
	}
	var envs []string
	for _, t := range elsewhere[0].Targets {
		if t.App == v.target.App {
			envs = append(envs, t.Env)
		}
	}
	return Errorf(NotFound, "no artifact of %s is for %s; its newest is for: %s", v.target.App, v.target.Env, strings.Join(envs, ", "))
}

func describe(v Version) string {
	text := ShortSHA(v.SHA)
	switch {
	case v.Tag != "":
		text += " (tag " + v.Tag + ")"
	case v.Branch != "":
		text += " (" + v.Branch + ")"
	}
	if first, _, _ := strings.Cut(v.Message, "\n"); first != "" {
		text += " " + first
	}
	return text
}

func isHex(word string) bool {
	return word != "" && strings.Trim(strings.ToLower(word), "0123456789abcdef") == ""
}
