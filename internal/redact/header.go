package redact

import "strings"

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
		return unseparatedHeader(text, low, j, key)
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
	scheme := schemeWords[lower(strings.TrimLeft(first, "\"'`"))] && !harmless(rest)
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

// unseparatedHeader returns the value of a header that follows its name without a colon: the
// credentials of Authorization "Bearer …" and the value of cookie session="…".
func unseparatedHeader(text, low string, j int, key string) (span, bool) {
	window := low[j:min(len(low), j+40)]
	q := strings.IndexAny(window, "\"'")
	for q >= 0 && q+1 < len(window) && strings.IndexByte("\"' ", window[q+1]) >= 0 {
		q++
	}
	if q < 0 {
		return span{}, false
	}
	if strings.Contains(key, "cookie") {
		if at := strings.Index(low[j:min(len(low), j+120)], "value:\""); low[j] == '{' && at >= 0 { // http.Cookie{…}
			return valueAt(text, j+at+6, false, false)
		}
		name := strings.TrimRight(strings.TrimSpace(window[:q]), "=")
		if !strings.Contains(window[:q], "=") || strings.ContainsAny(name, " ,;") || cookieFields[name] {
			return span{}, false
		}
		return valueAt(text, j+q, true, false)
	}
	end := quotedEnd(text, j+q+1, text[j+q])
	first, rest, ok := strings.Cut(text[j+q+1:end], " ")
	if next := strings.IndexAny(window[q+1:], "\"'"); !ok && next >= 0 { // " with value "
		return unseparatedHeader(text, low, j+q+1, key)
	}
	return span{end - len(rest), end}, ok && schemeWords[lower(first)] && !harmless(rest)
}

var cookieFields = words(`name path domain expires max-age samesite`)

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
	if looksSecret(value) || len(value) >= 20 && isToken(value) || strings.HasSuffix(text[:j], "Bearer") && len(value) >= 8 && !harmless(value) {
		return span{k, end}, true
	}
	return span{}, false
}
