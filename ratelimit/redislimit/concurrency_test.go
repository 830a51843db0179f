package redislimit

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
	"github.com/mainstay-go/mainstay/ratelimit/ratelimittest"
)

// commandCalls reads how often the server ran a command from its own statistics.
func commandCalls(info, command string) int {
	_, rest, _ := strings.Cut(info, "cmdstat_"+command+":calls=")
	count, _, _ := strings.Cut(rest, ",")
	n, _ := strconv.Atoi(count)
	return n
}

func slots(t testing.TB, s *Store, limit int, lease time.Duration) *Concurrency {
	t.Helper()
	c, err := s.Concurrency(concurrency.Policy{Name: "exports", Limit: limit, OnFailure: ratelimit.FailClosed}, &ConcurrencyOptions{Lease: lease})
	require.NoError(t, err)
	return c
}

func acquire(t testing.TB, c concurrency.Limiter) *concurrency.Slot {
	t.Helper()
	slot, err := c.Acquire(context.Background(), "user:1", 1)
	require.NoError(t, err)
	return slot
}

// take waits until there is a slot: a busy machine may make a healthy Redis miss its
// deadline.
func take(t testing.TB, c concurrency.Limiter) (slot *concurrency.Slot) {
	t.Helper()
	require.Eventually(t, func() bool {
		var err error
		slot, err = c.Acquire(context.Background(), "user:1", 1)
		return err == nil && slot.Result().Allowed
	}, 30*time.Second, 10*time.Millisecond)
	return slot
}

func TestConcurrencyConformance(t *testing.T) {
	t.Parallel()
	for name, addrs := range map[string][]string{
		"Redis":   {testserver.Redis(t).Addr()},
		"Cluster": testserver.RedisCluster(t, 3, 0).Addrs(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := dial(t, addrs...)
			ratelimittest.ConcurrencySuite{New: func(t testing.TB, p concurrency.Policy) concurrency.Limiter {
				o := patient()
				o.Prefix, o.Logger = t.Name(), slog.New(slog.DiscardHandler)
				c, err := store(t, client, o).Concurrency(p, &ConcurrencyOptions{Lease: time.Minute})
				require.NoError(t, err)
				return c
			}}.Run(t)
		})
	}
}

func TestSlotsAreRenewedWhileTheyAreHeld(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	const lease = 1500 * time.Millisecond
	client := dial(t, testserver.Redis(t).Addr())
	s := store(t, client, &Options{Timeout: lease / 3, Logger: slog.New(slog.DiscardHandler)})
	c := slots(t, s, 1, lease)
	renewed := func() bool {
		slot := take(t, c)
		defer slot.Release()
		for start := time.Now(); time.Since(start) < 2*lease; time.Sleep(lease / 10) {
			other, err := c.Acquire(context.Background(), "user:1", 1)
			require.False(t, err == nil && other.Result().Allowed && slot.Held(), "a second slot of one")
			other.Release()
			if !slot.Held() {
				return false
			}
		}
		require.Equal(t, 1, c.Stats().InFlight)
		require.NoError(t, slot.Release())
		return true
	}
	tries := 1
	for ; !renewed(); tries++ { // a machine that stops for a lease loses its slots rightly
		require.Less(t, tries, 8, "no slot outlasts its first lease")
	}
	require.Zero(t, c.Stats().InFlight)
	require.NoError(t, take(t, c).Release())
	require.Eventually(t, func() bool { // and then only the heartbeats are left on Redis
		keys, err := client.Keys(context.Background(), "*").Result()
		return err == nil && len(slices.DeleteFunc(keys, func(k string) bool { return k == "rl:{instances}" })) == 0
	}, 30*time.Second, 50*time.Millisecond)
}

// A Redis that hangs for longer than a lease takes the slots with it: their holders
// must know before anybody else can have the place, and not free it when it is another's.
func TestSlotsRunOutWhileRedisHangs(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	const lease = 3 * time.Second // a third of it is the patience of the last calls
	server := testserver.Redis(t)
	s := store(t, dial(t, server.Addr()), &Options{Timeout: lease / 3, BreakerOpen: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	c := slots(t, s, 1, lease)
	slot := take(t, c)
	ctx, cancel := slot.Context(context.Background())
	defer cancel()
	server.Pause()
	select {
	case <-ctx.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the holder of a slot that ran out was not told")
	}
	require.ErrorIs(t, context.Cause(ctx), concurrency.ErrSlotLost)
	require.False(t, slot.Held())
	late, cancelLate := slot.Context(context.Background())
	defer cancelLate()
	require.ErrorIs(t, context.Cause(late), concurrency.ErrSlotLost)
	require.EqualValues(t, 1, c.Stats().Lost)
	server.Continue()

	next := take(t, slots(t, s, 1, time.Hour))
	require.Greater(t, next.Token(), slot.Token())
	require.ErrorIs(t, slot.Release(), concurrency.ErrSlotLost)
	require.False(t, acquire(t, c).Result().Allowed, "the late release freed another's slot")
	require.True(t, next.Held())
	require.NoError(t, next.Release())
}

func TestSlotsThatRedisForgets(t *testing.T) {
	t.Parallel()
	const lease = 3 * time.Second // a third of it is the patience of the last calls
	server := testserver.Redis(t)
	s := store(t, dial(t, server.Addr()), &Options{Timeout: lease / 3, BreakerOpen: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	c := slots(t, s, 1, lease)
	slot := take(t, c)
	server.Kill()
	server.Restart() // without its data
	next := take(t, slots(t, s, 1, time.Hour))
	require.Greater(t, next.Token(), slot.Token(), "tokens grow across a loss of data")
	require.Eventually(t, func() bool { return !slot.Held() }, 30*time.Second, 10*time.Millisecond)
	require.ErrorIs(t, slot.Release(), concurrency.ErrSlotLost)
	require.True(t, next.Held())
	require.NoError(t, next.Release())
}

// A question or a release whose answer is lost must not take its slot away for a lease.
func TestUnansweredQuestionsLeaveNoSlotBehind(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	s := store(t, dial(t, server.Addr()), &Options{
		Timeout: 300 * time.Millisecond, BreakerFailures: 100, BreakerOpen: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	c := slots(t, s, 3, time.Hour)
	held := take(t, c)
	server.Pause()
	for range 4 {
		slot, err := c.Acquire(context.Background(), "user:1", 1)
		require.ErrorIs(t, err, ratelimit.ErrUnavailable)
		require.False(t, slot.Held())
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := c.Acquire(ctx, "user:1", 1)
	require.Error(t, err)
	require.Error(t, held.Release())
	server.Continue()
	require.Eventually(t, func() bool {
		var got []*concurrency.Slot
		for range 3 {
			slot, err := c.Acquire(context.Background(), "user:1", 1)
			if err == nil && slot.Result().Allowed {
				got = append(got, slot)
			}
		}
		for _, slot := range got {
			slot.Release()
		}
		return len(got) == 3
	}, 30*time.Second, 50*time.Millisecond)
}

// A client that asks again, because the answer was lost on the way, has one slot.
func TestTheSameQuestionTwiceIsOneSlot(t *testing.T) {
	t.Parallel()
	client := dial(t, testserver.Redis(t).Addr())
	ask := func(name string) []int64 {
		reply, err := client.Eval(context.Background(), acquireScript.source, []string{"k"}, 2, time.Minute.Microseconds(), 1, name).Int64Slice()
		require.NoError(t, err)
		return reply
	}
	first := ask("a")
	again := ask("a")
	require.Equal(t, []int64{1, 1}, again[:2])
	require.Greater(t, again[2], first[2])
	require.Equal(t, []int64{1, 2}, ask("b")[:2])
	require.Equal(t, []int64{1, 2}, ask("b")[:2])
	require.Equal(t, []int64{0, 2, 0}, ask("c"))
}

func TestConcurrencyWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	client := dial(t, refusedAddr(t))
	s := store(t, client, &Options{Instances: 2, BreakerOpen: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	made := func(p concurrency.Policy) *Concurrency {
		p.Name, p.Limit = "exports", 6
		c, err := s.Concurrency(p, nil)
		require.NoError(t, err)
		return c
	}
	local := made(concurrency.Policy{})
	var held []*concurrency.Slot
	for i := range 8 {
		slot := acquire(t, local)
		require.True(t, slot.Result().Degraded)
		require.Equal(t, i < 3, slot.Result().Allowed, "this instance's half of 6")
		if slot.Held() {
			held = append(held, slot)
			require.Zero(t, slot.Token())
			ctx, cancel := slot.Context(context.Background())
			require.NoError(t, ctx.Err())
			cancel()
		}
	}
	require.Len(t, held, 3)
	require.NoError(t, held[0].Release())
	require.NoError(t, held[0].Release())
	require.True(t, acquire(t, local).Result().Allowed)
	require.False(t, acquire(t, local).Result().Allowed)
	require.EqualValues(t, 10, local.Stats().Degraded)
	require.Zero(t, local.Stats().InFlight)

	slot, err := made(concurrency.Policy{OnFailure: ratelimit.FailClosed}).Acquire(context.Background(), "user:1", 1)
	require.ErrorIs(t, err, ratelimit.ErrUnavailable)
	require.False(t, slot.Held())
	require.Positive(t, slot.Result().RetryAfter)
	require.NoError(t, slot.Release())

	for _, p := range []concurrency.Policy{{OnFailure: ratelimit.FailOpen}, {OnFailure: ratelimit.FailClosed, Shadow: true}} {
		c := made(p)
		for range 20 {
			r := acquire(t, c).Result()
			require.True(t, r.Allowed && r.Degraded)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = local.Acquire(ended, "user:1", 1)
	require.ErrorIs(t, err, context.Canceled)
}

func TestConcurrencyLimitsOfTenants(t *testing.T) {
	t.Parallel()
	limit := 2
	var near int
	c, err := store(t, dial(t, testserver.Redis(t).Addr()), patient()).Concurrency(
		concurrency.Policy{Name: "exports", Limit: 1},
		&ConcurrencyOptions{Lease: time.Minute, Options: ratelimit.Options{
			LimitFunc: func(context.Context, string) (int, bool) { return limit, true },
			Trace:     &ratelimit.Trace{NearLimit: func(context.Context, ratelimit.DecidedEvent) { near++ }},
		}})
	require.NoError(t, err)
	a, b := acquire(t, c), acquire(t, c)
	require.True(t, a.Held() && b.Held() && !acquire(t, c).Held())
	require.Equal(t, 1, near)
	limit = 1
	require.NoError(t, a.Release())
	require.False(t, acquire(t, c).Held(), "what is in flight goes on counting")
	limit = 0
	r := acquire(t, c).Result()
	require.True(t, !r.Allowed && r.RetryAfter == ratelimit.Never)
	limit = ratelimit.Unlimited
	require.True(t, acquire(t, c).Result().Allowed)
	require.EqualValues(t, 3, c.Stats().Denied)
	require.NoError(t, b.Release())
}

func TestConcurrencyRefusesNonsense(t *testing.T) {
	t.Parallel()
	s := store(t, dial(t, "127.0.0.1:1"), nil)
	good := concurrency.Policy{Name: "exports", Limit: 1}
	_, err := s.Concurrency(good, &ConcurrencyOptions{Lease: 1499 * time.Millisecond})
	require.ErrorContains(t, err, "redislimit: a lease of 1.499s is too short")
	_, err = s.Concurrency(good, &ConcurrencyOptions{Lease: -1})
	require.ErrorContains(t, err, "redislimit: ")
	_, err = s.Concurrency(concurrency.Policy{Name: "exports"}, nil)
	require.Error(t, err)
	_, err = s.Concurrency(good, &ConcurrencyOptions{Options: ratelimit.Options{MaxKeys: -1}})
	require.Error(t, err)
}

// A key of somebody else's is a failure, and stays as it is.
func TestConcurrencyLeavesForeignValuesAlone(t *testing.T) {
	t.Parallel()
	client := dial(t, testserver.Redis(t).Addr())
	c := slots(t, store(t, client, patient()), 1, time.Minute)
	require.NoError(t, client.Set(context.Background(), "rl:{user:1}:exports:c", "mine", 0).Err())
	_, err := c.Acquire(context.Background(), "user:1", 1)
	require.True(t, errors.Is(err, ratelimit.ErrUnavailable), "%v", err)
	require.Equal(t, "mine", client.Get(context.Background(), "rl:{user:1}:exports:c").Val())
}
