package squirrelpage_test

import (
	"testing"
	"time"

	"github.com/Masterminds/squirrel"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/contrib/squirrelpage"
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

func TestSquirrel(t *testing.T) {
	t.Parallel()
	pagesuite.Run(t, "sqlite", "mysql", "pgx", func(t *testing.T, e pagesuite.Engine) pagesuite.List[Sale] {
		model, err := keyset.NewModel[Sale]("db", "")
		require.NoError(t, err)
		sales, err := keyset.New("sales", pagination.Standard, pagesuite.Cursors(t), model.Sort, nil)
		require.NoError(t, err)
		_, err = sales.Page(t.Context(), squirrelpage.Source(e.DB, e.Dialect, model, squirrel.Select("id")), keyset.Query{})
		require.Error(t, err)
		for want, q := range map[string]squirrel.SelectBuilder{
			"keyset.Options.Ordering": squirrel.Select("*").From("sales").OrderBy("status"),
			"has a limit":             squirrel.Select("*").From("sales").Limit(3),
			"has an offset":           squirrel.Select("*").From("sales").Offset(3),
		} {
			_, err = sales.Page(t.Context(), squirrelpage.Source(e.DB, e.Dialect, model, q), keyset.Query{})
			require.ErrorContains(t, err, want)
		}
		q := squirrel.Select("*").From("sales").OrderBy("status").Limit(3).Offset(3).RemoveLimit().RemoveOffset()
		_, err = sales.Page(t.Context(), squirrelpage.Source(e.DB, e.Dialect, model, q), keyset.Query{})
		require.ErrorContains(t, err, "has an order")
		return pagesuite.List[Sale]{
			Keyset: sales, ID: func(s Sale) int64 { return s.ID },
			Source: func(product string) keyset.SQLSource[Sale] {
				return squirrelpage.Source(e.DB, e.Dialect, model, squirrel.Select("*").From("sales").
					Where(squirrel.Eq{"product": product}).PlaceholderFormat(squirrel.Dollar))
			},
		}
	})
}
