// Package web reads query strings and writes links for the paginators.
package web

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxQuery is the length limit of a query string. A query string of megabytes costs one
// comparison.
const MaxQuery = 16 << 10

// NextPair returns the first name=value Pair of a raw query and the rest. name and value
// are still escaped. It splits only at "&" and keeps pairs that net/url drops: those with a
// semicolon or a broken escape. For an empty piece name and value are empty and ok is
// false.
func NextPair(raw string) (name, value, rest string, ok bool) {
	piece := raw
	if i := strings.IndexByte(raw, '&'); i >= 0 {
		piece, rest = raw[:i], raw[i+1:]
	}
	if piece == "" {
		return "", "", rest, false
	}
	if i := strings.IndexByte(piece, '='); i >= 0 {
		return piece[:i], piece[i+1:], rest, true
	}
	return piece, "", rest, true
}

// IsName reports whether an escaped name is the wanted name.
func IsName(escaped, want string) bool {
	if escaped == want {
		return true
	}
	if len(escaped) <= len(want) || strings.IndexByte(escaped, '%') < 0 {
		// An escape makes a name longer, and "+" is a blank, which no parameter name
		// contains.
		return false
	}
	var buf [64]byte
	return string(appendUnescaped(buf[:0], escaped)) == want
}

// Lookup returns the last value of a parameter, still escaped. The last of several values
// wins, as in Django.
func Lookup(raw, name string) (value string, ok bool) {
	for raw != "" {
		n, v, rest, some := NextPair(raw)
		if some && IsName(n, name) {
			value, ok = v, true
		}
		raw = rest
	}
	return value, ok
}

// QueryValue returns the last value of a parameter, decoded.
func QueryValue(raw, name string) string {
	v, _ := Lookup(raw, name)
	return unescape(v)
}

// appendUnescaped decodes "+" and every valid %XX. It keeps a broken escape unchanged, as
// Python's urllib.parse does.
func appendUnescaped(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			dst = append(dst, ' ')
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			dst = append(dst, unHex(s[i+1])<<4|unHex(s[i+2]))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// unescape decodes a name or a value. Bytes that are not UTF-8 become U+FFFD.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return toUTF8(s)
	}
	return toUTF8(string(appendUnescaped(make([]byte, 0, len(s)), s)))
}

// toUTF8 replaces invalid UTF-8 by one U+FFFD for each maximal part of a sequence (Unicode
// 3.9, table 3-8). Python decodes in this way with errors="replace". strings.ToValidUTF8
// would write one U+FFFD for a whole run, and the links would differ.
func toUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r != utf8.RuneError || n > 1 {
			b.WriteString(s[:n])
			s = s[n:]
			continue
		}
		b.WriteRune(utf8.RuneError)
		s = s[invalidPrefix(s):]
	}
	return b.String()
}

// invalidPrefix returns the length of the longest prefix of s that is the start of a
// well-formed sequence, or 1.
func invalidPrefix(s string) int {
	lo, hi := byte(0x80), byte(0xBF)
	var need int
	switch c := s[0]; {
	case c >= 0xC2 && c <= 0xDF:
		need = 1
	case c >= 0xE0 && c <= 0xEF:
		need = 2
		switch c {
		case 0xE0:
			lo = 0xA0
		case 0xED:
			hi = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		need = 3
		switch c {
		case 0xF0:
			lo = 0x90
		case 0xF4:
			hi = 0x8F
		}
	default:
		return 1
	}
	n := 1
	for n <= need && n < len(s) && s[n] >= lo && s[n] <= hi {
		lo, hi = 0x80, 0xBF
		n++
	}
	return n
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unHex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	default:
		return c - '0'
	}
}

// appendEscaped encodes for a query string, as Python's quote_plus and Go's url.QueryEscape
// do.
func appendEscaped(dst []byte, s string) []byte {
	const hexDigits = "0123456789ABCDEF"
	plain := 0 // s[plain:i] is copied unchanged
	for i := range len(s) {
		c := s[i]
		if unreserved[c] {
			continue
		}
		dst = append(dst, s[plain:i]...)
		plain = i + 1
		if c == ' ' {
			dst = append(dst, '+')
		} else {
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(dst, s[plain:]...)
}

// unreserved are the bytes that need no escape (RFC 3986, section 2.3).
var unreserved = func() (set [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~" {
		set[c] = true
	}
	return set
}()

// Pair is one decoded parameter.
type Pair struct{ Name, Value string }

// SortedPairs decodes a query and sorts it by name. The values of one name keep their
// order.
func SortedPairs(raw string) []Pair {
	pairs := make([]Pair, 0, strings.Count(raw, "&")+1)
	for raw != "" {
		name, value, rest, ok := NextPair(raw)
		if ok {
			pairs = append(pairs, Pair{unescape(name), unescape(value)})
		}
		raw = rest
	}
	slices.SortStableFunc(pairs, func(a, b Pair) int { return strings.Compare(a.Name, b.Name) })
	return pairs
}

// AppendQuery encodes sorted pairs. It leaves out the dropped names and inserts the set
// pairs at their sorted places.
func AppendQuery(dst []byte, pairs []Pair, drop []string, set []Pair) []byte {
	start := len(dst)
	add := func(p Pair) { dst = appendPair(dst, len(dst) > start, p) }
	for _, p := range pairs {
		for len(set) > 0 && set[0].Name <= p.Name {
			add(set[0])
			drop = append(drop, set[0].Name)
			set = set[1:]
		}
		if !slices.Contains(drop, p.Name) {
			add(p)
		}
	}
	for _, p := range set {
		add(p)
	}
	return dst
}

// appendPair encodes a pair, behind others or as the first.
func appendPair(dst []byte, behind bool, p Pair) []byte {
	if behind {
		dst = append(dst, '&')
	}
	dst = append(appendEscaped(dst, p.Name), '=')
	return appendEscaped(dst, p.Value)
}

// Value returns the last value of a parameter in sorted pairs.
func Value(pairs []Pair, name string) (value string) {
	for _, p := range pairs {
		if p.Name == name {
			value = p.Value
		}
	}
	return value
}

// RewriteQuery returns a URL without some parameters and with others set, sorted by name.
func RewriteQuery(url string, drop []string, set []Pair) string {
	url, fragment, _ := strings.Cut(url, "#")
	base, query, _ := strings.Cut(url, "?")
	out := append(make([]byte, 0, len(url)+len(fragment)+32), base...)
	out = append(out, '?')
	mark := len(out)
	out = AppendQuery(out, SortedPairs(query), drop, set)
	if len(out) == mark {
		out = out[:mark-1]
	}
	if fragment != "" {
		out = append(append(out, '#'), fragment...)
	}
	return string(out)
}
