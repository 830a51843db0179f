package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// ScratchRestorer is a [Restorer] that can prove a dump by restoring it into a throw-away
// database, a scratch database, whose name tells what it is.
type ScratchRestorer interface {
	Restorer
	// RestoreScratch restores a dump that holds want into a scratch database, hands it
	// to use with what it counted there, and drops it, whatever happens meanwhile. It
	// reads nothing from r until the scratch database is there.
	RestoreScratch(ctx context.Context, r io.Reader, want Contents, use func(ctx context.Context, db Queryer, got Contents) error) error
	// SweepScratch drops the scratch databases that processes left which were killed
	// before the given time, and returns their names. It touches nothing else.
	SweepScratch(ctx context.Context, before time.Time) (dropped []string, err error)
}

// DrillOptions say when and how backups are proven by restoring them.
type DrillOptions struct {
	// Every is how often a run restores the backup that it has made into a scratch
	// database. Negative: never; then only [Job.Drill] does. Default: 7 days, where the
	// source can. A drill that cannot be made is then a warning; one for which Every is
	// set is a failure of the run.
	Every time.Duration
	// Assertions must hold in the restored database, besides the manifest's tables and
	// rows. Default: none.
	Assertions []Assertion
	// At is where scratch databases are made, such as a source for another server, whom
	// the load does not harm. Default: the job's own source.
	At ScratchRestorer
}

const defaultDrillEvery = 7 * 24 * time.Hour

func (o *DrillOptions) validate(source Source) error {
	for i, a := range o.Assertions {
		switch {
		case a.Name == "":
			return fmt.Errorf("backup: the drill's assertion %d needs a Name", i)
		case (a.Query == "") == (a.Check == nil):
			return fmt.Errorf("backup: the drill's assertion %q needs either a Query or a Check", a.Name)
		}
	}
	if o.At == nil {
		o.At, _ = source.(ScratchRestorer)
	}
	if o.At == nil && (o.Every > 0 || len(o.Assertions) > 0) {
		return errors.New("backup: this source cannot restore into a scratch database: leave out Options.Drill, or set Drill.At to one that can")
	}
	return nil
}

// Drill is the outcome of restoring a backup into a scratch database.
type Drill struct {
	Time    time.Time `json:"time"`
	OK      bool      `json:"ok"`
	Problem string    `json:"problem,omitempty"`
	// RestoreMS is how long the restore took until the database could be asked, what
	// it takes to be back after the loss of the database, in milliseconds.
	RestoreMS  int64             `json:"restore_ms"`
	Tables     int               `json:"tables"`
	Rows       int64             `json:"rows"`
	Assertions []AssertionResult `json:"assertions,omitempty"`
}

// Drill verifies a backup, "" the newest good one, as [Job.Verify] does, and then
// restores it into a scratch database, compares its tables and rows with the manifest
// and asks the assertions. The outcome is kept beside the backup.
//
// A backup that does not pass stays, with the outcome, and the error is
// ErrVerification. Any other error means that the drill could not be made and says
// nothing about the backup: no right to create a database, no room, no identity.
func (j *Job) Drill(ctx context.Context, id string) (Verification, error) {
	v, err := j.Verify(ctx, id)
	if err != nil {
		return v, err
	}
	return j.drill(ctx, v)
}

// drill goes on from a verification that was passed.
func (j *Job) drill(ctx context.Context, v Verification) (Verification, error) {
	at := j.opts.Drill.At
	switch {
	case at == nil:
		return v, errors.New("backup: this source cannot restore into a scratch database")
	case !v.Decoded:
		return v, ErrNoIdentity
	}
	e, err := j.Find(ctx, v.ID)
	if err != nil {
		return v, err
	}
	d := Drill{Time: j.now().UTC()}
	err = j.restoreScratch(ctx, at, e.Manifest, &d)
	if err != nil && !errors.Is(err, ErrVerification) {
		return v, fmt.Errorf("backup: %s could not be restored into a scratch database: %w", v.ID, err)
	}
	if d.OK = err == nil; !d.OK {
		d.Problem = strings.TrimPrefix(err.Error(), ErrVerification.Error()+": ")
	}
	v.Drill = &d
	if err := j.keep(context.WithoutCancel(ctx), v); err != nil {
		return v, err
	}
	if !d.OK {
		return v, fmt.Errorf("%w: restoring %s into a scratch database: %s", ErrVerification, v.ID, d.Problem)
	}
	return v, nil
}

// restoreScratch returns ErrVerification if the backup is at fault.
func (j *Job) restoreScratch(ctx context.Context, at ScratchRestorer, m *Manifest, d *Drill) error {
	reader, feed := j.feed(ctx, m)
	in := &startedReader{from: reader}
	start := j.now()
	var failed []string
	err := at.RestoreScratch(ctx, in, m.Contents, func(ctx context.Context, db Queryer, got Contents) error {
		d.RestoreMS = j.now().Sub(start).Milliseconds()
		d.Tables, d.Rows = len(got.Tables), got.Rows()
		if err := sameContents(m.Contents, got); err != nil {
			return fmt.Errorf("%w: %w", ErrVerification, err)
		}
		for _, a := range j.opts.Drill.Assertions {
			r := AssertionResult{Name: a.Name, OK: true}
			if err := a.holds(ctx, db); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				r.OK, r.Problem = false, err.Error()
				failed = append(failed, a.Name)
			}
			d.Assertions = append(d.Assertions, r)
		}
		return nil
	})
	fed := feed()
	broken := errors.As(fed, new(brokenError))
	switch {
	case ctx.Err() != nil:
		return errors.Join(err, ctx.Err())
	case fed != nil && !broken && !isWriteError(fed): // the storage failed between verifying and this
		return fed
	case err == nil && broken:
		return fmt.Errorf("%w: %w", ErrVerification, fed)
	case err != nil && (!in.started || errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrVerification) || errors.As(err, new(scratchLeftError))):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrVerification, err)
	case len(failed) > 0:
		return fmt.Errorf("%w: it does not hold that %s", ErrVerification, strings.Join(failed, ", nor that "))
	}
	return nil
}

// scratchLeftError says that a scratch database could not be dropped, which is nothing
// against the backup.
type scratchLeftError struct{ err error }

func (e scratchLeftError) Error() string {
	return "the scratch database is left behind; the next run drops it when it is a day old: " + e.err.Error()
}
func (e scratchLeftError) Unwrap() error { return e.err }

// startedReader knows whether anything was asked of it.
type startedReader struct {
	from    io.Reader
	started bool
}

func (r *startedReader) Read(p []byte) (int, error) {
	r.started = true
	return r.from.Read(p)
}

// proveByRestore is the part of the stage verify that restores the new backup, where
// that is due.
func (r *run) proveByRestore(ctx context.Context, v Verification) error {
	o := r.opts.Drill
	switch {
	case o.At == nil || o.Every < 0 || !r.drillDue():
		return nil
	case !v.Decoded && o.Every == 0: // this host is not to open it; whoever has the key can
		return nil
	}
	_, err := r.drill(ctx, v)
	switch {
	case err == nil:
		r.report.Drilled = true
		return nil
	case errors.Is(err, ErrVerification) || o.Every > 0 || ctx.Err() != nil:
		return err
	}
	r.warn(ctx, "the backup was not proven by a restore (allow it, or set Options.Drill.Every to -1): "+strings.TrimPrefix(err.Error(), "backup: "))
	return nil
}

// drillDue says whether the last drill that was passed is long enough ago. A run is
// never exactly a day after the one before it.
func (r *run) drillDue() bool {
	every := r.opts.Drill.Every
	if every == 0 {
		every = defaultDrillEvery
	}
	for _, e := range r.before {
		if d := e.Drill; d != nil && d.OK && r.started.Sub(d.Time) < every-every/14 && !d.Time.After(r.started) {
			return false
		}
	}
	return true
}

// sweepScratch drops what drills left that were killed. That it cannot is no failure:
// the next run tries again.
func (r *run) sweepScratch(ctx context.Context) {
	if r.opts.Drill.At == nil || r.opts.Drill.Every < 0 {
		return
	}
	dropped, err := r.opts.Drill.At.SweepScratch(ctx, r.started.Add(-leftoverAge))
	r.report.Swept = append(r.report.Swept, dropped...)
	if err != nil {
		r.warn(ctx, "scratch databases that were left behind could not be looked for: "+strings.TrimPrefix(err.Error(), "backup: "))
	}
}

// warn adds a warning to the report.
func (r *run) warn(ctx context.Context, text string) {
	r.report.Warnings = append(r.report.Warnings, text)
	r.opts.Logger.WarnContext(ctx, "backup: "+text, "job", r.name, "id", r.id)
}

// scratchName is a name for a scratch database of a server: at most 63 bytes.
func scratchName(database string, now time.Time) string {
	return fmt.Sprintf("%s_scratch_%s_%s", scratchPrefix(database), now.UTC().Format(scratchLayout), randomDigits())
}

const scratchLayout = "20060102t150405"

func scratchPrefix(database string) string {
	return strings.ToValidUTF8(database[:min(len(database), 32)], "")
}

var scratchSuffix = regexp.MustCompile(`^_scratch_([0-9]{8}t[0-9]{6})_[0-9a-f]{6}$`)

// staleScratch says whether name is a scratch database of this one, made before a time.
func staleScratch(database, name string, before time.Time) bool {
	prefix := scratchPrefix(database)
	if len(name) < len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) { // some servers fold names
		return false
	}
	found := scratchSuffix.FindStringSubmatch(name[len(prefix):])
	if found == nil {
		return false
	}
	made, err := time.Parse(scratchLayout, found[1])
	return err == nil && made.Before(before)
}
