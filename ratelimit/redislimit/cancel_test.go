package redislimit

import (
	"context"
	"net"
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

// resender sends every command twice, as a client does that has lost the answer.
type resender struct{ on atomic.Bool }

func (*resender) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (r *resender) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if r.on.Load() {
			if err := next(ctx, cmd); err != nil {
				return err
			}
		}
		return next(ctx, cmd)
	}
}

func (r *resender) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if r.on.Load() {
			if err := next(ctx, cmds); err != nil {
				return err
			}
		}
		return next(ctx, cmds)
	}
}

// Units of others would be given back by the second time.
func TestACancelThatIsSentTwiceGivesBackOnce(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	client := dial(t, testserver.Redis(t).Addr())
	twice := new(resender)
	client.AddHook(twice)
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.Exact, ratelimit.Buckets, ratelimit.GCRA} {
		t.Run(algorithm.String(), func(t *testing.T) {
			l := limiter(t, store(t, client, patient()), ratelimit.Policy{
				Name: "cancel-" + algorithm.String(), Limit: 100, Window: 30 * 24 * time.Hour, Algorithm: algorithm,
			}, nil)
			_, err := l.AllowN(ctx, "key", 50)
			require.NoError(t, err)
			r, err := l.Reserve(ctx, "key", 10)
			require.NoError(t, err)
			require.Equal(t, 40, r.Result().Remaining)
			twice.on.Store(true)
			err = r.Cancel(ctx)
			twice.on.Store(false)
			require.NoError(t, err)
			got, err := l.Peek(ctx, "key")
			require.NoError(t, err)
			require.Equal(t, 50, got.Remaining)
			require.NoError(t, r.Cancel(ctx))
		})
	}
}

// meanwhile runs a function before the next command is sent, or after its reply. Heartbeats
// are no such command.
type meanwhile struct {
	resender
	mu            sync.Mutex
	before, after func()
}

func (m *meanwhile) next(before, after func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before, m.after = before, after
}

func (m *meanwhile) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd != nil && slices.Contains(cmd.Args(), any("rl:{instances}")) {
			return next(ctx, cmd)
		}
		m.mu.Lock()
		before, after := m.before, m.after
		m.before, m.after = nil, nil
		m.mu.Unlock()
		if before != nil {
			before()
		}
		err := next(ctx, cmd)
		if after != nil {
			after()
		}
		return err
	}
}

func (m *meanwhile) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return m.ProcessHook(func(ctx context.Context, _ redis.Cmder) error { return next(ctx, cmds) })(ctx, nil)
	}
}

// Who has been told that units are given back gets them, also when others were denied
// while that was under way.
func TestADenialDoesNotOutliveWhatGivesBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	client := dial(t, testserver.Redis(t).Addr())
	hook := new(meanwhile)
	client.AddHook(hook)
	l := limiter(t, store(t, client, patient()), ratelimit.Policy{Name: "one", Limit: 1, Window: time.Hour}, nil)
	deny := func() {
		r, err := l.Allow(ctx, "key")
		require.NoError(t, err)
		require.False(t, r.Allowed)
	}
	for name, give := range map[string]func(r *ratelimit.Reservation) error{
		"Cancel": func(r *ratelimit.Reservation) error { return r.Cancel(ctx) },
		"Reset":  func(*ratelimit.Reservation) error { return l.Reset(ctx, "key") },
	} {
		take := func() *ratelimit.Reservation {
			r, err := l.Reserve(ctx, "key", 1)
			require.NoError(t, err)
			require.True(t, r.Result().Allowed, "the unit that %s gave back is denied", name)
			return r
		}
		r := take()
		hook.next(deny, nil) // it is denied, and then the unit is given back
		require.NoError(t, give(r))
		r = take()
		hook.next(nil, func() { require.NoError(t, give(r)) }) // it is told so when that has happened
		deny()
		require.NoError(t, give(take()))
	}
}

// Two limiters of one policy share a key: each check would find what is left before the
// other, and both would take it.
func TestOneKeyTwiceInABatch(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := store(t, dial(t, testserver.Redis(t).Addr()), patient())
	a, b := limiter(t, s, login(), nil), limiter(t, s, login(), nil)
	_, err := ratelimit.Decide(ctx, ratelimit.Check{Limiter: a, Key: "key", Cost: 1}, ratelimit.Check{Limiter: b, Key: "key", Cost: 1})
	require.ErrorIs(t, err, ratelimit.ErrDuplicateCheck)
	r, err := a.Peek(ctx, "key")
	require.NoError(t, err)
	require.Equal(t, 5, r.Remaining)
}
