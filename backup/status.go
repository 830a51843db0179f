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
}

// Status is how a job is doing.
type Status struct {
	Newest  *Entry   // the newest good backup; nil if there is none
	Count   int      // good backups
	Damaged int      // damaged or unreadable ones
	Suspect int      // suspect ones
	Last    *Attempt // the last run; nil if there was none, or nothing is known of it
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
	s := Status{Newest: newest(entries, Entry.good)}
	for _, e := range entries {
		switch e.State {
		case Good:
			s.Count++
		case Suspect:
			s.Suspect++
		default:
			s.Damaged++
		}
	}
	data, err := j.readFile(ctx, statusFile)
	if errors.Is(err, ErrNotFound) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	var last Attempt
	if json.Unmarshal(data, &last) == nil {
		s.Last = &last
	}
	return s, nil
}

// ErrStale means that the newest good backup is too old, or that there is none.
var ErrStale = errors.New("backup: no recent backup")

// Check returns nil if the newest good backup is not older than maxAge, and an error
// that says what is wrong otherwise. It judges by what is stored, not by whether a
// process runs.
func (j *Job) Check(ctx context.Context, maxAge time.Duration) (Status, error) {
	s, err := j.Status(ctx)
	if err != nil {
		return s, err
	}
	age, ok := s.Age(j.now())
	switch {
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
	data, err := json.Marshal(a)
	if err == nil {
		err = j.storage.Remove(ctx, statusFile)
	}
	if err == nil {
		err = j.writeFile(ctx, statusFile, append(data, '\n'))
	}
	if err != nil {
		j.opts.Logger.WarnContext(ctx, "backup: the outcome could not be recorded", "job", j.name, "error", err)
	}
	if outcome == nil {
		j.opts.Logger.InfoContext(ctx, "backup: done", "job", j.name, "id", r.id, "bytes", r.dumped.Size, "rows", r.dumped.RowsTotal,
			"took", j.now().Sub(r.started).Truncate(time.Millisecond), "verified", r.report.Verified, "deleted", len(r.report.Deleted))
	}
}
