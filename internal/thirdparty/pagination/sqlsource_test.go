package pagination_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

func testCounts(t *testing.T, e engine, db *sql.DB) {
	ctx := t.Context()
	tell := "ANALYZE sales"
	if e.dialect == keyset.MySQL {
		tell = "ANALYZE TABLE sales"
	}
	_, err := db.ExecContext(ctx, tell)
	require.NoError(t, err)
	source := salesSource(db, e.dialect)
	n, err := source.Count(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, salesRows, n)

	source.Base.Where, source.Base.Args = "status = ?", []any{3}
	n, err = source.Count(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, salesRows/5, n)

	n, err = source.CountUpTo(ctx, 101)
	require.NoError(t, err)
	assert.EqualValues(t, 101, n)

	n, err = source.EstimateCount(ctx)
	require.NoError(t, err)
	assert.InDelta(t, salesRows/5, n, salesRows/10, "estimate of a filter")
	source.Base.Args = nil
	for _, where := range []string{
		"", "sales.status >= (SELECT MIN(s.status) FROM sales s)", "EXISTS (SELECT 1 FROM sales s WHERE s.id <= sales.id LIMIT 1) OR sales.id = 3",
	} {
		source.Base.Where = where
		n, err = source.EstimateCount(ctx)
		require.NoError(t, err)
		assert.InDelta(t, salesRows, n, salesRows*0.8, "estimate of the table with the filter %q", where)
	}
	source.Base.Where = ""

	// A join that is only read: counting leaves it out.
	source.Base.From = "sales LEFT JOIN missing ON missing.id = sales.id"
	source.CountFrom = "sales"
	n, err = source.Count(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, salesRows, n)

	// Page numbers over the same source: the last page counts from the end.
	order, err := salesKeyset(t, keyset.NullsNative).Order("-created_at")
	require.NoError(t, err)
	source = salesSource(db, e.dialect)
	source.Order = order
	source.Base.Where, source.Base.Args = "status = ?", []any{1}
	page, err := pagination.Paginate(request("http://testserver/?page=last&page_size=30"), mustPageNumber(t, pagination.Standard), source)
	require.NoError(t, err)
	assert.EqualValues(t, 134, page.CurrentPage)
	assert.Len(t, page.Results, 4000-133*30)

	testDeepKey(t, e, db, order)

	// Count and rows from one transaction.
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	source.DB = tx
	_, err = pagination.Paginate(request("http://testserver/"), mustPageNumber(t, pagination.Standard), source)
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())
}

// testDeepKey reads the same pages in one step and by their keys first.
func testDeepKey(t *testing.T, e engine, db *sql.DB, order keyset.Order) {
	for name, base := range map[string]keyset.Base{
		"all":    {Columns: []string{"s.id", "s.note"}, From: "sales s"},
		"filter": {Columns: []string{"s.id", "s.note"}, From: "sales s", Where: "s.status = ? OR s.id < ?", Args: []any{1, 500}},
		"join and columns with arguments": {
			Columns: []string{"s.id", "CONCAT(CAST(? AS CHAR(1)), CONCAT(t.note, '?'))"},
			From:    "sales s JOIN (SELECT id AS other, note FROM sales WHERE id > ?) t ON t.other = s.id", Where: "s.status = ?",
			Args: []any{"x", 700, 1},
		},
	} {
		type row struct {
			id   int64
			note string
		}
		plain := keyset.SQLSource[row]{
			DB: db, Dialect: e.dialect, Base: base, Order: order,
			Scan: func(rows keyset.Scanner) (r row, err error) { return r, rows.Scan(&r.id, &r.note) },
		}
		deep := plain
		deep.DeepKey = "s.id"
		for _, offset := range []int64{0, 1, 1234, 19_990} {
			want, err := plain.List(t.Context(), 30, offset)
			require.NoError(t, err, name)
			got, err := deep.List(t.Context(), 30, offset)
			require.NoError(t, err, name)
			assert.Equal(t, want, got, "%s from %d", name, offset)
		}
	}
}

// testAll reads the table whole, from a cursor in the middle, and with an error half-way.
func testAll(t *testing.T, e engine, db *sql.DB) {
	k := salesKeyset(t, keyset.NullsNative)
	source := salesSource(db, e.dialect)
	opts := &keyset.AllOptions{Ordering: "closed_at", Batch: 777}
	seen := make(map[int64]bool, salesRows)
	middle, n := "", 0
	walk := k.Walk(t.Context(), source, opts)
	for s, err := range walk.Rows() {
		require.NoError(t, err)
		require.False(t, seen[s.ID])
		seen[s.ID] = true
		if n++; n == salesRows/2 {
			middle, err = walk.Cursor()
			require.NoError(t, err)
		}
	}
	assert.Len(t, seen, salesRows)

	rest := 0
	resumed := *opts
	resumed.Cursor = middle
	for s, err := range k.All(t.Context(), source, &resumed) {
		require.NoError(t, err)
		require.True(t, seen[s.ID])
		delete(seen, s.ID)
		rest++
	}
	assert.Equal(t, salesRows/2, rest)

	resumed.Ordering = "-closed_at" // the cursor is another order's
	for _, err := range k.All(t.Context(), source, &resumed) {
		require.ErrorIs(t, err, keyset.ErrInvalidCursor)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n = 0
	var last error
	for _, err := range k.All(ctx, source, opts) {
		if last = err; err == nil {
			n++
			cancel()
		}
	}
	require.ErrorIs(t, last, context.Canceled)
	assert.Equal(t, 777, n, "the batch that was read is handed out")
}

func TestSQLSourceErrors(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	createSalesTable(t, db, keyset.SQLite)
	good := salesSource(db, keyset.SQLite)
	k := salesKeyset(t, keyset.NullsNative)
	order, err := k.Order("")
	require.NoError(t, err)
	good.Order = order
	ctx := t.Context()

	broken := good
	broken.Scan = func(keyset.Scanner) (sale, error) { return sale{}, errors.New("scan failed") }
	_, err = broken.List(ctx, 5, 0)
	require.ErrorContains(t, err, "scan failed")

	broken = good
	broken.Order = keyset.Order{}
	_, err = broken.List(ctx, 5, 0)
	require.ErrorContains(t, err, "NewOrder")

	broken = good
	broken.Base.Where = "status = ?"
	_, err = broken.Count(ctx)
	require.ErrorContains(t, err, "1 placeholders and 0 Args")

	broken = good
	broken.Base.From = "nowhere"
	for _, count := range []func(context.Context) (int64, error){broken.Count, broken.EstimateCount} {
		_, err = count(ctx)
		require.Error(t, err)
	}

	// A row that the database loses half-way must not look like a short list.
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = good.List(canceled, 5, 0)
	require.ErrorIs(t, err, context.Canceled)
}

// A result column with the name of a sort key would be what ORDER BY sorts by.
func TestColumnThatHidesAKey(t *testing.T) {
	t.Parallel()
	db := open(t, "sqlite", ":memory:")
	db.SetMaxOpenConns(1)
	_, err := db.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, rank INTEGER NOT NULL)")
	require.NoError(t, err)
	source := keyset.SQLSource[int64]{
		DB: db, Dialect: keyset.SQLite,
		Scan: func(rows keyset.Scanner) (id int64, err error) { return id, rows.Scan(&id, new(any)) },
	}
	for _, c := range []struct {
		column, key string
		ok          bool
	}{
		{"-rank AS rank", "rank", false},
		{`-rank as "rank"`, "rank", false},
		{"-rank AS rank", "s.rank", true},
		{"-rank AS backwards", "rank", true},
		{"s.rank AS rank", "rank", true},
		{"rank AS rank", "rank", true},
		{"s.rank", "rank", true},
		{"rank", "rank", true},
	} {
		source.Base = keyset.Base{Columns: []string{"s.id", c.column}, From: "t s"}
		source.Order, err = keyset.NewOrder(nil, keyset.Key{Name: "rank", Expr: c.key}, keyset.Key{Name: "id", Expr: "s.id", Unique: true})
		require.NoError(t, err)
		_, listErr := source.List(t.Context(), 10, 0)
		_, seekErr := source.Seek(t.Context(), keyset.Seek{Order: source.Order, Limit: 10})
		for _, err := range []error{listErr, seekErr} {
			if c.ok {
				require.NoError(t, err, c.column)
			} else {
				require.ErrorContains(t, err, "hides the sort key rank", c.column)
			}
		}
	}
}

func request(url string) *http.Request { return httptest.NewRequest(http.MethodGet, url, nil) }

func mustPageNumber(t testing.TB, preset pagination.Preset) *pagination.PageNumber {
	t.Helper()
	p, err := pagination.NewPageNumber(preset, nil)
	require.NoError(t, err)
	return p
}

func mustCursors(t testing.TB) *keyset.Cursors {
	t.Helper()
	c, err := keyset.NewCursors(keyset.EphemeralKeyRing(), nil)
	require.NoError(t, err)
	return c
}
