package entpage_test

import (
	"testing"
	"time"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/contrib/entpage"
	"github.com/mainstay-go/mainstay/internal/pagesuite"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Sale is a row of the list. ClosedAt is no pointer, as an optional field of ent.
type Sale struct {
	ID        int64     `json:"id,omitempty" page:"sort,unique"`
	Product   string    `json:"product,omitempty"`
	Status    int       `json:"status,omitempty" page:"sort"`
	CreatedAt time.Time `json:"created_at,omitempty" page:"sort"`
	ClosedAt  time.Time `json:"closed_at,omitempty" page:"sort,null"`
	Edges     struct{}  `json:"-"`
}

func TestEnt(t *testing.T) {
	t.Parallel()
	pagesuite.Run(t, "sqlite", "mysql", "pgx", func(t *testing.T, e pagesuite.Engine) pagesuite.List[Sale] {
		driver := entsql.OpenDB(map[keyset.Dialect]string{
			keyset.SQLite: dialect.SQLite, keyset.MySQL: dialect.MySQL, keyset.Postgres: dialect.Postgres,
		}[e.Dialect], e.DB)
		model, err := keyset.NewModel[Sale]("json", "")
		require.NoError(t, err)
		sales, err := keyset.New("sales", pagination.Standard, pagesuite.Cursors(t), model.Sort, nil)
		require.NoError(t, err)
		for want, s := range map[string]*entsql.Selector{
			"keyset.Options.Ordering":  entsql.Dialect(driver.Dialect()).Select().From(entsql.Table("sales")).OrderBy("status"),
			"the selector has a limit": entsql.Dialect(driver.Dialect()).Select().From(entsql.Table("sales")).Limit(3),
			"a limit or an offset":     entsql.Dialect(driver.Dialect()).Select().From(entsql.Table("sales")).Offset(3),
		} {
			_, err = sales.Page(t.Context(), entpage.Source(driver, model, s), keyset.Query{})
			require.ErrorContains(t, err, want)
		}
		return pagesuite.List[Sale]{
			Keyset: sales, ID: func(s Sale) int64 { return s.ID },
			Source: func(product string) keyset.SQLSource[Sale] {
				return entpage.Source(driver, model, entsql.Dialect(driver.Dialect()).Select().From(entsql.Table("sales")).
					Where(entsql.EQ("product", product)))
			},
		}
	})
}
