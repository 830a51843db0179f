// Package postgres backs up and restores a database of a PostgreSQL server.
package postgres

import (
	"cmp"
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// Options configures a [Source].
type Options struct {
	// Dump and Restore are the paths of pg_dump and pg_restore. Their major version must
	// not be below the server's. Default: the first matching program in PATH and
	// /usr/lib/postgresql.
	Dump, Restore string
	// LockWait is how long pg_dump waits for a lock that another session holds. Then the
	// dump fails and names that session. Default: 20 s.
	LockWait time.Duration
	// QueryTimeout is the time limit of each statement of this package, except counting
	// rows. Default: 30 s.
	QueryTimeout time.Duration
}

// Source is a [driver.Source] for a database of a PostgreSQL server. pg_dump reads it with
// a snapshot that the Source holds open. Each table of the snapshot must be in the dump.
// The rows are counted in the output of pg_dump, so that concurrent writes do not change
// the counts. A Source is safe for concurrent use.
//
// The role needs SELECT on every table and sequence, and must not be subject to row
// security. pg_read_all_data and BYPASSRLS are enough. [Source.Accounts] writes the roles.
// Tablespaces are not part of a backup.
type Source struct {
	db     *sql.DB
	target postgresTarget
	opts   Options

	mu   sync.Mutex
	kept map[string]bool // databases that existed before restores of this process
}

// New returns the source for the database that db is connected to and that url names:
// postgres://user:password@host:5432/database?sslmode=verify-full. The client programs get
// the URL without the password. They read the password from a temporary file that only this
// user can read. Any PostgreSQL driver that accepts such a URL works. New makes no
// connection. It also accepts host=… user=… dbname=… and service=…, and completes both
// forms from the environment as libpq does.
func New(db *sql.DB, url string, opts *Options) (*Source, error) {
	if db == nil {
		return nil, errors.New("backup: New needs a *sql.DB")
	}
	target, err := parsePostgresURL(url)
	if err != nil {
		return nil, err
	}
	p := &Source{db: db, target: target, kept: map[string]bool{}}
	if opts != nil {
		p.opts = *opts
	}
	if p.opts.LockWait < 0 || p.opts.QueryTimeout < 0 {
		return nil, errors.New("backup: Options has a negative time")
	}
	p.opts.LockWait = cmp.Or(p.opts.LockWait, 20*time.Second)
	p.opts.QueryTimeout = cmp.Or(p.opts.QueryTimeout, 30*time.Second)
	return p, nil
}

// postgresServer describes a server.
type postgresServer struct {
	version  string // "15.18 (Debian 15.18-0+deb12u1)"
	major    int
	database string
}

func (p *Source) server(ctx context.Context, q postgresQuerier) (postgresServer, error) {
	s, err := p.ask(ctx, q)
	if err == nil && s.database != p.target.database {
		return s, fmt.Errorf("backup: the *sql.DB is connected to the database %q and the URL names %q: give both for the same one", s.database, p.target.database)
	}
	return s, err
}

// ask asks a server for its version. It accepts any database.
func (p *Source) ask(ctx context.Context, q postgresQuerier) (postgresServer, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.QueryTimeout)
	defer cancel()
	var s postgresServer
	var number int
	err := q.QueryRowContext(ctx, `SELECT current_setting('server_version'), current_setting('server_version_num')::int, current_database()`).
		Scan(&s.version, &number, &s.database)
	if err != nil {
		return s, fmt.Errorf("backup: ask the PostgreSQL server for its version: %w", err)
	}
	if s.major = number / 10000; s.major < 10 {
		return s, fmt.Errorf("backup: PostgreSQL %s is older than version 10, which this package needs", s.version)
	}
	return s, nil
}

// Describe returns the engine and the database.
func (p *Source) Describe() driver.Description {
	return driver.Description{Engine: "postgresql", Extension: ".dump", Database: p.target.database}
}

// Abilities returns the optional functions of the source.
func (p *Source) Abilities() driver.Abilities {
	return driver.Abilities{
		Preflight: p.Preflight, Lock: p.Lock, Restore: p.Restore, Discard: p.discard, Test: p.Test, SweepTests: p.SweepTests,
		Original: p.Original, Overwrite: p.Overwrite, Accounts: p.Accounts,
	}
}

// Preflight checks, without reading a row, whether [Source.Dump] would fail. Causes are an
// old client program, missing privileges, row security, a transaction pooler, or a *sql.DB
// of another database.
func (p *Source) Preflight(ctx context.Context) ([]string, error) {
	on, err := p.server(ctx, p.db)
	if err != nil {
		return nil, err
	}
	if _, err := findPostgresClient(ctx, "pg_dump", p.opts.Dump, on.major); err != nil {
		return nil, err
	}
	if err := p.unpooled(ctx); err != nil {
		return nil, err
	}
	if err := p.unreadable(ctx, p.db); err != nil {
		return nil, err
	}
	var warnings []string
	hidden, err := p.hidden(ctx)
	if err != nil {
		return nil, err
	}
	if len(hidden) > 0 {
		warnings = append(warnings, fmt.Sprintf("this role cannot read %s, which are not in the backup: note them elsewhere, or make the backup as a superuser", server.ShortList(hidden)))
	}
	if _, err := findPostgresClient(ctx, "pg_restore", p.opts.Restore, on.major); err != nil {
		warnings = append(warnings, "this host could not restore: "+strings.TrimPrefix(err.Error(), "backup: "))
	}
	return warnings, nil
}

// hidden lists what pg_dump leaves out without an error, because only a superuser can read it.
func (p *Source) hidden(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.QueryTimeout)
	defer cancel()
	found, err := queryStrings(ctx, p.db, `
		SELECT what FROM (
			SELECT format('the subscription %I', subname) AS what FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
			UNION ALL SELECT format('the options of the user mapping for %s on the server %I', CASE umuser WHEN 0 THEN 'PUBLIC' ELSE quote_ident(usename) END, srvname) FROM pg_user_mappings WHERE umoptions IS NULL
		) o WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) ORDER BY what`)
	if err != nil {
		return nil, fmt.Errorf("backup: list the subscriptions and user mappings: %w", err)
	}
	return found, nil
}

// unreadable lists all objects at which pg_dump would stop, so that a run fails early.
func (p *Source) unreadable(ctx context.Context, q postgresQuerier) error {
	ctx, cancel := context.WithTimeout(ctx, p.opts.QueryTimeout)
	defer cancel()
	found, err := queryStrings(ctx, q, `
		SELECT format('%s %I.%I', CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, n.nspname, c.relname)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace`+postgresOwn+`
		AND c.relkind IN ('r','p','S')
		AND NOT (has_schema_privilege(n.oid, 'USAGE') AND CASE c.relkind
			WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT') END)
		ORDER BY 1`)
	if err != nil {
		return fmt.Errorf("backup: read the privileges of the PostgreSQL role: %w", err)
	}
	if len(found) > 0 {
		return fmt.Errorf("backup: the PostgreSQL role may not read %s: GRANT pg_read_all_data TO it, or SELECT on each and USAGE on its schema", server.ShortList(found))
	}
	found, err = queryStrings(ctx, q, `
		SELECT format('%I.%I', n.nspname, c.relname)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace`+postgresOwn+`
		AND c.relkind IN ('r','p') AND row_security_active(c.oid) ORDER BY 1`)
	if err != nil {
		return fmt.Errorf("backup: read the row security of the PostgreSQL role: %w", err)
	}
	if len(found) == 0 {
		large, err := queryStrings(ctx, q, `
			SELECT oid::text FROM pg_largeobject_metadata WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
			AND current_setting('lo_compat_privileges') <> 'on' AND NOT pg_has_role(current_user, lomowner, 'USAGE')
			AND NOT EXISTS (SELECT 1 FROM aclexplode(lomacl) x WHERE x.privilege_type = 'SELECT' AND (x.grantee = 0 OR pg_has_role(current_user, x.grantee, 'USAGE')))
			ORDER BY oid LIMIT 20`)
		if err != nil {
			return fmt.Errorf("backup: read the privileges of large objects: %w", err)
		}
		if len(large) > 0 {
			return fmt.Errorf("backup: the PostgreSQL role may not read the large objects %s: GRANT SELECT ON LARGE OBJECT … TO it, or make it a member of their owner", server.ShortList(large))
		}
	}
	if len(found) > 0 {
		return fmt.Errorf("backup: row security would hide rows of %s from the PostgreSQL role: ALTER ROLE … BYPASSRLS", server.ShortList(found))
	}
	return nil
}

// postgresSnapshot is a transaction whose snapshot pg_dump uses. It reads only catalogues
// and locks no tables. A table lock here could deadlock: pg_dump would wait behind an ALTER
// TABLE or TRUNCATE, and that statement would wait for this lock.
type postgresSnapshot struct {
	id   string
	tx   *sql.Tx
	conn *sql.Conn
}

func (p *Source) snapshot(ctx context.Context) (*postgresSnapshot, error) {
	conn, err := server.Conn(ctx, p.db)
	if err != nil {
		return nil, fmt.Errorf("backup: connect to PostgreSQL: %w", err)
	}
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("backup: begin a PostgreSQL transaction: %w", err)
	}
	s := &postgresSnapshot{tx: tx, conn: conn}
	// The transaction is idle while pg_dump runs. Some servers end idle transactions by
	// default.
	if _, err := tx.ExecContext(ctx, "SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil {
		s.release()
		return nil, fmt.Errorf("backup: prepare the PostgreSQL snapshot: %w", err)
	}
	if err := tx.QueryRowContext(ctx, "SELECT pg_export_snapshot()").Scan(&s.id); err != nil {
		s.release()
		return nil, fmt.Errorf("backup: export a PostgreSQL snapshot: %w", err)
	}
	return s, nil
}

func (s *postgresSnapshot) release() {
	_ = s.tx.Rollback() // a read-only transaction
	s.conn.Close()
}

// Dump writes the database in pg_dump's custom format. It is uncompressed, because the
// writer behind w compresses better and faster. Dump fails unless pg_dump succeeds, the
// archive is complete, and every table of the snapshot is in it with its rows. The counts are
// those of the rows in the archive.
func (p *Source) Dump(ctx context.Context, w io.Writer) (driver.Contents, error) {
	on, err := p.server(ctx, p.db)
	if err != nil {
		return driver.Contents{}, err
	}
	if err := p.unpooled(ctx); err != nil {
		return driver.Contents{}, err
	}
	snapshot, err := p.snapshot(ctx)
	if err != nil {
		return driver.Contents{}, err
	}
	defer snapshot.release()
	tables, err := postgresTables(ctx, snapshot.tx)
	if err != nil {
		return driver.Contents{}, err
	}

	files, err := tableFiles(ctx, snapshot.tx)
	if err != nil {
		return driver.Contents{}, err
	}
	settings, err := settingsOf(ctx, snapshot.tx)
	if err != nil {
		return driver.Contents{}, err
	}
	unmarked, err := extensionRows(ctx, snapshot.tx)
	if err != nil {
		return driver.Contents{}, err
	}
	var position driver.Position
	if err := snapshot.tx.QueryRowContext(ctx, "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text").Scan(&position.LSN); err != nil {
		return driver.Contents{}, fmt.Errorf("backup: read the position in the log of PostgreSQL: %w", err)
	}
	locked := &atFirst{to: w, do: func() error { return p.unchanged(ctx, files) }}
	archive, err := p.archive(ctx, on.major, p.target.database, locked, nil, "--create", "--snapshot="+snapshot.id)
	if err != nil {
		return driver.Contents{}, err
	}
	holds := archive.holds
	if holds.Tables, err = archive.narrow(tables); err != nil {
		return driver.Contents{}, err
	}
	if archive.large.Rows > 0 {
		holds.Tables = append(holds.Tables, archive.large)
	}
	holds.ServerVersion, holds.ClientVersion = archive.server, archive.client
	holds.Consistency = "snapshot:" + snapshot.id
	if archive.monetary != "" {
		settings[setMonetary] = archive.monetary
	}
	holds.Settings, holds.Position = settings, &position
	holds.Warnings = append(holds.Warnings, unmarked...)
	return holds, nil
}

// open connects to another database of the server with the driver of db.
func (p *Source) open(database string) (*sql.DB, error) {
	dsn := p.target.to(database).String()
	if d, ok := p.db.Driver().(sqldriver.DriverContext); ok {
		connector, err := d.OpenConnector(dsn)
		if err != nil {
			// A driver may repeat the URL in its error.
			return nil, errors.New("backup: the driver of the *sql.DB does not accept the PostgreSQL URL")
		}
		return sql.OpenDB(connector), nil
	}
	return sql.OpenDB(server.Connector{DSN: dsn, By: p.db.Driver()}), nil
}

var _ driver.Source = (*Source)(nil)
