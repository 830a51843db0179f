package rediscache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache/driver"
	"github.com/mainstay-go/mainstay/internal/redisdeadline"
)

// nodes are the servers behind the client, each with its own queue and circuit breaker.
type nodes struct {
	s      *Store
	mu     sync.RWMutex
	byAddr map[string]*node
	known  atomic.Bool // the client of a Cluster knows its nodes
}

// find makes the client of a Cluster learn its nodes, within the timeout of the store. Each
// later call of the client would otherwise do so, without a limit. The breaker of the node ""
// stands for all nodes until they are known.
func (ns *nodes) find(ctx context.Context) error {
	c, ok := ns.s.client.(*redis.ClusterClient)
	if !ok || ns.known.Load() {
		return nil
	}
	n := ns.at("")
	if !n.breaker.allow(time.Now()) {
		ns.s.stats.refused.Add(1)
		return driver.ErrUnavailable
	}
	began := time.Now()
	_, err := call(ctx, ns.s, ns.s.opts.Timeout, func(ctx context.Context) (*redis.Client, error) { return c.MasterForKey(ctx, "") })
	if n.finish(ctx, err, time.Since(began)) {
		err = fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
	}
	ns.known.Store(err == nil)
	return err
}

// of returns the node of a key. find must have returned nil before.
func (ns *nodes) of(ctx context.Context, place string) *node {
	if c, ok := ns.s.client.(*redis.ClusterClient); ok {
		if master, err := c.MasterForKey(ctx, place); err == nil {
			return ns.at(master.Options().Addr)
		}
	}
	return ns.at("")
}

// at returns the node with an address.
func (ns *nodes) at(addr string) *node {
	ns.mu.RLock()
	n := ns.byAddr[addr]
	ns.mu.RUnlock()
	if n != nil {
		return n
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.byAddr[addr] == nil {
		ns.byAddr[addr] = &node{s: ns.s, addr: addr}
	}
	return ns.byAddr[addr]
}

func (ns *nodes) all() (out []*node) {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	for _, n := range ns.byAddr {
		out = append(out, n)
	}
	return out
}

const (
	// maxFlying is the number of concurrent round trips to a node. Further calls wait and
	// share the next round trip.
	maxFlying = 8
	// maxShared is the number of operations of several callers in one round trip. Several
	// round trips of this size are faster than one large round trip: the server works on
	// one while this process decodes another.
	maxShared = 64
	// attempts is the number of times that operations are sent if connections turn out to
	// be broken. After a restart of the server, all connections in the pool are broken.
	attempts = 3
)

// node is a server. Concurrent calls share its round trips. A lone caller makes its own at
// once.
type node struct {
	s       *Store
	addr    string
	breaker breaker

	mu        sync.Mutex
	flying    int
	gathering bool // a round trip with the queue is about to begin
	queue     []*request
}

// request holds the operations of one caller.
type request struct {
	ops  []driver.Op
	few  [2]driver.Op  // memory for ops: most callers have a key and perhaps a tag
	done chan struct{} // receives once
}

var requests = sync.Pool{New: func() any { return &request{done: make(chan struct{}, 1)} }}

// do executes operations and applies their effects to this process.
func (n *node) do(ctx context.Context, ops []driver.Op) {
	if sets(ops) {
		n.set(ctx, ops)
	} else {
		n.exchange(ctx, ops)
	}
	n.s.settle(ops)
}

// settle records the writes that a node did not receive, and applies all writes to the memory
// of this process.
func (s *Store) settle(ops []driver.Op) {
	for i := range ops {
		op := &ops[i]
		if op.Err != nil && op.Kind <= driver.Expire && op.Kind != driver.Get || op.Err != nil && op.Kind == driver.Invalidate {
			op.Err = s.failed(op)
		}
		switch op.Kind { //nolint:exhaustive // the others leave memory as it is
		case driver.Set, driver.Delete, driver.Expire:
			if op.Key != "" {
				s.memory.InvalidateKey(driver.KeyHash(op.Key))
			}
		case driver.Invalidate:
			s.ensured.forget(op.Key)
			s.memory.InvalidateTag(driver.TagHash(op.Key))
		}
	}
}

func sets(ops []driver.Op) bool {
	for i := range ops {
		if ops[i].Kind == driver.Set {
			return true
		}
	}
	return false
}

// set executes operations with Sets in two round trips. In the first one, each Set takes the
// lease of its key. Any later write of the key ends that lease. So a value has no effect if
// it arrives late: after its caller gave up, and behind a later write of any process.
func (n *node) set(ctx context.Context, ops []driver.Op) {
	ctx, cancel := redisdeadline.Within(ctx, n.s.opts.Timeout) // for both
	defer cancel()
	for i := range ops {
		if ops[i].Kind == driver.Set {
			ops[i].Token = ""
		}
	}
	n.exchange(ctx, ops)
	var values []driver.Op
	var at []int
	for i := range ops {
		if op := &ops[i]; op.Kind == driver.Set && op.Err == nil {
			values, at = append(values, *op), append(at, i)
		}
	}
	if len(values) == 0 {
		return
	}
	n.exchange(ctx, values)
	for k, i := range at {
		ops[i] = values[k]
	}
}

// failed handles a write that did not succeed. A write is recorded as pending if the server
// did not receive it or cannot execute it now.
func (s *Store) failed(op *driver.Op) error {
	if errors.Is(op.Err, driver.ErrEmptyKey) || errors.Is(op.Err, driver.ErrInvalidTTL) || errors.Is(op.Err, driver.ErrTooLarge) ||
		errors.Is(op.Err, context.Canceled) || isReply(op.Err) && !passing(op.Err) {
		return op.Err
	}
	if !s.pending.note(target{op.Key, op.Kind == driver.Invalidate}) {
		return fmt.Errorf("%w, and %d writes wait for it already", driver.ErrUnavailable, s.opts.MaxPending)
	}
	return fmt.Errorf("%w: %w", driver.ErrPending, op.Err)
}

// passing reports whether the error of a server is temporary.
func passing(err error) bool {
	for _, prefix := range []string{"TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "MOVED", "ASK", "MISCONF", "NOREPLICAS", "BUSY ", "max number of clients"} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// exchange executes operations: at once, or together with those of other callers.
func (n *node) exchange(ctx context.Context, ops []driver.Op) {
	n.mu.Lock()
	if n.flying == 0 {
		n.flying++
		n.mu.Unlock()
		defer n.landed()
		n.send(ctx, ops)
		return
	}
	// The round trip may outlast this caller, so it works on a copy.
	r := requests.Get().(*request) //nolint:forcetypeassert // made by New
	r.ops = append(r.few[:0], ops...)
	n.queue = append(n.queue, r)
	if !n.gathering && n.flying < maxFlying {
		n.flying++
		n.gathering = true
		go n.gather()
	}
	n.mu.Unlock()
	select {
	case <-r.done:
		copy(ops, r.ops)
		r.ops, r.few = nil, [2]driver.Op{}
		requests.Put(r)
	case <-ctx.Done():
		driver.Fail(ops, ctx.Err())
	}
}

// landed starts the next round trip if callers wait.
func (n *node) landed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) == 0 || n.gathering {
		n.flying--
		return
	}
	go n.fly()
}

// gather lets the goroutines that can run now join a round trip, and makes it. Callers that
// shared the last round trip usually return together.
func (n *node) gather() {
	runtime.Gosched()
	n.fly()
}

// fly makes one round trip for the callers in the queue.
func (n *node) fly() {
	defer n.landed()
	n.mu.Lock()
	n.gathering = false
	size, k := 0, 0
	for k < len(n.queue) && (k == 0 || size+len(n.queue[k].ops) <= maxShared) {
		size += len(n.queue[k].ops)
		k++
	}
	requests := n.queue[:k:k]
	if n.queue = n.queue[k:]; len(n.queue) == 0 {
		n.queue = nil
	}
	n.mu.Unlock()
	if k == 0 {
		return
	}
	ops := make([]driver.Op, 0, size)
	for _, r := range requests {
		ops = append(ops, r.ops...)
	}
	n.send(context.Background(), ops)
	for _, r := range requests {
		copy(r.ops, ops)
		ops = ops[len(r.ops):]
		r.done <- struct{}{}
	}
}

// send executes operations in one round trip, if the breaker allows it.
func (n *node) send(ctx context.Context, ops []driver.Op) {
	if !n.breaker.allow(time.Now()) {
		n.s.stats.refused.Add(1)
		driver.Fail(ops, driver.ErrUnavailable)
		return
	}
	began := time.Now()
	err := n.execute(ctx, ops)
	n.report(ctx, ops, err, time.Since(began))
}

// execute makes the round trip within the timeout of the store.
func (n *node) execute(ctx context.Context, ops []driver.Op) (err error) {
	if n.s.guard {
		// In its own memory: if the client ignores deadlines, the round trip may outlast
		// this call.
		var done []driver.Op
		own := append([]driver.Op(nil), ops...)
		done, err = call(ctx, n.s, n.s.opts.Timeout, func(ctx context.Context) ([]driver.Op, error) {
			return own, (&batch{s: n.s, ops: own}).attempt(ctx)
		})
		copy(ops, done)
		return err
	}
	bounded, cancel := redisdeadline.Within(ctx, n.s.opts.Timeout)
	defer cancel()
	done, err := n.s.reads(bounded, ops)
	if broken(err) {
		done = false
		n.s.stats.retries.Add(1)
	}
	if !done {
		err = (&batch{s: n.s, ops: ops}).attempt(bounded)
	}
	n.s.reload(ctx, err)
	return err
}

// report records the end of a round trip in the breaker and the operations.
func (n *node) report(ctx context.Context, ops []driver.Op, err error, took time.Duration) {
	failed := n.finish(ctx, err, took)
	if err != nil {
		if failed {
			err = fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
		}
		driver.Fail(ops, err)
	}
}

// finish is judge for a call that ends with its caller. A caller that left early says nothing
// about the server.
func (n *node) finish(ctx context.Context, err error, took time.Duration) (failed bool) {
	if err != nil && ended(ctx) && took < n.late() && n.breaker.abandon(time.Now(), n.s.opts.Timeout) {
		return false
	}
	return n.judge(ctx, err, took)
}

// ended reports whether a context is over. A connection obeys the same deadline, and may report
// it before the context does.
func ended(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// late is how long a call without a reply takes that the store has ended, and not its caller.
func (n *node) late() time.Duration { return n.s.opts.Timeout * 9 / 10 }

// judge records the end of a call in the breaker, and reports whether the connection failed.
func (n *node) judge(ctx context.Context, err error, took time.Duration) (failed bool) {
	hung := err != nil && took >= n.late()
	failed = err != nil && !isReply(err)
	if changed := n.breaker.report(time.Now(), !failed, hung); changed {
		n.s.changedState(ctx, n.addr, err, failed)
	}
	return failed
}

// attempt executes the operations, and repeats them if a connection from the pool is
// broken.
func (b *batch) attempt(ctx context.Context) error {
	err := b.run(ctx)
	for k := 1; k < attempts && broken(err) && ctx.Err() == nil; k++ {
		b.s.stats.retries.Add(1)
		if k > 1 {
			pause(ctx, rand.N(10*time.Millisecond))
		}
		err = b.again(ctx)
	}
	return err
}

// broken reports whether an error comes from a disconnected server.
func broken(err error) bool {
	if err == nil {
		return false
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return false
	}
	for _, cut := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, cut) {
			return true
		}
	}
	return false
}
