package ratelimit

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// model is the sliding-window log as the definition has it.
type model struct {
	window time.Duration
	stamps []time.Time
}

func (m *model) take(now time.Time, limit, cost int) Result {
	m.stamps = slices.DeleteFunc(m.stamps, func(t time.Time) bool { return !t.Add(m.window).After(now) })
	n := len(m.stamps)
	r := Result{Allowed: n+cost <= limit, Limit: limit, Cost: cost, Window: m.window, Policy: "model"}
	if r.Allowed {
		for range cost {
			m.stamps = append(m.stamps, now)
		}
	} else {
		r.RetryAfter = m.stamps[n+cost-limit-1].Add(m.window).Sub(now)
	}
	r.Remaining = max(0, limit-len(m.stamps))
	if len(m.stamps) > 0 {
		first := min(max(len(m.stamps)-limit, 0), len(m.stamps)-1) // above the limit, others come first
		r.NextAfter = m.stamps[first].Add(m.window).Sub(now)
		r.ResetAfter = m.stamps[len(m.stamps)-1].Add(m.window).Sub(now)
	}
	return r
}

// TestDenialsAreThoseOfTheLog has long runs of denials interrupted by all that changes
// what a key has used, and compares every answer with the definition's.
func TestDenialsAreThoseOfTheLog(t *testing.T) {
	t.Parallel()
	remembered := 0
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			limit := 5
			l, err := NewMemory(Policy{Name: "model", Limit: 5, Window: time.Minute}, &Options{
				LimitFunc: func(context.Context, string) (int, bool) { return limit, true },
			})
			require.NoError(t, err)
			other, err := NewMemory(Policy{Name: "other", Limit: maxInstants, Window: time.Second}, nil)
			require.NoError(t, err)
			m := map[string]*model{"a": {window: time.Minute}, "b": {window: time.Minute}}
			var held *Reservation
			var stamp time.Time
			for step := range 4000 {
				key := "a"
				if r.IntN(10) == 0 {
					key = "b"
				}
				switch r.IntN(60) {
				case 0:
					require.NoError(t, l.Reset(t.Context(), "a"))
					m["a"].stamps, held = nil, nil
				case 1:
					limit = 1 + r.IntN(8)
				case 2:
					time.Sleep(time.Duration(r.Int64N(int64(time.Minute))))
				case 3:
					if held, err = l.Reserve(t.Context(), "a", 1); true {
						require.NoError(t, err)
						require.Equal(t, m["a"].take(time.Now(), limit, 1), held.Result(), "step %d", step)
						stamp = time.Now()
						if !held.Result().Allowed {
							held = nil
						}
					}
				case 4, 5, 6:
					if held == nil {
						continue
					}
					require.NoError(t, held.Cancel(t.Context()))
					held = nil
					for i := len(m["a"].stamps) - 1; i >= 0; i-- {
						if m["a"].stamps[i].Equal(stamp) {
							m["a"].stamps = slices.Delete(m["a"].stamps, i, i+1)
							break
						}
					}
				case 7:
					cost := min(limit, 2)
					got, err := l.AllowN(t.Context(), key, cost)
					require.NoError(t, err)
					require.Equal(t, m[key].take(time.Now(), limit, cost), got, "step %d", step)
				case 8, 9: // one more under a limit that is raised for a moment
					limit++
					d, err := Decide(t.Context(), Check{Limiter: l, Key: "a", Cost: 1}, Check{Limiter: other, Key: "a", Cost: 1})
					require.NoError(t, err)
					require.Equal(t, m["a"].take(time.Now(), limit, 1), d.Results[0], "step %d", step)
					limit--
				default:
					time.Sleep(time.Duration(r.IntN(int(time.Second / 4))))
					got, err := l.Allow(t.Context(), key)
					require.NoError(t, err)
					require.Equal(t, m[key].take(time.Now(), limit, 1), got, "step %d", step)
				}
			}
			for i := range l.exact.shards {
				remembered += int(l.exact.shards[i].spared.Load())
			}
		})
	}
	require.Greater(t, remembered, 1000, "no denial was remembered")
}

// A tenant that is blocked after it has used something is told to stay away, and not when
// to come again.
func TestABlockedKeyWaitsForNothing(t *testing.T) {
	t.Parallel()
	limit := 5
	l := memory(t, API(), &Options{LimitFunc: func(context.Context, string) (int, bool) { return limit, true }})
	_, err := l.Allow(t.Context(), "tenant:1")
	require.NoError(t, err)
	limit = 0
	for range 3 * denialRun {
		r, err := l.Allow(t.Context(), "tenant:1")
		require.NoError(t, err)
		require.False(t, r.Allowed)
		require.Equal(t, Never, r.RetryAfter)
	}
}

// TestNoStaleDenial gives a key back under fire: who has reset it must get a unit.
func TestNoStaleDenial(t *testing.T) {
	t.Parallel()
	l, err := NewMemory(Policy{Name: "p", Limit: 1, Window: time.Hour}, nil)
	require.NoError(t, err)
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !done.Load() {
			_, err := l.Allow(context.Background(), "other") // takes the same paths
			if err != nil {
				t.Error(err)
			}
			if _, err = l.Peek(context.Background(), "k"); err != nil {
				t.Error(err)
			}
		}
	})
	var denied uint64
	for range 2000 {
		for range 3 * denialRun {
			r, err := l.Allow(t.Context(), "k")
			require.NoError(t, err)
			if !r.Allowed {
				denied++
			}
		}
		require.NoError(t, l.Reset(t.Context(), "k"))
		r, err := l.Allow(t.Context(), "k")
		require.NoError(t, err)
		require.True(t, r.Allowed)
	}
	done.Store(true)
	wg.Wait()
	require.GreaterOrEqual(t, l.Stats().Denied, denied)
}

// TestCancelUnderFire gives units back one by one while others are denied all the time:
// each is taken once, and soon.
func TestCancelUnderFire(t *testing.T) {
	t.Parallel()
	const limit = 3
	l, err := NewMemory(Policy{Name: "p", Limit: limit, Window: time.Hour}, nil)
	require.NoError(t, err)
	taken := make(chan *Reservation, limit+1)
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for !done.Load() {
				r, err := l.Reserve(context.Background(), "k", 1)
				if err != nil {
					t.Error(err)
				} else if r.Result().Allowed {
					taken <- r
				}
			}
		})
	}
	const rounds = 300
	for i := range rounds + limit {
		select {
		case r := <-taken:
			if i >= limit { // the first few stay used
				require.NoError(t, r.Cancel(context.Background()))
				require.NoError(t, r.Cancel(context.Background()))
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("nobody gets what was given back for the %d. time", i-limit)
		}
		if i == limit-1 {
			require.NoError(t, l.Reset(context.Background(), "k"))
		}
	}
	done.Store(true)
	wg.Wait()
	close(taken)
	left := 0
	for range taken {
		left++
	}
	require.LessOrEqual(t, left, limit)
}

// TestDenialAcrossGoroutines exhausts a key again and again while others are denied:
// never more than the limit in any window, and every denial is counted.
func TestDenialAcrossGoroutines(t *testing.T) {
	t.Parallel()
	const limit, window = 10, 20 * time.Millisecond
	l, err := NewMemory(Policy{Name: "p", Limit: limit, Window: window}, nil)
	require.NoError(t, err)
	var mu sync.Mutex
	var stamps []int64
	var asked, allowed atomic.Uint64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for start := time.Now(); time.Since(start) < 500*time.Millisecond; {
				asked.Add(1)
				var r Result
				_, booked, err := l.take(context.Background(), "k", 1, &r)
				if err != nil {
					t.Error(err)
				}
				if r.Allowed {
					allowed.Add(1)
					mu.Lock()
					stamps = append(stamps, booked.at)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	s := l.Stats()
	require.Equal(t, allowed.Load(), s.Allowed)
	require.Equal(t, asked.Load(), s.Allowed+s.Denied)
	slices.Sort(stamps)
	require.Greater(t, len(stamps), limit)
	for i, at := range stamps[limit:] {
		require.GreaterOrEqual(t, at-stamps[i], int64(window))
	}
}
