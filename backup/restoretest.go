package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// RestoreTestOptions say when and how to test backups by restoring them.
type RestoreTestOptions struct {
	// Every is the time between restore tests. A run restores the backup that it made into
	// a scratch database, if the last passed test is older than Every. If Every is
	// negative, only [Job.TestRestore] runs a restore test. Default: 7 days, if the source can
	// restore into a scratch database. A test that cannot be made is a warning by default,
	// and a failure of the run if Every is set.
	Every time.Duration
	// Within is the maximum age of the newest passed restore test. [Job.Check] fails if it
	// is older, unless Every is negative. Default: 28 days, or four times Every if that is
	// longer.
	Within time.Duration
	// Assertions must hold in the restored database, in addition to the tables and rows of
	// the manifest. Default: nil.
	Assertions []Assertion
	// At creates the scratch databases. Use a source for another server to keep the load
	// away from the production server. Default: the job's own source.
	At driver.Source
}

const defaultRestoreTestEvery = 7 * 24 * time.Hour

// limit returns the maximum age of the newest passed restore test, false if tests are off.
func (o *RestoreTestOptions) limit() (time.Duration, bool) {
	if o.At == nil || o.Every < 0 {
		return 0, false
	}
	if o.Within > 0 {
		return o.Within, true
	}
	return 4 * min(max(o.Every, defaultRestoreTestEvery), math.MaxInt64/4), true
}

func (o *RestoreTestOptions) validate(source driver.Source) error {
	if o.Within < 0 {
		return errors.New("backup: RestoreTest.Within is negative")
	}
	for i, a := range o.Assertions {
		switch {
		case a.Name == "":
			return fmt.Errorf("backup: the restore test's assertion %d needs a Name", i)
		case (a.Query == "") == (a.Check == nil):
			return fmt.Errorf("backup: the restore test's assertion %q needs either a Query or a Check", a.Name)
		}
	}
	if o.At == nil && source.Abilities().Test != nil {
		o.At = source
	}
	if o.At != nil && o.At.Abilities().Test == nil {
		return errors.New("backup: Options.RestoreTest.At cannot restore into a scratch database")
	}
	if o.At == nil && (o.Every > 0 || len(o.Assertions) > 0) {
		return errors.New("backup: this source cannot restore into a scratch database: leave out Options.RestoreTest, or set RestoreTest.At to one that can")
	}
	return nil
}

// RestoreTest is the outcome of a restore test: a restore into a scratch database.
type RestoreTest struct {
	Time    time.Time `json:"time"`              // start of the restore, in UTC
	OK      bool      `json:"ok"`                // the backup passed
	Problem string    `json:"problem,omitempty"` // why it did not pass; "" if OK
	// RestoreMS is the time until the restored database could be queried, in milliseconds.
	// Recovery after the loss of the database takes as long.
	RestoreMS  int64             `json:"restore_ms"`
	Tables     int               `json:"tables"`               // in the restored database; 0 if the restore failed
	Rows       int64             `json:"rows"`                 // in all restored tables; 0 if the restore failed
	Assertions []AssertionResult `json:"assertions,omitempty"` // in the order of the options; nil if the test failed before
}

// TestRestore runs a restore test. It verifies the backup with this id as [Job.Verify] does, and
// restores it into a scratch database. Then it compares the tables and rows with the
// manifest, and checks the assertions. "" means the newest good backup. The outcome is
// stored beside the backup.
//
// A backup that does not pass is kept, together with the outcome, and the error is
// ErrVerification. Any other error means that the test could not be made. The state of the
// backup is then unknown. Causes are a missing right to create a database, a full disk, or
// a missing identity.
func (j *Job) TestRestore(ctx context.Context, id string) (Verification, error) {
	v, err := j.examine(ctx, id)
	switch {
	case err != nil && (v.OK || v.ID == ""):
		return v, err
	case err != nil:
		return v, j.outcome(ctx, v.ID, err, func() error { return j.keep(ctx, v) })
	}
	unrecorded := j.keep(ctx, v) // the test takes longer; the storage may be read-only
	v, err = j.restoreAndCompare(ctx, v)
	if err != nil && unrecorded != nil && !errors.Is(err, unrecorded) {
		err = fmt.Errorf("%w; and the verification before could not be recorded: %w", err, unrecorded)
	}
	return v, err
}

// restoreAndCompare runs the rest of the restore test after a passed verification.
func (j *Job) restoreAndCompare(ctx context.Context, v Verification) (Verification, error) {
	at := j.opts.RestoreTest.At
	switch {
	case at == nil:
		return v, errors.New("backup: this source cannot restore into a scratch database")
	case !v.Decoded:
		return v, noIdentity(j.opts.Identities)
	}
	e, err := j.Find(ctx, v.ID)
	if err != nil {
		return v, err
	}
	if err := sameEngine(e.Manifest, at); err != nil {
		return v, fmt.Errorf("backup: %s: %w: %w", v.ID, driver.ErrUntested, err)
	}
	d := RestoreTest{Time: j.now().UTC()}
	err = j.restoreScratch(ctx, at, e.Manifest, &d)
	if err != nil && !errors.Is(err, ErrVerification) {
		if errors.Is(err, driver.ErrLeft) {
			err = fmt.Errorf("%w (a run drops it when it is a day old)", err)
		}
		return v, fmt.Errorf("backup: %s could not be restored into a scratch database: %w", v.ID, err)
	}
	if d.OK = err == nil; !d.OK {
		d.Problem = strings.TrimPrefix(err.Error(), ErrVerification.Error()+": ")
	}
	v.RestoreTest = &d
	if err != nil {
		err = fmt.Errorf("%w: restoring %s into a scratch database: %s", ErrVerification, v.ID, d.Problem)
	}
	ctx = context.WithoutCancel(ctx)
	return v, j.outcome(ctx, v.ID, err, func() error { return j.writeSealed(ctx, v.ID+testSuffix, d) })
}

// restoreScratch returns ErrVerification if the backup is the cause of the failure.
func (j *Job) restoreScratch(ctx context.Context, at driver.Source, m *Manifest, d *RestoreTest) error {
	reader, feed := j.feed(ctx, m)
	in := &startedReader{from: reader}
	start := j.now()
	var failed []string
	var asked assertionErrors
	err := at.Abilities().Test(ctx, in, driver.RestoreOptions{Want: m.Contents}, func(ctx context.Context, db driver.Queryer, got driver.Contents) error {
		d.RestoreMS = j.now().Sub(start).Milliseconds()
		d.Tables, d.Rows = len(got.Tables), got.Rows()
		if err := m.Compare(got); err != nil {
			return fmt.Errorf("%w: %w", ErrVerification, err)
		}
		for _, a := range j.opts.RestoreTest.Assertions {
			r := AssertionResult{Name: a.Name, OK: true}
			if err := a.holds(ctx, db); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				r.OK, r.Problem = false, err.Error()
				failed, asked = append(failed, a.Name), append(asked, err)
			}
			d.Assertions = append(d.Assertions, r)
		}
		if len(asked) > 0 {
			return asked // a source marks the errors of a server that is full or going down
		}
		return nil
	})
	fed := feed()
	broken := errors.As(fed, new(brokenError))
	switch {
	case ctx.Err() != nil:
		return errors.Join(err, ctx.Err())
	case fed != nil && !broken && !isWriteError(fed): // the storage failed after the verification
		return fed
	case err == nil && broken:
		return fmt.Errorf("%w: %w", ErrVerification, fed)
	case err != nil && (!in.started || errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrVerification) || errors.Is(err, driver.ErrLeft) || errors.Is(err, driver.ErrUntested)):
		return err
	case err != nil && !errors.As(err, new(assertionErrors)):
		return fmt.Errorf("%w: %w", ErrVerification, err)
	case len(failed) > 0:
		return fmt.Errorf("%w: it does not hold that %s", ErrVerification, strings.Join(failed, ", nor that "))
	}
	return nil
}

// assertionErrors are the errors of the assertions that do not hold.
type assertionErrors []error

func (e assertionErrors) Error() string   { return "assertions: " + errors.Join(e...).Error() }
func (e assertionErrors) Unwrap() []error { return e }

// startedReader records whether a read has started.
type startedReader struct {
	from    io.Reader
	started bool
}

func (r *startedReader) Read(p []byte) (int, error) {
	r.started = true
	return r.from.Read(p)
}

// proveByRestore is the part of the verify stage that restores the new backup, if a restore
// test is due.
func (r *run) proveByRestore(ctx context.Context, v Verification) error {
	o := r.opts.RestoreTest
	switch {
	case o.At == nil || o.Every < 0 || !r.restoreTestDue():
		return nil
	case !v.Decoded && o.Every == 0: // by design, this host cannot open it; the holder of the key can
		return nil
	}
	_, err := r.restoreAndCompare(ctx, v)
	switch {
	case err == nil:
		r.report.Restored = true
		return nil
	case errors.Is(err, ErrVerification) || o.Every > 0 || ctx.Err() != nil:
		return err
	}
	r.warn(ctx, "the backup was not proven by a restore (allow it, or set Options.RestoreTest.Every to -1): "+strings.TrimPrefix(err.Error(), "backup: "))
	return nil
}

// restoreTestDue reports whether the last passed restore test is old enough. It allows for runs
// that are not exactly a day apart.
func (r *run) restoreTestDue() bool {
	every := r.opts.RestoreTest.Every
	if every == 0 {
		every = defaultRestoreTestEvery
	}
	for _, e := range r.before {
		if d := e.RestoreTest; d != nil && d.OK && r.started.Sub(d.Time) < every-every/14 && !d.Time.After(r.started) {
			return false
		}
	}
	return true
}

// sweepScratch drops the scratch databases of killed restore tests. Its failure is no
// failure of the run, because the next run tries again.
func (r *run) sweepScratch(ctx context.Context) {
	if r.opts.RestoreTest.At == nil {
		return
	}
	sweep := r.opts.RestoreTest.At.Abilities().SweepTests
	if sweep == nil {
		return
	}
	dropped, err := sweep(ctx, r.started.Add(-leftoverAge))
	r.report.Swept = append(r.report.Swept, dropped...)
	if err != nil {
		r.warn(ctx, "scratch databases that were left behind could not be looked for: "+strings.TrimPrefix(err.Error(), "backup: "))
	}
}

// Assertion is a condition that a restored database must meet.
type Assertion struct {
	// Name describes the assertion in reports: "every sale has a line".
	Name string
	// Query returns one row of one value, which must be true or a number other than 0.
	Query string
	// Check replaces Query, if it is set. Its error is the reason for the failure. The
	// error is stored beside the backup, so it must contain no secret.
	Check func(ctx context.Context, db driver.Queryer) error
}

// AssertionResult is the outcome of an [Assertion].
type AssertionResult struct {
	Name    string `json:"name"`              // as in Assertion.Name
	OK      bool   `json:"ok"`                // the assertion holds
	Problem string `json:"problem,omitempty"` // why it does not hold; "" if OK
}

// holds returns the reason why an assertion does not hold, or nil.
func (a *Assertion) holds(ctx context.Context, db driver.Queryer) error {
	if a.Check != nil {
		return a.Check(ctx, db)
	}
	rows, err := db.QueryContext(ctx, a.Query)
	if err != nil {
		return fmt.Errorf("its query failed: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return fmt.Errorf("its query failed: %w", err)
		}
		return errors.New("its query returned no row")
	}
	var value any
	if err := rows.Scan(&value); err != nil {
		return fmt.Errorf("its query must return a single value: %w", err)
	}
	if rows.Next() {
		return errors.New("its query returned more than one row")
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("its query failed: %w", err)
	}
	if b, ok := value.([]byte); ok {
		value = string(b)
	}
	switch v := value.(type) {
	case bool:
		if v {
			return nil
		}
	case string:
		if n, err := strconv.ParseFloat(v, 64); err == nil && n != 0 || v == "t" || v == "true" {
			return nil
		}
	case int64:
		if v != 0 {
			return nil
		}
	case float64:
		if v != 0 {
			return nil
		}
	default:
		return fmt.Errorf("its query returned neither a truth value nor a number but %T", value)
	}
	return fmt.Errorf("its query returned %v", value)
}
