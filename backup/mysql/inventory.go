package mysql

import (
	"cmp"
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// inventory lists the objects of a database as the server reports them. A value changes
// when the definition changes.
type inventory struct {
	tables  map[string]string
	rows    map[string]string // the part of tables that information_schema.TABLES holds
	objects map[string]string // by "view rich", "trigger stamp", …
	views   []string
	unsafe  []string          // tables whose engine has no transactions
	history []string          // tables with system versioning
	broken  map[string]string // tables that cannot be opened, with the reason
	engines map[string]string // engines of the tables
	hidden  []string          // routines whose text the account cannot read
}

func newInventory() inventory {
	return inventory{tables: make(map[string]string), rows: make(map[string]string), objects: make(map[string]string), broken: make(map[string]string), engines: make(map[string]string)}
}

// rowless are engines whose tables do not store rows themselves.
var rowless = map[string]bool{"MRG_MyISAM": true, "MRG_MYISAM": true, "FEDERATED": true, "SPIDER": true, "CONNECT": true, "OQGRAPH": true, "BLACKHOLE": true}

// ownRows are the rowless engines whose rows are nowhere, or in other tables of the database.
var ownRows = map[string]bool{"MRG_MyISAM": true, "MRG_MYISAM": true, "BLACKHOLE": true}

// fileEngine is an engine whose rows lie in files that the server deletes with the table, or
// in files and tables that others use.
const fileEngine = "CONNECT"

const (
	listTables = `SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_COMMENT, CREATE_TIME, TABLE_COLLATION, CREATE_OPTIONS
		FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?`
	// The time of a change has a resolution of one second, so the columns are compared too.
	listColumns = `SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, COLUMN_DEFAULT, IS_NULLABLE, COLUMN_KEY, EXTRA, COLLATION_NAME
		FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? ORDER BY TABLE_NAME, ORDINAL_POSITION`
)

// ofTable limits a query of information_schema to one table.
func ofTable(query string) string {
	return strings.Replace(query, "TABLE_SCHEMA = ?", "TABLE_SCHEMA = ? AND TABLE_NAME = ?", 1)
}

// takeInventory lists the objects of a database.
func takeInventory(ctx context.Context, q querier, database string, timeout time.Duration) (inventory, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	inv := newInventory()
	safe := make(map[string]bool)
	fold, err := foldsNames(ctx, q)
	if err != nil {
		return inv, err
	}
	if err := eachRow(ctx, q, "SELECT ENGINE FROM information_schema.ENGINES WHERE TRANSACTIONS = 'YES'", func(r []string) { safe[r[0]] = true }); err != nil {
		return inv, fmt.Errorf("backup: ask the server for the engines: %w", err)
	}
	// Columns are separate because the server would compare their collations if it joined
	// them. A NULL becomes an empty text.
	for _, list := range []struct {
		what, query string
		do          func(r []string)
	}{
		{"the tables", listTables, func(r []string) { inv.table(r, safe) }},
		{"the columns", listColumns, inv.column},
		{"the routines", `
			SELECT ROUTINE_SCHEMA, ROUTINE_TYPE, ROUTINE_NAME, LAST_ALTERED, ROUTINE_DEFINITION IS NULL
			FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ?`, func(r []string) {
			routine := strings.ReplaceAll(strings.ToLower(r[0]), " ", "-") + " " + r[1] // a package-body
			inv.objects[routine] = r[2]
			if r[3] == "1" {
				inv.hidden = append(inv.hidden, routine)
			}
		}},
		{"the triggers", `SELECT TRIGGER_SCHEMA, TRIGGER_NAME, CREATED FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ?`, func(r []string) {
			inv.objects["trigger "+r[0]] = r[1]
		}},
		{"the events", `SELECT EVENT_SCHEMA, EVENT_NAME, LAST_ALTERED FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ?`, func(r []string) {
			inv.objects["event "+r[0]] = r[1]
		}},
	} {
		var found [][]string
		err := eachRow(ctx, q, list.query, func(r []string) { found = append(found, r) }, database)
		if err != nil && strings.Contains(list.query, ", TABLE_NAME, ") {
			found, err = tableByTable(ctx, q, list.query, database)
		}
		if err != nil {
			return inv, fmt.Errorf("backup: ask the server for %s: %w", list.what, err)
		}
		for _, r := range found {
			ofSchema(database, fold, list.do)(r)
		}
	}
	slices.Sort(inv.hidden)
	return inv, nil
}

// tableByTable runs a query of information_schema for each table alone. The server fails the whole
// query if the last table that it opens is one that it cannot open, such as a FEDERATED table
// whose remote table is gone. Such a table becomes a row without an engine, as the server returns
// it for other places, with the error as its comment.
func tableByTable(ctx context.Context, q querier, query, database string) (all [][]string, err error) {
	var names [][]string
	err = eachRow(ctx, q, "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?", func(r []string) { names = append(names, r) }, database)
	if err != nil {
		return nil, err
	}
	query = ofTable(query)
	for _, name := range names {
		var rows [][]string
		err := eachRow(ctx, q, query, func(r []string) { rows = append(rows, r) }, name[0], name[1])
		if ctx.Err() != nil || errors.Is(err, sqldriver.ErrBadConn) || errors.As(err, new(*net.OpError)) {
			return nil, cmp.Or(err, ctx.Err())
		}
		if err != nil {
			rows = [][]string{{name[0], name[1], "BASE TABLE", "", err.Error(), "", "", ""}}
		}
		all = append(all, rows...)
	}
	return all, nil
}

// foldsNames reports whether the names of databases and tables are not case-sensitive.
func foldsNames(ctx context.Context, q querier) (fold bool, err error) {
	if err := q.QueryRowContext(ctx, "SELECT @@lower_case_table_names > 0").Scan(&fold); err != nil {
		return false, fmt.Errorf("backup: ask the server how it compares names: %w", err)
	}
	return fold, nil
}

// ofSchema passes on the rows whose first column is the name of a database or table, without
// that column. A condition of a query also selects names that differ in case or accents.
func ofSchema(name string, fold bool, do func(r []string)) func(r []string) {
	return func(r []string) {
		if r[0] == name || fold && strings.EqualFold(r[0], name) {
			do(r[1:])
		}
	}
}

// table adds a row of information_schema.TABLES.
func (inv *inventory) table(r []string, safe map[string]bool) {
	name, kind, engine, comment := r[0], r[1], r[2], r[3]
	switch {
	case kind == "VIEW":
		inv.objects["view "+name] = ""
		inv.views = append(inv.views, name)
		return
	case kind == "SEQUENCE":
		inv.objects["sequence "+name] = r[4]
		return
	case kind == "SYSTEM VERSIONED":
		inv.history = append(inv.history, name)
	case engine == "":
		inv.broken[name] = comment
		return
	}
	inv.engines[name] = engine
	inv.rows[name] = strings.Join(r[3:], "\x00")
	inv.tables[name] = inv.rows[name]
	if !safe[engine] && !rowless[engine] {
		inv.unsafe = append(inv.unsafe, name)
	}
}

// sameColumns returns the new tables that have the columns of an old one.
func (inv inventory) sameColumns(name string, after inventory) (others []string) {
	columns := strings.TrimPrefix(inv.tables[name], inv.rows[name])
	for other, is := range after.tables {
		if _, old := inv.tables[other]; !old && strings.TrimPrefix(is, after.rows[other]) == columns {
			others = append(others, other)
		}
	}
	return others
}

// column adds a row of information_schema.COLUMNS.
func (inv *inventory) column(r []string) {
	if _, table := inv.tables[r[0]]; table {
		inv.tables[r[0]] += "\n" + strings.Join(r[1:], "\x00")
	}
}

// changes lists the objects that were created, changed or dropped between two inventories.
func (inv inventory) changes(after inventory) []string {
	var all []string
	compare := func(prefix string, before, after map[string]string) {
		for name, changed := range before {
			now, still := after[name]
			switch {
			case !still:
				all = append(all, prefix+name+" was dropped")
			case now != changed:
				all = append(all, prefix+name+" was changed")
			}
		}
		for name := range after {
			if _, old := before[name]; !old {
				all = append(all, prefix+name+" was created")
			}
		}
	}
	compare("table ", inv.tables, after.tables)
	compare("", inv.objects, after.objects)
	slices.Sort(all)
	return all
}

// contents counts the objects other than tables.
func (inv inventory) contents() driver.Contents {
	var c driver.Contents
	for object := range inv.objects {
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
