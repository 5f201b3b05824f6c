// Package bottest is what the fakes of chat platforms have in common.
package bottest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// Reporter is told what the app does wrong. A testing.TB is one.
type Reporter interface {
	Errorf(format string, args ...any)
}

// Bell tells those who wait that something has changed.
type Bell struct {
	mu      sync.Mutex
	changed chan struct{}
}

func (b *Bell) listen() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

// Ring tells them.
func (b *Bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// Await waits until the condition holds, looking whenever the bell rings, and reports whether it came to.
func (b *Bell) Await(within time.Duration, condition func() bool) bool {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for {
		changed := b.listen()
		if condition() {
			return true
		}
		select {
		case <-changed:
		case <-timeout.C:
			return condition()
		}
	}
}

// Transport calls a handler without a network, so that it works with a simulated clock. One that panics has lost the connection.
func Transport(h http.Handler) http.RoundTripper { return transport{h} }

type transport struct{ handler http.Handler }

// RoundTrip calls the handler.
func (t transport) RoundTrip(r *http.Request) (res *http.Response, err error) {
	recorder := httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil {
			res, err = nil, fmt.Errorf("connection lost (%v)", p)
		}
	}()
	if r.Body == nil {
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	t.handler.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

// Post calls the app as a platform does. An app that cannot be reached has the status 0.
func Post(url string, body []byte, header http.Header, within time.Duration) (status int, text string) {
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body)) //nolint:noctx // the client has a time-out
	if err != nil {
		return 0, err.Error()
	}
	req.Header = header
	res, err := (&http.Client{Timeout: within}).Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	answer, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(answer)
}
