package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"
)

// Verification is the result of reading a backup back.
type Verification struct {
	ID   string    `json:"id"`   // of the backup
	Time time.Time `json:"time"` // start of the verification, in UTC
	// OK is false if damage was found. It is true if the backup could not be read, and if
	// only the restore test failed.
	OK      bool   `json:"ok"`
	Decoded bool   `json:"decoded"`           // false: only the stored bytes were compared, for example of an encrypted backup
	Problem string `json:"problem,omitempty"` // the damage; "" if OK
	TookMS  int64  `json:"took_ms"`           // duration of the reading, in milliseconds; 0 if it was not measured
	// RestoreTest is the outcome of the latest restore test. It is nil if there was none. It
	// stays if the backup is only read back later.
	RestoreTest *RestoreTest `json:"drill,omitempty"`
}

// ErrVerification means that a backup differs from its dump.
var ErrVerification = errors.New("backup: verification failed")

// Verify reads the backup with this id to its end. It compares the checksums of the stored
// bytes and of the decoded bytes. An id of "" means the newest good backup. The result is
// stored beside the backup. A failed verification makes the backup damaged.
func (j *Job) Verify(ctx context.Context, id string) (Verification, error) {
	v, found := j.examine(ctx, id)
	if found != nil && (v.OK || v.ID == "") { // nothing was found out
		return v, found
	}
	return v, j.outcome(ctx, v.ID, found, func() error { return j.keep(ctx, v) })
}

// examine is Verify without storing the result.
func (j *Job) examine(ctx context.Context, id string) (Verification, error) {
	e, err := j.Find(ctx, id)
	if err != nil {
		return Verification{}, err
	}
	start := j.now()
	v := Verification{ID: e.ID, Time: start.UTC(), OK: true, RestoreTest: e.RestoreTest}
	switch e.Manifest {
	case nil:
		return v, fmt.Errorf("%w: %s: %s", ErrVerification, e.ID, e.Problem)
	default:
		v.Decoded, err = j.readBack(ctx, e.Manifest, nil)
	}
	var broken brokenError
	if err != nil && !errors.As(err, &broken) {
		return v, fmt.Errorf("backup: %s could not be read: %w", e.ID, err)
	}
	v.TookMS = j.now().Sub(start).Milliseconds()
	if err != nil {
		v.OK, v.Problem = false, broken.Error()
		return v, fmt.Errorf("%w: %s: %s", ErrVerification, e.ID, v.Problem)
	}
	return v, nil
}

// outcome stores the result of a verification with record, and returns found, the damage that
// it found. The disk may be full or read-only. That hides no damage, and accuses no backup.
func (j *Job) outcome(ctx context.Context, id string, found error, record func() error) error {
	if found != nil && j.deleted(ctx, id) {
		return fmt.Errorf("%w: %s was deleted while it was read", ErrNotFound, id)
	}
	err := record()
	switch {
	case err == nil:
		return found
	case found == nil:
		return fmt.Errorf("backup: %s is good, but that could not be recorded: %w", id, err)
	}
	return fmt.Errorf("%w; and that could not be recorded: %w", found, err)
}

// deleted reports whether a backup that was listed is gone.
func (j *Job) deleted(ctx context.Context, id string) bool {
	_, err := j.readFile(ctx, id+manifestSuffix)
	return errors.Is(err, ErrNotFound)
}

// brokenError means that an artefact was read and has the wrong content.
type brokenError struct{ why string }

func (e brokenError) Error() string { return e.why }

// sourceReader separates failures of the storage from errors in the stored data.
type sourceReader struct {
	from io.Reader
	ctx  context.Context
	err  error
}

func (r *sourceReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		r.err = err
		return 0, err
	}
	n, err := r.from.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// writeError marks a failure of the writer of the decoded bytes.
type writeError struct{ err error }

func (e writeError) Error() string { return e.err.Error() }
func (e writeError) Unwrap() error { return e.err }

func (j *Job) readVerification(ctx context.Context, id string) (v Verification, err error) {
	return v, j.readSealed(ctx, id+verifySuffix, &v)
}

// keep stores the result of a verification, unless a later one is stored. The result of a
// restore test has its own file.
func (j *Job) keep(ctx context.Context, v Verification) error {
	v.RestoreTest = nil
	if old, err := j.readVerification(ctx, v.ID); err == nil && old.Time.After(v.Time) && !old.Time.After(j.now()) {
		return nil
	}
	return j.writeSealed(ctx, v.ID+verifySuffix, v)
}

// readEvery is the maximum time between two reads of a stored copy.
const readEvery = 30 * 24 * time.Hour

// scrub is the stage that reads a share of the older copies again.
func (r *run) scrub(ctx context.Context) error {
	if r.safety {
		return nil
	}
	if r.opts.SkipVerify {
		return unreadable(r.before)
	}
	read, err := r.scrubShare(ctx, r.before, r.started)
	r.report.Reread = read
	return err
}

// unreadable returns an error that names the backups whose manifests are damaged.
func unreadable(entries []Entry) error {
	var damaged []string
	var errs []error
	for _, e := range entries {
		switch {
		case e.State != Unknown || e.newer:
		case e.unread != nil:
			errs = append(errs, fmt.Errorf("the manifest of %s cannot be read: %w", e.ID, e.unread))
		default:
			damaged = append(damaged, e.ID+": "+strings.TrimPrefix(e.Problem, "backup: "))
		}
	}
	if len(damaged) > 0 {
		errs = append(errs, fmt.Errorf("%w: %s", ErrDamaged, strings.Join(damaged, "; ")))
	}
	return errors.Join(errs...)
}

// scrubShare reads the copies that are due and compares them with their checksums. It marks
// a damaged copy as damaged. The error is ErrDamaged if a copy or a manifest was damaged, and
// otherwise the error of the storage.
func (j *Job) scrubShare(ctx context.Context, entries []Entry, now time.Time) (read []string, err error) {
	var damaged []string
	var errs []error
	if err := unreadable(entries); err != nil {
		errs = append(errs, err)
	}
	for _, e := range unreadLongest(entries, now) {
		v := Verification{ID: e.ID, Time: j.now().UTC(), OK: true}
		if old, err := j.readVerification(ctx, e.ID); err == nil {
			v.Decoded = old.Decoded
		}
		start := time.Now()
		err := j.readStored(ctx, e.Manifest)
		var broken brokenError
		switch {
		case errors.As(err, &broken):
			v.OK, v.Problem = false, broken.Error()
			damaged = append(damaged, e.ID+": "+v.Problem)
		case ctx.Err() != nil:
			return read, ctx.Err()
		case err != nil:
			errs = append(errs, fmt.Errorf("%s could not be read again: %w", e.ID, err))
			continue
		}
		v.TookMS = time.Since(start).Milliseconds()
		if err := j.keep(ctx, v); err != nil {
			errs = append(errs, err)
			continue
		}
		read = append(read, e.ID)
	}
	if len(damaged) > 0 {
		errs = append([]error{fmt.Errorf("%w: %s", ErrDamaged, strings.Join(damaged, "; "))}, errs...)
	}
	return read, errors.Join(errs...)
}

// readStored compares the stored bytes of an artefact with the manifest. It needs no
// identity.
func (j *Job) readStored(ctx context.Context, m *Manifest) error {
	file, err := j.storage.Open(ctx, m.File)
	if errors.Is(err, ErrNotFound) {
		return brokenError{"the artefact is missing"}
	}
	if err != nil {
		return err
	}
	defer file.Close()
	sum := newMeasured()
	if _, err := io.Copy(&sum, &sourceReader{from: file, ctx: ctx}); err != nil {
		return err
	}
	if sum.n != m.Size || sum.hex() != m.SHA256 {
		return brokenError{"its checksum is wrong: the file was changed or damaged"}
	}
	return nil
}

// Delete removes one backup, for example a damaged one or one from a wrong clock. It
// refuses to remove a pinned backup and the newest good one that is not from the future.
func (j *Job) Delete(ctx context.Context, id string) error {
	e, err := j.Find(ctx, id)
	if err != nil {
		return err
	}
	entries, err := j.List(ctx)
	if err != nil {
		return err
	}
	good := newest(entries, func(e Entry) bool { return e.usable() && !e.Time().After(j.now()) })
	if good == nil {
		good = newest(entries, Entry.good)
	}
	switch {
	case id == "":
		return fmt.Errorf("%w: name the backup to delete", ErrNotFound)
	case e.Pinned:
		return fmt.Errorf("backup: %s is pinned: unpin it first", id)
	case good != nil && good.ID == id:
		return fmt.Errorf("backup: %s is the newest good backup: take another one first", id)
	}
	unlock, err := j.lockStorage(ctx)
	if err != nil {
		return err
	}
	defer unlock() //nolint:errcheck // the end of the process also frees the lock
	objects, err := j.storage.List(ctx)
	if err != nil {
		return err
	}
	if err := j.storage.Remove(ctx, id+manifestSuffix); err != nil {
		return err
	}
	var errs []error
	for _, o := range objects {
		if stem(j.name, o.Name) == id {
			errs = append(errs, j.storage.Remove(ctx, o.Name))
		}
	}
	return errors.Join(errs...)
}

func (r *run) verify(ctx context.Context) error {
	if r.opts.SkipVerify {
		return nil
	}
	v, err := r.Verify(ctx, r.id)
	if err != nil {
		return err
	}
	r.report.Verified = true
	if !v.Decoded && len(r.opts.Identities) > 0 {
		r.warn(ctx, "the given identity does not open the new backup, which was compared with its checksum only")
	}
	return r.proveByRestore(ctx, v)
}

// unreadLongest returns the copies that are due, the longest unread first. It returns as
// many as are needed to read all copies within readEvery at the current interval of runs.
// It returns at least one, and every copy that would be overdue before the run after the
// next.
func unreadLongest(entries []Entry, now time.Time) []Entry {
	var all []Entry
	var last time.Time // the previous run
	for _, e := range entries {
		if e.Time().After(last) && !e.Time().After(now) {
			last = e.Time()
		}
		if e.Manifest != nil && (e.State != Damaged || e.unproven) {
			if e.Verified.After(now) { // by a clock that was wrong
				e.Verified = time.Time{}
			}
			all = append(all, e)
		}
	}
	if len(all) == 0 {
		return nil
	}
	sort.SliceStable(all, func(a, b int) bool {
		if !all[a].Verified.Equal(all[b].Verified) {
			return all[a].Verified.Before(all[b].Verified)
		}
		return all[a].Time().Before(all[b].Time())
	})
	gap := min(max(0, now.Sub(last)), readEvery)
	share := int(float64(len(all))*float64(gap)/float64(readEvery)) + 1
	overdue := now.Add(2*gap - readEvery)
	n := 0
	for n < len(all) && (n < share || all[n].Verified.Before(overdue)) {
		n++
	}
	return all[:n]
}
