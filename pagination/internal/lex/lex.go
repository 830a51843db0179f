// Package lex splits SQL texts into tokens, by the rules of each dialect.
package lex

import "strings"

// The dialects that differ in strings, names and comments. Any other dialect is parsed by
// the SQL standard.
const (
	Postgres  = "postgres"
	MySQL     = "mysql"
	SQLite    = "sqlite"
	SQLServer = "sqlserver"
)

// Kind is the kind of a token.
type Kind uint8

// The kinds.
const (
	End         Kind = iota // the end of the text
	Word                    // a keyword or a bare name, also @@name
	Name                    // a quoted name
	String                  // with its prefix, such as E'x'
	Number                  // without a sign
	Placeholder             // "?", "$1", ":name", "@p1"
	Operator                // "=", "->>", "::"
	Punct                   // any other single character
)

// Token is a part of a text.
type Token struct {
	Kind       Kind
	Start, End int // offsets in the text
}

// Lexer reads the tokens of a text. Comments and white space are no tokens.
type Lexer struct {
	sql                                string
	at                                 int
	last                               Token
	postgres, mysql, sqlite, sqlserver bool
}

// New returns a lexer at the beginning of a text.
func New(sql, dialect string) Lexer {
	return Lexer{sql: sql, postgres: dialect == Postgres, mysql: dialect == MySQL, sqlite: dialect == SQLite, sqlserver: dialect == SQLServer}
}

// Text returns the text of a token.
func (l *Lexer) Text(t Token) string { return l.sql[t.Start:t.End] }

// Next returns the next token.
func (l *Lexer) Next() Token {
	l.at = l.skip(l.at)
	start := l.at
	if start >= len(l.sql) {
		return Token{End, start, start}
	}
	kind, end := l.token(start)
	l.at, l.last = end, Token{kind, start, end}
	return l.last
}

// skip returns the index behind the white space and the comments at i.
func (l *Lexer) skip(i int) int {
	for i < len(l.sql) {
		switch {
		case l.sql[i] <= ' ':
			i++
		case l.comment(i):
			i = l.commentEnd(i)
		default:
			return i
		}
	}
	return i
}

func (l *Lexer) token(i int) (Kind, int) {
	c := l.sql[i]
	switch {
	case isLetter(c):
		return l.word(i)
	case isDigit(c), c == '.' && isDigit(l.byte(i+1)) && !l.behindOperand(i):
		return Number, l.numberEnd(i)
	case c == '\'' || c == '"' && l.mysql:
		return String, l.quoted(i, c, l.mysql)
	case c == '"' || c == '`' && !l.postgres:
		return Name, l.quoted(i, c, false)
	case c == '[' && (l.sqlite || l.sqlserver):
		return Name, l.quoted(i, ']', false)
	case c == '$':
		if end := l.dollarEnd(i); end > i {
			return String, end
		}
		if isDigit(l.byte(i+1)) || l.sqlite && isLetter(l.byte(i+1)) {
			return Placeholder, l.wordEnd(i + 1)
		}
		return Punct, i + 1
	case c == '?':
		if l.postgres && (l.byte(i+1) == '|' || l.byte(i+1) == '&') {
			return Operator, i + 2
		}
		end := i + 1
		for isDigit(l.byte(end)) {
			end++
		}
		return Placeholder, end
	case c == ':':
		switch next := l.byte(i + 1); {
		case next == ':' || next == '=':
			return Operator, i + 2
		case !l.postgres && isWord(next) && !l.behindOperand(i):
			return Placeholder, l.wordEnd(i + 1)
		}
		return Operator, i + 1
	case c == '@' && l.byte(i+1) == '@' && isLetter(l.byte(i+2)):
		return Word, l.wordEnd(i + 2)
	case c == '@' && l.mysql:
		if next := l.byte(i + 1); next == '`' || next == '\'' || next == '"' {
			return Word, l.quoted(i+1, next, next != '`')
		}
		return Word, l.wordEnd(i + 1)
	case c == '@' && l.parameter(i):
		return Placeholder, l.wordEnd(i + 1)
	case c == '#' && l.sqlserver && isWord(l.byte(i+1)):
		return Word, l.wordEnd(i + 1)
	case isOperator(c):
		return Operator, l.operatorEnd(i)
	}
	return Punct, i + 1
}

// word reads a word, or the string that it is the prefix of.
func (l *Lexer) word(i int) (Kind, int) {
	end := l.wordEnd(i)
	prefix := l.sql[i:end]
	next := l.byte(end)
	if len(prefix) == 1 && !l.behindDot(i) {
		switch p := prefix[0] | 0x20; {
		case next == '\'' && p == 'e' && !l.mysql:
			return String, l.quoted(end, next, true)
		case next == '\'' && (p == 'n' || p == 'x' || p == 'b'):
			return String, l.quoted(end, next, l.mysql)
		case next == '&' && p == 'u' && !l.mysql:
			switch l.byte(end + 1) {
			case '\'':
				return String, l.quoted(end+1, '\'', false)
			case '"':
				return Name, l.quoted(end+1, '"', false)
			}
		}
	}
	if l.mysql && prefix[0] == '_' { // the character set of a string
		at := l.skip(end)
		switch c := l.byte(at); {
		case c == '\'' || c == '"':
			return String, l.quoted(at, c, true)
		case (c|0x20 == 'x' || c|0x20 == 'b') && l.byte(at+1) == '\'':
			return String, l.quoted(at+1, '\'', false)
		}
	}
	return Word, end
}

// wordEnd returns the index behind the word at i. A word may contain "$", and "@" before
// another letter.
func (l *Lexer) wordEnd(i int) int {
	for i < len(l.sql) && (isWord(l.sql[i]) || l.sql[i] == '$' || (l.sql[i] == '@' || l.sql[i] == '#' && l.sqlserver) && isWord(l.byte(i+1))) {
		i++
	}
	return i
}

// numberEnd returns the index behind a number such as 1, .5, 0x1F or 1.5e-3.
func (l *Lexer) numberEnd(i int) int {
	begin := i
	hex := strings.HasPrefix(l.sql[i:], "0x")
	for i < len(l.sql) {
		c := l.sql[i]
		if !isWord(c) && c != '.' && (c != '+' && c != '-' || hex || i == begin || l.sql[i-1]|0x20 != 'e') {
			break
		}
		i++
	}
	return i
}

// quoted returns the index behind a quoted text. A doubled quote is part of the text.
func (l *Lexer) quoted(i int, quote byte, escapes bool) int {
	for i++; i < len(l.sql); i++ {
		switch {
		case escapes && l.sql[i] == '\\':
			i++
		case l.sql[i] != quote:
		case l.byte(i+1) == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(l.sql)
}

// dollarEnd returns the index behind a string of PostgreSQL such as $tag$…$tag$, or i.
func (l *Lexer) dollarEnd(i int) int {
	if !l.postgres {
		return i
	}
	end := i + 1
	for isWord(l.byte(end)) && (end > i+1 || !isDigit(l.sql[end])) {
		end++
	}
	if l.byte(end) != '$' {
		return i
	}
	tag := l.sql[i : end+1]
	if n := strings.Index(l.sql[end+1:], tag); n >= 0 {
		return end + 1 + n + len(tag)
	}
	return len(l.sql)
}

// comment reports whether a comment begins. MySQL has "#", and requires a blank behind "--".
func (l *Lexer) comment(i int) bool {
	switch l.sql[i] {
	case '#':
		return l.mysql
	case '/':
		return l.byte(i+1) == '*'
	case '-':
		return l.byte(i+1) == '-' && (!l.mysql || i+2 >= len(l.sql) || l.sql[i+2] <= ' ')
	}
	return false
}

// commentEnd returns the index behind a comment. PostgreSQL and SQL Server nest them.
func (l *Lexer) commentEnd(i int) int {
	if l.sql[i] != '/' {
		if n := strings.IndexByte(l.sql[i:], '\n'); n >= 0 {
			return i + n + 1
		}
		return len(l.sql)
	}
	depth := 1
	for i += 2; i < len(l.sql); i++ {
		switch {
		case l.sql[i] == '*' && l.byte(i+1) == '/':
			i++
			if depth--; depth == 0 {
				return i + 1
			}
		case (l.postgres || l.sqlserver) && l.sql[i] == '/' && l.byte(i+1) == '*':
			i++
			depth++
		}
	}
	return len(l.sql)
}

// operatorEnd returns the index behind an operator. A sign before an operand is an operator
// of its own.
func (l *Lexer) operatorEnd(i int) int {
	begin := i
	for ; i < len(l.sql); i++ {
		c := l.sql[i]
		switch {
		case c == '+', c == '-' && l.byte(i+1) != '>' && (i == begin || l.sql[i-1] != '#'):
			if i == begin {
				i++
			}
			return i
		case i > begin && (l.comment(i) || c == '@' && (l.mysql || l.parameter(i)) || c == '#' && l.sqlserver):
			return i
		case c == '?' && l.postgres && i > begin && l.sql[i-1] == '@':
		case !isOperator(c):
			return i
		}
	}
	return i
}

// parameter reports whether a named parameter such as @id begins. PostgreSQL has operators
// that end with "@", and its drivers have named parameters.
func (l *Lexer) parameter(i int) bool {
	if !l.postgres {
		return isWord(l.byte(i + 1))
	}
	return isLetter(l.byte(i+1)) && (i == 0 || l.sql[i-1] != '<' && l.sql[i-1] != '@')
}

// behindOperand reports whether the text before i, without white space, is an operand.
func (l *Lexer) behindOperand(i int) bool {
	if l.last.End != i || i == 0 {
		return false
	}
	switch l.last.Kind {
	case Punct:
		return l.sql[i-1] == ')' || l.sql[i-1] == ']'
	case Operator, End:
		return false
	}
	return true
}

func (l *Lexer) behindDot(i int) bool { return i > 0 && l.sql[i-1] == '.' }

func (l *Lexer) byte(i int) byte {
	if i < len(l.sql) {
		return l.sql[i]
	}
	return 0
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80 }

func isWord(c byte) bool { return isLetter(c) || isDigit(c) }

func isOperator(c byte) bool { return strings.IndexByte("=<>!~|&@#%^/*+-", c) >= 0 }
