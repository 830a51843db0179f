package pagination_test

import (
	"database/sql"
	"slices"
	"strconv"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// openShop opens a database in memory with products, and as many sales as asked for.
func openShop(b *testing.B, open func(driver, dsn string) (*sql.DB, error), sales int) *sql.DB {
	b.Helper()
	db, err := open("sqlite", ":memory:")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1) // each connection would have a memory of its own
	for _, statement := range []string{
		"CREATE TABLE categories (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
		"CREATE TABLE products (id INTEGER PRIMARY KEY, category_id INTEGER NOT NULL, name TEXT NOT NULL)",
		"CREATE TABLE stock (product_id INTEGER PRIMARY KEY, amount INTEGER NOT NULL)",
		"CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
		"CREATE TABLE children (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, name TEXT NOT NULL)",
		"CREATE TABLE sales (id INTEGER PRIMARY KEY, created_at INTEGER NOT NULL, product TEXT NOT NULL, amount INTEGER NOT NULL, note TEXT)",
		numbersTo(5) + "INSERT INTO categories SELECT i, 'category ' || i FROM n",
		numbersTo(20) + "INSERT INTO products SELECT i, 1 + i % 5, 'product ' || i FROM n",
		numbersTo(20) + "INSERT INTO stock SELECT i, i * 7 FROM n",
		numbersTo(15) + "INSERT INTO customers SELECT i, 'customer ' || i FROM n",
		numbersTo(40) + "INSERT INTO children SELECT i, 1 + i % 15, 'child ' || i FROM n",
		"CREATE INDEX sales_created ON sales (created_at, id)",
	} {
		if _, err := db.ExecContext(b.Context(), statement); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := db.ExecContext(b.Context(), numbersTo(sales)+
		"INSERT INTO sales SELECT i, 1700000000 + i / 3, 'product ' || (i % 50), 100 + i % 900, CASE WHEN i % 4 = 0 THEN 'a note' END FROM n"); err != nil {
		b.Fatal(err)
	}
	return db
}

// numbersTo begins a statement with a table n of the numbers i from 1.
func numbersTo(most int) string {
	return "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " + strconv.Itoa(most) + ") "
}

// sale is a row of the table sales.
type sale struct {
	ID      int64   `json:"id"`
	Created int64   `json:"created_at"`
	Product string  `json:"product"`
	Amount  int64   `json:"amount"`
	Note    *string `json:"note"`
}

func scanSale(rows keyset.Scanner) (sale, error) {
	var s sale
	err := rows.Scan(&s.ID, &s.Created, &s.Product, &s.Amount, &s.Note)
	return s, err
}

var saleBase = keyset.Base{
	Columns: []string{"id", "created_at", "product", "amount", "note"},
	From:    "sales",
	Where:   "amount >= ?",
	Args:    []any{200},
}

// salesByTime pages the sales by created_at and id.
func salesByTime(b *testing.B) *keyset.Keyset[sale] {
	b.Helper()
	cursors, err := keyset.NewCursors(keyset.EphemeralKeyRing(), nil)
	if err != nil {
		b.Fatal(err)
	}
	k, err := keyset.New("sales", pagination.Standard, cursors, []keyset.Column[sale]{
		{Name: "created_at", Expr: "created_at"},
		{Name: "id", Expr: "id", Unique: true},
	}, &keyset.Options{Ordering: "created_at"})
	if err != nil {
		b.Fatal(err)
	}
	return k
}

// versus runs the package's way and the way by hand in turns, so that both meet the
// same machine, and reports the medians and their ratio.
func versus(b *testing.B, ours, byHand func()) {
	b.Helper()
	var mine, theirs []time.Duration
	for turn := 0; b.Loop(); turn++ {
		first, second := ours, byHand
		if turn%2 == 1 {
			first, second = byHand, ours
		}
		start := time.Now()
		first()
		middle := time.Now()
		second()
		one, two := middle.Sub(start), time.Since(middle)
		if turn%2 == 1 {
			one, two = two, one
		}
		mine, theirs = append(mine, one), append(theirs, two)
	}
	slices.Sort(mine)
	slices.Sort(theirs)
	own, hand := mine[len(mine)/2], theirs[len(theirs)/2]
	b.ReportMetric(float64(own), "package-ns")
	b.ReportMetric(float64(hand), "hand-ns")
	b.ReportMetric(float64(own)/float64(hand), "package/hand")
}
