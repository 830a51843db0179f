package cache

import (
	"context"
	"sync"
)

// reads lets all who read one key at once ask the store together: who comes while a read
// is under way waits for the next, which begins when that has ended. None may have the
// answer of a read that began before its own: what another process has just written would
// be missing in it. So of a key at most one read is under way and one is due.
type reads struct {
	mu    sync.Mutex
	byKey map[string]*answer // of the keys that are read: the read that is due, nil if none is
}

// answer is what the store says of one key and its tags.
type answer struct {
	done   chan struct{}
	tags   []string
	values [][]byte
	states []string
	err    error
}

// read returns what ask does, called at once or for all who wait.
func (r *reads) read(ctx context.Context, key string, ask func(context.Context) answer) answer {
	r.mu.Lock()
	due, busy := r.byKey[key]
	switch {
	case !busy:
		if r.byKey == nil {
			r.byKey = make(map[string]*answer)
		}
		r.byKey[key] = nil
		r.mu.Unlock()
		defer r.next(ctx, key, ask)
		return ask(ctx)
	case due == nil:
		due = &answer{done: make(chan struct{})}
		r.byKey[key] = due
	}
	done := due.done
	r.mu.Unlock()
	select {
	case <-done:
		return *due
	case <-ctx.Done():
		return answer{err: ctx.Err()}
	}
}

// next begins the read that is due, if there is one. It does not end with any of those
// who wait for it.
func (r *reads) next(ctx context.Context, key string, ask func(context.Context) answer) {
	r.mu.Lock()
	due := r.byKey[key]
	if due == nil {
		delete(r.byKey, key)
	} else {
		r.byKey[key] = nil
	}
	r.mu.Unlock()
	if due == nil {
		return
	}
	go func() {
		ctx := context.WithoutCancel(ctx)
		done := due.done
		*due = ask(ctx)
		close(done)
		r.next(ctx, key, ask)
	}()
}
