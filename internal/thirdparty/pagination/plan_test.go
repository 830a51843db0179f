package pagination_test

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// planCases are the orders that the proof is led for.
var planCases = []struct {
	ordering string
	nulls    keyset.Nulls
	where    string
	only     keyset.Dialect
	index    string // named to MariaDB, which else looks up what the filter holds equal and walks from there
}{
	{ordering: "-created_at"},
	{ordering: "created_at"},
	{ordering: "status,-created_at,id"},
	{ordering: "-status,created_at,-id"},
	{ordering: "closed_at"},
	{ordering: "-closed_at"},
	{ordering: "closed_at", nulls: keyset.NullsFirst},
	{ordering: "closed_at", nulls: keyset.NullsLast},
	{ordering: "-closed_at", nulls: keyset.NullsFirst},
	{ordering: "-closed_at", nulls: keyset.NullsLast},
	{ordering: "closed_at,-id"},
	{ordering: "closed_at,-id", nulls: keyset.NullsFirst},
	{ordering: "-closed_at,id", nulls: keyset.NullsFirst},
	{ordering: "-closed_at,id", nulls: keyset.NullsLast},
	{ordering: "status,closed_at"},
	{ordering: "-status,-closed_at"},
	{ordering: "status,closed_at", nulls: keyset.NullsFirst, only: keyset.Postgres}, // alone in having indexes with that order
	{ordering: "closed_at", nulls: keyset.NullsFirst, where: "status = 3", index: "sales_status_closed"},
	{ordering: "-closed_at", nulls: keyset.NullsLast, where: "status = 3", index: "sales_status_closed"},
	{ordering: "-created_at,id", where: "status = 3", index: "sales_status"},
	{ordering: "-closed_at", nulls: keyset.NullsFirst, where: "note = 'note'"},
}

// statistics are what the planner is told about the table: the truth, and what it may
// believe of a table that grew or was sampled by bad luck.
type statistics struct {
	name string
	tell []string
	lies bool
}

var planStatistics = map[keyset.Dialect][]statistics{
	keyset.SQLite: {
		{name: "full", tell: []string{"ANALYZE sales"}},
		{name: "all alike", lies: true, tell: []string{"UPDATE sqlite_stat1 SET stat = '20000 20000 20000 20000'", "ANALYZE sqlite_schema"}},
		{name: "all different", lies: true, tell: []string{"UPDATE sqlite_stat1 SET stat = '20000 1 1 1'", "ANALYZE sqlite_schema"}},
	},
	keyset.MySQL: {
		{name: "full", tell: []string{"ANALYZE TABLE sales"}},
		{name: "all alike", lies: true, tell: []string{"UPDATE mysql.innodb_index_stats SET stat_value = 1 WHERE table_name = 'sales' AND stat_name LIKE 'n_diff%'", "FLUSH TABLES sales"}},
		{name: "all different", lies: true, tell: []string{"UPDATE mysql.innodb_index_stats SET stat_value = 20000 WHERE table_name = 'sales' AND stat_name LIKE 'n_diff%'", "FLUSH TABLES sales"}},
	},
	keyset.Postgres: {
		{name: "full", tell: []string{"SET default_statistics_target = 1000", "ANALYZE sales"}},
		{name: "many NULLs", lies: true, tell: []string{tellNulls("0.6")}},
		{name: "few NULLs", lies: true, tell: []string{tellNulls("0.05")}},
	},
}

// tellNulls has PostgreSQL take a share of the closed_at to be NULL.
func tellNulls(share string) string {
	return "UPDATE pg_statistic SET stanullfrac = " + share + ` WHERE starelid = 'sales'::regclass
		AND staattnum = (SELECT attnum FROM pg_attribute WHERE attrelid = 'sales'::regclass AND attname = 'closed_at')`
}

// looked counts the rows that SQLite looked at: it evaluates looked_at for each.
var looked atomic.Int64

func init() {
	sqlite.MustRegisterScalarFunction("looked_at", 1, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		looked.Add(1)
		return int64(1), nil
	})
}

// testPlans proves that a page deep in the list is read by going to its place: no scan of
// the table, no sort but of the rows that a page shows, and no row that is read and thrown
// away. The servers' own counters say so, whatever the planner believes of the table.
func testPlans(t *testing.T, e engine, db *sql.DB) {
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	proof := planProof{engine: e, conn: conn}
	type try struct {
		name string
		seek keyset.Seek
		base keyset.Base
	}
	var tries []try
	for _, c := range planCases {
		if c.only != keyset.Generic && c.only != e.dialect {
			continue
		}
		k := salesKeyset(t, c.nulls)
		order, err := k.Order(c.ordering)
		require.NoError(t, err)
		source := salesSource(conn, e.dialect)
		source.Order, source.Base.Where = order, c.where
		if e.dialect == keyset.MySQL && c.index != "" {
			source.Base.From += " FORCE INDEX (" + c.index + ")"
		}
		positions := []int64{-1, 100, 6500, 13_500, salesRows - 600}
		if c.where == "status = 3" {
			positions = []int64{-1, 100, 1300, 2700, salesRows/5 - 300}
		}
		for _, offset := range positions {
			q := keyset.Seek{Order: order, Limit: 26}
			if offset >= 0 {
				rows, err := source.List(t.Context(), 1, offset)
				require.NoError(t, err)
				q.After = salePosition(t, order, rows[0])
			}
			for _, q.Backward = range []bool{false, true} {
				name := fmt.Sprintf("%s nulls=%d where=%q offset=%d backward=%t", c.ordering, c.nulls, c.where, offset, q.Backward)
				tries = append(tries, try{name, q, source.Base})
			}
		}
	}
	for _, s := range planStatistics[e.dialect] {
		for _, statement := range s.tell {
			_, err := conn.ExecContext(t.Context(), statement)
			require.NoError(t, err, statement)
		}
		for _, c := range tries {
			proof.name = "statistics: " + s.name + "; " + c.name
			proof.seeks(t, c.seek, c.base, s)
		}
	}
	t.Run("the proof can fail", func(t *testing.T) {
		// The form that this engine does not seek by, and an order without an index.
		slow := map[keyset.Dialect]string{
			keyset.SQLite:   "SELECT id FROM sales WHERE looked_at(id) AND created_at + 0 < 2500 ORDER BY note, id LIMIT 26",
			keyset.MySQL:    "SELECT id FROM sales WHERE (created_at, id) < (2500, 10) ORDER BY created_at DESC, id DESC LIMIT 26",
			keyset.Postgres: "SELECT id FROM sales WHERE created_at < 2500 OR (created_at = 2500 AND id < 10) ORDER BY created_at DESC, id DESC LIMIT 26",
		}[e.dialect]
		proof.name = "slow"
		probe := &verdict{TB: t}
		proof.judge(probe, slow, nil, 26)
		assert.Positive(t, probe.failures, "a slow statement passed")
		if e.dialect == keyset.SQLite {
			assert.Equal(t, 3, probe.failures, "a scan, a sort, and all rows looked at")
		}
	})
}

// TestRunKeepsNulls is about runs of a later key: only an index with the list's own NULLS
// clause has them in order, and PostgreSQL takes it for an order with that clause alone.
func TestRunKeepsNulls(t *testing.T) {
	t.Parallel()
	k := salesKeyset(t, keyset.NullsFirst)
	order, err := k.Order("status,closed_at")
	require.NoError(t, err)
	closed := int64(7)
	after := salePosition(t, order, sale{ID: 1, Status: 2, Closed: &closed})
	query, _, err := keyset.Seek{Order: order, After: after, Limit: 26}.SQL(keyset.Postgres, salesSource(nil, keyset.Postgres).Base)
	require.NoError(t, err)
	assert.Contains(t, query, "WHERE status = $1 AND (closed_at, id) > ($2, $3) ORDER BY closed_at NULLS FIRST, id LIMIT $4")
}

// planProof judges statements by what they made a database do.
type planProof struct {
	engine engine
	conn   *sql.Conn
	name   string
}

func (p planProof) seeks(t *testing.T, q keyset.Seek, base keyset.Base, s statistics) {
	t.Helper()
	if s.lies && p.engine.dialect == keyset.Postgres && sharesValue(q) {
		// PostgreSQL looks for a value that it takes for everywhere or nowhere along another
		// index. No form of the statement keeps it from that.
		return
	}
	if p.engine.dialect == keyset.SQLite {
		base.Where = strings.TrimSuffix("looked_at(id) AND "+base.Where, " AND ")
	}
	query, args, err := q.SQL(p.engine.dialect, base)
	require.NoError(t, err)
	ranges := max(1, strings.Count(query, "UNION ALL")+1, strings.Count(query, ") OR (")+1)
	p.judge(t, query, args, q.Limit*ranges+6)
}

// sharesValue reports whether a range behind the position is held to a value of a key.
func sharesValue(q keyset.Seek) bool {
	keys := q.Order.Keys()
	for i := 1; i < len(keys) && len(q.After) > 0; i++ {
		if !q.After[i-1].IsNull() && (keys[i].Desc != keys[i-1].Desc || keys[i].Nullable || keys[i-1].Nullable) {
			return true
		}
	}
	return false
}

// salePosition is the position of a sale in an order.
func salePosition(t testing.TB, order keyset.Order, s sale) []keyset.Value {
	t.Helper()
	var at []keyset.Value
	for _, k := range order.Keys() {
		v, err := keyset.NewValue(map[string]any{"id": s.ID, "status": s.Status, "created_at": s.Created, "closed_at": s.Closed}[k.Name])
		require.NoError(t, err)
		at = append(at, v)
	}
	return at
}

func (p planProof) judge(t testing.TB, query string, args []any, most int) {
	t.Helper()
	switch p.engine.dialect {
	case keyset.SQLite:
		p.judgeSQLite(t, query, args, most)
	case keyset.MySQL:
		p.judgeMariaDB(t, query, args, most)
	case keyset.Postgres:
		p.judgePostgres(t, query, args, most)
	}
}

// verdict is a test that counts its failures instead of failing.
type verdict struct {
	testing.TB
	failures int
}

func (v *verdict) Errorf(string, ...any) { v.failures++ }

func textRows(t testing.TB, db keyset.Queryer, query string, args ...any) [][]string {
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

// judgeSQLite counts the rows looked at and reads the query plan: the table is only
// searched, or scanned along an index from its end when there is no position, and a sort
// is allowed above the union alone.
func (p planProof) judgeSQLite(t testing.TB, query string, args []any, most int) {
	t.Helper()
	before := looked.Load()
	textRows(t, p.conn, query, args...)
	assert.LessOrEqual(t, int(looked.Load()-before), most, "%s: rows looked at\n%s", p.name, query)
	first := len(args) <= 1 // the limit
	for _, line := range textRows(t, p.conn, "EXPLAIN QUERY PLAN "+query, args...) {
		detail := line[3]
		switch {
		case strings.HasPrefix(detail, "SCAN sales"):
			assert.True(t, first && strings.Contains(detail, "INDEX"), "%s: %s\n%s", p.name, detail, query)
		case strings.HasPrefix(detail, "USE TEMP B-TREE"):
			assert.Fail(t, "a sort", "%s: %s\n%s", p.name, detail, query)
		}
	}
}

// judgeMariaDB counts the rows that the storage engine handed up in the session.
func (p planProof) judgeMariaDB(t testing.TB, query string, args []any, most int) {
	t.Helper()
	_, err := p.conn.ExecContext(t.Context(), "FLUSH STATUS")
	require.NoError(t, err)
	textRows(t, p.conn, query, args...)
	read := 0
	for _, line := range textRows(t, p.conn, "SHOW SESSION STATUS WHERE variable_name LIKE 'Handler_read%' OR variable_name = 'Handler_icp_attempts'") {
		n, err := strconv.Atoi(line[1])
		require.NoError(t, err)
		switch line[0] {
		case "Handler_icp_attempts": // entries that InnoDB looked at and perhaps passed over
			assert.LessOrEqual(t, n, most+20, "%s: index entries looked at\n%s", p.name, query)
		case "Handler_read_rnd", "Handler_read_rnd_next", "Handler_read_rnd_deleted":
			// Temporary tables of the union: read once to sort, once to return.
			assert.LessOrEqual(t, n, 4*most+20, "%s: %s\n%s", p.name, line[0], query)
		default:
			read += n
		}
	}
	assert.LessOrEqual(t, read, most+20, "%s: index entries read\n%s", p.name, query)
}

// judgePostgres runs the statement and reads what each node of the plan did, and how many
// pages all of them touched: entries of an index that are passed over show only there.
func (p planProof) judgePostgres(t testing.TB, query string, args []any, most int) {
	t.Helper()
	text := textRows(t, p.conn, "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) "+query, args...)[0][0]
	type node struct {
		Type      string  `json:"Node Type"`
		Rows      float64 `json:"Actual Rows"`
		Loops     float64 `json:"Actual Loops"`
		Removed   float64 `json:"Rows Removed by Filter"`
		Rechecked float64 `json:"Rows Removed by Index Recheck"`
		Hit       int     `json:"Shared Hit Blocks"`
		Read      int     `json:"Shared Read Blocks"`
		Plans     []node  `json:"Plans"`
	}
	var explained []struct{ Plan node }
	require.NoError(t, json.Unmarshal([]byte(text), &explained))
	var visit func(n node)
	visit = func(n node) {
		assert.Zero(t, n.Removed+n.Rechecked, "%s: rows were read and thrown away\n%s", p.name, query)
		assert.NotContains(t, []string{"Seq Scan", "Bitmap Heap Scan"}, n.Type, "%s\n%s", p.name, query)
		assert.LessOrEqual(t, int(n.Rows*n.Loops), most, "%s: %s\n%s", p.name, n.Type, query)
		for _, child := range n.Plans {
			visit(child)
		}
	}
	top := explained[0].Plan
	visit(top)
	assert.LessOrEqual(t, top.Hit+top.Read, most+most/4, "%s: pages touched\n%s", p.name, query)
}
