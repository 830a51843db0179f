package lex

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Statements that differ only in values have one mask. Other types, lists and names have
// another one.
func TestMask(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ dialect, sql, want string }{
		{SQLite, `SELECT "s"."id" FROM "sales" AS "s" WHERE (owner = 12) AND (note = 'it''s')`, `SELECT "s"."id" FROM "sales" AS "s" WHERE (owner = 0) AND (note = '')`},
		{Postgres, `SELECT 1 WHERE a IN (1, 22, -333) AND b = 10.25 AND c = FALSE -- trace`, `SELECT 0 WHERE a IN (0, 0, -0) AND b = 0.00 AND c = TRUE `},
		{Postgres, `SELECT t1.a2 FROM t1 /* trace 17 */ WHERE x = E'it\'s' AND y = '\x00ff'::bytea`, `SELECT t1.a2 FROM t1 WHERE x = '' AND y = ''::bytea`},
		{MySQL, "SELECT `a 5` /*! STRAIGHT_JOIN */ FROM t WHERE x = 'it\\'s' AND \"a\" = X'00FF' AND y IS NULL", "SELECT `a 5` /*! STRAIGHT_JOIN */ FROM t WHERE x = '' AND \"a\" = '' AND y IS NULL"},
		{MySQL, "SELECT 1e10, 0x1F", "SELECT 0e0, 0x0F"},
	} {
		assert.Equal(t, c.want, Mask(c.sql, c.dialect), c.dialect)
	}
}
