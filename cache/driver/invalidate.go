package driver

import (
	"math/rand/v2"
	"time"
)

// InvalidateKey removes a key. Reads and loads of it that run now are not kept.
func (m *Memory) InvalidateKey(hash uint64) {
	m.ledger.change(hash)
	if m.table.Load().find(hash) == nil {
		m.mu.Lock()   // a Put may have read the ledger before, and store now
		m.mu.Unlock() //nolint:staticcheck // waits for it
	}
	if m.table.Load().find(hash) != nil {
		m.mu.Lock()
		if e := m.table.Load().find(hash); e != nil {
			m.evicted.Invalidated++
			m.drop(e)
		}
		m.mu.Unlock()
	}
	m.wakes.wake(hash)
}

// Expire ends the freshness of a key, and keeps its entry for at most life from now. Reads
// and loads of the key that run now are not kept. It removes the entry of an absent value.
func (m *Memory) Expire(hash uint64, life time.Duration) {
	m.ledger.change(hash)
	m.mu.Lock()
	if old := m.table.Load().find(hash); old != nil {
		if old.Extra != nil && old.Extra.Absent {
			m.evicted.Invalidated++
			m.drop(old)
		} else {
			m.replace(old, m.expired(old, life))
		}
	}
	m.mu.Unlock()
	m.wakes.wake(hash)
}

// expired returns a copy of an entry that is no longer fresh.
func (m *Memory) expired(old *Entry, life time.Duration) *Entry {
	e := &Entry{Hash: old.Hash, Owner: old.Owner, Key: old.Key, Value: old.Value, FreshUntil: min(old.FreshUntil, m.Now()), weight: old.weight}
	if old.Extra != nil {
		extra := *old.Extra
		extra.links = nil
		e.Extra = &extra
	}
	e.goneAt.Store(min(old.goneAt.Load(), m.until(life)))
	return e
}

// Announce is called before an invalidation of a tag. Reads and loads with the tag that run
// now are not kept. Otherwise a load that reports the tag at its end could receive the new
// state of the tag for an old value, before InvalidateTag.
func (m *Memory) Announce(tag uint64) { m.ledger.change(tag) }

// InvalidateTag removes the entries with a tag. Reads and loads with the tag that run now
// are not kept.
func (m *Memory) InvalidateTag(hash uint64) {
	m.ledger.change(hash)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.states, hash)
	gone := func(e *Entry) {
		m.evicted.Invalidated++
		m.drop(e)
	}
	for l := m.tagged[hash]; l != nil; l = m.tagged[hash] {
		gone(l.entry)
	}
	if owners := m.whole[hash]; len(owners) > 0 {
		m.each(func(e *Entry) {
			for _, owner := range owners {
				if e.Owner == owner {
					gone(e)
				}
			}
		})
	}
}

// InvalidateAll ends the life of all entries at random moments within spread. It is for a
// store that may have missed any invalidation. Reads and loads that run now are not kept.
func (m *Memory) InvalidateAll(spread time.Duration) {
	m.ledger.changeAll()
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.states)
	m.shorten(0, spread)
	m.wakes.all()
}

// Shorten ends the life of all entries at a random moment between from and to, counted from
// now. It does not affect later entries.
func (m *Memory) Shorten(from, to time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.states)
	m.shorten(from, to)
}

func (m *Memory) shorten(from, to time.Duration) {
	now := m.Now()
	m.each(func(e *Entry) {
		end := now + int64(from)
		if to > from {
			end += rand.Int64N(int64(to - from))
		}
		if end < e.goneAt.Load() {
			e.goneAt.Store(end)
		}
	})
}
