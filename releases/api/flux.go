package api

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"

	"gimletd/releases"
)

// fluxEvent is an event of Flux's generic provider. https://fluxcd.io/flux/components/notification/providers/#generic-webhook
type fluxEvent struct {
	Reason   string            `json:"reason"`
	Message  string            `json:"message"`
	Metadata map[string]string `json:"metadata"`
}

// postFluxEvent notes how the rollout of a commit went.
func (s *Server) postFluxEvent(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	env := r.URL.Query().Get("env")
	if env == "" {
		return 0, nil, releases.Errorf(releases.Invalid, "env: missing; which environment does this Flux apply?")
	}
	body, err := read(r)
	if err != nil {
		return 0, nil, err
	}
	var e fluxEvent // Flux adds fields as it likes
	if err := json.Unmarshal(body, &e); err != nil {
		return 0, nil, releases.Wrap(releases.Invalid, err, "the body cannot be read")
	}
	commit := e.commit()
	if commit == "" {
		return 0, nil, releases.Errorf(releases.Invalid, "metadata.revision: names no commit")
	}
	n, err := s.service.RolledOut(r.Context(), releases.Rollout{Env: env, Commit: commit, Health: e.health(), Detail: e.said(), By: caller(r)})
	return http.StatusOK, map[string]any{"commit": commit, "apps": n}, err
}

func (e fluxEvent) said() string {
	return strings.TrimSuffix(strings.TrimSpace(e.Reason+": "+e.Message), ":")
}

// health is what the reason says of it; "" for one that says nothing, such as Progressing.
func (e fluxEvent) health() releases.Health {
	switch e.Reason {
	case "ReconciliationSucceeded":
		return releases.Healthy
	case "ReconciliationFailed", "ValidationFailed", "HealthCheckFailed", "BuildFailed":
		return releases.Unhealthy
	}
	return ""
}

// revision is the end of a revision: branch/sha, branch@sha1:sha or branch:sha, where a branch may hold slashes.
var revision = regexp.MustCompile(`(?:^|[/:])([0-9a-f]{40}|[0-9a-f]{64})$`)

// commit is the commit that the event is about: under the key revision, or one that ends in /revision.
func (e fluxEvent) commit() string {
	for key, value := range e.Metadata {
		if key != "revision" && !strings.HasSuffix(key, "/revision") {
			continue
		}
		if found := revision.FindStringSubmatch(strings.ToLower(value)); found != nil {
			return found[1]
		}
	}
	return ""
}
