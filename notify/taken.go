package notify

import "sync"

// taken remembers which recipients have a message, so that a repetition goes only to
// the others. It is not stored: a repetition after a restart goes to all recipients.
type taken struct {
	mu  sync.Mutex
	ids []string // oldest first
	by  map[string]map[int]bool
}

// maxTaken limits the remembered messages. A message is repeated soon or never.
const maxTaken = 256

// has returns the recipients that have the message.
func (t *taken) has(id string) map[int]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[int]bool{}
	for i := range t.by[id] {
		out[i] = true
	}
	return out
}

// add records the recipients that have a message which others do not have.
func (t *taken) add(id string, recipients map[int]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = map[string]map[int]bool{}
	}
	if t.by[id] == nil {
		t.by[id] = map[int]bool{}
		t.ids = append(t.ids, id)
	}
	for i := range recipients {
		t.by[id][i] = true
	}
	for len(t.ids) > maxTaken {
		delete(t.by, t.ids[0])
		t.ids = t.ids[1:]
	}
}
