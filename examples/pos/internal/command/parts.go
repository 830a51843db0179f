package command

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/backupnotify"
	"github.com/mainstay-go/mainstay/backup/schedule"
	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/driver"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/examples/pos/internal/api"
	"github.com/mainstay-go/mainstay/examples/pos/internal/backups"
	"github.com/mainstay-go/mainstay/examples/pos/internal/metrics"
	"github.com/mainstay-go/mainstay/examples/pos/internal/session"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/shopcache"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/health/history"
	"github.com/mainstay-go/mainstay/notify"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
	"github.com/mainstay-go/mainstay/ratelimit/redislimit"
)

// parts are the library's packages as this service uses them: in this process, or in Redis for
// several replicas.
type parts struct {
	redis    redis.UniversalClient // nil without --redis
	shared   *rediscache.Store     // nil without --redis
	limits   *redislimit.Store     // nil without --redis
	cache    driver.Store
	caches   *shopcache.Caches
	sessions api.Sessions
	limiter  func(ratelimit.Policy) (ratelimit.Limiter, error)
	// concurrency limits concurrent requests.
	concurrency func(concurrency.Policy) (concurrency.Limiter, error)
	store       *store.Store
	logger      *slog.Logger
	health      *health.Registry
	metrics     *metrics.Metrics
	backup      *backup.Job
	nightly     *schedule.Scheduler   // nil where --backup-at is off
	always      bool                  // report missing backups as well
	notices     *backupnotify.Notices // nil without a receiver, or --backup-at
	outbox      *notify.Spool         // nil likewise
	alerts      *alert.Alerter        // nil without a receiver
	uptime      *history.History      // nil in commands
	leads       atomic.Bool           // this server holds the lease of ledJobs
	closers     []io.Closer
}

func newParts(s *settings.Settings, st *store.Store, sec *secrets, always bool, logger *slog.Logger) (p *parts, err error) {
	p = &parts{store: st, always: always, logger: logger, metrics: metrics.New()}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if s.Redis.Configured() {
		err = p.onRedis(s.Redis, logger)
	} else {
		p.inProcess()
	}
	if err != nil {
		return p, err
	}
	p.sessions = session.New(st, sec.tokens, s.Database.Engine == settings.SQLite)
	if p.caches, err = shopcache.New(st, p.cache, logger); err != nil {
		return p, err
	}
	channel, err := notifier(s, logger)
	if err != nil {
		return p, err
	}
	if err := p.backUp(s, st, channel, logger); err != nil {
		return p, err
	}
	p.health, err = health.New(checks(s, st, p), &health.Options{
		Authorize: health.AnyOf(sec.operator, api.IsAdmin),
		Service:   "pos", Description: "point of sale of a school canteen", Home: "/", Logger: logger,
		Secrets: []string{s.AdminPassword, s.CashierPassword, s.OpsToken},
	})
	if err != nil {
		return p, err
	}
	if channel != nil {
		state := newAlertState(s, func() *store.Store { return st }, p.leads.Load)
		p.alerts, err = alert.New(p.health, channel, alertOptions(s, sec, state, logger))
		if err != nil {
			return p, err
		}
		p.health.AddNotices(p.alerts.Notices)
		p.health.SetAlerts(p.alerts.Alerts)
		p.metrics.Notifications("mail", p.mails)
	}
	if !always {
		if err := p.keepUptime(s, sec, logger); err != nil {
			return p, err
		}
	}
	p.metrics.Watch(p.health, st.Reader(), p.caches)
	return p, nil
}

// keepUptime stores the results of the checks for 90 days, for the pages under /uptime/.
func (p *parts) keepUptime(s *settings.Settings, sec *secrets, logger *slog.Logger) (err error) {
	var kept history.Store
	if p.redis != nil {
		kept, err = history.Redis(p.redis, "pos:uptime")
	} else {
		kept, err = history.Files(filepath.Join(s.Data, "uptime"))
	}
	if err != nil {
		return err
	}
	p.uptime, err = history.New(p.health, kept, &history.Options{
		Instance: instance(s), Authorize: health.AnyOf(sec.operator, api.IsAdmin), PasswordHash: sec.opsHash[:], Logger: logger,
	})
	return err
}

func (p *parts) backUp(s *settings.Settings, st *store.Store, channel notify.Notifier, logger *slog.Logger) (err error) {
	if p.backup, err = backups.New(s, st.Side(), &backup.Options{Logger: logger}); err != nil {
		return err
	}
	if s.BackupAt.Off { // the host's scheduler makes backups, and this server runs their check
		return nil
	}
	if channel != nil {
		if p.outbox, err = notify.NewSpool(outbox(s), channel, &notify.SpoolOptions{Logger: logger}); err != nil {
			return err
		}
		if p.notices, err = backups.Notices(s, p.backup, p.outbox, logger); err != nil {
			return err
		}
	}
	p.nightly, err = backups.Schedule(p.backup, s, p.notices,
		func(ctx context.Context) (backups.Last, error) { return lastBackup(ctx, st) },
		func(ctx context.Context, made backups.Last) error { return keepLastBackup(ctx, s, st, made) }, logger)
	if err != nil {
		return err
	}
	p.metrics.Backup(p.backup, p.nightly)
	return nil
}

// mails returns the number of alerts and backup messages that this process has sent.
func (p *parts) mails() (sent, failed uint64) {
	alerts := p.alerts.Stats()
	sent, failed = alerts.Sent, alerts.Failed
	if p.outbox != nil {
		news := p.outbox.Stats()
		sent, failed = sent+news.Delivered, failed+news.Failed
	}
	return sent, failed
}

func (p *parts) inProcess() {
	p.cache = cache.NewMemory(0)
	p.limiter = func(policy ratelimit.Policy) (ratelimit.Limiter, error) {
		l, err := ratelimit.NewMemory(policy, nil)
		if err == nil {
			p.metrics.Limiter(policy.Name, func() any { return l.Stats() })
		}
		return l, err
	}
	p.concurrency = func(policy concurrency.Policy) (concurrency.Limiter, error) {
		l, err := concurrency.New(policy, nil)
		if err == nil {
			p.metrics.Limiter(policy.Name, func() any { return l.Stats() })
		}
		return l, err
	}
}

func (p *parts) onRedis(r settings.Redis, logger *slog.Logger) error {
	logging.Disable() // errors are returned, and callers log them
	p.redis = r.Client(r.DB())
	p.closers = append(p.closers, p.redis)
	shared, err := rediscache.New(p.redis, &rediscache.Options{Prefix: "pos:cache:", Logger: logger})
	if err != nil {
		return err
	}
	p.shared, p.cache = shared, shared
	if p.limits, err = redislimit.New(p.redis, limitOptions(logger)); err != nil {
		return err
	}
	p.metrics.Redis(shared, p.limits)
	p.limiter = func(policy ratelimit.Policy) (ratelimit.Limiter, error) {
		l, err := p.limits.Limiter(policy, nil)
		if err == nil {
			p.metrics.Limiter(policy.Name, func() any { return l.Stats() })
		}
		return l, err
	}
	p.concurrency = func(policy concurrency.Policy) (concurrency.Limiter, error) {
		l, err := p.limits.Concurrency(policy, nil)
		if err == nil {
			p.metrics.Limiter(policy.Name, func() any { return l.Stats() })
		}
		return l, err
	}
	return nil
}

// jobs returns the background work of each server.
func (p *parts) jobs() map[string]func(context.Context) error {
	jobs := map[string]func(context.Context) error{
		"health": p.health.Run, "old sessions and keys": p.forget,
		"leader": func(ctx context.Context) error { return lead(ctx, p.store, "leader", p.ledJobs(), p.logger) },
	}
	if p.alerts != nil {
		jobs["alerts"] = p.alerts.Run // each server reports its own disk, memory and clock
	}
	if p.outbox != nil {
		jobs["outbox"] = p.outbox.Run
	}
	if p.uptime != nil {
		jobs["uptime"] = p.uptime.Run
	}
	if p.shared != nil {
		jobs["cache"] = p.shared.Run
		jobs["limits"] = p.limits.Run
	}
	return jobs
}

// ledJobs returns the background work of only one server on a database: one backup a day, and
// the alerts while the database is unavailable.
func (p *parts) ledJobs() map[string]func(context.Context) error {
	jobs := map[string]func(context.Context) error{"lead": func(ctx context.Context) error {
		p.leads.Store(true)
		defer p.leads.Store(false)
		<-ctx.Done()
		return nil
	}}
	if p.nightly != nil {
		jobs["backup"] = p.nightly.Run
	}
	if p.notices != nil {
		jobs["age of the backups"] = func(ctx context.Context) error { return p.notices.Watch(ctx, p.backup) }
	}
	return jobs
}

// forget removes expired sessions and keys, at once and then each hour.
func (p *parts) forget(ctx context.Context) error {
	hour := time.NewTicker(time.Hour)
	defer hour.Stop()
	for {
		if err := errors.Join(p.store.ForgetSessions(ctx), p.store.ForgetKeys(ctx)); err != nil && ctx.Err() == nil {
			p.logger.Warn("old sessions or keys could not be removed; the next try is in an hour", "error", err)
		}
		select {
		case <-hour.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *parts) close() error {
	var errs []error
	for _, c := range p.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
