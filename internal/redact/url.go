package redact

import "strings"

// findURLs hides the user part of URLs, the values of their queries, and path segments that may
// be tokens.
func findURLs(spans []span, text string) []span {
	for at, end, inside := 0, 0, 0; ; {
		i := strings.Index(text[at:], "://")
		if i < 0 {
			break
		}
		start := at + i + 3
		if inside++; start >= end {
			end, inside = wordRun(text, start), 0
		}
		if inside == maxNested { // a word of many URLs
			spans = append(spans, span{start, end})
			at = end
			continue
		}
		spans = findInURL(spans, text, at+i, start)
		at = start
	}
	return findPasswordFile(findUserAt(spans, text), text)
}

// findPasswordFile hides the password of host:port:database:user:password, a line of a
// .pgpass file.
func findPasswordFile(spans []span, text string) []span {
	if strings.Count(text, ":") < 4 {
		return spans
	}
	for i := 0; i < len(text); {
		end := wordRun(text, i)
		if strings.Count(text[i:end], ":") < 4 {
			i = end + 1
			continue
		}
		fields := strings.SplitN(text[i:end], ":", 5)
		if fields[0] != "" && !strings.Contains(fields[0], "/") && (fields[1] == "*" || len(fields[1]) > 2 && isPort(fields[1])) &&
			isName(fields[2]) && isName(fields[3]) && fields[4] != "" {
			spans = append(spans, span{end - len(fields[4]), end})
		}
		i = end + 1
	}
	return spans
}

// isName reports whether a field of a .pgpass file is a name or a wildcard.
func isName(s string) bool {
	return s == "*" || s != "" && (s[0] == '_' || s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z')
}

func findInURL(spans []span, text string, schemeEnd, start int) []span {
	end := start
	for end < len(text) && !isSpace(text[end]) && !strings.ContainsRune("<>|`", rune(text[end])) {
		end++
	}
	authority := start
	at := userinfoEnd(text[start:], end-start)
	if at < 0 {
		spans = findBadPort(spans, text, start, end)
	}
	if at >= 0 {
		spans = append(spans, span{start, start + at})
		authority = start + at + 1
		for end < authority {
			end++
		}
	}
	for end < len(text) && !isSpace(text[end]) && !strings.ContainsRune(`"'<>|`+"`", rune(text[end])) {
		end++
	}
	if q := strings.IndexAny(text[authority:end], `"'`); q >= 0 {
		end = authority + q
	}
	rest := text[authority:end]
	pathAt := strings.IndexAny(rest, "/?#")
	if pathAt < 0 {
		return spans
	}
	host, path := lower(rest[:pathAt]), rest[pathAt:]
	base := authority + pathAt
	query := strings.IndexAny(path, "?#")
	scheme := lower(text[max(0, schemeEnd-5):schemeEnd])
	onlyPath := path
	if query >= 0 {
		spans = findQuery(spans, path[query:], base+query)
		onlyPath = path[:query]
	}
	if !strings.HasSuffix(scheme, "http") && !strings.HasSuffix(scheme, "https") && !strings.HasSuffix(scheme, "wss") {
		return spans
	}
	return findSegments(spans, host, onlyPath, base)
}

// findBadPort hides text in the place of a port, which is often a password whose @ and host are
// missing.
func findBadPort(spans []span, text string, start, end int) []span {
	for k := start; k < end; k++ {
		switch c := text[k]; {
		case c == ':':
			stop := k + 1
			for stop < end && strings.IndexByte("/?#\"'`,", text[stop]) < 0 {
				stop++
			}
			stop = trimEnd(text, k+1, stop)
			if port := text[k+1 : stop]; !isPort(port) && len(port) > 5 && !strings.ContainsAny(port, "%$*:") {
				spans = append(spans, span{k + 1, stop})
			}
			return spans
		case !isAlnum(c) && c != '-' && c != '.' && c != '_':
			return spans
		}
	}
	return spans
}

// userinfoEnd returns the index of the @ that ends the user part of a URL, or -1 without one. A
// password may contain any character, because an unencoded character in it is often the reason
// for the error.
func userinfoEnd(s string, token int) int {
	colon := strings.IndexByte(s[:token], ':')
	slash := strings.IndexAny(s[:token], "/?#")
	hostOnly := slash >= 0 && (colon < 0 || colon > slash || isPort(s[colon+1:slash]))
	if hostOnly { // a host with a path: an @ in the path ends no user part
		return strings.LastIndexByte(s[:slash], '@')
	}
	if at := strings.LastIndexByte(s[:token], '@'); at >= 0 {
		return at
	}
	if colon < 0 || isPort(strings.TrimRight(s[colon+1:token], `"'.,;:)]}`)) {
		return -1
	}
	// For a space in the password: the @ comes soon, and a host follows it.
	window := s[:min(len(s), 96)]
	if at := strings.IndexByte(window, '@'); at > colon && at+1 < len(s) && isAlnum(s[at+1]) && !strings.ContainsAny(window[:at], "\n") {
		return at
	}
	return -1
}

func isPort(s string) bool {
	if len(s) > 5 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// plainParams are parameters with public values, which authorize no access.
var plainParams = words(`page limit offset sort order lang locale format verbose timeout connect_timeout sslmode parsetime
	charset collation timezone loc application_name search_path pretty refresh width height size version v tab view
	readtimeout writetimeout maxallowedpacket interpolateparams multistatements tls db group exclude per_page count`)

func findQuery(spans []span, query string, base int) []span {
	for i := 1; i < len(query); {
		end := i
		for end < len(query) && query[end] != '&' && query[end] != '#' {
			end++
		}
		key, value, ok := strings.Cut(query[i:end], "=")
		switch {
		case ok && value != "" && !(plainParams[lower(key)] && !looksRandom(value)):
			trimmed := strings.TrimRight(value, ".,;:)]}")
			spans = append(spans, span{base + end - len(value), base + end - len(value) + len(trimmed)})
		case !ok && looksRandom(key):
			spans = append(spans, span{base + i, base + end})
		}
		i = end + 1
	}
	return spans
}

// hookHosts serve URLs with a secret path.
var hookHosts = []string{
	"hooks.slack", "discord", "webhook", "hooks.", "telegram", "chat.googleapis", "zapier", "hc-ping", "ifttt", "sentry.io",
	"logic.azure", "pipedream", "make.com", "incoming", "mattermost", "rocket.chat", "feishu", "larksuite", "dingtalk", "qyapi.weixin",
	"pushover", "healthchecks.io", "uptime.betterstack", "heartbeat.uptimerobot", "opsgenie", "victorops", "alert.victorops",
}

func findSegments(spans []span, host, path string, base int) []span {
	hook := false
	for _, h := range hookHosts {
		hook = hook || strings.Contains(host, h)
	}
	after := false // after a segment such as "webhooks"
	for i := 0; i < len(path); {
		end := i + 1
		for end < len(path) && path[end] != '/' && path[end] != ';' {
			end++
		}
		seg := strings.TrimRight(path[i+1:end], ".,:)]}")
		low := lower(seg)
		switch {
		case seg == "":
		case len(seg) > 3 && !plainSegment(low) && (hook || after), looksRandom(seg), looksLikeKey(seg):
			spans = append(spans, span{base + i + 1, base + i + 1 + len(seg)})
		}
		if low == "hook" || low == "hooks" || strings.Contains(low, "webhook") || secretKey(low) || strings.HasPrefix(low, "bot") && strings.Contains(low, ":") {
			after = true
		}
		i = end
	}
	return spans
}

var segments = words(`api services webhook webhooks hooks v1 v2 v3 messages spaces send sendmessage bot ping fail start log
	workflows triggers manual paths invoke incoming incomingwebhook robot bot_send trigger with key`)

func plainSegment(low string) bool { return segments[low] }

// findUserAt hides user:password@ without a scheme, in the form of go-sql-driver and curl. A
// name or an address without a password stays.
func findUserAt(spans []span, text string) []span {
	from, colon, slash, scheme, slashes := 0, -1, -1, -1, 0 // of the word so far
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case isSpace(c) || strings.IndexByte("\"'`<>(,;=|", c) >= 0:
			from, colon, slash, scheme, slashes = i+1, -1, -1, -1, 0
		case c == ':':
			if colon < 0 {
				colon = i
			}
			if strings.HasPrefix(text[i:], "://") {
				scheme = i
			}
		case c == '/':
			if slashes++; slashes == 1 {
				slash = i
			}
		case c != '@' || scheme >= 0: // the user part of a URL was found before
		case colon == from, colon == i-1, hasPrefixFold(text[from:], "mailto:"), hasPrefixFold(text[from:], "mailto@"), hasPrefixFold(text[from:], "sha256:"):
		case colon >= 0:
			spans = append(spans, span{from, i})
		case slash > from && slashes == 1: // user/password@ of Oracle
			user, password := text[from:slash], text[slash+1:i]
			if !strings.Contains(user, ".") && (strings.HasPrefix(text[i+1:], "//") || looksRandom(password)) {
				spans = append(spans, span{from, i})
			}
		}
	}
	return spans
}

// hasPrefixFold is strings.HasPrefix without regard to the case of ASCII letters.
func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
