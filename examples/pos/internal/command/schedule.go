package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/hostschedule"
)

// scheduleCommand prints or installs the host's own schedule for the daily backup and the
// hourly health check. It is for shops whose server is not always running.
func scheduleCommand(ctx context.Context, env Env, args []string) int {
	s, rest, err := settings.Load(args, env.Getenv)
	if err != nil {
		return refuse(env, err)
	}
	const use = "schedule print|install --target systemd|cron|windows [--environment-file FILE]"
	if wantsHelp(rest) {
		commandHelp(env, use, "Prints or installs a daily backup and an hourly health check for the host's scheduler.\n"+
			"Secrets such as the password of --database belong into FILE, as lines NAME=value.")
		return exitOK
	}
	if len(rest) == 0 || rest[0] != "print" && rest[0] != "install" {
		return refuse(env, settings.Errorf("want pos %s", use))
	}
	var target, environment string
	flags := flag.NewFlagSet("schedule", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&target, "target", "", "")
	flags.StringVar(&environment, "environment-file", "", "")
	if err := flags.Parse(rest[1:]); err != nil {
		return refuse(env, settings.Errorf("%s; see pos schedule -h", err))
	}
	if flags.NArg() > 0 {
		return refuse(env, leftover(flags.Args()))
	}
	if target == "" {
		return refuse(env, settings.Errorf("want --target systemd, cron or windows"))
	}
	if list := s.NotInherited(); len(list) > 0 && environment == "" {
		return refuse(env, settings.Errorf("the jobs do not inherit %s: write POS_… lines into a file and name it with --environment-file", strings.Join(list, ", ")))
	}
	plans, err := hostPlans(s, target, environment)
	if err != nil {
		return refuse(env, settings.Errorf("--target %q: %s", target, strings.TrimPrefix(err.Error(), "hostschedule: ")))
	}
	for _, plan := range plans {
		if rest[0] == "print" {
			printPlan(env.Stdout, plan)
		} else if err := installPlan(ctx, env.Stdout, plan); err != nil {
			return refuse(env, err)
		}
	}
	return exitOK
}

func hostPlans(s *settings.Settings, target, environment string) ([]hostschedule.Plan, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	data, err := filepath.Abs(s.Data)
	if err != nil {
		return nil, err
	}
	at := s.BackupAt
	if at.Off { // --backup-at=off is for the server; the host needs a time
		at = settings.Default().BackupAt
	}
	tell := func(command ...string) []string {
		if s.Notifies() || environment != "" {
			command = append(command, "--notify") // without an address it would only fail
		}
		return append(command, "--data", data)
	}
	jobs := []hostschedule.Job{
		{
			Name: "pos-backup", Description: "Daily backup of the point of sale", Cadence: hostschedule.Daily(at.Hour, at.Minute),
			Command: tell(program, "backup", "--compress", "--keep-days=30"),
		},
		{
			Name: "pos-health", Description: "Hourly health check of the point of sale", Cadence: hostschedule.Hourly(7),
			Command: tell(program, "health"),
		},
	}
	var plans []hostschedule.Plan
	for _, job := range jobs {
		job.EnvironmentFile = environment
		plan, err := job.Plan(target)
		if err != nil {
			return nil, err
		}
		plans = append(plans, plan)
	}
	return plans, nil
}

func printPlan(w io.Writer, plan hostschedule.Plan) {
	for _, f := range plan.Files {
		fmt.Fprintf(w, "# %s\n%s\n", f.Path, f.Text)
	}
	for _, c := range plan.Commands {
		fmt.Fprintf(w, "# then: %s\n\n", strings.Join(c, " "))
	}
}

func installPlan(ctx context.Context, w io.Writer, plan hostschedule.Plan) error {
	for _, f := range plan.Files {
		if err := os.WriteFile(f.Path, []byte(f.Text), 0o644); err != nil {
			return fmt.Errorf("cannot install %s: %w", f.Path, err)
		}
		fmt.Fprintln(w, "wrote", f.Path)
	}
	for _, c := range plan.Commands {
		cmd := exec.CommandContext(ctx, c[0], c[1:]...)
		cmd.Stdout, cmd.Stderr = w, w
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(c, " "), err)
		}
		fmt.Fprintln(w, "ran", strings.Join(c, " "))
	}
	return nil
}
