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
	client *http.Client
	now    func() time.Time
	all    map[string]*issuer // by URL
}

type issuer struct {
	Issuer
	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	asked    time.Time
	failure  error
}

func newIssuers(all []Issuer, client *http.Client, now func() time.Time) issuers {
	i := issuers{client: client, now: now, all: map[string]*issuer{}}
	for _, one := range all {
		i.all[one.URL] = &issuer{Issuer: one}
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

// AccountSuffix ends the accounts of those who were let in by an issuer's token.
const AccountSuffix = "/oidc"

var repositoryName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$`)

// verify returns the token that a CI's own one stands for: it may be taken for nothing else than what the issuer has signed.
func (i issuers) verify(ctx context.Context, of *issuer, token string) (*releases.Token, error) {
	ctx = oidc.ClientContext(ctx, i.client)
	verifier, err := of.ready(ctx, i)
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
	return &releases.Token{Name: of.Name, Hash: strings.TrimPrefix(AccountSuffix, "/"), Repositories: []string{repository}}, nil
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

// ready asks the issuer how its tokens are verified, once.
func (o *issuer) ready(ctx context.Context, i issuers) (*oidc.IDTokenVerifier, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.verifier != nil {
		return o.verifier, nil
	}
	if o.failure != nil && i.now().Sub(o.asked) < issuerAgain {
		return nil, o.failure
	}
	asking, cancel := context.WithTimeout(ctx, issuerWithin)
	defer cancel()
	provider, err := oidc.NewProvider(asking, o.URL)
	if o.asked, o.failure = i.now(), err; err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	// The keys are fetched by the provider's own context, which must not end with this call.
	o.verifier = provider.VerifierContext(oidc.ClientContext(context.WithoutCancel(ctx), i.client), &oidc.Config{ClientID: o.Audience, Now: i.now})
	return o.verifier, nil
}
