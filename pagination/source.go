package pagination

import (
	"context"
	"math"
)

// NoLimit is the limit that a [Lister] receives for an unpaginated list. Every database
// accepts it as a LIMIT.
const NoLimit = math.MaxInt32

// Lister is a list that can be read from an offset. The order must be total: end it with a
// unique column. Otherwise rows may appear on two pages and others on no page.
type Lister[T any] interface {
	// List returns at most limit rows, beginning with the row at offset. limit is at
	// least 1 and offset at least 0.
	List(ctx context.Context, limit int, offset int64) ([]T, error)
}

// ListerFunc makes a function a [Lister].
type ListerFunc[T any] func(ctx context.Context, limit int, offset int64) ([]T, error)

// List calls f.
func (f ListerFunc[T]) List(ctx context.Context, limit int, offset int64) ([]T, error) {
	return f(ctx, limit, offset)
}

// Counter is a [Lister] that can count its rows. The exact and remembered [CountPolicy]
// need it.
type Counter interface {
	Count(ctx context.Context) (int64, error)
}

// CappedCounter counts at most most rows and returns at most that number. The capped
// [CountPolicy] uses it, and falls back to [Counter].
type CappedCounter interface {
	CountUpTo(ctx context.Context, most int64) (int64, error)
}

// Estimator estimates the number of rows from statistics, in the time of one look-up. The
// estimated [CountPolicy] needs it.
type Estimator interface {
	EstimateCount(ctx context.Context) (int64, error)
}

// Source joins two functions to a [Lister] with a [Counter], for query builders and
// ORMs.
type Source[T any] struct {
	// ListFunc returns at most limit rows after the first offset rows. Required.
	ListFunc func(ctx context.Context, limit int, offset int64) ([]T, error)
	// CountFunc returns the number of all rows. Required unless the list is not counted.
	CountFunc func(ctx context.Context) (int64, error)
}

// List calls ListFunc.
func (s Source[T]) List(ctx context.Context, limit int, offset int64) ([]T, error) {
	return s.ListFunc(ctx, limit, offset)
}

// Count calls CountFunc.
func (s Source[T]) Count(ctx context.Context) (int64, error) { return s.CountFunc(ctx) }

// Slice is a list in memory.
type Slice[T any] []T

// List returns a part of the slice. The caller must not change it.
func (s Slice[T]) List(_ context.Context, limit int, offset int64) ([]T, error) {
	if offset >= int64(len(s)) {
		return nil, nil
	}
	rest := s[offset:]
	return rest[:min(limit, len(rest)):min(limit, len(rest))], nil
}

// Count returns the length of the slice.
func (s Slice[T]) Count(context.Context) (int64, error) { return int64(len(s)), nil }
