package lex

import "strings"

// Mask returns a text with one stand-in for all literals of a type. Statements with one
// mask have results of the same types. Lists keep their lengths. Comments are dropped,
// except those that a server executes.
func Mask(sql, dialect string) string {
	l := New(sql, dialect)
	var b strings.Builder
	b.Grow(len(sql))
	for from := 0; ; {
		t := l.Next()
		switch gap := sql[from:t.Start]; {
		case strings.Contains(gap, "/*!"), strings.Contains(gap, "/*+"):
			b.WriteString(gap)
		case gap != "":
			b.WriteByte(' ')
		}
		from = t.End
		text := l.Text(t)
		switch {
		case t.Kind == End:
			return b.String()
		case t.Kind == String && text[0] != '"': // MySQL may read it as a name
			b.WriteString("''")
		case t.Kind == Number:
			for i := range len(text) {
				if !isDigit(text[i]) || i == 0 || !isDigit(text[i-1]) || strings.IndexByte(text[:i], '.') >= 0 {
					b.WriteByte(digit(text[i])) // one digit before the point, and the scale behind it
				}
			}
		case t.Kind == Word && (strings.EqualFold(text, "TRUE") || strings.EqualFold(text, "FALSE")):
			b.WriteString("TRUE")
		default:
			b.WriteString(text)
		}
	}
}

func digit(c byte) byte {
	if isDigit(c) {
		return '0'
	}
	return c
}
