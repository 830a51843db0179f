package redact

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"strconv"
	"strings"
	"unicode/utf8"
)

// layer is a text after some decoding. from and to map each of its bytes to bytes of the given
// text.
type layer struct {
	text     string
	from, to []int // nil in the first layer: byte i came from i
}

// origin maps a span to the given text.
func (l *layer) origin(s span) span {
	if l.from == nil || s.from >= s.to {
		return s
	}
	return span{l.from[s.from], l.to[s.to-1]}
}

// decode returns the next layer, or nil if the text has no escapes. One pass decodes escapes of
// all kinds, because texts mix them.
func (l *layer) decode() *layer {
	if !strings.ContainsAny(l.text, `%\&`) {
		return nil
	}
	return l.decodeWith(unescape)
}

func (l *layer) decodeWith(step func(string) (string, int)) *layer {
	next := &layer{from: make([]int, 0, len(l.text)), to: make([]int, 0, len(l.text))}
	var b strings.Builder
	changed := false
	for i := 0; i < len(l.text); {
		out, n := step(l.text[i:])
		if n == 0 {
			out, n = l.text[i:i+1], 1
		} else {
			changed = true
		}
		s := l.origin(span{i, i + n})
		b.WriteString(out)
		for range len(out) {
			next.from, next.to = append(next.from, s.from), append(next.to, s.to)
		}
		i += n
	}
	if !changed {
		return nil
	}
	next.text = b.String()
	return next
}

// unescape decodes one escape at the start of s and returns its length, or 0 without an escape.
func unescape(s string) (out string, n int) {
	switch s[0] {
	case '%':
		if len(s) >= 3 {
			if b, err := hex.DecodeString(s[1:3]); err == nil {
				return string(b), 3
			}
		}
	case '\\':
		return unescapeBackslash(s)
	case '&':
		if end := strings.IndexByte(s[:min(len(s), 12)], ';'); end > 1 {
			if out := html.UnescapeString(s[:end+1]); out != s[:end+1] {
				return out, end + 1
			}
		}
	}
	return "", 0
}

func unescapeBackslash(s string) (string, int) {
	if len(s) < 2 {
		return "", 0
	}
	digits := func(n int, base int) (string, int) {
		if len(s) < 2+n {
			return "", 0
		}
		v, err := strconv.ParseUint(s[2:2+n], base, 32)
		if err != nil {
			return "", 0
		}
		if n == 2 {
			return string([]byte{byte(v)}), 2 + n
		}
		return string(rune(v)), 2 + n
	}
	switch s[1] {
	case '"', '\'', '\\', '/', '`', '$', '&', ';', ' ', '!', '=', ':', '@', '{', '}':
		return s[1:2], 2
	case 'n', 'r':
		return "\n", 2
	case 't':
		return "\t", 2
	case 'x':
		return digits(2, 16)
	case 'u':
		return digits(4, 16)
	case 'U':
		return digits(8, 16)
	}
	return "", 0
}

func decodeQuotedPrintable(text string) *layer {
	return (&layer{text: text}).decodeWith(func(s string) (string, int) {
		switch {
		case s[0] != '=':
			return "", 0
		case strings.HasPrefix(s, "=\r\n"):
			return "", 3
		case strings.HasPrefix(s, "=\n"):
			return "", 2
		case len(s) >= 3:
			if b, err := hex.DecodeString(s[1:3]); err == nil {
				return string(b), 3
			}
		}
		return "", 0
	})
}

// findEncoded decodes words of base64 and hexadecimal digits. It hides the whole word if the
// result contains a secret.
func (r *Redactor) findEncoded(spans []span, text string, nested int) []span {
	if nested >= 3 {
		return spans
	}
	least := 16
	if len(r.told) > 0 {
		least = 8
	}
	for i := 0; i < len(text); {
		if !isBase64(text[i]) {
			i++
			continue
		}
		j, plain := i, true
		for j < len(text) && isBase64(text[j]) {
			plain = plain && text[j] >= 'a' && text[j] <= 'z'
			j++
		}
		end := j
		for end < len(text) && end < j+2 && text[end] == '=' {
			end++
		}
		switch word := text[i:j]; {
		case r.toldInside(word), !plain && len(word) >= least && r.decodesToSecret(word, nested):
			spans = append(spans, span{i, end})
		}
		i = end
	}
	return spans
}

func isBase64(c byte) bool { return isAlnum(c) || c == '+' || c == '/' || c == '-' || c == '_' }

// toldInside reports whether a word is an encoding of a named secret, or of a text that
// contains one.
func (r *Redactor) toldInside(word string) bool {
	for _, t := range r.told {
		for _, piece := range t.encoded {
			if len(piece) <= len(word) && strings.Contains(word, piece) {
				return true
			}
		}
	}
	return false
}

func (r *Redactor) decodesToSecret(word string, nested int) bool {
	if b, err := hex.DecodeString(word[:len(word)/2*2]); err == nil && r.secretBytes(b, nested) {
		return true
	}
	std := word
	if strings.ContainsAny(word, "-_") {
		std = strings.ReplaceAll(strings.ReplaceAll(word, "-", "+"), "_", "/")
	}
	if len(std)%4 == 1 {
		std = std[:len(std)-1]
	}
	b, err := base64.RawStdEncoding.DecodeString(std)
	return err == nil && r.secretBytes(b, nested)
}

// secretBytes reports whether decoded bytes contain a secret. If they are text, it also
// searches by place.
func (r *Redactor) secretBytes(b []byte, nested int) bool {
	if len(r.findTold(string(b))) > 0 {
		return true
	}
	if !utf8.Valid(b) {
		return false
	}
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' {
			return false
		}
	}
	text := string(b)
	if len(r.findEncoded(nil, text, nested+1)) > 0 {
		return true
	}
	if len(text) < 12 {
		return false
	}
	if len(findURLs(findByPlace(nil, text), text)) > 0 {
		return true
	}
	// user:password of basic authentication
	user, password, ok := strings.Cut(text, ":")
	return ok && user != "" && password != "" && !strings.ContainsAny(user, " /") && !strings.Contains(password, " ")
}
