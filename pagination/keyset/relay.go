package keyset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/internal/web"
)

// Connection is a page in the shape of the Relay cursor connections specification, for
// GraphQL.
type Connection[T any] struct {
	Edges      []Edge[T]        `json:"edges"`      // never nil
	PageInfo   ConnectionInfo   `json:"pageInfo"`   // whether there are pages around this one
	TotalCount pagination.Total `json:"totalCount"` // null unless Options.Count is set
	Ignored    []string         `json:"-"`          // corrected arguments: ordering, first, last

	size int
}

// Edge is a row with its cursor.
type Edge[T any] struct {
	Cursor string `json:"cursor"` // for ConnectionArgs.After and Before
	Node   T      `json:"node"`   // the row
}

// ConnectionInfo says whether there are pages around a [Connection]. It is exact in the
// direction of the read. In the other direction there is a page if the request has a
// cursor.
type ConnectionInfo struct {
	HasNextPage     bool    `json:"hasNextPage"`     // rows follow this page
	HasPreviousPage bool    `json:"hasPreviousPage"` // rows precede this page
	StartCursor     *string `json:"startCursor"`     // null in an empty page
	EndCursor       *string `json:"endCursor"`       // null in an empty page
}

// ConnectionArgs are the arguments of a connection field. All combinations of the
// specification's pagination algorithm are allowed: After and Before limit the list, First
// keeps its beginning, and Last then keeps the end of the result. Without First and Last,
// First is the default size.
type ConnectionArgs struct {
	First  *int   // nil without the argument
	After  string // a cursor, or ""
	Last   *int   // nil without the argument
	Before string // a cursor, or ""
	// Ordering is the order, in the form of [Keyset.Order].
	Ordering string
	// Scope identifies the filter and the tenant. Cursors are bound to it.
	Scope string
	// WithoutEdges reads no rows, for a query of totalCount alone. TotalCount is read, and
	// PageInfo only says whether there are cursors. Default: false.
	WithoutEdges bool
	// WithoutTotal does not count, for a query without totalCount. Default: false.
	WithoutTotal bool

	ignored []string // the last names of Connection.Ignored
}

// Connection reads a page by the rules of the Relay specification: the order is the same in
// both directions, and a negative First or Last is an error. A size above the maximum is
// reduced to it, or rejected in strict mode. The errors are those of [Keyset.Page].
func (k *Keyset[T]) Connection(ctx context.Context, source Seeker[T], args ConnectionArgs) (*Connection[T], error) {
	order, ignored, err := k.ordering(args.Ordering)
	if err != nil {
		return nil, err
	}
	if ignored {
		args.ignored = []string{"ordering"}
	}
	return k.connect(ctx, source, order, k.newScope(order, "?relay", args.Scope), nil, args)
}

// connect reads a window. counted is the filter in the key of a remembered count.
func (k *Keyset[T]) connect(ctx context.Context, source Seeker[T], order Order, scope Scope, counted []byte, args ConnectionArgs) (conn *Connection[T], err error) {
	if k.traced() {
		start := time.Now()
		defer func() {
			e := pagination.PageEvent{Took: time.Since(start), Err: err}
			if err == nil {
				e.Size, e.Rows, e.Total, e.Ignored = conn.size, len(conn.Edges), conn.TotalCount, conn.Ignored
			}
			k.report(ctx, e)
		}()
	}
	first, err := k.edgeCount("first", args.First)
	if err != nil {
		return nil, err
	}
	last, err := k.edgeCount("last", args.Last)
	if err != nil {
		return nil, err
	}
	if first == nil && last == nil {
		first = &k.preset.Size
	}
	after, err := k.bound(ctx, source, scope, order, "after", args.After, args.Before != "")
	if err != nil {
		return nil, err
	}
	before, err := k.bound(ctx, source, scope, order, "before", args.Before, args.After != "")
	if err != nil {
		return nil, err
	}
	k.unverified(ctx)
	conn = &Connection[T]{Edges: []Edge[T]{}, TotalCount: pagination.Total{Precision: pagination.Unknown}}
	for _, size := range []*int{first, last} {
		if size != nil && (conn.size == 0 || *size < conn.size) {
			conn.size = *size
		}
	}
	conn.PageInfo.HasPreviousPage, conn.PageInfo.HasNextPage = after.Values != nil, before.Values != nil
	if first != nil && args.First != nil && *first < *args.First {
		conn.Ignored = append(conn.Ignored, "first")
	}
	if last != nil && *last < *args.Last {
		conn.Ignored = append(conn.Ignored, "last")
	}
	conn.Ignored = append(conn.Ignored, args.ignored...)
	if !args.WithoutTotal {
		conn.TotalCount, err = k.count.Total(ctx, source, func() string { return web.CountKey(k.resource, args.Scope, counted) })
		if err != nil {
			return nil, err
		}
	}
	if args.WithoutEdges {
		return conn, nil
	}
	if err := k.edges(ctx, source, order, scope, conn, first, last, after, before); err != nil {
		return nil, err
	}
	if n := len(conn.Edges); n > 0 {
		conn.PageInfo.StartCursor, conn.PageInfo.EndCursor = &conn.Edges[0].Cursor, &conn.Edges[n-1].Cursor
	}
	return conn, nil
}

// bound decodes the cursor of an argument. The argument gives the direction. A cursor that
// includes its row cannot limit a range.
func (k *Keyset[T]) bound(ctx context.Context, source Seeker[T], scope Scope, order Order, name, cursor string, ranged bool) (Position, error) {
	if cursor == "" {
		return Position{}, nil
	}
	at, err := k.decode(ctx, source, scope, order, cursor)
	if e := (*pagination.RequestError)(nil); errors.As(err, &e) {
		e.Parameter = name
	}
	if err == nil && at.Inclusive && ranged {
		err = invalidParameter(name, "The cursor of this link works without the other cursor.")
	}
	return at, err
}

func (k *Keyset[T]) edgeCount(name string, asked *int) (*int, error) {
	if asked == nil {
		return nil, nil
	}
	most := k.most()
	if *asked < 0 || *asked > most && k.strict {
		return nil, invalidParameter(name, fmt.Sprintf("The number of edges must be from 0 to %d.", most))
	}
	size := min(*asked, most)
	return &size, nil
}

// edges reads the rows between two positions: from after for First, from before for Last
// alone.
func (k *Keyset[T]) edges(ctx context.Context, source Seeker[T], order Order, scope Scope, conn *Connection[T], first, last *int, after, before Position) error {
	q := Seek{Order: order, After: after.Values, Inclusive: after.Inclusive, Until: before.Values, usual: k.preset.Size + 1}
	size := first
	if first == nil {
		q.After, q.Inclusive, q.Until, q.Backward, size = before.Values, before.Inclusive, after.Values, true, last
	}
	most := *size
	if last != nil {
		most = max(most, *last)
	}
	q.Limit = most + 1 // a size of 0 also reads one row, to know whether there are more
	b, err := k.seek(ctx, source, q)
	if err != nil {
		return err
	}
	n := len(order.keys)
	rows := b.Rows[:k.until(q, &b)]
	found := len(rows)
	more := found > *size
	rows = rows[:min(found, *size)]
	if q.Backward {
		conn.PageInfo.HasPreviousPage = more
	} else {
		conn.PageInfo.HasNextPage = more
	}
	conn.Edges = make([]Edge[T], len(rows))
	var long *Batch[T] // the rows with their tie-breaks
	for i, row := range rows {
		at := Position{Values: b.Keys[i*n : i*n+n : i*n+n]}
		cursor, err := k.encode(scope, order, at)
		if errors.Is(err, errLong) {
			if long == nil {
				long = k.withTies(ctx, source, q)
			}
			cursor, err = k.longCursor(ctx, source, scope, order, at, long)
		}
		if err != nil {
			return err
		}
		conn.Edges[i] = Edge[T]{Node: row, Cursor: cursor}
	}
	if q.Backward {
		slices.Reverse(conn.Edges)
	}
	if first != nil && last != nil {
		conn.PageInfo.HasPreviousPage = found > *last
		conn.Edges = conn.Edges[max(0, len(conn.Edges)-*last):]
	}
	return nil
}
