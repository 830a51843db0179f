package mysql

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// mysqlInventory is what a database holds by the server's own account. A value differs
// when the definition has been changed.
type mysqlInventory struct {
	tables  map[string]string
	objects map[string]string // keys as those of mysqlDump
	views   []string
	unsafe  []string // tables whose engine has no transactions, with the engine
	history []string // tables that keep the rows of the past
	broken  []string // tables that cannot be read, with the reason
	hidden  []string // routines whose text the account may not read
}

// mysqlQuerier is a *sql.DB or a *sql.Conn.
type mysqlQuerier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func inventMySQL(ctx context.Context, q mysqlQuerier, database string, timeout time.Duration) (mysqlInventory, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	inv := mysqlInventory{tables: make(map[string]string), objects: make(map[string]string)}
	safe := make(map[string]bool)
	// Columns stand alone rather than joined by the server, which compares their
	// collations then; a NULL is an empty text.
	for _, list := range []struct {
		what, query string
		do          func(r []string)
	}{
		{"the engines", `SELECT ENGINE FROM information_schema.ENGINES WHERE TRANSACTIONS = 'YES' AND ? <> ''`, func(r []string) { safe[r[0]] = true }},
		{"the tables", `
			SELECT TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_COMMENT, CREATE_TIME, TABLE_COLLATION, CREATE_OPTIONS
			FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?`, func(r []string) { inv.table(r, safe) }},
		// The time of a change has a resolution of a second, its columns have none.
		{"the columns", `
			SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, COLUMN_DEFAULT, IS_NULLABLE, COLUMN_KEY, EXTRA, COLLATION_NAME
			FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? ORDER BY TABLE_NAME, ORDINAL_POSITION`, func(r []string) {
			if _, table := inv.tables[r[0]]; table {
				inv.tables[r[0]] += "\n" + strings.Join(r[1:], "\x00")
			}
		}},
		{"the routines", `
			SELECT ROUTINE_TYPE, ROUTINE_NAME, LAST_ALTERED, ROUTINE_DEFINITION IS NULL
			FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ?`, func(r []string) {
			routine := strings.ReplaceAll(strings.ToLower(r[0]), " ", "-") + " " + r[1] // a package-body
			inv.objects[routine] = r[2]
			if r[3] == "1" {
				inv.hidden = append(inv.hidden, routine)
			}
		}},
		{"the triggers", `SELECT TRIGGER_NAME, CREATED FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ?`, func(r []string) {
			inv.objects["trigger "+r[0]] = r[1]
		}},
		{"the events", `SELECT EVENT_NAME, LAST_ALTERED FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ?`, func(r []string) {
			inv.objects["event "+r[0]] = r[1]
		}},
	} {
		if err := eachRow(ctx, q, list.query, database, list.do); err != nil {
			return inv, fmt.Errorf("backup: ask the server for %s: %w", list.what, err)
		}
	}
	slices.Sort(inv.hidden)
	return inv, nil
}

// table takes a row of information_schema.TABLES.
func (inv *mysqlInventory) table(r []string, safe map[string]bool) {
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
		inv.broken = append(inv.broken, fmt.Sprintf("%s (%s)", name, comment))
	}
	inv.tables[name] = strings.Join(r[3:], "\x00")
	if !safe[engine] {
		inv.unsafe = append(inv.unsafe, fmt.Sprintf("%s (%s)", name, engine))
	}
}

func eachRow(ctx context.Context, q mysqlQuerier, query, database string, do func([]string)) error {
	rows, err := q.QueryContext(ctx, query, database)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, to := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		to[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = v.String
		}
		do(row)
	}
	return rows.Err()
}

// missing lists what a dump should hold and does not. What somebody has dropped while
// it ran is no loss; gone says so.
func (inv mysqlInventory) missing(d mysqlDump, after mysqlInventory) (missing, gone []string) {
	for name := range inv.tables {
		if _, there := d.places[name]; !there {
			if _, still := after.tables[name]; still {
				missing = append(missing, "table "+name)
			} else {
				gone = append(gone, "table "+name)
			}
		}
	}
	for object := range inv.objects {
		if _, there := d.objects[object]; !there {
			if _, still := after.objects[object]; still {
				missing = append(missing, object)
			} else {
				gone = append(gone, object)
			}
		}
	}
	slices.Sort(missing)
	slices.Sort(gone)
	return missing, gone
}

// changes lists what was created, changed or dropped between two inventories.
func (inv mysqlInventory) changes(after mysqlInventory) []string {
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

// contents counts a database's rows and what else it holds.
func (inv mysqlInventory) contents(ctx context.Context, q mysqlQuerier, database string) (driver.Contents, error) {
	d := newMySQLDump()
	for _, name := range slices.Sorted(maps.Keys(inv.tables)) {
		t := &d.tables
		*t = append(*t, driver.Table{Name: name})
		err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+quoteMySQL(database)+"."+quoteMySQL(name)).Scan(&(*t)[len(*t)-1].Rows)
		if err != nil {
			return driver.Contents{}, fmt.Errorf("backup: count the rows of %s: %w", name, err)
		}
	}
	for object := range inv.objects {
		d.objects[object] = struct{}{}
	}
	return d.contents(), nil
}

// different tells how what was restored differs from the dump.
func different(dump, restored driver.Contents) error {
	if err := dump.Compare(restored); err != nil {
		return err
	}
	for _, kind := range []struct {
		name      string
		want, got int64
	}{
		{"views", dump.Views, restored.Views},
		{"triggers", dump.Triggers, restored.Triggers},
		{"routines", dump.Routines, restored.Routines},
		{"events", dump.Events, restored.Events},
	} {
		if c := cmp.Compare(kind.want, kind.got); c != 0 {
			return fmt.Errorf("it has %d %s instead of %d", kind.got, kind.name, kind.want)
		}
	}
	return nil
}

func quoteMySQL(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func queryStrings(ctx context.Context, q mysqlQuerier, query string, args ...any) ([]string, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}
