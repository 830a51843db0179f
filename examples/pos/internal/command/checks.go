package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/driver"
	"github.com/mainstay-go/mainstay/examples/pos/internal/backups"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/hostcheck"
	"github.com/mainstay-go/mainstay/health/redischeck"
)

// checks returns the health checks. Database and clock are critical. The shop still sells
// without its cache or with a full disk, so those checks only warn.
func checks(s *settings.Settings, st *store.Store, p *parts) []health.Check {
	// The spare connection shows whether the database hangs or only the pool.
	database := &health.DatabaseOptions{Spare: st.Side()}
	switch s.Database.Engine {
	case settings.MySQL:
		database.ReadOnlyQuery = health.MySQLReadOnly
	case settings.Postgres:
		database.ReadOnlyQuery = health.PostgresReadOnly
	}
	cacheCheck := memoryCheck(p.cache)
	if p.redis != nil {
		cacheCheck = redischeck.New("cache", p.redis, &redischeck.Options{WriteKey: "pos:health"})
	}
	list := []health.Check{
		health.Database("database", st.Reader(), database),
		cacheCheck,
		hostcheck.Disk("disk", s.Data, nil),
		hostcheck.Memory("memory", nil),
		hostcheck.CPU("cpu", nil),
	}
	if s.Database.Engine != settings.SQLite {
		list = append(list, clockCheck(st))
	}
	// If a folder of backups exists, the host's scheduler makes them.
	if _, err := os.Stat(s.BackupDir()); !s.BackupAt.Off || p.always || err == nil {
		list = append(list, backups.Check(p.backup, func(ctx context.Context) (backups.Last, error) { return backupElsewhere(ctx, s, st) },
			func(ctx context.Context, own backups.Last) error { return keepSeen(ctx, s, st, own) }))
	}
	return list
}

// memoryCheck writes to the cache of this process and reads it back.
func memoryCheck(s driver.Store) health.Check {
	c, err := cache.New[string](s, "health", time.Minute, nil)
	look := func(ctx context.Context) health.Result {
		if err != nil {
			return health.Failed("", err)
		}
		want := rand.Text()
		if err := c.Set(ctx, "health", want); err != nil {
			return health.Failed("", err)
		}
		if got, found, err := c.Get(ctx, "health"); err != nil {
			return health.Failed("", err)
		} else if found && got != want {
			return health.Failed("", errors.New("the cache gave back another value than it was given"))
		}
		return health.Passed("in memory") // also when the value was evicted already
	}
	return health.Check{Name: "cache", Timeout: 2 * time.Second, Checker: health.CheckerFunc(look)}
}

// mostSkew is the largest difference between the clocks of a server and its database. Records
// use the database's time, but limits, certificates and logs use the server's.
const mostSkew = 5 * time.Second

// clockCheck is critical. A server with a wrong clock does not become ready.
func clockCheck(st *store.Store) health.Check {
	look := func(ctx context.Context) health.Result {
		before := time.Now()
		there, err := st.Now(ctx)
		if err != nil {
			return health.Result{Status: health.Warn, Summary: "the database's clock could not be read"} // the database's own check reports the cause
		}
		after := time.Now()
		skew := max(before.Sub(there), there.Sub(after), 0)
		if skew > mostSkew {
			return health.Result{Status: health.Fail, Summary: fmt.Sprintf("this server's clock differs from the database's by %s: set it", skew.Round(time.Second))}
		}
		return health.Passed("agrees with the database's")
	}
	return health.Check{Name: "clock", Timeout: 3 * time.Second, Critical: true, Checker: health.CheckerFunc(look)}
}
