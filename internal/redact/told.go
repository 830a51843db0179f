package redact

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
)

// told is one spelling of a secret that the caller named.
type told struct {
	plain, lower string
	encoded      []string // pieces of base64 and hexadecimal digits that only this secret has
}

// newTold returns the spellings of a secret that decoding does not produce.
func newTold(secret string) []told {
	if secret == "" {
		return nil
	}
	spellings := []string{secret, strings.ToUpper(secret), strings.ToLower(secret), visible(secret), url.QueryEscape(secret), strings.ReplaceAll(secret, "\n", " "), strings.TrimSpace(secret)}
	// A secret of several lines, such as a key, also appears line by line.
	if lines := strings.Fields(secret); len(lines) > 1 {
		for _, line := range lines {
			if len(line) >= 12 {
				spellings = append(spellings, line)
			}
		}
	}
	if b := []byte(secret); len(b) >= 4 {
		list := strings.Trim(fmt.Sprint(b), "[]") //nolint:staticcheck // the numbers of the bytes, as %v writes them
		spellings = append(spellings,
			list, strings.ReplaceAll(list, " ", ","), strings.ReplaceAll(list, " ", ", "),
			fmt.Sprintf("% x", b), fmt.Sprintf("% #x", b), strings.ReplaceAll(fmt.Sprintf("% #x", b), " ", ", "),
			strings.ReplaceAll(fmt.Sprintf("% x", b), " ", ":"),
			escaped(b, `\%03o`), strings.TrimSuffix(escaped(b, "0x%x, "), ", "), strings.TrimSuffix(escaped(b, "0x%x "), " "),
		)
	}
	var all []told
	seen := map[string]bool{}
	for _, s := range spellings {
		if s != "" && !seen[s] {
			seen[s] = true
			all = append(all, told{plain: s, lower: lower(s)})
		}
	}
	all[0].encoded = encodedPieces(secret)
	return all
}

// encodedPieces returns the characters of a secret in an encoding of a longer text, for each of
// the three alignments of base64.
func encodedPieces(secret string) []string {
	b := []byte(secret)
	if len(b) < 4 {
		return nil
	}
	pieces := []string{hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b))}
	for before := range 3 {
		padded := append(make([]byte, before), b...)
		from := (before*8 + 5) / 6
		to := len(padded) * 8 / 6 // the last character may also belong to the next byte
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if p := e.EncodeToString(padded)[from:to]; len(p) >= 4 {
				pieces = append(pieces, p)
			}
		}
	}
	return pieces
}

func escaped(b []byte, format string) string {
	var out strings.Builder
	for _, c := range b {
		fmt.Fprintf(&out, format, c)
	}
	return out.String()
}

// findTold returns the named secrets in a text. It ignores case.
func (r *Redactor) findTold(text string) []span {
	if len(r.told) == 0 {
		return nil
	}
	var spans []span
	low := lower(text)
	for _, t := range r.told {
		for at := 0; at+len(t.lower) <= len(low); {
			i := strings.Index(low[at:], t.lower)
			if i < 0 {
				break
			}
			spans = append(spans, span{at + i, at + i + len(t.lower)})
			at += i + 1
		}
	}
	return spans
}

// lower folds ASCII letters. It keeps the length.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if c := b[i]; c >= 'A' && c <= 'Z' {
					b[i] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
