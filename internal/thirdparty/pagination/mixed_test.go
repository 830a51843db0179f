package pagination_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
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

// walkMixed walks a list with a column of every type by random orders of one to four of
// them, both ways: random directions, places of NULLs, ties and page sizes. It runs for half a
// second, or for two with MAINSTAY_LONG. With MAINSTAY_WALKS=5000 it makes that many walks.
func walkMixed(t *testing.T, db *sql.DB, dialect keyset.Dialect, types []columnType) {
	const rows = 60
	var columns, exprs []string
	var cells [][]string // of each column
	sorted := map[string]string{}
	for _, c := range types {
		ddl, expr := c.ddl, c.expr
		if ddl == "" && c.name != "no type" {
			ddl = c.name
		}
		if c.refused || c.verify || c.options != "" || strings.Contains(ddl, ", g ") || strings.Contains(expr, "FROM t ") {
			continue
		}
		if expr == "" {
			expr = "t.k"
		}
		name := fmt.Sprint("k", len(columns))
		columns = append(columns, name+" "+ddl)
		exprs = append(exprs, strings.ReplaceAll(expr, "t.k", "t."+name))
		if c.sorted != "" {
			sorted["t."+name] = strings.ReplaceAll(c.sorted, "t.k", "t."+name)
		}
		cells = append(cells, append(slices.Clone(c.values), "NULL"))
	}
	_, err := db.Exec("CREATE TABLE mixed (id BIGINT PRIMARY KEY, " + strings.Join(columns, ", ") + ")")
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(3, 4))
	for id := range rows {
		values := []string{strconv.Itoa(id*7%rows + 1)}
		for _, c := range cells {
			values = append(values, c[rng.IntN(len(c))])
		}
		_, err := db.Exec("INSERT INTO mixed VALUES (" + strings.Join(values, ", ") + ")")
		require.NoError(t, err)
	}
	walks, deadline := 1<<30, time.Now().Add(time.Duration(testserver.Sample(200, 2000))*time.Millisecond)
	if n, err := strconv.Atoi(os.Getenv("MAINSTAY_WALKS")); err == nil {
		walks, deadline = n, time.Now().Add(time.Hour)
	}
	done := 0
	for ; done < walks && (done < testserver.Sample(10, 20) || time.Now().Before(deadline)); done++ {
		rng := rand.New(rand.NewPCG(uint64(done), 11))
		list := []keyset.Column[typeRow]{{Name: "id", Expr: "t.id", Unique: true}}
		source := keyset.SQLSource[typeRow]{
			DB: db, Dialect: dialect, Base: keyset.Base{Columns: []string{"t.id"}, From: "mixed t"},
			Scan: func(r keyset.Scanner) (x typeRow, err error) { return x, r.Scan(&x.ID) },
		}
		var names []string
		for i := range 1 + rng.IntN(4) {
			at := rng.IntN(len(exprs))
			name := fmt.Sprintf("c%d_%d", i, at)
			list = append(list, keyset.Column[typeRow]{Name: name, Expr: exprs[at], Nullable: true, Nulls: keyset.Nulls(rng.IntN(3))})
			names = append(names, [...]string{"", "-"}[rng.IntN(2)]+name)
			if rng.IntN(2) == 0 {
				source.Base.Columns = append(source.Base.Columns, exprs[at]+" AS "+name)
			}
		}
		extra := len(source.Base.Columns) - 1
		source.Scan = func(r keyset.Scanner) (x typeRow, err error) {
			dest := []any{&x.ID}
			for range extra {
				dest = append(dest, new(any))
			}
			return x, r.Scan(dest...)
		}
		if rng.IntN(2) == 0 {
			names = append(names, "-id")
		}
		k, err := keyset.New("mixed", pagination.Preset{Size: 7, MaxSize: 100}, mustCursors(t), list, nil)
		require.NoError(t, err)
		ordering := strings.Join(names, ",")
		order, err := k.Order(ordering)
		require.NoError(t, err)
		want := referenceTypes(t, db, dialect, "mixed", order, sorted)
		there, back := walkLinks(t, k, source, fmt.Sprintf("/?ordering=%s&page_size=%d", ordering, 1+rng.IntN(25)), len(want))
		require.Equal(t, want, there, "walk %d: %v", done, order.Keys())
		require.Equal(t, want, back, "walk %d, backwards: %v", done, order.Keys())
	}
	t.Logf("%d walks by orders of %d types", done, len(exprs))
}
