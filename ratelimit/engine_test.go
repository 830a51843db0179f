package ratelimit

import (
	"context"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Two callers look at the clock, and the one who looked first decides last. The other
// has by then dropped what left the window between the two looks, and the first must
// not go by the time at which that still counted.
func TestDecisionsAreInTheOrderOfTheirInstants(t *testing.T) {
	t.Parallel()
	const w = int64(time.Hour)
	for range 2 {
		s := newShards[useLog](exact{window: w}, 1000)
		at := func(now int64) bool { return s.take("k", now, ask{limit: 2, cost: 1}).allowed }
		require.True(t, at(1))
		require.True(t, at(1))
		require.True(t, at(1+w))
		require.True(t, at(w), "it comes after the one at 1+w")
		require.False(t, at(2*w), "two were let through less than a window ago")
		require.True(t, at(1+2*w))
	}
}

// MaxKeys is a bound, and no key is forgotten early because its shard is full and another
// is not.
func TestMaxKeys(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 15, 17, 100, 1000, 5000} {
		m := memory(t, Policy{Name: "p", Limit: 2, Window: time.Hour}, &Options{MaxKeys: most})
		for i := range 4 * most {
			if i == most*8/10 {
				require.Zero(t, m.Stats().Evicted, "of %d keys with room for %d", i, most)
			}
			_, err := m.Allow(context.Background(), strconv.Itoa(i))
			require.NoError(t, err)
		}
		require.LessOrEqual(t, m.Stats().Keys, most)
	}
}

// A block finds a place when memory is full of keys at their limit, and denies no other key. Without
// any place it is an error.
func TestBlockWithoutRoom(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []Algorithm{Exact, Buckets, GCRA} {
		l := memory(t, Policy{Name: "login", Limit: 1, Window: time.Hour, Algorithm: algorithm}, &Options{MaxKeys: 2})
		allowed := func(key string) bool {
			r, err := l.Allow(t.Context(), key)
			require.NoError(t, err)
			return r.Allowed
		}
		require.True(t, allowed("ip:1") && allowed("ip:2"))
		require.NoError(t, l.Block(t.Context(), "ip:3", 24*time.Hour))
		require.False(t, allowed("ip:3"))
		require.NoError(t, l.Block(t.Context(), "ip:4", 24*time.Hour))
		require.ErrorContains(t, l.Block(t.Context(), "ip:5", 24*time.Hour), "no room")
		require.NoError(t, l.Block(t.Context(), "ip:4", 12*time.Hour), "a key that has a place")
		require.True(t, allowed("ip:innocent"), algorithm)
		require.NoError(t, l.Reset(t.Context(), "ip:3"))
		require.NoError(t, l.Block(t.Context(), "ip:5", 24*time.Hour))
		require.False(t, allowed("ip:4") || allowed("ip:5"), algorithm)
	}
}

func TestOptionsAreRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{MaxKeys: -1}, {MaxQueue: -1}, {NearLimit: -1}, {NearLimit: math.NaN()}} {
		_, err := NewMemory(API(), &o)
		require.ErrorContains(t, err, "ratelimit: ", "%+v", o)
	}
}
