package keyset

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Base is the statement that reads the list, without its order and its limit.
//
// Write values as "?" in every dialect. The package numbers them. "??" stands for a
// question mark, such as the jsonb operator of PostgreSQL. For PostgreSQL, Base also takes
// $1, $2, …. Args has the values in the order of the text: Columns, From, Where.
type Base struct {
	// Columns are the columns of the result: "p.id", "c.name AS category". Each column
	// needs its own name, so "*" is not allowed.
	Columns []string
	// From is the text after FROM, with its joins.
	From string
	// Where is the filter. Default: "", all rows.
	Where string
	// Query is a whole statement instead of From, for GROUP BY, WITH, DISTINCT and UNION.
	// Columns and the sort keys then name columns of its result. Default: "".
	Query string
	// Args are the values of the placeholders.
	Args []any
	// Question writes every placeholder as "?", for gorm, bun, squirrel and sqlx.Rebind,
	// which number them. Default: false, the form of the dialect.
	Question bool
	// Keys makes [Seek.SQL] select the sort keys behind Columns, named mainstay_k1,
	// mainstay_k2, …. [SQLSource] sets it. Default: false.
	Keys bool
}

// clauses belong into Base.Query. In the other fields they change which rows a count
// includes.
var clauses = regexp.MustCompile(`(?i)(?:^|[^.\w])(GROUP\s+BY|HAVING|UNION|INTERSECT|EXCEPT|ORDER\s+BY|LIMIT\s+[\d?$:(]|OFFSET\s+[\d?$:]|FETCH\s+(?:FIRST|NEXT)|WINDOW\s+\w+\s+AS)`)

// indexHint is the only place where such a clause is part of FROM.
var indexHint = regexp.MustCompile(`(?i)\bINDEX\s+FOR\s+(ORDER|GROUP)\s+BY\b`)

var distinct = regexp.MustCompile(`(?is)^\s*(DISTINCT|DISTINCTROW|UNIQUE|ALL|SQL_CALC_FOUND_ROWS|TOP)\b`)

// check rejects a base whose count disagrees with its rows.
func (b *Base) check() error {
	switch {
	case len(b.Columns) == 0 || (b.From == "") == (b.Query == ""):
		return errors.New("keyset: Base needs Columns, and either From or Query")
	case b.Query != "" && b.Where != "":
		return errors.New("keyset: Base has Query and Where; write the filter into Query")
	case len(b.Columns[0]) > 3 && distinctHead(b.Columns[0]) != "":
		return errors.New("keyset: Base.Columns begins with a word that changes which rows there are; write the whole statement into Base.Query")
	}
	for _, column := range b.Columns {
		if name := aggregate(column); name != "" && (len(b.Columns) > 1 || column != countAll) {
			return fmt.Errorf("keyset: Base.Columns has %s, which makes one row of the list; use a sub-select or OVER, or write the whole statement into Base.Query", name)
		}
	}
	for _, text := range []string{b.From, b.Where} {
		if found := foreignClause(text); found != "" {
			return fmt.Errorf("keyset: Base has %s outside of brackets; write the whole statement into Base.Query", found)
		}
	}
	return nil
}

// countAll is the column of a count.
const countAll = "COUNT(*)"

// foreignClauses caches the results for the texts of the lists of a process.
var foreignClauses texts

func foreignClause(text string) string {
	if text == "" {
		return ""
	}
	return foreignClauses.get(text, func() string {
		found := clauses.FindStringSubmatch(indexHint.ReplaceAllString(topLevel(text), ""))
		if found == nil {
			return ""
		}
		return strings.ToUpper(found[1])
	})
}

// texts caches a result for each text. It drops all results when it is full, which happens
// if a caller puts values into texts.
type texts struct {
	mu    sync.RWMutex
	known map[string]string
}

func (t *texts) get(text string, compute func() string) string {
	t.mu.RLock()
	result, ok := t.known[text]
	t.mu.RUnlock()
	if ok {
		return result
	}
	result = compute()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil || len(t.known) >= 1000 {
		t.known = make(map[string]string)
	}
	t.known[text] = result
	return result
}

var distinctHeads texts

func distinctHead(column string) string {
	return distinctHeads.get(column, func() string { return distinct.FindString(stripped(column)) })
}

// fragment is SQL text with "?" for its arguments. If the dialect numbers parameters, a
// text that is written twice has the same numbers.
type fragment struct {
	sql   string
	args  []any
	first int // 1 + index of the first argument in the statement; 0 = not yet written
}

// statement is a SQL text under construction.
type statement struct {
	dialect  Dialect
	question bool // bare "?": an argument for each use
	prefix   string
	b        strings.Builder
	args     []any
	base     *Base
	columns  fragment
	from     fragment
	filter   fragment
	native   bool   // the base has $1 already
	until    func() // writes a further condition of every SELECT
}

func newStatement(d Dialect, b *Base) (*statement, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	s := &statement{dialect: d, base: b, prefix: d.prefix()}
	s.question = b.Question || s.prefix == ""
	columns, from := b.Columns[0], b.From
	if len(b.Columns) > 1 {
		columns = strings.Join(b.Columns, ", ")
	}
	if b.Query != "" {
		from = "(" + b.Query + ") mainstay_q"
	}
	s.b.Grow(len(columns) + len(from) + len(b.Where) + 256) // enough for most statements
	rest := b.Args
	numbered := false
	take := func(text string) fragment {
		n := 0
		placeholders(text, func(_ int, number bool) {
			if number {
				numbered = true
			} else {
				n++
			}
		})
		have := min(n, len(rest))
		f := fragment{sql: text, args: rest[:have:have]}
		rest = rest[have:]
		if n > have {
			f.args = nil
		}
		return f
	}
	s.columns, s.from, s.filter = take(columns), take(from), take(b.Where)
	marks := 0
	for _, f := range []fragment{s.columns, s.from, s.filter} {
		placeholders(f.sql, func(_ int, number bool) {
			if !number {
				marks++
			}
		})
	}
	switch {
	case numbered && (s.question || d != Postgres || marks > 0):
		return nil, errors.New(`keyset: write placeholders as "?"; only PostgreSQL without Base.Question takes $1, and not both forms at once`)
	case numbered:
		s.native = true
		s.args = append(make([]any, 0, len(b.Args)+4), b.Args...)
	case marks != len(b.Args):
		return nil, fmt.Errorf(`keyset: Base has %d placeholders and %d Args; write a literal question mark as "??"`, marks, len(b.Args))
	}
	return s, nil
}

func (s *statement) write(parts ...string) {
	for _, p := range parts {
		s.b.WriteString(p)
	}
}

// fragment writes a text with its placeholders in the form of the dialect.
func (s *statement) fragment(f *fragment) {
	if strings.IndexByte(f.sql, '?') < 0 || s.native && f.args == nil {
		s.write(f.sql)
		return
	}
	if !s.question && f.first == 0 {
		s.args = append(s.args, f.args...)
		f.first = len(s.args) - len(f.args) + 1
	}
	from, used := 0, 0
	placeholders(f.sql, func(i int, _ bool) {
		s.literal(f.sql[from:i])
		s.mark(f, used)
		used++
		from = i + 1
	})
	s.literal(f.sql[from:])
}

// mark writes the placeholder of one argument.
func (s *statement) mark(f *fragment, i int) {
	if s.question {
		s.write("?")
		s.args = append(s.args, f.args[i])
		return
	}
	var digits [20]byte
	s.b.WriteString(s.prefix)
	s.b.Write(strconv.AppendInt(digits[:0], int64(f.first+i), 10))
}

// param writes a single value.
func (s *statement) param(f *fragment) {
	if !s.question && f.first == 0 {
		s.args = append(s.args, f.args[0])
		f.first = len(s.args)
	}
	s.mark(f, 0)
}

// literal copies text in which "??" stands for "?". A builder that numbers the placeholders
// also replaces "??" by "?", so the text for such a builder keeps both.
func (s *statement) literal(text string) {
	if !s.base.Question {
		text = strings.ReplaceAll(text, "??", "?")
	}
	s.write(text)
}

// selectFrom writes SELECT columns FROM … WHERE filter, and reports whether there is a
// WHERE. extra writes further columns.
func (s *statement) selectFrom(extra func()) (filtered bool) {
	s.write("SELECT ")
	s.fragment(&s.columns)
	if extra != nil {
		extra()
	}
	return s.fromWhere()
}

func (s *statement) fromWhere() (filtered bool) {
	s.write(" FROM ")
	s.fragment(&s.from)
	if s.filter.sql != "" {
		s.write(" WHERE (")
		s.fragment(&s.filter)
		s.write(")")
	}
	if s.until != nil {
		if s.filter.sql != "" {
			s.write(" AND (")
		} else {
			s.write(" WHERE (")
		}
		s.until()
		s.write(")")
	}
	return s.filter.sql != "" || s.until != nil
}

// placeholders calls f with the index of each "?" (number = false) and each $1 (number =
// true) of a SQL text that is not in a string, a quoted name or a comment. It skips "??".
func placeholders(sql string, f func(i int, number bool)) {
	if !strings.ContainsAny(sql, "?$") {
		return
	}
	for i := 0; i < len(sql); i++ {
		if end := skipQuoted(sql, i); end > i {
			i = end - 1
			continue
		}
		switch sql[i] {
		case '?':
			if i+1 < len(sql) && sql[i+1] == '?' {
				i++
				continue
			}
			f(i, false)
		case '$':
			if i+1 < len(sql) && sql[i+1] >= '0' && sql[i+1] <= '9' {
				f(i, true)
			}
		}
	}
}

// skipQuoted returns the index behind the string, the quoted name or the comment that
// begins at i, or i. It reads a doubled quote inside a string as the end of one string and
// the beginning of another. The result is the same.
func skipQuoted(sql string, i int) int {
	find := func(from int, end string) int {
		if n := strings.Index(sql[min(from, len(sql)):], end); n >= 0 {
			return from + n + len(end)
		}
		return len(sql)
	}
	switch c := sql[i]; {
	case c == '\'' || c == '"' || c == '`':
		return find(i+1, string(c))
	case c == '-' && strings.HasPrefix(sql[i:], "--"):
		return find(i+2, "\n")
	case c == '/' && strings.HasPrefix(sql[i:], "/*"):
		return find(i+2, "*/")
	}
	return i
}

// stripped returns SQL text without its comments, strings and quoted names.
func stripped(sql string) string { return keepOutside(sql, false) }

// topLevel returns the text outside strings, names, comments and brackets.
func topLevel(sql string) string { return keepOutside(sql, true) }

func keepOutside(sql string, brackets bool) string {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(sql); i++ {
		if end := skipQuoted(sql, i); end > i {
			if sql[i] == '-' || sql[i] == '/' {
				b.WriteByte(' ')
			} else if !brackets || depth == 0 {
				b.WriteString(`''`)
			}
			i = end - 1
			continue
		}
		c := sql[i]
		if c == '(' {
			depth++
		}
		if !brackets || depth == 0 {
			b.WriteByte(c)
		}
		if c == ')' {
			depth--
		}
	}
	return b.String()
}
