package redisalert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/notify"
)

func dial(t testing.TB, addrs ...string) redis.UniversalClient {
	client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: addrs, DialTimeout: time.Second, MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	return client
}

func mustStore(t testing.TB, client redis.UniversalClient) *Store {
	t.Helper()
	s, err := New(client, "pos")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// count adds one to the number in the store, the slow way.
func count(b []byte) ([]byte, error) {
	n, _ := strconv.Atoi(string(b))
	time.Sleep(time.Millisecond)
	return []byte(strconv.Itoa(n + 1)), nil
}

func checkExclusion(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s := mustStore(t, client)
			for range 5 {
				err := s.Update(t.Context(), count)
				for errors.Is(err, alert.ErrBusy) { // on a busy machine the others hold the lock for long
					err = s.Update(t.Context(), count)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var got string
	s := mustStore(t, client)
	if err := s.Update(t.Context(), func(b []byte) ([]byte, error) { got = string(b); return b, nil }); err != nil || got != "20" {
		t.Errorf("%q, %v: updates were lost", got, err)
	}
	if n := client.Exists(t.Context(), s.lock).Val(); n != 0 {
		t.Error("the lock stayed")
	}
}

func TestUpdatesDoNotMix(t *testing.T) {
	t.Parallel()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		checkExclusion(t, dial(t, testserver.Redis(t).Addr()))
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		checkExclusion(t, dial(t, testserver.RedisCluster(t, 3, 0).Addrs()...))
	})
}

func TestFailedUpdateChangesNothing(t *testing.T) {
	t.Parallel()
	client := dial(t, testserver.Redis(t).Addr())
	s := mustStore(t, client)
	if err := s.Update(t.Context(), count); err != nil {
		t.Fatal(err)
	}
	errNo := errors.New("no")
	if err := s.Update(t.Context(), func([]byte) ([]byte, error) { return []byte("x"), errNo }); !errors.Is(err, errNo) {
		t.Error(err)
	}
	if got := client.Get(t.Context(), s.state).Val(); got != "1" {
		t.Errorf("stored %q", got)
	}
	if client.Exists(t.Context(), s.lock).Val() != 0 {
		t.Error("the lock stayed")
	}
}

// A holder that died keeps the others waiting for the expiry and no longer; one
// that lost the lock does not write.
func TestLock(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	client := dial(t, server.Addr())
	s := mustStore(t, client)
	if err := client.Set(t.Context(), s.lock, "of a dead process", hold).Err(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // for more than one command, on a busy machine too
	defer cancel()
	if err := s.Update(ctx, count); !errors.Is(err, alert.ErrBusy) {
		t.Errorf("a held lock: %v", err)
	}
	expire := func() { server.Do("DEL", s.lock) } // as its time would
	expire()
	if err := s.Update(t.Context(), count); err != nil {
		t.Errorf("after the expiry: %v", err)
	}
	err := s.Update(t.Context(), func(b []byte) ([]byte, error) {
		expire() // it stands still
		if err := s.Update(t.Context(), count); err != nil {
			t.Error(err)
		}
		return []byte("stale"), nil
	})
	if got := client.Get(t.Context(), s.state).Val(); err == nil || got != "2" {
		t.Errorf("stored %q, %v", got, err)
	}
}

// A server that hangs or is gone costs seconds and runs nothing.
func TestUnreachable(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.Redis(t)
	s := mustStore(t, dial(t, server.Addr()))
	if err := s.Update(t.Context(), count); err != nil {
		t.Fatal(err)
	}
	for name, break_ := range map[string]func(){"paused": server.Pause, "killed": server.Kill} {
		break_()
		start := time.Now()
		err := s.Update(t.Context(), func(b []byte) ([]byte, error) {
			t.Errorf("%s: f was called", name)
			return b, nil
		})
		if err == nil || errors.Is(err, alert.ErrBusy) || time.Since(start) > 20*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(start))
		}
		server.Restart()
	}
}

// Three replicas whose database fails send one mail. With Redis gone each may
// speak for itself, and at least one does.
func TestFleet(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	var mu sync.Mutex
	var mails []string
	inbox := notify.Func(func(_ context.Context, m notify.Message) error {
		mu.Lock()
		defer mu.Unlock()
		mails = append(mails, m.Subject)
		return nil
	})
	bad := map[string]bool{"database": true}
	var replicas []func() error
	for i := range 3 {
		var checks []health.Check
		for _, name := range []string{"database", "payments"} {
			c := health.Func(name, time.Second, func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				if bad[name] {
					return errors.New("down")
				}
				return nil
			})
			c.Shared, c.FailAfter = true, 1
			checks = append(checks, c)
		}
		quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
		reg, err := health.New(checks, &health.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		alerts, err := alert.New(reg, inbox, &alert.Options{
			Service: "pos", Instance: fmt.Sprint("pos-", i), Store: mustStore(t, dial(t, server.Addr())),
			GroupInterval: time.Nanosecond, Logger: quiet,
		})
		if err != nil {
			t.Fatal(err)
		}
		replicas = append(replicas, func() error {
			snap, err := reg.RunOnce(t.Context())
			if err != nil {
				return err
			}
			return alerts.Once(t.Context(), snap)
		})
	}
	all := func(cutOff bool) {
		t.Helper()
		var wg sync.WaitGroup
		for _, look := range replicas {
			wg.Go(func() {
				if err := look(); (err != nil) != cutOff {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	all(false)
	all(false)
	if got := strings.Join(mails, ", "); got != "[UNHEALTHY] pos: database" {
		t.Fatalf("sent %s", got)
	}
	server.Kill()
	bad["payments"] = true
	all(true)
	all(true)
	if n := len(mails) - 1; n < 1 || n > 3 {
		t.Errorf("without Redis: %s", strings.Join(mails, ", "))
	}
}

func TestNewErrors(t *testing.T) {
	t.Parallel()
	if _, err := New(nil, "pos"); err == nil {
		t.Error("no client")
	}
	for _, name := range []string{"", "a{b}"} {
		if _, err := New(dial(t, "127.0.0.1:1"), name); err == nil {
			t.Errorf("name %q", name)
		}
	}
}
