package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
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
		if at := e.Restored(); at.After(s.Restored) {
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
	s.Last, err = j.lastAttempt(ctx)
	return s, entries, err
}

// lastAttempt returns the outcome of the last run, nil if it is unknown.
func (j *Job) lastAttempt(ctx context.Context) (*Run, error) {
	data, err := j.readFile(ctx, statusFile)
	if errors.Is(err, ErrNotFound) {
		return nil, nil //nolint:nilnil // no run is a valid result
	}
	if err != nil {
		return nil, err
	}
	var last Run
	if json.Unmarshal(data, &last) == nil {
		return &last, nil
	}
	return nil, nil //nolint:nilnil // truncated, or written by another program: unknown
}

// targetOutcomes combines the outcomes of a run with those of earlier runs.
func (j *Job) targetOutcomes(ctx context.Context, r *run) []TargetOutcome {
	if len(j.targets) == 0 {
		return nil
	}
	var before []TargetOutcome
	if last, err := j.lastAttempt(ctx); err == nil && last != nil {
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

// Check returns nil if the newest good backup is not older than maxAge and all configured
// checks have passed. Otherwise its error lists every problem, and wraps one or several of
// these:
//
//   - ErrHalfway: a restore was interrupted. [Job.Settle] cleans up after it.
//   - ErrStale: the newest good backup is too old, or there is none.
//   - ErrVerification: the newest restore test failed.
//   - ErrUnproven: no restore test has passed within RestoreTestOptions.Within.
//   - ErrDamaged: a stored backup is damaged. [Job.Delete] removes it.
//   - ErrSuspect: the newest backup is suspect. [Job.Accept] makes it a good one.
//
// Check looks at stored files. It does not check whether a process runs.
func (j *Job) Check(ctx context.Context, maxAge time.Duration) (Status, error) {
	s, entries, err := j.status(ctx)
	if err != nil {
		return s, err
	}
	now := j.now()
	var wrong problems
	for i := range s.Unfinished {
		wrong.add("%w: %s", ErrHalfway, &s.Unfinished[i])
	}
	age, ok := s.Age(now)
	switch {
	case !ok:
		wrong.add("%w: there is none%s", ErrStale, in(j.storage))
	case age > maxAge:
		wrong.add("%w: the newest good one, %s, is %v old", ErrStale, s.Newest.ID, age.Truncate(time.Minute))
	case age < -time.Minute:
		wrong.add("%w: the newest one, %s, is from the future: check the clock; if it was wrong before, delete that backup", ErrStale, s.Newest.ID)
	}
	if tested := newest(entries, func(e Entry) bool { return e.good() && e.RestoreTest != nil }); tested != nil && !tested.RestoreTest.OK {
		wrong.add("%w: %s failed its restore test: %s", ErrVerification, tested.ID, tested.RestoreTest.Problem)
	}
	if within, asked := j.opts.RestoreTest.limit(); asked && ok {
		switch since := now.Sub(s.Restored); {
		case s.Restored.IsZero():
			wrong.add("%w: none has passed yet: see the warnings of the last run, or make one (verify --restore)", ErrUnproven)
		case since > within:
			wrong.add("%w: the last one that passed was %d days ago, and %d are allowed", ErrUnproven, int(since.Hours()/24), int(within.Hours()/24))
		}
	}
	var damaged []string
	for _, e := range entries {
		if e.State == Damaged {
			damaged = append(damaged, e.ID+": "+e.Problem)
		}
	}
	if len(damaged) > 0 {
		wrong.add("%w: %s", ErrDamaged, strings.Join(damaged, "; "))
	}
	if first := newest(entries, func(e Entry) bool { return e.Manifest != nil }); first != nil && first.State == Suspect {
		wrong.add("%w: %s: %s", ErrSuspect, first.ID, first.Problem)
	}
	return s, wrong.err()
}

// problems are errors that are printed in one line.
type problems []error

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

func (p problems) Error() string {
	var text []string
	for i, err := range p {
		if t := err.Error(); i > 0 {
			text = append(text, strings.TrimPrefix(t, "backup: "))
		} else {
			text = append(text, t)
		}
	}
	return strings.Join(text, "; ")
}

func (p problems) Unwrap() []error { return p }

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
