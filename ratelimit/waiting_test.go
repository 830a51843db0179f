package ratelimit

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Callers that give up make room: those behind them move forward in their order, and a newcomer
// comes after them.
func TestWaitBehindCallersThatGiveUp(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []Algorithm{Exact, Buckets, GCRA} {
		t.Run(algorithm.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const window = 6300 * time.Millisecond // a multiple of 63
				l := memory(t, Policy{Name: "a", Limit: 1, Window: window, Algorithm: algorithm}, nil)
				start := time.Now()
				var mu sync.Mutex
				var at []time.Duration
				var order []int
				var wg sync.WaitGroup
				wait := func(ctx context.Context, id int, want bool) {
					wg.Go(func() {
						_, err := l.Wait(ctx, "k", 1)
						require.Equal(t, want, err == nil, "%d: %v", id, err)
						if err == nil {
							mu.Lock()
							at, order = append(at, time.Since(start)), append(order, id)
							mu.Unlock()
						}
					})
					synctest.Wait()
				}
				leaving, leave := context.WithCancel(t.Context())
				wait(t.Context(), 0, true)
				for i := 1; i <= 30; i++ {
					if i%3 == 0 {
						wait(t.Context(), i, true)
					} else {
						wait(leaving, i, false)
					}
				}
				time.Sleep(window / 10)
				leave()
				synctest.Wait()
				soon, cancel := context.WithTimeout(t.Context(), 11*window+window/2)
				defer cancel()
				wait(soon, 31, true)
				wg.Wait()
				require.Equal(t, []int{0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 31}, order)
				for i := 1; i < len(at); i++ {
					require.GreaterOrEqual(t, at[i]-at[i-1], window)
					require.LessOrEqual(t, at[i], time.Duration(i)*(window+window/60))
				}
				require.Empty(t, l.waiting.queues)
				require.Zero(t, l.waiting.callers.Load())
			})
		})
	}
}

// Whatever the costs and the order in which callers give up, no window gets more than the limit,
// and the others are served in their order.
func TestWaitersOfManyCosts(t *testing.T) {
	t.Parallel()
	for seed := range 40 {
		synctest.Test(t, func(t *testing.T) {
			const limit, window = 7, time.Second
			l := memory(t, Policy{Name: "a", Limit: limit, Window: window}, nil)
			type use struct {
				at       time.Time
				id, cost int
			}
			var mu sync.Mutex
			var uses []use
			var wg sync.WaitGroup
			for i := range 60 {
				x := (i*7919 + seed*104729) % 1009
				cost := 1 + x%limit
				ctx, cancel := context.WithCancel(t.Context())
				if x%2 == 0 {
					ctx, cancel = context.WithTimeout(t.Context(), 100*time.Hour)
					time.AfterFunc(time.Duration(x%97)*100*time.Millisecond, cancel)
				}
				wg.Go(func() {
					defer cancel()
					if _, err := l.Wait(ctx, "k", cost); err == nil {
						mu.Lock()
						uses = append(uses, use{time.Now(), i, cost})
						mu.Unlock()
					}
				})
				synctest.Wait()
				time.Sleep(time.Duration(x%13) * time.Millisecond)
			}
			wg.Wait()
			for i, u := range uses {
				n := 0
				for _, o := range uses[:i+1] {
					if u.at.Sub(o.at) < window {
						n += o.cost
					}
				}
				require.LessOrEqual(t, n, limit, "seed %d", seed)
				if i > 0 && !u.at.Equal(uses[i-1].at) {
					require.Greater(t, u.id, uses[i-1].id, "seed %d: the order of calls", seed)
				}
			}
			require.Zero(t, l.waiting.callers.Load())
		})
	}
}

// A request that a rule denies takes no place in the queue of a rule with Delay, and one that
// leaves the queue gives the units of the other rules back.
func TestADeniedRequestWaitsForNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		daily := memory(t, hourly("daily", 2), nil)
		h := wrap(t, nil, ok,
			Rule{Limiter: memory(t, Policy{Name: "pace", Limit: 1, Window: time.Second}, nil), Key: constant("all"), Delay: time.Minute},
			Rule{Limiter: daily, Key: func(r *http.Request) string { return r.Header.Get("User") }})
		get := func(ctx context.Context, user string) (status int, took time.Duration) {
			start, w := time.Now(), httptest.NewRecorder()
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody)
			r.Header.Set("User", user)
			h.ServeHTTP(w, r)
			return w.Code, time.Since(start)
		}
		for i, want := range []time.Duration{0, time.Second, 0, 0} {
			status, took := get(t.Context(), "greedy")
			require.Equal(t, i >= 2, status == http.StatusTooManyRequests)
			require.Equal(t, want, took, "request %d", i)
		}
		status, took := get(t.Context(), "honest")
		require.Equal(t, http.StatusNoContent, status)
		require.Equal(t, time.Second, took)
		soon, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		status, _ = get(soon, "hasty")
		require.NotEqual(t, http.StatusNoContent, status)
		r, err := daily.Peek(t.Context(), "hasty")
		require.NoError(t, err)
		require.Equal(t, 2, r.Remaining, "the units of a request that left the queue")
	})
}

// A queue of any length is bounded by Within alone.
func TestAQueueOfAnyLength(t *testing.T) {
	t.Parallel()
	for _, p := range []Policy{
		{Name: "a", Limit: 1, Window: 15 * 24 * time.Hour, Algorithm: GCRA}, {Name: "b", Limit: 10, Window: time.Second, Algorithm: GCRA}, {Name: "c", Limit: 10, Window: time.Second},
	} {
		for _, queue := range []int{0, math.MaxInt} {
			l := memory(t, p, &Options{MaxQueue: queue})
			_, err := l.AllowN(t.Context(), "k", p.Limit)
			require.NoError(t, err)
			d, err := Decide(t.Context(), Check{Limiter: l, Key: "k", Cost: 1, Within: 20 * 24 * time.Hour})
			require.NoError(t, err)
			require.True(t, d.Allowed)
		}
	}
}
