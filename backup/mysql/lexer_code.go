package mysql

import (
	"bytes"
	"errors"
)

// step takes one byte of what is not rows.
func (l *mysqlLexer) step(c byte, at int64) {
	switch l.state {
	case lexCode:
		l.code(c, at)
	case lexQuote:
		l.keep(c)
		switch {
		case c == '\\' && l.quote != '`' && !l.noEscapes:
			l.state = lexQuoteEscape
		case c == l.quote:
			l.state = lexCode
		}
	case lexQuoteEscape:
		l.keep(c)
		l.state = lexQuote
	case lexValueEscape:
		l.state = lexValue
	case lexDash:
		if c == '-' {
			l.state = lexDashDash
			return
		}
		l.plain('-', at-1)
		l.code(c, at)
	case lexDashDash:
		if c <= ' ' {
			if l.state, l.comment = lexLine, l.comment[:0]; c == '\n' {
				l.line()
			}
			return
		}
		l.plain('-', at-2)
		l.plain('-', at-1)
		l.code(c, at)
	case lexSlash:
		if c == '*' {
			l.state = lexSlashStar
			return
		}
		l.plain('/', at-1)
		l.code(c, at)
	case lexSlashStar, lexSlashM:
		switch {
		case c == '!':
			l.state, l.exec = lexVersion, true
		case c == 'M' && l.state == lexSlashStar:
			l.state = lexSlashM
		case c == '*':
			l.state = lexBlockStar
		default:
			l.state = lexBlock
		}
	case lexVersion:
		switch {
		case c >= '0' && c <= '9':
		case c == '\\':
			// The line by which a client is told to keep to SQL; no server executes it.
			l.state, l.exec = lexBlock, false
		default:
			l.space()
			l.code(c, at)
		}
	case lexStar:
		if c == '/' {
			l.exec = false
			l.space()
			return
		}
		l.plain('*', at-1)
		l.code(c, at)
	case lexBlock:
		if c == '*' {
			l.state = lexBlockStar
		}
	case lexBlockStar:
		switch c {
		case '/':
			l.space()
		case '*':
		default:
			l.state = lexBlock
		}
	case lexDelimiter:
		if c != '\n' {
			l.keep(c)
			return
		}
		l.setDelimiter()
	}
}

// code takes a byte outside quotes and comments.
func (l *mysqlLexer) code(c byte, at int64) {
	l.state = lexCode
	if c == l.delimiter[l.matched] {
		if l.matched++; l.matched == len(l.delimiter) {
			l.end(at + 1)
		}
		return
	}
	for ; l.matched > 0; l.matched-- { // it was none; all its bytes are the same
		l.plain(l.delimiter[0], at-int64(l.matched))
	}
	switch c {
	case '\'', '"', '`':
		l.begin(at)
		l.keep(c)
		l.state, l.quote = lexQuote, c
	case '-':
		l.state = lexDash
	case '#':
		l.state, l.comment = lexLine, l.comment[:0]
	case '/':
		l.state = lexSlash
	case '*':
		if l.exec {
			l.state = lexStar
			return
		}
		l.plain(c, at)
	case ' ', '\t', '\r', '\n', '\v', '\f':
		if l.space(); equalFold(l.head, "DELIMITER ") {
			l.state = lexDelimiter
		}
	default:
		l.plain(c, at)
	}
}

// plain takes a byte of code that means nothing to the lexer.
func (l *mysqlLexer) plain(c byte, at int64) {
	l.state = lexCode
	l.begin(at)
	l.keep(c)
	if c == '(' && l.recent&(1<<48-1) == wordVALUES && l.inserts() {
		l.state, l.depth, l.rows = lexRows, 1, 1
		return
	}
	if c >= 'a' && c <= 'z' {
		c -= 'a' - 'A'
	}
	l.recent = l.recent<<8 | uint64(c)
}

// space ends a word.
func (l *mysqlLexer) space() {
	l.state = lexCode
	if n := len(l.head); n > 0 && l.head[n-1] != ' ' {
		l.keep(' ')
	}
}

func (l *mysqlLexer) keep(c byte) {
	if len(l.head) < cap(l.head) {
		l.head = append(l.head, c)
	}
}

func (l *mysqlLexer) begin(at int64) {
	if len(l.head) == 0 {
		l.begun, l.dump.complete = at, false
	}
}

func (l *mysqlLexer) setDelimiter() {
	d := bytes.TrimSpace(l.head[len("DELIMITER "):])
	if len(d) == 0 || len(d) > 8 || bytes.ContainsAny(d, "'\"`\\-#/* ") || len(bytes.Trim(d, string(d[:1]))) > 0 {
		l.err = errors.New("it changes its delimiter to one that the dump programs do not use")
		return
	}
	l.delimiter = append(l.delimiter[:0], d...)
	l.head, l.recent, l.state = l.head[:0], 0, lexCode
}
