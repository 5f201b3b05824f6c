package api

import (
	"crypto/sha256"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// attempts bounds how often somebody may try tokens that are none. One address may be everybody's, when it is a proxy's: so whatever
// others try from it, tokens that nobody can guess are let in, and the admin's when it was good here before.
type attempts struct {
	mu    sync.Mutex
	bad   map[string]*rate.Limiter // by address
	admin *[sha256.Size]byte       // the digest of the admin's token, once it was good
}

// Limits of attempts.
const (
	attemptsAtOnce = 20
	attemptEvery   = 3 * time.Second
	manyAddresses  = 4096
)

func newAttempts() *attempts {
	return &attempts{bad: map[string]*rate.Limiter{}}
}

func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// slowed reports whether too many were tried from there, and this token is not known to be good.
func (a *attempts) slowed(r *http.Request, token [sha256.Size]byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.admin != nil && *a.admin == token {
		return false
	}
	l := a.bad[address(r)]
	return l != nil && l.Tokens() < 1
}

// trust remembers the admin's token.
func (a *attempts) trust(token [sha256.Size]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.admin = &token
}

// note remembers an attempt with what is no token.
func (a *attempts) note(r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	from := address(r)
	if a.bad[from] == nil {
		if len(a.bad) >= manyAddresses {
			clear(a.bad)
		}
		a.bad[from] = rate.NewLimiter(rate.Every(attemptEvery), attemptsAtOnce)
	}
	a.bad[from].Allow()
}
