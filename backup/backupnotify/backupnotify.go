// Package backupnotify sends notifications of a job's backups, once each: that
// a run failed, that the new backup is suspect or did not pass its verification, that the
// newest one is too old, that all is well again, and, each week, that it still is.
//
// What was told last lies in a file, which the command and the server of a service share,
// so that one incident makes one message. Keep it outside the folder of the backups: when
// that is what is broken, people are told so, and later that it works again.
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
	Failure Mode = "failure" // what is wrong
	Change  Mode = "change"  // the default: what is wrong, that it is over, and a weekly digest
	Always  Mode = "always"  // each good run too
)

// ParseMode reads a mode as a person writes it. "" is the default.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case "":
		return Change, nil
	case Failure, Change, Always:
		return m, nil
	}
	return "", fmt.Errorf("backupnotify: unknown mode %q: use failure, change or always", s)
}

// Options configure [New]. The zero value and nil work.
type Options struct {
	// Mode selects the messages. Default: Change.
	Mode Mode
	// State is the file with the last notification, for all processes of the host.
	// Default: ""; this process remembers it.
	State string
	// Last is the run before, [backup.Status.Last], from which a process that has no
	// State begins: a good run after a bad one is a recovery. Default: nil.
	Last *backup.Run
	// RemindAfter is how long a problem that stays is not repeated. Default: 20 h, so
	// that each nightly failure makes one message, and its retries make none.
	RemindAfter time.Duration
	// MaxAge is the age at which the newest good backup is too old. Default: 26 h.
	MaxAge time.Duration
	// Status, such as [backup.Job.Status], says what there still is when a run has failed.
	// Default: nil.
	Status func(context.Context) (backup.Status, error)
	// Logger receives errors of the state. Default: slog.Default().
	Logger *slog.Logger
}

// Notices tells people of one job. Its methods are safe for concurrent use.
type Notices struct {
	job  string
	next notify.Notifier
	opts Options
	now  func() time.Time
	own  chan []byte // the state without a file
}

const (
	defaultRemind = 20 * time.Hour
	defaultMaxAge = 26 * time.Hour
	digestEvery   = 7 * 24 * time.Hour
	// lockedRuns in a row are more than bad luck.
	lockedRuns = 3
	lockWait   = 30 * time.Second
)

// New returns the notices of the job with that name. It sends and writes no message.
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
		// Long enough ago to be sent again.
		begin, err = json.Marshal(state{Problem: before, Since: last.Time, Told: last.Time.Add(-n.opts.RemindAfter)})
	}
	n.own <- begin
	return n, err
}

// state holds the last notification and the counts of the weekly summary.
type state struct {
	Problem string    `json:"problem,omitempty"` // its kind; "" when all is well
	Since   time.Time `json:"since,omitzero"`
	Told    time.Time `json:"told,omitzero"` // when a message about it was taken
	Locked  int       `json:"locked,omitempty"`
	Digest  time.Time `json:"digest,omitzero"` // when the week began
	Good    int       `json:"good,omitempty"`  // runs since
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
	before   = "before" // of the run before, of which no more is known
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
				text+"\n\nNothing is deleted until somebody looks at it and accepts it ('accept "+report.Manifest.ID+"').")
		}
		return n.problem(s, now, later, notify.Warning, "published, with a problem", text)
	})
}

// Failed sends the notification of a job that could not be opened.
func (n *Notices) Failed(ctx context.Context, failure error) error {
	return n.Ran(ctx, backup.Run{}, failure)
}

// Watch checks the job each hour until ctx ends, and sends a message when the newest good
// backup is too old. Use it in a process that stays: runs that do not start report no failure.
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
			n.opts.Logger.ErrorContext(ctx, "backupnotify: nobody could be told that the backups are too old", "job", n.job, "error", err)
		}
	}
}

// checked tells of a [backup.Job.Check]. A failed run has been told of, and needs no
// second message for the same.
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
		return nil // the run has told of it
	}
	return n.update(ctx, func(s *state, now time.Time) (notify.Message, bool) {
		if failure == nil || s.Problem != "" && s.Problem != kind {
			return notify.Message{}, false
		}
		return n.problem(s, now, kind, notify.Critical, subject, new(redact.Redactor).Error(failure, 0))
	})
}

// rest says what there is when there is nothing new.
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

// problem is a message, unless people know already.
func (n *Notices) problem(s *state, now time.Time, kind string, level notify.Level, subject, text string) (notify.Message, bool) {
	if s.Problem != kind {
		if s.Problem == "" {
			s.Since = now
		}
		s.Problem, s.Told = kind, time.Time{}
	}
	// A clock that was set back must not silence it.
	if known := now.Sub(s.Told); !s.Told.IsZero() && known >= 0 && known < n.opts.RemindAfter {
		return notify.Message{}, false
	}
	if since := now.Sub(s.Since); since > time.Hour {
		text += fmt.Sprintf("\n\nThere has been a problem since %s.", s.Since.UTC().Format("2006-01-02 15:04 MST"))
	}
	return notify.Message{Level: level, Subject: "[BACKUP] " + n.job + ": " + subject, Text: text}, true
}

// well is the message of a good run, if there is one.
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

// update decides with the lock on the state, sends, and writes the state: as it was
// before, if the message was not taken.
func (n *Notices) update(ctx context.Context, decide func(*state, time.Time) (notify.Message, bool)) error {
	data, put, err := n.load(ctx)
	if err != nil {
		// A second message is better than no message.
		n.opts.Logger.WarnContext(ctx, "backupnotify: what was told is not known", "job", n.job, "error", err)
	}
	var s state
	if json.Unmarshal(data, &s) != nil {
		s = state{} // cut, or nobody's
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
		return errors.Join(err, put(nil)) // it is told with the next good run
	}
	data, jsonErr := json.Marshal(s)
	if putErr := errors.Join(jsonErr, put(data)); putErr != nil {
		n.opts.Logger.WarnContext(ctx, "backupnotify: what was told could not be remembered", "job", n.job, "error", putErr)
	}
	return err
}

// load reads the state and returns what writes it and unlocks; nil is written as "leave
// it".
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
		defer lock.Unlock() //nolint:errcheck // the process's end frees it too
		if b == nil {
			return nil
		}
		return atomicfile.Write(n.opts.State, 0o600, func(w io.Writer) error {
			_, err := io.Copy(w, strings.NewReader(string(b)))
			return err
		})
	}, err
}
