package redact

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// findByPlace hides values in places of secrets: after a key such as password, in a header,
// after a flag of a command, in a statement.
func findByPlace(spans []span, text string) []span {
	low := lower(text)
	command := commandOf(low)
	for i := 0; i < len(text); {
		if !isWordAt(text, i) {
			i++
			continue
		}
		j := wordEnd(text, i)
		word := low[i:j]
		if text[i] >= 0x80 || hasHighByte(word) {
			word = strings.ToLower(word)
		}
		if s, ok := valueOf(text, low, word, i, j, command); ok {
			spans = append(spans, s)
			// The value may contain another key, so the search continues right after the word.
		}
		i = j
	}
	return spans
}

// valueOf returns the secret value that belongs to a word, if there is one.
func valueOf(text, low, word string, i, j int, command string) (span, bool) {
	flag := i > 0 && (text[i-1] == '-' || text[i-1] == '/' && (i == 1 || isSpace(text[i-2])))
	trimmed := strings.Trim(word, "-._")
	switch {
	case flag && command != "" && shortFlag(command, text[i:j], trimmed):
		return flagValue(text, i, j, command)
	case trimmed == "by" && identifiedBefore(low[:i]):
		return quotedOrRandom(text, j)
	case headerKey(trimmed):
		return headerValue(text, low, j, trimmed)
	case schemeWords[trimmed] && j < len(text) && text[j] == ' ':
		if s, ok := schemeValue(text, j); ok {
			return s, ok
		}
	case rawInput(low, i, j):
		return nextQuoted(text, j)
	case flag && (trimmed == "user" || trimmed == "proxy-user" || trimmed == "u"):
		s, ok := valueAt(text, j+1, false, false)
		return s, ok && strings.Contains(text[s.from:s.to], ":")
	case trimmed == "auth" || trimmed == "requirepass" || trimmed == "masterauth" || trimmed == "pass" && isUpper(text[i:j]) || trimmed == "login" && isUpper(text[i:j]):
		if s, ok := protocolValue(text, i, j, trimmed); ok {
			return s, ok
		}
	case cryptoCalls[trimmed] && j < len(text) && text[j] == '(':
		return span{j + 1, closing(text, j+1, ')')}, true
	}
	if s, ok := positionalValue(text, low, trimmed, j); ok {
		return s, ok
	}
	if !secretKey(trimmed) {
		if keyWord(trimmed) {
			return keyValue(text, low, i, j)
		}
		return span{}, false
	}
	return secretValue(text, low, i, j, flag, trimmed)
}

// secretValue returns the value of a key such as password.
func secretValue(text, low string, i, j int, flag bool, key string) (span, bool) {
	k := j
	for k < len(text) && strings.ContainsRune("\"'`)]*\\", rune(text[k])) {
		k++
	}
	closed := k
	for k < len(text) && (text[k] == ' ' || text[k] == '\t') && k-closed < 4 {
		k++
	}
	rest := text[k:]
	switch {
	case rest == "":
		return span{}, false
	case strings.HasPrefix(rest, "("): // PASSWORD('…'), password(s)
		s := span{k + 1, closing(text, k+1, ')')}
		return s, s.to > s.from && strings.ContainsAny(text[s.from:s.to], `"'`)
	case rest[0] == '>' && inTag(text, i): // <password>…<
		return elementValue(text, k)
	case inTag(text, i) && strings.IndexByte(rest, '>') > 0 && strings.IndexByte(rest, '>') < 80 && strings.Contains(rest[strings.IndexByte(rest, '>'):], "</"):
		return elementValue(text, k+strings.IndexByte(rest, '>'))
	}
	if n := declaredValue(low[k:]); n > 0 {
		return valueAt(text, k+n, false, false)
	}
	if n := separator(rest); n > 0 {
		prose := rest[0] == ':' && n > 1 || closed == j && k > j && rest[0] != '='
		return valueAt(text, k+n, prose, strings.Contains(key, "cookie"))
	}
	if n := namedValue(low[k:]); n > 0 { // name="password" value="…"
		return valueAt(text, k+n, false, false)
	}
	if rest[0] == ',' && closed > j {
		return argument(text, k)
	}
	if strings.HasPrefix(low[k:], "for ") { // for user x: …
		window := low[k:min(len(low), k+120)]
		if at := strings.Index(window, "' = '"); at >= 0 { // SET PASSWORD FOR 'a'@'b' = '…'
			return valueAt(text, k+at+4, false, false)
		}
		return span{}, false
	}
	if n := copula(low[k:]); n > 0 {
		return proseValue(text, k+n)
	}
	if k == j && closed == j {
		return span{}, false
	}
	netrc := strings.Contains(low[max(0, i-80):i], "login ") || strings.Contains(low[max(0, i-80):i], "machine ")
	if flag || netrc {
		return valueAt(text, k, false, false)
	}
	if rest[0] == '\'' || rest[0] == '"' || rest[0] == '`' {
		if s, ok := valueAt(text, k, true, false); ok && !harmless(text[s.from:s.to]) && !strings.Contains(text[s.from:s.to], " ") && (!objectWords[key] || looksSecret(text[s.from:s.to])) {
			return s, true
		}
		return span{}, false
	}
	// "password hunter2 was refused": a word with digits or signs is not prose.
	end := wordRun(text, k)
	if looksSecret(strings.Trim(text[k:end], `.,;:"'()`)) {
		return span{k, trimEnd(text, k, end)}, true
	}
	return span{}, false
}

// separator returns the length of the separator between a key and its value, with the spaces
// after it, or 0 without a separator.
func separator(s string) int {
	n := assignment(s)
	for _, sep := range []string{"=>", "==", "->", "::", "=", ":", "：", "＝", "|"} {
		if n == 0 && strings.HasPrefix(s, sep) {
			n = len(sep)
		}
	}
	if n == 0 {
		return 0
	}
	for n < len(s) && (s[n] == ' ' || s[n] == '\t' || s[n] == '>') {
		n++
	}
	return n
}

// assignment returns the length of an operator such as :=, ?=, .=, +=, ||= or ::=, or 0.
func assignment(s string) int {
	n := 0
	for n < len(s) && n < 3 && strings.IndexByte(":?.+|", s[n]) >= 0 {
		n++
	}
	if n == 0 || n == len(s) || s[n] != '=' || strings.HasPrefix(s[n:], "=>") || strings.HasPrefix(s[n:], "==") {
		return 0
	}
	return n + 1
}

// declaredValue returns the distance to the quoted value of a declaration with a type, such as
// token string = "…", token: Option<String> = Some("…") or token: &'static str = "…", or 0.
func declaredValue(low string) int {
	const longest, mostWords = 40, 4
	at, words := 0, 0
	for ; at < len(low) && at < longest && low[at] != '='; at++ {
		switch c := low[at]; {
		case isAlnum(c) || c == '_':
			if at == 0 || !isAlnum(low[at-1]) && low[at-1] != '_' {
				words++
			}
		case strings.IndexByte(" &'*[]<>?.|", c) < 0 && (c != ':' || at > 0):
			return 0
		}
	}
	if words == 0 && !strings.HasPrefix(low, "[") || words > mostWords || at >= len(low)-1 || low[at] != '=' || low[at+1] == '=' || low[at+1] == '>' {
		return 0
	}
	for at++; at < len(low) && low[at] == ' '; at++ {
	}
	call := at
	for call < len(low) && (isAlnum(low[call]) || low[call] == '_' || low[call] == '.') {
		call++
	}
	if call > at && call < len(low) && low[call] == '(' { // Some("…"), SecretStr("…")
		at = call + 1
	}
	if at >= len(low) || strings.IndexByte("\"'`", low[at]) < 0 {
		return 0
	}
	return at
}

// argument returns the quoted value after a quoted key in a list of arguments, such as
// setenv("TOKEN", "…").
func argument(text string, k int) (span, bool) {
	k++ // the comma
	for k < len(text) && isSpace(text[k]) {
		k++
	}
	if k >= len(text) || strings.IndexByte("\"'`", text[k]) < 0 {
		return span{}, false
	}
	s, ok := valueAt(text, k, true, false)
	value := text[s.from:s.to]
	return s, ok && (looksSecret(value) || len(value) >= 12 && strings.Trim(value, "0123456789") == "")
}

func copula(low string) int {
	for _, c := range []string{"is ", "was ", "es ", "ist ", "est ", "era ", "set to ", "is: ", "是", "为", "は"} {
		if strings.HasPrefix(low, c) {
			return len(c)
		}
	}
	return 0
}

// namedValue finds the value of name="password" value="…" and similar forms.
func namedValue(low string) int {
	trimmed := strings.TrimLeft(low, " \n\t,;/>")
	if !strings.HasPrefix(trimmed, "value") && !strings.HasPrefix(trimmed, "\"value") && !strings.HasPrefix(trimmed, "'value") {
		return 0
	}
	at := len(low) - len(trimmed) + strings.Index(trimmed, "value") + len("value")
	for at < len(low) && strings.ContainsRune("\"'` ", rune(low[at])) {
		at++
	}
	if n := separator(low[at:]); n > 0 {
		return at + n
	}
	return 0
}

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
		if toEnd {
			s.to = lineEnd(text, k)
		} else {
			s.to = bareEnd(text, k)
		}
	}
	value := text[s.from:s.to]
	if value == "" || plainValue(value) || prose && (harmless(value) || len(value) < 4 && isPort(value)) {
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

// inTag reports whether a word is the name of an element, with or without its name space.
func inTag(text string, i int) bool {
	for i > 0 && (isAlnum(text[i-1]) || strings.ContainsRune("_-.:", rune(text[i-1]))) {
		i--
	}
	return i > 0 && text[i-1] == '<'
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
	return span{from, to}, to > from
}

// headerValue returns the value of a header such as Authorization or Cookie, to the end of its
// line or quotes.
func headerValue(text, low string, j int, key string) (span, bool) {
	k := j
	for k < len(text) && strings.ContainsRune("\"'` )]", rune(text[k])) {
		k++
	}
	n := separator(text[k:])
	if n == 0 {
		if m := copula(low[k:]); m > 0 {
			return proseValue(text, k+m)
		}
		return span{}, false
	}
	k += n
	// A quote before the name, as in curl -H 'Authorization: …', ends the value.
	opened := byte(0)
	for q := j - len(key) - 1; q >= 0 && q > j-len(key)-8; q-- {
		if c := text[q]; c == '"' || c == '\'' {
			if j >= len(text) || text[j] != c {
				opened = c
			}
			break
		}
	}
	first, rest, _ := strings.Cut(text[k:min(len(text), k+200)], " ")
	scheme := schemeWords[lower(first)] && !harmless(rest)
	s, ok := valueAt(text, k, !scheme, true)
	if !ok {
		return s, false
	}
	if opened != 0 {
		if end := strings.IndexByte(text[s.from:s.to], opened); end >= 0 {
			s.to = s.from + end
		}
	}
	return s, s.to > s.from
}

func lineEnd(text string, k int) int {
	if end := strings.IndexAny(text[k:], "\r\n"); end >= 0 {
		return k + end
	}
	return len(text)
}

// schemeValue returns the text after a scheme such as Bearer or Basic, unless it is a word of
// prose.
func schemeValue(text string, j int) (span, bool) {
	k := j
	for k < len(text) && (text[k] == ' ' || text[k] == '\t' || text[k] == '"' || text[k] == '\'') {
		k++
	}
	if k == j {
		return span{}, false
	}
	end := wordRun(text, k)
	end = trimEnd(text, k, end)
	value := text[k:end]
	if name, _, ok := strings.Cut(value, `="`); ok && isWordLike(name) { // a parameter, such as Bearer realm="x"
		return span{}, false
	}
	if looksSecret(value) || len(value) >= 20 && isToken(value) {
		return span{k, end}, true
	}
	return span{}, false
}

// protocolValue returns the argument of AUTH, PASS and LOGIN in the form of protocols.
func protocolValue(text string, i, j int, word string) (span, bool) {
	if j >= len(text) || text[j] != ' ' || !isUpper(text[i:j]) && word != "requirepass" && word != "masterauth" {
		return span{}, false
	}
	from := j + 1
	end := lineEnd(text, from)
	args := strings.Fields(text[from:end])
	for len(args) > 1 && harmless(args[len(args)-1]) && !looksSecret(args[len(args)-1]) {
		args = args[:len(args)-1] // "AUTH x rejected"
	}
	if len(args) > 3 && looksSecret(args[0]) && !harmless(args[0]) { // an option of a longer command
		args = args[:1]
	}
	if len(args) == 0 || len(args) > 3 || harmless(args[0]) && (len(args) == 1 || harmless(args[1])) || separator(args[0]) > 0 {
		return span{}, false
	}
	last := args[len(args)-1]
	if len(args) > 1 && !looksSecret(last) && harmless(last) {
		return span{}, false
	}
	if len(args) == 3 && !looksSecret(args[1]) && !looksSecret(last) {
		return span{}, false
	}
	return span{from, trimEnd(text, from, from+len(args[0])+max(0, strings.LastIndex(text[from:end], last)+len(last)-len(args[0])))}, true
}

// positionalValue returns a secret that has its place in a list without a key.
func positionalValue(text, low, word string, j int) (span, bool) {
	switch word {
	case "setuser": // ACL SETUSER name on >password
		from := strings.Index(text[j:lineEnd(text, j)], " >")
		if from < 0 {
			return span{}, false
		}
		from += j + 2
		return span{from, wordRun(text, from)}, true
	case "params": // params={{user password service …}} of godror
		if !strings.HasPrefix(low[j:], "={{") {
			return span{}, false
		}
		from := wordRun(text, j) + 1
		end := wordRun(text, min(from, len(text)))
		return span{from, end}, from < end
	case "construct": // PDO->__construct('mysql:host=…', 'user', 'password')
		if !strings.HasSuffix(low[:j], "->__construct") {
			return span{}, false
		}
		k := j
		for n := 0; k < len(text) && text[k] != ')'; n++ {
			from := strings.IndexAny(text[k:], `'"`)
			if from < 0 {
				return span{}, false
			}
			from += k + 1
			to := quotedEnd(text, from, text[from-1])
			if n == 2 {
				return span{from, to}, to > from
			}
			k = to + 1
		}
	}
	return span{}, false
}

// quotedOrRandom returns a quoted value, or a bare one that is no word.
func quotedOrRandom(text string, j int) (span, bool) {
	k := j
	for k < len(text) && isSpace(text[k]) {
		k++
	}
	if strings.HasPrefix(lower(text[k:min(len(text), k+9)]), "password ") {
		k += 9
	}
	return valueAt(text, k, false, false)
}

// objectWords come before the name of an object more often than before a secret.
var objectWords = words(`secret secrets token tokens credential credentials creds key`)

func identifiedBefore(low string) bool {
	return strings.Contains(low[max(0, len(low)-60):], "identified")
}

// rawInput reports whether an error message is about to quote input that it could not read.
// Such input is often a secret in a wrong place.
func rawInput(low string, i, j int) bool {
	switch low[i:j] {
	case "parsing":
		return true
	case "entry":
		return strings.Contains(low[max(0, i-12):i], "duplicate")
	case "value", "escape", "port", "userinfo", "host":
		before := strings.TrimRight(low[max(0, i-40):i], " ")
		return strings.HasSuffix(before, "invalid") || strings.HasSuffix(before, "invalid url") || strings.Contains(before, "incorrect") ||
			strings.HasSuffix(before, "unexpected")
	case "type":
		return strings.HasSuffix(strings.TrimRight(low[max(0, i-40):i], " "), "invalid input syntax for")
	case "parse":
		return true
	}
	return false
}

// nextQuoted returns the next quoted text if it is near. It skips URLs, because other functions
// search their parts.
func nextQuoted(text string, j int) (span, bool) {
	window := text[j:min(len(text), j+48)]
	q := strings.IndexAny(window, `"'`)
	if q < 0 || strings.Contains(window[:q], ",") {
		return span{}, false
	}
	from := j + q + 1
	to := quotedEnd(text, from, text[from-1])
	value := text[from:to]
	if strings.Contains(value, "://") || strings.HasPrefix(value, "/") || value == "" || harmless(value) || isWordLike(value) {
		return span{}, false
	}
	return span{from, to}, true
}

// keyWord reports whether a word is often, but not always, the name of an API key.
func keyWord(word string) bool {
	return strings.HasSuffix(word, "key") && !plainNames[word] || word == "sig" || word == "code" || word == "hash" || word == "sid" || word == "pin" || word == "seed" || word == "salt" || word == "dsn"
}

// keyKinds are words before "key" that make it a secret.
var keyKinds = []string{"unseal ", "private ", "secret ", "encryption ", "signing ", "recovery ", "account ", "master ", "api ", "access "}

// keyValue hides the value of such a word if it looks like a secret.
func keyValue(text, low string, i, j int) (span, bool) {
	named := low[i:j] == "key" && slices.ContainsFunc(keyKinds, func(kind string) bool { return strings.HasSuffix(low[:i], kind) })
	k := j
	for k < len(text) && strings.ContainsRune("\"'` ", rune(text[k])) {
		k++
	}
	n := separator(text[k:])
	if n == 0 {
		return span{}, false
	}
	s, ok := valueAt(text, k+n, true, false)
	value := text[s.from:s.to]
	return s, ok && (named && looksSecret(value) || looksRandom(value) || looksLikeKey(value) || isUUID(value) && low[i:j] != "key")
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f' || c == 0
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isWordAt(text string, i int) bool {
	c := text[i]
	if c < utf8.RuneSelf {
		return isAlnum(c) || c == '_'
	}
	r, _ := utf8.DecodeRuneInString(text[i:])
	return unicode.IsLetter(r)
}

func wordEnd(text string, i int) int {
	for i < len(text) {
		c := text[i]
		if c < utf8.RuneSelf {
			if !isAlnum(c) && c != '_' && c != '-' && c != '.' {
				return i
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		if !unicode.IsLetter(r) && !unicode.IsMark(r) || r == '是' || r == '为' || r == 'は' {
			return i
		}
		i += n
	}
	return i
}

func wordRun(text string, k int) int {
	for k < len(text) && !isSpace(text[k]) {
		k++
	}
	return k
}

func isUpper(s string) bool { return s == strings.ToUpper(s) }

func hasHighByte(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return true
		}
	}
	return false
}
