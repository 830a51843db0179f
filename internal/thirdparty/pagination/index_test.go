package pagination_test

import (
	"database/sql"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// entriesRead counts the index entries that MariaDB reads during f.
func entriesRead(t *testing.T, conn *sql.Conn, f func()) (read int) {
	t.Helper()
	_, err := conn.ExecContext(t.Context(), "FLUSH STATUS")
	require.NoError(t, err)
	f()
	for _, line := range textRows(t, conn, "SHOW SESSION STATUS WHERE variable_name LIKE 'Handler_read%' OR variable_name = 'Handler_icp_attempts'") {
		n, err := strconv.Atoi(line[1])
		require.NoError(t, err)
		read += n
	}
	return read
}

// A source names the index of a filtered list on MariaDB, which else looks up the filter in
// an index that begins with the same column and reads every row up to the position.
func TestIndexOfFilteredList(t *testing.T) {
	t.Parallel()
	db := openMariaDB(t)
	createSalesTable(t, db, keyset.MySQL)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	for _, s := range []string{
		"CREATE INDEX sales_status_mixed ON sales (status, closed_at, id DESC)",
		"ANALYZE TABLE sales",
	} {
		_, err := conn.ExecContext(t.Context(), s)
		require.NoError(t, err)
	}
	const most = 26*3*4 + 40 // of three ranges, each sorted again
	unnamed := 0             // the most entries that a page reads without the name
	for _, c := range []struct {
		ordering string
		nulls    keyset.Nulls
	}{
		{"created_at,-id", keyset.NullsNative},
		{"-created_at,id", keyset.NullsNative},
		{"closed_at", keyset.NullsNative},
		{"-closed_at", keyset.NullsNative},
		{"closed_at,-id", keyset.NullsNative},
		{"closed_at", keyset.NullsLast},
		{"-closed_at,id", keyset.NullsFirst},
	} {
		order, err := salesKeyset(t, c.nulls).Order(c.ordering)
		require.NoError(t, err)
		for name, base := range map[string]keyset.Base{
			"from":  {Columns: salesSource(nil, 0).Base.Columns, From: "sales", Where: "status = ? AND note LIKE ?", Args: []any{3, "n%"}},
			"query": {Columns: salesSource(nil, 0).Base.Columns, Query: "SELECT * FROM `sales` AS s WHERE s.status = ?", Args: []any{3}},
		} {
			source := salesSource(conn, keyset.MySQL)
			source.Base, source.Order = base, order
			for _, offset := range []int64{100, 1300, 2700, salesRows/5 - 100} {
				rows, err := source.List(t.Context(), 1, offset)
				require.NoError(t, err)
				for _, backward := range []bool{false, true} {
					q := keyset.Seek{Order: order, Limit: 26, After: salePosition(t, order, rows[0]), Backward: backward}
					seek := func() {
						batch, err := source.Seek(t.Context(), q)
						require.NoError(t, err)
						require.Len(t, batch.Rows, 26)
					}
					seek() // reads types and plans
					read := entriesRead(t, conn, seek)
					assert.LessOrEqual(t, read, most, "%s %s nulls=%d offset=%d backward=%t", name, c.ordering, c.nulls, offset, backward)
					source.Index = func(keyset.Order) string { return "" }
					unnamed = max(unnamed, entriesRead(t, conn, seek))
					source.Index = nil
				}
			}
		}
	}

	assert.Greater(t, unnamed, 3*most, "the proof can fail")

	// A filter that another index serves far better keeps it.
	order, err := salesKeyset(t, keyset.NullsNative).Order("-created_at,id")
	require.NoError(t, err)
	source := salesSource(conn, keyset.MySQL)
	row := textRows(t, conn, "SELECT closed_at FROM sales WHERE status = 3 AND closed_at IS NOT NULL LIMIT 1")[0]
	source.Base.Where, source.Base.Args = "status = ? AND closed_at = ?", []any{3, row[0]}
	seek := func(least int) {
		batch, err := source.Seek(t.Context(), keyset.Seek{Order: order, Limit: 26})
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(batch.Rows), least)
	}
	seek(1)
	assert.LessOrEqual(t, entriesRead(t, conn, func() { seek(1) }), 40)

	// A view has no index, nor has the first table of a join that the server reads second.
	for _, s := range []string{"CREATE VIEW sales_view AS SELECT * FROM sales", "CREATE TABLE notes (note VARCHAR(40) PRIMARY KEY)", "INSERT INTO notes VALUES ('note')"} {
		_, err := conn.ExecContext(t.Context(), s)
		require.NoError(t, err)
	}
	for _, from := range []string{"sales_view", "notes n JOIN (SELECT 1 AS one) o JOIN sales ON sales.note = n.note", "sales JOIN notes n ON sales.note = n.note"} {
		source = salesSource(conn, keyset.MySQL)
		source.Base.From, source.Base.Where, source.Base.Args = from, "status = ?", []any{3}
		source.Base.Columns = []string{"id", "status", "created_at", "closed_at", "'x' AS text"}
		seek(26)
	}

	// An index that is dropped is not missed, and the choice of the caller counts.
	source = salesSource(conn, keyset.MySQL)
	source.Base.Where, source.Base.Args = "status = ?", []any{3}
	seek(26)
	_, err = conn.ExecContext(t.Context(), "DROP INDEX sales_status ON sales")
	require.NoError(t, err)
	seek(26)
	source.Index = func(o keyset.Order) string { return fmt.Sprint("sales_", o.Keys()[0].Name) }
	_, err = source.Seek(t.Context(), keyset.Seek{Order: order, Limit: 26})
	require.ErrorContains(t, err, "sales_created_at")
	source.Index = func(keyset.Order) string { return "" }
	seek(26)
}

// Verify tells of a look-up that reads up to the position.
func TestVerifyTellsLookups(t *testing.T) {
	t.Parallel()
	db := openMariaDB(t)
	createSalesTable(t, db, keyset.MySQL)
	_, err := db.Exec("ANALYZE TABLE sales")
	require.NoError(t, err)
	k := salesKeyset(t, keyset.NullsNative)
	source := salesSource(db, keyset.MySQL)
	source.Base.Where, source.Base.Args = "status = ?", []any{3}
	slow := func() map[string]string {
		report, err := k.Verify(t.Context(), source, &keyset.VerifyOptions{Samples: 3})
		require.NoError(t, err)
		reasons := map[string]string{}
		for _, o := range report.Orders {
			if o.Slow != "" {
				reasons[o.Ordering] = o.Slow + "\n" + o.Plan
			}
		}
		return reasons
	}
	assert.NotContains(t, slow(), "closed_at")
	source.Index = func(keyset.Order) string { return "" }
	reasons := slow()
	assert.Contains(t, fmt.Sprint(reasons), "SQLSource.Index", "%v", reasons)
}
