package gates

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"text/template"
	"time"

	"gimletd/releases"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// PrometheusConfig is a query whose every value must lie within bounds.
type PrometheusConfig struct {
	URL   string   `yaml:"url"`
	Query string   `yaml:"query"`
	Min   *float64 `yaml:"min"`
	Max   *float64 `yaml:"max"`
	Auth  Auth     `yaml:"auth"`
}

// Prometheus is a check by a query (https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries).
type Prometheus struct {
	c     PrometheusConfig
	query *template.Template
	api   v1.API
}

// NewPrometheus makes a check.
func NewPrometheus(c PrometheusConfig) (*Prometheus, error) {
	if err := checkURL(c.URL); err != nil {
		return nil, err
	}
	if c.Query == "" {
		return nil, errors.New("query: missing")
	}
	if c.Min == nil && c.Max == nil {
		return nil, errors.New("max: missing, and min, too: one of them says what is good")
	}
	t, err := placeholders("query", c.Query)
	if err != nil {
		return nil, err
	}
	do := client()
	do.Transport = bounded{signed{do.Transport, c.Auth}}
	made, err := api.NewClient(api.Config{Address: c.URL, Client: do})
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	return &Prometheus{c: c, query: t, api: v1.NewAPI(made)}, c.Auth.validate()
}

// signed asks with credentials.
type signed struct {
	http.RoundTripper
	auth Auth
}

// RoundTrip is for http.RoundTripper.
func (s signed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	s.auth.sign(r)
	return s.RoundTripper.RoundTrip(r)
}

// bounded reads no more of an answer than an instant query of sense has.
type bounded struct{ http.RoundTripper }

// RoundTrip is for http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		const most = 4 << 20
		res.Body = http.MaxBytesReader(nil, res.Body, most)
	}
	return res, err
}

// Question is the query.
func (p *Prometheus) Question(s releases.Subject) string { return fill(p.query, s) }

// Ask runs the query once. No answer, no data, and values that are no numbers are inconclusive.
func (p *Prometheus) Ask(ctx context.Context, query string) (releases.Verdict, string) {
	value, _, err := p.api.Query(ctx, query, time.Now())
	if err != nil {
		return releases.Inconclusive, fmt.Sprintf("%s: %v", p.c.URL, err)
	}
	values, err := numbers(value)
	if err != nil {
		return releases.Inconclusive, fmt.Sprintf("%q: %v", query, err)
	}
	for _, v := range values {
		switch {
		case p.c.Max != nil && v > *p.c.Max:
			return releases.Fail, fmt.Sprintf("%q is %g, more than %g", query, v, *p.c.Max)
		case p.c.Min != nil && v < *p.c.Min:
			return releases.Fail, fmt.Sprintf("%q is %g, less than %g", query, v, *p.c.Min)
		}
	}
	if slices.ContainsFunc(values, math.IsNaN) {
		return releases.Inconclusive, fmt.Sprintf("%q is no number", query)
	}
	return releases.Pass, fmt.Sprintf("%q is %s", query, list(values))
}

func numbers(value model.Value) (all []float64, err error) {
	switch v := value.(type) {
	case *model.Scalar:
		return []float64{float64(v.Value)}, nil
	case model.Vector:
		for _, sample := range v {
			all = append(all, float64(sample.Value))
		}
		if len(all) == 0 {
			return nil, errors.New("no data")
		}
		return all, nil
	}
	return nil, fmt.Errorf("it is a %s; a gate needs an instant vector or a scalar", value.Type())
}

func list(values []float64) string {
	const most = 3
	var texts []string
	for i, v := range values {
		if i == most {
			texts = append(texts, "…")
			break
		}
		texts = append(texts, fmt.Sprintf("%g", v))
	}
	return strings.Join(texts, ", ")
}
