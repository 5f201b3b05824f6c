package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"gimletd/releases"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

// Issuer is a CI that signs tokens for its runs (OpenID Connect), so that it needs no secret of ours. A run speaks as `token:<name>` in the
// roles, and ships for its own source repository only.
// https://docs.github.com/en/actions/concepts/security/openid-connect, https://docs.gitlab.com/ci/secrets/id_token_authentication/
type Issuer struct {
	Name     string
	URL      string
	Audience string
	Claim    string // that names the source repository
	// Repositories are those whose runs are let in, as globs: an issuer such as GitHub signs for everybody in the world.
	Repositories []string
}

// Limits of what issuers are asked.
const (
	issuerWithin = 10 * time.Second
	issuerAgain  = 10 * time.Second // after it could not be asked
	maxJWT       = 16 << 10
)

// issuers verify the tokens of CIs.
type issuers struct {
	now func() time.Time
	all map[string]*issuer // by URL
}

type issuer struct {
	Issuer
	client *http.Client
	asking singleflight.Group

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	asked    time.Time
	failure  error
}

// sparing keeps those who make up tokens from having their issuer asked for its keys each time. Keys that are known are not asked for.
type sparing struct {
	http.RoundTripper
	limit *rate.Limiter
}

// Limits of how often an issuer is asked.
const (
	askEvery  = 5 * time.Second
	askAtOnce = 10
)

var errAskedTooOften = errors.New("it was asked too often just now")

// RoundTrip is for http.RoundTripper.
func (s sparing) RoundTrip(r *http.Request) (*http.Response, error) {
	if !s.limit.Allow() {
		return nil, errAskedTooOften
	}
	return s.RoundTripper.RoundTrip(r)
}

func newIssuers(all []Issuer, client *http.Client, now func() time.Time) issuers {
	i := issuers{now: now, all: map[string]*issuer{}}
	for _, one := range all {
		calm := *client
		calm.Transport = sparing{http.DefaultTransport, rate.NewLimiter(rate.Every(askEvery), askAtOnce)}
		i.all[one.URL] = &issuer{Issuer: one, client: &calm}
	}
	return i
}

// issuerOf is the issuer that a token says it is of, if it is a JWT of one that is known. It says nothing of whether that is true.
func (i issuers) issuerOf(token string) *issuer {
	parts := strings.Split(token, ".")
	const partsOfJWT = 3
	if len(i.all) == 0 || len(parts) != partsOfJWT || len(token) > maxJWT {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Issuer string `json:"iss"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return nil
	}
	return i.all[claims.Issuer]
}

var repositoryName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$`)

// verify returns the token that a CI's own one stands for: it may be taken for nothing else than what the issuer has signed.
func (i issuers) verify(ctx context.Context, of *issuer, token string) (*releases.Token, error) {
	verifier, err := of.ready(ctx, i.now)
	if err != nil {
		return nil, releases.Wrap(releases.Unavailable, err, "the issuer %s cannot be asked for its keys now", of.URL)
	}
	verifying, cancel := context.WithTimeout(ctx, issuerWithin)
	defer cancel()
	verified, err := verifier.Verify(verifying, token)
	var expired *oidc.TokenExpiredError
	switch {
	case errors.As(err, &expired):
		return nil, releases.Errorf(releases.NotAllowed, "the token of %s expired at %s", of.Name, expired.Expiry.UTC().Format(time.RFC3339))
	case err != nil && (verifying.Err() != nil || strings.Contains(err.Error(), "fetching keys")): // the library wraps it in words alone
		return nil, releases.Wrap(releases.Unavailable, err, "the issuer %s cannot be asked for its keys now", of.URL)
	case err != nil:
		return nil, releases.Errorf(releases.NotAllowed, "the token of %s is not good: %s", of.Name, reasonOf(err))
	}
	claims := map[string]any{}
	if err := verified.Claims(&claims); err != nil {
		return nil, releases.Errorf(releases.NotAllowed, "the token of %s has claims that cannot be read", of.Name)
	}
	repository, _ := claims[of.Claim].(string)
	if !repositoryName.MatchString(repository) {
		return nil, releases.Errorf(releases.NotAllowed, "the token of %s does not say of which repository it is (claim %s)", of.Name, of.Claim)
	}
	if globs, err := releases.NewGlobs(of.Repositories); err != nil || !globs.Match(repository) {
		return nil, releases.Errorf(releases.NotAllowed, "runs of %s are not let in: server.oidc allows %s", repository, strings.Join(of.Repositories, ", "))
	}
	return &releases.Token{Name: of.Name, Repositories: []string{repository}}, nil
}

// reasonOf is what is wrong with a token, without the token's own words.
func reasonOf(err error) string {
	text := err.Error()
	for _, known := range []string{"audience", "issuer", "signature", "algorithm", "nbf", "malformed", "kid"} {
		if strings.Contains(text, known) {
			return "its " + known + " is not what it must be"
		}
	}
	return "it cannot be verified"
}

// ready asks the issuer how its tokens are verified, once. Whoever calls may leave; the others go on waiting.
func (o *issuer) ready(ctx context.Context, now func() time.Time) (*oidc.IDTokenVerifier, error) {
	if verifier, failure := o.known(now()); verifier != nil || failure != nil {
		return verifier, failure
	}
	lasting := oidc.ClientContext(context.WithoutCancel(ctx), o.client)
	answered := o.asking.DoChan("", func() (any, error) {
		asking, cancel := context.WithTimeout(lasting, issuerWithin)
		defer cancel()
		provider, err := oidc.NewProvider(asking, o.URL)
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.asked, o.failure = now(), err; err != nil {
			return nil, err
		}
		// The keys are fetched by the provider's own context, which must not end with this call.
		o.verifier = provider.VerifierContext(lasting, &oidc.Config{ClientID: o.Audience, Now: now})
		return nil, nil
	})
	select {
	case a := <-answered:
		if a.Err != nil {
			return nil, fmt.Errorf("discovery: %w", a.Err)
		}
		verifier, _ := o.known(now())
		return verifier, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// known is what the issuer has answered, or why it could not be asked just now.
func (o *issuer) known(now time.Time) (*oidc.IDTokenVerifier, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.verifier == nil && o.failure != nil && now.Sub(o.asked) < issuerAgain {
		return nil, fmt.Errorf("discovery: %w", o.failure)
	}
	return o.verifier, nil
}
