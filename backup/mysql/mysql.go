// Package mysql backs up a database of a MariaDB or MySQL server.
package mysql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/client"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// Options configures a [Source].
type Options struct {
	// Dump and Restore are the paths of mariadb-dump or mysqldump and of mariadb or
	// mysql. Default: those of the server's own family from PATH, else the other's.
	Dump, Restore string
	// LockTables keeps writers out while the dump runs, which makes it one moment also
	// of tables without transactions. Default: false; a transaction does that for
	// InnoDB, and nobody waits.
	LockTables bool
	// CA, Cert and Key are files in PEM form for the client programs: the authority
	// that the server's certificate must be signed by, and a certificate of one's own.
	// Default: none; the address's parameter tls says whether to encrypt.
	CA, Cert, Key string
	// QueryTimeout bounds this package's own questions to the server, which excludes
	// the counting of rows. Default: 30 s.
	QueryTimeout time.Duration
}

// Source is a database of a MariaDB or MySQL server as a [driver.Source]. The server's own
// client program reads it in one transaction; its output is read along, so that the
// tables, rows, views, triggers, routines and events in it are known to the last one.
// A Source is safe for concurrent use.
//
// The account needs SELECT, SHOW VIEW, TRIGGER and EVENT on the database and must be
// able to read its routines: without TRIGGER, or without a right to routines, a dump
// ends well and silently lacks them. Preflight and Dump refuse to run then, with the
// statement that grants what is missing. Accounts and their privileges belong to the
// server and are no part of a database.
type Source struct {
	db     *sql.DB
	target mysqlTarget
	opts   Options
}

// New returns the source for the database that address names, as a URL,
// mysql://user:password@host:3306/database, or as a DSN of go-sql-driver/mysql. db is
// connected to the same server as the same account, and to that database or, so that it
// can be restored when it is gone, to none. The client programs get the password in a
// file that lives as long as they run and that only this user can read. It connects to
// nothing.
func New(db *sql.DB, address string, opts *Options) (*Source, error) {
	if db == nil {
		return nil, errors.New("backup: New needs a *sql.DB")
	}
	target, err := parseMySQLAddress(address)
	if err != nil {
		return nil, err
	}
	m := &Source{db: db, target: target}
	if opts != nil {
		m.opts = *opts
	}
	if m.opts.QueryTimeout < 0 {
		return nil, errors.New("backup: Options has a negative time")
	}
	if m.opts.QueryTimeout == 0 {
		m.opts.QueryTimeout = 30 * time.Second
	}
	if verify, _ := tlsWanted(target.tls, m.opts); verify && m.opts.CA == "" {
		return nil, errors.New("backup: the client programs of MariaDB and MySQL check a certificate only against a file: set Options.CA, or tls=skip-verify")
	}
	return m, nil
}

// Describe says what the source is.
func (m *Source) Describe() driver.Description {
	return driver.Description{Engine: "mariadb", Extension: ".sql", Database: m.target.database}
}

// mysqlServer is what a server says of itself and of the connected account.
type mysqlServer struct {
	version string // "10.11.19-MariaDB-0+deb12u1"
	account string // "backup@%", whose grants apply
	packet  int64  // the largest statement that it takes
	fold    bool   // names of databases have no case
}

func (s mysqlServer) mariadb() bool { return strings.Contains(s.version, "MariaDB") }

func (m *Source) server(ctx context.Context) (mysqlServer, error) {
	ctx, cancel := context.WithTimeout(ctx, m.opts.QueryTimeout)
	defer cancel()
	var s mysqlServer
	var database, user string
	err := m.db.QueryRowContext(ctx, `SELECT VERSION(), COALESCE(DATABASE(), ''), USER(), CURRENT_USER(), @@max_allowed_packet, @@lower_case_table_names > 0`).
		Scan(&s.version, &database, &user, &s.account, &s.packet, &s.fold)
	if err != nil {
		return s, fmt.Errorf("backup: ask the server for its version: %w", err)
	}
	if database != "" && database != m.target.database && !(s.fold && strings.EqualFold(database, m.target.database)) {
		return s, fmt.Errorf("backup: the *sql.DB is connected to the database %q and the address names %q: give both for the same one", database, m.target.database)
	}
	if name := user[:max(strings.LastIndexByte(user, '@'), 0)]; name != m.target.user {
		return s, fmt.Errorf("backup: the *sql.DB is connected as %q and the address names the user %q: give both for the same account, whose grants are checked", name, m.target.user)
	}
	return s, nil
}

// dumper finds the program that dumps, of the server's own family if it is there.
func (m *Source) dumper(ctx context.Context, s mysqlServer) (mysqlClient, error) {
	if s.mariadb() {
		return findMySQLClient(ctx, m.opts.Dump, "mariadb-dump", "mysqldump")
	}
	return findMySQLClient(ctx, m.opts.Dump, "mysqldump", "mariadb-dump")
}

// Abilities returns what else the source can do.
func (m *Source) Abilities() driver.Abilities {
	return driver.Abilities{
		Preflight: m.Preflight, Lock: m.Lock, Restore: m.Restore, Test: m.Test, SweepTests: m.SweepTests,
		Original: m.Original, Overwrite: m.Overwrite,
	}
}

// Dump writes the database as SQL. It fails unless the program ended well, its output
// ends where it should, and everything that the server listed before is in it. What
// others change meanwhile in definitions is a warning, where it does not stop the dump.
func (m *Source) Dump(ctx context.Context, w io.Writer) (driver.Contents, error) {
	on, err := m.server(ctx)
	if err != nil {
		return driver.Contents{}, err
	}
	program, err := m.dumper(ctx, on)
	if err != nil {
		return driver.Contents{}, err
	}
	before, err := m.complete(ctx, on)
	if err != nil {
		return driver.Contents{}, err
	}
	options, err := newOptionFile(m.target, program.encryption(m.target.tls, m.opts))
	if err != nil {
		return driver.Contents{}, err
	}
	defer options.Remove()

	lexer := newMySQLLexer()
	err = program.run(ctx, client.Program{Stdout: &lexedWriter{lexer, w, driver.RowsTo(w)}}, options, m.dumpArguments(program)...)
	dump, damage := lexer.finish()
	if damage != nil {
		damage = fmt.Errorf("backup: the dump is damaged or cut: %w", damage)
	}
	if err = cmp.Or(err, damage); err != nil {
		return driver.Contents{}, err
	}
	after, err := inventMySQL(ctx, m.db, m.target.database, m.opts.QueryTimeout)
	if err != nil {
		return driver.Contents{}, err
	}
	missing, gone := before.missing(dump, after)
	if len(missing) > 0 {
		return driver.Contents{}, fmt.Errorf("backup: %s has left out %s", program.version, server.ShortList(missing))
	}
	c := dump.contents()
	c.ServerVersion, c.ClientVersion = on.version, program.version
	c.Consistency = "single-transaction"
	if m.opts.LockTables {
		c.Consistency = "lock-tables"
	}
	if changes := before.changes(after); len(changes) > 0 {
		warning := "while the dump ran, " + server.ShortList(changes)
		if len(gone) > 0 {
			warning += "; it does not hold " + server.ShortList(gone)
		}
		c.Warnings = append(c.Warnings, warning)
	}
	if dump.longest > on.packet {
		c.Warnings = append(c.Warnings, fmt.Sprintf("a statement of the dump has %d bytes, and the server takes %d: before a restore, SET GLOBAL max_allowed_packet = 1073741824", dump.longest, on.packet))
	}
	if len(dump.bound) > 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("the triggers %s were created with the name of their database and can be restored only under it: create them anew without", server.ShortList(dump.bound)))
	}
	return c, nil
}

// dumpArguments are the same whatever the option files of the host say.
func (m *Source) dumpArguments(program mysqlClient) []string {
	args := []string{"--quick", "--routines", "--triggers", "--events", "--hex-blob", "--tz-utc", "--default-character-set=utf8mb4", "--max-allowed-packet=1G"}
	if m.opts.LockTables {
		args = append(args, "--lock-tables")
	} else {
		args = append(args, "--single-transaction", "--skip-lock-tables")
	}
	for _, option := range []struct{ name, argument string }{
		{"no-tablespaces", "--no-tablespaces"},       // which would need PROCESS
		{"set-gtid-purged", "--set-gtid-purged=OFF"}, // which would need RELOAD, and SUPER to restore
		{"column-statistics", "--column-statistics=0"},
	} {
		if program.knows(option.name) {
			args = append(args, option.argument)
		}
	}
	return append(args, "--", m.target.database)
}

// lexedWriter reads a dump along on its way.
type lexedWriter struct {
	lexer *mysqlLexer
	to    io.Writer
	count func(rows int64)
}

func (w *lexedWriter) Write(p []byte) (int, error) {
	_, _ = w.lexer.Write(p) // tells in the end
	w.count(w.lexer.total + w.lexer.rows)
	return w.to.Write(p)
}
