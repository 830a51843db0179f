package keyset

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// name is the name of a column or of a sort key as the database compares it.
type name string

// nameOf returns the name that a word or a quoted name stands for.
func (d Dialect) nameOf(text string) name {
	bare := strings.Trim(text, "\"`[]")
	switch {
	case d == Postgres && len(bare) == len(text):
		return name(strings.ToLower(bare))
	case d == Oracle && len(bare) == len(text):
		return name(strings.ToUpper(bare))
	}
	return d.reported(strings.ReplaceAll(bare, `""`, `"`))
}

// reported returns the name of a column that the database reported.
func (d Dialect) reported(text string) name {
	if d == Postgres || d == Oracle {
		return name(text)
	}
	return name(strings.ToLower(text))
}

// isName reports whether a token is a quoted name or a word that is no number. "x" is a name
// on MariaDB and MySQL in the mode ANSI_QUOTES, and a string otherwise.
func isName(sql string, t token) bool {
	return t.kind == quoted || t.kind == literally && sql[t.at] == '"' || t.kind == code && isWordByte(sql[t.at]) && (sql[t.at] < '0' || sql[t.at] > '9')
}

// path returns the number of tokens of a name with its qualifiers, such as t.title.
func path(sql string, list []token) int {
	n := 0
	for n < len(list) && isName(sql, list[n]) {
		n++
		if n+1 >= len(list) || sql[list[n].at] != '.' || !isName(sql, list[n+1]) {
			return n
		}
		n++
	}
	return 0
}

// column is a column of the result.
type column struct {
	expr string // without the alias
	name name   // "" = only the database knows it
	base name   // the column of a table that it is; "" = an expression
	in   bool   // base has a qualifier
}

// column reads a column of the result. An alias needs no AS.
func (d Dialect) column(sql string) column {
	list := d.tokens(sql)
	n := len(list)
	if n == 0 {
		return column{}
	}
	c := column{expr: sql[list[0].at:list[n-1].end]}
	named := n > 2 && isName(sql, list[n-1]) && strings.EqualFold(sql[list[n-2].at:list[n-2].end], "AS")
	switch {
	case named:
		c.name = d.nameOf(sql[list[n-1].at:list[n-1].end])
		c.expr = sql[list[0].at:list[n-3].end]
		list = list[:n-2]
	case n > 1 && isName(sql, list[n-1]) && endsOperand(sql, list[n-2]):
		c.name = d.nameOf(sql[list[n-1].at:list[n-1].end])
		list = list[:n-1]
	}
	if p := path(sql, list); p == len(list) {
		last := list[p-1]
		c.base, c.in = d.nameOf(sql[last.at:last.end]), p > 1
		if c.name == "" {
			c.name = c.base
		}
	}
	return c
}

// operators are words that a name follows which is no alias.
var operators = regexp.MustCompile(`^(?i:AND|AS|BETWEEN|BINARY|CASE|COLLATE|DISTINCT|DIV|ELSE|ESCAPE|FROM|GLOB|I?LIKE|IN|INTERVAL|IS|MATCH|MOD|NOT|OR|OVER|REGEXP|RLIKE|SIMILAR|SOUNDS|THEN|TO|WHEN|XOR|ZONE)$`)

// endsOperand reports whether a name behind the token is an alias.
func endsOperand(sql string, t token) bool {
	c := sql[t.at]
	return t.kind != code || c == ')' || c == ']' || isWordByte(c) && !operators.MatchString(sql[t.at:t.end])
}

// plain reports whether the columns call no function, so that their text has all names.
func (d Dialect) plain(columns []string) bool {
	return !slices.ContainsFunc(columns, func(sql string) bool { return !simple(sql) && d.column(sql).base == "" })
}

// simple reports whether a text is words and points alone.
func simple(sql string) bool {
	for i := range len(sql) {
		if !isWordByte(sql[i]) && sql[i] != '.' {
			return false
		}
	}
	return true
}

// bare returns the name if ORDER BY may look an expression up among the columns of the
// result, or "": a name in brackets, with a sign, or with a collation.
func (d Dialect) bare(expr string) name {
	if simple(expr) {
		if expr == "" || strings.IndexByte(expr, '.') >= 0 || expr[0] >= '0' && expr[0] <= '9' {
			return ""
		}
		return d.nameOf(expr)
	}
	list := d.tokens(expr)
	for len(list) > 1 {
		collated := slices.IndexFunc(list, func(t token) bool { return t.kind == code && strings.EqualFold(expr[t.at:t.end], "COLLATE") })
		switch last := list[len(list)-1]; {
		case expr[list[0].at] == '+':
			list = list[1:]
		case expr[list[0].at] == '(' && d.closing(expr, list[0].at) == last.at:
			list = list[1 : len(list)-1]
		case collated > 0 && path(expr, list[collated+1:]) == len(list)-collated-1:
			list = list[:collated]
		default:
			return ""
		}
	}
	if len(list) == 1 && isName(expr, list[0]) {
		return d.nameOf(expr[list[0].at:list[0].end])
	}
	return ""
}

// An outer join with USING makes a column that differs from that of each table.
var outerJoin, mergedJoin = regexp.MustCompile(`(?i)\b(LEFT|RIGHT|FULL)\b`), regexp.MustCompile(`(?i)\b(USING|NATURAL)\b`)

// visible rejects a column whose name hides a sort key. ORDER BY resolves a bare name to a
// column of the result first, but WHERE resolves it to the table's column. Rows would be
// lost. outputs are the names that the database reported, or nil.
func (b *Base) visible(d Dialect, keys []Key, outputs []name) error {
	for _, key := range keys {
		bare := d.bare(key.Expr)
		if bare == "" {
			continue
		}
		for i, sql := range b.Columns {
			if isIdentifier(sql) && sql[0] != '"' && sql[0] != '`' {
				continue
			}
			c := d.column(sql)
			if c.base == "" && i < len(outputs) {
				c.name = outputs[i]
			}
			merged := func() bool { return c.in && outerJoin.MatchString(b.From) && mergedJoin.MatchString(b.From) }
			if c.name == bare && (c.base != bare || merged()) {
				return fmt.Errorf("keyset: the column %q hides the sort key %s in ORDER BY; write the key with its table, as in t.%s", sql, key.Expr, bare)
			}
		}
	}
	return nil
}

// outputNames returns the names of result columns in the form for the outer SELECT.
func (d Dialect) outputNames(columns []string) ([]string, error) {
	names := make([]string, len(columns))
	for i, c := range columns {
		expr, name := d.splitAlias(c)
		if name == "" {
			name = expr[strings.LastIndexByte(expr, '.')+1:]
		}
		if !isIdentifier(name) {
			return nil, fmt.Errorf("keyset: column %q needs a name: write it as … AS name", c)
		}
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("keyset: two columns are called %s: give one another name with AS", name)
		}
		names[i] = name
	}
	return names, nil
}

// splitAlias splits a result column into its expression and the name behind AS. The name is
// "" if there is none.
func (d Dialect) splitAlias(column string) (expr, name string) {
	list := d.tokens(column)
	n := len(list)
	switch {
	case n == 0:
		return "", ""
	case n > 2 && strings.EqualFold(column[list[n-2].at:list[n-2].end], "AS"):
		return column[list[0].at:list[n-3].end], column[list[n-1].at:list[n-1].end]
	}
	return column[list[0].at:list[n-1].end], ""
}

func isIdentifier(s string) bool {
	if len(s) > 2 && (s[0] == '"' && s[len(s)-1] == '"' || s[0] == '`' && s[len(s)-1] == '`') {
		return strings.IndexByte(s[1:len(s)-1], s[0]) < 0
	}
	for i, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r < 0x80 && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// columnArgs returns the number of placeholders in the columns.
func columnArgs(d Dialect, b *Base) (n int) {
	for _, c := range b.Columns {
		placeholders(c, d, func(p placeholder) {
			if p.number == 0 {
				n++
			}
		})
	}
	return n
}
