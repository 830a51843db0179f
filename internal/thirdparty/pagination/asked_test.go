package pagination_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// asked is a list whose first column is the ID of the row.
func asked(t testing.TB, db keyset.Queryer, d keyset.Dialect, base keyset.Base, columns ...keyset.Column[typeRow]) (*keyset.Keyset[typeRow], keyset.SQLSource[typeRow]) {
	t.Helper()
	k, err := keyset.New("asked", pagination.Preset{Size: 4, MaxSize: 200}, mustCursors(t), columns, nil)
	require.NoError(t, err)
	return k, keyset.SQLSource[typeRow]{DB: db, Dialect: d, Base: base, Scan: func(r keyset.Scanner) (x typeRow, err error) {
		dest := []any{&x.ID}
		for range base.Columns[1:] {
			dest = append(dest, new(any))
		}
		return x, r.Scan(dest...)
	}}
}

// bothWays walks a list by a column, both ways, and requires each of its rows once.
func bothWays(t testing.TB, k *keyset.Keyset[typeRow], s keyset.SQLSource[typeRow], name string, rows int) {
	t.Helper()
	for _, ordering := range []string{name, "-" + name} {
		for _, token := range []string{"", keyset.LastPage} {
			seen := map[int64]bool{}
			q := keyset.Query{Ordering: ordering, Token: token}
			for n := 0; ; n++ {
				require.Less(t, n, 500, "a walk that does not end")
				page, err := k.Page(t.Context(), s, q)
				require.NoError(t, err, ordering)
				for _, r := range page.Rows {
					require.False(t, seen[r.ID], "row %d twice by %s", r.ID, ordering)
					seen[r.ID] = true
				}
				if q.Token = page.Next; token != "" {
					q.Token = page.Previous
				}
				if q.Token == "" {
					break
				}
			}
			require.Len(t, seen, rows, "by %s from %q", ordering, token)
		}
	}
}

// A column of the result whose name is that of a sort key decides the order of the page.
func TestHiddenKeys(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := e.open(t)
			exec(t, db, "CREATE TABLE h (id INTEGER PRIMARY KEY, title VARCHAR(9))", "CREATE TABLE g (id INTEGER PRIMARY KEY, title VARCHAR(9))",
				"INSERT INTO h VALUES (1,'a'),(2,'B'),(3,'c'),(4,'D'),(5,'e'),(6,'F'),(7,'g'),(8,'H'),(9,'i'),(10,'J')")
			quoted, collated := `"title"`, "title"
			hidden := []string{
				"lower(h.title) AS title", "lower(h.title) AS Title", "lower(h.title) title", "lower(h.title)\nAS\ttitle", "lower(h.title)AS title", "lower(h.title) AS /* x */ title", "h.id title",
			}
			switch e.dialect {
			case keyset.MySQL:
				quoted = "`title`"
				hidden = append(hidden, "lower(h.title) `title`")
			case keyset.SQLite:
				collated = "title COLLATE BINARY"
				hidden = append(hidden, "lower(h.title) [title]", `lower(h.title) "TITLE"`)
			case keyset.Postgres:
				hidden = append(hidden, `lower(h.title) "title"`, "lower(h.title)::varchar(20) AS title", "(SELECT lower(h.title) AS title)", "CAST(h.title || '' AS char(9)) title")
			}
			for _, column := range hidden {
				for _, expr := range []string{"title", "Title", quoted, "(title)", "( (title) )", collated, "title /* x */"} {
					k, s := asked(t, db, e.dialect, keyset.Base{Columns: []string{"h.id", column}, From: "h"}, keyset.Column[typeRow]{Name: "k", Expr: expr, Nullable: true}, keyset.Column[typeRow]{Name: "id", Expr: "h.id", Unique: true})
					_, err := k.Page(t.Context(), s, keyset.Query{Ordering: "k"})
					require.ErrorContains(t, err, "hides the sort key", "%q by %q", column, expr)
					require.ErrorContains(t, err, "t.title")
				}
			}
			for _, columns := range [][]string{
				{"h.id", "h.title"},
				{"h.id", "title"},
				{"h.id", "h.title AS title", "lower(h.title) AS lowered"},
				{"h.id", "title title", "h.title || 'title' AS x"},
				{"h.id", "COALESCE(h.title, 'title') AS name"},
			} {
				k, s := asked(t, db, e.dialect, keyset.Base{Columns: columns, From: "h"}, keyset.Column[typeRow]{Name: "k", Expr: "title"}, keyset.Column[typeRow]{Name: "id", Expr: "h.id", Unique: true})
				bothWays(t, k, s, "k", 10)
			}
			k, s := asked(t, db, e.dialect, keyset.Base{Columns: []string{"h.id", "g.title"}, From: "h LEFT JOIN g USING (title)"}, keyset.Column[typeRow]{Name: "k", Expr: "title"}, keyset.Column[typeRow]{Name: "id", Expr: "h.id", Unique: true})
			_, err := k.Page(t.Context(), s, keyset.Query{Ordering: "k"})
			require.ErrorContains(t, err, "hides the sort key")
		})
	}
}

// In the mode ANSI_QUOTES, "x" is the name of a column on MariaDB.
func TestHiddenKeysOfQuotes(t *testing.T) {
	t.Parallel()
	db := open(t, "mysql", newMariaDB(t)+"&sql_mode=ANSI_QUOTES")
	exec(t, db, "CREATE TABLE h (id INT PRIMARY KEY, title VARCHAR(9) NOT NULL)", "INSERT INTO h SELECT seq, CONCAT('t', seq) FROM seq_1_to_30")
	id := keyset.Column[typeRow]{Name: "id", Expr: `"h"."id"`, Unique: true}
	for _, expr := range []string{`"title"`, `("title")`} {
		k, s := asked(t, db, keyset.MySQL, keyset.Base{Columns: []string{"h.id", `REVERSE(h.title) AS "title"`}, From: `"h"`}, keyset.Column[typeRow]{Name: "k", Expr: expr}, id)
		_, err := k.Page(t.Context(), s, keyset.Query{Ordering: "k"})
		require.ErrorContains(t, err, "hides the sort key")
	}
	k, s := asked(t, db, keyset.MySQL, keyset.Base{Columns: []string{`"h"."id"`, `"h"."title"`}, From: `"h"`}, keyset.Column[typeRow]{Name: "k", Expr: `"title"`}, id)
	bothWays(t, k, s, "k", 30)
}

// Columns and keys that make one row of the list, or several rows of one, are an error at
// first use. The database knows them, and no list of names does.
func TestColumnsThatChangeRows(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := e.open(t)
			exec(t, db, "CREATE TABLE c (id INTEGER PRIMARY KEY, a INT NOT NULL)", "CREATE TABLE o (cid INT)",
				"INSERT INTO c VALUES (1,1),(2,2),(3,3),(4,4),(5,5),(6,6)", "INSERT INTO o VALUES (1),(1),(2)")
			fault := "makes one row of the list"
			columns := []string{"SUM(c.a) AS s", "count(*) AS n", "COALESCE(MAX(c.a), 0) AS m", "(SELECT COUNT(c.id) FROM o WHERE o.cid = c.id) AS orders", "(SELECT MAX(c.id)) AS m", "CONCAT('it''s ', MAX(c.a)) AS m"}
			harmless := []string{"(SELECT COUNT(*) FROM o WHERE o.cid = c.id) AS orders", "ABS(c.a) AS a", "'SUM(x)' AS text", "CASE WHEN c.a IN (SELECT MAX(o.cid) FROM o) THEN 1 END AS most"}
			keys := []string{"MAX(c.a)", "(SELECT MAX(c.id))"}
			switch e.dialect {
			case keyset.Postgres:
				exec(t, db, "CREATE FUNCTION twice(int) RETURNS SETOF int LANGUAGE sql STABLE AS 'SELECT * FROM generate_series(1, 2)'",
					"CREATE FUNCTION pairs_of(int) RETURNS SETOF c LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT * FROM c; END'",
					"CREATE AGGREGATE product(int) (sfunc = int4mul, stype = int, initcond = '1')")
				fault = "must appear in the GROUP BY"
				columns = append(columns, "product(c.a) AS p", `pg_catalog."max"(c.a) AS m`)
				harmless = append(harmless, "ARRAY(SELECT unnest(ARRAY[1, 2])) AS list", "(SELECT twice(c.a) LIMIT 1) AS one", "twice.twice AS n", "c.a + twice.twice AS m")
				for _, column := range []string{"twice(c.a) AS n", "unnest(ARRAY[1,2]) AS n", "1 + twice(c.a) AS n", `"twice"(c.a) AS n`, "(pairs_of(c.a)).id AS n", "twice ( c.a ) AS n"} {
					k, s := asked(t, db, e.dialect, keyset.Base{Columns: []string{"c.id", "c.a", column}, From: "c", Where: "c.a < ?", Args: []any{100}}, keyset.Column[typeRow]{Name: "id", Expr: "c.id", Unique: true})
					for _, err := range anyUse(t, k, s) {
						require.ErrorContains(t, err, "makes several rows of one", column)
						require.ErrorContains(t, err, "CROSS JOIN LATERAL")
						require.ErrorContains(t, err, fmt.Sprintf("%q", column))
					}
					expr := strings.TrimSuffix(column, " AS n")
					k, s = asked(t, db, e.dialect, keyset.Base{Columns: []string{"c.id"}, From: "c"}, keyset.Column[typeRow]{Name: "n", Expr: expr}, keyset.Column[typeRow]{Name: "id", Expr: "c.id", Unique: true})
					_, err := k.Page(t.Context(), s, keyset.Query{Ordering: "n"})
					require.ErrorContains(t, err, `column "n" makes several rows of one`, expr)
				}
			case keyset.MySQL:
				exec(t, db, "CREATE AGGREGATE FUNCTION product(x INT) RETURNS INT BEGIN DECLARE p INT DEFAULT 1; DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN p; LOOP FETCH GROUP NEXT ROW; SET p = p * x; END LOOP; END")
				columns = append(columns, "product(c.a) AS p", `CONCAT('it\'s ', MAX(c.a)) AS m`, "/*!50000 MAX(c.a) */ AS m")
				harmless = append(harmless, "SQL_NO_CACHE c.a AS a")
			}
			for _, column := range columns {
				k, s := asked(t, db, e.dialect, keyset.Base{Columns: []string{"c.id", "c.a", column}, From: "c", Where: "c.a < ?", Args: []any{100}}, keyset.Column[typeRow]{Name: "id", Expr: "c.id", Unique: true})
				for _, err := range anyUse(t, k, s) {
					require.ErrorContains(t, err, fault, column)
					if e.dialect != keyset.Postgres {
						require.ErrorContains(t, err, fmt.Sprintf("%q", column))
					}
				}
			}
			for _, expr := range keys {
				k, s := asked(t, db, e.dialect, keyset.Base{Columns: []string{"c.id"}, From: "c"}, keyset.Column[typeRow]{Name: "m", Expr: expr}, keyset.Column[typeRow]{Name: "id", Expr: "c.id", Unique: true})
				_, err := k.Page(t.Context(), s, keyset.Query{Ordering: "m"})
				require.ErrorContains(t, err, fault, expr)
			}
			for _, column := range harmless {
				base := keyset.Base{Columns: []string{"c.id", column}, From: "c", Where: "c.a < ?", Args: []any{100}}
				rows := 6
				if strings.Contains(column, "twice.") {
					base.From, rows = "c CROSS JOIN LATERAL twice(c.a)", 12
				}
				if strings.HasPrefix(column, "SQL_NO_CACHE") {
					base.Columns = []string{"SQL_NO_CACHE c.id", "c.a"}
				}
				k, s := asked(t, db, e.dialect, base, keyset.Column[typeRow]{Name: "id", Expr: "c.id", Unique: true})
				if rows == 6 {
					bothWays(t, k, s, "id", rows)
					continue
				}
				_, err := k.Page(t.Context(), s, keyset.Query{Size: 1})
				require.ErrorIs(t, err, keyset.ErrWalk, "the join multiplies rows, and the columns do not")
			}
		})
	}
}

// anyUse returns the errors of a page, of Verify and of a list by number.
func anyUse(t testing.TB, k *keyset.Keyset[typeRow], s keyset.SQLSource[typeRow]) []error {
	t.Helper()
	_, page := k.Page(t.Context(), s, keyset.Query{})
	_, verify := k.Verify(t.Context(), s, nil)
	var err error
	s.Order, err = k.Order("")
	require.NoError(t, err)
	_, list := s.List(t.Context(), 3, 0)
	return []error{page, verify, list}
}

// A window function would see the rows of the page.
func TestWindows(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := e.open(t)
			exec(t, db, "CREATE TABLE w (id INTEGER PRIMARY KEY, amount INT)", "INSERT INTO w VALUES (1,10),(2,10),(3,10),(4,10),(5,10),(6,10)")
			for _, column := range []string{
				"SUM(w.amount) OVER (ORDER BY w.id) AS balance", "row_number() over(ORDER BY w.id) AS n", "1 + count(*) /* x */ OVER () AS n", "abs(SUM(w.amount) OVER (PARTITION BY w.amount)) AS s",
			} {
				k, s := asked(t, db, e.dialect, keyset.Base{Columns: []string{"w.id", column}, From: "w"}, keyset.Column[typeRow]{Name: "id", Expr: "w.id", Unique: true})
				_, err := k.Page(t.Context(), s, keyset.Query{})
				require.ErrorContains(t, err, "window function", column)
				require.ErrorContains(t, err, "Base.Query")
				s.Order, err = k.Order("")
				require.NoError(t, err)
				rows, err := s.List(t.Context(), 3, 3)
				require.NoError(t, err, "a list by number reads the whole list")
				require.Len(t, rows, 3)
				s.DeepKey = "w.id"
				_, err = s.List(t.Context(), 3, 3)
				require.ErrorContains(t, err, "window function", column)
			}
			for _, column := range []string{"w.amount", "w.amount AS overs", "(SELECT SUM(x.amount) OVER () FROM w x WHERE x.id = w.id) AS s", "'SUM(x) OVER ()' AS text", "(w.amount) AS n"} {
				k, s := asked(t, db, e.dialect, keyset.Base{Columns: []string{"w.id", column}, From: "w"}, keyset.Column[typeRow]{Name: "id", Expr: "w.id", Unique: true})
				bothWays(t, k, s, "id", 6)
			}
			query := keyset.Base{Columns: []string{"id", "balance"}, Query: "SELECT id, SUM(w.amount) OVER (ORDER BY id) AS balance FROM w"}
			k, s := asked(t, db, e.dialect, query, keyset.Column[typeRow]{Name: "balance", Expr: "balance"}, keyset.Column[typeRow]{Name: "id", Expr: "id", Unique: true})
			bothWays(t, k, s, "balance", 6)
		})
	}
}

// Two values that break ties may be equal in the database and differ in Go. No index
// excludes them in a sub-select, a view or a UNION.
func TestTwins(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := e.open(t)
			second := map[keyset.Dialect]string{
				keyset.SQLite: "b.code COLLATE NOCASE", keyset.MySQL: "b.code", keyset.Postgres: "b.code",
			}[e.dialect]
			first, ddl := strings.ReplaceAll(second, "b.", "a."), "VARCHAR(10)"
			if e.dialect == keyset.Postgres {
				exec(t, db, "CREATE EXTENSION citext")
				ddl = "citext"
			}
			exec(t, db, "CREATE TABLE a (code "+ddl+" PRIMARY KEY)", "CREATE TABLE b (code "+ddl+" PRIMARY KEY)",
				"INSERT INTO a VALUES ('x1'),('x2'),('x3'),('x4'),('x5')", "INSERT INTO b VALUES ('X1'),('X2'),('X3'),('X4'),('X5')")
			union := "SELECT 1 AS n, " + first + " AS code FROM a UNION ALL SELECT 2, " + second + " FROM b"
			exec(t, db, "CREATE VIEW both_of AS "+union)
			for name, base := range map[string]keyset.Base{
				"query":      {Query: union},
				"sub-select": {From: "(" + union + ") AS u"},
				"view":       {From: "both_of"},
			} {
				base.Columns = []string{"n", "code"}
				k, s := asked(t, db, e.dialect, base, keyset.Column[typeRow]{Name: "code", Expr: "code", Unique: true})
				var broken *keyset.WalkError
				_, err := byTokens(t, k, s, keyset.Query{Size: 3})
				require.ErrorAs(t, err, &broken, name)
				assert.Equal(t, "code", broken.Column)
			}
			k, s := asked(t, db, e.dialect, keyset.Base{Columns: []string{"1 AS n", "code"}, From: "a"}, keyset.Column[typeRow]{Name: "code", Expr: "code", Unique: true})
			n, err := byTokens(t, k, s, keyset.Query{Size: 3})
			require.NoError(t, err)
			assert.Equal(t, 5, n)
		})
	}
	db := openPostgres(t)
	for name, base := range map[string]keyset.Base{
		"query":    {Query: "SELECT i AS n, i::numeric(10,1) AS x FROM generate_series(1,9) i UNION ALL SELECT i, i::numeric(10,2) FROM generate_series(1,9) i"},
		"function": {From: "numbers() AS f"},
	} {
		if name == "function" {
			exec(t, db, "CREATE FUNCTION numbers() RETURNS TABLE (n int, x numeric) LANGUAGE sql AS 'SELECT i, i::numeric(10,1) FROM generate_series(1,9) i UNION ALL SELECT i, i::numeric(10,2) FROM generate_series(1,9) i'")
		}
		base.Columns = []string{"n", "x"}
		k, s := asked(t, db, keyset.Postgres, base, keyset.Column[typeRow]{Name: "x", Expr: "x", Unique: true})
		_, err := byTokens(t, k, s, keyset.Query{Size: 3})
		require.ErrorIs(t, err, keyset.ErrWalk, name)
	}
}

// A DOUBLE or a FLOAT with a scale out of a sub-select has more digits in a condition than
// in the result.
func TestFixedFloats(t *testing.T) {
	t.Parallel()
	db := openMariaDB(t)
	exec(t, db, "CREATE TABLE c (id INT PRIMARY KEY)", "INSERT INTO c SELECT seq FROM seq_1_to_30",
		"CREATE TABLE l (cid INT NOT NULL, v DOUBLE NOT NULL, f FLOAT NOT NULL, d DOUBLE(20,3) NOT NULL, g FLOAT(7,3) NOT NULL)",
		"INSERT INTO l SELECT seq, (seq MOD 7) * 1.1e0 / 3, (seq MOD 7) * 1.1e0 / 3, (seq MOD 7) * 1.1e0 / 3, (seq MOD 7) * 1.1e0 / 3 FROM seq_1_to_30",
		"INSERT INTO l SELECT seq, 0.1e0, 0.1e0, 0.1e0, 0.1e0 FROM seq_1_to_30")
	totals := []string{"ROUND(SUM(l.v), 2)", "SUM(l.v)", "SUM(l.f)", "AVG(l.f)", "MAX(l.f)", "ROUND(MAX(l.f), 2)", "SUM(l.d)", "AVG(l.d)", "MAX(l.d) * 1.1", "SUM(l.g)", "MAX(l.g)", "MAX(l.g) / 3", "TRUNCATE(SUM(l.v), 1)"}
	for i, total := range totals {
		query := "SELECT c.id, (SELECT " + total + " FROM l WHERE l.cid = c.id) AS total FROM c"
		exec(t, db, fmt.Sprintf("CREATE VIEW v%d AS %s", i, query))
		for name, base := range map[string]keyset.Base{
			"query":      {Query: query},
			"sub-select": {From: "(" + query + ") mainstay_q"},
			"view":       {From: fmt.Sprintf("v%d mainstay_q", i)},
			"group":      {Query: "SELECT cid AS id, " + total + " AS total FROM l GROUP BY cid"},
		} {
			base.Columns = []string{"id", "total"}
			k, s := asked(t, db, keyset.MySQL, base, keyset.Column[typeRow]{Name: "total", Expr: "mainstay_q.total", Nullable: true}, keyset.Column[typeRow]{Name: "id", Expr: "mainstay_q.id", Unique: true})
			t.Run(name+" of "+total, func(t *testing.T) { bothWays(t, k, s, "total", 30) })
		}
	}
}

// MariaDB compares JSON_EXTRACT as JSON, and sorts it as text.
func TestPartsOfJSON(t *testing.T) {
	t.Parallel()
	db := openMariaDB(t)
	for _, ddl := range []string{"VARCHAR(100)", "CHAR(60)", "VARBINARY(100)", "JSON"} {
		exec(t, db, "DROP TABLE IF EXISTS j", "CREATE TABLE j (id INT PRIMARY KEY, doc "+ddl+" NOT NULL)",
			`INSERT INTO j SELECT seq, JSON_OBJECT('n', CONCAT(ELT(1 + seq MOD 3, '', ' ', '!'), seq * 7 MOD 19), 'o', JSON_ARRAY(seq MOD 5)) FROM seq_1_to_30`)
		for _, expr := range []string{"JSON_EXTRACT(j.doc, '$.n')", "(SELECT json_extract (j.doc, '$.n'))", "JSON_EXTRACT(j.doc, '$.o')", "JSON_VALUE(j.doc, '$.n')"} {
			k, s := asked(t, db, keyset.MySQL, keyset.Base{Columns: []string{"j.id"}, From: "j"}, keyset.Column[typeRow]{Name: "k", Expr: expr, Nullable: true}, keyset.Column[typeRow]{Name: "id", Expr: "j.id", Unique: true})
			t.Run(expr+" of "+ddl, func(t *testing.T) { bothWays(t, k, s, "k", 30) })
		}
		exec(t, db, "CREATE OR REPLACE VIEW v AS SELECT id, JSON_EXTRACT(doc, '$.n') AS k FROM j")
		k, s := asked(t, db, keyset.MySQL, keyset.Base{Columns: []string{"v.id"}, From: "v"}, keyset.Column[typeRow]{Name: "k", Expr: "v.k", Nullable: true}, keyset.Column[typeRow]{Name: "id", Expr: "v.id", Unique: true})
		t.Run("view of "+ddl, func(t *testing.T) { bothWays(t, k, s, "k", 30) })
	}
}

// The checks read a text as its database does.
func TestTextsOfDialects(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := e.open(t)
			exec(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, note VARCHAR(20))", "INSERT INTO t VALUES (1,'n'),(2,'n'),(3,'n'),(4,'n'),(5,'n'),(6,'x')")
			wheres := map[keyset.Dialect][]string{
				keyset.SQLite:   {`t.note <> 'it\' AND t.note <> 'limit 5'`, "t.id > 0 -- it's", `t."note" <> 'limit 5'`, "[t].[note] <> 'it''s' -- ?\n AND t.id > 0 --"},
				keyset.Postgres: {`E'it\'s' <> 'limit 5'`, `$$it's$$ <> 'group by x'`, `/* a /* b */ is it? */ t.id > 0`, "t.id > 0 -- it's", `t.note <> 'it\' AND t.note <> 'limit 5'`},
				keyset.MySQL: {
					`t.note <> 'it\'s' AND t.note <> 'limit 5'`, `t.note <> "it\"s" AND t.note <> 'limit 5'`, "t.id > 0 # it's", "t.id > 0 -- it's", "t.id--5 > 0",
					"t.id > 0 /*! AND t.note <> 'it' */",
				},
			}[e.dialect]
			for _, where := range wheres {
				k, s := asked(t, db, e.dialect, keyset.Base{Columns: []string{"t.id", "t.note -- a comment"}, From: "t -- the notes", Where: where + " "}, keyset.Column[typeRow]{Name: "id", Expr: "t.id", Unique: true})
				bothWays(t, k, s, "id", 6)
				n, err := s.Count(t.Context())
				require.NoError(t, err, where)
				assert.EqualValues(t, 6, n, where)
				_, err = k.Verify(t.Context(), s, nil)
				require.NoError(t, err, where)
			}
			base := keyset.Base{Columns: []string{"t.id"}, From: "t -- the notes", Where: "t.note = ?", Args: []any{"x"}}
			k, s := asked(t, db, e.dialect, base, keyset.Column[typeRow]{Name: "id", Expr: "t.id", Unique: true})
			bothWays(t, k, s, "id", 1)
			n, err := s.CountUpTo(t.Context(), 5)
			require.NoError(t, err)
			assert.EqualValues(t, 1, n)
		})
	}
	db := openMariaDB(t)
	exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT)", "INSERT INTO t VALUES (1,1,1),(2,5,1)")
	k, s := asked(t, db, keyset.MySQL, keyset.Base{Columns: []string{"t.id", "t.a--? AS n"}, From: "t", Where: "t.b--? > 1", Args: []any{1, 2}}, keyset.Column[typeRow]{Name: "id", Expr: "t.id", Unique: true})
	bothWays(t, k, s, "id", 2)
}

// PostgreSQL rejects an argument without a place, so a statement without the columns has its
// own numbers.
func TestNumberedColumns(t *testing.T) {
	t.Parallel()
	db := openPostgres(t)
	exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY, k INT NOT NULL)", "INSERT INTO t SELECT i, i % 3 FROM generate_series(1, 30) i")
	k, s := asked(t, db, keyset.Postgres,
		keyset.Base{Columns: []string{"t.id", "t.k * $1::int AS p", "$4::text AS x"}, From: "t JOIN (SELECT $3::int AS y) z ON t.id > z.y", Where: "t.k <= $2 AND $2 > $1 - 5", Args: []any{3, 2, 0, "x"}},
		keyset.Column[typeRow]{Name: "k", Expr: "abs(t.k - ?)", Args: []any{1}}, keyset.Column[typeRow]{Name: "id", Expr: "t.id", Unique: true})
	bothWays(t, k, s, "k", 30)
	n, err := s.Count(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 30, n)
	_, err = s.EstimateCount(t.Context())
	require.NoError(t, err)
	_, err = k.Verify(t.Context(), s, nil)
	require.NoError(t, err)
}

// IS NULL is true for a zero date in a column that is NOT NULL.
func TestZeroDates(t *testing.T) {
	t.Parallel()
	db := open(t, "mysql", newMariaDB(t)+"&sql_mode=%27%27")
	exec(t, db, "CREATE TABLE c (id INT PRIMARY KEY)", "INSERT INTO c SELECT seq FROM seq_1_to_30", "CREATE TABLE z (id INT PRIMARY KEY, d DATE NOT NULL, m DATETIME NOT NULL)",
		"INSERT INTO z SELECT seq, IF(seq MOD 3 = 0, '0000-00-00', '2020-01-01' + INTERVAL seq DAY), IF(seq MOD 3 = 0, '0000-00-00', '2020-01-01' + INTERVAL seq DAY) FROM seq_1_to_30")
	for _, column := range []string{"z.d", "z.m"} {
		for _, nulls := range []keyset.Nulls{keyset.NullsNative, keyset.NullsFirst, keyset.NullsLast} {
			id := keyset.Column[typeRow]{Name: "id", Expr: "z.id", Unique: true}
			for _, nullable := range []bool{false, true} {
				k, s := asked(t, db, keyset.MySQL, keyset.Base{Columns: []string{"z.id"}, From: "z"}, keyset.Column[typeRow]{Name: "k", Expr: column, Nullable: nullable, Nulls: nulls}, id)
				bothWays(t, k, s, "k", 30)
			}
			id.Expr = "c.id"
			k, s := asked(t, db, keyset.MySQL, keyset.Base{Columns: []string{"c.id"}, From: "c LEFT JOIN z ON z.id = c.id"}, keyset.Column[typeRow]{Name: "k", Expr: column, Nulls: nulls}, id)
			bothWays(t, k, s, "k", 30)
			k, s = asked(t, db, keyset.MySQL, keyset.Base{Columns: []string{"c.id"}, From: "c LEFT JOIN z ON z.id = c.id AND z.id < 20"}, keyset.Column[typeRow]{Name: "k", Expr: column, Nullable: true, Nulls: nulls}, id)
			bothWays(t, k, s, "k", 30)
			k, s = asked(t, db, keyset.MySQL, keyset.Base{Columns: []string{"c.id"}, From: "c LEFT JOIN z ON z.id = c.id AND z.id < 20"}, keyset.Column[typeRow]{Name: "k", Expr: column, Nulls: nulls}, id)
			_, err := byTokens(t, k, s, keyset.Query{Ordering: "k"})
			require.ErrorIs(t, err, keyset.ErrWalk)
		}
	}
}

// The settings of a session decide how PostgreSQL writes times and floats as text. The keys
// do not depend on them, or are an error.
func TestSettingsOfSessions(t *testing.T) {
	t.Parallel()
	dsn := newPostgres(t)
	db := open(t, "pgx", dsn)
	exec(t, db, "CREATE DOMAIN moment AS timestamptz",
		"CREATE TABLE t (id INT PRIMARY KEY, ts timestamptz NOT NULL, m moment NOT NULL, d date NOT NULL, r real NOT NULL, f float8 NOT NULL, ds date[] NOT NULL, rs real[] NOT NULL, n numeric NOT NULL, i interval NOT NULL)",
		"INSERT INTO t SELECT i, x, x, x::date, 1 + i / 1000000.0, 1 + i / 1e15, ARRAY[x::date], ARRAY[1 + i / 1000000.0], 1 + i / 1e15, i * interval '1 hour 1 second' FROM generate_series(1, 28) i, LATERAL (SELECT '2026-01-01'::timestamptz + i * interval '13 hours' AS x) y",
		"INSERT INTO t SELECT 29, x::timestamptz, x::timestamptz, x::date, '-infinity', 'NaN', ARRAY[x::date], '{NaN}', 'NaN', '1 mon -1 day' FROM (SELECT '0005-02-28 BC' AS x) y",
		"INSERT INTO t SELECT 30, x::timestamptz, x::timestamptz, x::date, 'NaN', 'infinity', ARRAY[x::date], '{}', 0, '-1 mon 1 day' FROM (SELECT 'infinity' AS x) y")
	dates, floats := []string{"t.m", "t.ds", "t.rs"}, []string{"t.rs"}
	for settings, refused := range map[string][]string{
		"DateStyle=ISO,DMY&TimeZone=Asia/Kolkata&extra_float_digits=3":       nil,
		"DateStyle=SQL,MDY&TimeZone=Asia/Kolkata&IntervalStyle=sql_standard": dates,
		"DateStyle=German&TimeZone=Europe/Dublin&IntervalStyle=iso_8601":     dates,
		"DateStyle=Postgres,DMY&TimeZone=America/St_Johns":                   dates,
		"extra_float_digits=0":  append(slices.Clone(floats), "t.m", "t.ds"),
		"extra_float_digits=-5": append(slices.Clone(floats), "t.m", "t.ds"),
		"extra_float_digits=0&default_query_exec_mode=simple_protocol": append(slices.Clone(floats), "t.m", "t.ds", "t.f", "t.r * 2"),
	} {
		db := open(t, "pgx", dsn+"&"+settings)
		for _, expr := range []string{"t.ts", "t.m", "t.d", "t.r", "t.f", "t.ds", "t.rs", "t.n", "t.i", "t.r * 2", "t.ts + interval '1 day'"} {
			k, s := asked(t, db, keyset.Postgres, keyset.Base{Columns: []string{"t.id"}, From: "t"}, keyset.Column[typeRow]{Name: "k", Expr: expr}, keyset.Column[typeRow]{Name: "id", Expr: "t.id", Unique: true})
			if !slices.Contains(refused, expr) {
				t.Run(expr+" with "+settings, func(t *testing.T) { bothWays(t, k, s, "k", 30) })
				continue
			}
			var broken *keyset.WalkError
			_, err := k.Page(t.Context(), s, keyset.Query{Ordering: "k"})
			require.ErrorAs(t, err, &broken, "%s with %s", expr, settings)
			assert.Equal(t, "k", broken.Column)
			assert.Contains(t, broken.Problem, "in the DSN")
		}
	}
}

// A long value of a unique column that does not break ties makes a short cursor, too.
func TestLongUniqueValues(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := e.open(t)
			exec(t, db, "CREATE TABLE t (id INTEGER NOT NULL, shop INTEGER NOT NULL, url VARCHAR(1000) NOT NULL UNIQUE, PRIMARY KEY (shop, id))")
			for i := range 9 {
				exec(t, db, fmt.Sprintf("INSERT INTO t VALUES (%d, %d, '%d%s')", i+1, i%2, i*7%9, strings.Repeat("x", i%3*450)))
			}
			columns := []keyset.Column[typeRow]{{Name: "id", Expr: "t.id"}, {Name: "shop", Expr: "t.shop"}, {Name: "url", Expr: "t.url", Unique: true}}
			k, err := keyset.New("long", pagination.Preset{Size: 1, MaxSize: 200}, mustCursors(t), columns, &keyset.Options{TieBreak: []string{"shop", "id"}, Ordering: "url"})
			require.NoError(t, err)
			_, s := asked(t, db, e.dialect, keyset.Base{Columns: []string{"t.id"}, From: "t"}, columns...)
			bothWays(t, k, s, "url", 9)
			walk := k.Walk(t.Context(), s, nil)
			n := 0
			for _, err := range walk.Rows() {
				require.NoError(t, err)
				cursor, err := walk.Cursor()
				require.NoError(t, err)
				require.Less(t, len(cursor), 1100)
				n++
			}
			assert.Equal(t, 9, n)
			first := 9
			list, err := k.Connection(t.Context(), s, keyset.ConnectionArgs{First: &first})
			require.NoError(t, err)
			assert.Len(t, list.Edges, 9)
			lookUps := 0
			s.Query = func(ctx context.Context, query string, args ...any) (keyset.Rows, error) {
				if strings.Contains(query, "mainstay_k2") && !strings.Contains(query, "1 = 0") {
					lookUps++
				}
				return db.QueryContext(ctx, query, args...)
			}
			again, err := k.Connection(t.Context(), s, keyset.ConnectionArgs{First: &first})
			require.NoError(t, err)
			assert.Equal(t, 1, lookUps, "one statement for the tie-breaks of all rows")
			for i, edge := range again.Edges {
				assert.Equal(t, list.Edges[i].Node, edge.Node)
				next, err := k.Connection(t.Context(), s, keyset.ConnectionArgs{After: edge.Cursor})
				require.NoError(t, err)
				assert.Equal(t, i < 8, len(next.Edges) > 0 && next.Edges[0].Node == list.Edges[min(i+1, 8)].Node)
			}
		})
	}
}
