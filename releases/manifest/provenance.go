package manifest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"gimletd/releases"

	"github.com/Masterminds/semver/v3"
	"helm.sh/helm/v3/pkg/provenance"
)

// place is where a chart lies on this machine, and what names it for ever.
type place struct {
	path  string
	chart releases.Chart
}

// errNoProof says that a chart comes without a signature.
var errNoProof = errors.New("it is not signed: there is no .prov file beside it")

// proven returns the place unless its source has a keyring, and nobody in it has signed the chart. fetch gets the chart's provenance file,
// which is kept. Errors with a Kind are final. https://helm.sh/docs/topics/provenance/
func (c *charts) proven(ctx context.Context, source *repository, at place, fetch func(context.Context) ([]byte, error)) (place, error) {
	if source.Keyring == "" {
		return at, nil
	}
	kept := filepath.Join(source.dir, "proofs", filepath.Base(at.path)+".prov")
	known, err := os.ReadFile(kept) //nolint:gosec // in our own folder
	if err == nil && signed(source.Keyring, at, known) == nil {
		return at, nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	text, err := fetch(ctx)
	switch {
	case errors.Is(err, errNoProof):
		return place{}, unproven(at, source, err)
	case releases.KindOf(err) != "":
		return place{}, err
	case err != nil:
		return place{}, releases.Wrap(releases.Unavailable, err, "the signature of chart %s cannot be fetched", nameOf(at.chart))
	}
	if err := signed(source.Keyring, at, text); err != nil {
		return place{}, unproven(at, source, err)
	}
	return at, keep(kept, text)
}

// provenHere is proven for a chart in a folder of somebody's, in which nothing is kept.
func provenHere(source *repository, at place) (place, error) {
	if source.Keyring == "" {
		return at, nil
	}
	text, err := os.ReadFile(at.path + ".prov")
	if errors.Is(err, fs.ErrNotExist) {
		err = errNoProof
	}
	if err == nil {
		err = signed(source.Keyring, at, text)
	}
	if err != nil {
		return place{}, unproven(at, source, err)
	}
	return at, nil
}

func unproven(at place, source *repository, err error) error {
	return releases.Wrap(releases.Invalid, err, "chart %s is refused: the configuration asks for a signature of what comes from %s (charts, keyring)", nameOf(at.chart), source.URL)
}

func nameOf(c releases.Chart) string { return strings.TrimSpace(c.Name + " " + c.Version) }

// signedFile is the line of a provenance file that names the archive.
var signedFile = regexp.MustCompile(`(?m)^\s+(\S+\.tgz): sha256:[0-9a-f]{64}\s*$`)

// readable reports whether a keyring, as gpg --export writes it, can be read.
func readable(keyring string) error {
	keys, err := provenance.NewFromKeyring(keyring, "")
	if err == nil && len(keys.KeyRing) == 0 {
		err = errors.New("it holds no key")
	}
	return err
}

// signed reports what is wrong with a chart's signature. It has to be of the chart, and of the version where that is known: an older
// one is signed, too. What is named by a tag or digest may be of any version.
func signed(keyring string, at place, proof []byte) error {
	named := signedFile.FindSubmatch(proof)
	if named == nil {
		return errors.New("its .prov file names no archive")
	}
	file := string(named[1])
	location, digest, _ := strings.Cut(at.chart.Name, "@")
	version, ofChart := strings.CutPrefix(strings.TrimSuffix(file, ".tgz"), path.Base(location)+"-")
	if _, err := semver.StrictNewVersion(strings.TrimPrefix(version, "v")); err != nil || !ofChart || (digest == "" && version != at.chart.Version) {
		return errors.New("its signature is that of " + file)
	}
	keys, err := provenance.NewFromKeyring(keyring, "")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gimletd-proof-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// The signature is of a name and a digest; here the archive has another name.
	alias, prov := filepath.Join(dir, file), filepath.Join(dir, "prov")
	if err := errors.Join(os.Symlink(at.path, alias), os.WriteFile(prov, proof, 0o600)); err != nil {
		return err
	}
	_, err = keys.Verify(alias, prov)
	return err
}
