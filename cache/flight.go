package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
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

// ErrLoadTimeout means that a load took longer than Options.LoadTimeout.
var ErrLoadTimeout = errors.New("cache: the load took longer than LoadTimeout")

// flight is a load that runs once for all who wait for it.
type flight[V any] struct {
	done  chan struct{}
	value V
	err   error
	stale bool // its key was written since; what it loads must not be kept
}

// flights are the loads of one cache by key.
type flights[V any] struct {
	mu    sync.Mutex
	byKey map[string]*flight[V]
}

// do joins the flight of key, or starts one with load. It waits no longer than ctx;
// the flight goes on.
func (f *flights[V]) do(ctx context.Context, key string, timeout time.Duration, load func(context.Context, *flight[V]) (V, error)) (value V, joined bool, err error) {
	f.mu.Lock()
	current, joined := f.byKey[key]
	if !joined {
		current = &flight[V]{done: make(chan struct{})}
		if f.byKey == nil {
			f.byKey = make(map[string]*flight[V])
		}
		f.byKey[key] = current
		go f.run(context.WithoutCancel(ctx), key, timeout, current, load)
	}
	f.mu.Unlock()
	select {
	case <-current.done:
		return current.value, joined, current.err
	case <-ctx.Done():
		return value, joined, ctx.Err()
	}
}

func (f *flights[V]) run(ctx context.Context, key string, timeout time.Duration, current *flight[V], load func(context.Context, *flight[V]) (V, error)) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, ErrLoadTimeout)
	defer cancel()
	current.err = ErrLoadExited // unless the load returns
	defer func() {
		if v := recover(); v != nil {
			current.err = &PanicError{v, debug.Stack()}
		}
		f.mu.Lock()
		if f.byKey[key] == current {
			delete(f.byKey, key)
		}
		f.mu.Unlock()
		close(current.done)
	}()
	current.value, current.err = load(ctx, current)
	if current.err != nil && errors.Is(current.err, context.DeadlineExceeded) && errors.Is(context.Cause(ctx), ErrLoadTimeout) {
		current.err = fmt.Errorf("%w (%v): %w", ErrLoadTimeout, timeout, current.err)
	}
}

// forget makes the flight of key one that nobody joins any more and that keeps
// nothing.
func (f *flights[V]) forget(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if current, ok := f.byKey[key]; ok {
		current.stale = true
		delete(f.byKey, key)
	}
}

func (f *flights[V]) isStale(current *flight[V]) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return current.stale
}
