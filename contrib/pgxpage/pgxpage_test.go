package pgxpage_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/contrib/pgxpage"
	"github.com/mainstay-go/mainstay/internal/pagesuite"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Sale is a row of the list.
type Sale struct {
	ID        int64      `db:"id" page:"sort,unique"`
	Product   string     `db:"product"`
	Status    int        `db:"status" page:"sort"`
	CreatedAt time.Time  `db:"created_at" page:"sort"`
	ClosedAt  *time.Time `db:"closed_at" page:"sort"`
}

func TestPgx(t *testing.T) {
	t.Parallel()
	pagesuite.Run(t, "", "", "pgx", func(t *testing.T, e pagesuite.Engine) pagesuite.List[Sale] {
		pool, err := pgxpool.New(t.Context(), e.DSN)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		model, err := keyset.NewModel[Sale]("db", "")
		require.NoError(t, err)
		sales, err := keyset.New("sales", pagination.Standard, pagesuite.Cursors(t), model.Sort, nil)
		require.NoError(t, err)
		return pagesuite.List[Sale]{
			Keyset: sales, ID: func(s Sale) int64 { return s.ID },
			Source: func(product string) keyset.SQLSource[Sale] {
				return pgxpage.Source(pool, model, keyset.Base{From: "sales", Where: "product = $1", Args: []any{product}})
			},
		}
	})
}
