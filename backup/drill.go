package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// DrillOptions say when and how backups are proven by restoring them.
type DrillOptions struct {
	// Every is how often a run restores the backup that it has made into a scratch
	// database. Negative: never; then only [Job.Drill] does. Default: 7 days, where the
	// source can. A drill that cannot be made is then a warning; one for which Every is
	// set is a failure of the run.
	Every time.Duration
	// Within is how long ago the newest passed restore test may be before [Job.Check] fails,
	// where Every is not negative. Default: 28 days, or four times Every if that is longer.
	Within time.Duration
	// Assertions must hold in the restored database, besides the manifest's tables and
	// rows. Default: nil.
	Assertions []Assertion
	// At is where scratch databases are made, such as a source for another server, whom
	// the load does not harm. Default: the job's own source.
	At driver.Source
}

const defaultDrillEvery = 7 * 24 * time.Hour

// limit returns the largest age of the newest passed restore test, false if tests are off.
func (o *DrillOptions) limit() (time.Duration, bool) {
	if o.At == nil || o.Every < 0 {
		return 0, false
	}
	if o.Within > 0 {
		return o.Within, true
	}
	return max(4*o.Every, 4*defaultDrillEvery), true
}

func (o *DrillOptions) validate(source driver.Source) error {
	if o.Within < 0 {
		return errors.New("backup: Drill.Within is negative")
	}
	for i, a := range o.Assertions {
		switch {
		case a.Name == "":
			return fmt.Errorf("backup: the drill's assertion %d needs a Name", i)
		case (a.Query == "") == (a.Check == nil):
			return fmt.Errorf("backup: the drill's assertion %q needs either a Query or a Check", a.Name)
		}
	}
	if o.At == nil && source.Abilities().Test != nil {
		o.At = source
	}
	if o.At != nil && o.At.Abilities().Test == nil {
		return errors.New("backup: Options.Drill.At cannot restore into a scratch database")
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
	// RestoreMS is the duration of the restore until the database could be queried, which
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
// ErrVerification. Any other error means that the test could not be made, and
// leaves the state of the backup unknown: no right to create a database, no room, no identity.
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
func (j *Job) restoreScratch(ctx context.Context, at driver.Source, m *Manifest, d *Drill) error {
	reader, feed := j.feed(ctx, m)
	in := &startedReader{from: reader}
	start := j.now()
	var failed []string
	err := at.Abilities().Test(ctx, in, driver.RestoreOptions{Want: m.Contents}, func(ctx context.Context, db driver.Queryer, got driver.Contents) error {
		d.RestoreMS = j.now().Sub(start).Milliseconds()
		d.Tables, d.Rows = len(got.Tables), got.Rows()
		if err := m.Compare(got); err != nil {
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
	case err != nil && (!in.started || errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrVerification) || errors.Is(err, driver.ErrLeft) || errors.Is(err, driver.ErrUntested)):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrVerification, err)
	case len(failed) > 0:
		return fmt.Errorf("%w: it does not hold that %s", ErrVerification, strings.Join(failed, ", nor that "))
	}
	return nil
}

// startedReader records whether it was read.
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
		r.report.Restored = true
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
	sweep := r.opts.Drill.At.Abilities().SweepTests
	if sweep == nil {
		return
	}
	dropped, err := sweep(ctx, r.started.Add(-leftoverAge))
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
