package querycount

import "strings"

// shape makes statements that differ in values only equal: literals and placeholders
// become "?", lists of them "?", and blanks one blank.
func shape(sql string) string {
	var b strings.Builder
	b.Grow(len(sql))
	emit := func(s string) { b.WriteString(s) }
	word := false // the last byte belongs to a name
	last := byte(0)
	for i := 0; i < len(sql); {
		c := sql[i]
		switch {
		case strings.HasPrefix(sql[i:], "/*"), strings.HasPrefix(sql[i:], "--"):
			i = commentEnd(sql, i)
			if b.Len() > 0 && last != ' ' {
				emit(" ")
				last = ' '
			}
			word = false
			continue
		case c == '"' || c == '`': // a quoted name
			end := i + 1 + strings.IndexByte(sql[i+1:], c)
			if end <= i {
				end = len(sql) - 1
			}
			emit(sql[i : end+1])
			i, word, last = end+1, true, c
			continue
		case c == '-' && i+1 < len(sql) && sql[i+1] >= '0' && sql[i+1] <= '9' && signed(b.String()):
			i++
			continue
		case c == '\'':
			i = stringEnd(sql, i)
			emit("?")
			word, last = false, '?'
			continue
		case c >= '0' && c <= '9' && !word:
			for i < len(sql) && (isWord(sql[i]) || sql[i] == '.') {
				i++
			}
			emit("?")
			last = '?'
			continue
		case (c == '$' || c == ':' || c == '?') && i+1 < len(sql) && sql[i+1] >= '0' && sql[i+1] <= '9' && !word:
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

// commentEnd returns the index behind a comment. Comments carry traces, and no meaning.
func commentEnd(sql string, i int) int {
	end := "*/"
	if sql[i] == '-' {
		end = "\n"
	}
	if n := strings.Index(sql[i+2:], end); n >= 0 {
		return i + 2 + n + len(end)
	}
	return len(sql)
}

// signed reports whether a minus behind the text is a sign and no operator.
func signed(before string) bool {
	before = strings.TrimRight(before, " ")
	if before == "" || strings.ContainsRune("=<>(,+*/-|", rune(before[len(before)-1])) {
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

// joinRows makes "(?), (?)" one "(?)", so that inserts of several rows are one shape.
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

// stringEnd returns the index behind a quoted string; a doubled quote is one inside it.
func stringEnd(sql string, i int) int {
	for i++; i < len(sql); i++ {
		if sql[i] != '\'' {
			continue
		}
		if i+1 < len(sql) && sql[i+1] == '\'' {
			i++
			continue
		}
		return i + 1
	}
	return len(sql)
}

// joinLists makes "?, ?, ?" one "?", so that an IN over three values and one over four
// are one shape.
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
