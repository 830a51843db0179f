package keyset

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mainstay-go/mainstay/pagination/internal/lex"
)

// Base is the statement that reads the list, without its order and its limit.
//
// Write values as "?" in every dialect. The package numbers them. "??" stands for a
// question mark, such as the jsonb operator of PostgreSQL. The text of strings, quoted names
// and comments is sent unchanged. Args has the values in the order
// of the text: Columns, From, Where. Base also takes the numbered placeholders of its
// dialect: $1 for PostgreSQL, @p1 for SQL Server and :1 for Oracle. A number is the place
// of the value in Args.
type Base struct {
	// Columns are the columns of the result: "p.id", "c.name AS category". Each column
	// needs its own name, so "*" is not allowed. The first page rejects a column that makes
	// one row of the list or several rows of one, and a window function.
	Columns []string
	// From is the text after FROM, with its joins.
	From string
	// Where is the filter. Default: "", all rows.
	Where string
	// Query is a whole statement instead of From, for GROUP BY, WITH, DISTINCT and UNION.
	// Columns and the sort keys then name columns of its result. Default: "".
	Query string
	// Literal says that Query is a finished statement without placeholders, as bun writes
	// it. Its text is sent unchanged, with every question mark. Default: false.
	Literal bool
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

// modifiers are the words between SELECT and its columns that leave the rows unchanged.
var modifiers = regexp.MustCompile(`^(?i:ALL|HIGH_PRIORITY|STRAIGHT_JOIN|SQL_(SMALL|BIG|BUFFER)_RESULT|SQL_(NO_)?CACHE)$`)

// heads are the words there that change the rows.
var heads = regexp.MustCompile(`^(?i:DISTINCT|DISTINCTROW|UNIQUE|TOP|SQL_CALC_FOUND_ROWS)$`)

// check rejects a base whose count disagrees with its rows.
func (b *Base) check(d Dialect) error {
	switch {
	case len(b.Columns) == 0 || (b.From == "") == (b.Query == ""):
		return errors.New("keyset: Base needs Columns, and either From or Query")
	case b.Literal && b.Query == "":
		return errors.New("keyset: Base has Literal without Query; Literal is for a finished statement in Query")
	case b.Query != "" && b.Where != "":
		return errors.New("keyset: Base has Query and Where; write the filter into Query")
	}
	for i, column := range b.Columns {
		fault := columnFaults.get(d, column, func() string { return d.unfinished(column) })
		if i == 0 && fault == "" {
			fault = headFaults.get(d, column, func() string { return d.headFault(column) })
		}
		if fault != "" {
			return fmt.Errorf("keyset: Base.Columns %s", fault)
		}
	}
	for _, text := range [...]string{b.From, b.Where} {
		if fault := clauseFaults.get(d, text, func() string { return d.clauseFault(text) }); fault != "" {
			return fmt.Errorf("keyset: Base %s", fault)
		}
	}
	if b.Query != "" && !b.Literal {
		if fault := columnFaults.get(d, b.Query, func() string { return d.unfinished(b.Query) }); fault != "" {
			return fmt.Errorf("keyset: Base.Query %s", fault)
		}
	}
	return nil
}

// masked returns Query without the values of a literal statement: it identifies the list
// whatever the values of its filter are, as the placeholders of other statements do.
func (b *Base) masked(d Dialect) string {
	if !b.Literal {
		return b.Query
	}
	return lex.Mask(b.Query, map[Dialect]string{Postgres: lex.Postgres, MySQL: lex.MySQL, SQLite: lex.SQLite, SQLServer: lex.SQLServer}[d])
}

// The caches of the faults of texts.
var columnFaults, headFaults, clauseFaults texts

// headFault returns the fault of a word before the columns that changes which rows there
// are, or "".
func (d Dialect) headFault(column string) string {
	list := d.tokens(column)
	for i, t := range list {
		word, behind := column[t.at:t.end], ""
		if i+1 < len(list) {
			behind = column[list[i+1].at:list[i+1].end]
		}
		switch {
		case t.kind != code || behind == "" || behind == "." || strings.EqualFold(behind, "AS"):
			return ""
		case heads.MatchString(word) && (!strings.EqualFold(word, "TOP") || behind == "(" || behind[0] >= '0' && behind[0] <= '9'):
			return "begins with " + strings.ToUpper(word) + ", which changes which rows there are; write the whole statement into Base.Query"
		case !modifiers.MatchString(word):
			return ""
		}
	}
	return ""
}

// windowless rejects a window function in the columns. It is computed over the rows of a
// page, not over those of the list.
func (b *Base) windowless(d Dialect) error {
	for _, column := range b.Columns {
		if d.window(column) {
			return fmt.Errorf("keyset: Base.Columns has the window function %q, which would read the rows of the page and not those of the list; write the whole statement into Base.Query", column)
		}
	}
	return nil
}

// clauseFault returns the fault of a clause that does not belong into a text, or "".
func (d Dialect) clauseFault(text string) string {
	if fault := d.unfinished(text); fault != "" {
		return fault
	}
	if found := d.foreignClause(text); found != "" {
		return "has " + found + " outside of brackets; write the whole statement into Base.Query"
	}
	return ""
}

func (d Dialect) foreignClause(text string) string {
	found := clauses.FindStringSubmatch(indexHint.ReplaceAllString(d.topLevel(text), ""))
	if found == nil {
		return ""
	}
	return strings.ToUpper(found[1])
}

// countAll is the column of a count.
const countAll = "COUNT(*)"

// texts caches a result for each text of a dialect. It drops all results when it is full,
// which happens if a caller puts values into texts.
type texts struct {
	mu    sync.RWMutex
	known map[dialectText]string
}

type dialectText struct {
	dialect Dialect
	text    string
}

func (t *texts) get(d Dialect, text string, compute func() string) string {
	if text == "" {
		return ""
	}
	key := dialectText{d, text}
	t.mu.RLock()
	result, ok := t.known[key]
	t.mu.RUnlock()
	if ok {
		return result
	}
	result = compute()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil || len(t.known) >= mostCached {
		t.known = make(map[dialectText]string)
	}
	t.known[key] = result
	return result
}

// fragment is SQL text with "?" for its arguments. If the dialect numbers parameters, a
// text that is written twice has the same numbers.
type fragment struct {
	sql   string
	args  []any
	first int // 1 + index of the first argument in the statement; 0 = not yet written

	verbatim bool // without placeholders
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
	native   bool   // the base has numbered placeholders already
	numbers  []int  // of native: the number of each argument in the text; 0 = not yet written
	inOrder  bool   // an argument for each placeholder, in the order of the text
	until    func() // writes a further condition of every SELECT
}

func newStatement(d Dialect, b *Base) (*statement, error) {
	if err := b.check(d); err != nil {
		return nil, err
	}
	s := &statement{dialect: d, base: b, prefix: d.prefix()}
	s.question = b.Question || s.prefix == ""
	// Drivers of Oracle bind by place: a number that the text repeats needs another value.
	s.inOrder = s.question || d == Oracle
	columns, from := b.Columns[0], d.closed(b.From)
	switch {
	case slices.ContainsFunc(b.Columns, d.commentAtEnd):
		columns = strings.Join(b.Columns, "\n, ") + "\n"
	case len(b.Columns) > 1:
		columns = strings.Join(b.Columns, ", ")
	}
	with := ""
	if b.Query != "" {
		query := b.Query
		if d == SQLServer {
			with, query = splitWith(query)
		}
		from = "(" + d.closed(query) + ") mainstay_q"
	}
	s.b.Grow(len(columns) + len(from) + len(b.Where) + 256) // enough for most statements
	rest := b.Args
	marks, highest := 0, 0
	var used map[int]bool // the numbers in the texts
	take := func(text string) fragment {
		n := 0
		placeholders(text, d, func(p placeholder) {
			switch highest = max(highest, p.number); {
			case p.number == 0:
				n++
			case p.number > 0 && used == nil:
				used = map[int]bool{p.number: true}
			case p.number > 0:
				used[p.number] = true
			}
		})
		marks += n
		have := min(n, len(rest))
		f := fragment{sql: text, args: rest[:have:have]}
		rest = rest[have:]
		if n > have {
			f.args = nil
		}
		return f
	}
	s.columns = take(columns)
	head := fragment{sql: with, verbatim: true}
	s.from = fragment{sql: from, verbatim: true}
	if !b.Literal {
		head, s.from = take(with), take(from)
	}
	s.filter = take(d.closed(b.Where))
	switch {
	case highest > 0 && (s.question || marks > 0):
		return nil, errors.New(`keyset: write placeholders as "?"; only PostgreSQL, SQL Server and Oracle without Base.Question take numbers, and not both forms at once`)
	case highest > len(b.Args):
		return nil, fmt.Errorf("keyset: Base has the placeholder %s%d and %d Args", s.prefix, highest, len(b.Args))
	case highest > 0:
		s.native = true
		if !s.inOrder {
			s.numbers = make([]int, len(b.Args))
			if len(used) == len(b.Args) { // the numbers stay
				s.args = append(make([]any, 0, len(b.Args)+4), b.Args...)
				for i := range s.numbers {
					s.numbers[i] = i + 1
				}
			}
		}
	case marks != len(b.Args):
		return nil, fmt.Errorf(`keyset: Base has %d placeholders and %d Args; write a literal question mark as "??"`, marks, len(b.Args))
	}
	s.fragment(&head)
	return s, nil
}

// splitWith splits a statement behind its common table expressions. SQL Server accepts them
// at the beginning of a statement only, and not in a derived table.
func splitWith(query string) (with, rest string) {
	if !strings.EqualFold(word(query, SQLServer.skipSpace(query, 0)), "WITH") {
		return "", query
	}
	at := SQLServer.findWord(query, "SELECT")
	return query[:at], query[at:]
}

func (s *statement) write(parts ...string) {
	for _, p := range parts {
		s.b.WriteString(p)
	}
}

// fragment writes a text with its placeholders in the form of the dialect.
func (s *statement) fragment(f *fragment) {
	if f.verbatim || strings.IndexByte(f.sql, '?') < 0 && !s.native {
		s.write(f.sql)
		return
	}
	if !s.inOrder && f.first == 0 {
		s.args = append(s.args, f.args...)
		f.first = len(s.args) - len(f.args) + 1
	}
	from, used := 0, 0
	placeholders(f.sql, s.dialect, func(p placeholder) {
		if p.number == questionMark && s.base.Question {
			return // the builder that numbers the placeholders replaces "??"
		}
		s.write(f.sql[from:p.at])
		switch p.number {
		case questionMark:
			s.write("?")
		case 0:
			s.mark(f, used)
			used++
		default:
			s.numbered(p.number - 1)
		}
		from = p.end
	})
	s.write(f.sql[from:])
}

// numbered writes the placeholder of an argument of the base. Texts that leave out a part of
// the base have other numbers, since PostgreSQL rejects an argument without a place.
func (s *statement) numbered(i int) {
	switch {
	case s.inOrder:
		s.mark(&fragment{args: s.base.Args}, i)
		return
	case s.numbers[i] == 0:
		s.args = append(s.args, s.base.Args[i])
		s.numbers[i] = len(s.args)
	}
	s.mark(&fragment{}, s.numbers[i])
}

// mark writes the placeholder of one argument.
func (s *statement) mark(f *fragment, i int) {
	number := f.first + i
	if s.inOrder {
		s.args = append(s.args, f.args[i])
		number = len(s.args)
	}
	if s.question {
		s.write("?")
		return
	}
	var digits [20]byte
	s.b.WriteString(s.prefix)
	s.b.Write(strconv.AppendInt(digits[:0], int64(number), 10))
}

// param writes a single value.
func (s *statement) param(f *fragment) {
	if !s.inOrder && f.first == 0 {
		s.args = append(s.args, f.args[0])
		f.first = len(s.args)
	}
	s.mark(f, 0)
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
