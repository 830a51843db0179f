package pagination

import (
	"context"
	"strings"
)

// Attach loads the children of a page of rows with one query, instead of one query for each
// row. key returns the key under which the children of a row are found, and false for a row
// without children. fetch receives the distinct keys, at most 1,000 at a time, and returns
// the children by key (see [GroupBy]). assign is called for each row with a key. It
// receives the zero value of C if fetch found no children. Without keys, fetch is not
// called.
//
//	err := pagination.Attach(ctx, customers,
//		func(c Customer) (int64, bool) { return c.ID, true },
//		func(ctx context.Context, ids []int64) (map[int64][]Child, error) { … WHERE customer_id IN … },
//		func(c *Customer, children []Child) { c.Children = children })
func Attach[P, C any, K comparable](ctx context.Context, parents []P, key func(P) (K, bool),
	fetch func(context.Context, []K) (map[K]C, error), assign func(*P, C),
) error {
	const most = 1000 // databases bound the number of placeholders
	seen := make(map[K]struct{}, len(parents))
	keys := make([]K, 0, len(parents))
	for _, p := range parents {
		if k, ok := key(p); ok {
			if _, again := seen[k]; !again {
				seen[k] = struct{}{}
				keys = append(keys, k)
			}
		}
	}
	children := make(map[K]C, len(keys))
	for len(keys) > 0 {
		n := min(most, len(keys))
		found, err := fetch(ctx, keys[:n:n])
		if err != nil {
			return err
		}
		for k, c := range found {
			children[k] = c
		}
		keys = keys[n:]
	}
	for i := range parents {
		if k, ok := key(parents[i]); ok {
			assign(&parents[i], children[k])
		}
	}
	return nil
}

// GroupBy groups rows by key. Each group keeps the order of the rows.
func GroupBy[C any, K comparable](rows []C, key func(C) K) map[K][]C {
	groups := make(map[K][]C)
	for _, r := range rows {
		k := key(r)
		groups[k] = append(groups[k], r)
	}
	return groups
}

// In returns "(?, ?, …)" and the values as its arguments, for the right side of IN. An
// empty list gives "(NULL)", which matches no row.
func In[V any](values []V) (sql string, args []any) {
	if len(values) == 0 {
		return "(NULL)", nil
	}
	args = make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	return "(?" + strings.Repeat(", ?", len(values)-1) + ")", args
}
