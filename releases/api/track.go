package api

import (
	"net/http"

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
	return http.StatusOK, follow(found), nil
}

func (s *Server) trackArtifact(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	params := query{values: r.URL.Query()}
	id := params.required("artifactId")
	if params.err != nil {
		return 0, nil, params.err
	}
	if _, err := s.service.Artifact(r.Context(), id); err != nil {
		return 0, nil, err
	}
	found, err := s.service.Releases(r.Context(), releases.ReleaseQuery{ArtifactID: id, Limit: maxTracked})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, follow(found), nil
}

// follow sums the releases up. As long as one is on its way the whole is new, so that clients that wait go on waiting.
func follow(found []releases.Release) track {
	t := track{Status: "processed", Results: []result{}}
	for _, r := range found {
		one := result{App: r.App, Env: r.Env, Hash: r.Commit, Status: "success", StatusDesc: r.Reason, GitopsCommitStatus: reconciled}
		switch {
		case r.Status.Open():
			t.Status, t.StatusDesc = "new", r.Reason
			continue
		case r.Status != releases.Published && r.Status != releases.Unchanged:
			one.Status, one.GitopsCommitStatus = "failure", "N/A"
		}
		t.Results = append(t.Results, one)
	}
	return t
}
