package redislimit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
)

// A key that expires before its newest unit has left the window forgets it. Each script
// sets the expiry in its own way, and not always; here they take turns.
func TestKeysOutliveTheirUnits(t *testing.T) {
	t.Parallel()
	client := dial(t, testserver.Redis(t).Addr())
	ctx := t.Context()
	o := patient()
	o.DenyFor = -1
	s := store(t, client, o)
	p := ratelimit.Policy{Name: "expiry", Limit: 4096, Window: time.Second}
	l := limiter(t, s, p, nil)
	other := p
	other.Name = "other"
	beside := limiter(t, s, other, nil)

	refreshed := 0
	var last time.Duration
	for start, i := time.Now(), 0; time.Since(start) < 200*time.Millisecond || refreshed <= 3; i++ {
		before := time.Now()
		var r ratelimit.Result
		if i%97 == 96 { // by the script that decides about several keys
			d, err := ratelimit.Decide(ctx, ratelimit.Check{Limiter: l, Key: "k", Cost: 1}, ratelimit.Check{Limiter: beside, Key: "k", Cost: 1})
			require.NoError(t, err)
			r = d.Results[0]
		} else {
			var err error
			r, err = l.Allow(ctx, "k")
			require.NoError(t, err)
		}
		require.False(t, r.Degraded)
		if !r.Allowed {
			break
		}
		left, err := client.PTTL(ctx, s.redisKey("k", l.suffix)).Result()
		require.NoError(t, err)
		require.GreaterOrEqual(t, left+time.Since(before)+time.Millisecond, r.ResetAfter) // PTTL is in whole milliseconds
		if left > last {
			refreshed++
		}
		last = left
	}
	require.Greater(t, refreshed, 3, "several steps of a 64th of the window")
}
