package manifest

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"

	"gimletd/releases"

	"helm.sh/helm/v3/pkg/chartutil"
)

// Config says where charts may come from and what they are rendered for.
type Config struct {
	Sources []Source
	Cache   string // folder of indexes and archives
	// Git reads charts that lie in git repositories. Without it there are none.
	Git GitReader
	// Worker is the command line of a render worker: this binary with WorkerCommand.
	Worker []string
	// Clusters says, by environment, which Kubernetes charts are rendered for.
	Clusters map[string]Cluster
}

// Cluster is what charts are told of an environment's cluster.
type Cluster struct {
	KubeVersion string   // such as v1.33.0; empty means DefaultKubeVersion
	APIVersions []string // beside those that Kubernetes itself has
}

// Validate checks the version.
func (c Cluster) Validate() error {
	if c.KubeVersion == "" {
		return nil
	}
	if _, err := chartutil.ParseKubeVersion(c.KubeVersion); err != nil {
		return fmt.Errorf("%q is not a version like %s", c.KubeVersion, DefaultKubeVersion)
	}
	return nil
}

// DefaultKubeVersion is what charts see when the configuration does not say.
const DefaultKubeVersion = "v1.33.0"

// Renderer implements releases.Renderer.
type Renderer struct {
	config Config
	charts *charts
	pool   *pool
	helm   string // its version
	// expanding holds one while CUE is evaluated.
	expanding chan struct{}
}

// New makes a Renderer; workers start with the first job.
func New(c Config, log *slog.Logger) *Renderer {
	charts := newCharts(c.Cache, c.Sources, log.With("component", "charts"))
	charts.git = c.Git
	return &Renderer{
		config: c,
		charts: charts,
		helm:   helmVersion(), expanding: make(chan struct{}, 1),
		// More than there are cores: a chart that loops until its time is up must not keep the others waiting.
		pool: newPool(c.Worker, max(4, runtime.NumCPU())),
	}
}

// Close ends the workers.
func (r *Renderer) Close() { r.pool.close() }

// Target resolves where the manifest goes; see releases.Renderer.
func (r *Renderer) Target(m releases.Manifest, vars map[string]string) (releases.Target, error) {
	return newResolver(vars).target(m)
}

// Render makes the manifest's folder; see releases.Renderer.
func (r *Renderer) Render(ctx context.Context, target releases.Target, m releases.Manifest, vars map[string]string) (rendered releases.Rendered, err error) {
	j := job{Target: target, Manifest: m, Vars: vars, Cluster: r.cluster(target.Env)}
	var at place
	if m.Chart.Name != "" {
		chart, err := resolveChart(m.Chart, vars)
		if err != nil {
			return rendered, releases.Errorf(releases.Invalid, "%v", err)
		}
		if at, err = r.charts.locate(ctx, chart); err != nil {
			return rendered, err
		}
		j.Chart = at.path
	}
	a, err := r.pool.run(ctx, j)
	if err != nil {
		return rendered, err
	}
	if a.Fault != "" {
		return rendered, releases.Errorf(releases.Invalid, "%s", releases.Redact(a.Fault))
	}
	rendered = releases.Rendered{Files: a.Files, Unstable: a.Unstable}
	if j.Chart != "" {
		rendered.Recipe = &releases.Recipe{Chart: at.chart, Digest: a.Digest, Helm: r.helm, KubeVersion: j.Cluster.KubeVersion, APIVersions: j.Cluster.APIVersions}
	}
	return rendered, nil
}

// helmVersion is that of the library which renders.
func helmVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == "helm.sh/helm/v3" })
	if i < 0 {
		return ""
	}
	return info.Deps[i].Version
}

func (r *Renderer) cluster(env string) cluster {
	c := r.config.Clusters[env]
	if c.KubeVersion == "" {
		c.KubeVersion = DefaultKubeVersion
	}
	return cluster(c)
}

func resolveChart(c releases.Chart, vars map[string]string) (releases.Chart, error) {
	resolve := newResolver(vars)
	for _, field := range []struct {
		name string
		text *string
	}{{"repository", &c.Repository}, {"name", &c.Name}, {"version", &c.Version}} {
		text, err := resolve.name(*field.text)
		if err != nil {
			return c, fmt.Errorf("chart.%s: %w", field.name, err)
		}
		*field.text = text
	}
	return c, nil
}
