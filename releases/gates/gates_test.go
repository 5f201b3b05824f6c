package gates_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gimletd/releases"
	"gimletd/releases/gates"
)

var subject = releases.Subject{App: "web", From: "staging", To: "production", SHA: "1a2b3c4d"}

func TestHTTPGates(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/web/staging/1a2b3c4d":
			fmt.Fprint(w, `{"status": "up"}`)
		case "/down":
			http.Error(w, "down", http.StatusInternalServerError)
		case "/busy":
			http.Error(w, "busy", http.StatusServiceUnavailable)
		case "/moved":
			http.Redirect(w, r, "/web/staging/1a2b3c4d", http.StatusFound)
		case "/secret":
			if r.Header.Get("Authorization") != "Bearer s3cr3t" {
				http.Error(w, "who?", http.StatusUnauthorized)
			}
		case "/hangs":
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	}))
	defer server.Close()
	for _, c := range []struct {
		name   string
		config gates.HTTPConfig
		want   releases.Verdict
		seen   string
	}{
		{"good", gates.HTTPConfig{URL: "/{{ .App }}/{{ .From }}/{{ .SHA }}"}, releases.Pass, "answered 200 OK"},
		{"good, and it says so", gates.HTTPConfig{URL: "/web/staging/1a2b3c4d", Contains: `"up"`}, releases.Pass, "200"},
		{"good, and it does not", gates.HTTPConfig{URL: "/web/staging/1a2b3c4d", Contains: "ready"}, releases.Fail, `without "ready"`},
		{"down", gates.HTTPConfig{URL: "/down"}, releases.Fail, "answered 500"},
		{"another status is wanted", gates.HTTPConfig{URL: "/down", Status: 500}, releases.Pass, "500"},
		{"not wanted", gates.HTTPConfig{URL: "/web/staging/1a2b3c4d", Status: 204}, releases.Fail, "200"},
		{"busy", gates.HTTPConfig{URL: "/busy"}, releases.Inconclusive, "503"},
		{"sent on", gates.HTTPConfig{URL: "/moved"}, releases.Fail, "302"},
		{"with a token", gates.HTTPConfig{URL: "/secret", Auth: gates.Auth{BearerToken: "s3cr3t"}}, releases.Pass, "200"},
		{"without", gates.HTTPConfig{URL: "/secret"}, releases.Fail, "401"},
		{"it hangs", gates.HTTPConfig{URL: "/hangs"}, releases.Inconclusive, "context deadline exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.config.URL = server.URL + c.config.URL
			gate, err := gates.NewHTTP(c.config)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			got, seen := gate.Ask(ctx, gate.Question(subject))
			if got != c.want || !strings.Contains(seen, c.seen) || strings.Contains(seen, "s3cr3t") {
				t.Errorf("%s because %q, want %s because %q", got, seen, c.want, c.seen)
			}
		})
	}
	gate, err := gates.NewHTTP(gates.HTTPConfig{URL: "http://127.0.0.1:1/"})
	if err != nil {
		t.Fatal(err)
	}
	if got, seen := gate.Ask(t.Context(), gate.Question(subject)); got != releases.Inconclusive || seen == "" {
		t.Errorf("nobody listens: %s %q", got, seen)
	}
}

func TestPrometheusGates(t *testing.T) {
	var asked string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.FormValue("query")
		w.Header().Set("Content-Type", "application/json")
		result, ok := map[string]string{
			"none":   `{"resultType":"vector","result":[]}`,
			"low":    `{"resultType":"vector","result":[{"metric":{},"value":[1.5,"0.001"]},{"metric":{"a":"b"},"value":[1.5,"0.002"]}]}`,
			"high":   `{"resultType":"vector","result":[{"metric":{},"value":[1.5,"0.001"]},{"metric":{"a":"b"},"value":[1.5,"0.5"]}]}`,
			"nan":    `{"resultType":"vector","result":[{"metric":{},"value":[1.5,"NaN"]}]}`,
			"scalar": `{"resultType":"scalar","result":[1.5,"3"]}`,
			"matrix": `{"resultType":"matrix","result":[]}`,
		}[strings.SplitN(asked, "{", 2)[0]]
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"status":"error","errorType":"bad_data","error":"parse error"}`)
			return
		}
		fmt.Fprintf(w, `{"status":"success","data":%s}`, result)
	}))
	defer server.Close()
	number := func(f float64) *float64 { return &f }
	for _, c := range []struct {
		query    string
		min, max *float64
		want     releases.Verdict
		seen     string
	}{
		{`low{app="{{ .App }}"}`, nil, number(0.01), releases.Pass, "is 0.001, 0.002"},
		{"high", nil, number(0.01), releases.Fail, "is 0.5, more than 0.01"},
		{"low", number(0.0015), nil, releases.Fail, "is 0.001, less than 0.0015"},
		{"scalar", number(1), number(3), releases.Pass, "is 3"},
		{"none", nil, number(1), releases.Inconclusive, "no data"},
		{"nan", nil, number(1), releases.Inconclusive, "is no number"},
		{"matrix", nil, number(1), releases.Inconclusive, "it is a matrix"},
		{"wrong(", nil, number(1), releases.Inconclusive, "parse error"},
	} {
		gate, err := gates.NewPrometheus(gates.PrometheusConfig{URL: server.URL, Query: c.query, Min: c.min, Max: c.max})
		if err != nil {
			t.Fatal(err)
		}
		got, seen := gate.Ask(t.Context(), gate.Question(subject))
		if got != c.want || !strings.Contains(seen, c.seen) {
			t.Errorf("%s: %s because %q, want %s because %q", c.query, got, seen, c.want, c.seen)
		}
	}
	if gate, err := gates.NewPrometheus(gates.PrometheusConfig{URL: server.URL, Query: `low{app="{{ .App }}"}`, Max: number(1)}); err != nil || gate.Question(subject) != `low{app="web"}` {
		t.Errorf("it asks %q (%v)", asked, err)
	}
}

func TestGatesThatMakeNoSense(t *testing.T) {
	one := 1.0
	for _, c := range []struct {
		make func() error
		says string
	}{
		{func() error { _, err := gates.NewHTTP(gates.HTTPConfig{}); return err }, "url: missing"},
		{func() error { _, err := gates.NewHTTP(gates.HTTPConfig{URL: "ftp://x/"}); return err }, "url: "},
		{func() error { _, err := gates.NewHTTP(gates.HTTPConfig{URL: "https://u:p@x/"}); return err }, "url: has credentials"},
		{func() error { _, err := gates.NewHTTP(gates.HTTPConfig{URL: "https://{{ .Branch }}/"}); return err }, "url: "},
		{func() error { _, err := gates.NewHTTP(gates.HTTPConfig{URL: "https://x/", Status: 1}); return err }, "status: "},
		{func() error {
			_, err := gates.NewHTTP(gates.HTTPConfig{URL: "https://x/", Auth: gates.Auth{BearerToken: "a", Username: "b"}})
			return err
		}, "bearerToken: "},
		{func() error {
			_, err := gates.NewPrometheus(gates.PrometheusConfig{URL: "https://x/", Max: &one})
			return err
		}, "query: missing"},
		{func() error {
			_, err := gates.NewPrometheus(gates.PrometheusConfig{URL: "https://x/", Query: "up"})
			return err
		}, "max: missing"},
	} {
		if err := c.make(); err == nil || !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%v, not %s", err, c.says)
		}
	}
}
