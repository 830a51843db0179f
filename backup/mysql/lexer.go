package mysql

import (
	"bytes"
	"errors"
)

// mysqlLexer reads the SQL that mariadb-dump or mysqldump writes, in pieces of any
// size, with the rules of the client that will restore it: quotes, the three kinds of
// comments, DELIMITER lines, statements. It keeps the beginning of one statement at a
// time and counts the rows of INSERT statements without looking into them.
type mysqlLexer struct {
	dump mysqlDump

	state     lexState
	quote     byte // in lexQuote
	matched   int  // bytes of the delimiter that have gone by
	delimiter []byte
	exec      bool // in /*! … */, which servers execute
	noEscapes bool // the statement's sql_mode has NO_BACKSLASH_ESCAPES

	head    []byte // the statement's code, without comments, blanks made one
	recent  uint64 // the last eight bytes of code outside quotes and blanks
	table   int    // of the rows that go by
	rows    int64
	total   int64 // rows of the statements before
	depth   int
	comment []byte // the beginning of a line comment between statements

	offset, begun int64
	err           error
}

type lexState uint8

const (
	lexCode lexState = iota
	lexRows
	lexQuote       // in code
	lexQuoteEscape // behind a backslash in it
	lexValue       // the text of a row
	lexValueEscape
	lexDash      // -
	lexDashDash  // --
	lexLine      // a comment to the end of the line
	lexSlash     // /
	lexSlashStar // /*
	lexSlashM    // /*M
	lexVersion   // the number behind /*!
	lexStar      // * in code
	lexBlock     // in /* … */
	lexBlockStar // * in it
	lexDelimiter // a DELIMITER line
)

const (
	headLimit    = 4 << 10 // holds four names of 64 characters, all of them escaped
	commentLimit = 160
	wordVALUES   = 'V'<<40 | 'A'<<32 | 'L'<<24 | 'U'<<16 | 'E'<<8 | 'S'
)

func newMySQLLexer() *mysqlLexer {
	return &mysqlLexer{
		dump:      newMySQLDump(),
		delimiter: []byte{';'},
		head:      make([]byte, 0, headLimit),
		comment:   make([]byte, 0, commentLimit),
	}
}

// rowByte marks what matters in rows outside quotes.
var rowByte = [256]bool{'(': true, ')': true, '\'': true, '"': true, '`': true, ';': true}

// Write takes the next piece. It never fails: what is wrong is told by finish.
func (l *mysqlLexer) Write(p []byte) (int, error) {
	for i := 0; i < len(p) && l.err == nil; {
		switch l.state {
		case lexRows:
			i = l.row(p, i)
		case lexValue:
			i = l.value(p, i)
		case lexLine:
			end := bytes.IndexByte(p[i:], '\n')
			if end < 0 {
				end = len(p) - i
			}
			if len(l.head) == 0 {
				l.comment = append(l.comment, p[i:i+min(end, cap(l.comment)-len(l.comment))]...)
			}
			if i += end; i < len(p) {
				l.line()
			}
		default:
			l.step(p[i], l.offset+int64(i))
			i++
		}
	}
	l.offset += int64(len(p))
	return len(p), nil
}

// row reads on between the values of rows.
func (l *mysqlLexer) row(p []byte, i int) int {
	depth := l.depth
	for i < len(p) {
		c := p[i]
		if !rowByte[c] {
			i++
			continue
		}
		switch c {
		case '(':
			if depth == 0 {
				l.rows++
			}
			depth++
		case ')':
			if depth--; depth < 0 {
				l.err = errors.New("a parenthesis closes that was not opened")
				return i
			}
		case ';':
			if depth > 0 {
				l.err = errors.New("a statement ends within a row")
				return i
			}
			l.depth, l.state = 0, lexCode
			return i
		default:
			l.depth, l.state, l.quote = depth, lexValue, c
			return i + 1
		}
		i++
	}
	l.depth = depth
	return i
}

// value reads on in a quoted value.
func (l *mysqlLexer) value(p []byte, i int) int {
	end := -1 // of the value, as far as it is known
	for {
		if end < i {
			if end = bytes.IndexByte(p[i:], l.quote); end < 0 {
				end = len(p)
			} else {
				end += i
			}
		}
		escape := -1
		if l.quote != '`' && !l.noEscapes {
			escape = bytes.IndexByte(p[i:end], '\\')
		}
		switch {
		case escape >= 0 && i+escape+1 == len(p):
			l.state = lexValueEscape
			return len(p)
		case escape >= 0:
			i += escape + 2
		case end == len(p):
			return end
		default:
			l.state = lexRows
			return end + 1
		}
	}
}

// inserts reports whether the rows of a table begin, and of which.
func (l *mysqlLexer) inserts() bool {
	t := tokens{l.head}
	switch {
	case t.word("INSERT"):
		t.word("IGNORE")
	case t.word("REPLACE"):
	default:
		return false
	}
	if !t.word("INTO") {
		return false
	}
	name, _, ok := t.name()
	if !ok {
		return false
	}
	l.table = l.dump.table(name)
	return true
}

// end takes a whole statement.
func (l *mysqlLexer) end(at int64) {
	l.matched = 0
	if len(l.head) > 0 {
		l.dump.longest = max(l.dump.longest, at-l.begun)
	}
	switch {
	case l.rows > 0:
		l.dump.tables[l.table].Rows += l.rows
		l.total += l.rows
	case len(l.head) > 3 && equalFold(l.head[:4], "SET "):
		if upper := bytes.ToUpper(l.head); bytes.Contains(upper, []byte("SQL_MODE")) {
			l.noEscapes = bytes.Contains(upper, []byte("NO_BACKSLASH_ESCAPES"))
		}
	default:
		l.err = l.dump.statement(l.head)
	}
	l.head, l.rows, l.recent = l.head[:0], 0, 0
}

// line takes a whole comment.
func (l *mysqlLexer) line() {
	if l.state = lexCode; len(l.head) == 0 {
		l.dump.comment(l.comment)
	}
	l.comment = l.comment[:0]
	l.space()
}

// finish tells what the dump holds, or that it is cut or damaged.
func (l *mysqlLexer) finish() (mysqlDump, error) {
	if l.err == nil && l.state == lexLine {
		l.line()
	}
	switch {
	case l.err != nil:
	case l.state != lexCode || l.matched > 0 || l.exec || len(bytes.TrimSpace(l.head)) > 0:
		l.err = errors.New("it ends within a statement")
	case !l.dump.complete:
		l.err = errors.New("its last line, -- Dump completed, is missing")
	}
	return l.dump, l.err
}

func equalFold(a []byte, b string) bool { return len(a) == len(b) && bytes.EqualFold(a, []byte(b)) }
