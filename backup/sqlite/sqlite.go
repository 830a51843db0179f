// Package sqlite backs up an SQLite database.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
	"github.com/mainstay-go/mainstay/internal/atomicfile"
)

// Source is a [driver.Source] that works with any database/sql driver for SQLite. It copies
// the database with VACUUM INTO, which makes a consistent copy, and checks the copy before use.
// A plain copy of the file would lose the data in the write-ahead log.
//
// In WAL mode the copy does not block writers. In the other journal modes it does: set a busy
// timeout that is longer than the copy takes. It uses one connection of the pool. Give it a
// pool of its own if the pool of the service has only one connection.
type Source struct {
	db *sql.DB
	// Scratch is a folder for the copy, which needs as much space as the database. Default:
	// the temporary folder of the system.
	Scratch string
}

// New returns the source of the database that db is connected to.
func New(db *sql.DB) *Source { return &Source{db: db} }

// Describe returns the engine "sqlite".
func (s *Source) Describe() driver.Description {
	return driver.Description{Engine: "sqlite", Extension: ".db"}
}

// Abilities returns the optional functions of the source.
func (s *Source) Abilities() driver.Abilities {
	return driver.Abilities{Restore: s.Restore, Discard: discard, Test: s.Test, SweepTests: s.SweepTests, Original: s.Original, Overwrite: s.Overwrite}
}

// Dump copies the database.
func (s *Source) Dump(ctx context.Context, w io.Writer) (driver.Contents, error) {
	dir, err := os.MkdirTemp(s.Scratch, copyFolder) // 0700
	if err != nil {
		return driver.Contents{}, fmt.Errorf("sqlite: %w", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, copyFile)
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return driver.Contents{}, fmt.Errorf("sqlite: %w", err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return driver.Contents{}, fmt.Errorf("sqlite: copy the database: %w", err)
	}
	contents, err := inspect(ctx, conn, path)
	if err != nil {
		return contents, err
	}
	if err := conn.Close(); err != nil { // it may be the only one of the service
		return contents, fmt.Errorf("sqlite: %w", err)
	}
	contents.Consistency = "vacuum-into"
	file, err := os.Open(path)
	if err != nil {
		return contents, fmt.Errorf("sqlite: %w", err)
	}
	defer file.Close()
	if _, err := io.Copy(w, file); err != nil {
		return contents, fmt.Errorf("sqlite: %w", err)
	}
	return contents, nil
}

// inspect checks a database file. It attaches the file to another connection, because it
// does not know how the driver opens files.
func inspect(ctx context.Context, conn *sql.Conn, path string) (c driver.Contents, err error) {
	const alias = "mainstay_copy"
	if _, err := conn.ExecContext(ctx, "ATTACH DATABASE ? AS "+alias, path); err != nil {
		return c, fmt.Errorf("sqlite: open the copy: %w", err)
	}
	defer func() {
		if _, detachErr := conn.ExecContext(context.WithoutCancel(ctx), "DETACH DATABASE "+alias); detachErr != nil && err == nil {
			err = fmt.Errorf("sqlite: close the copy: %w", detachErr)
		}
	}()
	if err := conn.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&c.ServerVersion); err != nil {
		return c, fmt.Errorf("sqlite: %w", err)
	}
	problems, err := column(ctx, conn, "PRAGMA "+alias+".integrity_check(5)")
	if err != nil {
		return c, fmt.Errorf("sqlite: check the copy: %w", err)
	}
	if len(problems) != 1 || problems[0] != "ok" {
		return c, fmt.Errorf("sqlite: the database is damaged: %s", strings.Join(problems, "; "))
	}
	violations, err := rowsOf(ctx, conn, "PRAGMA "+alias+".foreign_key_check")
	if err != nil {
		return c, fmt.Errorf("sqlite: check the foreign keys: %w", err)
	}
	if violations > 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%d rows refer to rows that do not exist", violations))
	}
	tables, err := column(ctx, conn, "SELECT name FROM "+alias+".sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name")
	if err != nil {
		return c, fmt.Errorf("sqlite: list the tables: %w", err)
	}
	c.Tables = []driver.Table{}
	for _, name := range tables {
		quoted := `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		t, err := measure(ctx, conn, alias, name, quoted)
		if err != nil {
			if ctx.Err() != nil {
				return c, ctx.Err()
			}
			// A virtual table without its module or content. The copy has the available
			// rows.
			c.Skipped = append(c.Skipped, driver.Skipped{Object: "rows of the table " + name, Reason: "they cannot be read: " + err.Error()})
			continue
		}
		c.Tables = append(c.Tables, t)
	}
	for kind, n := range map[string]*int64{"view": &c.Views, "trigger": &c.Triggers} {
		if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM "+alias+".sqlite_master WHERE type = ?", kind).Scan(n); err != nil {
			return c, fmt.Errorf("sqlite: count the %ss: %w", kind, err)
		}
	}
	return c, nil
}

func column(ctx context.Context, conn *sql.Conn, query string) ([]string, error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var values []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, rows.Err()
}

func rowsOf(ctx context.Context, conn *sql.Conn, query string) (n int, err error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		n++
	}
	return n, rows.Err()
}

// logs are the endings of the files beside a database that SQLite reads with it.
var logs = []string{"-wal", "-shm", "-journal"}

// Restore writes the database to a new file. The file is target, or a file beside the
// original with the time in its name.
func (s *Source) Restore(ctx context.Context, r io.Reader, o driver.RestoreOptions) (restored string, got driver.Contents, err error) {
	target := o.Target
	if len(o.Tables) > 0 {
		return "", got, errors.New("sqlite: single tables cannot be restored yet")
	}
	if target == "" {
		if target, err = s.besideOriginal(ctx); err != nil {
			return "", got, err
		}
	}
	if target, err = filepath.Abs(target); err != nil {
		return "", got, fmt.Errorf("sqlite: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return target, got, fmt.Errorf("sqlite: %w", err)
	}
	// A driver creates an empty file when the database is gone and a connection is opened.
	if info, err := os.Lstat(target); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		if err := os.Remove(target); err != nil {
			return target, got, fmt.Errorf("sqlite: %w", err)
		}
	}
	for _, suffix := range logs {
		if _, err := os.Lstat(target + suffix); err == nil {
			return target, got, fmt.Errorf("sqlite: %s is there, and SQLite would apply it to the restored file: it belongs to the database that was at %s. Move it to another folder, and restore again", target+suffix, target)
		}
	}
	if _, err := os.Lstat(target); errors.Is(err, fs.ErrNotExist) {
		if err := o.Creating(ctx, target); err != nil {
			return target, got, err
		}
	}
	err = atomicfile.Create(target, 0o600, func(w io.Writer) error {
		_, err := io.Copy(server.ContextWriter{Ctx: ctx, To: w}, r)
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return target, got, fmt.Errorf("sqlite: %s exists: a restore never overwrites; choose another target", target)
	}
	if err != nil {
		return target, got, fmt.Errorf("sqlite: %w", err)
	}
	conn, err := s.db.Conn(ctx)
	if err == nil {
		defer conn.Close()
		got, err = inspect(ctx, conn, target)
	}
	if err != nil {
		return target, got, errors.Join(err, server.Left(os.Remove(target)))
	}
	return target, got, nil
}

// file returns the path of the database file, from the connection.
func (s *Source) file(ctx context.Context) (string, error) {
	var path string
	err := s.db.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&path)
	if err != nil {
		return "", fmt.Errorf("sqlite: ask for the database's file: %w", err)
	}
	if path == "" {
		return "", errors.New("sqlite: the database is in memory, or its file is gone: name a target")
	}
	return path, nil
}

// besideOriginal returns a name for a restored database.
func (s *Source) besideOriginal(ctx context.Context) (string, error) {
	path, err := s.file(ctx)
	if err != nil {
		return "", err
	}
	extension := filepath.Ext(path)
	return strings.TrimSuffix(path, extension) + "_restore_" + time.Now().UTC().Format(server.Stamp) + extension, nil
}

// discard removes a restored database, and the partial files of interrupted restores.
func discard(_ context.Context, target string) error {
	folder := filepath.Dir(target)
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("sqlite: %w", err)
	}
	for _, e := range entries {
		partial := strings.HasPrefix(e.Name(), atomicfile.TempPrefix+filepath.Base(target)+"-")
		if !e.Type().IsRegular() || !partial && e.Name() != filepath.Base(target) {
			continue
		}
		if err := os.Remove(filepath.Join(folder, e.Name())); err != nil {
			return fmt.Errorf("sqlite: %w", err)
		}
	}
	return nil
}
