package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/health/healthcli"
	"github.com/mainstay-go/mainstay/notify"
)

// checkHealth runs the server's checks once, in a separate process.
func checkHealth(ctx context.Context, env Env, args []string) int {
	s, rest, err := settings.Load(args, env.Getenv)
	if err != nil {
		refuse(env, err)
		return healthcli.NoResult
	}
	logger := slog.New(slog.DiscardHandler)
	var opened atomic.Pointer[store.Store]
	var mu sync.Mutex // a call of Registry may outlast its timeout
	var closers []func()
	closing := func(c func()) {
		mu.Lock()
		defer mu.Unlock()
		closers = append(closers, c)
	}
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range slices.Backward(closers) {
			c()
		}
	}()
	cmd := &healthcli.Command{
		Name: "pos health",
		Registry: func(ctx context.Context) (*health.Registry, error) {
			st, err := store.OpenExisting(ctx, s)
			if err != nil {
				return nil, err
			}
			closing(func() { _ = st.Close() })
			p, err := newParts(s, st, &secrets{}, true, logger)
			if err != nil {
				return nil, err
			}
			closing(func() { _ = p.close() })
			opened.Store(st)
			return p.health, nil
		},
		Alert:  alert.Options{Service: "pos", Instance: instance(s), Store: newAlertState(s, opened.Load, func() bool { return true }), StatusURL: statusURL(s)},
		Stdout: env.Stdout, Stderr: env.Stderr,
	}
	cmd.Notifier = func() (notify.Notifier, error) {
		n, err := notifier(s, logger)
		if err == nil && n == nil {
			err = errors.New("no recipient: set --smtp or --receivers")
		}
		return n, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	code := cmd.Run(ctx, rest)
	if !wantsHelp(rest) {
		fmt.Fprintf(env.Stderr, "pos health: exit code %d: %s\n", code, meaning[code])
	}
	return code
}

// meaning maps exit codes to words.
var meaning = map[int]string{
	0: "pass, all is well",
	1: "warn, the shop works and something needs a look",
	2: "fail, the shop does not work",
	3: "the checks could not be run",
}
