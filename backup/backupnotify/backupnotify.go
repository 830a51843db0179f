// Package backupnotify sends notifications about the backups of a job, each only once. A
// notification says that a run failed, that the new backup is suspect or did not pass its
// verification, that the newest backup is too old, or that the problem is over. A weekly
// summary confirms that all is well.
//
// The last notification is stored in a file that the command and the server of a service
// share. One problem therefore causes one message. Store the file outside the backup
// folder. Then a problem with that folder, and its end, are also sent.
package backupnotify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/internal/atomicfile"
	"github.com/mainstay-go/mainstay/internal/redact"
	"github.com/mainstay-go/mainstay/notify"
)

// Mode selects the messages that are sent.
type Mode string

// The modes.
const (
	Failure Mode = "failure" // problems
	Change  Mode = "change"  // the default: problems, recoveries, and a weekly digest
	Always  Mode = "always"  // also each good run
)

// ParseMode parses the name of a mode. "" is the default.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case "":
		return Change, nil
	case Failure, Change, Always:
		return m, nil
	}
	return "", fmt.Errorf("backupnotify: unknown mode %q: use failure, change or always", s)
}

// Options configure [New]. The zero value and nil are valid.
type Options struct {
	// Mode selects the messages. Default: Change.
	Mode Mode
	// State is the file with the last notification, for all processes of the host. Default:
	// "". Then the process keeps it in memory.
	State string
	// Last is the previous run, [backup.Status.Last]. A process without State starts from
	// it, so that a good run after a failed one is a recovery. Default: nil.
	Last *backup.Run
	// RemindAfter is the time after which an unchanged problem is sent again. Default: 20
	// h. Each nightly failure then causes one message, and its retries cause no second one.
	RemindAfter time.Duration
	// MaxAge is the maximum age of the newest good backup. Default: 26 h.
	MaxAge time.Duration
	// Status, such as [backup.Job.Status], describes the existing backups in the message
	// about a failed run. Default: nil.
	Status func(context.Context) (backup.Status, error)
	// Logger receives errors of the state. Default: slog.Default().
	Logger *slog.Logger
}

// Notices sends notifications about one job. Its methods are safe for concurrent use.
type Notices struct {
	job  string
	next notify.Notifier
	opts Options
	now  func() time.Time
	own  chan []byte // the state if there is no file
}

const (
	defaultRemind = 20 * time.Hour
	defaultMaxAge = 26 * time.Hour
	digestEvery   = 7 * 24 * time.Hour
	// lockedRuns is the number of consecutive locked runs that is a problem.
	lockedRuns = 3
	lockWait   = 30 * time.Second
)

// New returns the notices of the job with that name. It sends no message and writes no
// file.
func New(job string, next notify.Notifier, opts *Options) (*Notices, error) {
	n := &Notices{job: job, next: next, now: time.Now, own: make(chan []byte, 1)}
	if opts != nil {
		n.opts = *opts
	}
	if next == nil {
		return nil, errors.New("backupnotify: New needs a notifier")
	}
	mode, err := ParseMode(string(n.opts.Mode))
	if err != nil {
		return nil, err
	}
	n.opts.Mode = mode
	if n.opts.RemindAfter < 0 || n.opts.MaxAge < 0 {
		return nil, errors.New("backupnotify: Options has a negative time")
	}
	if n.opts.RemindAfter == 0 {
		n.opts.RemindAfter = defaultRemind
	}
	if n.opts.MaxAge == 0 {
		n.opts.MaxAge = defaultMaxAge
	}
	if n.opts.Logger == nil {
		n.opts.Logger = slog.Default()
	}
	var begin []byte
	if last := n.opts.Last; last != nil && !last.OK {
		// The time is old enough for a new message.
		begin, err = json.Marshal(state{Problem: before, Since: last.Time, Told: last.Time.Add(-n.opts.RemindAfter)})
	}
	n.own <- begin
	return n, err
}

// state holds the last notification and the counts of the weekly summary.
type state struct {
	Problem string    `json:"problem,omitempty"` // its kind; "" if all is well
	Since   time.Time `json:"since,omitzero"`
	Told    time.Time `json:"told,omitzero"` // when the notifier accepted a message about it
	Locked  int       `json:"locked,omitempty"`
	Digest  time.Time `json:"digest,omitzero"` // start of the week
	Good    int       `json:"good,omitempty"`  // runs since then
	Failed  int       `json:"failed,omitempty"`
}

// The kinds of problems.
const (
	failed   = "failed"
	suspect  = "suspect"
	verify   = "verify"
	later    = "later" // published, and a later stage failed
	stale    = "stale"
	damaged  = "damaged"
	unproven = "unproven"
	occupied = "locked"
	before   = "before" // of the previous run, without details
)

// Ran sends the notification of a run of [backup.Job.Backup], if one is due. It returns the
// error of the notifier.
func (n *Notices) Ran(ctx context.Context, report backup.Run, failure error) error {
	return n.update(ctx, func(s *state, now time.Time) (notify.Message, bool) {
		if errors.Is(failure, backup.ErrLocked) {
			if s.Locked++; s.Locked < lockedRuns {
				return notify.Message{}, false
			}
			return n.problem(s, now, occupied, notify.Warning, "another run holds the lock",
				fmt.Sprintf("%d runs in a row found another one at work. Is it stuck?", s.Locked))
		}
		s.Locked = 0
		if failure == nil {
			s.Good++
			return n.well(s, now, report)
		}
		s.Failed++
		text := new(redact.Redactor).Error(failure, 0)
		switch {
		case report.Manifest == nil:
			return n.problem(s, now, failed, notify.Critical, "FAILED", text+"\n\nNo backup was published and none was deleted."+n.rest(ctx, now))
		case errors.Is(failure, backup.ErrVerification):
			return n.problem(s, now, verify, notify.Critical, "the new backup did not pass its verification", text+"\n\nNone was deleted.")
		case errors.Is(failure, backup.ErrSuspect):
			return n.problem(s, now, suspect, notify.Warning, "the new backup is suspect",
				text+"\n\nNo backup is deleted until an operator checks it and accepts it ('accept "+report.Manifest.ID+"').")
		}
		return n.problem(s, now, later, notify.Warning, "published, with a problem", text)
	})
}

// Failed sends the notification of a job that could not be opened.
func (n *Notices) Failed(ctx context.Context, failure error) error {
	return n.Ran(ctx, backup.Run{}, failure)
}

// Watch checks the job each hour until ctx ends, and sends a message if the newest good
// backup is too old. Use it in a long-running process: a run that never starts reports no
// failure.
func (n *Notices) Watch(ctx context.Context, job *backup.Job) error {
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		status, err := job.Check(ctx, n.opts.MaxAge)
		if ctx.Err() != nil {
			return nil
		}
		if err := n.checked(ctx, status, err); err != nil {
			n.opts.Logger.ErrorContext(ctx, "backupnotify: the notification that the backups are too old was not sent", "job", n.job, "error", err)
		}
	}
}

// checked sends the result of [backup.Job.Check]. It sends no second message about a failed
// run.
func (n *Notices) checked(ctx context.Context, _ backup.Status, failure error) error {
	kind, subject := stale, "no recent backup"
	switch {
	case errors.Is(failure, backup.ErrStale):
	case errors.Is(failure, backup.ErrDamaged):
		kind, subject = damaged, "a stored backup is damaged"
	case errors.Is(failure, backup.ErrVerification):
		kind, subject = verify, "the newest restore test failed"
	case errors.Is(failure, backup.ErrUnproven):
		kind, subject = unproven, "no recent restore test"
	case errors.Is(failure, backup.ErrSuspect):
		return nil // the run has already reported it
	}
	return n.update(ctx, func(s *state, now time.Time) (notify.Message, bool) {
		if failure == nil || s.Problem != "" && s.Problem != kind {
			return notify.Message{}, false
		}
		return n.problem(s, now, kind, notify.Critical, subject, new(redact.Redactor).Error(failure, 0))
	})
}

// rest describes the newest good backup, for the message about a failure.
func (n *Notices) rest(ctx context.Context, now time.Time) string {
	if n.opts.Status == nil {
		return ""
	}
	status, err := n.opts.Status(ctx)
	switch {
	case err != nil:
		return ""
	case status.Newest == nil:
		return "\nThere is no good backup at all."
	}
	return fmt.Sprintf("\nThe newest good backup is %s, %s old.", status.Newest.ID, now.Sub(status.Newest.Time()).Round(time.Minute))
}

// problem returns the message about a problem, unless it was sent recently.
func (n *Notices) problem(s *state, now time.Time, kind string, level notify.Level, subject, text string) (notify.Message, bool) {
	if s.Problem != kind {
		if s.Problem == "" {
			s.Since = now
		}
		s.Problem, s.Told = kind, time.Time{}
	}
	// A clock that was set back must not suppress the message.
	if known := now.Sub(s.Told); !s.Told.IsZero() && known >= 0 && known < n.opts.RemindAfter {
		return notify.Message{}, false
	}
	if since := now.Sub(s.Since); since > time.Hour {
		text += fmt.Sprintf("\n\nThere has been a problem since %s.", s.Since.UTC().Format("2006-01-02 15:04 MST"))
	}
	return notify.Message{Level: level, Subject: "[BACKUP] " + n.job + ": " + subject, Text: text}, true
}

// well returns the message about a good run, if one is due.
func (n *Notices) well(s *state, now time.Time, report backup.Run) (notify.Message, bool) {
	about := "It is good."
	if m := report.Manifest; m != nil {
		about = fmt.Sprintf("%s is good: %d tables, %d rows, %d bytes as %d.", m.ID, len(m.Tables), m.RowsTotal, m.RawSize, m.Size)
	}
	if report.Restored {
		about += " It was restored into a scratch database."
	}
	for _, w := range report.Warnings {
		about += "\nWarning: " + w
	}
	was, told := s.Problem, !s.Told.IsZero()
	s.Problem, s.Since, s.Told = "", time.Time{}, time.Time{}
	if s.Digest.IsZero() {
		s.Digest = now
	}
	switch {
	case n.opts.Mode == Failure:
		return notify.Message{}, false
	case was != "" && told:
		return notify.Message{Level: notify.Recovery, Subject: "[BACKUP RECOVERED] " + n.job, Text: about}, true
	case n.opts.Mode == Always:
		return notify.Message{Level: notify.Info, Subject: "[BACKUP] " + n.job + ": good", Text: about}, true
	case now.Sub(s.Digest) >= digestEvery-12*time.Hour || now.Before(s.Digest):
		text := fmt.Sprintf("%d runs were good since %s, %d were not. The newest: %s\nYou hear this each week; if you do not, look here.",
			s.Good, s.Digest.UTC().Format(time.DateOnly), s.Failed, about)
		s.Digest, s.Good, s.Failed = now, 0, 0
		return notify.Message{Level: notify.Info, Subject: "[BACKUP] " + n.job + ": the week", Text: text}, true
	}
	return notify.Message{}, false
}

// update locks the state, decides, sends, and writes the state. If the notifier rejects the
// message, the old state remains.
func (n *Notices) update(ctx context.Context, decide func(*state, time.Time) (notify.Message, bool)) error {
	data, put, err := n.load(ctx)
	if err != nil {
		// A second message is better than no message.
		n.opts.Logger.WarnContext(ctx, "backupnotify: what was told is not known", "job", n.job, "error", err)
	}
	var s state
	if json.Unmarshal(data, &s) != nil {
		s = state{} // truncated, or a foreign file
	}
	now := n.now()
	message, send := decide(&s, now)
	if send {
		message.Source, message.Key, message.Time = n.job, "backup-"+n.job, now
		if err = n.next.Notify(ctx, message); err == nil && s.Problem != "" {
			s.Told = now
		}
	} else {
		err = nil
	}
	if err != nil && s.Problem == "" {
		return errors.Join(err, put(nil)) // the next good run sends it
	}
	data, jsonErr := json.Marshal(s)
	if putErr := errors.Join(jsonErr, put(data)); putErr != nil {
		n.opts.Logger.WarnContext(ctx, "backupnotify: what was told could not be remembered", "job", n.job, "error", putErr)
	}
	return err
}

// load locks and reads the state. It returns a function that writes the state and unlocks.
// Writing nil keeps the old state.
func (n *Notices) load(ctx context.Context) (data []byte, put func([]byte) error, err error) {
	if n.opts.State == "" {
		data = <-n.own
		return data, func(b []byte) error {
			if b == nil {
				b = data
			}
			n.own <- b
			return nil
		}, nil
	}
	nowhere := func([]byte) error { return nil }
	if err := os.MkdirAll(filepath.Dir(n.opts.State), 0o700); err != nil {
		return nil, nowhere, err
	}
	lock := flock.New(n.opts.State+".lock", flock.SetPermissions(0o600))
	wait, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	if ok, err := lock.TryLockContext(wait, 100*time.Millisecond); err != nil || !ok {
		return nil, nowhere, fmt.Errorf("lock %s: %w", n.opts.State, errors.Join(err, wait.Err()))
	}
	data, err = os.ReadFile(n.opts.State)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return data, func(b []byte) error {
		defer lock.Unlock() //nolint:errcheck // the end of the process also frees the lock
		if b == nil {
			return nil
		}
		return atomicfile.Write(n.opts.State, 0o600, func(w io.Writer) error {
			_, err := io.Copy(w, strings.NewReader(string(b)))
			return err
		})
	}, err
}
