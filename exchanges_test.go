package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// exchange is a call that a client of Gimlet's made of the original, and its answer.
type exchange struct {
	Client  string          `json:"client"`
	Method  string          `json:"method"`
	Path    string          `json:"path"`
	Headers json.RawMessage `json:"headers"`
	Body    string          `json:"body"`
	Status  int             `json:"status"`
	Answer  string          `json:"answer"`
}

func (e exchange) name() string {
	path, _, _ := strings.Cut(e.Path, "?")
	return e.Client + " " + e.Method + " " + path
}

func exchanges(t *testing.T) (all []exchange) {
	file, err := os.Open("testdata/exchanges/gimlet-cli.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var e exchange
		if err := json.Unmarshal(scanner.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// raw is the call as it went over the wire, with another token; headers in their order, the path as the client wrote it.
func (e exchange) raw(t *testing.T, host, token string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", e.Method, e.Path, host)
	decoder := json.NewDecoder(bytes.NewReader(e.Headers))
	next := func() any {
		value, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	next() // {
	for decoder.More() {
		name, value := fmt.Sprint(next()), fmt.Sprint(next())
		switch name {
		case "Authorization":
			value = "Bearer " + token
		case "Accept-Encoding":
			continue // the answer is read here, and need not be packed
		}
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	fmt.Fprintf(&b, "Connection: close\r\n\r\n%s", e.Body)
	return b.Bytes()
}

// send sends the call and returns the answer.
func (e exchange) send(t *testing.T, host, token string) (int, []byte) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", host, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(e.raw(t, host, token)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}

// lacks says what of a recorded answer ours has not: keys, and kinds of values. What was null or empty asks for nothing.
func lacks(path string, recorded, ours any) string {
	switch was := recorded.(type) {
	case map[string]any:
		is, ok := ours.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %T, not an object", path, ours)
		}
		for key, value := range was {
			optional := slices.Contains([]string{"vars", "context", "event", "tag"}, key) // what CI says, or does not
			if value == nil || value == "" || optional {
				continue
			}
			there, ok := is[key]
			if !ok {
				return path + "." + key + " is missing"
			}
			if fault := lacks(path+"."+key, value, there); fault != "" {
				return fault
			}
		}
	case []any:
		is, ok := ours.([]any)
		if !ok || len(is) < len(was) {
			return fmt.Sprintf("%s has %d elements, not %d", path, len(is), len(was))
		}
		for i := range was {
			if fault := lacks(fmt.Sprintf("%s[%d]", path, i), was[i], is[i]); fault != "" {
				return fault
			}
		}
	default:
		if fmt.Sprintf("%T", recorded) != fmt.Sprintf("%T", ours) {
			return fmt.Sprintf("%s is %T, not %T", path, ours, recorded)
		}
	}
	return ""
}

var (
	artifactIDs = regexp.MustCompile(`me/(?:cliapp|mainapp)-[0-9a-f]{8}-[0-9a-f-]{27}`)
	requestIDs  = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
	commitIDs   = regexp.MustCompile(`\b[0-9a-f]{40}\b`)
	shas        = regexp.MustCompile(`"sha":"([0-9a-f]+)"`)
)

// TestRecordedCallsOfGimletsClients plays the calls of two generations of clients, as they went over the wire. Only the ids that the
// server had given are ours, and the token.
func TestRecordedCallsOfGimletsClients(t *testing.T) {
	all := exchanges(t)
	for _, client := range []string{"0.20 and newer against daemon 0.16.1", "0.12 against daemon 0.8"} {
		t.Run(client, func(t *testing.T) {
			w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
			w.extra = "  - {name: qa, channels: [console]}\n"
			s := w.start()
			known := map[string]string{} // what was theirs → what is ours
			ours := func(text string) string {
				for theirs, own := range known {
					text = strings.ReplaceAll(text, theirs, own)
				}
				return text
			}
			var first exchange
			n := 0
			// release ships another version of an app, and releases it.
			release := func(app string) string {
				n++
				body := strings.ReplaceAll(first.Body, "aaaaaaaa11111111111111111111111111111111", fmt.Sprintf("%08d%032d", n, 0))
				id := s.post([]byte(strings.ReplaceAll(body, "cliapp", app)))
				if status, text, err := s.call(http.MethodPost, "/api/releases", fmt.Appendf(nil, `{"env":"qa","artifactId":%q}`, id)); err != nil || status != http.StatusCreated {
					t.Fatalf("%d %s %v", status, text, err)
				}
				s.typed("# settled?")
				return id
			}
			// Not all calls were recorded: what they speak of is shipped, and released, before.
			shipped := map[string]bool{}
			for _, e := range all {
				if e.Client == client && e.Method == http.MethodPost && e.Path == "/api/artifact" && first.Body == "" {
					first = e
				}
				if e.Client != client || e.Path == "/api/artifact" {
					continue
				}
				for _, id := range artifactIDs.FindAllString(e.Path+e.Body+e.Answer, -1) {
					if shipped[id] || strings.Contains(first.Answer, id) {
						continue
					}
					shipped[id] = true
					known[id] = release(strings.TrimPrefix(id[:strings.Index(id, "-")], "me/"))
				}
			}
			for range 2 {
				release("cliapp")
			}
			for _, e := range all {
				if e.Client != client {
					continue
				}
				theirs := e
				e.Path, e.Body = ours(e.Path), ours(e.Body)
				if strings.Contains(e.Path, "/api/rollback") { // to the release before another one
					app := regexp.MustCompile(`app=(\w+)`).FindStringSubmatch(e.Path)[1]
					e.Path = commitIDs.ReplaceAllString(e.Path, commitOf(t, s, app))
					release(app)
				}
				token := adminToken
				if e.Status == http.StatusUnauthorized {
					token = "a token of nobody's"
				}
				status, answer := e.send(t, s.api, token)
				s.typed("# settled?")
				if good := status <= http.StatusPartialContent; status != e.Status && (!good || e.Status > http.StatusPartialContent) {
					t.Errorf("%s: %d %s, not %d", e.name(), status, answer, e.Status)
					continue
				}
				if e.Status > http.StatusPartialContent {
					var refused struct{ Error, Code string }
					if err := json.Unmarshal(answer, &refused); err != nil || refused.Error == "" || refused.Code == "" {
						t.Errorf("%s: refused with %s", e.name(), answer)
					}
					continue
				}
				var was, is any
				if json.Unmarshal([]byte(theirs.Answer), &was) != nil || json.Unmarshal(answer, &is) != nil {
					t.Errorf("%s: %s", e.name(), answer)
					continue
				}
				if fault := lacks("", was, is); fault != "" {
					t.Errorf("%s: %s\n%s", e.name(), fault, answer)
				}
				for _, found := range shas.FindAllSubmatch(answer, -1) {
					if len(found[1]) < 8 {
						t.Errorf("%s: the client cuts 8 characters off %s", e.name(), found[1])
					}
				}
				// What the server has named is what the next calls name.
				for _, pattern := range []*regexp.Regexp{artifactIDs, requestIDs, commitIDs} {
					was, is := pattern.FindAllString(theirs.Answer, 1), pattern.FindAllString(string(answer), 1)
					if len(was) > 0 && len(is) > 0 && known[was[0]] == "" && theirs.Method == http.MethodPost || strings.Contains(e.Path, "Track") && len(was) > 0 && len(is) > 0 {
						known[was[0]] = is[0]
					}
				}
			}
			s.stop()
		})
	}
}

// commitOf is the commit of the newest release of an app in qa.
func commitOf(t *testing.T, s *server, app string) string {
	t.Helper()
	var found []struct{ GitopsRef string }
	get(t, s, "/api/releases?env=qa&app="+app, &found)
	if len(found) == 0 {
		t.Fatalf("nothing of %s was released", app)
	}
	return found[0].GitopsRef
}

// TestWhatIsAroundReleases makes the calls that have no client of ours in the tests above.
func TestWhatIsAroundReleases(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	w.extra = "  - {name: told, channels: [console], rollout: flux}\nroles:\n  - {name: shippers, members: [\"token:old-ci\"], can: [ship]}\n"
	s := w.start()
	ask := func(method, path, body string, want int, text string) []byte {
		t.Helper()
		status, answer, err := s.call(method, path, []byte(body))
		if err != nil || status != want || !strings.Contains(string(answer), text) {
			t.Errorf("%s %s: %d %s %v, not %d %s", method, path, status, answer, err, want, text)
		}
		s.typed("# settled?")
		return answer
	}
	ask(http.MethodGet, "/api/gitopsRepo", "", 200, `"gitopsRepo":"http://`)
	ask(http.MethodGet, "/api/gitopsCommits", "", 200, "[]")
	ask(http.MethodPost, "/api/delete?env=told&app=web", "", 404, "nothing of web was released to told")
	ask(http.MethodPost, "/api/delete?env=told", "", 400, "app: missing")
	asked := func(answer []byte) (request string) {
		t.Helper()
		var made struct{ ID string }
		if err := json.Unmarshal(answer, &made); err != nil {
			t.Fatal(err)
		}
		return made.ID
	}
	release := func(sha string) string {
		t.Helper()
		id := s.post(w.artifact("web", long(sha), func(a map[string]any) {
			one := a["environments"].([]any)[0].(map[string]any)
			delete(one, "deploy")
			one["env"] = "told"
			a["environments"] = []any{one}
		}))
		return asked(ask(http.MethodPost, "/api/releases", fmt.Sprintf(`{"env":"told","artifactId":%q}`, id), 201, "release"))
	}
	first := release("1111111")
	ask(http.MethodGet, "/api/gitopsCommits", "", 200, `"status":"NotReconciled"`)
	ask(http.MethodGet, "/api/eventReleaseTrack?id="+first, "", 200, `"gitopsCommitStatus":"NotReconciled"`)
	live := func() string {
		t.Helper()
		var live map[string]struct{ GitopsRef string }
		get(t, s, "/api/status?env=told&app=web", &live)
		return live["web"].GitopsRef
	}
	event := fmt.Sprintf(`{"reason":"%%s","metadata":{"revision":"main@sha1:%s"}}`, live())
	ask(http.MethodPost, "/api/flux-events?env=told", fmt.Sprintf(event, "Progressing"), 200, `"apps":1`)
	ask(http.MethodGet, "/api/eventReleaseTrack?id="+first, "", 200, `"gitopsCommitStatus":"NotReconciled","gitopsCommitStatusDesc":"Progressing"`)
	failing := strings.Replace(fmt.Sprintf(event, "HealthCheckFailed"), "{", `{"message": "timeout waiting for: [Deployment/told/web status: 'InProgress']",`, 1)
	ask(http.MethodPost, "/api/flux-events?env=told", failing, 200, `"apps":1`)
	const why = `"HealthCheckFailed: timeout waiting for: [Deployment/told/web status: 'InProgress']"`
	ask(http.MethodGet, "/api/eventReleaseTrack?id="+first, "", 200, `"gitopsCommitStatus":"ReconciliationFailed","gitopsCommitStatusDesc":`+why)
	ask(http.MethodPost, "/api/flux-events?env=told", fmt.Sprintf(event, "Progressing"), 200, `"apps":0`) // what is known says more
	ask(http.MethodGet, "/api/gitopsCommits", "", 200, `"statusDesc":`+why)
	ask(http.MethodGet, "/api/releases?env=told", "", 200, `"gitopsCommitStatusDesc":`+why)
	ask(http.MethodPost, "/api/flux-events?env=told", fmt.Sprintf(event, "ReconciliationSucceeded"), 200, `"apps":1`)
	ask(http.MethodGet, "/api/event?id="+first, "", 200, `"status":"ReconciliationSucceeded"`)
	ask(http.MethodGet, "/api/status?env=told", "", 200, `"gitopsCommitStatus":"ReconciliationSucceeded"`)
	// Another takes its place: each has a fate of its own, and what was told of the first stays true.
	second := release("2222222")
	ask(http.MethodGet, "/api/eventReleaseTrack?id="+second, "", 200, `"gitopsCommitStatus":"NotReconciled"`)
	event = fmt.Sprintf(`{"reason":"%%s","metadata":{"revision":"main@sha1:%s"}}`, live())
	ask(http.MethodPost, "/api/flux-events?env=told", fmt.Sprintf(event, "HealthCheckFailed"), 200, `"apps":1`)
	ask(http.MethodGet, "/api/eventReleaseTrack?id="+second, "", 200, `"gitopsCommitStatus":"ReconciliationFailed"`)
	ask(http.MethodGet, "/api/eventReleaseTrack?id="+first, "", 200, `"gitopsCommitStatus":"ReconciliationSucceeded"`)
	third := release("3333333")
	fourth := release("4444444")
	ask(http.MethodGet, "/api/eventReleaseTrack?id="+third, "", 200, `another release took its place`)
	ask(http.MethodGet, "/api/eventReleaseTrack?id="+fourth, "", 200, `"gitopsCommitStatus":"NotReconciled"`)
	gone := asked(ask(http.MethodPost, "/api/delete?env=told&app=web", "", 200, `"id":"`))
	ask(http.MethodGet, "/api/status?env=told&app=web", "", 200, `{"web":null}`)
	ask(http.MethodGet, "/api/eventReleaseTrack?id="+gone, "", 200, `"gitopsCommitStatus":"ReconciliationSucceeded"`)
	ask(http.MethodGet, "/api/eventReleaseTrack?id="+fourth, "", 200, `"gitopsCommitStatus":"ReconciliationSucceeded"`)
	ask(http.MethodGet, "/api/event?id=nope", "", 404, `"code":"`)

	ask(http.MethodGet, "/api/user", "", 200, `{"login":"admin","admin":true}`)
	user := ask(http.MethodPost, "/api/user", `{"login":"Old-CI"}`, 201, `"login":"old-ci","token":"gimletd_`)
	ask(http.MethodPost, "/api/user", `{"login":"boss","admin":true}`, 400, "there is one admin token")
	ask(http.MethodGet, "/api/users", "", 200, `{"login":"old-ci","admin":false}`)
	ask(http.MethodGet, "/api/users?limit=1", "", 200, `[{"login":"admin","admin":true}]`)
	ask(http.MethodGet, "/api/users?offset=1", "", 200, `[{"login":"old-ci","admin":false}]`)
	ask(http.MethodGet, "/api/users?offset=7", "", 200, "[]")
	ask(http.MethodGet, "/api/locks?limit=1001", "", 400, `limit: \"1001\" is not a number from 0 to 1000`)
	ask(http.MethodGet, "/api/user/old-ci", "", 200, `{"login":"old-ci","admin":false}`)
	ask(http.MethodGet, "/api/user/nobody", "", 404, "there is no user")
	var token struct{ Token string }
	if err := json.Unmarshal(user, &token); err != nil {
		t.Fatal(err)
	}
	as := exchange{Method: http.MethodGet, Headers: []byte(`{"Authorization":""}`)}
	for path, want := range map[string]int{"/api/user": 200, "/api/users": 403, "/api/artifacts": 200} {
		as.Path = path
		if status, answer := as.send(t, s.api, token.Token); status != want {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	ask(http.MethodDelete, "/api/user/old-ci", "", 200, "old-ci")
	as.Path = "/api/user"
	if status, _ := as.send(t, s.api, token.Token); status != http.StatusUnauthorized {
		t.Errorf("a deleted user is answered with %d", status)
	}
	s.stop()
}

// TestAPageIsBounded lists artifacts that are too large for one answer.
func TestAPageIsBounded(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	s := w.start()
	const artifacts, large = 20, 1 << 20
	for n := range artifacts {
		s.post(w.artifact("web", long(fmt.Sprintf("%07d", n+1)), func(a map[string]any) {
			a["environments"] = []any{}
			a["items"] = []any{map[string]any{"report": strings.Repeat("x", large)}}
		}))
	}
	var seen []string
	for pages := 1; len(seen) < artifacts; pages++ {
		status, text, err := s.call(http.MethodGet, fmt.Sprintf("/api/artifacts?limit=1000&offset=%d", len(seen)), nil)
		var page []struct{ Version struct{ SHA string } }
		if err != nil || status != http.StatusOK || json.Unmarshal(text, &page) != nil || len(page) == 0 || len(text) > 17<<20 || pages > 2 {
			t.Fatalf("page %d: %d, %d bytes with %d artifacts, after %d: %v", pages, status, len(text), len(page), len(seen), err)
		}
		for _, a := range page {
			seen = append(seen, a.Version.SHA)
		}
	}
	for n, sha := range seen {
		if want := long(fmt.Sprintf("%07d", artifacts-n)); sha != want {
			t.Errorf("artifact %d is %s, not %s", n, sha, want)
		}
	}
	s.stop()
}
