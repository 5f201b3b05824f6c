package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"gimletd/releases"

	"helm.sh/helm/v3/pkg/repo"
)

// Source is a place where charts may come from: an http(s) repository, a path in an OCI registry (oci://), a git repository
// (https://….git or ssh://….git), or a folder on this machine (file://).
type Source struct {
	URL            string          `yaml:"url"`
	Username       string          `yaml:"username"`
	Password       releases.Secret `yaml:"password"`
	PasswordFile   string          `yaml:"passwordFile"`
	SSHKeyFile     string          `yaml:"sshKeyFile"`
	KnownHostsFile string          `yaml:"knownHostsFile"`
	// Keyring is a file of public PGP keys. With it, only charts are taken that one of them has signed.
	Keyring string `yaml:"keyring"`
}

// Validate returns the first fault.
func (s Source) Validate() error {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil:
		return fmt.Errorf("url: %w", err)
	case s.URL == "":
		return errors.New("url: missing")
	case secretIn(u):
		return errors.New("url: has credentials in it; use username and passwordFile")
	case strings.HasSuffix(u.Path, ".git") && ((u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "ssh") || u.RawQuery != ""):
		return fmt.Errorf("url: %q: a git repository of charts is named by https:// or ssh:// and without a folder in it", s.URL)
	case s.Keyring != "" && strings.HasSuffix(u.Path, ".git"):
		return errors.New("keyring: charts in git repositories have no signatures of Helm's")
	case s.Keyring != "" && readable(s.Keyring) != nil:
		return fmt.Errorf("keyring: %w", readable(s.Keyring))
	case u.Scheme == "ssh" && !strings.HasSuffix(u.Path, ".git"):
		return fmt.Errorf("url: %q: over ssh there are git repositories, whose names end in .git", s.URL)
	case u.Scheme == "ssh" && s.SSHKeyFile == "":
		return errors.New("sshKeyFile: missing; a repository over ssh needs a key")
	case u.Scheme == "ssh" && s.KnownHostsFile == "":
		return errors.New("knownHostsFile: missing; a repository over ssh needs the host's key (ssh-keyscan)")
	case u.Scheme == "ssh":
	case u.Scheme == "oci" && (u.Host == "" || u.RawQuery != "" || strings.ContainsAny(u.Path, ":@")):
		return fmt.Errorf("url: %q is not a registry and a path in it, such as oci://ghcr.io/acme/charts", s.URL)
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "oci" && u.Scheme != "file":
		return fmt.Errorf("url: %q must begin with https://, http://, oci:// or file://", s.URL)
	case u.Scheme == "file" && !filepath.IsAbs(u.Path):
		return fmt.Errorf("url: %q must be an absolute path", s.URL)
	}
	return nil
}

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

// repository is one http(s) source. Its folder holds the last index and which archive each version was.
type repository struct {
	Source
	dir    string // of the index
	client *http.Client
	// cloning holds one when the repository, a git one, is read.
	cloning chan struct{}

	files sync.Mutex // guards versions.json, which must not wait for the network

	mu      sync.Mutex
	index   *repo.IndexFile
	etag    string
	fetched time.Time
	failure error // of the last refresh, kept for a moment: who waited for it need not wait again
	failed  time.Time
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

// remembered maps "name version" to the digest of the archive that it was.
func (s *repository) remembered() map[string]string {
	s.files.Lock()
	defer s.files.Unlock()
	return s.rememberedLocked()
}

func (s *repository) rememberedLocked() map[string]string {
	known := map[string]string{}
	if text, err := os.ReadFile(filepath.Join(s.dir, "versions.json")); err == nil {
		_ = json.Unmarshal(text, &known) // a damaged one is as good as none: the index is asked
	}
	return known
}

func (s *repository) remember(name, version, digest string) error {
	s.files.Lock()
	defer s.files.Unlock()
	known := s.rememberedLocked()
	if known[name+" "+version] == digest {
		return nil
	}
	known[name+" "+version] = digest
	text, err := json.Marshal(known)
	if err != nil {
		return err
	}
	return keep(filepath.Join(s.dir, "versions.json"), text)
}

// current returns the repository's index, asked for anew when the last answer is old, and the last one when it cannot
// be had.
func (s *repository) current(ctx context.Context, log *slog.Logger) (*repo.IndexFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index != nil && time.Since(s.fetched) < indexFresh {
		return s.index, nil
	}
	path := filepath.Join(s.dir, "index.yaml")
	err := s.failure
	if err == nil || time.Since(s.failed) > failureKept {
		err = s.refresh(ctx, path)
		s.failure, s.failed = err, time.Now()
	}
	if err == nil {
		s.fetched = time.Now()
	}
	if err == nil && s.index != nil {
		return s.index, nil
	}
	if err != nil && !exists(path) {
		return nil, err
	}
	if err != nil {
		log.Warn("the chart repository cannot be reached; using its last index", "url", s.URL, "err", err)
	}
	index, loadErr := repo.LoadIndexFile(path)
	if loadErr != nil {
		return nil, errors.Join(err, loadErr)
	}
	s.index = index
	return index, nil
}

// refresh asks for the index; one that has not changed costs an empty answer.
func (s *repository) refresh(ctx context.Context, path string) error {
	location, err := url.JoinPath(s.URL, "index.yaml")
	if err != nil {
		return err
	}
	res, err := s.get(ctx, location, s.etag)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusNotModified {
		return nil
	}
	body, err := readAll(res, maxIndex)
	if err != nil {
		return err
	}
	if err := keep(path, body); err != nil {
		return err
	}
	s.index, s.etag = nil, res.Header.Get("ETag")
	return nil
}

// get makes a request; credentials go only to the repository's own host.
func (s *repository) get(ctx context.Context, location, etag string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, err
	}
	own, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	if s.Password != "" && req.URL.Host == own.Host && req.URL.Scheme == own.Scheme {
		req.SetBasicAuth(s.Username, s.Password.Reveal())
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	req.Header.Set("User-Agent", "gimletd")
	return s.client.Do(req)
}

func readAll(res *http.Response, most int64) ([]byte, error) {
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", res.Request.URL.Redacted(), res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	if err == nil && int64(len(body)) > most {
		err = fmt.Errorf("%s is larger than %d MiB", res.Request.URL.Redacted(), most>>20)
	}
	return body, err
}

// proof fetches the provenance file of a version. That nothing is there some hosts say by refusing it.
func (s *repository) proof(ctx context.Context, version *repo.ChartVersion) ([]byte, error) {
	if len(version.URLs) == 0 {
		return nil, errNoProof
	}
	at, err := s.resolve(version.URLs[0])
	if err != nil {
		return nil, err
	}
	at.Path += ".prov"
	if at.RawPath != "" {
		at.RawPath += ".prov"
	}
	res, err := s.get(ctx, at.String(), "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	switch res.StatusCode {
	case http.StatusNotFound, http.StatusForbidden, http.StatusGone:
		return nil, errNoProof
	}
	return readAll(res, maxProof)
}

// resolve is where the index's reference to an archive leads.
func (s *repository) resolve(reference string) (*url.URL, error) {
	location, err := repo.ResolveReferenceURL(s.URL, reference)
	if err != nil {
		return nil, releases.Wrap(releases.Invalid, err, "the chart repository %s names a download URL that cannot be read", s.URL)
	}
	at, err := url.Parse(location)
	if err != nil || !slices.Contains([]string{"http", "https"}, at.Scheme) {
		return nil, releases.Errorf(releases.Invalid, "the chart repository %s names the download URL %s, which is not http(s)", s.URL, location)
	}
	return at, nil
}

// download fetches an archive and proves that it is the one of the index.
func (s *repository) download(ctx context.Context, reference, digest string) ([]byte, error) {
	at, err := s.resolve(reference)
	if err != nil {
		return nil, err
	}
	own, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	if at.Host != own.Host && digest == "" {
		return nil, releases.Errorf(releases.Invalid, "the chart repository %s points to %s without a digest that would prove the archive", s.URL, at.Host)
	}
	res, err := s.get(ctx, at.String(), "")
	if err != nil {
		return nil, releases.Wrap(releases.Unavailable, err, "the chart at %s cannot be fetched", at.Redacted())
	}
	defer func() { _ = res.Body.Close() }()
	body, err := readAll(res, maxArchive)
	if err != nil {
		return nil, releases.Wrap(releases.Unavailable, err, "the chart at %s cannot be fetched", at.Redacted())
	}
	sum := sha256.Sum256(body)
	if want := strings.TrimPrefix(digest, "sha256:"); want != "" && want != hex.EncodeToString(sum[:]) {
		return nil, releases.Errorf(releases.Invalid, "the chart at %s is not the one that its repository's index names (digest %x, expected %s)", at.Redacted(), sum, want)
	}
	return body, nil
}
