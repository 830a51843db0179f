package redact

import "strings"

// rejections are words before input that a parser rejected.
var rejections = []string{"invalid", "incorrect", "unexpected", "unknown", "cannot ", "could not ", "unable ", "unconvertible", "malformed", "for input"}

// rawInput reports whether an error message is about to quote input that it could not read.
// Such input is often a secret in a wrong place.
func rawInput(low string, i, j int) bool {
	before := strings.TrimRight(low[max(0, i-40):i], " ")
	switch word := low[i:j]; word {
	case "parsing", "parse", "converting", "input_value":
		return true
	case "entry":
		return strings.HasSuffix(before, "duplicate")
	case "type":
		return strings.HasSuffix(before, "invalid input syntax for")
	case "supported":
		return strings.HasSuffix(before, "keyword not")
	case "after":
		return strings.HasSuffix(before, `missing "="`)
	case "value", "escape", "port", "userinfo", "host", "argument", "string", "str", "literal", "duration", "unit", "as":
		for _, r := range rejections {
			if strings.Contains(before+" ", r) {
				return true
			}
		}
	default: // netip.ParseAddr("…")
		name := word[strings.LastIndexByte(word, '.')+1:]
		return strings.HasPrefix(name, "parse") && (strings.HasPrefix(low[j:], `("`) || strings.HasPrefix(low[j:], "('"))
	}
	return false
}

// rejectedInput returns the next quoted text if it is near. It skips URLs and files, because
// other functions search their parts. A word of prose stays, unless the message says that the
// value belongs to a secret.
func rejectedInput(text, low string, i, j int) (span, bool) {
	window := text[j:min(len(text), j+48)]
	q := strings.IndexAny(window, "\"'`")
	if q <= 0 || strings.Contains(window[:q], ",") {
		return span{}, false
	}
	if before := window[q-1]; isAlnum(before) { // an apostrophe
		return span{}, false
	}
	from := j + q + 1
	to := quotedEnd(text, from, text[from-1])
	value := text[from:to]
	if value == "" || strings.Contains(value, "://") || strings.HasPrefix(value, "/") || secretKey(lower(value)) {
		return span{}, false
	}
	rest := low[min(to+1, len(low)):]
	word, before := low[i:j], low[max(0, i-80):i]
	switch {
	case strings.HasPrefix(rest, ": invalid syntax"), strings.HasPrefix(rest, ": value out of range"), // of strconv
		strings.HasPrefix(rest, ` as "2006`) && !isDate(value), // of time
		word == "duration" && strings.HasSuffix(before, "invalid "), word == "unit" && strings.HasPrefix(rest, " in duration"),
		word == "literal", word == "after", word == "str", word == "string" && strings.HasSuffix(before, "for input "),
		word == "as" && strings.Contains(before, " cast "), strings.HasPrefix(text[j:], "("):
		return span{from, to}, true // a parser that shows all of its input
	case word == "port":
		return span{from, to}, len(value) > 6 || !isWordLike(strings.TrimPrefix(value, ":"))
	case isFileName(value), isDate(value), mediaType(value):
		return span{}, false
	}
	if near := rest[:min(len(rest), 60)]; namesSecret(near) || namesSecret(before) {
		return span{from, to}, !typeNames[lower(value)]
	}
	return span{from, to}, !harmless(value) && !isWordLike(value)
}

var typeNames = words(`string int integer int64 uint bool boolean float float64 number duration true false null object array map`)

// isFileName reports whether a value is the name of a configuration or source file.
func isFileName(value string) bool {
	_, extension, ok := strings.Cut(value, ".")
	return ok && extensions[lower(extension)] && !strings.ContainsAny(value, " \t")
}

var extensions = words(`yaml yml json toml ini conf cfg env hcl tf xml sql go py js ts rb rs java properties txt csv tmpl html pem crt key`)

// isDate reports whether a value is a date, with or without a time, and nothing else.
func isDate(value string) bool {
	return hasDate(value) && strings.Trim(value, "0123456789-:.+TZ ") == ""
}

func mediaType(value string) bool {
	kind, _, ok := strings.Cut(value, "/")
	return ok && (kind == "application" || kind == "text" || kind == "multipart" || kind == "image")
}

// namesSecret reports whether a piece of a message contains the name of a secret.
func namesSecret(low string) bool {
	for i := 0; i < len(low); {
		if !isWordAt(low, i) {
			i++
			continue
		}
		j := wordEnd(low, i)
		word := strings.Trim(low[i:j], "-._")
		if secretKey(word) && !objectWords[word] {
			return true
		}
		i = j
	}
	return false
}

// credentialArguments returns the quoted arguments of a call that takes credentials: of
// auth("user", "…") all after the first, of connect("host", "user", "…") all after the second.
func credentialArguments(text, word string, j int, work *effort) (span, bool) {
	name := word[strings.LastIndexByte(word, '.')+1:]
	first := 1
	if strings.HasSuffix(name, "auth") { // auth=("user", "…")
		for j < len(text) && strings.IndexByte(" =:", text[j]) >= 0 {
			j++
		}
	}
	if j >= len(text) || text[j] != '(' {
		return span{}, false
	}
	switch {
	case strings.Contains(name, "auth") && !strings.Contains(name, "author"), strings.Contains(name, "credential"),
		strings.HasSuffix(name, "login"), strings.HasSuffix(name, "bind"), strings.HasSuffix(name, "bind_s"):
	case strings.HasSuffix(name, "connect"), name == "construct":
		first = 2
	default:
		return span{}, false
	}
	out := span{}
	k := j + 1
	defer func() { work.read += k - j }()
	for n := 0; k < len(text) && text[k] != ')'; k++ {
		switch c := text[k]; c {
		case ',':
			n++
		case '"', '\'':
			end := quotedEnd(text, k+1, c)
			if n >= first {
				if out.to == 0 {
					out.from = k + 1
				}
				out.to = end
			}
			k = end
		}
	}
	return out, out.to > out.from
}

// pipedValue returns the argument of echo or printf when its output goes to a command that
// reads a password, as in echo … | docker login --password-stdin.
func pipedValue(text, low string, j int, work *effort) (span, bool) {
	rest := low[j : j+len(work.line(text, j))]
	bar := strings.IndexByte(rest, '|')
	from, to := j, j+max(bar, 0)
	if bar >= 0 {
		reader := rest[bar:]
		if !readsPassword(reader) {
			return span{}, false
		}
	} else { // --password-file=<(echo …)
		paren := strings.IndexByte(rest, ')')
		before := low[max(0, j-60):j]
		if paren < 0 || !strings.Contains(before, "pass") || !strings.Contains(before, "<(") {
			return span{}, false
		}
		to = j + paren
	}
	for from < to && (text[from] == ' ' || text[from] == '-') { // flags
		if text[from] == '-' {
			from = wordRun(text, from)
			continue
		}
		from++
	}
	to = from + len(strings.TrimRight(text[from:max(from, to)], " "))
	if from < to && (text[from] == '"' || text[from] == '\'') && text[to-1] == text[from] {
		from, to = from+1, to-1
	}
	return span{from, to}, from < to
}

func readsPassword(low string) bool {
	for _, r := range []string{"stdin", "sudo -s", "with-token", "passwd", "crypt", " login", "pass", "kinit", "smbclient", " auth "} {
		if strings.Contains(low, r) {
			return true
		}
	}
	return false
}

// lookedUp returns a name that a resolver rejected if it is not the name of a host: user:password
// or text with an @.
func lookedUp(text string, j int) (span, bool) {
	from := j
	for from < len(text) && (text[from] == ' ' || text[from] == '"') {
		from++
	}
	if from == j {
		return span{}, false
	}
	end := trimEnd(text, from, wordRun(text, from))
	name := text[from:end]
	if strings.Contains(name, "://") || strings.HasPrefix(name, "/") {
		return span{}, false
	}
	if strings.ContainsAny(name, "@/") {
		return span{from, end}, true
	}
	_, tail, ok := strings.Cut(name, ":")
	for i := 0; i < len(tail); i++ {
		if c := tail[i]; !isHexByte(c) && strings.IndexByte(":%.-", c) < 0 && !strings.Contains(tail[:i], "%") {
			return span{from, end}, ok
		}
	}
	return span{}, false
}
