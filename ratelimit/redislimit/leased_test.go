package redislimit

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/ratelimittest"
)

func leased(t testing.TB, s *Store, p ratelimit.Policy, o *LeaseOptions) *Leased {
	t.Helper()
	l, err := s.Leased(p, o)
	require.NoError(t, err)
	return l
}

// The suite counts to the unit, also where a process holds some: within one process
// nothing is lost by leasing, but for Life.
func TestLeasedConformance(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.Buckets} {
		t.Run(algorithm.String(), func(t *testing.T) {
			t.Parallel()
			client := dial(t, server.Addr())
			const window, life = 500 * time.Millisecond, 50 * time.Millisecond
			ratelimittest.Suite{
				Algorithm: algorithm, Window: window, Late: window/63 + life + 5*time.Millisecond,
				New: func(t testing.TB, p ratelimit.Policy, options *ratelimit.Options) ratelimit.Limiter {
					o := patient()
					o.Prefix = algorithm.String() + ":" + t.Name()
					if p.CountDenied {
						return limiter(t, store(t, client, o), p, options) // Leased does not support it
					}
					lease := &LeaseOptions{Block: 20, Life: life}
					if options != nil {
						lease.Options = *options
					}
					return leased(t, store(t, client, o), p, lease)
				},
			}.Run(t)
		})
	}
}

func hot(limit int) ratelimit.Policy {
	return ratelimit.Policy{Name: "hot", Limit: limit, Window: time.Hour, Algorithm: ratelimit.Buckets}
}

func allow(t testing.TB, l ratelimit.Limiter, n int) (allowed int) {
	t.Helper()
	for range n {
		r, err := l.AllowN(context.Background(), "key", 1)
		require.NoError(t, err)
		require.False(t, r.Degraded)
		if r.Allowed {
			allowed++
		}
	}
	return allowed
}

func TestAHotKeyCostsFewCommands(t *testing.T) {
	t.Parallel()
	s := store(t, dial(t, testserver.Redis(t).Addr()), patient())
	l := leased(t, s, hot(100_000), &LeaseOptions{Block: 1000, Life: time.Minute})
	require.Equal(t, 20_000, allow(t, l, 20_000))
	require.Less(t, s.Stats().Calls, uint64(40))
	st := l.Stats()
	require.Equal(t, 1, st.Keys)
	require.EqualValues(t, 20_000, st.Allowed)
	require.Greater(t, st.Leased, uint64(19_900))
	r, err := l.Peek(context.Background(), "key")
	require.NoError(t, err)
	require.Equal(t, 80_000, r.Remaining, "what is held unused is not used")
}

// Two processes: one holds units, the other gets the rest, then what the first one gives
// back, and together they are let the limit and not one more.
func TestWhatIsHeldIsGivenBack(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.Buckets} {
		t.Run(algorithm.String(), func(t *testing.T) {
			t.Parallel()
			client := dial(t, testserver.Redis(t).Addr())
			o := patient()
			o.DenyFor = -1
			p := hot(1000)
			p.Algorithm = algorithm
			a := leased(t, store(t, client, o), p, &LeaseOptions{Block: 100, Life: time.Hour})
			b := leased(t, store(t, client, o), p, &LeaseOptions{Block: 100, Life: time.Hour})
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- a.Run(ctx) }()

			used := allow(t, a, 200)
			require.Equal(t, 200, used)
			held := a.Stats().Held
			require.Positive(t, held)
			used += allow(t, b, 2000)
			require.Equal(t, 1000-held, used)
			stop()
			require.NoError(t, <-done)
			require.Zero(t, a.Stats().Held)
			used += allow(t, b, 2000)
			require.Equal(t, 1000, used)
			require.Zero(t, allow(t, a, 10))
		})
	}
}

// Without a shutdown: units that have outlived their Life go back while Run runs, and
// with the key's next decision where it does not.
func TestWhatOutlivesItsLifeGoesBack(t *testing.T) {
	t.Parallel()
	client := dial(t, testserver.Redis(t).Addr())
	o := patient()
	o.DenyFor = -1
	const life = 100 * time.Millisecond
	for name, giveBack := range map[string]func(t *testing.T, l *Leased){
		"Run": func(t *testing.T, l *Leased) {
			go l.Run(t.Context())
			require.Eventually(t, func() bool { return l.Stats().Held == 0 }, 30*time.Second, 10*time.Millisecond)
		},
		"the next decision": func(t *testing.T, l *Leased) {
			_, err := l.AllowN(context.Background(), "key", 500) // denied
			require.NoError(t, err)
			require.Zero(t, l.Stats().Held)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := hot(500)
			p.Name = "hot" + name[:1]
			a := leased(t, store(t, client, o), p, &LeaseOptions{Block: 100, Life: life})
			used := 0
			for i := 0; i < 100 && a.Stats().Held == 0; i++ { // a slow machine leases less
				used += allow(t, a, 1)
			}
			giveBack(t, a)
			b := leased(t, store(t, client, o), p, &LeaseOptions{Block: 100, Life: time.Hour})
			require.Eventually(t, func() bool {
				used += allow(t, b, 1000)
				return used == 500
			}, 30*time.Second, 50*time.Millisecond)
		})
	}
}

// The attack on leases: take a block, use it at the end of its life, and come back a
// window after it was taken, when units that count from their booking are free again.
func TestUnitsCountFromTheEndOfTheirLease(t *testing.T) {
	t.Parallel()
	const window = time.Second
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.Buckets} {
		t.Run(algorithm.String(), func(t *testing.T) {
			t.Parallel()
			client := dial(t, testserver.Redis(t).Addr())
			p := ratelimit.Policy{Name: "hot", Limit: 200, Window: window, Algorithm: algorithm}
			o := patient()
			o.DenyFor = -1
			a := leased(t, store(t, client, o), p, &LeaseOptions{Block: 100, Life: window / 2})
			b := leased(t, store(t, client, o), p, &LeaseOptions{Block: 100, Life: window / 2})
			var list []ratelimittest.Admission
			try := func(l *Leased, n int) {
				for range n {
					asked := time.Now()
					if allow(t, l, 1) == 1 {
						list = append(list, ratelimittest.Admission{Asked: asked, Answered: time.Now()})
					}
				}
			}
			for range 3 {
				for i := 0; i < 100 && a.Stats().Held < 30; i++ {
					try(a, 1)
				}
				booked := time.Now()
				time.Sleep(window * 45 / 100)
				try(a, a.Stats().Held)
				for time.Since(booked) < window*3/2 {
					try(b, 10)
					time.Sleep(window / 100)
				}
			}
			most := ratelimittest.MostInAnyWindow(list, window)
			t.Logf("%d let through in all, %d in one window", len(list), most)
			require.LessOrEqual(t, most, p.Limit)
		})
	}
}

// The client may send a question twice when the answer is lost. Units must not be given
// back twice, for the second time they would be units that have been used.
func TestAQuestionThatComesTwiceGivesBackOnce(t *testing.T) {
	t.Parallel()
	client := dial(t, testserver.Redis(t).Addr())
	ctx := context.Background()
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.Buckets} {
		key := algorithm.String()
		run := func(cost, more, back int, stamp int64) []int64 {
			p := ratelimit.Policy{Window: time.Hour, Algorithm: algorithm}
			reply, err := client.Eval(ctx, leaseScript.source, []string{key, key + ":once"},
				grain(&p, 100), 100, time.Hour.Microseconds(), cost, more, time.Second.Microseconds(), back, stamp, 60_000).Int64Slice()
			require.NoError(t, err)
			return reply
		}
		first := run(1, 40, 0, 0)
		require.Equal(t, []int64{41, 41}, first[:2])
		require.EqualValues(t, 31, run(0, 0, 10, first[5])[1])
		require.EqualValues(t, 31, run(0, 0, 10, first[5])[1])
	}
}

func TestReservationsOfHeldUnits(t *testing.T) {
	t.Parallel()
	client := dial(t, testserver.Redis(t).Addr())
	ctx := context.Background()
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.Buckets} {
		t.Run(algorithm.String(), func(t *testing.T) {
			t.Parallel()
			p := hot(1000)
			p.Algorithm, p.Name = algorithm, "hot"+algorithm.String()
			l := leased(t, store(t, client, patient()), p, &LeaseOptions{Block: 100, Life: time.Hour})
			require.Equal(t, 50, allow(t, l, 50))
			var all []*ratelimit.Reservation
			for range 200 {
				r, err := l.Reserve(ctx, "key", 2)
				require.NoError(t, err)
				require.True(t, r.Result().Allowed)
				all = append(all, r)
			}
			for i, r := range all {
				if i == 100 { // from here on nothing is held, and they go back to Redis
					require.NoError(t, l.returnAll(ctx, true))
					l.keys.drop("key")
				}
				for range 3 {
					require.NoError(t, r.Cancel(ctx))
				}
			}
			r, err := l.Peek(ctx, "key")
			require.NoError(t, err)
			require.Equal(t, 950, r.Remaining)
		})
	}
}

func TestLeasedLimitsThatChange(t *testing.T) {
	t.Parallel()
	var limit atomic.Int64
	limit.Store(1000)
	o := patient()
	o.DenyFor = -1
	l := leased(t, store(t, dial(t, testserver.Redis(t).Addr()), o), hot(1), &LeaseOptions{
		Block: 100, Life: time.Hour,
		Options: ratelimit.Options{LimitFunc: func(context.Context, string) (int, bool) { return int(limit.Load()), true }},
	})
	require.Equal(t, 300, allow(t, l, 300))
	require.Positive(t, l.Stats().Held)
	limit.Store(250)
	require.Zero(t, allow(t, l, 20), "units leased under a higher limit")
	limit.Store(310)
	require.Equal(t, 10, allow(t, l, 50))
	limit.Store(0)
	require.Zero(t, allow(t, l, 5))
	limit.Store(ratelimit.Unlimited)
	require.Equal(t, 50, allow(t, l, 50))
}

func TestLeasedManyCallersAndKeys(t *testing.T) {
	t.Parallel()
	s := store(t, dial(t, testserver.Redis(t).Addr()), patient())
	l := leased(t, s, hot(3000), &LeaseOptions{Block: 50, Life: time.Hour})
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 250 {
				if r, err := l.AllowN(context.Background(), "key", 1); err == nil && r.Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 3000, allowed.Load())
}

// Units that are given back after the block that they came from are off this process's own log too.
func TestLeasedUnitsThatComeBackLate(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	o := patient()
	o.BreakerFailures, o.BreakerOpen, o.Instances, o.Logger = 1, time.Hour, 2, slog.New(slog.DiscardHandler)
	p := ratelimit.Policy{Name: "hot", Limit: 100, Window: time.Hour}
	l := leased(t, store(t, dial(t, server.Addr()), o), p, &LeaseOptions{Block: 10, Life: time.Hour})
	var list []*ratelimit.Reservation
	for range 40 {
		r, err := l.Reserve(t.Context(), "key", 1)
		require.NoError(t, err)
		require.True(t, r.Result().Allowed)
		list = append(list, r)
	}
	for _, r := range list {
		require.NoError(t, r.Cancel(t.Context()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, l.Run(ctx))
	require.Zero(t, l.Stats().Held)
	server.Kill()
	local := 0
	for range 100 {
		if r, err := l.Allow(t.Context(), "key"); err == nil && r.Allowed {
			require.True(t, r.Degraded)
			local++
		}
	}
	require.Equal(t, 50, local, "this instance's half, of which none is used")
}

// While nobody answers, what is held is used up, and then OnFailure decides. This process's own log has the units of its
// blocks, except those that it has given back.
func TestLeasedWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	o := patient()
	o.BreakerFailures, o.BreakerOpen, o.Instances, o.Logger = 1, time.Hour, 2, slog.New(slog.DiscardHandler)
	p := ratelimit.Policy{Name: "hot", Limit: 100, Window: time.Hour}
	l := leased(t, store(t, dial(t, server.Addr()), o), p, &LeaseOptions{Block: 10, Life: time.Hour})
	require.Equal(t, 25, allow(t, l, 25))
	require.Positive(t, l.Stats().Held)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, l.Run(ctx))
	require.Zero(t, l.Stats().Held)
	require.Equal(t, 5, allow(t, l, 5))
	held := l.Stats().Held
	require.Positive(t, held)
	server.Kill()
	require.Equal(t, held, allow(t, l, held))
	local := 0
	for range 200 {
		r, err := l.AllowN(context.Background(), "key", 1)
		require.NoError(t, err)
		require.True(t, r.Degraded)
		if r.Allowed {
			local++
		}
	}
	require.Equal(t, 50, 30+held+local, "this instance's half")
	_, err := l.Peek(context.Background(), "key")
	require.NoError(t, err)
	require.NoError(t, l.Run(ctx), "nothing is held")
}

func TestLeasedRefusesNonsense(t *testing.T) {
	t.Parallel()
	s := store(t, dial(t, "127.0.0.1:1"), nil)
	good := ratelimit.Policy{Name: "hot", Limit: 100, Window: time.Minute}
	for _, o := range []LeaseOptions{{Block: -1}, {Block: 1001}, {Life: -1}, {Life: time.Microsecond}, {Life: time.Hour}, {Options: ratelimit.Options{MaxKeys: -1}}} {
		_, err := s.Leased(good, &o)
		require.Error(t, err, "%+v", o)
	}
	gcra, stubborn := good, good
	gcra.Algorithm, stubborn.CountDenied = ratelimit.GCRA, true
	for _, p := range []ratelimit.Policy{gcra, stubborn, {}} {
		_, err := s.Leased(p, nil)
		require.Error(t, err)
	}
	off, err := s.Leased(ratelimit.Policy{Name: "off", Limit: ratelimit.Unlimited}, nil)
	require.NoError(t, err)
	r, err := off.Allow(context.Background(), "k")
	require.NoError(t, err)
	require.True(t, r.Allowed)
}

// leaving is a hook that ends the context of a caller while its command is under way.
type leaving struct {
	resender
	leave atomic.Pointer[context.CancelFunc]
}

func (l *leaving) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if leave := l.leave.Swap(nil); leave != nil {
			(*leave)()
		}
		return next(ctx, cmd)
	}
}

// The units of a caller that leaves are in its block, and are given once.
func TestLeasedCallersThatLeave(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	for _, block := range []int{1, 10} {
		client, hook := dial(t, server.Addr()), &leaving{}
		client.AddHook(hook)
		o := patient()
		o.Prefix = fmt.Sprint("block", block)
		l := leased(t, store(t, client, o), hot(100), &LeaseOptions{Block: block, Life: time.Minute})
		used := allow(t, l, 1)
		for range 30 {
			ctx, cancel := context.WithCancel(t.Context())
			hook.leave.Store(&cancel)
			for ctx.Err() == nil && used < 90 {
				r, err := l.Reserve(ctx, "key", 1)
				if err == nil && r.Result().Allowed {
					used++
				}
			}
			cancel()
		}
		assert.LessOrEqual(t, used+allow(t, l, 200), 100, "blocks of %d", block)
	}
}

// Units from before a Reset are not given back after it, nor to the block that comes then.
func TestLeasedUnitsFromBeforeAReset(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.Buckets} {
		for _, later := range []int{30, 200} {
			o := patient()
			o.Prefix = fmt.Sprint(algorithm.String(), later)
			p := hot(100)
			p.Algorithm = algorithm
			l := leased(t, store(t, dial(t, server.Addr()), o), p, &LeaseOptions{Block: 10, Life: time.Minute})
			other := leased(t, store(t, dial(t, server.Addr()), o), p, &LeaseOptions{Block: 10, Life: time.Minute})
			var list []*ratelimit.Reservation
			for range 40 {
				r, err := l.Reserve(t.Context(), "key", 1)
				require.NoError(t, err)
				list = append(list, r)
			}
			require.Equal(t, 10, allow(t, other, 10))
			require.Positive(t, other.Stats().Held)
			require.NoError(t, l.Reset(t.Context(), "key"))
			n := allow(t, l, later)
			for _, r := range list {
				require.NoError(t, r.Cancel(t.Context()))
			}
			require.NoError(t, other.returnAll(t.Context(), true))
			assert.LessOrEqual(t, n+allow(t, l, 200), 100, "%v %d", algorithm, later)
		}
	}
}
