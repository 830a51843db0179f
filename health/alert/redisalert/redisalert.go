// Package redisalert stores the state of health alerts in Redis. All instances of a
// service then share their alerts and send one message about each.
package redisalert

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/health/alert"
)

const (
	// hold is how long a crashed holder blocks the other instances. A live holder
	// extends it.
	hold = 30 * time.Second
	// patience is how long Update waits for the lock of another replica.
	patience = 10 * time.Second
	// reach limits one command. go-redis respects the deadline of the context only with
	// ContextTimeoutEnabled.
	reach = 3 * time.Second
	// keep is how long the state of a service that no longer runs is kept.
	keep = 90 * 24 * time.Hour
)

// Store is an alert.Store on Redis: standalone, Cluster, Sentinel or Ring. It is
// safe for concurrent use.
//
// The lock is one key with an expiry on one server. If a failover loses it, or its
// holder pauses for longer than the expiry, two replicas may decide at the same time
// and send the same message. Only the replica that holds the lock then writes the
// state.
type Store struct {
	client      redis.UniversalClient
	state, lock string
}

// New returns a Store under a name. Every replica of a service must use the same name,
// and every other service a different one. New opens no connection.
func New(client redis.UniversalClient, name string) (*Store, error) {
	if client == nil {
		return nil, errors.New("redisalert: the Redis client is nil")
	}
	if name == "" || strings.ContainsAny(name, "{}") {
		return nil, fmt.Errorf("redisalert: name %q: use a name without braces", name)
	}
	tag := "alert:{" + name + "}:" // one slot of a Cluster
	return &Store{client: client, state: tag + "state", lock: tag + "lock"}, nil
}

var (
	extend = redis.NewScript(`
if redis.call("GET", KEYS[1]) == ARGV[1] then
	return redis.call("PEXPIRE", KEYS[1], ARGV[2])
end
return 0`)
	// save writes the state only if this process still holds the lock, and releases it.
	// Without a third argument it only releases the lock.
	save = redis.NewScript(`
if redis.call("GET", KEYS[1]) ~= ARGV[1] then
	return 0
end
if ARGV[3] then
	redis.call("SET", KEYS[2], ARGV[3], "PX", ARGV[2])
end
redis.call("DEL", KEYS[1])
return 1`)
)

// Update implements alert.Store.
func (s *Store) Update(ctx context.Context, f func([]byte) ([]byte, error)) error {
	token := rand.Text()
	if err := s.acquire(ctx, token); err != nil {
		return err
	}
	old, err := bounded(ctx, func(ctx context.Context) ([]byte, error) {
		b, err := s.client.Get(ctx, s.state).Bytes()
		if errors.Is(err, redis.Nil) {
			return nil, nil
		}
		return b, err
	})
	if err != nil {
		return errors.Join(fmt.Errorf("redisalert: reading the state: %w", err), s.release(ctx, token))
	}
	next, err := s.guarded(ctx, token, old, f)
	if err != nil || string(next) == string(old) {
		return errors.Join(err, s.release(ctx, token))
	}
	// The decision is written even if ctx has ended, because a message may have been
	// sent.
	held, err := bounded(context.WithoutCancel(ctx), func(ctx context.Context) (int64, error) {
		return save.Run(ctx, s.client, []string{s.lock, s.state}, token, keep.Milliseconds(), next).Int64()
	})
	if err != nil {
		return fmt.Errorf("redisalert: writing the state: %w", err)
	}
	if held == 0 {
		return errors.New("redisalert: the lock was lost meanwhile; another replica may have sent the same message")
	}
	return nil
}

// acquire takes the lock, or returns alert.ErrBusy.
func (s *Store) acquire(ctx context.Context, token string) error {
	giveUp := time.NewTimer(patience)
	defer giveUp.Stop()
	for busy := false; ; busy = true {
		ok, err := bounded(ctx, func(ctx context.Context) (bool, error) {
			_, err := s.client.SetArgs(ctx, s.lock, token, redis.SetArgs{Mode: "NX", TTL: hold}).Result()
			if errors.Is(err, redis.Nil) {
				return false, nil
			}
			return err == nil, err
		})
		switch {
		case err == nil && ok:
			return nil
		case busy && ctx.Err() != nil: // ctx ended during the wait or during the command
			return alert.ErrBusy
		case err != nil:
			return fmt.Errorf("redisalert: taking the lock: %w", err)
		}
		retry := time.NewTimer(100 * time.Millisecond)
		select {
		case <-ctx.Done():
			retry.Stop()
			return alert.ErrBusy
		case <-giveUp.C:
			retry.Stop()
			return alert.ErrBusy
		case <-retry.C:
		}
	}
}

// guarded calls f and extends the lock while it runs.
func (s *Store) guarded(ctx context.Context, token string, old []byte, f func([]byte) ([]byte, error)) ([]byte, error) {
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(hold / 3)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				// An error is found when the state is saved: the lock is no longer
				// held.
				_, _ = bounded(ctx, func(ctx context.Context) (int64, error) {
					return extend.Run(ctx, s.client, []string{s.lock}, token, hold.Milliseconds()).Int64()
				})
			}
		}
	}()
	defer func() { close(done); <-ended }()
	return f(old)
}

func (s *Store) release(ctx context.Context, token string) error {
	_, err := bounded(context.WithoutCancel(ctx), func(ctx context.Context) (int64, error) {
		return save.Run(ctx, s.client, []string{s.lock, s.state}, token, keep.Milliseconds()).Int64()
	})
	if err != nil {
		return fmt.Errorf("redisalert: releasing the lock: %w", err)
	}
	return nil
}

// bounded gives a command its own deadline, even if the client ignores contexts. The
// timeouts of the client end a command that runs longer, and its result is not used.
func bounded[T any](ctx context.Context, command func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, reach)
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		defer cancel()
		v, err := command(ctx)
		answers <- answer{v, err}
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		var zero T
		select {
		case a := <-answers: // both at once
			return a.value, a.err
		default:
			return zero, ctx.Err()
		}
	}
}
