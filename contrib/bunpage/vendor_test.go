package bunpage_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/schema"

	"github.com/mainstay-go/mainstay/contrib/bunpage"
	"github.com/mainstay-go/mainstay/internal/pagesuite"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// named is a dialect under the name of another one, whose module is not needed for a SELECT.
type named struct {
	schema.Dialect
	name dialect.Name
}

func (n named) Name() dialect.Name { return n.name }

// The values of bun are part of the text, and the numbers are those of the page.
func TestBunVendors(t *testing.T) {
	t.Parallel()
	for name, c := range map[dialect.Name]struct{ table, limit string }{
		dialect.MSSQL:  {`FROM "sales" AS "sale" WHERE`, "@p1"},
		dialect.Oracle: {`FROM "sales" "sale" WHERE`, ":1"},
	} {
		db := bun.NewDB(nil, named{pgdialect.New(), name})
		sales, err := bunpage.New[Sale](db, "sales", pagination.Standard, pagesuite.Cursors(t), nil)
		require.NoError(t, err)
		source := sales.Source(t.Context(), db.NewSelect().Model((*Sale)(nil)).Where("product = ?", "a?b @p1 :1"))
		var sent string
		var values []any
		source.Query = func(_ context.Context, query string, args ...any) (keyset.Rows, error) {
			sent, values = query, args
			return nil, sql.ErrNoRows
		}
		_, err = sales.Page(t.Context(), source, keyset.Query{Ordering: "-closed_at", Size: 7})
		require.ErrorIs(t, err, sql.ErrNoRows)
		assert.Contains(t, sent, c.table+` (product = 'a?b @p1 :1')) mainstay_q ORDER BY mainstay_q."closed_at" DESC, mainstay_q."id" DESC OFFSET 0 ROWS FETCH NEXT `+c.limit+" ROWS ONLY")
		assert.Equal(t, []any{8}, values)
	}
}
