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
