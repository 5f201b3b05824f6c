package manifest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"gimletd/releases"

	"github.com/Masterminds/semver/v3"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Charts in OCI registries, as `helm push` puts them there. Helm's own client also asks the credential helpers of whoever runs it; here
// a registry is given what the configuration has for it, or nothing.

const (
	ociScheme = "oci://"
	// Media types of a chart's archive, the second of Helm before 3.7. https://helm.sh/docs/topics/registries/
	chartLayer       = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	legacyChartLayer = "application/tar+gzip"
	provenanceLayer  = "application/vnd.cncf.helm.chart.provenance.v1.prov"
	maxOCIManifest   = 4 << 20
	maxTags          = 10_000
)

// ociReference is what a chart in a registry is called: its repository, and a tag or digest when the name has one.
type ociReference struct {
	repository string // without the scheme
	tag        string
	digest     string
}

func readOCIReference(text string) ociReference {
	rest := strings.TrimPrefix(text, ociScheme)
	rest, digest, _ := strings.Cut(rest, "@")
	r := ociReference{repository: rest, digest: digest}
	if at := strings.LastIndex(rest, ":"); at > strings.LastIndex(rest, "/") {
		r.repository, r.tag = rest[:at], rest[at+1:]
	}
	r.repository = strings.Trim(r.repository, "/")
	return r
}

// locateOCI finds a chart in a registry: the reference is the chart's name, or its repository and name together.
func (c *charts) locateOCI(ctx context.Context, want releases.Chart) (place, error) {
	full := want.Name
	if !strings.HasPrefix(full, ociScheme) {
		full = strings.TrimRight(want.Repository, "/") + "/" + want.Name
	}
	reference := readOCIReference(full)
	source := c.listedOCI(reference.repository)
	if source == nil {
		return place{}, releases.Errorf(releases.Invalid, "chart: %s%s is not among the charts of the configuration", ociScheme, reference.repository)
	}
	named := strings.ReplaceAll(reference.tag, "_", "+")
	switch {
	case want.Version == "":
		want.Version = named
	case reference.digest != "", named != "" && named != want.Version:
		return place{}, releases.Errorf(releases.Invalid, "chart: %s names what chart.version (%s) names, too; leave one of them out", full, want.Version)
	}
	key := releases.Chart{Name: reference.repository, Version: want.Version}
	if reference.digest != "" {
		key.Version = reference.digest
	}
	r, err := source.registry(reference.repository)
	if err != nil {
		return place{}, releases.Errorf(releases.Invalid, "chart: %s%s is not a reference: %v", ociScheme, reference.repository, err)
	}
	if reference.digest == "" && c.keptForever(source, key) == "" {
		resolving, cancel := context.WithTimeout(ctx, fetchWithin)
		defer cancel()
		if key.Version, err = newestTag(resolving, r, want.Version); err != nil {
			return place{}, ociFault(full, want.Version, err)
		}
	}
	if path := c.keptForever(source, key); path != "" {
		return c.proven(ctx, source, place{path, ociChart(key)}, func(ctx context.Context) ([]byte, error) {
			found, err := pull(ctx, r, tagOf(key.Version))
			if err != nil {
				return nil, ociFault(full, key.Version, err)
			}
			return found.proven()
		})
	}
	return c.pullOCI(ctx, source, r, key, full)
}

// pullOCI fetches a chart's archive and keeps it. Such as `latest` is kept by the digest that it has now.
func (c *charts) pullOCI(ctx context.Context, source *repository, r *remote.Repository, key releases.Chart, full string) (place, error) {
	pulling, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	found, err := pull(pulling, r, tagOf(key.Version))
	if err != nil {
		return place{}, ociFault(full, key.Version, err)
	}
	if !unchanging(key.Version) {
		key.Version = found.manifest
	}
	path := c.archive(found.sum)
	if err := errors.Join(keep(path, found.archive), source.remember(key.Name, key.Version, found.sum)); err != nil {
		return place{}, err
	}
	return c.proven(ctx, source, place{path, ociChart(key)}, func(context.Context) ([]byte, error) { return found.proven() })
}

// ociChart names a version, or what has the digest.
func ociChart(key releases.Chart) releases.Chart {
	if strings.Contains(key.Version, ":") {
		return releases.Chart{Name: ociScheme + key.Name + "@" + key.Version}
	}
	return releases.Chart{Name: ociScheme + key.Name, Version: key.Version}
}

// tagOf is the version's tag: tags have no '+'.
func tagOf(version string) string { return strings.ReplaceAll(version, "+", "_") }

// unchanging reports whether what a tag or digest names is the same forever. Such as `latest` is not.
func unchanging(version string) bool {
	_, err := semver.StrictNewVersion(version)
	return err == nil || strings.Contains(version, ":")
}

// keptForever is the archive that needs no network, or "".
func (c *charts) keptForever(source *repository, key releases.Chart) string {
	if !unchanging(key.Version) {
		return ""
	}
	return c.kept(source, key)
}

// listedOCI is the source that a repository belongs to: the longest that it begins with.
func (c *charts) listedOCI(repository string) (found *repository) {
	for _, s := range c.sources {
		prefix, isOCI := strings.CutPrefix(normal(s.URL), ociScheme)
		if isOCI && (repository == prefix || strings.HasPrefix(repository, prefix+"/")) && (found == nil || len(s.URL) > len(found.URL)) {
			found = s
		}
	}
	return found
}

// registry opens a repository of the registry. Its credentials are for its own host; one on this machine is spoken to without TLS.
func (s *repository) registry(name string) (*remote.Repository, error) {
	r, err := remote.NewRepository(name)
	if err != nil {
		return nil, err
	}
	client := &auth.Client{Client: s.client, Header: http.Header{"User-Agent": {"gimletd"}}}
	if s.Password != "" {
		client.Credential = auth.StaticCredential(r.Reference.Host(), auth.Credential{Username: s.Username, Password: s.Password.Reveal()})
	}
	host, _, err := net.SplitHostPort(r.Reference.Registry)
	if err != nil {
		host = r.Reference.Registry
	}
	ip := net.ParseIP(host)
	r.Client, r.PlainHTTP = client, host == "localhost" || (ip != nil && ip.IsLoopback())
	r.MaxMetadataBytes = maxOCIManifest
	return r, nil
}

// newestTag is the version when it is one, or the newest that fits it as a range, as Helm resolves it.
func newestTag(ctx context.Context, r *remote.Repository, version string) (string, error) {
	if _, err := semver.StrictNewVersion(version); err == nil {
		return version, nil
	}
	constraint, err := semver.NewConstraint(orAny(version))
	if err != nil {
		return version, nil //nolint:nilerr // a tag that is no version
	}
	var newest *semver.Version
	seen, exact := 0, false
	err = r.Tags(ctx, "", func(tags []string) error {
		if seen += len(tags); seen > maxTags {
			return fmt.Errorf("it has more than %d tags; name the version", maxTags)
		}
		for _, tag := range tags {
			exact = exact || (tag == version && strings.HasPrefix(tag, "v"))
			v, err := semver.StrictNewVersion(strings.ReplaceAll(tag, "_", "+"))
			if err == nil && constraint.Check(v) && (newest == nil || v.GreaterThan(newest)) {
				newest = v
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if exact { // it is no version to the letter, and no range either
		return version, nil
	}
	if newest == nil {
		return "", fmt.Errorf("no version fits %q: %w", version, errdef.ErrNotFound)
	}
	return newest.String(), nil
}

// orAny is Helm's range for no version: any that is no pre-release.
func orAny(version string) string {
	if version == "" {
		return "*"
	}
	return version
}

// pulled is a chart as a registry has it.
type pulled struct {
	archive  []byte
	sum      string // SHA-256 of the archive, in hexadecimal
	manifest string // the digest of what holds it
	proof    []byte // its provenance file; nil without
}

// proven is the provenance file, if there is one.
func (p pulled) proven() ([]byte, error) {
	if p.proof == nil {
		return nil, errNoProof
	}
	return p.proof, nil
}

// pull fetches a chart's archive, and proves it by its digest.
func pull(ctx context.Context, r *remote.Repository, tag string) (p pulled, err error) {
	at, err := r.Resolve(ctx, tag)
	if err != nil {
		return p, err
	}
	if at.Size > maxOCIManifest {
		return p, errors.New("its manifest is too large")
	}
	text, err := fetch(ctx, r, at)
	if err != nil {
		return p, err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return p, fmt.Errorf("its manifest cannot be read: %w", err)
	}
	p.manifest = at.Digest.String()
	for _, layer := range m.Layers {
		isChart, isProof := layer.MediaType == chartLayer || layer.MediaType == legacyChartLayer, layer.MediaType == provenanceLayer
		if !isChart && !isProof {
			continue
		}
		if most := int64(maxArchive); layer.Size > most || (isProof && layer.Size > maxProof) {
			return p, fmt.Errorf("it is larger than %d MiB", maxArchive>>20)
		}
		if err := layer.Digest.Validate(); err != nil || layer.Digest.Algorithm() != digest.SHA256 {
			return p, fmt.Errorf("%w: its layer has no SHA-256 digest", errdef.ErrInvalidDigest)
		}
		content, err := fetch(ctx, r, layer)
		switch {
		case err != nil:
			return p, err
		case isProof:
			p.proof = content
		case p.archive == nil:
			p.archive, p.sum = content, layer.Digest.Encoded()
		}
	}
	if p.archive == nil {
		return p, errors.New("it is something else than a Helm chart")
	}
	return p, nil
}

func fetch(ctx context.Context, r *remote.Repository, at ocispec.Descriptor) ([]byte, error) {
	body, err := r.Fetch(ctx, at)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	return content.ReadAll(body, at)
}

// ociFault says what a registry's error means for who wanted the chart.
func ociFault(name, version string, err error) error {
	what := strings.TrimSpace(name + " " + version)
	refused, answered := errors.AsType[*errcode.ErrorResponse](err)
	switch {
	case errors.Is(err, errdef.ErrNotFound), answered && refused.StatusCode == http.StatusNotFound:
		return releases.Errorf(releases.NotFound, "chart %s is not in its registry", what)
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return releases.Errorf(releases.Unavailable, "the registry of chart %s asks for credentials, and charts in the configuration has none for it", what)
	case answered && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden):
		return releases.Errorf(releases.Unavailable, "the registry of chart %s refuses its credentials (charts in the configuration)", what)
	case answered && refused.StatusCode < http.StatusInternalServerError && refused.StatusCode != http.StatusTooManyRequests:
		return releases.Wrap(releases.Invalid, err, "chart %s cannot be fetched", what)
	case errors.Is(err, content.ErrMismatchedDigest), errors.Is(err, content.ErrTrailingData), errors.Is(err, errdef.ErrInvalidDigest):
		return releases.Wrap(releases.Invalid, err, "chart %s is not what its registry says it is", what)
	}
	return releases.Wrap(releases.Unavailable, err, "chart %s cannot be fetched", what)
}
