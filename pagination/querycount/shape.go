package querycount

import "strings"

// shape makes statements that differ in values only equal: literals and placeholders
// become "?", lists of them "?", and blanks one blank.
func shape(sql string) string {
	var b strings.Builder
	b.Grow(len(sql))
	emit := func(s string) { b.WriteString(s) }
	word := false // the last byte belongs to a name
	for i := 0; i < len(sql); {
		c := sql[i]
		switch {
		case c == '\'':
			i = stringEnd(sql, i)
			emit("?")
			word = false
			continue
		case c >= '0' && c <= '9' && !word:
			for i < len(sql) && (isWord(sql[i]) || sql[i] == '.') {
				i++
			}
			emit("?")
			continue
		case (c == '$' || c == ':' || c == '?') && i+1 < len(sql) && sql[i+1] >= '0' && sql[i+1] <= '9' && !word:
			for i++; i < len(sql) && sql[i] >= '0' && sql[i] <= '9'; i++ {
			}
			emit("?")
			continue
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			for i < len(sql) && (sql[i] == ' ' || sql[i] == '\t' || sql[i] == '\n' || sql[i] == '\r') {
				i++
			}
			emit(" ")
			word = false
			continue
		}
		b.WriteByte(c)
		word = isWord(c)
		i++
	}
	return joinLists(strings.TrimSpace(b.String()))
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
