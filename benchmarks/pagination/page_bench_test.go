package pagination_test

import (
	"context"
	"database/sql"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pilagod/gorm-cursor-paginator/v2/paginator"
	pages "github.com/vcraescu/go-paginator/v2"
	"github.com/vcraescu/go-paginator/v2/adapter"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/utils/tests"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// salesInPages is the length of the list that is paged: the shorter it is, the less hides
// what the package adds.
const salesInPages = 2_000

// BenchmarkPage reads a page of 25: request, statements, rows, cursors and links. By hand
// it is the same statements and the same scanning alone. The target is at most 1.05 times
// the time by hand.
func BenchmarkPage(b *testing.B) {
	db := openShop(b, sql.Open, salesInPages)
	order, err := keyset.NewOrder(nil,
		keyset.Key{Name: "created_at", Expr: "created_at"},
		keyset.Key{Name: "id", Expr: "id", Unique: true})
	if err != nil {
		b.Fatal(err)
	}
	source := keyset.SQLSource[sale]{DB: db, Dialect: keyset.SQLite, Base: saleBase, Scan: scanSale, Order: order}
	const (
		columns = "SELECT id, created_at, product, amount, note FROM sales WHERE (amount >= ?1)"
		count   = "SELECT COUNT(*) FROM sales WHERE (amount >= ?1)"
		numbers = columns + " ORDER BY created_at, id LIMIT 25 OFFSET 1000"
		seek    = columns + " AND (created_at, id) > (?2, ?3) ORDER BY created_at, id LIMIT 26"
	)
	b.Run("page-number", func(b *testing.B) {
		pager, err := pagination.NewPageNumber(pagination.Standard, nil)
		if err != nil {
			b.Fatal(err)
		}
		r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/sales?amount=200&page=41", nil)
		versus(b, func() {
			page, err := pagination.Paginate(r, pager, pagination.Lister[sale](source))
			if err != nil || len(page.Results) != 25 || page.Next == "" {
				b.Fatal(page, err)
			}
		}, func() {
			var total int64
			if err := db.QueryRowContext(b.Context(), count, 200).Scan(&total); err != nil {
				b.Fatal(err)
			}
			if rows := query(b, db, numbers, 200); len(rows) != 25 {
				b.Fatal(len(rows))
			}
		})
	})
	b.Run("keyset", func(b *testing.B) {
		pages := salesByTime(b)
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
		versus(b, func() {
			page, err := pages.Paginate(r, source)
			if err != nil || len(page.Results) != 25 || page.Next == "" || page.Previous == "" {
				b.Fatal(page, err)
			}
		}, func() {
			if rows := query(b, db, seek, 200, last.Created, last.ID); len(rows) != 26 {
				b.Fatal(len(rows))
			}
		})
	})
}

func query(b *testing.B, db *sql.DB, statement string, args ...any) []sale {
	rows, err := db.QueryContext(b.Context(), statement, args...)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	list := make([]sale, 0, 26)
	for rows.Next() {
		s, err := scanSale(rows)
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, s)
	}
	if err := rows.Err(); err != nil {
		b.Fatal(err)
	}
	return list
}

// gormSale is a sale as gorm wants it.
type gormSale struct {
	ID      int64
	Created int64 `gorm:"column:created_at;autoCreateTime:false"`
	Product string
	Amount  int64
	Note    *string
}

func (gormSale) TableName() string { return "sales" }

// BenchmarkPageOfPeers reads such a page through the peers, which need gorm, on the same
// database. statements is what one page costs the server.
func BenchmarkPageOfPeers(b *testing.B) {
	db := openShop(b, sql.Open, salesInPages)
	counted := &statementCounter{DB: db}
	orm, err := gorm.Open(tests.DummyDialector{}, &gorm.Config{ConnPool: counted, Logger: logger.Discard, SkipDefaultTransaction: true})
	if err != nil {
		b.Fatal(err)
	}
	list := func() *gorm.DB {
		return orm.WithContext(b.Context()).Model(&gormSale{}).Where("amount >= ?", 200)
	}
	measure := func(b *testing.B, page func() int) {
		b.Helper()
		b.ReportAllocs()
		counted.statements = 0
		turns := 0
		for b.Loop() {
			if n := page(); n != 25 {
				b.Fatal(n)
			}
			turns++
		}
		b.ReportMetric(float64(counted.statements)/float64(turns), "statements")
	}
	b.Run("page-number/mainstay", func(b *testing.B) {
		pager, err := pagination.NewPageNumber(pagination.Standard, nil)
		if err != nil {
			b.Fatal(err)
		}
		order, err := keyset.NewOrder(nil, keyset.Key{Name: "id", Expr: "id", Unique: true})
		if err != nil {
			b.Fatal(err)
		}
		source := keyset.SQLSource[sale]{DB: counted, Dialect: keyset.SQLite, Base: saleBase, Scan: scanSale, Order: order}
		r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/sales?page=41", nil)
		measure(b, func() int {
			page, err := pagination.Paginate(r, pager, pagination.Lister[sale](source))
			if err != nil || page.Count.N == 0 || page.Next == "" {
				b.Fatal(page, err)
			}
			return len(page.Results)
		})
	})
	b.Run("page-number/vcraescu", func(b *testing.B) {
		measure(b, func() int {
			p := pages.New(adapter.NewGORMAdapter(list().Order("id")), 25)
			p.SetPage(41)
			var rows []gormSale
			if err := p.Results(&rows); err != nil {
				b.Fatal(err)
			}
			// What a page shows besides its rows.
			if _, err := p.Nums(); err != nil {
				b.Fatal(err)
			}
			if next, err := p.NextPage(); err != nil || next != 42 {
				b.Fatal(next, err)
			}
			if _, err := p.PrevPage(); err != nil {
				b.Fatal(err)
			}
			return len(rows)
		})
	})
	b.Run("keyset/mainstay", func(b *testing.B) {
		pages := salesByTime(b)
		source := keyset.SQLSource[sale]{DB: counted, Dialect: keyset.SQLite, Base: saleBase, Scan: scanSale}
		r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/sales", nil)
		page, err := pages.Paginate(r, source)
		if err != nil {
			b.Fatal(err)
		}
		r = httptest.NewRequestWithContext(b.Context(), http.MethodGet, string(page.Next), nil)
		measure(b, func() int {
			page, err := pages.Paginate(r, source)
			if err != nil || page.Next == "" {
				b.Fatal(page, err)
			}
			return len(page.Results)
		})
	})
	b.Run("keyset/pilagod", func(b *testing.B) {
		read := func(after *string) (n int, next *string) {
			p := paginator.New(&paginator.Config{
				Keys: []string{"Created", "ID"}, Limit: 25, Order: paginator.ASC, AllowTupleCmp: paginator.TRUE,
			})
			if after != nil {
				p.SetAfterCursor(*after)
			}
			var rows []gormSale
			result, cursor, err := p.Paginate(list(), &rows)
			if err != nil {
				b.Fatal(err)
			}
			if result.Error != nil {
				b.Fatal(result.Error)
			}
			return len(rows), cursor.After
		}
		_, second := read(nil)
		measure(b, func() int {
			n, _ := read(second)
			return n
		})
	})
}

// statementCounter counts the queries that gorm and the package send.
type statementCounter struct {
	*sql.DB
	statements int
}

func (c *statementCounter) QueryContext(ctx context.Context, statement string, args ...any) (*sql.Rows, error) {
	c.statements++
	return c.DB.QueryContext(ctx, statement, args...)
}

func (c *statementCounter) QueryRowContext(ctx context.Context, statement string, args ...any) *sql.Row {
	c.statements++
	return c.DB.QueryRowContext(ctx, statement, args...)
}
