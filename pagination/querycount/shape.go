package querycount

import (
	"bytes"
	"strings"

	"github.com/mainstay-go/mainstay/pagination/internal/lex"
)

// shape makes statements equal that differ only in values, in lists of values and in white
// space. A literal with its sign, a placeholder and a list of them become "?". It writes
// the tokens of the statement with white space of its own.
func shape(sql, dialect string) string {
	s := shaper{lexer: lex.New(sql, dialect), out: make([]byte, 0, len(sql)+16)}
	s.levels = append(s.room[:0], level{})
	for {
		t := s.lexer.Next()
		if t.Kind == lex.End {
			break
		}
		s.token(t)
	}
	s.ends = 0 // a semicolon at the end means nothing
	s.flush()
	s.endElement()
	return string(s.out)
}

// shaper writes the tokens of a statement.
type shaper struct {
	lexer  lex.Lexer
	out    []byte
	room   [8]level
	levels []level // the open brackets

	last      lex.Kind
	text      string  // of the last token
	known     keyword // of the last token
	sign      string  // a sign that belongs to a number if one follows
	ends      int     // semicolons that belong to the shape if a token follows
	operand   bool    // the last token ends an operand
	tight     bool    // no blank follows the last token
	tableName bool    // a bracket begins the columns of a table
}

// level is a list in brackets, or the list of a clause. Elements of a list that are equal
// and have a value are written once.
type level struct {
	bracket     byte
	start       int // of the element
	previous    int // start of the element before
	previousEnd int // 0 = the element is the first
}

// keyword says how a word changes the tokens behind it.
type keyword uint8

const (
	begins   keyword = 1 << iota // an operand follows, and the list before it has ended
	spaced                       // a blank precedes a bracket
	negates                      // NULL, TRUE and FALSE behind it are no values
	columns                      // a table follows, and perhaps its columns
	constant                     // NULL, TRUE and FALSE
)

var keywords = func() map[string]keyword {
	m := make(map[string]keyword)
	for flags, words := range map[keyword][]string{
		begins | spaced: {
			"SELECT", "DISTINCT", "ALL", "WHERE", "AND", "OR", "XOR", "BETWEEN", "SYMMETRIC", "LIKE", "ILIKE", "RLIKE", "REGEXP", "GLOB", "MATCH", "ESCAPE",
			"IN", "FROM", "LIMIT", "OFFSET", "RETURNING", "THEN", "ELSE", "WHEN", "CASE", "ON", "BY", "HAVING", "VALUES", "SET", "INTERVAL",
			"MOD", "DIV", "TOP", "RETURN", "USING", "TO", "DEFAULT", "CALL", "EXEC", "EXECUTE", "UNION", "INTERSECT", "EXCEPT", "JOIN", "ORDER",
			"GROUP", "WINDOW", "FOR", "FETCH", "WITH", "UPDATE", "AS",
		},
		begins | spaced | negates: {"IS", "NOT"},
		begins | spaced | columns: {"INTO", "TABLE", "REFERENCES"},
		spaced:                    {"EXISTS", "OVER", "FILTER", "MATERIALIZED", "CONFLICT", "KEY", "LATERAL"},
		constant:                  {"NULL", "TRUE", "FALSE"},
	} {
		for _, w := range words {
			m[w] = flags
		}
	}
	return m
}()

// keywordOf returns the flags of a word, or 0.
func keywordOf(word string) keyword {
	var upper [16]byte
	if len(word) > len(upper) {
		return 0
	}
	for i := range len(word) {
		upper[i] = word[i]
		if upper[i] >= 'a' && upper[i] <= 'z' {
			upper[i] -= 'a' - 'A'
		}
	}
	return keywords[string(upper[:len(word)])]
}

func (s *shaper) token(t lex.Token) {
	text := s.lexer.Text(t)
	switch t.Kind {
	case lex.Number:
		s.sign = ""
		s.value(t.Kind)
		return
	case lex.String:
		if s.last == lex.String && s.sign == "" && s.ends == 0 {
			return // one string in two parts
		}
		s.value(t.Kind)
		return
	case lex.Placeholder:
		s.value(t.Kind)
		return
	case lex.Operator:
		if (text == "-" || text == "+") && (!s.operand || s.sign != "" || s.ends > 0) {
			s.flush()
			s.sign = text
			return
		}
	case lex.Punct:
		if text == ";" {
			if s.sign != "" {
				s.flush()
			}
			s.ends++
			return
		}
	}
	s.flush()
	known := keyword(0)
	if t.Kind == lex.Word && s.text != "." {
		known = keywordOf(text)
		if known&constant != 0 && !s.operand && s.known&negates == 0 {
			s.value(lex.Number)
			return
		}
	}
	if known&begins != 0 {
		s.endElement()
	}
	top := s.top()
	switch {
	case t.Kind != lex.Punct:
	case text == ",":
		s.endElement()
	case text == ")" || text == "]":
		s.endElement()
		if len(s.levels) > 1 {
			s.levels = s.levels[:len(s.levels)-1]
		}
	}
	bracketed := s.tableName
	switch {
	case text == "(":
		s.tableName = false
	case known&begins != 0:
		s.tableName = known&columns != 0
	}
	if s.blank(t.Kind, text, bracketed, top.bracket) {
		s.out = append(s.out, ' ')
	}
	colon := text == ":" && top.bracket == '[' && s.operand
	s.out = append(s.out, text...)
	s.last, s.text, s.known, s.tight = t.Kind, text, known, colon
	s.operand = t.Kind == lex.Name || t.Kind == lex.Word && known&begins == 0 || text == ")" || text == "]"
	switch {
	case t.Kind == lex.Punct && (text == "(" || text == "["):
		s.levels = append(s.levels, level{bracket: text[0], start: len(s.out)})
	case t.Kind == lex.Punct && text == ",":
		s.top().start = len(s.out)
	case known&begins != 0:
		*s.top() = level{bracket: s.top().bracket, start: len(s.out)}
	}
}

// value writes a value.
func (s *shaper) value(kind lex.Kind) {
	s.flush()
	if s.blank(kind, "?", false, s.top().bracket) {
		s.out = append(s.out, ' ')
	}
	s.out = append(s.out, '?')
	s.last, s.text, s.known, s.tight, s.operand = kind, "?", 0, false, true
}

// flush writes the semicolons and the sign before a token.
func (s *shaper) flush() {
	if s.ends > 0 {
		s.endElement()
		for ; s.ends > 0; s.ends-- {
			s.out = append(s.out, ';')
		}
		*s.top() = level{bracket: s.top().bracket, start: len(s.out)}
		s.last, s.text, s.known, s.tight, s.operand, s.tableName = lex.Punct, ";", 0, false, false, false
	}
	if s.sign == "" {
		return
	}
	sign := s.sign
	s.sign = ""
	if s.blank(lex.Operator, sign, false, s.top().bracket) {
		s.out = append(s.out, ' ')
	}
	s.out = append(s.out, sign...)
	s.last, s.text, s.known, s.tight, s.operand = lex.Operator, sign, 0, true, false
}

func (s *shaper) top() *level { return &s.levels[len(s.levels)-1] }

// endElement ends the element of a list, and removes it if it is equal to the one before.
func (s *shaper) endElement() {
	l := s.top()
	if l.start > len(s.out) {
		l.start = len(s.out)
	}
	element := bytes.TrimLeft(s.out[l.start:], " ")
	if l.previousEnd > 0 && bytes.IndexByte(element, '?') >= 0 && bytes.Equal(element, bytes.TrimLeft(s.out[l.previous:l.previousEnd], " ")) {
		s.out = s.out[:l.previousEnd]
		return
	}
	l.previous, l.previousEnd = l.start, len(s.out)
}

// blank reports whether a blank separates a token from the last one.
func (s *shaper) blank(kind lex.Kind, text string, tableName bool, bracket byte) bool {
	switch {
	case len(s.out) == 0:
		return false
	case s.last == lex.Operator && kind == lex.Operator:
		return true
	case s.tight || s.text == "." || s.text == "(" || s.text == "[" || s.text == "::" || text == "." || text == "::":
		return false
	case kind == lex.Punct && (text == "," || text == ")" || text == "]"):
		return false
	case text == ":" && bracket == '[' && s.operand:
		return false
	case text == "[":
		return !s.operand
	case text == "(":
		return s.last != lex.Word && s.last != lex.Name || s.known&spaced != 0 || tableName
	}
	return true
}

// reads reports whether a statement returns rows and writes nothing. A procedure may write:
// it counts as a read, because most of them load something.
func reads(sql, dialect string) bool {
	l := lex.New(sql, dialect)
	first := l.Next()
	for first.Kind == lex.Punct {
		first = l.Next()
	}
	switch strings.ToUpper(l.Text(first)) {
	case "SELECT", "TABLE", "VALUES", "FROM", "EXEC", "EXECUTE", "CALL":
		return true
	case "WITH":
		return !writes(l)
	}
	return false
}

// writes reports whether a write follows a bracket: behind the common table expressions, or
// in one of them.
func writes(l lex.Lexer) bool {
	bracket := false
	for t := l.Next(); t.Kind != lex.End; {
		text := l.Text(t)
		next := l.Next()
		if bracket && t.Kind == lex.Word && (next.Kind == lex.Word || next.Kind == lex.Name) {
			switch strings.ToUpper(text) {
			case "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE":
				return true
			}
		}
		bracket = text == "(" || text == ")"
		t = next
	}
	return false
}
