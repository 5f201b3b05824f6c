package api

import (
	"context"
	"net/http"
	"slices"

	"gimletd/releases"
)

// track says what became of a request or an artifact.
type track struct {
	Status     string   `json:"status"` // new, processed, error
	StatusDesc string   `json:"statusDesc"`
	Results    []result `json:"results"`
}

type result struct {
	App                    string `json:"app"`
	Env                    string `json:"env"`
	Hash                   string `json:"hash"`
	Status                 string `json:"status"` // success, failure
	StatusDesc             string `json:"statusDesc"`
	GitopsCommitStatus     string `json:"gitopsCommitStatus"`
	GitopsCommitStatusDesc string `json:"gitopsCommitStatusDesc"`
}

// failure is the status of a result that makes clients fail.
const failure = "failure"

// maxTracked is how many releases of one request or artifact are followed.
const maxTracked = 1000

func (s *Server) trackRelease(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	params := query{values: r.URL.Query()}
	id := params.required("id")
	if params.err != nil {
		return 0, nil, params.err
	}
	found, err := s.service.Releases(r.Context(), releases.ReleaseQuery{Request: id, Limit: maxTracked})
	if err != nil {
		return 0, nil, err
	}
	if len(found) == 0 {
		one, err := s.service.Release(r.Context(), id)
		if err != nil {
			return 0, nil, err
		}
		found = []releases.Release{one}
	}
	for _, one := range found {
		if err := caller(r).SpeaksFor(one.Version.RepositoryName); err != nil {
			return 0, nil, err
		}
	}
	t, err := s.follow(r.Context(), found)
	return http.StatusOK, t, err
}

func (s *Server) trackArtifact(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	params := query{values: r.URL.Query()}
	id := params.required("artifactId")
	if params.err != nil {
		return 0, nil, params.err
	}
	shipped, err := s.service.Artifact(r.Context(), id)
	if err != nil {
		return 0, nil, err
	}
	if err := caller(r).SpeaksFor(shipped.Version.RepositoryName); err != nil {
		return 0, nil, err
	}
	found, err := s.service.Releases(r.Context(), releases.ReleaseQuery{ArtifactID: id, Limit: maxTracked})
	if err != nil {
		return 0, nil, err
	}
	t, err := s.follow(r.Context(), newestOfEach(found))
	return http.StatusOK, t, err
}

// newestOfEach leaves out what was tried again since.
func newestOfEach(found []releases.Release) []releases.Release {
	seen := map[[2]string]bool{}
	return slices.DeleteFunc(found, func(r releases.Release) bool {
		key := [2]string{r.Env, r.App}
		again := seen[key]
		seen[key] = true
		return again
	})
}

// follow sums the releases up. As long as one is on its way the whole is new, so that clients that wait go on waiting.
func (s *Server) follow(ctx context.Context, found []releases.Release) (track, error) {
	t, rolled := track{Status: "processed", Results: []result{}}, s.rollouts()
	for _, r := range found {
		status, desc, err := rolled.of(ctx, r)
		if err != nil {
			return t, err
		}
		one := result{App: r.App, Env: r.Env, Hash: r.Commit, Status: "success", StatusDesc: r.Reason, GitopsCommitStatus: status, GitopsCommitStatusDesc: desc}
		switch {
		case r.Status.Open():
			t.Status, t.StatusDesc = "new", r.Reason
			continue
		case r.Status != releases.Published && r.Status != releases.Unchanged:
			one.Status, one.GitopsCommitStatus, one.GitopsCommitStatusDesc = failure, "N/A", ""
		}
		t.Results = append(t.Results, one)
	}
	return t, nil
}
