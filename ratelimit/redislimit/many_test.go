package redislimit

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
)

func between(text, begin, end string) string {
	_, text, _ = strings.Cut(text, begin)
	text, _, _ = strings.Cut(text, end)
	return text
}

// Decisions that share a script are as exact as those that do not: on one key, beside keys with
// weighted logs, beside keys of another kind, with limits of several policies, and after Redis
// has forgotten its scripts.
func TestDecisionsThatShareAScript(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	s := store(t, dial(t, server.Addr()), &Options{Timeout: 10 * time.Second, DenyFor: -1, Logger: slog.New(slog.DiscardHandler)})
	ctx := context.Background()
	small := limiter(t, s, ratelimit.Policy{Name: "small", Limit: 30, Window: time.Hour}, nil)
	large := limiter(t, s, ratelimit.Policy{Name: "large", Limit: 40, Window: 30 * 24 * time.Hour}, nil)
	_, err := small.AllowN(ctx, "user:weighted", 7)
	require.NoError(t, err)
	server.Do("SET", s.redisKey("user:foreign", suffix(&small.policy)), "x")
	server.Do("SCRIPT", "FLUSH")
	before := s.Stats().Calls
	scripts := func() (n int) {
		_, err := fmt.Sscanf(between(fmt.Sprint(server.Do("INFO", "commandstats")), "cmdstat_evalsha:calls=", ","), "%d", &n)
		require.NoError(t, err)
		return n
	}
	sentBefore := scripts()
	server.Do("CLIENT", "PAUSE", "500", "ALL") // so that callers queue, whatever the processors do

	keys := []string{"user:1", "user:2", "user:weighted", "user:foreign", "user:3"}
	allowed := make(map[string]*atomic.Int64)
	for _, key := range keys {
		allowed["small"+key], allowed["large"+key] = new(atomic.Int64), new(atomic.Int64)
	}
	var held sync.Map
	var wg sync.WaitGroup
	for i := range 600 {
		wg.Go(func() {
			key := keys[i%len(keys)]
			if i/len(keys)%2 == 0 {
				r, err := large.Reserve(ctx, key, 1)
				if err != nil {
					t.Error(err)
				}
				if r.Result().Allowed {
					allowed["large"+key].Add(1)
					held.Store(r, key)
				}
				return
			}
			r, err := small.Allow(ctx, key)
			if err != nil || r.Degraded != (key == "user:foreign") {
				t.Error(key, r, err)
			}
			if r.Allowed {
				allowed["small"+key].Add(1)
			}
		})
	}
	wg.Wait()
	for key, n := range allowed {
		want := map[bool]int64{true: 30, false: 40}[key[:5] == "small"]
		if key == "smalluser:weighted" {
			want -= 7
		}
		require.Equal(t, want, n.Load(), key)
	}
	calls := s.Stats().Calls - before
	require.Less(t, scripts()-sentBefore, int(calls)/2, "the decisions have shared few scripts")

	// Each unit has an instant of its own, so a reservation gives back its own unit.
	n := 0
	held.Range(func(r, key any) bool {
		if n++; key == "user:1" {
			require.NoError(t, r.(*ratelimit.Reservation).Cancel(ctx))
		}
		return true
	})
	require.Equal(t, 200, n)
	for i, key := range keys[:2] {
		r, err := large.Peek(ctx, key)
		require.NoError(t, err)
		require.Equal(t, 40-40*i, r.Remaining, key)
		require.LessOrEqual(t, r.ResetAfter, large.policy.Window)
	}
}

// A unit that shares a script counts from its own instant: it is free one window later.
func TestInstantsOfASharedScript(t *testing.T) {
	t.Parallel()
	s := store(t, dial(t, testserver.Redis(t).Addr()), &Options{Timeout: 10 * time.Second, DenyFor: -1})
	l := limiter(t, s, ratelimit.Policy{Name: "short", Limit: 50, Window: 400 * time.Millisecond}, nil)
	var mu sync.Mutex
	var admitted []time.Time
	start := time.Now()
	end := start.Add(2 * time.Second)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			for time.Now().Before(end) {
				r, err := l.Allow(context.Background(), fmt.Sprint("user:", i%2))
				if err != nil {
					t.Error(err)
					return
				}
				if r.Allowed && i%2 == 0 {
					mu.Lock()
					admitted = append(admitted, time.Now())
					mu.Unlock()
				}
				if !r.Allowed {
					time.Sleep(min(r.RetryAfter, 20*time.Millisecond))
				}
			}
		})
	}
	wg.Wait()
	// The windows that begin in 2 s, or in what the last answers took beyond that.
	require.LessOrEqual(t, len(admitted), 50*int(time.Since(start)/l.policy.Window+1))
	require.GreaterOrEqual(t, len(admitted), 50*3)
}

// A server that refuses scripts with the keys of several callers, such as a proxy or a node of a
// Cluster, gets a script for each decision, and no decision is lost.
func TestAServerThatRefusesSharedScripts(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	client := dial(t, server.Addr())
	hook := new(refuseShared)
	client.AddHook(hook)
	s := store(t, client, &Options{Timeout: 10 * time.Second, DenyFor: -1, Logger: slog.New(slog.DiscardHandler)})
	l := limiter(t, s, ratelimit.Policy{Name: "p", Limit: 10, Window: time.Hour, OnFailure: ratelimit.FailClosed}, nil)
	var allowed atomic.Int64
	var wg sync.WaitGroup
	server.Do("CLIENT", "PAUSE", "500", "ALL") // so that callers queue, whatever the processors do
	for i := range 400 {
		wg.Go(func() {
			r, err := l.Allow(context.Background(), fmt.Sprint("user:", i%20))
			if err != nil {
				t.Error(err)
			}
			if r.Allowed {
				allowed.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 200, allowed.Load())
	require.Positive(t, hook.refused.Load(), "no script was shared")
	refused := hook.refused.Load()
	require.LessOrEqual(t, refused, int64(maxLanes*2), "and it is tried once")

	// The refusal is not for ever: a full server refuses too.
	s.base = s.base.Add(-apartFor)
	server.Do("CLIENT", "PAUSE", "500", "ALL")
	for i := range 100 {
		wg.Go(func() { _, _ = l.Allow(context.Background(), fmt.Sprint("user:", i)) })
	}
	wg.Wait()
	require.Greater(t, hook.refused.Load(), refused, "a minute later it is tried again")
}

// refuseShared refuses scripts with more than one key.
type refuseShared struct {
	resender
	refused atomic.Int64
}

type refusal struct{}

func (refusal) Error() string { return "ERR keys of several subjects" }
func (refusal) RedisError()   {}

func (h *refuseShared) refuses(cmd redis.Cmder) bool {
	args := cmd.Args()
	if len(args) < 3 || args[1] != any(manyScript.sha) && args[1] != any(manyScript.source) {
		return false
	}
	h.refused.Add(1)
	cmd.SetErr(refusal{})
	return true
}

func (h *refuseShared) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.refuses(cmd) {
			return refusal{}
		}
		return next(ctx, cmd)
	}
}

func (h *refuseShared) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		var others []redis.Cmder
		for _, cmd := range cmds {
			if !h.refuses(cmd) {
				others = append(others, cmd)
			}
		}
		if len(others) == 0 {
			return nil
		}
		return next(ctx, others)
	}
}
