package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// OverwriteReport describes an overwriting restore.
type OverwriteReport struct {
	RestoreReport
	Safety string // the id of the backup of the previous state, which is pinned
}

// RestoreOver replaces the database that a backup was taken from. database confirms this:
// it must be the name of that database, or the last part of its path. id is required. After
// a first attempt, the newest backup holds the state that was to be overwritten.
//
// RestoreOver first backs up the present state, reads that backup back and pins it. If that
// fails, the original stays unchanged. In that case use [Job.Restore], which restores into
// a new database. That run reads no older copies. During the exchange, RestoreOver holds the
// locks of a run. Then the backup is restored into a second database and compared with its
// manifest before the original is replaced. Sessions lose their connection, and writes
// after the safety backup are lost. Stop the service first.
//
// RestoreOver writes a marker beside the backups before it creates the second database, and
// removes the marker when the restore has ended. If the process is killed between the two,
// [Job.Check] fails until a restore over the same database succeeds, or until [Job.Settle]
// is called. A restore that succeeds also removes the databases that earlier interrupted
// ones have left.
//
// With [RestoreOptions.Tables], only these tables are replaced, if the source can do that.
func (j *Job) RestoreOver(ctx context.Context, id, database string, opts *RestoreOptions) (OverwriteReport, error) {
	able := j.source.Abilities()
	if able.Overwrite == nil {
		return OverwriteReport{}, errors.New("backup: this source cannot overwrite: restore beside the original")
	}
	original, err := able.Original(ctx)
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
		return OverwriteReport{RestoreReport: report}, fmt.Errorf("backup: nothing was overwritten: %w", err)
	}
	out := OverwriteReport{RestoreReport: report}
	out.Target = original
	if out.Safety, err = j.safetyBackup(ctx); err != nil {
		return out, fmt.Errorf("backup: nothing was overwritten, for what is there could not be backed up; restore beside it instead: %w", err)
	}
	held, err := j.atHome().lock(ctx)
	if err != nil {
		return out, fmt.Errorf("backup: nothing was overwritten: %w", err)
	}
	defer held.release(ctx, j)
	if j.home != nil {
		unlock, err := j.lockStorage(ctx)
		if err != nil {
			return out, fmt.Errorf("backup: nothing was overwritten: %w", err)
		}
		defer unlock() //nolint:errcheck // the end of the process also frees the lock
	}
	start := j.now()
	o, err := opts.driver(e.Manifest.Contents)
	if err != nil {
		return out, err
	}
	_ = j.superseded(ctx, original, false) // tried again at the end
	before := out.Safety
	if u := j.changedBefore(ctx); u != nil && u.Database == original && u.Safety != "" {
		before = u.Safety // the new one holds what the interrupted restore left
	}
	mark := j.newMark(UnfinishedRestore{ID: e.ID, Database: original, Over: true, Safety: before})
	o.Touch, o.Creates = mark.touch, mark.creates
	reader, end := j.feed(ctx, e.Manifest)
	out.Contents, err = able.Overwrite(ctx, reader, o)
	if fed := end(); err == nil && fed != nil && !isWriteError(fed) {
		err = fed
	}
	err = errors.Join(err, mark.end(ctx, err))
	out.Took = j.now().Sub(start)
	if err != nil {
		return out, fmt.Errorf("backup: restore %s over %s (what was there is in %s): %w", e.ID, original, out.Safety, err)
	}
	out.Contents.Warnings = append(out.Contents.Warnings, lacking(o.Want.Skipped)...)
	out.Contents.Warnings = append(out.Contents.Warnings, j.superseded(ctx, original, true)...)
	return out, nil
}

// ErrNotConfirmed means that the caller did not pass the name of the database that an
// overwriting restore would replace.
var ErrNotConfirmed = errors.New("backup: nothing was overwritten")

// safetyBackup backs up the present state and pins the backup.
func (j *Job) safetyBackup(ctx context.Context) (id string, err error) {
	safety := *j
	if j.home != nil {
		safety = *j.home
	}
	safety.safety = true
	safety.opts.NoRetention, safety.opts.SkipVerify, safety.opts.RestoreTest, safety.targets = true, false, RestoreTestOptions{Every: -1}, nil
	report, err := safety.Backup(ctx)
	if err != nil && !errors.Is(err, ErrSuspect) { // a damaged database may be unlike all earlier backups
		return "", err
	}
	return report.Manifest.ID, safety.Pin(ctx, report.Manifest.ID, true)
}
