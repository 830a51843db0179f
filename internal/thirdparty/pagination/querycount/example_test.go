package querycount_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/pagination/querycount"
)

// open is sql.Open with a counter for each context.
func open() *sql.DB {
	db, err := querycount.Open("sqlite", ":memory:")
	if err != nil {
		panic(err)
	}
	db.SetMaxOpenConns(1) // each connection would have a memory of its own
	if _, err := db.Exec("CREATE TABLE stock (product INTEGER PRIMARY KEY, amount INTEGER); INSERT INTO stock VALUES (1, 5), (2, 7), (3, 0)"); err != nil {
		panic(err)
	}
	return db
}

func amount(ctx context.Context, db *sql.DB, product int) (n int) {
	if err := db.QueryRowContext(ctx, "SELECT amount FROM stock WHERE product = ?", product).Scan(&n); err != nil {
		panic(err)
	}
	return n
}

func ExampleWith() {
	db := open()
	defer db.Close()
	ctx, counter := querycount.With(context.Background())
	for product := range 3 {
		amount(ctx, db, product+1)
	}
	fmt.Println(counter.Total())
	fmt.Println(counter.Shapes()[0].SQL, counter.Shapes()[0].Count)
	// Output:
	// 3
	// SELECT amount FROM stock WHERE product = ? 3
}

// Each answer says how many statements it took; a statement that ran too often in one
// request is logged.
func ExampleMiddleware() {
	db := open()
	defer db.Close()
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "took" || a.Key == "caller" {
			return slog.Attr{}
		}
		return a
	}}))
	handler := querycount.Middleware(&querycount.MiddlewareOptions{Repeats: 2, Logger: logger})(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for product := range 3 {
				amount(r.Context(), db, product+1)
			}
			w.WriteHeader(http.StatusNoContent)
		}),
	)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/stock", nil))
	fmt.Println(w.Header().Get(querycount.Header))
	// Output:
	// level=WARN msg="querycount: one statement ran many times in a request; load its rows with one (N+1)" method=GET path=/stock count=3 total=3 statement="SELECT amount FROM stock WHERE product = ?"
	// 3
}

// testRun stands for the *testing.T of a test.
type testRun struct{ cleanup func() }

func (*testRun) Helper()                   {}
func (*testRun) Errorf(f string, a ...any) { fmt.Printf(f+"\n", a...) }
func (t *testRun) Cleanup(f func())        { t.cleanup = f }
func (*testRun) Context() context.Context  { return context.Background() }

// A test fails that runs more statements than its budget.
func ExampleBudget() {
	db := open()
	defer db.Close()
	t := &testRun{} // in a test, its *testing.T
	ctx := querycount.Budget(t, 2)
	for product := range 3 {
		amount(ctx, db, product+1)
	}
	t.cleanup()
	// Output:
	// querycount: 3 statements ran, the budget is 2:
	//     3 x SELECT amount FROM stock WHERE product = ?
}

// A tracer of a native driver reports statements outside of database/sql. contrib/pgxpage
// has one for pgx.
func ExampleRecord() {
	ctx, counter := querycount.With(context.Background())
	querycount.Record(ctx, "postgres", "SELECT 1", time.Millisecond)
	fmt.Println(counter.Total())
	// Output:
	// 1
}
