package bunpage_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/schema"

	"github.com/mainstay-go/mainstay/contrib/bunpage"
	"github.com/mainstay-go/mainstay/internal/pagesuite"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
	"github.com/mainstay-go/mainstay/pagination/querycount"
)

// Item is a row with every hook of bun that a SELECT runs.
type Item struct {
	ID       int64  `bun:",pk" page:"sort,unique"`
	Owner    int64  `bun:",notnull"`
	Text     string `bun:",notnull" page:"sort"`
	Length   int64  `bun:",scanonly"`
	Children []Item `bun:"rel:has-many,join:id=owner"`

	Before, After, Selected string `bun:"-"`
}

type tenantKey struct{}

func (i *Item) BeforeScanRow(ctx context.Context) error {
	i.Before = fmt.Sprint("before ", ctx.Value(tenantKey{}))
	return nil
}

func (i *Item) AfterScanRow(context.Context) error {
	i.After = fmt.Sprint("after ", i.ID)
	return nil
}

func (*Item) BeforeSelect(ctx context.Context, q *bun.SelectQuery) error {
	if tenant := ctx.Value(tenantKey{}); tenant != nil {
		q.Where("owner = ?", tenant)
	}
	return nil
}

func (*Item) AfterSelect(_ context.Context, q *bun.SelectQuery) error {
	for i, list := 0, *q.GetModel().Value().(*[]Item); i < len(list); i++ {
		list[i].Selected = fmt.Sprint("selected ", list[i].ID)
	}
	return nil
}

var (
	_ bun.BeforeSelectHook     = (*Item)(nil)
	_ bun.AfterSelectHook      = (*Item)(nil)
	_ schema.BeforeScanRowHook = (*Item)(nil)
	_ schema.AfterScanRowHook  = (*Item)(nil)
)

func items(t *testing.T) (*bun.DB, *bunpage.List[Item]) {
	t.Helper()
	raw, err := querycount.Open("sqlite", "file:"+t.TempDir()+"/items.db")
	require.NoError(t, err)
	t.Cleanup(func() { raw.Close() })
	db := bun.NewDB(raw, sqlitedialect.New())
	list, err := bunpage.New[Item](db, "items", pagination.Standard, pagesuite.Cursors(t), nil)
	require.NoError(t, err)
	_, err = db.NewCreateTable().Model((*Item)(nil)).Exec(t.Context())
	require.NoError(t, err)
	rows := make([]Item, 300)
	for i := range rows {
		rows[i] = Item{ID: int64(i + 1), Owner: int64(i % 10), Text: strings.Repeat("x", i%7)}
	}
	_, err = db.NewInsert().Model(&rows).Exec(t.Context())
	require.NoError(t, err)
	return db, list
}

// The rows of a page are those that bun itself returns.
func TestBunHooks(t *testing.T) {
	t.Parallel()
	db, list := items(t)
	ctx := context.WithValue(t.Context(), tenantKey{}, 3)
	for name, query := range map[string]func(*bun.SelectQuery) *bun.SelectQuery{
		"all":             func(q *bun.SelectQuery) *bun.SelectQuery { return q },
		"columns":         func(q *bun.SelectQuery) *bun.SelectQuery { return q.Column("id", "text") },
		"without the key": func(q *bun.SelectQuery) *bun.SelectQuery { return q.Column("owner") },
		"excluded":        func(q *bun.SelectQuery) *bun.SelectQuery { return q.ExcludeColumn("text") },
		"expression": func(q *bun.SelectQuery) *bun.SelectQuery {
			return q.ColumnExpr("item.*").ColumnExpr("length(text) AS length")
		},
		"qualified names": func(q *bun.SelectQuery) *bun.SelectQuery { return q.Column("item.id", "item.owner") },
		"text of names": func(q *bun.SelectQuery) *bun.SelectQuery {
			return q.ColumnExpr("?TableAlias.id AS id, item.owner").ColumnExpr("? AS length", 3)
		},
		"names and expressions": func(q *bun.SelectQuery) *bun.SelectQuery {
			return q.Column("id").ColumnExpr("COALESCE(length(item.text), (SELECT MAX(id) FROM items), 0) AS length, CASE WHEN owner > 1 THEN owner END AS owner")
		},
		"distinct": func(q *bun.SelectQuery) *bun.SelectQuery { return q.Distinct() },
	} {
		var want []Item
		require.NoError(t, query(db.NewSelect().Model(&want)).Order("item.id").Limit(25).Scan(ctx), name)
		page, err := list.Page(ctx, list.Source(ctx, query(db.NewSelect().Model((*Item)(nil)))), keyset.Query{})
		require.NoError(t, err, name)
		require.Len(t, want, 25, name)
		assert.Equal(t, "before 3", want[0].Before, name)
		assert.Equal(t, want, page.Rows, name)
	}
}

// A query of a transaction is read in the transaction.
func TestBunTransaction(t *testing.T) {
	t.Parallel()
	db, list := items(t)
	require.NoError(t, db.RunInTx(t.Context(), &sql.TxOptions{}, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(&Item{ID: 1000, Owner: 77}).Exec(ctx); err != nil {
			return err
		}
		page, err := list.Page(ctx, list.Source(ctx, tx.NewSelect().Model((*Item)(nil)).Where("owner = 77")), keyset.Query{})
		require.NoError(t, err)
		assert.Len(t, page.Rows, 1)
		return nil
	}))
}

// The first page refuses a query whose rows would be others than those of bun.
func TestBunRefusals(t *testing.T) {
	t.Parallel()
	db, list := items(t)
	base := func() *bun.SelectQuery { return db.NewSelect().Model((*Item)(nil)) }
	for want, q := range map[string]*bun.SelectQuery{
		"keyset.Options.Ordering":        base().Order("text"),
		"remove it, because the page":    base().Limit(3),
		"has a limit or an offset":       base().Offset(3),
		"the query has a relation":       base().Relation("Children"),
		"does not have relation":         base().Relation("Nope"),
		"DISTINCT without the column id": base().Distinct().Column("text"),
		"failed before":                  base().Err(fmt.Errorf("failed before")),
		"nope(":                          base().Where("nope("),
	} {
		source := list.Source(t.Context(), q)
		_, err := list.Page(t.Context(), source, keyset.Query{})
		require.Error(t, err, want)
		if want != "nope(" {
			assert.ErrorContains(t, err, want)
		}
		_, err = source.Count(t.Context())
		require.Error(t, err, want)
	}
	_, err := list.Page(t.Context(), list.Source(t.Context(), base().ColumnExpr("DISTINCT(text) AS text")), keyset.Query{})
	require.ErrorContains(t, err, "mainstay_q.id")
}

// Another value of a filter costs no further statement.
func TestBunStatements(t *testing.T) {
	t.Parallel()
	db, list := items(t)
	for owner := range 4 {
		for _, text := range []string{"a", "it's"} {
			ctx, counter := querycount.With(t.Context())
			q := db.NewSelect().Model((*Item)(nil)).Where("owner = ? AND text <> ?", owner, text)
			page, err := list.Page(ctx, list.Source(ctx, q), keyset.Query{Size: 10})
			require.NoError(t, err)
			require.Len(t, page.Rows, 10)
			if owner > 0 || text != "a" {
				assert.Equal(t, 1, counter.Total(), counter.Statements())
			}
		}
	}
}
