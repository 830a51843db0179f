package redact

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A hostile server may send texts such as "token:token:token:…". These limits keep the work for
// them proportional to their length. The rest of a text that exceeds one is hidden.
const (
	maxNested = 16      // secrets inside one another
	maxKeys   = 128     // keys in a part without spaces
	maxRead   = 1 << 20 // bytes of the lines that are read for arguments
)

// effort is the work so far.
type effort struct{ keys, read int }

// line returns the rest of a line.
func (e *effort) line(text string, k int) string {
	end := lineEnd(text, k)
	e.read += end - k
	return text[k:end]
}

// findByPlace hides values in places of secrets: after a key such as password, in a header,
// after a flag of a command, in a statement.
func findByPlace(spans []span, text string) []span {
	low := lower(text)
	command := commandOf(low)
	hidden, inside := 0, 0 // the end of all values so far, and how many begin inside another one
	run := 0               // the end of a part without spaces
	var work effort
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
		if i >= run {
			run, work.keys = wordRun(text, i), 0
		}
		if work.keys == maxKeys {
			spans = append(spans, span{i, run})
			i = run
			continue
		}
		if inside == maxNested || work.read > maxRead {
			return append(spans, span{i, len(text)})
		}
		if s, ok := valueOf(text, low, word, i, j, command, &work); ok {
			spans = append(spans, s)
			if inside++; s.from >= hidden {
				inside = 0
			}
			hidden = max(hidden, s.to)
			// The value may contain another key, so the search continues right after the word.
		}
		i = j
	}
	return spans
}

// valueOf returns the secret value that belongs to a word, if there is one.
func valueOf(text, low, word string, i, j int, command string, work *effort) (span, bool) {
	flag := i > 0 && (text[i-1] == '-' || text[i-1] == '/' && (i == 1 || isSpace(text[i-2])))
	trimmed := strings.Trim(word, "-._")
	switch {
	case flag && command != "" && shortFlag(command, text[i:j], trimmed):
		return flagValue(text, i, j, command, work)
	case trimmed == "by" && identifiedBefore(low[:i]):
		return quotedOrRandom(text, j)
	case headerKey(trimmed), trimmed == "http.cookie":
		return headerValue(text, low, j, trimmed)
	case schemeWords[trimmed] && j < len(text) && text[j] == ' ':
		if s, ok := schemeValue(text, j); ok {
			return s, ok
		}
	case rawInput(low, i, j):
		if s, ok := rejectedInput(text, low, i, j); ok {
			return s, ok
		}
	case flag && (trimmed == "user" || trimmed == "proxy-user" || trimmed == "u"):
		s, ok := valueAt(text, j+1, false, false)
		return s, ok && strings.Contains(text[s.from:s.to], ":")
	case trimmed == "auth" || trimmed == "requirepass" || trimmed == "masterauth" || trimmed == "pass" && isUpper(text[i:j]) || trimmed == "login" && isUpper(text[i:j]):
		if s, ok := protocolValue(text, i, j, trimmed, work); ok {
			return s, ok
		}
	case cryptoCalls[trimmed] && j < len(text) && text[j] == '(':
		return span{j + 1, closing(text, j+1, ')')}, true
	}
	if s, ok := credentialArguments(text, trimmed, j, work); ok {
		return s, ok
	}
	if s, ok := positionalValue(text, low, trimmed, i, j, work); ok {
		return s, ok
	}
	if !secretKey(trimmed) && !(strings.HasPrefix(word, "_") && secretKey("x"+word)) {
		if keyWord(trimmed) {
			work.keys++
			return keyValue(text, low, i, j)
		}
		return span{}, false
	}
	work.keys++
	return secretValue(text, low, i, j, flag, trimmed)
}

// secretValue returns the value of a key such as password.
func secretValue(text, low string, i, j int, flag bool, key string) (span, bool) {
	k := j
	for k < len(text) && strings.ContainsRune("\"'`)]*\\", rune(text[k])) {
		k++
	}
	closed := k > j
	for from := k; k < len(text) && (text[k] == ' ' || text[k] == '\t') && k-from < 4; {
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
	if closed || strings.HasPrefix(rest, "</") {
		if s, ok := nextElement(text, i, k); ok {
			return s, ok
		}
	}
	if n := declaredValue(low[k:]); n > 0 {
		return valueAt(text, k+n, false, false)
	}
	if n := leader(rest); n > 0 {
		return valueAt(text, k+n, false, false)
	}
	if n := separator(rest); n > 0 {
		prose := rest[0] == ':' && n > 1 || !closed && k > j && rest[0] != '='
		return valueAt(text, k+n, prose, strings.Contains(key, "cookie"))
	}
	if n := namedValue(low[k:]); n > 0 { // name="password" value="…"
		return valueAt(text, k+n, false, false)
	}
	switch {
	case rest[0] == ',' && i > 0 && text[i-1] == '{' && strings.HasPrefix(rest, ", \""): // a pair of Erlang
		return valueAt(text, k+2, true, false)
	case rest[0] == ',' && closed:
		if s, ok := argument(text, k, isUpper(text[i:j])); ok || !flag {
			return s, ok
		}
		s, ok := valueAt(text, k+1, false, false) // "--password", "…"
		return s, ok && !strings.HasPrefix(text[s.from:s.to], "-")
	case strings.HasPrefix(low[k:], "for "):
		return valueFor(text, low, k)
	}
	if n := given(rest); n > 0 {
		s, ok := valueAt(text, k+n, true, false)
		return s, ok && !strings.Contains(text[s.from:s.to], " ")
	}
	if n := copula(low[k:]); n > 0 {
		s, ok := proseValue(text, k+n)
		return s, ok && (key != "token" && key != "tokens" && key != "credentials" || looksSecret(text[s.from:s.to]))
	}
	if k == j {
		return span{}, false
	}
	return looseValue(text, low, i, k, flag, key)
}

// valueFor returns the value after "password for": of SET PASSWORD FOR 'a'@'b' = '…', and of
// "password for user x: …".
func valueFor(text, low string, k int) (span, bool) {
	window := low[k:min(len(low), k+120)]
	if at := strings.Index(window, "' = '"); at >= 0 {
		return valueAt(text, k+at+4, false, false)
	}
	rest := text[k:]
	end := len("for ")
	for range 2 {
		end += wordRun(rest[min(end, len(rest)):], 0) + 1
		if end >= len(rest) || rest[end-2] == ':' {
			break
		}
	}
	if end >= len(rest) || rest[end-2] != ':' {
		return span{}, false
	}
	s, ok := valueAt(text, k+end, true, false)
	return s, ok && looksSecret(text[s.from:s.to])
}

// looseValue returns a value at k that only spaces or quotes separate from its key.
func looseValue(text, low string, i, k int, flag bool, key string) (span, bool) {
	if s, ok := spokenValue(text, low, i, k, key); ok {
		return s, ok
	}
	before := low[max(0, i-80):i]
	fields := strings.Fields(before)
	netrc := strings.Contains(before, "machine ") || len(fields) > 1 && fields[len(fields)-2] == "login" && !vocabulary[fields[len(fields)-1]]
	if flag && (i < 2 || text[i-2] != '[') || netrc { // [-password file] is a usage
		return valueAt(text, k, !flag, false)
	}
	if c := text[k]; c == '\'' || c == '"' || c == '`' {
		s, ok := valueAt(text, k, true, false)
		value := text[s.from:s.to]
		ok = ok && !harmless(value) && !strings.Contains(value, " ") && (!objectWords[key] || looksSecret(value) || keyKind(low[:i]))
		return s, ok
	}
	// "password hunter2 was refused": a word with digits or signs is not prose.
	end := wordRun(text, k)
	return span{k, trimEnd(text, k, end)}, looksSecret(strings.Trim(text[k:end], `.,;:"'()`))
}

// leader returns the length of a row of dots between a key and its value, or 0.
func leader(s string) int {
	n := 0
	for n < len(s) && s[n] == '.' {
		n++
	}
	if n < 4 || n == len(s) || isSpace(s[n]) {
		return 0
	}
	return n
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
	for n < len(s) && s[n] == '>' {
		n++
	}
	for n < len(s) && (s[n] == ' ' || s[n] == '\t') {
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

func copula(low string) int {
	for _, c := range []string{"is ", "was ", "es ", "ist ", "est ", "era ", "set to ", "is: ", "是", "为", "は"} {
		if strings.HasPrefix(low, c) {
			return len(c)
		}
	}
	return 0
}

// objectWords come before the name of an object more often than before a secret.
var objectWords = words(`secret secrets token tokens credential credentials creds key`)

// keyWord reports whether a word is often, but not always, the name of an API key.
func keyWord(word string) bool {
	return strings.HasSuffix(word, "key") && !plainNames[word] || word == "sig" || word == "code" || word == "hash" || word == "sid" || word == "pin" || word == "seed" || word == "salt" || word == "dsn"
}

// keyKinds are words before "key" that make it a secret.
var keyKinds = []string{"unseal ", "private ", "secret ", "encryption ", "signing ", "recovery ", "account ", "master ", "api ", "access ", "auth ", "refresh ", "authorization "}

func keyKind(before string) bool {
	return slices.ContainsFunc(keyKinds, func(kind string) bool { return strings.HasSuffix(before, kind) })
}

// given returns the length of "provided: " and similar words between a key and its value, or 0.
func given(s string) int {
	word, rest, ok := strings.Cut(s, ": ")
	if ok && rest != "" && (word == "provided" || word == "given" || word == "supplied" || word == "received" || word == "used") {
		return len(word) + 2
	}
	return 0
}

// keyValue hides the value of such a word if it looks like a secret.
func keyValue(text, low string, i, j int) (span, bool) {
	named := low[i:j] == "key" && keyKind(low[:i])
	k := j
	for k < len(text) && strings.ContainsRune("\"'` ", rune(text[k])) {
		k++
	}
	n := max(separator(text[k:]), given(text[k:]))
	if n == 0 {
		if n := namedValue(low[k:]); n > 0 && k > j { // "name":"sid","value":"…"
			return valueAt(text, k+n, false, false)
		}
		if end := trimEnd(text, k, wordRun(text, k)); named && looksSecret(text[k:end]) {
			return span{k, end}, true
		}
		return span{}, false
	}
	s, ok := valueAt(text, k+n, true, false)
	value := text[s.from:s.to]
	pin := low[i:j] == "pin" && len(value) >= 4 && len(value) <= 12 && (isDigits(value) || looksSecret(value))
	return s, ok && (pin || named && !strings.Contains(value, " ") || looksRandom(value) || looksLikeKey(value) || isUUID(value) && low[i:j] != "key")
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
			if !isAlnum(c) && c != '_' && c != '-' && c != '.' || strings.HasPrefix(text[i:], "..") {
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
