package pagination_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"

	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/pagination"
)

// A page-number list, by the rules of Django REST Framework.
func Example_pageNumber() {
	pager, err := pagination.NewPageNumber(pagination.Small, nil)
	if err != nil {
		panic(err)
	}
	list := make(pagination.Slice[int], 23)
	for i := range list {
		list[i] = i + 1
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		page, err := pagination.Paginate(r, pager, pagination.Lister[int](list))
		if err == nil {
			err = page.Write(w)
		}
		if err != nil {
			pagination.WriteError(w, err)
		}
	}
	for _, url := range []string{"http://shop.example/numbers?page=3&even=no", "http://shop.example/numbers?page=4"} {
		w := httptest.NewRecorder()
		handler(w, httptest.NewRequest(http.MethodGet, url, nil))
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 {"count":23,"total_pages":3,"current_page":3,"page_size":10,"next":null,"previous":"http://shop.example/numbers?even=no&page=2","results":[21,22,23]}
	// 404 {"detail":"Invalid page."}
}

// A limit/offset list.
func Example_limitOffset() {
	pager, err := pagination.NewLimitOffset(pagination.Standard, nil)
	if err != nil {
		panic(err)
	}
	list := pagination.Slice[string]{"a", "b", "c", "d", "e"}
	r := httptest.NewRequest(http.MethodGet, "http://shop.example/letters?limit=2&offset=2", nil)
	page, err := pagination.PaginateOffset(r, pager, pagination.Lister[string](list))
	if err != nil {
		panic(err)
	}
	fmt.Println(page.Results, page.Next, page.Previous)
	// Output:
	// [c d] http://shop.example/letters?limit=2&offset=4 http://shop.example/letters?limit=2
}

type Sale struct {
	ID, Day int64
	Product string
}

// shop is a database with eight sales on three days.
func shop() *sql.DB {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		panic(err)
	}
	db.SetMaxOpenConns(1) // each connection would have a memory of its own
	if _, err := db.Exec(`CREATE TABLE sales (id INTEGER PRIMARY KEY, day INTEGER NOT NULL, product TEXT NOT NULL);
		CREATE INDEX sales_day ON sales (day, id);
		INSERT INTO sales VALUES (1, 1, 'tea'), (2, 1, 'milk'), (3, 2, 'tea'), (4, 2, 'roll'),
			(5, 2, 'milk'), (6, 3, 'tea'), (7, 3, 'tea'), (8, 3, 'roll')`); err != nil {
		panic(err)
	}
	return db
}

func source(db *sql.DB) pagination.SQLSource[Sale] {
	return pagination.SQLSource[Sale]{
		DB: db, Dialect: pagination.SQLite,
		Base: pagination.Base{Columns: []string{"id", "day", "product"}, From: "sales"},
		Scan: func(rows *sql.Rows) (s Sale, err error) { return s, rows.Scan(&s.ID, &s.Day, &s.Product) },
	}
}

func salesByDay() *pagination.Keyset[Sale] {
	// Everything that serves the list needs the same secret; this one is for examples.
	ring, err := pagination.NewKeyRing(pagination.CursorKey{ID: 1, Secret: []byte("0123456789abcdef0123456789abcdef")})
	if err != nil {
		panic(err)
	}
	cursors, err := pagination.NewCursors(ring, nil)
	if err != nil {
		panic(err)
	}
	keyset, err := pagination.NewKeyset("sales", pagination.Preset{Size: 3, MaxSize: 100}, cursors, []pagination.Column[Sale]{
		{Name: "day", Expr: "day", Kind: pagination.KindInt, Value: func(s Sale) any { return s.Day }},
		{Name: "id", Expr: "id", Kind: pagination.KindInt, Unique: true, Value: func(s Sale) any { return s.ID }},
	}, &pagination.KeysetOptions{Ordering: "-day"})
	if err != nil {
		panic(err)
	}
	return keyset
}

// A keyset list, read to its end by its links.
func Example_keyset() {
	db := shop()
	defer db.Close()
	sales := salesByDay()
	for url := pagination.Link("/sales"); url != ""; {
		page, err := sales.Paginate(httptest.NewRequest(http.MethodGet, string(url), nil), source(db))
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
	db := shop()
	defer db.Close()
	sales := salesByDay()
	page, err := sales.Paginate(httptest.NewRequest(http.MethodGet, "/sales", nil), source(db))
	if err != nil {
		panic(err)
	}
	_, err = sales.Paginate(httptest.NewRequest(http.MethodGet, string(page.Next)+"&ordering=day", nil), source(db))
	fmt.Println(errors.Is(err, pagination.ErrInvalidCursor))
	w := httptest.NewRecorder()
	pagination.WriteError(w, err)
	fmt.Print(w.Code, " ", w.Body)
	// Output:
	// true
	// 404 {"detail":"Invalid cursor"}
}

// Keys rotate: the first one signs, all of them verify.
func ExampleNewKeyRing() {
	old := pagination.CursorKey{ID: 1, Secret: []byte("an old secret of 32 bytes or so!")}
	recent := pagination.CursorKey{ID: 2, Secret: []byte("a recent secret of 32 bytes, too")}
	scope := pagination.NewScope("sales", "-day", "", "")
	day, err := pagination.NewValue(pagination.KindInt, 20261123)
	if err != nil {
		panic(err)
	}
	issue := func(first pagination.CursorKey, others ...pagination.CursorKey) *pagination.Cursors {
		ring, err := pagination.NewKeyRing(first, others...)
		if err != nil {
			panic(err)
		}
		cursors, err := pagination.NewCursors(ring, nil)
		if err != nil {
			panic(err)
		}
		return cursors
	}
	cursor, err := issue(old).Encode(scope, pagination.Position{Values: []pagination.Value{day}})
	if err != nil {
		panic(err)
	}
	at, err := issue(recent, old).Decode(scope, []pagination.Kind{pagination.KindInt}, cursor)
	fmt.Println(at.Values[0].Any(), err)
	_, err = issue(recent).Decode(scope, []pagination.Kind{pagination.KindInt}, cursor)
	fmt.Println(err)
	// Output:
	// 20261123 <nil>
	// pagination: invalid cursor: unknown key
}

// The statement behind a position, for a library that is not database/sql, and its parts
// for one that writes statements itself.
func ExampleSeek() {
	order, err := salesByDay().Order("-day")
	if err != nil {
		panic(err)
	}
	day, err := pagination.NewValue(pagination.KindInt, 2)
	if err != nil {
		panic(err)
	}
	id, err := pagination.NewValue(pagination.KindInt, 4)
	if err != nil {
		panic(err)
	}
	q := pagination.Seek{Order: order, After: []pagination.Value{day, id}, Limit: 26}
	statement, args, err := q.SQL(pagination.Postgres, pagination.Base{
		Columns: []string{"id", "day"}, From: "sales", Where: "product = ?", Args: []any{"tea"},
	})
	fmt.Println(statement, args, err)
	where, err := q.Where(pagination.MySQL)
	fmt.Println(where.SQL, where.Args, err)
	by, err := q.OrderBy(pagination.MySQL)
	fmt.Println(by, err)
	// Output:
	// SELECT id, day FROM sales WHERE (product = $1) AND (day, id) < ($2, $3) ORDER BY day DESC, id DESC LIMIT 26 [tea 2 4] <nil>
	// ((day = ? AND id < ?) OR (day < ?)) [2 4 2] <nil>
	// day DESC, id DESC <nil>
}

// Everything, as a file: memory holds a batch, and a cut-off run continues.
func ExampleKeyset_All() {
	db := shop()
	defer db.Close()
	sales := salesByDay()
	opts := &pagination.AllOptions{Ordering: "id", Batch: 2}
	var done Sale
	_, err := pagination.WriteNDJSON(os.Stdout, sales.All(context.Background(), source(db), opts), &pagination.StreamOptions[Sale]{
		Every: 3,
		Progress: func(rows int64, last Sale) error {
			done = last
			return errors.New("the machine is needed elsewhere")
		},
	})
	fmt.Println(err)

	opts.Cursor, err = sales.Cursor(done, opts)
	if err != nil {
		panic(err)
	}
	for sale, err := range sales.All(context.Background(), source(db), opts) {
		if err != nil {
			panic(err)
		}
		fmt.Print(sale.ID, " ")
	}
	// Output:
	// {"ID":1,"Day":1,"Product":"tea"}
	// {"ID":2,"Day":1,"Product":"milk"}
	// {"ID":3,"Day":2,"Product":"tea"}
	// the machine is needed elsewhere
	// 4 5 6 7 8
}

// A file for a spreadsheet, straight out of a handler.
func ExampleServeCSV() {
	db := shop()
	defer db.Close()
	sales := salesByDay()
	columns := []pagination.CSVColumn[Sale]{
		{Header: "id", Value: func(s Sale) string { return strconv.FormatInt(s.ID, 10) }},
		{Header: "product", Value: func(s Sale) string { return s.Product }},
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		list := source(db)
		list.Base.Where, list.Base.Args = "day = ?", []any{1}
		err := pagination.ServeCSV(w, "sales.csv", columns, sales.All(r.Context(), list, nil), nil)
		switch {
		case errors.Is(err, pagination.ErrTruncated):
			panic(http.ErrAbortHandler) // a broken file must look broken
		case err != nil:
			pagination.WriteError(w, err)
		}
	}
	w := httptest.NewRecorder()
	handler(w, httptest.NewRequest(http.MethodGet, "/sales.csv", nil))
	fmt.Println(w.Header().Get("Content-Disposition"))
	fmt.Printf("%q", w.Body)
	// Output:
	// attachment; filename=sales.csv
	// "id,product\r\n2,milk\r\n1,tea\r\n"
}

// Pages are full though the database cannot tell what this client may see.
func ExampleKeyset_PaginateFiltered() {
	db := shop()
	defer db.Close()
	mayNotSee := func(s Sale) bool { return s.Product == "tea" } // ask your policy engine
	page, err := salesByDay().PaginateFiltered(
		httptest.NewRequest(http.MethodGet, "/sales", nil), source(db),
		func(_ context.Context, sales []Sale) ([]Sale, error) { return slices.DeleteFunc(sales, mayNotSee), nil }, nil,
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
	db := shop()
	defer db.Close()
	sales := salesByDay()
	two := 2
	first, err := sales.Connection(context.Background(), source(db), pagination.ConnectionArgs{First: &two})
	if err != nil {
		panic(err)
	}
	second, err := sales.Connection(context.Background(), source(db), pagination.ConnectionArgs{First: &two, After: *first.PageInfo.EndCursor})
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

// A total that is counted to a limit only.
func ExampleCountCapped() {
	db := shop()
	defer db.Close()
	pager, err := pagination.NewPageNumber(pagination.Preset{Size: 2}, &pagination.PageNumberOptions{Count: pagination.CountCapped(5)})
	if err != nil {
		panic(err)
	}
	list := source(db)
	list.Order, err = salesByDay().Order("id")
	if err != nil {
		panic(err)
	}
	page, err := pagination.Paginate(httptest.NewRequest(http.MethodGet, "/sales?page=4", nil), pager, pagination.Lister[Sale](list))
	if err != nil {
		panic(err)
	}
	fmt.Println(page.Results, page.Count.N, page.Count.Precision == pagination.AtLeast)
	// Output:
	// [{7 3 tea} {8 3 roll}] 8 true
}

// Links behind a proxy, and in the headers too.
func ExampleLinks() {
	pager, err := pagination.NewPageNumber(pagination.Preset{Size: 2}, &pagination.PageNumberOptions{Links: &pagination.Links{
		TrustedProxies: []string{"10.0.0.0/8"}, AllowedHosts: []string{"shop.example"}, Headers: true,
	}})
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest(http.MethodGet, "http://backend:8080/letters", nil)
	r.RemoteAddr = "10.1.2.3:40000"
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
	r.Header.Set("X-Forwarded-Proto", "https")
	r.Header.Set("X-Forwarded-Host", "shop.example")
	page, err := pagination.Paginate(r, pager, pagination.Lister[string](pagination.Slice[string]{"a", "b", "c"}))
	if err != nil {
		panic(err)
	}
	w := httptest.NewRecorder()
	if err := page.Write(w); err != nil {
		panic(err)
	}
	fmt.Println(page.Next)
	fmt.Println(w.Header().Get("X-Total-Count"), w.Header().Get("Link"))
	// Output:
	// https://shop.example/letters?page=2
	// 3 <https://shop.example/letters>; rel="first", <https://shop.example/letters?page=2>; rel="next", <https://shop.example/letters?page=2>; rel="last"
}

// The row of links under a list.
func ExamplePage_Window() {
	pager, err := pagination.NewPageNumber(pagination.Preset{Size: 1}, &pagination.PageNumberOptions{Links: &pagination.Links{Relative: true}})
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/list?page=5", nil)
	page, err := pagination.Paginate(r, pager, pagination.Lister[int](make(pagination.Slice[int], 9)))
	if err != nil {
		panic(err)
	}
	for _, link := range page.Window() {
		switch {
		case link.Number == pagination.Break:
			fmt.Print("… ")
		case link.Active:
			fmt.Print("[", link.Number, "] ")
		default:
			fmt.Print(link.Number, " ")
		}
	}
	fmt.Println(page.Window()[0].URL, page.Window()[2].URL)
	// Output:
	// 1 … 4 [5] 6 … 9 /list /list?page=4
}

// Rows with what belongs to them, in two statements instead of one for each row.
func ExampleAttach() {
	type day struct {
		number   int64
		products []string
	}
	db := shop()
	defer db.Close()
	days := []day{{number: 1}, {number: 2}, {number: 9}}
	err := pagination.Attach(
		context.Background(), days,
		func(d day) (int64, bool) { return d.number, true },
		func(ctx context.Context, numbers []int64) (map[int64][]Sale, error) {
			list, in := source(db), pagination.In(numbers)
			list.Base.Where, list.Base.Args = "day IN "+in.SQL, in.Args
			var err error
			if list.Order, err = salesByDay().Order("id"); err != nil {
				return nil, err
			}
			sales, err := list.List(ctx, pagination.NoLimit, 0)
			return pagination.GroupBy(sales, func(s Sale) int64 { return s.Day }), err
		},
		func(d *day, sales []Sale) {
			for _, s := range sales {
				d.products = append(d.products, s.Product)
			}
		},
	)
	fmt.Println(days, err)
	// Output:
	// [{1 [tea milk]} {2 [tea roll milk]} {9 []}] <nil>
}

// The parameters of a list, for an OpenAPI document.
func ExamplePageNumber_OpenAPIParameters() {
	pager, err := pagination.NewPageNumber(pagination.Standard, nil)
	if err != nil {
		panic(err)
	}
	out := json.NewEncoder(os.Stdout)
	for _, parameter := range pager.OpenAPIParameters() {
		if err := out.Encode(parameter); err != nil {
			panic(err)
		}
	}
	// Output:
	// {"description":"A page number within the paginated result set.","in":"query","name":"page","required":false,"schema":{"type":"integer"}}
	// {"description":"Number of results to return per page.","in":"query","name":"page_size","required":false,"schema":{"type":"integer"}}
}
