package web

import (
	"bytes"
	"math"
	"unicode"
)

// ParseInt reads a decimal integer in the forms that a lenient client may send: with blanks
// around it, one sign before it, or leading zeros. Numbers beyond int64 saturate, so that
// they compare like any other number that is too large. It rejects two forms that Python's
// int() accepts: underscores between digits and digits outside ASCII.
func ParseInt(escaped string) (n int64, ok bool) {
	if n, ok = digits(escaped); ok {
		return n, true
	}
	var buf [64]byte
	b := trimBlanks(appendUnescaped(buf[:0], escaped))
	negative := false
	if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
		negative = b[0] == '-'
		b = b[1:]
	}
	if len(b) == 0 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		d := int64(c - '0')
		if n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + d
	}
	if negative {
		n = -n
	}
	return n, true
}

// digits reads the most common form: digits alone, few enough for an int64.
func digits(s string) (n int64, ok bool) {
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + int64(d)
	}
	return n, true
}

// trimBlanks removes the blanks that Python's int() skips.
func trimBlanks(b []byte) []byte {
	plain := func(c byte) bool { return c > ' ' && c < 0x7f }
	if len(b) > 0 && plain(b[0]) && plain(b[len(b)-1]) {
		return b
	}
	return bytes.TrimFunc(b, unicode.IsSpace)
}

// Positive reads a number. It rejects one below least and reduces one above most to most (0
// = no maximum).
func Positive(escaped string, least, most int64) (n int64, ok bool) {
	n, ok = ParseInt(escaped)
	if !ok || n < least {
		return 0, false
	}
	if most > 0 && n > most {
		n = most
	}
	return n, true
}

// CeilDiv divides and rounds up, also for negative numerators.
func CeilDiv(a, b int64) int64 {
	q := a / b
	if a%b > 0 {
		q++
	}
	return q
}
