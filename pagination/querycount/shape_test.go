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
		assert.Equal(t, want, shape(in), in)
	}
}

func FuzzShape(f *testing.F) {
	for _, seed := range []string{"SELECT 'a''b', 5 FROM t", "?,?,? , ?", "''''", "$1::int", "\xff'"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		s := shape(sql)
		if again := shape(s); again != s {
			t.Fatalf("the shape of a shape is another: %q, %q, %q", sql, s, again)
		}
	})
}
