package mysql

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mainstay-go/mainstay/backup/driver"
)

func (d *dumping) sequence(ctx context.Context, name string) error {
	text, err := d.show(ctx, "SEQUENCE "+quote(name), "Create", "utf8mb4")
	if err != nil {
		return d.waited(ctx, name, err)
	}
	text, _ = unqualify(text, d.m.database, d.server.fold, "")
	if err := d.out.statement(kindSequence, mark{Name: name}, text); err != nil {
		return err
	}
	var next int64
	var round int64
	if err := d.s.QueryRowContext(ctx, "SELECT next_not_cached_value, cycle_count FROM "+quote(name)).Scan(&next, &round); err != nil {
		return d.waited(ctx, name, err)
	}
	if err := d.out.statement(kindSequence, mark{Name: name}, fmt.Appendf(nil, "DO SETVAL(%s, %d, 0, %d)", quote(name), next, round)); err != nil {
		return err
	}
	return d.release(ctx)
}

// release releases the lock on the definition of a table. An ALTER TABLE may be waiting for
// it.
func (d *dumping) release(ctx context.Context) error {
	if d.m.opts.LockTables {
		return nil
	}
	return d.s.exec(ctx, "ROLLBACK TO SAVEPOINT mainstay")
}

// insertSize is the length after which a statement with rows ends.
const insertSize = 1 << 20

// hold locks the definition of a table until release. It fails if the table is not the one that
// the snapshot has under this name.
func (d *dumping) hold(ctx context.Context, name string, inv inventory) error {
	if d.m.opts.LockTables || rowless[inv.engines[name]] {
		return nil
	}
	if err := d.s.exec(ctx, "SELECT 1 FROM "+quote(name)+" LIMIT 0"); err != nil || slices.Contains(inv.unsafe, name) {
		return err
	}
	is := newInventory()
	for _, list := range []struct {
		query string
		do    func([]string)
	}{{listTables, func(r []string) { is.table(r, nil) }}, {listColumns, is.column}} {
		if err := eachRow(ctx, d.s, ofTable(list.query), ofSchema(d.m.database, d.server.fold, list.do), d.m.database, name); err != nil {
			return err
		}
	}
	one := newInventory()
	one.tables[name] = inv.tables[name]
	return d.replaced(ctx, one, is)
}

// replaced returns an error if the names of tables may belong to other tables afterwards.
func (d *dumping) replaced(ctx context.Context, before, after inventory) error {
	for name, was := range before.tables {
		is, exists := after.tables[name]
		if exists && is != was && !slices.Contains(before.unsafe, name) {
			return driver.Transient(fmt.Errorf("backup: the table %s was altered or replaced after the snapshot", name))
		}
		if exists {
			continue
		}
		if err := d.renamed(ctx, name, before, after); err != nil {
			return err
		}
	}
	return nil
}

// renamed returns an error if a table that is gone may have another name now. A table with its
// columns is another one if it was created after the snapshot, which then cannot read it.
func (d *dumping) renamed(ctx context.Context, name string, before, after inventory) error {
	for _, other := range before.sameColumns(name, after) {
		err := eachRow(ctx, d.s, "SELECT 1 FROM "+quote(other)+" LIMIT 1", func([]string) {})
		if errorCode(err) != codeTableDef {
			return driver.Transient(fmt.Errorf("backup: the table %s was renamed to %s while the dump ran", name, other))
		}
		if err := d.release(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *dumping) table(ctx context.Context, name string, inv inventory) error {
	var text []byte
	err := d.hold(ctx, name, inv)
	if errors.Is(err, driver.ErrTransient) {
		return err
	}
	if err == nil {
		text, err = d.show(ctx, "TABLE "+quote(name), "Create", "utf8mb4")
	}
	if errorCode(err) == codeNoTable {
		now, listed := d.m.inventory(ctx, d.m.database)
		if listed != nil {
			return listed
		}
		if _, still := now.tables[name]; still {
			d.skip("table "+name, "the server lists it and does not find it: "+err.Error())
			return nil
		}
		d.warn("the table " + name + " was dropped while the dump ran; it does not hold it")
		return d.renamed(ctx, name, d.inv, now)
	}
	if err != nil {
		return d.waited(ctx, name, err)
	}
	text, _ = unqualify(text, d.m.database, d.server.fold, "")
	text = shortKeys(text)
	if own, moved := ownFolder(text); moved {
		d.warn("the table " + name + " lies in a folder of its own (DATA DIRECTORY); a restored one lies in the folder of its database")
		text = own
	}
	if inv.engines[name] == "ARCHIVE" { // rejects rows below its next number; it gets that number again from the rows
		text = archiveNumber.ReplaceAll(text, []byte("${1}"))
	}
	if err := d.out.statement(kindTable, mark{Name: name}, text); err != nil {
		return err
	}
	var meter driver.Meter
	if rowless[inv.engines[name]] {
		d.got.Tables = append(d.got.Tables, driver.Table{Name: name})
		return d.release(ctx)
	}
	t, err := d.m.readable(ctx, d.s, d.m.database, name)
	if err != nil {
		return d.waited(ctx, name, err)
	}
	if err := d.unprintable(ctx, name); err != nil {
		return d.waited(ctx, name, err)
	}
	if t.lost != "" {
		d.skip("history of the table "+name, t.lost)
	}
	limit := min(insertSize, int(d.server.packet/2))
	buf := append(make([]byte, 0, insertSize+64<<10), t.insert...)
	meter.Columns(t.names()...)
	err = readRows(ctx, d.s, t.query, t.columns, func(row []byte, ends []int) error {
		meter.Row(row, ends...)
		if len(buf) > len(t.insert) && len(buf)+len(row)+1 > limit {
			if err := d.insert(name, buf); err != nil {
				return err
			}
			buf = append(buf[:0], t.insert...)
		}
		if len(buf) > len(t.insert) {
			buf = append(buf, ',', '\n')
		}
		buf = append(buf, row...)
		d.rows.Add(1)
		return nil
	})
	if err != nil {
		return d.waited(ctx, name, err)
	}
	if len(buf) > len(t.insert) {
		if err := d.insert(name, buf); err != nil {
			return err
		}
	}
	d.got.Tables = append(d.got.Tables, meter.Table(name))
	return d.release(ctx)
}

func (d *dumping) insert(name string, text []byte) error {
	return d.out.statement(kindRows, mark{Name: name}, text)
}

// readable says how to read and write the rows of a table.
type readable struct {
	query   string
	insert  string // up to VALUES
	columns []column
	lost    string // why its history is not read; "" otherwise
}

func (t *readable) names() []string {
	var names []string
	for _, c := range t.columns {
		if c.name != "" {
			names = append(names, c.name)
		}
	}
	return names
}

func (m *Source) readable(ctx context.Context, s session, database, table string) (readable, error) {
	var t readable
	var names, exprs []string
	starts, ends := "", ""
	versioned, byTransaction, computed := false, false, false
	fold, err := foldsNames(ctx, s)
	if err != nil {
		return t, err
	}
	err = eachRow(ctx, s, `SELECT c.TABLE_SCHEMA, t.TABLE_SCHEMA, c.TABLE_NAME, t.TABLE_NAME, c.COLUMN_NAME, c.DATA_TYPE, c.CHARACTER_SET_NAME, c.EXTRA, c.COLUMN_TYPE, t.TABLE_TYPE, COALESCE(c.GENERATION_EXPRESSION, '')
		FROM information_schema.COLUMNS c JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME
		WHERE c.TABLE_SCHEMA = ? AND c.TABLE_NAME = ? ORDER BY c.ORDINAL_POSITION`, ofSchema(database, fold, ofSchema(database, fold, ofSchema(table, fold, ofSchema(table, fold, func(r []string) {
		versioned = r[5] == "SYSTEM VERSIONED"
		extra, expression := strings.ToUpper(r[3]), strings.ToUpper(r[6])
		switch {
		case strings.HasPrefix(expression, "ROW START"):
			starts, byTransaction = r[0], r[1] == "bigint"
			return
		case strings.HasPrefix(expression, "ROW END"):
			ends = r[0]
			return
		case strings.Contains(extra, "GENERATED") && !strings.Contains(extra, "DEFAULT_GENERATED") || expression != "":
			computed = true
			return
		}
		c := columnOf(r[0], r[1], r[2], r[4])
		t.columns = append(t.columns, c)
		names, exprs = append(names, quote(c.name)), append(exprs, c.expr)
	})))), database, table)
	if err != nil {
		return t, fmt.Errorf("list the columns: %w", err)
	}
	past := ""
	if versioned {
		var on bool
		known := s.QueryRowContext(ctx, "SELECT @@system_versioning_insert_history").Scan(&on)
		switch {
		case byTransaction:
			t.lost = "its rows are versioned by transactions, which no restore can repeat; the present rows are in the backup"
		case known != nil || !on:
			t.lost = "this server cannot restore it (MariaDB can since 10.11); the present rows are in the backup"
		default:
			past = " FOR SYSTEM_TIME ALL"
			for _, name := range []string{cmp.Or(starts, "row_start"), cmp.Or(ends, "row_end")} {
				c := columnOf(name, "timestamp", "", "")
				t.columns = append(t.columns, c)
				names, exprs = append(names, quote(c.name)), append(exprs, c.expr)
			}
		}
	}
	switch {
	case len(t.columns) > 0:
	case !computed:
		return t, errors.New("it has no columns that could be read")
	default: // no value can be written, only rows
		t.columns, exprs = []column{{}}, []string{"1"}
	}
	t.query = "SELECT SQL_NO_CACHE " + strings.Join(exprs, ",") + " FROM " + quote(database) + "." + quote(table) + past
	t.insert = "INSERT INTO " + quote(table) + " (" + strings.Join(names, ",") + ") VALUES\n"
	return t, nil
}

var archiveNumber = regexp.MustCompile(`(\n\) ENGINE=ARCHIVE) AUTO_INCREMENT=\d+`)

// ownFolder leaves out the folders of a table and of its partitions. A second MyISAM table
// cannot use them, another server may not have them, and InnoDB keeps a file in the folder
// of the first name of a table.
func ownFolder(table []byte) (text []byte, moved bool) {
	r := newRewriter(table, "")
	copied := 0
	for i := 0; i < len(table); {
		if j := r.blank(i); j > i {
			i = j
			continue
		}
		if c := table[i]; c == '\'' || c == '"' {
			i = r.literal(i)
			continue
		}
		word, end, quoted := r.word(i)
		if !quoted && (word == "DATA" || word == "INDEX") {
			at := r.blank(end)
			if next, after, _ := r.word(at); next == "DIRECTORY" {
				at = r.blank(after)
				if at < len(table) && table[at] == '=' {
					at = r.blank(at + 1)
				}
				if at < len(table) && table[at] == '\'' {
					text, moved = append(text, table[copied:i]...), true
					for end = at; end < len(table) && table[end] == '\''; {
						end = r.literal(end) // '' is a second literal
					}
					copied = end
				}
			}
		}
		i = max(end, i+1)
	}
	return append(text, table[copied:]...), moved
}

// unprintable finds defaults and values of ENUM and SET with characters beyond U+FFFF. The
// server prints them as question marks.
func (d *dumping) unprintable(ctx context.Context, table string) error {
	type suspect struct{ column, printed string }
	var defaults, values []suspect
	err := eachRow(ctx, d.s, `SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COALESCE(COLUMN_DEFAULT, ''), COLUMN_TYPE, DATA_TYPE IN ('enum', 'set')
		FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND CHARACTER_SET_NAME IS NOT NULL`, ofSchema(d.m.database, d.server.fold, ofSchema(table, d.server.fold, func(r []string) {
		if literal := strings.Trim(r[1], "'"); strings.Contains(literal, "?") && (literal != r[1] || !d.server.mariadb()) {
			defaults = append(defaults, suspect{r[0], strings.ReplaceAll(literal, "''", "'")})
		}
		if r[3] == "1" && strings.Contains(r[2], "?") {
			values = append(values, suspect{r[0], r[2]})
		}
	})), d.m.database, table)
	if err != nil {
		return err
	}
	const reason = "the server prints a character beyond U+FFFF as a question mark"
	for _, s := range defaults {
		var is string
		if err := d.s.QueryRowContext(ctx, "SELECT CONVERT(DEFAULT(t."+quote(s.column)+") USING utf8mb4) FROM (SELECT 1) x LEFT JOIN "+quote(table)+" t ON FALSE").Scan(&is); err != nil {
			return err
		}
		if strings.Count(is, "?") != strings.Count(s.printed, "?") {
			d.skip("default of the column "+s.column+" of the table "+table, reason)
		}
	}
	for _, s := range values {
		text := "CONVERT(" + quote(s.column) + " USING utf8mb4)"
		found := false
		err := eachRow(ctx, d.s, "SELECT 1 FROM "+quote(table)+" WHERE HEX(CONVERT("+text+" USING utf8mb3)) <> HEX("+text+") LIMIT 1", func([]string) { found = true })
		if err != nil {
			return err
		}
		if found {
			d.skip("values of the column "+s.column+" of the table "+table, reason)
		} else {
			d.warn("the values of the column " + s.column + " of the table " + table + " have a question mark, which stands for any character beyond U+FFFF")
		}
	}
	return nil
}

var namedKey = regexp.MustCompile("(?m)^  CONSTRAINT `((?:[^`]|``)+)` FOREIGN KEY")

// shortKeys leaves out names of foreign keys that have more than 64 characters. The server
// makes such a name from that of the table, prints it, and does not take it back. Without it,
// the server makes the same name again.
func shortKeys(table []byte) []byte {
	return namedKey.ReplaceAllFunc(table, func(key []byte) []byte {
		name := bytes.ReplaceAll(namedKey.FindSubmatch(key)[1], []byte("``"), []byte("`"))
		if utf8.RuneCount(name) <= 64 {
			return key
		}
		return []byte("  FOREIGN KEY")
	})
}
