package driver

import "sync"

// wakes lets callers wait for a change of a key.
type wakes struct {
	mu    sync.Mutex
	byKey map[uint64]chan struct{}
}

func (w *wakes) channel(hash uint64) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey == nil {
		w.byKey = map[uint64]chan struct{}{}
	}
	c := w.byKey[hash]
	if c == nil {
		c = make(chan struct{})
		w.byKey[hash] = c
	}
	return c
}

func (w *wakes) wake(hash uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.byKey[hash]; c != nil {
		close(c)
		delete(w.byKey, hash)
	}
}

func (w *wakes) all() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for hash, c := range w.byKey {
		close(c)
		delete(w.byKey, hash)
	}
}

// News returns a channel that is closed when a key is written or its lease ends. Wake
// closes it on behalf of another process.
func (m *Memory) News(hash uint64) <-chan struct{} { return m.wakes.channel(hash) }

// Wake closes the channel of a key.
func (m *Memory) Wake(hash uint64) { m.wakes.wake(hash) }
