package healthcli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/internal/foreign"
)

// startCheck is the name of the alert about checks that cannot be created.
const startCheck = "health-command"

// start calls Registry, with --notify again after an error, as for a check that fails. A
// service that is down often prevents its checks as well.
func (c *Command) start(ctx context.Context, f flags) (*health.Registry, error) {
	for try := 0; ; try++ {
		reg, err := c.create(ctx, f.timeout)
		if err == nil || !f.notify || try == f.retries {
			return reg, err
		}
		if err := sleep(ctx, f.retryWait); err != nil {
			return nil, err
		}
	}
}

// create calls Registry and waits for it no longer than the timeout.
func (c *Command) create(ctx context.Context, timeout time.Duration) (*health.Registry, error) {
	limited, cancel := context.WithCancel(ctx) // it ends with Run, or at the timeout
	timer := time.AfterFunc(timeout, cancel)
	type created struct {
		reg *health.Registry
		err error
	}
	done := make(chan created, 1)
	go func() {
		var r created
		fault := foreign.Call(func() { r.reg, r.err = c.Registry(limited) })
		switch r.err = foreign.Error(r.err); {
		case fault != nil:
			r.err = fmt.Errorf("the function that creates the checks %w", fault)
		case r.err == nil && r.reg == nil:
			r.err = errors.New("there is no registry")
		}
		done <- r
	}()
	select {
	case r := <-done:
		if timer.Stop() {
			return r.reg, r.err
		}
	case <-limited.Done():
		timer.Stop()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("the checks were not created within --timeout %v", timeout)
}

// stand is the registry of a command whose checks cannot be created. Its only check to run
// fails with the cause. The checks of the maintenance windows are there by name.
func (c *Command) stand(cause error) (*health.Registry, error) {
	reg, err := health.New([]health.Check{startResult(cause)}, &health.Options{Service: c.Alert.Service, Logger: c.Alert.Logger})
	if err != nil {
		return nil, err
	}
	for _, w := range c.Alert.Windows {
		if err := reserve(reg, w.Checks...); err != nil {
			return nil, err
		}
	}
	return reg, nil
}

func startResult(cause error) health.Check {
	return health.Check{Name: startCheck, Critical: true, Timeout: time.Second, Checker: health.CheckerFunc(func(context.Context) health.Result {
		if cause != nil {
			return health.Failed("the checks cannot be created", cause)
		}
		return health.Passed("the checks were created")
	})}
}

// reserve adds names that a registry does not have. The checks are not run.
func reserve(reg *health.Registry, names ...string) error {
	for _, name := range names {
		if slices.Contains(reg.Names(), name) {
			continue
		}
		if err := reg.Add(health.Check{Name: name, Timeout: time.Second, Checker: health.CheckerFunc(func(context.Context) health.Result {
			return health.Result{}
		})}); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes a registry agree with the open alerts. An earlier alert about the checks
// themselves needs a check that ends it. Without the checks, the alerts about them must
// stay, and an alert whose check the registry does not have would end.
func prepare(reg *health.Registry, open []health.Alert, started bool) error {
	for _, a := range open {
		var err error
		switch {
		case !started && a.Check != "":
			err = reserve(reg, a.Check)
		case started && a.Check == startCheck && !slices.Contains(reg.Names(), startCheck):
			err = reg.Add(startResult(nil))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
