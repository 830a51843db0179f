package driver

import (
	"context"
	"sync"
	"time"

	"github.com/zeebo/xxh3"
)

// Simple is a store of bytes under keys.
type Simple interface {
	// Get returns the value of a key, and false if there is none. The caller owns the
	// slice.
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	// Set stores a copy of value for ttl. A Get that begins after Set has returned does not
	// return an older value.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Delete removes keys. A missing key is not an error.
	Delete(ctx context.Context, keys ...string) error
}

// Local makes a Store of a Simple that only this process uses. It keeps leases and tag
// states itself. memory may be nil for a Memory of the default size.
func Local(simple Simple, memory *Memory) Store {
	if memory == nil {
		memory = NewMemory(0)
	}
	return &local{simple: simple, memory: memory, nonce: NewToken()}
}

type local struct {
	simple Simple
	memory *Memory
	nonce  string
	locks  [64]lock
	mu     sync.Mutex
	tags   map[string]string // states of invalidated tags
}

// lock serializes the operations on some keys. It is a channel and not a mutex, so that a
// caller can stop waiting when its context ends.
type lock struct {
	once   sync.Once
	mu     sync.Mutex // of ended
	held   chan struct{}
	leases map[string]lease
	ended  map[string]uint64 // identities of the values that Expire ended, by key
}

type lease struct {
	token string
	until time.Time
}

func (l *local) Capabilities() Capabilities { return Capabilities{Memory: l.memory} }

func (l *local) Do(ctx context.Context, ops []Op) {
	for i := range ops {
		op := &ops[i]
		if op.Err = op.Check(); op.Err == nil {
			op.Err = ctx.Err()
		}
		switch {
		case op.Err != nil, op.Kind == Sync:
		case op.Kind == TagState:
			op.Token = l.state(op.Key, false)
		case op.Kind == Invalidate:
			l.state(op.Key, true)
			l.memory.InvalidateTag(TagHash(op.Key))
		default:
			op.Err = l.locked(ctx, op)
		}
	}
}

func (l *local) state(tag string, next bool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tags == nil {
		l.tags = map[string]string{}
	}
	if next {
		l.tags[tag] = NewToken()
	}
	if s, ok := l.tags[tag]; ok {
		return s
	}
	return l.nonce
}

// locked executes an operation that changes a key.
func (l *local) locked(ctx context.Context, op *Op) error {
	k := &l.locks[xxh3.HashString(op.Key)%uint64(len(l.locks))]
	k.once.Do(func() {
		k.held, k.leases, k.ended = make(chan struct{}, 1), map[string]lease{}, map[string]uint64{}
	})
	if op.Kind == Get { // concurrent with writes, as the store allows it
		err := l.get(ctx, op)
		k.mu.Lock()
		op.Expired = op.Seen != 0 && k.ended[op.Key] == op.Seen
		k.mu.Unlock()
		return err
	}
	select {
	case k.held <- struct{}{}:
		defer func() { <-k.held }()
	case <-ctx.Done():
		return ctx.Err()
	}
	held, ok := k.leases[op.Key]
	ok = ok && time.Now().Before(held.until)
	switch op.Kind {
	case Set, Delete, Expire:
		delete(k.leases, op.Key)
		defer l.memory.InvalidateKey(KeyHash(op.Key))
		k.end(op.Key, 0)
		switch op.Kind { //nolint:exhaustive // only these three kinds
		case Set:
			return l.simple.Set(ctx, op.Key, op.Value, op.TTL)
		case Delete:
			return l.simple.Delete(ctx, op.Key)
		}
		if err := l.get(ctx, op); err != nil || op.Value == nil {
			return err
		}
		k.end(op.Key, op.Seen)
		return l.simple.Set(ctx, op.Key, op.Value, op.TTL)
	case Lease:
		if ok && held.token != op.Token && !IsOffer(held.token) {
			op.State, op.Left = LeaseHeld, time.Until(held.until)
			return nil
		}
		now := Op{Key: op.Key}
		if err := l.get(ctx, &now); err != nil {
			return err
		}
		if now.Seen != op.Seen {
			op.State = LeaseMoot
			return nil
		}
		k.leases[op.Key], op.State = lease{op.Token, time.Now().Add(op.TTL)}, LeaseGranted
	case Extend:
		if ok && held.token == op.Token {
			k.leases[op.Key] = lease{op.Token, time.Now().Add(op.TTL)}
		}
	case Release, Fill:
		if !ok || held.token != op.Token {
			return nil
		}
		delete(k.leases, op.Key)
		defer l.memory.Wake(KeyHash(op.Key))
		if op.Kind == Fill {
			k.end(op.Key, 0)
			err := l.simple.Set(ctx, op.Key, op.Value, op.TTL)
			op.Done = err == nil
			return err
		}
	}
	return nil
}

func (l *local) get(ctx context.Context, op *Op) (err error) {
	var found bool
	if op.Value, found, err = l.simple.Get(ctx, op.Key); !found {
		op.Value = nil
	} else if op.Value == nil {
		op.Value = []byte{}
	}
	op.Seen = seen(op.Value)
	return err
}

// end marks the value of a key as expired. 0 removes the mark.
func (k *lock) end(key string, value uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if delete(k.ended, key); value != 0 {
		k.ended[key] = value
	}
}

// seen returns the identity of a value, or 0 without a value.
func seen(value []byte) uint64 {
	if value == nil {
		return 0
	}
	return xxh3.Hash(value) | 1
}
