package postgres

import "strings"

// statements splits the text of an entry at the semicolons outside of quotes.
func statements(definition string) []string {
	var list []string
	start := 0
	scan(definition, func(from, to int) bool {
		if definition[from:to] == ";" {
			if s := strings.TrimSpace(definition[start:from]); s != "" {
				list = append(list, s)
			}
			start = to
		}
		return true
	})
	if s := strings.TrimSpace(definition[start:]); s != "" {
		list = append(list, s)
	}
	return list
}

// scan calls token with the position of each token: a word, a quoted name, a string, or one
// other character. It stops when token returns false.
func scan(sql string, token func(from, to int) bool) {
	for i := 0; i < len(sql); {
		from := i
		switch c := sql[i]; {
		case c == ' ' || c == '\n' || c == '\t' || c == '\r':
			i++
			continue
		case c == '"' || c == '\'':
			escapes := c == '\'' && i > 0 && (sql[i-1] == 'E' || sql[i-1] == 'e')
			for i++; i < len(sql); i++ {
				if escapes && sql[i] == '\\' {
					i++
					continue
				}
				if sql[i] == c {
					if i+1 < len(sql) && sql[i+1] == c {
						i++
						continue
					}
					break
				}
			}
			i = min(i+1, len(sql))
		case word(c):
			for i < len(sql) && word(sql[i]) {
				i++
			}
		default:
			i++
		}
		if !token(from, i) {
			return
		}
	}
}

func word(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}

// tokens returns the tokens of a statement.
func tokens(sql string) []string {
	var list []string
	scan(sql, func(from, to int) bool {
		list = append(list, sql[from:to])
		return true
	})
	return list
}

// unquote returns the name in a token.
func unquote(token string) string {
	if len(token) >= 2 && token[0] == '"' {
		return strings.ReplaceAll(token[1:len(token)-1], `""`, `"`)
	}
	return token
}

// public is the role of all users.
const public = "PUBLIC"

// rolesOf returns the roles in a statement of pg_dump: the grantee, the role of default
// privileges, and the role of the session.
func rolesOf(statement string) []string {
	t := tokens(statement)
	var roles []string
	add := func(i int) {
		if i < len(t) && t[i] != public {
			roles = append(roles, unquote(t[i]))
		}
	}
	if len(t) == 0 {
		return nil
	}
	switch first := strings.ToUpper(t[0]); {
	case first == "SET" && len(t) > 3: // SET SESSION AUTHORIZATION x
		add(3)
		return roles
	case first == "RESET":
		return nil
	case first == "ALTER": // ALTER DEFAULT PRIVILEGES FOR ROLE x …
		for i := range t {
			if t[i] == "ROLE" {
				add(i + 1)
				break
			}
		}
	}
	for i := len(t) - 1; i >= 0; i-- { // the last TO or FROM precedes the grantee
		if t[i] == "TO" || t[i] == "FROM" {
			add(i + 1)
			break
		}
	}
	return roles
}

// policyRoles returns the roles of a CREATE POLICY, and the range of their list in the
// statement. A policy for all roles has no list.
func policyRoles(statement string) (from, to int, roles []string) {
	depth, state := 0, 0
	scan(statement, func(a, b int) bool {
		token := statement[a:b]
		switch token {
		case "(":
			depth++
		case ")":
			depth--
		}
		switch {
		case depth > 0 || state == 2:
			return state < 2 && depth == 0
		case state == 0 && token == "TO":
			state, from = 1, a
		case state == 1 && token == ",":
		case state == 1 && (token == "USING" || token == "WITH" || token == ";"):
			state = 2
			return false
		case state == 1:
			roles = append(roles, unquote(token))
			to = b
		}
		return true
	})
	return from, to, roles
}

// renamed replaces the name of the database in a statement of pg_dump about that database.
func renamed(statement, name string) string {
	out := statement
	next := false
	scan(statement, func(a, b int) bool {
		if next {
			out = statement[:a] + quotePostgres(name) + statement[b:]
			return false
		}
		next = statement[a:b] == "DATABASE"
		return true
	})
	return out
}
