package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Checker checks one dependency and reports its state.
//
// The context carries the deadline of the run. It belongs to the registry, never to a
// request. A Checker should return when the context ends. A Checker that does not
// return is reported as stuck. It holds one goroutine and never gets a second one. A
// registry never calls the same Checker concurrently with itself.
//
// If a Checker also has a method Validate() error, [New] calls it once and rejects the
// check if the error is not nil.
type Checker interface {
	Check(ctx context.Context) Result
}

// CheckerFunc makes a Checker from a function.
type CheckerFunc func(ctx context.Context) Result

// Check calls f.
func (f CheckerFunc) Check(ctx context.Context) Result { return f(ctx) }

// Func returns a critical check that passes when f returns nil and fails when
// it returns an error.
func Func(name string, timeout time.Duration, f func(ctx context.Context) error) Check {
	return Check{
		Name: name, Timeout: timeout, Critical: true,
		Checker: CheckerFunc(func(ctx context.Context) Result {
			if err := f(ctx); err != nil {
				return Result{Status: Fail, Err: err}
			}
			return Result{Status: Pass}
		}),
	}
}

// Check is one entry of a registry: a Checker, and how it is run and counted. The
// constructors of this package and of hostcheck and redischeck return complete checks.
// Change their fields before you pass them to [New].
type Check struct {
	// Name is 1 to 64 letters, digits, dots, dashes and underscores, unique in
	// the registry. Required.
	Name string
	// Checker does the work. Required.
	Checker Checker
	// Timeout ends a run. Required: without it, a dependency that hangs would make the
	// health endpoint hang too.
	Timeout time.Duration
	// Interval is the pause between two runs. It varies by 10 % in both directions so
	// that replicas do not run at the same moment. While a change is not confirmed, the
	// pause is at most 1 min. Default: 15 s, or 2.5 s for a check that is Critical or
	// Ready, so that a hang is noticed within 5 s.
	Interval time.Duration

	// Critical means that the service fails when this check fails. The failure of any
	// other check sets the service to warn, which is still a 200. Default: false.
	Critical bool
	// Shared marks a dependency that all replicas use, such as the database. A shared
	// check does not count for /ready/ unless Ready is set. Otherwise every replica
	// would leave the load balancer when the dependency fails.
	Shared bool
	// Ready puts the check in the group "ready" even if it is not critical or is
	// shared. Default: critical checks that are not shared are in the group.
	Ready bool
	// Groups are names that several checks share, for ?group= and Snapshot.Group.
	// Default: empty.
	Groups []string

	// FailAfter is how many results in a row must be at least this bad before the
	// confirmed state gets worse. Results that are closer together than 15 s count as
	// one. If a shorter Interval was set, that is the limit. Default:
	// Options.FailAfter.
	FailAfter int
	// RecoverAfter is how many results in a row must be at most this bad before the
	// state gets better, counted in the same way. Default: Options.RecoverAfter.
	RecoverAfter int
	// DependsOn names checks of the same registry that this one needs. While one of
	// them is confirmed bad, the state of this check is marked as a consequence.
	// Default: empty.
	DependsOn []string

	// Type is the componentType of application/health+json: "datastore",
	// "system", "component" or a URI. Default: "component".
	Type string
	// Runbook is a link for the person on call, shown with the check. Only http and
	// https are valid. Default: empty.
	Runbook string

	pace time.Duration // results closer together count as one
}

const (
	defaultInterval     = 15 * time.Second
	retryInterval       = time.Minute             // while a change is not confirmed
	promptInterval      = 2500 * time.Millisecond // of checks that decide about traffic
	defaultFailAfter    = 3
	defaultRecoverAfter = 2
)

// normalized returns the check with its defaults, or an error if a field is not valid.
func (c Check) normalized(o *Options) (Check, error) {
	if err := validName(c.Name); err != nil {
		return c, err
	}
	wrong := func(format string, args ...any) (Check, error) {
		return c, fmt.Errorf("health: check %q: "+format, append([]any{c.Name}, args...)...)
	}
	if c.Checker == nil {
		return wrong("has no Checker")
	}
	if c.Timeout <= 0 {
		return wrong("Timeout %v: say how long a run may take", c.Timeout)
	}
	if c.Interval < 0 || c.FailAfter < 0 || c.RecoverAfter < 0 {
		return wrong("Interval, FailAfter and RecoverAfter must not be negative")
	}
	if err := validLink(c.Runbook); err != nil {
		return wrong("Runbook: %w", err)
	}
	if v, ok := c.Checker.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return wrong("%w", err)
		}
	}
	for i, group := range c.Groups {
		if err := validName(group); err != nil {
			return wrong("%w", err)
		}
		if group == readyGroup || slices.Contains(c.Groups[:i], group) {
			return wrong("group %q: name each group once, and use Ready for the group %q", group, readyGroup)
		}
	}
	c.Groups = slices.Clone(c.Groups)
	c.pace = min(cmp.Or(c.Interval, defaultInterval), defaultInterval)
	if c.Interval == 0 {
		c.Interval = defaultInterval
		if c.Critical || c.Ready {
			c.Interval = promptInterval
		}
	}
	c.FailAfter = cmp.Or(c.FailAfter, o.FailAfter)
	c.RecoverAfter = cmp.Or(c.RecoverAfter, o.RecoverAfter)
	c.Type = cmp.Or(c.Type, "component")
	c.DependsOn = slices.Clone(c.DependsOn)
	return c, nil
}

func validName(name string) error {
	if name == "" {
		return errors.New("health: a name is empty: every check and group needs one")
	}
	if len(name) > maxName {
		return fmt.Errorf("health: name %q... is longer than %d bytes", name[:maxName], maxName)
	}
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
		default:
			return fmt.Errorf("health: name %q: use letters, digits, dots, dashes and underscores only", name)
		}
	}
	return nil
}
