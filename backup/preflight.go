package backup

import (
	"context"
	"fmt"
	"time"
)

// Preflight reports whether a run would fail before its dump: it takes the locks, writes a
// file and removes it, and asks the source and the disk. It does not dump or delete
// and calls no hook. Its error is that of a run.
func (j *Job) Preflight(ctx context.Context) (warnings []string, err error) {
	r := &run{Job: j, id: newID(j.name, j.now()), started: j.now()}
	unlock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if replace := j.storage.Abilities().Replace; replace != nil { // a file that came by Put may have to stay
		const name = "preflight"
		if err := replace(ctx, name, []byte("whether files can be written here\n")); err != nil {
			return nil, err
		}
		if err := j.storage.Remove(ctx, name); err != nil {
			return nil, err
		}
	}
	if err = r.look(ctx); err == nil {
		err = r.checkSpace(ctx)
	}
	return r.report.Warnings, err
}

// preflight is the stage before the dump.
func (r *run) preflight(ctx context.Context) error {
	if err := r.look(ctx); err != nil {
		return err
	}
	r.sweepScratch(ctx) // which may make room
	if err := r.checkSpace(ctx); err != nil {
		return err
	}
	if r.opts.Before != nil {
		return r.opts.Before(ctx)
	}
	return nil
}

// look returns an error that would end the run, and warnings.
func (r *run) look(ctx context.Context) error {
	var err error
	if r.before, err = r.List(ctx); err != nil {
		return err
	}
	if last := newest(r.before, Entry.good); last != nil && r.progress != nil {
		r.progress.now.Expected = last.Manifest.RawSize
	}
	if len(r.before) > 0 && r.before[0].Time().After(r.started.Add(time.Minute)) {
		r.warn(ctx, fmt.Sprintf("the newest backup, %s, is from the future: check the clock", r.before[0].ID))
	}
	if preflight := r.source.Abilities().Preflight; preflight != nil {
		warnings, err := preflight(ctx)
		r.report.Warnings = append(r.report.Warnings, warnings...)
		if err != nil {
			return err
		}
	}
	return nil
}

// checkSpace fails early where the storage has no room for a backup like the last one.
// No backup is deleted to make room.
func (r *run) checkSpace(ctx context.Context) error {
	last := newest(r.before, Entry.good)
	free := r.free(ctx)
	if last == nil || free < 0 || free >= last.Manifest.Size+last.Manifest.Size/5 {
		return nil
	}
	return fmt.Errorf("%d bytes are free in the storage%s, and the last backup took %d: free some space or choose another place", free, in(r.storage), last.Manifest.Size)
}

// in names the folder of a storage, if it has one.
func in(s Storage) string {
	if folder := s.Abilities().Folder; folder != "" {
		return " in " + folder
	}
	return ""
}
