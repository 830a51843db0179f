package trustedproxy

import "strings"

// element is one hop of a Forwarded header (RFC 7239, section 4).
type element struct {
	node, proto, host string
}

// parseForwarded reads one line of a Forwarded header. It is strict, because proxies disagree
// on the meaning of a line with a syntax error.
func parseForwarded(line string) ([]element, bool) {
	var elements []element
	s := line
	for {
		var e element
		seen := 0
		for {
			s = strings.TrimLeft(s, " \t")
			if s == "" || s[0] == ',' || s[0] == ';' { // empty pairs are allowed
				if s != "" && s[0] == ';' {
					s = s[1:]
					continue
				}
				break
			}
			name, rest, ok := takeToken(s)
			if !ok || rest == "" || rest[0] != '=' {
				return nil, false
			}
			value, rest, ok := takeValue(rest[1:])
			if !ok {
				return nil, false
			}
			var bit int
			var field *string
			switch strings.ToLower(name) {
			case "for":
				bit, field = 1, &e.node
			case "proto":
				bit, field = 2, &e.proto
			case "host":
				bit, field = 4, &e.host
			}
			if field != nil {
				if seen&bit != 0 { // each at most once in an element
					return nil, false
				}
				seen |= bit
				*field = value
			}
			s = strings.TrimLeft(rest, " \t")
			if s != "" && s[0] != ';' && s[0] != ',' {
				return nil, false
			}
		}
		elements = append(elements, e)
		if s == "" {
			return elements, true
		}
		s = s[1:] // the comma
	}
}

func takeToken(s string) (token, rest string, ok bool) {
	i := 0
	for i < len(s) && isTokenByte(s[i]) {
		i++
	}
	return s[:i], s[i:], i > 0
}

func takeValue(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return takeToken(s)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
			b.WriteByte(s[i])
		case c < ' ' && c != '\t' || c == 0x7f:
			return "", "", false
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// isTokenByte is tchar of RFC 9110, section 5.6.2.
func isTokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
