package redislimit

import (
	"context"
	"net"
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

func (*resender) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
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
