package entpage_test

import (
	"database/sql"
	"testing"
	"time"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
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

// Book is a row of a selector.
type Book struct {
	ID    int64          `json:"id" page:"sort,unique"`
	Title string         `json:"title"`
	Note  sql.NullString `json:"note"`
}

// Each page sends the whole selector: WITH, UNION and the escapes of LIKE.
func TestEntSelectors(t *testing.T) {
	t.Parallel()
	pagesuite.Engines(t, "sqlite", "mysql", "pgx", func(t *testing.T, e pagesuite.Engine) {
		for _, s := range []string{
			"CREATE TABLE books (id BIGINT PRIMARY KEY, title VARCHAR(40) NOT NULL, note VARCHAR(40))",
			"INSERT INTO books VALUES (1, '50%_$1?', NULL), (2, 'it''s', 'a'), (3, '50 percent', 'b'), (4, 'a_b', NULL), (5, '$2 ?? x', 'c')",
		} {
			_, err := e.DB.Exec(s)
			require.NoError(t, err)
		}
		name := map[keyset.Dialect]string{keyset.SQLite: dialect.SQLite, keyset.MySQL: dialect.MySQL, keyset.Postgres: dialect.Postgres}[e.Dialect]
		driver := entsql.OpenDB(name, e.DB)
		tx, err := driver.Tx(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { _ = tx.Rollback() })
		model, err := keyset.NewModel[Book]("json", "")
		require.NoError(t, err)
		books, err := keyset.New("books", pagination.Preset{Size: 2}, pagesuite.Cursors(t), model.Sort, nil)
		require.NoError(t, err)
		b := entsql.Dialect(name)
		table := b.Table("books").As("b")
		all := func() *entsql.Selector { return b.Select(table.Columns("id", "title", "note")...).From(table) }
		for want, selector := range map[string]func() *entsql.Selector{
			"1": func() *entsql.Selector { return all().Where(entsql.Contains(table.C("title"), "50%_$1?")) },
			"4": func() *entsql.Selector { return all().Where(entsql.ContainsFold(table.C("title"), "A_B")) },
			"234": func() *entsql.Selector {
				return all().Where(entsql.Or(entsql.In(table.C("id"), 3, 4), entsql.EQ(table.C("note"), "a")))
			},
			"125": func() *entsql.Selector {
				return all().Where(entsql.EQ(table.C("id"), 1)).UnionAll(all().Where(entsql.In(table.C("id"), 2, 5)))
			},
			"15": func() *entsql.Selector {
				return all().Prefix(b.With("w").As(b.Select("id").From(b.Table("books")).Where(entsql.Contains("title", "?")))).
					Where(entsql.In(table.C("id"), b.Select("id").From(b.Table("w"))))
			},
			"235": func() *entsql.Selector {
				return all().GroupBy(table.Columns("id", "title", "note")...).Having(entsql.NotNull(table.C("note")))
			},
			"12345": func() *entsql.Selector { return all().Distinct() },
		} {
			for kind, d := range map[string]dialect.Driver{"driver": driver, "debug": dialect.Debug(driver, func(...any) {}), "tx": entsql.NewDriver(name, tx.(*entsql.Tx).Conn)} {
				got := ""
				for q := (keyset.Query{}); ; {
					page, err := books.Page(t.Context(), entpage.Source(d, model, selector()), q)
					require.NoError(t, err, "%s by %s", want, kind)
					for _, row := range page.Rows {
						got += string(rune('0' + row.ID))
					}
					if q.Token = page.Next; q.Token == "" {
						break
					}
				}
				assert.Equal(t, want, got, kind)
			}
		}
		broken := all().Where(entsql.P(func(b *entsql.Builder) { b.AddError(assert.AnError) }))
		_, err = books.Page(t.Context(), entpage.Source(driver, model, broken), keyset.Query{})
		require.ErrorContains(t, err, assert.AnError.Error())
		again := all().Where(entsql.EQ(table.C("title"), "it's"))
		for range 2 {
			n, err := entpage.Source(driver, model, again).Count(t.Context())
			require.NoError(t, err)
			assert.EqualValues(t, 1, n)
		}
	})
}
