package cache

import (
	"errors"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// Errors of a store, for errors.Is.
var (
	ErrEmptyKey    = driver.ErrEmptyKey    // a key was ""
	ErrInvalidTTL  = driver.ErrInvalidTTL  // a time to live was below a millisecond
	ErrClosed      = driver.ErrClosed      // the store was closed
	ErrTooLarge    = driver.ErrTooLarge    // a value is larger than the store or the options allow
	ErrUnavailable = driver.ErrUnavailable // the store cannot be reached
	ErrPending     = driver.ErrPending     // the store applies this write later; see Options.Strict
)

// errNoState means that a tag has no state, for example because its node is full. A value
// that was stored without a state would be valid after each invalidation of the tag.
var errNoState = errors.New("the store has no room for the state of a tag, so the value is not stored")
