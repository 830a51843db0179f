package driver

import (
	"sync"
	"testing"
	"time"
)

// TestExpire: an entry stays within its life and is no longer fresh. Its tags still remove
// it, and reads that began before are not kept.
func TestExpire(t *testing.T) {
	m := NewMemory(0)
	key := KeyHash("k")
	m.put("k", "v", 10, 7)
	ticket := m.Begin()
	m.Expire(key, time.Minute)
	e, now := m.Find(key)
	if e == nil || e.Value != "v" || e.FreshUntil > now || e.GoneAt() > now+int64(time.Minute) {
		t.Fatalf("%+v", e)
	}
	if m.Put(ticket, &Entry{Hash: key, Key: "k"}, 10, time.Hour) {
		t.Error("a read from before Expire was kept")
	}
	m.End(ticket)
	m.Expire(key, time.Hour)
	if again, _ := m.Find(key); again.GoneAt() != e.GoneAt() {
		t.Error("a second Expire prolongs the life of the entry")
	}
	if s := m.Stats(); s.Entries != 1 || s.Bytes > 1000 {
		t.Errorf("%+v", s)
	}
	m.InvalidateTag(7)
	if e, _ := m.Find(key); e != nil || m.Stats().Bytes != 0 {
		t.Errorf("%+v, %+v after the invalidation of its tag", e, m.Stats())
	}
	m.Expire(key, time.Hour)
	if e, _ := m.Find(key); e != nil {
		t.Errorf("Expire of no entry made %+v", e)
	}
	absence := m.Begin()
	m.Put(absence, &Entry{Hash: key, Key: "k", FreshUntil: 1 << 62, Extra: &Extra{Absent: true}}, 0, time.Hour)
	m.End(absence)
	m.Expire(key, time.Hour)
	if e, _ := m.Find(key); e != nil || m.Stats().Bytes != 0 {
		t.Errorf("an absence stays: %+v", e)
	}
}

// TestExpireBesideOthers: an entry that another write removes does not return.
func TestExpireBesideOthers(t *testing.T) {
	m := NewMemory(0)
	key := KeyHash("k")
	for i := range 20_000 {
		m.put("k", i, 10, 7)
		var wg sync.WaitGroup
		wg.Go(func() { m.Expire(key, time.Hour) })
		if i%2 == 0 {
			m.InvalidateKey(key)
		} else {
			m.InvalidateTag(7)
		}
		wg.Wait()
		if e, _ := m.Find(key); e != nil {
			t.Fatalf("round %d: %+v", i, e)
		}
	}
	if s := m.Stats(); s.Entries != 0 || s.Bytes != 0 || len(m.tagged) != 0 {
		t.Errorf("%+v, %d tags", s, len(m.tagged))
	}
}
