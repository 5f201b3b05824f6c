package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"gimletd/releases/gitops/gittest"
)

const (
	gitHubSecret = "github-webhook-secret"
	gitLabToken  = "gitlab-webhook-token"
)

// previewArtifact is an artifact of a branch whose app goes with it.
func (w *world) previewArtifact(branch, sha string) []byte {
	return w.artifact("web", sha, func(a map[string]any) {
		v := a["version"].(map[string]any)
		v["branch"] = branch
		a["context"] = map[string]string{"SHA": sha, "BRANCH": branch}
		preview := a["environments"].([]any)[0].(map[string]any)
		preview["app"] = "web-{{ .BRANCH | sanitizeDNSName }}"
		preview["deploy"] = map[string]any{"branch": "feature/*", "event": "push"}
		preview["cleanup"] = map[string]any{"app": "web-{{ .BRANCH | sanitizeDNSName }}", "event": "branchDeleted", "branch": "feature/*"}
		a["environments"] = []any{preview}
	})
}

// hook makes a call as a git host does.
func (s *server) hook(path string, body []byte, header map[string]string) (int, deletionAnswer) {
	s.world.tb.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+s.api+path, bytes.NewReader(body))
	if err != nil {
		s.world.tb.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	if req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	status, text, err := s.send(req, body)
	if err != nil {
		s.world.tb.Fatal(err)
	}
	if strings.Contains(string(text), gitHubSecret) || strings.Contains(string(text), gitLabToken) {
		s.world.tb.Errorf("an answer holds a secret: %s", text)
	}
	var answer deletionAnswer
	if err := json.Unmarshal(text, &answer); err != nil {
		s.world.tb.Fatalf("%s: %v", text, err)
	}
	return status, answer
}

type deletionAnswer struct {
	Repository, Branch, Ignored, Error string
	Known                              bool
	Removes, Stays                     []struct{ App, Env, Release, Reason string }
}

func sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// there reports whether the folder is in the remote.
func (w *world) there(folder string) bool {
	w.tb.Helper()
	return gittest.Git(w.tb, w.remote, "ls-tree", "-d", "--name-only", "main", folder) != ""
}

func TestADeletedBranchTakesItsPreviewAlong(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	w.extra = fmt.Sprintf("webhooks: {github: {secret: %s}, gitlab: {secretToken: %s}}\n", gitHubSecret, gitLabToken)
	s := w.start()
	defer s.stop()
	sha := 0
	ship := func(branch string) {
		t.Helper()
		sha++
		s.post(w.previewArtifact(branch, fmt.Sprintf("%040x", 0xabc0000+sha)))
		s.typed("# settled")
		if !w.there("staging/web-" + strings.ReplaceAll(branch, "/", "-")) {
			t.Fatalf("the preview of %s is not there\n%s", branch, s.out)
		}
	}
	gone := func(branch string) {
		t.Helper()
		s.typed("# settled")
		if w.there("staging/web-" + strings.ReplaceAll(branch, "/", "-")) {
			t.Errorf("the preview of %s is still there\n%s", branch, s.out)
		}
	}
	github := func(event string, change func(m map[string]any)) ([]byte, map[string]string) {
		m := map[string]any{"ref": "feature/a", "ref_type": "branch", "pusher_type": "user", "repository": map[string]any{"full_name": "acme/web", "pushed_at": time.Now().UnixNano()}, "sender": map[string]any{"login": "ada"}}
		if change != nil {
			change(m)
		}
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return body, map[string]string{"Content-Type": "application/json", "X-GitHub-Event": event, "X-GitHub-Delivery": fmt.Sprint(time.Now().UnixNano()), "X-Hub-Signature-256": sign(gitHubSecret, body)}
	}

	ship("feature/a")
	ship("feature/b")

	t.Run("GitHub", func(t *testing.T) {
		body, header := github("delete", nil)
		for name, wrong := range map[string]string{"none": "", "of another secret": sign("another", body), "of another body": sign(gitHubSecret, append(body, ' ')), "cut off": header["X-Hub-Signature-256"][:40], "SHA-1": "sha1=" + strings.Repeat("0", 40)} {
			bad := map[string]string{"X-GitHub-Event": "delete", "X-Hub-Signature-256": wrong}
			if status, answer := s.hook("/webhooks/github", body, bad); status != http.StatusUnauthorized || answer.Error == "" {
				t.Errorf("a signature that is %s: %d %+v", name, status, answer)
			}
		}
		for _, c := range []struct {
			event  string
			change func(m map[string]any)
		}{{"ping", nil}, {"push", nil}, {"delete", func(m map[string]any) { m["ref_type"] = "tag" }}, {"delete", func(m map[string]any) { m["master_branch"] = "main" }}} {
			body, header := github(c.event, c.change)
			if status, answer := s.hook("/webhooks/github", body, header); status != http.StatusOK || answer.Ignored == "" {
				t.Errorf("%s: %d %+v", c.event, status, answer)
			}
		}
		if !w.there("staging/web-feature-a") {
			t.Fatal("something that said nothing of a branch took the preview away")
		}
		status, answer := s.hook("/webhooks/github", body, header)
		if status != http.StatusOK || len(answer.Removes) != 1 || answer.Removes[0].App != "web-feature-a" || answer.Removes[0].Release == "" {
			t.Fatalf("%d %+v", status, answer)
		}
		gone("feature/a")
		if !w.there("staging/web-feature-b") {
			t.Error("the preview of another branch went")
		}
		subject := gittest.Git(t, w.remote, "log", "-1", "--format=%s%n%(trailers:key=Policy,valueonly)", "main")
		if !strings.HasPrefix(subject, "Remove web-feature-a from staging\ncleanup") {
			t.Errorf("the commit says %q", subject)
		}
		// The branch comes again, and with it the preview; the old call does not count again, whatever its headers say.
		ship("feature/a")
		header["X-GitHub-Delivery"] = "another"
		if status, answer := s.hook("/webhooks/github", body, header); status != http.StatusOK || !answer.Known || len(answer.Removes) > 0 {
			t.Errorf("a replay: %d %+v", status, answer)
		}
		s.typed("# settled")
		if !w.there("staging/web-feature-a") {
			t.Error("a replay took the new preview away")
		}
		again, header := github("delete", nil)
		form := []byte("payload=" + url.QueryEscape(string(again)))
		header["Content-Type"], header["X-Hub-Signature-256"] = "application/x-www-form-urlencoded", sign(gitHubSecret, form)
		if status, answer := s.hook("/webhooks/github", form, header); status != http.StatusOK || len(answer.Removes) != 1 {
			t.Errorf("as a form: %d %+v", status, answer)
		}
		gone("feature/a")
	})

	t.Run("GitLab", func(t *testing.T) {
		body := []byte(`{"object_kind": "push", "ref": "refs/heads/feature/b", "before": "95790bf8", "after": "0000000000000000000000000000000000000000", "project": {"path_with_namespace": "acme/web"}, "commits": []}`)
		header := map[string]string{"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": gitLabToken, "X-Gitlab-Event-UUID": "one"}
		for _, token := range []string{"", "another", gitLabToken + "x"} {
			if status, _ := s.hook("/webhooks/gitlab", body, map[string]string{"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": token}); status != http.StatusUnauthorized {
				t.Errorf("token %q: %d", token, status)
			}
		}
		pushed := bytes.Replace(body, []byte(`"after": "0000000000000000000000000000000000000000"`), []byte(`"after": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7"`), 1)
		if status, answer := s.hook("/webhooks/gitlab", pushed, header); status != http.StatusOK || answer.Ignored == "" {
			t.Errorf("a push: %d %+v", status, answer)
		}
		if status, answer := s.hook("/webhooks/gitlab", body, header); status != http.StatusOK || len(answer.Removes) != 1 {
			t.Fatalf("%d %+v", status, answer)
		}
		gone("feature/b")
		if status, answer := s.hook("/webhooks/gitlab", body, header); status != http.StatusOK || !answer.Known {
			t.Errorf("a replay: %d %+v", status, answer)
		}
	})

	t.Run("our own call", func(t *testing.T) {
		ship("feature/c")
		if status, body, err := s.callAs("wrong", http.MethodPost, "/api/branch-deleted", []byte(`{"repository": "acme/web", "branch": "feature/c"}`)); err != nil || status != http.StatusUnauthorized {
			t.Errorf("%d %s %v", status, body, err)
		}
		if status, body, err := s.call(http.MethodPost, "/api/branch-deleted", []byte(`{"repository": "acme/web"}`)); err != nil || status != http.StatusBadRequest || !strings.Contains(string(body), "branch: missing") {
			t.Errorf("%d %s %v", status, body, err)
		}
		for _, said := range []string{"removes", "stays"} {
			status, body, err := s.call(http.MethodPost, "/api/branch-deleted", []byte(`{"repository": "acme/web", "branch": "feature/c"}`))
			var answer map[string]any
			if err != nil || status != http.StatusOK || json.Unmarshal(body, &answer) != nil || len(answer[said].([]any)) != 1 {
				t.Errorf("%d %s %v", status, body, err)
			}
			s.typed("# settled")
		}
		gone("feature/c")
	})

	said := s.out.String()
	for _, words := range []string{"✓ Removed web-feature-a from staging", `Branch "feature/a" of acme/web was deleted.`, "Release it again"} {
		if !strings.Contains(said, words) {
			t.Errorf("people were not told %q\n%s", words, said)
		}
	}
	if log := s.log.String(); strings.Contains(log, gitHubSecret) || strings.Contains(log, gitLabToken) {
		t.Error("the log holds a secret")
	}
}

func TestSignedCallsOfGitLab(t *testing.T) {
	key := base64.StdEncoding.EncodeToString([]byte("a key of a webhook that signs"))
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	w.extra = "webhooks: {gitlab: {signingToken: whsec_" + key + "}}\n"
	s := w.start()
	defer s.stop()
	body := []byte(`{"ref": "refs/heads/feature/b", "after": "0000000000000000000000000000000000000000", "project": {"path_with_namespace": "acme/web"}}`)
	signed := func(id string, at time.Time, body []byte) map[string]string {
		mac := hmac.New(sha256.New, []byte("a key of a webhook that signs"))
		fmt.Fprintf(mac, "%s.%d.%s", id, at.Unix(), body)
		return map[string]string{
			"X-Gitlab-Event": "Push Hook", "Webhook-Id": id, "Webhook-Timestamp": fmt.Sprint(at.Unix()), "Webhook-Signature": "v1,bm90aGluZw== v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)),
		}
	}
	now := time.Now()
	statuses := []int{}
	for _, header := range []map[string]string{
		signed("m1", now, body), signed("m2", now.Add(-10*time.Minute), body), signed("m3", now.Add(10*time.Minute), body), signed("m4", now, append(body, ' ')), {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": "whsec_" + key},
	} {
		status, _ := s.hook("/webhooks/gitlab", body, header)
		statuses = append(statuses, status)
	}
	if want := []int{200, 401, 401, 401, 401}; !slices.Equal(statuses, want) {
		t.Errorf("%v, not %v", statuses, want)
	}
	if _, answer := s.hook("/webhooks/gitlab", body, signed("m1", now, body)); !answer.Known {
		t.Error("a replay is heard again")
	}
}

func TestFluxTellsOfRollouts(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	s := w.start()
	defer s.stop()
	s.post(w.artifact("frontend", strings.Repeat("a", 40), nil))
	s.typed("# settled")
	s.post(w.artifact("backend", strings.Repeat("b", 40), nil))
	s.typed("# settled")
	head := strings.TrimSpace(gittest.Git(t, w.remote, "rev-parse", "main"))
	before := strings.TrimSpace(gittest.Git(t, w.remote, "rev-parse", "main~1"))
	for _, c := range []struct {
		path, body string
		status     int
		says       string
	}{
		{"?env=staging", `{"reason": "ReconciliationSucceeded", "metadata": {"revision": "main@sha1:` + before + `"}}`, 200, `"apps":1`},
		{"?env=staging", `{"reason": "ReconciliationSucceeded", "metadata": {"kustomize.toolkit.fluxcd.io/revision": "feature/x/` + head + `"}}`, 200, `"apps":1`},
		{"?env=staging", `{"reason": "HealthCheckFailed", "metadata": {"revision": "main:` + head + `"}}`, 200, `"apps":0`},
		{"?env=staging", `{"reason": "Progressing", "metadata": {"revision": "main:` + head + `"}}`, 200, `"apps":0`},
		{"?env=staging", `{"reason": "ReconciliationSucceeded", "metadata": {"revision": "main@sha1:` + strings.Repeat("0", 40) + `"}}`, 200, `"apps":0`},
		{"?env=staging", `{"reason": "ReconciliationSucceeded", "metadata": {}}`, 400, "names no commit"},
		{"?env=staging", `{"reason"`, 400, "cannot be read"},
		{"", `{}`, 400, "env: missing"},
		{"?env=nowhere", `{"reason": "ReconciliationSucceeded", "metadata": {"revision": "main:` + head + `"}}`, 404, "there is no environment"},
	} {
		status, body, err := s.call(http.MethodPost, "/api/flux-events"+c.path, []byte(c.body))
		if err != nil || status != c.status || !strings.Contains(string(body), c.says) {
			t.Errorf("%s %s: %d %s %v, want %d %s", c.path, c.body, status, body, err, c.status, c.says)
		}
	}
}
