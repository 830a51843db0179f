package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// PanicError is what the callers of a load get when it panics. The key can be loaded
// again.
type PanicError struct {
	Value any
	Stack []byte // of the load; for the log, not for clients
}

func (e *PanicError) Error() string { return fmt.Sprintf("cache: the load panicked: %v", e.Value) }

// Unwrap returns the value of the panic if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// ErrLoadExited means that a load ended its goroutine (runtime.Goexit, as t.FailNow
// does) instead of returning.
var ErrLoadExited = errors.New("cache: the load ended its goroutine")

// ErrLoadTimeout means that a load took longer than Options.LoadTimeout. It may still run
// if it does not obey its context.
var ErrLoadTimeout = errors.New("cache: the load took longer than LoadTimeout")

// flight is a load that runs once for all who wait for it.
type flight[V any] struct {
	key   string
	stamp stamp // taken before it began
	done  chan struct{}
	ending[V]
	ended bool      // with the lock of the flights
	until time.Time // that the ending is given to those who come after it

	mu  sync.Mutex
	old *V // what may be served if the load fails or takes too long
}

// ending is what all who wait for a flight get.
type ending[V any] struct {
	outcome[V]
	stale bool // the value is an old one, since the load failed
	// rest is how long it is given to those who come after the end too, so that a source
	// that fails is not asked by every reader.
	rest time.Duration
}

func (f *flight[V]) setOld(value *V) {
	f.mu.Lock()
	f.old = value
	f.mu.Unlock()
}

func (f *flight[V]) getOld() *V {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.old
}

// seat is a place in a flight. It is late if the flight had ended before it was taken.
type seat[V any] struct {
	*flight[V]
	late bool
}

// flights are the loads of one cache by key.
type flights[V any] struct {
	mu    sync.Mutex
	byKey map[string]*flight[V]
}

// claim returns the flight of key if nothing has changed since it began, or else begins
// one, which the caller then owes an end: a reader that comes after a Delete does not get
// what was read before.
func (f *flights[V]) claim(c *Coherence, key string, now func() stamp) (s seat[V], joined bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	current, ok := f.byKey[key]
	if ok && c.valid(&current.stamp) && !current.over() {
		return seat[V]{current, !current.until.IsZero()}, true
	}
	current = &flight[V]{key: key, done: make(chan struct{}), stamp: now()}
	if f.byKey == nil {
		f.byKey = make(map[string]*flight[V])
	}
	f.byKey[key] = current
	return seat[V]{flight: current}, false
}

// over reports whether a flight has ended and its outcome is not given any longer. It
// is called with the lock of the flights.
func (f *flight[V]) over() bool { return !f.until.IsZero() && !time.Now().Before(f.until) }

// end gives all who wait for a flight its ending, if it has none yet.
func (f *flights[V]) end(current *flight[V], with ending[V]) {
	f.mu.Lock()
	if current.ended {
		f.mu.Unlock()
		return
	}
	current.ending, current.ended = with, true
	if f.byKey[current.key] == current {
		if current.rest > 0 {
			current.until = time.Now().Add(current.rest)
			time.AfterFunc(current.rest, func() { f.drop(current) })
		} else {
			delete(f.byKey, current.key)
		}
	}
	f.mu.Unlock()
	close(current.done)
}

func (f *flights[V]) drop(current *flight[V]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byKey[current.key] == current {
		delete(f.byKey, current.key)
	}
}

// wait returns the outcome of a flight, no later than ctx ends. After soft, if that is
// not 0, it returns the old value if there is one; the flight goes on. stale is "" for
// what is not.
func (f seat[V]) wait(ctx context.Context, soft time.Duration) (value V, stale StaleReason, err error) {
	var slow <-chan time.Time
	if soft > 0 {
		timer := time.NewTimer(soft)
		defer timer.Stop()
		slow = timer.C
	}
	for {
		select {
		case <-f.done:
			switch {
			case f.stale && f.late:
				stale = StaleThrottled
			case f.stale:
				stale = StaleLoadFailed
			}
			return f.value, stale, f.err
		case <-ctx.Done():
			return value, "", ctx.Err()
		case <-slow:
			if old := f.getOld(); old != nil {
				return *old, StaleLoadSlow, nil
			}
			slow = nil
		}
	}
}
