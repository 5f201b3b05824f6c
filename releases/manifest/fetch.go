package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gimletd/releases"

	"helm.sh/helm/v3/pkg/repo"
)

// Limits of what is downloaded, and for how long a repository's index is taken to be true.
const (
	maxIndex    = 64 << 20
	maxArchive  = 20 << 20
	maxProof    = 1 << 20
	indexFresh  = time.Minute
	fetchWithin = 30 * time.Second
	failureKept = 400 * time.Millisecond
)

// charts finds charts in the listed places and keeps them by digest, so that what was used once is there when its
// repository is not.
type charts struct {
	dir     string
	sources map[string]*repository
	git     GitReader
	log     *slog.Logger
}

func newCharts(dir string, sources []Source, log *slog.Logger) *charts {
	c := &charts{dir: dir, sources: map[string]*repository{}, log: log}
	client := &http.Client{Timeout: fetchWithin, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > 5 {
			return errors.New("too many redirects")
		}
		if first := via[0].URL; req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
			req.Header.Del("Authorization") // no token to a host that the configuration does not name, nor in the clear
		}
		return nil
	}}
	for _, s := range sources {
		sum := sha256.Sum256([]byte(s.URL))
		c.sources[normal(s.URL)] = &repository{Source: s, dir: filepath.Join(dir, hex.EncodeToString(sum[:8])), client: client, cloning: make(chan struct{}, 1)}
	}
	return c
}

func normal(location string) string { return strings.TrimRight(location, "/") }

// locate finds the chart, fetching it when it is not on this machine.
func (c *charts) locate(ctx context.Context, want releases.Chart) (place, error) {
	source, listed := c.sources[normal(want.Repository)]
	switch {
	case strings.HasPrefix(want.Name, ociScheme):
		return c.locateOCI(ctx, want)
	case isGit(want.Name):
		return c.locateGit(ctx, want)
	case want.Name == "" || strings.ContainsAny(want.Name, `/\`) || strings.HasPrefix(want.Name, "."):
		return place{}, releases.Errorf(releases.Invalid, "chart.name: %q is not the name of a chart in a repository", want.Name)
	case strings.HasPrefix(want.Repository, ociScheme):
		return c.locateOCI(ctx, want)
	case want.Repository == "":
		return place{}, releases.Errorf(releases.Invalid, "chart.repository: missing")
	case !listed:
		return place{}, releases.Errorf(releases.Invalid, "chart.repository: %s is not among the charts of the configuration", want.Repository)
	}
	if folder, local := strings.CutPrefix(source.URL, "file://"); local {
		return locateLocal(source, folder, want)
	}
	return c.locateRemote(ctx, source, want)
}

func locateLocal(source *repository, folder string, want releases.Chart) (place, error) {
	if strings.ContainsAny(want.Version, `/\`) {
		return place{}, releases.Errorf(releases.Invalid, "chart.version: %q is not a version", want.Version)
	}
	for _, name := range []string{want.Name + "-" + want.Version + ".tgz", want.Name} {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && info.IsDir() == (name == want.Name) {
			return provenHere(source, place{path, want})
		}
	}
	return place{}, releases.Errorf(releases.NotFound, "chart %s %s is not in %s", want.Name, want.Version, folder)
}

func (c *charts) locateRemote(ctx context.Context, source *repository, want releases.Chart) (place, error) {
	// A version that was used before is the same forever, and needs no network.
	if path := c.kept(source, want); path != "" {
		return c.proven(ctx, source, place{path, want}, func(ctx context.Context) ([]byte, error) {
			index, err := source.current(ctx, c.log)
			if err != nil {
				return nil, err
			}
			version, err := index.Get(want.Name, want.Version)
			if err != nil {
				return nil, releases.Errorf(releases.NotFound, "chart %s %s is kept here without a signature, and is not in %s any more", want.Name, want.Version, source.URL)
			}
			return source.proof(ctx, version)
		})
	}
	index, err := source.current(ctx, c.log)
	if err != nil {
		return place{}, releases.Wrap(releases.Unavailable, err, "the chart repository %s cannot be reached, and chart %s %s is not kept here", source.URL, want.Name, want.Version)
	}
	version, err := index.Get(want.Name, want.Version)
	if err != nil {
		return place{}, releases.Errorf(releases.NotFound, "chart %s %s is not in %s", want.Name, want.Version, source.URL)
	}
	want.Version = version.Version
	at := place{c.archive(version.Digest), want}
	if !exists(at.path) {
		if at.path, err = c.fetchRemote(ctx, source, version); err != nil {
			return place{}, err
		}
	}
	if err := source.remember(version.Name, version.Version, strings.TrimSuffix(filepath.Base(at.path), ".tgz")); err != nil {
		return place{}, err
	}
	return c.proven(ctx, source, at, func(ctx context.Context) ([]byte, error) { return source.proof(ctx, version) })
}

// fetchRemote downloads a version's archive and returns where it is kept.
func (c *charts) fetchRemote(ctx context.Context, source *repository, version *repo.ChartVersion) (path string, err error) {
	if len(version.URLs) == 0 {
		return "", releases.Errorf(releases.Invalid, "chart %s %s in %s has no download URL", version.Name, version.Version, source.URL)
	}
	body, err := source.download(ctx, version.URLs[0], version.Digest)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(body)
	path = c.archive(hex.EncodeToString(sum[:]))
	return path, keep(path, body)
}

// archive is where the archive with the digest is kept; "" for something that is not a digest.
func (c *charts) archive(digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) != sha256.Size {
		return ""
	}
	return filepath.Join(c.dir, "archives", digest+".tgz")
}

func (c *charts) kept(source *repository, want releases.Chart) string {
	path := c.archive(source.remembered()[want.Name+" "+want.Version])
	if !exists(path) {
		return ""
	}
	return path
}

func exists(path string) bool {
	if path == "" {
		return false
	}
	_, err := os.Stat(path)
	return err == nil
}

// keep makes a file appear whole or not at all.
func keep(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}
