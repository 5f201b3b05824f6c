package api

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"gimletd/releases"
)

// WebhookConfig is by what the calls of git hosts are known to be theirs. A host without a secret is refused.
type WebhookConfig struct {
	GitHub releases.Secret // the webhook's secret
	GitLab releases.Secret // the webhook's secret token, sent as it is
	// GitLabSigning is the webhook's signing token; with it, calls that are not signed are refused.
	GitLabSigning releases.Secret
}

// postBranchDeleted takes away the previews of a branch that is gone.
func (s *Server) postBranchDeleted(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	body, err := decode[struct{ Repository, Branch string }](r)
	if err != nil {
		return 0, nil, err
	}
	if err := needed("repository", body.Repository, "branch", body.Branch); err != nil {
		return 0, nil, err
	}
	answer, err := s.branchDeleted(r.Context(), releases.Deletion{Repository: body.Repository, Branch: body.Branch, By: caller(r)})
	return http.StatusOK, answer, err
}

// deletion is the answer to a branch that is gone.
type deletion struct {
	Repository string    `json:"repository"`
	Branch     string    `json:"branch"`
	Known      bool      `json:"known,omitempty"` // it was told before
	Removes    []removal `json:"removes"`
	Stays      []removal `json:"stays"`
}

type removal struct {
	App     string `json:"app"`
	Env     string `json:"env"`
	Release string `json:"release,omitempty"`
	Reason  string `json:"reason"`
}

func (s *Server) branchDeleted(ctx context.Context, d releases.Deletion) (deletion, error) {
	answer := deletion{Repository: d.Repository, Branch: d.Branch, Removes: []removal{}, Stays: []removal{}}
	made, decisions, isNew, err := s.service.DeleteBranch(ctx, d)
	if err != nil {
		return answer, err
	}
	answer.Known = !isNew
	for _, one := range decisions {
		row := removal{App: one.App, Env: one.Env, Reason: one.Reason}
		if !one.Fires {
			answer.Stays = append(answer.Stays, row)
			continue
		}
		for _, m := range made {
			if m.App == one.App && m.Env == one.Env {
				row.Release = m.ID
			}
		}
		answer.Removes = append(answer.Removes, row)
	}
	return answer, nil
}

// hook answers a call of a git host. Nothing of it is read before it is known to be the host's.
func (s *Server) hook(heard func(r *http.Request, body []byte) (*releases.Deletion, error)) http.Handler {
	const most = 1 << 20
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, most)
		body, err := read(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		d, err := heard(r, body)
		switch {
		case errors.Is(err, errUnsigned):
			s.log.Warn("a webhook was refused", "path", r.URL.Path, "from", r.RemoteAddr, "err", err)
			s.write(w, http.StatusUnauthorized, map[string]string{"error": err.Error(), "code": "unauthorized"})
			return
		case err != nil:
			s.fail(w, r, err)
			return
		case d == nil:
			s.write(w, http.StatusOK, map[string]string{"ignored": "only deleted branches are of interest"})
			return
		}
		answer, err := s.branchDeleted(r.Context(), *d)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.write(w, http.StatusOK, answer)
	})
}

var errUnsigned = errors.New("the signature is not that of the configured secret")

// fromGitHub reads a call of GitHub. https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
// GitHub signs the body and nothing else, so a body that was heard before is a replay, whatever its headers say.
func (s *Server) fromGitHub(r *http.Request, body []byte) (*releases.Deletion, error) {
	secret := s.config.Webhooks.GitHub.Reveal()
	given := strings.TrimPrefix(r.Header.Get("X-Hub-Signature-256"), "sha256=")
	if secret == "" || !hmac.Equal([]byte(given), []byte(hmacOf(secret, body))) {
		return nil, errUnsigned
	}
	if r.Header.Get("X-GitHub-Event") != "delete" {
		return nil, nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, releases.Wrap(releases.Invalid, err, "the body cannot be read")
		}
		body = []byte(form.Get("payload"))
	}
	var told struct {
		Ref     string `json:"ref"`
		RefType string `json:"ref_type"`
		// MasterBranch is in calls about branches that were created, which look the same. The event's name is not signed.
		MasterBranch *string `json:"master_branch"`
		Repository   struct {
			FullName string `json:"full_name"`
		} `json:"repository"`
	}
	if err := json.Unmarshal(body, &told); err != nil {
		return nil, releases.Wrap(releases.Invalid, err, "the body cannot be read")
	}
	if told.RefType != "branch" || told.MasterBranch != nil {
		return nil, nil
	}
	return &releases.Deletion{
		Repository: told.Repository.FullName, Branch: strings.TrimPrefix(told.Ref, branchRef), Delivery: "github " + given,
		By: releases.Actor{Name: "github", Via: releases.ViaWebhook},
	}, nil
}

// hmacOf is the HMAC-SHA256 of a body, in hexadecimal.
func hmacOf(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

const branchRef = "refs/heads/"

// signedWithin is how old a call may be that says when it was signed.
const signedWithin = 5 * time.Minute

// fromGitLab reads a call of GitLab: a push after which the branch points to nothing.
// https://docs.gitlab.com/user/project/integrations/webhooks/ and https://www.standardwebhooks.com
func (s *Server) fromGitLab(r *http.Request, body []byte) (*releases.Deletion, error) {
	delivery, err := s.gitLabSigned(r, body)
	if err != nil {
		return nil, err
	}
	if r.Header.Get("X-Gitlab-Event") != "Push Hook" {
		return nil, nil
	}
	var told struct {
		Ref     string `json:"ref"`
		After   string `json:"after"`
		Project struct {
			Path string `json:"path_with_namespace"`
		} `json:"project"`
	}
	if err := json.Unmarshal(body, &told); err != nil {
		return nil, releases.Wrap(releases.Invalid, err, "the body cannot be read")
	}
	branch, ok := strings.CutPrefix(told.Ref, branchRef)
	if !ok || told.After == "" || strings.Trim(told.After, "0") != "" {
		return nil, nil
	}
	return &releases.Deletion{
		Repository: told.Project.Path, Branch: branch, Delivery: "gitlab " + delivery, By: releases.Actor{Name: "gitlab", Via: releases.ViaWebhook},
	}, nil
}

// gitLabSigned returns what names the delivery, or an error unless it is GitLab's.
func (s *Server) gitLabSigned(r *http.Request, body []byte) (delivery string, err error) {
	if key := s.config.Webhooks.GitLabSigning.Reveal(); key != "" {
		return signedAs(r.Header, body, key, time.Now())
	}
	want, got := sha256.Sum256([]byte(s.config.Webhooks.GitLab.Reveal())), sha256.Sum256([]byte(r.Header.Get("X-Gitlab-Token")))
	if s.config.Webhooks.GitLab == "" || subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return "", errUnsigned
	}
	// The token says who calls, not what they say; the body names the delivery, and where GitLab gives it a name, that too.
	sum := sha256.Sum256(append(body, r.Header.Get("X-Gitlab-Event-UUID")...))
	return hex.EncodeToString(sum[:]), nil
}

// signedAs checks a signature of Standard Webhooks: HMAC-SHA256 of id, time and body.
func signedAs(h http.Header, body []byte, key string, now time.Time) (id string, err error) {
	secret := []byte(key)
	if encoded, ok := strings.CutPrefix(key, "whsec_"); ok {
		if secret, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return "", errUnsigned
		}
	}
	id = h.Get("Webhook-Id")
	at, err := strconv.ParseInt(h.Get("Webhook-Timestamp"), 10, 64)
	if err != nil || id == "" || now.Sub(time.Unix(at, 0)).Abs() > signedWithin {
		return "", errUnsigned
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(id + "." + h.Get("Webhook-Timestamp") + "."))
	mac.Write(body)
	for given := range strings.FieldsSeq(h.Get("Webhook-Signature")) {
		encoded, ok := strings.CutPrefix(given, "v1,")
		sum, err := base64.StdEncoding.DecodeString(encoded)
		if ok && err == nil && hmac.Equal(sum, mac.Sum(nil)) {
			return id, nil
		}
	}
	return "", errUnsigned
}
