package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Run is one run of a job: [Job.Backup] returns it, and the history and the status keep it.
type Run struct {
	// Manifest describes the backup. It is nil if the run published no backup, and for runs
	// that come from the history.
	Manifest  *Manifest       `json:"-"`
	Time      time.Time       `json:"time"`               // start of the run
	ID        string          `json:"id"`                 // of the backup that the run was to publish
	OK        bool            `json:"ok"`                 // the run ended without an error
	Published bool            `json:"published"`          // the backup exists, even if a later stage failed
	Stage     string          `json:"stage,omitempty"`    // the stage that failed
	Error     string          `json:"error,omitempty"`    // the cause, shortened to 2 KiB; "" if OK
	Suspect   string          `json:"suspect,omitempty"`  // as in Manifest.Suspect; "" without a complete dump
	RawSize   int64           `json:"raw_size,omitempty"` // of the dump, in bytes; 0 without a complete dump
	Size      int64           `json:"size,omitempty"`     // of the stored file, in bytes; 0 without a complete dump
	Tables    int             `json:"tables,omitempty"`   // number of tables in the dump
	Rows      int64           `json:"rows,omitempty"`     // in all tables
	Verified  bool            `json:"verified,omitempty"` // the backup was read back; only its encrypted bytes if the job has no identity
	Restored  bool            `json:"restored,omitempty"` // the backup passed a restore test
	Reread    []string        `json:"reread,omitempty"`   // ids of older backups that were read again
	Deleted   []string        `json:"deleted,omitempty"`  // ids of backups that retention removed
	Swept     []string        `json:"swept,omitempty"`    // leftovers of earlier crashes that the run removed
	Targets   []TargetOutcome `json:"targets,omitempty"`  // one for each target; nil before the replicate stage
	Warnings  []string        `json:"warnings,omitempty"` // texts for the operator; the history has at most 20 of a run
	TookMS    int64           `json:"took_ms"`            // duration of the run, in milliseconds
	Stages    []RunStage      `json:"stages,omitempty"`   // in their order, with the failed ones
	Host      string          `json:"host,omitempty"`     // name of the host of the run; "" if unknown
}

// RunStage is a stage of a [Run].
type RunStage struct {
	Name   string `json:"name"`    // "sweep", "dump", "verify", …; "lock" only if it failed
	OK     bool   `json:"ok"`      // the stage ended without an error
	TookMS int64  `json:"took_ms"` // duration of the stage, in milliseconds
}

const (
	historyName  = "history.jsonl"
	historyOlder = "history.1.jsonl"
	// historyLimit is the size at which a file becomes the older one. It holds a few
	// thousand runs.
	historyLimit = 1 << 20
	// historyText is the maximum length of an error in a line.
	historyText = 2 << 10
	// historyWarnings is the maximum number of warnings in a line.
	historyWarnings = 20
	historyWait     = 30 * time.Second
)

// History returns the last n runs of all processes that share the history, the newest
// first. For n < 1 it returns all stored runs. It leaves out a line that a crash truncated.
func (j *Job) History(ctx context.Context, n int) ([]Run, error) {
	var runs []Run
	seen := map[string]bool{} // after a crash during rotation, lines are in both files
	for _, name := range []string{historyName, historyOlder} {
		data, err := readFrom(ctx, j.historyStorage(), name, 4*historyLimit)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, fmt.Errorf("backup: the history: %w", err)
		}
		for rest := data; len(rest) > 0 && (n < 1 || len(runs) < n); {
			start := bytes.LastIndexByte(bytes.TrimRight(rest, "\n"), '\n') + 1
			var r Run
			if json.Unmarshal(rest[start:], &r) == nil && !r.Time.IsZero() && !seen[r.ID] && j.other(r.ID) == "" {
				seen[r.ID] = true
				runs = append(runs, r)
			}
			rest = rest[:start]
		}
	}
	return runs, nil
}

// historyStorage returns the storage of the history.
func (j *Job) historyStorage() Storage {
	switch {
	case j.home != nil:
		return j.home.historyStorage()
	case j.opts.History != nil:
		return j.opts.History
	}
	return j.storage
}

// sameStorage reports whether two storages are one. Values of some types cannot be compared.
func sameStorage(a, b Storage) bool {
	if folder := a.Abilities().Folder; folder != "" && folder == b.Abilities().Folder {
		return true
	}
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.ValueOf(a).Comparable() && a == b
}

// remember adds a run to the history and to the counters.
func (r *run) remember(ctx context.Context, locked bool) {
	r.counters.end(r.report, locked)
	if locked {
		return // the run that holds the lock is in the history
	}
	line := r.report
	line.Warnings = slices.Clone(line.Warnings[:min(len(line.Warnings), historyWarnings)])
	for i, w := range line.Warnings {
		line.Warnings[i] = shortened(w, historyText/4)
	}
	switch err := r.appendHistory(ctx, line); {
	case err != nil && line.Published:
		r.warn(ctx, "the run could not be added to the history: "+strings.TrimPrefix(oneLine(err), "backup: "))
	case err != nil: // the run has an error already, often with the same cause
		r.opts.Logger.WarnContext(ctx, "backup: the run could not be added to the history", "job", r.name, "error", err)
	}
}

// appendHistory adds a line. The lock of the run keeps other processes out of the job's own
// storage. Another storage has its own lock for this. A history that the disk cannot read begins
// again.
func (r *run) appendHistory(ctx context.Context, line Run) (err error) {
	added, err := json.Marshal(line)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, historyWait)
	defer cancel()
	to := r.historyStorage()
	if lock := to.Abilities().Lock; lock != nil && !sameStorage(to, r.storage) {
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
	switch {
	case errors.Is(err, syscall.EIO):
		r.warn(ctx, "the disk cannot read the history, which begins again: "+oneLine(err))
		data = nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		data = append(data, '\n') // a truncated line must not damage the next one
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

// finish completes the report when a run has ended.
func (r *run) finish(outcome error) {
	l := &r.report
	l.OK, l.Published, l.Stages = outcome == nil, l.Manifest != nil, r.stages
	l.TookMS = max(0, r.now().Sub(r.started).Milliseconds())
	l.Host, _ = os.Hostname()
	var failed *StageError
	if errors.As(outcome, &failed) {
		l.Stage, l.Error = failed.Stage, shortened(failed.Err.Error(), historyText)
	}
	if m := r.dumped; m != nil {
		l.Suspect, l.RawSize, l.Size, l.Tables, l.Rows = m.Suspect, m.RawSize, m.Size, len(m.Tables), m.RowsTotal
	}
}

func shortened(text string, most int) string {
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
