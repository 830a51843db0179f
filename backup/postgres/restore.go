package postgres

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// Restore reads a dump into a new database of the server, or into an existing empty one
// that the options name. The default name consists of the name of the original and the
// time. If the original no longer exists, Restore connects to the database postgres or
// template1.
//
// The new database gets the encoding and locale, the settings, owners and privileges of the
// original. The warnings list the objects, grants and policies of roles that the server
// does not have. A revocation from PUBLIC is always kept. Functions run with the
// search_path of the database during the restore. At the end pg_dump reads the rows again,
// to compare their digests.
func (p *Source) Restore(ctx context.Context, r io.Reader, o driver.RestoreOptions) (string, driver.Contents, error) {
	at, done, err := p.anyDatabase(ctx)
	if err != nil {
		return "", driver.Contents{}, err
	}
	defer done()
	return p.restore(ctx, at, r, o, restoreHow{})
}

// discard drops a database that a restore has created. If the database existed before, it
// stays with the restored contents.
func (p *Source) discard(ctx context.Context, target string) error {
	p.mu.Lock()
	kept := p.kept[target]
	p.mu.Unlock()
	if kept {
		return fmt.Errorf("backup: the database %q existed before the restore: empty it by hand", target)
	}
	aside, err := p.aside(ctx)
	if err != nil {
		return err
	}
	return errors.Join(p.drop(ctx, aside, target), aside.Close())
}

// restoreHow distinguishes a restore, a restore test and an overwriting restore.
type restoreHow struct {
	test    bool // a scratch database: only its settings are applied
	present *toc // the present owners and privileges of the database that is overwritten
}

// anyServer is a connection to a server that may lack the original.
type anyServer struct {
	db *sql.DB
	on postgresServer
}

// anyDatabase connects to any database of the server, preferably to the original.
func (p *Source) anyDatabase(ctx context.Context) (at anyServer, done func(), err error) {
	done = func() {}
	if at.on, err = p.server(ctx, p.db); err == nil || at.on.major > 0 {
		at.db = p.db
		return at, done, err
	}
	for _, name := range []string{"postgres", "template1"} {
		db, openErr := p.open(name)
		if openErr != nil {
			return at, done, openErr
		}
		on, askErr := p.ask(ctx, db)
		if askErr == nil {
			return anyServer{db, on}, func() { db.Close() }, nil
		}
		db.Close()
	}
	return at, done, err
}

func (p *Source) restore(ctx context.Context, at anyServer, r io.Reader, o driver.RestoreOptions, how restoreHow) (target string, got driver.Contents, err error) {
	target = o.Target
	if target == "" {
		target = fmt.Sprintf("%.40s_restore_%s", p.target.database, time.Now().UTC().Format("20060102t150405"))
		target = strings.ToValidUTF8(target, "") // a name has at most 63 bytes
	}
	client, err := findPostgresClient(ctx, "pg_restore", p.opts.Restore, at.on.major)
	if err != nil {
		return "", got, err
	}
	if len(target) > longestIdentifier {
		return "", got, fmt.Errorf("backup: the name %q has %d bytes: PostgreSQL allows %d", target, len(target), longestIdentifier)
	}
	secrets, err := newPassfile(p.target.password)
	if err != nil {
		return "", got, err
	}
	defer secrets.Remove()
	c, err := clusterOf(ctx, at.db)
	if err != nil {
		return "", got, err
	}
	created, warnings, err := p.create(ctx, at, target, o, how.present != nil)
	if err != nil {
		return "", got, err
	}
	err = func() error {
		head := &archiveReader{r: bufio.NewReaderSize(r, 256<<10)}
		list := head.toc()
		if head.err != nil {
			return fmt.Errorf("backup: the PostgreSQL archive is damaged or cut: %w", head.err)
		}
		if how.present != nil {
			list.present(how.present)
		}
		if len(o.Tables) > 0 {
			if err := list.only(o.Tables); err != nil {
				return err
			}
		}
		if access := o.Want.Settings[setAccess]; access != "" && len(o.Tables) == 0 {
			list.access(access)
		}
		if err := c.labelled(ctx, at.db, list); err != nil {
			return err
		}
		environment := list.adapt(c, target, how)
		list.functions(environment.searchPath)
		filled := list.softly()
		list.session(o.Want.Settings[setMonetary])
		warnings = append(warnings, environment.warnings()...)
		args := []string{"--exit-on-error", "--no-password", "--dbname=" + p.target.public(target, "pg_restore")}
		if !created {
			args = append(args, "--single-transaction") // after a failure it is still empty
		}
		if err := client.run(ctx, secrets, io.MultiReader(bytes.NewReader(list.encode()), head.r), nil, args...); err != nil {
			return err
		}
		if failed := environment.apply(ctx, at.db); len(failed) > 0 && how.present == nil {
			warnings = append(warnings, "could not be given to the database: "+strings.Join(failed, "; "))
		}
		unfilled, err := p.unfilled(ctx, target, filled)
		if err != nil {
			return err
		}
		if len(unfilled) > 0 {
			warnings = append(warnings, fmt.Sprintf("not filled: the materialized views %s. REFRESH MATERIALIZED VIEW reports the reason", server.ShortList(unfilled)))
		}
		var counted []string
		got, counted, err = p.measure(ctx, at, target, o, list)
		warnings = append(warnings, counted...)
		return err
	}()
	if err != nil {
		if created {
			err = errors.Join(err, server.Left(p.drop(context.WithoutCancel(ctx), at.db, target)))
		}
		return "", driver.Contents{}, err
	}
	p.mu.Lock()
	p.kept[target] = !created
	p.mu.Unlock()
	got.ServerVersion = at.on.version
	got.Warnings = append(got.Warnings, warnings...)
	return target, got, nil
}

// unfilled returns the materialized views that have no rows yet.
func (p *Source) unfilled(ctx context.Context, database string, views []string) ([]string, error) {
	if len(views) == 0 {
		return nil, nil
	}
	db, err := p.open(database)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND NOT c.relispopulated ORDER BY 1, 2")
	if err != nil {
		return nil, fmt.Errorf("backup: look for materialized views without rows: %w", err)
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var schema, view string
		if err := rows.Scan(&schema, &view); err != nil {
			return nil, fmt.Errorf("backup: look for materialized views without rows: %w", err)
		}
		if name := postgresName(schema, view); slices.Contains(views, name) {
			found = append(found, name)
		}
	}
	return found, rows.Err()
}

// longestIdentifier is the maximum length of a name in bytes. The server truncates a longer
// name.
const longestIdentifier = 63

// measure returns the contents of a database. pg_dump reads the rows in the format of the
// dump, so that their digests can be compared. If pg_dump fails, the rows are counted.
func (p *Source) measure(ctx context.Context, at anyServer, database string, o driver.RestoreOptions, like *toc) (got driver.Contents, warnings []string, err error) {
	db, err := p.open(database)
	if err != nil {
		return got, nil, err
	}
	defer db.Close()
	tables, err := p.digests(ctx, at.on.major, database, like)
	if err != nil && ctx.Err() == nil {
		warnings = append(warnings, "the rows were counted, and their values not compared: "+strings.TrimPrefix(err.Error(), "backup: "))
	}
	got, err = countPostgres(ctx, db, tables, o.Want)
	if err != nil {
		return got, warnings, err
	}
	if len(o.Tables) > 0 { // parent tables may be there too
		wanted := map[string]bool{}
		for _, name := range o.Tables {
			wanted[name] = true
		}
		var kept []driver.Table
		for _, t := range got.Tables {
			if wanted[t.Name] {
				kept = append(kept, t)
			}
		}
		got.Tables = kept
	}
	return got, warnings, nil
}

// digests returns the tables of a database as pg_dump writes them, with the columns in the
// order of the restored archive.
func (p *Source) digests(ctx context.Context, major int, database string, like *toc) (map[string]driver.Table, error) {
	archive, err := p.archive(ctx, major, database, io.Discard, like, "--data-only")
	if err != nil {
		return nil, err
	}
	found := map[string]driver.Table{}
	for _, t := range archive.holds.Tables {
		found[t.Name] = t
	}
	if archive.large.Rows > 0 {
		found[largeObjects] = archive.large
	}
	return found, nil
}

// archive runs pg_dump, passes its output on, and returns the contents. It measures the
// columns in the order of the archive like, unless that is nil.
func (p *Source) archive(ctx context.Context, major int, database string, w io.Writer, like *toc, more ...string) (postgresArchive, error) {
	client, err := findPostgresClient(ctx, "pg_dump", p.opts.Dump, major)
	if err != nil {
		return postgresArchive{}, err
	}
	secrets, err := newPassfile(p.target.password)
	if err != nil {
		return postgresArchive{}, err
	}
	defer secrets.Remove()
	application := "pg_dump " + server.RandomDigits()
	watched, watch := p.watchLocks(ctx, application)
	scanner := newArchiveScanner(w, like)
	dump := func(address string) error {
		return client.run(watched, secrets, nil, scanner, append([]string{
			"--format=custom", "--compress=0", "--no-password", fmt.Sprintf("--lock-wait-timeout=%d", p.opts.LockWait.Milliseconds()), "--dbname=" + address,
		}, more...)...)
	}
	// These settings of a server, database or role would change the text of BYTEA and MONEY, and
	// so their digests. In the format of one locale, MONEY has another value in another locale.
	err = dump(p.target.public(database, application, "-c bytea_output=hex", "-c lc_monetary="+archiveMonetary))
	monetary := archiveMonetary
	if err != nil && strings.Contains(err.Error(), "unsupported startup parameter") { // a pooler
		monetary = ""
		err = dump(p.target.public(database, application))
	}
	err = watch.stop(err)
	archive, damage := scanner.finish()
	archive.monetary = monetary
	if err == nil {
		err = damage
	}
	return archive, err
}

// drop removes a database that this package has created. It ends sessions in the database,
// such as those of a killed pg_restore. It also ends a session that is creating the database,
// because a server continues the statement of a process that was killed.
func (p *Source) drop(ctx context.Context, by *sql.DB, database string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	// The pool may still hold sessions that an exchange, or another drop, has ended.
	for range 5 {
		if err = p.dropOnce(ctx, by, database); err == nil || !serverTrouble.MatchString(err.Error()) {
			break
		}
		server.DropIdle(by)
	}
	return err
}

func (p *Source) dropOnce(ctx context.Context, by *sql.DB, database string) error {
	ended := `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid() AND usename IS NOT NULL`
	if _, err := queryStrings(ctx, by, ended, database); err != nil {
		return fmt.Errorf("backup: end the sessions in the database %q: %w", database, err)
	}
	creating := `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'active' AND left(query, length($1::text)) = $1 AND pid <> pg_backend_pid()`
	for {
		ends, err := queryStrings(ctx, by, creating, "CREATE DATABASE "+quotePostgres(database)+" ")
		if err != nil {
			return fmt.Errorf("backup: end the sessions that create the database %q: %w", database, err)
		}
		if len(ends) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond) // the session may take a moment to end, and ctx ends the loop
	}
	if err := alter(ctx, by, "DROP DATABASE IF EXISTS "+quotePostgres(database)); err != nil {
		return fmt.Errorf("backup: drop the database %q: %w", database, err)
	}
	return nil
}

// alter executes a statement, also if transactions of the database or role are read-only by
// default. An operator may have stopped all writes before a restore.
func alter(ctx context.Context, db *sql.DB, statement string) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer server.Discard(conn)
	if _, err = conn.ExecContext(ctx, "SET default_transaction_read_only = off"); err == nil {
		_, err = conn.ExecContext(ctx, statement)
	}
	return err
}

func quotePostgres(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
