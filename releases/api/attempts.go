package api

import (
	"crypto/sha256"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// attempts bounds how often somebody may try tokens that are none. A token that was good here before is let through whatever others try
// from the same address, which may be a proxy's.
type attempts struct {
	mu   sync.Mutex
	bad  map[string]*rate.Limiter   // by address
	good map[[sha256.Size]byte]bool // digests of tokens
}

// Limits of attempts.
const (
	attemptsAtOnce = 20
	attemptEvery   = 3 * time.Second
	manyAddresses  = 4096
	manyTokens     = 4096
)

func newAttempts() *attempts {
	return &attempts{bad: map[string]*rate.Limiter{}, good: map[[sha256.Size]byte]bool{}}
}

func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// refused reports whether the token is not even looked at.
func (a *attempts) refused(r *http.Request, token [sha256.Size]byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.good[token] {
		return false
	}
	l := a.bad[address(r)]
	return l != nil && l.Tokens() < 1
}

// note remembers how an attempt went.
func (a *attempts) note(r *http.Request, token [sha256.Size]byte, good bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if good {
		if len(a.good) >= manyTokens {
			clear(a.good)
		}
		a.good[token] = true
		return
	}
	delete(a.good, token)
	from := address(r)
	if a.bad[from] == nil {
		if len(a.bad) >= manyAddresses {
			clear(a.bad)
		}
		a.bad[from] = rate.NewLimiter(rate.Every(attemptEvery), attemptsAtOnce)
	}
	a.bad[from].Allow()
}
