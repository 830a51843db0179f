// Package redact removes secrets from texts before a person, a log, a mail or a page receives
// them.
//
// It reads a text in layers: the text itself, and then repeatedly with percent, backslash and
// HTML escapes decoded. In each layer it searches for three kinds of secrets. First, secrets
// that the caller named, in every encoding. Second, values in places of secrets, such as the
// value of a key named password. Third, words with the form of a token. It hides the secrets of
// all layers in the given text.
package redact

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Hidden replaces a secret.
const Hidden = "***"

// maxInput limits the work for one text, in bytes. maxLines is the limit for a text of several
// lines.
const (
	maxInput = 16 << 10
	maxLines = 64 << 10
)

// Redactor removes secrets from texts. The zero value recognizes secrets by their place and
// form. A Redactor is safe for concurrent use.
type Redactor struct{ told []told }

// New returns a Redactor that also recognizes the given secrets. It ignores empty ones.
func New(secrets ...string) *Redactor {
	r := &Redactor{}
	for _, s := range secrets {
		r.told = append(r.told, newTold(s)...)
	}
	// The longest first: a secret that contains another one is hidden completely.
	slices.SortStableFunc(r.told, func(a, b told) int { return len(b.plain) - len(a.plain) })
	return r
}

// span is a range of bytes.
type span struct{ from, to int }

// Text returns the text on one line, without secrets and truncated to about limit bytes. With
// limit 0 there is no limit.
func (r *Redactor) Text(text string, limit int) string {
	cut := false
	if len(text) > maxInput {
		text, cut = text[:maxInput], true
	}
	// Invisible characters are removed first, so that they cannot split a secret.
	text = visible(text)
	spans := r.find(text)
	if cut {
		spans = append(spans, r.splitAtEnd(text)...)
	}
	return clip(oneLine(hide(text, spans)), limit, cut)
}

// Lines returns the text without secrets, and keeps its line breaks. It also keeps the given
// parts, such as signed links, unless they contain a named secret. It truncates a text of more
// than 64 KiB.
func (r *Redactor) Lines(text string, keep ...string) string {
	cut := false
	if len(text) > maxLines {
		text, cut = text[:maxLines], true
	}
	text = visible(text)
	spans := r.find(text)
	if cut {
		spans = append(spans, r.splitAtEnd(text)...)
	}
	for _, part := range keep {
		for at := 0; part != ""; {
			i := strings.Index(text[at:], part)
			if i < 0 {
				break
			}
			at += i + len(part)
			spans = without(spans, span{at - len(part), at})
		}
	}
	if len(keep) > 0 {
		spans = append(spans, r.findNamed(text)...)
	}
	text = hide(text, spans)
	if cut {
		text += "…"
	}
	return text
}

// without removes a range from spans.
func without(spans []span, kept span) []span {
	var left []span
	for _, s := range spans {
		if s.to <= kept.from || s.from >= kept.to {
			left = append(left, s)
			continue
		}
		if s.from < kept.from {
			left = append(left, span{s.from, kept.from})
		}
		if s.to > kept.to {
			left = append(left, span{kept.to, s.to})
		}
	}
	return left
}

// findNamed returns the named secrets of all layers.
func (r *Redactor) findNamed(text string) []span {
	var spans []span
	if len(r.told) == 0 {
		return nil
	}
	l := &layer{text: text}
	for depth := 0; l != nil && depth < 5; depth++ {
		for _, s := range append(r.findTold(l.text), r.findWords(l.text)...) {
			spans = append(spans, l.origin(s))
		}
		l = l.decode()
	}
	return r.findOneByOne(spans, &layer{text: text}, 0)
}

// findOneByOne searches for named secrets behind each sequence of encodings. It decodes one
// kind at a time, because a secret may itself contain the characters of an escape.
func (r *Redactor) findOneByOne(spans []span, l *layer, depth int) []span {
	if len(r.told) == 0 || depth == 3 {
		return spans
	}
	for _, kind := range []byte(`%\&`) {
		if strings.IndexByte(l.text, kind) < 0 {
			continue
		}
		next := l.decodeWith(func(s string) (string, int) {
			if s[0] != kind {
				return "", 0
			}
			return unescape(s)
		})
		if next == nil {
			continue
		}
		for _, s := range r.findTold(next.text) {
			spans = append(spans, next.origin(s))
		}
		spans = r.findOneByOne(spans, next, depth+1)
	}
	return spans
}

// findWords returns the words that are an encoding of a named secret.
func (r *Redactor) findWords(text string) []span {
	var spans []span
	for i := 0; i < len(text); {
		j := i
		for j < len(text) && isBase64(text[j]) {
			j++
		}
		if j > i && r.toldInside(text[i:j]) {
			spans = append(spans, span{i, j})
		}
		i = max(j, i+1)
	}
	return spans
}

// splitAtEnd returns the end of a truncated text, which may contain half of a secret: the last
// word, or the last bytes of a long word.
func (r *Redactor) splitAtEnd(text string) []span {
	from := strings.LastIndexAny(text, " \t\r\n") + 1
	from = max(from, len(text)-256)
	for _, t := range r.told {
		for n := min(len(t.plain)-1, len(text)); n >= 4; n-- {
			if strings.EqualFold(text[len(text)-n:], t.plain[:n]) {
				from = min(from, len(text)-n)
				break
			}
		}
	}
	return []span{{from, len(text)}}
}

// find returns the ranges of the text that must be hidden.
func (r *Redactor) find(text string) []span {
	var spans []span
	l := &layer{text: text}
	for depth := 0; l != nil && depth < 5; depth++ {
		for _, s := range r.findIn(l.text, 0) {
			spans = append(spans, l.origin(s))
		}
		l = l.decode()
	}
	spans = r.findOneByOne(spans, &layer{text: text}, 0)
	if len(r.told) > 0 && strings.Contains(text, "=") {
		if qp := decodeQuotedPrintable(text); qp != nil {
			for _, s := range r.findTold(qp.text) {
				spans = append(spans, qp.origin(s))
			}
		}
	}
	return spans
}

// findIn returns the ranges of one layer that must be hidden.
func (r *Redactor) findIn(text string, nested int) []span {
	spans := r.findTold(text)
	spans = findByPlace(spans, text)
	spans = findURLs(spans, text)
	spans = findByForm(spans, text)
	return r.findEncoded(spans, text, nested)
}

// hide replaces the spans. Adjacent spans become one.
func hide(text string, spans []span) string {
	if len(spans) == 0 {
		return text
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	var b strings.Builder
	at := 0
	for i := 0; i < len(spans); {
		s := spans[i]
		for i++; i < len(spans) && spans[i].from <= s.to; i++ {
			s.to = max(s.to, spans[i].to)
		}
		if s.from >= s.to {
			continue
		}
		b.WriteString(text[at:s.from])
		b.WriteString(Hidden)
		at = s.to
	}
	b.WriteString(text[at:])
	return b.String()
}

// visible removes characters that are invisible or that reorder the display: zero-width ones,
// and embeddings, overrides and isolates of bidirectional text. Bytes that are not UTF-8 become
// U+FFFD.
func visible(text string) string {
	clean := true
	for i := 0; i < len(text); i++ {
		if text[i] >= 0x80 {
			clean = false
			break
		}
	}
	if clean {
		return text
	}
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 0x200b && c <= 0x200f, c >= 0x202a && c <= 0x202e, c >= 0x2060 && c <= 0x2069,
			c == 0x061c, c == 0xfeff, c == 0x00ad, c >= 0xe0000 && c <= 0xe007f:
			return -1
		case c >= 0xff01 && c <= 0xff5e: // full-width forms of ASCII hide words from a search
			return c - 0xff01 + '!'
		}
		return c
	}, strings.ToValidUTF8(text, "\ufffd"))
}

// oneLine turns control characters into spaces. A text must not be able to add lines to a log,
// a mail or a text response.
func oneLine(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 || c == 0x2028 || c == 0x2029 {
			return ' '
		}
		return c
	}, text)
}

// clip shortens a text without splitting a character.
func clip(text string, limit int, cut bool) string {
	if limit <= 0 || len(text) <= limit {
		if cut {
			text += "…"
		}
		return text
	}
	end := limit
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
