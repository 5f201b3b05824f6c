package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTokensMayWhatTheirRolesMay(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	w.chat = `environments:
  - {name: staging}
  - {name: production, approval: {count: 1, from: [people], not: [requester]}}
people: [{name: Ada, email: ada@example.com}]
roles:
  - {name: ci, members: ["token:ci", "token:brief"], can: [ship, release], environments: [staging]}
  - {name: everywhere, members: ["token:everywhere"], can: [ship]}
  - {name: people, members: [ada@example.com], can: [approve, release]}
`
	s := w.start()
	secrets := map[string]string{}
	create := func(body string) {
		t.Helper()
		status, text, err := s.call(http.MethodPost, "/api/tokens", []byte(body))
		var made struct{ Name, Token string }
		if err != nil || status != http.StatusCreated || json.Unmarshal(text, &made) != nil || len(made.Token) < 50 {
			t.Fatalf("%s: %d %s %v", body, status, text, err)
		}
		secrets[made.Name] = made.Token
	}
	for _, name := range []string{"ci", "everywhere", "nobody", "revoked"} {
		create(fmt.Sprintf(`{"name": %q}`, name))
	}
	create(`{"name": "ada-cli", "person": "ada@example.com"}`)
	create(fmt.Sprintf(`{"name": "brief", "expires": %q}`, time.Now().Add(2*time.Second).Format(time.RFC3339Nano)))
	if status, text, err := s.call(http.MethodDelete, "/api/tokens/revoked", nil); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s %v", status, text, err)
	}
	staging := w.artifact("web", long("1111111"), func(a map[string]any) {
		a["environments"] = a["environments"].([]any)[:1]
		delete(a["environments"].([]any)[0].(map[string]any), "deploy")
	})
	both := w.artifact("web", long("2222222"), nil)
	for _, c := range []struct {
		token, method, path, body string
		status                    int
		says                      string
	}{
		{"nobody", "GET", "/api/status?env=staging", "", 200, ""},
		{"nobody", "POST", "/api/artifact", string(staging), 403, "you may not ship web in staging: needs ci or everywhere"},
		{"ci", "POST", "/api/artifact", string(both), 403, "you may not ship web in production: needs everywhere"},
		{"ci", "POST", "/api/artifact", string(staging), 201, ""},
		{"everywhere", "POST", "/api/artifact", string(both), 201, ""},
		{"revoked", "GET", "/api/status?env=staging", "", 401, "the token is not known"},
		{"ci", "POST", "/api/tokens", `{"name": "more"}`, 403, "only the admin token may make tokens"},
		{"ci", "GET", "/api/tokens", "", 403, "only the admin token may list tokens"},
		{"ci", "DELETE", "/api/tokens/everywhere", "", 403, "only the admin token may revoke tokens"},
		{"", "POST", "/api/tokens", `{"name": "ci"}`, 409, `there is a token "ci"`},
		{"", "POST", "/api/tokens", `{"name": "admin"}`, 400, "name: "},
		{"", "POST", "/api/tokens", `{"name": "A B"}`, 400, "name: "},
		{"", "POST", "/api/tokens", `{"name": "x", "person": "eve@example.com"}`, 400, `person: "eve@example.com" is not the e-mail address of anybody in people`},
		{"", "POST", "/api/tokens", `{"name": "x", "expires": "2020-01-01T00:00:00Z"}`, 400, "expires: "},
		{"", "POST", "/api/tokens", `{"nam": "x"}`, 400, "nam"},
		{"ci", "POST", "/api/locks", `{"app": "web", "env": "staging", "reason": "x"}`, 400, "until: missing"},
		{"ci", "POST", "/api/locks", `{"env": "staging"}`, 400, "app: missing"},
		{"ci", "POST", "/api/holds", `{"app": "web", "env": "staging", "reason": "` + strings.Repeat("x", 2000) + `"}`, 400, "reason: 2000 characters are more than 400"},
		{"ci", "GET", "/api/audit?after=x", "", 400, "after: "},
	} {
		token := adminToken
		if c.token != "" {
			token = secrets[c.token]
		}
		status, text, err := s.callAs(token, c.method, c.path, []byte(c.body))
		if err != nil || status != c.status || !strings.Contains(strings.ReplaceAll(string(text), `\"`, `"`), c.says) {
			t.Errorf("%s %s %s: %d %.300s %v", c.token, c.method, c.path, status, text, err)
		}
	}
	if status, text, _ := s.callAs(adminToken, "GET", "/api/status?env=staging&access_token="+secrets["ci"], nil); status != http.StatusUnauthorized {
		t.Errorf("a token in the URL: %d %s", status, text)
	}
	deadline := time.Now().Add(20 * time.Second)
	for status := 0; status != http.StatusUnauthorized; {
		var text []byte
		if status, text, _ = s.callAs(secrets["brief"], "GET", "/api/status?env=staging", nil); time.Now().After(deadline) {
			t.Fatalf("an expired token: %d %s", status, text)
		}
	}
	s.typed("/gimlet whoami")
	status, audit, err := s.call(http.MethodGet, "/api/audit", nil)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d %v", status, err)
	}
	for _, want := range []string{
		`"action":"artifact.shipped","actor":"nobody","person":"api:nobody/`, `"refused":"you may not ship web in staging`,
		`"action":"token.created","actor":"ci"`, `"action":"token.revoked","actor":"admin"`, `"action":"artifact.shipped","actor":"ci"`,
	} {
		if !strings.Contains(string(audit), want) {
			t.Errorf("the audit does not say %s:\n%s", want, audit)
		}
	}
	s.stop()
	store, err := os.ReadFile(filepath.Join(w.dir, "gimletd.db"))
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range secrets {
		for where, text := range map[string]string{"the store": string(store), "the log": s.log.String(), "the console": s.out.String(), "the audit": string(audit)} {
			if strings.Contains(text, secret) {
				t.Errorf("the secret of %s is in %s", name, where)
			}
		}
	}
}

// TestATokenMaySpeakForSomeRepositoriesOnly ships, and tells of branches, for its own repositories and for others.
func TestATokenMaySpeakForSomeRepositoriesOnly(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	w.extra = "  - {name: guarded, channels: [console], approval: {count: 1}}\nroles:\n  - {name: ci, members: [\"token:web-ci\", \"token:others\"], can: [ship, release, rollback, approve, lock, break-glass]}\npolicies:\n  - {name: nightly, from: {branch: main}, to: staging, schedule: \"0 3 * * *\", timezone: UTC}\n"
	s := w.start()
	status, text, err := s.call(http.MethodPost, "/api/tokens", []byte(`{"name": "web-ci", "repositories": ["acme/web", "acme/site-*"]}`))
	var made struct{ Token string }
	if err != nil || status != http.StatusCreated || json.Unmarshal(text, &made) != nil {
		t.Fatalf("%d %s %v", status, text, err)
	}
	if status, text, err := s.call(http.MethodPost, "/api/tokens", []byte(`{"name": "bad", "repositories": ["["]}`)); err != nil || status != http.StatusBadRequest || !strings.Contains(string(text), "repositories[0]") {
		t.Errorf("%d %s %v", status, text, err)
	}
	of := func(repository string) []byte {
		return w.artifact("web", long("1111111"), func(a map[string]any) {
			a["version"].(map[string]any)["repositoryName"] = repository
			for _, e := range a["environments"].([]any) {
				delete(e.(map[string]any), "deploy")
				e.(map[string]any)["cleanup"] = map[string]string{"app": "web-{{ .BRANCH }}", "event": "branchDeleted", "branch": "*"}
			}
		})
	}
	for repository, want := range map[string]int{"acme/web": 201, "acme/site-a": 201, "acme/api": 403, "other/acme/web": 403} {
		status, text, err := s.callAs(made.Token, http.MethodPost, "/api/artifact", of(repository))
		if err != nil || status != want || (want == 403 && !strings.Contains(string(text), "speaks for acme/web, acme/site-* only, not for "+repository)) {
			t.Errorf("%s: %d %s %v", repository, status, text, err)
		}
	}
	if status, text, err = s.call(http.MethodPost, "/api/tokens", []byte(`{"name": "others", "repositories": ["acme/*", "!acme/web"]}`)); err != nil || status != http.StatusCreated {
		t.Fatalf("%d %s %v", status, text, err)
	}
	var others struct{ Token string }
	if err := json.Unmarshal(text, &others); err != nil {
		t.Fatal(err)
	}
	for repository, want := range map[string]int{"acme/site-a": 200, "acme/web": 403, "evil/x": 403} {
		if status, text, err := s.callAs(others.Token, http.MethodPost, "/api/artifact", of(repository)); err != nil || status != want {
			t.Errorf("%s: %d %s %v", repository, status, text, err)
		}
	}
	api := s.post(of("acme/api"))
	ask := fmt.Sprintf(`{"env":"staging","app":"web","artifactId":%q}`, api)
	if status, text, err := s.call(http.MethodPost, "/api/releases", []byte(ask)); err != nil || status != http.StatusCreated {
		t.Fatalf("%d %s %v", status, text, err)
	}
	s.typed("# settled?")
	const notFor = "speaks for acme/web, acme/site-* only, not for acme/api"
	var theirs []struct{ ID, GitopsRef string }
	get(t, s, "/api/releases?env=staging", &theirs)
	release := "/api/releases/" + theirs[0].ID
	until := time.Now().Add(time.Hour).Format(time.RFC3339)
	for _, c := range []struct{ path, body, says string }{
		{"/api/releases", ask, notFor},
		{"/api/releases?dryRun=true", ask, notFor},
		{release + "/approve", "", notFor},
		{release + "/reject", "", notFor},
		{release + "/cancel", "", notFor},
		{release + "/break-glass", `{"reason": "it burns"}`, notFor},
		{"/api/rollback?env=staging&app=web&sha=" + theirs[0].GitopsRef, "", notFor},
		{"/api/holds", `{"app": "web", "env": "staging", "reason": "a look"}`, notFor},
		{"/api/locks", fmt.Sprintf(`{"app": "web", "env": "staging", "reason": "a look", "until": %q}`, until), notFor},
		{"/api/locks", fmt.Sprintf(`{"app": "*", "env": "staging", "reason": "a look", "until": %q}`, until), "all apps of staging"},
		{"/api/marks", fmt.Sprintf(`{"artifactId": %q, "reason": "it leaks"}`, api), notFor},
		{"/api/delete?env=staging&app=web", "", notFor},
		{"/api/flux-events?env=staging", `{"reason": "ReconciliationFailed", "metadata": {"revision": "main@sha1:` + long("1111111") + `"}}`, "all apps of staging"},
	} {
		if status, text, err := s.callAs(made.Token, http.MethodPost, c.path, []byte(c.body)); err != nil || status != http.StatusForbidden || !strings.Contains(string(text), c.says) {
			t.Errorf("%s: %d %s %v", c.path, status, text, err)
		}
	}
	// It reads what is its own.
	var request struct{ ID string }
	if status, text, err := s.call(http.MethodPost, "/api/releases", []byte(ask)); err != nil || status != http.StatusCreated || json.Unmarshal(text, &request) != nil {
		t.Fatalf("%d %s %v", status, text, err)
	}
	s.typed("# settled?")
	for _, c := range []struct {
		path   string
		status int
		says   string
	}{
		{"/api/artifacts?limit=50", 200, `"repositoryName":"acme/site-a"`},
		{"/api/artifacts?repository=acme/api", 200, "[]"},
		{"/api/eventArtifactTrack?artifactId=" + api, 403, notFor},
		{"/api/eventReleaseTrack?id=" + request.ID, 403, notFor},
		{"/api/event?id=" + request.ID, 403, notFor},
		{"/api/releases?env=staging&status=any", 200, "[]"},
		{release, 403, notFor},
		{"/api/status?env=staging", 200, "{}"},
		{"/api/gitopsCommits", 200, "[]"},
		{"/api/audit", 403, "/api/audit is about all"},
		{"/api/policies", 403, "/api/policies is about all"},
	} {
		status, text, err := s.callAs(made.Token, http.MethodGet, c.path, nil)
		if err != nil || status != c.status || !strings.Contains(string(text), c.says) || (status == 200 && strings.Contains(string(text), "acme/api")) {
			t.Errorf("%s: %d %s %v", c.path, status, text, err)
		}
	}
	body := []byte(`{"repository": "acme/api", "branch": "main"}`)
	if status, text, err := s.callAs(made.Token, http.MethodPost, "/api/branch-deleted", body); err != nil || status != http.StatusForbidden {
		t.Errorf("%d %s %v", status, text, err)
	}
	// What it ships is taken, and takes the place of nothing that is another's.
	mine := w.artifact("web", long("2222222"), nil)
	if status, text, err := s.callAs(made.Token, http.MethodPost, "/api/artifact", mine); err != nil || status != http.StatusCreated {
		t.Errorf("%d %s %v", status, text, err)
	}
	s.typed("# settled?", "/gimlet why web staging")
	get(t, s, "/api/releases?env=staging&status=any", &theirs)
	if says := "web is live from acme/api, for which the token that shipped this does not speak"; len(theirs) != 2 || !strings.Contains(s.said(), says) {
		t.Errorf("%d releases to staging; %s", len(theirs), s.said())
	}
	// Nor does it overtake what is another's and waits.
	pay := func(repository string) []byte {
		return w.artifact("pay", long("3333333"), func(a map[string]any) {
			a["version"].(map[string]any)["repositoryName"] = repository
			one := a["environments"].([]any)[0].(map[string]any)
			one["env"] = "guarded"
			a["environments"] = []any{one}
		})
	}
	s.post(pay("acme/api"))
	if status, text, err := s.callAs(made.Token, http.MethodPost, "/api/artifact", pay("acme/web")); err != nil || status != http.StatusCreated {
		t.Errorf("%d %s %v", status, text, err)
	}
	s.typed("# settled?")
	var guarded []struct{ Status string }
	get(t, s, "/api/releases?env=guarded&status=any", &guarded)
	if says := "3333333 of acme/api is on its way there"; len(guarded) != 1 || guarded[0].Status != "waiting" || !strings.Contains(s.said(), says) {
		t.Errorf("%+v; %s", guarded, s.said())
	}
	var outlook []struct {
		Apps []struct {
			App, Reason string
			Releases    bool
		}
	}
	get(t, s, "/api/policies", &outlook)
	if len(outlook) != 1 || len(outlook[0].Apps) != 1 || outlook[0].Apps[0].Releases || !strings.Contains(outlook[0].Apps[0].Reason, "web is live from acme/api") {
		t.Errorf("the nightly policy: %+v", outlook)
	}
	audit := `"action":"request.release","actor":"web-ci"`
	if status, text, err := s.call(http.MethodGet, "/api/audit", nil); err != nil || status != http.StatusOK || !strings.Contains(string(text), audit) {
		t.Errorf("the audit does not say %s: %d %s %v", audit, status, text, err)
	}
	status, text, err = s.call(http.MethodGet, "/api/tokens", nil)
	var all []struct {
		Name, Hash   string
		Used         time.Time
		Repositories []string
	}
	if err != nil || status != http.StatusOK || json.Unmarshal(text, &all) != nil || len(all) != 2 || time.Since(all[0].Used) > time.Minute || len(all[0].Repositories) != 2 || all[0].Hash != "" {
		t.Errorf("%d %s %v", status, text, err)
	}
	s.stop()
}

// TestGuessingTokensIsSlow tries many; who was let in before is not kept out by it, nor whose token cannot be guessed.
func TestGuessingTokensIsSlow(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	s := w.start()
	if status, text, err := s.call(http.MethodGet, "/api/artifacts", nil); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s %v", status, text, err)
	}
	status, text, err := s.call(http.MethodPost, "/api/tokens", []byte(`{"name": "ci"}`))
	var fresh struct{ Token string }
	if err != nil || status != http.StatusCreated || json.Unmarshal(text, &fresh) != nil {
		t.Fatalf("%d %s %v", status, text, err)
	}
	refused, stopped := 0, 0
	for i := range 60 {
		switch status, _, err := s.callAs(fmt.Sprint("guess ", i), http.MethodGet, "/api/artifacts", nil); {
		case err != nil:
			t.Fatal(err)
		case status == http.StatusUnauthorized:
			refused++
		case status == http.StatusTooManyRequests:
			stopped++
		}
	}
	if refused < 15 || refused > 40 || stopped != 60-refused {
		t.Errorf("%d guesses were looked at, %d were not", refused, stopped)
	}
	if status, text, err := s.call(http.MethodGet, "/api/artifacts", nil); err != nil || status != http.StatusOK {
		t.Errorf("who was let in before is kept out: %d %s %v", status, text, err)
	}
	if status, text, err := s.callAs(fresh.Token, http.MethodGet, "/api/artifacts", nil); err != nil || status != http.StatusOK {
		t.Errorf("a new token is kept out: %d %s %v", status, text, err)
	}
	s.stop()
	s = w.start()
	for i := range 40 {
		if _, _, err := s.callAs(fmt.Sprint("guess ", i), http.MethodGet, "/api/artifacts", nil); err != nil {
			t.Fatal(err)
		}
	}
	if status, text, err := s.call(http.MethodGet, "/api/artifacts", nil); err != nil || status != http.StatusTooManyRequests {
		t.Errorf("the admin's token can be guessed as fast as one likes: %d %s %v", status, text, err)
	}
	s.stop()
}
