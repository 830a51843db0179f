package keyset

import (
	"errors"
	"fmt"
)

var (
	// ErrInvalidCursor reports a cursor that has expired, or that this list did not issue
	// to this caller for this order and filter.
	ErrInvalidCursor = errors.New("keyset: invalid cursor")
	// ErrExpiredCursor reports a valid cursor that is too old. It wraps [ErrInvalidCursor].
	ErrExpiredCursor = fmt.Errorf("%w: expired", ErrInvalidCursor)
)
