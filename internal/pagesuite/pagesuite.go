// Package pagesuite tests adapters of package keyset on SQLite, MariaDB and PostgreSQL.
package pagesuite

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Engine is a database. [Run] adds the table sales: id, product, status, created_at and
// closed_at, which is NULL in a third of the rows.
type Engine struct {
	DB      *sql.DB
	DSN     string
	Dialect keyset.Dialect
}

// List is a list of an adapter over the sales of a product, sorted by id, status,
// created_at and closed_at.
type List[T any] struct {
	Keyset *keyset.Keyset[T]
	Source func(product string) keyset.SQLSource[T]
	ID     func(T) int64
}

// Rows is the number of sales. Each of the three products has a third.
const Rows = 3000

// Cursors returns cursors for a test.
func Cursors(t testing.TB) *keyset.Cursors {
	t.Helper()
	c, err := keyset.NewCursors(keyset.EphemeralKeyRing(), nil)
	require.NoError(t, err)
	return c
}

// Run runs the suite. The drivers sqlite, mysql and pgx must be registered under the names
// that are not "".
func Run[T any](t *testing.T, sqlite, mysql, pgx string, open func(*testing.T, Engine) List[T]) {
	Engines(t, sqlite, mysql, pgx, func(t *testing.T, e Engine) {
		fill(t, e)
		list := open(t, e)
		exercise(t, e, list)
		deep(t, e, list)
	})
}

// Engines runs a test on an empty database of each engine.
func Engines(t *testing.T, sqlite, mysql, pgx string, test func(*testing.T, Engine)) {
	for _, e := range []struct {
		name, driver string
		engine       func(t *testing.T) Engine
	}{
		{"SQLite", sqlite, func(t *testing.T) Engine {
			return Engine{DSN: "file:" + filepath.Join(t.TempDir(), "x.db"), Dialect: keyset.SQLite}
		}},
		{"MariaDB", mysql, func(t *testing.T) Engine {
			server := testserver.MariaDB(t)
			server.CreateDatabase(t, "shop")
			return Engine{DSN: server.DSN("shop") + "&parseTime=true&interpolateParams=true", Dialect: keyset.MySQL}
		}},
		{"PostgreSQL", pgx, func(t *testing.T) Engine {
			server := testserver.Postgres(t)
			server.CreateDatabase(t, "shop")
			return Engine{DSN: server.DSN("shop"), Dialect: keyset.Postgres}
		}},
	} {
		t.Run(e.name, func(t *testing.T) {
			if e.driver == "" {
				t.Skip("not an engine of this adapter")
			}
			t.Parallel()
			engine := e.engine(t)
			var err error
			engine.DB, err = sql.Open(e.driver, engine.DSN)
			require.NoError(t, err)
			t.Cleanup(func() { engine.DB.Close() })
			test(t, engine)
		})
	}
}

func fill(t *testing.T, e Engine) {
	t.Helper()
	moment := map[keyset.Dialect]string{keyset.SQLite: "TIMESTAMP", keyset.MySQL: "DATETIME(6)", keyset.Postgres: "TIMESTAMPTZ"}[e.Dialect]
	statements := []string{
		"CREATE TABLE sales (id BIGINT PRIMARY KEY, product VARCHAR(20) NOT NULL, status INT NOT NULL, created_at " + moment + " NOT NULL, closed_at " + moment + " NULL)",
		"CREATE INDEX sales_created ON sales (product, created_at, id)",
		"CREATE INDEX sales_closed ON sales (product, closed_at, id)",
		"CREATE INDEX sales_status ON sales (product, status, created_at DESC, id)",
	}
	var values []string
	for i := range Rows {
		closed := "NULL"
		if i%9 > 2 {
			closed = fmt.Sprintf("'2026-03-%02d 11:00:00'", 1+i*7%28)
		}
		values = append(values, fmt.Sprintf("(%d, '%s', %d, '2026-03-%02d 10:%02d:00', %s)", i*7919%Rows+1, [...]string{"tea", "milk?", "it''s"}[i%3], i%5, 1+i*31%28, i%4*15, closed))
	}
	statements = append(statements, "INSERT INTO sales VALUES "+strings.Join(values, ", "),
		map[keyset.Dialect]string{keyset.SQLite: "ANALYZE", keyset.MySQL: "ANALYZE TABLE sales", keyset.Postgres: "ANALYZE sales"}[e.Dialect])
	for _, s := range statements {
		exec(t, e.DB, s)
	}
}

func exercise[T any](t *testing.T, e Engine, l List[T]) {
	for _, product := range []string{"tea", "milk?", "it's"} {
		source := l.Source(product)
		report, err := l.Keyset.Verify(t.Context(), source, nil)
		require.NoError(t, err)
		require.EqualValues(t, Rows/3, report.Rows)
		for _, order := range []string{"created_at", "-created_at", "closed_at", "-closed_at,id", "status,-created_at,id", "id"} {
			want := reference(t, e, product, order)
			url := fmt.Sprintf("/?page_size=97&ordering=%s", order)
			there, last := walk(t, l, source, url, func(p *keyset.Page[T]) pagination.Link { return p.Next })
			require.Equal(t, want, there, order)
			slices.Reverse(want)
			back, _ := walk(t, l, source, last, func(p *keyset.Page[T]) pagination.Link { return p.Previous })
			require.Equal(t, want, back, "%s backwards", order)
		}
	}
	numbers, err := pagination.NewPageNumber(pagination.Preset{Size: 10}, nil)
	require.NoError(t, err)
	source := l.Source("tea")
	source.Order, err = l.Keyset.Order("-created_at,id")
	require.NoError(t, err)
	page, err := pagination.Read(t.Context(), numbers, pagination.PageRequest{Number: 3}, source)
	require.NoError(t, err)
	require.EqualValues(t, Rows/3, page.Count.N)
	want := reference(t, e, "tea", "-created_at,id")[20:30]
	for i, row := range page.Results {
		require.Equal(t, want[i], l.ID(row))
	}
	n := 0
	for _, err := range l.Keyset.All(t.Context(), source, &keyset.AllOptions{Batch: 300}) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, Rows/3, n)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = l.Keyset.Page(ctx, source, keyset.Query{})
	require.Error(t, err)
}

// walk follows links and returns the IDs in the order of the pages.
func walk[T any](t *testing.T, l List[T], source keyset.Seeker[T], url string, next func(*keyset.Page[T]) pagination.Link) (ids []int64, last string) {
	t.Helper()
	backwards := strings.Contains(url, "cursor=")
	for url != "" {
		page, err := l.Keyset.Paginate(httptest.NewRequest(http.MethodGet, url, nil), source)
		require.NoError(t, err, url)
		rows := page.Results
		if backwards {
			slices.Reverse(rows)
		}
		for _, r := range rows {
			ids = append(ids, l.ID(r))
		}
		require.LessOrEqual(t, len(ids), Rows)
		last, url = url, string(next(page))
	}
	return ids, last
}

func reference(t *testing.T, e Engine, product, ordering string) (ids []int64) {
	t.Helper()
	var by []string
	for _, name := range strings.Split(ordering, ",") {
		plain, desc := strings.CutPrefix(name, "-")
		by = append(by, plain+map[bool]string{true: " DESC"}[desc])
	}
	if !strings.HasSuffix(ordering, "id") { // the tie-break has the direction of the last key
		by = append(by, "id"+map[bool]string{true: " DESC"}[strings.HasPrefix(ordering, "-")])
	}
	rows, err := e.DB.Query("SELECT id FROM sales WHERE product = '" + strings.ReplaceAll(product, "'", "''") + "' ORDER BY " + strings.Join(by, ", "))
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var id int64
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	return ids
}
