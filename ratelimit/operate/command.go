package operate

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Usage describes the arguments of Command.
const Usage = `list [-policy NAME] [-blocked] [PREFIX]   the keys that have used units
unlock POLICY KEY                         forgets what a key has used
block POLICY KEY DURATION                 refuses a key for a time, such as 1h
KEY is a key of the list, or a kind and an id, such as ip:203.0.113.7 or "account:Anna Berg"`

// ErrUsage means that Command cannot use its arguments.
var ErrUsage = errors.New("operate: these arguments are not valid")

// Command runs one command of an operator, such as the arguments of a service's own
// subcommand "limits": list, unlock or block. Limiters must be on Redis: a second process
// does not reach keys in the memory of the service.
func Command(ctx context.Context, args []string, out io.Writer, limiters ...Limiter) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: a command is missing\n%s", ErrUsage, Usage)
	}
	name, args := args[0], args[1:]
	switch name {
	case "list":
		return list(ctx, args, out, limiters)
	case "unlock":
		if len(args) != 2 {
			return fmt.Errorf("%w: unlock needs a policy and a key\n%s", ErrUsage, Usage)
		}
		return set(ctx, args, 0, out, limiters)
	case "block":
		if len(args) != 3 {
			return fmt.Errorf("%w: block needs a policy, a key and a duration\n%s", ErrUsage, Usage)
		}
		wait, err := time.ParseDuration(args[2])
		if err != nil || wait <= 0 {
			return fmt.Errorf(`%w: %q is not a duration such as "1h"`, ErrUsage, args[2])
		}
		return set(ctx, args, wait, out, limiters)
	}
	return fmt.Errorf("%w: there is no command %q\n%s", ErrUsage, name, Usage)
}

func set(ctx context.Context, args []string, wait time.Duration, out io.Writer, limiters []Limiter) error {
	before, after, err := Set(ctx, limiters, args[0], args[1], wait)
	if err != nil {
		return err
	}
	return table(out, []Status{before, after}, "before", "after")
}

func list(ctx context.Context, args []string, out io.Writer, limiters []Limiter) error {
	flags := flag.NewFlagSet("list", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	policy, blocked := flags.String("policy", "", ""), flags.Bool("blocked", false, "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w\n%s", ErrUsage, err, Usage)
	}
	if flags.NArg() > 1 {
		return fmt.Errorf("%w: flags come before the prefix\n%s", ErrUsage, Usage)
	}
	keys, err := List(ctx, limiters, *policy, flags.Arg(0), *blocked)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		which := "has used units"
		if *blocked {
			which = "is blocked"
		}
		_, err := fmt.Fprintf(out, "no key %s\n", which)
		return err
	}
	if err := table(out, keys); err != nil || len(keys) < maxListed {
		return err
	}
	_, err = fmt.Fprintf(out, "the list ends after %d keys; a longer prefix selects fewer\n", maxListed)
	return err
}

// table prints a line for each status, each with its label if there are labels.
func table(out io.Writer, list []Status, labels ...string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if labels != nil {
		fmt.Fprint(w, "WHEN\t")
	}
	fmt.Fprintln(w, strings.Join([]string{"POLICY", "KEY", "LEFT", "OF", "STATE"}, "\t"))
	for i, s := range list {
		if labels != nil {
			fmt.Fprint(w, labels[i]+"\t")
		}
		state := "free"
		switch wait := time.Duration(s.RetryAfter * float64(time.Second)).Round(time.Second); {
		case s.Limit == ratelimit.Unlimited:
			state = "unlimited"
		case s.Blocked && wait > 0:
			state = "blocked for " + wait.String()
		case s.Blocked:
			state = "blocked"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", s.Policy, s.Key, s.Remaining, s.Limit, state)
	}
	return w.Flush()
}
