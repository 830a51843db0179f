package mysql

import (
	"slices"
	"strings"
)

// mysqlGrants are the privileges that an account has on the whole of one database.
type mysqlGrants struct {
	has map[string]bool // "SELECT", "SHOW VIEW", …, "ALL PRIVILEGES"
	// routines: it may read the text of every routine, whoever owns it.
	routines bool
}

// parseMySQLGrants reads the lines of SHOW GRANTS. What was granted on single tables or
// columns counts for nothing: tables that the account may not see would be missing from
// the dump without a word.
func parseMySQLGrants(lines []string, database string, fold bool) mysqlGrants {
	g := mysqlGrants{has: make(map[string]bool)}
	exact := make(map[string]bool) // grantees who have a grant on this very name
	var parsed []mysqlGrant
	for _, line := range lines {
		one, ok := parseMySQLGrant(line)
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
			// The server takes the most specific name, and no other.
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
	for _, one := range parsed { // MySQL's partial revokes
		if one.revoked && one.database == database {
			for _, p := range one.privileges {
				delete(g.has, p)
			}
		}
	}
	return g
}

func (g mysqlGrants) may(privilege string) bool { return g.has[privilege] || g.has["ALL PRIVILEGES"] }

// mysqlGrant is a line of SHOW GRANTS.
type mysqlGrant struct {
	privileges       []string
	database, object string // "*" for all
	grantee          string
	revoked          bool
}

func (g mysqlGrant) has(privilege string) bool {
	return slices.Contains(g.privileges, privilege) || slices.Contains(g.privileges, "ALL PRIVILEGES")
}

func parseMySQLGrant(line string) (mysqlGrant, bool) {
	var g mysqlGrant
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

func (g *mysqlGrant) add(words []string, columns bool) {
	if len(words) > 0 && !columns {
		g.privileges = append(g.privileges, strings.Join(words, " "))
	}
}

// level takes a star or a name.
func (t *tokens) level() (string, bool) {
	if t.symbol('*') {
		return "*", true
	}
	return t.part()
}

// escapeLike writes a name as GRANT does when its wildcards stand for themselves.
func escapeLike(name string) string {
	return strings.NewReplacer(`\`, `\\`, `_`, `\_`, `%`, `\%`).Replace(name)
}

// likeMatches compares a name with a pattern of GRANT.
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
