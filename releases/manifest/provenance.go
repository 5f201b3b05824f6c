package manifest

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"gimletd/releases"

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
// which is kept beside the archive. https://helm.sh/docs/topics/provenance/
func (c *charts) proven(ctx context.Context, source *repository, at place, fetch func(context.Context) ([]byte, error)) (place, error) {
	if source.Keyring == "" {
		return at, nil
	}
	proof := at.path + ".prov"
	if exists(proof) && signed(source.Keyring, at, proof) == nil {
		return at, nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	text, err := fetch(ctx)
	switch {
	case errors.Is(err, errNoProof):
		return place{}, unproven(at, source, err)
	case err != nil:
		return place{}, releases.Wrap(releases.Unavailable, err, "the signature of chart %s cannot be fetched", nameOf(at.chart))
	}
	if err := keep(proof, text); err != nil {
		return place{}, err
	}
	if err := signed(source.Keyring, at, proof); err != nil {
		return place{}, unproven(at, source, err)
	}
	return at, nil
}

// provenHere is proven for a chart in a folder of somebody's, in which nothing is kept.
func provenHere(source *repository, at place) (place, error) {
	proof := at.path + ".prov"
	switch {
	case source.Keyring == "":
		return at, nil
	case !exists(proof):
		return place{}, unproven(at, source, errNoProof)
	}
	if err := signed(source.Keyring, at, proof); err != nil {
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

// signed reports what is wrong with a chart's signature. Of a version that is known, only that version's counts: an older chart is
// signed, too.
func signed(keyring string, at place, proof string) error {
	text, err := os.ReadFile(proof) //nolint:gosec // beside the archive
	if err != nil {
		return err
	}
	named := signedFile.FindSubmatch(text)
	if named == nil {
		return errors.New("its .prov file names no archive")
	}
	file := string(named[1])
	location, digest, _ := strings.Cut(at.chart.Name, "@")
	want := path.Base(location) + "-" + at.chart.Version
	if exact := digest == ""; (exact && file != want+".tgz") || (!exact && !strings.HasPrefix(file, want)) || strings.ContainsAny(file, `/\`) {
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
	alias := filepath.Join(dir, file)
	if err := os.Symlink(at.path, alias); err != nil {
		return err
	}
	_, err = keys.Verify(alias, proof)
	return err
}
