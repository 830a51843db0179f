package mysql

import (
	"bytes"
	"strings"
)

// unqualify removes the qualifier of its own database from a definition: `shop`.`sales`
// becomes `sales`. Literals and comments stay unchanged. A column also keeps the qualifier
// of a table or alias with the name of the database. A statement like SHOW TABLES FROM shop
// loses the name of the database. mode is the SQL mode of the definition. hidden reports
// whether the database is still named: in a literal, for example in a prepared statement, or
// in a statement about the database itself, such as DROP DATABASE.
func unqualify(text []byte, database string, fold bool, mode string) (out []byte, hidden bool) {
	r := newRewriter(text, mode)
	r.database, r.fold = database, fold
	for i := 0; i < len(text); {
		i = r.step(i)
	}
	return append(r.out, text[r.copied:]...), r.hidden
}

func newRewriter(text []byte, mode string) rewriter {
	return rewriter{
		in: text, lists: []bool{false}, opened: []string{""},
		ansi: strings.Contains(mode, "ANSI_QUOTES"), plain: strings.Contains(mode, "NO_BACKSLASH_ESCAPES"), brackets: strings.Contains(mode, "MSSQL"),
	}
}

// rewriter reads a definition word by word.
type rewriter struct {
	in       []byte
	database string
	fold     bool
	ansi     bool // "…" is a name
	plain    bool // a backslash is an ordinary character
	brackets bool // [...] is a name
	out      []byte
	copied   int // offset up to which in is copied to out or left out
	hidden   bool

	last   string   // the previous keyword or symbol; "w" for another word
	lastAt int      // the offset of the previous keyword
	show   string   // in SHOW …, what follows FROM or IN: a "table", then a database ("second"), or the "name" of one
	about  bool     // between DATABASE and the name of one
	opened []string // for each open parenthesis: the word before it
	lists  []bool   // for each open parenthesis: whether a list of tables continues
	on     bool     // ON precedes an object: in CREATE TRIGGER, CREATE INDEX, GRANT
	table  bool     // between CREATE TABLE and its columns
}

// objectWords are keywords before the name of a table or of another object.
var objectWords = map[string]bool{
	"FROM": true, "JOIN": true, "STRAIGHT_JOIN": true, "INTO": true, "UPDATE": true, "TABLE": true, "TABLES": true, "CALL": true,
	"REFERENCES": true, "TRUNCATE": true, "TRIGGER": true, "PROCEDURE": true, "FUNCTION": true, "EVENT": true, "SEQUENCE": true,
	"VIEW": true, "DELETE": true, "INSERT": true, "REPLACE": true, "HANDLER": true, "EXISTS": true, "IGNORE": true,
	"LOW_PRIORITY": true, "QUICK": true, "DELAYED": true, "HIGH_PRIORITY": true, "DESCRIBE": true, "DESC": true, "PACKAGE": true,
	"BODY": true, "OF": true, "FOR": true, // ROW TYPE OF, NEXT VALUE FOR
	"USING": true, "TO": true, // DELETE … USING, RENAME TABLE … TO
	"CACHE": true, "INDEX": true, // LOAD INDEX INTO CACHE, CACHE INDEX
	"EXPLAIN": true, "RENAME": true,
}

// fromValue are functions whose arguments FROM and FOR precede. No object follows.
var fromValue = map[string]bool{"EXTRACT": true, "TRIM": true, "SUBSTRING": true, "SUBSTR": true, "MID": true, "TRIM_ORACLE": true}

// beforeIndex are keywords before INDEX in a statement with a table after ON.
var beforeIndex = map[string]bool{"CREATE": true, "REPLACE": true, "UNIQUE": true, "FULLTEXT": true, "SPATIAL": true, "DROP": true}

// listWords start a list of tables separated by commas.
var listWords = map[string]bool{"VIEW": true, "SEQUENCE": true, "FROM": true, "JOIN": true, "UPDATE": true, "TABLE": true, "TABLES": true, "DELETE": true, "USING": true}

// listEnds are keywords that end a list of tables.
var listEnds = map[string]bool{
	"WHERE": true, "SET": true, "GROUP": true, "ORDER": true, "HAVING": true, "LIMIT": true, "UNION": true,
	"VALUES": true, "VALUE": true, "SELECT": true, "BEGIN": true, "DO": true, "THEN": true, "END": true, "WINDOW": true, "EXCEPT": true, "INTERSECT": true,
}

// step reads the token at i and returns the position after it.
func (r *rewriter) step(i int) int {
	if j := r.blank(i); j > i {
		return j
	}
	c := r.in[i]
	if c == '\'' || c == '"' && !r.ansi {
		r.last = "'"
		return r.literal(i)
	}
	name, end, quoted := r.word(i)
	if end == i {
		r.symbol(c)
		return i + 1
	}
	// A chain a.b.c, which may have blanks around the dots.
	parts, second := 1, 0
	if r.last != "." && r.last != "@" {
		for parts < 4 {
			dot := r.blank(end)
			if dot >= len(r.in) || r.in[dot] != '.' {
				break
			}
			at := r.blank(dot + 1)
			_, after, _ := r.word(at)
			if after == at {
				break
			}
			if parts == 1 {
				second = at
			}
			parts, end = parts+1, after
		}
	}
	if dot := r.blank(end); parts == 2 && dot < len(r.in) && r.in[dot] == '.' {
		if star := r.blank(dot + 1); star < len(r.in) && r.in[star] == '*' {
			parts++ // shop.t.*
		}
	}
	if own := r.database != "" && (name == r.database || r.fold && strings.EqualFold(name, r.database)); own && parts > 1 && r.isDatabase(parts, end) {
		r.out = append(r.out, r.in[r.copied:i]...)
		r.copied = second
	} else if own && parts == 1 {
		r.bare(end)
	}
	if parts == 1 && !quoted {
		r.keyword(strings.ToUpper(name))
		r.lastAt = i
	} else {
		r.last = "w"
	}
	return end
}

// bare handles the name of the database without an object, which ends at end.
func (r *rewriter) bare(end int) {
	dot := r.blank(end)
	switch {
	case r.show == "name" && (r.last == "FROM" || r.last == "IN"):
		r.out = append(r.out, r.in[r.copied:r.lastAt]...)
		r.copied = end
	case r.about, r.on && r.last == "ON" && dot < len(r.in) && r.in[dot] == '.': // GRANT … ON shop.*
		r.hidden = true
	}
}

func (r *rewriter) keyword(word string) {
	top := len(r.lists) - 1
	switch {
	case listWords[word] && !fromValue[r.opened[top]]:
		r.lists[top] = true
	case listEnds[word]:
		r.lists[top] = false
	}
	switch word {
	case "TRIGGER", "GRANT", "REVOKE":
		r.on = true
	case "INDEX":
		r.on = beforeIndex[r.last]
	case "FOR":
		r.on = false
	case "TABLE":
		r.table = true
	case "SELECT", "SET", "WHERE":
		r.table, r.show = false, ""
	case "SHOW":
		r.show = "?"
	}
	switch {
	case r.show == "":
	case word == "TABLES", word == "TRIGGERS", word == "EVENTS", word == "STATUS" && r.last == "TABLE", r.show == "second" && (word == "FROM" || word == "IN"):
		r.show = "name"
	case r.show == "table" && (word == "FROM" || word == "IN"):
		r.show = "second"
	case word == "COLUMNS", word == "FIELDS", word == "INDEX", word == "INDEXES", word == "KEYS":
		r.show = "table"
	}
	r.about = word == "DATABASE" || word == "SCHEMA" || r.about && (word == "IF" || word == "NOT" || word == "EXISTS")
	r.last = word
}

func (r *rewriter) symbol(c byte) {
	switch c {
	case '(':
		r.opened = append(r.opened, r.last)
		r.lists = append(r.lists, r.lists[len(r.lists)-1] && (listWords[r.last] || r.last == "," || r.last == "("))
	case ')':
		if len(r.lists) > 1 {
			r.lists, r.opened = r.lists[:len(r.lists)-1], r.opened[:len(r.opened)-1]
		}
	case ';':
		r.lists, r.opened, r.table, r.on, r.show = []bool{false}, []string{""}, false, false, ""
	}
	r.last, r.about = string(c), false
}

// isDatabase reports whether the first part of a chain that ends at end is a database. In
// an expression it is a table or an alias, unless the chain has three parts or is a call.
func (r *rewriter) isDatabase(parts, end int) bool {
	at := r.blank(end)
	call := at < len(r.in) && r.in[at] == '('
	opened := r.opened[len(r.opened)-1]
	switch {
	case !call && parts == 2 && fromValue[opened] && (r.last == "FROM" || r.last == "FOR"):
		return false
	case call || parts > 2 || objectWords[r.last]:
		return true
	case at < len(r.in) && r.in[at] == '%': // shop.t%ROWTYPE, and t.id % 2
		word, _, _ := r.word(at + 1)
		return strings.EqualFold(word, "ROWTYPE")
	case r.last == "LIKE":
		return r.table
	case r.last == "ON" || r.last == "FOLLOWS" || r.last == "PRECEDES":
		return r.on
	case r.last == "(" && (opened == "NEXTVAL" || opened == "LASTVAL" || opened == "SETVAL"):
		return true
	case r.last == "," || r.last == "(":
		return r.lists[len(r.lists)-1]
	}
	return false
}

// blank returns the end of the blanks and comments that start at i. The content of /*! … */
// is code.
func (r *rewriter) blank(i int) int {
	for i < len(r.in) {
		rest := r.in[i:]
		switch {
		case rest[0] == ' ' || rest[0] >= '\t' && rest[0] <= '\r':
			i++
		case rest[0] == '#', bytes.HasPrefix(rest, []byte("--")) && (len(rest) == 2 || rest[2] <= ' '):
			end := bytes.IndexByte(rest, '\n')
			if end < 0 {
				return len(r.in)
			}
			i += end + 1
		case bytes.HasPrefix(rest, []byte("/*!")), bytes.HasPrefix(rest, []byte("/*M!")):
			i += bytes.IndexByte(rest, '!') + 1
			for i < len(r.in) && r.in[i] >= '0' && r.in[i] <= '9' {
				i++
			}
		case bytes.HasPrefix(rest, []byte("*/")):
			i += 2
		case bytes.HasPrefix(rest, []byte("/*")):
			end := bytes.Index(rest, []byte("*/"))
			if end < 0 {
				return len(r.in)
			}
			i += end + 2
		default:
			return i
		}
	}
	return i
}

// literal returns the end of the literal that starts at i.
func (r *rewriter) literal(i int) int {
	q := r.in[i]
	j := i + 1
	for j < len(r.in) {
		switch r.in[j] {
		case '\\':
			if !r.plain {
				j++
			}
		case q:
			r.hidden = r.hidden || r.names(string(r.in[i+1:j]))
			return j + 1
		}
		j++
	}
	return len(r.in)
}

// names reports whether the text of a literal is the name of the database, or names an object
// of it or the database in a statement.
func (r *rewriter) names(literal string) bool {
	name := r.database
	if r.fold {
		literal, name = strings.ToLower(literal), strings.ToLower(name)
	}
	if name == "" {
		return false
	}
	for from := 0; ; {
		at := strings.Index(literal[from:], name)
		if at < 0 {
			return false
		}
		at += from
		from = at + len(name)
		before, after := literal[:at], literal[from:]
		if at > 0 && isNameByte(before[at-1]) || after != "" && isNameByte(after[0]) {
			continue
		}
		before, after = strings.TrimRight(before, "`\"["), strings.TrimLeft(after, "`\"] \t\r\n")
		words := strings.Fields(before)
		switch {
		case strings.HasPrefix(after, "."), before == "" && after == "":
			return true
		case len(words) > 0 && beforeName[strings.ToUpper(words[len(words)-1])]:
			return true
		}
	}
}

// beforeName are keywords before the name of a database in the text of a statement.
var beforeName = map[string]bool{"FROM": true, "IN": true, "USE": true, "DATABASE": true, "SCHEMA": true, "EXISTS": true}

// word returns the name or keyword at i. If there is no word, end is i.
func (r *rewriter) word(i int) (name string, end int, quoted bool) {
	if i >= len(r.in) {
		return "", i, false
	}
	if q := r.in[i]; q == '`' || q == '"' && r.ansi || q == '[' && r.brackets {
		if q == '[' {
			q = ']'
		}
		var b []byte
		for j := i + 1; j < len(r.in); j++ {
			if r.in[j] != q {
				b = append(b, r.in[j])
				continue
			}
			if j+1 < len(r.in) && r.in[j+1] == q {
				b = append(b, q)
				j++
				continue
			}
			return string(b), j + 1, true
		}
		return "", i, false
	}
	j := i
	for j < len(r.in) && isNameByte(r.in[j]) {
		j++
	}
	return string(r.in[i:j]), j, false
}

func isNameByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c >= 0x80
}

// definerOf returns the account of the clause DEFINER=… of a statement, as user@host or
// role@, and where the clause begins and ends.
func definerOf(text []byte, mode string) (definer string, clause [2]int) {
	r := newRewriter(text, mode)
	part := func(at int) (string, int) {
		at = r.blank(at)
		if at < len(text) && text[at] == '\'' {
			stop := r.literal(at)
			return string(text[at+1 : max(at+1, stop-1)]), stop
		}
		name, end, _ := r.word(at)
		return name, end
	}
	for i := 0; i < min(len(text), 400); {
		if j := r.blank(i); j > i {
			i = j
			continue
		}
		name, end, quoted := r.word(i)
		if end == i || quoted || !strings.EqualFold(name, "DEFINER") {
			i = max(end, i+1)
			continue
		}
		at := r.blank(end)
		if at >= len(text) || text[at] != '=' {
			return "", clause
		}
		user, stop := part(at + 1)
		definer = user + "@" // a role
		if next := r.blank(stop); next < len(text) && text[next] == '@' {
			host, after := part(next + 1)
			definer, stop = user+"@"+host, after
		}
		return definer, [2]int{i, stop}
	}
	return "", clause
}
