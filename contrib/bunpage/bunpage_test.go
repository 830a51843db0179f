package bunpage_test

import (
	"database/sql"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/mysqldialect"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/schema"
	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/contrib/bunpage"
	"github.com/mainstay-go/mainstay/internal/pagesuite"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Sale is a row of the list.
type Sale struct {
	ID        int64 `bun:",pk" page:"sort,unique"`
	Product   string
	Status    int        `page:"sort"`
	CreatedAt time.Time  `page:"sort"`
	ClosedAt  *time.Time `page:"sort"`
}

func TestBun(t *testing.T) {
	t.Parallel()
	pagesuite.Run(t, "sqlite", "mysql", "pgx", func(t *testing.T, e pagesuite.Engine) pagesuite.List[Sale] {
		dialect := map[keyset.Dialect]schema.Dialect{
			keyset.SQLite: sqlitedialect.New(), keyset.MySQL: mysqldialect.New(), keyset.Postgres: pgdialect.New(),
		}[e.Dialect]
		db := bun.NewDB(e.DB, dialect)
		sales, err := bunpage.New[Sale](db, "sales", pagination.Standard, pagesuite.Cursors(t), nil)
		require.NoError(t, err)
		return pagesuite.List[Sale]{
			Keyset: sales.Keyset, ID: func(s Sale) int64 { return s.ID },
			Source: func(product string) keyset.SQLSource[Sale] {
				return sales.Source(t.Context(), db.NewSelect().Model((*Sale)(nil)).Where("product = ?", product))
			},
		}
	})
}

// Note is a row whose text may hold any characters.
type Note struct {
	ID   int64 `bun:",pk" page:"sort,unique"`
	Text string
}

// A filter value of a client reaches the database unchanged.
func TestBunValues(t *testing.T) {
	t.Parallel()
	raw, err := sql.Open("sqlite", ":memory:")
	require.NoError(t, err)
	t.Cleanup(func() { raw.Close() })
	raw.SetMaxOpenConns(1)
	db := bun.NewDB(raw, sqlitedialect.New())
	notes, err := bunpage.New[Note](db, "notes", pagination.Standard, pagesuite.Cursors(t), nil)
	require.NoError(t, err)
	_, err = db.NewCreateTable().Model((*Note)(nil)).Exec(t.Context())
	require.NoError(t, err)
	texts := []string{"really??", "really?", "it's?? ?", "it's? ?", "/* it's ?? */", "/* it's ? */", `c:\??`, "$1 @p1 :1 ?1", "??", "?"}
	for i, text := range texts {
		_, err := db.NewInsert().Model(&Note{ID: int64(i), Text: text}).Exec(t.Context())
		require.NoError(t, err)
	}
	for i, text := range texts {
		for _, where := range []string{"text = ?", "/* it's a comment */ text = ?"} {
			source := notes.Source(t.Context(), db.NewSelect().Model((*Note)(nil)).Where(where, text))
			page, err := notes.Page(t.Context(), source, keyset.Query{})
			require.NoError(t, err)
			require.Equal(t, []Note{{ID: int64(i), Text: text}}, page.Rows, where)
		}
	}
}

// Visit is a row whose zero times are NULL.
type Visit struct {
	ID     int64        `bun:",pk" page:"sort,unique"`
	Began  bun.NullTime `page:"sort"`
	Ended  time.Time    `bun:",nullzero" page:"sort"`
	Filed  time.Time    `bun:",nullzero,notnull,default:current_timestamp" page:"sort"`
	Tenant string
}

// The zero value of a column is NULL in bun, unless the column is NOT NULL.
func TestBunZeroIsNull(t *testing.T) {
	t.Parallel()
	db := visits(t, "a")
	_, err := bunpage.New[*Visit](db, "visits", pagination.Standard, pagesuite.Cursors(t), nil)
	require.ErrorContains(t, err, "needs a struct")
	list, err := bunpage.New[Visit](db, "visits", pagination.Standard, pagesuite.Cursors(t), nil)
	require.NoError(t, err)
	source := list.Source(t.Context(), db.NewSelect().Model((*Visit)(nil)))
	_, err = list.Verify(t.Context(), source, nil)
	require.NoError(t, err)
	for _, ordering := range []string{"began", "-ended", "filed"} {
		seen := 0
		for _, err := range list.All(t.Context(), source, &keyset.AllOptions{Ordering: ordering, Batch: 2}) {
			require.NoError(t, err)
			seen++
		}
		require.Equal(t, 9, seen, ordering)
	}
}

// A query is read in its own database, with the named arguments of that database.
func TestBunTenants(t *testing.T) {
	t.Parallel()
	a, b := visits(t, "a"), visits(t, "b").WithNamedArg("shop", "b")
	list, err := bunpage.New[Visit](a, "visits", pagination.Standard, pagesuite.Cursors(t), nil)
	require.NoError(t, err)
	page, err := list.Page(t.Context(), list.Source(t.Context(), b.NewSelect().Model((*Visit)(nil)).Where("tenant = ?shop")), keyset.Query{})
	require.NoError(t, err)
	require.Len(t, page.Rows, 9)
}

// visits returns a database with nine visits of a tenant.
func visits(t *testing.T, tenant string) *bun.DB {
	t.Helper()
	raw, err := sql.Open("sqlite", "file:"+t.TempDir()+"/visits.db")
	require.NoError(t, err)
	t.Cleanup(func() { raw.Close() })
	db := bun.NewDB(raw, sqlitedialect.New())
	_, err = db.NewCreateTable().Model((*Visit)(nil)).Exec(t.Context())
	require.NoError(t, err)
	for i := range 9 {
		v := Visit{ID: int64(i), Tenant: tenant}
		if i%3 > 0 {
			v.Began, v.Ended = bun.NullTime{Time: time.Unix(int64(i%2), 0)}, time.Unix(int64(i), 0)
		}
		_, err = db.NewInsert().Model(&v).Exec(t.Context())
		require.NoError(t, err)
	}
	return db
}
