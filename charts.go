package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"gimletd/releases"
	"gimletd/releases/gitops"
	"gimletd/releases/manifest"
)

// gitCharts lets the renderer read charts that lie in git repositories.
type gitCharts struct {
	scratch string // a folder
}

// newGitCharts makes it, without what a crash has left in its folder.
func newGitCharts(scratch string) (gitCharts, error) {
	const mode = 0o700
	return gitCharts{scratch}, errors.Join(os.RemoveAll(scratch), os.MkdirAll(scratch, mode))
}

func (gitCharts) folder(f manifest.GitFolder) gitops.Folder {
	by := gitops.AuthConfig{Username: f.Source.Username, Password: f.Source.Password, SSHKeyFile: f.Source.SSHKeyFile, KnownHostsFile: f.Source.KnownHostsFile}
	return gitops.Folder{URL: f.URL, Auth: by, Path: f.Path, Commit: f.SHA, Tag: f.Tag, Branch: f.Branch}
}

// Resolve is for manifest.GitReader.
func (g gitCharts) Resolve(ctx context.Context, f manifest.GitFolder) (string, error) {
	commit, err := g.folder(f).Resolve(ctx)
	return commit, g.meaning(f, err)
}

// Read is for manifest.GitReader.
func (g gitCharts) Read(ctx context.Context, f manifest.GitFolder, commit string) (map[string][]byte, error) {
	files, err := g.folder(f).Read(ctx, commit, g.scratch)
	return files, g.meaning(f, err)
}

func (gitCharts) meaning(f manifest.GitFolder, err error) error {
	switch {
	case err == nil:
		return nil
	case gitops.Missing(err):
		return releases.Wrap(releases.NotFound, err, "the chart in %s cannot be found", f.URL)
	case gitops.Strange(err):
		return releases.Wrap(releases.Unavailable, err, "the key of the host of %s is not the one in knownHostsFile (charts in the configuration)", f.URL)
	case gitops.Denied(err):
		return releases.Errorf(releases.Unavailable, "the repository %s of a chart refuses its credentials (charts in the configuration)", f.URL)
	}
	return releases.Wrap(releases.Unavailable, err, "the chart in %s cannot be fetched", f.URL)
}

func (p *process) newRenderer() (*manifest.Renderer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("where is this binary? %w", err)
	}
	cache, err := filepath.Abs(filepath.Join(p.config.DataDir(), "charts"))
	if err != nil {
		return nil, err
	}
	git, err := newGitCharts(filepath.Join(cache, "clones"))
	if err != nil {
		return nil, err
	}
	clusters := map[string]manifest.Cluster{}
	for _, e := range p.config.Environments {
		clusters[e.Name] = manifest.Cluster{KubeVersion: e.KubeVersion, APIVersions: e.APIVersions}
	}
	return manifest.New(manifest.Config{
		Sources: p.config.Charts, Git: git, Cache: cache, Worker: []string{self, manifest.WorkerCommand}, Clusters: clusters,
	}, p.log), nil
}
