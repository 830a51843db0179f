package rediscache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/redis/go-redis/v9/push"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// Tracking is CLIENT TRACKING in broadcast mode: the server pushes the name of every
// changed key under the prefix. A node pushes only its own keys, over a connection that the
// process reads all the time. So there is one such connection for each master: a
// subscription to a silent channel. The reply to a ping arrives behind all earlier pushes.
// It distinguishes silence from a broken connection.

const listEvery = 2 * time.Second // to find new masters

// mastersOf returns a function that lists the masters behind a client.
func mastersOf(client redis.UniversalClient) func(context.Context) ([]*redis.Client, error) {
	collect := func(each func(context.Context, func(context.Context, *redis.Client) error) error) func(context.Context) ([]*redis.Client, error) {
		return func(ctx context.Context) (nodes []*redis.Client, err error) {
			var mu sync.Mutex
			err = each(ctx, func(_ context.Context, node *redis.Client) error {
				mu.Lock()
				defer mu.Unlock()
				nodes = append(nodes, node)
				return nil
			})
			if err == nil && len(nodes) == 0 {
				err = errors.New("rediscache: the client knows of no node to track")
			}
			return nodes, err
		}
	}
	switch c := client.(type) {
	case *redis.Client:
		return func(context.Context) ([]*redis.Client, error) { return []*redis.Client{c}, nil }
	case *redis.ClusterClient:
		list := collect(c.ForEachMaster)
		return func(ctx context.Context) ([]*redis.Client, error) {
			c.ReloadState(ctx)
			return list(ctx)
		}
	}
	return nil
}

const (
	pingEvery = time.Second
	// silentFor is the time without a push or a reply to a ping after which a tracked
	// connection counts as broken.
	silentFor = 3 * time.Second
)

// setTracking records whether the server reports all writes.
func (s *Store) setTracking(up bool) {
	s.ways.Lock()
	defer s.ways.Unlock()
	s.stats.tracking.Store(up)
	s.hearing()
}

// tracker is the state of all listeners.
type tracker struct {
	s      *Store
	mu     sync.Mutex
	nodes  map[string]bool // by address: whether the node's pushes are received
	up     bool
	failed bool // and the failure was logged
}

// track listens to all masters until ctx ends.
func (s *Store) track(ctx context.Context) {
	t := &tracker{s: s, nodes: map[string]bool{}}
	stops := map[string]context.CancelFunc{}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	for ctx.Err() == nil {
		nodes, err := s.masters(ctx)
		if err != nil {
			t.report(ctx, "", err)
		}
		known := map[string]bool{}
		for _, node := range nodes {
			addr := node.Options().Addr
			known[addr] = true
			if stops[addr] == nil {
				t.expect(addr)
				own, stop := context.WithCancel(ctx)
				stops[addr] = stop
				wg.Go(func() { t.listen(own, addr, node.Options()) })
			}
		}
		for addr, stop := range stops {
			if err == nil && !known[addr] {
				stop()
				delete(stops, addr)
				t.forget(ctx, addr)
			}
		}
		if err == nil {
			t.forget(ctx, "")
		}
		pause(ctx, listEvery)
	}
	s.setTracking(false)
}

// expect adds a node that does not report yet.
func (t *tracker) expect(addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nodes[addr] = false
}

// forget removes a node that is no longer a master.
func (t *tracker) forget(ctx context.Context, addr string) {
	t.mu.Lock()
	delete(t.nodes, addr)
	t.mu.Unlock()
	t.judge(ctx, nil)
}

// report records that a node reports its writes, or the error if it does not.
func (t *tracker) report(ctx context.Context, addr string, err error) {
	t.mu.Lock()
	if ctx.Err() == nil { // otherwise the node may have been forgotten
		t.nodes[addr] = err == nil
	}
	t.mu.Unlock()
	t.judge(ctx, err)
}

// judge records whether all nodes report their writes, and logs each change.
func (t *tracker) judge(ctx context.Context, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	up := len(t.nodes) > 0
	for _, heard := range t.nodes {
		up = up && heard
	}
	s := t.s
	s.setTracking(up)
	hook := s.opts.Trace.Tracking
	switch {
	case ctx.Err() != nil || up == t.up && (up || t.failed || err == nil):
		return
	case up:
		s.opts.Logger.InfoContext(ctx, "rediscache: writes by others than this package are heard of")
		if hook != nil {
			hook(ctx, TrackingEvent{})
		}
	default:
		if err == nil {
			err = errors.New("rediscache: a new node is not heard of yet")
		}
		s.opts.Logger.WarnContext(ctx, "rediscache: writes by others than this package are not heard of for now", "error", err)
		if hook != nil {
			hook(ctx, TrackingEvent{Err: err})
		}
	}
	t.up, t.failed = up, !up
}

// listen follows one node until ctx ends. It connects again after a failure.
func (t *tracker) listen(ctx context.Context, addr string, opts *redis.Options) {
	for ctx.Err() == nil {
		err := t.hear(ctx, addr, opts)
		t.report(ctx, addr, err)
		pause(ctx, pingEvery/4)
	}
}

// hear connects to a node and applies its pushes until the connection fails.
func (t *tracker) hear(ctx context.Context, addr string, opts *redis.Options) error {
	s := t.s
	own := *opts
	own.Protocol, own.PoolSize, own.MinIdleConns, own.MaxActiveConns = 3, 1, 0, 0
	own.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	own.ClientSideCache, own.ClientSideCacheConfig = nil, nil
	own.PushNotificationProcessor = push.NewProcessor() // not that of the other connections
	own.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		if opts.OnConnect != nil {
			if err := opts.OnConnect(ctx, conn); err != nil {
				return err
			}
		}
		return conn.ClientTrackingOn(ctx, &redis.ClientTrackingOptions{Bcast: true, Prefixes: []string{s.opts.Prefix}}).Err()
	}
	client := redis.NewClient(&own)
	defer func() { _ = client.Close() }()
	if err := client.RegisterPushNotificationHandler("invalidate", pushes{s}, false); err != nil {
		return wrap(err)
	}
	subscription := client.Subscribe(ctx, s.opts.Prefix+"silence")
	defer func() { _ = subscription.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = subscription.Close() }) // ends a waiting Receive
	defer stop()

	var wg sync.WaitGroup
	defer wg.Wait()
	silence := func() {} // ends the pings of the previous connection
	defer func() { silence() }()
	for {
		// After a read that timed out, no further read is possible: it may have stopped
		// within a push.
		message, err := subscription.ReceiveTimeout(ctx, silentFor)
		if err != nil {
			return fmt.Errorf("rediscache: tracking %s: %w", addr, err)
		}
		if _, ok := message.(*redis.Subscription); !ok {
			continue
		}
		// The connection is new, also when the client reconnected by itself. Values in
		// memory may have changed without a push.
		s.memory.InvalidateAll(0)
		t.report(ctx, addr, nil)
		silence()
		pinging, end := context.WithCancel(ctx)
		silence = end
		wg.Go(func() {
			for pinging.Err() == nil {
				_ = subscription.Ping(pinging) // a lost connection returns no reply
				pause(pinging, pingEvery)
			}
		})
	}
}

// pushes applies the pushes of a server.
type pushes struct{ *Store }

// HandlePushNotification implements push.NotificationHandler.
func (s pushes) HandlePushNotification(_ context.Context, _ push.NotificationHandlerContext, notification []any) error {
	if len(notification) < 2 {
		s.memory.InvalidateAll(0)
		return nil
	}
	keys, ok := notification[1].([]any)
	if !ok { // after FLUSHALL and FLUSHDB
		s.memory.InvalidateAll(0)
		return nil
	}
	s.stats.tracked.Add(uint64(len(keys)))
	for _, key := range keys {
		name, ok := key.(string)
		if !ok {
			s.memory.InvalidateAll(0)
			return nil
		}
		s.changed(name)
	}
	return nil
}

// changed applies a push for a name in Redis.
func (s *Store) changed(name string) {
	rest, ok := strings.CutPrefix(name, s.opts.Prefix)
	switch {
	case !ok:
	case strings.HasPrefix(rest, "tag:"):
		s.memory.InvalidateTag(driver.TagHash(rest[len("tag:"):]))
	case len(rest) < 2 || rest[0] != '{' || rest[len(rest)-1] != '}': // such as a lease
	case hashed(rest[1 : len(rest)-1]):
		s.memory.InvalidateAll(0)
	default:
		s.memory.InvalidateKey(driver.KeyHash(rest[1 : len(rest)-1]))
	}
}

// hashed reports whether a name in Redis may be that of a key that is too long: its hash in
// 43 characters between two signs, and 64 bytes of the key.
func hashed(name string) bool { return len(name) > 45 && name[0] == '#' && name[44] == '#' }
