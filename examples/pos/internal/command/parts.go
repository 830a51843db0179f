package command

import (
	"context"
	"log/slog"

	"github.com/mainstay-go/mainstay/examples/pos/internal/api"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/ratelimit"
)

// parts are the library's packages as this service uses them.
type parts struct {
	sessions api.Sessions
	health   *health.Registry
	limiter  func(ratelimit.Policy) (ratelimit.Limiter, error)
}

func newParts(s *settings.Settings, st *store.Store, sec *secrets, logger *slog.Logger) (*parts, error) {
	p := &parts{sessions: st}
	p.limiter = func(policy ratelimit.Policy) (ratelimit.Limiter, error) { return ratelimit.NewMemory(policy, nil) }
	registry, err := health.New(checks(s, st), &health.Options{
		Authorize: health.AnyOf(sec.operator, api.IsAdmin),
		Service:   "pos", Logger: logger,
		Secrets: []string{s.AdminPassword, s.CashierPassword, s.OpsToken},
	})
	p.health = registry
	return p, err
}

// jobs are what runs beside the requests.
func (p *parts) jobs() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{"health": p.health.Run}
}

func (p *parts) close() error { return nil }
