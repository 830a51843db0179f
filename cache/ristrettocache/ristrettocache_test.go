package ristrettocache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/cache/cachetest"
	"github.com/mainstay-go/mainstay/cache/driver"
)

func newStore(t testing.TB, opts *Options) *Store {
	t.Helper()
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSuite(t *testing.T) {
	cachetest.Run(t, cachetest.Harness{New: func(t testing.TB) driver.Store { return newStore(t, nil) }})
}

// TestReadYourWrites: plain ristretto misses each of these, and keeps the first of two.
func TestReadYourWrites(t *testing.T) {
	s := newStore(t, nil)
	for i := range 2000 {
		key := fmt.Sprint(i)
		for _, value := range []string{"first", "second"} {
			if err := s.Set(t.Context(), key, []byte(value), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if v, found, err := s.Get(t.Context(), key); string(v) != "second" || !found || err != nil {
			t.Fatalf("%s: %q, %v, %v", key, v, found, err)
		}
	}
}

func TestCloseUnderLoad(t *testing.T) {
	for range 100 {
		s := newStore(t, nil)
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					err := s.Set(context.Background(), fmt.Sprint(w, i%100), []byte("x"), time.Hour)
					if errors.Is(err, driver.ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		_, _, getErr := s.Get(t.Context(), "k")
		if !errors.Is(getErr, driver.ErrClosed) || !errors.Is(s.Delete(t.Context(), "k"), driver.ErrClosed) || s.Close() != nil {
			t.Fatal("a closed store answers")
		}
	}
}

// TestBound stores ten times what fits.
func TestBound(t *testing.T) {
	const limit = 1 << 20
	s := newStore(t, &Options{MaxBytes: limit})
	value := make([]byte, 1000)
	for i := range 10_000 {
		if err := s.Set(t.Context(), fmt.Sprint(i), value, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	kept := 0
	for i := range 10_000 {
		if _, found, _ := s.Get(t.Context(), fmt.Sprint(i)); found {
			kept++
		}
	}
	if kept == 0 || kept*len(value) > limit {
		t.Errorf("%d values of %d bytes are kept within %d bytes", kept, len(value), limit)
	}
	// What never fits replaces what was there by nothing.
	if err := errors.Join(s.Set(t.Context(), "big", value, time.Hour), s.Set(t.Context(), "big", make([]byte, 2*limit), time.Hour)); err != nil {
		t.Fatal(err)
	}
	if v, found, _ := s.Get(t.Context(), "big"); found && len(v) == len(value) {
		t.Error("an older value is served")
	}
}
