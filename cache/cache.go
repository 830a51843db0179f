package cache

import (
	"context"
	"errors"
	"time"
)

// Cache keeps bytes under keys. It is implemented by back-ends and decorators, and all
// methods are safe for concurrent use.
type Cache interface {
	// Get returns the value of a key, and false if there is none (any more). The
	// caller may keep and change the slice. Absence is never an error.
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	// Set stores a copy of value, which may be empty or nil, for ttl. A Get that
	// begins after Set has returned does not see an older value.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Delete removes keys; those that do not exist are no error. When it fails, some
	// may still be there.
	Delete(ctx context.Context, keys ...string) error
}

// Errors that callers may ask for with errors.Is.
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
	// ErrDegraded means that a write is done in this process, and that the store is told of
	// it as soon as it can be reached; see FallbackOptions.Strict.
	ErrDegraded = errors.New("cache: the store is told of this write later; other processes see the old value until then")
)

// Validate is the check of a Set that each back-end owes its callers.
func Validate(ctx context.Context, key string, ttl time.Duration) error {
	switch {
	case key == "":
		return ErrEmptyKey
	case ttl < time.Millisecond:
		return ErrInvalidTTL
	}
	return ctx.Err()
}
