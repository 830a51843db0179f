// Package command is the pos command: the server and its tools.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
)

// Exit codes of all commands. Some commands have more.
const (
	exitOK      = 0
	exitFailed  = 1
	exitSetting = 2 // a flag, a variable or the thing that it names cannot be used
)

// Env is the environment of a command.
type Env struct {
	Getenv         func(string) string
	Environ        []string // to report misspelt variables
	Stdout, Stderr io.Writer
}

// command is one of the commands of pos.
type command struct {
	name, args, help string
	run              func(ctx context.Context, env Env, args []string) int
}

func commands() []command {
	return []command{
		{"serve", "[settings]", "the server (also without a command)", serve},
		{"backup", "[--compress[=zstd|gzip|none]] [--keep-days=30] [--encrypt-to age1…] [--notify] [--json]", "one backup with rotation; also backup list, verify, restore, prune, pin, accept, check, history", runBackup},
		{"health", "[--notify] [--verbose] [--json] [--only a,b] [--url URL]", "all checks once; exit 0 pass, 1 warn, 2 fail, 3 could not run", checkHealth},
		{"schedule", "print|install --target systemd|cron|windows", "daily backup and hourly health check, by the host's scheduler", scheduleCommand},
		{"limits", "list [-policy NAME] [-blocked] [PREFIX]|unlock POLICY KEY|block POLICY KEY DURATION", "the keys of the limits on Redis, for operators", operateLimits},
		{"queries", "", "counts the statements of the listings, without and with query optimisation", queries},
		{"analyze", "[--json]", "sizes, indexes, foreign keys, statements of each route, cache, and what to do about each", analyze},
		{"seed", "[--products N] [--customers N] [--sales N]", "fills an empty database with demo data", seed},
	}
}

// Run runs the command that args name and returns its exit code.
func Run(ctx context.Context, env Env, args []string) int {
	name := "serve"
	if i := firstWord(args); i >= 0 {
		name = args[i]
		args = slices.Delete(slices.Clone(args), i, i+1)
	} else if wantsHelp(args) {
		usage(env.Stdout)
		return exitOK
	}
	for _, variable := range settings.Unknown(env.Environ) {
		fmt.Fprintf(env.Stderr, "pos: warning: %s is no setting and has no effect; see pos -h\n", variable)
	}
	for _, variable := range settings.Empty(env.Environ) {
		fmt.Fprintf(env.Stderr, "pos: warning: %s is set to nothing, and the default applies\n", variable)
	}
	for _, c := range commands() {
		if c.name == name {
			return c.run(ctx, env, args)
		}
	}
	if name == "help" {
		usage(env.Stdout)
		return exitOK
	}
	return refuse(env, settings.Errorf("unknown command %q; see pos -h", name))
}

// firstWord returns the index of the command, the first argument that is neither a flag nor the
// value of a setting. It returns -1 without a command.
func firstWord(args []string) int {
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--":
			return -1
		case !strings.HasPrefix(args[i], "-"):
			return i
		case settings.TakesNext(args[i:]):
			i++
		}
	}
	return -1
}

func wantsHelp(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "-help" || a == "--help" })
}

// refuse writes one line with the reason why a command does not start.
func refuse(env Env, err error) int {
	fmt.Fprintf(env.Stderr, "pos: %s\n", strings.Join(strings.Fields(err.Error()), " "))
	if errors.As(err, new(*settings.Error)) {
		return exitSetting
	}
	return exitFailed
}

// leftover is the error for arguments that a command does not know.
func leftover(args []string) error {
	if strings.HasPrefix(args[0], "-") {
		name, _, _ := strings.Cut(args[0], "=")
		return settings.Errorf("unknown flag %s; see pos -h", name)
	}
	return settings.Errorf("unexpected argument %q; see pos -h", args[0])
}

func usage(w io.Writer) {
	fmt.Fprint(w, "pos is the point of sale of a school canteen.\n\nUsage: pos [command] [settings]\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n  %-10s   pos %s %s\n", c.name, c.help, "", c.name, c.args)
	}
	fmt.Fprint(w, "\nSettings, each as a flag or an environment variable:\n")
	settings.WriteHelp(w)
}
