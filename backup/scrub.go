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

// readEvery is the maximum time between two reads of a stored copy.
const readEvery = 30 * 24 * time.Hour

// scrub is the stage that reads a share of the older copies again.
func (r *run) scrub(ctx context.Context) error {
	if r.opts.SkipVerify {
		return nil
	}
	read, err := r.scrubShare(ctx, r.before, r.started)
	r.report.Reread = read
	return err
}

// scrubShare reads the copies that are due and compares them with their checksums. It marks
// a damaged copy as damaged. The error is ErrDamaged if a copy was damaged, and otherwise
// the error of the storage.
func (j *Job) scrubShare(ctx context.Context, entries []Entry, now time.Time) (read []string, err error) {
	var damaged []string
	var errs []error
	for _, e := range unreadLongest(entries, now) {
		v := Verification{ID: e.ID, Time: j.now().UTC(), OK: true, Drill: e.Drill}
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
		if e.Manifest != nil && e.State != Damaged {
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
// refuses to remove a pinned backup and the newest good one.
func (j *Job) Delete(ctx context.Context, id string) error {
	e, err := j.Find(ctx, id)
	if err != nil {
		return err
	}
	good, err := j.Find(ctx, "")
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	switch {
	case id == "":
		return fmt.Errorf("%w: name the backup to delete", ErrNotFound)
	case e.Pinned:
		return fmt.Errorf("backup: %s is pinned: unpin it first", id)
	case good.ID == id:
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
