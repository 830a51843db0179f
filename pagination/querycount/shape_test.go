package querycount

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/mainstay-go/mainstay/pagination/internal/lex"
)

func TestShapes(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"SELECT  a\n FROM t1 WHERE id = 5":            "SELECT a FROM t1 WHERE id = ?",
		"SELECT a FROM t1 WHERE id IN (1, 2,3)":       "SELECT a FROM t1 WHERE id IN (?)",
		"SELECT a FROM t WHERE id IN ($1, $2)":        "SELECT a FROM t WHERE id IN (?)",
		"SELECT a FROM t WHERE n = 'it''s 5' AND b=?": "SELECT a FROM t WHERE n = ? AND b = ?",
		"SELECT 1.5e3, col2 FROM t":                   "SELECT ?, col2 FROM t",
		"SELECT ?12":                                  "SELECT ?",
		"SELECT 'open":                                "SELECT ?",
		"":                                            "",
		"/*trace=abc1*/ SELECT a FROM t":              "SELECT a FROM t",
		"SELECT a /* x */ FROM t -- end":              "SELECT a FROM t",
		"SELECT a FROM t WHERE id = -1":               "SELECT a FROM t WHERE id = ?",
		"SELECT a - 1 FROM t":                         "SELECT a - ? FROM t",
		"SELECT a -1 FROM t":                          "SELECT a - ? FROM t",
		"INSERT INTO t VALUES (?, ?), (?, ?)":         "INSERT INTO t VALUES (?)",
		"INSERT INTO t VALUES (1, 'a')":               "INSERT INTO t VALUES (?)",
		`SELECT "a--b", '/* no */' FROM "t 5"`:        `SELECT "a--b", ? FROM "t 5"`,
	} {
		assert.Equal(t, want, shape(in, ""), in)
	}
}

// Strings, names and comments are read as each database reads them.
func TestShapesOfDialects(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ dialect, in, want string }{
		{lex.MySQL, `SELECT a FROM t WHERE n = 'it\'s' AND b = 5`, "SELECT a FROM t WHERE n = ? AND b = ?"},
		{lex.MySQL, `SELECT a FROM t WHERE n = "x" AND b = "y \" z"`, "SELECT a FROM t WHERE n = ? AND b = ?"},
		{lex.MySQL, "SELECT `a b 5` FROM t # trace 17", "SELECT `a b 5` FROM t"},
		{lex.MySQL, "SELECT a--1 FROM t -- trace 17", "SELECT a - ? FROM t"},
		{lex.Postgres, `SELECT a FROM t WHERE n = 'c:\' AND b = 5`, "SELECT a FROM t WHERE n = ? AND b = ?"},
		{lex.Postgres, `SELECT a FROM t WHERE n = E'it\'s' AND b = 5`, "SELECT a FROM t WHERE n = ? AND b = ?"},
		{lex.Postgres, `SELECT a FROM t WHERE n = $x$it's $y$ 5$x$ AND b = $1`, "SELECT a FROM t WHERE n = ? AND b = ?"},
		{lex.Postgres, `SELECT a FROM t WHERE n = $$5$$ AND c = $2`, "SELECT a FROM t WHERE n = ? AND c = ?"},
		{lex.Postgres, "SELECT a /* outer /* inner */ trace 17 */ FROM t", "SELECT a FROM t"},
		{lex.Postgres, `SELECT "a 5" FROM t WHERE k = 1e-5 OR k = 1E+7 OR k = 0x1F`, `SELECT "a 5" FROM t WHERE k = ? OR k = ? OR k = ?`},
		{lex.SQLite, "SELECT [a 5], `b 6`, x'00ff' FROM t WHERE k=-2", "SELECT [a 5], `b 6`, ? FROM t WHERE k = ?"},
		{lex.SQLServer, "SELECT [it's 5] FROM t WHERE k = N'x' /* a /* b */ c */", "SELECT [it's 5] FROM t WHERE k = ?"},
		{"", "SELECT a FROM t WHERE k = e-5", "SELECT a FROM t WHERE k = e - ?"},
		{lex.SQLServer, "SELECT a FROM t WHERE k IN (@p1, @p2)", "SELECT a FROM t WHERE k IN (?)"},
		{lex.SQLServer, "SELECT a FROM t WHERE k IN (@p1)", "SELECT a FROM t WHERE k IN (?)"},
		{lex.SQLServer, "SELECT @@ROWCOUNT, @p, a@p1 FROM t", "SELECT @@ROWCOUNT, ?, a@p1 FROM t"},
		{lex.Postgres, "SELECT ARRAY[-1] || ARRAY[2,-3], a[-1:-2]", "SELECT ARRAY[?] || ARRAY[?], a[?:?]"},
		{lex.Postgres, "SELECT ARRAY[1] || ARRAY[2], a[1:2]", "SELECT ARRAY[?] || ARRAY[?], a[?:?]"},
	} {
		assert.Equal(t, c.want, shape(c.in, c.dialect), "%s: %s", c.dialect, c.in)
	}
}

// The dialect of a statement is that of the driver.
func TestDialects(t *testing.T) {
	t.Parallel()
	for pkg, want := range map[string]string{
		"github.com/go-sql-driver/mysql": lex.MySQL, "github.com/jackc/pgx/v5/stdlib": lex.Postgres, "github.com/lib/pq": lex.Postgres,
		"github.com/uptrace/bun/driver/pgdriver": lex.Postgres, "modernc.org/sqlite": lex.SQLite, "github.com/mattn/go-sqlite3": lex.SQLite,
		"github.com/tursodatabase/go-libsql": lex.SQLite, "github.com/microsoft/go-mssqldb": lex.SQLServer, "github.com/sijms/go-ora/v2": "",
	} {
		assert.Equal(t, want, dialectOf(pkg), pkg)
	}
}

func FuzzShape(f *testing.F) {
	for _, seed := range []string{"SELECT 'a''b', 5 FROM t", "?,?,? , ?", "''''", "$1::int", "\xff'"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		for _, dialect := range []string{"", lex.MySQL, lex.Postgres, lex.SQLite, lex.SQLServer} {
			shape := shape(sql, dialect)
			if again := shapeOf(shape, dialect); again != shape {
				t.Fatalf("%s: the shape of a shape is another: %q, %q, %q", dialect, sql, shape, again)
			}
		}
	})
}

// Equal statements have one shape.
func TestShapesAreEqual(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dialect string
		texts   []string
	}{
		{lex.Postgres, []string{"SELECT 1 WHERE a = E'x'", "SELECT 1 WHERE a = 'y'", "SELECT 1 WHERE a = $$z$$", "SELECT 1 WHERE a = U&'d\\0061t'", "SELECT 1 WHERE a='y'\n'z'"}},
		{lex.Postgres, []string{"SELECT a FROM t WHERE b > now() - INTERVAL '1 day' AND id = 1", "SELECT a FROM t WHERE b > now()-INTERVAL '2 day' AND id=-2"}},
		{lex.MySQL, []string{"SELECT a FROM t WHERE b > now() + INTERVAL -1 DAY", "SELECT a FROM t WHERE b > now() + INTERVAL 1 DAY"}},
		{lex.Postgres, []string{"SELECT a FROM t WHERE c = true", "SELECT a FROM t WHERE c = FALSE", "SELECT a FROM t WHERE c = $1", "SELECT a FROM t WHERE c = NULL"}},
		{lex.MySQL, []string{"SELECT a FROM t WHERE x = x'1F'", "SELECT a FROM t WHERE x = 0x1F", "SELECT a FROM t WHERE x = N'q'", "SELECT a FROM t WHERE x = _utf8mb4'q'", "SELECT a FROM t WHERE x = _binary 'q'", "SELECT a FROM t WHERE x = 'a' 'b'", `SELECT a FROM t WHERE x = "a"`}},
		{lex.SQLite, []string{"SELECT a FROM t WHERE x = -1", "SELECT a FROM t WHERE x = - 1", "SELECT a FROM t WHERE x = +1", "SELECT a FROM t WHERE x = .5", "SELECT a FROM t WHERE x = -1.5e+3", "SELECT a FROM t WHERE x=:a"}},
		{lex.Postgres, []string{"SELECT a FROM t WHERE x NOT BETWEEN -1 AND 2", "SELECT a FROM t WHERE x NOT BETWEEN 1 AND -2"}},
		{lex.Postgres, []string{"SELECT a FROM t WHERE x BETWEEN SYMMETRIC -1 AND 2", "SELECT a FROM t WHERE x BETWEEN SYMMETRIC 1 AND -2"}},
		{lex.Postgres, []string{"SELECT a FROM t WHERE x IS DISTINCT FROM -1", "SELECT a FROM t WHERE x IS DISTINCT FROM 1", "SELECT a FROM t WHERE x IS DISTINCT FROM NULL"}},
		{lex.SQLite, []string{"SELECT a FROM t WHERE x MOD -1", "SELECT a FROM t WHERE x MOD 1"}},
		{lex.Postgres, []string{"SELECT a FROM t WHERE (x, y) IN (($1, $2), ($3, $4))", "SELECT a FROM t WHERE (x,y) IN (($1,$2))", "SELECT a FROM t WHERE (x,y) IN ((-1,'a'),(2,'b'),(3,NULL))"}},
		{lex.Postgres, []string{"SELECT a FROM (VALUES (1, NULL), (2, 'b')) v(x,y)", "SELECT a FROM (VALUES (1, 'a')) v(x,y)"}},
		{lex.Postgres, []string{"SELECT a FROM t WHERE x = ANY(ARRAY[1,2,3])", "SELECT a FROM t WHERE x = ANY(ARRAY[1])"}},
		{lex.Postgres, []string{"SELECT a FROM t WHERE x IN ($1::int, $2::int)", "SELECT a FROM t WHERE x IN ($1::int)"}},
		{lex.Postgres, []string{"SELECT a FROM t WHERE x IN (CAST($1 AS uuid), CAST($2 AS uuid))", "SELECT a FROM t WHERE x IN (CAST($1 AS uuid))"}},
		{lex.Postgres, []string{"SELECT a FROM t WHERE x IN (@a, @b)", "SELECT a FROM t WHERE x IN (@a)", "SELECT a FROM t WHERE x IN ($1)"}},
		{lex.SQLite, []string{"SELECT a FROM t WHERE x IN (:a1, :a2)", "SELECT a FROM t WHERE x IN (:a1)", "SELECT a FROM t WHERE x IN (@a1, @a2)", "SELECT a FROM t WHERE x IN ($a1, $a2)", "SELECT a FROM t WHERE x IN (?1, ?2)"}},
		{lex.SQLServer, []string{"SELECT a FROM t WHERE x IN (@id1, @id2)", "SELECT a FROM t WHERE x IN (@p1)", "SELECT a FROM t WHERE x IN (-1, 2)"}},
		{"", []string{"SELECT a FROM t WHERE x = 1;", "SELECT a FROM t WHERE x=1", "SELECT a FROM t WHERE x =1 ; ; -- trace 2", "SELECT a FROM t WHERE x = :id"}},
		{"", []string{"INSERT INTO t (a, b) VALUES (1, now()), (2, now())", "INSERT INTO t(a,b) VALUES(?,now())"}},
		{"", []string{"SELECT a FROM t WHERE x = DATE'2020-01-01'", "SELECT a FROM t WHERE x = DATE '2020-01-02'"}},
		{"", []string{"SELECT count(*) FROM t WHERE a = 1 AND b IN (1,2)", "SELECT count( * )\nFROM t WHERE a=2 AND b IN(3)"}},
	} {
		want := shapeOf(c.texts[0], c.dialect)
		for _, text := range c.texts[1:] {
			assert.Equal(t, want, shapeOf(text, c.dialect), "%s: %s", c.dialect, text)
		}
	}
}

// Other statements keep other shapes.
func TestShapesAreDifferent(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"", "SELECT a FROM t WHERE b IS NULL", "SELECT a FROM t WHERE b IS NOT NULL"},
		{"", "SELECT a FROM t WHERE b IS NULL", "SELECT a FROM t WHERE b = 1"},
		{"", "SELECT a - 1 FROM t", "SELECT a + 1 FROM t"},
		{"", "SELECT a, a FROM t", "SELECT a FROM t"},
		{"", "SELECT f(a), f(b) FROM t", "SELECT f(a) FROM t"},
		{"", "SELECT -a FROM t", "SELECT a FROM t"},
		{lex.Postgres, "SELECT a->'x' FROM t", "SELECT a->>'x' FROM t"},
		{lex.Postgres, "SELECT a FROM t WHERE b @> $1", "SELECT a FROM t WHERE b <@ $1"},
		{lex.Postgres, "SELECT a FROM t WHERE b ? $1", "SELECT a FROM t WHERE b ?| $1"},
	} {
		assert.NotEqual(t, shapeOf(c[1], c[0]), shapeOf(c[2], c[0]), c)
	}
}

var shapeOf = shape

func BenchmarkShape(b *testing.B) {
	const sql = "SELECT s.id, s.product, c.name AS category FROM sales s JOIN categories c ON c.id = s.category_id WHERE s.shop = $1 AND s.status IN ($2, $3, $4) AND s.note <> 'it''s' ORDER BY s.created_at DESC, s.id DESC LIMIT 26"
	b.ReportAllocs()
	for b.Loop() {
		shape(sql, lex.Postgres)
	}
}
