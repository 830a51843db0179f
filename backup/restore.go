package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// RestoreReport is what a restore did.
type RestoreReport struct {
	ID       string
	Target   string // the new database
	Contents Contents
	Took     time.Duration
}

// Restore reads a backup, "" the newest good one, into a new database; target "" lets
// the source choose its name. It never overwrites. The whole artefact is compared with
// its checksums before the first byte goes to the database, and the new database's
// tables and rows with the manifest after the last. A backup that did not pass its drill
// must be named.
func (j *Job) Restore(ctx context.Context, id, target string) (RestoreReport, error) {
	restorer, ok := j.source.(Restorer)
	if !ok {
		return RestoreReport{}, errors.New("backup: this source cannot restore; decode the artefact with its own tools")
	}
	start := j.now()
	e, report, err := j.restorable(ctx, id)
	if err != nil {
		return report, err
	}
	reader, fed := j.feed(ctx, e.Manifest)
	report.Target, report.Contents, err = restorer.Restore(ctx, reader, target)
	if feedErr := fed(); err == nil && feedErr != nil && !isWriteError(feedErr) {
		err = feedErr
	}
	report.Took = j.now().Sub(start)
	if err != nil {
		return report, fmt.Errorf("backup: restore %s: %w", e.ID, err)
	}
	if err := sameContents(e.Manifest.Contents, report.Contents); err != nil {
		return report, fmt.Errorf("%w: %s was restored as %s, but %w", ErrVerification, e.ID, report.Target, err)
	}
	return report, nil
}

// restorable finds a backup and reads it to its end: not a byte of one that is damaged
// goes into a database.
func (j *Job) restorable(ctx context.Context, id string) (Entry, RestoreReport, error) {
	e, err := j.Find(ctx, id)
	if err != nil {
		return e, RestoreReport{}, err
	}
	report := RestoreReport{ID: e.ID}
	if e.State != Good && e.State != Suspect {
		return e, report, fmt.Errorf("backup: %s cannot be restored: %s", e.ID, e.Problem)
	}
	if id == "" && e.Drill != nil && !e.Drill.OK {
		return e, report, fmt.Errorf("backup: the newest good backup, %s, did not pass its drill (%s): name it, or an older one", e.ID, e.Drill.Problem)
	}
	decoded, err := j.readBack(ctx, e.Manifest, nil)
	if err == nil && !decoded {
		err = ErrNoIdentity
	}
	if err != nil {
		if errors.As(err, new(brokenError)) {
			err = fmt.Errorf("%w: %w", ErrVerification, err)
		}
		return e, report, fmt.Errorf("backup: %s was not restored: %w", e.ID, err)
	}
	return e, report, nil
}

// feed decodes an artefact into a reader, and returns a function that ends it when nobody
// reads any more and says how it went.
func (j *Job) feed(ctx context.Context, m *Manifest) (r io.Reader, end func() error) {
	reader, writer := io.Pipe()
	fed := make(chan error, 1)
	go func() {
		_, err := j.readBack(ctx, m, markedWriter{writer})
		writer.CloseWithError(err) // nil is the end of the file
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

// sameContents compares tables and rows.
func sameContents(want, got Contents) error {
	rows := make(map[string]int64, len(got.Tables))
	for _, t := range got.Tables {
		rows[t.Name] = t.Rows
	}
	for _, t := range want.Tables {
		n, ok := rows[t.Name]
		if !ok {
			return fmt.Errorf("the table %s is missing", t.Name)
		}
		if n != t.Rows {
			return fmt.Errorf("the table %s has %d rows instead of %d", t.Name, n, t.Rows)
		}
	}
	if len(got.Tables) != len(want.Tables) {
		return fmt.Errorf("it has %d tables instead of %d", len(got.Tables), len(want.Tables))
	}
	return nil
}
