package sessionstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

func newStore(t testing.TB, client redis.UniversalClient, opts Options) *Store {
	t.Helper()
	t.Cleanup(func() { client.Close() })
	opts.Timeout = 20 * time.Second
	s, err := New(client, &opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func patient(addr string) *redis.Options {
	o := ClientOptions(addr)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = 20*time.Second, 20*time.Second, 20*time.Second, 20*time.Second
	return o
}

// onServers runs a test with one server and with a Cluster.
func onServers(t *testing.T, test func(t *testing.T, open func(Options) *Store)) {
	t.Parallel()
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		server := testserver.Redis(t)
		test(t, func(o Options) *Store { return newStore(t, redis.NewClient(patient(server.Addr())), o) })
	})
	t.Run("Cluster", func(t *testing.T) {
		t.Parallel()
		set := testserver.RedisCluster(t, 3, 0)
		test(t, func(o Options) *Store {
			return newStore(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: set.Addrs()}), o)
		})
	})
}

func start(t *testing.T, s *Store, user string) *Session {
	t.Helper()
	started, err := s.Start(t.Context(), user, []byte("cart of "+user), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return started
}

// lives reports whether a token is somebody's.
func lives(t *testing.T, s *Store, token string) bool {
	t.Helper()
	found, err := s.Get(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return found != nil
}

func TestLifeOfASession(t *testing.T) {
	onServers(t, func(t *testing.T, open func(Options) *Store) {
		ctx, s, other := t.Context(), open(Options{}), open(Options{})
		began := start(t, s, "ann")
		got, err := other.Get(ctx, began.Token())
		if err != nil || got == nil || got.User != "ann" || string(got.Data) != "cart of ann" || got.Token() != began.Token() {
			t.Fatalf("%+v, %v", got, err)
		}
		if d := time.Until(got.Ends); d > time.Hour || d < 50*time.Minute {
			t.Errorf("it ends in %v", d)
		}
		// Two replicas change it at once: one of them must look again.
		got.Data = []byte("theirs")
		if err := other.Save(ctx, got); err != nil {
			t.Fatal(err)
		}
		began.Data = []byte("ours")
		if err := s.Save(ctx, began); !errors.Is(err, ErrConflict) {
			t.Errorf("the second Save: %v", err)
		}
		got.Data = []byte("theirs again")
		if err := other.Save(ctx, got); err != nil {
			t.Errorf("who saved may save again: %v", err)
		}
		rotated, err := s.Rotate(ctx, began.Token())
		if err != nil || string(rotated.Data) != "theirs again" || rotated.Token() == began.Token() {
			t.Fatalf("%+v, %v", rotated, err)
		}
		if lives(t, other, began.Token()) || !lives(t, other, rotated.Token()) {
			t.Error("Rotate left the old token, or no new one")
		}
		if err := s.Save(ctx, began); !errors.Is(err, ErrEnded) {
			t.Errorf("Save under a token that was rotated: %v", err)
		}
		for range 2 {
			if err := s.End(ctx, rotated.Token()); err != nil {
				t.Error(err)
			}
		}
		if lives(t, other, rotated.Token()) {
			t.Error("it lives after End")
		}
		if _, err := s.Rotate(ctx, rotated.Token()); !errors.Is(err, ErrEnded) {
			t.Errorf("Rotate after End: %v", err)
		}
		if err := s.Save(ctx, rotated); !errors.Is(err, ErrEnded) {
			t.Errorf("Save after End: %v", err)
		}
		for _, token := range []string{"", "guess", strings.Repeat("x", 10_000), "user:ann"} {
			if lives(t, s, token) {
				t.Errorf("%.20q is a session", token)
			}
		}
		if _, err := s.Start(ctx, "ann", nil, 0); err == nil {
			t.Error("a session without a lifetime was started")
		}
	})
}

// TestEndAll: no session of the user that was started before is left, and nothing that
// was under way brings one back; others stay.
func TestEndAll(t *testing.T) {
	onServers(t, func(t *testing.T, open func(Options) *Store) {
		ctx, s, other := t.Context(), open(Options{}), open(Options{})
		one, two, bob := start(t, s, "ann"), start(t, other, "ann"), start(t, s, "bob")
		read, err := s.Get(ctx, two.Token())
		if err != nil {
			t.Fatal(err)
		}
		if err := other.EndAll(ctx, "ann"); err != nil {
			t.Fatal(err)
		}
		after := start(t, s, "ann")
		read.Data = []byte("a request that was under way")
		if err := s.Save(ctx, read); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Rotate(ctx, one.Token()); !errors.Is(err, ErrEnded) {
			t.Errorf("Rotate: %v", err)
		}
		for token, want := range map[string]bool{one.Token(): false, two.Token(): false, bob.Token(): true, after.Token(): true} {
			if got := lives(t, s, token); got != want {
				t.Errorf("a session lives: %v, want %v", got, want)
			}
		}
		// Whoever logs in while all are ended is in or out, but never in with what began before.
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 20 {
					old := start(t, s, "eve")
					if err := s.EndAll(ctx, "eve"); err != nil {
						t.Error(err)
					}
					if lives(t, other, old.Token()) {
						t.Error("a session lives that began before EndAll")
					}
				}
			})
		}
		wg.Wait()
	})
}

// TestSlidingExpiry: use moves the end, which is written seldom, and never past the
// lifetime.
// TestCallerGone ends sessions with a context that has ended, as the request of a user does
// who logs out and closes the page.
func TestCallerGone(t *testing.T) {
	s := newStore(t, redis.NewClient(patient(testserver.Redis(t).Addr())), Options{})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	one, two, other := start(t, s, "ann"), start(t, s, "ann"), start(t, s, "bob")
	if err := s.End(gone, one.Token()); err != nil || lives(t, s, one.Token()) || !lives(t, s, two.Token()) {
		t.Errorf("End: %v", err)
	}
	if err := s.EndAll(gone, "ann"); err != nil || lives(t, s, two.Token()) || !lives(t, s, other.Token()) {
		t.Errorf("EndAll: %v", err)
	}
}

func TestSlidingExpiry(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	s := newStore(t, redis.NewClient(patient(server.Addr())), Options{Idle: 100 * time.Minute})
	client := redis.NewClient(patient(server.Addr()))
	t.Cleanup(func() { client.Close() })
	ctx := t.Context()
	left := func(token string) time.Duration { return client.PTTL(ctx, s.key(token)).Val() }
	set := func(token string, d time.Duration) {
		if ok, err := client.PExpire(ctx, s.key(token), d).Result(); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	began, err := s.Start(ctx, "ann", nil, 4*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if d := left(began.Token()); d > 100*time.Minute || d < 95*time.Minute {
		t.Errorf("it is kept for %v", d)
	}
	for range 10 {
		set(began.Token(), 92*time.Minute)
		if !lives(t, s, began.Token()) {
			t.Fatal("it ended")
		}
	}
	if n := s.Stats().Extended; n != 0 {
		t.Errorf("%d writes for less than a tenth", n)
	}
	for range 10 {
		set(began.Token(), 50*time.Minute)
		if !lives(t, s, began.Token()) {
			t.Fatal("it ended")
		}
	}
	if n := s.Stats().Extended; n != 10 {
		t.Errorf("%d writes, want 10", n)
	}
	if d := left(began.Token()); d < 95*time.Minute {
		t.Errorf("its end did not move: %v", d)
	}
	short, err := s.Start(ctx, "ann", nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	set(short.Token(), time.Minute)
	if !lives(t, s, short.Token()) || left(short.Token()) > time.Hour {
		t.Errorf("it lives for %v, longer than it may", left(short.Token()))
	}
	// The state of a user outlives all of his sessions, the longest first.
	if d := client.PTTL(ctx, s.userKey("ann")).Val(); d < 4*time.Hour {
		t.Errorf("the state is kept for %v", d)
	}
	last, err := s.Start(ctx, "ann", nil, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); lives(t, s, last.Token()); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it outlives its lifetime")
		}
	}
}

// TestFailsClosed: nobody is logged in by a Redis that is gone, hangs, was emptied, or has
// been tampered with.
func TestFailsClosed(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.Redis(t)
	for name, obeys := range map[string]bool{"obeying": true, "deaf": false} {
		o := patient(server.Addr())
		o.ContextTimeoutEnabled, o.ReadTimeout = obeys, 3*time.Second
		client := redis.NewClient(o)
		s := newStore(t, client, Options{})
		began := start(t, s, "ann")
		s.opts.Timeout = 300 * time.Millisecond
		server.Pause()
		calls := map[string]func() error{
			"Start":  func() error { _, err := s.Start(t.Context(), "ann", nil, time.Hour); return err },
			"Get":    func() error { _, err := s.Get(t.Context(), began.Token()); return err },
			"Save":   func() error { return s.Save(t.Context(), began) },
			"Rotate": func() error { _, err := s.Rotate(t.Context(), began.Token()); return err },
			"End":    func() error { return s.End(t.Context(), began.Token()) },
			"EndAll": func() error { return s.EndAll(t.Context(), "ann") },
			"Find":   func() error { _, _, err := s.SCS(nil).FindCtx(t.Context(), began.Token()); return err },
			"Commit": func() error {
				return s.SCS(nil).CommitCtx(t.Context(), began.Token(), nil, time.Now().Add(time.Hour))
			},
		}
		for call, f := range calls {
			begun := time.Now()
			if err := f(); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s, hung, %s: %v", name, call, err)
			}
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("%s, hung, %s took %v", name, call, took)
			}
		}
		server.Continue()
	}
	s := newStore(t, redis.NewClient(patient(server.Addr())), Options{})
	began := start(t, s, "ann")
	client := redis.NewClient(patient(server.Addr()))
	t.Cleanup(func() { client.Close() })
	for _, bad := range []string{"", "x", "\x84\xa1u\xa3ann", string(began.seen[:len(began.seen)-1])} {
		if err := client.Set(t.Context(), s.key(began.Token()), bad, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		if lives(t, s, began.Token()) {
			t.Errorf("%q is a session", bad)
		}
	}
	if err := client.Set(t.Context(), s.key(began.Token()), began.seen, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if lives(t, s, began.Token()) {
		t.Error("a session without an end is one")
	}
	lost := start(t, s, "bob")
	if err := client.Del(t.Context(), s.userKey("bob")).Err(); err != nil {
		t.Fatal(err)
	}
	if lives(t, s, lost.Token()) {
		t.Error("a session whose state was lost is one")
	}
	server.Kill()
	if _, err := s.Get(t.Context(), began.Token()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("refused: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, began.Token()); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that left: %v", err)
	}
}

func TestNonsense(t *testing.T) {
	client := redis.NewClient(ClientOptions("127.0.0.1:1"))
	t.Cleanup(func() { client.Close() })
	if client.Options().DB != 2 {
		t.Errorf("database %d", client.Options().DB)
	}
	for name, make := range map[string]func() (*Store, error){
		"no client": func() (*Store, error) { return New(nil, nil) },
		"braces":    func() (*Store, error) { return New(client, &Options{Prefix: "{a}"}) },
		"idle":      func() (*Store, error) { return New(client, &Options{Idle: -1}) },
		"timeout":   func() (*Store, error) { return New(client, &Options{Timeout: -1}) },
	} {
		if _, err := make(); err == nil || !strings.HasPrefix(err.Error(), "sessionstore: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
