package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Overwriter is a [Restorer] that can put a backup in the place of the original.
type Overwriter interface {
	Restorer
	// Original is the name of the database that would be overwritten.
	Original(ctx context.Context) (string, error)
	// Overwrite replaces the original by a dump that holds want. dump hands the whole
	// of it to read, each time that it is called. Nothing of the original may be
	// touched before the dump has been restored somewhere and found to hold want.
	Overwrite(ctx context.Context, dump func(read func(io.Reader) error) error, want Contents) (Contents, error)
}

// OverwriteReport is what an overwriting restore did.
type OverwriteReport struct {
	RestoreReport
	Safety string // the id of the backup of what was there before, which is pinned
}

// RestoreOver puts a backup in the place of the database that it was taken from. database
// must be that database's name, which the person who asks has to repeat, or the last part
// of its path. The id cannot be left out: after a first attempt the newest backup is the
// one of what was to be overwritten.
//
// What is there is backed up first, read back and pinned; if that fails, nothing is
// touched: restore beside it then, with [Job.Restore]. The backup is restored into a
// second database and compared with its manifest before the original goes. Who uses the
// database loses the connection, and what is written after the safety backup is lost:
// stop the service first.
//
// PostgreSQL: the databases change names in a moment, and settings and grants of the
// database itself (ALTER DATABASE … SET, GRANT … ON DATABASE) are not carried over.
// SQLite: the file is replaced in a moment, and refused while another connection has it
// open. MariaDB and MySQL know no such moment: the database is dropped, created and
// filled from the dump that has just been proven, and if that fails on the way the error
// names the safety backup. The source's *sql.DB loses its idle connections, and keeps the
// number of them that database/sql begins with.
func (j *Job) RestoreOver(ctx context.Context, id, database string) (OverwriteReport, error) {
	overwriter, ok := j.source.(Overwriter)
	if !ok {
		return OverwriteReport{}, errors.New("backup: this source cannot overwrite: restore beside the original")
	}
	original, err := overwriter.Original(ctx)
	if err != nil {
		return OverwriteReport{}, err
	}
	if last := original[strings.LastIndexAny(original, `/\`)+1:]; database != original && database != last {
		return OverwriteReport{}, fmt.Errorf("%w: repeat the name %q, not %q", ErrNotConfirmed, last, database)
	}
	if id == "" {
		return OverwriteReport{}, fmt.Errorf("%w: name the backup", ErrNotConfirmed)
	}
	e, report, err := j.restorable(ctx, id)
	if err != nil {
		return OverwriteReport{RestoreReport: report}, err
	}
	out := OverwriteReport{RestoreReport: report}
	out.Target = original
	if out.Safety, err = j.safetyBackup(ctx); err != nil {
		return out, fmt.Errorf("backup: nothing was overwritten, for what is there could not be backed up; restore beside it instead: %w", err)
	}
	unlock, err := j.lockStorage(ctx)
	if err != nil {
		return out, fmt.Errorf("backup: nothing was overwritten: %w", err)
	}
	defer unlock() //nolint:errcheck // the process's end frees it too
	start := j.now()
	out.Contents, err = overwriter.Overwrite(ctx, func(read func(io.Reader) error) error {
		// Whoever reads decides when to stop: what has been begun may have to be finished.
		reader, end := j.feed(context.WithoutCancel(ctx), e.Manifest)
		err := read(reader)
		if fed := end(); err == nil && fed != nil && !isWriteError(fed) {
			err = fed
		}
		return err
	}, e.Manifest.Contents)
	out.Took = j.now().Sub(start)
	if err != nil {
		return out, fmt.Errorf("backup: restore %s over %s (what was there is in %s): %w", e.ID, original, out.Safety, err)
	}
	return out, nil
}

// ErrNotConfirmed means that an overwriting restore was not given the name of the
// database that it would overwrite.
var ErrNotConfirmed = errors.New("backup: nothing was overwritten")

// safetyBackup backs up what is about to be overwritten, and pins it.
func (j *Job) safetyBackup(ctx context.Context) (id string, err error) {
	safety := *j
	if j.home != nil {
		safety = *j.home
	}
	safety.opts.NoRetention, safety.opts.SkipVerify, safety.opts.Drill, safety.targets = true, false, DrillOptions{Every: -1}, nil
	report, err := safety.Backup(ctx)
	if err != nil && !errors.Is(err, ErrSuspect) { // a damaged database may look like nothing else before it
		return "", err
	}
	return report.Manifest.ID, safety.Pin(ctx, report.Manifest.ID, true)
}
