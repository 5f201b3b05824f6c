package manifest

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"gimletd/releases"
)

// WorkerCommand is the subcommand by which the binary becomes a render worker.
const WorkerCommand = "render-worker"

// job is what a worker is asked to render.
type job struct {
	Target   releases.Target
	Manifest releases.Manifest
	Vars     map[string]string
	Chart    string // path of the chart's archive or folder; "" without a chart
	Cluster  cluster
	CUE      []string // sources to expand, in place of all that
}

// answer is what it says.
type answer struct {
	Files    []releases.File
	Unstable []string
	Digest   string   // of the chart
	Expanded [][]byte // of each CUE source, the list of its manifests as JSON
	Fault    string   // why there are no files
}

// Exit statuses of a worker that gave up.
const (
	exitMemory  = 3
	exitTimeout = 4
)

// Limits of one render.
const (
	maxMemory  = 512 << 20
	maxSeconds = 10
)

// Work reads jobs and writes answers until the input ends. It is the whole life of a worker process.
func Work(in io.Reader, out io.Writer) error {
	debug.SetMemoryLimit(maxMemory)
	decoder, encoder := gob.NewDecoder(in), gob.NewEncoder(out)
	for {
		var j job
		if err := decoder.Decode(&j); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		stop := watch()
		a := perform(j)
		stop()
		if err := encoder.Encode(a); err != nil {
			return err
		}
	}
}

// watch ends the process when a job takes too long or too much memory: its own guard, should the parent be gone.
func watch() (stop func()) {
	done := make(chan struct{})
	go func() {
		deadline := time.After((maxSeconds + 2) * time.Second)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-deadline:
				os.Exit(exitTimeout)
			case <-tick.C:
				if memory() > maxMemory+maxMemory/4 {
					os.Exit(exitMemory)
				}
			}
		}
	}()
	return func() { close(done) }
}

func memory() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}

// perform renders twice: what differs between the two would differ at every release.
func perform(j job) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			a = answer{Fault: fmt.Sprintf("rendering broke down: %v", p)}
		}
	}()
	if len(j.CUE) > 0 {
		return expand(j.CUE)
	}
	first, err := j.render()
	if err != nil {
		return answer{Fault: err.Error()}
	}
	second, err := j.render()
	if err != nil {
		return answer{Fault: err.Error()}
	}
	a = answer{Files: first, Unstable: differing(first, second)}
	if j.Chart != "" {
		if a.Digest, err = chartDigest(j.Chart); err != nil {
			return answer{Fault: err.Error()}
		}
	}
	return a
}

func differing(first, second []releases.File) []string {
	var names []string
	for _, f := range first {
		same := slices.ContainsFunc(second, func(s releases.File) bool { return s.Path == f.Path && bytes.Equal(s.Content, f.Content) })
		if !same {
			names = append(names, f.Path)
		}
	}
	return names
}

func (j job) render() ([]releases.File, error) {
	r := newResolver(j.Vars)
	var files []releases.File
	if j.Chart != "" {
		values, err := r.values(j.Manifest.Values)
		if err != nil {
			return nil, err
		}
		docs, err := renderChart(j.Chart, j.Target.App, j.Target.Namespace, values, j.Cluster)
		if err != nil {
			return nil, err
		}
		if files, err = split(docs); err != nil {
			return nil, err
		}
	}
	if strings.TrimSpace(j.Manifest.Manifests) != "" {
		text, err := r.raw(j.Manifest.Manifests)
		if err != nil {
			return nil, err
		}
		if len(text) > maxOutput {
			return nil, errTooLarge
		}
		if text != nil {
			files = append(files, releases.File{Path: rawFile, Content: text})
		}
	}
	var err error
	if files, err = j.patched(files, r); err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("the manifest renders to nothing: no object would be released")
	}
	slices.SortFunc(files, func(a, b releases.File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}
