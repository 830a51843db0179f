package pagination

import (
	"context"
	"strconv"
)

// Connection is a page in the shape of the Relay cursor connections specification, for
// GraphQL.
type Connection[T any] struct {
	Edges    []Edge[T]      `json:"edges"` // never null
	PageInfo ConnectionInfo `json:"pageInfo"`
}

// Edge is a row with its cursor.
type Edge[T any] struct {
	Cursor string `json:"cursor"`
	Node   T      `json:"node"`
}

// ConnectionInfo says what lies around a [Connection]. On the side that the page was read
// towards it is exact; on the side that it came from there is a page if there was a
// cursor.
type ConnectionInfo struct {
	HasNextPage     bool    `json:"hasNextPage"`
	HasPreviousPage bool    `json:"hasPreviousPage"`
	StartCursor     *string `json:"startCursor"` // null in an empty page
	EndCursor       *string `json:"endCursor"`   // null in an empty page
}

// ConnectionArgs are the arguments of a connection field. First goes with After, Last
// with Before; without either, the first page of the default size is meant.
type ConnectionArgs struct {
	First  *int
	After  string
	Last   *int
	Before string
	// Ordering is the order, as [Keyset.Order] takes it.
	Ordering string
	// Scope is what the cursors are bound to besides the list and the order: the filter,
	// the tenant.
	Scope string
}

// Connection reads a page by the rules of the Relay specification: the order is the same
// in both directions, and a negative First or Last is an error. Sizes above the maximum
// are cut, in strict mode refused. The errors are those of [Keyset.Paginate].
func (k *Keyset[T]) Connection(ctx context.Context, source Seeker[T], args ConnectionArgs) (*Connection[T], error) {
	order, err := k.Order(args.Ordering)
	if err != nil {
		return nil, err
	}
	size, cursor, backward, err := k.connectionArgs(args)
	if err != nil {
		return nil, err
	}
	scope := k.newScope(order, "?relay", args.Scope)
	var at Position // only its values count: the arguments say which way to go
	if cursor != "" {
		if at, err = k.decode(scope, order, cursor); err != nil {
			return nil, err
		}
	}
	conn := &Connection[T]{Edges: []Edge[T]{}}
	conn.PageInfo.HasPreviousPage = !backward && cursor != ""
	conn.PageInfo.HasNextPage = backward && cursor != ""
	// A size of 0 still answers whether there is more.
	rows, err := source.Seek(ctx, Seek{Order: order, After: at.Values, Backward: backward, Limit: size + 1})
	if err != nil {
		return nil, err
	}
	if len(rows) > size {
		rows = rows[:size]
		if backward {
			conn.PageInfo.HasPreviousPage = true
		} else {
			conn.PageInfo.HasNextPage = true
		}
	}
	conn.Edges = make([]Edge[T], len(rows))
	for i, row := range rows {
		place, err := k.position(order, row, false)
		if err != nil {
			return nil, err
		}
		to := i
		if backward {
			to = len(rows) - 1 - i
		}
		conn.Edges[to].Node = row
		if conn.Edges[to].Cursor, err = k.cursors.Encode(scope, *place); err != nil {
			return nil, err
		}
	}
	if n := len(conn.Edges); n > 0 {
		conn.PageInfo.StartCursor, conn.PageInfo.EndCursor = &conn.Edges[0].Cursor, &conn.Edges[n-1].Cursor
	}
	return conn, nil
}

func (k *Keyset[T]) connectionArgs(args ConnectionArgs) (size int, cursor string, backward bool, err error) {
	size, cursor = k.preset.Size, args.After
	asked, name := args.First, "first"
	if args.Last != nil || args.Before != "" {
		if args.First != nil || args.After != "" {
			return 0, "", false, invalidParameter("last", "Give first with after, or last with before, and not both.")
		}
		asked, name, cursor, backward = args.Last, "last", args.Before, true
	}
	if asked != nil {
		size = *asked
	}
	most := int(k.preset.most())
	if size < 0 || size > most && k.strict {
		return 0, "", false, invalidParameter(name, "The number of edges must be from 0 to "+strconv.Itoa(most)+".")
	}
	return min(size, most), cursor, backward, nil
}
