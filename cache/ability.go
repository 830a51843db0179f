package cache

import (
	"context"
	"crypto/rand"
	"time"
)

// What a store may be able to do besides [Cache]. A decorator passes on what the store
// below it can; see [Fallback].

// Leaser is a store that decides, among all processes, who loads a missing key, and
// refuses what was loaded before the key was written: Set and Delete end the lease. Each
// method works on many keys in one round trip, or one for each node, and answers in the
// order of its arguments.
type Leaser interface {
	// Lease asks for the right to load keys for ttl each.
	Lease(ctx context.Context, ttl time.Duration, leases ...Lease) ([]LeaseState, error)
	// Fill stores what was loaded and ends the leases; false where the lease is not the
	// token's any more, and then nothing is stored.
	Fill(ctx context.Context, fills ...Fill) (kept []bool, err error)
	// Extend gives leases ttl from now, if they are the tokens' still.
	Extend(ctx context.Context, ttl time.Duration, leases ...Lease) error
	// Release ends leases without a value.
	Release(ctx context.Context, leases ...Lease) error
}

// Lease is the right to load a key.
type Lease struct {
	Key   string
	Token string // who asks: unique for each load
	Seen  []byte // the stored value that the caller found unusable, nil if there was none
}

// Fill is what was loaded under a lease.
type Fill struct {
	Key, Token string
	Value      []byte
	TTL        time.Duration
}

// LeaseState is the answer to a Lease.
type LeaseState int

// The answers.
const (
	LeaseHeld    LeaseState = iota // by another load; ask again soon
	LeaseGranted                   // load, then Fill or Release
	LeaseMoot                      // the value is not the one that was seen; read again
)

// Tagger is a store that keeps a state for every tag: a string that is never the same
// again once the tag was invalidated.
type Tagger interface {
	// Read returns the values of keys, nil where there is none, and the states of tags,
	// which it creates as needed. All in one round trip, or one for each node.
	Read(ctx context.Context, keys, tags []string) (values [][]byte, states []string, err error)
	// InvalidateTags gives tags new states: the first one before any of the others.
	InvalidateTags(ctx context.Context, tags ...string) error
}

// Comparer is a store that changes a key only if its value still is the one that the
// caller has seen, in one step.
type Comparer interface {
	// Discard removes a value that nobody can use. It is no write: loads that run may
	// still fill the key, and nobody is told.
	Discard(ctx context.Context, key string, seen []byte) (done bool, err error)
	// Swap is a Set. With seen nil it stores only where there is nothing.
	Swap(ctx context.Context, key string, seen, value []byte, ttl time.Duration) (done bool, err error)
}

// Coherent is a store that hears of writes. The Coherence may be nil.
type Coherent interface {
	Coherence() *Coherence
}

// Near keeps values of any type in the memory of this process, by hash. It may drop any
// value at any time, and must not return one older than the last Store. Package
// ristrettocache has one. All methods are safe for concurrent use.
type Near interface {
	Load(hash uint64) (value any, ok bool)
	// Store keeps a value of cost bytes. When its time ends is for the caller to know.
	Store(hash uint64, value any, cost int64)
	Remove(hash uint64)
}

// abilities is what a store can do, and through which store it is used for that.
type abilities struct {
	store    Cache
	leaser   Leaser
	tagger   Tagger
	comparer Comparer
}

// decorator is a store whose abilities depend on the store below it.
type decorator interface {
	able(name string) abilities
}

// abilitiesOf is what a store can do for the cache of that name.
func abilitiesOf(store Cache, name string) abilities {
	if d, ok := store.(decorator); ok {
		return d.able(name)
	}
	a := abilities{store: store}
	a.leaser, _ = store.(Leaser)
	a.tagger, _ = store.(Tagger)
	a.comparer, _ = store.(Comparer)
	return a
}

func newToken() string { return rand.Text() }
