package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"gimletd/releases"
)

// Service is what the calls need of releases.
type Service interface {
	actions
	queries
}

type actions interface {
	Ingest(ctx context.Context, a *releases.Artifact, idempotencyKey string) (*releases.Shipped, bool, error)
	Propose(ctx context.Context, ask releases.Ask) ([]releases.Release, error)
	Rollback(ctx context.Context, ask releases.RollbackAsk) (releases.Release, error)
}

type queries interface {
	Artifact(ctx context.Context, id string) (*releases.Shipped, error)
	Artifacts(ctx context.Context, q releases.ArtifactQuery) ([]*releases.Shipped, error)
	Release(ctx context.Context, id string) (releases.Release, error)
	Releases(ctx context.Context, q releases.ReleaseQuery) ([]releases.Release, error)
	Status(ctx context.Context, env, app string) ([]releases.State, error)
}

// Config says who may call, and how much they may send.
type Config struct {
	AdminToken releases.Secret
	MaxBody    int64 // bytes
}

// Server answers the API's calls.
type Server struct {
	service Service
	config  Config
	log     *slog.Logger
	metrics *Metrics
}

// New makes a Server.
func New(s Service, c Config, m *Metrics, log *slog.Logger) *Server {
	return &Server{service: s, config: c, metrics: m, log: log.With("component", "api")}
}

// Handler routes the calls.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, call := range map[string]func(http.ResponseWriter, *http.Request) (int, any, error){
		"POST /api/artifact":          s.postArtifact,
		"GET /api/artifacts":          s.getArtifacts,
		"POST /api/releases":          s.postReleases,
		"GET /api/releases":           s.getReleases,
		"POST /api/rollback":          s.postRollback,
		"GET /api/status":             s.getStatus,
		"GET /api/eventReleaseTrack":  s.trackRelease,
		"GET /api/eventArtifactTrack": s.trackArtifact,
	} {
		mux.Handle(pattern, s.metrics.Count(pattern, s.answer(call)))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, releases.Errorf(releases.NotFound, "there is no %s %s", r.Method, r.URL.Path))
	})
	return mux
}

// answer authenticates, runs the call, and writes what it returns.
func (s *Server) answer(call func(http.ResponseWriter, *http.Request) (int, any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.authenticate(r); err != nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			s.write(w, http.StatusUnauthorized, map[string]string{"error": err.Error(), "code": "unauthorized"})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, s.config.MaxBody)
		status, body, err := call(w, r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.write(w, status, body)
	})
}

func (s *Server) authenticate(r *http.Request) error {
	if r.URL.Query().Has("access_token") || r.URL.Query().Has("token") {
		return errors.New("a token in the URL is not accepted, it would end up in logs; send the header `Authorization: Bearer <token>`")
	}
	if s.config.AdminToken == "" {
		return errors.New("this server has no admin token; set server.adminTokenFile in its configuration")
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return errors.New("send the header `Authorization: Bearer <token>`")
	}
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.config.AdminToken.Reveal()))
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return errors.New("the token is not known")
	}
	return nil
}

// caller is who the admin token speaks for.
func caller() releases.Actor { return releases.Actor{Name: "admin", Via: "api", Root: true} }

// fail answers with an error. It is the one place where kinds become status codes.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, code := http.StatusInternalServerError, "internal"
	var ambiguous *releases.Ambiguous
	var tooLarge *http.MaxBytesError
	switch kind := releases.KindOf(err); {
	case errors.As(err, &tooLarge):
		status, code = http.StatusRequestEntityTooLarge, "too large"
	case kind == releases.Invalid:
		status, code = http.StatusBadRequest, string(kind)
	case kind == releases.NotFound:
		status, code = http.StatusNotFound, string(kind)
	case kind == releases.NotAllowed:
		status, code = http.StatusForbidden, string(kind)
	case kind == releases.Conflict, kind == releases.Stale, errors.As(err, &ambiguous):
		status, code = http.StatusConflict, "conflict"
	case kind == releases.Unavailable, errors.Is(err, context.DeadlineExceeded):
		status, code = http.StatusServiceUnavailable, "unavailable"
	}
	if status >= http.StatusInternalServerError {
		s.log.Error("a call failed", "method", r.Method, "path", r.URL.Path, "err", releases.Redact(err.Error()))
	}
	s.write(w, status, map[string]string{"error": releases.Redact(err.Error()), "code": code})
}

func (s *Server) write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.log.Debug("an answer was not taken", "err", err)
	}
}
