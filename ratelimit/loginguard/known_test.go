package loginguard_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/loginguard"
	"github.com/mainstay-go/mainstay/ratelimit/redislimit"
)

// noted are the events of a guard.
type noted struct {
	mu   sync.Mutex
	list []loginguard.Event
}

func (n *noted) add(_ context.Context, e loginguard.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, e)
}

func (n *noted) of(kind loginguard.Kind) (list []loginguard.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.list {
		if e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

// tagged is a limiter of a service. Its type is not comparable.
type tagged struct {
	ratelimit.Limiter
	tags []string
}

func newTagged(p ratelimit.Policy) (ratelimit.Limiter, error) {
	m, err := ratelimit.NewMemory(p, nil)
	return tagged{m, []string{p.Name}}, err
}

// A client behind an address that many accounts share cannot try all of them. Devices stay known.
func TestSprayingFromAKnownAddress(t *testing.T) {
	t.Parallel()
	for _, challenge := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var events noted
			o := loginguard.Options{Notify: events.add, Limiter: newTagged}
			if challenge {
				o.Challenge = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPreconditionRequired) })
			}
			s := newSite(t, o)
			var device []*http.Cookie
			for i := range 300 {
				device = s.post("203.0.113.5:1", fmt.Sprint("user", i), "right").Result().Cookies()
			}
			s.reached.Store(0)
			for range 5 {
				for i := range 300 {
					s.post("203.0.113.5:1", fmt.Sprint("user", i), "Summer2026!")
				}
			}
			require.EqualValues(t, 50+5, s.reached.Load(), "as a known address, and then as a stranger")
			sprayed := events.of(loginguard.Sprayed)
			require.Len(t, sprayed, 1)
			require.Equal(t, "login-known-address", sprayed[0].Policy)
			require.Equal(t, 200, s.post("203.0.113.5:1", "user299", "right", device...).Code, "a known device")
			want := http.StatusTooManyRequests
			if challenge {
				want = http.StatusPreconditionRequired
			}
			require.Equal(t, want, s.post("203.0.113.5:1", "user7", "right").Code)
			require.Equal(t, 200, s.post("192.0.2.1:1", "user7", "right").Code, "another address")
			time.Sleep(time.Hour + time.Second)
			require.Equal(t, 200, s.post("203.0.113.5:1", "user7", "right").Code, "it is known again")
		})
	}
}

// Failures that end together are one exhaustion, and count one strike.
func TestOneStrikeAnExhaustion(t *testing.T) {
	t.Parallel()
	onRedis := func(t *testing.T) func(ratelimit.Policy) (ratelimit.Limiter, error) {
		client := redis.NewUniversalClient(redislimit.ClientOptions(testserver.Redis(t).Addr()))
		t.Cleanup(func() { client.Close() })
		store, err := redislimit.New(client, &redislimit.Options{Timeout: 10 * time.Second, DenyFor: time.Millisecond})
		require.NoError(t, err)
		return func(p ratelimit.Policy) (ratelimit.Limiter, error) { return store.Limiter(p, nil) }
	}
	strikes := func(t *testing.T, limiter func(ratelimit.Policy) (ratelimit.Limiter, error)) {
		var events noted
		g := guard(t, loginguard.Options{
			Limiter: limiter, Notify: events.add,
			Address: ratelimit.Policy{Name: "login", Limit: 5, Window: 2 * time.Second},
		})
		together := func() {
			var arrived, ended sync.WaitGroup
			arrived.Add(5)
			s := &site{handler: g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				arrived.Done()
				arrived.Wait()
			}))}
			for i := range 5 {
				ended.Go(func() { s.post("203.0.113.5:1", fmt.Sprint("user", i), "wrong") })
			}
			ended.Wait()
		}
		penalties := func() (list []time.Duration) {
			for _, e := range events.of(loginguard.Penalized) {
				list = append(list, e.Wait)
			}
			return list
		}
		together()
		require.Empty(t, penalties(), "the first one is refused for a window")
		time.Sleep(2100 * time.Millisecond)
		together()
		require.Equal(t, []time.Duration{4 * time.Second}, penalties())
		time.Sleep(4100 * time.Millisecond)
		together()
		require.Equal(t, []time.Duration{4 * time.Second, 8 * time.Second}, penalties())
	}
	t.Run("memory", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { strikes(t, nil) }) })
	t.Run("redis", func(t *testing.T) { testserver.NeedsLong(t); strikes(t, onRedis(t)) })
}

// A failure that was in flight shortens no block of an operator.
func TestALongerBlockStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var address ratelimit.Limiter
		o := loginguard.Options{Limiter: func(p ratelimit.Policy) (ratelimit.Limiter, error) {
			l, err := ratelimit.NewMemory(p, nil)
			if p.Name == "login" {
				address = l
			}
			return l, err
		}}
		var blocks bool
		s := &site{handler: guard(t, o).Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if blocks {
				require.NoError(t, address.Block(r.Context(), "ip:203.0.113.5", 20*time.Hour))
			}
		}))}
		for range 2 {
			for range 5 {
				s.post("203.0.113.5:1", "alice", "wrong")
			}
			time.Sleep(2*time.Hour + time.Second)
		}
		blocks = true
		for range 5 {
			s.post("203.0.113.5:1", "alice", "wrong")
		}
		r, err := address.AllowN(t.Context(), "ip:203.0.113.5", 0)
		require.NoError(t, err)
		require.Equal(t, 20*time.Hour, r.RetryAfter)
	})
}
