package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"gimletd/releases"
)

// listed is a release as clients see it.
type listed struct {
	ID                     string           `json:"id,omitempty"`
	Status                 releases.Status  `json:"status,omitempty"`
	App                    string           `json:"app"`
	Env                    string           `json:"env"`
	ArtifactID             string           `json:"artifactId"`
	TriggeredBy            string           `json:"triggeredBy"`
	Version                releases.Version `json:"version"`
	GitopsRef              string           `json:"gitopsRef"`
	GitopsRepo             string           `json:"gitopsRepo"`
	Created                int64            `json:"created,omitempty"`
	RolledBack             bool             `json:"rolledBack,omitempty"`
	GitopsCommitStatus     string           `json:"gitopsCommitStatus,omitempty"`
	GitopsCommitStatusDesc string           `json:"gitopsCommitStatusDesc,omitempty"`
	GitopsCommitCreated    int64            `json:"gitopsCommitCreated,omitempty"`
}

// postReleases asks for releases. Of who triggers it the token decides, not the body.
func (s *Server) postReleases(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	var body struct {
		Env         string `json:"env"`
		App         string `json:"app"`
		ArtifactID  string `json:"artifactId"`
		TriggeredBy string `json:"triggeredBy"`
	}
	text, err := read(r)
	if err != nil {
		return 0, nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		return 0, nil, releases.Wrap(releases.Invalid, err, "the body is not {env, app, artifactId}")
	}
	for _, field := range []struct{ name, value string }{{"env", body.Env}, {"artifactId", body.ArtifactID}} {
		if field.value == "" {
			return 0, nil, releases.Errorf(releases.Invalid, "%s: missing", field.name)
		}
	}
	ask := releases.Ask{App: body.App, Env: body.Env, ArtifactID: body.ArtifactID, By: caller(r)}
	switch dry := r.URL.Query().Get("dryRun"); dry {
	case "", "false":
	case "true":
		return s.dryRun(r, ask)
	default:
		return 0, nil, releases.Errorf(releases.Invalid, "dryRun: %q is neither true nor false", dry)
	}
	made, err := s.service.Propose(r.Context(), ask)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, map[string]string{"id": made[0].Request, "type": "release"}, nil
}

// foreseen is what a release would be.
type foreseen struct {
	App     string   `json:"app"`
	Env     string   `json:"env"`
	From    string   `json:"from,omitempty"` // the version that is live
	To      string   `json:"to"`
	Changes []string `json:"changes"`
	Diff    string   `json:"diff"`
	Waits   []string `json:"waits"`            // what would keep it back
	Denied  string   `json:"denied,omitempty"` // why it could not be asked for with this token
}

// dryRun answers with what would be released, and releases nothing.
func (s *Server) dryRun(r *http.Request, ask releases.Ask) (int, any, error) {
	found, err := s.service.DryRun(r.Context(), ask)
	if err != nil {
		return 0, nil, err
	}
	all := make([]foreseen, 0, len(found))
	for _, f := range found {
		one := foreseen{App: f.App, Env: f.Env, To: f.Shipped.Version.Short(), Changes: []string{}, Diff: f.Diff, Waits: []string{}}
		if f.Live != nil {
			one.From = f.Live.Version.Short()
		}
		for _, c := range f.Changes {
			one.Changes = append(one.Changes, c.String())
		}
		for _, b := range f.Blocks {
			one.Waits = append(one.Waits, b.Text)
		}
		if f.Denied != nil {
			one.Denied = f.Denied.Error()
		}
		all = append(all, one)
	}
	return http.StatusOK, all, nil
}

func (s *Server) getReleases(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	params := query{values: r.URL.Query()}
	q := releases.ReleaseQuery{
		Env: params.required("env"), App: params.text("app"), Repository: params.text("git-repo"), Within: caller(r).Repositories, Statuses: params.statuses(),
		Since: params.time("since"), Until: params.time("until"), Limit: params.number("limit", maxLimit), Offset: params.number("offset", maxOffset),
	}
	if params.err != nil {
		return 0, nil, params.err
	}
	found, err := s.service.Releases(r.Context(), q)
	if err != nil {
		return 0, nil, err
	}
	all, rolled := make([]listed, 0, len(found)), s.rollouts()
	for _, one := range found {
		l := listed{
			ID: one.ID, Status: one.Status, App: one.App, Env: one.Env, ArtifactID: one.ArtifactID, TriggeredBy: one.TriggeredBy(), Version: readable(one.Version),
			GitopsRef: one.Commit, GitopsRepo: s.config.Environments[one.Env].Repository, Created: one.Created.Unix(), RolledBack: one.RolledBack,
		}
		if one.Status == releases.Published {
			l.GitopsCommitCreated = one.Updated.Unix()
			if l.GitopsCommitStatus, l.GitopsCommitStatusDesc, err = rolled.of(r.Context(), one); err != nil {
				return 0, nil, err
			}
		}
		all = append(all, l)
	}
	return http.StatusOK, all, nil
}

func (s *Server) postRollback(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	params := query{values: r.URL.Query()}
	ask := releases.RollbackAsk{Env: params.required("env"), App: params.required("app"), To: params.required("sha"), By: caller(r)}
	if params.err != nil {
		return 0, nil, params.err
	}
	made, err := s.service.Rollback(r.Context(), ask)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, map[string]string{"id": made.Request}, nil
}

func (s *Server) getStatus(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	params := query{values: r.URL.Query()}
	env, app := params.required("env"), params.text("app")
	if params.err != nil {
		return 0, nil, params.err
	}
	states, err := s.service.Status(r.Context(), env, app)
	if err != nil {
		return 0, nil, err
	}
	apps := map[string]*listed{}
	if app != "" {
		apps[app] = nil
	}
	rolled := s.rollouts()
	for _, st := range states {
		if st.Live != nil && caller(r).SpeaksFor(st.Live.Version.RepositoryName) != nil {
			continue
		}
		apps[st.App] = nil
		if live := st.Live; live != nil {
			wrote := releases.Release{ID: live.ReleaseID, App: live.App, Env: live.Env, Status: releases.Published, Rollout: live.Health}
			status, _, err := rolled.of(r.Context(), wrote)
			if err != nil {
				return 0, nil, err
			}
			apps[st.App] = &listed{
				App: live.App, Env: live.Env, ArtifactID: live.ArtifactID, TriggeredBy: live.By, Version: readable(live.Version), GitopsRef: live.Commit,
				GitopsRepo: s.config.Environments[live.Env].Repository, Created: live.At.Unix(), GitopsCommitStatus: status,
			}
		}
	}
	return http.StatusOK, apps, nil
}

// leastSHA is how many characters of a commit Gimlet's clients cut off without looking.
const leastSHA = 8

// readable is a version that clients can print.
func readable(v releases.Version) releases.Version {
	if n := len(v.SHA); n < leastSHA {
		v.SHA += strings.Repeat("0", leastSHA-n)
	}
	return v
}
