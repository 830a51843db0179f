package backup

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// statusFile holds the outcome of the last run, good or bad. A command and a server read
// each other's outcome from it.
const statusFile = "status.json"

// Status is the state of a job and its backups.
type Status struct {
	Newest  *Entry // the newest good backup, or nil
	Count   int    // good backups
	Damaged int    // damaged or unreadable backups
	Suspect int    // suspect backups
	// Restored is when a backup last passed a restore test. It is zero if there was no such
	// test.
	Restored time.Time
	// Unfinished are the restores that were interrupted, the oldest first.
	Unfinished []UnfinishedRestore
	// Last is the last run. It is nil if it is unknown. Its Targets come from the last run
	// that reached the replicate stage.
	Last *Run
	// Free is the free space of the storage in bytes, -1 if it is unknown.
	Free int64
}

// Age returns the age of the newest good backup at a time, false if there is no backup.
func (s Status) Age(now time.Time) (time.Duration, bool) {
	if s.Newest == nil {
		return 0, false
	}
	return now.Sub(s.Newest.Time()), true
}

// Status reads the state from the storage. It does not connect to a database.
func (j *Job) Status(ctx context.Context) (Status, error) {
	s, _, err := j.status(ctx)
	return s, err
}

// LastGood returns the start time of the newest good backup, false if there is no backup. It fits the option LastGood of
// package schedule.
func (j *Job) LastGood(ctx context.Context) (time.Time, bool, error) {
	entries, err := j.List(ctx)
	if err != nil {
		return time.Time{}, false, err
	}
	e := newest(entries, Entry.good)
	if e == nil {
		return time.Time{}, false, nil
	}
	return e.Time(), true, nil
}

// status also returns the backups. It lists the storage once.
func (j *Job) status(ctx context.Context) (s Status, entries []Entry, err error) {
	objects, err := j.objects(ctx)
	if err != nil {
		return s, nil, err
	}
	if entries, err = j.entries(ctx, objects); err != nil {
		return s, nil, err
	}
	s = Status{Newest: newest(entries, Entry.good), Free: j.free(ctx)}
	for _, e := range entries {
		if at := e.Restored(); at.After(s.Restored) && !at.After(j.now().Add(clockSlack)) {
			s.Restored = at
		}
		switch e.State {
		case Good:
			s.Count++
		case Suspect:
			s.Suspect++
		default:
			s.Damaged++
		}
	}
	if j.home == nil {
		s.Unfinished, err = j.unfinishedOf(ctx, objects)
	} else {
		s.Unfinished, err = j.Unfinished(ctx)
	}
	if err != nil {
		return s, entries, err
	}
	s.Last = j.lastAttempt(ctx)
	return s, entries, nil
}

// lastAttempt returns the outcome of the last run, nil if it is unknown. The next run replaces a
// file that is truncated or cannot be read.
func (j *Job) lastAttempt(ctx context.Context) *Run {
	data, err := j.readFile(ctx, statusFile)
	if err != nil {
		if !errors.Is(err, ErrNotFound) {
			j.opts.Logger.WarnContext(ctx, "backup: the outcome of the last run cannot be read", "job", j.name, "error", err)
		}
		return nil
	}
	var last Run
	if json.Unmarshal(data, &last) != nil {
		return nil
	}
	return &last
}

// targetOutcomes combines the outcomes of a run with those of earlier runs.
func (j *Job) targetOutcomes(ctx context.Context, r *run) []TargetOutcome {
	if len(j.targets) == 0 {
		return nil
	}
	var before []TargetOutcome
	if last := j.lastAttempt(ctx); last != nil {
		before = last.Targets
	}
	if r.report.Targets == nil {
		return before
	}
	for i := range r.report.Targets {
		o := &r.report.Targets[i]
		if o.OK {
			continue
		}
		o.FailingSince = r.started.UTC()
		for _, b := range before {
			if b.Name != o.Name {
				continue
			}
			if !b.FailingSince.IsZero() {
				o.FailingSince = b.FailingSince
			}
			if o.Newest == "" {
				o.Newest = b.Newest
			}
		}
	}
	return r.report.Targets
}

// note records the outcome of a run. It does not record that another run holds the lock.
func (j *Job) note(ctx context.Context, r *run, outcome error) {
	if errors.Is(outcome, ErrLocked) || errors.Is(outcome, errShared) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	a := r.report
	a.Targets = j.targetOutcomes(ctx, r)
	data, err := json.Marshal(a)
	if err == nil {
		err = j.replaceFile(ctx, statusFile, append(data, '\n'))
	}
	if err != nil {
		j.opts.Logger.WarnContext(ctx, "backup: the outcome could not be recorded", "job", j.name, "error", err)
	}
	if outcome == nil {
		j.opts.Logger.InfoContext(ctx, "backup: done", "job", j.name, "id", r.id, "bytes", r.dumped.Size, "rows", r.dumped.RowsTotal,
			"took", j.now().Sub(r.started).Truncate(time.Millisecond), "verified", r.report.Verified, "deleted", len(r.report.Deleted))
	}
}
