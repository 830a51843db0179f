package keyset

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/internal/web"
)

// Query is a request for one page, without HTTP. The zero value is the first page of the
// default size in the default order.
type Query struct {
	// Size is the number of rows. Default: 0, the size of the preset. A number above the
	// preset's maximum is reduced to it.
	Size int
	// Token is the Next or Previous of a [Result], or "last" for the last page. Default:
	// "", the first page.
	Token string
	// Ordering is the order, in the form of [Keyset.Order]. Default: the keyset's own.
	Ordering string
	// Scope identifies the filter and the tenant. Tokens are bound to the scope and to the
	// order, not to the size. Default: "".
	Scope string
}

// LastPage is the token of the last page of every list.
const LastPage = "last"

// Result is one page of a list.
type Result[T any] struct {
	Rows     []T              // never nil
	Next     string           // token of the next page; "" at the end
	Previous string           // token of the page before; "" at the beginning
	Total    pagination.Total // by Options.Count
	Ignored  []string         // corrected, unknown and repeated parameters; in strict mode only tracking parameters

	size int
}

// Page reads one page. The error is a [pagination.RequestError] for a fault of the client,
// a [WalkError] if the source breaks the order, and the error of the source otherwise.
func (k *Keyset[T]) Page(ctx context.Context, source Seeker[T], q Query) (*Result[T], error) {
	order, ignored, err := k.ordering(q.Ordering)
	if err != nil {
		return nil, err
	}
	size := q.Size
	switch most := k.most(); {
	case size == 0:
		size = k.preset.Size
	case size < 0 || size > most && k.strict:
		return nil, k.sizeError()
	}
	p := pageRequest{order: order, size: min(size, k.most()), token: q.Token, scope: k.newScope(order, "?page", q.Scope)}
	if ignored {
		p.ignored = append(p.ignored, cmp.Or(k.orderingParam, "ordering"))
	}
	if p.size < size {
		p.ignored = append(p.ignored, cmp.Or(k.sizeParam, "page_size"))
	}
	result, err := k.page(ctx, source, p, nil, func() string { return web.CountKey(k.resource, q.Scope, nil) })
	if err != nil {
		return nil, err
	}
	return &result, nil
}

func (k *Keyset[T]) most() int {
	if k.preset.MaxSize > 0 {
		return k.preset.MaxSize
	}
	return pagination.NoLimit - 1
}

func (k *Keyset[T]) sizeError() error {
	return invalidParameter(k.sizeParam, fmt.Sprintf("The page size must be a whole number from 1 to %d.", k.most()))
}

func invalidParameter(param, detail string) error {
	return &pagination.RequestError{
		Status: http.StatusBadRequest, Detail: detail, Parameter: param,
		Problem: true, Kind: pagination.ErrInvalidParameter, Reason: detail,
	}
}

// pageRequest is a checked request for a page.
type pageRequest struct {
	order   Order
	size    int
	token   string
	scope   Scope
	ignored []string
}

// page reads a page and writes the tokens of its neighbours.
func (k *Keyset[T]) page(ctx context.Context, source Seeker[T], p pageRequest, only *filter[T], countKey func() string) (result Result[T], err error) {
	if k.traced() {
		start := time.Now()
		defer func() {
			k.report(ctx, pagination.PageEvent{Size: p.size, Rows: len(result.Rows), Total: result.Total, Took: time.Since(start), Ignored: p.ignored, Err: err})
		}()
	}
	k.unverified(ctx)
	var at Position
	switch p.token {
	case "":
	case LastPage:
		at.Backward = true
	default:
		if at, err = k.decode(ctx, source, p.scope, p.order, p.token); err != nil {
			return result, err
		}
	}
	found, err := k.read(ctx, source, p.order, at, p.size, only)
	if err != nil {
		return result, err
	}
	result = Result[T]{Rows: found.rows, Ignored: p.ignored, size: p.size}
	if result.Total, err = k.count.Total(ctx, source, countKey); err != nil {
		return result, err
	}
	if found.next.Values != nil {
		if result.Next, err = k.cursor(ctx, source, p.scope, p.order, found.next); err != nil {
			return result, err
		}
	}
	if found.previous.Values != nil {
		result.Previous, err = k.cursor(ctx, source, p.scope, p.order, found.previous)
	}
	return result, err
}

func (k *Keyset[T]) traced() bool { return k.trace != nil && k.trace.Page != nil }

// report calls Options.Trace. A page that failed has no total.
func (k *Keyset[T]) report(ctx context.Context, e pagination.PageEvent) {
	e.Style = "cursor"
	if e.Err != nil {
		e.Rows, e.Total = 0, pagination.Total{Precision: pagination.Unknown}
	}
	k.trace.Page(ctx, e)
}

// unverified warns once about a list that Verify has not checked.
func (k *Keyset[T]) unverified(ctx context.Context) {
	if !k.verified.Load() && k.verified.CompareAndSwap(false, true) {
		k.logger.WarnContext(ctx, "keyset: a list is used that was not verified; call its Verify at start-up or in a test", "list", k.resource)
	}
}

func (k *Keyset[T]) newScope(order Order, filter, tenant string) Scope {
	return NewScope(k.resource, order.String(), filter, tenant)
}

// stretch is the content of a page and the positions of its neighbours, without values if
// there is none.
type stretch[T any] struct {
	rows           []T
	next, previous Position
}

// read reads one page from a position. Without values it starts at the beginning, or at the
// end.
func (k *Keyset[T]) read(ctx context.Context, source Seeker[T], order Order, at Position, size int, only *filter[T]) (stretch[T], error) {
	g, err := k.gather(ctx, source, Seek{
		Order: order, After: at.Values, Inclusive: at.Inclusive, Backward: at.Backward,
		Limit: size + 1, usual: k.preset.Size + 1,
	}, only)
	if err != nil {
		return stretch[T]{}, err
	}
	rows := g.rows
	var ahead, behind Position // seen in the direction of the cursor
	if g.rest != nil {
		ahead = Position{Values: g.rest, Backward: at.Backward}
	}
	switch {
	case at.Values == nil && !at.Backward, at.Values == nil && len(rows) == 0:
	case at.Values == nil: // no page is behind the last one
	case len(rows) > 0:
		behind = Position{Values: g.first, Backward: !at.Backward}
	default:
		// There is no row ahead. The row of the position may be the only neighbour left, so
		// the way back includes it.
		behind = Position{Values: at.Values, Backward: !at.Backward, Inclusive: !at.Inclusive}
	}
	if at.Backward {
		slices.Reverse(rows)
		return stretch[T]{rows: notNil(rows), next: behind, previous: ahead}, nil
	}
	return stretch[T]{rows: notNil(rows), next: ahead, previous: behind}, nil
}

func notNil[T any](rows []T) []T {
	if rows == nil {
		return []T{}
	}
	return rows
}

// gathered are at most size rows in the order of the walk.
type gathered[T any] struct {
	rows  []T
	first []Value // keys of the first row
	rest  []Value // keys of the last row before more rows; nil at the end of the list
}

// seek reads and checks a batch.
func (k *Keyset[T]) seek(ctx context.Context, source Seeker[T], q Seek) (Batch[T], error) {
	b, err := source.Seek(ctx, q)
	if err == nil {
		err = k.checked(q, &b)
	}
	return b, err
}

// gather reads at most q.Limit-1 rows.
func (k *Keyset[T]) gather(ctx context.Context, source Seeker[T], q Seek, only *filter[T]) (gathered[T], error) {
	if only != nil {
		return k.gatherKept(ctx, source, q, only)
	}
	b, err := k.seek(ctx, source, q)
	if err != nil || len(b.Rows) == 0 {
		return gathered[T]{}, err
	}
	n := len(q.Order.keys)
	g := gathered[T]{rows: b.Rows, first: b.Keys[:n:n]}
	if size := q.Limit - 1; len(b.Rows) > size {
		g.rows = b.Rows[:size]
		if size > 0 {
			g.rest = b.Keys[(size-1)*n : size*n : size*n]
		}
	}
	return g, nil
}
