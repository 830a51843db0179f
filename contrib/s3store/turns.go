package s3store

import (
	"context"
	"sync"
)

// turns allows one upload of a name at a time. Its zero value is ready.
type turns struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed when the upload has ended
}

// take waits until no other upload of the name is running. It returns the function that
// ends this upload.
func (t *turns) take(ctx context.Context, name string) (end func(), err error) {
	for {
		t.mu.Lock()
		other, busy := t.busy[name]
		if !busy {
			if t.busy == nil {
				t.busy = map[string]chan struct{}{}
			}
			own := make(chan struct{})
			t.busy[name] = own
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.busy, name)
				t.mu.Unlock()
				close(own)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
