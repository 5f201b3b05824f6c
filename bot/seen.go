package bot

import (
	"sync"
	"time"
)

// Seen remembers what was there a while ago: calls that come again, buttons that are pressed twice.
type Seen struct {
	Lifetime time.Duration

	mu sync.Mutex
	at map[string]time.Time
}

// Again reports whether the name was there within the lifetime, and remembers it.
func (s *Seen) Again(name string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[string]time.Time{}
	}
	const many = 4096
	if len(s.at) >= many {
		for old, at := range s.at {
			if now.Sub(at) > s.Lifetime {
				delete(s.at, old)
			}
		}
	}
	last, there := s.at[name]
	if there && now.Sub(last) <= s.Lifetime {
		return true
	}
	s.at[name] = now
	return false
}

// Has reports whether the name was there within the lifetime.
func (s *Seen) Has(name string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, there := s.at[name]
	return there && now.Sub(last) <= s.Lifetime
}

// Forget lets the names come again.
func (s *Seen) Forget(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range names {
		delete(s.at, n)
	}
}
