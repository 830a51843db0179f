package concurrency

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Memory is a Limiter within one process. Its slots cannot be lost: a caller that never
// releases one keeps it. It is safe for concurrent use.
type Memory struct {
	policy    Policy
	limitFunc ratelimit.LimitFunc
	trace     *ratelimit.Trace
	near      float64
	maxKeys   int
	seed      maphash.Seed
	shards    [64]shard
}

type shard struct {
	mu       sync.Mutex
	keys     map[string]*entry
	overflow entry // counts for all keys that found no place
	stats    Stats
	_        [32]byte
}

// entry holds the slots of one key and its waiters.
type entry struct {
	used  int
	queue []*waiter
}

type waiter struct {
	weight, limit int
	in            chan struct{} // closed when it is let in
	used          int           // then
}

// Stats counts decisions of a Memory since New.
type Stats struct {
	// Keys is how many keys this process keeps now, InFlight how many of their slots are
	// taken, and Waiting how many callers wait.
	Keys, InFlight, Waiting int
	// Allowed and Denied count decisions.
	Allowed, Denied uint64
	// Crowded counts decisions on the slots that keys share while MaxKeys others are in use.
	Crowded uint64
}

// New returns a limiter that counts in this process. Of opts, which may be nil, MaxKeys
// bounds the keys with something in flight, and LimitFunc, NearLimit and Trace apply.
func New(policy Policy, opts *ratelimit.Options) (*Memory, error) {
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	var o ratelimit.Options
	if opts != nil {
		o = *opts
	}
	switch {
	case o.MaxKeys < 0:
		return nil, fmt.Errorf("concurrency: MaxKeys %d is negative", o.MaxKeys)
	case !(o.NearLimit >= 0 && o.NearLimit <= 1):
		return nil, fmt.Errorf("concurrency: NearLimit %v is not between 0 and 1", o.NearLimit)
	}
	o.MaxKeys = cmp.Or(o.MaxKeys, 1_000_000)
	o.NearLimit = cmp.Or(o.NearLimit, 0.8)
	m := &Memory{
		policy: policy, limitFunc: o.LimitFunc, trace: o.Trace, near: o.NearLimit,
		maxKeys: max(1, o.MaxKeys/64), seed: maphash.MakeSeed(),
	}
	if o.MaxKeys < 64 { // one shard holds them all
		m.maxKeys = o.MaxKeys
	}
	for i := range m.shards {
		m.shards[i].keys = make(map[string]*entry)
	}
	return m, nil
}

// Policy implements Limiter.
func (m *Memory) Policy() Policy { return m.policy }

func (m *Memory) shard(key string) *shard {
	if m.maxKeys < 64 {
		return &m.shards[0]
	}
	return &m.shards[maphash.String(m.seed, key)%uint64(len(m.shards))]
}

// Acquire implements Limiter.
func (m *Memory) Acquire(ctx context.Context, key string, weight int) (*Slot, error) {
	r, decided, err := m.policy.Begin(ctx, m.limitFunc, key, weight)
	s := &Slot{result: r}
	if err != nil {
		return s, err
	}
	if !decided {
		if err = m.take(ctx, s, key); err != nil {
			return s, err
		}
	}
	Report(ctx, m.trace, m.near, key, s)
	return s, nil
}

// take gives s its slots, or waits for them.
func (m *Memory) take(ctx context.Context, s *Slot, key string) error {
	sh := m.shard(key)
	sh.mu.Lock()
	e := sh.place(key, m.maxKeys)
	s.crowded = e == &sh.overflow
	weight, limit := s.result.Cost, s.result.Limit
	if len(e.queue) == 0 && e.used+weight <= limit {
		e.used += weight
		sh.stats.Allowed++
		m.given(s, key, e.used)
		sh.mu.Unlock()
		return nil
	}
	if m.policy.Wait == 0 || m.policy.Shadow || len(e.queue) >= m.policy.MaxQueue() {
		sh.stats.Denied++
		m.policy.Settle(&s.result, false, e.used)
		sh.tidy(key, e)
		sh.mu.Unlock()
		return nil
	}
	w := &waiter{weight: weight, limit: limit, in: make(chan struct{})}
	e.queue = append(e.queue, w)
	sh.stats.Waiting++
	sh.mu.Unlock()
	timer := time.NewTimer(m.policy.Wait)
	defer timer.Stop()
	select {
	case <-w.in:
	case <-timer.C:
	case <-ctx.Done():
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.stats.Waiting--
	select {
	case <-w.in:
		if err := ctx.Err(); err != nil {
			e.used -= weight
			sh.serve(key, e)
			return err
		}
		sh.stats.Allowed++
		m.given(s, key, w.used)
		return nil
	default:
	}
	for i, o := range e.queue {
		if o == w {
			e.queue = append(e.queue[:i:i], e.queue[i+1:]...)
			break
		}
	}
	sh.serve(key, e) // the next may be lighter
	if err := ctx.Err(); err != nil {
		return err
	}
	sh.stats.Denied++
	m.policy.Settle(&s.result, false, e.used)
	return nil
}

func (m *Memory) given(s *Slot, key string, used int) {
	s.memory, s.key = m, key
	m.policy.Settle(&s.result, true, used)
}

// place returns the entry of key. While the entry that keys share is in use, every newcomer
// shares it: the key may have slots there, and would get its limit twice.
func (sh *shard) place(key string, maxKeys int) *entry {
	if e := sh.keys[key]; e != nil {
		return e
	}
	if len(sh.keys) >= maxKeys || sh.overflow.used > 0 || len(sh.overflow.queue) > 0 {
		sh.stats.Crowded++
		return &sh.overflow
	}
	e := &entry{}
	sh.keys[key] = e
	return e
}

// serve lets in the first waiters, as far as there is room.
func (sh *shard) serve(key string, e *entry) {
	for len(e.queue) > 0 {
		w := e.queue[0]
		if e.used+w.weight > w.limit {
			break
		}
		e.used += w.weight
		w.used = e.used
		e.queue = e.queue[1:]
		close(w.in)
	}
	sh.tidy(key, e)
}

func (sh *shard) tidy(key string, e *entry) {
	if e.used == 0 && len(e.queue) == 0 && e != &sh.overflow {
		delete(sh.keys, key)
	}
}

func (m *Memory) release(s *Slot) {
	sh := m.shard(s.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := &sh.overflow
	if !s.crowded {
		e = sh.keys[s.key]
	}
	e.used -= s.result.Cost
	sh.serve(s.key, e)
}

// Stats returns a snapshot. It looks at every key.
func (m *Memory) Stats() (st Stats) {
	for i := range m.shards {
		sh := &m.shards[i]
		sh.mu.Lock()
		st.Keys += len(sh.keys)
		st.InFlight += sh.overflow.used
		for _, e := range sh.keys {
			st.InFlight += e.used
		}
		st.Waiting += sh.stats.Waiting
		st.Allowed += sh.stats.Allowed
		st.Denied += sh.stats.Denied
		st.Crowded += sh.stats.Crowded
		sh.mu.Unlock()
	}
	return st
}

// Report is for implementations of Limiter: it calls the hooks of t, which may be nil. It
// releases s if a hook panics, since the caller does not receive s then.
func Report(ctx context.Context, t *ratelimit.Trace, near float64, key string, s *Slot) {
	if t == nil {
		return
	}
	returned, r := false, s.result
	defer func() {
		if !returned {
			_ = s.Release() // the panic goes on
		}
	}()
	e := ratelimit.DecidedEvent{Key: key, Result: r}
	if t.Decided != nil {
		t.Decided(ctx, e)
	}
	if t.NearLimit != nil && r.Allowed && !r.Shadowed && !r.Degraded && r.Limit != ratelimit.Unlimited {
		used, mark := float64(r.Limit-r.Remaining), near*float64(r.Limit)
		if used >= mark && used-float64(r.Cost) < mark {
			t.NearLimit(ctx, e)
		}
	}
	returned = true
}
