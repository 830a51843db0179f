package pagination_test

import (
	"context"
	"database/sql"
	"sync"
	"testing"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
	"github.com/mainstay-go/mainstay/pagination/querycount"
)

// BenchmarkFetch reads 20 products with category and stock, and 15 customers with their
// children: one statement for each row and each thing, and in the way that the package
// offers. statements is the number of fetch statements: 41 against 1, 16 against 2. A
// total would add one to each.
func BenchmarkFetch(b *testing.B) {
	db := openShop(b, querycount.Open, 1)
	for _, fetch := range []struct {
		name       string
		statements int
		run        func(context.Context, *testing.B, *sql.DB)
	}{
		{"products/row-by-row", 41, productsRowByRow},
		{"products/joined", 1, productsJoined},
		{"customers/row-by-row", 16, customersRowByRow},
		{"customers/attached", 2, customersAttached},
	} {
		b.Run(fetch.name, func(b *testing.B) {
			b.ReportAllocs()
			fetch.run(b.Context(), b, db) // the first page of a list asks about its columns
			n := 0
			for b.Loop() {
				ctx, counter := querycount.With(b.Context())
				fetch.run(ctx, b, db)
				n = counter.Total()
			}
			if n != fetch.statements {
				b.Fatalf("%d statements, %d expected", n, fetch.statements)
			}
			b.ReportMetric(float64(n), "statements")
		})
	}
}

type product struct {
	ID, CategoryID, Stock int64
	Name, Category        string
}

type customer struct {
	ID       int64
	Name     string
	Children []child
}

type child struct {
	CustomerID int64
	Name       string
}

// all reads all rows of a statement.
func all[T any](ctx context.Context, b *testing.B, db *sql.DB, scan func(*sql.Rows, *T) error, statement string, args ...any) (list []T) {
	rows, err := db.QueryContext(ctx, statement, args...)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var row T
		if err := scan(rows, &row); err != nil {
			b.Fatal(err)
		}
		list = append(list, row)
	}
	if err := rows.Err(); err != nil {
		b.Fatal(err)
	}
	return list
}

func productsRowByRow(ctx context.Context, b *testing.B, db *sql.DB) {
	list := all(ctx, b, db, func(rows *sql.Rows, p *product) error { return rows.Scan(&p.ID, &p.CategoryID, &p.Name) },
		"SELECT id, category_id, name FROM products ORDER BY id LIMIT 20")
	for i := range list {
		p := &list[i]
		if err := db.QueryRowContext(ctx, "SELECT name FROM categories WHERE id = ?", p.CategoryID).Scan(&p.Category); err != nil {
			b.Fatal(err)
		}
		if err := db.QueryRowContext(ctx, "SELECT amount FROM stock WHERE product_id = ?", p.ID).Scan(&p.Stock); err != nil {
			b.Fatal(err)
		}
	}
	checkProducts(b, list)
}

// byID is made once, as a service does: an order remembers what the database said of a list.
var byID = sync.OnceValues(func() (keyset.Order, error) {
	return keyset.NewOrder(nil, keyset.Key{Name: "id", Expr: "p.id", Unique: true})
})

func productsJoined(ctx context.Context, b *testing.B, db *sql.DB) {
	order, err := byID()
	if err != nil {
		b.Fatal(err)
	}
	list, err := keyset.SQLSource[product]{
		DB: db, Dialect: keyset.SQLite, Order: order,
		Base: keyset.Base{
			Columns: []string{"p.id", "p.category_id", "p.name", "c.name AS category", "COALESCE(s.amount, 0) AS amount"},
			From:    "products p JOIN categories c ON c.id = p.category_id LEFT JOIN stock s ON s.product_id = p.id",
		},
		Scan: func(rows keyset.Scanner) (p product, err error) {
			err = rows.Scan(&p.ID, &p.CategoryID, &p.Name, &p.Category, &p.Stock)
			return p, err
		},
	}.List(ctx, 20, 0)
	if err != nil {
		b.Fatal(err)
	}
	checkProducts(b, list)
}

func checkProducts(b *testing.B, list []product) {
	if len(list) != 20 || list[3].Category != "category 5" || list[3].Stock != 28 {
		b.Fatal(list)
	}
}

const firstCustomers = "SELECT id, name FROM customers ORDER BY id LIMIT 15"

func scanCustomer(rows *sql.Rows, c *customer) error { return rows.Scan(&c.ID, &c.Name) }
func scanChild(rows *sql.Rows, c *child) error       { return rows.Scan(&c.CustomerID, &c.Name) }

func customersRowByRow(ctx context.Context, b *testing.B, db *sql.DB) {
	list := all(ctx, b, db, scanCustomer, firstCustomers)
	for i := range list {
		list[i].Children = all(ctx, b, db, scanChild, "SELECT customer_id, name FROM children WHERE customer_id = ? ORDER BY id", list[i].ID)
	}
	checkCustomers(b, list)
}

func customersAttached(ctx context.Context, b *testing.B, db *sql.DB) {
	list := all(ctx, b, db, scanCustomer, firstCustomers)
	err := pagination.Attach(ctx, list, func(c customer) (int64, bool) { return c.ID, true },
		func(ctx context.Context, ids []int64) (map[int64][]child, error) {
			in, args := pagination.In(ids)
			rows := all(ctx, b, db, scanChild, "SELECT customer_id, name FROM children WHERE customer_id IN "+in+" ORDER BY id", args...)
			return pagination.GroupBy(rows, func(c child) int64 { return c.CustomerID }), nil
		},
		func(c *customer, children []child) { c.Children = children })
	if err != nil {
		b.Fatal(err)
	}
	checkCustomers(b, list)
}

func checkCustomers(b *testing.B, list []customer) {
	n := 0
	for _, c := range list {
		n += len(c.Children)
	}
	if len(list) != 15 || n != 40 {
		b.Fatalf("%d customers with %d children", len(list), n)
	}
}
