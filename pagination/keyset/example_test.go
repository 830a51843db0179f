package keyset_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

type Sale struct {
	ID, Day int64
	Product string
}

// shop is a list of eight sales on three days. A service has a database in its place:
//
//	keyset.SQLSource[Sale]{
//		DB: db, Dialect: keyset.Postgres,
//		Base: keyset.Base{Columns: []string{"id", "day", "product"}, From: "sales"},
//		Scan: func(r keyset.Scanner) (s Sale, err error) { return s, r.Scan(&s.ID, &s.Day, &s.Product) },
//	}
func shop() keyset.SeekerFunc[Sale] {
	sales := []Sale{
		{1, 1, "tea"},
		{2, 1, "milk"},
		{3, 2, "tea"},
		{4, 2, "roll"},
		{5, 2, "milk"},
		{6, 3, "tea"},
		{7, 3, "tea"},
		{8, 3, "roll"},
	}
	return func(_ context.Context, q keyset.Seek) ([]Sale, error) {
		compare := func(a, b []int64) int {
			for i, key := range q.Order.Keys() {
				if c := cmp.Compare(a[i], b[i]); c != 0 && key.Desc != q.Backward {
					return -c
				} else if c != 0 {
					return c
				}
			}
			return 0
		}
		place := func(s Sale) (at []int64) {
			for _, key := range q.Order.Keys() {
				at = append(at, map[string]int64{"id": s.ID, "day": s.Day}[key.Name])
			}
			return at
		}
		var after []int64
		for _, v := range q.After {
			after = append(after, v.Any().(int64))
		}
		list := slices.SortedFunc(slices.Values(sales), func(a, b Sale) int { return compare(place(a), place(b)) })
		list = slices.DeleteFunc(list, func(s Sale) bool {
			c := 1
			if after != nil {
				c = compare(place(s), after)
			}
			return c < 0 || c == 0 && !q.Inclusive
		})
		return list[:min(q.Limit, len(list))], nil
	}
}

func salesByDay() *keyset.Keyset[Sale] {
	// Everything that serves the list needs the same secret; this one is for examples.
	ring, err := keyset.NewKeyRing(keyset.CursorKey{ID: 1, Secret: []byte("0123456789abcdef0123456789abcdef")})
	if err != nil {
		panic(err)
	}
	cursors, err := keyset.NewCursors(ring, nil)
	if err != nil {
		panic(err)
	}
	list, err := keyset.New("sales", pagination.Preset{Size: 3, MaxSize: 100}, cursors, []keyset.Column[Sale]{
		{Name: "day", Expr: "day", Value: func(s Sale) any { return s.Day }},
		{Name: "id", Expr: "id", Unique: true, Value: func(s Sale) any { return s.ID }},
	}, &keyset.Options{Ordering: "-day"})
	if err != nil {
		panic(err)
	}
	return list
}

// A keyset list, read to its end by its links.
func Example() {
	sales := salesByDay()
	for url := pagination.Link("/sales"); url != ""; {
		page, err := sales.Paginate(httptest.NewRequest(http.MethodGet, string(url), nil), shop())
		if err != nil {
			panic(err)
		}
		fmt.Println(page.Results, page.Previous != "")
		url = page.Next
	}
	// Output:
	// [{8 3 roll} {7 3 tea} {6 3 tea}] false
	// [{5 2 milk} {4 2 roll} {3 2 tea}] true
	// [{2 1 milk} {1 1 tea}] true
}

// A cursor that was changed, or made for another order or filter, is one error.
func Example_foreignCursor() {
	sales := salesByDay()
	page, err := sales.Paginate(httptest.NewRequest(http.MethodGet, "/sales", nil), shop())
	if err != nil {
		panic(err)
	}
	_, err = sales.Paginate(httptest.NewRequest(http.MethodGet, string(page.Next)+"&ordering=day", nil), shop())
	fmt.Println(errors.Is(err, keyset.ErrInvalidCursor))
	w := httptest.NewRecorder()
	pagination.WriteError(w, err)
	fmt.Print(w.Code, " ", w.Body)
	// Output:
	// true
	// 404 {"detail":"Invalid cursor"}
}

// Keys rotate: the first one signs, all of them verify.
func ExampleNewKeyRing() {
	old := keyset.CursorKey{ID: 1, Secret: []byte("an old secret of 32 bytes or so!")}
	recent := keyset.CursorKey{ID: 2, Secret: []byte("a recent secret of 32 bytes, too")}
	scope := keyset.NewScope("sales", "-day", "", "")
	day, err := keyset.NewValue(20261123)
	if err != nil {
		panic(err)
	}
	issue := func(first keyset.CursorKey, others ...keyset.CursorKey) *keyset.Cursors {
		ring, err := keyset.NewKeyRing(first, others...)
		if err != nil {
			panic(err)
		}
		cursors, err := keyset.NewCursors(ring, nil)
		if err != nil {
			panic(err)
		}
		return cursors
	}
	cursor, err := issue(old).Encode(scope, keyset.Position{Values: []keyset.Value{day}})
	if err != nil {
		panic(err)
	}
	at, err := issue(recent, old).Decode(scope, 1, cursor)
	fmt.Println(at.Values[0].Any(), err)
	_, err = issue(recent).Decode(scope, 1, cursor)
	fmt.Println(err)
	// Output:
	// 20261123 <nil>
	// keyset: invalid cursor: unknown key
}

// The statement behind a position, for a library that is not database/sql, and its parts
// for one that writes statements itself.
func ExampleSeek() {
	order, err := salesByDay().Order("-day")
	if err != nil {
		panic(err)
	}
	day, err := keyset.NewValue(2)
	if err != nil {
		panic(err)
	}
	id, err := keyset.NewValue(4)
	if err != nil {
		panic(err)
	}
	q := keyset.Seek{Order: order, After: []keyset.Value{day, id}, Limit: 26}
	statement, args, err := q.SQL(keyset.Postgres, keyset.Base{
		Columns: []string{"id", "day"}, From: "sales", Where: "product = ?", Args: []any{"tea"},
	})
	fmt.Println(statement, args, err)
	where, err := q.Where(keyset.MySQL)
	fmt.Println(where.SQL, where.Args, err)
	by, err := q.OrderBy(keyset.MySQL)
	fmt.Println(by, err)
	// Output:
	// SELECT id, day FROM sales WHERE (product = $1) AND (day, id) < ($2, $3) ORDER BY day DESC, id DESC LIMIT $4 [tea 2 4 26] <nil>
	// ((day = ? AND id < ?) OR (day < ?)) [2 4 2] <nil>
	// day DESC, id DESC <nil>
}

// A page without HTTP, for gRPC and jobs.
func ExampleKeyset_Page() {
	sales := salesByDay()
	for token := ""; ; {
		page, err := sales.Page(context.Background(), shop(), keyset.Query{Size: 4, Token: token, Ordering: "id", Scope: "tenant 7"})
		if err != nil {
			panic(err)
		}
		fmt.Println(page.Rows)
		if token = page.Next; token == "" {
			break
		}
	}
	// Output:
	// [{1 1 tea} {2 1 milk} {3 2 tea} {4 2 roll}]
	// [{5 2 milk} {6 3 tea} {7 3 tea} {8 3 roll}]
}

// Everything, in batches: a run that was interrupted continues.
func ExampleKeyset_Walk() {
	sales := salesByDay()
	opts := &keyset.AllOptions{Ordering: "id", Batch: 2}
	walk := sales.Walk(context.Background(), shop(), opts)
	for sale, err := range walk.Rows() {
		if err != nil {
			panic(err)
		}
		fmt.Print(sale.ID, " ")
		if sale.ID == 3 {
			break // the machine is needed elsewhere
		}
	}
	var err error
	if opts.Cursor, err = walk.Cursor(); err != nil {
		panic(err)
	}
	fmt.Print("… ")
	for sale, err := range sales.All(context.Background(), shop(), opts) {
		if err != nil {
			panic(err)
		}
		fmt.Print(sale.ID, " ")
	}
	// Output:
	// 1 2 3 … 4 5 6 7 8
}

// Pages are full though the database cannot tell what this client may see.
func ExampleKeyset_PaginateFiltered() {
	mayNotSee := func(s Sale) bool { return s.Product == "tea" } // ask your policy engine
	page, err := salesByDay().PaginateFiltered(
		httptest.NewRequest(http.MethodGet, "/sales", nil), shop(),
		func(_ context.Context, sales []Sale) ([]bool, error) {
			show := make([]bool, len(sales))
			for i, s := range sales {
				show[i] = !mayNotSee(s)
			}
			return show, nil
		}, nil,
	)
	if err != nil {
		panic(err)
	}
	fmt.Println(page.Results, page.Next != "")
	// Output:
	// [{8 3 roll} {5 2 milk} {4 2 roll}] true
}

// A Relay connection.
func ExampleKeyset_Connection() {
	sales := salesByDay()
	two := 2
	first, err := sales.Connection(context.Background(), shop(), keyset.ConnectionArgs{First: &two})
	if err != nil {
		panic(err)
	}
	second, err := sales.Connection(context.Background(), shop(), keyset.ConnectionArgs{First: &two, After: *first.PageInfo.EndCursor})
	if err != nil {
		panic(err)
	}
	for _, edge := range second.Edges {
		fmt.Println(edge.Node, second.PageInfo.HasNextPage, second.PageInfo.HasPreviousPage)
	}
	// Output:
	// {6 3 tea} true true
	// {5 2 milk} true true
}
