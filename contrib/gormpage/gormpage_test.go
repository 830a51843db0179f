package gormpage_test

import (
	"testing"
	"time"

	"github.com/glebarez/sqlite"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/mysql"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/mainstay-go/mainstay/contrib/gormpage"
	"github.com/mainstay-go/mainstay/internal/pagesuite"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Sale is a row of the list.
type Sale struct {
	ID        int64 `gorm:"primaryKey" page:"sort,unique"`
	Product   string
	Status    int        `page:"sort"`
	CreatedAt time.Time  `page:"sort"`
	ClosedAt  *time.Time `page:"sort"`
	Items     []Item
}

// Item belongs to a sale.
type Item struct {
	ID, SaleID int64
	Text       string
}

func TestGorm(t *testing.T) {
	t.Parallel()
	pagesuite.Run(t, "sqlite", "mysql", "pgx", func(t *testing.T, e pagesuite.Engine) pagesuite.List[Sale] {
		dialector := map[keyset.Dialect]gorm.Dialector{
			keyset.SQLite: sqlite.Open(e.DSN), keyset.MySQL: mysql.Open(e.DSN), keyset.Postgres: postgres.Open(e.DSN),
		}[e.Dialect]
		db, err := gorm.Open(dialector, nil)
		require.NoError(t, err)
		require.NoError(t, db.AutoMigrate(&Item{}))
		require.NoError(t, db.Create([]Item{{SaleID: 5, Text: "a"}, {SaleID: 5, Text: "b"}}).Error)
		sales, err := gormpage.New[Sale](db, "sales", pagination.Standard, pagesuite.Cursors(t), &keyset.Options{Ordering: "-created_at"})
		require.NoError(t, err)

		// A join in the chain, children, and an order that is dropped.
		page, err := sales.Page(t.Context(), sales.Source(db.Preload("Items").Joins("JOIN items ON items.sale_id = sales.id AND items.text = ?", "a").Order("status")), keyset.Query{})
		require.NoError(t, err)
		require.Len(t, page.Rows, 1)
		assert.Len(t, page.Rows[0].Items, 2)
		_, err = sales.Page(t.Context(), sales.Source(db.Where("nothing = 1")), keyset.Query{})
		require.Error(t, err)
		return pagesuite.List[Sale]{
			Keyset: sales.Keyset, ID: func(s Sale) int64 { return s.ID },
			Source: func(product string) keyset.SQLSource[Sale] { return sales.Source(db.Where("product = ?", product)) },
		}
	})
}
