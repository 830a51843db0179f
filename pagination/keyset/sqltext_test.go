package keyset

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The dialects end strings, names and comments in different places.
func TestDialectTexts(t *testing.T) {
	t.Parallel()
	const open, comment = "has a quote without its end", "has a comment without an end"
	for _, c := range []struct {
		dialect  Dialect
		in, want string // outside of strings, names and comments
		fault    string
	}{
		{Generic, `a = 'it''s' AND b`, "a = '''' AND b", ""},
		{Generic, `a -- it's`, "a  ", ""},
		{Generic, `'it`, "''", open},
		{Generic, `a /* b`, "a  ", comment},
		{Postgres, `E'it\'s' || b`, "E'' || b", ""},
		{Postgres, `'c:\' || b`, "'' || b", ""},
		{Postgres, `rate'\' || b`, "rate'' || b", ""},
		{Postgres, `$$it's$$ || $x$ $$ $x$ || b$1`, "'' || '' || b$1", ""},
		{Postgres, `/* a /* b */ is it? */ b`, "  b", ""},
		{Postgres, `/* a /* b */ c`, " ", comment},
		{Postgres, "a[1]", "a[1]", ""},
		{Postgres, "$x$ a", "''", open},
		{MySQL, `'it\'s' || "a\"b" b`, "'' || '' b", ""},
		{MySQL, "`a\\` b", "'' b", ""},
		{MySQL, "a--1 -- it's\n# it's\nb", "a--1   b", ""},
		{MySQL, "/*! a */ /*!50000 b */ /*M! c */ /* d */", "  a     b     c    ", ""},
		{MySQL, "/*! a", "  a", comment},
		{MySQL, `'it\'`, "''", open},
		{SQLite, "[it's] `a'b` c", "'' '' c", ""},
		{SQLite, `'\' || a`, "'' || a", ""},
		{SQLServer, "[it's] /* a /* b */ c */ d", "''   d", ""},
		{Oracle, "q'[it's]' || nq'!it's!' || b", "q'' || nq'' || b", ""},
		{Oracle, "seq'a' b", "seq'' b", ""},
	} {
		assert.Equal(t, c.want, c.dialect.stripped(c.in), "%v: %s", c.dialect, c.in)
		assert.Equal(t, c.fault, c.dialect.unfinished(c.in), "%v: %s", c.dialect, c.in)
	}
}

// Words between SELECT and the columns change which rows there are, behind any words that do
// not.
func TestModifiers(t *testing.T) {
	t.Parallel()
	for column, want := range map[string]string{
		"DISTINCT t.id":                            "DISTINCT",
		"distinct on (t.a) t.id":                   "DISTINCT",
		"ALL DISTINCT t.id":                        "DISTINCT",
		"SQL_NO_CACHE DISTINCT t.id":               "DISTINCT",
		"STRAIGHT_JOIN HIGH_PRIORITY distinct t.a": "DISTINCT",
		"/*! DISTINCT */ t.id":                     "DISTINCT",
		"/*!99999 sql_cache */ distinctrow t.id":   "DISTINCTROW",
		"# a comment\n SQL_CALC_FOUND_ROWS t.id":   "SQL_CALC_FOUND_ROWS",
		"TOP (5) t.id":                             "TOP",
		"TOP 5 t.id":                               "TOP",
		"SQL_NO_CACHE t.id":                        "",
		"top AS n":                                 "",
		"top.id":                                   "",
		"`DISTINCT` x":                             "",
		"/* DISTINCT */ t.id":                      "",
		"t.id":                                     "",
	} {
		err := (&Base{Columns: []string{column, "t.b"}, From: "t"}).check(MySQL)
		if want == "" {
			require.NoError(t, err, column)
			continue
		}
		require.ErrorContains(t, err, "begins with "+want+",", column)
		require.ErrorContains(t, err, "Base.Query")
	}
}

// A comment at the end of a text does not hide the rest of the statement.
func TestCommentsAtEnd(t *testing.T) {
	t.Parallel()
	order, err := NewOrder(nil, Key{Name: "id", Expr: "t.id", Unique: true})
	require.NoError(t, err)
	sql := func(d Dialect, b Base) string {
		text, _, err := Seek{Order: order, Limit: 2}.SQL(d, b)
		require.NoError(t, err)
		return text
	}
	assert.Equal(t, "SELECT t.id -- it's\n, t.a\n FROM t -- sales\n WHERE (t.b = 1 -- a\n) ORDER BY t.id LIMIT ?1",
		sql(SQLite, Base{Columns: []string{"t.id -- it's", "t.a"}, From: "t -- sales", Where: "t.b = 1 -- a"}))
	assert.Equal(t, "SELECT t.id FROM (SELECT 1 AS id # one\n) mainstay_q ORDER BY t.id LIMIT ?", sql(MySQL, Base{Columns: []string{"t.id"}, Query: "SELECT 1 AS id # one"}))
	assert.Equal(t, "SELECT t.id FROM (SELECT 1 AS id --\n) mainstay_q ORDER BY t.id LIMIT ?", sql(MySQL, Base{Columns: []string{"t.id"}, Query: "SELECT 1 AS id --", Literal: true}))
	assert.Equal(t, "SELECT t.id FROM t WHERE (t.a = '--' AND t.b = 1--1) ORDER BY t.id LIMIT ?", sql(MySQL, Base{Columns: []string{"t.id"}, From: "t", Where: "t.a = '--' AND t.b = 1--1"}))
	for _, b := range []Base{
		{Columns: []string{"t.id /* one"}, From: "t"},
		{Columns: []string{"t.id"}, From: "t /* one"},
		{Columns: []string{"t.id"}, From: "t", Where: "t.a = 'one"},
		{Columns: []string{"t.id"}, Query: "SELECT 1 AS id /* one"},
	} {
		_, _, err := Seek{Order: order, Limit: 2}.SQL(SQLite, b)
		require.ErrorContains(t, err, "end")
	}
}

// The text of a column has its name, unless it is an expression without one.
func TestColumnNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dialect Dialect
		in      string
		want    column
	}{
		{SQLite, "t.Title", column{expr: "t.Title", name: "title", base: "title", in: true}},
		{Postgres, `main . "t" . "Title" /* x */`, column{expr: `main . "t" . "Title"`, name: "Title", base: "Title", in: true}},
		{Postgres, "Title AS Name", column{expr: "Title", name: "name", base: "title"}},
		{Oracle, "title name", column{expr: "title name", name: "NAME", base: "TITLE"}},
		{MySQL, "lower(t.a)`b`", column{expr: "lower(t.a)`b`", name: "b"}},
		{SQLite, "lower(t.a)AS[b]", column{expr: "lower(t.a)", name: "b"}},
		{SQLite, `t.a AS "b""c"`, column{expr: "t.a", name: `b"c`, base: "a", in: true}},
		{SQLite, "t.a COLLATE nocase", column{expr: "t.a COLLATE nocase"}},
		{SQLite, "t.a AND b", column{expr: "t.a AND b"}},
		{SQLite, "1 b", column{expr: "1 b", name: "b"}},
		{SQLite, "CAST(t.a AS text)", column{expr: "CAST(t.a AS text)"}},
		{SQLite, "(SELECT a AS b FROM u)", column{expr: "(SELECT a AS b FROM u)"}},
	} {
		assert.Equal(t, c.want, c.dialect.column(c.in), c.in)
	}
	for in, want := range map[string]name{
		"Title": "title", "t.title": "", `"Title"`: "Title", "((title))": "title", "(a) + (b)": "", "+title": "title",
		`title COLLATE pg_catalog."C"`: "title", "(title COLLATE x)": "title", "lower(title)": "", "1": "", "title || 'x'": "", "'x'": "",
	} {
		assert.Equal(t, want, Postgres.bare(in), in)
	}
}
