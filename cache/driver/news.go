package driver

import "sync"

// wakes lets callers wait for a change of a key.
type wakes struct {
	mu    sync.Mutex
	byKey map[uint64]*waiters
}

// waiters are the callers that wait for a key.
type waiters struct {
	news chan struct{}
	n    int
}

func (w *wakes) channel(hash uint64) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey == nil {
		w.byKey = map[uint64]*waiters{}
	}
	ws := w.byKey[hash]
	if ws == nil {
		ws = &waiters{news: make(chan struct{})}
		w.byKey[hash] = ws
	}
	ws.n++
	return ws.news
}

func (w *wakes) left(hash uint64, news <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ws := w.byKey[hash]
	if ws == nil || ws.news != news { // closed since
		return
	}
	if ws.n--; ws.n == 0 {
		delete(w.byKey, hash)
	}
}

func (w *wakes) wake(hash uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ws := w.byKey[hash]; ws != nil {
		close(ws.news)
		delete(w.byKey, hash)
	}
}

func (w *wakes) all() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for hash, ws := range w.byKey {
		close(ws.news)
		delete(w.byKey, hash)
	}
}

// News returns a channel that is closed when a key is written or its lease ends. Wake
// closes it on behalf of another process. A caller that no longer waits calls Left.
func (m *Memory) News(hash uint64) <-chan struct{} { return m.wakes.channel(hash) }

// Left ends the use of a channel of News. Without waiters, a key has no channel.
func (m *Memory) Left(hash uint64, news <-chan struct{}) { m.wakes.left(hash, news) }

// Wake closes the channel of a key.
func (m *Memory) Wake(hash uint64) { m.wakes.wake(hash) }
