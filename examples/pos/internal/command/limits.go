package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/redis/go-redis/v9/logging"

	"github.com/mainstay-go/mainstay/examples/pos/internal/api"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
	"github.com/mainstay-go/mainstay/ratelimit/operate"
	"github.com/mainstay-go/mainstay/ratelimit/redislimit"
)

// limitOptions are the options of all processes that share the limits.
func limitOptions(logger *slog.Logger) *redislimit.Options {
	return &redislimit.Options{Prefix: "pos:rl", Logger: logger}
}

// operateLimits lists, unlocks and blocks keys of the limits on Redis.
func operateLimits(ctx context.Context, env Env, args []string) int {
	if wantsHelp(args) {
		fmt.Fprintf(env.Stdout, "Usage: pos limits list [-policy NAME] [-blocked] [PREFIX]\n       pos limits unlock POLICY KEY\n       pos limits block POLICY KEY DURATION\n\nLists, unlocks and blocks keys of the limits on Redis. A key is a kind and an id, such as\naccount:anna or ip:203.0.113.7. Use the settings of the server. /ops/limits/ does the same\nfor a server without Redis.\n\nSettings:\n")
		settings.WriteHelp(env.Stdout, "redis")
		return exitOK
	}
	s, rest, err := settings.Load(args, env.Getenv)
	if err != nil {
		return refuse(env, err)
	}
	if !s.Redis.Configured() {
		return refuse(env, settings.Errorf("the limits are in the memory of the server without --redis; use /ops/limits/ of the server"))
	}
	logging.Disable()
	client := s.Redis.Client(s.Redis.DB())
	defer func() { _ = client.Close() }()
	quiet := slog.New(slog.DiscardHandler)
	store, err := redislimit.New(client, limitOptions(quiet))
	if err != nil {
		return refuse(env, err)
	}
	limiters, err := api.Limiters(api.Config{
		Settings: s, Logger: quiet, CursorSecret: make([]byte, 32), // no key that an operator names depends on it
		Limiter:     func(p ratelimit.Policy) (ratelimit.Limiter, error) { return store.Limiter(p, nil) },
		Concurrency: func(p concurrency.Policy) (concurrency.Limiter, error) { return store.Concurrency(p, nil) },
	})
	if err != nil {
		return refuse(env, err)
	}
	err = operate.Command(ctx, rest, env.Stdout, limiters...)
	if errors.Is(err, operate.ErrUsage) {
		text, _, _ := strings.Cut(err.Error(), "\n")
		return refuse(env, settings.Errorf("%s; see pos limits -h", text))
	}
	if err != nil {
		return refuse(env, err)
	}
	return exitOK
}
