package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// RestoreReport describes a restore.
type RestoreReport struct {
	ID     string // of the restored backup; "" if it was not found
	Target string // the new database
	// Contents lists the restored tables and other objects, with warnings. It is incomplete
	// after an error.
	Contents driver.Contents
	// Took is the duration of the restore, 0 if it did not start. [Job.Restore] includes the
	// check of the artefact. [Job.RestoreOver] includes neither that check nor the safety
	// backup.
	Took time.Duration
}

// RestoreOptions configure [Job.Restore] and [Job.RestoreOver]. The zero value and nil are
// valid.
type RestoreOptions struct {
	// Tables are the only tables to restore, by their names in the manifest. Default: all
	// tables, with views, triggers, routines and events.
	Tables []string
}

// Restore restores the backup with this id into a new database. An id of "" means the
// newest good backup. If target is "", the source chooses the name. Restore never
// overwrites. It compares the whole artefact with its checksums before it sends the first
// byte to the database. At the end it compares the tables, rows and digests of the new
// database with the manifest. A backup that failed its restore test is restored only by its
// id.
//
// While a restore runs, a marker lies beside the backups. If the process is killed,
// [Job.Check] names the incomplete database until [Job.Settle] is called.
func (j *Job) Restore(ctx context.Context, id, target string, opts *RestoreOptions) (RestoreReport, error) {
	restore := j.source.Abilities().Restore
	if restore == nil {
		return RestoreReport{}, errors.New("backup: this source cannot restore; decode the artefact with its own tools")
	}
	start := j.now()
	e, report, err := j.restorable(ctx, id)
	if err != nil {
		return report, err
	}
	o, err := opts.driver(e.Manifest.Contents)
	if err != nil {
		return report, err
	}
	o.Target = target
	mark := j.newMark(UnfinishedRestore{ID: e.ID, Database: target})
	o.Creates = mark.creates
	reader, fed := j.feed(ctx, e.Manifest)
	report.Target, report.Contents, err = restore(ctx, reader, o)
	if feedErr := fed(); err == nil && feedErr != nil && !isWriteError(feedErr) {
		err = feedErr
	}
	if failed := mark.end(ctx, err); failed != nil {
		report.Contents.Warnings = append(report.Contents.Warnings, strings.TrimPrefix(failed.Error(), "backup: "))
	}
	report.Took = j.now().Sub(start)
	if err != nil {
		return report, fmt.Errorf("backup: restore %s: %w%s", e.ID, err, j.inTheWay(ctx, target))
	}
	if err := o.Want.Compare(report.Contents); err != nil {
		return report, fmt.Errorf("%w: %s was restored as %s, but %w", ErrVerification, e.ID, report.Target, err)
	}
	report.Contents.Warnings = append(report.Contents.Warnings, lacking(o.Want.Skipped)...)
	report.Contents.Warnings = append(report.Contents.Warnings, j.restoredAgain(ctx, report.Target)...)
	return report, nil
}

// driver returns the options for the source. whole describes the complete dump.
func (o *RestoreOptions) driver(whole driver.Contents) (driver.RestoreOptions, error) {
	if o == nil || len(o.Tables) == 0 {
		return driver.RestoreOptions{Want: whole}, nil
	}
	want, err := whole.Only(o.Tables)
	return driver.RestoreOptions{Want: want, Tables: o.Tables}, err
}

// restorable finds a backup and reads it to its end. No byte of a damaged backup reaches a
// database.
func (j *Job) restorable(ctx context.Context, id string) (Entry, RestoreReport, error) {
	e, err := j.Find(ctx, id)
	if err != nil {
		return e, RestoreReport{}, err
	}
	report := RestoreReport{ID: e.ID}
	if err := sameEngine(e.Manifest, j.source); err != nil {
		return e, report, fmt.Errorf("backup: %s cannot be restored: %w", e.ID, err)
	}
	if e.State != Good && e.State != Suspect && !e.unproven {
		return e, report, fmt.Errorf("backup: %s cannot be restored: %s", e.ID, e.Problem)
	}
	if id == "" && e.RestoreTest != nil && !e.RestoreTest.OK {
		return e, report, fmt.Errorf("backup: the newest good backup, %s, did not pass its restore test (%s): name it, or an older one", e.ID, e.RestoreTest.Problem)
	}
	decoded, err := j.readBack(ctx, e.Manifest, nil)
	if err == nil && !decoded {
		err = noIdentity(j.opts.Identities)
	}
	if err != nil {
		if errors.As(err, new(brokenError)) && j.deleted(ctx, e.ID) {
			return e, report, fmt.Errorf("%w: %s was deleted while it was read", ErrNotFound, e.ID)
		}
		if errors.As(err, new(brokenError)) {
			err = fmt.Errorf("%w: %w", ErrVerification, err)
		}
		return e, report, fmt.Errorf("backup: %s was not restored: %w", e.ID, err)
	}
	return e, report, nil
}

// sameEngine rejects the backup of another engine, for which a source has no tools.
func sameEngine(m *Manifest, source driver.Source) error {
	if m == nil || m.Engine == source.Describe().Engine {
		return nil
	}
	return fmt.Errorf("it is a backup of %s, and the source is %s", cmp.Or(m.Engine, "an unknown engine"), cmp.Or(source.Describe().Engine, "an unknown engine"))
}

// feed decodes an artefact into a reader. The returned function stops it after the last
// read, and returns its error.
func (j *Job) feed(ctx context.Context, m *Manifest) (r io.Reader, end func() error) {
	reader, writer := io.Pipe()
	fed := make(chan error, 1)
	to := io.Writer(markedWriter{writer})
	if hook := j.opts.Trace.Progress; hook != nil {
		p := &progress{hook: func(p Progress) { hook(ctx, p) }, now: Progress{ID: m.ID, Expected: m.RawSize}}
		p.stage("restore")
		to = &dumpWriter{ctx, to, p}
	}
	go func() {
		_, err := j.readBack(ctx, m, to)
		writer.CloseWithError(err) // a nil error becomes io.EOF
		fed <- err
	}()
	return reader, func() error {
		_ = reader.Close()
		return <-fed
	}
}

type markedWriter struct{ to io.Writer }

func (w markedWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	if err != nil {
		err = writeError{err}
	}
	return n, err
}
