package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// statusFile holds the outcome of the last run, good or bad, so that a command and a
// server know of each other's.
const statusFile = "status.json"

// Attempt is the outcome of a run.
type Attempt struct {
	Time  time.Time `json:"time"`
	ID    string    `json:"id,omitempty"` // what was published
	OK    bool      `json:"ok"`
	Stage string    `json:"stage,omitempty"` // where it failed
	Error string    `json:"error,omitempty"`
	// Targets is what became of each target: of the last run that came so far.
	Targets []TargetOutcome `json:"targets,omitempty"`
}

// Status is how a job is doing.
type Status struct {
	Newest  *Entry // the newest good backup; nil if there is none
	Count   int    // good backups
	Damaged int    // damaged or unreadable ones
	Suspect int    // suspect ones
	// Restored is when a backup was last proven by restoring it into a scratch
	// database; zero if never.
	Restored time.Time
	// Halfway is an overwriting restore that was interrupted; nil if there is none.
	Halfway *Halfway
	Last    *Attempt // the last run; nil if there was none, or nothing is known of it
	// Free is how many bytes the storage has room for; -1 if that is not known.
	Free int64
}

// Age is how old the newest good backup is at a moment; false if there is none.
func (s Status) Age(now time.Time) (time.Duration, bool) {
	if s.Newest == nil {
		return 0, false
	}
	return now.Sub(s.Newest.Time()), true
}

// Status looks at the storage. It asks no database.
func (j *Job) Status(ctx context.Context) (Status, error) {
	entries, err := j.List(ctx)
	if err != nil {
		return Status{}, err
	}
	s := Status{Newest: newest(entries, Entry.good), Free: j.free(ctx)}
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
	if s.Halfway, err = j.halfway(ctx); err != nil {
		return s, err
	}
	s.Last, err = j.lastAttempt(ctx)
	return s, err
}

// lastAttempt is the outcome of the last run, nil if nothing is known of it.
func (j *Job) lastAttempt(ctx context.Context) (*Attempt, error) {
	data, err := j.readFile(ctx, statusFile)
	if errors.Is(err, ErrNotFound) {
		return nil, nil //nolint:nilnil // that there was none is an answer
	}
	if err != nil {
		return nil, err
	}
	var last Attempt
	if json.Unmarshal(data, &last) == nil {
		return &last, nil
	}
	return nil, nil //nolint:nilnil // cut, or of another program: nothing is known
}

// targetOutcomes joins those of a run to what the runs before it have left.
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

// ErrStale means that the newest good backup is too old, or that there is none.
var ErrStale = errors.New("backup: no recent backup")

// ErrHalfway means that an overwriting restore has changed its database and did not come to
// its end.
var ErrHalfway = errors.New("backup: a restore is unfinished")

// Check returns nil if the newest good backup is not older than maxAge, and an error
// that says what is wrong otherwise. It judges by what is stored, not by whether a
// process runs.
func (j *Job) Check(ctx context.Context, maxAge time.Duration) (Status, error) {
	s, err := j.Status(ctx)
	if err != nil {
		return s, err
	}
	age, ok := s.Age(j.now())
	switch h := s.Halfway; {
	case h != nil:
		return s, fmt.Errorf("%w: the restore of %s over %s began at %s and did not end: restore again, or Settle after you have checked the database (its state before is in %s)",
			ErrHalfway, h.ID, h.Database, h.Time.Format(time.RFC3339), h.Safety)
	case !ok:
		return s, fmt.Errorf("%w: there is none", ErrStale)
	case age > maxAge:
		return s, fmt.Errorf("%w: the newest good one, %s, is %v old", ErrStale, s.Newest.ID, age.Truncate(time.Minute))
	case age < -time.Minute:
		return s, fmt.Errorf("%w: the newest one, %s, is from the future: check the clock", ErrStale, s.Newest.ID)
	}
	return s, nil
}

// note records the outcome of a run. That another run holds the lock is its matter.
func (j *Job) note(ctx context.Context, r *run, outcome error) {
	if errors.Is(outcome, ErrLocked) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	a := Attempt{Time: r.started.UTC(), OK: outcome == nil}
	if r.report.Manifest != nil {
		a.ID = r.id
	}
	var failed *StageError
	if errors.As(outcome, &failed) {
		a.Stage, a.Error = failed.Stage, failed.Err.Error()
	}
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
