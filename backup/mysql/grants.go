package mysql

import (
	"bytes"
	"slices"
	"strings"
)

// grants are the privileges of an account on one whole database.
type grants struct {
	has map[string]bool // "SELECT", "SHOW VIEW", …, "ALL PRIVILEGES"
	// routines means that the account may read the text of all routines of all owners.
	routines bool
}

// parseGrants parses the lines of SHOW GRANTS. It ignores grants on single tables or
// columns. With only those, the dump would silently lack the tables that the account cannot
// see.
func parseGrants(lines []string, database string, fold bool) grants {
	g := grants{has: make(map[string]bool)}
	exact := make(map[string]bool) // grantees with a grant on exactly this name
	var parsed []grant
	for _, line := range lines {
		one, ok := parseGrant(line)
		if !ok {
			continue
		}
		parsed = append(parsed, one)
		if one.object == "*" && one.database == escapeLike(database) {
			exact[one.grantee] = true
		}
	}
	for _, one := range parsed {
		global := one.database == "*"
		whole := one.object == "*"
		switch {
		case one.revoked:
		case whole && (global || likeMatches(one.database, database, fold) &&
			// The server uses only the grant with the most specific name.
			(!exact[one.grantee] || one.database == escapeLike(database))):
			for _, p := range one.privileges {
				g.has[p] = true
			}
		}
		reads := one.has("SELECT")
		if reads && (global || one.database == "mysql" && (whole || one.object == "proc")) ||
			(global || whole && likeMatches(one.database, database, fold)) && one.has("SHOW CREATE ROUTINE") ||
			global && one.has("SHOW_ROUTINE") {
			g.routines = g.routines || !one.revoked
		}
	}
	for _, one := range parsed { // partial revokes of MySQL
		if one.revoked && one.database == database {
			for _, p := range one.privileges {
				delete(g.has, p)
			}
		}
	}
	return g
}

func (g grants) may(privilege string) bool { return g.has[privilege] || g.has["ALL PRIVILEGES"] }

// grant is a line of SHOW GRANTS.
type grant struct {
	privileges       []string
	database, object string // "*" for all
	grantee          string
	revoked          bool
}

func (g grant) has(privilege string) bool {
	return slices.Contains(g.privileges, privilege) || slices.Contains(g.privileges, "ALL PRIVILEGES")
}

func parseGrant(line string) (grant, bool) {
	var g grant
	t := tokens{[]byte(line)}
	if !t.word("GRANT") {
		if !t.word("REVOKE") {
			return g, false
		}
		g.revoked = true
	}
	var words []string
	columns := false
	for !t.word("ON") {
		switch {
		case t.symbol(','):
			g.add(words, columns)
			words, columns = nil, false
		case t.symbol('('):
			for columns = true; !t.symbol(')'); {
				if !t.skip() {
					return g, false
				}
			}
		default:
			word, ok := t.part()
			if !ok {
				return g, false // a role: GRANT r TO u
			}
			words = append(words, strings.ToUpper(word))
		}
	}
	g.add(words, columns)
	var ok bool
	if g.database, ok = t.level(); !ok || !t.symbol('.') {
		return g, false // of a routine or a proxy
	}
	if g.object, ok = t.level(); !ok {
		return g, false
	}
	if !t.word("TO") && !t.word("FROM") {
		return g, false
	}
	g.grantee, _ = t.part()
	if t.symbol('@') {
		host, _ := t.part()
		g.grantee += "@" + host
	}
	return g, true
}

func (g *grant) add(words []string, columns bool) {
	if len(words) > 0 && !columns {
		g.privileges = append(g.privileges, strings.Join(words, " "))
	}
}

// level reads a star or a name.
func (t *tokens) level() (string, bool) {
	if t.symbol('*') {
		return "*", true
	}
	return t.part()
}

// escapeLike writes a name as GRANT does, with its wildcards escaped.
func escapeLike(name string) string {
	return strings.NewReplacer(`\`, `\\`, `_`, `\_`, `%`, `\%`).Replace(name)
}

// likeMatches reports whether a name matches a pattern of GRANT.
func likeMatches(pattern, name string, fold bool) bool {
	if fold {
		pattern, name = strings.ToLower(pattern), strings.ToLower(name)
	}
	return like([]rune(pattern), []rune(name))
}

func like(pattern, name []rune) bool {
	for len(pattern) > 0 {
		switch pattern[0] {
		case '%':
			for skip := range len(name) + 1 {
				if like(pattern[1:], name[skip:]) {
					return true
				}
			}
			return false
		case '\\':
			if len(pattern) > 1 {
				pattern = pattern[1:]
			}
			fallthrough
		default:
			if len(name) == 0 || pattern[0] != name[0] {
				return false
			}
		case '_':
			if len(name) == 0 {
				return false
			}
		}
		pattern, name = pattern[1:], name[1:]
	}
	return len(name) == 0
}

// tokens splits a line of SHOW GRANTS.
type tokens struct{ rest []byte }

func (t *tokens) blanks() { t.rest = bytes.TrimLeft(t.rest, " ") }

// bare returns the length of the unquoted word at the start.
func (t *tokens) bare() int {
	n := 0
	for n < len(t.rest) && isNameByte(t.rest[n]) {
		n++
	}
	return n
}

// word reads a keyword, if it is next.
func (t *tokens) word(keyword string) bool {
	t.blanks()
	n := t.bare()
	if !strings.EqualFold(string(t.rest[:n]), keyword) {
		return false
	}
	t.rest = t.rest[n:]
	return true
}

// skip reads any token.
func (t *tokens) skip() bool {
	if t.blanks(); len(t.rest) == 0 {
		return false
	}
	if _, ok := t.part(); !ok {
		t.rest = t.rest[1:]
	}
	return true
}

// part reads a word or a quoted text.
func (t *tokens) part() (string, bool) {
	if t.blanks(); len(t.rest) == 0 {
		return "", false
	}
	q := t.rest[0]
	if q != '`' && q != '"' && q != '\'' {
		n := t.bare()
		text := string(t.rest[:n])
		t.rest = t.rest[n:]
		return text, n > 0
	}
	var name []byte
	for i := 1; i < len(t.rest); i++ {
		if t.rest[i] != q {
			name = append(name, t.rest[i])
			continue
		}
		if i+1 < len(t.rest) && t.rest[i+1] == q {
			name = append(name, q)
			i++
			continue
		}
		t.rest = t.rest[i+1:]
		return string(name), true
	}
	return "", false
}

func (t *tokens) symbol(c byte) bool {
	if t.blanks(); len(t.rest) == 0 || t.rest[0] != c {
		return false
	}
	t.rest = t.rest[1:]
	return true
}
