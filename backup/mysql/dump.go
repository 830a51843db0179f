package mysql

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// dumping is the state of a running dump.
type dumping struct {
	m       *Source
	s       session
	server  serverInfo
	out     *dumpWriter
	rows    *atomic.Int64 // written so far
	inv     inventory
	skipped map[string]bool // objects that are not in the dump
	got     driver.Contents
}

func (d *dumping) warn(text string) { d.got.Warnings = append(d.got.Warnings, text) }

func (d *dumping) skip(object, reason string) {
	d.skipped[object] = true
	d.got.Skipped = append(d.got.Skipped, driver.Skipped{Object: object, Reason: reason})
}

// Dump writes the database as SQL. The client program mariadb can execute it in any
// database, because no statement names the original. All rows come from one transaction.
// The dump leaves out views that do not work and tables that the server cannot open, and
// lists them in Skipped. A table that is altered, replaced or renamed before it is in the dump
// makes the dump fail, and the run repeats it. Another definition that changes is a warning.
func (m *Source) Dump(ctx context.Context, w io.Writer) (driver.Contents, error) {
	on, err := m.server(ctx)
	if err != nil {
		return driver.Contents{}, err
	}
	inv, err := m.complete(ctx, on)
	if err != nil {
		return driver.Contents{}, err
	}
	s, err := m.open(ctx, m.database)
	if err != nil {
		return driver.Contents{}, err
	}
	defer s.end()
	piped, flush := pipe(w)
	d := &dumping{m: m, s: s, server: on, out: &dumpWriter{to: piped}, rows: &piped.rows, inv: inv, skipped: make(map[string]bool)}
	err = d.all(ctx)
	failed := flush()
	switch cause := context.Cause(ctx); {
	case err == nil && failed == nil:
	case cause != nil:
		return driver.Contents{}, cause
	case failed != nil: // of the storage
		return driver.Contents{}, failed
	default:
		return driver.Contents{}, transient(err)
	}
	after, err := m.inventory(ctx, m.database)
	if err != nil {
		return driver.Contents{}, err
	}
	if changes := d.inv.changes(after); len(changes) > 0 {
		d.warn("while the dump ran, " + server.ShortList(changes))
	}
	if n := int64(d.out.longest); !fits(n, on.packet) {
		d.warn(fmt.Sprintf("a statement of the dump has %d bytes, and the server takes %d: before a restore, %s", n, on.packet, raisePacket(n)))
	}
	return d.got, nil
}

// all writes the whole dump.
func (d *dumping) all(ctx context.Context) error {
	d.got.ServerVersion, d.got.Consistency = d.server.version, "single-transaction"
	if err := d.header(ctx); err != nil {
		return err
	}
	if !d.m.opts.LockTables {
		// The list of the tables is newer than the snapshot, so that it names all of them.
		before := d.inv
		err := d.begin(ctx, nil)
		if err == nil {
			d.inv, err = d.m.inventory(ctx, d.m.database)
		}
		if err == nil {
			err = d.replaced(ctx, before, d.inv)
		}
		if err != nil {
			return err
		}
	}
	inv := d.inv
	for name, reason := range inv.broken {
		d.skip("table "+name, "the server cannot open it: "+reason)
	}
	broken, err := d.m.brokenViews(ctx, inv.views)
	if err != nil {
		return err
	}
	for _, view := range slices.Sorted(maps.Keys(broken)) {
		d.skip("view "+view, "it does not work: "+broken[view])
	}
	inv.tables = maps.Clone(inv.tables)
	for _, name := range slices.Sorted(maps.Keys(inv.tables)) {
		if engine := inv.engines[name]; rowless[engine] && !ownRows[engine] {
			if err := d.elsewhere(ctx, name, engine); err != nil {
				delete(inv.tables, name)
			}
		}
	}
	tables := slices.Sorted(maps.Keys(inv.tables))
	if d.m.opts.LockTables {
		if err := d.begin(ctx, tables); err != nil {
			return err
		}
		now, err := d.m.inventory(ctx, d.m.database)
		if err != nil {
			return err
		}
		for name := range now.tables {
			if _, listed := d.inv.tables[name]; !listed {
				return driver.Transient(fmt.Errorf("backup: the table %s was created while the tables were being locked", name))
			}
		}
	}
	for _, object := range slices.Sorted(maps.Keys(inv.objects)) {
		if name, is := strings.CutPrefix(object, "sequence "); is {
			if err := d.sequence(ctx, name); err != nil {
				return err
			}
		}
	}
	for _, name := range tables {
		if err := d.table(ctx, name, inv); err != nil {
			return err
		}
	}
	if err := d.s.exec(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("backup: end the transaction: %w", err)
	}
	if d.m.opts.LockTables {
		if err := d.s.exec(ctx, "UNLOCK TABLES"); err != nil {
			return fmt.Errorf("backup: unlock the tables: %w", err)
		}
	}
	definitions, err := d.definitions(ctx)
	if err != nil {
		return err
	}
	for _, one := range d.withoutSkipped(definitions) {
		if err := d.define(one); err != nil {
			return err
		}
	}
	d.got.Settings[setLongest] = strconv.Itoa(d.out.longest)
	holds, err := json.Marshal(d.got)
	if err != nil {
		return err
	}
	end := "/* " + strings.ReplaceAll(string(holds), "*/", `*\u002f`) + " */"
	if err := d.out.statement(kindEnd, mark{}, []byte(end)); err != nil {
		return err
	}
	return d.out.comment("Dump completed")
}

// elsewhere checks that a table whose rows lie elsewhere can be opened. A restore of another
// one would fail.
func (d *dumping) elsewhere(ctx context.Context, name, engine string) error {
	if engine == fileEngine {
		err := errors.New("its rows may lie in a file of the server (CONNECT), which a dump does not hold: copy the file, or ALTER TABLE … ENGINE=InnoDB")
		d.skip("table "+name, err.Error())
		return err
	}
	asking, cancel := context.WithTimeout(ctx, d.m.opts.QueryTimeout)
	defer cancel()
	err := d.m.each(asking, "SELECT 1 FROM "+quote(d.m.database)+"."+quote(name)+" LIMIT 1", func([]string) {})
	if err != nil {
		d.skip("table "+name, "its rows lie elsewhere, and it cannot be opened: "+err.Error())
		return err
	}
	d.warn(fmt.Sprintf("the rows of the table %s (%s) lie elsewhere, and are not in the backup; a restored table refers to the same place", name, engine))
	return nil
}

// header writes the statements before the tables.
func (d *dumping) header(ctx context.Context) error {
	charset, collation, err := d.m.defaults(ctx, d.s, d.m.database)
	if err != nil {
		return err
	}
	d.got.Settings = map[string]string{"charset": charset, "collation": collation}
	comment := d.m.comment(ctx, d.s, d.m.database)
	if comment != "" {
		d.got.Settings["comment"] = comment
	}
	d.got.Tables = []driver.Table{}
	return cmp.Or(
		d.out.comment("Mainstay dump of a database of MariaDB or MySQL, format 1"),
		d.out.comment("Server version "+d.server.version),
		d.out.comment("To restore it without Mainstay: mariadb --binary-mode --max-allowed-packet=1G NEW_DATABASE < FILE"),
		d.out.statement(kindSession, mark{}, []byte("SET NAMES utf8mb4")),
		d.out.statement(kindSession, mark{}, []byte("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION,ALLOW_INVALID_DATES', time_zone = '+00:00', foreign_key_checks = 0, unique_checks = 0")),
		d.out.statement(kindSession, mark{}, []byte("/*M!100804 SET SESSION explicit_defaults_for_timestamp = 1 */")),
		d.out.statement(kindSession, mark{}, []byte("/*M!101100 SET SESSION system_versioning_insert_history = 1 */")),
		d.out.statement(kindSession, mark{}, []byte("/*M!100000 SET SESSION check_constraint_checks = 0, innodb_strict_mode = 0 */")),
		d.out.statement(kindDatabase, mark{Charset: charset, Collation: collation}, []byte(alterDatabase(charset, collation, comment))),
	)
}

// alterDatabase returns the statement that sets the defaults of a database, and its comment.
func alterDatabase(charset, collation, comment string) string {
	statement := "ALTER DATABASE CHARACTER SET " + charset + " COLLATE " + collation
	if comment != "" {
		statement += " COMMENT " + quoteText(comment)
	}
	return statement
}

// comment returns the comment of a database. Servers before MariaDB 10.5, and MySQL, have none.
func (m *Source) comment(ctx context.Context, q querier, database string) (comment string) {
	_ = eachRow(ctx, q, "SELECT SCHEMA_NAME, SCHEMA_COMMENT FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?",
		ofSchema(database, false, func(r []string) { comment = r[0] }), database)
	return comment
}

// defaults returns the character set and collation of a database.
func (m *Source) defaults(ctx context.Context, q querier, database string) (charset, collation string, err error) {
	fold, err := foldsNames(ctx, q)
	if err == nil {
		err = eachRow(ctx, q, `SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?`,
			ofSchema(database, fold, func(r []string) { charset, collation = r[0], r[1] }), database)
	}
	if err == nil && charset == "" {
		err = errors.New("there is no such database")
	}
	if err == nil && (!charsetName.MatchString(charset) || !charsetName.MatchString(collation)) {
		err = fmt.Errorf("its character set is called %q, %q", charset, collation)
	}
	if err != nil {
		return "", "", fmt.Errorf("backup: ask for the character set of the database %q: %w", database, err)
	}
	return charset, collation, nil
}

// begin starts the transaction that the dump reads.
func (d *dumping) begin(ctx context.Context, tables []string) error {
	if d.m.opts.LockTables {
		d.got.Consistency = "lock-tables"
		var locks []string
		for _, name := range tables {
			locks = append(locks, quote(name)+" READ")
		}
		for object := range d.inv.objects {
			if name, is := strings.CutPrefix(object, "sequence "); is {
				locks = append(locks, quote(name)+" READ")
			}
		}
		if len(locks) > 0 {
			if err := d.s.exec(ctx, "LOCK TABLES "+strings.Join(locks, ", ")); err != nil {
				return d.waited(ctx, "or one of them", err)
			}
		}
	} else {
		for _, statement := range []string{"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT"} {
			if err := d.s.exec(ctx, statement); err != nil {
				return fmt.Errorf("backup: begin the transaction: %w", err)
			}
		}
	}
	d.got.Position = d.position(ctx)
	if d.m.opts.LockTables {
		return nil
	}
	return d.s.exec(ctx, "SAVEPOINT mainstay")
}

// position returns the position in the binary log. It is nil without a log, or without the
// right to read it.
func (d *dumping) position(ctx context.Context) *driver.Position {
	var p driver.Position
	if d.server.mariadb() {
		status := make(map[string]string)
		_ = eachRow(ctx, d.s, "SHOW STATUS LIKE 'binlog_snapshot_%'", func(r []string) { status[strings.ToLower(r[0])] = r[1] })
		p.Log = status["binlog_snapshot_file"]
		_, _ = fmt.Sscan(status["binlog_snapshot_position"], &p.Offset)
		if p.Log != "" {
			_ = d.s.QueryRowContext(ctx, "SELECT BINLOG_GTID_POS(?, ?)", p.Log, p.Offset).Scan(&p.GTID)
		}
	} else {
		_ = d.s.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_executed").Scan(&p.GTID)
	}
	if p == (driver.Position{}) {
		return nil
	}
	return &p
}

// waited explains an error caused by a locked table.
func (d *dumping) waited(ctx context.Context, table string, err error) error {
	if errorCode(err) == codeLockWait {
		return d.m.waited(ctx, table, err)
	}
	return fmt.Errorf("backup: read the table %s: %w", table, err)
}

// define writes a definition with the settings under which it was created.
func (d *dumping) define(one definition) error {
	switch one.kind {
	case kindView:
		d.got.Views++
	case kindTrigger:
		d.got.Triggers++
	case kindEvent:
		d.got.Events++
	case kindRoutine:
		d.got.Routines++
	}
	s := one.mark.Settings
	if !s.valid() {
		return fmt.Errorf("backup: the %s was made under settings that this package does not know: %v", one.object, *s)
	}
	own := d.got.Settings
	moved := s.Database != "" && s.Database != own["collation"]
	if err := d.out.statement(kindSession, mark{}, []byte(s.set())); err != nil {
		return err
	}
	if moved {
		if err := d.out.statement(kindSession, mark{}, []byte("ALTER DATABASE COLLATE "+s.Database)); err != nil {
			return err
		}
	}
	if err := d.out.statement(one.kind, one.mark, one.text); err != nil {
		return err
	}
	if moved {
		return d.out.statement(kindSession, mark{}, []byte("ALTER DATABASE CHARACTER SET "+own["charset"]+" COLLATE "+own["collation"]))
	}
	return nil
}
