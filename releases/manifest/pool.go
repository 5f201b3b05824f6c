package manifest

import (
	"context"
	"encoding/gob"
	"errors"
	"io"
	"os/exec"
	"sync"
	"time"

	"gimletd/releases"
)

// pool keeps a few worker processes. One that breaks a limit is killed, and the next job gets a new one.
type pool struct {
	command []string
	slots   chan struct{} // one token a worker that may run at the same time

	mu   sync.Mutex
	idle []*process
}

// process is a worker from the outside.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	encoder *gob.Encoder
	decoder *gob.Decoder
	timer   *time.Timer
}

// idleTime is how long a worker waits for a job before it is ended.
const idleTime = 5 * time.Minute

func newPool(command []string, size int) *pool {
	return &pool{command: command, slots: make(chan struct{}, size)}
}

// run has a worker do the job.
func (p *pool) run(ctx context.Context, j job) (answer, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return answer{}, releases.Wrap(releases.Unavailable, ctx.Err(), "all render workers are busy")
	}
	w, err := p.take() //nolint:contextcheck // a worker outlives the job that it is started for
	if err != nil {
		return answer{}, releases.Wrap(releases.Unavailable, err, "the render worker does not start")
	}
	type outcome struct {
		a   answer
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		if o.err = w.encoder.Encode(j); o.err == nil {
			o.err = w.decoder.Decode(&o.a)
		}
		done <- o
	}()
	limit := time.NewTimer(maxSeconds * time.Second)
	defer limit.Stop()
	select {
	case o := <-done:
		if o.err != nil {
			return answer{}, w.died(o.err)
		}
		p.put(w)
		return o.a, nil
	case <-limit.C:
		w.kill()
		return answer{}, releases.Errorf(releases.Invalid, "rendering took longer than %d s and was stopped", maxSeconds)
	case <-ctx.Done():
		w.kill()
		return answer{}, releases.Wrap(releases.Unavailable, ctx.Err(), "rendering was left in the middle")
	}
}

func (p *pool) take() (*process, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		w := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if w.timer.Stop() {
			return w, nil
		}
	}
	return start(p.command)
}

func (p *pool) put(w *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.timer = time.AfterFunc(idleTime, w.kill)
	p.idle = append(p.idle, w)
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.idle {
		w.kill()
	}
	p.idle = nil
}

func start(command []string) (*process, error) {
	cmd := exec.CommandContext(context.Background(), command[0], command[1:]...) //nolint:gosec // our own binary; it outlives the job
	cmd.Env = []string{"GOMAXPROCS=2", "TZ=UTC"}                                 // nothing of ours: no secret, no HOME, no proxy
	cmd.Dir = "/"
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd: cmd, in: in, encoder: gob.NewEncoder(in), decoder: gob.NewDecoder(out)}, nil
}

func (w *process) kill() {
	_ = w.cmd.Process.Kill()
	go func() { _ = w.cmd.Wait() }()
}

// died explains a worker that ended in the middle of a job.
func (w *process) died(cause error) error {
	_ = w.cmd.Process.Kill()
	err := w.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitMemory {
		return releases.Errorf(releases.Invalid, "rendering took more than %d MiB of memory and was stopped", maxMemory>>20)
	}
	return releases.Wrap(releases.Invalid, cause, "rendering ended without an answer (%v)", err)
}
