package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// copyFolder is the prefix of the folders for copies of a database. copyFile is the name of
// the copy.
const (
	copyFolder = "mainstay-sqlite-"
	copyFile   = "copy.db"
)

// Test implements [driver.Abilities] with a file in a new folder in Scratch. The driver of
// the original opens it by its plain path. Options in the connection string of the original
// do not apply.
func (s *Source) Test(ctx context.Context, r io.Reader, o driver.RestoreOptions, use func(context.Context, driver.Queryer, driver.Contents) error) error {
	dir, err := os.MkdirTemp(s.Scratch, copyFolder) // 0700
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	path := filepath.Join(dir, copyFile)
	_, got, err := s.Restore(ctx, r, driver.RestoreOptions{Target: path, Want: o.Want})
	if err == nil {
		db := sql.OpenDB(server.Connector{DSN: path, By: s.db.Driver()})
		err = errors.Join(use(ctx, db, got), db.Close())
	}
	return errors.Join(untested(err), server.Left(os.RemoveAll(dir)))
}

// untested marks a failed restore test whose cause is the disk.
func untested(err error) error {
	if err == nil || !strings.Contains(err.Error(), "disk is full") && !strings.Contains(err.Error(), "disk I/O error") {
		return err
	}
	return errors.Join(driver.ErrUntested, err)
}

var folderForm = regexp.MustCompile("^" + copyFolder + `\d+$`)

// SweepTests implements [driver.Abilities]. It also removes the copies of killed dumps.
func (s *Source) SweepTests(_ context.Context, before time.Time) (dropped []string, err error) {
	parent := s.Scratch
	if parent == "" {
		parent = os.TempDir()
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || !folderForm.MatchString(e.Name()) {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		if !staleFolder(dir, before) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return dropped, fmt.Errorf("sqlite: %w", err)
		}
		dropped = append(dropped, e.Name())
	}
	return dropped, nil
}

// staleFolder reports whether a folder holds only a copy, and was not written to since.
func staleFolder(dir string, before time.Time) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.ModTime().Before(before) {
		return false
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return false // belongs to another user
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || !strings.Contains(f.Name(), copyFile) || !info.Mode().IsRegular() || !info.ModTime().Before(before) {
			return false
		}
	}
	return true
}
