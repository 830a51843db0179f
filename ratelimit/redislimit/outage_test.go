package redislimit

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
)

// refusedAddr is an address at which nobody listens, nor can while the test runs: the
// port is taken by the near end of a connection.
func refusedAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	c, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}

// hungAddr takes connections and never answers.
func hungAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	return ln.Addr().String()
}

// fastest is the least that f takes in a few runs: what stays above a limit is not the
// machine's doing.
func fastest(t testing.TB, f func()) time.Duration {
	t.Helper()
	least := time.Duration(math.MaxInt64)
	for i := 0; i < 5 && least >= time.Second/4; i++ {
		start := time.Now()
		f()
		least = min(least, time.Since(start))
	}
	return least
}

func TestRedisAway(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]*redis.UniversalOptions{
		"refused, options as offered":  ClientOptions(refusedAddr(t)),
		"refused, go-redis's defaults": {Addrs: []string{refusedAddr(t)}},
		"hung, options as offered":     ClientOptions(hungAddr(t)),
		"hung, go-redis's defaults":    {Addrs: []string{hungAddr(t)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := redis.NewUniversalClient(options)
			t.Cleanup(func() { client.Close() })
			var down, up atomic.Int32 // a late failure counts in a goroutine of its own
			s := store(t, client, &Options{
				Logger: slog.New(slog.DiscardHandler), Instances: 2, BreakerOpen: time.Hour,
				Trace: &Trace{Down: func(context.Context, FailedEvent) { down.Add(1) }, Up: func(context.Context, UpEvent) { up.Add(1) }},
			})
			local, closed, open := login(), login(), login()
			closed.OnFailure, open.OnFailure = ratelimit.FailClosed, ratelimit.FailOpen
			ctx := context.Background()

			l := limiter(t, s, local, nil)
			first := fastest(t, func() {
				fresh := store(t, client, &Options{Logger: slog.New(slog.DiscardHandler)})
				r, err := limiter(t, fresh, local, nil).Allow(ctx, "user:1")
				require.NoError(t, err)
				require.True(t, r.Allowed && r.Degraded)
			})
			most := time.Second
			if raceDetector {
				most = 5 * time.Second
			}
			require.Less(t, first, most, "the deadline is 500 ms, the client's own patience 1.7 s and more")
			r, err := l.Allow(ctx, "user:1")
			require.NoError(t, err)
			require.True(t, r.Allowed && r.Degraded)
			for range 10 {
				_, err := l.Allow(ctx, "warm")
				require.NoError(t, err)
			}
			require.EqualValues(t, 1, down.Load(), "one event for the change of state")

			allowed := 1
			for range 20 {
				r, err := l.Allow(ctx, "user:1")
				require.NoError(t, err)
				require.True(t, r.Degraded)
				if r.Allowed {
					allowed++
				}
			}
			require.Equal(t, 2, allowed, "this instance's half of 5")

			r, err = limiter(t, s, closed, nil).Allow(ctx, "user:1")
			require.ErrorIs(t, err, ratelimit.ErrUnavailable)
			require.False(t, r.Allowed)
			require.Positive(t, r.RetryAfter)
			lo := limiter(t, s, open, nil)
			for range 20 {
				r, err = lo.Allow(ctx, "user:1")
				require.NoError(t, err)
				require.True(t, r.Allowed && r.Degraded)
			}

			// With the breaker open a decision must not wait for anything.
			open1000 := fastest(t, func() {
				for range 1000 {
					l.Allow(ctx, "user:1")
				}
			})
			require.Less(t, open1000, most, "1000 decisions")

			ended, cancel := context.WithCancel(ctx)
			cancel()
			_, err = l.Allow(ended, "user:1")
			require.ErrorIs(t, err, context.Canceled)
			require.Zero(t, up.Load())
		})
	}
}

func TestPausedAndRestarted(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.Redis(t)
	var down, up atomic.Int32
	s := store(t, dial(t, server.Addr()), &Options{
		BreakerFailures: 1, BreakerOpen: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		Trace: &Trace{Down: func(context.Context, FailedEvent) { down.Add(1) }, Up: func(context.Context, UpEvent) { up.Add(1) }},
	})
	l := limiter(t, s, ratelimit.Policy{Name: "often", Limit: 4096, Window: time.Hour}, nil)
	ctx := context.Background()
	decide := func() ratelimit.Result {
		t.Helper()
		r, err := l.Allow(ctx, "user:1")
		require.NoError(t, err)
		require.True(t, r.Allowed)
		return r
	}
	// A busy machine may make a healthy Redis miss its deadline: ask until it answers.
	awaitAnswer := func() ratelimit.Result {
		t.Helper()
		var r ratelimit.Result
		require.Eventually(t, func() bool { r = decide(); return !r.Degraded }, 20*time.Second, 20*time.Millisecond)
		require.Equal(t, down.Load(), up.Load(), "one event for each change of state")
		return r
	}
	awaitAnswer()
	require.Eventually(t, func() bool { // and use up a good part of it
		r, err := l.AllowN(ctx, "user:1", 1000)
		return err == nil && !r.Degraded
	}, 20*time.Second, 20*time.Millisecond)

	server.Pause()
	require.True(t, decide().Degraded)
	require.True(t, s.Stats().Down)
	server.Continue()
	require.Less(t, awaitAnswer().Remaining, 3096, "what was used before is still known")

	server.Kill()
	require.True(t, decide().Degraded)
	server.Restart() // without its scripts, without its data
	require.Greater(t, awaitAnswer().Remaining, 3096, "an empty Redis is used as it is")
	require.GreaterOrEqual(t, down.Load(), int32(2))
}

// The settings of a client that would hurt are told of once, with what to do about them.
func TestNewWarnsOfTheClient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		client Client
		want   []string
	}{
		"defaults":      {redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}), []string{"MaxRetries"}},
		"ClientOptions": {redis.NewUniversalClient(ClientOptions("127.0.0.1:1")), nil},
		"a Cluster":     {redis.NewUniversalClient(ClientOptions("127.0.0.1:1", "127.0.0.1:2")), nil},
	} {
		var log bytes.Buffer
		store(t, c.client, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.Equal(t, len(c.want), strings.Count(log.String(), "\n"), "%s: %s", name, &log)
		for _, want := range c.want {
			require.Contains(t, log.String(), want)
		}
		require.NoError(t, c.client.(io.Closer).Close())
	}
}

// A cost above this process's share is let through once, and the rest of it is debt.
func TestACostAboveTheShare(t *testing.T) {
	t.Parallel()
	client := redis.NewUniversalClient(ClientOptions(refusedAddr(t)))
	t.Cleanup(func() { client.Close() })
	s := store(t, client, &Options{Instances: 10, Logger: slog.New(slog.DiscardHandler)})
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.Buckets, ratelimit.GCRA} {
		p := ratelimit.Policy{Name: "tokens-" + algorithm.String(), Limit: 100, Window: time.Hour, Algorithm: algorithm}
		l := limiter(t, s, p, nil)
		held, err := l.Reserve(context.Background(), "k", 60)
		require.NoError(t, err)
		require.True(t, held.Result().Allowed && held.Result().Degraded)
		require.Equal(t, 60, held.Result().Cost)
		r, err := l.AllowN(context.Background(), "k", 10)
		require.NoError(t, err)
		require.False(t, r.Allowed)
		require.Greater(t, r.RetryAfter, 4*time.Hour, "60 units at 10 an hour: %v", algorithm)
	}
}
