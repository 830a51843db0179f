package cache_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/cache"
)

type user struct{ Name string }

func cloneUser(u *user) *user { n := *u; return &n }

// TestCloneOfNoValue: Clone and Weigh receive values only. A failed load, an absent key and
// a caller that leaves have none.
func TestCloneOfNoValue(t *testing.T) {
	for _, tier := range []string{"memory", "store", "both"} {
		t.Run(tier, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := &cache.Options[*user]{Clone: cloneUser, Weigh: func(u *user) int64 { return int64(len(u.Name)) }}
				var store any
				if tier != "memory" {
					store = newMapStore()
				}
				if tier == "both" {
					opts.LocalTTL = 100 * time.Hour
				}
				c := newTyped(t, store, opts)
				for key, want := range map[string]error{"failed": errSource, "absent": cache.ErrNotFound} {
					for range 2 { // the second time the absence is remembered
						if v, err := c.GetOrLoad(t.Context(), key, func(context.Context) (*user, error) { return nil, want }); v != nil || !errors.Is(err, want) {
							t.Errorf("%s: %v, %v", key, v, err)
						}
						if v, found, err := c.Get(t.Context(), key); v != nil || found || err != nil {
							t.Errorf("%s: Get: %v, %v, %v", key, v, found, err)
						}
					}
				}
				if m, err := c.GetMany(t.Context(), []string{"failed", "absent", "never"}); len(m) != 0 || err != nil {
					t.Errorf("GetMany: %v, %v", m, err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				slow := func(context.Context) (*user, error) { time.Sleep(2 * time.Second); return &user{}, nil }
				if v, err := c.GetOrLoad(ctx, "slow", slow); v != nil || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a caller that leaves: %v, %v", v, err)
				}
				time.Sleep(2 * time.Second)
			})
		})
	}
}

// TestCloneOnce: a hit copies the value once, also if auditing is on.
func TestCloneOnce(t *testing.T) {
	for _, every := range []int{0, 1 << 30} {
		copies := 0
		c := newTyped(t, nil, &cache.Options[int]{AuditEvery: every, EarlyRefresh: 1e-9, Clone: func(n int) int { copies++; return n }})
		_, _ = c.GetOrLoad(t.Context(), "k", constant(1))
		copies = 0
		_, _ = c.GetOrLoad(t.Context(), "k", constant(1))
		if copies != 1 {
			t.Errorf("AuditEvery %d: %d copies for a hit", every, copies)
		}
	}
}

// TestAuditOfMaps: the order of the keys in an encoded map is random, and no difference.
func TestAuditOfMaps(t *testing.T) {
	for _, codec := range []cache.Codec{cache.Msgpack(), cache.JSON()} {
		synctest.Test(t, func(t *testing.T) {
			type item struct{ Parts map[string]map[int]string }
			c := newTyped(t, nil, &cache.Options[item]{AuditEvery: 1, Codec: codec})
			changed := ""
			load := func(context.Context) (item, error) {
				v := item{Parts: map[string]map[int]string{}}
				for i := range 8 {
					v.Parts[fmt.Sprint(i)] = map[int]string{1: "a", 2: "b", 3: changed}
				}
				return v, nil
			}
			for range 100 {
				_, _ = c.GetOrLoad(t.Context(), "k", load)
				synctest.Wait()
			}
			if s := c.Stats(); s.Audited != 99 || s.AuditedStale != 0 {
				t.Errorf("%s: audited %d, stale %d", codec.Name(), s.Audited, s.AuditedStale)
			}
			changed = "c"
			_, _ = c.GetOrLoad(t.Context(), "k", load)
			synctest.Wait()
			if s := c.Stats(); s.AuditedStale != 1 {
				t.Errorf("%s: a changed map: %+v", codec.Name(), s)
			}
		})
	}
}

// TestAuditOfUnencodable: values that the codec cannot encode cannot be compared, and do not
// count as audited.
func TestAuditOfUnencodable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTyped(t, nil, &cache.Options[chan int]{AuditEvery: 1})
		for range 3 {
			_, _ = c.GetOrLoad(t.Context(), "k", func(context.Context) (chan int, error) { return make(chan int), nil })
			synctest.Wait()
		}
		if s := c.Stats(); s.Audited != 0 || s.AuditedStale != 0 {
			t.Errorf("%+v", s)
		}
	})
}
