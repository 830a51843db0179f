package pagesuite

import (
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// deepOrder is an order of the list, with the best handwritten statements for the rows after a
// sale: one range for each run of keys. I, S, C and D are the values of the sale.
type deepOrder struct {
	name, ordering string
	index          string // of the order: MariaDB looks up the filter without its name
	null           bool   // the position is among the NULLs
	ranges         []deepRange
}

type deepRange struct {
	where, by string
	nulls     int // 1: NULLs behind every value, on PostgreSQL; -1: before them, on the others
}

var deepOrders = []deepOrder{
	{"one direction", "-created_at", "sales_created", false, []deepRange{
		{"created_at = C AND id < I", "id DESC", 0}, {"created_at < C", "created_at DESC, id DESC", 0},
	}},
	{"mixed", "status,-created_at,id", "sales_status", false, []deepRange{
		{"status = S AND created_at = C AND id > I", "id", 0},
		{"status = S AND created_at < C", "created_at DESC, id", 0},
		{"status > S", "status, created_at DESC, id", 0},
	}},
	{"nullable", "closed_at", "sales_closed", false, []deepRange{
		{"closed_at = D AND id > I", "id", 0}, {"closed_at > D", "closed_at, id", 0}, {"closed_at IS NULL", "closed_at, id", 1},
	}},
	{"among NULLs", "closed_at", "sales_closed", true, []deepRange{
		{"closed_at IS NULL AND id > I", "closed_at, id", 0}, {"closed_at IS NOT NULL", "closed_at, id", -1},
	}},
	{"nullable, mixed", "closed_at,-id", "sales_closed_mixed", false, []deepRange{
		{"closed_at = D AND id < I", "id DESC", 0}, {"closed_at > D", "closed_at, id DESC", 0}, {"closed_at IS NULL", "closed_at, id DESC", 1},
	}},
	{"among NULLs, mixed", "closed_at,-id", "sales_closed_mixed", true, []deepRange{
		{"closed_at IS NULL AND id < I", "closed_at, id DESC", 0}, {"closed_at IS NOT NULL", "closed_at, id DESC", -1},
	}},
	{"nullable, backwards", "-closed_at", "sales_closed", false, []deepRange{
		{"closed_at = D AND id < I", "id DESC", 0}, {"closed_at < D", "closed_at DESC, id DESC", 0}, {"closed_at IS NULL", "closed_at DESC, id DESC", -1},
	}},
}

// deep compares a page after row 900,000 of a million with its best handwritten statement.
// MAINSTAY_DEEP is the number of rows. It takes a minute for each engine.
func deep[T any](t *testing.T, e Engine, l List[T]) {
	rows, err := strconv.Atoi(os.Getenv("MAINSTAY_DEEP"))
	if err != nil {
		return
	}
	fillDeep(t, e, rows)
	for i, o := range deepOrders {
		at := position(t, e, o, rows, i)
		probe, err := l.Keyset.Page(t.Context(), l.Source(fmt.Sprint("probe", i)), keyset.Query{Ordering: o.ordering, Size: 1})
		require.NoError(t, err)
		require.NotEmpty(t, probe.Next)
		source := l.Source("deep")
		ours := func() []int64 {
			page, err := l.Keyset.Page(t.Context(), source, keyset.Query{Ordering: o.ordering, Token: probe.Next})
			require.NoError(t, err)
			ids := make([]int64, len(page.Rows))
			for i, r := range page.Rows {
				ids[i] = l.ID(r)
			}
			return ids
		}
		byHand := func() []int64 { return deepByHand(t, e, o, at) }
		require.Equal(t, byHand(), ours(), o.name)
		var best [2]time.Duration
		for range 60 {
			for i, f := range []func() []int64{ours, byHand} {
				start := time.Now()
				f()
				if took := time.Since(start); best[i] == 0 || took < best[i] {
					best[i] = took
				}
			}
		}
		ratio := float64(best[0]) / float64(best[1])
		t.Logf("%s: %v, by hand %v, ratio %.2f", o.name, best[0], best[1], ratio)
		if ratio > 1.5 {
			t.Errorf("%s: %.2f times the statement by hand", o.name, ratio)
		}
	}
}

// deepByHand reads a page of all columns.
func deepByHand(t *testing.T, e Engine, o deepOrder, at map[string]any) (ids []int64) {
	t.Helper()
	var parts, conditions []string
	var args []any
	bind := func(v any) string {
		args = append(args, v)
		if e.Dialect == keyset.Postgres {
			return "$" + strconv.Itoa(len(args))
		}
		return "?"
	}
	for _, r := range o.ranges {
		if r.nulls != 0 && (r.nulls > 0) != (e.Dialect == keyset.Postgres) {
			continue
		}
		words := strings.Fields(r.where)
		if e.Dialect != keyset.MySQL {
			words = strings.Fields("product = P AND " + r.where)
		}
		for i, w := range words {
			if v, ok := at[w]; ok {
				words[i] = bind(v)
			}
		}
		conditions = append(conditions, "("+strings.Join(words, " ")+")")
		parts = append(parts, "SELECT * FROM (SELECT id, product, status, created_at, closed_at FROM sales WHERE "+strings.Join(words, " ")+" ORDER BY "+r.by+" LIMIT 26) s")
	}
	statement := strings.Join(parts, " UNION ALL ")
	if len(parts) > 1 {
		statement = "SELECT * FROM (" + statement + ") u ORDER BY " + o.by() + " LIMIT 26"
	}
	if e.Dialect == keyset.MySQL { // its ranges come from one condition, along the named index
		statement = "SELECT id, product, status, created_at, closed_at FROM sales FORCE INDEX (" + o.index + ") WHERE product = 'deep' AND (" +
			strings.Join(conditions, " OR ") + ") ORDER BY " + o.by() + " LIMIT 26"
	}
	rows, err := e.DB.Query(statement, args...)
	require.NoError(t, err, statement)
	defer rows.Close()
	for rows.Next() {
		var id int64
		var product string
		var status int
		var created time.Time
		var closed *time.Time
		require.NoError(t, rows.Scan(&id, &product, &status, &created, &closed))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	return ids[:25]
}

func fillDeep(t *testing.T, e Engine, rows int) {
	t.Helper()
	exec(t, e.DB, "DELETE FROM sales")
	series := map[keyset.Dialect]string{
		keyset.SQLite:   fmt.Sprintf("(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i FROM n) s", rows),
		keyset.MySQL:    fmt.Sprintf("(SELECT seq AS i FROM seq_1_to_%d) s", rows),
		keyset.Postgres: fmt.Sprintf("generate_series(1::bigint, %d) AS s(i)", rows),
	}[e.Dialect]
	moment := map[keyset.Dialect]string{
		keyset.SQLite:   "strftime('%%Y-%%m-%%d %%H:%%M:%%S', 1700000000 + %s, 'unixepoch')",
		keyset.MySQL:    "DATE_ADD('2023-11-14', INTERVAL %s SECOND)",
		keyset.Postgres: "TIMESTAMPTZ '2023-11-14 00:00:00+00' + (%s) * INTERVAL '1 second'",
	}[e.Dialect]
	exec(t, e.DB, fmt.Sprintf("INSERT INTO sales SELECT 2 * i, 'deep', i %% 5, %s, CASE WHEN i * 31 %% 97 < 32 THEN NULL ELSE %s END FROM %s",
		fmt.Sprintf(moment, "i * 7919 % 500003"), fmt.Sprintf(moment, "i * 7907 % 700001"), series))
	exec(t, e.DB, "CREATE INDEX sales_closed_mixed ON sales (product, closed_at, id DESC)")
}

// by is the order of the whole list.
func (o deepOrder) by() string { return o.ranges[len(o.ranges)-1].by }

// position makes the list probeN of two rows. The first row has the values of the row of deep
// at nine tenths of an order. The next token of a page of one row is then the position after
// it.
func position(t *testing.T, e Engine, o deepOrder, rows, n int) map[string]any {
	t.Helper()
	by := o.by()
	filter, offset := "product = 'deep'", rows/10*9
	if strings.Contains(o.ordering, "closed_at") { // engines sort NULLs first or last
		filter += " AND closed_at IS " + map[bool]string{true: "", false: "NOT "}[o.null] + "NULL"
		require.NoError(t, e.DB.QueryRow("SELECT COUNT(*) FROM sales WHERE "+filter).Scan(&offset))
		offset = offset / 10 * 9
	}
	var id int64
	require.NoError(t, e.DB.QueryRow(fmt.Sprintf("SELECT id FROM sales WHERE %s ORDER BY %s LIMIT 1 OFFSET %d", filter, by, offset)).Scan(&id))
	step := 1
	if strings.HasSuffix(by, "id DESC") {
		step = -1
	}
	exec(t, e.DB, fmt.Sprintf("INSERT INTO sales SELECT id + %d, 'probe%d', status, created_at, closed_at FROM sales WHERE id = %d", step, n, id))
	exec(t, e.DB, fmt.Sprintf("INSERT INTO sales SELECT id + %d, 'probe%d', status, created_at, closed_at FROM sales WHERE id = %d", 3*step, n, id))
	exec(t, e.DB, map[keyset.Dialect]string{keyset.SQLite: "ANALYZE", keyset.MySQL: "ANALYZE TABLE sales", keyset.Postgres: "VACUUM ANALYZE sales"}[e.Dialect])
	text := map[keyset.Dialect]string{keyset.MySQL: "CAST(%s AS CHAR)", keyset.Postgres: "CAST(%s AS text)"}[e.Dialect]
	if text == "" {
		text = "+%s"
	}
	var status int64
	var created string
	var closed sql.NullString
	require.NoError(t, e.DB.QueryRow(fmt.Sprintf("SELECT status, "+text+", "+text+" FROM sales WHERE id = %[3]d", "created_at", "closed_at", id)).Scan(&status, &created, &closed))
	return map[string]any{"P": "deep", "I": id + int64(step), "S": status, "C": created, "D": closed.String}
}

func exec(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	_, err := db.Exec(statement)
	require.NoError(t, err, statement)
}
