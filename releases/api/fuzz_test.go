package api

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"gimletd/releases"
)

func FuzzFluxEvent(f *testing.F) {
	sha := strings.Repeat("0a", 20)
	for _, revision := range []string{"main/" + sha, "main@sha1:" + sha, "main:" + sha, "feature/x/" + sha, sha, "x" + sha, ""} {
		f.Add([]byte(`{"reason": "ReconciliationSucceeded", "metadata": {"a/revision": "` + revision + `"}}`))
	}
	f.Add([]byte(`{"metadata": null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var e fluxEvent
		if json.Unmarshal(body, &e) != nil {
			return
		}
		if commit := e.commit(); commit != "" && ((len(commit) != 40 && len(commit) != 64) || strings.Trim(commit, "0123456789abcdef") != "") {
			t.Errorf("%s is said to be of commit %q", body, commit)
		}
	})
}

// FuzzToken has headers and tokens that nobody has made. None of them lets anybody in.
func FuzzToken(f *testing.F) {
	f.Add("Bearer gimletd_abc")
	f.Add("bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2NpLmV4YW1wbGUifQ.")
	f.Add("Bearer a.eyJpc3MiOiJodHRwczovL2NpLmV4YW1wbGUifQ.c")
	f.Add("Basic YTpi")
	down := &http.Client{Transport: refusing{}}
	s := New(nobodysTokens{}, Config{AdminToken: "only this", Issuers: []Issuer{{Name: "ci", URL: "https://ci.example", Audience: "us", Claim: "repository"}}}, nil, slog.New(slog.DiscardHandler))
	f.Fuzz(func(t *testing.T, header string) {
		s.issuers = newIssuers(s.config.Issuers, down, time.Now)
		s.attempts = newAttempts()
		r := &http.Request{URL: &url.URL{Path: "/api/status"}, Header: http.Header{"Authorization": {header}}, RemoteAddr: "127.0.0.1:1"}
		actor, err := s.authenticate(r)
		if _, token, _ := strings.Cut(header, " "); err == nil && token != "only this" {
			t.Errorf("%q is %+v", header, actor)
		}
	})
}

// refusing is an issuer that is away.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

// nobodysTokens are none.
type nobodysTokens struct{ Service }

func (nobodysTokens) TokenOf(context.Context, string) (*releases.Token, error) {
	return nil, releases.Errorf(releases.NotAllowed, "the token is not known")
}

// FuzzHooks has git hosts' calls that are signed say anything.
func FuzzHooks(f *testing.F) {
	f.Add([]byte(`{"ref": "x", "ref_type": "branch", "repository": {"full_name": "acme/web"}}`), false)
	f.Add([]byte(`payload=%7B%22ref%22%3A%22x%22%7D`), true)
	f.Add([]byte(`{"ref": "refs/heads/a", "after": "000", "project": {"path_with_namespace": "acme/web"}}`), false)
	s := New(nil, Config{Webhooks: WebhookConfig{GitHub: "a secret", GitLab: "a token"}}, nil, slog.New(slog.DiscardHandler))
	f.Fuzz(func(t *testing.T, body []byte, form bool) {
		kind := "application/json"
		if form {
			kind = "application/x-www-form-urlencoded"
		}
		github := &http.Request{Header: http.Header{"X-Github-Event": {"delete"}, "Content-Type": {kind}, "X-Hub-Signature-256": {"sha256=" + hmacOf("a secret", body)}}}
		gitlab := &http.Request{Header: http.Header{"X-Gitlab-Event": {"Push Hook"}, "X-Gitlab-Token": {"a token"}}}
		for _, heard := range []func() (*releases.Deletion, error){
			func() (*releases.Deletion, error) { return s.fromGitHub(github, body) }, func() (*releases.Deletion, error) { return s.fromGitLab(gitlab, body) },
		} {
			d, err := heard()
			if err != nil && releases.KindOf(err) != releases.Invalid {
				t.Errorf("%q: %v", body, err)
			}
			if d != nil && (d.Delivery == "" || d.By.Via != releases.ViaWebhook) {
				t.Errorf("%q: %+v", body, d)
			}
		}
	})
}
