// Package driver is the interface between package cache and its stores. Only authors of
// stores and of decorators need it.
//
// A store implements [Store]: it receives operations in batches and reports one result for
// each operation. A decorator embeds a Store and overrides Do, so that it keeps every
// feature of the store below it. [Local] makes a Store of anything that has Get, Set and
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
	// Do executes ops in their order and writes the results into them. An operation that
	// fails sets its own Err and affects no other operation. Do returns soon after ctx
	// ends. The store may read the fields of ops only until Do returns.
	Do(ctx context.Context, ops []Op)
	// Capabilities describes the store. The result does not change.
	Capabilities() Capabilities
}

// Capabilities describes a store.
type Capabilities struct {
	// Memory is the local tier of this process in front of the store. The store reports
	// every invalidation to it, including those of other processes. Required.
	Memory *Memory
	// Timeout is the limit of Do for each round trip. Callers then need no timer of their
	// own. Default: 0, the caller limits Do.
	Timeout time.Duration
	// MemoryOnly means that the Memory is the only tier, and Do is not used. Default:
	// false.
	MemoryOnly bool
	// Shared means that other processes use the same values. Default: false.
	Shared bool
}

// Kind names the effect of an operation.
type Kind uint8

// The kinds. A value is the argument of Set or Fill. The store may keep a lease and other
// fields with it.
const (
	// Get reads Key. Value is nil if there is none, and Seen identifies it. The caller may
	// keep the slice, and must not change it.
	Get Kind = iota
	// Set stores a copy of Value for TTL and ends the lease of Key.
	Set
	// Delete removes Key and ends its lease. A missing key is not an error.
	Delete
	// Expire keeps the value of Key for another TTL, with Expired set in later Gets, and
	// ends the lease of Key.
	Expire
	// Lease requests the right to load Key for TTL under Token. Seen identifies the value
	// that the caller read, or is 0 without a value. The store sets State. With LeaseHeld
	// it may set Left to the time until the other lease ends. If the token of a lease is an
	// offer (see NewOfferToken), the next caller that requests the lease receives it.
	Lease
	// Fill stores Value for TTL if Token still holds the lease of Key, and ends the lease.
	// Done reports whether the value was stored.
	Fill
	// Extend prolongs the lease of Token to TTL from now.
	Extend
	// Release ends the lease of Token without a value.
	Release
	// TagState reads the state of the tag Key into Token. It is "" if the tag has no state.
	// With a TTL, the store creates a missing state, and the state lives for at least TTL.
	// A Token from the caller is a state that the caller knows. The store may return it.
	TagState
	// Invalidate gives the tag Key a new state. An earlier state of the tag never returns.
	Invalidate
	// Sync reports to the Memory every invalidation that returned before, in any process.
	// It fails if some may have been missed.
	Sync
)

// Op is one operation with its result. The comment of each [Kind] names the fields that it uses.
type Op struct {
	Kind    Kind          // the type of the operation; the zero value is Get
	State   LeaseState    // result of Lease
	Done    bool          // result of Fill
	Expired bool          // result of Get: the value outlived Expire
	Key     string        // the key, or the tag of TagState and Invalidate; "" only for Sync
	Token   string        // of a lease; argument and result of TagState
	Value   []byte        // argument of Set and Fill; result of Get: nil without a value
	TTL     time.Duration // at least 1 ms for Set, Expire, Lease, Fill and Extend; may be 0 for TagState
	Seen    uint64        // identity of a value: result of Get, argument of Lease; 0 without a value of this store
	Left    time.Duration // result of Lease: how long the other lease lasts, 0 if unknown
	Err     error         // result: nil, or the error of this operation
}

// LeaseState is the result of a Lease.
type LeaseState uint8

// The lease states.
const (
	LeaseHeld    LeaseState = iota // another load holds the lease
	LeaseGranted                   // load, then Fill or Release
	LeaseMoot                      // the value is not the one that the caller read: read it again
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
	// ErrPending means that the store cannot be reached, and that it applies this write as
	// soon as it can be reached. The write is done in this process.
	ErrPending = errors.New("cache: the store applies this write later; other processes see the old value until then")
)

// Check returns an error for invalid arguments of an operation, or nil.
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

// NewToken returns a text that is unique among all calls, for leases and tag states.
func NewToken() string { return rand.Text()[:16] }

// NewOfferToken returns a token for the lease of a value that is already loaded. The first
// other Lease of the key ends it, so that no process waits for an offer.
func NewOfferToken() string { return "~" + rand.Text()[:15] }

// IsOffer reports whether NewOfferToken made a token.
func IsOffer(token string) bool { return strings.HasPrefix(token, "~") }
