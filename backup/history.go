package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/mainstay-go/mainstay/internal/atomicfile"
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

// ErrNoHistory means that a job has no place for its history: its storage is not a
// [Folder], and Options.HistoryDir names none.
var ErrNoHistory = errors.New("backup: no history is kept: set Options.HistoryDir")

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
// first, and all that are kept for n < 1. A line that a crash has cut is left out.
func (j *Job) History(ctx context.Context, n int) ([]Run, error) {
	dir, err := j.historyDir()
	if err != nil {
		return nil, err
	}
	var runs []Run
	for _, name := range []string{historyName, historyOlder} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		data, err := readHistory(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("backup: the history: %w", err)
		}
		for rest := data; len(rest) > 0 && (n < 1 || len(runs) < n); {
			cut := bytes.LastIndexByte(bytes.TrimRight(rest, "\n"), '\n') + 1
			var r Run
			if json.Unmarshal(rest[cut:], &r) == nil && !r.Time.IsZero() {
				runs = append(runs, r)
			}
			rest = rest[:cut]
		}
	}
	return runs, nil
}

func readHistory(path string) ([]byte, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(file, 4*historyLimit)
}

// historyDir is where the history lies.
func (j *Job) historyDir() (string, error) {
	if j.home != nil {
		return j.home.historyDir()
	}
	if j.opts.HistoryDir != "" {
		return j.opts.HistoryDir, nil
	}
	if folder, ok := j.storage.(*Folder); ok {
		return folder.path, nil
	}
	return "", ErrNoHistory
}

// remember adds a run to the history and to the counters.
func (j *Job) remember(ctx context.Context, r *run, outcome error) {
	line := r.line(outcome)
	locked := errors.Is(outcome, ErrLocked)
	j.counters.end(line, locked)
	if locked {
		return // the other run is in the history
	}
	dir, err := j.historyDir()
	if err != nil {
		return // there is none
	}
	if folder, ok := j.storage.(*Folder); ok && dir == folder.path {
		err = folder.prepare()
	} else {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = appendHistory(ctx, dir, line)
	}
	if err != nil {
		j.opts.Logger.WarnContext(ctx, "backup: the run could not be added to the history", "job", j.name, "error", err)
	}
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

// appendHistory writes a line in one piece and waits until it would survive a crash of the
// machine. The rest of a line that a crash has cut gets an end, so that it costs no other.
func appendHistory(ctx context.Context, dir string, line Run) (err error) {
	data, err := json.Marshal(line)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), historyWait)
	defer cancel()
	lock := flock.New(filepath.Join(dir, ".history.lock"), flock.SetPermissions(0o600))
	if ok, err := lock.TryLockContext(ctx, 20*time.Millisecond); err != nil || !ok {
		return fmt.Errorf("lock the history: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()

	path := filepath.Join(dir, historyName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size > 0 {
		var end [1]byte
		if _, err := file.ReadAt(end[:], size-1); err != nil {
			return err
		}
		if end[0] != '\n' {
			data = append([]byte{'\n'}, data...)
		}
	}
	if _, err := file.Write(append(data, '\n')); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if size+int64(len(data)) > historyLimit {
		if err := os.Rename(path, filepath.Join(dir, historyOlder)); err != nil {
			return err
		}
	} else if size > 0 {
		return nil // neither the file nor its name is new
	}
	return atomicfile.SyncFolder(dir)
}
