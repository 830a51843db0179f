package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
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
// a new database. Then the backup is restored into a second database and compared with its
// manifest before the original is replaced. Sessions lose their connection, and writes
// after the safety backup are lost. Stop the service first.
//
// Immediately before the change, RestoreOver writes a marker beside the backups. It removes
// the marker when the restore has ended. If the process is killed between the two,
// [Job.Check] fails until a restore over the same database succeeds, or until [Job.Settle]
// is called.
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
	defer unlock() //nolint:errcheck // the end of the process also frees the lock
	start := j.now()
	o, err := opts.driver(e.Manifest.Contents)
	if err != nil {
		return out, err
	}
	o.Touch = func(ctx context.Context) error { return j.markHalfway(ctx, original, e.ID, out.Safety) }
	reader, end := j.feed(ctx, e.Manifest)
	out.Contents, err = able.Overwrite(ctx, reader, o)
	if fed := end(); err == nil && fed != nil && !isWriteError(fed) {
		err = fed
	}
	if !errors.Is(err, driver.ErrHalfway) {
		err = errors.Join(err, j.clearHalfway(context.WithoutCancel(ctx)))
	}
	out.Took = j.now().Sub(start)
	if err != nil {
		return out, fmt.Errorf("backup: restore %s over %s (what was there is in %s): %w", e.ID, original, out.Safety, err)
	}
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
	safety.opts.NoRetention, safety.opts.SkipVerify, safety.opts.Drill, safety.targets = true, false, DrillOptions{Every: -1}, nil
	report, err := safety.Backup(ctx)
	if err != nil && !errors.Is(err, ErrSuspect) { // a damaged database may be unlike all earlier backups
		return "", err
	}
	return report.Manifest.ID, safety.Pin(ctx, report.Manifest.ID, true)
}

// halfwayFile is the marker of an overwriting restore that has not ended.
const halfwayFile = "restoring.json"

// Halfway is an overwriting restore that has changed its database and has not ended.
type Halfway struct {
	Time     time.Time `json:"time"`
	Database string    `json:"database"`
	ID       string    `json:"id"`     // the backup that was being restored
	Safety   string    `json:"safety"` // the backup of the previous state
}

func (j *Job) markHalfway(ctx context.Context, database, id, safety string) error {
	data, err := json.Marshal(Halfway{Time: j.now().UTC(), Database: database, ID: id, Safety: safety})
	if err != nil {
		return err
	}
	if err := j.atHome().replaceFile(ctx, halfwayFile, append(data, '\n')); err != nil {
		return fmt.Errorf("backup: mark the restore as begun: %w", err)
	}
	return nil
}

func (j *Job) clearHalfway(ctx context.Context) error {
	if err := j.atHome().storage.Remove(ctx, halfwayFile); err != nil {
		return fmt.Errorf("backup: remove the marker of the restore: %w", err)
	}
	return nil
}

// atHome returns the job for its own storage.
func (j *Job) atHome() *Job {
	if j.home != nil {
		return j.home
	}
	return j
}

// halfway returns the overwriting restore that has not ended, or nil.
func (j *Job) halfway(ctx context.Context) (*Halfway, error) {
	data, err := j.atHome().readFile(ctx, halfwayFile)
	if errors.Is(err, ErrNotFound) {
		return nil, nil //nolint:nilnil // absence is a valid result
	}
	if err != nil {
		return nil, err
	}
	h := Halfway{Database: "unknown"}
	_ = json.Unmarshal(data, &h) // an unreadable marker still is a marker
	return &h, nil
}

// Settle removes the marker of an overwriting restore that was interrupted, after an
// operator has checked the database.
func (j *Job) Settle(ctx context.Context) error { return j.clearHalfway(ctx) }
