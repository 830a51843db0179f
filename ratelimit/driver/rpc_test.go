package driver_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/driver"
)

// An interceptor refuses the rules that the middleware of net/http refuses.
func TestRulesAreChecked(t *testing.T) {
	t.Parallel()
	limiter := func(name string) ratelimit.Limiter {
		l, err := ratelimit.NewMemory(ratelimit.Policy{Name: name, Limit: 5, Window: time.Hour}, nil)
		require.NoError(t, err)
		return l
	}
	key := func(context.Context, string) string { return "k" }
	type rules = []driver.Rule[string]
	for want, list := range map[string]rules{
		"rpc: rule 0 needs a Limiter and a Key":                                      {{Limiter: limiter("a")}},
		`rpc: rules 0 and 1 both have a policy "a"`:                                  {{Limiter: limiter("a"), Key: key}, {Limiter: limiter("a"), Key: key}},
		"rpc: rule 1: Delay must not be negative, and does not go with FailuresOnly": {{Limiter: limiter("a"), Key: key}, {Limiter: limiter("b"), Key: key, Delay: -1}},
		"rpc: rule 0: Delay must not be negative, and does not go with FailuresOnly": {{Limiter: limiter("a"), Key: key, Delay: time.Second, FailuresOnly: true}},
	} {
		_, err := driver.NewRules("rpc", list)
		require.ErrorContains(t, err, want)
	}
	checked, err := driver.NewRules("rpc", rules{{Limiter: limiter("a"), Key: key}, {Limiter: limiter("b"), Key: key, Delay: time.Second}})
	require.NoError(t, err)
	a, err := checked.Admit(t.Context(), "call")
	require.NoError(t, err)
	require.True(t, a.Decision().Allowed)
}
