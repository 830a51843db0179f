package querycount_test

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
	"github.com/mainstay-go/mainstay/pagination/querycount"
)

func openCounted(t testing.TB, driverName, dsn string) *sql.DB {
	t.Helper()
	db, err := querycount.Open(driverName, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func sqlite(t testing.TB) *sql.DB {
	t.Helper()
	return openCounted(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "test.db"))
}

// fill makes 20 products with categories and stock, and 15 customers with children.
func fill(t testing.TB, db *sql.DB) {
	t.Helper()
	statements := []string{
		"CREATE TABLE category (id BIGINT PRIMARY KEY, name VARCHAR(40) NOT NULL)",
		"CREATE TABLE product (id BIGINT PRIMARY KEY, name VARCHAR(40) NOT NULL, category_id BIGINT NOT NULL)",
		"CREATE TABLE stock (product_id BIGINT PRIMARY KEY, amount BIGINT NOT NULL)",
		"CREATE TABLE customer (id BIGINT PRIMARY KEY, name VARCHAR(40) NOT NULL)",
		"CREATE TABLE child (id BIGINT PRIMARY KEY, customer_id BIGINT NOT NULL, name VARCHAR(40) NOT NULL)",
		"INSERT INTO category VALUES (1, 'drinks'), (2, 'food'), (3, 'fruit')",
	}
	for i := range 20 {
		statements = append(statements,
			fmt.Sprintf("INSERT INTO product VALUES (%d, 'product %d', %d)", i+1, i+1, i%3+1),
			fmt.Sprintf("INSERT INTO stock VALUES (%d, %d)", i+1, i*10))
	}
	for i := range 15 {
		statements = append(statements, fmt.Sprintf("INSERT INTO customer VALUES (%d, 'customer %d')", i+1, i+1))
		for j := range i%3 + 1 {
			statements = append(statements, fmt.Sprintf("INSERT INTO child VALUES (%d, %d, 'child')", i*10+j, i+1))
		}
	}
	for _, s := range statements {
		_, err := db.Exec(s)
		require.NoError(t, err, s)
	}
}

type product struct {
	id, categoryID int64
	name, category string
	stock          int64
}

type customer struct {
	id       int64
	name     string
	children []string
}

// querier is a *sql.DB or a *sql.Conn.
type querier interface {
	keyset.Queryer
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

func naiveProducts(ctx context.Context, t testing.TB, q querier, mark string) []product {
	t.Helper()
	source := keyset.SQLSource[product]{
		DB: q, Dialect: dialectOf(mark), Order: byID(t, "p.id"),
		Base: keyset.Base{Columns: []string{"p.id", "p.name", "p.category_id"}, From: "product p"},
		Scan: func(rows keyset.Scanner) (p product, err error) { return p, rows.Scan(&p.id, &p.name, &p.categoryID) },
	}
	list, err := source.List(ctx, 20, 0)
	require.NoError(t, err)
	for i := range list {
		p := &list[i]
		require.NoError(t, q.QueryRowContext(ctx, "SELECT name FROM category WHERE id = "+mark, p.categoryID).Scan(&p.category))
		require.NoError(t, q.QueryRowContext(ctx, "SELECT amount FROM stock WHERE product_id = "+mark, p.id).Scan(&p.stock))
	}
	return list
}

func joinedProducts(ctx context.Context, t testing.TB, q querier, mark string) []product {
	t.Helper()
	source := keyset.SQLSource[product]{
		DB: q, Dialect: dialectOf(mark), Order: byID(t, "p.id"),
		Base: keyset.Base{
			Columns: []string{"p.id", "p.name", "p.category_id", "c.name AS category", "s.amount"},
			From:    "product p JOIN category c ON c.id = p.category_id LEFT JOIN stock s ON s.product_id = p.id",
		},
		Scan: func(rows keyset.Scanner) (p product, err error) {
			return p, rows.Scan(&p.id, &p.name, &p.categoryID, &p.category, &p.stock)
		},
	}
	list, err := source.List(ctx, 20, 0)
	require.NoError(t, err)
	return list
}

func customers(ctx context.Context, t testing.TB, q querier, mark string) []customer {
	t.Helper()
	source := keyset.SQLSource[customer]{
		DB: q, Dialect: dialectOf(mark), Order: byID(t, "id"),
		Base: keyset.Base{Columns: []string{"id", "name"}, From: "customer"},
		Scan: func(rows keyset.Scanner) (c customer, err error) { return c, rows.Scan(&c.id, &c.name) },
	}
	list, err := source.List(ctx, 15, 0)
	require.NoError(t, err)
	return list
}

func naiveCustomers(ctx context.Context, t testing.TB, q querier, mark string) []customer {
	t.Helper()
	list := customers(ctx, t, q, mark)
	for i := range list {
		rows, err := q.QueryContext(ctx, "SELECT name FROM child WHERE customer_id = "+mark+" ORDER BY id", list[i].id)
		require.NoError(t, err)
		list[i].children = names(t, rows)
	}
	return list
}

func names(t testing.TB, rows *sql.Rows) (list []string) {
	t.Helper()
	defer rows.Close()
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		list = append(list, name)
	}
	require.NoError(t, rows.Err())
	return list
}

func attachedCustomers(ctx context.Context, t testing.TB, q querier, mark string) []customer {
	t.Helper()
	type child struct {
		customer int64
		name     string
	}
	list := customers(ctx, t, q, mark)
	err := pagination.Attach(
		ctx, list,
		func(c customer) (int64, bool) { return c.id, true },
		func(ctx context.Context, ids []int64) (map[int64][]child, error) {
			in, args := pagination.In(ids)
			source := keyset.SQLSource[child]{
				DB: q, Dialect: dialectOf(mark), Order: byID(t, "id"),
				Base: keyset.Base{Columns: []string{"customer_id", "name"}, From: "child", Where: "customer_id IN " + in, Args: args},
				Scan: func(rows keyset.Scanner) (c child, err error) { return c, rows.Scan(&c.customer, &c.name) },
			}
			children, err := source.List(ctx, pagination.NoLimit, 0)
			return pagination.GroupBy(children, func(c child) int64 { return c.customer }), err
		},
		func(c *customer, children []child) {
			for _, found := range children {
				c.children = append(c.children, found.name)
			}
		},
	)
	require.NoError(t, err)
	return list
}

func dialectOf(mark string) keyset.Dialect {
	if mark == "$1" {
		return keyset.Postgres
	}
	return keyset.Generic
}

func byID(t testing.TB, expr string) keyset.Order {
	t.Helper()
	order, err := keyset.NewOrder(nil, keyset.Key{Name: "id", Expr: expr, Unique: true})
	require.NoError(t, err)
	return order
}

// TestListings counts the statements of two listings, without and with the means against
// N+1, and has the server count along where it can.
func TestListings(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) (*sql.DB, string){
		"SQLite": func(t testing.TB) (*sql.DB, string) { return sqlite(t), "?" },
		"MariaDB": func(t testing.TB) (*sql.DB, string) {
			server := testserver.MariaDB(t)
			server.CreateDatabase(t, "listing")
			return openCounted(t, "mysql", server.DSN("listing")), "?"
		},
		"PostgreSQL": func(t testing.TB) (*sql.DB, string) {
			server := testserver.Postgres(t)
			server.CreateDatabase(t, "listing")
			return openCounted(t, "pgx", server.DSN("listing")), "$1"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, mark := open(t)
			fill(t, db)
			conn, err := db.Conn(t.Context())
			require.NoError(t, err)
			defer conn.Close()
			selects := func() int {
				if name != "MariaDB" {
					return 0
				}
				var variable, value string
				require.NoError(t, conn.QueryRowContext(t.Context(), "SHOW SESSION STATUS LIKE 'Com_select'").Scan(&variable, &value))
				n, err := strconv.Atoi(value)
				require.NoError(t, err)
				return n
			}
			measure := func(want int, list func(context.Context)) {
				t.Helper()
				before := selects()
				ctx, counter := querycount.With(t.Context())
				list(ctx)
				assert.Equal(t, want, counter.Total(), "%v", counter.Statements())
				if name == "MariaDB" {
					assert.Equal(t, want, selects()-before, "the server's own counter")
				}
			}
			var slowProducts, fastProducts []product
			measure(41, func(ctx context.Context) { slowProducts = naiveProducts(ctx, t, conn, mark) })
			measure(1, func(ctx context.Context) { fastProducts = joinedProducts(ctx, t, conn, mark) })
			assert.Equal(t, slowProducts, fastProducts)
			var slowCustomers, fastCustomers []customer
			measure(16, func(ctx context.Context) { slowCustomers = naiveCustomers(ctx, t, conn, mark) })
			measure(2, func(ctx context.Context) { fastCustomers = attachedCustomers(ctx, t, conn, mark) })
			assert.Equal(t, slowCustomers, fastCustomers)
		})
	}
}

func TestCounterBasics(t *testing.T) {
	t.Parallel()
	db := sqlite(t)
	ctx, counter := querycount.With(t.Context())
	_, err := db.ExecContext(ctx, "CREATE TABLE t (a INTEGER)")
	require.NoError(t, err)
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	prepared, err := tx.PrepareContext(ctx, "INSERT INTO t VALUES (?)")
	require.NoError(t, err)
	defer prepared.Close()
	for i := range 3 {
		_, err = prepared.ExecContext(ctx, i)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	require.NoError(t, db.PingContext(ctx))
	assert.Equal(t, 4, counter.Total(), "neither Prepare nor Begin, Commit or Ping counts")
	first := counter.Statements()[0]
	assert.Equal(t, "INSERT INTO t VALUES (?)", first.SQL)
	assert.Equal(t, 3, first.Count)
	assert.Positive(t, first.Took)
	assert.Contains(t, first.Caller, "querycount_test.go:")

	_, err = db.ExecContext(t.Context(), "DELETE FROM t")
	require.NoError(t, err)
	assert.Equal(t, 4, counter.Total(), "another context")
	_, err = db.ExecContext(ctx, "SELECT nonsense FROM nowhere")
	require.Error(t, err)
	assert.Equal(t, 5, counter.Total(), "a statement that fails has reached the server")

	inner, innerCounter := querycount.With(ctx)
	querycount.Record(inner, "", "from a native driver", 0)
	assert.Equal(t, 1, innerCounter.Total())
	assert.Equal(t, 5, counter.Total())
	querycount.Record(t.Context(), "", "nobody counts", 0)

	for i := range 1100 {
		querycount.Record(ctx, "", strings.Repeat("x", i+1), 0)
	}
	assert.Equal(t, 5+1100, counter.Total())
	assert.LessOrEqual(t, len(counter.Statements()), 1000)
}

// reporter is a test whose end is called by hand.
type reporter struct {
	testing.TB
	ends   []func()
	errors []string
}

func (r *reporter) Cleanup(f func()) { r.ends = append(r.ends, f) }
func (r *reporter) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func TestBudget(t *testing.T) {
	t.Parallel()
	db := sqlite(t)
	for budget, failures := range map[int]int{2: 1, 3: 0} {
		r := &reporter{TB: t}
		ctx := querycount.Budget(r, budget)
		for range 3 {
			_, err := db.ExecContext(ctx, "SELECT 1")
			require.NoError(t, err)
		}
		for _, end := range r.ends {
			end()
		}
		require.Len(t, r.errors, failures)
		if failures > 0 {
			assert.Contains(t, r.errors[0], "3 statements ran, the budget is 2:\n    3 x SELECT 1")
		}
	}
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	db := sqlite(t)
	var log bytes.Buffer
	opts := &querycount.MiddlewareOptions{Logger: slog.New(slog.NewTextHandler(&log, nil)), Repeats: 3}
	run := func(opts *querycount.MiddlewareOptions, handler http.HandlerFunc) http.Header {
		rec := httptest.NewRecorder()
		querycount.Middleware(opts)(handler).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/things?secret=1", nil))
		return rec.Header()
	}
	query := func(r *http.Request, n int) {
		for i := range n {
			_, err := db.ExecContext(r.Context(), "SELECT 'secret "+strconv.Itoa(i)+"'")
			require.NoError(t, err)
		}
	}
	assert.Equal(t, "2", run(opts, func(w http.ResponseWriter, r *http.Request) {
		query(r, 2)
		w.WriteHeader(http.StatusEarlyHints)
		query(r, 0)
		io.WriteString(w, "body")
	}).Get(querycount.Header))
	assert.Equal(t, "0", run(opts, func(http.ResponseWriter, *http.Request) {}).Get(querycount.Header))
	assert.Equal(t, "1", run(opts, func(w http.ResponseWriter, r *http.Request) {
		query(r, 1)
		w.(http.Flusher).Flush()
	}).Get(querycount.Header))
	assert.Empty(t, log.String())
	assert.Equal(t, "4", run(opts, func(w http.ResponseWriter, r *http.Request) {
		query(r, 4)
		w.WriteHeader(http.StatusNoContent)
	}).Get(querycount.Header))
	assert.Contains(t, log.String(), "count=4")
	assert.Contains(t, log.String(), `statement="SELECT ?"`)
	assert.NotContains(t, log.String(), "secret")
	assert.Empty(t, run(&querycount.MiddlewareOptions{Quiet: true, Logger: opts.Logger}, func(_ http.ResponseWriter, r *http.Request) { query(r, 1) }).Get(querycount.Header))
}

// The rest drives the wrapper over drivers that lack what database/sql has learned since.

type oldDriver struct{ conn driver.Conn }

func (d oldDriver) Open(string) (driver.Conn, error) { return d.conn, nil }

type oldConn struct{ log []string }

func (c *oldConn) Prepare(query string) (driver.Stmt, error) {
	c.log = append(c.log, "prepare")
	return &oldStmt{c}, nil
}
func (c *oldConn) Close() error              { return nil }
func (c *oldConn) Begin() (driver.Tx, error) { return c, nil }
func (c *oldConn) Commit() error             { return nil }
func (c *oldConn) Rollback() error           { return nil }

type oldStmt struct{ c *oldConn }

func (s *oldStmt) Close() error  { return nil }
func (s *oldStmt) NumInput() int { return -1 }
func (s *oldStmt) Exec(args []driver.Value) (driver.Result, error) {
	s.c.log = append(s.c.log, fmt.Sprintf("exec %v", args))
	return driver.ResultNoRows, nil
}

func (s *oldStmt) Query([]driver.Value) (driver.Rows, error) {
	s.c.log = append(s.c.log, "query")
	return noRows{}, nil
}

type noRows struct{}

func (noRows) Columns() []string         { return []string{"a"} }
func (noRows) Close() error              { return nil }
func (noRows) Next([]driver.Value) error { return io.EOF }

// olderConn has the interfaces of Go 1.0.
type olderConn struct{ oldConn }

func (c *olderConn) Exec(string, []driver.Value) (driver.Result, error) {
	c.log = append(c.log, "direct exec")
	return driver.ResultNoRows, nil
}

func (c *olderConn) Query(string, []driver.Value) (driver.Rows, error) {
	return nil, driver.ErrSkip
}

func TestOldDrivers(t *testing.T) {
	t.Parallel()
	conn := &oldConn{}
	db := sql.OpenDB(querycount.Wrap(dsnConnector{oldDriver{conn}, ""}))
	defer db.Close()
	ctx, counter := querycount.With(t.Context())
	_, err := db.ExecContext(ctx, "UPDATE", 1, "x", time.Duration(5))
	require.NoError(t, err)
	rows, err := db.QueryContext(ctx, "SELECT")
	require.NoError(t, err)
	defer rows.Close()
	require.NoError(t, db.PingContext(ctx))
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	_, err = db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	require.Error(t, err)
	_, err = db.ExecContext(ctx, "UPDATE", sql.Named("a", 1))
	require.Error(t, err)
	assert.Equal(t, []string{"prepare", "exec [1 x 5]", "prepare", "query", "prepare"}, conn.log)
	assert.Equal(t, 2, counter.Total())

	older := &olderConn{}
	db = sql.OpenDB(querycount.Wrap(dsnConnector{oldDriver{older}, ""}))
	defer db.Close()
	ctx, counter = querycount.With(t.Context())
	_, err = db.ExecContext(ctx, "UPDATE")
	require.NoError(t, err)
	rows, err = db.QueryContext(ctx, "SELECT")
	require.NoError(t, err)
	defer rows.Close()
	assert.Equal(t, []string{"direct exec", "prepare", "query"}, older.log)
	assert.Equal(t, 2, counter.Total(), "a declined query is prepared and counted once")
	held, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer held.Close()
	require.NoError(t, held.Raw(func(c any) error {
		if c.(interface{ Unwrap() driver.Conn }).Unwrap() != driver.Conn(older) {
			return errors.New("not the driver's connection")
		}
		return nil
	}))
}

func TestOpenUnknownDriver(t *testing.T) {
	t.Parallel()
	_, err := querycount.Open("no such driver", "")
	require.Error(t, err)
}

// dsnConnector is what database/sql makes of an old driver.
type dsnConnector struct {
	driver driver.Driver
	dsn    string
}

func (c dsnConnector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c dsnConnector) Driver() driver.Driver                        { return c.driver }

// A loop of look-ups is an N+1 and names its line. A loop of writes and the batches of a
// walk are none.
func TestNoNPlusOne(t *testing.T) {
	t.Parallel()
	db := sqlite(t)
	fill(t, db)
	run := func(f func(ctx context.Context), allowed ...string) []string {
		r := &reporter{TB: t}
		f(querycount.NoNPlusOne(r, allowed...))
		for _, end := range r.ends {
			end()
		}
		return r.errors
	}
	lookUps := func(ctx context.Context) { naiveCustomers(ctx, t, db, "?") }
	failures := run(lookUps)
	require.Len(t, failures, 1)
	assert.Contains(t, failures[0], "15 x SELECT name FROM child WHERE customer_id = ? ORDER BY id")
	assert.Contains(t, failures[0], "querycount_test.go:")
	assert.Empty(t, run(lookUps, "FROM child"))
	assert.Empty(t, run(func(ctx context.Context) {
		for i := range 10 {
			_, err := db.ExecContext(ctx, "INSERT INTO category VALUES (?, 'x')", 100+i)
			require.NoError(t, err)
		}
	}))
	cursors, err := keyset.NewCursors(keyset.EphemeralKeyRing(), nil)
	require.NoError(t, err)
	k, err := keyset.New("products", pagination.Standard, cursors, []keyset.Column[int64]{{Name: "id", Expr: "id", Unique: true}}, nil)
	require.NoError(t, err)
	assert.Empty(t, run(func(ctx context.Context) {
		for _, err := range k.All(ctx, keyset.SQLSource[int64]{
			DB: db, Dialect: keyset.SQLite, Base: keyset.Base{Columns: []string{"id"}, From: "product"},
			Scan: func(r keyset.Scanner) (id int64, err error) { return id, r.Scan(&id) },
		}, &keyset.AllOptions{Batch: 2}) {
			require.NoError(t, err)
		}
	}))
}
