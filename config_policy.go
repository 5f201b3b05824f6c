package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"gimletd/releases"
	"gimletd/releases/gates"
	"gimletd/releases/schedule"

	"go.yaml.in/yaml/v3"
)

// PolicyConfig is a scheduled policy.
type PolicyConfig struct {
	Name     string        `yaml:"name"`
	Schedule string        `yaml:"schedule"` // cron, five fields
	Timezone string        `yaml:"timezone"`
	Apps     []string      `yaml:"apps"` // globs; default: all
	From     SourceConfig  `yaml:"from"`
	To       string        `yaml:"to"`
	Missed   string        `yaml:"missed"` // run, skip
	Jitter   time.Duration `yaml:"jitter"`
	Gates    []GateConfig  `yaml:"gates"`
}

// SourceConfig is what a policy releases: what is live in an environment, or the newest of a branch or tag.
type SourceConfig struct {
	Environment string        `yaml:"environment"`
	Soak        time.Duration `yaml:"soak"`
	Healthy     bool          `yaml:"healthy"`
	Branch      string        `yaml:"branch"`
	Tag         string        `yaml:"tag"`
}

// GateConfig is one question that must be answered well: of Prometheus, by HTTP, or of the rollout.
type GateConfig struct {
	Name       string                  `yaml:"name"`
	Prometheus *gates.PrometheusConfig `yaml:"prometheus"`
	HTTP       *gates.HTTPConfig       `yaml:"http"`
	Rollout    string                  `yaml:"rollout"` // healthy
	Timeout    time.Duration           `yaml:"timeout"`
	Every      time.Duration           `yaml:"every"`
}

// PreviewsConfig bounds an environment's previews.
type PreviewsConfig struct {
	TTL time.Duration `yaml:"ttl"`
	Max int           `yaml:"max"` // of one manifest
}

// WebhooksConfig is by what the calls of git hosts are known to be theirs.
type WebhooksConfig struct {
	GitHub GitHubHook `yaml:"github"`
	GitLab GitLabHook `yaml:"gitlab"`
}

// GitHubHook is a webhook of GitHub: POST /webhooks/github, JSON, the event "Branch or tag deletion".
type GitHubHook struct {
	Secret     releases.Secret `yaml:"secret"`
	SecretFile string          `yaml:"secretFile"`
}

// GitLabHook is a webhook of GitLab: POST /webhooks/gitlab, push events. One of the two says that a call is GitLab's.
type GitLabHook struct {
	SigningToken     releases.Secret `yaml:"signingToken"`
	SigningTokenFile string          `yaml:"signingTokenFile"`
	SecretToken      releases.Secret `yaml:"secretToken"`
	SecretTokenFile  string          `yaml:"secretTokenFile"`
}

// Defaults and bounds of policies.
const (
	maxPolicies  = 5000
	gateTimeout  = 10 * time.Minute
	gateEvery    = 30 * time.Second
	maxSoak      = 90 * 24 * time.Hour
	maxGates     = 10
	missedRun    = "run"
	missedSkip   = "skip"
	rolloutReady = "healthy"
)

// policy is the policy for the domain.
func (c PolicyConfig) policy() (p releases.Policy, err error) {
	ticks, err := schedule.NewTicks(c.Schedule, c.Timezone)
	if err != nil {
		return p, err
	}
	apps, err := releases.NewGlobs(c.Apps)
	if err != nil {
		return p, fmt.Errorf("apps%w", err)
	}
	p = releases.Policy{
		Name: c.Name, Schedule: ticks, Zone: ticks.Zone(), Timing: c.Schedule + " " + c.Timezone, Apps: apps, From: releases.Source(c.From),
		To: c.To, RunMissed: c.Missed == missedRun, Jitter: c.Jitter,
	}
	terms, err := yaml.Marshal(c)
	if err != nil {
		return p, err
	}
	p.Terms = releases.HashToken(string(terms))
	for i, g := range c.Gates {
		made, err := g.gate()
		if err != nil {
			return p, fmt.Errorf("gates[%d].%w", i, err)
		}
		p.Gates = append(p.Gates, made)
	}
	return p, nil
}

func (c GateConfig) gate() (g releases.PolicyGate, err error) {
	g = releases.PolicyGate{Name: c.Name, Timeout: c.Timeout, Every: c.Every}
	if g.Timeout == 0 {
		g.Timeout = gateTimeout
	}
	if g.Every == 0 {
		g.Every = gateEvery
	}
	kinds := 0
	for _, set := range []bool{c.Prometheus != nil, c.HTTP != nil, c.Rollout != ""} {
		if set {
			kinds++
		}
	}
	switch {
	case c.Name == "":
		return g, errors.New("name: missing")
	case kinds != 1:
		return g, errors.New("name: a gate asks one of prometheus, http and rollout")
	case c.Rollout != "" && c.Rollout != rolloutReady:
		return g, fmt.Errorf("rollout: %q is not %s", c.Rollout, rolloutReady)
	case g.Timeout < time.Second || g.Timeout > 24*time.Hour:
		return g, fmt.Errorf("timeout: %s is not between a second and a day", g.Timeout)
	case g.Every < time.Second || g.Every > time.Hour:
		return g, fmt.Errorf("every: %s is not between a second and an hour", g.Every)
	case c.Prometheus != nil:
		g.Check, err = gates.NewPrometheus(*c.Prometheus)
		if err != nil {
			err = fmt.Errorf("prometheus.%w", err)
		}
	case c.HTTP != nil:
		g.Check, err = gates.NewHTTP(*c.HTTP)
		if err != nil {
			err = fmt.Errorf("http.%w", err)
		}
	}
	return g, err
}

// scheduledPolicies are the policies for the domain; the configuration was validated.
func (c Config) scheduledPolicies() (all []releases.Policy, err error) {
	for _, p := range c.Policies {
		made, err := p.policy()
		if err != nil {
			return nil, err
		}
		all = append(all, made)
	}
	return all, nil
}

var policyName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (c Config) validatePolicies() (faults []fault) {
	add := func(path, format string, args ...any) {
		faults = append(faults, fault{path, fmt.Errorf(format, args...)})
	}
	if len(c.Policies) > maxPolicies {
		add("policies", "%d are more than %d", len(c.Policies), maxPolicies)
		return faults
	}
	names := map[string]bool{releases.DeployPolicy: true, releases.CleanupPolicy: true}
	for i, p := range c.Policies {
		at := fmt.Sprintf("policies[%d]", i)
		switch {
		case !policyName.MatchString(p.Name):
			add(at+".name", "%q is not a name of lower-case letters, digits and '-'", p.Name)
		case names[p.Name]:
			add(at+".name", "there is another policy %q", p.Name)
		}
		names[p.Name] = true
		made, err := p.policy()
		if err != nil {
			add(at, "%w", err)
		} else {
			validateJitter(at, made, add)
		}
		c.validateSource(at, p, add)
		if !slices.Contains([]string{"", missedRun, missedSkip}, p.Missed) {
			add(at+".missed", "%q is not run or skip", p.Missed)
		}
		gateNames := map[string]bool{}
		for j, g := range p.Gates {
			here := fmt.Sprintf("%s.gates[%d]", at, j)
			if gateNames[g.Name] {
				add(here+".name", "there is another gate %q", g.Name)
			}
			gateNames[g.Name] = true
			if g.Rollout != "" && p.From.Environment == "" {
				add(here+".rollout", "needs from.environment: whose rollout?")
			}
			if g.Rollout != "" {
				c.needsRollout(here+".rollout", p.From.Environment, add)
			}
		}
		if len(p.Gates) > maxGates {
			add(at+".gates", "%d are more than %d", len(p.Gates), maxGates)
		}
	}
	const least = 16
	for path, secret := range map[string]releases.Secret{
		"webhooks.github.secret": c.Webhooks.GitHub.Secret, "webhooks.gitlab.secretToken": c.Webhooks.GitLab.SecretToken, "webhooks.gitlab.signingToken": c.Webhooks.GitLab.SigningToken,
	} {
		if n := len(secret); n > 0 && n < least {
			add(path, "%d characters can be guessed; take at least %d", n, least)
		}
	}
	if encoded, ok := strings.CutPrefix(c.Webhooks.GitLab.SigningToken.Reveal(), "whsec_"); ok {
		if _, err := base64.StdEncoding.DecodeString(encoded); err != nil {
			add("webhooks.gitlab.signingToken", "is no base64 after whsec_")
		}
	}
	for i, e := range c.Environments {
		at := fmt.Sprintf("environments[%d].previews", i)
		if ttl := e.Previews.TTL; ttl != 0 && (ttl < time.Minute || ttl > 366*24*time.Hour) {
			add(at+".ttl", "%s is not between a minute and a year", ttl)
		}
		if n := e.Previews.Max; n < 0 || n > 1000 {
			add(at+".max", "%d is not between 0 and 1000", n)
		}
	}
	return faults
}

func (c Config) environmentNamed(name string) (EnvironmentConfig, bool) {
	i := slices.IndexFunc(c.Environments, func(e EnvironmentConfig) bool { return e.Name == name })
	if i < 0 {
		return EnvironmentConfig{}, false
	}
	return c.Environments[i], true
}

// needsRollout refuses to ask for the rollout of an environment that gives no feedback.
func (c Config) needsRollout(path, env string, add addFault) {
	if e, ok := c.environmentNamed(env); ok && e.Rollout == "none" {
		add(path, "%s has rollout: none, so nobody ever knows whether something is healthy there", env)
	}
}

func (c Config) validateSource(at string, p PolicyConfig, add addFault) {
	known := func(path, name string) {
		if _, ok := c.environmentNamed(name); !ok {
			var names []string
			for _, e := range c.Environments {
				names = append(names, e.Name)
			}
			add(path, "there is no environment %q%s", name, nearest(name, names))
		}
	}
	known(at+".to", p.To)
	set := 0
	for _, from := range []string{p.From.Environment, p.From.Branch, p.From.Tag} {
		if from != "" {
			set++
		}
	}
	if set != 1 {
		add(at+".from", "names %d of environment, branch and tag; it must be one", set)
		return
	}
	for _, pattern := range []struct{ key, glob string }{{"branch", p.From.Branch}, {"tag", p.From.Tag}} {
		if err := releases.CheckGlob(pattern.glob); err != nil {
			add(at+".from."+pattern.key, "%w", err)
		}
	}
	if p.From.Environment == "" {
		if p.From.Soak != 0 || p.From.Healthy {
			add(at+".from", "soak and healthy are about an environment; %s is none", releases.Source(p.From))
		}
		return
	}
	known(at+".from.environment", p.From.Environment)
	if p.From.Environment == p.To {
		add(at+".to", "is where it comes from")
	}
	if p.From.Soak < 0 || p.From.Soak > maxSoak {
		add(at+".from.soak", "%s is not between 0 and 90 days", p.From.Soak)
	}
	if p.From.Healthy {
		c.needsRollout(at+".from.healthy", p.From.Environment, add)
	}
}

// validateJitter refuses one so long that a run could begin after the next tick.
func validateJitter(at string, p releases.Policy, add addFault) {
	if p.Jitter < 0 {
		add(at+".jitter", "%s is negative", p.Jitter)
	}
	if p.Jitter <= 0 {
		return
	}
	const looked = 60
	tick := p.Schedule.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC))
	for range looked {
		next := p.Schedule.Next(tick)
		if next.IsZero() {
			return
		}
		if gap := next.Sub(tick); p.Jitter > gap/2 {
			add(at+".jitter", "%s is more than half of the %s between two runs", p.Jitter, gap)
			return
		}
		tick = next
	}
}
