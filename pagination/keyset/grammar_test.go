package keyset

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// grammar reads statements by the documented syntax of SELECT: of Transact-SQL (SELECT, TOP,
// FROM, ORDER BY with OFFSET and FETCH, search conditions) and of Oracle Database (SELECT
// with row_limiting_clause, conditions). It knows the parts that this package and its tests
// write, and rejects everything else.
type grammar struct {
	dialect Dialect
	tokens  []string
	at      int
	params  []int // numbers of the placeholders, in the order of the text
}

var grammarTokens = regexp.MustCompile(`\s+|'(?:[^']|'')*'|"[^"]+"|\[[^\]]+\]|@p\d+|:\d+|\d+(?:\.\d+)?|[A-Za-z_][\w$#]*|<=|>=|<>|\|\||.`)

// reserved words of both vendors that no name may be.
var reserved = strings.Fields(`ALL AND AS ASC BETWEEN BY CASE DESC DISTINCT ELSE END EXISTS FETCH FROM GROUP HAVING IN INTERSECT IS JOIN LEFT INNER LIKE
	NOT NULL NULLS OFFSET ON OR ORDER SELECT THEN TOP UNION WHEN WHERE WITH LIMIT`)

type grammarError string

// checkGrammar returns "" for a statement that the vendor's grammar has, and otherwise the
// first fault.
func checkGrammar(d Dialect, sql string, args int) (fault string) {
	g := &grammar{dialect: d}
	for _, t := range grammarTokens.FindAllString(sql, -1) {
		if strings.TrimSpace(t) != "" {
			g.tokens = append(g.tokens, t)
		}
	}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(grammarError)
			if !ok {
				panic(r)
			}
			fault = fmt.Sprintf("%s at %q", string(e), strings.Join(g.tokens[min(g.at, len(g.tokens)):], " "))
		}
	}()
	if d == SQLServer {
		g.with()
	}
	g.query(false, true)
	if g.at < len(g.tokens) {
		g.fail("end expected")
	}
	// SQL Server: names, which may repeat. Oracle: one value for each place.
	used := slices.Clone(g.params)
	if d == SQLServer {
		slices.Sort(used)
		used = slices.Compact(used)
	}
	for i, n := range used {
		if n != i+1 {
			g.fail("placeholders are not numbered from 1 in order: " + fmt.Sprint(g.params))
		}
	}
	if len(used) != args {
		g.fail(fmt.Sprintf("%d placeholders for %d arguments", len(used), args))
	}
	return ""
}

func (g *grammar) fail(what string) { panic(grammarError(what)) }

func (g *grammar) peek() string {
	if g.at < len(g.tokens) {
		return strings.ToUpper(g.tokens[g.at])
	}
	return ""
}

func (g *grammar) accept(words ...string) bool {
	for i, w := range words {
		if g.at+i >= len(g.tokens) || !strings.EqualFold(g.tokens[g.at+i], w) {
			return false
		}
	}
	g.at += len(words)
	return true
}

func (g *grammar) expect(words ...string) {
	if !slices.ContainsFunc(words, func(w string) bool { return g.accept(w) }) {
		g.fail(strings.Join(words, " or ") + " expected")
	}
}

func (g *grammar) isName() bool {
	t := g.peek()
	if t == "" || slices.Contains(reserved, t) {
		return false
	}
	return t[0] == '"' || t[0] == '[' && g.dialect == SQLServer || t[0] >= 'A' && t[0] <= 'Z' || t[0] == '_' && g.dialect == SQLServer
}

func (g *grammar) name() string {
	if !g.isName() {
		g.fail("name expected")
	}
	g.at++
	return g.tokens[g.at-1]
}

func (g *grammar) with() {
	if !g.accept("WITH") {
		return
	}
	for {
		g.name()
		g.expect("AS")
		g.expect("(")
		g.query(true, true)
		g.expect(")")
		if !g.accept(",") {
			return
		}
	}
}

// query reads a query. A table needs a name for each column.
func (g *grammar) query(table, ordered bool) {
	if g.dialect == Oracle {
		g.with()
	}
	top := g.specification(table)
	for g.accept("UNION") || g.accept("INTERSECT") {
		g.accept("ALL")
		top = g.specification(table) || top
	}
	hasOrder := g.accept("ORDER", "BY")
	if hasOrder {
		if !ordered {
			g.fail("ORDER BY is not allowed here")
		}
		g.orderBy()
	}
	limited := g.rowLimit(hasOrder, top)
	if table && hasOrder && !limited && !top && g.dialect == SQLServer {
		g.fail("ORDER BY in a derived table needs TOP or OFFSET")
	}
}

func (g *grammar) specification(table bool) (top bool) {
	g.expect("SELECT")
	if !g.accept("DISTINCT") {
		g.accept("ALL")
	}
	if g.peek() == "TOP" && g.dialect == SQLServer {
		g.at++
		g.expect("(")
		g.expression()
		g.expect(")")
		top = true
	}
	var names []string
	for {
		names = append(names, g.item(table))
		if !g.accept(",") {
			break
		}
	}
	slices.Sort(names)
	if count := len(names); table && len(slices.Compact(names)) < count {
		g.fail("a derived table has two columns of one name")
	}
	g.expect("FROM")
	g.source()
	if g.accept("WHERE") {
		g.condition()
	}
	if g.accept("GROUP", "BY") {
		g.list()
		if g.accept("HAVING") {
			g.condition()
		}
	}
	return top
}

func (g *grammar) item(table bool) (name string) {
	if g.accept("*") {
		return "*"
	}
	from := g.at
	g.expression()
	name = strings.ToUpper(g.tokens[g.at-1])
	column := g.at-from == 1 || g.at-from == 3 && g.tokens[from+1] == "."
	column = column && name[0] != '\'' && (name[0] < '0' || name[0] > '9') && name[0] != '@' && name[0] != ':'
	if g.accept("AS") || g.isName() {
		return strings.ToUpper(g.name())
	}
	if table && !column && g.dialect == SQLServer {
		g.fail("a column of a derived table has no name")
	}
	return name
}

func (g *grammar) source() {
	g.table()
	for {
		g.accept("INNER")
		if g.accept("LEFT") {
			g.accept("OUTER")
		}
		if !g.accept("JOIN") {
			return
		}
		g.table()
		g.expect("ON")
		g.condition()
	}
}

func (g *grammar) table() {
	derived := g.accept("(")
	if derived {
		g.query(true, true)
		g.expect(")")
	} else {
		g.name()
		if g.accept(".") {
			g.name()
		}
	}
	if g.peek() == "AS" && g.dialect == Oracle {
		g.fail("no AS before the alias of a table")
	}
	switch {
	case g.accept("AS") || g.isName():
		g.name()
	case derived && g.dialect == SQLServer:
		g.fail("a derived table needs a name")
	}
}

func (g *grammar) orderBy() {
	var seen []string
	for {
		from := g.at
		g.expression()
		text := strings.Join(g.tokens[from:g.at], " ")
		if _, err := strconv.Atoi(text); text[0] == '\'' || text[0] == '@' || text[0] == ':' || err == nil {
			g.fail("ORDER BY a constant")
		}
		if slices.Contains(seen, text) && g.dialect == SQLServer {
			g.fail("a column occurs twice in ORDER BY")
		}
		seen = append(seen, text)
		if !g.accept("ASC") {
			g.accept("DESC")
		}
		if g.dialect == Oracle && g.accept("NULLS") {
			g.expect("FIRST", "LAST")
		}
		if !g.accept(",") {
			return
		}
	}
}

func (g *grammar) rowLimit(ordered, top bool) bool {
	offset := g.accept("OFFSET")
	if offset {
		g.expression()
		g.expect("ROWS", "ROW")
	}
	fetch := g.accept("FETCH")
	if fetch {
		g.expect("FIRST", "NEXT")
		g.expression()
		g.expect("ROWS", "ROW")
		g.expect("ONLY")
	}
	if g.dialect == SQLServer && (offset || fetch) && (!ordered || !offset || top) {
		g.fail("OFFSET and FETCH need ORDER BY, FETCH needs OFFSET, and neither goes with TOP")
	}
	return offset || fetch
}

func (g *grammar) condition() {
	for {
		for {
			g.accept("NOT")
			g.predicate()
			if !g.accept("AND") {
				break
			}
		}
		if !g.accept("OR") {
			return
		}
	}
}

// try reads something, or nothing if it is not there.
func (g *grammar) try(read func()) (ok bool) {
	at, params := g.at, len(g.params)
	defer func() {
		if r := recover(); r != nil {
			if _, is := r.(grammarError); !is {
				panic(r)
			}
			g.at, g.params, ok = at, g.params[:params], false
		}
	}()
	read()
	return true
}

func (g *grammar) predicate() {
	if g.accept("EXISTS") {
		g.expect("(")
		g.query(false, false)
		g.expect(")")
		return
	}
	if g.peek() == "(" && g.try(func() {
		g.expect("(")
		g.condition()
		g.expect(")")
		if !slices.Contains([]string{"AND", "OR", ")", "", "ORDER", "GROUP", "THEN", "UNION", "OFFSET", "FETCH", "JOIN", "LEFT", "WHERE"}, g.peek()) {
			g.fail("condition expected")
		}
	}) {
		return
	}
	g.expression()
	switch {
	case g.accept("IS"):
		g.accept("NOT")
		g.expect("NULL")
	case g.accept("IN"):
		g.expect("(")
		if g.peek() == "SELECT" {
			g.query(false, false)
		} else {
			g.list()
		}
		g.expect(")")
	case g.accept("LIKE"):
		g.expression()
	case g.accept("BETWEEN"):
		g.expression()
		g.expect("AND")
		g.expression()
	default:
		g.expect("=", "<", ">", "<=", ">=", "<>")
		g.expression()
	}
}

func (g *grammar) list() {
	for {
		g.expression()
		if !g.accept(",") {
			return
		}
	}
}

func (g *grammar) expression() {
	for {
		g.accept("-")
		g.primary()
		if !slices.ContainsFunc([]string{"+", "-", "*", "/", "||"}, func(op string) bool { return (op != "||" || g.dialect == Oracle) && g.accept(op) }) {
			return
		}
	}
}

func (g *grammar) primary() {
	t := g.peek()
	switch {
	case t == "":
		g.fail("expression expected")
	case t == "(":
		g.at++
		if g.peek() == "SELECT" {
			g.query(false, false)
		} else {
			g.expression() // one: neither vendor compares rows
		}
		g.expect(")")
	case t == "CASE":
		g.at++
		g.expect("WHEN")
		for again := true; again; again = g.accept("WHEN") {
			g.condition()
			g.expect("THEN")
			g.expression()
		}
		if g.accept("ELSE") {
			g.expression()
		}
		g.expect("END")
	case t == "NULL", t[0] == '\'', t[0] >= '0' && t[0] <= '9':
		g.at++
	case strings.HasPrefix(t, "@P") && g.dialect == SQLServer, len(t) > 1 && t[0] == ':' && g.dialect == Oracle:
		n, err := strconv.Atoi(strings.TrimLeft(t, "@P:"))
		if err != nil {
			g.fail("placeholder expected")
		}
		g.params = append(g.params, n)
		g.at++
	case (t == "COUNT" || t == "CAST" || g.isName()) && g.at+1 < len(g.tokens) && g.tokens[g.at+1] == "(":
		g.at += 2
		if g.accept("*") || g.accept(")") {
			if g.tokens[g.at-1] == "*" {
				g.expect(")")
			}
			return
		}
		if t == "COUNT" {
			g.accept("DISTINCT")
		}
		g.list()
		if t == "CAST" {
			g.expect("AS")
			g.name()
		}
		g.expect(")")
	default:
		g.name()
		if g.accept(".") {
			g.name()
		}
	}
}

func TestGrammarCanFail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dialect Dialect
		sql     string
		args    int
		fault   string
	}{
		{SQLServer, "SELECT a FROM t ORDER BY a OFFSET 0 ROWS FETCH NEXT @p1 ROWS ONLY", 1, ""},
		{SQLServer, "SELECT TOP (@p1) a FROM t WHERE (a > 1 OR (a = 1 AND b > (2))) ORDER BY CASE WHEN a IS NULL THEN 1 ELSE 0 END, a", 1, ""},
		{SQLServer, "SELECT a FROM t LIMIT 3", 0, "end expected"},
		{SQLServer, "SELECT a FROM t ORDER BY a FETCH NEXT 3 ROWS ONLY", 0, "FETCH needs OFFSET"},
		{SQLServer, "SELECT a FROM t OFFSET 0 ROWS", 0, "need ORDER BY"},
		{SQLServer, "SELECT a FROM t ORDER BY a NULLS LAST", 0, "end expected"},
		{SQLServer, "SELECT a FROM t ORDER BY a IS NULL", 0, "end expected"},
		{SQLServer, "SELECT a FROM t WHERE (a, b) > (1, 2)", 0, ") expected"},
		{SQLServer, "SELECT COUNT(*) FROM (SELECT 1 FROM t) c", 0, "no name"},
		{SQLServer, "SELECT COUNT(*) FROM (SELECT 1 AS one FROM t ORDER BY 1 OFFSET 0 ROWS) c", 0, "constant"},
		{SQLServer, "SELECT COUNT(*) FROM (SELECT a FROM t)", 0, "needs a name"},
		{SQLServer, "SELECT a FROM (SELECT a FROM t ORDER BY a) q", 0, "needs TOP"},
		{SQLServer, "SELECT a FROM (WITH c AS (SELECT a FROM t) SELECT a FROM c) q", 0, "SELECT expected"},
		{SQLServer, "SELECT a FROM t WHERE a = @p2", 1, "not numbered"},
		{SQLServer, "SELECT a FROM t WHERE a = @p1", 2, "1 placeholders"},
		{Oracle, "SELECT a FROM t x ORDER BY a NULLS LAST OFFSET :1 ROWS FETCH NEXT 3 ROWS ONLY", 1, ""},
		{Oracle, "SELECT COUNT(*) FROM (SELECT 1 FROM t FETCH FIRST :1 ROWS ONLY) c", 1, ""},
		{Oracle, "SELECT a FROM t AS x", 0, "no AS"},
		{Oracle, "SELECT a FROM t LIMIT 3", 0, "end expected"},
		{Oracle, "SELECT TOP (3) a FROM t", 0, "name expected"},
		{Oracle, "SELECT a FROM t WHERE a = :1 OR b = :1", 1, "not numbered"},
		{Oracle, "SELECT a FROM t WHERE (a, b) > (1, 2)", 0, ") expected"},
	} {
		fault := checkGrammar(c.dialect, c.sql, c.args)
		if c.fault == "" {
			assert.Empty(t, fault, c.sql)
		} else {
			assert.Contains(t, fault, c.fault, c.sql)
		}
	}
}
