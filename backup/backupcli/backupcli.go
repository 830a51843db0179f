// Package backupcli is a backup command that any service can include:
//
//	backup [--compress[=zstd|gzip|none]] [--keep-days=30] [--encrypt-to age1…] [--notify] [--json]
//	       [--verify=decode|restore|none] [--keep]
//	backup --check-config
//	backup list | verify [--restore] | restore | prune | pin | accept | delete | accounts | check | settle [--target NAME]
//	backup history [--last=20]
//	backup notify-test
//
// Exit codes:
//
//   - 0: good
//   - 1: the backup failed and was not published, or check found an interrupted restore
//   - 2: wrong usage or settings
//   - 3: published, but a later step failed or the backup is suspect; check: the newest backup is suspect,
//     or a target is not up to date
//   - 4: a verification or a restore test failed, or a stored backup is damaged
//   - 5: another run holds the lock
//   - 6: check found no recent backup or no recent restore test
//   - 130: interrupted
//   - 143: ended by SIGTERM
//
// Of several problems, check returns the code of the most urgent one: an interrupted restore,
// no recent backup, a failed restore test, a damaged backup, and then the others. Its output
// has all of them.
package backupcli

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/notify"
)

// The exit codes.
const (
	Good               = 0
	Failed             = 1
	Usage              = 2
	Incomplete         = 3
	VerificationFailed = 4
	Locked             = 5
	Stale              = 6
	Interrupted        = 130
	Terminated         = 143
)

// OpenFunc creates the job of the service with the options of the command line. It also
// returns a function that closes its resources. A [SettingError] ends the command with
// Usage. Any other error is a failed backup, and a notification is sent.
type OpenFunc func(ctx context.Context, o backup.Options) (job *backup.Job, close func(), err error)

// SettingError means that the settings of the service are wrong. The operator must correct
// them, because a retry cannot succeed.
type SettingError struct {
	Err error // the cause, never nil
}

func (e *SettingError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *SettingError) Unwrap() error { return e.Err }

// Options configure the command. The zero value and nil are valid.
type Options struct {
	// Name is the name of the command in its output. Default: "backup".
	Name string
	// Notifier receives failures and recoveries if --notify is given. A *notify.Spool
	// stores undelivered messages for the next run. Default: nil. Then --notify is a usage
	// error.
	Notifier notify.Notifier
	// State is the file with the last notification; see backupnotify.Options. Default:
	// no file. Then every failure is sent, and recoveries are detected from the status in the
	// job's own folder.
	State string
	// Heartbeat is the URL of a dead man's switch, for runs by cron. That is a service that
	// sends a message if it receives no ping. Each run posts to URL/start. At the end it
	// posts to URL, or to URL/fail with the error as the body. The URL is a secret: read it
	// from the environment or from a file. Default: no pings.
	Heartbeat string
	// Stdout and Stderr receive the output. Default: those of the process.
	Stdout, Stderr io.Writer
}

// command is one call.
type command struct {
	Options
	open   OpenFunc
	flags  *flag.FlagSet
	json   bool
	target string
	job    *backup.Job
	last   *backup.Run // the previous run
	o      backup.Options
}

// commands is the start of the --help text.
const commands = `%[1]s            take a backup, with the options below
%[1]s list       show what there is, the newest first
%[1]s restore    [ID] into a new database; ID --overwrite NAME in the place of the original
%[1]s verify     [ID | --all] [--restore]: read back, and restore for a trial
%[1]s check      is the newest good backup recent, and proven by a restore?
%[1]s settle     [--drop | --keep]: clean up after an interrupted restore
%[1]s history    what the last runs did
%[1]s prune      [--dry-run]: delete old ones, and say why the others stay
%[1]s pin        ID [--remove]: keep it from being deleted, or no longer
%[1]s accept     ID: a suspect backup is right
%[1]s delete     ID: remove a damaged backup
%[1]s accounts   [ID]: print the statements that create the roles or users of the backup
%[1]s notify-test: send a message
Each has its own --help. ID is as in list; without one it is the newest good backup.

`

// errUsage is a mistake in the command line.
type errUsage struct{ text string }

func (e errUsage) Error() string { return e.text }

func usagef(format string, args ...any) error { return errUsage{fmt.Sprintf(format, args...)} }

// Run runs the command with its arguments and returns the exit code. opts may be nil.
func Run(ctx context.Context, args []string, open OpenFunc, opts *Options) int {
	c := &command{open: open}
	if opts != nil {
		c.Options = *opts
	}
	c.Name = cmp.Or(c.Name, "backup")
	if c.Stdout == nil {
		c.Stdout = os.Stdout
	}
	if c.Stderr == nil {
		c.Stderr = os.Stderr
	}
	verb := "run"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	if verb == "help" {
		verb, args = "run", []string{"--help"}
	}
	do, ok := map[string]func(context.Context, []string) error{
		"run": c.run, "list": c.list, "verify": c.verify, "restore": c.restore,
		"prune": c.prune, "pin": c.pin, "accept": c.accept, "delete": c.delete, "accounts": c.accounts, "check": c.check, "settle": c.settle, "history": c.history, "notify-test": c.notifyTest,
	}[verb]
	if !ok {
		return c.exit(ctx, usagef("unknown command %q: use list, verify, restore, prune, pin, accept, delete, accounts, check, settle, history or notify-test, or none to take a backup", verb))
	}
	name := c.Name
	if verb != "run" {
		name += " " + verb
	}
	c.flags = flag.NewFlagSet(name, flag.ContinueOnError)
	c.flags.SetOutput(io.Discard)
	c.flags.BoolVar(&c.json, "json", false, "print JSON")
	if verb != "run" {
		c.flags.StringVar(&c.target, "target", "", "the `name` of a further storage: use the copies there")
	}
	return c.exit(ctx, do(ctx, args))
}

// parse reads the flags and opens the job.
func (c *command) parse(ctx context.Context, args []string) (rest []string, done func(), err error) {
	if rest, err = c.read(args); err != nil {
		return nil, nil, err
	}
	done, err = c.openJob(ctx)
	return rest, done, err
}

// read reads the flags.
func (c *command) read(args []string) (rest []string, err error) {
	rest, err = c.parseMixed(args)
	if errors.Is(err, flag.ErrHelp) {
		if c.flags.Name() == c.Name {
			fmt.Fprintf(c.Stdout, commands, c.Name)
		}
		fmt.Fprintf(c.Stdout, "Usage of %s:\n", c.flags.Name())
		c.flags.SetOutput(c.Stdout)
		c.flags.PrintDefaults()
		return nil, err
	}
	if err != nil {
		text := strings.Replace(err.Error(), "invalid boolean value", "invalid value", 1) // for a flag that needs no value
		return nil, usagef("%s: see %s --help", text, c.flags.Name())
	}
	return rest, nil
}

func (c *command) openJob(ctx context.Context) (done func(), err error) {
	job, done, err := c.open(ctx, c.o)
	if setting := new(SettingError); errors.As(err, &setting) {
		return nil, usagef("%v", setting.Err)
	}
	if err != nil {
		return nil, err
	}
	if done == nil {
		done = func() {}
	}
	if c.target != "" {
		if c.job, err = job.Target(c.target); err != nil {
			done()
			return nil, usagef("there is no target %q, only %s", c.target, cmp.Or(strings.Join(job.Targets(), ", "), "none"))
		}
		return done, nil
	}
	c.job = job
	return done, nil
}

// parseMixed accepts flags before and after the other arguments.
func (c *command) parseMixed(args []string) (rest []string, err error) {
	for {
		if err := c.flags.Parse(args); err != nil {
			return nil, err
		}
		args = c.flags.Args()
		if len(args) == 0 {
			return rest, nil
		}
		rest, args = append(rest, args[0]), args[1:]
	}
}

// exit turns an error into an output line and an exit code.
func (c *command) exit(ctx context.Context, err error) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return Good
	}
	fmt.Fprintf(c.Stderr, "%s: %s\n", c.Name, strings.TrimPrefix(err.Error(), "backup: "))
	var stage *backup.StageError
	var found backup.Problems
	switch {
	case errors.As(err, &found): // the most urgent one is first
		return codeOf(found[0].Kind)
	case errors.As(err, new(errUsage)):
		return Usage
	case errors.Is(err, backup.ErrLocked):
		return Locked
	case errors.Is(err, backup.ErrStale):
		return Stale
	case errors.Is(err, backup.ErrVerification), errors.Is(err, backup.ErrDamaged):
		return VerificationFailed
	case errors.Is(err, backup.ErrUnproven):
		return Stale
	case errors.As(err, &stage) && stage.Published, stage == nil && (errors.Is(err, backup.ErrSuspended) || errors.Is(err, backup.ErrSuspect)):
		return Incomplete
	case ctx.Err() != nil && strings.HasPrefix(context.Cause(ctx).Error(), "terminated"): // the text that signal.NotifyContext sets
		return Terminated
	case ctx.Err() != nil:
		return Interrupted
	case errors.Is(err, backup.ErrNotFound), errors.Is(err, backup.ErrNoIdentity), errors.Is(err, backup.ErrNotConfirmed):
		return Usage
	}
	if _, alone := err.(errNotify); alone { //nolint:errorlint // together with another failure it changes no exit code
		return Incomplete
	}
	return Failed
}

// codeOf returns the exit code of a problem that check found.
func codeOf(kind error) int {
	switch kind {
	case backup.ErrStale, backup.ErrUnproven: //nolint:errorlint // a kind is a value
		return Stale
	case backup.ErrVerification, backup.ErrDamaged, backup.ErrNoIdentity:
		return VerificationFailed
	case backup.ErrSuspect, backup.ErrTarget:
		return Incomplete
	}
	return Failed
}

// verifyFlag is --verify: how to verify a new backup.
type verifyFlag struct{ to *backup.Options }

func (f verifyFlag) String() string { return "" }

func (f verifyFlag) Set(s string) error {
	f.to.SkipVerify, f.to.RestoreTest.Every = false, -1
	switch s {
	case "none":
		f.to.SkipVerify = true
	case "decode":
	case "restore":
		f.to.RestoreTest.Every = 1 // in each run
	default:
		return errors.New("use restore, decode or none")
	}
	return nil
}

// compressFlag is --compress alone, or with a value.
type compressFlag struct{ to *backup.Compression }

func (f compressFlag) String() string { return "" }

func (f compressFlag) IsBoolFlag() bool { return true }

func (f compressFlag) Set(s string) error {
	switch s {
	case "true":
		s = ""
	case "false":
		s = string(backup.None)
	}
	c, err := backup.ParseCompression(s)
	if err != nil {
		return errors.New("use zstd, zstd-better, gzip or none")
	}
	*f.to = c
	return nil
}

// recipientsFlag is --encrypt-to, any number of times.
type recipientsFlag struct{ to *[]age.Recipient }

func (f recipientsFlag) String() string { return "" }

func (f recipientsFlag) Set(s string) error {
	list, err := age.ParseRecipients(strings.NewReader(s))
	if err != nil {
		return errors.New("it is no age recipient (age1…)")
	}
	*f.to = append(*f.to, list...)
	return nil
}

// identitiesFlag is --identity, a file with age identities.
type identitiesFlag struct{ to *[]age.Identity }

func (f identitiesFlag) String() string { return "" }

func (f identitiesFlag) Set(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	list, err := age.ParseIdentities(file)
	if err != nil {
		return fmt.Errorf("%s holds no age identity", path)
	}
	*f.to = append(*f.to, list...)
	return nil
}

func (c *command) identityFlag() {
	c.flags.Var(identitiesFlag{&c.o.Identities}, "identity", "`file` with the age identity that opens encrypted backups")
}

// ago returns the age of a backup in readable form.
func ago(t time.Time) string {
	d := time.Since(t)
	switch {
	case d < -time.Minute:
		return "IN THE FUTURE"
	case d < time.Minute:
		return "just now"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

func bytesOf(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}
