package driver

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

func (m *Memory) put(key string, value any, size int64, tags ...uint64) bool {
	t := m.Begin()
	defer m.End(t)
	e := &Entry{Hash: KeyHash(key), Key: key, Value: value, FreshUntil: 1 << 62}
	if len(tags) > 0 {
		e.Extra = &Extra{Tags: tags}
	}
	return m.Put(t, e, size, time.Hour)
}

// TestIndexIsExact compares the memory with a map after many random operations.
func TestIndexIsExact(t *testing.T) {
	m := NewMemory(1 << 30)
	want := map[string]int{}
	bears := map[string]uint64{}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 100_000 {
		key := fmt.Sprint("c:", r.IntN(5000))
		tag := uint64(r.IntN(200))
		switch r.IntN(10) {
		case 0:
			m.InvalidateKey(KeyHash(key))
			delete(want, key)
		case 1:
			if i%20 == 0 {
				m.InvalidateTag(tag)
				for key, t := range bears {
					if t == tag {
						delete(want, key)
					}
				}
			}
		default:
			if !m.put(key, i, 10, tag) {
				t.Fatal("not stored")
			}
			want[key], bears[key] = i, tag
		}
	}
	for i := range 5000 {
		key := fmt.Sprint("c:", i)
		e, _ := m.Find(KeyHash(key))
		v, ok := want[key]
		if (e != nil) != ok || ok && e.Value != v {
			t.Fatalf("%s: %+v, want %d, %v", key, e, v, ok)
		}
	}
	if s := m.Stats(); s.Entries != int64(len(want)) || s.Evicted != 0 {
		t.Errorf("%+v, want %d entries", s, len(want))
	}
	m.InvalidateAll(0)
	if e, _ := m.Find(KeyHash("c:1")); e != nil {
		t.Error("an entry outlived InvalidateAll")
	}
}

// TestFence: nothing that was read before an invalidation is stored after it, by whichever
// of its tags, and other keys do not matter.
func TestFence(t *testing.T) {
	m := NewMemory(0)
	for name, c := range map[string]struct {
		change func()
		kept   bool
	}{
		"nothing":     {func() {}, true},
		"its key":     {func() { m.InvalidateKey(1) }, false},
		"its tag":     {func() { m.InvalidateTag(2) }, false},
		"another key": {func() { m.InvalidateKey(3) }, true},
		"another tag": {func() { m.InvalidateTag(4) }, true},
		"everything":  {func() { m.InvalidateAll(0) }, false},
		"many others": {func() {
			for i := range uint64(3 * generationSize) {
				m.InvalidateKey(10 + i)
			}
		}, true},
		"its key long ago": {func() {
			m.InvalidateKey(1)
			for i := range uint64(3 * generationSize) {
				m.InvalidateKey(10 + i)
			}
		}, false},
	} {
		ticket := m.Begin()
		c.change()
		got := m.Put(ticket, &Entry{Hash: 1, Key: "k", Extra: &Extra{Tags: []uint64{2}}}, 10, time.Hour)
		m.End(ticket)
		if got != c.kept {
			t.Errorf("%s: kept %v", name, got)
		}
		m.InvalidateKey(1)
	}
	if n := len(m.ledger.generations); n != 1 || len(m.ledger.generations[0].changed) != 0 {
		t.Errorf("%d generations stay behind", n)
	}
}

// TestEviction: the bound holds, entries that are read often stay, and the counters tell.
func TestEviction(t *testing.T) {
	m := NewMemory(1 << 20)
	for i := range 100 {
		m.put(fmt.Sprint("hot:", i), i, 500)
	}
	for i := range 20_000 {
		m.put(fmt.Sprint("scan:", i), i, 500)
		if i%10 == 0 {
			for k := range 100 {
				m.Find(KeyHash(fmt.Sprint("hot:", k)))
			}
		}
	}
	hits := 0
	for i := range 100 {
		if e, _ := m.Find(KeyHash(fmt.Sprint("hot:", i))); e != nil {
			hits++
		}
	}
	if s := m.Stats(); hits < 95 || s.Bytes > 1<<20 || s.Bytes < 1<<20*9/10 || s.Evicted == 0 {
		t.Errorf("%d of 100 hot entries, %+v", hits, s)
	}
	if m.put("big", nil, 2<<20) || m.Stats().TooLarge != 1 {
		t.Errorf("%+v", m.Stats())
	}
}

// TestReadersBesideWriters is for the race detector: readers take no lock.
func TestReadersBesideWriters(t *testing.T) {
	m := NewMemory(1 << 18)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 5000 {
				key := fmt.Sprint("c:", (i*7+w)%900)
				switch {
				case w > 1:
					if e, _ := m.Find(KeyHash(key)); e != nil && e.Key != key {
						t.Errorf("%s found %s", key, e.Key)
					}
				case i%5 == 0:
					m.InvalidateKey(KeyHash(key))
				case i%101 == 0:
					m.InvalidateTag(7)
				default:
					m.put(key, i, 200, 7)
				}
			}
		})
	}
	wg.Wait()
}

// TestOddSizes: no size breaks the sum of all sizes.
func TestOddSizes(t *testing.T) {
	m := NewMemory(1 << 20)
	for _, size := range []int64{math.MaxInt64, math.MaxInt64 - 100, math.MinInt64, -1 << 30} {
		if stored := m.put("odd", 1, size); stored != (size < 0) {
			t.Errorf("size %d: stored %v", size, stored)
		}
	}
	if s := m.Stats(); s.Entries != 1 || s.Bytes <= 0 || s.Bytes > 1000 || s.TooLarge != 2 {
		t.Errorf("%+v", s)
	}
	huge := NewMemory(math.MaxInt64)
	if huge.put("k", 1, math.MaxInt64) || huge.Stats().Bytes != 0 {
		t.Errorf("%+v", huge.Stats())
	}
}
