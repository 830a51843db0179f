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
// sale: one range for each run of keys.
type deepOrder struct {
	name, ordering string
	null           bool // the position is among the NULLs
	ranges         []deepRange
}

type deepRange struct{ where, by string }

var deepOrders = []deepOrder{
	{"one direction", "-created_at", false, []deepRange{
		{"created_at = C AND id < I", "id DESC"}, {"created_at < C", "created_at DESC, id DESC"},
	}},
	{"mixed", "status,-created_at,id", false, []deepRange{
		{"status = S AND created_at = C AND id > I", "id"}, {"status = S AND created_at < C", "created_at DESC, id"}, {"status > S", "status, created_at DESC, id"},
	}},
	{"nullable", "closed_at", false, []deepRange{{"closed_at = D AND id > I", "id"}, {"closed_at > D", "closed_at, id"}}},
	{"among NULLs", "closed_at", true, []deepRange{{"closed_at IS NULL AND id > I", "closed_at, id"}}},
	{"nullable, mixed", "closed_at,-id", false, []deepRange{{"closed_at = D AND id < I", "id DESC"}, {"closed_at > D", "closed_at, id DESC"}}},
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
		where := position(t, e, o, rows, i)
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
		byHand := func() []int64 { return deepByHand(t, e.DB, o, where) }
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
func deepByHand(t *testing.T, db *sql.DB, o deepOrder, where func(string) string) (ids []int64) {
	t.Helper()
	var parts []string
	for _, r := range o.ranges {
		parts = append(parts, "SELECT * FROM (SELECT id, product, status, created_at, closed_at FROM sales WHERE product = 'deep' AND "+where(r.where)+" ORDER BY "+r.by+" LIMIT 26) s")
	}
	by := o.ranges[len(o.ranges)-1].by
	statement := strings.Join(parts, " UNION ALL ")
	if len(parts) > 1 {
		statement = "SELECT * FROM (" + statement + ") u ORDER BY " + by + " LIMIT 26"
	}
	rows, err := db.Query(statement)
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

// position makes the list probeN of two rows. The first row has the values of the row of deep
// at nine tenths of an order. The next token of a page of one row is then the position after
// it.
func position(t *testing.T, e Engine, o deepOrder, rows, n int) (where func(string) string) {
	t.Helper()
	by := o.ranges[len(o.ranges)-1].by
	filter, offset := "product = 'deep'", rows/10*9
	if strings.HasPrefix(o.ordering, "closed_at") { // engines sort NULLs first or last
		filter, offset = filter+" AND closed_at IS "+map[bool]string{true: "", false: "NOT "}[o.null]+"NULL", rows/4
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
	values := []any{id + int64(step), status, created, closed.String}
	return func(condition string) string {
		for i, name := range []string{" I", " S", " C", " D"} {
			if !strings.Contains(condition, name) {
				continue
			}
			v := fmt.Sprint(values[i])
			if i > 1 {
				v = "'" + v + "'"
			}
			condition = strings.ReplaceAll(condition+" ", name+" ", " "+v+" ")
		}
		return condition
	}
}

func exec(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	_, err := db.Exec(statement)
	require.NoError(t, err, statement)
}
