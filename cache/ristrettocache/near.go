package ristrettocache

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/mainstay-go/mainstay/cache"
)

// Near is a cache.Near over ristretto: values as they are, shared by all who read them.
// What has expired stays until there is need for its room, which spares each read a look
// at the clock. It is safe for concurrent use. Ristretto runs two goroutines of its own until Close.
type Near struct {
	mu      sync.RWMutex // held for reading by writers, for writing by Close
	closed  atomic.Bool
	readers readers
	engine  *ristretto.Cache[uint64, *object]
	version atomic.Uint64
	coh     *cache.Coherence
}

type object struct {
	value   any
	version uint64
}

var (
	_ cache.Near     = (*Near)(nil)
	_ cache.Coherent = (*Near)(nil)
)

// NewNear returns an empty one. Several cache.Typed may share it. opts may be nil.
func NewNear(opts *Options) (*Near, error) {
	max, err := opts.maxBytes()
	if err != nil {
		return nil, err
	}
	engine, err := ristretto.NewCache(&ristretto.Config[uint64, *object]{
		NumCounters:        counters(max),
		MaxCost:            max,
		BufferItems:        64,
		IgnoreInternalCost: true,
		KeyToHash:          func(hash uint64) (uint64, uint64) { return hash, 0 },
		ShouldUpdate:       func(now, before *object) bool { return now.version > before.version },
	})
	if err != nil {
		return nil, fmt.Errorf("ristrettocache: %w", err)
	}
	return &Near{engine: engine, coh: cache.NewCoherence()}, nil
}

// Coherence is shared by the caches that have nothing but this.
func (n *Near) Coherence() *cache.Coherence { return n.coh }

// Load returns the value of a hash.
func (n *Near) Load(hash uint64) (any, bool) {
	inside := n.readers.enter()
	if n.closed.Load() {
		inside.Add(-1)
		return nil, false
	}
	o, ok := n.engine.Get(hash)
	inside.Add(-1)
	if !ok {
		return nil, false
	}
	return o.value, true
}

// Store keeps a value, unless the admission policy refuses it; then an older value is
// gone too.
func (n *Near) Store(hash uint64, value any, cost int64) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.closed.Load() {
		return
	}
	o := &object{value, n.version.Add(1)}
	keep(n.engine, hash, o, cost+overhead, 0, func(now *object) bool { return now.version >= o.version })
}

// Remove drops the value of a hash.
func (n *Near) Remove(hash uint64) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if !n.closed.Load() {
		n.engine.Del(hash)
		n.engine.Wait() // a Store that was queued before must not come after
	}
}

// Close frees the memory; it holds nothing from then on.
func (n *Near) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed.Swap(true) {
		n.readers.wait()
		n.engine.Close()
	}
	return nil
}

// readers counts who is inside of Load, since a ristretto that is closed under a reader
// may panic. A lock would cost as much as the read itself; these are counters apart from
// each other, of which a reader takes any.
type readers [16]struct {
	n atomic.Int64
	_ [56]byte
}

// enter counts the caller in; it counts itself out.
func (r *readers) enter() *atomic.Int64 {
	n := &r[rand.Uint32()%uint32(len(r))].n
	n.Add(1)
	return n
}

// wait returns when all have left who could not see yet that it is closed.
func (r *readers) wait() {
	for i := range r {
		for r[i].n.Load() != 0 {
			runtime.Gosched()
		}
	}
}

// keep stores a value so that it, or one that newEnough accepts, is there afterwards, or
// nothing is. A Set of a new key only queues it, and of two that are queued together
// the first stays. So it waits until the queue is worked off and looks: what is there
// then is resident, and replacing something resident happens at once.
func keep[K ristretto.Key, V any](engine *ristretto.Cache[K, V], key K, value V, cost int64, ttl time.Duration, newEnough func(V) bool) {
	const attempts = 3
	for range attempts {
		accepted := engine.SetWithTTL(key, value, cost, ttl)
		engine.Wait()
		now, resident := engine.Get(key)
		switch {
		case resident && newEnough(now):
			return
		case !resident && accepted:
			return // refused by the admission policy
		}
	}
	engine.Del(key) // rather nothing than something old
	engine.Wait()
}

func (o *Options) maxBytes() (int64, error) {
	if o == nil || o.MaxBytes == 0 {
		return 64 << 20, nil
	}
	if o.MaxBytes < 1<<10 {
		return 0, errors.New("ristrettocache: MaxBytes must be at least 1024")
	}
	return o.MaxBytes, nil
}

// counters are ten for each entry that fits, as ristretto advises, at 1 KiB an entry.
func counters(maxBytes int64) int64 { return max(1_000, min(maxBytes/100, 100_000_000)) }
