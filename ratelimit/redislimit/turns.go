package redislimit

import "sync"

// turns are the callers of this process that wait for slots, by Redis key.
type turns struct {
	mu   sync.Mutex
	keys map[string][]*turn
}

// turn is one caller.
type turn struct {
	woken chan struct{}
	t     *turns
	key   string
}

// enter queues a caller. It returns nil when most callers wait already.
func (t *turns) enter(key string, most int) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys == nil {
		t.keys = make(map[string][]*turn)
	}
	if len(t.keys[key]) > most {
		return nil
	}
	u := &turn{woken: make(chan struct{}, 1), t: t, key: key}
	t.keys[key] = append(t.keys[key], u)
	return u
}

// first says whether it is u's turn.
func (u *turn) first() bool {
	u.t.mu.Lock()
	defer u.t.mu.Unlock()
	return u.t.keys[u.key][0] == u
}

// leave ends u's turn, or its wait.
func (t *turns) leave(key string, u *turn) {
	t.mu.Lock()
	list := t.keys[key]
	for i, o := range list {
		if o == u {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(t.keys, key)
	} else {
		t.keys[key] = list
	}
	t.mu.Unlock()
	t.wake(key)
}

// wake makes the first caller ask again.
func (t *turns) wake(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if list := t.keys[key]; len(list) > 0 {
		select {
		case list[0].woken <- struct{}{}:
		default:
		}
	}
}
