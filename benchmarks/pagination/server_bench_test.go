package pagination_test

import (
	"database/sql"
	"net/http"
	"net/http/httptest"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// BenchmarkPageServer is the keyset page of [BenchmarkPage] on servers of its own, where
// a statement goes through a socket. By hand it is the statement that the package writes,
// made once, and the same scanning. The target is at most 1.05 times the time by hand.
func BenchmarkPageServer(b *testing.B) {
	for _, server := range []struct {
		name, driver, numbers string
		dialect               keyset.Dialect
		dsn                   func(testing.TB) string
	}{
		{"mariadb", "mysql", "SELECT seq AS i FROM seq_1_to_20000", keyset.MySQL, func(t testing.TB) string {
			s := testserver.MariaDB(t)
			s.CreateDatabase(t, "shop")
			return s.DSN("shop") + "&interpolateParams=true"
		}},
		{"postgres", "pgx", "SELECT i FROM generate_series(1, 20000) AS s(i)", keyset.Postgres, func(t testing.TB) string {
			s := testserver.Postgres(t)
			s.CreateDatabase(t, "shop")
			return s.DSN("shop")
		}},
	} {
		b.Run(server.name, func(b *testing.B) {
			db, err := sql.Open(server.driver, server.dsn(b))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { db.Close() })
			db.SetMaxOpenConns(1) // both ways meet the same backend
			note := "CASE WHEN i % 4 = 0 THEN 'a note' END"
			product := "CONCAT('product ', i % 50)"
			for _, statement := range []string{
				"CREATE TABLE sales (id BIGINT PRIMARY KEY, created_at BIGINT NOT NULL, product VARCHAR(40) NOT NULL, amount BIGINT NOT NULL, note VARCHAR(40))",
				"INSERT INTO sales SELECT i, 1700000000 + i / 3, " + product + ", 100 + i % 900, " + note + " FROM (" + server.numbers + ") n",
				"CREATE INDEX sales_created ON sales (created_at, id)",
				map[keyset.Dialect]string{keyset.MySQL: "ANALYZE TABLE sales", keyset.Postgres: "ANALYZE sales"}[server.dialect],
			} {
				if _, err := db.ExecContext(b.Context(), statement); err != nil {
					b.Fatal(err)
				}
			}
			pages := salesByTime(b)
			source := keyset.SQLSource[sale]{DB: db, Dialect: server.dialect, Base: saleBase, Scan: scanSale}
			r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/sales?amount=200", nil)
			var last sale
			for range 40 {
				page, err := pages.Paginate(r, source)
				if err != nil {
					b.Fatal(err)
				}
				last = page.Results[len(page.Results)-1]
				r = httptest.NewRequestWithContext(b.Context(), http.MethodGet, string(page.Next), nil)
			}
			statement, args := seekBehind(b, pages, server.dialect, last)
			versus(b, func() {
				page, err := pages.Paginate(r, source)
				if err != nil || len(page.Results) != 25 || page.Next == "" || page.Previous == "" {
					b.Fatal(page, err)
				}
			}, func() {
				if rows := query(b, db, statement, args...); len(rows) != 26 {
					b.Fatal(len(rows))
				}
			})
		})
	}
}

// seekBehind returns the statement of the page behind a sale.
func seekBehind(b *testing.B, pages *keyset.Keyset[sale], dialect keyset.Dialect, last sale) (string, []any) {
	b.Helper()
	order, err := pages.Order("")
	if err != nil {
		b.Fatal(err)
	}
	at := make([]keyset.Value, 2)
	for i, n := range []int64{last.Created, last.ID} {
		if at[i], err = keyset.NewValue(n); err != nil {
			b.Fatal(err)
		}
	}
	statement, args, err := keyset.Seek{Order: order, After: at, Limit: 26}.SQL(dialect, saleBase)
	if err != nil {
		b.Fatal(err)
	}
	return statement, args
}
