//go:build linux

package faults

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// server is a process of a database or of Redis.
type server interface {
	Kill()
	Pause()
	Continue()
	Restart()
}

// database is a database server with an empty shop.
type database struct {
	server
	addr string
	url  string
	exec func(sql string) string
}

// at returns the URL of the database at another address.
func (d *database) at(addr string) string { return strings.Replace(d.url, d.addr, addr, 1) }

// openDatabase starts a server that keeps every acknowledged commit when it is killed.
func openDatabase(t *testing.T, engine string) *database {
	t.Helper()
	d := &database{}
	if engine == "mariadb" {
		db := testserver.MariaDB(t, "--innodb-flush-log-at-trx-commit=2")
		db.CreateDatabase(t, "pos")
		d.server, d.addr = db, db.Addr()
		d.url = "mysql://" + url.UserPassword(db.User(), db.Password()).String() + "@" + db.Addr() + "/pos"
		d.exec = func(sql string) string { return db.Exec(t, "USE pos; "+sql) }
	} else {
		db := testserver.Postgres(t, "-c", "synchronous_commit=on", "-c", "min_wal_size=32MB", "-c", "max_wal_size=64MB")
		db.CreateDatabase(t, "pos")
		d.server, d.addr, d.url = db, db.Addr(), db.DSN("pos")
		d.exec = func(sql string) string { return db.Exec(t, "pos", sql) }
	}
	s := settings.Default()
	s.Data = t.TempDir()
	if err := s.Database.Set(d.url); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := st.Seed(context.Background(), store.Calendar{Zone: time.UTC}, time.Now(), store.Demo{Products: 40, Customers: 20, Sales: 50}); err != nil {
		t.Fatal(err)
	}
	return d
}

// redis is the Redis of the replicas, and the process that a fault affects.
type redis struct {
	url   string
	alone string // the address, if it is one server
	// master returns the server that a fault affects: the master of most keys.
	master func() *testserver.RedisServer
	all    []*testserver.RedisServer
}

func openRedis(t *testing.T, kind string) *redis {
	t.Helper()
	switch kind {
	case "alone":
		r := testserver.Redis(t)
		return &redis{url: "redis://" + r.Addr() + "/0", alone: r.Addr(), all: []*testserver.RedisServer{r}, master: func() *testserver.RedisServer { return r }}
	case "sentinel":
		set := testserver.RedisSentinel(t, 1)
		return &redis{url: "redis+sentinel://" + strings.Join(set.Addrs(), ",") + "/" + set.MasterName(), all: set.Nodes(), master: set.Master}
	default:
		set := testserver.RedisCluster(t, 3, 0)
		return &redis{url: "redis+cluster://" + strings.Join(set.Addrs(), ","), all: set.Nodes(), master: func() *testserver.RedisServer { return set.Nodes()[1] }}
	}
}
