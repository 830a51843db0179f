package pagination

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Dialect is the database that a statement is written for. It decides the form of a
// keyset condition, for the form that one database answers in a tenth of a millisecond
// makes another read half the table.
type Dialect uint8

// The dialects.
const (
	// Generic is any other SQL database: correct on all, fast on most. Nullable keys need
	// an explicit place for their NULLs.
	Generic Dialect = iota
	// Postgres is PostgreSQL 9.5 or newer, and what speaks its dialect.
	Postgres
	// MySQL is MariaDB 10.2 or MySQL 8 or newer.
	MySQL
	// SQLite is SQLite 3.30 or newer.
	SQLite
)

// Base is the statement that a list is read with, without order and limit.
//
// Values are written as "?" everywhere and are numbered for the dialect; "??" stands for
// a question mark, such as PostgreSQL's jsonb operator. For PostgreSQL $1, $2 … are taken
// too. Args has them in the order of the text: columns, From, Where.
type Base struct {
	// Columns are the columns of the result: "p.id", "c.name AS category". Each needs a
	// name of its own, so "*" is none.
	Columns []string
	// From is what follows FROM, joins included.
	From string
	// Where is the filter; "" = all rows.
	Where string
	// Args are the values of the placeholders.
	Args []any
	// Question writes every placeholder as a bare "?", for gorm, bun, squirrel and
	// sqlx.Rebind, which number them themselves. Default: as the dialect has them.
	Question bool
}

// statement is a SQL text under construction.
type statement struct {
	dialect  Dialect
	question bool // bare "?": an argument for each use
	b        strings.Builder
	args     []any
	base     *Base
	columns  string
	native   bool // the base has $1 or ?1 already
}

func newStatement(d Dialect, b *Base) (*statement, error) {
	if b.From == "" || len(b.Columns) == 0 {
		return nil, errors.New("pagination: Base needs Columns and From")
	}
	s := &statement{dialect: d, base: b, question: b.Question || d == MySQL || d == Generic, columns: strings.Join(b.Columns, ", ")}
	s.b.Grow(len(s.columns) + len(b.From) + len(b.Where) + 160) // what most statements come to
	marks, numbered := 0, false
	for _, text := range []string{s.columns, b.From, b.Where} {
		placeholders(text, func(_ int, number bool) {
			if number {
				numbered = true
			} else {
				marks++
			}
		})
	}
	switch {
	case numbered && (s.question || d != Postgres):
		return nil, errors.New(`pagination: write placeholders as "?"; $1 is for PostgreSQL without Base.Question`)
	case numbered:
		s.native = true
	case marks != len(b.Args):
		return nil, fmt.Errorf(`pagination: Base has %d placeholders and %d Args; write a literal question mark as "??"`, marks, len(b.Args))
	}
	if !s.question {
		s.args = append(make([]any, 0, len(b.Args)+4), b.Args...)
	}
	return s, nil
}

// placeholders calls f with the index of each "?" (number = false) and each $1 (number =
// true) of a SQL text that is not in a string, a quoted name or a comment. It skips "??".
func placeholders(sql string, f func(i int, number bool)) {
	for i := 0; i < len(sql); i++ {
		switch c := sql[i]; c {
		case '\'', '"', '`':
			i = skipTo(sql, i+1, string(c))
		case '-':
			if strings.HasPrefix(sql[i:], "--") {
				i = skipTo(sql, i+2, "\n")
			}
		case '/':
			if strings.HasPrefix(sql[i:], "/*") {
				i = skipTo(sql, i+2, "*/")
			}
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

// skipTo returns the index of the last byte of the next end, or of the text. A doubled
// quote inside a string ends one and begins another, which comes to the same.
func skipTo(sql string, from int, end string) int {
	if from > len(sql) {
		return len(sql)
	}
	i := strings.Index(sql[from:], end)
	if i < 0 {
		return len(sql)
	}
	return from + i + len(end) - 1
}

func (s *statement) write(parts ...string) {
	for _, p := range parts {
		s.b.WriteString(p)
	}
}

// writeSelect writes SELECT columns, extra FROM … WHERE filter, and reports whether
// there is a WHERE already.
func (s *statement) writeSelect(extra ...string) (filtered bool) {
	s.write("SELECT ")
	used := s.writeText(s.columns, 0)
	for _, e := range extra {
		s.write(", ", e)
	}
	return s.writeFrom(used)
}

// writeKeys writes the same SELECT with another list of columns, without placeholders.
func (s *statement) writeKeys(columns string) {
	used := 0
	placeholders(s.columns, func(int, bool) { used++ })
	s.write("SELECT ", columns)
	s.writeFrom(used)
}

func (s *statement) writeFrom(used int) (filtered bool) {
	s.write(" FROM ")
	used = s.writeText(s.base.From, used)
	if s.base.Where == "" {
		return false
	}
	s.write(" WHERE (")
	s.writeText(s.base.Where, used)
	s.write(")")
	return true
}

// writeText copies a part of the base with its placeholders in the dialect's form. used
// is the number of arguments before it.
func (s *statement) writeText(text string, used int) int {
	if s.native {
		s.write(text)
		return used
	}
	if strings.IndexByte(text, '?') < 0 {
		s.write(text)
		return used
	}
	from := 0
	placeholders(text, func(i int, _ bool) {
		s.writeLiteral(text[from:i])
		s.mark(used, s.base.Args[used])
		used++
		from = i + 1
	})
	s.writeLiteral(text[from:])
	return used
}

// writeLiteral copies text in which "??" stands for "?", except where the one who
// numbers the placeholders undoes that himself.
func (s *statement) writeLiteral(text string) {
	if !s.base.Question {
		text = strings.ReplaceAll(text, "??", "?")
	}
	s.write(text)
}

// mark writes the placeholder of argument i (from 0).
func (s *statement) mark(i int, arg any) {
	if s.question {
		s.write("?")
		s.args = append(s.args, arg)
		return
	}
	prefix := "$"
	if s.dialect == SQLite {
		prefix = "?"
	}
	s.write(prefix, strconv.Itoa(i+1))
}
