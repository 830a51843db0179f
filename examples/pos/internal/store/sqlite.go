package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/pagination/keyset"
	"github.com/mainstay-go/mainstay/pagination/querycount"
)

// readers is the size of the pool that reads. With WAL they read while a writer writes.
const readers = 8

func openSQLite(ctx context.Context, s *settings.Settings, create bool) (*Store, error) {
	info, statErr := os.Stat(s.SQLitePath())
	made := statErr == nil && info.Size() > 0
	switch {
	case !made && !create:
		return nil, settings.Errorf("there is no database in %s: start the server first, or name its folder with --data", s.Data)
	case !made:
		if err := createFile(s); err != nil {
			return nil, err
		}
	}
	path, err := filepath.Abs(s.SQLitePath())
	if err != nil {
		return nil, settings.Errorf("--data %s: %s", s.Data, reason(err))
	}
	complete, err := inspect(ctx, path)
	if err != nil {
		return nil, err
	}
	if made && !create {
		if !complete {
			return nil, settings.Errorf("there is no shop in %s yet: start the server first", path)
		}
		return openReadOnly(path)
	}
	// synchronous=FULL: a confirmed sale also survives a power failure.
	common := []string{"busy_timeout(10000)", "foreign_keys(1)"}
	write, err := querycount.Open("sqlite", sqliteDSN(path, "immediate", append(common, "journal_mode(WAL)", "synchronous(FULL)")...))
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	read, err := querycount.Open("sqlite", sqliteDSN(path, "deferred", append(common, "query_only(1)")...))
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	side, err := sql.Open("sqlite", sqliteDSN(path, "deferred", common...))
	if err != nil {
		return nil, errors.Join(err, write.Close(), read.Close())
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	st := &Store{read: read, write: write, side: side, engine: settings.SQLite, dialect: keyset.SQLite, size: 1}
	if err := st.migrate(ctx, !complete); err != nil {
		_ = st.Close()
		return nil, settings.Errorf("--data %s: cannot write the database: %s", s.Data, reason(err))
	}
	return st, nil
}

// createFile makes the folder and an empty file that only its owner can read, because it will
// hold hashes of passwords and sessions.
func createFile(s *settings.Settings) error {
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return settings.Errorf("--data %s: cannot create the folder: %s", s.Data, reason(err))
	}
	f, err := os.OpenFile(s.SQLitePath(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return settings.Errorf("--data %s: cannot create the database: %s", s.Data, reason(err))
	}
	return f.Close()
}

// openReadOnly opens a shop for a command that only reads.
func openReadOnly(path string) (*Store, error) {
	db, err := querycount.Open("sqlite", sqliteDSN(path, "deferred", "busy_timeout(10000)", "query_only(1)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(readers)
	return &Store{read: db, write: db, side: db, engine: settings.SQLite, dialect: keyset.SQLite, size: readers}, nil
}

func sqliteDSN(path, lock string, pragmas ...string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/…
	}
	q := url.Values{"_txlock": {lock}, "_pragma": pragmas}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// OpenSide opens a pool for work beside the server, such as backups. It creates no file and
// waits for no lock. If a SQLite database is missing or damaged, OpenSide returns an error.
// With missingOK it returns an empty database in memory, which is enough to list backups and to
// restore one.
func OpenSide(ctx context.Context, s *settings.Settings, missingOK bool) (*sql.DB, error) {
	if s.Database.Engine != settings.SQLite {
		return dialSide(s.Database, missingOK)
	}
	path, err := filepath.Abs(s.SQLitePath())
	if err != nil {
		return nil, settings.Errorf("--data %s: %s", s.Data, reason(err))
	}
	_, err = os.Stat(path)
	if err != nil {
		err = settings.Errorf("there is no database in %s: start the server first, or name its folder with --data", s.Data)
	} else {
		_, err = inspect(ctx, path)
	}
	switch {
	case err == nil:
		return sql.Open("sqlite", sqliteDSN(path, "deferred", "busy_timeout(10000)"))
	case missingOK:
		return sql.Open("sqlite", ":memory:")
	}
	return nil, err
}

// inspect checks an existing file and never writes to it. A damaged database, or one of another
// program, must stay unchanged so that its owner can repair it. It reports whether the database
// has all tables of a shop.
func inspect(ctx context.Context, path string) (complete bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, settings.Errorf("%s: cannot read the database: %s", path, reason(err))
	}
	defer f.Close()
	header := make([]byte, 16)
	if n, err := io.ReadFull(f, header); n == 0 && errors.Is(err, io.EOF) {
		return false, nil // created, but never written
	}
	if !bytes.Equal(header, []byte("SQLite format 3\x00")) {
		return false, damaged(path, "it is no SQLite database")
	}
	db, err := sql.Open("sqlite", sqliteDSN(path, "deferred", "busy_timeout(10000)", "query_only(1)")+"&mode=ro")
	if err != nil {
		return false, err
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return false, damaged(path, reason(err))
	}
	if verdict != "ok" {
		return false, damaged(path, verdict)
	}
	var names []string
	rows, err := db.QueryContext(ctx, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name")
	if err != nil {
		return false, damaged(path, reason(err))
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return false, damaged(path, reason(err))
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		return false, damaged(path, reason(err))
	}
	if foreign(names) {
		return false, settings.Errorf("%s is the database of something else; choose another --data folder", path)
	}
	return isShop(names), nil
}

// DamagedError is a settings.Error for a damaged database. Every command that finds one must
// notify the operator.
type DamagedError struct{ setting *settings.Error }

func (e *DamagedError) Error() string { return e.setting.Error() }
func (e *DamagedError) Unwrap() error { return e.setting }

func damaged(path, why string) error {
	why, _, _ = strings.Cut(why, "\n")
	return &DamagedError{settings.Errorf("%s is damaged (%s) and was left untouched; restore it from a backup (pos backup list) or move it away", path, why)}
}

// reason returns the innermost text of an error, without the path, because the message contains
// the path already.
func reason(err error) string {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}
