package testserver

import (
	"sync"
	"testing"
)

// Shared is a server that the tests of a package share, for example with a database for each test. A
// test that changes global settings or ends the server needs its own.
type Shared[S any] struct {
	start func(testing.TB, ...string) S

	mu      sync.Mutex
	server  S
	started bool
	ends    []func()
}

// Share returns a server that start makes in the first test that calls Get.
func Share[S any](start func(testing.TB, ...string) S) *Shared[S] { return &Shared[S]{start: start} }

// Get returns the server. It skips or fails a test without a server, as start does.
func (s *Shared[S]) Get(t testing.TB) S {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started {
		s.server = s.start(&lasting{t, &s.ends})
		s.started = true
	}
	return s.server
}

// End stops the server. TestMain calls it after the tests.
func (s *Shared[S]) End() {
	for i := len(s.ends) - 1; i >= 0; i-- {
		s.ends[i]()
	}
	s.ends = nil
}

// lasting is a test whose clean-ups run after all tests. Then its log is closed.
type lasting struct {
	testing.TB
	ends *[]func()
}

func (l *lasting) Cleanup(f func()) { *l.ends = append(*l.ends, f) }
func (*lasting) Failed() bool       { return false }
