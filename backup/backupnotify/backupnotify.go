// Package backupnotify sends notifications about the backups of a job, each only once. A
// notification says that a run failed, that the new backup is suspect or did not pass its
// verification, or what [backup.Job.Check] found. Each kind of problem has its own message,
// reminders and end. A recovery is sent when all problems are over. A weekly summary confirms
// that all is well.
//
// The last notification is stored in a file that the command and the server of a service
// share. One problem therefore causes one message. Store the file outside the backup
// folder. Then a problem with that folder, and its end, are also sent.
package backupnotify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/internal/atomicfile"
	"github.com/mainstay-go/mainstay/internal/foreign"
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
	n.opts.RemindAfter = cmp.Or(n.opts.RemindAfter, defaultRemind)
	n.opts.MaxAge = cmp.Or(n.opts.MaxAge, defaultMaxAge)
	n.opts.Logger = cmp.Or(n.opts.Logger, slog.Default())
	var begin []byte
	if last := n.opts.Last; last != nil && !last.OK {
		// The time is old enough for a new message.
		begin, err = json.Marshal(state{Open: map[kind]*incident{before: {Since: last.Time, Told: last.Time.Add(-n.opts.RemindAfter)}}})
	}
	n.own <- begin
	return n, err
}

// state holds the open problems and the counts of the weekly summary.
type state struct {
	Open   map[kind]*incident `json:"open,omitempty"`
	Locked int                `json:"locked,omitempty"` // consecutive runs
	Digest time.Time          `json:"digest,omitzero"`  // start of the week
	Good   int                `json:"good,omitempty"`   // runs since then
	Failed int                `json:"failed,omitempty"`
}

// incident is an open problem of one kind.
type incident struct {
	Since time.Time `json:"since"`
	Told  time.Time `json:"told,omitzero"` // when the notifier accepted a message about it
}

// kind is a kind of problem. Each has its own reminders and its own end.
type kind string

// The kinds of problems.
const (
	failed   kind = "failed"
	verify   kind = "verify"
	later    kind = "later" // published, and a later stage failed
	occupied kind = "locked"
	before   kind = "before" // of the previous run, without details

	suspect    kind = "suspect"
	halfway    kind = "halfway"
	stale      kind = "stale"
	tested     kind = "restore test"
	damaged    kind = "damaged"
	identity   kind = "identity"
	unproven   kind = "unproven"
	targets    kind = "targets"
	unreadable kind = "unreadable"
)

// subjects describe the problems that [backup.Job.Check] finds.
var subjects = map[error]struct {
	kind  kind
	level notify.Level
	text  string
	known kind // a message about that run already contains it
}{
	backup.ErrHalfway:      {halfway, notify.Critical, "a restore is unfinished", ""},
	backup.ErrStale:        {stale, notify.Critical, "no recent backup", failed},
	backup.ErrVerification: {tested, notify.Critical, "the newest restore test failed", verify},
	backup.ErrDamaged:      {damaged, notify.Critical, "a stored backup is damaged", ""},
	backup.ErrNoIdentity:   {identity, notify.Warning, "the identity does not open the newest backup", ""},
	backup.ErrUnproven:     {unproven, notify.Critical, "no recent restore test", ""},
	backup.ErrSuspect:      {suspect, notify.Warning, "the new backup is suspect", ""},
	backup.ErrTarget:       {targets, notify.Warning, "a target is not up to date", later},
}

// Ran sends the notification of a run of [backup.Job.Backup], if one is due. It returns the
// error of the notifier.
func (n *Notices) Ran(ctx context.Context, report backup.Run, failure error) error {
	return n.update(ctx, func(u *update) {
		if errors.Is(failure, backup.ErrLocked) {
			if u.Locked++; u.Locked >= lockedRuns {
				u.problem(occupied, notify.Warning, "another run holds the lock",
					fmt.Sprintf("%d runs in a row found another one at work. Is it stuck?", u.Locked))
			}
			return
		}
		u.Locked = 0
		if failure == nil {
			u.Good++
			n.ranWell(ctx, u, report)
			return
		}
		u.Failed++
		text := new(redact.Redactor).Error(failure, 0)
		// A message contains the whole error, and so all problems of the run.
		var also []kind
		if errors.Is(failure, backup.ErrDamaged) {
			also = append(also, damaged)
		}
		switch {
		case report.Manifest == nil:
			u.problem(failed, notify.Critical, "FAILED", text+"\n\nNo backup was published and none was deleted."+n.rest(ctx, u.now), also...)
		case errors.Is(failure, backup.ErrVerification):
			u.problem(verify, notify.Critical, "the new backup did not pass its verification", text+"\n\nNone was deleted.", also...)
		case len(also) > 0:
			if errors.Is(failure, backup.ErrSuspect) {
				also = append(also, suspect)
			}
			u.problem(damaged, notify.Critical, "a stored backup is damaged", text, also...)
		case errors.Is(failure, backup.ErrSuspect):
			u.problem(suspect, notify.Warning, "the new backup is suspect",
				text+"\n\nNo backup is deleted until an operator checks it and accepts it ('accept "+report.Manifest.ID+"').")
		default:
			u.problem(later, notify.Warning, "published, with a problem", text)
		}
	})
}

// Failed sends the notification of a job that could not be opened.
func (n *Notices) Failed(ctx context.Context, failure error) error {
	return n.Ran(ctx, backup.Run{}, failure)
}

// Watch checks the job each hour until ctx ends, and sends the problems that
// [backup.Job.Check] finds: the newest good backup is too old, a stored backup is damaged, a
// restore was interrupted, and others. Use it in a long-running process: a run that never
// starts reports no failure.
func (n *Notices) Watch(ctx context.Context, job *backup.Job) error {
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		_, err := job.Check(ctx, n.opts.MaxAge)
		if ctx.Err() != nil {
			return nil
		}
		if err := n.checked(ctx, err); err != nil {
			n.opts.Logger.ErrorContext(ctx, "backupnotify: a notification about the backups was not sent", "job", n.job, "error", err)
		}
	}
}

// checked sends the result of [backup.Job.Check]. A problem that a recent message about a
// failed run contains is not sent again.
func (n *Notices) checked(ctx context.Context, failure error) error {
	var found backup.Problems
	if failure != nil && !errors.As(failure, &found) {
		return n.update(ctx, func(u *update) { // the state of the backups is unknown
			if !u.recent(failed) {
				u.problem(unreadable, notify.Critical, "the backups cannot be read", new(redact.Redactor).Error(failure, 0))
			}
		})
	}
	return n.update(ctx, func(u *update) {
		ended := []kind{unreadable}
		for of, subject := range subjects {
			if !slices.ContainsFunc(found, func(p backup.Problem) bool { return p.Kind == of }) { //nolint:errorlint // a kind is a value
				ended = append(ended, subject.kind)
			}
		}
		for _, p := range found {
			if subject := subjects[p.Kind]; !u.recent(subject.known) {
				u.problem(subject.kind, subject.level, subject.text, new(redact.Redactor).Error(p, 0))
			}
		}
		u.end("", ended...)
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

// update is one change of the state, with the messages that it causes.
type update struct {
	state
	n        *Notices
	now      time.Time
	messages []message
}

// message is a message that has to be sent.
type message struct {
	notify.Message
	about []kind // problems that count as sent; nil for an end, which is repeated until it is sent
}

func (u *update) send(level notify.Level, subject, text string, about ...kind) {
	m := notify.Message{Level: level, Subject: subject, Text: text, Source: u.n.job, Key: "backup-" + u.n.job, Time: u.now}
	u.messages = append(u.messages, message{m, about})
}

// recent reports whether a problem was sent recently. A clock that was set back must not
// suppress a message.
func (u *update) recent(k kind) bool {
	i := u.Open[k]
	if i == nil || i.Told.IsZero() {
		return false
	}
	since := u.now.Sub(i.Told)
	return since >= 0 && since < u.n.opts.RemindAfter
}

// problem opens a problem, and sends a message about it unless that was done recently. The
// message also contains the other kinds.
func (u *update) problem(k kind, level notify.Level, subject, text string, also ...kind) {
	about := append([]kind{k}, also...)
	due := false
	for _, k := range about {
		if u.Open == nil {
			u.Open = map[kind]*incident{}
		}
		if u.Open[k] == nil {
			u.Open[k] = &incident{Since: u.now}
		}
		due = due || !u.recent(k)
	}
	if !due {
		return
	}
	if since := u.Open[k].Since; u.now.Sub(since) > time.Hour {
		text += fmt.Sprintf("\n\nThere has been a problem since %s.", since.UTC().Format("2006-01-02 15:04 MST"))
	}
	u.send(level, "[BACKUP] "+u.n.job+": "+subject, text, about...)
}

// end closes problems. If the recipients know of them, end sends that they are over, and
// reports that.
func (u *update) end(text string, kinds ...kind) bool {
	var ended, open []string
	for _, k := range kinds {
		if i := u.Open[k]; i != nil {
			if !i.Told.IsZero() {
				ended = append(ended, string(k))
			}
			delete(u.Open, k)
		}
	}
	for k, i := range u.Open {
		if !i.Told.IsZero() {
			open = append(open, string(k))
		}
	}
	if len(ended) == 0 || u.n.opts.Mode == Failure {
		return false
	}
	slices.Sort(ended)
	slices.Sort(open)
	text = strings.TrimSpace(text + "\nOver: " + strings.Join(ended, ", ") + ".")
	if len(open) > 0 {
		u.send(notify.Info, "[BACKUP] "+u.n.job+": a problem is over", text+"\nNot over: "+strings.Join(open, ", ")+".")
		return true
	}
	u.send(notify.Recovery, "[BACKUP RECOVERED] "+u.n.job, text)
	return true
}

// ranWell sends the message about a good run, if one is due.
func (n *Notices) ranWell(ctx context.Context, u *update, report backup.Run) {
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
	// A good run does not end the problems of other backups, and of a restore.
	over := []kind{failed, verify, later, occupied, before, suspect, stale, targets, unreadable}
	if n.opts.Status == nil {
		over = append(over, damaged)
	} else if status, err := n.opts.Status(ctx); err == nil && status.Damaged == 0 {
		over = append(over, damaged)
	}
	recovered := u.end(about, over...)
	if u.Digest.IsZero() {
		u.Digest = u.now
	}
	switch {
	case recovered || n.opts.Mode == Failure:
	case n.opts.Mode == Always:
		u.send(notify.Info, "[BACKUP] "+n.job+": good", about)
	case u.now.Sub(u.Digest) >= digestEvery-12*time.Hour || u.now.Before(u.Digest):
		text := fmt.Sprintf("%d runs were good since %s, %d were not. The newest: %s\nYou hear this each week; if you do not, look here.",
			u.Good, u.Digest.UTC().Format(time.DateOnly), u.Failed, about)
		u.Digest, u.Good, u.Failed = u.now, 0, 0
		u.send(notify.Info, "[BACKUP] "+n.job+": the week", text)
	}
}

// update locks the state, decides, sends, and writes the state. If the notifier rejects the
// message that a problem is over, the old state remains.
func (n *Notices) update(ctx context.Context, decide func(*update)) error {
	data, put, err := n.load(ctx)
	if err != nil {
		// A second message is better than no message.
		n.opts.Logger.WarnContext(ctx, "backupnotify: the last notification cannot be read", "job", n.job, "error", err)
	}
	var changed []byte // nil: the state stays
	defer func() {     // also after a panic, which must not keep the state locked
		if err := put(changed); err != nil {
			n.opts.Logger.WarnContext(ctx, "backupnotify: the notification could not be recorded, and may be sent again", "job", n.job, "error", err)
		}
	}()
	u := &update{n: n, now: n.now()}
	if json.Unmarshal(data, &u.state) != nil {
		u.state = state{} // truncated, or a foreign file
	}
	for k, i := range u.Open {
		if i == nil {
			delete(u.Open, k)
		}
	}
	decide(u)
	var errs []error
	old := false
	for _, m := range u.messages {
		var err error
		if fault := foreign.Call(func() { err = n.next.Notify(ctx, m.Message) }); fault != nil {
			err = fmt.Errorf("backupnotify: the notifier %w", fault)
		}
		if err != nil {
			errs = append(errs, err)
			old = old || m.about == nil
			continue
		}
		for _, k := range m.about {
			u.Open[k].Told = u.now
		}
	}
	if !old { // otherwise the next run or check sends it
		if changed, err = json.Marshal(u.state); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
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
