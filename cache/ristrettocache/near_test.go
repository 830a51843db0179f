package ristrettocache

import (
	"sync"
	"testing"
)

func newNear(t testing.TB) *Near {
	t.Helper()
	n, err := NewNear(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// TestNearNewerOfTwo: of two values that are stored one after the other the first is
// never seen again, new key or not.
func TestNearNewerOfTwo(t *testing.T) {
	n := newNear(t)
	for hash := range uint64(1000) {
		n.Store(hash, "old", 10)
		n.Store(hash, "new", 10)
		if v, ok := n.Load(hash); ok && v != "new" || !ok {
			t.Fatalf("%d: %v, %v", hash, v, ok)
		}
		n.Remove(hash)
		if v, ok := n.Load(hash); ok {
			t.Fatalf("%d: %v after Remove", hash, v)
		}
	}
}

// TestNearCloseUnderLoad closes beside readers and writers.
func TestNearCloseUnderLoad(t *testing.T) {
	for range 100 {
		n := newNear(t)
		var wg sync.WaitGroup
		for w := range uint64(4) {
			wg.Go(func() {
				for i := range uint64(500) {
					if w%2 == 0 {
						n.Load(i)
					} else {
						n.Store(i, i, 10)
					}
				}
			})
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if _, ok := n.Load(1); ok {
			t.Error("a closed memory has values")
		}
	}
}

func TestNearOptions(t *testing.T) {
	if _, err := NewNear(&Options{MaxBytes: 1}); err == nil {
		t.Error("one byte was accepted")
	}
}
