// Package driver is the seam between package cache and its stores. Only authors of stores
// and of decorators need it.
//
// A store implements [Store]: it receives operations in batches and reports one result for
// each operation. A decorator embeds a Store and overrides Do, so that it keeps every
// ability of the store below it. [Local] makes a Store of anything that has Get, Set and
// Delete. Package cachetest has a suite for both.
package driver

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"
)

// Store executes operations. All methods are safe for concurrent use.
type Store interface {
	// Do executes ops in their order and writes the results into them. One operation that
	// fails sets its own Err and affects no other. Do returns soon after ctx ends. The
	// store may read the fields of ops until Do returns, and not later.
	Do(ctx context.Context, ops []Op)
	// Capabilities describes the store. The result does not change.
	Capabilities() Capabilities
}

// Capabilities describes a store.
type Capabilities struct {
	// Memory is the local tier of this process in front of the store. The store reports
	// every invalidation to it, those of other processes included. Required.
	Memory *Memory
	// Timeout is the bound of Do for each round trip. Callers then need no timer of their
	// own. Default: 0, the caller bounds Do.
	Timeout time.Duration
	// MemoryOnly means that the Memory is the only tier, and Do is not used. Default: false.
	MemoryOnly bool
	// Shared means that other processes use the same values. Default: false.
	Shared bool
}

// Kind names the effect of an operation.
type Kind uint8

// The kinds. A value is the argument of Set or Fill. The store may keep a lease
// and other fields beside it.
const (
	// Get reads Key: Value is nil if there is none, and Seen identifies it. The caller
	// may keep the slice, and must not change it.
	Get Kind = iota
	// Set stores a copy of Value for TTL and ends the lease of Key.
	Set
	// Delete removes Key and ends its lease. A missing key is no error.
	Delete
	// Expire keeps the value of Key for TTL more, with Expired set in later Gets, and ends
	// the lease of Key.
	Expire
	// Lease asks for the right to load Key for TTL under Token. Seen identifies the value
	// that the caller read, 0 for none. The store sets State. A lease whose token is an offer
	// (see NewOfferToken) is granted to the next caller that asks.
	Lease
	// Fill stores Value for TTL if Token still holds the lease of Key, and ends the lease.
	// Done reports whether the value was stored.
	Fill
	// Extend prolongs the lease of Token to TTL from now.
	Extend
	// Release ends the lease of Token without a value.
	Release
	// TagState reads the state of the tag Key into Token. It is "" if the tag has no state.
	// With a TTL, the store creates a missing state, and the state lives for TTL at least.
	// A Token that the caller gives is a state that it knows: the store may return it.
	TagState
	// Invalidate gives the tag Key a new state. No earlier state of the tag ever returns.
	Invalidate
	// Sync reports to the Memory every invalidation that returned before, in any process.
	// It fails if some may have been missed.
	Sync
)

// Op is one operation with its result.
type Op struct {
	Kind    Kind
	State   LeaseState // result of Lease
	Done    bool       // result of Fill
	Expired bool       // result of Get: the value outlived Expire
	Key     string
	Token   string
	Value   []byte
	TTL     time.Duration
	Seen    uint64
	Err     error // result: nil, or why this operation failed
}

// LeaseState is the result of a Lease.
type LeaseState uint8

// The lease states.
const (
	LeaseHeld    LeaseState = iota // another load holds the lease
	LeaseGranted                   // load, then Fill or Release
	LeaseMoot                      // the value is not the one that was seen: read it again
)

// Errors that stores report.
var (
	// ErrEmptyKey means that a key was "".
	ErrEmptyKey = errors.New("cache: the key is empty")
	// ErrInvalidTTL means that a time to live was below a millisecond.
	ErrInvalidTTL = errors.New("cache: the time to live must be at least a millisecond")
	// ErrClosed means that the store was closed.
	ErrClosed = errors.New("cache: the store is closed")
	// ErrTooLarge means that a value is larger than the store or the options allow.
	ErrTooLarge = errors.New("the value is too large")
	// ErrUnavailable means that the store cannot be reached.
	ErrUnavailable = errors.New("cache: the store cannot be reached")
	// ErrPending means that the store cannot be reached, and that it applies this write
	// as soon as it can be reached. The write is done in this process.
	ErrPending = errors.New("cache: the store applies this write later; other processes see the old value until then")
)

// Check returns the error that the arguments of an operation deserve, or nil.
func (op *Op) Check() error {
	switch {
	case op.Key == "" && op.Kind != Sync:
		return ErrEmptyKey
	case op.TTL < time.Millisecond && (op.Kind == Set || op.Kind == Expire || op.Kind == Lease || op.Kind == Fill || op.Kind == Extend):
		return ErrInvalidTTL
	}
	return nil
}

// Fail sets the error of each operation without one.
func Fail(ops []Op, err error) {
	for i := range ops {
		if ops[i].Err == nil {
			ops[i].Err = err
		}
	}
}

// NewToken returns a text that no other call ever returns, for leases and tag states.
func NewToken() string { return rand.Text()[:16] }

// NewOfferToken returns a token for the lease of a value that is already loaded. The first
// other Lease of the key ends it, so that no process waits for an offer.
func NewOfferToken() string { return "~" + rand.Text()[:15] }

// IsOffer reports whether NewOfferToken made a token.
func IsOffer(token string) bool { return strings.HasPrefix(token, "~") }
