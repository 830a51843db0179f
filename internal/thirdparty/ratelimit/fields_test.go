package ratelimit_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Another reader of RFC 9651 finds in RateLimit and RateLimit-Policy what was decided.
func TestFieldsByAnotherReader(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var checks []ratelimit.Check
		for i := range 1 + rnd.IntN(4) {
			p := ratelimit.Policy{Name: "p" + strconv.Itoa(i), Limit: 1 + rnd.IntN(1<<20), Window: time.Second + time.Duration(rnd.Int64N(int64(48*time.Hour)))}
			l, err := ratelimit.NewMemory(p, nil)
			require.NoError(t, err)
			checks = append(checks, ratelimit.Check{Limiter: l, Key: "k", Cost: 1 + rnd.IntN(p.Limit)})
		}
		d, err := ratelimit.Decide(context.Background(), checks...)
		require.NoError(t, err)
		h := http.Header{}
		d.WriteHeaders(h)
		limits, err := httpsfv.UnmarshalList(h["Ratelimit"])
		require.NoError(t, err)
		policies, err := httpsfv.UnmarshalList(h["Ratelimit-Policy"])
		require.NoError(t, err)
		require.Len(t, limits, len(checks))
		for i, r := range d.Results {
			limit, policy := limits[i].(httpsfv.Item), policies[i].(httpsfv.Item)
			require.Equal(t, r.Policy, limit.Value)
			require.Equal(t, r.Policy, policy.Value)
			left, _ := limit.Params.Get("r")
			require.EqualValues(t, r.Remaining, left)
			w, _ := policy.Params.Get("w")
			require.GreaterOrEqual(t, w.(int64), int64((r.Window+time.Second-1)/time.Second), "w is never shorter than the window")
		}
	}
}
