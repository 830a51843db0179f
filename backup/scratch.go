package backup

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// RestoreScratch implements [ScratchRestorer] with a database beside the original. The
// account must be allowed to create databases (CREATEDB).
func (p *Postgres) RestoreScratch(ctx context.Context, r io.Reader, _ Contents, use func(context.Context, Queryer, Contents) error) error {
	name := scratchName(p.target.database, time.Now())
	_, got, err := p.Restore(ctx, r, name)
	if err != nil {
		return err // and it has been dropped
	}
	db, err := p.open(name)
	if err == nil {
		err = errors.Join(use(ctx, db, got), db.Close())
	}
	return errors.Join(err, left(p.drop(context.WithoutCancel(ctx), name)))
}

// SweepScratch implements [ScratchRestorer].
func (p *Postgres) SweepScratch(ctx context.Context, before time.Time) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.QueryTimeout)
	defer cancel()
	names, err := queryStrings(ctx, p.db, "SELECT datname FROM pg_database WHERE datname LIKE '%\\_scratch\\_%'")
	if err != nil {
		return nil, fmt.Errorf("backup: list the databases: %w", err)
	}
	return dropStale(ctx, names, p.target.database, before, p.drop)
}

// RestoreScratch implements [ScratchRestorer] with a database beside the original. The
// account must be allowed to create and drop it, which GRANT ALL ON `shop\_scratch\_%`.*
// gives for a database shop. Events of a database run in a copy of it too: while the
// server's event scheduler is on, a dump with events is refused.
func (m *MySQL) RestoreScratch(ctx context.Context, r io.Reader, want Contents, use func(context.Context, Queryer, Contents) error) error {
	if want.Events > 0 {
		var on bool
		if err := m.db.QueryRowContext(ctx, "SELECT @@event_scheduler = 'ON'").Scan(&on); err != nil {
			return fmt.Errorf("backup: ask for the event scheduler: %w", err)
		}
		if on {
			return fmt.Errorf("backup: the database has %d events, which would run in the scratch database too: drill on a server without an event scheduler (DrillOptions.At)", want.Events)
		}
	}
	name := scratchName(m.target.database, time.Now())
	_, got, err := m.Restore(ctx, r, name)
	if err != nil {
		return err // and it has been dropped
	}
	conn, err := m.db.Conn(ctx)
	if err == nil {
		if _, err = conn.ExecContext(ctx, "USE "+quoteMySQL(name)); err == nil {
			err = use(ctx, conn, got)
		}
		// Nobody may get a connection from the pool that is in another database.
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	return errors.Join(err, left(m.drop(context.WithoutCancel(ctx), name)))
}

// SweepScratch implements [ScratchRestorer].
func (m *MySQL) SweepScratch(ctx context.Context, before time.Time) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, m.opts.QueryTimeout)
	defer cancel()
	names, err := queryStrings(ctx, m.db, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '%\\_scratch\\_%'")
	if err != nil {
		return nil, fmt.Errorf("backup: list the databases: %w", err)
	}
	return dropStale(ctx, names, m.target.database, before, m.drop)
}

func dropStale(ctx context.Context, names []string, database string, before time.Time, drop func(context.Context, string) error) (dropped []string, err error) {
	for _, name := range names {
		if !staleScratch(database, name, before) {
			continue
		}
		if err := drop(ctx, name); err != nil {
			return dropped, err
		}
		dropped = append(dropped, name)
	}
	return dropped, nil
}

func left(err error) error {
	if err == nil {
		return nil
	}
	return scratchLeftError{err}
}

// sqliteFolder begins the names of the folders that copies of a database lie in, and
// sqliteCopy is the copy.
const (
	sqliteFolder = "mainstay-sqlite-"
	sqliteCopy   = "copy.db"
)

// RestoreScratch implements [ScratchRestorer] with a file in a folder of its own in
// Scratch. It is opened by the driver of the original under its plain path: what a
// connection string of the original asks for does not apply.
func (s *SQLite) RestoreScratch(ctx context.Context, r io.Reader, _ Contents, use func(context.Context, Queryer, Contents) error) error {
	dir, err := os.MkdirTemp(s.Scratch, sqliteFolder) // 0700
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	path := filepath.Join(dir, sqliteCopy)
	_, got, err := s.Restore(ctx, r, path)
	if err == nil {
		db := sql.OpenDB(dsnConnector{path, s.db.Driver()})
		err = errors.Join(use(ctx, db, got), db.Close())
	}
	return errors.Join(err, left(os.RemoveAll(dir)))
}

var sqliteFolderForm = regexp.MustCompile("^" + sqliteFolder + `\d+$`)

// SweepScratch implements [ScratchRestorer]. It removes the copies that killed dumps
// left, too.
func (s *SQLite) SweepScratch(_ context.Context, before time.Time) (dropped []string, err error) {
	parent := s.Scratch
	if parent == "" {
		parent = os.TempDir()
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || !sqliteFolderForm.MatchString(e.Name()) {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		if !staleSQLiteFolder(dir, before) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return dropped, fmt.Errorf("sqlite: %w", err)
		}
		dropped = append(dropped, e.Name())
	}
	return dropped, nil
}

// staleSQLiteFolder says whether a folder holds a copy and nothing else, and nobody has
// written to it since.
func staleSQLiteFolder(dir string, before time.Time) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.ModTime().Before(before) {
		return false
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return false // another user's
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || !strings.Contains(f.Name(), sqliteCopy) || !info.Mode().IsRegular() || !info.ModTime().Before(before) {
			return false
		}
	}
	return true
}
