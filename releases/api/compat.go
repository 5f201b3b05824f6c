package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"gimletd/releases"
)

// Calls of Gimlet's clients that have no other place here.

// EnvironmentConfig is what clients are told of an environment.
type EnvironmentConfig struct {
	Repository string // the URL of its GitOps repository, without what is secret in it
	Feedback   bool   // whether somebody tells how rollouts went
}

// RepositoryURL is a repository's URL without credentials.
func RepositoryURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" {
		return text // of the form user@host:path, or a local path
	}
	u.User = nil
	return u.String()
}

// What clients that wait look for, as Flux calls it. An environment of whose rollouts nobody tells has succeeded once the commit is
// in the repository.
const (
	reconciled    = "ReconciliationSucceeded"
	notReconciled = "NotReconciled"
	failedRollout = "ReconciliationFailed"
)

// rollouts tells how releases were rolled out, each environment read once.
type rollouts struct {
	*Server
	lives map[string]map[string]releases.Live
}

func (s *Server) rollouts() rollouts {
	return rollouts{s, map[string]map[string]releases.Live{}}
}

// of is how a release was rolled out, with what there is to say about it.
func (r rollouts) of(ctx context.Context, one releases.Release) (status, desc string, err error) {
	if !r.config.Environments[one.Env].Feedback {
		return reconciled, "", nil
	}
	if r.lives[one.Env] == nil {
		states, err := r.service.Status(ctx, one.Env, "")
		if err != nil {
			return "", "", err
		}
		r.lives[one.Env] = map[string]releases.Live{}
		for _, s := range states {
			if s.Live != nil {
				r.lives[one.Env][s.App] = *s.Live
			}
		}
	}
	live, there := r.lives[one.Env][one.App]
	health := one.Rollout
	// What was there already was rolled out by another release; and of old ones only what is live was told of.
	if one.Status == releases.Unchanged || (health == "" && live.ReleaseID == one.ID) {
		health = live.Health
	}
	switch {
	case health == releases.Healthy:
		return reconciled, one.RolloutSaid, nil
	case health == releases.Unhealthy:
		return failedRollout, one.RolloutSaid, nil
	case one.Kind == releases.KindCleanup || !there:
		return reconciled, "it is gone; nobody tells of what is not there", nil
	case one.Status == releases.Published && live.ReleaseID != one.ID:
		return reconciled, "another release took its place before its rollout was told of", nil
	}
	return notReconciled, one.RolloutSaid, nil
}

// postDelete takes away what is live of an app.
func (s *Server) postDelete(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	params := query{values: r.URL.Query()}
	ask := releases.RemoveAsk{Env: params.required("env"), App: params.required("app"), By: caller(r)}
	if params.err != nil {
		return 0, nil, params.err
	}
	made, err := s.service.Remove(r.Context(), ask)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]string{"id": made.Request}, nil
}

// event is what became of a request, as clients before 0.16 read it.
type event struct {
	Status       string       `json:"status"`
	StatusDesc   string       `json:"statusDesc"`
	GitopsHashes []gitopsHash `json:"gitopsHashes"`
}

type gitopsHash struct {
	Hash       string `json:"hash"`
	Status     string `json:"status"`
	StatusDesc string `json:"statusDesc,omitempty"`
}

func (s *Server) getEvent(w http.ResponseWriter, r *http.Request) (int, any, error) {
	status, body, err := s.trackRelease(w, r)
	t, ok := body.(track)
	if err != nil || !ok {
		return status, body, err
	}
	e := event{Status: t.Status, StatusDesc: t.StatusDesc, GitopsHashes: []gitopsHash{}}
	for _, one := range t.Results {
		if one.Hash != "" {
			e.GitopsHashes = append(e.GitopsHashes, gitopsHash{Hash: one.Hash, Status: one.GitopsCommitStatus, StatusDesc: one.StatusDesc})
		}
		if one.Status == failure { // they know no other way to say so
			e.Status, e.StatusDesc = "error", one.StatusDesc
		}
	}
	return http.StatusOK, e, nil
}

// getGitopsRepo names the repository that releases are written to; of several, the first environment's.
func (s *Server) getGitopsRepo(http.ResponseWriter, *http.Request) (int, any, error) {
	names := make([]string, 0, len(s.config.Environments))
	for name := range s.config.Environments {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return http.StatusOK, map[string]string{"gitopsRepo": ""}, nil
	}
	return http.StatusOK, map[string]string{"gitopsRepo": s.config.Environments[names[0]].Repository}, nil
}

// gitopsCommit is a commit of ours.
type gitopsCommit struct {
	SHA        string `json:"sha"`
	Status     string `json:"status"`
	StatusDesc string `json:"statusDesc,omitempty"`
	Created    int64  `json:"created"`
	Env        string `json:"env"`
}

// getGitopsCommits lists the newest commits.
func (s *Server) getGitopsCommits(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	const newest = 20
	found, err := s.service.Releases(r.Context(), releases.ReleaseQuery{Within: caller(r).Repositories, Statuses: []releases.Status{releases.Published}, Limit: newest})
	if err != nil {
		return 0, nil, err
	}
	all, rolled := make([]gitopsCommit, 0, len(found)), s.rollouts()
	for _, one := range found {
		status, desc, err := rolled.of(r.Context(), one)
		if err != nil {
			return 0, nil, err
		}
		all = append(all, gitopsCommit{SHA: one.Commit, Status: status, StatusDesc: desc, Created: one.Updated.Unix(), Env: one.Env})
	}
	return http.StatusOK, all, nil
}

// account is a user as Gimlet's clients know them: here, a token.
type account struct {
	Login string `json:"login"`
	Token string `json:"token,omitempty"`
	Admin bool   `json:"admin"`
}

// users are the admin and the tokens, for the admin.
func (s *Server) users(r *http.Request) ([]account, error) {
	if !caller(r).Root {
		return nil, releases.Errorf(releases.NotAllowed, "only the admin token may list users")
	}
	all, err := s.service.Tokens(r.Context())
	users := []account{{Login: releases.Admin().Name, Admin: true}}
	for _, t := range all {
		users = append(users, account{Login: t.Name})
	}
	return users, err
}

func (s *Server) getUsers(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	all, err := s.users(r)
	if err != nil {
		return 0, nil, err
	}
	page, err := cut(r, all)
	return http.StatusOK, page, err
}

// getUser returns one of them, or, without a name, who calls. Its token cannot be read back.
func (s *Server) getUser(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	login := strings.ToLower(r.PathValue("login"))
	if login == "" {
		by := caller(r)
		return http.StatusOK, account{Login: by.Name, Admin: by.Root}, nil
	}
	users, err := s.users(r)
	if err != nil {
		return 0, nil, err
	}
	if i := slices.IndexFunc(users, func(a account) bool { return a.Login == login }); i >= 0 {
		return http.StatusOK, users[i], nil
	}
	return 0, nil, releases.Errorf(releases.NotFound, "there is no user %q", login)
}

// postUser makes a token of that name. What it may do its roles say.
func (s *Server) postUser(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	body, err := decode[account](r)
	if err == nil && body.Admin {
		err = releases.Errorf(releases.Invalid, "admin: there is one admin token, that of the configuration; give token:%s a role instead", body.Login)
	}
	if err != nil {
		return 0, nil, err
	}
	secret, err := s.service.CreateToken(r.Context(), releases.Token{Name: strings.ToLower(body.Login)}, caller(r))
	return http.StatusCreated, account{Login: strings.ToLower(body.Login), Token: secret}, err
}

func (s *Server) deleteUser(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	login := strings.ToLower(r.PathValue("login"))
	return http.StatusOK, account{Login: login}, s.service.RevokeToken(r.Context(), login, caller(r))
}
