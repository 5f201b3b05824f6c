package releases

import (
	"context"
	"slices"
	"time"
)

// RunOf returns a run of a scheduled policy, with its releases as they are.
func (s *Service) RunOf(ctx context.Context, id string) (v RunView, err error) {
	err = s.store.View(ctx, func(tx Tx) error { v, err = runView(tx, id); return err })
	return v, err
}

func runView(tx Tx, id string) (RunView, error) {
	run, err := tx.Run(id)
	if err != nil {
		return RunView{}, err
	}
	return viewOf(tx, *run)
}

// viewOf adds the run's releases as they are.
func viewOf(tx Tx, run Run) (v RunView, err error) {
	v = RunView{Run: run, Releases: map[string]Release{}}
	for _, l := range run.Lines {
		if l.Release == "" {
			continue
		}
		if v.Releases[l.Release], err = tx.Release(l.Release); err != nil {
			return v, err
		}
	}
	return v, nil
}

// Outlook is when a scheduled policy runs next, and what it would do now.
type Outlook struct {
	Policy Policy
	Next   time.Time // the zero time when it never does again
	Apps   []Decision
	Quiet  map[string]int // other apps that it selects, by the kind of reason for which there is nothing to say of them
	Past   []RunView      // its newest runs, newest first
}

// Outlooks tells of a policy, or, without a name, of all, by what decides when they run. past is how many runs are wanted.
func (s *Service) Outlooks(ctx context.Context, name string, past int) (all []Outlook, err error) {
	if _, ok := s.policy(name); name != "" && !ok {
		return nil, Errorf(NotFound, "there is no policy %q; /gimlet policies lists them", name)
	}
	err = s.store.View(ctx, func(tx Tx) error {
		all = nil
		states, err := tx.PolicyStates()
		if err != nil {
			return err
		}
		byName := make(map[string]PolicyState, len(states))
		for _, st := range states {
			byName[st.Name] = st
		}
		sv := newSurvey(tx)
		for _, p := range s.policies {
			if name != "" && p.Name != name {
				continue
			}
			o := Outlook{Policy: p, Next: p.nextRun(byName[p.Name], s.now())}
			considered, quiet, err := sv.consider(p, s.now())
			if err != nil {
				return err
			}
			o.Quiet = quiet
			for _, c := range considered {
				o.Apps = append(o.Apps, c.Decision)
			}
			if o.Past, err = pastRuns(tx, p.Name, past); err != nil {
				return err
			}
			all = append(all, o)
		}
		return nil
	})
	return all, err
}

func pastRuns(tx Tx, policy string, limit int) (views []RunView, err error) {
	if limit <= 0 {
		return nil, nil
	}
	runs, err := tx.Runs(policy, limit)
	if err != nil {
		return nil, err
	}
	for _, run := range runs {
		v, err := viewOf(tx, run)
		if err != nil {
			return nil, err
		}
		views = append(views, v)
	}
	return views, nil
}

// nextRun is when the policy runs next.
func (p Policy) nextRun(state PolicyState, now time.Time) time.Time {
	step := p.step(state, now)
	if step.begins {
		return now
	}
	if p.Schedule.Next(step.state.Last).IsZero() {
		return time.Time{}
	}
	return step.next
}

// Policies are the names of the scheduled policies, in the configuration's order.
func (s *Service) Policies() (names []string) {
	for _, p := range s.policies {
		names = append(names, p.Name)
	}
	return names
}

// Fights are the policies in force that work against each other.
func (s *Service) Fights() []string { return Fights(s.policies) }

// Foresight is what a scheduled policy says of one app now, and when it runs next.
type Foresight struct {
	Decision
	Next time.Time
	From string
}

// foresee asks the policies that could release the app to the environment.
func (s *Service) foresee(tx Tx, app, env string) (all []Foresight, err error) {
	states, err := tx.PolicyStates()
	if err != nil {
		return nil, err
	}
	sv := newSurvey(tx)
	for _, p := range s.policies {
		if p.To != env || !p.Apps.Match(app) {
			continue
		}
		candidate, err := sv.candidate(p, app)
		if err != nil {
			return nil, err
		}
		var state PolicyState
		if i := slices.IndexFunc(states, func(st PolicyState) bool { return st.Name == p.Name }); i >= 0 {
			state = states[i]
		}
		all = append(all, Foresight{Decision: p.Decide(&candidate, s.now()), Next: p.nextRun(state, s.now()), From: p.From.String()})
	}
	slices.SortStableFunc(all, func(a, b Foresight) int { return a.Next.Compare(b.Next) })
	return all, nil
}
