package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// PanicError is the error of a load that panicked. The key can be loaded again.
type PanicError struct {
	Value any    // the argument of panic
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

// ErrLoadTimeout means that a load took longer than Options.LoadTimeout. The load may still
// run if it ignores its context.
var ErrLoadTimeout = errors.New("cache: the load took longer than LoadTimeout")

// call is a load of one key that runs once for all its waiters.
type call[V any] struct {
	key    string
	node   *node         // of the load
	ticket driver.Ticket // from before the key was read; it ends with the call
	tags   []uint64      // known before the load, and later all tags of the value
	done   chan struct{}
	ending[V]
	ended bool      // with the lock of calls
	until time.Time // later callers also receive the ending until then

	mu      sync.Mutex
	old     *V // the value to serve if the load fails or takes too long
	oldTags []uint64
	oldEnd  int64 // the end of its use, on the clock of the memory
}

// ending is the result of a call for its waiters.
type ending[V any] struct {
	value V
	err   error
	stale bool     // the value is old, since the load failed
	late  []uint64 // tags of the value that were not known before the load
	again bool     // one of late was invalidated during the load
	// rest is the time for which later callers receive the ending too, so that not every
	// reader calls a failing source.
	rest time.Duration
}

func (f *call[V]) setOld(value *V, tags []uint64, end int64) {
	f.mu.Lock()
	f.old, f.oldTags, f.oldEnd = value, tags, end
	f.mu.Unlock()
}

// getOld returns the old value, unless it has ended or one of its tags was invalidated after
// it was read. left is the time to its end.
func (f *call[V]) getOld(m *driver.Memory) (old *V, left time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left = time.Duration(f.oldEnd - m.Now())
	if f.old == nil || left <= 0 || invalidatedSince(m, f.ticket, f.oldTags) {
		return nil, 0
	}
	return f.old, left
}

// waiter is a caller of a call. It is late if the call had already ended.
type waiter[V any] struct {
	*call[V]
	late bool
	seq  uint64 // of the moment when the caller arrived
}

// calls are the loads of one cache by key.
type calls[V any] struct {
	memory *driver.Memory
	mu     sync.Mutex
	byKey  map[string]*call[V]
}

// claim returns the call of a key if its key and tags were not invalidated since it began.
// Otherwise it begins a call, and the caller must end it. The ticket is from before the
// caller read the key. A new call takes it over.
func (f *calls[V]) claim(w *want, ticket driver.Ticket, n *node, seq uint64) (s waiter[V], joined bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	current, ok := f.byKey[w.key]
	if ok && !current.over() && f.memory.Valid(current.ticket, w.hash, current.tags) {
		return waiter[V]{current, !current.until.IsZero(), seq}, true
	}
	current = &call[V]{key: w.key, node: n, done: make(chan struct{}), ticket: ticket, tags: w.hashes}
	if f.byKey == nil {
		f.byKey = make(map[string]*call[V])
	}
	f.byKey[w.key] = current
	return waiter[V]{call: current, seq: seq}, false
}

// over reports whether new callers no longer receive the result of a call. It needs the
// lock of calls.
func (f *call[V]) over() bool { return !f.until.IsZero() && !time.Now().Before(f.until) }

// end ends a call for all its waiters. A second ending of a call has no effect.
func (f *calls[V]) end(current *call[V], with ending[V]) {
	f.mu.Lock()
	if current.ended {
		f.mu.Unlock()
		return
	}
	with.again = invalidatedSince(f.memory, current.ticket, with.late)
	current.ending, current.ended = with, true
	if f.byKey[current.key] == current && current.rest > 0 {
		current.until = time.Now().Add(current.rest)
		current.mu.Lock()
		current.tags = append(current.tags[:len(current.tags):len(current.tags)], current.oldTags...)
		current.mu.Unlock()
		time.AfterFunc(current.rest, func() { f.drop(current) })
	} else {
		f.dropLocked(current)
	}
	f.mu.Unlock()
	close(current.done)
}

func (f *calls[V]) drop(current *call[V]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropLocked(current)
}

func (f *calls[V]) dropLocked(current *call[V]) {
	if f.byKey[current.key] == current {
		delete(f.byKey, current.key)
	}
	f.memory.End(current.ticket)
}

// wait returns the result of a call, or returns when ctx ends. After soft, if that is not
// 0, it returns the old value if there is one, and the call continues. stale is "" for a
// fresh value. again means that the caller arrived after an invalidation of the value.
func (f waiter[V]) wait(ctx context.Context, m *driver.Memory, soft time.Duration) (value V, stale StaleReason, again bool, err error) {
	leave, err := enter(ctx, f.node)
	if err != nil {
		return value, "", false, err
	}
	defer leave()
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
			return f.value, stale, f.again && f.ticket.Since(f.seq), f.err
		case <-ctx.Done():
			return value, "", false, ctx.Err()
		case <-slow:
			if old, _ := f.getOld(m); old != nil {
				return *old, StaleLoadSlow, false, nil
			}
			slow = nil
		}
	}
}

// ErrRecursive means that a load requests a key that it is loading itself, directly or
// through other loads that wait for each other.
var ErrRecursive = errors.New("cache: the load asks for its own key, and would wait for itself")

// node is a running load in the graph of the loads that wait for others.
type node struct{ waits map[*node]int }

var graph sync.Mutex // of all nodes: only loads that wait for loads take it

// enter records that the load of ctx, if it is in one, waits for another load. It fails if
// that closes a cycle.
func enter(ctx context.Context, other *node) (leave func(), err error) {
	m, _ := ctx.Value(metaKey{}).(*meta)
	if m == nil || m.node == nil {
		return func() {}, nil
	}
	graph.Lock()
	defer graph.Unlock()
	if other.reaches(m.node, map[*node]bool{}) {
		return nil, ErrRecursive
	}
	if m.node.waits == nil {
		m.node.waits = map[*node]int{}
	}
	m.node.waits[other]++
	return func() {
		graph.Lock()
		defer graph.Unlock()
		if m.node.waits[other]--; m.node.waits[other] == 0 {
			delete(m.node.waits, other)
		}
	}, nil
}

func (n *node) reaches(target *node, seen map[*node]bool) bool {
	if n == target {
		return true
	}
	if seen[n] {
		return false
	}
	seen[n] = true
	for next := range n.waits {
		if next.reaches(target, seen) {
			return true
		}
	}
	return false
}

// invalidatedSince reports whether a tag of a value was invalidated since the ticket.
func invalidatedSince(m *driver.Memory, t driver.Ticket, tags []uint64) bool {
	return len(tags) > 0 && !m.Valid(t, tags[0], tags[1:])
}
