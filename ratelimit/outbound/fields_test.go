package outbound

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Forerunners of RateLimit are obeyed as well, and malformed values are not.
func TestFieldsOfEarlierDrafts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fields map[string]string
		want   time.Duration
	}{
		{map[string]string{"RateLimit-Remaining": "0", "RateLimit-Reset": "7"}, 7 * time.Second},
		{map[string]string{"RateLimit": "limit=10, remaining=0, reset=9"}, 9 * time.Second},
		{map[string]string{"RateLimit": "limit=10, remaining=3, reset=9"}, 0},
		{map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "11"}, 11 * time.Second},
		{map[string]string{"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "11"}, 0},
		{map[string]string{"RateLimit": `"a";r=0;t=5, "b";r=2;t=60`, "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99"}, 5 * time.Second},
		{map[string]string{"Retry-After": "soon", "RateLimit-Remaining": "0"}, 0},
		{map[string]string{"Retry-After": "-5"}, 0},
		{map[string]string{"Retry-After": "99999999999999999999"}, 24 * time.Hour},
		{map[string]string{"Retry-After": "-99999999999999999999"}, 0},
		{map[string]string{"RateLimit": `"a";r=0;t=99999999999999999999`}, 24 * time.Hour},
		{map[string]string{"RateLimit": `"a";r=99999999999999999999;t=5`}, 0},
		{map[string]string{"RateLimit-Remaining": "0", "RateLimit-Reset": "99999999999999999999"}, 24 * time.Hour},
		{map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1790000005"}, 5 * time.Second},
		{map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1790000005000"}, 5 * time.Second},
		{map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1790000005000000"}, 5 * time.Second},
		{map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1790000005000000000"}, 5 * time.Second},
		{map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1789999995000"}, 0},
		{map[string]string{"Retry-After": "9999999"}, 24 * time.Hour},
	} {
		h := http.Header{}
		for k, v := range c.fields {
			h.Set(k, v)
		}
		got, _ := asked(http.StatusTooManyRequests, h, time.Unix(1_790_000_000, 0))
		require.Equal(t, c.want, got, c.fields)
	}
}

// Retry-After stops the host only in an answer that refuses a request. The fields of a limit
// always count.
func TestStatusDecidesWhatRetryAfterMeans(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]time.Duration{200: 0, 202: 0, 301: 0, 307: 0, 403: time.Minute, 413: time.Minute, 429: time.Minute, 503: time.Minute} {
		got, _ := asked(status, http.Header{"Retry-After": {"60"}}, time.Now())
		require.Equal(t, want, got, status)
	}
	got, _ := asked(202, http.Header{"Retry-After": {"120"}, "Ratelimit": {`"a";r=0;t=5`}}, time.Now())
	require.Equal(t, 5*time.Second, got)
}
