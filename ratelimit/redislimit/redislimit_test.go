package redislimit

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
	"github.com/mainstay-go/mainstay/ratelimit/ratelimittest"
)

func dial(t testing.TB, addrs ...string) redis.UniversalClient {
	t.Helper()
	o := ClientOptions(addrs...)
	// Two busy cores are no outage.
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = 5*time.Second, 5*time.Second, 5*time.Second
	c := redis.NewUniversalClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

// patient are options under which a busy machine does not look like an outage.
func patient() *Options { return &Options{Timeout: 10 * time.Second} }

func store(t testing.TB, c Client, o *Options) *Store {
	t.Helper()
	s, err := New(c, o)
	require.NoError(t, err)
	return s
}

func limiter(t testing.TB, s *Store, p ratelimit.Policy, o *ratelimit.Options) *Limiter {
	t.Helper()
	l, err := s.Limiter(p, o)
	require.NoError(t, err)
	return l
}

func TestConformance(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.Buckets, ratelimit.GCRA} {
		t.Run(algorithm.String(), func(t *testing.T) {
			t.Parallel()
			client := dial(t, server.Addr())
			ratelimittest.Suite{
				Algorithm: algorithm,
				Window:    500 * time.Millisecond,
				New: func(t testing.TB, p ratelimit.Policy, options *ratelimit.Options) ratelimit.Limiter {
					o := patient()
					o.Prefix = algorithm.String() + ":" + t.Name()
					return limiter(t, store(t, client, o), p, options)
				},
			}.Run(t)
		})
	}
}

func login() ratelimit.Policy { return ratelimit.Login() }

func TestSeveralPoliciesOnOneServerAreOneCommand(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	s := store(t, dial(t, server.Addr()), patient())
	a, b := limiter(t, s, ratelimit.API(), nil), limiter(t, s, ratelimit.Sale(), nil)
	ctx := context.Background()
	for range 3 {
		d, err := ratelimit.Decide(ctx, ratelimit.Check{Limiter: a, Key: "user:1", Cost: 1}, ratelimit.Check{Limiter: b, Key: "till:7", Cost: 1})
		require.NoError(t, err)
		require.True(t, d.Allowed)
	}
	require.EqualValues(t, 3, s.Stats().Calls)
}

func TestAttackOnAnExhaustedKeyCostsRedisNothing(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	s := store(t, dial(t, server.Addr()), &Options{Timeout: 10 * time.Second, DenyFor: time.Hour})
	l := limiter(t, s, login(), nil)
	ctx := context.Background()
	for range 6 {
		_, err := l.Allow(ctx, "user:1")
		require.NoError(t, err)
	}
	before := s.Stats().Calls
	for range 1000 {
		r, err := l.Allow(ctx, "user:1")
		require.NoError(t, err)
		require.False(t, r.Allowed)
		require.Positive(t, r.RetryAfter)
	}
	require.Equal(t, before, s.Stats().Calls)
	require.EqualValues(t, 1000, l.Stats().Remembered)

	require.NoError(t, l.Reset(ctx, "user:1"))
	r, err := l.Allow(ctx, "user:1")
	require.NoError(t, err)
	require.True(t, r.Allowed, "a reset drops what is remembered")
}

// A refund by this process must not be hidden by the denial that it remembers.
func TestCancelDropsTheRememberedDenial(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	s := store(t, dial(t, server.Addr()), &Options{Timeout: 10 * time.Second, DenyFor: time.Hour})
	l := limiter(t, s, login(), nil)
	ctx := context.Background()
	res, err := l.Reserve(ctx, "user:1", 5)
	require.NoError(t, err)
	r, err := l.Allow(ctx, "user:1")
	require.NoError(t, err)
	require.False(t, r.Allowed)
	require.NoError(t, res.Cancel(ctx))
	r, err = l.Allow(ctx, "user:1")
	require.NoError(t, err)
	require.True(t, r.Allowed)
}

func TestForeignValueIsAFailureAndStays(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	client := dial(t, server.Addr())
	p := login()
	p.OnFailure = ratelimit.FailClosed
	l := limiter(t, store(t, client, patient()), p, nil)
	ctx := context.Background()
	require.NoError(t, client.Set(ctx, "rl:{user:1}:login:1h0m0s", "mine", 0).Err())
	r, err := l.Allow(ctx, "user:1")
	require.ErrorIs(t, err, ratelimit.ErrUnavailable)
	require.True(t, r.Degraded)
	require.Equal(t, "mine", client.Get(ctx, "rl:{user:1}:login:1h0m0s").Val())
}

func TestDynamicLimitKeepsHistory(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	limit := 5
	l := limiter(t, store(t, dial(t, server.Addr()), &Options{Timeout: 10 * time.Second, DenyFor: -1}), login(), &ratelimit.Options{
		LimitFunc: func(context.Context, string) (int, bool) { return limit, true },
	})
	ctx := context.Background()
	use := func(n int) (allowed int) {
		for range n {
			r, err := l.Allow(ctx, "tenant:1")
			require.NoError(t, err)
			if r.Allowed {
				allowed++
			}
		}
		return allowed
	}
	require.Equal(t, 5, use(9))
	limit = 8
	require.Equal(t, 3, use(9))
	limit = 2
	r, err := l.Peek(ctx, "tenant:1")
	require.NoError(t, err)
	require.Equal(t, 0, r.Remaining)
	require.Equal(t, 0, use(3))
	limit = 0
	require.Equal(t, 0, use(3))
	limit = ratelimit.Unlimited
	require.Equal(t, 50, use(50))
	limit = 9
	require.Equal(t, 1, use(9))
}

func TestShadowWatchesWithoutDenying(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	s := store(t, dial(t, server.Addr()), patient())
	p := login()
	p.Shadow = true
	watching, enforced := limiter(t, s, p, nil), limiter(t, s, ratelimit.API(), nil)
	ctx := context.Background()
	for i := range 20 {
		d, err := ratelimit.Decide(ctx, ratelimit.Check{Limiter: watching, Key: "k", Cost: 1}, ratelimit.Check{Limiter: enforced, Key: "k", Cost: 1})
		require.NoError(t, err)
		require.True(t, d.Allowed)
		require.Equal(t, i >= 5, d.Results[0].Shadowed, i)
	}
	r, err := enforced.Peek(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, 80, r.Remaining)

	p.Name = "high"
	high := limiter(t, s, p, &ratelimit.Options{LimitFunc: func(context.Context, string) (int, bool) { return math.MaxInt, true }})
	r, err = high.AllowN(ctx, "k", 5)
	require.NoError(t, err)
	require.True(t, r.Allowed && !r.Shadowed && r.Limit == 5, "the policy's own limit watches: %+v", r)
	require.EqualValues(t, 1, high.Stats().BadLimits)
}

// A key without a limit cannot be blocked, and Block says so.
func TestBlockOfAnUnlimitedKey(t *testing.T) {
	t.Parallel()
	s := store(t, dial(t, testserver.Redis(t).Addr()), patient())
	free := &ratelimit.Options{LimitFunc: func(context.Context, string) (int, bool) { return ratelimit.Unlimited, true }}
	for _, l := range []*Limiter{
		limiter(t, s, ratelimit.Policy{Name: "off", Limit: ratelimit.Unlimited}, nil),
		limiter(t, s, ratelimit.Policy{Name: "off-hourly", Limit: ratelimit.Unlimited, Window: time.Hour}, nil),
		limiter(t, s, ratelimit.Policy{Name: "plan", Limit: 5, Window: time.Hour}, free),
		limiter(t, s, ratelimit.Policy{Name: "plan-gcra", Limit: 5, Window: time.Hour, Algorithm: ratelimit.GCRA}, free),
	} {
		require.ErrorIs(t, l.Block(t.Context(), "k", time.Hour), ratelimit.ErrUnlimited)
		require.NoError(t, l.Reset(t.Context(), "k"))
	}
}

func TestCountDeniedKeepsAStubbornClientOut(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	p := ratelimit.Policy{Name: "stubborn", Limit: 3, Window: time.Hour, CountDenied: true}
	l := limiter(t, store(t, dial(t, server.Addr()), patient()), p, nil)
	ctx := context.Background()
	var last ratelimit.Result
	for i := range 30 {
		r, err := l.Allow(ctx, "k")
		require.NoError(t, err)
		require.Equal(t, i < 3, r.Allowed)
		last = r
	}
	require.Greater(t, last.RetryAfter, 55*time.Minute, "the denied tries fill the window")
	require.LessOrEqual(t, last.RetryAfter, time.Hour)
}

// The share of each process is no excuse for a policy that is none.
func TestInstancesHideNoMistake(t *testing.T) {
	t.Parallel()
	s := store(t, dial(t, "127.0.0.1:1"), &Options{Instances: 3})
	for _, p := range []ratelimit.Policy{
		{Name: "exact", Limit: 1<<30 + 1, Window: time.Hour},
		{Name: "gcra", Limit: 2_000_000, Window: time.Millisecond, Algorithm: ratelimit.GCRA},
	} {
		_, err := s.Limiter(p, nil)
		require.ErrorContains(t, err, p.Name)
		_, err = s.Leased(p, nil)
		require.Error(t, err)
	}
	_, err := s.Concurrency(concurrency.Policy{Name: "slots", Limit: 1<<30 + 1}, nil)
	require.Error(t, err)
}

// A limit that gives more than a unit in a nanosecond is no reason to divide by zero.
func TestLimitsOfAnyTenant(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	s := store(t, dial(t, server.Addr()), patient())
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.Buckets, ratelimit.GCRA} {
		for _, limit := range []int{1, 3_000_000, 1 << 30, math.MaxInt32, -2} {
			p := ratelimit.Policy{Name: "p" + algorithm.String(), Limit: 5, Window: time.Millisecond, Algorithm: algorithm}
			l := limiter(t, s, p, &ratelimit.Options{LimitFunc: func(context.Context, string) (int, bool) { return limit, true }})
			r, err := l.Allow(context.Background(), strconv.Itoa(limit))
			if limit > 1<<30 || algorithm == ratelimit.GCRA && limit > int(p.Window) {
				require.ErrorIs(t, err, ratelimit.ErrLimitFunc)
				require.Positive(t, l.Stats().BadLimits)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, limit > 0, r.Allowed)
			_, err = l.Peek(context.Background(), strconv.Itoa(limit))
			require.NoError(t, err)
		}
	}
}

// RetryAfter of a remembered denial begins when the reply arrives, as that of the reply does.
func TestRetryAfterOfARememberedDenial(t *testing.T) {
	t.Parallel()
	c := newDenyCache(time.Now(), time.Minute, 100)
	sent := time.Now().Add(-time.Second) // the reply was under way for a second
	c.put("k", &ratelimit.Result{Limit: 1, Cost: 1, RetryAfter: 2 * time.Second, NextAfter: 2 * time.Second, ResetAfter: 2 * time.Second}, sent.Add(time.Second))
	r := ratelimit.Result{Limit: 1, Cost: 1}
	require.True(t, c.get("k", &r))
	require.Greater(t, r.RetryAfter, 1500*time.Millisecond)
	c.drop("k")
	c.put("k", &ratelimit.Result{Limit: 1, Cost: 1, RetryAfter: 2 * time.Second}, sent)
	require.False(t, c.get("k", &r), "a reply from before the drop")
}

// When one limit is remembered as exhausted, the fields say nothing about those not asked.
func TestFieldsOfARememberedDenial(t *testing.T) {
	t.Parallel()
	s := store(t, dial(t, testserver.Redis(t).Addr()), patient())
	key := func(*http.Request) string { return "user:1" }
	m, err := ratelimit.NewMiddleware([]ratelimit.Rule{
		{Limiter: limiter(t, s, ratelimit.Policy{Name: "minute", Limit: 3, Window: time.Minute}, nil), Key: key},
		{Limiter: limiter(t, s, ratelimit.Policy{Name: "daily", Limit: 100, Window: 24 * time.Hour}, nil), Key: key},
	}, nil)
	require.NoError(t, err)
	h := m.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	remembered := false
	for range 6 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		field := w.Header().Get("RateLimit")
		require.NotContains(t, field, `"daily";r=100`)
		require.Contains(t, w.Header().Get("RateLimit-Policy"), "daily")
		remembered = remembered || !strings.Contains(field, "daily")
	}
	require.True(t, remembered)
}

// A queue of any length holds on Redis too.
func TestAQueueOfAnyLength(t *testing.T) {
	t.Parallel()
	s := store(t, dial(t, testserver.Redis(t).Addr()), patient())
	for i, p := range []ratelimit.Policy{
		{Limit: 10, Window: time.Second, Algorithm: ratelimit.GCRA},
		{Limit: 1, Window: 15 * 24 * time.Hour, Algorithm: ratelimit.GCRA},
		{Limit: 10, Window: time.Second},
	} {
		p.Name = fmt.Sprint("q", i)
		l := limiter(t, s, p, &ratelimit.Options{MaxQueue: math.MaxInt})
		_, err := l.AllowN(context.Background(), "k", p.Limit)
		require.NoError(t, err)
		d, err := ratelimit.Decide(context.Background(), ratelimit.Check{Limiter: l, Key: "k", Cost: p.Limit, Within: 20 * 24 * time.Hour})
		require.NoError(t, err)
		require.True(t, d.Allowed)
	}
}
