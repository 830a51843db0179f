package mysql

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// mysqlDump is what a dump holds, by its own statements.
type mysqlDump struct {
	tables   []driver.Table
	places   map[string]int      // of the tables, by name
	objects  map[string]struct{} // "view rich", "trigger stamp", …: all but tables
	definers map[string]struct{}
	bound    []string // triggers whose text names a database
	server   string   // its version
	client   string
	longest  int64 // bytes of a statement
	complete bool  // the last line is there, and nothing behind it
}

func newMySQLDump() mysqlDump {
	return mysqlDump{places: make(map[string]int), objects: make(map[string]struct{}), definers: make(map[string]struct{})}
}

// table returns a table's place.
func (d *mysqlDump) table(name string) int {
	place, known := d.places[name]
	if !known {
		place = len(d.tables)
		d.tables = append(d.tables, driver.Table{Name: name})
		d.places[name] = place
	}
	return place
}

// contents counts. What stands in for a view until all tables exist is a table in the
// dumps of older programs, and is left out.
func (d *mysqlDump) contents() driver.Contents {
	c := driver.Contents{Tables: []driver.Table{}, ServerVersion: d.server, ClientVersion: d.client}
	for _, t := range d.tables {
		if _, view := d.objects["view "+t.Name]; !view {
			c.Tables = append(c.Tables, t)
		}
	}
	slices.SortFunc(c.Tables, func(a, b driver.Table) int { return cmp.Compare(a.Name, b.Name) })
	for object := range d.objects {
		switch kind, _, _ := strings.Cut(object, " "); kind {
		case "view":
			c.Views++
		case "trigger":
			c.Triggers++
		case "event":
			c.Events++
		case "function", "procedure", "package", "package-body":
			c.Routines++
		}
	}
	return c
}

// comment takes a line comment between statements.
func (d *mysqlDump) comment(text []byte) {
	text = bytes.TrimSpace(text)
	switch {
	case bytes.HasPrefix(text, []byte("Dump completed")):
		d.complete = true
	case bytes.HasPrefix(text, []byte("Server version")):
		d.server = string(bytes.TrimSpace(text[len("Server version"):]))
	case d.client == "" && (bytes.HasPrefix(text, []byte("MariaDB dump ")) || bytes.HasPrefix(text, []byte("MySQL dump "))):
		d.client = string(text)
	}
}

// statement takes the beginning of a statement that inserts nothing.
func (d *mysqlDump) statement(head []byte) error {
	t := tokens{head}
	if t.word("USE") {
		return errors.New("it switches to another database, which a dump of one database does not")
	}
	if !t.word("CREATE") {
		return nil
	}
	owned := false
	for range 12 { // the longest prefix: OR REPLACE ALGORITHM = x DEFINER = u@h SQL SECURITY x AGGREGATE
		switch {
		case t.word("DEFINER"):
			owned = true
			if definer, ok := t.definer(); ok {
				d.definers[definer] = struct{}{}
			}
		case t.word("TABLE"):
			if t.word("IF") {
				_ = t.word("NOT") && t.word("EXISTS")
			}
			if name, _, ok := t.name(); ok {
				d.table(name)
			}
			return nil
		case t.word("VIEW"):
			// What stands in for it until all tables exist has no definer.
			if owned {
				d.add("view", &t)
			}
			return nil
		case t.word("TRIGGER"):
			d.trigger(t)
			return nil
		case t.word("PACKAGE"):
			if t.word("BODY") {
				d.add("package-body", &t)
			} else {
				d.add("package", &t)
			}
			return nil
		case t.word("DATABASE"), t.word("SCHEMA"):
			return errors.New("it creates a database, which a dump of one database does not")
		default:
			for _, kind := range []string{"FUNCTION", "PROCEDURE", "EVENT", "SEQUENCE"} {
				if t.word(kind) {
					d.add(strings.ToLower(kind), &t)
					return nil
				}
			}
			if !t.skip() {
				return nil
			}
		}
	}
	return nil
}

func (d *mysqlDump) add(kind string, t *tokens) {
	if name, _, ok := t.name(); ok {
		d.objects[kind+" "+name] = struct{}{}
	}
}

// trigger keeps its name and whether it, or that of its table, names a database. The
// server stores a trigger as it was typed.
func (d *mysqlDump) trigger(t tokens) {
	if t.word("IF") {
		_ = t.word("NOT") && t.word("EXISTS")
	}
	name, bound, ok := t.name()
	if !ok {
		return
	}
	d.objects["trigger "+name] = struct{}{}
	for !t.word("ON") {
		if !t.skip() {
			return
		}
	}
	if _, alsoBound, ok := t.name(); ok && (bound || alsoBound) {
		d.bound = append(d.bound, name)
	}
}

// tokens takes the beginning of a statement apart. Comments are gone already.
type tokens struct{ rest []byte }

func isNameByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c >= 0x80
}

func (t *tokens) blanks() { t.rest = bytes.TrimLeft(t.rest, " ") }

// bare returns the length of the unquoted word at the front.
func (t *tokens) bare() int {
	n := 0
	for n < len(t.rest) && isNameByte(t.rest[n]) {
		n++
	}
	return n
}

// word takes a keyword, if it is the next.
func (t *tokens) word(keyword string) bool {
	t.blanks()
	n := t.bare()
	if !equalFold(t.rest[:n], keyword) {
		return false
	}
	t.rest = t.rest[n:]
	return true
}

// skip takes whatever is next.
func (t *tokens) skip() bool {
	if t.blanks(); len(t.rest) == 0 {
		return false
	}
	if _, ok := t.part(); !ok {
		t.rest = t.rest[1:]
	}
	return true
}

// part takes a word or something in quotes.
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

// name takes an object's name; qualified says that a database's stood before it.
func (t *tokens) name() (name string, qualified, ok bool) {
	name, ok = t.part()
	for ok && t.symbol('.') {
		qualified = true
		name, ok = t.part()
	}
	return name, qualified, ok
}

// definer takes =`user`@`host`.
func (t *tokens) definer() (string, bool) {
	if !t.symbol('=') {
		return "", false
	}
	user, ok := t.part()
	if !ok || !t.symbol('@') {
		return user, ok // a role
	}
	host, ok := t.part()
	return user + "@" + host, ok
}

func (t *tokens) symbol(c byte) bool {
	if t.blanks(); len(t.rest) == 0 || t.rest[0] != c {
		return false
	}
	t.rest = t.rest[1:]
	return true
}
