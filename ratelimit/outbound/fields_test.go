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
		{map[string]string{"Retry-After": "99999999999999999999"}, 0},
		{map[string]string{"Retry-After": "9999999"}, 24 * time.Hour},
	} {
		h := http.Header{}
		for k, v := range c.fields {
			h.Set(k, v)
		}
		got, _ := asked(h, time.Now())
		require.Equal(t, c.want, got, c.fields)
	}
}
