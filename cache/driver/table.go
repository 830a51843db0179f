package driver

import "sync/atomic"

// table maps hashes to entries by open addressing. Readers take no lock. Writers hold the
// lock of the Memory. A full table is replaced by a larger copy, so that a reader of the
// old table still sees a complete state.
type table struct {
	slots []atomic.Pointer[Entry]
	mask  uint64
	used  int // slots that are not nil, including removed ones
	live  int
}

// removed marks a slot with a removed entry. A search continues behind it.
var removed = &Entry{}

func newTable(size int) *table {
	return &table{slots: make([]atomic.Pointer[Entry], size), mask: uint64(size - 1)} //nolint:gosec // a power of two
}

// find returns the entry of a hash, or nil.
func (t *table) find(hash uint64) *Entry {
	for i := hash & t.mask; ; i = (i + 1) & t.mask {
		e := t.slots[i].Load()
		if e == nil {
			return nil
		}
		if e.Hash == hash && e != removed {
			return e
		}
	}
}

// put stores an entry and replaces the entry with the same hash. It returns false if the
// table must grow first.
func (t *table) put(e *Entry) bool {
	free := -1
	for i := e.Hash & t.mask; ; i = (i + 1) & t.mask {
		now := t.slots[i].Load()
		switch {
		case now == removed:
			if free < 0 {
				free = int(i) //nolint:gosec // below the size
			}
		case now == nil:
			if free < 0 {
				if (t.used+1)*8 > len(t.slots)*5 {
					return false
				}
				free, t.used = int(i), t.used+1 //nolint:gosec // below the size
			}
			t.slots[free].Store(e)
			t.live++
			return true
		case now.Hash == e.Hash:
			t.slots[i].Store(e)
			return true
		}
	}
}

// remove removes an entry, unless another one is in its slot.
func (t *table) remove(e *Entry) {
	for i := e.Hash & t.mask; ; i = (i + 1) & t.mask {
		switch now := t.slots[i].Load(); now {
		case nil:
			return
		case e:
			t.slots[i].Store(removed)
			t.live--
			return
		}
	}
}

// grown returns a copy with room for more entries.
func (t *table) grown() *table {
	size := len(t.slots)
	if t.live*4 >= size { // otherwise removed slots fill the table
		size *= 2
	}
	next := newTable(size)
	for i := range t.slots {
		if e := t.slots[i].Load(); e != nil && e != removed {
			next.put(e)
		}
	}
	return next
}
