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
		if end := d.skip(sql, i); end > i {
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

// part is the kind of a part of a SQL text.
type part uint8

const (
	code      part = iota // anything else
	literally             // a string
	quoted                // a quoted name
	comment               // a comment, or a border of /*! … */, which has code of MariaDB and MySQL
)

// part returns the kind of the string, the quoted name or the comment that begins at i, the
// index behind it, and whether it has its end. It returns code and i for anything else. It
// reads a doubled quote as the end of one string and the beginning of another. The result is
// the same.
func (d Dialect) part(sql string, i int) (kind part, end int, whole bool) {
	find := func(kind part, from int, border string) (part, int, bool) {
		if n := strings.Index(sql[min(from, len(sql)):], border); n >= 0 {
			return kind, from + n + len(border), true
		}
		return kind, len(sql), false
	}
	rest := sql[i:]
	switch c := sql[i]; {
	case c == '\'' && d == Oracle && len(rest) > 2 && prefixed(sql, i, 'q'):
		return find(literally, i+2, closingQuote(rest[1])+"'")
	case c == '\'' && (d == MySQL || d == Postgres && prefixed(sql, i, 'e')), c == '"' && d == MySQL:
		return escaped(sql, i)
	case c == '\'':
		return find(literally, i+1, "'")
	case c == '"', c == '`' && (d == MySQL || d == SQLite || d == Generic):
		return find(quoted, i+1, rest[:1])
	case c == '[' && (d == SQLite || d == SQLServer):
		return find(quoted, i+1, "]")
	case strings.HasPrefix(rest, "--") && (d != MySQL || len(rest) == 2 || rest[2] <= ' '), c == '#' && d == MySQL:
		return find(comment, i+1, "\n")
	case c == '*' && d == MySQL && strings.HasPrefix(rest, "*/"):
		return comment, i + 2, true
	case strings.HasPrefix(rest, "/*"):
		if code := versioned.FindString(rest); code != "" && d == MySQL {
			return comment, i + len(code), true
		}
		return d.blockComment(sql, i)
	case c == '$' && d == Postgres && (i == 0 || !isWordByte(sql[i-1])):
		if tag := dollarTag.FindString(rest); tag != "" {
			return find(literally, i+len(tag), tag)
		}
	}
	return code, i, true
}

// blockComment is part for a comment in brackets. PostgreSQL and SQL Server nest them.
func (d Dialect) blockComment(sql string, i int) (kind part, end int, whole bool) {
	depth := 1
	for i += 2; i+1 < len(sql); i++ {
		switch {
		case sql[i] == '*' && sql[i+1] == '/':
			i++
			if depth--; depth == 0 {
				return comment, i + 1, true
			}
		case (d == Postgres || d == SQLServer) && sql[i] == '/' && sql[i+1] == '*':
			i++
			depth++
		}
	}
	return comment, len(sql), false
}

// escaped is part for a string with backslashes.
func escaped(sql string, i int) (kind part, end int, whole bool) {
	for end := i + 1; end < len(sql); end++ {
		switch sql[end] {
		case '\\':
			end++
		case sql[i]:
			return literally, end + 1, true
		}
	}
	return literally, len(sql), false
}

// prefixed reports whether a letter stands before the quote at i, as in E'…'.
func prefixed(sql string, i int, letter byte) bool {
	if i == 0 || sql[i-1]|0x20 != letter {
		return false
	}
	return i == 1 || !isWordByte(sql[i-2]) || letter == 'q' && sql[i-2]|0x20 == 'n' && (i == 2 || !isWordByte(sql[i-3]))
}

// closingQuote returns the end of a string such as q'[…]' of Oracle.
func closingQuote(opening byte) string {
	if i := strings.IndexByte("[({<", opening); i >= 0 {
		return "])}>"[i : i+1]
	}
	return string(opening)
}

var (
	dollarTag = regexp.MustCompile(`^\$(?:[A-Za-z_\x80-\xff][A-Za-z_0-9\x80-\xff]*)?\$`)
	versioned = regexp.MustCompile(`^/\*M?!\d*`)
)

// skip returns the index behind the string, the quoted name or the comment at i, or i.
func (d Dialect) skip(sql string, i int) int {
	_, end, _ := d.part(sql, i)
	return end
}

// unfinished returns the fault of a string, a quoted name or a comment that does not end,
// or "".
func (d Dialect) unfinished(sql string) string {
	open := 0
	for i := 0; i < len(sql); {
		kind, end, whole := d.part(sql, i)
		switch {
		case kind == code:
			end++
		case kind == comment && sql[i] == '/' && d == MySQL && versioned.MatchString(sql[i:]):
			open++
		case kind == comment && sql[i] == '*':
			open--
		case kind == comment && sql[i] == '/' && !whole:
			return "has a comment without an end"
		case kind != comment && !whole:
			return "has a quote without its end"
		}
		i = end
	}
	if open != 0 {
		return "has a comment without an end"
	}
	return ""
}

// closed returns a text that ends outside of a comment.
func (d Dialect) closed(sql string) string {
	if d.commentAtEnd(sql) {
		return sql + "\n"
	}
	return sql
}

// commentAtEnd reports whether a text ends in a comment to the end of the line.
func (d Dialect) commentAtEnd(sql string) bool {
	if !strings.Contains(sql, "--") && (d != MySQL || strings.IndexByte(sql, '#') < 0) {
		return false
	}
	open := false
	for i := 0; i < len(sql); {
		kind, end, whole := d.part(sql, i)
		open = kind == comment && !whole
		i = max(end, i+1)
	}
	return open
}

// token is a word, a sign, a string or a quoted name.
type token struct {
	kind    part
	at, end int
}

// tokens returns the tokens of a text. It passes over comments and the content of
// sub-selects.
func (d Dialect) tokens(sql string) (list []token) {
	for i := 0; i < len(sql); {
		kind, end, _ := d.part(sql, i)
		if kind == code {
			end = i + max(1, len(word(sql, i)))
		}
		switch last := len(list) - 1; {
		case kind == comment, sql[i] <= ' ':
		case kind != code && last >= 0 && list[last].end == i && sql[list[last].at] == sql[i]: // a doubled quote
			list[last].end = end
		default:
			list = append(list, token{kind, i, end})
			if sql[i] == '(' && d.isSelect(sql, end) {
				end = d.closing(sql, i)
			}
		}
		i = end
	}
	return list
}

// isSelect reports whether a sub-select begins behind the bracket before i.
func (d Dialect) isSelect(sql string, i int) bool {
	for i = d.skipSpace(sql, i); i < len(sql) && sql[i] == '('; {
		i = d.skipSpace(sql, i+1)
	}
	switch strings.ToUpper(word(sql, i)) {
	case "SELECT", "WITH", "VALUES":
		return true
	}
	return false
}

// closing returns the index of the bracket that closes the one at i, or the length.
func (d Dialect) closing(sql string, i int) int {
	depth := 0
	for i < len(sql) {
		if kind, end, _ := d.part(sql, i); kind != code {
			i = end
			continue
		}
		switch sql[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
		i++
	}
	return len(sql)
}

// stripped returns SQL text without its comments, strings and quoted names.
func (d Dialect) stripped(sql string) string { return d.keepOutside(sql, false) }

// topLevel returns the text outside strings, names, comments and brackets.
func (d Dialect) topLevel(sql string) string { return d.keepOutside(sql, true) }

func (d Dialect) keepOutside(sql string, brackets bool) string {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(sql); i++ {
		if kind, end, _ := d.part(sql, i); kind != code {
			if kind == comment {
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
func (d Dialect) skipSpace(sql string, i int) int {
	for i < len(sql) {
		switch kind, end, _ := d.part(sql, i); {
		case sql[i] == ' ' || sql[i] >= '\t' && sql[i] <= '\r':
			i++
		case kind == comment:
			i = end
		default:
			return i
		}
	}
	return i
}

// word returns the bare word at i, or "".
func word(sql string, i int) string {
	end := min(i, len(sql))
	for end < len(sql) && isWordByte(sql[end]) {
		end++
	}
	return sql[min(i, len(sql)):end]
}

// findWord returns the index of a word outside strings, names, comments and brackets, or
// the length of the text.
func (d Dialect) findWord(sql, wanted string) int {
	depth := 0
	for i := 0; i < len(sql); {
		switch end := d.skip(sql, i); {
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
