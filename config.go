package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"gimletd/releases"
	"gimletd/releases/gitops"
	"gimletd/releases/manifest"
	"gimletd/storage/bolt"

	"go.yaml.in/yaml/v3"
)

// Config is the whole configuration: a struct of the packages' own.
type Config struct {
	Server       ServerConfig             `yaml:"server"`
	Storage      StorageConfig            `yaml:"storage"`
	Ingest       IngestConfig             `yaml:"ingest"`
	GitOps       map[string]gitops.Config `yaml:"gitops"`
	Charts       []manifest.Source        `yaml:"charts"`
	Environments []EnvironmentConfig      `yaml:"environments"`
	People       []PersonConfig           `yaml:"people"`
	Roles        []RoleConfig             `yaml:"roles"`
	Policies     []PolicyConfig           `yaml:"policies"`
	Webhooks     WebhooksConfig           `yaml:"webhooks"`
	Slack        SlackConfig              `yaml:"slack"`
	Discord      DiscordConfig            `yaml:"discord"`
	Notify       NotifyConfig             `yaml:"notify"`
	Timezone     string                   `yaml:"timezone"` // of the times that people type and read
	Log          LogConfig                `yaml:"log"`
}

// ServerConfig is where the process listens.
type ServerConfig struct {
	Listen         string          `yaml:"listen"`
	AdminListen    string          `yaml:"adminListen"`
	PublicURL      string          `yaml:"publicURL"` // where the outside reaches listen
	AdminToken     releases.Secret `yaml:"adminToken"`
	AdminTokenFile string          `yaml:"adminTokenFile"`
	OIDC           []OIDCConfig    `yaml:"oidc"`
}

// StorageConfig is where state is kept.
type StorageConfig struct {
	Bolt bolt.Config `yaml:"bolt"`
}

// IngestConfig is how artifacts are taken in.
type IngestConfig struct {
	MaxBody       int64    `yaml:"maxBody"`       // bytes
	DropVariables []string `yaml:"dropVariables"` // globs of variable names that are never kept
}

// EnvironmentConfig is a place to release to.
type EnvironmentConfig struct {
	Name        string         `yaml:"name"`
	GitOps      string         `yaml:"gitops"`
	Path        *string        `yaml:"path"` // default: the name
	Channels    []string       `yaml:"channels"`
	Approval    ApprovalConfig `yaml:"approval"`
	MaxCommits  int            `yaml:"maxCommits"` // a release that brings more at once is asked about
	Freezes     []FreezeConfig `yaml:"freezes"`
	Rollbacks   []string       `yaml:"rollbacks"` // what stops them, too: approval, freeze, lock
	Pause       *time.Duration `yaml:"pause"`     // between releases that go on after a freeze or a lock
	Previews    PreviewsConfig `yaml:"previews"`
	Rollout     string         `yaml:"rollout"` // flux, none
	KubeVersion string         `yaml:"kubeVersion"`
	APIVersions []string       `yaml:"apiVersions"`
}

// LogConfig is how the process logs, on its standard error.
type LogConfig struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // json, text
}

// defaults is what a configuration is laid over.
func defaults() Config {
	const mebibyte = 1 << 20
	return Config{
		Server:   ServerConfig{Listen: "127.0.0.1:8888", AdminListen: "127.0.0.1:8889"},
		Storage:  StorageConfig{Bolt: bolt.Config{Path: "data/gimletd.db"}},
		Ingest:   IngestConfig{MaxBody: 2 * mebibyte},
		Slack:    slackDefaults(),
		Discord:  discordDefaults(),
		Timezone: "UTC",
		Log:      LogConfig{Level: "info", Format: "json"},
	}
}

// DataDir is where whatever has no place of its own is kept: beside the store.
func (c Config) DataDir() string { return filepath.Dir(c.Storage.Bolt.Path) }

// LoadConfig reads a configuration. All its faults are in the error, each with its line and path.
func LoadConfig(file string) (Config, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the path is what the operator gave
	if err != nil {
		return Config{}, err
	}
	return parseConfig(file, text, os.LookupEnv)
}

// loadWithoutSecrets reads a configuration where its secrets are not at hand, as in CI: what stands in the environment or in
// files of their own is taken to be there.
func loadWithoutSecrets(file string) (Config, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the path is what the operator gave
	if err != nil {
		return Config{}, err
	}
	return readConfig(file, text, func(name string) (string, bool) {
		if value, ok := os.LookupEnv(name); ok {
			return value, true
		}
		return "of-the-environment", true
	}, false)
}

func parseConfig(file string, text []byte, env func(string) (string, bool)) (Config, error) {
	return readConfig(file, text, env, true)
}

// readConfig reads a configuration, with the files of its secrets or without.
func readConfig(file string, text []byte, env func(string) (string, bool), secrets bool) (Config, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return Config{}, fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	c := defaults()
	d := document{file: file, root: &root}
	d.expand(&root, env)
	if len(root.Content) > 0 {
		d.unknown("", root.Content[0], reflect.TypeFor[Config]())
		if len(d.faults) == 0 {
			d.decode(&c)
		}
	}
	if len(d.faults) == 0 {
		if secrets {
			d.readSecrets("", reflect.ValueOf(&c).Elem())
		}
		c.fill()
		if faults := c.validate(); secrets {
			d.check(faults)
		} else {
			d.check(slices.DeleteFunc(faults, func(f fault) bool { return !aboutPolicies(f.path) }))
		}
	}
	return c, d.err()
}

// aboutPolicies reports whether a fault is of what policies are made from.
func aboutPolicies(path string) bool {
	return strings.HasPrefix(path, "policies") || strings.HasPrefix(path, "environments") || path == "timezone"
}

func (c *Config) fill() {
	for name, g := range c.GitOps {
		c.GitOps[name] = g.WithDefaults(name, c.DataDir())
	}
	for i, e := range c.Environments {
		if e.GitOps == "" && len(c.GitOps) == 1 {
			for name := range c.GitOps {
				c.Environments[i].GitOps = name
			}
		}
		if e.Path == nil {
			c.Environments[i].Path = &c.Environments[i].Name
		}
		if e.Pause == nil {
			pause := pauseDefault
			c.Environments[i].Pause = &pause
		}
		if e.Rollout == "" {
			c.Environments[i].Rollout = "none"
		}
	}
}

// fault is something wrong, with its path in the configuration.
type fault struct {
	path string
	err  error
}

func (c Config) validate() (faults []fault) {
	add := func(path, format string, args ...any) {
		faults = append(faults, fault{path, fmt.Errorf(format, args...)})
	}
	c.Server.validateOIDC(add)
	for _, listen := range []struct{ path, value string }{{"server.listen", c.Server.Listen}, {"server.adminListen", c.Server.AdminListen}} {
		if _, _, err := net.SplitHostPort(listen.value); err != nil {
			add(listen.path, "%q is not host:port", listen.value)
		}
	}
	if c.Server.Listen == c.Server.AdminListen && !strings.HasSuffix(c.Server.Listen, ":0") {
		add("server.adminListen", "must not be the address of server.listen")
	}
	if c.Storage.Bolt.Path == "" {
		add("storage.bolt.path", "missing")
	}
	if c.Ingest.MaxBody < 1024 || c.Ingest.MaxBody > 64<<20 {
		add("ingest.maxBody", "%d is not between 1024 and 67108864 bytes", c.Ingest.MaxBody)
	}
	for i, glob := range c.Ingest.DropVariables {
		if err := releases.CheckGlob(glob); err != nil {
			add(fmt.Sprintf("ingest.dropVariables[%d]", i), "%w", err)
		}
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		add("log.level", "%q is not debug, info, warn or error", c.Log.Level)
	}
	if !slices.Contains([]string{"json", "text"}, c.Log.Format) {
		add("log.format", "%q is not json or text", c.Log.Format)
	}
	faults = append(faults, c.validateGitOps()...)
	for i, source := range c.Charts {
		if err := source.Validate(); err != nil {
			add(fmt.Sprintf("charts[%d]", i), "%w", err)
		}
	}
	return slices.Concat(faults, c.validateEnvironments(), c.validateControl(), c.validatePolicies(), c.validateChat())
}

func (c Config) validateGitOps() (faults []fault) {
	if len(c.GitOps) == 0 {
		return []fault{{"gitops", errors.New("missing; which repository are releases written to?")}}
	}
	caches := map[string]string{}
	for _, name := range sortedNames(c.GitOps) {
		g := c.GitOps[name]
		if err := g.Validate(); err != nil {
			for _, one := range split(err) {
				faults = append(faults, fault{"gitops." + name, one})
			}
		}
		if other, taken := caches[g.Cache]; taken {
			faults = append(faults, fault{"gitops." + name + ".cache", fmt.Errorf("is also the cache of %s", other)})
		}
		caches[g.Cache] = name
	}
	return faults
}

func (c Config) validateEnvironments() (faults []fault) {
	if len(c.Environments) == 0 {
		return []fault{{"environments", errors.New("missing; where are releases to go?")}}
	}
	names, places := map[string]bool{}, map[string]string{}
	for i, e := range c.Environments {
		at := fmt.Sprintf("environments[%d]", i)
		add := func(key, format string, args ...any) {
			faults = append(faults, fault{at + key, fmt.Errorf(format, args...)})
		}
		if err := (releases.Target{App: "x", Env: e.Name}).Validate(); err != nil {
			add(".name", "%q is not a DNS-1123 label (lower-case letters, digits and '-')", e.Name)
		}
		if names[e.Name] {
			add(".name", "there is another environment %q", e.Name)
		}
		names[e.Name] = true
		if _, ok := c.GitOps[e.GitOps]; !ok {
			add(".gitops", "there is no gitops repository %q; there are: %s", e.GitOps, strings.Join(sortedNames(c.GitOps), ", "))
		}
		if clean := path.Clean("/" + *e.Path); *e.Path != "" && clean != "/"+*e.Path {
			add(".path", "%q is not a plain relative path", *e.Path)
		}
		place := path.Join(e.GitOps, *e.Path) + "/"
		for _, other := range sortedNames(places) {
			if strings.HasPrefix(place, other) || strings.HasPrefix(other, place) {
				add(".path", "is inside or around the folder of %s: an app there could have the name of an environment here", places[other])
			}
		}
		places[place] = e.Name
		for j, channel := range e.Channels {
			c.checkChannel(fmt.Sprintf("%s.channels[%d]", at, j), channel, func(path, format string, args ...any) {
				faults = append(faults, fault{path, fmt.Errorf(format, args...)})
			})
		}
		if e.Rollout != "none" && e.Rollout != "flux" {
			add(".rollout", "%q is not supported: only flux and none", e.Rollout)
		}
		if err := (manifest.Cluster{KubeVersion: e.KubeVersion}).Validate(); err != nil {
			add(".kubeVersion", "%w", err)
		}
	}
	return faults
}

func sortedNames[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
