// Package demo is the surroundings that the demo needs: a chart repository with a small chart, and a CI that ships a few
// artifacts as a real one would, over HTTP. It knows nothing of the rest of the project.
package demo

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"
)

//go:embed chart
var chart embed.FS

// ChartRepository serves the chart as an HTTP chart repository.
func ChartRepository() (http.Handler, error) {
	archive, err := packChart()
	if err != nil {
		return nil, err
	}
	return Serve("webapp", "1.0.0", archive), nil
}

// Serve is an HTTP chart repository with one chart.
func Serve(name, version string, archive []byte) http.Handler {
	file := name + "-" + version + ".tgz"
	index := fmt.Sprintf("apiVersion: v1\nentries:\n  %s:\n  - apiVersion: v2\n    name: %s\n    version: %s\n    digest: %x\n    urls: [%s]\n",
		name, name, version, sha256.Sum256(archive), file)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /index.yaml", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, index) })
	mux.HandleFunc("GET /"+file, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(archive) })
	return mux
}

func packChart() ([]byte, error) {
	inside, err := fs.Sub(chart, "chart")
	if err != nil {
		return nil, err
	}
	return Pack("webapp", inside)
}

// Pack makes a chart's archive of its files.
func Pack(name string, files fs.FS) ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	tape := tar.NewWriter(zip)
	err := fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		if err := tape.WriteHeader(&tar.Header{Name: name + "/" + path, Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err = tape.Write(content)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := tape.Close(); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// CI ships artifacts to a GimletD.
type CI struct {
	API    string // host:port
	Token  string
	Charts string // URL of the chart repository
}

// build is one run of a pipeline.
type build struct {
	app, sha, branch, tag, event, author, message string
	replicas                                      int
}

// builds are the pipelines that have run when the demo starts, oldest first.
func builds() []build {
	return []build{
		{"frontend", "4f1c6d20b7e94b0c8ad9a4f6d3b1e2c7a5908b61", "", "v1.4.0", "tag", "Grace Hopper", "Show the cart in the header", 2},
		{"backend", "9b7e03aa51cd4f6e8b20d7c49f1a6e35d8027f4c", "main", "", "push", "Barbara Liskov", "Keep sessions for an hour", 2},
		{"frontend", "c3d8a91e6f5240b7a1d30e8c7b94f2650ad1c8e9", "main", "", "push", "Grace Hopper", "Load the product images lazily", 3},
		{"frontend", "e07b54fd1a9c4d3286b5f0a7c12e8d9364fb7a05", "dark-mode", "", "pr", "Ada Lovelace", "Try a dark mode", 1},
	}
}

// Run ships all builds.
func (c CI) Run(ctx context.Context) error {
	start := time.Now().Add(-time.Hour).Unix()
	for i, b := range builds() {
		if err := c.ship(ctx, b, start+int64(i)*600, 100+i); err != nil {
			return fmt.Errorf("ship %s %.7s: %w", b.app, b.sha, err)
		}
	}
	return nil
}

func (c CI) ship(ctx context.Context, b build, at int64, number int) error {
	body, err := json.Marshal(c.artifact(b, at, number))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.API+"/api/artifact", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if closeErr := res.Body.Close(); err == nil {
		err = closeErr
	}
	if err == nil && res.StatusCode > http.StatusPartialContent {
		err = fmt.Errorf("%s: %s", res.Status, answer)
	}
	return err
}

func (c CI) artifact(b build, at int64, number int) map[string]any {
	repository := "acme/" + b.app
	environment := func(name string, replicas int, deploy map[string]string) map[string]any {
		return map[string]any{
			"app": b.app, "env": name, "namespace": name, "deploy": deploy,
			"chart": map[string]string{"repository": c.Charts, "name": "webapp", "version": "1.0.0"},
			"values": map[string]any{
				"replicas": replicas,
				"image":    map[string]string{"repository": "registry.acme.example/" + b.app, "tag": "{{ .SHA }}"},
				"host":     b.app + "." + name + ".acme.example",
				"vars":     map[string]string{"BUILD": "{{ .BUILD }}"},
			},
		}
	}
	return map[string]any{
		"version": map[string]any{
			"repositoryName": repository, "sha": b.sha, "created": at, "branch": b.branch, "tag": b.tag, "event": b.event, "sourceBranch": b.branch,
			"authorName": b.author, "authorEmail": strings.ToLower(strings.ReplaceAll(b.author, " ", ".")) + "@acme.example",
			"committerName": b.author, "committerEmail": "noreply@acme.example", "message": b.message,
			"url": "https://git.acme.example/" + repository + "/commit/" + b.sha,
		},
		"context": map[string]string{"CI": "true", "SHA": b.sha, "BRANCH": b.branch, "BUILD": fmt.Sprint(number)},
		"environments": []any{
			environment("staging", 1, map[string]string{"branch": "main", "event": "push"}),
			environment("production", b.replicas, map[string]string{"tag": "v*", "event": "tag"}),
		},
		"items": []any{map[string]string{"name": "CI", "url": fmt.Sprintf("https://ci.acme.example/%s/%d", repository, number)}},
	}
}
