//go:build !race

package ratelimit

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Two million callers that nobody has seen before do not free one that is at its limit,
// and take the memory that MaxKeys allows and no more.
func TestMillionsOfKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("three million decisions")
	}
	const most = 1 << 16
	for _, c := range []struct {
		algorithm Algorithm
		keys      int
		bytes     uint64 // for a key
	}{{Exact, 2_000_000, 160}, {Buckets, 500_000, 420}, {GCRA, 500_000, 100}} {
		t.Run(c.algorithm.String(), func(t *testing.T) {
			ctx := context.Background()
			before := heap()
			m := memory(t, Policy{Name: "login", Limit: 5, Window: time.Hour, Algorithm: c.algorithm}, &Options{MaxKeys: most})
			for range 9 { // GCRA lets through one more as time passes
				_, err := m.Allow(ctx, "user:mallory")
				require.NoError(t, err)
			}
			rnd := rand.New(rand.NewPCG(1, 2))
			key := make([]byte, 16)
			let := 0
			for i := range c.keys {
				binary.LittleEndian.PutUint64(key, rnd.Uint64())
				binary.LittleEndian.PutUint64(key[8:], rnd.Uint64())
				if r, err := m.Allow(ctx, string(key)); err != nil {
					t.Fatal(err)
				} else if r.Allowed {
					let++
				}
				if i%1000 == 0 {
					if r, err := m.Allow(ctx, "user:mallory"); err != nil || r.Allowed {
						t.Fatalf("after %d keys a caller at its limit is let in: %+v, %v", i, r, err)
					}
				}
			}
			require.LessOrEqual(t, m.Stats().Keys, most)
			require.Less(t, heap()-before, uint64(most)*c.bytes)
			require.Greater(t, let, c.keys*9/10, "newcomers are let in all the same")
			runtime.KeepAlive(m)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
