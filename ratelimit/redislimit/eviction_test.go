package redislimit

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// A Redis that evicts keys is reported, and the evicted keys are counted. One that refuses
// writes instead is not.
func TestEvictionIsReported(t *testing.T) {
	t.Parallel()
	for policy, reported := range map[string]bool{"allkeys-lru": true, "volatile-ttl": true, "noeviction": false} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			server := testserver.Redis(t, "--maxmemory", "4mb", "--maxmemory-policy", policy)
			var log bytes.Buffer
			o := patient()
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			client := dial(t, server.Addr())
			s := store(t, client, o)
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = s.Run(ctx)
			}()
			require.Eventually(t, func() bool { return s.Stats().Calls > 0 }, 10*time.Second, 5*time.Millisecond)
			stop()
			<-ended
			require.Equal(t, map[bool]int{true: 1}[reported], strings.Count(log.String(), policy))
			for i := range 8000 {
				_ = client.Set(t.Context(), "other:"+strconv.Itoa(i), strings.Repeat("x", 1000), time.Hour).Err()
			}
			s.readEviction(t.Context())
			s.readEviction(t.Context())
			require.Equal(t, reported, s.Stats().Evicted > 0)
			require.Equal(t, map[bool]int{true: 1}[reported], strings.Count(log.String(), "has evicted"))
		})
	}
}

// A user of Redis without the right to INFO is reported once, since no eviction would be.
func TestEvictionWithoutInfo(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	server.Do("ACL", "SETUSER", "limits", "on", ">secret", "~*", "&*", "+@all", "-info")
	var log bytes.Buffer
	o := ClientOptions(server.Addr())
	o.Username, o.Password = "limits", "secret"
	client := redis.NewUniversalClient(o)
	t.Cleanup(func() { client.Close() })
	s := store(t, client, &Options{Timeout: 10 * time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s.readEviction(t.Context())
	s.readEviction(t.Context())
	require.Equal(t, 1, strings.Count(log.String(), "allow the command INFO"), log.String())
}
