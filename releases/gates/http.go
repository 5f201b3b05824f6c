package gates

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/template"

	"gimletd/releases"
)

// HTTPConfig is a check by HTTP: GET must answer with a status, and, if it says so, with a text in the body.
type HTTPConfig struct {
	URL      string `yaml:"url"`
	Status   int    `yaml:"status"`   // default: any of 200 to 299
	Contains string `yaml:"contains"` // in the body's first 64 KiB
	Auth     Auth   `yaml:"auth"`
}

// HTTP is a check by HTTP.
type HTTP struct {
	c   HTTPConfig
	url *template.Template
	do  *http.Client
}

// NewHTTP makes a check.
func NewHTTP(c HTTPConfig) (*HTTP, error) {
	t, err := placeholders("url", c.URL)
	if err != nil {
		return nil, err
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(c.URL, "https://"), "http://"), "/")
	if strings.Contains(host, "{{") && c.Auth != (Auth{}) {
		return nil, errors.New("auth: and a placeholder in the host: whoever names an app would be sent the credentials")
	}
	if err := checkURL(fill(t, releases.Subject{App: "app", From: "from", To: "to", SHA: "00000000"})); err != nil {
		return nil, err
	}
	if c.Status != 0 && (c.Status < 100 || c.Status > 599) {
		return nil, fmt.Errorf("status: %d is not an HTTP status", c.Status)
	}
	return &HTTP{c: c, url: t, do: client()}, c.Auth.validate()
}

// Question is the URL.
func (h *HTTP) Question(s releases.Subject) string { return fill(h.url, s) }

// Ask asks the URL once. No answer, and one that the server says is temporary (429, 503), are inconclusive.
func (h *HTTP) Ask(ctx context.Context, url string) (releases.Verdict, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return releases.Inconclusive, err.Error()
	}
	h.c.Auth.sign(req)
	res, err := h.do.Do(req)
	if err != nil {
		return releases.Inconclusive, unaddressed(err, req.URL)
	}
	defer res.Body.Close() //nolint:errcheck // nothing depends on it
	const most = 64 << 10
	body, err := io.ReadAll(io.LimitReader(res.Body, most))
	seen := fmt.Sprintf("%s answered %s", shown(req.URL), res.Status)
	switch wanted := res.StatusCode == h.c.Status || (h.c.Status == 0 && res.StatusCode >= 200 && res.StatusCode < 300); {
	case !wanted && (res.StatusCode == http.StatusServiceUnavailable || res.StatusCode == http.StatusTooManyRequests):
		return releases.Inconclusive, seen
	case !wanted:
		return releases.Fail, seen
	case err != nil:
		return releases.Inconclusive, fmt.Sprintf("%s, and then: %v", seen, err)
	case !strings.Contains(string(body), h.c.Contains):
		return releases.Fail, fmt.Sprintf("%s without %q", seen, h.c.Contains)
	}
	return releases.Pass, seen
}
