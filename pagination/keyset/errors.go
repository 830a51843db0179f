package keyset

import (
	"errors"
	"fmt"
)

var (
	// ErrInvalidCursor reports a cursor that this list did not issue to this caller for
	// this order and filter, or that has expired.
	ErrInvalidCursor = errors.New("keyset: invalid cursor")
	// ErrExpiredCursor reports a cursor that was good and is too old. It wraps
	// [ErrInvalidCursor].
	ErrExpiredCursor = fmt.Errorf("%w: expired", ErrInvalidCursor)
)
