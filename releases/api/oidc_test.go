package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"gimletd/releases"
)

// slowIssuer answers when it is let.
func slowIssuer(t *testing.T) (url string, asked chan struct{}, answer chan struct{}, keys *atomic.Int32) {
	asked, answer, keys = make(chan struct{}, 100), make(chan struct{}), &atomic.Int32{}
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/jwks" {
			keys.Add(1)
			fmt.Fprint(w, `{"keys": []}`)
			return
		}
		asked <- struct{}{}
		<-answer
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": server.URL, "jwks_uri": server.URL + "/jwks", "id_token_signing_alg_values_supported": []string{"ES256"}})
	}))
	t.Cleanup(server.Close)
	return server.URL, asked, answer, keys
}

// TestWhoLeavesDoesNotKeepAnIssuerAway has a caller leave while the issuer is asked for the first time.
func TestWhoLeavesDoesNotKeepAnIssuerAway(t *testing.T) {
	url, asked, answer, _ := slowIssuer(t)
	one := newIssuers([]Issuer{{Name: "ci", URL: url}}, &http.Client{Timeout: issuerWithin}, time.Now).all[url]
	leaving, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { _, err := one.ready(leaving, time.Now); left <- err }()
	<-asked
	leave()
	if err := <-left; err == nil {
		t.Error("who has left was answered")
	}
	close(answer)
	if verifier, err := one.ready(t.Context(), time.Now); err != nil || verifier == nil {
		t.Errorf("who has stayed is answered with %v", err)
	}
	if len(asked) > 0 {
		t.Error("the issuer was asked twice")
	}
}

// TestMadeUpTokensDoNotWearTheIssuerOut counts how often it is asked for keys.
func TestMadeUpTokensDoNotWearTheIssuerOut(t *testing.T) {
	url, _, answer, keys := slowIssuer(t)
	close(answer)
	all := newIssuers([]Issuer{{Name: "ci", URL: url, Audience: "gimletd"}}, &http.Client{Timeout: issuerWithin}, time.Now)
	encode := base64.RawURLEncoding.EncodeToString
	payload := encode(fmt.Appendf(nil, `{"iss": %q, "aud": "gimletd", "exp": %d}`, url, time.Now().Add(time.Hour).Unix()))
	for i := range 100 {
		token := encode(fmt.Appendf(nil, `{"alg": "ES256", "kid": "k%d"}`, i)) + "." + payload + "." + encode(make([]byte, 64))
		if _, err := all.verify(t.Context(), all.issuerOf(token), token); err == nil {
			t.Fatal("it was taken")
		} else if kind := releases.KindOf(err); kind != releases.NotAllowed && kind != releases.Unavailable {
			t.Errorf("%v", err)
		}
	}
	if n := keys.Load(); n == 0 || n > 2*askAtOnce {
		t.Errorf("for 100 tokens the issuer was asked %d times for its keys", n)
	}
}
