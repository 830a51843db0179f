package redact

import "strings"

// valueAt returns the span of a value that starts at k. With prose, words of error messages are
// no value.
func valueAt(text string, k int, prose, toEnd bool) (span, bool) {
	for k < len(text) && (text[k] == ' ' || text[k] == '\t') {
		k++
	}
	if k >= len(text) {
		return span{}, false
	}
	s := span{k, len(text)}
	if text[k] == '!' { // a tag of YAML
		if end := wordRun(text, k); end+1 < len(text) && text[end] == ' ' && isWordLike(strings.TrimLeft(text[k:end], "!")) {
			k = end + 1
		}
	}
	if (text[k] == '|' || text[k] == '>') && k+1 < len(text) && strings.ContainsRune("\n-+", rune(text[k+1])) {
		return indented(text, k)
	}
	switch c := text[k]; c {
	case '"', '\'', '`':
		s = span{k + 1, quotedEnd(text, k+1, c)}
	case '{':
		s = span{k + 1, bracedEnd(text, k+1)}
	case '[':
		s = span{k + 1, closing(text, k+1, ']')}
	case '(':
		if k+1 == len(text) || text[k+1] != '"' && text[k+1] != '\'' {
			s.to = bareEnd(text, k)
			break
		}
		s = span{k + 1, closing(text, k+1, ')')}
	case '<':
		if strings.HasPrefix(text[k:], "<![CDATA[") {
			s.from = k + 9
			if end := strings.Index(text[k:], "]]>"); end >= 0 {
				s.to = k + end
			}
			break
		}
		s.to = wordRun(text, k)
	default:
		if prose && isCause(text, k) {
			return span{}, false
		}
		if toEnd {
			s.to = lineEnd(text, k)
		} else {
			s.to = bareEnd(text, k)
		}
	}
	value := text[s.from:s.to]
	if value == "" || plainValue(value) || prose && (harmless(value) || len(value) < 3 || len(value) == 3 && isPort(value)) {
		return span{}, false
	}
	return s, true
}

// indented returns the block after "password: |" of YAML.
func indented(text string, k int) (span, bool) {
	from := lineEnd(text, k)
	to := from
	for to < len(text) {
		next := lineEnd(text, to+1)
		line := text[min(to+1, len(text)):next]
		if line != "" && line[0] != ' ' && line[0] != '\t' {
			break
		}
		to = next
	}
	return span{from, to}, to > from
}

// proseValue returns the value of "the password is …".
func proseValue(text string, k int) (span, bool) {
	s, ok := valueAt(text, k, true, false)
	if !ok {
		return s, false
	}
	if k < len(text) && strings.ContainsRune("\"'`", rune(text[k])) {
		return s, true
	}
	return s, looksSecret(text[s.from:s.to]) || !harmless(text[s.from:s.to])
}

// bareEnd returns the end of a value without quotes: at a space, or at the beginning of the
// next pair. Closing punctuation at the end stays visible.
func bareEnd(text string, k int) int {
	end := k
	for end < len(text) && !isSpace(text[end]) {
		c := text[end]
		if (c == '&' || c == ';' || c == ',' || c == '|') && pairFollows(text[end+1:]) {
			break
		}
		end++
	}
	return trimEnd(text, k, end)
}

func trimEnd(text string, from, end int) int {
	for end > from && strings.ContainsRune(`.,;:)]}>"'`+"`", rune(text[end-1])) {
		end--
	}
	return end
}

func pairFollows(s string) bool {
	s = strings.TrimLeft(s, ` "'`)
	n := 0
	capital := s != "" && s[0] >= 'A' && s[0] <= 'Z' // "User Id=" in the spelling of ODBC
	for n < len(s) && n < 40 && (isAlnum(s[n]) || strings.ContainsRune("_-.", rune(s[n])) || capital && s[n] == ' ') {
		n++
	}
	if s == "" || n == 0 {
		return s == ""
	}
	rest := strings.TrimLeft(s[n:], `"'`)
	return rest != "" && (rest[0] == '=' || rest[0] == ':')
}

// quotedEnd returns the index of the closing quote. A backslash or a doubled quote is an
// escape.
func quotedEnd(text string, k int, quote byte) int {
	for i := k; i < len(text); i++ {
		switch {
		case text[i] == '\\':
			i++
		case text[i] == quote && i+1 < len(text) && text[i+1] == quote && i+2 < len(text) && !isSpace(text[i+2]) && text[i+2] != ',':
			i++
		case text[i] == quote:
			return i
		}
	}
	return len(text)
}

func bracedEnd(text string, k int) int {
	depth := 1
	for i := k; i < len(text); i++ {
		switch {
		case text[i] == '{':
			depth++
		case text[i] == '}' && i+1 < len(text) && text[i+1] == '}' && depth == 1:
			i++
		case text[i] == '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(text)
}

// closing returns the index of a closing bracket outside quotes.
func closing(text string, k int, bracket byte) int {
	for i := k; i < len(text); i++ {
		switch c := text[i]; c {
		case '"', '\'':
			i = quotedEnd(text, i+1, c)
		case bracket:
			return i
		}
	}
	return len(text)
}

func elementValue(text string, open int) (span, bool) {
	from := open + 1
	for open < len(text) && text[open] != '>' {
		open++
		from = open + 1
	}
	if from >= len(text) {
		return span{}, false
	}
	if strings.HasPrefix(text[from:], "<![CDATA[") {
		return valueAt(text, from, false, false)
	}
	to := len(text)
	if end := strings.IndexByte(text[from:], '<'); end >= 0 {
		to = from + end
	}
	closed := strings.HasPrefix(text[to:], "</")
	if !closed && strings.IndexByte(" \"'`]),.", text[from]) >= 0 { // <token> as a placeholder
		return span{}, false
	}
	return span{from, to}, to > from
}

// inTag reports whether a word is the name of an element, with or without its name space.
func inTag(text string, i int) bool {
	for i > 0 && (isAlnum(text[i-1]) || strings.ContainsRune("_-.:", rune(text[i-1]))) {
		i--
	}
	return i > 0 && text[i-1] == '<'
}

func lineEnd(text string, k int) int {
	if end := strings.IndexAny(text[k:], "\r\n"); end >= 0 {
		return k + end
	}
	return len(text)
}
