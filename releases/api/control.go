package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"gimletd/releases"
)

// decode reads the body into a value; unknown fields are refused.
func decode[T any](r *http.Request) (value T, err error) {
	text, err := read(r)
	if err != nil {
		return value, err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return value, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&value); err != nil {
		return value, releases.Wrap(releases.Invalid, err, "the body cannot be read")
	}
	return value, nil
}

// needed refuses a body in which a field is missing.
func needed(pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			return releases.Errorf(releases.Invalid, "%s: missing", pairs[i])
		}
	}
	return nil
}

// shown is a release as it stands.
type shown struct {
	ID          string           `json:"id"`
	Kind        string           `json:"kind"`
	App         string           `json:"app"`
	Env         string           `json:"env"`
	ArtifactID  string           `json:"artifactId"`
	Version     releases.Version `json:"version"`
	Status      releases.Status  `json:"status"`
	Reason      string           `json:"reason,omitempty"`
	Waits       []releases.Block `json:"waits,omitempty"` // for what
	RequestedBy string           `json:"requestedBy"`
	ApprovedBy  []string         `json:"approvedBy,omitempty"`
	Plan        string           `json:"plan,omitempty"` // its digest, for votes
	Changes     []string         `json:"changes,omitempty"`
	Recipe      *releases.Recipe `json:"recipe,omitempty"` // what it was rendered from
	Commit      string           `json:"commit,omitempty"`
	Created     time.Time        `json:"created"`
	Updated     time.Time        `json:"updated"`
}

func show(r releases.Release) shown {
	s := shown{
		ID: r.ID, Kind: r.Kind, App: r.App, Env: r.Env, ArtifactID: r.ArtifactID, Version: r.Version, Status: r.Status, Reason: r.Reason,
		Waits: r.Blocks, RequestedBy: r.RequestedBy.Name, Commit: r.Commit, Created: r.Created, Updated: r.Updated,
	}
	for _, v := range r.Approvals() {
		s.ApprovedBy = append(s.ApprovedBy, v.Name())
	}
	if r.Plan != nil {
		s.Plan, s.Recipe = r.Plan.Digest, r.Plan.Recipe
		for _, c := range r.Plan.Changes {
			s.Changes = append(s.Changes, c.String())
		}
	}
	return s
}

func (s *Server) getRelease(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	found, err := s.service.Release(r.Context(), r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, show(found), caller(r).SpeaksFor(found.Version.RepositoryName)
}

// said is what somebody says of a release.
type said struct {
	Reason string `json:"reason"`
	Plan   string `json:"plan"` // the digest of the plan that they saw, or its beginning; any without
}

// vote takes an approval or a rejection.
func (s *Server) vote(yes bool) call {
	return func(_ http.ResponseWriter, r *http.Request) (int, any, error) {
		body, err := decode[said](r)
		if err != nil {
			return 0, nil, err
		}
		after, err := s.service.Vote(r.Context(), releases.Ballot{ReleaseID: r.PathValue("id"), Digest: body.Plan, Yes: yes, Reason: body.Reason, By: caller(r)})
		return http.StatusOK, show(after), err
	}
}

func (s *Server) postCancel(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	body, err := decode[said](r)
	if err != nil {
		return 0, nil, err
	}
	after, err := s.service.Cancel(r.Context(), r.PathValue("id"), body.Reason, caller(r), time.Time{})
	return http.StatusOK, show(after), err
}

func (s *Server) postBreakGlass(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	body, err := decode[said](r)
	if err != nil {
		return 0, nil, err
	}
	after, err := s.service.BreakGlass(r.Context(), releases.GlassAsk{ReleaseID: r.PathValue("id"), Digest: body.Plan, Reason: body.Reason, By: caller(r)})
	return http.StatusOK, show(after), err
}

func (s *Server) postSignOff(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	body, err := decode[said](r)
	if err != nil {
		return 0, nil, err
	}
	review, err := s.service.SignOff(r.Context(), r.PathValue("id"), body.Reason, caller(r), time.Time{})
	return http.StatusOK, review, err
}

func (s *Server) getLocks(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	all, err := s.service.Locks(r.Context())
	if err != nil {
		return 0, nil, err
	}
	page, err := cut(r, all)
	return http.StatusOK, page, err
}

// list is never null.
func list[T any](all []T) []T { return append([]T{}, all...) }

func (s *Server) postLock(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	body, err := decode[struct {
		App    string    `json:"app"` // * is the whole environment
		Env    string    `json:"env"`
		Until  time.Time `json:"until"`
		Reason string    `json:"reason"`
		Take   bool      `json:"take"` // from whoever has it
	}](r)
	if err == nil {
		err = needed("app", body.App, "env", body.Env)
	}
	if err != nil {
		return 0, nil, err
	}
	lock, err := s.service.Lock(r.Context(), releases.LockAsk{App: body.App, Env: body.Env, Until: body.Until, Reason: body.Reason, Take: body.Take, By: caller(r)})
	return http.StatusCreated, lock, err
}

func (s *Server) deleteLock(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	params := query{values: r.URL.Query()}
	ask := releases.LockAsk{App: params.required("app"), Env: params.required("env"), Reason: params.text("reason"), Take: params.text("take") == "true", By: caller(r)}
	if params.err != nil {
		return 0, nil, params.err
	}
	lock, err := s.service.Unlock(r.Context(), ask)
	return http.StatusOK, lock, err
}

func (s *Server) getFreezes(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	params := query{values: r.URL.Query()}
	env := params.required("env")
	if params.err != nil {
		return 0, nil, params.err
	}
	on, next, err := s.service.Freezes(r.Context(), env)
	return http.StatusOK, struct {
		On   []releases.Freeze `json:"on"`
		Next *releases.Freeze  `json:"next,omitempty"`
	}{list(on), next}, err
}

func (s *Server) postFreeze(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	body, err := decode[struct {
		Env    string    `json:"env"` // * is all of them
		Until  time.Time `json:"until"`
		Reason string    `json:"reason"`
	}](r)
	if err == nil {
		err = needed("env", body.Env)
	}
	if err != nil {
		return 0, nil, err
	}
	made, err := s.service.Freeze(r.Context(), releases.FreezeAsk{Env: body.Env, Until: body.Until, Reason: body.Reason, By: caller(r)})
	return http.StatusCreated, list(made), err
}

func (s *Server) deleteFreeze(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	params := query{values: r.URL.Query()}
	ask := releases.FreezeAsk{Env: params.required("env"), ID: params.text("id"), By: caller(r)}
	if params.err != nil {
		return 0, nil, params.err
	}
	ended, err := s.service.Unfreeze(r.Context(), ask)
	return http.StatusOK, list(ended), err
}

func (s *Server) postHold(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	body, err := decode[struct {
		App    string `json:"app"`
		Env    string `json:"env"`
		Reason string `json:"reason"`
	}](r)
	if err == nil {
		err = needed("app", body.App, "env", body.Env)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, body, s.service.Hold(r.Context(), body.App, body.Env, body.Reason, caller(r), time.Time{})
}

func (s *Server) deleteHold(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	params := query{values: r.URL.Query()}
	app, env := params.required("app"), params.required("env")
	if params.err != nil {
		return 0, nil, params.err
	}
	return http.StatusOK, map[string]string{"app": app, "env": env}, s.service.Resume(r.Context(), app, env, caller(r), time.Time{})
}

func (s *Server) getMarks(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	all, err := s.service.Marks(r.Context())
	if err != nil {
		return 0, nil, err
	}
	all = slices.DeleteFunc(all, func(m releases.Mark) bool { return caller(r).SpeaksFor(m.Version.RepositoryName) != nil })
	page, err := cut(r, all)
	return http.StatusOK, page, err
}

func (s *Server) postMark(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	body, err := decode[struct {
		ArtifactID string `json:"artifactId"`
		Reason     string `json:"reason"`
	}](r)
	if err == nil {
		err = needed("artifactId", body.ArtifactID)
	}
	if err != nil {
		return 0, nil, err
	}
	mark, err := s.service.MarkBad(r.Context(), releases.MarkAsk{ArtifactID: body.ArtifactID, Reason: body.Reason, By: caller(r)})
	return http.StatusCreated, mark, err
}

func (s *Server) deleteMark(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	params := query{values: r.URL.Query()}
	ask := releases.MarkAsk{ArtifactID: params.required("artifactId"), Reason: params.text("reason"), By: caller(r)}
	if params.err != nil {
		return 0, nil, params.err
	}
	mark, err := s.service.ClearMark(r.Context(), ask)
	return http.StatusOK, mark, err
}

// speaksForAll refuses a token of some source repositories.
func speaksForAll(r *http.Request) error {
	if only := caller(r).Repositories; len(only) > 0 {
		return releases.Errorf(releases.NotAllowed, "this token speaks for %s only, and %s is about all", strings.Join(only, ", "), r.URL.Path)
	}
	return nil
}

// maxRecords is how many records of the audit one call returns.
const maxRecords = 1000

// getAudit returns records as they are stored, one on a line, and the audit's head in a header.
func (s *Server) getAudit(w http.ResponseWriter, r *http.Request) (int, any, error) {
	params := query{values: r.URL.Query()}
	if err := speaksForAll(r); err != nil {
		return 0, nil, err
	}
	const most = 1 << 62
	after, limit := params.number("after", most), params.number("limit", maxRecords)
	if params.err != nil {
		return 0, nil, params.err
	}
	if limit == 0 {
		limit = maxRecords
	}
	records, head, err := s.service.AuditLines(r.Context(), uint64(after), limit)
	if err != nil {
		return 0, nil, err
	}
	w.Header().Set(HeadHeader, releases.Record{Seq: head.Seq, Hash: head.Hash}.Head())
	return http.StatusOK, lines(records), nil
}

// HeadHeader names the header with the audit's head.
const HeadHeader = "Audit-Head"

// lines is an answer of one JSON value on each line.
type lines [][]byte

func (s *Server) getTokens(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	if !caller(r).Root {
		return 0, nil, releases.Errorf(releases.NotAllowed, "only the admin token may list tokens")
	}
	all, err := s.service.Tokens(r.Context())
	if err != nil {
		return 0, nil, err
	}
	for i := range all {
		all[i].Hash = ""
	}
	page, err := cut(r, all)
	return http.StatusOK, page, err
}

func (s *Server) postToken(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	body, err := decode[struct {
		Name    string    `json:"name"`
		Person  string    `json:"person"` // whom it speaks for, by the e-mail address that they have in people
		Expires time.Time `json:"expires"`
		// Repositories are the only ones that it may speak for; any without.
		Repositories []string `json:"repositories"`
	}](r)
	if err != nil {
		return 0, nil, err
	}
	if caller(r).Root && body.Person != "" && s.config.Person != nil && !s.config.Person(body.Person) {
		return 0, nil, releases.Errorf(releases.Invalid, "person: %q is not the e-mail address of anybody in people", body.Person)
	}
	secret, err := s.service.CreateToken(r.Context(), releases.Token{Name: body.Name, Person: body.Person, Expires: body.Expires, Repositories: body.Repositories}, caller(r))
	return http.StatusCreated, map[string]string{"name": body.Name, "token": secret}, err
}

func (s *Server) deleteToken(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	name := r.PathValue("name")
	return http.StatusOK, map[string]string{"name": name}, s.service.RevokeToken(r.Context(), name, caller(r))
}
