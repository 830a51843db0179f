package healthcli

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/notify"
)

// Exit codes of [Command.Run].
const (
	Pass     = 0
	Warn     = 1
	Fail     = 2
	NoResult = 3 // the checks could not be run, or a message was due and could not be delivered
)

// Command is a health command. Only Registry is needed.
type Command struct {
	// Name is the command that users type, for the usage text. Default: "health".
	Name string
	// Registry creates the registry. It is not called for --url. Its context ends with
	// Run, or at the timeout. With --notify it is called again after an error, as a bad
	// check is run again. An error that stays is an alert of its own, "health-command".
	Registry func(ctx context.Context) (*health.Registry, error)
	// Notifier creates the channel for --notify and --test-notify. Default: nil, and
	// both are rejected.
	Notifier func() (notify.Notifier, error)
	// Alert tunes the messages of --notify. Its Store must outlive the process.
	// Otherwise every run would be the first. --state replaces it. Set its Service too,
	// which is the name of the service if Registry fails. Default: --state is required.
	Alert alert.Options
	// Checks stores the state of the checks between two runs, such as the counters of
	// the processor. An hourly run then measures the whole hour. Default: with --state
	// FILE the file FILE.checks, otherwise the state is not stored.
	Checks alert.Store
	// Heartbeat is sent after a run of --notify in which no check failed and every
	// message was delivered. An external watcher then notices when cron does not run
	// the command. Default: nil.
	Heartbeat *health.Heartbeat
	// Stdout and Stderr receive the output. Default: os.Stdout and os.Stderr.
	Stdout, Stderr io.Writer
}

// flags are the arguments of one run.
type flags struct {
	notify, testNotify, verbose, json bool
	only, state, url, ack, by         string
	alerts                            bool
	timeout, retryWait, silence       time.Duration
	retries                           int
	retriesSet                        bool
}

func (c *Command) parse(args []string, out io.Writer) (flags, error) {
	var f flags
	set := flag.NewFlagSet(cmp.Or(c.Name, "health"), flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.BoolVar(&f.notify, "notify", false, "send messages about problems, after re-runs have confirmed them, and about their end")
	set.BoolVar(&f.testNotify, "test-notify", false, "send a test message and do nothing else")
	set.BoolVar(&f.verbose, "verbose", false, "print every check, not only problems")
	set.BoolVar(&f.json, "json", false, "print JSON")
	set.StringVar(&f.only, "only", "", "run only these `checks`: a,b")
	set.DurationVar(&f.timeout, "timeout", 30*time.Second, "a check without an answer after this long fails, re-runs not counted")
	set.IntVar(&f.retries, "retries", 2, "with --notify or if given: re-runs of a bad check before it counts")
	set.DurationVar(&f.retryWait, "retry-wait", 10*time.Second, "pause before a re-run")
	set.StringVar(&f.state, "state", "", "`file` with the state of the alerts")
	set.DurationVar(&f.silence, "silence", 0, "send nothing about the checks (all, or those of --only) for this long, and do nothing else")
	set.BoolVar(&f.alerts, "alerts", false, "list the open alerts and do nothing else")
	set.StringVar(&f.ack, "ack", "", "acknowledge an `alert` (its ID, a check, or check@instance) and do nothing else")
	set.StringVar(&f.by, "by", "", "with --ack or --silence: your `name`")
	set.StringVar(&f.url, "url", "", "ask a running server at this `URL` instead of running the checks")
	err := set.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(out, "Usage: %s [flags]\n\nRuns the health checks once. Exit code: 0 pass, 1 warn, 2 fail, 3 could not run.\n\n", set.Name())
		set.SetOutput(out)
		set.PrintDefaults()
		return f, err
	}
	set.Visit(func(fl *flag.Flag) { f.retriesSet = f.retriesSet || fl.Name == "retries" })
	switch {
	case err != nil:
		return f, err
	case set.NArg() > 0:
		return f, fmt.Errorf("unexpected argument %q", set.Arg(0))
	case f.timeout <= 0:
		return f, errors.New("--timeout must be positive")
	case f.retries < 0 || f.retries > 100 || f.retryWait < 0 || f.silence < 0:
		return f, errors.New("--retries (at most 100), --retry-wait and --silence must not be negative")
	case f.url != "" && (f.notify || f.testNotify || f.only != "" || f.silence > 0 || f.alerts || f.ack != "" || f.state != "" || f.retriesSet):
		return f, errors.New("--url asks another server and goes with --verbose, --json and --timeout only")
	}
	return f, nil
}

// Run executes the command in args and returns the exit code. It writes results to
// Stdout and errors to Stderr.
func (c *Command) Run(ctx context.Context, args []string) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdout, stderr := cmp.Or(c.Stdout, io.Writer(os.Stdout)), cmp.Or(c.Stderr, io.Writer(os.Stderr))
	code, err := c.run(ctx, args, stdout)
	if err != nil {
		// cron mails this text. The error of a malformed database URL quotes the URL.
		fmt.Fprintf(stderr, "%s: %s\n", cmp.Or(c.Name, "health"), health.Scrub(err.Error()))
	}
	return code
}

func (c *Command) run(ctx context.Context, args []string, stdout io.Writer) (int, error) {
	f, err := c.parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return Pass, nil
	case err != nil:
		return NoResult, err
	case f.url != "":
		return ask(ctx, f, stdout)
	case f.testNotify:
		return c.test(ctx, f)
	}
	if err := c.Heartbeat.Validate(); err != nil {
		return NoResult, err
	}
	if c.Registry == nil {
		return NoResult, errors.New("this command has no checks of its own; use --url")
	}
	reg, failed := c.start(ctx, f)
	switch {
	case failed != nil && !f.notify:
		return NoResult, failed
	case failed != nil:
		if reg, err = c.stand(failed); err != nil {
			return NoResult, errors.Join(failed, err)
		}
	}
	names, err := chosen(f.only, reg.Names())
	if failed != nil {
		names, err = []string{startCheck}, nil
	}
	if err != nil {
		return NoResult, err
	}
	var alerts *alert.Alerter
	if f.notify || f.manages() {
		if alerts, err = c.alerter(reg, f); err != nil {
			return NoResult, errors.Join(failed, err)
		}
	}
	if f.manages() {
		return manage(ctx, alerts, f, names, stdout)
	}
	return c.check(ctx, f, &run{reg: reg, alerts: alerts, names: names, errs: []error{failed}}, stdout)
}

// run is one run of the checks.
type run struct {
	reg    *health.Registry
	alerts *alert.Alerter // nil without --notify
	names  []string       // nil means all checks
	errs   []error        // the first one is that of Registry
}

// check runs the checks. What is broken may also break the output and the files of the
// command. So it sends the alerts first, and returns the errors of all steps.
func (c *Command) check(ctx context.Context, f flags, r *run, stdout io.Writer) (int, error) {
	started := r.errs[0] == nil
	note := func(err error) { r.errs = append(r.errs, err) }
	remembered := c.Checks
	if remembered == nil && f.state != "" {
		remembered = alert.File(f.state + ".checks")
	}
	if started {
		note(recall(ctx, r.reg, remembered))
	}
	var watch []string // reported as bad: they must pass twice to be well again
	if r.alerts != nil {
		ask, cancel := context.WithTimeout(ctx, bookkeeping)
		watch, _ = r.alerts.Told(ask) // Once reads the store too and returns the same error
		cancel()
		note(prepare(r.reg, r.alerts.Alerts().Open, started))
		if r.names != nil && slices.Contains(watch, startCheck) && !slices.Contains(r.names, startCheck) {
			r.names = append(r.names, startCheck)
		}
	}
	snap, err := confirm(ctx, r.reg, f, r.names, watch)
	if err != nil {
		return NoResult, errors.Join(append(r.errs, err)...)
	}
	if r.alerts != nil {
		err := r.alerts.Once(ctx, snap)
		note(err)
		if c.Heartbeat != nil && snap.Status != health.Fail && err == nil {
			if err := c.Heartbeat.Send(ctx); err != nil {
				note(fmt.Errorf("the heartbeat was not delivered: %w", err))
			}
		}
	}
	print := printText
	if f.json {
		print = printJSON
	}
	note(print(stdout, snap, f.verbose))
	if started {
		note(remember(ctx, r.reg, remembered))
	}
	if err := errors.Join(r.errs...); err != nil {
		return NoResult, err
	}
	return code(snap.Status), nil
}

func code(s health.Status) int {
	switch s {
	case health.Pass:
		return Pass
	case health.Warn:
		return Warn
	case health.Fail:
		return Fail
	}
	return NoResult
}

// chosen reads --only. nil means all checks.
func chosen(only string, known []string) ([]string, error) {
	var names []string
	for name := range strings.SplitSeq(only, ",") {
		name = strings.TrimSpace(name)
		switch {
		case name == "" || slices.Contains(names, name):
		case !slices.Contains(known, name):
			return nil, fmt.Errorf("there is no check %q; known are %s", name, strings.Join(known, ", "))
		default:
			names = append(names, name)
		}
	}
	if only != "" && names == nil {
		return nil, errors.New("--only names no check")
	}
	return names, nil
}

func (c *Command) channel() (notify.Notifier, error) {
	if c.Notifier == nil {
		return nil, errors.New("no way to notify is configured")
	}
	return c.Notifier()
}

func (c *Command) alerter(reg *health.Registry, f flags) (*alert.Alerter, error) {
	opts := c.Alert
	if f.state != "" {
		opts.Store = alert.File(f.state)
	}
	if opts.Store == nil {
		return nil, errors.New("--notify, --silence, --alerts and --ack need --state FILE for the state of the alerts; without it every run would send the same messages")
	}
	if f.manages() { // sends no message and works without a channel
		opts.Receivers = nil
		return alert.New(reg, notify.Func(func(context.Context, notify.Message) error { return nil }), &opts)
	}
	channel, err := c.channel()
	if err != nil {
		return nil, err
	}
	return alert.New(reg, channel, &opts)
}

func (c *Command) test(ctx context.Context, f flags) (int, error) {
	channel, err := c.channel()
	if err != nil {
		return NoResult, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	if err := notify.Test(ctx, channel, cmp.Or(c.Alert.Service, host)); err != nil {
		return NoResult, err
	}
	return Pass, nil
}
