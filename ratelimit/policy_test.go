package ratelimit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRates: the texts that operators write, and that they read again.
func TestRates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Policy{
		"5/1h":      {Limit: 5, Window: time.Hour},
		" 100/30m ": {Limit: 100, Window: 30 * time.Minute},
		"10 / s":    {Limit: 10, Window: time.Second},
		"1000/d":    {Limit: 1000, Window: 24 * time.Hour},
		"7/30d":     {Limit: 7, Window: 30 * 24 * time.Hour},
		"OFF":       {Limit: Unlimited},
	} {
		want.Name = "p"
		got, err := ParsePolicy("p", text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
		if want.Limit != Unlimited {
			again, err := ParsePolicy("p", got.String())
			require.NoError(t, err, got.String())
			assert.Equal(t, want, again)
		}
	}
	for _, text := range []string{
		"", "5", "5/", "/1h", "0/1h", "-1/1h", "+5/1h", "5/1x", "5/0s", "5/-1h", "5/0d", "5/31d", "5/1.5d", "1e3/1h", "5/1h/2", "99999999999999999999/1h", "on",
	} {
		p := Policy{Name: "p", Limit: 3, Window: time.Minute}
		require.Error(t, p.Set(text), text)
		assert.Equal(t, Policy{Name: "p", Limit: 3, Window: time.Minute}, p, "a rejected text changed the policy")
	}
	_, err := ParsePolicy("a name", "5/1h")
	require.ErrorContains(t, err, "use a letter")
}
