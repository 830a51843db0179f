package keyset

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The hint stands behind the first table and its alias, and never inside of another part.
func TestForcedIndex(t *testing.T) {
	t.Parallel()
	const hint = " FORCE INDEX (`i`)"
	for from, want := range map[string]string{
		"sales":                                  "sales" + hint,
		"sales s":                                "sales s" + hint,
		"sales AS s JOIN x ON x.id = s.x":        "sales AS s" + hint + " JOIN x ON x.id = s.x",
		"`shop`.`sales` `s`, x":                  "`shop`.`sales` `s`" + hint + ", x",
		"shop . sales\n\tLEFT JOIN x USING (id)": "shop . sales" + hint + "\n\tLEFT JOIN x USING (id)",
		"sales PARTITION (p0, p1) AS s":          "sales PARTITION (p0, p1) AS s" + hint,
		"sales /* of the day */ s -- end":        "sales /* of the day */ s" + hint + " -- end",
		"sales straight_join x":                  "sales" + hint + " straight_join x",
		"(SELECT 1) s":                           "",
		"(sales JOIN x)":                         "",
		"sales USE INDEX (a)":                    "",
		"sales s FORCE INDEX FOR ORDER BY (a)":   "",
		"sales FOR SYSTEM_TIME ALL s":            "",
		"sales s t":                              "",
		"":                                       "",
	} {
		base, err := Base{From: from}.forced("i")
		assert.Equal(t, want != "", err == nil, from)
		if err == nil {
			assert.Equal(t, want, base.From)
		}
	}
	for query, want := range map[string]string{
		"SELECT * FROM `sales` WHERE a = ?":                            "SELECT * FROM `sales`" + hint + " WHERE a = ?",
		"select extract(year from at), ' FROM x' from sales s where 1": "select extract(year from at), ' FROM x' from sales s" + hint + " where 1",
		"SELECT (SELECT 1 FROM y), s.from FROM sales AS s":             "SELECT (SELECT 1 FROM y), s.from FROM sales AS s" + hint,
		"SELECT a FROM sales GROUP BY a":                               "",
		"SELECT a FROM sales UNION SELECT a FROM x":                    "",
		"WITH c AS (SELECT 1) SELECT a FROM sales":                     "",
		"SELECT 1": "",
	} {
		base, err := Base{Query: query}.forced("i")
		assert.Equal(t, want != "", err == nil, query)
		if err == nil {
			assert.Equal(t, want, base.Query)
		}
	}
	base, err := Base{From: "t"}.forced("a`b")
	require.NoError(t, err)
	assert.Equal(t, "t FORCE INDEX (`a``b`)", base.From)
}

// An index that cannot be named is an error if the caller chose it.
func TestIndexOfTheCaller(t *testing.T) {
	t.Parallel()
	order, err := NewOrder(nil, Key{Name: "id", Expr: "id", Unique: true})
	require.NoError(t, err)
	source := SQLSource[int]{Dialect: MySQL, Base: Base{Columns: []string{"id"}, From: "(SELECT 1 AS id) t"}, Index: func(Order) string { return "i" }}
	source.Scan = func(Scanner) (int, error) { return 0, nil }
	source.Query = func(context.Context, string, ...any) (Rows, error) { return &threes{}, nil }
	_, err = source.Seek(t.Context(), Seek{Order: order, Limit: 3})
	require.ErrorIs(t, err, errNoTable)
	source.Dialect = SQLite
	_, err = source.Seek(t.Context(), Seek{Order: order, Limit: 3})
	require.NoError(t, err)
}

// A look-up of the filter that reads up to the position is told, with the remedy.
func TestSlowMySQL(t *testing.T) {
	t.Parallel()
	names := []string{"id", "select_type", "table", "type", "possible_keys", "key", "key_len", "ref", "rows", "Extra"}
	line := func(id, table, access, key, rows, extra string) []string {
		return []string{id, "SIMPLE", table, access, key, key, "82", "const", rows, extra}
	}
	for _, c := range []struct {
		lines [][]string
		union bool
		want  string
	}{
		{[][]string{line("1", "sales", "range", "i", "90000", "Using where")}, false, ""},
		{[][]string{line("1", "sales", "ref", "i", "480000", "Using where")}, false, "reads every row up to the position"},
		{[][]string{line("1", "sales", "ref", "i", "12", "Using where")}, false, ""},
		{[][]string{line("1", "sales", "range", "i", "90", ""), line("1", "items", "ref", "sale", "5000", "")}, false, ""},
		{[][]string{line("1", "<derived2>", "ALL", "", "90", "Using filesort"), line("2", "sales", "ref", "i", "5000", "")}, true, "the index i"},
		{[][]string{line("1", "sales", "ALL", "", "90", "")}, false, "scans"},
		{[][]string{line("1", "sales", "range", "i", "90", "Using filesort")}, false, "sorts"},
		{[][]string{line("1", "sales", "range", "i", "90", "Using filesort")}, true, ""},
	} {
		slow := slowMySQL(planRows(append([][]string{names}, c.lines...)), c.union)
		if c.want == "" {
			assert.Empty(t, slow, c.lines)
		} else {
			assert.Contains(t, slow, c.want)
		}
	}
}
