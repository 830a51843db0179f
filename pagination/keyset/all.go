package keyset

import (
	"context"
	"iter"
	"slices"

	"github.com/mainstay-go/mainstay/internal/batch"
)

// AllOptions are the options of [Keyset.All].
type AllOptions struct {
	// Ordering is the order, in the form of [Keyset.Order]. Default: the keyset's own.
	Ordering string
	// Batch is the number of rows that memory holds. One query reads them and the row behind
	// them. Default: 1,000.
	Batch int
	// Cursor continues behind the row of a [Walk.Cursor]. Default: "", the beginning.
	Cursor string
	// Scope is the part of the cursors' scope besides the list and the order, such as the
	// filter and the tenant. Default: "".
	Scope string
}

// Walk reads a whole list. It is for one goroutine.
type Walk[T any] struct {
	keyset *Keyset[T]
	ctx    context.Context //nolint:containedctx // of one loop, as for All
	source Seeker[T]
	opts   *AllOptions
	order  Order
	scope  Scope
	at     []Value // position of the last row that was yielded
}

// All reads the whole list behind the cursor in batches. Each batch starts at a position,
// so the millionth row costs as much as the first one, and no long query or transaction is
// open.
//
// All reads a row once if the row exists during the whole walk and its sort keys do not
// change. All may or may not read a row that is inserted or deleted during the walk. It may
// read a row twice or never if its sort keys change during the walk. It does not read a row
// behind the position from a transaction that commits late. If these cases matter, read
// from [Snapshot].
//
// An error ends the sequence, with a zero row beside it. It is [ErrInvalidCursor] for a
// cursor of another list, [ErrWalk] for a source that breaks the order, or the error of the
// source.
//
// If the source reads from a *sql.DB, the query ends on the server when ctx ends. On
// MariaDB and MySQL, All kills it through a second connection of the pool.
func (k *Keyset[T]) All(ctx context.Context, source Seeker[T], opts *AllOptions) iter.Seq2[T, error] {
	return k.Walk(ctx, source, opts).Rows()
}

// Walk is [Keyset.All] with a cursor, from which a later run or another process can
// continue.
func (k *Keyset[T]) Walk(ctx context.Context, source Seeker[T], opts *AllOptions) *Walk[T] {
	return &Walk[T]{keyset: k, ctx: ctx, source: source, opts: opts}
}

// Cursor returns the cursor behind the last row that Rows yielded. Pass it as
// [AllOptions].Cursor to a walk with the same order and scope. It is "" before the first
// row.
func (w *Walk[T]) Cursor() (string, error) {
	if w.at == nil {
		return "", nil
	}
	return w.keyset.cursor(w.ctx, w.source, w.scope, w.order, Position{Values: w.at})
}

// Rows yields the rows.
func (w *Walk[T]) Rows() iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		n := 0
		err := w.each(func(b Batch[T]) bool {
			n = len(w.order.keys)
			for i, row := range b.Rows {
				w.at = b.Keys[i*n : i*n+n : i*n+n]
				if !yield(row, nil) {
					w.at = slices.Clone(w.at)
					return false
				}
			}
			return true
		})
		if err != nil {
			yield(none, err)
		}
	}
}

// each calls f for each batch until it returns false.
func (w *Walk[T]) each(f func(Batch[T]) bool) error {
	k, ctx, source := w.keyset, batch.Mark(w.ctx), w.source
	o, order, err := k.allOptions(w.opts)
	if err != nil {
		return err
	}
	k.unverified(ctx)
	w.order, w.scope = order, k.allScope(order, o.Scope)
	// One more row than the batch: two rows with the same keys may lie on both sides of its end.
	q := Seek{Order: order, Limit: o.Batch + 1, usual: o.Batch + 1}
	if o.Cursor != "" {
		at, err := k.decode(ctx, source, w.scope, order, o.Cursor)
		if err != nil {
			return err
		}
		q.After, w.at = at.Values, at.Values
	}
	var b Batch[T]
	n := len(order.keys)
	for {
		if b, err = seekBatch(ctx, source, b, q); err == nil {
			err = k.checked(q, &b)
		}
		if err != nil {
			return err
		}
		part, size := b, min(len(b.Rows), o.Batch)
		part.Rows, part.Keys = b.Rows[:size], b.Keys[:size*n]
		if !f(part) || len(b.Rows) <= o.Batch {
			return nil
		}
		q.After = slices.Clone(part.Keys[len(part.Keys)-n:])
		w.at = q.After
	}
}

// seekBatch reads a batch. It reuses the memory of the last batch if the source can.
func seekBatch[T any](ctx context.Context, source Seeker[T], last Batch[T], q Seek) (Batch[T], error) {
	if s, ok := source.(interface {
		seekInto(ctx context.Context, batch Batch[T], q Seek) (Batch[T], error)
	}); ok {
		clear(last.Rows) // the memory behind a row must not outlive its batch
		clear(last.Keys)
		return s.seekInto(ctx, Batch[T]{Rows: last.Rows[:0], Keys: last.Keys[:0]}, q)
	}
	return source.Seek(ctx, q)
}

func (k *Keyset[T]) allOptions(opts *AllOptions) (AllOptions, Order, error) {
	var o AllOptions
	if opts != nil {
		o = *opts
	}
	if o.Batch < 1 {
		o.Batch = 1000
	}
	o.Batch = min(o.Batch, 1<<30)
	order, err := k.Order(o.Ordering)
	return o, order, err
}

// allScope differs from the scope of every request: a request's filter is a query string,
// in which "?" is escaped.
func (k *Keyset[T]) allScope(order Order, scope string) Scope {
	return k.newScope(order, "?all", scope)
}
