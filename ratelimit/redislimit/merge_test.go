package redislimit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
)

// onMerge runs functions around the next merge of a client.
type onMerge struct {
	resender
	mu            sync.Mutex
	before, after func() error
}

func (m *onMerge) next(before, after func() error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before, m.after = before, after
}

func (m *onMerge) around(cmds []redis.Cmder, send func() error) error {
	isMerge := slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool {
		text := cmd.Args()[min(1, len(cmd.Args())-1)]
		return text == any(mergeScript.source) || text == any(gcraMerge.source)
	})
	var before, after func() error
	if isMerge {
		m.mu.Lock()
		before, after = m.before, m.after
		m.before, m.after = nil, nil
		m.mu.Unlock()
	}
	if before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	if err := send(); err != nil || after == nil {
		return err
	}
	return after()
}

func (m *onMerge) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	next = m.resender.ProcessHook(next)
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := m.around([]redis.Cmder{cmd}, func() error { return next(ctx, cmd) })
		if err != nil {
			cmd.SetErr(err)
		}
		return err
	}
}

func (m *onMerge) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	next = m.resender.ProcessPipelineHook(next)
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := m.around(cmds, func() error { return next(ctx, cmds) })
		for _, cmd := range cmds {
			if err != nil && cmd.Err() == nil {
				cmd.SetErr(err)
			}
		}
		return err
	}
}

// away is a limiter of 5 an hour whose Redis is down, and a hook on the merges to come.
type away struct {
	*Limiter
	server *testserver.RedisServer
	merge  *onMerge
	slack  int // units of GCRA that are on their way are not given back in full
}

func eachAway(t *testing.T, f func(t *testing.T, l away)) {
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.Buckets, ratelimit.GCRA} {
		t.Run(algorithm.String(), func(t *testing.T) {
			t.Parallel()
			server := testserver.Redis(t)
			client := dial(t, server.Addr())
			l := away{server: server, merge: new(onMerge)}
			client.AddHook(l.merge)
			s := store(t, client, &Options{
				Timeout: 5 * time.Second, BreakerFailures: 1, BreakerOpen: 20 * time.Millisecond, DenyFor: -1, Logger: slog.New(slog.DiscardHandler),
			})
			p := login()
			p.Algorithm = algorithm
			if algorithm == ratelimit.GCRA {
				l.slack = 1
			}
			l.Limiter = limiter(t, s, p, nil)
			server.Kill()
			f(t, l)
		})
	}
}

// back restarts Redis without its data and waits until all uses are merged.
func (l away) back(t *testing.T) {
	t.Helper()
	l.server.Restart()
	require.Eventually(t, func() bool {
		r, err := l.Peek(context.Background(), "user:other")
		return err == nil && !r.Degraded && l.store.Stats().Unmerged == 0
	}, 20*time.Second, 20*time.Millisecond)
}

// left is what another process finds.
func (l away) left(t *testing.T) int {
	t.Helper()
	r, err := limiter(t, store(t, dial(t, l.server.Addr()), patient()), l.policy, nil).Peek(context.Background(), "user:1")
	require.NoError(t, err)
	require.False(t, r.Degraded)
	return r.Remaining
}

// A decision does not overtake the merge of its key.
func TestADecisionDuringAMerge(t *testing.T) {
	t.Parallel()
	eachAway(t, func(t *testing.T, l away) {
		for range 5 {
			r, err := l.Allow(context.Background(), "user:1")
			require.NoError(t, err)
			require.True(t, r.Allowed && r.Degraded)
		}
		got := make(chan ratelimit.Result, 1)
		l.merge.next(func() error {
			go func() {
				r, err := l.Allow(context.Background(), "user:1")
				if err != nil {
					t.Error(err)
				}
				got <- r
			}()
			time.Sleep(200 * time.Millisecond)
			return nil
		}, nil)
		l.back(t)
		require.False(t, (<-got).Allowed, "a sixth use of 5 in an hour")
		require.Zero(t, l.left(t))
	})
}

// A reservation that is settled while its use is merged gets its final cost on Redis.
func TestASettlementDuringAMerge(t *testing.T) {
	t.Parallel()
	for name, during := range map[string]func(l away, settle func() error){
		"before the command": func(l away, settle func() error) { l.merge.next(settle, nil) },
		"before the reply":   func(l away, settle func() error) { l.merge.next(nil, settle) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachAway(t, func(t *testing.T, l away) {
				r, err := l.Reserve(context.Background(), "user:1", 4)
				require.NoError(t, err)
				require.True(t, r.Result().Allowed)
				during(l, func() error { return r.Settle(context.Background(), 1) })
				l.back(t)
				require.InDelta(t, 4, l.left(t), float64(l.slack))
				require.NoError(t, r.Cancel(context.Background())) // the first Settle decides
				require.InDelta(t, 4, l.left(t), float64(l.slack))
			})
		})
	}
}

// A merge that Redis gets twice counts once.
func TestAMergeThatComesTwice(t *testing.T) {
	t.Parallel()
	for name, twice := range map[string]func(away){
		"sent twice":     func(l away) { l.merge.on.Store(true) },
		"its reply lost": func(l away) { l.merge.next(nil, func() error { return errors.New("connection reset") }) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachAway(t, func(t *testing.T, l away) {
				held, err := l.Reserve(context.Background(), "user:1", 2)
				require.NoError(t, err)
				_, err = l.Allow(context.Background(), "user:1")
				require.NoError(t, err)
				twice(l)
				l.back(t)
				require.Equal(t, 2, l.left(t))
				require.NoError(t, held.Cancel(context.Background()))
				if l.policy.Algorithm != ratelimit.GCRA { // it cannot know how much has flowed in
					require.Equal(t, 4, l.left(t))
				}
			})
		})
	}
}

// Uses from before a Reset of the key, also by another process, are not merged.
func TestAResetDuringAMerge(t *testing.T) {
	t.Parallel()
	eachAway(t, func(t *testing.T, l away) {
		held, err := l.Reserve(context.Background(), "user:1", 5)
		require.NoError(t, err)
		time.Sleep(time.Second) // a use looks as much later as its merge was under way
		other := store(t, dial(t, l.server.Addr()), patient())
		l.merge.next(func() error {
			return limiter(t, other, l.policy, nil).Reset(context.Background(), "user:1")
		}, nil)
		l.back(t)
		require.Equal(t, 5, l.left(t))
		_, err = limiter(t, other, l.policy, nil).AllowN(context.Background(), "user:1", 3)
		require.NoError(t, err)
		require.NoError(t, held.Cancel(context.Background()))
		require.Equal(t, 2, l.left(t), "a cancellation of uses that the reset had freed")
	})
}

// A node that refuses writes is away, also for a decision that only reads: its uses are merged
// afterwards, and no key gets its limit twice.
func TestANodeThatRefusesWrites(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ refuse, accept []any }{
		"OOM":        {[]any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}},
		"NOREPLICAS": {[]any{"CONFIG", "SET", "min-replicas-to-write", "1"}, []any{"CONFIG", "SET", "min-replicas-to-write", "0"}},
		"READONLY":   {[]any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"}},
	} {
		for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.GCRA} {
			t.Run(name+" "+algorithm.String(), func(t *testing.T) {
				t.Parallel()
				ctx := context.Background()
				server := testserver.Redis(t)
				client := dial(t, server.Addr())
				s := store(t, client, &Options{
					Timeout: 5 * time.Second, BreakerFailures: 1, BreakerOpen: 20 * time.Millisecond, DenyFor: -1, Logger: slog.New(slog.DiscardHandler),
				})
				s.single.breaker.span = 0
				p := login()
				p.Algorithm = algorithm
				l := limiter(t, s, p, nil)
				_, err := l.Allow(ctx, "user:warm")
				require.NoError(t, err)
				require.NoError(t, client.Do(ctx, c.refuse...).Err())
				for i := range 5 {
					r, err := l.Allow(ctx, "user:1")
					require.NoError(t, err)
					require.True(t, r.Allowed && r.Degraded, "use %d: %+v", i, r)
				}
				for range 5 {
					time.Sleep(25 * time.Millisecond) // a probe is due
					r, err := l.Peek(ctx, "user:2")
					require.NoError(t, err)
					require.True(t, r.Degraded, "a decision that only reads: %+v", r)
					require.True(t, s.Stats().Down)
				}
				require.NoError(t, client.Do(ctx, c.accept...).Err())
				require.Eventually(t, func() bool {
					r, err := l.Peek(ctx, "user:1")
					return err == nil && !r.Degraded && s.Stats().Unmerged == 0
				}, 20*time.Second, 20*time.Millisecond)
				r, err := l.Allow(ctx, "user:1")
				require.NoError(t, err)
				require.False(t, r.Allowed, "a sixth use of 5 in an hour")
				require.Zero(t, s.Stats().Forgotten)
			})
		}
	}
}

// Uses of a key that holds something else can never be merged, and are counted.
func TestUsesOfAForeignKey(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	s := store(t, dial(t, server.Addr()), patient())
	l := limiter(t, s, login(), nil)
	server.Do("SET", s.redisKey("user:1", l.suffix), "no log")
	for range 3 {
		r, err := l.Allow(context.Background(), "user:1")
		require.NoError(t, err)
		require.True(t, r.Allowed && r.Degraded)
	}
	require.EqualValues(t, 3, s.Stats().Forgotten)
	require.Zero(t, s.Stats().Unmerged)
	require.False(t, s.Stats().Down)
}

// Uses that are never merged are counted: those that Redis refuses, and those beyond the bound.
func TestForgottenUses(t *testing.T) {
	t.Parallel()
	eachAway(t, func(t *testing.T, l away) {
		_, err := l.AllowN(context.Background(), "user:1", 2)
		require.NoError(t, err)
		l.merge.next(func() error {
			key := l.store.redisKey("user:1", l.suffix)
			if l.gcra != nil {
				key = gcraPrefix + key
			}
			l.server.Do("SET", key, "no log")
			return nil
		}, nil)
		l.back(t)
		require.EqualValues(t, 1, l.store.Stats().Forgotten)

		l.server.Kill()
		l.store.outage.mu.Lock()
		l.store.outage.n = maxUnmerged
		l.store.outage.mu.Unlock()
		r, err := l.Allow(context.Background(), "user:2")
		require.NoError(t, err)
		require.True(t, r.Allowed && r.Degraded)
		require.EqualValues(t, 2, l.store.Stats().Forgotten)
	})
}

// Many callers use keys up while Redis stops and comes back. No key gets more than its limit.
func TestKeysOverOutages(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	o := ClientOptions(server.Addr())
	o.ReadTimeout, o.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
	client := redis.NewUniversalClient(o)
	t.Cleanup(func() { client.Close() })
	s := store(t, client, &Options{
		Timeout: 100 * time.Millisecond, BreakerFailures: 2, BreakerOpen: 5 * time.Millisecond, DenyFor: -1, Logger: slog.New(slog.DiscardHandler),
	})
	l := limiter(t, s, login(), nil)
	const keys = 20
	for cycle := range 6 {
		var allowed [keys]atomic.Int64
		var onRedis atomic.Int64
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		var wg sync.WaitGroup
		server.Pause()
		for i := range 8 {
			wg.Go(func() {
				for n := i; ctx.Err() == nil; n++ {
					r, err := l.Allow(ctx, fmt.Sprint("user:", cycle, ":", n%keys))
					if err != nil {
						continue
					}
					if r.Allowed {
						allowed[n%keys].Add(1)
					}
					if !r.Degraded {
						onRedis.Add(1)
					}
				}
			})
		}
		time.Sleep(time.Duration(cycle) * 60 * time.Millisecond) // from none used up to all
		server.Continue()
		for start := onRedis.Load(); onRedis.Load() < start+10*keys && ctx.Err() == nil; {
			time.Sleep(5 * time.Millisecond)
		}
		require.NoError(t, ctx.Err(), "no decision on Redis after the outage")
		cancel()
		wg.Wait()
		for i := range allowed {
			require.LessOrEqual(t, allowed[i].Load(), int64(5), "cycle %d, key %d", cycle, i)
		}
	}
}
