package releases

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Rollout is what a cluster has told of the rollout of a commit in an environment.
type Rollout struct {
	Env    string
	Commit string // of the GitOps repository
	Health Health
	Detail string
	By     Actor
}

// RolledOut notes what a cluster has told of a commit on what is live in the environment and in that commit; without a Health only what
// was said. A failure is that of what nobody has said to be healthy. It returns how many apps it concerns.
func (s *Service) RolledOut(ctx context.Context, r Rollout) (concerned int, err error) {
	env, err := s.environment(r.Env)
	if err != nil {
		return 0, err
	}
	if len(r.By.Repositories) > 0 {
		return 0, Errorf(NotAllowed, "this token speaks for %s only, and a cluster for all apps of %s", strings.Join(r.By.Repositories, ", "), env.Name)
	}
	if r.By, err = s.mayShip(ctx, []Target{{App: AllApps, Env: env.Name}}, r.By); err != nil {
		return 0, err
	}
	said := Redact(r.Detail)
	said = strings.ToValidUTF8(said[:min(maxSaid, len(said))], "")
	var lives []Live
	err = s.store.View(ctx, func(tx Tx) error {
		all, err := tx.Lives(env.Name)
		if err != nil {
			return err
		}
		for _, l := range all {
			if l.Commit == "" || l.Health == Healthy || (r.Health == "" && l.Health == Unhealthy) {
				continue // what is known says more
			}
			wrote, err := tx.Release(l.ReleaseID)
			if err != nil {
				return err
			}
			if same := wrote.RolloutSaid == said && (r.Health == "" || r.Health == l.Health); !same { // Flux says it again and again
				lives = append(lives, l)
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	var commits []string
	for _, l := range lives {
		commits = append(commits, l.Commit)
	}
	if len(commits) == 0 {
		return 0, nil
	}
	within, err := s.repositories[env.Repository].Contains(ctx, r.Commit, commits)
	if err != nil {
		return 0, err
	}
	changed := false
	err = s.store.Update(ctx, func(tx Tx) error {
		concerned, changed = 0, false
		for _, l := range lives {
			now, err := tx.Live(l.App, l.Env)
			if err != nil {
				return err
			}
			if now == nil || now.ReleaseID != l.ReleaseID || !within[l.Commit] {
				continue
			}
			concerned++
			wrote, err := tx.Release(now.ReleaseID)
			if err != nil {
				return err
			}
			wrote.RolloutSaid = said
			if r.Health != "" && r.Health != now.Health {
				now.Health, wrote.Rollout, changed = r.Health, r.Health, true
			}
			if err := errors.Join(tx.PutLive(*now), tx.PutRelease(wrote)); err != nil {
				return err
			}
		}
		if !changed {
			return nil
		}
		record := s.by(r.By, "rollout."+string(r.Health))
		record.Env, record.Commit, record.Detail = env.Name, r.Commit, fmt.Sprintf("%d apps; %s", concerned, said)
		return s.record(tx, record)
	})
	if err == nil && changed {
		s.log.Info("rollout "+string(r.Health), "env", env.Name, "commit", r.Commit, "apps", concerned)
		poke(s.scheduling)
	}
	return concerned, err
}

// maxSaid is how much is kept of what a cluster says of a rollout, in bytes.
const maxSaid = 1000
