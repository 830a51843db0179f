package driver_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
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

// A mistake of the service is logged for every adapter, once a minute for each policy and cause.
// It sets the default logger, so it does not run beside other tests.
func TestMistakesAreLogged(t *testing.T) { //nolint:paralleltest // see above
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	limiter := func(name string, o *ratelimit.Options) ratelimit.Limiter {
		l, err := ratelimit.NewMemory(ratelimit.Policy{Name: name, Limit: 5, Window: time.Hour}, o)
		require.NoError(t, err)
		return l
	}
	for _, rule := range []driver.Rule[string]{
		{Limiter: limiter("no-key", nil), Key: func(context.Context, string) string { return "" }},
		{Limiter: limiter("no-cost", nil), Key: func(context.Context, string) string { return "k" }, Cost: func(context.Context, string) int { return -1 }},
		{Limiter: limiter("too-much", &ratelimit.Options{LimitFunc: func(context.Context, string) (int, bool) { return 1<<30 + 1, true }}), Key: func(context.Context, string) string { return "k" }},
	} {
		log.Reset()
		rules, err := driver.NewRules("rpc", []driver.Rule[string]{{Limiter: limiter("fine", nil), Key: func(context.Context, string) string { return "k" }}, rule})
		require.NoError(t, err)
		for range 3 {
			_, err := rules.Admit(t.Context(), "call")
			require.Error(t, err)
		}
		require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
		require.Contains(t, log.String(), rule.Limiter.Policy().Name)
	}
}

// A call of cost 0 can be charged.
func TestACallOfCost0(t *testing.T) {
	t.Parallel()
	l, err := ratelimit.NewMemory(ratelimit.Policy{Name: "tokens", Limit: 5, Window: time.Hour}, nil)
	require.NoError(t, err)
	rules, err := driver.NewRules("rpc", []driver.Rule[string]{{
		Limiter: l, Key: func(context.Context, string) string { return "k" }, Cost: func(context.Context, string) int { return 0 },
	}})
	require.NoError(t, err)
	a, err := rules.Admit(t.Context(), "call")
	require.NoError(t, err)
	require.NoError(t, a.Charge(3, "tokens"))
	r, err := l.Peek(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, 2, r.Remaining)
}
