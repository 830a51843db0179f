// Package mysql backs up and restores a database of a MariaDB or MySQL server. It needs a
// connection pool and no client programs.
package mysql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// Options configures a [Source]. The zero value and nil are valid.
type Options struct {
	// LockTables blocks writers during a dump. Then tables without transactions (MyISAM,
	// Aria) are consistent with the others. Default: false. A transaction is enough for
	// InnoDB, and blocks no writer.
	LockTables bool
	// LockWait is how long a dump waits for a table that another session has locked. Then
	// the dump fails and names that session. Default: 20 s.
	LockWait time.Duration
	// QueryTimeout is the time limit of each query about the server, except reading rows.
	// Default: 30 s.
	QueryTimeout time.Duration
	// Definers replaces the owners of views, triggers, routines and events in a restore, as
	// "user@host". Default: the owner is kept. If the restoring account must not create
	// objects of other accounts, a restore beside the original makes that account the
	// owner, with a warning.
	Definers map[string]string
}

// Source is a [driver.Source] for a database of a MariaDB or MySQL server. It reads all
// tables in one transaction. A Source is safe for concurrent use.
//
// The account needs SELECT, SHOW VIEW, TRIGGER and EVENT on the database, and a right to
// read its routines. Without TRIGGER, or without a right to routines, a dump would silently
// lack them. Preflight and Dump then return an error with the missing GRANT statement.
type Source struct {
	db       *sql.DB
	database string
	opts     Options
}

// New returns the source for a database of the server that db is connected to. Open db
// without a database name (user:password@tcp(host:3306)/). A pool for a deleted database
// cannot connect, so it could not restore that database. New does not connect. opts may be
// nil.
func New(db *sql.DB, database string, opts *Options) (*Source, error) {
	if strings.Contains(database, "://") || strings.ContainsAny(database, "/\\") {
		return nil, errors.New("backup: mysql.New takes the name of the database, not its address")
	}
	return open(db, database, opts)
}

// open is like New, but accepts any database name.
func open(db *sql.DB, database string, opts *Options) (*Source, error) {
	m := &Source{db: db, database: database}
	if opts != nil {
		m.opts = *opts
	}
	switch {
	case db == nil:
		return nil, errors.New("backup: mysql.New needs a *sql.DB")
	case database == "" || len(database) > 256 || strings.ContainsRune(database, 0):
		return nil, errors.New("backup: mysql.New needs the name of a database")
	case m.opts.LockWait < 0 || m.opts.QueryTimeout < 0:
		return nil, errors.New("backup: mysql.Options has a negative time")
	}
	m.opts.LockWait = cmp.Or(m.opts.LockWait, 20*time.Second)
	m.opts.QueryTimeout = cmp.Or(m.opts.QueryTimeout, 30*time.Second)
	return m, nil
}

// Describe returns the engine and the name of the source.
func (m *Source) Describe() driver.Description {
	return driver.Description{Engine: "mariadb", Extension: ".sql", Database: m.database}
}

// Abilities returns the optional functions of the source.
func (m *Source) Abilities() driver.Abilities {
	return driver.Abilities{
		Preflight: m.Preflight, Lock: m.Lock, Accounts: m.Accounts, Restore: m.Restore, Discard: m.drop, Test: m.Test, SweepTests: m.SweepTests,
		Original: m.Original, Overwrite: m.Overwrite,
	}
}

// Original returns the name of the database.
func (m *Source) Original(context.Context) (string, error) { return m.database, nil }

// serverInfo describes a server and the connected account.
type serverInfo struct {
	version string // "10.11.19-MariaDB-0+deb12u1"
	account string // "backup@%", whose grants apply
	packet  int64  // the maximum length of a statement
	fold    bool   // database names are not case-sensitive
}

func (s serverInfo) mariadb() bool { return strings.Contains(s.version, "MariaDB") }

func (m *Source) server(ctx context.Context) (serverInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, m.opts.QueryTimeout)
	defer cancel()
	var s serverInfo
	err := m.db.QueryRowContext(ctx, `SELECT VERSION(), CURRENT_USER(), @@max_allowed_packet, @@lower_case_table_names > 0`).
		Scan(&s.version, &s.account, &s.packet, &s.fold)
	switch {
	case err == nil:
		return s, nil
	case errorCode(err) == codeNoDatabase:
		return s, fmt.Errorf("backup: the *sql.DB is bound to a database that does not exist: open it without one, as in user:password@tcp(host:3306)/ : %w", err)
	}
	return s, fmt.Errorf("backup: ask the server for its version: %w", err)
}

// quote writes a name as an identifier.
func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// quoteText writes a text as a literal, with backslash escapes.
func quoteText(text string) string { return string(appendText(nil, []byte(text))) }

// quoteAccount writes user@host as GRANT takes it.
func quoteAccount(account string) string {
	at := max(strings.LastIndexByte(account, '@'), 0)
	user, host := account[:at], strings.TrimPrefix(account[at:], "@")
	if host == "" { // a role
		return quote(user + host)
	}
	return quote(user) + "@" + quote(host)
}
