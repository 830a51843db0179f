package command

import (
	"context"
	"crypto/rand"
	"errors"
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

// checks are what the service's health is made of. Only the database is critical: the
// shop sells without its cache, and a full disk is for a person to look at while it
// still sells.
func checks(s *settings.Settings, st *store.Store, p *parts) []health.Check {
	// While all connections of the shop hang, the spare one tells whether the database does.
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
	if p.backup != nil {
		list = append(list, backups.Check(p.backup))
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
