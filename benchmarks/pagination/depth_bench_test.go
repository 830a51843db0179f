package pagination_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// BenchmarkDepth reads a page of 25 a quarter into a list and one four fifths into it
// (pages 10,000 and 32,000 of a million rows), in turns with pages 1 and 2, through
// [keyset.Keyset.Paginate]. deep/first is the ratio of the medians and at most 1.5 by
// the target; deep/second is the part of it that the depth has: page 1 has a shorter
// statement, without a position. Beside them the same page by OFFSET, and by the OR condition that one writes
// by hand. MAINSTAY_BENCH_ROWS sets the length, 1000000 for the published figures.
func BenchmarkDepth(b *testing.B) {
	rows := exportRows(b)
	for _, engine := range []struct {
		name    string
		dialect keyset.Dialect
		open    func(*testing.B) *sql.DB
	}{
		{"SQLite", keyset.SQLite, func(b *testing.B) *sql.DB {
			return openOrders(b, "sqlite", "file:"+filepath.Join(b.TempDir(), "orders.db")+"?_pragma=cache_size(-500000)&_pragma=synchronous(off)")
		}},
		{"MariaDB", keyset.MySQL, func(b *testing.B) *sql.DB {
			server := testserver.MariaDB(b, "--innodb-buffer-pool-size=1G")
			server.CreateDatabase(b, "orders")
			return openOrders(b, "mysql", server.DSN("orders")+"&interpolateParams=true")
		}},
		{"PostgreSQL", keyset.Postgres, func(b *testing.B) *sql.DB {
			server := testserver.Postgres(b, "-c", "shared_buffers=512MB")
			server.CreateDatabase(b, "orders")
			return openOrders(b, "pgx", server.DSN("orders"))
		}},
	} {
		b.Run(engine.name, func(b *testing.B) {
			db := engine.open(b)
			fillOrders(b, db, engine.dialect, rows)
			for _, list := range deepLists {
				b.Run(list.name, func(b *testing.B) { deepPages(b, db, engine.dialect, rows, list) })
			}
		})
	}
}

// order is a row of the table orders.
type order struct {
	ID, Status, Created int64
	Closed              *int64
	Note                string
}

// deepList is an order of the list, and the condition that continues behind a row by hand.
type deepList struct {
	name, ordering string
	nulls          keyset.Nulls
	behind         func(order) string
}

var deepLists = []deepList{
	{"one-direction", "-created_at", keyset.NullsNative, func(o order) string {
		return fmt.Sprintf("created_at < %d OR (created_at = %[1]d AND id < %d)", o.Created, o.ID)
	}},
	{"mixed", "status,-created_at,id", keyset.NullsNative, func(o order) string {
		return fmt.Sprintf("status > %d OR (status = %[1]d AND (created_at < %d OR (created_at = %[2]d AND id > %d)))", o.Status, o.Created, o.ID)
	}},
	{"nulls-first", "closed_at", keyset.NullsFirst, func(o order) string {
		if o.Closed == nil {
			return fmt.Sprintf("(closed_at IS NULL AND id > %d) OR closed_at IS NOT NULL", o.ID)
		}
		return fmt.Sprintf("closed_at > %d OR (closed_at = %[1]d AND id > %d)", *o.Closed, o.ID)
	}},
	{"nulls-last", "closed_at", keyset.NullsLast, func(o order) string {
		if o.Closed == nil {
			return fmt.Sprintf("closed_at IS NULL AND id > %d", o.ID)
		}
		return fmt.Sprintf("closed_at > %d OR (closed_at = %[1]d AND id > %d) OR closed_at IS NULL", *o.Closed, o.ID)
	}},
}

func openOrders(b *testing.B, driver, dsn string) *sql.DB {
	b.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1) // the same connection, and what it has prepared, for all turns
	return db
}

// fillOrders makes the table: five statuses, times in the order of the keys with some
// equal, a third of closed_at NULL at random places.
func fillOrders(b *testing.B, db *sql.DB, dialect keyset.Dialect, rows int) {
	b.Helper()
	run := func(statement string) {
		b.Helper()
		if _, err := db.ExecContext(b.Context(), statement); err != nil {
			b.Fatal(statement, err)
		}
	}
	run("CREATE TABLE orders (id INTEGER PRIMARY KEY, status INTEGER NOT NULL, created_at BIGINT NOT NULL, closed_at BIGINT, note VARCHAR(40) NOT NULL)")
	random := rand.New(rand.NewPCG(1, 2))
	const batch = 5000
	for id := 1; id <= rows; {
		var insert strings.Builder
		insert.WriteString("INSERT INTO orders (id, status, created_at, closed_at, note) VALUES ")
		for first := id; id <= rows && id < first+batch; id++ {
			if id > first {
				insert.WriteString(", ")
			}
			closed := "NULL"
			if random.IntN(3) > 0 {
				closed = strconv.Itoa(1_700_000_000 + random.IntN(2*rows))
			}
			fmt.Fprintf(&insert, "(%d, %d, %d, %s, 'note %d')", id, random.IntN(5), 1_700_000_000+id/3, closed, id)
		}
		run(insert.String())
	}
	run("CREATE INDEX orders_created ON orders (created_at, id)")
	run("CREATE INDEX orders_status ON orders (status, created_at DESC, id)")
	run("CREATE INDEX orders_closed ON orders (closed_at, id)")
	switch dialect {
	case keyset.MySQL:
		run("ANALYZE TABLE orders")
	case keyset.Postgres:
		run("VACUUM ANALYZE orders")
	default:
		run("ANALYZE")
	}
}

func deepPages(b *testing.B, db *sql.DB, dialect keyset.Dialect, rows int, list deepList) {
	cursors, err := keyset.NewCursors(keyset.EphemeralKeyRing(), nil)
	if err != nil {
		b.Fatal(err)
	}
	pages, err := keyset.New("orders", pagination.Preset{Size: 25, MaxSize: rows}, cursors, []keyset.Column[order]{
		{Name: "id", Expr: "id", Unique: true},
		{Name: "status", Expr: "status"},
		{Name: "created_at", Expr: "created_at"},
		{Name: "closed_at", Expr: "closed_at", Nullable: true, Nulls: list.nulls},
	}, &keyset.Options{Ordering: list.ordering})
	if err != nil {
		b.Fatal(err)
	}
	sorted, err := pages.Order("")
	if err != nil {
		b.Fatal(err)
	}
	source := keyset.SQLSource[order]{
		DB: db, Dialect: dialect, Order: sorted,
		Base: keyset.Base{Columns: []string{"id", "status", "created_at", "closed_at", "note"}, From: "orders"},
		Scan: func(rows keyset.Scanner) (o order, err error) {
			return o, rows.Scan(&o.ID, &o.Status, &o.Created, &o.Closed, &o.Note)
		},
	}
	read := func(r *http.Request) *keyset.Page[order] {
		page, err := pages.Paginate(r, source)
		if err != nil {
			b.Fatal(err)
		}
		return page
	}
	request := func(query url.Values) *http.Request {
		return httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/orders?"+query.Encode(), nil)
	}
	first := request(nil)
	second := httptest.NewRequestWithContext(b.Context(), http.MethodGet, string(read(first).Next), nil)
	for _, depth := range []struct {
		name string
		skip int
	}{{"quarter", rows / 4}, {"four-fifths", rows / 5 * 4}} {
		b.Run(depth.name, func(b *testing.B) {
			// One page as long as all before the deep one leads there.
			before := read(request(url.Values{"page_size": {strconv.Itoa(depth.skip)}}))
			next, err := url.Parse(string(before.Next))
			if err != nil {
				b.Fatal(err)
			}
			deep := request(url.Values{"cursor": next.Query()["cursor"]})
			want := read(deep).Results
			check := func(got []order) {
				if len(got) != 25 || got[0].ID != want[0].ID || got[24].ID != want[24].ID {
					b.Fatal("another page")
				}
			}
			b.Run("keyset", func(b *testing.B) {
				pages := [...]*http.Request{first, second, deep}
				var took [len(pages)][]time.Duration
				for b.Loop() {
					for i, r := range pages {
						start := time.Now()
						read(r)
						took[i] = append(took[i], time.Since(start))
					}
				}
				var median [len(pages)]float64
				for i := range took {
					slices.Sort(took[i])
					median[i] = float64(took[i][len(took[i])/2])
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(median[0], "first-ns")
				b.ReportMetric(median[2], "deep-ns")
				b.ReportMetric(median[2]/median[0], "deep/first")
				b.ReportMetric(median[2]/median[1], "deep/second")
			})
			b.Run("offset", func(b *testing.B) {
				for b.Loop() {
					got, err := source.List(b.Context(), 25, int64(depth.skip))
					if err != nil {
						b.Fatal(err)
					}
					check(got)
				}
			})
			b.Run("or", func(b *testing.B) {
				byHand := source
				byHand.Base.Where = list.behind(before.Results[depth.skip-1])
				for b.Loop() {
					got, err := byHand.List(b.Context(), 25, 0)
					if err != nil {
						b.Fatal(err)
					}
					check(got)
				}
			})
		})
	}
}
