package ratelimit

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func concurrency(t testing.TB, limit int, o *Options) *Concurrency {
	t.Helper()
	c, err := NewConcurrency(ConcurrencyPolicy{Name: "exports", Limit: limit}, o)
	require.NoError(t, err)
	return c
}

func mustAcquire(t testing.TB, c ConcurrencyLimiter, key string) *Slot {
	t.Helper()
	s, err := c.Acquire(context.Background(), key)
	require.NoError(t, err)
	return s
}

// A flood of fresh keys must neither free a key that is full, nor make the limiter
// keep more than MaxKeys, nor hand a slot's place to the wrong key on its release.
func TestConcurrencyUnderAFloodOfKeys(t *testing.T) {
	t.Parallel()
	c := concurrency(t, 2, &Options{MaxKeys: 16})
	full := []*Slot{mustAcquire(t, c, "user:1"), mustAcquire(t, c, "user:1")}
	held := map[string][]*Slot{}
	for i := range 2000 {
		key := fmt.Sprint("flood:", i%300)
		if s := mustAcquire(t, c, key); s.Result().Allowed {
			held[key] = append(held[key], s)
			require.LessOrEqual(t, len(held[key]), 2, key)
		}
		require.False(t, mustAcquire(t, c, "user:1").Result().Allowed)
		if list := held[fmt.Sprint("flood:", i%7)]; i%5 == 0 && len(list) > 0 {
			require.NoError(t, list[len(list)-1].Release())
			held[fmt.Sprint("flood:", i%7)] = list[:len(list)-1]
		}
	}
	st := c.Stats()
	require.LessOrEqual(t, st.Keys, 16)
	require.Positive(t, st.Crowded)
	inFlight := len(full)
	for _, list := range held {
		inFlight += len(list)
	}
	require.Equal(t, inFlight, st.InFlight)
	for _, list := range held {
		for _, s := range list {
			require.NoError(t, s.Release())
		}
	}
	require.NoError(t, full[0].Release())
	require.True(t, mustAcquire(t, c, "user:1").Result().Allowed)
	require.Equal(t, 2, c.Stats().InFlight)
	require.True(t, mustAcquire(t, c, "late").Result().Allowed, "keys that are not in use make room")
}

// A key that shares the common entry must not get its limit a second time in an entry
// of its own while it still has slots in the common one.
func TestConcurrencyLeavesTheCommonEntryEmptyHanded(t *testing.T) {
	t.Parallel()
	c := concurrency(t, 2, &Options{MaxKeys: 1})
	first := mustAcquire(t, c, "first")
	require.True(t, mustAcquire(t, c, "second").Result().Allowed) // in the common entry
	require.NoError(t, first.Release())                           // now there is a place of its own
	require.True(t, mustAcquire(t, c, "second").Result().Allowed)
	require.False(t, mustAcquire(t, c, "second").Result().Allowed)
}

func TestConcurrencyForgetsIdleKeys(t *testing.T) {
	t.Parallel()
	c := concurrency(t, 1, nil)
	for i := range 20_000 {
		require.NoError(t, mustAcquire(t, c, fmt.Sprint(i)).Release())
	}
	require.Less(t, c.Stats().Keys, 20_000/2)
}

func TestConcurrencyLimitsThatChange(t *testing.T) {
	t.Parallel()
	limit, known := 3, true
	c := concurrency(t, 1, &Options{LimitFunc: func(context.Context, string) (int, bool) { return limit, known }})
	a, b := mustAcquire(t, c, "k"), mustAcquire(t, c, "k")
	limit = 1
	require.False(t, mustAcquire(t, c, "k").Result().Allowed, "what is in flight goes on counting")
	require.NoError(t, a.Release())
	require.False(t, mustAcquire(t, c, "k").Result().Allowed)
	require.NoError(t, b.Release())
	c1 := mustAcquire(t, c, "k")
	require.True(t, c1.Result().Allowed)
	limit = Unlimited
	for range 50 {
		require.True(t, mustAcquire(t, c, "k").Result().Allowed)
	}
	limit = 0
	r := mustAcquire(t, c, "k").Result()
	require.False(t, r.Allowed)
	require.Equal(t, Never, r.RetryAfter)
	known = false
	require.NoError(t, c1.Release())
	require.True(t, mustAcquire(t, c, "k").Result().Allowed)
	require.False(t, mustAcquire(t, c, "k").Result().Allowed, "the policy's own limit")
}

func TestConcurrencyTellsItsHooks(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var decided, near []Result
	c := concurrency(t, 5, &Options{Trace: &Trace{
		Decided: func(_ context.Context, key string, r Result) {
			mu.Lock()
			defer mu.Unlock()
			require.Equal(t, "k", key)
			decided = append(decided, r)
		},
		NearLimit: func(_ context.Context, _ string, r Result) { near = append(near, r) },
	}})
	for range 7 {
		mustAcquire(t, c, "k")
	}
	require.Len(t, decided, 7)
	require.False(t, decided[6].Allowed)
	require.Equal(t, time.Second, decided[6].RetryAfter)
	require.Len(t, near, 1)
	require.Equal(t, 1, near[0].Remaining)
	st := c.Stats()
	require.Equal(t, ConcurrencyStats{Keys: 1, InFlight: 5, Allowed: 5, Denied: 2}, st)
}

func TestConcurrencyRefusesNonsense(t *testing.T) {
	t.Parallel()
	for _, p := range []ConcurrencyPolicy{
		{},
		{Name: "a b", Limit: 1},
		{Name: "a"},
		{Name: "a", Limit: -2},
		{Name: "a", Limit: maxLimit + 1},
		{Name: "a", Limit: 1, RetryAfter: -1},
		{Name: "a", Limit: 1, OnFailure: 9},
	} {
		_, err := NewConcurrency(p, nil)
		require.ErrorContains(t, err, "ratelimit: ", "%+v", p)
	}
	good := ConcurrencyPolicy{Name: "a", Limit: 1}
	for _, o := range []Options{{MaxKeys: -1}, {NearLimit: 2}} {
		_, err := NewConcurrency(good, &o)
		require.ErrorContains(t, err, "ratelimit: ")
	}
	_, err := NewConcurrencyMiddleware(nil, nil, nil)
	require.ErrorContains(t, err, "ratelimit: ")
	_, err = NewConcurrencyMiddleware(concurrency(t, 1, nil), byIP(t), &ConcurrencyMiddlewareOptions{Status: 418})
	require.ErrorContains(t, err, "418")
}
