package querycount

import "strings"

// The dialects that differ in strings, names and comments. Any other dialect is parsed by
// the SQL standard.
const (
	postgres  = "postgres"
	mysql     = "mysql"
	sqlite    = "sqlite"
	sqlserver = "sqlserver"
)

// shape makes statements equal that differ only in values: literals, placeholders and lists
// of them become "?", and any white space becomes one blank.
func shape(sql, dialect string) string {
	var b strings.Builder
	b.Grow(len(sql))
	emit := func(s string) { b.WriteString(s) }
	word := false // the last byte belongs to a name
	last := byte(0)
	for i := 0; i < len(sql); {
		c := sql[i]
		switch {
		case commentBegins(sql, i, dialect):
			i = commentEnd(sql, i, dialect)
			if b.Len() > 0 && last != ' ' {
				emit(" ")
				last = ' '
			}
			word = false
			continue
		case c == '$' && dialect == postgres && dollarEnd(sql, i) > i:
			i = dollarEnd(sql, i)
			emit("?")
			word, last = false, '?'
			continue
		case c == '"' && dialect != mysql || c == '`' && dialect != postgres || c == '[' && (dialect == sqlite || dialect == sqlserver): // a quoted name
			quote := c
			if c == '[' {
				quote = ']'
			}
			end := i + 1 + strings.IndexByte(sql[i+1:], quote)
			if end <= i {
				end = len(sql) - 1
			}
			emit(sql[i : end+1])
			i, word, last = end+1, true, c
			continue
		case c == '-' && i+1 < len(sql) && sql[i+1] >= '0' && sql[i+1] <= '9' && signed(b.String()):
			i++
			continue
		case c == '\'' || c == '"' && dialect == mysql:
			escapes := dialect == mysql || dialect == postgres && i > 0 && (sql[i-1] == 'E' || sql[i-1] == 'e') && (i == 1 || !isWord(sql[i-2]))
			i = stringEnd(sql, i, escapes)
			emit("?")
			word, last = false, '?'
			continue
		case c >= '0' && c <= '9' && !word:
			for begin := i; i < len(sql) && (isWord(sql[i]) || sql[i] == '.' || exponent(sql[begin:i], sql[i])); i++ {
			}
			emit("?")
			last = '?'
			continue
		case c == '@' && dialect == sqlserver && !word && parameterEnd(sql, i) > i:
			i = parameterEnd(sql, i)
			emit("?")
			last = '?'
			continue
		case (c == '$' || c == ':' && dialect != postgres || c == '?') && i+1 < len(sql) && sql[i+1] >= '0' && sql[i+1] <= '9' && !word:
			for i++; i < len(sql) && sql[i] >= '0' && sql[i] <= '9'; i++ {
			}
			emit("?")
			last = '?'
			continue
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			for i < len(sql) && (sql[i] == ' ' || sql[i] == '\t' || sql[i] == '\n' || sql[i] == '\r') {
				i++
			}
			if last != ' ' {
				emit(" ")
			}
			word, last = false, ' '
			continue
		}
		b.WriteByte(c)
		last = c
		word = isWord(c)
		i++
	}
	return joinRows(joinLists(strings.TrimSpace(b.String())))
}

// commentBegins reports whether a comment begins. MySQL has "#", and requires a blank
// behind "--".
func commentBegins(sql string, i int, dialect string) bool {
	rest := sql[i:]
	switch {
	case strings.HasPrefix(rest, "/*"), dialect == mysql && rest[0] == '#':
		return true
	case !strings.HasPrefix(rest, "--"):
		return false
	}
	return dialect != mysql || len(rest) == 2 || rest[2] <= ' '
}

// commentEnd returns the index behind a comment. Comments carry traces, and no meaning.
// PostgreSQL and SQL Server nest them.
func commentEnd(sql string, i int, dialect string) int {
	if sql[i] != '/' {
		if n := strings.IndexByte(sql[i:], '\n'); n >= 0 {
			return i + n + 1
		}
		return len(sql)
	}
	nested := dialect == postgres || dialect == sqlserver
	depth := 1
	for i += 2; i < len(sql); i++ {
		switch {
		case strings.HasPrefix(sql[i:], "*/"):
			i++
			if depth--; depth == 0 {
				return i + 1
			}
		case nested && strings.HasPrefix(sql[i:], "/*"):
			i++
			depth++
		}
	}
	return len(sql)
}

// dollarEnd returns the index behind a string such as $tag$…$tag$, or i.
func dollarEnd(sql string, i int) int {
	end := i + 1
	for end < len(sql) && isWord(sql[end]) && (end > i+1 || sql[end] < '0' || sql[end] > '9') {
		end++
	}
	if end >= len(sql) || sql[end] != '$' || i > 0 && isWord(sql[i-1]) {
		return i
	}
	tag := sql[i : end+1]
	if n := strings.Index(sql[end+1:], tag); n >= 0 {
		return end + 1 + n + len(tag)
	}
	return len(sql)
}

// parameterEnd returns the index behind a parameter such as @p1, or i.
func parameterEnd(sql string, i int) int {
	end := i + len("@p")
	for end < len(sql) && sql[end] >= '0' && sql[end] <= '9' {
		end++
	}
	if !strings.HasPrefix(sql[i:], "@p") || end == i+len("@p") || end < len(sql) && isWord(sql[end]) {
		return i
	}
	return end
}

// exponent reports whether a sign belongs to a number such as 1e-5.
func exponent(number string, sign byte) bool {
	if sign != '+' && sign != '-' || strings.HasPrefix(number, "0x") {
		return false
	}
	last := number[max(0, len(number)-1):]
	return last == "e" || last == "E"
}

// signed reports whether a minus behind the text is a sign and not an operator.
func signed(before string) bool {
	before = strings.TrimRight(before, " ")
	if before == "" || strings.ContainsRune("=<>([:,+*/-|", rune(before[len(before)-1])) {
		return true
	}
	upper := strings.ToUpper(before)
	for _, word := range []string{" AND", " OR", " BETWEEN", " LIMIT", " OFFSET", " SELECT", " RETURN", " THEN", " ELSE", " IN", " LIKE", " WHEN"} {
		if strings.HasSuffix(upper, word) {
			return true
		}
	}
	return upper == "SELECT"
}

// joinRows replaces "(?), (?)" by one "(?)", so that inserts of several rows are one shape.
func joinRows(s string) string {
	for _, list := range []string{"(?), (?)", "(?),(?)"} {
		for strings.Contains(s, list) {
			s = strings.ReplaceAll(s, list, "(?)")
		}
	}
	return s
}

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}

// stringEnd returns the index behind a quoted string. A doubled quote is part of the
// string.
func stringEnd(sql string, i int, escapes bool) int {
	quote := sql[i]
	for i++; i < len(sql); i++ {
		switch {
		case escapes && sql[i] == '\\':
			i++
		case sql[i] != quote:
		case i+1 < len(sql) && sql[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(sql)
}

// joinLists replaces "?, ?, ?" by one "?", so that an IN over three values and an IN over
// four are one shape.
func joinLists(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		b.WriteByte(s[i])
		i++
		if s[i-1] != '?' {
			continue
		}
		for {
			rest := strings.TrimLeft(s[i:], " ")
			rest, comma := strings.CutPrefix(rest, ",")
			rest = strings.TrimLeft(rest, " ")
			if !comma || !strings.HasPrefix(rest, "?") {
				break
			}
			i = len(s) - len(rest) + 1
		}
	}
	return b.String()
}
