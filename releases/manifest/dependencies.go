package manifest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"gimletd/releases"

	"helm.sh/helm/v3/pkg/chart"
	"sigs.k8s.io/yaml"
)

// gitChart is a chart's folder in a repository at one commit.
type gitChart struct {
	GitFolder
	commit string
	files  map[string][]byte // by their paths in the folder
	left   *int              // how many more dependencies may be fetched
}

// Limits of what charts in folders depend on.
const (
	maxNested       = 4 // how deeply they may depend on charts in folders
	maxDependencies = 30
	maxMetadata     = 1 << 20 // bytes of Chart.yaml and Chart.lock
)

// readChart reads the folder without what Helm leaves out of it, and puts what it depends on into its charts/ folder, as
// `helm dependency build` does.
func (c *charts) readChart(ctx context.Context, f GitFolder, commit string, depth int, left *int) (gitChart, error) {
	g := gitChart{GitFolder: f, commit: commit, left: left}
	reading, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	var err error
	if g.files, err = c.git.Read(reading, f, commit); err != nil {
		return g, err
	}
	if _, ok := g.files["Chart.yaml"]; !ok {
		return g, releases.Errorf(releases.NotFound, "there is no Chart.yaml in the folder %q", f.Path)
	}
	if g.files, err = withoutIgnored(g.files); err != nil {
		return g, releases.Wrap(releases.Invalid, err, "its .helmignore cannot be read")
	}
	missing, err := g.missing()
	if err != nil {
		return g, err
	}
	for _, d := range missing {
		if err := c.add(ctx, g, d, depth); err != nil {
			return g, fmt.Errorf("its dependency %s: %w", nameOf(releases.Chart{Name: d.Name, Version: d.Version}), err)
		}
	}
	return g, nil
}

// missing are the dependencies that are not in the charts/ folder, in the versions that Chart.lock has for them.
func (g gitChart) missing() (all []*chart.Dependency, err error) {
	var meta chart.Metadata
	var lock chart.Lock
	for name, into := range map[string]any{"Chart.yaml": &meta, "Chart.lock": &lock} {
		if len(g.files[name]) > maxMetadata {
			return nil, releases.Errorf(releases.Invalid, "its %s is larger than %d MiB", name, maxMetadata>>20)
		}
		if err := yaml.Unmarshal(g.files[name], into); err != nil {
			return nil, releases.Wrap(releases.Invalid, err, "its %s cannot be read", name)
		}
	}
	for _, d := range meta.Dependencies {
		if d == nil || d.Name == "" || strings.ContainsAny(d.Name, `/\`) || strings.HasPrefix(d.Name, ".") {
			return nil, releases.Errorf(releases.Invalid, "its Chart.yaml has a dependency without a name")
		}
		i := slices.IndexFunc(lock.Dependencies, func(l *chart.Dependency) bool { return l != nil && l.Name == d.Name && l.Repository == d.Repository })
		if i >= 0 {
			d.Version = lock.Dependencies[i].Version
		}
		if !g.has(d.Name) {
			all = append(all, d)
		}
	}
	return all, nil
}

// has reports whether the charts/ folder has a chart of the name.
func (g gitChart) has(name string) bool {
	for file := range g.files {
		inside, ok := strings.CutPrefix(file, "charts/"+name)
		if ok && (strings.HasPrefix(inside, "/") || (strings.HasPrefix(inside, "-") && strings.HasSuffix(inside, ".tgz") && !strings.Contains(inside, "/"))) {
			return true
		}
	}
	return false
}

// add puts a dependency into the charts/ folder: from where the configuration lets charts come from, or from beside the chart.
func (c *charts) add(ctx context.Context, g gitChart, d *chart.Dependency, depth int) error {
	if *g.left--; *g.left < 0 {
		return releases.Errorf(releases.Invalid, "the chart has more than %d dependencies that are not in charts/ folders", maxDependencies)
	}
	if beside, ok := strings.CutPrefix(d.Repository, "file://"); ok {
		if depth == maxNested {
			return releases.Errorf(releases.Invalid, "charts depend on charts more than %d folders deep", maxNested)
		}
		sub := g.GitFolder
		sub.Path = strings.Trim(path.Join("/", g.Path, beside), "/") // it cannot leave the repository
		found, err := c.readChart(ctx, sub, g.commit, depth+1, g.left)
		if err != nil {
			return err
		}
		for name, text := range found.files {
			g.files["charts/"+d.Name+"/"+name] = text
		}
		return g.bounded()
	}
	if !strings.Contains(d.Repository, "://") || isGit(d.Repository) {
		return releases.Errorf(releases.Invalid, "its repository %q is not a URL of charts; put the chart into the charts/ folder (helm dependency build)", d.Repository)
	}
	at, err := c.locate(ctx, releases.Chart{Repository: d.Repository, Name: d.Name, Version: d.Version})
	if err != nil {
		return err
	}
	archive, err := os.ReadFile(at.path)
	if err != nil {
		return err
	}
	g.files["charts/"+d.Name+"-"+at.chart.Version+".tgz"] = archive
	return g.bounded()
}

func (g gitChart) bounded() error {
	size := 0
	for _, text := range maps.All(g.files) {
		size += len(text)
	}
	if size > maxArchive {
		return releases.Errorf(releases.Invalid, "with what it depends on, the chart is larger than %d MiB", maxArchive>>20)
	}
	return nil
}
