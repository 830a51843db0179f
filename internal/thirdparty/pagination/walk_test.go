package pagination_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// walkRow is a row of the table that the walks read: every other column has ties and
// NULLs.
type walkRow struct {
	ID    int64
	Num   *int64
	Name  *string
	Share *float64
	At    *time.Time
	Rank  int64
	Day   time.Time
}

const walkRows = 97

var walkColumns = []string{"w.id", "w.num", "w.name", "w.share", "w.at_time", "w.rank_no", "w.day_time"}

func scanWalkRow(rows keyset.Scanner) (walkRow, error) {
	var r walkRow
	err := rows.Scan(&r.ID, &r.Num, &r.Name, &r.Share, &r.At, &r.Rank, &r.Day)
	return r, err
}

// walkKeyset declares the columns with random places for their NULLs.
func walkKeyset(t testing.TB, rng *rand.Rand, dialect keyset.Dialect, cursors *keyset.Cursors) *keyset.Keyset[walkRow] {
	t.Helper()
	place := func() keyset.Nulls {
		if dialect == keyset.Generic {
			return keyset.Nulls(1 + rng.IntN(2))
		}
		return keyset.Nulls(rng.IntN(3))
	}
	k, err := keyset.New("walk", pagination.Preset{Size: 7, MaxSize: 100}, cursors, []keyset.Column[walkRow]{
		{Name: "id", Expr: "w.id", Unique: true},
		{Name: "num", Expr: "w.num", Nullable: true, Nulls: place()},
		{Name: "name", Expr: "w.name", Nullable: true, Nulls: place()},
		{Name: "share", Expr: "w.share", Nullable: true, Nulls: place()},
		{Name: "at", Expr: "w.at_time", Nullable: true, Nulls: place()},
		{Name: "rank", Expr: "w.rank_no"},
		{Name: "day", Expr: "w.day_time"},
	}, &keyset.Options{Strict: true})
	require.NoError(t, err)
	return k
}

// fillWalkTable inserts the rows through the driver: SQLite keeps times as text, and only
// the driver's own text compares right with the driver's arguments.
func fillWalkTable(t testing.TB, db *sql.DB, dialect keyset.Dialect) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	maybe := func(v any) any {
		if rng.IntN(3) == 0 {
			return nil
		}
		return v
	}
	var values []string
	var args []any
	for id := 1; id <= walkRows; id++ {
		at := time.Date(2026, 3, 1+rng.IntN(4), 10, 0, rng.IntN(3), rng.IntN(3)*1000, time.UTC)
		day := time.Date(2026, 3, 1+rng.IntN(6), 0, 0, 0, 0, time.UTC)
		args = append(
			args, int64(id)+1<<60, maybe(rng.IntN(6)),
			maybe([]string{"", "a", "B", "b", "é", "zz"}[rng.IntN(6)]),
			maybe(float64(rng.IntN(5))/3), maybe(at), rng.IntN(4), day,
		)
		marks := "(?, ?, ?, ?, ?, ?, ?)"
		if dialect == keyset.Postgres {
			n := len(args) - 7
			marks = fmt.Sprintf("($%d, $%d, $%d, $%d, $%d, $%d, $%d)", n+1, n+2, n+3, n+4, n+5, n+6, n+7)
		}
		values = append(values, marks)
	}
	_, err := db.Exec("INSERT INTO walk (id, num, name, share, at_time, rank_no, day_time) VALUES "+strings.Join(values, ", "), args...)
	require.NoError(t, err)
}

// walk reads a whole list forwards and then backwards through the HTTP surface, with a
// random order, and compares it with the database's own answer.
func walk(t testing.TB, rng *rand.Rand, db *sql.DB, dialect, engine keyset.Dialect, cursors *keyset.Cursors) {
	t.Helper()
	k := walkKeyset(t, rng, dialect, cursors)
	names := []string{"num", "name", "share", "at", "rank", "day", "id"}
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	names = names[:1+rng.IntN(4)]
	for i := range names {
		if rng.IntN(2) == 0 {
			names[i] = "-" + names[i]
		}
	}
	ordering := strings.Join(names, ",")
	order, err := k.Order(ordering)
	require.NoError(t, err)
	source := keyset.SQLSource[walkRow]{
		DB: db, Dialect: dialect, Scan: scanWalkRow,
		Base: keyset.Base{Columns: walkColumns, From: "walk w"},
	}
	if rng.IntN(3) == 0 { // keys that are no columns of the result
		source.Base.Columns = slices.Clone(walkColumns)
		source.Base.Columns[1], source.Base.Columns[5] = "COALESCE(w.num, NULL) AS num", "COALESCE(w.rank_no, NULL) AS rank_no"
	}
	if rng.IntN(2) == 0 {
		source.Base.Where, source.Base.Args = "w.rank_no <> ? OR w.num = ?", []any{rng.IntN(4), 2}
	}
	where := strings.ReplaceAll(strings.ReplaceAll(source.Base.Where, "<> ?", fmt.Sprint("<> ", firstOf(source.Base.Args))), "= ?", "= 2")
	want := referenceIDs(t, db, engine, order, where)

	size := 1 + rng.IntN(12)
	url := fmt.Sprintf("/?ordering=%s&page_size=%d", ordering, size)
	var pages [][]int64
	var got []int64
	last := url
	for url != "" {
		page, err := k.Paginate(httptest.NewRequest(http.MethodGet, url, nil), source)
		require.NoError(t, err, url)
		ids := idsOf(page.Results)
		got = append(got, ids...)
		pages = append(pages, ids)
		require.LessOrEqual(t, len(got), len(want), "a row twice: %s", ordering)
		require.Equal(t, len(pages) == 1, page.Previous == "")
		last, url = url, string(page.Next)
	}
	require.Equal(t, want, got, "ordering=%s", ordering)
	if len(got) > 0 {
		fragments(t, rng, db, order, source, pages, size)
	}
	for i := len(pages) - 1; i >= 0; i-- {
		page, err := k.Paginate(httptest.NewRequest(http.MethodGet, last, nil), source)
		require.NoError(t, err, last)
		require.Equal(t, pages[i], idsOf(page.Results), "going back, ordering=%s", ordering)
		require.Equal(t, i == 0, page.Previous == "")
		require.Equal(t, i == len(pages)-1, page.Next == "")
		last = string(page.Previous)
	}
}

// fragments reads behind a random row, either way, with it or without, by the parts that
// another builder would put together, and by the whole statement.
func fragments(t testing.TB, rng *rand.Rand, db *sql.DB, order keyset.Order, source keyset.SQLSource[walkRow], pages [][]int64, size int) {
	t.Helper()
	all := slices.Concat(pages...)
	i := rng.IntN(len(all))
	whole, err := source.Seek(t.Context(), keyset.Seek{Order: order, Limit: walkRows + 1})
	require.NoError(t, err)
	n := len(order.Keys())
	after := whole.Keys[i*n : i*n+n]
	q := keyset.Seek{Order: order, After: after, Inclusive: rng.IntN(2) == 0, Backward: rng.IntN(2) == 0, Limit: size}
	if q.Backward {
		slices.Reverse(all)
		i = len(all) - 1 - i
	}
	if !q.Inclusive {
		i++
	}
	want := all[i:min(i+size, len(all))]
	stretch, err := source.Seek(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, want, idsOf(stretch.Rows), "%+v", q)

	where, err := q.Where(source.Dialect)
	require.NoError(t, err)
	by, err := q.OrderBy(source.Dialect)
	require.NoError(t, err)
	query := "SELECT " + strings.Join(walkColumns, ", ") + " FROM walk w WHERE " + where.SQL
	args := where.Args
	if source.Base.Where != "" {
		query, args = query+" AND ("+source.Base.Where+")", slices.Concat(args, source.Base.Args)
	}
	query += " ORDER BY " + by + " LIMIT " + strconv.Itoa(size)
	if source.Dialect == keyset.Postgres {
		for n := 1; strings.Contains(query, "?"); n++ {
			query = strings.Replace(query, "?", "$"+strconv.Itoa(n), 1)
		}
	}
	rows, err := db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err, query)
	defer rows.Close()
	parts := []int64{}
	for rows.Next() {
		r, err := scanWalkRow(rows)
		require.NoError(t, err)
		parts = append(parts, r.ID)
	}
	require.NoError(t, rows.Err())
	require.Equal(t, want, parts, "%s", query)
}

func idsOf(rows []walkRow) []int64 {
	ids := make([]int64, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return ids
}

// referenceIDs has the database sort the list in one statement that shares nothing with
// the package's: NULLs are placed by a CASE of their own before each key.
func referenceIDs(t testing.TB, db *sql.DB, engine keyset.Dialect, order keyset.Order, where string) []int64 {
	t.Helper()
	var by []string
	for _, k := range order.Keys() {
		direction := ""
		if k.Desc {
			direction = " DESC"
		}
		if k.Nullable {
			last := k.Nulls == keyset.NullsLast || k.Nulls == keyset.NullsNative && k.Desc != (engine == keyset.Postgres)
			rank := "0 ELSE 1"
			if last {
				rank = "1 ELSE 0"
			}
			by = append(by, "CASE WHEN "+k.Expr+" IS NULL THEN "+rank+" END")
		}
		by = append(by, k.Expr+direction)
	}
	if where != "" {
		where = " WHERE " + where
	}
	rows, err := db.Query("SELECT w.id FROM walk w" + where + " ORDER BY " + strings.Join(by, ", "))
	require.NoError(t, err)
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	return ids
}

// testWalks reads whole lists with random orders, places of NULLs, filters and page
// sizes, forwards and backwards. It runs for less than a second, or for four with MAINSTAY_LONG; MAINSTAY_WALKS=5000
// makes it that many walks, divided among the engines.
func testWalks(t *testing.T, e engine, db *sql.DB) {
	cursors, err := keyset.NewCursors(keyset.EphemeralKeyRing(), nil)
	require.NoError(t, err)
	walks, deadline := 1<<30, time.Now().Add(time.Duration(testserver.Sample(400, 4000))*time.Millisecond)
	if n, err := strconv.Atoi(os.Getenv("MAINSTAY_WALKS")); err == nil {
		walks, deadline = n/len(engines)+1, time.Now().Add(time.Hour)
	}
	done := 0
	for ; done < walks && (done < 20 || time.Now().Before(deadline)); done++ {
		rng := rand.New(rand.NewPCG(uint64(done), 7))
		dialect := e.dialect
		if done%5 == 0 && dialect != keyset.Postgres { // keyset.Generic writes "?"
			dialect = keyset.Generic
		}
		walk(t, rng, db, dialect, e.dialect, cursors)
	}
	t.Logf("%d walks over %d rows", done, walkRows)
}

func firstOf(args []any) any {
	if len(args) == 0 {
		return nil
	}
	return args[0]
}
