package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// description is the API's, in which the calls of all tests are looked up.
type description struct {
	*openapi3.T
	routers.Router
}

var described = sync.OnceValues(func() (d description, err error) {
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/yaml", openapi3filter.PlainBodyDecoder)
	text, err := os.ReadFile("releases/api/openapi.yaml")
	if err != nil {
		return d, err
	}
	if d.T, err = openapi3.NewLoader().LoadFromData(text); err != nil {
		return d, err
	}
	d.Router, err = legacy.NewRouter(d.T)
	return d, err
})

// asDescribed returns the operation that a call was of, and an error unless the answer is as the description says, and, where the
// server did what was asked for, the question, too.
func asDescribed(req *http.Request, body []byte, res *http.Response, answer []byte) (operation string, err error) {
	api, err := described()
	if err != nil {
		return "", err
	}
	route, params, err := api.FindRoute(req)
	if err != nil {
		if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusMethodNotAllowed {
			return "", nil
		}
		return "", fmt.Errorf("%s %s was answered with %d and is not described: %w", req.Method, req.URL.Path, res.StatusCode, err)
	}
	asked := req.Clone(req.Context())
	asked.Body = io.NopCloser(bytes.NewReader(body))
	options := &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}
	question := &openapi3filter.RequestValidationInput{Request: asked, PathParams: params, Route: route, Options: options}
	if res.StatusCode < 300 {
		if err := openapi3filter.ValidateRequest(req.Context(), question); err != nil {
			return "", fmt.Errorf("%s %s was done, and is not as described: %w", req.Method, req.URL, err)
		}
	}
	said := &openapi3filter.ResponseValidationInput{RequestValidationInput: question, Status: res.StatusCode, Header: res.Header, Options: options}
	if err := openapi3filter.ValidateResponse(req.Context(), said.SetBodyBytes(answer)); err != nil {
		return "", fmt.Errorf("the answer %d to %s %s is not as described: %w", res.StatusCode, req.Method, req.URL, err)
	}
	return req.Method + " " + route.Path, nil
}

// TestTheDocumentHoldsForEveryCall makes each call of the description so that it succeeds. The harness compares the answers.
func TestTheDocumentHoldsForEveryCall(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	w.chat = `environments:
  - {name: staging, channels: [console], rollout: flux}
  - {name: production, channels: [console], approval: {count: 1, from: [managers]}}
people: [{name: grace, email: grace@example.com}, {name: heidi, email: heidi@example.com}, {name: ada, email: ada@example.com}]
roles: [{name: managers, members: [grace@example.com, heidi@example.com, ada@example.com], can: [release, approve, break-glass]}]
webhooks: {github: {secret: %s}, gitlab: {secretToken: %s}}
policies:
  - {name: nightly, from: {environment: staging}, to: production, schedule: "0 3 * * *", timezone: UTC}
`
	w.chat = fmt.Sprintf(w.chat, gitHubSecret, gitLabToken)
	s := w.start()
	tokens := map[string]string{"": adminToken}
	as := func(who, method, path, body string) (answer struct{ ID, Token string }) {
		t.Helper()
		status, text, err := s.callAs(tokens[who], method, path, []byte(body))
		if err != nil || status >= 300 {
			t.Errorf("%s %s: %d %s %v", method, path, status, text, err)
		}
		_ = json.Unmarshal(text, &answer) // where there is such a thing
		s.typed("# settled?")
		return answer
	}
	do := func(method, path, body string) string { t.Helper(); return as("", method, path, body).ID }
	ship := func(sha string) string {
		return do("POST", "/api/artifact", string(w.artifact("web", long(sha), func(a map[string]any) {
			a["environments"].([]any)[0].(map[string]any)["cleanup"] = map[string]string{"app": "web", "event": "branchDeleted", "branch": "feature/*"}
		})))
	}
	for _, who := range []string{"grace", "heidi", "ada"} {
		tokens[who] = as("", "POST", "/api/tokens", fmt.Sprintf(`{"name": %q, "person": "%s@example.com", "repositories": ["acme/*"], "expires": %q}`, who, who, time.Now().Add(time.Hour).Format(time.RFC3339))).Token
	}
	newest := func(env string) (found struct{ ID, GitopsRef string }) {
		t.Helper()
		var all []struct{ ID, GitopsRef string }
		get(t, s, "/api/releases?status=any&env="+env, &all)
		if len(all) == 0 {
			t.Fatalf("nothing was asked for in %s", env)
		}
		return all[0]
	}

	first := ship("1111111") // goes to staging by itself
	commit := newest("staging").GitopsRef
	second := ship("2222222")
	do("GET", "/api/artifacts?limit=1&event=push&sha="+long("1111111"), "")
	do("GET", "/api/eventArtifactTrack?artifactId="+second, "")
	do("POST", "/api/releases?dryRun=true", fmt.Sprintf(`{"env": "production", "artifactId": %q}`, first))
	asked := func(who, id string) (request, release string) {
		request = as(who, "POST", "/api/releases", fmt.Sprintf(`{"env": "production", "app": "web", "artifactId": %q}`, id)).ID
		return request, newest("production").ID
	}
	request, release := asked("ada", first)
	do("GET", "/api/releases/"+release, "")
	as("grace", "POST", "/api/releases/"+release+"/approve", `{"reason": "fine"}`)
	for _, path := range []string{"/api/eventReleaseTrack?id=" + request, "/api/event?id=" + request, "/api/status?env=production", "/api/gitopsRepo", "/api/gitopsCommits"} {
		do("GET", path, "")
	}
	_, release = asked("ada", second)
	as("grace", "POST", "/api/releases/"+release+"/reject", `{"reason": "no"}`)
	_, release = asked("ada", second)
	do("POST", "/api/releases/"+release+"/cancel", `{"reason": "no"}`)
	_, release = asked("ada", second)
	as("grace", "POST", "/api/releases/"+release+"/break-glass", `{"reason": "it burns"}`)
	as("heidi", "POST", "/api/releases/"+release+"/break-glass", `{}`)
	as("ada", "POST", "/api/releases/"+release+"/sign-off", `{"reason": "it was needed"}`)

	do("POST", "/api/flux-events?env=staging", fmt.Sprintf(`{"reason": "ReconciliationSucceeded", "metadata": {"revision": "main@sha1:%s"}}`, newest("staging").GitopsRef))
	do("GET", "/api/policies", "")
	do("POST", "/api/policies/forecast?days=2", "")
	do("POST", "/api/policies/backtest?days=2", "")
	do("POST", "/api/rollback?env=staging&app=web&sha="+commit, "")
	do("DELETE", "/api/holds?app=web&env=staging", "")
	do("POST", "/api/holds", `{"app": "web", "env": "staging", "reason": "a look"}`)
	until := time.Now().Add(time.Hour).Format(time.RFC3339)
	do("POST", "/api/locks", fmt.Sprintf(`{"app": "web", "env": "staging", "until": %q, "reason": "a look"}`, until))
	do("GET", "/api/locks", "")
	do("DELETE", "/api/locks?app=web&env=staging", "")
	do("POST", "/api/freezes", fmt.Sprintf(`{"env": "*", "until": %q, "reason": "a holiday"}`, until))
	do("GET", "/api/freezes?env=staging", "")
	do("DELETE", "/api/freezes?env=*", "")
	do("POST", "/api/marks", fmt.Sprintf(`{"artifactId": %q, "reason": "it leaks"}`, second))
	do("GET", "/api/marks", "")
	do("DELETE", "/api/marks?reason=mended&artifactId="+second, "")
	do("POST", "/api/branch-deleted", `{"repository": "acme/web", "branch": "feature/1"}`)
	s.hook("/webhooks/gitlab", []byte("{}"), map[string]string{"X-Gitlab-Event": "Issue Hook", "X-Gitlab-Token": gitLabToken})
	gone := []byte(`{"ref": "feature/2", "ref_type": "branch", "repository": {"full_name": "acme/web"}}`)
	s.hook("/webhooks/github", gone, map[string]string{"X-GitHub-Event": "delete", "X-Hub-Signature-256": sign(gitHubSecret, gone)})
	do("POST", "/api/delete?env=staging&app=web", "")

	do("POST", "/api/user", `{"login": "old-ci"}`)
	for _, path := range []string{"/api/users", "/api/user", "/api/user/old-ci", "/api/tokens", "/api/audit?limit=5", "/api/openapi.json"} {
		do("GET", path, "")
	}
	do("DELETE", "/api/user/old-ci", "")
	do("DELETE", "/api/tokens/heidi", "")
	s.stop()

	api, err := described()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range api.Paths.Map() {
		for method := range item.Operations() {
			if _, made := s.made.Load(method + " " + path); !made {
				t.Errorf("%s %s was not made, or did not succeed", method, path)
			}
		}
	}
}
