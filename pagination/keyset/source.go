package keyset

import "context"

// Seeker is a list that can be read from a position in an order. [SQLSource] is one.
type Seeker[T any] interface {
	// Seek returns at most q.Limit rows behind q.After, in the order of the walk. The first
	// row of a backward seek is the row nearest to the position.
	Seek(ctx context.Context, q Seek) (Batch[T], error)
}

// Batch is a part of a list.
type Batch[T any] struct {
	// Rows are the rows, in the order of the walk.
	Rows []T
	// Keys are the sort keys of the rows as the database returned them, one row after the
	// other. Default: nil, the results of [Column].Value.
	Keys []Value

	values  bool // Column.Value returns the keys
	sql     bool // the database compared and sorted by the same expressions
	dialect Dialect
}

// SeekerFunc makes a function a [Seeker]. The keys of its rows come from [Column].Value.
type SeekerFunc[T any] func(ctx context.Context, q Seek) ([]T, error)

// Seek calls f.
func (f SeekerFunc[T]) Seek(ctx context.Context, q Seek) (Batch[T], error) {
	rows, err := f(ctx, q)
	return Batch[T]{Rows: rows, values: true}, err
}
