package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"gimletd/releases"

	"github.com/google/uuid"
)

// Service is what the calls need of releases.
type Service interface {
	actions
	queries
}

type actions interface {
	Ingest(ctx context.Context, a *releases.Artifact, idempotencyKey string, by releases.Actor) (*releases.Shipped, bool, error)
	Propose(ctx context.Context, ask releases.Ask) ([]releases.Release, error)
	DryRun(ctx context.Context, ask releases.Ask) ([]releases.Foreseen, error)
	Rollback(ctx context.Context, ask releases.RollbackAsk) (releases.Release, error)
	Remove(ctx context.Context, ask releases.RemoveAsk) (releases.Release, error)
	Vote(ctx context.Context, b releases.Ballot) (releases.Release, error)
	Cancel(ctx context.Context, id, reason string, by releases.Actor, at time.Time) (releases.Release, error)
	DeleteBranch(ctx context.Context, d releases.Deletion) (made []releases.Release, decisions []releases.Decision, isNew bool, err error)
	RolledOut(ctx context.Context, r releases.Rollout) (concerned int, err error)
	controls
	tokens
	foresight
}

type foresight interface {
	Outlooks(ctx context.Context, name string, past int) ([]releases.Outlook, error)
	Forecast(ctx context.Context, until time.Time, c *releases.Changed) (releases.Forecast, error)
	Backtest(ctx context.Context, since time.Time, c *releases.Changed) (releases.Backtest, error)
}

type controls interface {
	Hold(ctx context.Context, app, env, reason string, by releases.Actor, at time.Time) error
	Resume(ctx context.Context, app, env string, by releases.Actor, at time.Time) error
	Lock(ctx context.Context, ask releases.LockAsk) (releases.Lock, error)
	Unlock(ctx context.Context, ask releases.LockAsk) (releases.Lock, error)
	Freeze(ctx context.Context, ask releases.FreezeAsk) ([]releases.Freeze, error)
	Unfreeze(ctx context.Context, ask releases.FreezeAsk) ([]releases.Freeze, error)
	MarkBad(ctx context.Context, ask releases.MarkAsk) (releases.Mark, error)
	ClearMark(ctx context.Context, ask releases.MarkAsk) (releases.Mark, error)
	BreakGlass(ctx context.Context, ask releases.GlassAsk) (releases.Release, error)
	SignOff(ctx context.Context, releaseID, remark string, by releases.Actor, at time.Time) (releases.Review, error)
}

type tokens interface {
	CreateToken(ctx context.Context, t releases.Token, by releases.Actor) (secret string, err error)
	RevokeToken(ctx context.Context, name string, by releases.Actor) error
	Tokens(ctx context.Context) ([]releases.Token, error)
	TokenOf(ctx context.Context, secret string) (*releases.Token, error)
}

type queries interface {
	Artifact(ctx context.Context, id string) (*releases.Shipped, error)
	Artifacts(ctx context.Context, q releases.ArtifactQuery) ([]*releases.Shipped, error)
	Release(ctx context.Context, id string) (releases.Release, error)
	Releases(ctx context.Context, q releases.ReleaseQuery) ([]releases.Release, error)
	Status(ctx context.Context, env, app string) ([]releases.State, error)
	Locks(ctx context.Context) ([]releases.Lock, error)
	Freezes(ctx context.Context, env string) (on []releases.Freeze, next *releases.Freeze, err error)
	Marks(ctx context.Context) ([]releases.Mark, error)
	AuditLines(ctx context.Context, after uint64, limit int) (lines [][]byte, head releases.Anchor, err error)
}

// Config says who may call, and how much they may send.
type Config struct {
	AdminToken releases.Secret
	MaxBody    int64 // bytes
	// Identify says for whom a token speaks. Without it no tokens but the admin's are known.
	Identify func(ctx context.Context, t releases.Token) (releases.Actor, error)
	Person   func(email string) bool // whether somebody has the address
	// Issuers are CIs whose own tokens are taken.
	Issuers []Issuer
	// Environments are those of the configuration, by name.
	Environments map[string]EnvironmentConfig
	Webhooks     WebhookConfig
	// Changed reads a configuration that policies are to be tried with.
	Changed func(text []byte) (*releases.Changed, error)
}

// call answers a request with a status and a body, or an error.
type call func(http.ResponseWriter, *http.Request) (int, any, error)

// Server answers the API's calls.
type Server struct {
	service Service
	config  Config
	log     *slog.Logger
	metrics *Metrics
	// attempts are those with tokens that are none.
	attempts *attempts
	issuers  issuers
	// rehearsing is held by who looks ahead or back.
	rehearsing chan struct{}
}

// New makes a Server.
func New(s Service, c Config, m *Metrics, log *slog.Logger) *Server {
	return &Server{service: s, config: c, metrics: m, log: log.With("component", "api"), attempts: newAttempts(), issuers: newIssuers(c.Issuers, &http.Client{Timeout: issuerWithin}, time.Now), rehearsing: make(chan struct{}, 1)}
}

// calls are those that take a token.
func (s *Server) calls() map[string]call {
	return map[string]call{
		"POST /api/artifact":          s.postArtifact,
		"GET /api/artifacts":          s.getArtifacts,
		"POST /api/releases":          s.postReleases,
		"GET /api/releases":           s.getReleases,
		"POST /api/rollback":          s.postRollback,
		"GET /api/status":             s.getStatus,
		"GET /api/eventReleaseTrack":  s.trackRelease,
		"GET /api/eventArtifactTrack": s.trackArtifact,
		"POST /api/delete":            s.postDelete,
		"GET /api/event":              s.getEvent,
		"GET /api/gitopsRepo":         s.getGitopsRepo,
		"GET /api/gitopsCommits":      s.getGitopsCommits,
		"GET /api/users":              s.getUsers,
		"GET /api/user":               s.getUser,
		"GET /api/user/{login}":       s.getUser,
		"POST /api/user":              s.postUser,
		"DELETE /api/user/{login}":    s.deleteUser,

		"GET /api/releases/{id}":              s.getRelease,
		"POST /api/releases/{id}/approve":     s.vote(true),
		"POST /api/releases/{id}/reject":      s.vote(false),
		"POST /api/releases/{id}/cancel":      s.postCancel,
		"POST /api/releases/{id}/break-glass": s.postBreakGlass,
		"POST /api/releases/{id}/sign-off":    s.postSignOff,
		"GET /api/locks":                      s.getLocks,
		"POST /api/locks":                     s.postLock,
		"DELETE /api/locks":                   s.deleteLock,
		"GET /api/freezes":                    s.getFreezes,
		"POST /api/freezes":                   s.postFreeze,
		"DELETE /api/freezes":                 s.deleteFreeze,
		"POST /api/holds":                     s.postHold,
		"DELETE /api/holds":                   s.deleteHold,
		"GET /api/marks":                      s.getMarks,
		"POST /api/marks":                     s.postMark,
		"DELETE /api/marks":                   s.deleteMark,
		"POST /api/branch-deleted":            s.postBranchDeleted,
		"POST /api/flux-events":               s.postFluxEvent,
		"GET /api/policies":                   s.getPolicies,
		"POST /api/policies/forecast":         s.postForecast,
		"POST /api/policies/backtest":         s.postBacktest,
		"GET /api/audit":                      s.getAudit,
		"GET /api/tokens":                     s.getTokens,
		"POST /api/tokens":                    s.postToken,
		"DELETE /api/tokens/{name}":           s.deleteToken,
	}
}

// open are the calls that take none.
func (s *Server) open() map[string]http.Handler {
	return map[string]http.Handler{
		"POST /webhooks/github": s.hook(s.fromGitHub),
		"POST /webhooks/gitlab": s.hook(s.fromGitLab),
		"GET /api/openapi.json": s.describe(),
	}
}

// Handler routes the calls.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, call := range s.calls() {
		mux.Handle(pattern, s.metrics.Count(pattern, s.answer(call)))
	}
	for pattern, handler := range s.open() {
		mux.Handle(pattern, s.metrics.Count(pattern, handler))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, releases.Errorf(releases.NotFound, "there is no %s %s", r.Method, r.URL.Path))
	})
	return mux
}

// answer authenticates, runs the call, and writes what it returns.
func (s *Server) answer(call call) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(requestHeader, requestID(r))
		actor, err := s.authenticate(r)
		if releases.KindOf(err) != "" && releases.KindOf(err) != releases.NotAllowed {
			s.fail(w, r, err)
			return
		}
		if errors.Is(err, errTooManyAttempts) {
			w.Header().Set("Retry-After", retryAttempts)
			s.write(w, http.StatusTooManyRequests, map[string]string{"error": err.Error(), "code": "too many attempts"})
			return
		}
		if err != nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			s.write(w, http.StatusUnauthorized, map[string]string{"error": err.Error(), "code": "unauthorized"})
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), callerKey{}, actor))
		r.Body = http.MaxBytesReader(w, r.Body, s.config.MaxBody)
		status, body, err := call(w, r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.write(w, status, body)
	})
}

// authenticate says who calls. An error of the kind NotAllowed, or of none, means that nobody knows.
func (s *Server) authenticate(r *http.Request) (releases.Actor, error) {
	nobody := releases.Actor{}
	if r.URL.Query().Has("access_token") || r.URL.Query().Has("token") {
		return nobody, errors.New("a token in the URL is not accepted, it would end up in logs; send the header `Authorization: Bearer <token>`")
	}
	if s.config.AdminToken == "" {
		return nobody, errors.New("this server has no admin token; set server.adminTokenFile in its configuration")
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nobody, errors.New("send the header `Authorization: Bearer <token>`")
	}
	got := sha256.Sum256([]byte(token))
	slowed := s.attempts.slowed(r, got)
	actor, err := s.holder(r.Context(), token, got, !slowed)
	kind := releases.KindOf(err)
	switch {
	case err == nil && actor.Root:
		s.attempts.trust(got)
	case err != nil && (kind == "" || kind == releases.NotAllowed):
		s.attempts.note(r)
		if slowed {
			return nobody, errTooManyAttempts
		}
	}
	return actor, err
}

// errTooManyAttempts takes the place of what is wrong with a token.
var errTooManyAttempts = errors.New("too many tokens that are none were tried from this address; try again in a minute")

// holder is for whom a token speaks. The admin's was chosen by somebody, and could be guessed in time; the others could not.
func (s *Server) holder(ctx context.Context, token string, digest [sha256.Size]byte, maybeAdmin bool) (releases.Actor, error) {
	want := sha256.Sum256([]byte(s.config.AdminToken.Reveal()))
	if maybeAdmin && subtle.ConstantTimeCompare(digest[:], want[:]) == 1 {
		return releases.Admin(), nil
	}
	var t *releases.Token
	var err error
	if of := s.issuers.issuerOf(token); of != nil {
		t, err = s.issuers.verify(ctx, of, token)
	} else {
		t, err = s.service.TokenOf(ctx, token)
	}
	if err != nil {
		return releases.Actor{}, err
	}
	if s.config.Identify == nil {
		return releases.Actor{}, errors.New("the token is not known")
	}
	actor, err := s.config.Identify(ctx, *t)
	actor.Repositories = t.Repositories
	return actor, err
}

type callerKey struct{}

// caller is who has made the call.
func caller(r *http.Request) releases.Actor {
	actor, _ := r.Context().Value(callerKey{}).(releases.Actor)
	return actor
}

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
		s.log.Error("a call failed", "method", r.Method, "path", r.URL.Path, "request", w.Header().Get(requestHeader), "err", releases.Redact(err.Error()))
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	s.write(w, status, map[string]string{"error": releases.Redact(err.Error()), "code": code})
}

// requestHeader names a call: in its answer, and in the log when it fails.
const requestHeader = "X-Request-Id"

// retryAfter is when a call that something kept from being done may be made again, in seconds.
const retryAfter = "5"

// retryAttempts is when another token may be tried, in seconds.
const retryAttempts = "60"

var goodRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// requestID is the one that the client gave, or a new one.
func requestID(r *http.Request) string {
	if given := r.Header.Get(requestHeader); goodRequestID.MatchString(given) {
		return given
	}
	return uuid.NewString()
}

func (s *Server) write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if all, ok := body.(lines); ok {
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.WriteHeader(status)
		for _, line := range all {
			if _, err := w.Write(append(line, '\n')); err != nil {
				return // nobody listens any more
			}
		}
		return
	}
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.log.Debug("an answer was not taken", "err", err)
	}
}
