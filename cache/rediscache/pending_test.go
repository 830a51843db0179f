package rediscache

import (
	"fmt"
	"testing"
)

func newPending(most int) *pending { return &pending{max: most, writes: map[target]uint64{}} }

// TestPendingOverflow: no write is lost above the bound. The keys of the cache that exceeds it
// become one Clear of that cache, and other caches keep theirs. A tag that does not fit is
// refused.
func TestPendingOverflow(t *testing.T) {
	p := newPending(100)
	p.note(target{"quiet:k", false})
	for i := range 500 {
		if !p.note(target{fmt.Sprint("busy:", i), false}) {
			t.Fatal("a key was refused")
		}
	}
	if p.get(target{"quiet:k", false}) == 0 || p.get(target{"all:busy", true}) == 0 || p.count.Load() != 2 {
		t.Errorf("%v", p.writes)
	}
	for i := range 98 {
		if !p.note(target{fmt.Sprint("tag:", i), true}) {
			t.Fatal("a tag was refused before the bound")
		}
	}
	if p.note(target{"tag:more", true}) {
		t.Error("a tag above the bound was accepted")
	}
	if !p.note(target{"quiet:other", false}) || p.get(target{"all:quiet", true}) == 0 {
		t.Errorf("%d writes", p.count.Load())
	}
}

// TestPendingAgain: a write that is repeated while the first one is applied stays pending.
func TestPendingAgain(t *testing.T) {
	p := newPending(10)
	key := target{"p:k", false}
	p.note(key)
	first := p.get(key)
	p.note(key)
	if p.done(key, first); p.get(key) == 0 {
		t.Error("the second write is forgotten")
	}
	if p.done(key, p.get(key)); p.get(key) != 0 || p.count.Load() != 0 {
		t.Error("the write stays")
	}
}
