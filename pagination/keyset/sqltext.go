package keyset

import (
	"regexp"
	"strconv"
	"strings"
)

// placeholder is the place of a value in a SQL text.
type placeholder struct {
	at, end int
	number  int // of $1, @p1 or :1; 0 for "?"; questionMark for "??"
}

// questionMark is the number of "??", which stands for a question mark.
const questionMark = -1

// placeholders calls f with each "?", each "??" and each numbered placeholder of a dialect
// that is not in a string, a quoted name or a comment.
func placeholders(sql string, d Dialect, f func(placeholder)) {
	numbered := d.prefix()
	if numbered == "" || numbered == "?" {
		numbered = "$" // no dialect of these has it, so that it is an error
	}
	if !strings.ContainsAny(sql, "?"+numbered[:1]) {
		return
	}
	for i := 0; i < len(sql); i++ {
		if end := d.skipQuoted(sql, i); end > i {
			i = end - 1
			continue
		}
		if sql[i] == '?' {
			p := placeholder{at: i, end: i + 1}
			if strings.HasPrefix(sql[i:], "??") {
				p = placeholder{i, i + 2, questionMark}
				i++
			}
			f(p)
			continue
		}
		if !strings.HasPrefix(sql[i:], numbered) || i > 0 && (sql[i-1] == sql[i] || isWordByte(sql[i-1])) {
			continue
		}
		end := i + len(numbered)
		for end < len(sql) && sql[end] >= '0' && sql[end] <= '9' {
			end++
		}
		if n, err := strconv.Atoi(sql[i+len(numbered) : end]); err == nil && n > 0 && (end == len(sql) || !isWordByte(sql[end])) {
			f(placeholder{i, end, n})
			i = end - 1
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

// skipQuoted is skipQuoted with the strings and comments that only one dialect has:
// backslashes in strings, "#", and the $tag$ strings of PostgreSQL.
func (d Dialect) skipQuoted(sql string, i int) int {
	c := sql[i]
	escapes := d == MySQL && c != '`' || d == Postgres && c == '\'' && i > 0 && sql[i-1]|0x20 == 'e' && (i == 1 || !isWordByte(sql[i-2]))
	switch {
	case escapes && (c == '\'' || c == '"'):
		for end := i + 1; end < len(sql); end++ {
			switch sql[end] {
			case '\\':
				end++
			case c:
				return end + 1
			}
		}
		return len(sql)
	case d == MySQL && c == '#':
		line, _, _ := strings.Cut(sql[i:], "\n")
		return i + len(line)
	case d == Postgres && c == '$' && (i == 0 || !isWordByte(sql[i-1])):
		tag := dollarTag.FindString(sql[i:])
		if end := strings.Index(sql[i+len(tag):], tag); tag != "" && end >= 0 {
			return i + end + 2*len(tag)
		}
	}
	return skipQuoted(sql, i)
}

var dollarTag = regexp.MustCompile(`^\$(?:[A-Za-z_\x80-\xff][A-Za-z_0-9\x80-\xff]*)?\$`)

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

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80
}

// skipSpace returns the index behind the white space and the comments at i.
func skipSpace(sql string, i int) int {
	for i < len(sql) {
		switch c := sql[i]; {
		case c == ' ' || c >= '\t' && c <= '\r':
			i++
		case (c == '-' || c == '/') && skipQuoted(sql, i) > i:
			i = skipQuoted(sql, i)
		default:
			return i
		}
	}
	return i
}

// word returns the bare word at i, or "".
func word(sql string, i int) string {
	end := i
	for end < len(sql) && isWordByte(sql[end]) {
		end++
	}
	return sql[i:end]
}

// findWord returns the index of a word outside strings, names, comments and brackets, or
// the length of the text.
func findWord(sql, wanted string) int {
	depth := 0
	for i := 0; i < len(sql); {
		switch end := skipQuoted(sql, i); {
		case end > i:
			i = end
		case sql[i] == '(':
			depth++
			i++
		case sql[i] == ')':
			depth--
			i++
		case isWordByte(sql[i]):
			w := word(sql, i)
			if depth == 0 && strings.EqualFold(w, wanted) && (i == 0 || sql[i-1] != '.') {
				return i
			}
			i += len(w)
		default:
			i++
		}
	}
	return len(sql)
}
