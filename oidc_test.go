package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// ci is a CI that signs tokens for its runs.
type ci struct {
	*httptest.Server
	t    *testing.T
	keys []*ecdsa.PrivateKey // the last one is not published
	down sync.Map            // paths
	asks atomic.Int64
}

func newCI(t *testing.T) *ci {
	t.Helper()
	c := &ci{t: t}
	for range 2 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c.keys = append(c.keys, key)
	}
	mux := http.NewServeMux()
	answer := func(path string, body func() any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			c.asks.Add(1)
			if _, down := c.down.Load(path); down {
				http.Error(w, "down", http.StatusBadGateway)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(body())
		})
	}
	answer("/.well-known/openid-configuration", func() any {
		return map[string]any{
			"issuer": c.URL, "jwks_uri": c.URL + "/jwks", "id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"},
			"authorization_endpoint": c.URL, "response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
		}
	})
	answer("/jwks", func() any {
		return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: c.keys[0].Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}}
	})
	c.Server = httptest.NewServer(mux)
	t.Cleanup(c.Close)
	return c
}

// token is one for a run of acme/web, but for what is changed.
func (c *ci) token(change func(claims map[string]any)) string {
	return c.signed(c.keys[0], "k1", change)
}

func (c *ci) signed(key crypto.PrivateKey, id string, change func(claims map[string]any)) string {
	c.t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", id)
	algorithm := jose.ES256
	if _, ok := key.([]byte); ok {
		algorithm = jose.HS256
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		c.t.Fatal(err)
	}
	signature, err := signer.Sign(c.claims(change))
	if err != nil {
		c.t.Fatal(err)
	}
	text, err := signature.CompactSerialize()
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}

func (c *ci) claims(change func(claims map[string]any)) []byte {
	claims := map[string]any{
		"iss": c.URL, "aud": "https://gimletd.acme.example", "sub": "repo:acme/web:ref:refs/heads/main", "repository": "acme/web",
		"iat": time.Now().Unix(), "nbf": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(5 * time.Minute).Unix(),
	}
	if change != nil {
		change(claims)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}

func claim(name string, value any) func(map[string]any) {
	return func(claims map[string]any) { maps.Copy(claims, map[string]any{name: value}) }
}

// TestACIShipsWithItsOwnTokens and with no other: each way in which a token can be wrong is refused, and what is in none of ours is not told.
func TestACIShipsWithItsOwnTokens(t *testing.T) {
	github, other := newCI(t), newCI(t)
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	w.extra = "roles:\n  - {name: ci, members: [\"token:github\"], can: [ship, release]}\n"
	w.server = fmt.Sprintf(", oidc: [{name: github, issuer: %q, audience: https://gimletd.acme.example, claim: repository, repositories: [acme/*]}]", github.URL)
	s := w.start()
	of := func(repository string) []byte {
		return w.artifact("web", long("1111111"), func(a map[string]any) {
			a["version"].(map[string]any)["repositoryName"] = repository
			for _, e := range a["environments"].([]any) {
				delete(e.(map[string]any), "deploy")
			}
		})
	}
	const discovery, keys = "/.well-known/openid-configuration", "/jwks"
	github.down.Store(discovery, true)
	first := github.token(nil)
	unavailable := func() {
		t.Helper()
		if status, text, err := s.callAs(first, http.MethodPost, "/api/artifact", of("acme/web")); err != nil || status != http.StatusServiceUnavailable || !strings.Contains(string(text), "cannot be asked for its keys") {
			t.Errorf("%d %s %v", status, text, err)
		}
	}
	for range 3 {
		unavailable()
	}
	if asks := github.asks.Load(); asks != 1 {
		t.Errorf("an issuer that is down was asked %d times for three calls", asks)
	}
	github.down.Clear()
	s.stop()
	s = w.start()
	github.down.Store(keys, true)
	unavailable()
	github.down.Clear()

	unsigned := func(header string) string {
		encode := base64.RawURLEncoding.EncodeToString
		return encode([]byte(header)) + "." + encode(github.claims(nil)) + "."
	}
	good := github.token(nil)
	public, err := json.Marshal(jose.JSONWebKey{Key: github.keys[0].Public()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, token, repository string
		status                  int
		says                    string
	}{
		{"its own repository", good, "acme/web", 201, ""},
		{"several audiences", github.token(claim("aud", []string{"else", "https://gimletd.acme.example"})), "acme/web", 200, ""},
		{"another repository", good, "acme/api", 403, "speaks for acme/web only, not for acme/api"},
		{"alg none", unsigned(`{"alg":"none","typ":"JWT"}`), "acme/web", 401, "is not good"},
		{"alg none, in capitals", unsigned(`{"alg":"None","kid":"k1"}`), "acme/web", 401, "is not good"},
		{"signed with the public key as a secret", github.signed(public, "k1", nil), "acme/web", 401, "is not good"},
		{"an unknown key", github.signed(github.keys[1], "k2", nil), "acme/web", 401, "is not good"},
		{"an unknown key by a known name", github.signed(github.keys[1], "k1", nil), "acme/web", 401, "its signature is not what it must be"},
		{"changed after it was signed", good[:strings.LastIndex(good, ".")-4] + "AAAA" + good[strings.LastIndex(good, "."):], "acme/web", 401, ""},
		{"another audience", github.token(claim("aud", "https://else.example")), "acme/web", 401, "its audience is not what it must be"},
		{"expired", github.token(claim("exp", time.Now().Add(-time.Hour).Unix())), "acme/web", 401, "expired at"},
		{"of tomorrow", github.token(claim("nbf", time.Now().Add(24*time.Hour).Unix())), "acme/web", 401, "its nbf is not what it must be"},
		{"of another issuer", other.token(nil), "acme/web", 401, "the token is not known"},
		{"of another issuer that says it is this one", other.token(claim("iss", github.URL)), "acme/web", 401, "its signature is not what it must be"},
		{"of somebody else's repository", github.token(claim("repository", "eve/web")), "eve/web", 401, "runs of eve/web are not let in: server.oidc allows acme/*"},
		{"of no repository", github.token(func(c map[string]any) { delete(c, "repository") }), "acme/web", 401, "claim repository"},
		{"of every repository", github.token(claim("repository", "*")), "acme/web", 401, "claim repository"},
		{"of several repositories", github.token(claim("repository", []string{"acme/web"})), "acme/web", 401, "claim repository"},
	} {
		status, text, err := s.callAs(c.token, http.MethodPost, "/api/artifact", of(c.repository))
		if err != nil || status != c.status || !strings.Contains(string(text), c.says) {
			t.Errorf("%s: %d %s %v", c.name, status, text, err)
		}
		if strings.Contains(string(text), c.token[:40]) {
			t.Errorf("%s: the answer has the token: %s", c.name, text)
		}
	}
	// Runs of another repository are somebody else, and cannot take back what these have asked for.
	var shipped []struct{ ID string }
	get(t, s, "/api/artifacts", &shipped)
	status, text, err := s.callAs(good, http.MethodPost, "/api/releases", fmt.Appendf(nil, `{"env": "production", "artifactId": %q}`, shipped[0].ID))
	if err != nil || status != http.StatusCreated {
		t.Errorf("%d %s %v", status, text, err)
	}
	s.typed("# settled?")
	var asked []struct{ ID string }
	get(t, s, "/api/releases?env=production", &asked)
	for token, want := range map[string]int{good: http.StatusConflict, github.token(claim("repository", "acme/api")): http.StatusForbidden} {
		if status, text, err := s.callAs(token, http.MethodPost, "/api/releases/"+asked[0].ID+"/cancel", nil); err != nil || status != want {
			t.Errorf("%d %s %v, not %d", status, text, err, want)
		}
	}
	if status, text, err := s.callAs(good, http.MethodPost, "/api/tokens", []byte(`{"name": "more"}`)); err != nil || status != http.StatusForbidden {
		t.Errorf("%d %s %v", status, text, err)
	}
	s.stop()
	if text := s.log.String(); strings.Contains(text, good) || strings.Contains(text, first) {
		t.Error("the log has a token")
	}
}
