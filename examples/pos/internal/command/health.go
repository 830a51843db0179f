package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/health/healthcli"
	"github.com/mainstay-go/mainstay/notify"
)

// checkHealth runs the server's checks once, in a process of its own.
func checkHealth(ctx context.Context, env Env, args []string) int {
	s, rest, err := settings.Load(args, env.Getenv)
	if err != nil {
		refuse(env, err)
		return healthcli.NoResult
	}
	logger := slog.New(slog.DiscardHandler)
	var closers []func()
	defer func() {
		for _, c := range closers {
			c()
		}
	}()
	cmd := &healthcli.Command{
		Name: "pos health",
		Registry: func(ctx context.Context) (*health.Registry, error) {
			if _, err := os.Stat(s.SQLitePath()); s.Database.Engine == settings.SQLite && err != nil {
				return nil, fmt.Errorf("there is no database in %s: start the server first, or name its folder with --data", s.Data)
			}
			st, err := store.Open(ctx, s)
			if err != nil {
				return nil, err
			}
			closers = append(closers, func() { _ = st.Close() })
			p, err := newParts(s, st, &secrets{}, logger)
			if err != nil {
				return nil, err
			}
			closers = append([]func(){func() { _ = p.close() }}, closers...)
			return p.health, nil
		},
		Alert:  alert.Options{Service: "pos", Store: alertState(s)},
		Stdout: env.Stdout, Stderr: env.Stderr,
	}
	cmd.Notifier = func() (notify.Notifier, error) {
		n, err := notifier(s, logger)
		if err == nil && n == nil {
			err = errors.New("nobody to tell: set --smtp")
		}
		return n, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	return cmd.Run(ctx, rest)
}
