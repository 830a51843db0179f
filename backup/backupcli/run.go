package backupcli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/notify"
)

// errNotify means that the backup is what it is, and that nobody could be told.
type errNotify struct{ err error }

func (e errNotify) Error() string { return "the notification could not be sent: " + e.err.Error() }
func (e errNotify) Unwrap() error { return e.err }

// run takes a backup.
func (c *command) run(ctx context.Context, args []string) error {
	var tell bool
	c.flags.Var(compressFlag{&c.o.Compression}, "compress", "compress with zstd-better, or with the given `method`: zstd, gzip, none")
	c.flags.IntVar(&c.o.Retention.Days, "keep-days", 30, "delete backups that are so many days older than the newest good one")
	c.flags.Var(recipientsFlag{&c.o.Recipients}, "encrypt-to", "age `recipient` (age1…); may be repeated")
	c.flags.Var(verifyFlag{&c.o}, "verify", "prove the backup by reading it back (decode), by restoring it into a scratch database too (restore), or not at all (none); by default it is read back, and restored weekly")
	c.flags.BoolVar(&tell, "notify", false, "send a message on failure, and on the first success after one")
	rest, done, err := c.parse(ctx, args)
	if err != nil {
		return err
	}
	defer done()
	switch {
	case len(rest) > 0:
		return usagef("unexpected argument %q", rest[0])
	case c.o.Retention.Days < 1:
		return usagef("--keep-days must be at least 1")
	case tell && c.Notifier == nil:
		return usagef("--notify needs a mail server or webhook: none is set up")
	}
	// What is wrong with the folder here is the run's to say, and then people are told.
	before, _ := c.job.Status(ctx)
	report, failure := c.job.Backup(ctx)
	c.print(report, failure)
	if tell {
		if err := c.tell(context.WithoutCancel(ctx), before, report, failure); err != nil {
			return errors.Join(failure, errNotify{err})
		}
	}
	return failure
}

func (c *command) print(report backup.Report, failure error) {
	m := report.Manifest
	if c.json {
		out := struct {
			OK       bool                   `json:"ok"`
			Error    string                 `json:"error,omitempty"`
			Backup   *backup.Manifest       `json:"backup"`
			Verified bool                   `json:"verified"`
			Restored bool                   `json:"restored"`
			Deleted  []string               `json:"deleted"`
			Warnings []string               `json:"warnings"`
			Targets  []backup.TargetOutcome `json:"targets,omitempty"`
		}{Targets: report.Targets, OK: failure == nil, Backup: m, Verified: report.Verified, Restored: report.Drilled, Deleted: append([]string{}, report.Deleted...), Warnings: append([]string{}, report.Warnings...)}
		if failure != nil {
			out.Error = failure.Error()
		}
		c.printJSON(out)
		return
	}
	for _, warning := range report.Warnings {
		fmt.Fprintf(c.Stderr, "%s: warning: %s\n", c.Name, warning)
	}
	if m == nil {
		return
	}
	verified := "not read back"
	if report.Verified {
		verified = "read back and compared"
	}
	if report.Drilled {
		verified += ", and restored into a scratch database"
	}
	fmt.Fprintf(c.Stdout, "%s  %d tables, %d rows, %s stored as %s in %v, %s\n", m.ID, len(m.Tables), m.RowsTotal,
		bytesOf(m.RawSize), bytesOf(m.Size), (time.Duration(m.DurationMS) * time.Millisecond).Round(time.Millisecond), verified)
	if n := len(report.Deleted); n > 0 {
		fmt.Fprintf(c.Stdout, "%d old backups deleted\n", n)
	}
	for _, o := range report.Targets {
		if o.OK { // the others are in the error
			fmt.Fprintf(c.Stdout, "target %s: %d copied, %d deleted, up to date\n", o.Name, len(o.Copied), len(o.Deleted))
		}
	}
}

// tell sends a message on failure, and on the first success after a failure.
func (c *command) tell(ctx context.Context, before backup.Status, report backup.Report, failure error) error {
	message := notify.Message{Source: c.job.Name(), Key: "backup-" + c.job.Name(), Time: time.Now()}
	switch {
	case errors.Is(failure, backup.ErrLocked):
		return nil
	case failure != nil && report.Manifest != nil:
		message.Level = notify.Warning
		message.Subject = "[BACKUP] " + c.job.Name() + ": published, with a problem"
		message.Text = failure.Error()
	case failure != nil:
		message.Level = notify.Critical
		message.Subject = "[BACKUP FAILED] " + c.job.Name()
		message.Text = failure.Error() + "\n\nNo backup was published and none was deleted."
		if before.Newest != nil {
			message.Text += fmt.Sprintf("\nThe newest good backup is %s, %s.", before.Newest.ID, ago(before.Newest.Time()))
		} else {
			message.Text += "\nThere is no good backup at all."
		}
	case before.Last != nil && !before.Last.OK:
		message.Level = notify.Recovery
		message.Subject = "[BACKUP RECOVERED] " + c.job.Name()
		message.Text = fmt.Sprintf("%s is good: %d tables, %d rows, %s.", report.Manifest.ID, len(report.Manifest.Tables), report.Manifest.RowsTotal, bytesOf(report.Manifest.Size))
	default:
		return nil
	}
	return c.Notifier.Notify(ctx, message)
}

func (c *command) printJSON(v any) {
	encoder := json.NewEncoder(c.Stdout)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		fmt.Fprintf(c.Stderr, "%s: %v\n", c.Name, err)
	}
}
