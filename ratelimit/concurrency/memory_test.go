package concurrency

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/ratelimit"
)

func concurrency(t testing.TB, limit int, o *ratelimit.Options) *Memory {
	t.Helper()
	c, err := New(Policy{Name: "exports", Limit: limit}, o)
	require.NoError(t, err)
	return c
}

func mustAcquire(t testing.TB, c Limiter, key string) *Slot {
	t.Helper()
	s, err := c.Acquire(context.Background(), key, 1)
	require.NoError(t, err)
	return s
}

// A flood of fresh keys must neither free a key that is full, nor make the limiter
// keep more than MaxKeys, nor hand a slot's place to the wrong key on its release.
func TestConcurrencyUnderAFloodOfKeys(t *testing.T) {
	t.Parallel()
	c := concurrency(t, 2, &ratelimit.Options{MaxKeys: 16})
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
	c := concurrency(t, 2, &ratelimit.Options{MaxKeys: 1})
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
	c := concurrency(t, 1, &ratelimit.Options{LimitFunc: func(context.Context, string) (int, bool) { return limit, known }})
	a, b := mustAcquire(t, c, "k"), mustAcquire(t, c, "k")
	limit = 1
	require.False(t, mustAcquire(t, c, "k").Result().Allowed, "what is in flight goes on counting")
	require.NoError(t, a.Release())
	require.False(t, mustAcquire(t, c, "k").Result().Allowed)
	require.NoError(t, b.Release())
	c1 := mustAcquire(t, c, "k")
	require.True(t, c1.Result().Allowed)
	limit = ratelimit.Unlimited
	for range 50 {
		require.True(t, mustAcquire(t, c, "k").Result().Allowed)
	}
	limit = 0
	r := mustAcquire(t, c, "k").Result()
	require.False(t, r.Allowed)
	require.Equal(t, ratelimit.Never, r.RetryAfter)
	known = false
	require.NoError(t, c1.Release())
	require.True(t, mustAcquire(t, c, "k").Result().Allowed)
	require.False(t, mustAcquire(t, c, "k").Result().Allowed, "the policy's own limit")
}

func TestConcurrencyTellsItsHooks(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var decided, near []ratelimit.Result
	c := concurrency(t, 5, &ratelimit.Options{Trace: &ratelimit.Trace{
		Decided: func(_ context.Context, e ratelimit.DecidedEvent) {
			mu.Lock()
			defer mu.Unlock()
			require.Equal(t, "k", e.Key)
			decided = append(decided, e.Result)
		},
		NearLimit: func(_ context.Context, e ratelimit.DecidedEvent) { near = append(near, e.Result) },
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
	require.Equal(t, Stats{Keys: 1, InFlight: 5, Allowed: 5, Denied: 2}, st)
}

func TestConcurrencyRefusesNonsense(t *testing.T) {
	t.Parallel()
	for _, p := range []Policy{
		{},
		{Name: "a b", Limit: 1},
		{Name: "a"},
		{Name: "a", Limit: -2},
		{Name: "a", Limit: 1<<30 + 1},
		{Name: "a", Limit: 1, RetryAfter: -1},
		{Name: "a", Limit: 1, OnFailure: 9},
	} {
		_, err := New(p, nil)
		require.Error(t, err, "%+v", p)
	}
	good := Policy{Name: "a", Limit: 1}
	for _, o := range []ratelimit.Options{{MaxKeys: -1}, {NearLimit: 2}, {NearLimit: math.NaN()}} {
		_, err := New(good, &o)
		require.ErrorContains(t, err, "concurrency: ")
	}
	_, err := NewMiddleware(nil, nil, nil)
	require.ErrorContains(t, err, "concurrency: ")
	_, err = NewMiddleware(concurrency(t, 1, nil), byIP(t), &MiddlewareOptions{Status: 418})
	require.ErrorContains(t, err, "418")
}

func byIP(t testing.TB) ratelimit.KeyFunc {
	t.Helper()
	k, err := ratelimit.ByIP(nil)
	require.NoError(t, err)
	return k
}

func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

func send(h http.Handler, method, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	r.RemoteAddr = "203.0.113.7:4711"
	h.ServeHTTP(w, r)
	return w
}

// Waiters are served in the order of their coming, whatever their weight, and a waiter that
// leaves holds up nobody.
func TestWaitersComeInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Policy{Name: "exports", Limit: 4, Wait: time.Minute, Queue: 50}, nil)
		require.NoError(t, err)
		held, err := c.Acquire(t.Context(), "k", 4)
		require.NoError(t, err)
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		gone, leave := context.WithCancel(t.Context())
		for i := range 40 {
			ctx := t.Context()
			if i%4 == 3 {
				ctx = gone
			}
			wg.Go(func() {
				s, err := c.Acquire(ctx, "k", 1+i%4)
				if ctx == gone {
					require.ErrorIs(t, err, context.Canceled)
					return
				}
				require.NoError(t, err)
				require.True(t, s.Result().Allowed)
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				time.Sleep(time.Second)
				require.LessOrEqual(t, c.Stats().InFlight, 4)
				s.Release()
			})
			synctest.Wait()
		}
		require.Equal(t, 40, c.Stats().Waiting)
		leave()
		synctest.Wait()
		held.Release()
		wg.Wait()
		require.Len(t, order, 30)
		overtaken := 0
		for i := 1; i < len(order); i++ {
			if order[i] < order[i-1] {
				overtaken++
			}
		}
		require.LessOrEqual(t, overtaken, 10, "those let in at one instant may come in any order: %v", order)
		require.Equal(t, Stats{Allowed: 31}, c.Stats())

		held, err = c.Acquire(t.Context(), "k", 1)
		require.NoError(t, err)
		start := time.Now()
		late, err := c.Acquire(t.Context(), "k", 4)
		require.NoError(t, err)
		require.False(t, late.Result().Allowed)
		require.Equal(t, time.Minute, time.Since(start))
		_, err = c.Acquire(t.Context(), "k", 5)
		require.ErrorIs(t, err, ratelimit.ErrCostExceedsLimit)
		held.Release()
	})
}

// A hook that panics leaves no slot behind.
func TestAHookPanics(t *testing.T) {
	t.Parallel()
	calls := 0
	l, err := New(Policy{Name: "c", Limit: 1}, &ratelimit.Options{Trace: &ratelimit.Trace{Decided: func(context.Context, ratelimit.DecidedEvent) {
		if calls++; calls == 1 {
			panic("hook")
		}
	}}})
	require.NoError(t, err)
	require.PanicsWithValue(t, "hook", func() { l.Acquire(t.Context(), "k", 1) })
	require.Zero(t, l.Stats().InFlight)
	s, err := l.Acquire(t.Context(), "k", 1)
	require.NoError(t, err)
	require.True(t, s.Result().Allowed)
}
