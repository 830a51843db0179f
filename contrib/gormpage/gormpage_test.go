package gormpage_test

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
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
	"gorm.io/gorm/clause"

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

		// A join in the chain, and children.
		page, err := sales.Page(t.Context(), sales.Source(db.Preload("Items").Joins("JOIN items ON items.sale_id = sales.id AND items.text = ?", "a")), keyset.Query{})
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

// sqlServer is the dialect of gorm for SQL Server, as far as it writes a SELECT.
type sqlServer struct{ gorm.Dialector }

func (sqlServer) Name() string { return "sqlserver" }

func (sqlServer) BindVarTo(w clause.Writer, stmt *gorm.Statement, _ any) {
	_, _ = w.WriteString("@p" + strconv.Itoa(len(stmt.Vars)))
}

func (sqlServer) QuoteTo(w clause.Writer, name string) {
	_, _ = w.WriteString(`"` + strings.ReplaceAll(name, ".", `"."`) + `"`)
}

// noRows is an empty result.
type noRows struct{}

func (noRows) Next() bool                 { return false }
func (noRows) Scan(...any) error          { return sql.ErrNoRows }
func (noRows) Err() error                 { return nil }
func (noRows) Close() error               { return nil }
func (noRows) Columns() ([]string, error) { return nil, nil }

// A chain with a filter has numbered placeholders on SQL Server.
func TestGormSQLServer(t *testing.T) {
	t.Parallel()
	db, err := gorm.Open(sqlServer{sqlite.Open(":memory:")}, nil)
	require.NoError(t, err)
	sales, err := gormpage.New[Sale](db, "sales", pagination.Standard, pagesuite.Cursors(t), nil)
	require.NoError(t, err)
	source := sales.Source(db.Where("product = ? AND status IN ?", "tea", []int{1, 2}))
	var queries []string
	var values [][]any
	source.Query = func(_ context.Context, query string, args ...any) (keyset.Rows, error) {
		if strings.HasSuffix(query, " WHERE 1 = 0") { // asks about the columns
			return noRows{}, nil
		}
		queries, values = append(queries, query), append(values, args)
		return nil, sql.ErrNoRows
	}
	_, err = sales.Page(t.Context(), source, keyset.Query{Ordering: "-closed_at", Size: 7})
	require.ErrorIs(t, err, sql.ErrNoRows)
	_, err = source.CountUpTo(t.Context(), 100)
	require.ErrorIs(t, err, sql.ErrNoRows)
	filter := `(SELECT * FROM "sales" WHERE product = @p1 AND status IN (@p2,@p3)) mainstay_q`
	require.Len(t, queries, 2)
	assert.Contains(t, queries[0], " FROM "+filter+` ORDER BY mainstay_q."closed_at" DESC, mainstay_q."id" DESC OFFSET 0 ROWS FETCH NEXT @p4 ROWS ONLY`)
	assert.Equal(t, []any{"tea", 1, 2, 8}, values[0])
	assert.Equal(t, "SELECT COUNT(*) FROM (SELECT TOP (@p4) 1 AS one FROM "+filter+") mainstay_c", queries[1])
}
