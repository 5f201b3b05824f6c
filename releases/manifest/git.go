package manifest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"gimletd/releases"

	"helm.sh/helm/v3/pkg/ignore"
)

// Charts in git repositories: https://host/x.git?path=/charts/p/&sha=|tag=|branch=, or ssh://git@host/x.git?…

// GitFolder is a folder of a git repository, as a chart's name says it.
type GitFolder struct {
	URL                    string
	Source                 Source // by what the repository knows us
	Path, SHA, Tag, Branch string
}

// GitReader reads folders of git repositories. Its errors are Errors.
type GitReader interface {
	Resolve(ctx context.Context, f GitFolder) (commit string, err error)
	Read(ctx context.Context, f GitFolder, commit string) (map[string][]byte, error)
}

// isGit tells a chart in a git repository by its name.
func isGit(name string) bool {
	location, _, _ := strings.Cut(name, "?")
	return strings.Contains(name, "://") && strings.HasSuffix(location, ".git")
}

// locateGit returns the path of the chart's archive, made of the folder.
func (c *charts) locateGit(ctx context.Context, want releases.Chart) (place, error) {
	f, fault := readGitFolder(want.Name)
	if fault != "" {
		return place{}, releases.Errorf(releases.Invalid, "chart.name: %s", fault)
	}
	source, listed := c.sources[normal(f.URL)]
	switch {
	case !listed:
		return place{}, releases.Errorf(releases.Invalid, "chart.name: %s is not among the charts of the configuration", f.URL)
	case c.git == nil:
		return place{}, releases.Errorf(releases.Invalid, "chart.name: charts from git repositories are not available")
	case want.Version != "":
		return place{}, releases.Errorf(releases.Invalid, "chart.version: a chart in git has the version of its commit; name it by sha, tag or branch")
	}
	f.Source = source.Source
	if path := c.kept(source, releases.Chart{Name: f.Path, Version: f.SHA}); f.SHA != "" && path != "" {
		return place{path, f.at(f.SHA)}, nil
	}
	select { // one at a time: who waits finds what another has fetched
	case source.cloning <- struct{}{}:
		defer func() { <-source.cloning }()
	case <-ctx.Done():
		return place{}, releases.Wrap(releases.Unavailable, ctx.Err(), "other charts are being fetched from %s", f.URL)
	}
	resolving, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	commit, err := c.git.Resolve(resolving, f)
	if err != nil {
		return place{}, err
	}
	key := releases.Chart{Name: f.Path, Version: commit}
	if path := c.kept(source, key); path != "" {
		return place{path, f.at(commit)}, nil
	}
	left := maxDependencies
	g, err := c.readChart(ctx, f, commit, 0, &left)
	if err != nil {
		return place{}, fmt.Errorf("chart %s: %w", want.Name, err)
	}
	archive, err := pack(g.files)
	if err != nil {
		return place{}, err
	}
	sum := sha256.Sum256(archive)
	digest := hex.EncodeToString(sum[:])
	if err := keep(c.archive(digest), archive); err != nil {
		return place{}, err
	}
	return place{c.archive(digest), f.at(commit)}, source.remember(key.Name, key.Version, digest)
}

// at is the chart as one commit has it.
func (f GitFolder) at(commit string) releases.Chart {
	return releases.Chart{Name: f.URL + "?" + url.Values{"path": {f.Path}, "sha": {commit}}.Encode()}
}

// readGitFolder reads a chart's name, or says what is wrong with it.
func readGitFolder(name string) (f GitFolder, fault string) {
	u, err := url.Parse(name)
	if err != nil {
		return f, "it is not a URL"
	}
	switch {
	case (u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "ssh") || u.Host == "":
		return f, "a git repository is named by https:// or ssh://"
	case secretIn(u):
		return f, "it has credentials in it; the configuration has them"
	case u.Fragment != "":
		return f, "it has a fragment (#)"
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return f, "what comes after ? cannot be read"
	}
	named := 0
	for key, all := range values {
		if len(all) > 1 {
			return f, key + " is there twice"
		}
		switch value := all[0]; key {
		case "path":
			f.Path = strings.Trim(path.Clean("/"+value), "/")
		case "sha":
			f.SHA = strings.ToLower(value)
			named++
		case "tag":
			f.Tag = value
			named++
		case "branch":
			f.Branch = value
			named++
		default:
			return f, key + " is unknown; there are path, sha, tag and branch"
		}
	}
	if named > 1 {
		return f, "one of sha, tag and branch"
	}
	u.RawQuery, u.ForceQuery = "", false
	f.URL = u.String()
	return f, ""
}

// maxIgnore bounds a .helmignore: each of its lines is tried with each file.
const maxIgnore = 16 << 10

// secretIn reports whether the URL has what is nobody else's business. Whom one is over ssh is part of the address.
func secretIn(u *url.URL) bool {
	_, password := u.User.Password()
	return password || (u.User != nil && u.Scheme != "ssh")
}

// withoutIgnored leaves out what Helm leaves out of a folder. https://helm.sh/docs/chart_template_guide/helm_ignore_file/
func withoutIgnored(files map[string][]byte) (map[string][]byte, error) {
	rules := ignore.Empty()
	if text, ok := files[ignore.HelmIgnore]; ok {
		if len(text) > maxIgnore {
			return nil, fmt.Errorf("it is larger than %d KiB", maxIgnore>>10)
		}
		var err error
		if rules, err = ignore.Parse(bytes.NewReader(text)); err != nil {
			return nil, err
		}
	}
	rules.AddDefaults()
	left := map[string][]byte{}
	for name, content := range files {
		ignored := rules.Ignore(name, inFolder{name: path.Base(name)})
		for dir := path.Dir(name); dir != "." && !ignored; dir = path.Dir(dir) {
			ignored = rules.Ignore(dir, inFolder{name: path.Base(dir), dir: true})
		}
		if !ignored {
			left[name] = content
		}
	}
	return left, nil
}

// inFolder is what the rules ask of a file.
type inFolder struct {
	fs.FileInfo
	name string
	dir  bool
}

func (f inFolder) Name() string { return f.name }
func (f inFolder) IsDir() bool  { return f.dir }

// pack makes a chart's archive, the same of the same files.
func pack(files map[string][]byte) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	const mode = 0o644
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{Name: "chart/" + name, Mode: mode, Size: int64(len(files[name])), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	err := z.Close()
	return out.Bytes(), err
}
