package keyset

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// "??" is a question mark outside strings, quoted names and comments. Inside them the text
// stays as it is.
func TestQuestionMarks(t *testing.T) {
	t.Parallel()
	order, err := NewOrder(nil, Key{Name: "id", Expr: "t.id", Unique: true})
	require.NoError(t, err)
	for _, c := range []struct {
		dialect  Dialect
		in, want string
	}{
		{SQLite, "t.k = 'a??b'", "t.k = 'a??b'"},
		{SQLite, `t."k??" = 'it''s??' AND t.a = ?`, `t."k??" = 'it''s??' AND t.a = ?1`},
		{Postgres, "t.k ?? 'a??b' AND t.a = ?", "t.k ? 'a??b' AND t.a = $1"},
		{Postgres, "t.k ?? 'a' /* why?? */ AND t.a = ? -- why??", "t.k ? 'a' /* why?? */ AND t.a = $1 -- why??\n"},
		{Postgres, `t.k = E'it\'s?? ?' AND t.a = ?`, `t.k = E'it\'s?? ?' AND t.a = $1`},
		{Postgres, `t.k = 'c:\' AND t.b ?? t.c AND t.a = ?`, `t.k = 'c:\' AND t.b ? t.c AND t.a = $1`},
		{Postgres, "t.k = $$it's?? ?$$ AND t.b = $x$ $$?? $x$ AND t.a = ?", "t.k = $$it's?? ?$$ AND t.b = $x$ $$?? $x$ AND t.a = $1"},
		{Postgres, "t.k ?? 'x??' AND t.a = $1", "t.k ? 'x??' AND t.a = $1"},
		{MySQL, `t.k = 'it\'s??' AND t.b = "\"??" AND t.a = ?`, `t.k = 'it\'s??' AND t.b = "\"??" AND t.a = ?`},
		{MySQL, "t.k = 1 # it's?? ?\n AND t.a = ?", "t.k = 1 # it's?? ?\n AND t.a = ?"},
		{Oracle, "t.k = 'a??b' AND t.a = :1", "t.k = 'a??b' AND t.a = :1"},
	} {
		base := Base{Columns: []string{"t.id"}, From: "t", Where: c.in, Args: []any{5}}
		if c.dialect == SQLite && c.in[len(c.in)-1] != '?' {
			base.Args = nil
		}
		sql, _, err := Seek{Order: order, Limit: 2}.SQL(c.dialect, base)
		require.NoError(t, err, c.in)
		assert.Contains(t, sql, "WHERE ("+c.want+")")
		base.From, base.Where, base.Query = "", "", "SELECT id FROM t WHERE "+c.in
		sql, _, err = Seek{Order: order, Limit: 2}.SQL(c.dialect, base)
		require.NoError(t, err, c.in)
		assert.Contains(t, sql, "FROM (SELECT id FROM t WHERE "+c.want+") mainstay_q")
	}
}

// A finished statement is sent as it is, with its question marks.
func TestLiteralQuery(t *testing.T) {
	t.Parallel()
	order, err := NewOrder(nil, Key{Name: "near", Expr: "abs(k - ?)", Args: []any{7}}, Key{Name: "id", Expr: "id", Unique: true})
	require.NoError(t, err)
	const query = `WITH c AS (SELECT * FROM t) SELECT * FROM c /* it's ? */ WHERE a = 'really??' AND b ? 'x' AND d = 'it\'s ?' AND e @> $1`
	for _, d := range []Dialect{Generic, Postgres, MySQL, SQLite, SQLServer, Oracle} {
		_, body := "", query
		if d == SQLServer {
			_, body = splitWith(query)
		}
		sql, args, err := Seek{Order: order, Limit: 2}.SQL(d, Base{Columns: []string{"id"}, Query: query, Literal: true})
		require.NoError(t, err)
		assert.Contains(t, sql, "("+body+") mainstay_q")
		assert.Contains(t, args, 7)
		_, _, err = Seek{Order: order, Limit: 2}.SQL(d, Base{Columns: []string{"id"}, Query: query, Literal: true, Args: []any{1}})
		require.ErrorContains(t, err, "0 placeholders and 1 Args")
	}
	_, _, err = Seek{Order: order, Limit: 2}.SQL(SQLite, Base{Columns: []string{"id"}, From: "t", Literal: true})
	require.ErrorContains(t, err, "Literal without Query")
}
