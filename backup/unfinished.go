package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// UnfinishedRestore describes a restore that was interrupted, or that failed and could not
// remove its traces. Its marker lies beside the backups. [Job.Check] fails until a restore
// over the same database succeeds, or until [Job.Settle] is called.
type UnfinishedRestore struct {
	Time     time.Time `json:"time"`     // when it began
	ID       string    `json:"id"`       // the backup that was being restored
	Database string    `json:"database"` // the new database, or the one that is overwritten
	// Over means that the restore overwrites Database.
	Over bool `json:"over,omitempty"`
	// Changed means that an overwriting restore had begun to change Database.
	Changed bool   `json:"changed,omitempty"`
	Safety  string `json:"safety,omitempty"` // the backup of the previous state
	// Left are the databases, files or folders that the restore may have left behind.
	Left []string `json:"left,omitempty"`

	Host  string    `json:"host,omitempty"`  // of the process that restores
	PID   int       `json:"pid,omitempty"`   // id of that process on Host
	Seen  time.Time `json:"seen"`            // when the process last wrote the marker
	Ended bool      `json:"ended,omitempty"` // the restore returned an error; false if it was interrupted

	file    string
	unread  error // why the marker says nothing; nil if it was read
	trusted bool  // authenticated by Options.ManifestKey
}

// ErrHalfway means that a restore was interrupted. An overwriting restore may have changed
// its database. Another restore may have left an incomplete database.
var ErrHalfway = errors.New("backup: a restore is unfinished")

// A running restore writes its marker again in this interval. After the time limit, another
// host considers it interrupted.
const (
	markEvery = time.Minute
	markLimit = 5 * time.Minute
)

// The name of a marker is restoring.JOB.TIME.DIGITS.json. It contains dots, so that it is
// never the name of a backup, and the name of the job, because jobs may share a storage.
const (
	markPrefix = "restoring."
	markSuffix = ".json"
)

// running reports whether the process that restores still exists.
func (u *UnfinishedRestore) running(now time.Time) bool {
	// A time in the future is the time of a wrong clock, or of an attacker.
	if age := now.Sub(u.Seen); u.Ended || age > markLimit || age < -markLimit {
		return false
	}
	host, err := os.Hostname()
	return err != nil || host != u.Host || hasProcess(u.PID)
}

// hasProcess reports whether this host has a process with this number.
func hasProcess(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release() //nolint:errcheck // it was only asked for
	return !errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

// String describes the restore and the next step.
func (u *UnfinishedRestore) String() string {
	began := u.Time.Format(time.RFC3339)
	left := ""
	if len(u.Left) > 0 {
		left = ", and may have left " + strings.Join(u.Left, ", ")
	}
	switch {
	case u.unread != nil:
		return fmt.Sprintf("a restore began before %s and may have been interrupted, but its marker %s says no more: %s: check the database, then settle it", began, u.file, strings.TrimPrefix(u.unread.Error(), "backup: "+u.file+": "))
	case u.Changed:
		return fmt.Sprintf("the restore of %s over %s began at %s and did not end%s: repeat it, or settle it after you have checked %s (the state before is in %s)",
			u.ID, u.Database, began, left, u.Database, u.Safety)
	case u.Over:
		return fmt.Sprintf("the restore of %s over %s began at %s and was interrupted before it changed %s%s: repeat it, or settle it",
			u.ID, u.Database, began, u.Database, left)
	}
	if len(u.Left) == 0 {
		return fmt.Sprintf("the restore of %s into the existing database %s began at %s and did not end, so %s is incomplete: empty it, settle it, and restore again",
			u.ID, u.Database, began, u.Database)
	}
	as := strings.Join(u.Left, ", ")
	return fmt.Sprintf("the restore of %s as %s began at %s and did not end, so %s is incomplete: settle it, and restore again", u.ID, as, began, as)
}

// restoreMark is the marker of a restore of this process.
type restoreMark struct {
	job  *Job // whose storage holds the marker
	mu   sync.Mutex
	u    UnfinishedRestore
	made bool
	stop func() // ends the repeated writes
}

// newMark returns a marker that is not stored yet.
func (j *Job) newMark(u UnfinishedRestore) *restoreMark {
	u.Time, u.PID = j.now().UTC(), os.Getpid()
	u.Host, _ = os.Hostname() // without a name only the time counts
	u.file = markPrefix + j.name + "." + u.Time.Format(server.Stamp) + "." + server.RandomDigits() + markSuffix
	return &restoreMark{job: j.atHome(), u: u, stop: func() {}}
}

// creates implements RestoreOptions.Creates. A storage that cannot be written to prevents
// only an overwriting restore.
func (m *restoreMark) creates(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name != "" {
		m.u.Left = append(m.u.Left, name)
		if !m.u.Over {
			m.u.Database = name
		}
	}
	err := m.write(ctx)
	if err != nil && !m.u.Over {
		m.job.opts.Logger.WarnContext(ctx, "backup: an interruption of this restore would not be noticed", "job", m.job.name, "error", err)
		return nil
	}
	return err
}

// touch implements RestoreOptions.Touch.
func (m *restoreMark) touch(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.u.Changed = true
	return m.write(ctx)
}

// write stores the marker, and begins to repeat that.
func (m *restoreMark) write(ctx context.Context) error {
	m.u.Seen = m.job.now().UTC()
	if err := m.job.writeSealed(ctx, m.u.file, m.u); err != nil {
		return fmt.Errorf("backup: mark the restore as begun: %w", err)
	}
	if m.made {
		return nil
	}
	m.made = true
	ctx, cancel := context.WithCancel(ctx)
	var again sync.WaitGroup
	again.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(markEvery):
			}
			m.mu.Lock()
			if ctx.Err() == nil {
				_ = m.write(ctx) // the next write may succeed
			}
			m.mu.Unlock()
		}
	})
	m.stop = func() { cancel(); again.Wait() }
	return nil
}

// end removes the marker. It keeps the marker if the restore failed and has left something.
func (m *restoreMark) end(ctx context.Context, outcome error) error {
	m.stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if !m.made {
		return nil
	}
	if errors.Is(outcome, driver.ErrHalfway) || errors.Is(outcome, driver.ErrLeft) {
		m.u.Ended = true
		return m.write(ctx)
	}
	return m.job.unmark(ctx, m.u.file)
}

func (j *Job) unmark(ctx context.Context, file string) error {
	if err := j.atHome().storage.Remove(ctx, file); err != nil {
		return fmt.Errorf("backup: remove the marker of the restore: %w", err)
	}
	return nil
}

// atHome returns the job for its own storage.
func (j *Job) atHome() *Job {
	if j.home != nil {
		return j.home
	}
	return j
}

// Unfinished returns the interrupted restores, the oldest first. It does not return a restore
// that is running.
func (j *Job) Unfinished(ctx context.Context) ([]UnfinishedRestore, error) {
	home := j.atHome()
	objects, err := home.objects(ctx)
	if err != nil {
		return nil, err
	}
	return home.unfinishedOf(ctx, objects)
}

func (j *Job) unfinishedOf(ctx context.Context, objects []Object) ([]UnfinishedRestore, error) {
	list, err := j.marksOf(ctx, objects)
	return slices.DeleteFunc(list, func(u UnfinishedRestore) bool { return u.running(j.now()) }), err
}

// marksOf returns all markers, the oldest first. It also returns the error for one that may be readable later: its
// restore may be running.
func (j *Job) marksOf(ctx context.Context, objects []Object) (list []UnfinishedRestore, later error) {
	for _, o := range objects {
		if !strings.HasPrefix(o.Name, markPrefix+j.name+".") || !strings.HasSuffix(o.Name, markSuffix) {
			continue
		}
		var u UnfinishedRestore
		switch err := j.readSealed(ctx, o.Name, &u); {
		case errors.Is(err, ErrNotFound):
			continue // the restore has ended since the listing
		case err != nil: // still a marker, whose content counts for nothing
			u = UnfinishedRestore{Database: "an unknown database", Over: true, Changed: true, Time: o.Modified, unread: err}
			if !errors.Is(err, errSeal) && !errors.Is(err, errLarge) && !errors.Is(err, syscall.EIO) {
				later = err
			}
		}
		u.file, u.trusted = o.Name, len(j.opts.ManifestKey) > 0
		list = append(list, u)
	}
	slices.SortFunc(list, func(a, b UnfinishedRestore) int { return a.Time.Compare(b.Time) })
	return list, later
}

// Settle ends interrupted restores: [Job.Check] then no longer reports them. If drop is
// true, Settle first removes the databases, files or folders that they may have left. That
// includes an incomplete database, and the tables of a database that was overwritten. The
// overwritten database itself stays. Without Options.ManifestKey, Settle removes only names
// that restores choose themselves, and its error lists the others for the operator. Settle
// returns the restores that it ended. It does not touch a restore that is running.
func (j *Job) Settle(ctx context.Context, drop bool) ([]UnfinishedRestore, error) {
	list, err := j.Unfinished(ctx)
	if err != nil {
		return nil, err
	}
	for i, u := range list {
		if drop {
			if err := j.discard(ctx, u); err != nil {
				return list[:i], err
			}
		}
		if err := j.unmark(ctx, u.file); err != nil {
			return list[:i], err
		}
	}
	return list, nil
}

// discard removes what a restore may have left. An attacker may have written a marker that no
// key authenticates. Such a marker removes only names that restores choose themselves.
func (j *Job) discard(ctx context.Context, u UnfinishedRestore) error {
	if len(u.Left) == 0 {
		return nil
	}
	discard := j.source.Abilities().Discard
	if discard == nil {
		return fmt.Errorf("backup: this source cannot remove %s: remove it by hand, and settle without that", strings.Join(u.Left, ", "))
	}
	var foreign []string
	for _, name := range u.Left {
		switch {
		case u.Over && name == u.Database:
		case !u.trusted && !j.leftover(ctx, name):
			foreign = append(foreign, name)
		default:
			if err := discard(ctx, name); err != nil {
				return err
			}
		}
	}
	if len(foreign) > 0 {
		return fmt.Errorf("backup: %s has a name that an operator chose, and the marker of the restore could be forged: see whether it is an incomplete restore, remove it by hand, and settle without that", strings.Join(foreign, ", "))
	}
	return nil
}

// leftover reports whether a restore of this source chose the name itself.
func (j *Job) leftover(ctx context.Context, name string) bool {
	able := j.source.Abilities()
	if able.Leftover != nil {
		return able.Leftover(ctx, name)
	}
	if able.Original == nil {
		return false
	}
	original, err := able.Original(ctx)
	return err == nil && server.Leftover(original, name)
}

// inTheWay names the next step if an interrupted restore has left the target of another one.
func (j *Job) inTheWay(ctx context.Context, target string) string {
	list, err := j.Unfinished(context.WithoutCancel(ctx))
	for _, u := range list {
		if err == nil && target != "" && slices.Contains(u.Left, target) {
			return fmt.Sprintf(" (an interrupted restore may have left %s: settle it, and restore again)", target)
		}
	}
	return ""
}

// restoredAgain forgets earlier restores into a database that now is complete.
func (j *Job) restoredAgain(ctx context.Context, target string) (warnings []string) {
	ctx = context.WithoutCancel(ctx)
	list, err := j.Unfinished(ctx)
	for _, u := range list {
		if err == nil && !u.Over && (u.Database == target || slices.Contains(u.Left, target)) {
			err = j.unmark(ctx, u.file)
		}
	}
	if err != nil {
		return []string{"an earlier restore with this name that was interrupted could not be forgotten: " + strings.TrimPrefix(err.Error(), "backup: ")}
	}
	return nil
}

// changedBefore returns the oldest restore over the source that was interrupted while it changed
// it, nil without one. Only the safety backup of that one holds the state before.
func (j *Job) changedBefore(ctx context.Context) *UnfinishedRestore {
	list, _ := j.Unfinished(ctx) // an error is reported when the whole list is needed
	for i := range list {
		if list[i].Over && list[i].Changed {
			return &list[i]
		}
	}
	return nil
}

// halfRestored returns why a backup that is made now may hold half a database.
func (j *Job) halfRestored(ctx context.Context) string {
	u := j.changedBefore(ctx)
	if u == nil {
		return ""
	}
	text := fmt.Sprintf("the restore of %s over %s was interrupted before this backup, so it may hold half of it", cmp.Or(u.ID, "an unknown backup"), u.Database)
	if u.Safety != "" {
		text += " (the state before is in " + u.Safety + ")"
	}
	return text
}

// superseded ends earlier restores over a database. Before another restore, it removes what
// those left that did not change the database, which frees space. After a restore has
// succeeded, it also removes what the others left, if the backup of the state before still
// exists.
func (j *Job) superseded(ctx context.Context, database string, succeeded bool) (warnings []string) {
	ctx = context.WithoutCancel(ctx)
	list, err := j.Unfinished(ctx)
	if err != nil {
		return []string{"earlier restores that were interrupted could not be looked for: " + strings.TrimPrefix(err.Error(), "backup: ")}
	}
	var told []string
	for _, u := range list {
		if !u.Over || u.Database != database || u.Changed && !succeeded {
			continue
		}
		if u.Changed {
			safety, err := j.atHome().Find(ctx, u.Safety)
			if err != nil || u.Safety == "" || safety.State != Good && safety.State != Suspect {
				warnings = append(warnings, fmt.Sprintf("an interrupted restore of %s may have left %s, and the backup of the state before is gone: look, then settle it", u.ID, strings.Join(u.Left, ", ")))
				continue
			}
			if !slices.Contains(told, u.Safety) {
				told = append(told, u.Safety)
				warnings = append(warnings, fmt.Sprintf("an earlier restore over %s was interrupted, and this one has replaced what it left: the state before that one is in %s", database, u.Safety))
			}
		}
		err := j.discard(ctx, u)
		if err == nil {
			err = j.unmark(ctx, u.file)
		}
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("an interrupted restore of %s may have left %s: %s", u.ID, strings.Join(u.Left, ", "), strings.TrimPrefix(err.Error(), "backup: ")))
		}
	}
	return warnings
}
