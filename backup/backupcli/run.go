package backupcli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/backupnotify"
)

// errNotify means that a notification was not sent. It does not concern the backup.
type errNotify struct{ err error }

func (e errNotify) Error() string { return "the notification could not be sent: " + e.err.Error() }
func (e errNotify) Unwrap() error { return e.err }

// run makes a backup.
func (c *command) run(ctx context.Context, args []string) error {
	var tell notifyFlag
	var pin, look bool
	c.flags.Var(compressFlag{&c.o.Compression}, "compress", "compress with zstd, or with the given `method`: zstd, gzip, none")
	c.flags.IntVar(&c.o.Retention.Days, "keep-days", 30, "delete backups that are so many days older than the newest good one")
	c.flags.Var(recipientsFlag{&c.o.Recipients}, "encrypt-to", "age `recipient` (age1…); may be repeated")
	c.flags.Var(verifyFlag{&c.o}, "verify", "prove the backup by reading it back (decode), by restoring it into a scratch database too (restore), or not at all (none); by default it is read back, and restored weekly")
	c.flags.BoolVar(&pin, "keep", false, "pin the new backup, so that retention never deletes it")
	c.flags.BoolVar(&look, "check-config", false, "only find out whether a backup would fail before its dump")
	c.flags.Var(&tell, "notify", "send a message on failure, on the first success after one, and weekly (change, the default); on failure only (failure); or of each run (always)")
	rest, err := c.read(args)
	if err != nil {
		return err
	}
	switch {
	case len(rest) > 0:
		return usagef("unexpected argument %q%s", rest[0], meant(rest[0]))
	case c.o.Retention.Days < 1:
		return usagef("--keep-days must be at least 1")
	case tell.on && c.Notifier == nil:
		return usagef("--notify needs a mail server or webhook: none is set up")
	}
	beat, err := newHeartbeat(c.Heartbeat)
	if err != nil {
		return usagef("%v", err)
	}
	if look {
		beat = nil
	}
	beating := func(what, text string) {
		if err := beat.ping(ctx, what, text); err != nil {
			fmt.Fprintf(c.Stderr, "%s: warning: %v\n", c.Name, err)
		}
	}
	beating("/start", "")
	var b *bar
	if !c.json && !look {
		if b = newBar(c.Stderr); b != nil {
			c.o.Trace = &backup.Trace{Progress: b.draw}
		}
	}
	done, err := c.openJob(ctx)
	if err != nil {
		beating("/fail", err.Error())
		if !errors.As(err, new(errUsage)) && !look {
			c.print(backup.Run{}, err)
			err = c.tell(ctx, tell, backup.Run{}, err)
		}
		return err
	}
	defer done()
	if look {
		return c.look(ctx)
	}
	// Ignore an error here. The run reports a problem with the folder, and then a
	// notification is sent.
	before, _ := c.job.Status(ctx)
	c.last = before.Last
	report, failure := c.job.Backup(ctx)
	b.clear()
	if pin && report.Manifest != nil {
		if err := c.job.Pin(context.WithoutCancel(ctx), report.Manifest.ID, true); err != nil && failure == nil {
			failure = &backup.StageError{Stage: "pin", Published: true, Err: err}
		}
	}
	if failure != nil {
		beating("/fail", failure.Error())
	} else {
		beating("", "")
	}
	c.print(report, failure)
	return c.tell(ctx, tell, report, failure)
}

// meant is a hint for a value without its flag.
func meant(argument string) string {
	flag := ""
	if _, err := backup.ParseCompression(argument); err == nil {
		flag = "compress"
	}
	if _, err := backupnotify.ParseMode(argument); err == nil {
		flag = "notify"
	}
	if flag == "" || argument == "" {
		return ""
	}
	return fmt.Sprintf(": write --%s=%s", flag, argument)
}

// look is --check-config.
func (c *command) look(ctx context.Context) error {
	warnings, err := c.job.Preflight(ctx)
	if c.json {
		c.printJSON(outcomeOf(warnings, err))
		return err
	}
	for _, warning := range warnings {
		fmt.Fprintf(c.Stderr, "%s: warning: %s\n", c.Name, warning)
	}
	if err == nil {
		fmt.Fprintln(c.Stdout, "nothing stands in the way of a backup")
	}
	return err
}

// outcomeJSON is the outcome of a command without other output.
type outcomeJSON struct {
	OK       bool     `json:"ok"`
	Error    string   `json:"error,omitempty"`
	ID       string   `json:"id,omitempty"`
	Pinned   *bool    `json:"pinned,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

func outcomeOf(warnings []string, err error) outcomeJSON {
	o := outcomeJSON{OK: err == nil, Warnings: warnings}
	if err != nil {
		o.Error = err.Error()
	}
	return o
}

// notifyFlag is --notify alone, or with a mode.
type notifyFlag struct {
	on   bool
	mode backupnotify.Mode
}

func (f *notifyFlag) String() string { return "" }

func (f *notifyFlag) IsBoolFlag() bool { return true }

func (f *notifyFlag) Set(s string) (err error) {
	f.on = s != "false"
	if s == "true" || s == "false" {
		s = ""
	}
	if f.mode, err = backupnotify.ParseMode(s); err != nil {
		return errors.New("use failure, change or always")
	}
	return nil
}

// spool is a notifier that stores undelivered messages, such as *notify.Spool.
type spool interface{ Flush(context.Context) int }

// tell sends the notification of a run. It returns the failure of the run and its own
// error.
func (c *command) tell(ctx context.Context, how notifyFlag, report backup.Run, failure error) error {
	if !how.on {
		return failure
	}
	ctx = context.WithoutCancel(ctx)
	o := &backupnotify.Options{Mode: how.mode, State: c.State, Last: c.last}
	name := c.Name
	if c.job != nil {
		name, o.Status = c.job.Name(), c.job.Status
	}
	n, err := backupnotify.New(name, c.Notifier, o)
	if err == nil {
		err = n.Ran(ctx, report, failure)
	}
	if s, ok := c.Notifier.(spool); ok && err == nil {
		if waiting := s.Flush(ctx); waiting > 0 {
			err = fmt.Errorf("%d messages wait, and go with the next run", waiting)
		}
	}
	if err == nil {
		return failure
	}
	if failure == nil {
		return errNotify{err}
	}
	return fmt.Errorf("%w\n%w", failure, errNotify{err})
}

func (c *command) print(report backup.Run, failure error) {
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
		}{Targets: report.Targets, OK: failure == nil, Backup: withoutAccounts(m), Verified: report.Verified, Restored: report.Restored, Deleted: append([]string{}, report.Deleted...), Warnings: append([]string{}, report.Warnings...)}
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
	if report.Restored {
		verified += ", and restored into a scratch database"
	}
	fmt.Fprintf(c.Stdout, "%s  %d tables, %d rows, %s stored as %s in %v, %s\n", m.ID, len(m.Tables), m.RowsTotal,
		bytesOf(m.RawSize), bytesOf(m.Size), (time.Duration(m.DurationMS) * time.Millisecond).Round(time.Millisecond), verified)
	if n := len(report.Deleted); n > 0 {
		fmt.Fprintf(c.Stdout, "%d old backups deleted\n", n)
	}
	for _, o := range report.Targets {
		if o.OK { // failed targets are part of the error
			fmt.Fprintf(c.Stdout, "target %s: %d copied, %d deleted, up to date\n", o.Name, len(o.Copied), len(o.Deleted))
		}
	}
}

func (c *command) printJSON(v any) {
	encoder := json.NewEncoder(c.Stdout)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		fmt.Fprintf(c.Stderr, "%s: %v\n", c.Name, err)
	}
}
