// Package rediscache stores values in Redis: standalone, Sentinel or Cluster. One
// [Store] provides everything that a service needs in front of Redis: the memory of the
// process, leases so that one load runs for all processes, an invalidation log that keeps
// the memories of all processes exact, a circuit breaker for each node, and the pending
// writes for a node that is down.
//
//	client := redis.NewClient(rediscache.ClientOptions(addr))
//	store, err := rediscache.New(client, nil)
//	...
//	go store.Run(ctx)
//	products, err := cache.New[Product](store, "products", 5*time.Minute, nil)
//
// It needs Redis 6.2 or later.
package rediscache

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache/driver"
	"github.com/mainstay-go/mainstay/internal/redisdeadline"
)

// Options tune a [Store]. The zero value and nil work.
type Options struct {
	// Prefix is the beginning of every key, to share a database with others. Default:
	// "cache:".
	Prefix string
	// MaxBytes is the limit for the values that this process keeps in memory. Default: 64
	// MiB.
	MaxBytes int64
	// Timeout is the limit for one round trip. Default: 700 ms.
	Timeout time.Duration
	// MaxValue is the largest size of a stored value in bytes. A command with a larger
	// value would block the server for too long. Default: 1 MiB.
	MaxValue int
	// LocalLimit is the maximum age of values in memory while invalidations are received.
	// It is how stale a value can be if a process dies between its write and its message.
	// Default: 30 s.
	LocalLimit time.Duration
	// OfflineLimit is the maximum age of values in memory while no invalidations are
	// received: before Run, and while its connection is down. Default: 2 s.
	OfflineLimit time.Duration
	// LogLength is the number of messages in the invalidation log, for processes that were
	// disconnected. A message has the writes of one round trip. Default: 50,000.
	LogLength int64
	// MaxPending is the number of writes that wait for a node that cannot be reached. Keys
	// above it become one Clear of their cache. Tags above it are rejected with
	// ErrUnavailable. Default: 100,000.
	MaxPending int
	// Tracking makes Run also receive writes by other software: a SET or DEL by redis-cli,
	// another service, the server's own expiry and FLUSHALL. The server must allow CLIENT
	// TRACKING, and the client must be a *redis.Client or *redis.ClusterClient.
	// The server does not name the writer, so values in memory are also
	// dropped after writes and loads of this process. Each costs one more read of Redis.
	// Default: false.
	Tracking bool
	// Logger receives a line when a node or the invalidation log fails, and when it works
	// again. Default: slog.Default().
	Logger *slog.Logger
	// Trace has hooks. Default: nil.
	Trace *Trace
}

// Store is a driver.Store on Redis. It is safe for concurrent use.
type Store struct {
	client  redis.UniversalClient
	opts    Options
	masters func(context.Context) ([]*redis.Client, error) // to track, nil if tracking is not possible
	guard   bool                                           // the client ignores the deadlines of contexts
	single  bool                                           // one server has all keys
	memory  *driver.Memory
	nodes   nodes
	pending pending
	ensured ensured
	log     *invalidationLog
	scripts sync.Map // *redis.Script: a server knows them
	ways    sync.Mutex
	stats   counters
}

var _ driver.Store = (*Store)(nil)

// New returns a store. It does not connect. opts may be nil.
//
// New refuses a *redis.Ring, and a Cluster client that reads from replicas. A reader could
// receive an old value after Delete: from a shard that was away, or from a replica that is
// behind.
func New(client redis.UniversalClient, opts *Options) (*Store, error) {
	s := &Store{client: client}
	if opts != nil {
		s.opts = *opts
	}
	o := &s.opts
	o.Prefix = cmp.Or(o.Prefix, "cache:")
	o.Timeout = cmp.Or(o.Timeout, 700*time.Millisecond)
	o.MaxValue = cmp.Or(o.MaxValue, 1<<20)
	o.LocalLimit = cmp.Or(o.LocalLimit, 30*time.Second)
	o.OfflineLimit = cmp.Or(o.OfflineLimit, 2*time.Second)
	o.LogLength = cmp.Or(o.LogLength, 50_000)
	o.MaxPending = cmp.Or(o.MaxPending, 100_000)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.Trace = cmp.Or(o.Trace, &Trace{})
	switch {
	case client == nil:
		return nil, errors.New("rediscache: New needs a client")
	case strings.ContainsAny(o.Prefix, "{}"):
		return nil, errors.New("rediscache: Prefix must not contain braces, which place keys on a Cluster")
	case o.LocalLimit < 0 || o.OfflineLimit < 0 || o.Timeout < 0:
		return nil, errors.New("rediscache: a duration is negative")
	case o.MaxValue < 0 || o.MaxPending < 0 || o.LogLength < 0 || o.MaxBytes < 0:
		return nil, errors.New("rediscache: MaxBytes, MaxValue, MaxPending and LogLength must not be negative")
	}
	if err := refused(client); err != nil {
		return nil, err
	}
	if s.masters = mastersOf(client); o.Tracking && s.masters == nil {
		return nil, fmt.Errorf("rediscache: Tracking needs a *redis.Client or *redis.ClusterClient, not %T", client)
	}
	_, s.single = client.(*redis.Client)
	s.guard = redisdeadline.Ignored(client)
	s.memory = driver.NewMemory(o.MaxBytes)
	s.memory.SetOnline(false, o.OfflineLimit)
	s.nodes = nodes{s: s, byAddr: map[string]*node{}}
	s.pending = pending{max: o.MaxPending, writes: map[target]uint64{}}
	s.log = newLog(s)
	return s, nil
}

// refused returns an error for a client that may read an old value after a write.
func refused(client redis.UniversalClient) error {
	switch c := client.(type) {
	case interface{ Options() *redis.RingOptions }:
		return errors.New("rediscache: a Ring reads old values from a shard that was away during writes; use a ClusterClient or a Sentinel client (redis.NewFailoverClient)")
	case interface{ Options() *redis.ClusterOptions }:
		o := c.Options()
		var name string
		switch { // go-redis sets ReadOnly with the other two
		case o.RouteByLatency:
			name = "RouteByLatency"
		case o.RouteRandomly:
			name = "RouteRandomly"
		case o.ReadOnly:
			name = "ReadOnly"
		default:
			return nil
		}
		return fmt.Errorf("rediscache: %s reads old values from replicas that are behind; use a client for the cache without it, see ClusterOptions", name)
	}
	return nil
}

// Capabilities implements driver.Store.
func (s *Store) Capabilities() driver.Capabilities {
	return driver.Capabilities{Memory: s.memory, Timeout: s.opts.Timeout, Shared: true}
}

// ClientOptions returns settings for a client of one server. The client obeys deadlines of
// contexts. Connecting may take 200 ms and each reply a second. The client repeats no
// command: the store repeats commands that are safe to repeat, within its own deadline.
func ClientOptions(addr string) *redis.Options {
	return &redis.Options{
		Addr:                  addr,
		ContextTimeoutEnabled: true,
		DialTimeout:           200 * time.Millisecond,
		ReadTimeout:           time.Second,
		WriteTimeout:          time.Second,
		PoolTimeout:           time.Second,
		MaxRetries:            -1,
		DialerRetries:         1,
	}
}

// ClusterOptions returns the same settings for a Cluster. The client follows redirections,
// since a node that has lost a slot replies with its new owner.
func ClusterOptions(addrs ...string) *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs:                 addrs,
		ContextTimeoutEnabled: true,
		DialTimeout:           200 * time.Millisecond,
		ReadTimeout:           time.Second,
		WriteTimeout:          time.Second,
		PoolTimeout:           time.Second,
		MaxRedirects:          3,
		MaxRetries:            -1,
		DialerRetries:         1,
	}
}

// maxKey is the length limit of a key. A longer key is stored under its hash, with a
// readable beginning.
const maxKey = 512

// key returns the name in Redis of a value. The text in braces decides the slot of a
// Cluster.
func (s *Store) key(key string) string {
	if len(key) > maxKey || key[0] == '}' {
		sum := sha256.Sum256([]byte(key))
		key = "#" + base64.RawURLEncoding.EncodeToString(sum[:]) + "#" + key[:min(len(key), 64)]
	}
	return s.opts.Prefix + "{" + key + "}"
}

func (s *Store) tagKey(tag string) string { return s.opts.Prefix + "tag:" + tag }

// place returns the name in Redis for an operation.
func (s *Store) place(op *driver.Op) string {
	if op.Kind == driver.TagState || op.Kind == driver.Invalidate {
		return s.tagKey(op.Key)
	}
	return s.key(op.Key)
}

// Do implements driver.Store. Operations of concurrent calls share round trips.
func (s *Store) Do(ctx context.Context, ops []driver.Op) {
	if err := ctx.Err(); err != nil {
		driver.Fail(ops, err)
		return
	}
	for i := range ops {
		op := &ops[i]
		op.Err = op.Check()
		switch {
		case op.Err != nil:
		case op.Kind == driver.Sync:
			op.Err = s.log.sync(ctx)
		case len(op.Value) > s.opts.MaxValue && op.Kind == driver.Fill:
			op.Err = s.tooLarge(op.Value)
		}
	}
	if len(ops) == 0 || len(ops) == 1 && ops[0].Kind == driver.Sync {
		return
	}
	if n := afterSet(ops); n > 0 {
		s.Do(ctx, ops[:n])
		s.Do(ctx, ops[n:])
		return
	}
	if s.single {
		s.nodes.at("").do(ctx, ops)
		return
	}
	if err := s.nodes.find(ctx); err != nil {
		driver.Fail(ops, err)
		s.settle(ops)
		s.log.later(writes(ops))
		return
	}
	announced := s.tagMessage(ops)
	unannounced := s.log.post(ctx, announced, true)
	byNode := map[*node][]int{}
	for i := range ops {
		if op := &ops[i]; op.Err == nil && op.Kind != driver.Sync {
			n := s.nodes.of(ctx, s.place(op))
			byNode[n] = append(byNode[n], i)
		}
	}
	var wg sync.WaitGroup
	for n, at := range byNode {
		part := ops
		if len(at) < len(ops) {
			part = make([]driver.Op, len(at))
			for k, i := range at {
				part[k] = ops[i]
			}
		}
		each := func() {
			n.do(ctx, part)
			if len(at) < len(ops) {
				for k, i := range at {
					ops[i] = part[k]
				}
			}
		}
		if len(byNode) == 1 {
			each()
		} else {
			wg.Go(each)
		}
	}
	wg.Wait()
	for i := range ops { // what precedes its announcement is repeated behind it
		switch op := &ops[i]; {
		case unannounced == nil || op.Err != nil:
		case op.Kind == driver.Invalidate:
			op.Err = unannounced
			op.Err = s.failed(op)
		case op.Kind == driver.TagState && announced.has(opTag, driver.TagHash(op.Key)):
			s.pending.note(target{op.Key, true})
		}
	}
	_ = s.log.post(ctx, writes(ops), true) // it is appended later after an error
}

// afterSet returns the index of the first operation on a key that an earlier one sets, or 0.
// A Set takes two round trips, so such an operation must wait.
func afterSet(ops []driver.Op) int {
	var set map[string]bool
	for i := range ops {
		op := &ops[i]
		switch {
		case op.Kind == driver.TagState || op.Kind == driver.Invalidate || op.Kind == driver.Sync:
		case set[op.Key]:
			return i
		case op.Kind == driver.Set && len(ops) > 1:
			if set == nil {
				set = make(map[string]bool, len(ops))
			}
			set[op.Key] = true
		}
	}
	return 0
}

func (s *Store) tooLarge(value []byte) error {
	return fmt.Errorf("rediscache: %w: %d bytes, at most %d are stored", driver.ErrTooLarge, len(value), s.opts.MaxValue)
}

// call calls the client within the store's own deadline.
func call[T any](ctx context.Context, s *Store, timeout time.Duration, f func(context.Context) (T, error)) (T, error) {
	value, err := redisdeadline.Call(ctx, s.guard, timeout, f)
	s.reload(ctx, err)
	return value, err
}

// reload lets the client of a Cluster look up the new masters after a failure.
func (s *Store) reload(ctx context.Context, err error) {
	if c, ok := s.client.(reloader); ok && err != nil && !isReply(err) && ctx.Err() == nil {
		c.ReloadState(ctx) // in the background, and once for many failures
	}
}

// reloader is the client of a Cluster. By itself it looks up the masters once a minute.
type reloader interface {
	ReloadState(ctx context.Context)
}

func isReply(err error) bool {
	if err == nil {
		return false
	}
	var reply redis.Error
	return errors.As(err, &reply)
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("rediscache: %w", err)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
