package manifest

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"

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
}

// New makes a Renderer; workers start with the first job.
func New(c Config, log *slog.Logger) *Renderer {
	charts := newCharts(c.Cache, c.Sources, log.With("component", "charts"))
	charts.git = c.Git
	return &Renderer{
		config: c,
		charts: charts,
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

// Render returns the manifest's files; see releases.Renderer.
func (r *Renderer) Render(ctx context.Context, target releases.Target, m releases.Manifest, vars map[string]string) ([]releases.File, []string, error) {
	j := job{Target: target, Manifest: m, Vars: vars, Cluster: r.cluster(target.Env)}
	if m.Chart.Name != "" {
		chart, err := resolveChart(m.Chart, vars)
		if err != nil {
			return nil, nil, releases.Errorf(releases.Invalid, "%v", err)
		}
		if j.Chart, err = r.charts.locate(ctx, chart); err != nil {
			return nil, nil, err
		}
	}
	a, err := r.pool.run(ctx, j)
	if err != nil {
		return nil, nil, err
	}
	if a.Fault != "" {
		return nil, nil, releases.Errorf(releases.Invalid, "%s", releases.Redact(a.Fault))
	}
	return a.Files, a.Unstable, nil
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
