package keyset

import (
	"context"
	"fmt"
	"net/http"
	"slices"
)

// FilterOptions are the options of [Keyset.PaginateFiltered].
type FilterOptions struct {
	// Rounds is the number of queries for one page. Each reads twice the rows of the query
	// before. Default: 5, which reads up to 31 times the size of the page.
	Rounds int
}

type filter[T any] struct {
	keep   func(context.Context, []T) ([]bool, error)
	rounds int
}

// PaginateFiltered is [Keyset.Paginate] for a list whose permissions the database cannot
// evaluate. keep receives the rows that were read and returns true for each row to show.
// More rows are read until the page is full.
//
// If keep rejects most rows, a page may be short or empty and still have a next page, which
// continues at the end of the search. Only a page without a next link is the last. No row
// is lost or shown twice. Such a link contains the sort keys of a row that was not shown:
// encrypt the cursors if a client must not see them.
//
// Use a WHERE instead if the filter can be one. opts may be nil.
func (k *Keyset[T]) PaginateFiltered(r *http.Request, source Seeker[T], keep func(context.Context, []T) ([]bool, error),
	opts *FilterOptions,
) (*Page[T], error) {
	only := &filter[T]{keep: keep, rounds: 5}
	if opts != nil && opts.Rounds > 0 {
		only.rounds = opts.Rounds
	}
	return k.paginate(r, source, only)
}

func (k *Keyset[T]) gatherKept(ctx context.Context, source Seeker[T], q Seek, only *filter[T]) (g gathered[T], err error) {
	size, n := q.Limit-1, len(q.Order.keys)
	// Each round reads one more row than it uses: two rows with the same keys may lie on both
	// sides of its end.
	q.Limit, q.usual = q.Limit+1, q.usual+1
	for range only.rounds {
		b, err := k.seek(ctx, source, q)
		if err != nil {
			return gathered[T]{}, err
		}
		more := len(b.Rows) == q.Limit
		if more {
			b.Rows, b.Keys = b.Rows[:q.Limit-1], b.Keys[:(q.Limit-1)*n]
		}
		kept, err := only.keep(ctx, b.Rows)
		if err != nil {
			return gathered[T]{}, err
		}
		if len(kept) != len(b.Rows) {
			return gathered[T]{}, fmt.Errorf("keyset: keep returned %d results for %d rows", len(kept), len(b.Rows))
		}
		for i, row := range b.Rows {
			switch keys := b.Keys[i*n : i*n+n : i*n+n]; {
			case !kept[i]:
				continue
			case len(g.rows) == size: // one more row: the page ends behind the row before
				return g, nil
			default:
				g.rows, g.rest = append(g.rows, row), keys
				if g.first == nil {
					g.first = keys
				}
			}
		}
		if !more {
			g.rest = nil
			return g, nil
		}
		q.After, q.Inclusive = slices.Clone(b.Keys[len(b.Keys)-n:]), false
		q.Limit = min(2*q.Limit-1, 1<<30)
	}
	g.rest = q.After
	return g, nil
}
