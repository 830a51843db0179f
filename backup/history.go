package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Run is a line of a job's history: what [Job.Backup] did once.
type Run struct {
	Time      time.Time  `json:"time"` // when it began
	ID        string     `json:"id"`   // what it was to publish
	OK        bool       `json:"ok"`
	Published bool       `json:"published"`
	Stage     string     `json:"stage,omitempty"` // where it failed
	Error     string     `json:"error,omitempty"`
	Suspect   string     `json:"suspect,omitempty"`
	RawSize   int64      `json:"raw_size,omitempty"`
	Size      int64      `json:"size,omitempty"`
	Tables    int        `json:"tables,omitempty"`
	Rows      int64      `json:"rows,omitempty"`
	Verified  bool       `json:"verified,omitempty"` // read back and found whole
	Restored  bool       `json:"restored,omitempty"` // and restored into a scratch database
	Deleted   []string   `json:"deleted,omitempty"`  // ids that retention removed
	Behind    []string   `json:"behind,omitempty"`   // targets that were not brought up to date
	Warnings  int        `json:"warnings,omitempty"`
	TookMS    int64      `json:"took_ms"`
	Stages    []RunStage `json:"stages,omitempty"`
	Host      string     `json:"host,omitempty"`
}

// RunStage is a stage of a [Run].
type RunStage struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	TookMS int64  `json:"took_ms"`
}

const (
	historyName  = "history.jsonl"
	historyOlder = "history.1.jsonl"
	// historyLimit is the size at which a file becomes the older one: some thousand runs.
	historyLimit = 1 << 20
	// historyText bounds an error in a line.
	historyText = 2 << 10
	historyWait = 30 * time.Second
)

// History returns the last n runs of all processes that share the history, the newest
// first. For n < 1 it returns all runs that are kept. A line that a crash truncated is
// left out.
func (j *Job) History(ctx context.Context, n int) ([]Run, error) {
	var runs []Run
	seen := map[string]bool{} // a crash while the file becomes the older one leaves lines in both
	for _, name := range []string{historyName, historyOlder} {
		data, err := readFrom(ctx, j.historyStorage(), name, 4*historyLimit)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, fmt.Errorf("backup: the history: %w", err)
		}
		for rest := data; len(rest) > 0 && (n < 1 || len(runs) < n); {
			start := bytes.LastIndexByte(bytes.TrimRight(rest, "\n"), '\n') + 1
			var r Run
			if json.Unmarshal(rest[start:], &r) == nil && !r.Time.IsZero() && !seen[r.ID] {
				seen[r.ID] = true
				runs = append(runs, r)
			}
			rest = rest[:start]
		}
	}
	return runs, nil
}

// historyStorage is where the history lies.
func (j *Job) historyStorage() Storage {
	switch {
	case j.home != nil:
		return j.home.historyStorage()
	case j.opts.History != nil:
		return j.opts.History
	}
	return j.storage
}

// remember adds a run to the history and to the counters.
func (j *Job) remember(ctx context.Context, r *run, outcome error) {
	line := r.line(outcome)
	locked := errors.Is(outcome, ErrLocked)
	j.counters.end(line, locked)
	if locked {
		return // the other run is in the history
	}
	if err := j.appendHistory(ctx, line); err != nil {
		j.opts.Logger.WarnContext(ctx, "backup: the run could not be added to the history", "job", j.name, "error", err)
	}
}

// appendHistory adds a line. The run's lock keeps other processes out of the job's own
// storage. Another storage has a lock of its own for this.
func (j *Job) appendHistory(ctx context.Context, line Run) (err error) {
	added, err := json.Marshal(line)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, historyWait)
	defer cancel()
	to := j.historyStorage()
	if lock := to.Abilities().Lock; lock != nil && to != j.storage {
		unlock, err := lock(ctx)
		for errors.Is(err, ErrLocked) && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
			unlock, err = lock(ctx)
		}
		if err != nil {
			return fmt.Errorf("lock the history: %w", err)
		}
		defer func() { err = errors.Join(err, unlock()) }()
	}
	data, err := readFrom(ctx, to, historyName, 4*historyLimit)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		data = append(data, '\n') // the rest of a truncated line costs no other
	}
	data = append(append(data, added...), '\n')
	if len(data) > historyLimit {
		if err := replaceIn(ctx, to, historyOlder, data); err != nil {
			return err
		}
		data = nil
	}
	return replaceIn(ctx, to, historyName, data)
}

// line describes a run that has ended.
func (r *run) line(outcome error) Run {
	l := Run{
		Time: r.started.UTC(), ID: r.id, OK: outcome == nil, Published: r.report.Manifest != nil,
		Verified: r.report.Verified, Restored: r.report.Drilled, Deleted: r.report.Deleted, Warnings: len(r.report.Warnings),
		TookMS: max(0, r.now().Sub(r.started).Milliseconds()), Stages: r.stages,
	}
	l.Host, _ = os.Hostname()
	var failed *StageError
	if errors.As(outcome, &failed) {
		l.Stage, l.Error = failed.Stage, failed.Err.Error()
		if len(l.Error) > historyText {
			l.Error = strings.ToValidUTF8(l.Error[:historyText], "") + "…"
		}
	}
	if m := r.dumped; m != nil {
		l.Suspect, l.RawSize, l.Size, l.Tables, l.Rows = m.Suspect, m.RawSize, m.Size, len(m.Tables), m.RowsTotal
	}
	for _, t := range r.report.Targets {
		if !t.OK {
			l.Behind = append(l.Behind, t.Name)
		}
	}
	return l
}
