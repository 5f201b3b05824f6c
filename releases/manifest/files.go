package manifest

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"gimletd/releases"
)

// Limits of what a render may give.
const (
	maxOutput = 16 << 20 // bytes
	maxFiles  = 2000
)

// rawFile holds the manifest's raw YAML.
const rawFile = "manifests.yaml"

// split makes one file of all that came from one template.
func split(docs []document) ([]releases.File, error) {
	bySource := map[string]*strings.Builder{}
	var sources []string
	size := 0
	for _, d := range docs {
		text := d.String()
		if size += len(text); size > maxOutput {
			return nil, errTooLarge
		}
		if bySource[d.source] == nil {
			bySource[d.source] = &strings.Builder{}
			sources = append(sources, d.source)
		}
		bySource[d.source].WriteString(text)
	}
	if len(sources) > maxFiles {
		return nil, fmt.Errorf("the chart renders %d files, at most %d are taken", len(sources), maxFiles)
	}
	slices.Sort(sources) // so that which of two equal names gets the number does not depend on the order of kinds
	taken := map[string]bool{rawFile: true, releases.ReleaseFile: true}
	var files []releases.File
	for _, source := range sources {
		name := unique(fileName(source), taken)
		files = append(files, releases.File{Path: name, Content: []byte(bySource[source].String())})
	}
	return files, nil
}

// fileName is the template's path without what all templates share: frontend/templates/deployment.yaml becomes
// deployment.yaml, frontend/charts/redis/templates/service.yaml redis-service.yaml.
func fileName(source string) string {
	_, inside, _ := strings.Cut(source, "/")
	var parts []string
	for part := range strings.SplitSeq(inside, "/") {
		if part != "templates" && part != "charts" {
			parts = append(parts, part)
		}
	}
	name := strings.Join(parts, "-")
	if ext := path.Ext(name); ext != ".yaml" && ext != ".yml" && ext != ".json" {
		name += ".yaml"
	}
	return strings.TrimLeft(name, ".")
}

func unique(name string, taken map[string]bool) string {
	ext := path.Ext(name)
	for base, n := strings.TrimSuffix(name, ext), 2; taken[strings.ToLower(name)]; n++ {
		name = fmt.Sprintf("%s-%d%s", base, n, ext)
	}
	taken[strings.ToLower(name)] = true
	return name
}

// limited refuses to write more than it may.
type limited struct {
	to   io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errTooLarge
	}
	return l.to.Write(p)
}
