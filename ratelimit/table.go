package ratelimit

import "strings"

// table is a hash table of keys with a value in place. Unlike in a map, one probe finds the key
// and the value, and a clock hand can walk the slots.
// Linear probing, full comparison of keys, deletion by shifting back. The hash must
// be seeded. A pointer to a value holds until the next insert or remove.
type table[E any] struct {
	hashes []uint32 // 0 marks a free slot; beside the slots, so that a probe stays in a cache line
	slots  []slot[E]
	n      int
	hand   int
}

type slot[E any] struct {
	key string
	val E
}

const minSlots = 8

// home spreads h over any number of slots, so that the table can grow by a quarter.
func (t *table[E]) home(h uint32) int { return int(uint64(h) * uint64(len(t.hashes)) >> 32) }

func (t *table[E]) find(h uint32, key string) *E {
	if t.n == 0 {
		return nil
	}
	for i := t.home(h); ; {
		switch t.hashes[i] {
		case 0:
			return nil
		case h:
			if s := &t.slots[i]; s.key == key {
				return &s.val
			}
		}
		if i++; i == len(t.hashes) {
			i = 0
		}
	}
}

// insert adds a key that is not there. It keeps a copy of key, which may be part of
// something large.
func (t *table[E]) insert(h uint32, key string) *E {
	if (t.n+1)*20 > len(t.hashes)*17 {
		t.resize(len(t.hashes) + max(minSlots, len(t.hashes)/4))
	}
	t.n++
	s := t.place(h)
	s.key = strings.Clone(key)
	return &s.val
}

func (t *table[E]) place(h uint32) *slot[E] {
	i := t.home(h)
	for t.hashes[i] != 0 {
		if i++; i == len(t.hashes) {
			i = 0
		}
	}
	t.hashes[i] = h
	return &t.slots[i]
}

func (t *table[E]) resize(slots int) {
	hashes, old := t.hashes, t.slots
	t.hashes, t.slots = make([]uint32, slots), make([]slot[E], slots)
	t.hand = 0
	for i, h := range hashes {
		if h != 0 {
			*t.place(h) = old[i]
		}
	}
}

// remove frees slot i and closes the gap, so that every key stays reachable.
func (t *table[E]) remove(i int) {
	t.n--
	for j := i; ; {
		if j++; j == len(t.hashes) {
			j = 0
		}
		if t.hashes[j] == 0 {
			break
		}
		// The key at j may move to i unless its home lies cyclically in (i, j].
		k := t.home(t.hashes[j])
		if i <= j && i < k && k <= j || i > j && (i < k || k <= j) {
			continue
		}
		t.hashes[i], t.slots[i] = t.hashes[j], t.slots[j]
		i = j
	}
	t.hashes[i], t.slots[i] = 0, slot[E]{}
}

func (t *table[E]) removeKey(h uint32, key string) {
	if t.n == 0 {
		return
	}
	for i := t.home(h); t.hashes[i] != 0; {
		if t.hashes[i] == h && t.slots[i].key == key {
			t.remove(i)
			return
		}
		if i++; i == len(t.hashes) {
			i = 0
		}
	}
}

// sweep moves the hand over up to n slots and removes stale entries.
func (t *table[E]) sweep(n int, stale func(*E) bool) {
	for range min(n, len(t.hashes)) {
		if t.hand >= len(t.hashes) {
			t.hand = 0
		}
		if t.hashes[t.hand] != 0 && stale(&t.slots[t.hand].val) {
			t.remove(t.hand) // another may have moved here: look again
			continue
		}
		t.hand++
	}
	if len(t.hashes) > 8*minSlots && t.n < len(t.hashes)/8 {
		t.resize(len(t.hashes) / 4)
	}
}
