package pagination

import (
	"context"
	"net/http"
)

// FilterOptions are the options of [Keyset.PaginateFiltered].
type FilterOptions struct {
	// Rounds is the number of queries that one page may take, each for twice the rows of
	// the one before. Default: 5, which look at 31 times the page's size.
	Rounds int
}

type filter[T any] struct {
	keep   func(context.Context, []T) ([]T, error)
	rounds int
}

// PaginateFiltered is [Keyset.Paginate] for a list of which the database cannot tell what
// a client may see: keep is given rows as they were read and returns those to show, in
// their order (it may change the slice). More are read until the page is full.
//
// If few rows are kept, a page may be short, or even empty, and still have a next one
// that goes on where the search ended; only a page without a next link is the last.
// Nothing is lost or shown twice. Such a link holds the sort keys of a row that was not
// kept: encrypt the cursors if a client must not learn them.
//
// A filter that can be a WHERE should be one. opts may be nil.
func (k *Keyset[T]) PaginateFiltered(r *http.Request, source Seeker[T], keep func(context.Context, []T) ([]T, error),
	opts *FilterOptions,
) (*KeysetPage[T], error) {
	only := &filter[T]{keep: keep, rounds: 5}
	if opts != nil && opts.Rounds > 0 {
		only.rounds = opts.Rounds
	}
	return k.paginate(r, source, only)
}

func (k *Keyset[T]) gatherKept(ctx context.Context, source Seeker[T], q Seek, only *filter[T]) (kept []T, rest *T, err error) {
	size := q.Limit - 1
	for range only.rounds {
		rows, err := source.Seek(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		end := len(rows) < q.Limit
		if !end {
			last := rows[len(rows)-1] // a copy: keep may change the slice
			rest = &last
		}
		if rows, err = only.keep(ctx, rows); err != nil {
			return nil, nil, err
		}
		kept = append(kept, rows...)
		if len(kept) > size {
			return kept[:size], &kept[size-1], nil
		}
		if end {
			return kept, nil, nil
		}
		at, err := k.position(q.Order, *rest, q.Backward)
		if err != nil {
			return nil, nil, err
		}
		q.After, q.Inclusive = at.Values, false
		q.Limit = min(2*q.Limit, NoLimit)
	}
	return kept, rest, nil
}
