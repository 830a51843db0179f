// Package driver contains the types that a backup source implements. Users of package
// backup need it only to read a manifest ([Contents], [Table]) or to write their own
// source.
package driver

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"time"
)

// Source is a database or a folder that a job backs up. A job runs one Dump at a time.
type Source interface {
	// Describe returns the engine and the name of the source. It makes no network call.
	Describe() Description
	// Dump writes a consistent copy, uncompressed, and returns its contents. It
	// returns nil only if the copy is complete. Errors contain no secret.
	Dump(ctx context.Context, w io.Writer) (Contents, error)
	// Abilities returns the optional functions of the source. A source that wraps another
	// one returns the abilities of the wrapped one, and may change some.
	Abilities() Abilities
}

// Description describes a [Source].
type Description struct {
	Engine    string // "sqlite", "mariadb", "postgresql", "files", …
	Extension string // of the dump file: ".db", ".sql", ".dump"
	Database  string // a readable name; may be empty
}

// Abilities are the optional functions of a [Source]. A nil function means that the source
// lacks the ability.
type Abilities struct {
	// Preflight checks whether a dump would fail. It reads no rows.
	Preflight func(ctx context.Context) (warnings []string, err error)
	// Lock admits one run of a job at a time, from any host. It returns [ErrLocked] at once
	// if another run holds the lock. The lock ends with its process.
	Lock func(ctx context.Context, job string) (unlock func() error, err error)
	// Exclude leaves a folder out of all dumps. A job calls it once for each folder of its
	// storage, its targets and its history. Overwrite must not remove such a folder.
	Exclude func(folder string)
	// Accounts writes the accounts or roles that the database needs, with their privileges,
	// as statements that create them on another server.
	Accounts func(ctx context.Context, w io.Writer) (Contents, error)
	// Restore restores a dump beside the original. It uses the name in the options, or
	// chooses a name and returns it. It never changes an existing database, except an empty
	// one that is named as the target. If it fails, it removes its traces.
	Restore func(ctx context.Context, r io.Reader, o RestoreOptions) (target string, got Contents, err error)
	// Discard removes the result of Restore, by the name that Restore returned or passed to
	// [RestoreOptions.Creates]. It returns nil if there is nothing with that name. A restore
	// of several sources needs it when a later source fails, and a job needs it to clean up
	// after an interrupted restore.
	Discard func(ctx context.Context, target string) error
	// Leftover reports whether a restore chose this name itself, so that a marker that no key
	// authenticates may ask to discard it. Without Leftover, the name must have the form of
	// such a name, and be beside Original.
	Leftover func(ctx context.Context, target string) bool
	// Test restores a dump into a new database, calls use with the contents, and always
	// drops that database. It reads from r only after the database exists. A missing right
	// to create one is therefore not reported as an error of the dump. An error that wraps
	// [ErrUntested] says nothing about the dump either.
	Test func(ctx context.Context, r io.Reader, o RestoreOptions, use func(ctx context.Context, db Queryer, got Contents) error) error
	// SweepTests drops test databases of killed processes that were created before the
	// given time, and returns their names.
	SweepTests func(ctx context.Context, before time.Time) (dropped []string, err error)
	// Original returns the name of the database that Overwrite replaces.
	Original func(ctx context.Context) (string, error)
	// Overwrite replaces the original with the dump. The dump must have passed a restore
	// elsewhere before. Overwrite calls [RestoreOptions.Touch] once, immediately before its
	// first statement that changes the original. An error means that the original is
	// unchanged, unless the error wraps [ErrHalfway].
	Overwrite func(ctx context.Context, r io.Reader, o RestoreOptions) (Contents, error)
}

// RestoreOptions say what to restore.
type RestoreOptions struct {
	// Target is the name of the new database. If it is "", the source chooses one. A test
	// and an overwriting restore ignore it.
	Target string
	// Tables are the only tables to restore, by their names in the manifest, together with
	// the objects that they need. Default: all.
	Tables []string
	// Want lists the contents of the dump according to its manifest. A restore that finds
	// other contents fails with [ErrDiffers].
	Want Contents
	// Touch is called by an overwriting restore before it changes the original. Its error
	// ends the restore. Default: nil.
	Touch func(ctx context.Context) error
	// Creates is called before the restore creates a database, file or folder that a killed
	// process would leave behind. Discard must accept the name. The name is "" before the
	// restore fills an existing empty database. Its error ends the restore. Default: nil.
	Creates func(ctx context.Context, name string) error
}

// Creating calls Creates, if it is set.
func (o RestoreOptions) Creating(ctx context.Context, name string) error {
	if o.Creates == nil {
		return nil
	}
	return o.Creates(ctx, name)
}

// Queryer is implemented by *sql.DB, *sql.Conn and *sql.Tx.
type Queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// RowCounter is an optional method of the writer of a dump. A source that counts rows
// reports to it how many rows it has written so far. Calls and writes come from one
// goroutine.
type RowCounter interface{ RowsSoFar(n int64) }

// RowsTo returns the function that reports rows to w, if w counts them.
func RowsTo(w io.Writer) func(n int64) {
	if c, ok := w.(RowCounter); ok {
		return c.RowsSoFar
	}
	return func(int64) {}
}

// Errors of sources.
var (
	// ErrLocked means that another run of the same job holds the lock.
	ErrLocked = errors.New("backup: another run of this job is going on: wait for it to end")
	// ErrDiffers means that a restored database differs from the manifest.
	ErrDiffers = errors.New("the restored database is not what was dumped")
	// ErrHalfway means that an overwriting restore failed after it had changed the
	// original.
	ErrHalfway = errors.New("the original was changed, and the restore did not come to its end")
	// ErrLeft means that a failed restore or a restore test could not drop its database.
	ErrLeft = errors.New("the database of the restore is left behind")
	// ErrUntested means that a restore test could not be made. The backup may be good.
	ErrUntested = errors.New("the restore test could not be made")
	// ErrTransient marks a failure that may not occur in a second attempt, for example
	// because a table was altered during the dump, or because a connection was lost.
	ErrTransient = errors.New("try again")
)

// Transient marks err with [ErrTransient] without changing its text.
func Transient(err error) error {
	if err == nil {
		return nil
	}
	return transientError{err}
}

type transientError struct{ error }

func (e transientError) Unwrap() error        { return e.error }
func (e transientError) Is(target error) bool { return target == ErrTransient }
