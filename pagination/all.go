package pagination

import (
	"context"
	"iter"
)

// AllOptions are the options of [Keyset.All].
type AllOptions struct {
	// Ordering is the order, as [Keyset.Order] takes it. Default: the keyset's own.
	Ordering string
	// Batch is the number of rows that one query reads and memory holds. Default: 1,000.
	Batch int
	// Cursor continues behind the row that [Keyset.Cursor] made it of. Default: "", the
	// beginning.
	Cursor string
	// Scope is what the cursors of this run are bound to besides the list and the order:
	// the filter, the tenant. Default: "".
	Scope string
}

// All reads the whole list behind the cursor in batches, each by its position, so that
// the millionth row costs what the first did and no long query or transaction is open.
// Rows that appear or vanish meanwhile are read or not; every other row is read once.
//
// An error ends the sequence, beside a zero row: a cursor that is not this list's
// ([ErrInvalidCursor]), or the source's. To continue after one, or in another process, hand the
// cursor of the last row that was processed to a new run.
func (k *Keyset[T]) All(ctx context.Context, source Seeker[T], opts *AllOptions) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		o, order, err := k.allOptions(opts)
		if err != nil {
			yield(none, err)
			return
		}
		q := Seek{Order: order, Limit: o.Batch}
		if o.Cursor != "" {
			at, err := k.decode(k.allScope(order, o.Scope), order, o.Cursor)
			if err != nil {
				yield(none, err)
				return
			}
			q.After = at.Values
		}
		var batch []T
		for {
			rows, err := seekBatch(ctx, source, batch, q)
			if err != nil {
				yield(none, err)
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			if len(rows) < o.Batch {
				return
			}
			at, err := k.position(order, rows[len(rows)-1], false)
			if err != nil {
				yield(none, err)
				return
			}
			q.After, batch = at.Values, rows
		}
	}
}

// seekBatch reads a batch, into the memory of the last one where the source can.
func seekBatch[T any](ctx context.Context, source Seeker[T], last []T, q Seek) ([]T, error) {
	if s, ok := source.(interface {
		seekInto(ctx context.Context, list []T, q Seek) ([]T, error)
	}); ok {
		clear(last) // what a row points to must not outlive its batch
		return s.seekInto(ctx, last[:0], q)
	}
	return source.Seek(ctx, q)
}

// Cursor returns the cursor with which [Keyset.All], under the same order and scope,
// continues behind a row.
func (k *Keyset[T]) Cursor(row T, opts *AllOptions) (string, error) {
	o, order, err := k.allOptions(opts)
	if err != nil {
		return "", err
	}
	at, err := k.position(order, row, false)
	if err != nil {
		return "", err
	}
	return k.cursors.Encode(k.allScope(order, o.Scope), *at)
}

func (k *Keyset[T]) allOptions(opts *AllOptions) (AllOptions, Order, error) {
	var o AllOptions
	if opts != nil {
		o = *opts
	}
	if o.Batch < 1 {
		o.Batch = 1000
	}
	order, err := k.Order(o.Ordering)
	return o, order, err
}

// allScope differs from every scope of a request, whose filter is a query string: "?" is
// escaped in one.
func (k *Keyset[T]) allScope(order Order, scope string) Scope {
	return k.newScope(order, "?all", scope)
}
