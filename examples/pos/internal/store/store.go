// Package store keeps the shop in a database: SQLite beside the server, or MariaDB or
// PostgreSQL for several servers. Whatever must not go wrong under concurrency, stock and
// money above all, is one conditional UPDATE in a transaction and never a value that was
// read before.
package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Store is an open database. It is safe for concurrent use.
type Store struct {
	read    *sql.DB // many connections
	write   *sql.DB // on SQLite one connection, so that writers queue here and not in busy loops
	side    *sql.DB // for backups and the like, which must neither hold up a sale nor wait for one
	engine  settings.Engine
	dialect keyset.Dialect

	size   int // of the pool for sales
	sizing sync.Mutex
	regrow *time.Timer // makes it that size again
}

// MaxMoney is the largest amount there is. It leaves JavaScript's integers exact and
// int64 sums of a thousand of them far from an overflow.
const MaxMoney = 1<<53 - 1

// ErrNotFound means that there is no such thing.
var ErrNotFound = errors.New("not found")

// Open opens the database that the settings name, creates what is missing in it, and
// checks that it answers. Its errors are settings.Error where the operator can do
// something about them.
func Open(ctx context.Context, s *settings.Settings) (*Store, error) { return open(ctx, s, true) }

// OpenExisting opens a database that a server has created, and changes nothing.
func OpenExisting(ctx context.Context, s *settings.Settings) (*Store, error) {
	return open(ctx, s, false)
}

func open(ctx context.Context, s *settings.Settings, create bool) (*Store, error) {
	if s.Database.Engine == settings.SQLite {
		return openSQLite(ctx, s, create)
	}
	return openServer(ctx, s, create)
}

// Close closes the database.
func (s *Store) Close() error {
	return errors.Join(s.read.Close(), s.write.Close(), s.side.Close()) // closing one twice does nothing
}

// Reader is the pool that lists and checks read from.
func (s *Store) Reader() *sql.DB { return s.read }

// Side is the pool for what runs beside the shop, such as a backup.
func (s *Store) Side() *sql.DB { return s.side }

// Engine is the kind of database.
func (s *Store) Engine() settings.Engine { return s.engine }
