package rediscache_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache/rediscache"
)

// TestRefusedClients: New refuses clients that may read an old value after a write, and names
// what to use instead.
func TestRefusedClients(t *testing.T) {
	t.Parallel()
	addrs := []string{"127.0.0.1:1"}
	for text, c := range map[string]redis.UniversalClient{
		"ClusterClient or a Sentinel client": redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": addrs[0]}}),
		"ReadOnly":                           redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, ReadOnly: true}),
		"RouteByLatency":                     redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, RouteByLatency: true}),
		"RouteRandomly": redis.NewFailoverClusterClient(&redis.FailoverOptions{
			MasterName: "m", SentinelAddrs: addrs, RouteRandomly: true,
		}),
	} {
		if s, err := rediscache.New(c, nil); s != nil || err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
		_ = c.Close()
	}
}
