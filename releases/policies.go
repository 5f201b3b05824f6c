package releases

import (
	"context"
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
	v := RunView{Run: *run, Releases: map[string]Release{}}
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
