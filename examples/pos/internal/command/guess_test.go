package command

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestOwnerWhileOthersGuess lets five and then five hundred addresses guess the cashier's
// password. The owner can still log in on a device that has logged in before, and from an
// address that has.
func TestOwnerWhileOthersGuess(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	s := openTestShop(t, "--trusted-proxies=127.0.0.1")
	s.token = ""
	login := func(from, password string, headers ...string) (int, http.Header) {
		for {
			status, _, header := s.send("POST", "/api/v1/login/", `{"username":"cashier","password":"`+password+`"}`, append(headers, "X-Forwarded-For", from)...)
			if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || t.Context().Err() != nil {
				return status, header
			}
			// The server hashes few passwords at a time, also those of the owner, and returns a Retry-After.
		}
	}
	status, header := login("198.51.100.7", cashierPassword)
	if status != http.StatusOK {
		t.Fatalf("the first log-in: %d", status)
	}
	var device []string
	for _, c := range header.Values("Set-Cookie") {
		one, _, _ := strings.Cut(c, ";")
		if !strings.HasPrefix(one, "pos_session") {
			device = append(device, one)
		}
	}
	owner := func(when string) {
		t.Helper()
		if status, _ := login("198.51.100.7", cashierPassword); status != http.StatusOK {
			t.Errorf("%s: the owner's address gets %d", when, status)
		}
		if status, _ := login("192.0.2.200", cashierPassword, "Cookie", strings.Join(device, "; ")); status != http.StatusOK {
			t.Errorf("%s: the owner's device elsewhere gets %d", when, status)
		}
	}
	crowd := testserver.Sample(200, 500)
	for _, strangers := range []int{5, crowd} {
		addresses := make(chan string)
		var refused sync.Map
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for from := range addresses {
					status, _ := login(from, "a guess")
					if status != http.StatusUnauthorized && status != http.StatusTooManyRequests {
						t.Errorf("a guess from %s: %d", from, status)
					}
					if status == http.StatusTooManyRequests {
						refused.Store(from, true)
					}
				}
			})
		}
		for n := range strangers {
			addresses <- fmt.Sprintf("203.%d.113.%d", n/200, n%200+1)
			if n%100 == 50 {
				owner(fmt.Sprint("between the guesses of ", strangers))
			}
		}
		close(addresses)
		wg.Wait()
		owner(fmt.Sprint("after the guesses of ", strangers))
		many := 0
		refused.Range(func(any, any) bool { many++; return true })
		if strangers == crowd && many < crowd-100 {
			t.Errorf("only %d of %d strangers were refused", many, crowd)
		}
	}
}

// TestGuessesWhileRedisIsAway guesses passwords at three replicas in turn. Five failed log-ins
// of an address are allowed for all replicas together: with Redis, while Redis is away, and after
// it has returned with its data.
func TestGuessesWhileRedisIsAway(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	redis := testserver.Redis(t, "--appendonly", "yes", "--appendfsync", "always")
	var replicas []*shop
	for range 3 { // with databases of their own, because the limits need none
		s := openTestShop(t, "--redis=redis://"+redis.Addr()+"/0", "--trusted-proxies=127.0.0.1")
		s.token = ""
		replicas = append(replicas, s)
		run := s.parts.jobs()["limits"] // tells Redis that this replica exists
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		work.Go(func() { _ = run(ctx) })
		t.Cleanup(func() { stop(); work.Wait() })
	}
	guesses := func(from string, n int) (tried int) {
		for i := range n {
			status, body, _ := replicas[i%3].send("POST", "/api/v1/login/", `{"username":"nobody","password":"a guess"}`, "X-Forwarded-For", from)
			switch status {
			case http.StatusUnauthorized:
				tried++
			case http.StatusTooManyRequests:
			default:
				t.Errorf("%d %s", status, body)
			}
		}
		return tried
	}
	waitFor(t, "heartbeats of all replicas", func() bool {
		return !slices.ContainsFunc(replicas, func(s *shop) bool { return s.parts.limits.Stats().Instances < 3 })
	})
	if n := guesses("203.0.113.1", 12); n != 5 {
		t.Errorf("%d guesses with Redis", n)
	}
	redis.Kill()
	if n := guesses("203.0.113.1", 12); n != 0 {
		t.Errorf("%d more guesses while Redis is away", n)
	}
	away := guesses("198.51.100.2", 12)
	if away > 5 {
		t.Errorf("%d guesses while Redis is away", away)
	}
	redis.Restart()
	waitFor(t, "Redis at all replicas", func() bool {
		return !slices.ContainsFunc(replicas, func(s *shop) bool {
			now := s.parts.limits.Stats()
			return now.Unmerged > 0 || now.Instances < 3 // the heartbeats of a long outage are forgotten
		})
	})
	if n := guesses("203.0.113.1", 12); n != 0 {
		t.Errorf("%d more guesses after Redis was back", n)
	}
	replicas[0].token = opsToken
	if metrics, _ := replicas[0].send2("GET", "/metrics", ""); !strings.Contains(metrics, "\nratelimit_redis_forgotten_total 0\n") || !strings.Contains(metrics, "\nratelimit_redis_instances 3\n") {
		t.Error("the metrics do not show the state of the limits on Redis")
	}
	replicas[0].token = ""
	if n := away + guesses("198.51.100.2", 12); n != 5 {
		t.Errorf("%d guesses during and after the outage", n)
	}
}
