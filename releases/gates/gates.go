// Package gates asks the questions that scheduled policies are kept by: an HTTP check and a query of Prometheus.
package gates

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/template"
	"time"

	"gimletd/releases"
)

// Auth is as whom a gate asks: with a bearer token, or a name and a password.
type Auth struct {
	BearerToken     releases.Secret `yaml:"bearerToken"`
	BearerTokenFile string          `yaml:"bearerTokenFile"`
	Username        string          `yaml:"username"`
	Password        releases.Secret `yaml:"password"`
	PasswordFile    string          `yaml:"passwordFile"`
}

func (a Auth) validate() error {
	switch {
	case a.BearerToken != "" && a.Username != "":
		return errors.New("bearerToken: and a username: one of them")
	case a.Password != "" && a.Username == "":
		return errors.New("username: missing, there is a password")
	}
	return nil
}

func (a Auth) sign(r *http.Request) {
	switch {
	case a.BearerToken != "":
		r.Header.Set("Authorization", "Bearer "+a.BearerToken.Reveal())
	case a.Username != "":
		r.SetBasicAuth(a.Username, a.Password.Reveal())
	}
}

// checkURL refuses what is not the address of an HTTP server. Placeholders may stand in it.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return errors.New("url: missing")
	case err != nil:
		return fmt.Errorf("url: %w", err)
	case u.User != nil:
		return errors.New("url: has credentials in it; use username and passwordFile")
	case (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return fmt.Errorf("url: %q must begin with https:// or http://", text)
	}
	return nil
}

// placeholders reads a text with {{ .App }}, {{ .From }}, {{ .To }} and {{ .SHA }}. Their values are names and hashes, so that
// nothing that CI ships can become another part of a URL or a query.
func placeholders(key, text string) (*template.Template, error) {
	t, err := template.New(key).Option("missingkey=error").Parse(text)
	if err == nil {
		err = t.Execute(&strings.Builder{}, releases.Subject{App: "app", From: "from", To: "to", SHA: "00000000"})
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w (there are {{ .App }}, {{ .From }}, {{ .To }} and {{ .SHA }})", key, err)
	}
	return t, nil
}

func fill(t *template.Template, s releases.Subject) string {
	var b strings.Builder
	_ = t.Execute(&b, s) // tried with the same type when it was read
	return b.String()
}

// shown is a URL for people: without its query, in which secrets may stand.
func shown(u *url.URL) string { return u.Scheme + "://" + u.Host + u.Path }

// unaddressed is an error of a call, without the URL's query.
func unaddressed(err error, u *url.URL) string {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return shown(u) + ": " + failed.Err.Error()
	}
	return shown(u) + ": " + err.Error()
}

// client goes to the server that is named and to no other: not by a proxy, and not to where it is sent on to, which would be
// asked with the same credentials.
func client() *http.Client {
	return &http.Client{
		Timeout:       20 * time.Second,
		Transport:     &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: 15 * time.Second, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
