package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
	"github.com/mainstay-go/mainstay/internal/atomicfile"
)

// Original implements [driver.Abilities]. It returns the path of the file.
func (s *Source) Original(ctx context.Context) (string, error) { return s.file(ctx) }

// Overwrite implements [driver.Abilities]: see backup.Job.RestoreOver. It closes the idle
// connections of the *sql.DB, because they would block the change.
func (s *Source) Overwrite(ctx context.Context, r io.Reader, o driver.RestoreOptions) (got driver.Contents, err error) {
	original, err := s.file(ctx)
	if err != nil {
		return got, err
	}
	if others := openIn(original); len(others) > 0 {
		return got, fmt.Errorf("sqlite: %s is open in %s: stop that, then restore again", original, strings.Join(others, ", "))
	}
	second := filepath.Join(filepath.Dir(original), ".tmp-"+filepath.Base(original)+"-"+server.RandomDigits())
	defer os.Remove(second)
	_, got, err = s.Restore(ctx, r, driver.RestoreOptions{Target: second, Want: o.Want, Creates: o.Creates})
	if err == nil {
		err = o.Want.Compare(got)
	}
	if err != nil {
		return got, err
	}
	s.db.SetMaxIdleConns(0)
	defer server.DropIdle(s.db)
	alone := sql.OpenDB(server.Connector{DSN: original, By: s.db.Driver()})
	defer alone.Close()
	conn, err := alone.Conn(ctx)
	if err != nil {
		return got, fmt.Errorf("sqlite: %w", err)
	}
	defer conn.Close()
	// SQLite leaves the write-ahead log mode only for the only connection. Then no other
	// process can open the file until the new one replaces it. A remaining log would be
	// used for the new file.
	mode, before := "", ""
	err = conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&before)
	if err == nil && before == "wal" {
		err = s.toWAL(ctx, second)
	}
	if err == nil {
		err = conn.QueryRowContext(ctx, "PRAGMA journal_mode = DELETE").Scan(&mode)
	}
	if err == nil && mode != "delete" {
		err = fmt.Errorf("its journal mode is %s", mode)
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, "BEGIN EXCLUSIVE")
	}
	if err != nil {
		return got, fmt.Errorf("sqlite: %s is in use: stop the program that has it open, then restore again: %w", original, err)
	}
	info, err := os.Stat(original)
	if err == nil {
		err = os.Chmod(second, info.Mode().Perm())
	}
	if err == nil {
		if own := keepOwner(second, info); own != nil {
			got.Warnings = append(got.Warnings, fmt.Sprintf("the restored file has another owner than the original, whose programs may not be able to write to it: chown it (%v)", own))
		}
	}
	if err == nil && o.Touch != nil {
		err = o.Touch(ctx)
	}
	if err == nil {
		err = atomicfile.Rename(second, original)
	}
	if err != nil {
		return got, fmt.Errorf("sqlite: %w", err)
	}
	return got, nil
}

// toWAL sets a copy to the write-ahead log mode of the original. The copy does not have
// that mode.
func (s *Source) toWAL(ctx context.Context, path string) error {
	db := sql.OpenDB(server.Connector{DSN: path, By: s.db.Driver()})
	var mode string
	err := db.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode)
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	if err == nil && mode != "wal" {
		err = fmt.Errorf("its journal mode stays %s", mode)
	}
	return err
}
