// Package driver holds the types that a source of backups implements. Users of package
// backup need it only to read a manifest ([Contents], [Table]) or to write a source of
// their own.
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
	// Describe returns the engine and the name of the source. It contacts no server.
	Describe() Description
	// Dump writes a consistent copy, uncompressed, and returns its contents. It
	// returns nil only if the copy is complete. Errors contain no secret.
	Dump(ctx context.Context, w io.Writer) (Contents, error)
	// Abilities returns the optional functions of the source. A source that wraps another
	// one returns the abilities of the wrapped one, changed where it wants to.
	Abilities() Abilities
}

// Description is what a [Source] reports about itself.
type Description struct {
	Engine    string // "sqlite", "mariadb", "postgresql", "files", …
	Extension string // of the dump's file: ".db", ".sql", ".dump"
	Database  string // a name for people; may be empty
}

// Abilities are the optional functions of a [Source]. A nil function is an ability that
// the source does not have.
type Abilities struct {
	// Preflight reports, without reading a row, that a dump would fail.
	Preflight func(ctx context.Context) (warnings []string, err error)
	// Lock lets one run of a job at a time in, from any host. It returns [ErrLocked] at
	// once if another run holds the lock. The lock ends with its process.
	Lock func(ctx context.Context, job string) (unlock func() error, err error)
	// Exclude leaves a folder out of a dump: the one that the backups go to.
	Exclude func(folder string)
	// Accounts writes the accounts or roles that the database needs, and their privileges,
	// as statements that create them on another server.
	Accounts func(ctx context.Context, w io.Writer) (Contents, error)
	// Restore restores a dump beside the original, under the name of the options or one
	// that it chooses and returns. It never changes a database that exists, unless that
	// is empty and named as the target. It removes its traces when it fails.
	Restore func(ctx context.Context, r io.Reader, o RestoreOptions) (target string, got Contents, err error)
	// Discard removes what Restore has made, by the name that it returned. A restore of several
	// sources needs it where a later one fails.
	Discard func(ctx context.Context, target string) error
	// Test restores a dump into a database of its own, calls use with the contents,
	// and drops that database in any case. It reads from r only after the database
	// exists, so that a right that is missing is not the fault of the dump.
	Test func(ctx context.Context, r io.Reader, o RestoreOptions, use func(ctx context.Context, db Queryer, got Contents) error) error
	// SweepTests drops the databases of tests that killed processes have left behind
	// before the given time, and returns their names.
	SweepTests func(ctx context.Context, before time.Time) (dropped []string, err error)
	// Original returns the name of the database that Overwrite replaces.
	Original func(ctx context.Context) (string, error)
	// Overwrite replaces the original by the dump, which must have been restored elsewhere
	// and proven before. It calls [RestoreOptions.Touch] once, right before its first
	// statement that changes the original. An error means that the original is unchanged,
	// unless it wraps [ErrHalfway].
	Overwrite func(ctx context.Context, r io.Reader, o RestoreOptions) (Contents, error)
}

// RestoreOptions say what to restore.
type RestoreOptions struct {
	// Target is the name of the new database; "" lets the source choose one. A test and an
	// overwriting restore ignore it.
	Target string
	// Tables are the only tables to restore, by their names in the manifest, with what they
	// need to exist. Default: everything.
	Tables []string
	// Want lists the contents of the dump by its manifest. A restore that finds other contents
	// fails with [ErrDiffers].
	Want Contents
	// Touch is called by an overwriting restore before it changes the original; its error
	// ends the restore. Default: nil.
	Touch func(ctx context.Context) error
}

// Queryer is *sql.DB, *sql.Conn or *sql.Tx.
type Queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// RowCounter is an optional method of the writer of a dump: a source that counts rows
// reports how many it has written so far. Calls and writes come from one goroutine.
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
	// ErrHalfway means that an overwriting restore ended after it had changed the original.
	ErrHalfway = errors.New("the original was changed, and the restore did not come to its end")
	// ErrLeft means that the database of a restore test could not be dropped.
	ErrLeft = errors.New("the database of the restore test is left behind; the next run drops it when it is a day old")
	// ErrUntested means that a restore test could not be made. The backup may be good.
	ErrUntested = errors.New("the restore test could not be made")
	// ErrTransient marks a failure that a second attempt may not have: a table that was
	// altered meanwhile, a connection that was lost.
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
