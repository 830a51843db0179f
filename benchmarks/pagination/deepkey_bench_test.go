package pagination_test

import (
	"database/sql"
	"strconv"
	"testing"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// BenchmarkDeepKey reads a page of 25 in the middle of 200,000 rows by OFFSET, through
// [keyset.SQLSource] with DeepKey (package) and in one plain statement (hand). A list
// that can be paged by keyset needs neither.
func BenchmarkDeepKey(b *testing.B) {
	const rows = 200_000
	for _, engine := range []struct {
		name, driver, numbers, concat string
		dialect                       keyset.Dialect
		dsn                           func(testing.TB) string
	}{
		{"sqlite", "sqlite", numbersTo(rows) + "SELECT i FROM n", "'product ' || (i % 50)", keyset.SQLite, func(testing.TB) string { return ":memory:" }},
		{"mariadb", "mysql", "SELECT seq AS i FROM seq_1_to_" + strconv.Itoa(rows), "CONCAT('product ', i % 50)", keyset.MySQL, func(t testing.TB) string {
			s := testserver.MariaDB(t)
			s.CreateDatabase(t, "shop")
			return s.DSN("shop") + "&interpolateParams=true"
		}},
	} {
		b.Run(engine.name, func(b *testing.B) {
			db, err := sql.Open(engine.driver, engine.dsn(b))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { db.Close() })
			db.SetMaxOpenConns(1)
			for _, statement := range []string{
				"CREATE TABLE sales (id INTEGER PRIMARY KEY, created_at BIGINT NOT NULL, product VARCHAR(40) NOT NULL, amount BIGINT NOT NULL, note VARCHAR(40))",
				"INSERT INTO sales SELECT i, 1700000000 + i / 3, " + engine.concat + ", 100 + i % 900, 'a note' FROM (" + engine.numbers + ") n",
				"CREATE INDEX sales_created ON sales (created_at, id)",
			} {
				if _, err := db.ExecContext(b.Context(), statement); err != nil {
					b.Fatal(err)
				}
			}
			order, err := keyset.NewOrder(nil,
				keyset.Key{Name: "created_at", Expr: "created_at"},
				keyset.Key{Name: "id", Expr: "id", Unique: true})
			if err != nil {
				b.Fatal(err)
			}
			plain := keyset.SQLSource[sale]{
				DB: db, Dialect: engine.dialect, Order: order, Scan: scanSale,
				Base: keyset.Base{Columns: saleBase.Columns, From: "sales"},
			}
			deep := plain
			deep.DeepKey = "id"
			read := func(source keyset.SQLSource[sale]) {
				if list, err := source.List(b.Context(), 25, rows/2); err != nil || len(list) != 25 {
					b.Fatal(len(list), err)
				}
			}
			versus(b, func() { read(deep) }, func() { read(plain) })
		})
	}
}
