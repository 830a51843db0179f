package pagination

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testPlans proves that a page deep in the list is read by going to its place: no scan of
// the table, no sort but of the rows that a page shows, and no row that is read and thrown
// away.
func testPlans(t *testing.T, e engine, db *sql.DB) {
	const limit = 26
	for _, tc := range []struct {
		ordering string
		nulls    Nulls
	}{
		{"-created_at", NullsNative},
		{"created_at", NullsNative},
		{"status,-created_at,id", NullsNative},
		{"-status,created_at,-id", NullsNative},
		{"closed_at", NullsNative},
		{"-closed_at", NullsNative},
		{"closed_at", NullsFirst},
		{"closed_at", NullsLast},
		{"-closed_at", NullsFirst},
		{"-closed_at", NullsLast},
	} {
		if e.dialect != SQLite && strings.Contains(tc.ordering, "closed_at") {
			// Among the NULLs the two servers may, as their sampled statistics have it, take
			// another index and read the rows in between; docs/pagination.md says so.
			continue
		}
		k := salesKeyset(t, tc.nulls)
		order, err := k.Order(tc.ordering)
		require.NoError(t, err)
		source := salesSource(db, e.dialect)
		source.Order = order
		for _, offset := range []int64{-1, 100, salesRows / 2, salesRows - 100} {
			for _, backward := range []bool{false, true} {
				q := Seek{Order: order, Backward: backward, Limit: limit}
				if offset >= 0 {
					rows, err := source.List(t.Context(), 1, offset)
					require.NoError(t, err)
					at, err := k.position(order, rows[0], false)
					require.NoError(t, err)
					q.After = at.Values
				}
				name := fmt.Sprintf("%s nulls=%d offset=%d backward=%t", tc.ordering, tc.nulls, offset, backward)
				query, args, err := q.SQL(e.dialect, source.Base)
				require.NoError(t, err)
				plan, err := q.plan(e.dialect)
				require.NoError(t, err)
				rows, err := source.query(t.Context(), limit, query, args)
				require.NoError(t, err)
				require.Len(t, rows, limit, name)
				most := limit * max(1, len(plan.segments))
				switch e.dialect {
				case SQLite:
					seeksSQLite(t, db, name, query, args)
				case MySQL:
					if strings.Contains(query, "closed_at IS NULL") {
						// With some samples of its statistics MariaDB reads a run of NULLs from
						// its beginning; docs/pagination.md says so.
						continue
					}
					seeksMariaDB(t, db, name, query, args, most)
				case Postgres:
					seeksPostgres(t, db, name, query, args, most)
				}
			}
		}
	}
	t.Run("the proof can fail", func(t *testing.T) {
		// The form that this engine does not seek by, and an order without an index.
		slow := map[Dialect]string{
			SQLite:   "SELECT id FROM sales WHERE created_at < 2500 OR (created_at = 2500 AND id < 10) ORDER BY note, id LIMIT 26",
			MySQL:    "SELECT id FROM sales WHERE (created_at, id) < (2500, 10) ORDER BY created_at DESC, id DESC LIMIT 26",
			Postgres: "SELECT id FROM sales WHERE created_at < 2500 OR (created_at = 2500 AND id < 10) ORDER BY created_at DESC, id DESC LIMIT 26",
		}[e.dialect]
		probe := &verdict{TB: t}
		switch e.dialect {
		case SQLite:
			seeksSQLite(probe, db, "slow", slow, nil)
		case MySQL:
			seeksMariaDB(probe, db, "slow", slow, nil, 26)
		case Postgres:
			seeksPostgres(probe, db, "slow", slow, nil, 26)
		}
		assert.True(t, probe.failed, "a slow statement passed")
	})
}

// verdict is a test that remembers its failure instead of failing.
type verdict struct {
	testing.TB
	failed bool
}

func (v *verdict) Errorf(string, ...any) { v.failed = true }

func textRows(t testing.TB, db interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, query string, args ...any,
) [][]string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err, query)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var table [][]string
	for rows.Next() {
		cells, to := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range cells {
			to[i] = &cells[i]
		}
		require.NoError(t, rows.Scan(to...))
		line := make([]string, len(cells))
		for i, c := range cells {
			line[i] = c.String
		}
		table = append(table, line)
	}
	require.NoError(t, rows.Err())
	return table
}

// seeksSQLite reads the query plan: the table is only searched, or scanned along an index
// from its end when there is no position, and a sort is allowed above the union alone.
func seeksSQLite(t testing.TB, db *sql.DB, name, query string, args []any) {
	t.Helper()
	first := !strings.Contains(query, "WHERE")
	for _, line := range textRows(t, db, "EXPLAIN QUERY PLAN "+query, args...) {
		parent, detail := line[1], line[3]
		switch {
		case strings.HasPrefix(detail, "SCAN sales"):
			assert.True(t, first && strings.Contains(detail, "INDEX"), "%s: %s\n%s", name, detail, query)
		case strings.HasPrefix(detail, "USE TEMP B-TREE"):
			assert.True(t, parent == "0" && strings.Contains(query, "UNION ALL"), "%s: %s\n%s", name, detail, query)
		}
	}
}

// seeksMariaDB counts the rows that the storage engine handed up in one session.
func seeksMariaDB(t testing.TB, db *sql.DB, name, query string, args []any, most int) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "FLUSH STATUS")
	require.NoError(t, err)
	textRows(t, conn, query, args...)
	read := 0
	for _, line := range textRows(t, conn, "SHOW SESSION STATUS LIKE 'Handler_read%'") {
		n, err := strconv.Atoi(line[1])
		require.NoError(t, err)
		switch line[0] {
		case "Handler_read_rnd", "Handler_read_rnd_next", "Handler_read_rnd_deleted":
			// Temporary tables of the union: read once to sort, once to return.
			assert.LessOrEqual(t, n, 4*most+20, "%s: %s\n%s", name, line[0], query)
		default:
			read += n
		}
	}
	assert.LessOrEqual(t, read, most+20, "%s: index entries read\n%s", name, query)
}

// seeksPostgres runs the statement and reads what each node of the plan did.
func seeksPostgres(t testing.TB, db *sql.DB, name, query string, args []any, most int) {
	t.Helper()
	text := textRows(t, db, "EXPLAIN (ANALYZE, FORMAT JSON) "+query, args...)[0][0]
	type node struct {
		Type    string  `json:"Node Type"`
		Rows    float64 `json:"Actual Rows"`
		Loops   float64 `json:"Actual Loops"`
		Removed float64 `json:"Rows Removed by Filter"`
		Plans   []node  `json:"Plans"`
	}
	var explained []struct{ Plan node }
	require.NoError(t, json.Unmarshal([]byte(text), &explained))
	var visit func(n node)
	visit = func(n node) {
		assert.Zero(t, n.Removed, "%s: rows were read and thrown away\n%s", name, query)
		assert.NotEqual(t, "Seq Scan", n.Type, "%s\n%s", name, query)
		assert.LessOrEqual(t, int(n.Rows*n.Loops), most, "%s: %s\n%s", name, n.Type, query)
		for _, child := range n.Plans {
			visit(child)
		}
	}
	visit(explained[0].Plan)
}
