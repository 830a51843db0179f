package querycount

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestShapes(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"SELECT  a\n FROM t1 WHERE id = 5":            "SELECT a FROM t1 WHERE id = ?",
		"SELECT a FROM t1 WHERE id IN (1, 2,3)":       "SELECT a FROM t1 WHERE id IN (?)",
		"SELECT a FROM t WHERE id IN ($1, $2)":        "SELECT a FROM t WHERE id IN (?)",
		"SELECT a FROM t WHERE n = 'it''s 5' AND b=?": "SELECT a FROM t WHERE n = ? AND b=?",
		"SELECT 1.5e3, col2 FROM t":                   "SELECT ?, col2 FROM t",
		"SELECT ?12":                                  "SELECT ?",
		"SELECT 'open":                                "SELECT ?",
		"":                                            "",
		"/*trace=abc1*/ SELECT a FROM t":              "SELECT a FROM t",
		"SELECT a /* x */ FROM t -- end":              "SELECT a FROM t",
		"SELECT a FROM t WHERE id = -1":               "SELECT a FROM t WHERE id = ?",
		"SELECT a - 1 FROM t":                         "SELECT a - ? FROM t",
		"SELECT a -1 FROM t":                          "SELECT a -? FROM t",
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
		{mysql, `SELECT a FROM t WHERE n = 'it\'s' AND b = 5`, "SELECT a FROM t WHERE n = ? AND b = ?"},
		{mysql, `SELECT a FROM t WHERE n = "x" AND b = "y \" z"`, "SELECT a FROM t WHERE n = ? AND b = ?"},
		{mysql, "SELECT `a b 5` FROM t # trace 17", "SELECT `a b 5` FROM t"},
		{mysql, "SELECT a--1 FROM t -- trace 17", "SELECT a-? FROM t"},
		{postgres, `SELECT a FROM t WHERE n = 'c:\' AND b = 5`, "SELECT a FROM t WHERE n = ? AND b = ?"},
		{postgres, `SELECT a FROM t WHERE n = E'it\'s' AND b = 5`, "SELECT a FROM t WHERE n = E? AND b = ?"},
		{postgres, `SELECT a FROM t WHERE n = $x$it's $y$ 5$x$ AND b = $1`, "SELECT a FROM t WHERE n = ? AND b = ?"},
		{postgres, `SELECT a FROM t WHERE n = $$5$$ AND c = $2`, "SELECT a FROM t WHERE n = ? AND c = ?"},
		{postgres, "SELECT a /* outer /* inner */ trace 17 */ FROM t", "SELECT a FROM t"},
		{postgres, `SELECT "a 5" FROM t WHERE k = 1e-5 OR k = 1E+7 OR k = 0x1F`, `SELECT "a 5" FROM t WHERE k = ? OR k = ? OR k = ?`},
		{sqlite, "SELECT [a 5], `b 6`, x'00ff' FROM t WHERE k=-2", "SELECT [a 5], `b 6`, x? FROM t WHERE k=?"},
		{sqlserver, "SELECT [it's 5] FROM t WHERE k = N'x' /* a /* b */ c */", "SELECT [it's 5] FROM t WHERE k = N?"},
		{"", "SELECT a FROM t WHERE k = e-5", "SELECT a FROM t WHERE k = e-?"},
		{sqlserver, "SELECT a FROM t WHERE k IN (@p1, @p2)", "SELECT a FROM t WHERE k IN (?)"},
		{sqlserver, "SELECT a FROM t WHERE k IN (@p1)", "SELECT a FROM t WHERE k IN (?)"},
		{sqlserver, "SELECT @@ROWCOUNT, @p, a@p1 FROM t", "SELECT @@ROWCOUNT, @p, a@p1 FROM t"},
		{postgres, "SELECT ARRAY[-1] || ARRAY[2,-3], a[-1:-2]", "SELECT ARRAY[?] || ARRAY[?], a[?:?]"},
		{postgres, "SELECT ARRAY[1] || ARRAY[2], a[1:2]", "SELECT ARRAY[?] || ARRAY[?], a[?:?]"},
	} {
		assert.Equal(t, c.want, shape(c.in, c.dialect), "%s: %s", c.dialect, c.in)
	}
}

func FuzzShape(f *testing.F) {
	for _, seed := range []string{"SELECT 'a''b', 5 FROM t", "?,?,? , ?", "''''", "$1::int", "\xff'"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		for _, dialect := range []string{mysql, postgres, sqlite, sqlserver} {
			shape(sql, dialect)
		}
		s := shape(sql, "")
		if again := shape(s, ""); again != s {
			t.Fatalf("the shape of a shape is another: %q, %q, %q", sql, s, again)
		}
	})
}
