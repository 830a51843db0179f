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
