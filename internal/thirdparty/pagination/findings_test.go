package pagination_test

import (
	"database/sql"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
	"github.com/mainstay-go/mainstay/pagination/querycount"
)

type pair struct {
	ID int64
	K  string
}

func memory(t testing.TB, statements ...string) *sql.DB {
	t.Helper()
	db, err := querycount.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "x.db")+"?_pragma=synchronous(off)&_pragma=journal_mode(memory)")
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	for _, s := range statements {
		_, err := db.Exec(s)
		require.NoError(t, err, s)
	}
	return db
}

func pairs(t testing.TB, expr string, args ...any) *keyset.Keyset[pair] {
	t.Helper()
	k, err := keyset.New("t", pagination.Preset{Size: 4, MaxSize: 200}, mustCursors(t), []keyset.Column[pair]{
		{Name: "k", Expr: expr, Args: args}, {Name: "id", Expr: "t.id", Unique: true},
	}, nil)
	require.NoError(t, err)
	return k
}

func pairSource(db keyset.Queryer, base keyset.Base) keyset.SQLSource[pair] {
	if base.Columns == nil {
		base.Columns = []string{"t.id", "t.k"}
	}
	return keyset.SQLSource[pair]{
		DB: db, Dialect: keyset.SQLite, Base: base,
		Scan: func(r keyset.Scanner) (x pair, err error) { return x, r.Scan(&x.ID, &x.K) },
	}
}

func countLinks(t testing.TB, k *keyset.Keyset[pair], s keyset.Seeker[pair], query string) (n int, err error) {
	t.Helper()
	for url := "/?" + query; url != ""; {
		page, err := k.Paginate(httptest.NewRequest("GET", url, nil), s)
		if err != nil {
			return n, err
		}
		n, url = n+len(page.Results), string(page.Next)
		require.Less(t, n, 1000, "a walk that does not end")
	}
	return n, nil
}

// A sum of decimals in SQLite is a float that no text compares with.
func TestGroupedSums(t *testing.T) {
	t.Parallel()
	db := memory(t, "CREATE TABLE sale (customer INT, total DECIMAL(12,2))")
	for i := range 300 {
		_, err := db.Exec("INSERT INTO sale VALUES (?,?)", i%40, float64(i%17)+0.25)
		require.NoError(t, err)
	}
	grouped := "SELECT customer AS id, SUM(total) AS k FROM sale WHERE total > ? GROUP BY customer"
	for name, base := range map[string]keyset.Base{
		"sub-select": {From: "(" + grouped + ") t", Args: []any{0}},
		"query":      {Columns: []string{"id", "k"}, Query: grouped, Args: []any{0}},
		"with":       {Columns: []string{"id", "k"}, Query: "WITH g AS (" + grouped + ") SELECT id, k FROM g", Args: []any{0}},
	} {
		key := map[bool]string{true: "t.k", false: "k"}[base.From != ""]
		k, err := keyset.New("t", pagination.Preset{Size: 4}, mustCursors(t), []keyset.Column[pair]{
			{Name: "k", Expr: key}, {Name: "id", Expr: strings.Replace(key, "k", "id", 1), Unique: true},
		}, nil)
		require.NoError(t, err)
		source := pairSource(db, base)
		_, err = k.Verify(t.Context(), source, nil)
		require.NoError(t, err, name)
		for _, ordering := range []string{"k", "-k", "-id"} {
			n, err := countLinks(t, k, source, "ordering="+ordering)
			require.NoError(t, err, name)
			assert.Equal(t, 40, n, name)
		}
		n, err := source.Count(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 40, n, name)
	}
}

// Statements whose count would be another than the number of their rows are refused.
func TestBasesThatCountWrong(t *testing.T) {
	t.Parallel()
	db := memory(t, "CREATE TABLE c (id INTEGER PRIMARY KEY, k TEXT)", "CREATE TABLE ln (cid INT)", "INSERT INTO c VALUES (1,'x'),(2,'y')", "INSERT INTO ln VALUES (1),(1),(2)")
	k := pairs(t, "t.k")
	for name, base := range map[string]keyset.Base{
		"distinct":         {Columns: []string{"DISTINCT t.id", "t.k"}, From: "c t JOIN ln ON ln.cid = t.id"},
		"a comment before": {Columns: []string{"/* x */ distinct on (t.id) t.id", "t.k"}, From: "c t"},
		"group by":         {From: "c t GROUP BY t.id"},
		"group in where":   {From: "c t", Where: "t.id > 0 GROUP BY t.id"},
		"union":            {From: "c t UNION ALL SELECT 1, 'x'"},
		"limit":            {From: "c t", Where: "t.id > 0 LIMIT 5"},
		"having":           {From: "c t", Where: "t.id > 0 HAVING COUNT(*) > 1"},
		"both":             {From: "c t", Query: "SELECT 1"},
	} {
		source := pairSource(db, base)
		_, err := countLinks(t, k, source, "")
		require.Error(t, err, name)
		_, err = source.Count(t.Context())
		require.Error(t, err, name)
	}
	for _, base := range []keyset.Base{
		{From: `(SELECT id, k FROM c GROUP BY id ORDER BY k LIMIT 5) t`},
		{From: `c t /* GROUP BY x */`, Where: `t.k <> 'UNION' AND t.k <> ' LIMIT 5'`},
	} {
		n, err := countLinks(t, k, pairSource(db, base), "")
		require.NoError(t, err)
		assert.Equal(t, 2, n)
	}
	distinct := pairSource(db, keyset.Base{Columns: []string{"id", "k"}, Query: "SELECT DISTINCT c.id, c.k FROM c JOIN ln ON ln.cid = c.id"})
	n, err := distinct.Count(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 2, n)
}

// A join that multiplies rows is an error on the page that shows it.
func TestFanOut(t *testing.T) {
	t.Parallel()
	db := memory(t, "CREATE TABLE c (id INTEGER PRIMARY KEY, k TEXT)", "CREATE TABLE ln (cid INT)")
	for i := range 90 {
		for _, s := range []string{"INSERT OR IGNORE INTO c VALUES (?, 'x')", "INSERT INTO ln VALUES (?)"} {
			_, err := db.Exec(s, i%30)
			require.NoError(t, err)
		}
	}
	k, source := pairs(t, "t.k"), pairSource(db, keyset.Base{From: "c t JOIN ln ON ln.cid = t.id"})
	var broken *keyset.WalkError
	_, err := countLinks(t, k, source, "ordering=k")
	require.ErrorAs(t, err, &broken)
	assert.Equal(t, "id", broken.Column)
	_, err = k.Verify(t.Context(), source, nil)
	require.ErrorAs(t, err, &broken)
	for _, err := range k.All(t.Context(), source, nil) {
		require.ErrorIs(t, err, keyset.ErrWalk)
	}
}

// Unique values that a collation takes for equal, and NULLs that were not declared.
func TestVerifyFindsDeclarations(t *testing.T) {
	t.Parallel()
	db := memory(t, "CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT COLLATE NOCASE)", "INSERT INTO t VALUES (1,'a'),(2,'A'),(3,'b')")
	k, err := keyset.New("t", pagination.Preset{Size: 4}, mustCursors(t), []keyset.Column[pair]{{Name: "k", Expr: "t.k", Unique: true}}, nil)
	require.NoError(t, err)
	source := pairSource(db, keyset.Base{From: "t"})
	_, err = k.Verify(t.Context(), source, nil)
	require.ErrorIs(t, err, keyset.ErrWalk)
	require.ErrorContains(t, err, "3 rows have 2 values")
	_, err = db.Exec("UPDATE t SET k = NULL WHERE id = 2")
	require.NoError(t, err)
	_, err = pairs(t, "t.k").Verify(t.Context(), source, nil)
	require.ErrorContains(t, err, "1 NULLs")
	source.CountFrom = "(SELECT 1) x"
	_, err = db.Exec("UPDATE t SET k = 'c' WHERE id = 2")
	require.NoError(t, err)
	_, err = pairs(t, "t.k").Verify(t.Context(), source, nil)
	require.ErrorContains(t, err, "CountFrom")
	source.CountFrom = ""
	report, err := pairs(t, "t.k").Verify(t.Context(), source, nil)
	require.NoError(t, err)
	assert.EqualValues(t, 3, report.Rows)
	require.Len(t, report.Orders, 5)
	assert.Contains(t, report.Orders[1].Slow, "index", report.Orders[1].Plan)
	_, err = db.Exec("CREATE INDEX t_k ON t (k, id)")
	require.NoError(t, err)
	report, err = pairs(t, "t.k").Verify(t.Context(), source, nil)
	require.NoError(t, err)
	assert.Empty(t, report.Orders[1].Slow, report.Orders[1].Plan)
}

// One long value is no reason for a page to fail.
func TestLongValue(t *testing.T) {
	t.Parallel()
	db := memory(t, "CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT)", "INSERT INTO t VALUES (1,'a'),(3,'z'),(4,'z'),(5,'z'),(6,'z')")
	_, err := db.Exec("INSERT INTO t VALUES (2,?)", "m"+strings.Repeat("x", 8000))
	require.NoError(t, err)
	k, source := pairs(t, "t.k"), pairSource(db, keyset.Base{From: "t"})
	for _, ordering := range []string{"k", "-k", "k,-id"} {
		n, err := countLinks(t, k, source, "page_size=1&ordering="+ordering)
		require.NoError(t, err)
		assert.Equal(t, 6, n)
	}
	page, err := k.Page(t.Context(), source, keyset.Query{Size: 2, Ordering: "k"})
	require.NoError(t, err)
	assert.Less(t, len(page.Next), 100)
	_, err = db.Exec("UPDATE t SET k = 'b' WHERE id = 2")
	require.NoError(t, err)
	_, err = k.Page(t.Context(), source, keyset.Query{Size: 2, Ordering: "k", Token: page.Next})
	require.ErrorIs(t, err, keyset.ErrInvalidCursor, "the position is not known any more")
}

// The numbers that clients choose make no new statements.
func TestStatementTexts(t *testing.T) {
	t.Parallel()
	table := func(values string) []string {
		return []string{
			"CREATE TABLE t (id INTEGER PRIMARY KEY, shop INTEGER, k VARCHAR(20))",
			"INSERT INTO t SELECT n, 1, n % 37 FROM (" + values + ") AS numbers",
			"CREATE INDEX t_k ON t (shop, k, id)",
		}
	}
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		testStatementTexts(t, memory(t, table("WITH RECURSIVE x(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM x WHERE n < 2599) SELECT n FROM x")...), keyset.SQLite)
	})
	t.Run("MariaDB", func(t *testing.T) {
		t.Parallel()
		db, err := querycount.Open("mysql", newMariaDB(t))
		require.NoError(t, err)
		t.Cleanup(func() { db.Close() })
		for _, s := range table("SELECT seq AS n FROM seq_0_to_2599") {
			_, err := db.Exec(s)
			require.NoError(t, err, s)
		}
		testStatementTexts(t, db, keyset.MySQL)
	})
}

func testStatementTexts(t *testing.T, db *sql.DB, dialect keyset.Dialect) {
	k := pairs(t, "t.k")
	source := pairSource(db, keyset.Base{From: "t", Where: "t.shop = ?", Args: []any{1}})
	source.Dialect = dialect
	order, err := k.Order("k")
	require.NoError(t, err)
	source.Order = order
	ctx, counter := querycount.With(t.Context())
	numbers, err := pagination.NewPageNumber(pagination.Preset{Size: 4, MaxSize: 200}, nil)
	require.NoError(t, err)
	get := func(format string, args ...any) string {
		page, err := k.Paginate(httptest.NewRequestWithContext(ctx, "GET", fmt.Sprintf(format, args...), nil), source)
		require.NoError(t, err)
		return string(page.Next)
	}
	for i := 1; i <= 600; i++ {
		_, err := pagination.Paginate(httptest.NewRequestWithContext(ctx, "GET", fmt.Sprint("/?page=", i), nil), numbers, source)
		require.NoError(t, err)
	}
	for i := 1; i <= 100; i++ {
		_, err := pagination.Paginate(httptest.NewRequestWithContext(ctx, "GET", fmt.Sprint("/?page=2&page_size=", i), nil), numbers, source)
		require.NoError(t, err)
	}
	assert.LessOrEqual(t, len(counter.Statements()), 3, "%v", counter.Statements())
	for url := "/?ordering=k"; url != ""; {
		url = get("%s", url)
	}
	for i := 1; i <= 100; i++ {
		get("%s", get("/?ordering=k&page_size=%d", i))
	}
	texts := slices.DeleteFunc(counter.Statements(), func(s querycount.Statement) bool { return strings.HasPrefix(s.SQL, "EXPLAIN ") && s.Count == 1 })
	assert.LessOrEqual(t, len(texts), 8, "%v", texts)
	t.Logf("%d texts", len(texts))
}

// An expression may have arguments, in every dialect's form.
func TestExpressionArguments(t *testing.T) {
	t.Parallel()
	db := memory(t, "CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT)", "INSERT INTO t VALUES (1,'1'),(2,'5'),(3,'9'),(4,'12'),(5,'20'),(6,'4')")
	k := pairs(t, "abs(t.k - ?)", 8)
	source := pairSource(db, keyset.Base{From: "t", Where: "t.id > ?", Args: []any{0}})
	for _, ordering := range []string{"k", "-k", "k,-id", "-k,id"} {
		n, err := countLinks(t, k, source, "page_size=1&ordering="+ordering)
		require.NoError(t, err)
		assert.Equal(t, 6, n)
	}
	_, err := k.Verify(t.Context(), source, nil)
	require.NoError(t, err)
}

// The windows of the Relay algorithm, over a database.
func TestRelayWindows(t *testing.T) {
	t.Parallel()
	db := memory(t, "CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT)", "INSERT INTO t VALUES (1,'a'),(2,'b'),(3,'b'),(4,'c'),(5,'e'),(6,'f')")
	count := pagination.CountPolicy{}
	k, err := keyset.New("t", pagination.Preset{Size: 4, MaxSize: 200}, mustCursors(t), []keyset.Column[pair]{
		{Name: "k", Expr: "t.k", Nullable: true}, {Name: "id", Expr: "t.id", Unique: true},
	}, &keyset.Options{Ordering: "k", Count: &count})
	require.NoError(t, err)
	source := pairSource(db, keyset.Base{From: "t"})
	number := func(n int) *int { return &n }
	whole, err := k.Connection(t.Context(), source, keyset.ConnectionArgs{First: number(6)})
	require.NoError(t, err)
	assert.EqualValues(t, 6, whole.TotalCount.N)
	all := []int64{1, 2, 3, 4, 5, 6}
	for after := -1; after < 6; after++ {
		for before := after + 1; before <= 6; before++ {
			for first := -1; first <= 6; first++ {
				for last := -1; last <= 6; last++ {
					args, want := keyset.ConnectionArgs{}, all[after+1:before]
					if after >= 0 {
						args.After = whole.Edges[after].Cursor
					}
					if before < 6 {
						args.Before = whole.Edges[before].Cursor
					}
					cut := len(want)
					if first >= 0 {
						args.First = &first
						want = want[:min(first, len(want))]
					}
					if last >= 0 {
						args.Last = &last
						want = want[max(0, len(want)-last):]
					}
					if first < 0 && last < 0 {
						want = want[:min(4, len(want))]
					}
					c, err := k.Connection(t.Context(), source, args)
					require.NoError(t, err)
					got := []int64{}
					for _, e := range c.Edges {
						got = append(got, e.Node.ID)
					}
					require.Equal(t, append([]int64{}, want...), got, "after %d before %d first %d last %d", after, before, first, last)
					if first >= 0 {
						require.Equal(t, cut > first, c.PageInfo.HasNextPage)
					}
				}
			}
		}
	}
	lazy, err := k.Connection(t.Context(), source, keyset.ConnectionArgs{WithoutEdges: true})
	require.NoError(t, err)
	assert.EqualValues(t, 6, lazy.TotalCount.N)
	assert.Empty(t, lazy.Edges)
}

// MariaDB 10.11 moves the condition on a UUID into the group of a derived table, and loses
// rows there.
func TestGroupedUUID(t *testing.T) {
	t.Parallel()
	db := openMariaDB(t)
	exec(t, db, "CREATE TABLE u (id UUID PRIMARY KEY, n INT NOT NULL, k VARCHAR(9))",
		"INSERT INTO u SELECT CONCAT(LPAD(HEX(seq * 2654435761 MOD 4294967296), 8, '0'), '-0000-4000-8000-000000000000'), seq, IF(seq MOD 3 = 0, NULL, seq MOD 5) FROM seq_1_to_60")
	for _, query := range []string{
		"SELECT id, n, k, SUM(1) AS s FROM u GROUP BY id",
		"SELECT id, n, k FROM u GROUP BY id HAVING COUNT(*) = ? -- one",
		"SELECT * FROM (SELECT id, n, k, SUM(1) AS s FROM u GROUP BY id) d",
		"WITH g AS (SELECT id, n, k, SUM(1) AS s FROM u GROUP BY id) SELECT * FROM g",
		"SELECT id, n, k, SUM(1) AS s FROM u GROUP BY id ORDER BY id LIMIT 1000",
		"SELECT id, n, k, SUM(1) AS s FROM u WHERE n <= 30 GROUP BY id UNION ALL SELECT id, n, k, SUM(1) AS s FROM u WHERE n > 30 GROUP BY id",
	} {
		base := keyset.Base{Columns: []string{"n", "id"}, Query: query}
		if strings.Contains(query, "?") {
			base.Args = []any{1}
		}
		k, s := asked(t, db, keyset.MySQL, base, keyset.Column[typeRow]{Name: "k", Expr: "k", Nullable: true}, keyset.Column[typeRow]{Name: "id", Expr: "id", Unique: true})
		t.Run(query, func(t *testing.T) { bothWays(t, k, s, "k", 60) })
	}
}
