package backup

import (
	"context"
	"fmt"
	"time"
)

// Preflight reports whether a run would fail before its dump. It takes the locks, writes
// and removes a file, and checks the source and the free disk space. It makes no dump,
// deletes no backup and calls no hook. Its error is the error that a run would return.
func (j *Job) Preflight(ctx context.Context) (warnings []string, err error) {
	r := &run{Job: j, id: newID(j.name, j.now()), started: j.now()}
	held, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer held.release(ctx, j)
	if replace := j.storage.Abilities().Replace; replace != nil { // a storage may lock files from Put against deletion
		const name = "preflight"
		if err := replace(ctx, name, []byte("whether files can be written here\n")); err != nil {
			return nil, err
		}
		if err := j.storage.Remove(ctx, name); err != nil && !j.opts.NoRetention { // the access key may only write
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
	r.sweepScratch(ctx) // this may free space
	if err := r.checkSpace(ctx); err != nil {
		return err
	}
	if r.opts.Before != nil {
		return r.opts.Before(ctx)
	}
	return nil
}

// look returns warnings, and an error that would end the run.
func (r *run) look(ctx context.Context) error {
	var err error
	// Backups whose manifests cannot be read do not prevent another one. The scrub stage
	// returns the error.
	if r.before, err = r.List(ctx); err != nil && len(r.before) == 0 {
		return err
	}
	if last := newest(r.before, Entry.good); last != nil && r.progress != nil {
		r.progress.now.Expected = last.Manifest.RawSize
	}
	if len(r.before) > 0 && r.before[0].Time().After(r.started.Add(time.Minute)) {
		r.warn(ctx, fmt.Sprintf("the newest backup, %s, is from the future: check the clock", r.before[0].ID))
	}
	if len(r.before) == 0 {
		r.mounted(ctx)
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

// mounted warns if the storage is empty and the history, which is elsewhere, knows a backup in
// it. A disk that is not mounted leaves an empty folder.
func (r *run) mounted(ctx context.Context) {
	if sameStorage(r.historyStorage(), r.storage) {
		return
	}
	runs, err := r.History(ctx, 10)
	if err != nil {
		return // recording this run fails as well, and says so
	}
	for _, run := range runs {
		if run.Published {
			r.warn(ctx, fmt.Sprintf("the storage%s holds no backup, and the history knows %s in it: was it removed, or is its disk not mounted?", in(r.storage), run.ID))
			return
		}
	}
}

// checkSpace fails early if the storage has no space for a backup of the last size. No
// backup is deleted to free space.
func (r *run) checkSpace(ctx context.Context) error {
	last := newest(r.before, Entry.good)
	free := r.free(ctx)
	if last == nil || free < 0 || free >= last.Manifest.Size+last.Manifest.Size/5 {
		return nil
	}
	return fmt.Errorf("%d bytes are free in the storage%s, and the last backup took %d: free some space or choose another place", free, in(r.storage), last.Manifest.Size)
}

// in returns the folder of a storage as part of a message, if it has one.
func in(s Storage) string {
	if folder := s.Abilities().Folder; folder != "" {
		return " in " + folder
	}
	return ""
}

// free returns the free space of the storage in bytes, -1 if it is unknown.
func (j *Job) free(ctx context.Context) int64 {
	if ask := j.storage.Abilities().Free; ask != nil {
		if n, err := ask(ctx); err == nil {
			return n
		}
	}
	return -1
}
