package main

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"gimletd/releases"
	"gimletd/releases/api"
)

// OIDCConfig is a CI whose own tokens are taken, in place of secrets of ours.
type OIDCConfig struct {
	Name         string   `yaml:"name"` // roles have it as a member: token:<name>
	Issuer       string   `yaml:"issuer"`
	Audience     string   `yaml:"audience"`
	Claim        string   `yaml:"claim"` // that names the source repository
	Repositories []string `yaml:"repositories"`
}

var oidcName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// validateOIDC refuses issuers that could let anybody in.
func (s ServerConfig) validateOIDC(add addFault) {
	names := map[string]bool{}
	for i, o := range s.OIDC {
		at := fmt.Sprintf("server.oidc[%d]", i)
		if !oidcName.MatchString(o.Name) || names[o.Name] {
			add(at+".name", "%q is not a name of lower-case letters, digits and '-' that no other has", o.Name)
		}
		names[o.Name] = true
		u, err := url.Parse(o.Issuer)
		loopback := err == nil && net.ParseIP(u.Hostname()).IsLoopback()
		if err != nil || u.Host == "" || (u.Scheme != "https" && !loopback) {
			add(at+".issuer", "%q is not the https:// URL of an issuer, such as https://token.actions.githubusercontent.com", o.Issuer)
		}
		if slices.ContainsFunc(s.OIDC[:i], func(other OIDCConfig) bool { return other.Issuer == o.Issuer }) {
			add(at+".issuer", "%q is there already", o.Issuer)
		}
		if o.Audience == "" {
			add(at+".audience", "missing; without what tokens are for, those for somebody else would be taken, too")
		}
		if o.Claim == "" {
			add(at+".claim", "missing; which claim names the source repository? (repository with GitHub, project_path with GitLab)")
		}
		if len(o.Repositories) == 0 {
			add(at+".repositories", "missing; without globs of yours, such as acme/*, the runs of everybody in the world would be let in")
		}
		o.validateRepositories(at, add)
	}
}

// everybodys are issuers that sign for whoever has an account.
var everybodys = regexp.MustCompile(`^https://(token\.actions\.githubusercontent\.com|gitlab\.com)(/|$)`)

func (o OIDCConfig) validateRepositories(at string, add addFault) {
	taken := false
	for j, glob := range o.Repositories {
		field := fmt.Sprintf("%s.repositories[%d]", at, j)
		owner, _, _ := strings.Cut(glob, "/")
		if _, err := releases.NewGlobs([]string{glob}); err != nil {
			add(field, "%q is not a glob such as acme/*", glob)
		} else if excludes := strings.HasPrefix(glob, "!"); !excludes && everybodys.MatchString(o.Issuer) && strings.ContainsAny(owner, "*?[{") {
			add(field, "%q would let in runs of owners that are not yours; begin it with an owner, such as acme/*", glob)
		} else {
			taken = taken || !excludes
		}
	}
	if len(o.Repositories) > 0 && !taken {
		add(at+".repositories", "names only what is left out; everything else in the world would be let in")
	}
}

// told is what clients of the API are told of environments.
func (c Config) told() map[string]api.EnvironmentConfig {
	all := map[string]api.EnvironmentConfig{}
	for _, e := range c.Environments {
		all[e.Name] = api.EnvironmentConfig{Repository: api.RepositoryURL(c.GitOps[e.GitOps].URL), Feedback: e.Rollout != "none"}
	}
	return all
}

// issuers are the CIs whose own tokens are taken.
func (c Config) issuers() (all []api.Issuer) {
	for _, o := range c.Server.OIDC {
		all = append(all, api.Issuer{Name: o.Name, URL: o.Issuer, Audience: o.Audience, Claim: o.Claim, Repositories: o.Repositories})
	}
	return all
}
