// Package store keeps the shop in a database: SQLite beside the server, or MariaDB or
// PostgreSQL for several servers. Every change that must be correct under concurrency, above
// all of stock and money, is one conditional UPDATE in a transaction. It never writes a value
// from an earlier read.
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
	side    *sql.DB // for backups and similar work, which must not delay a sale or wait for one
	engine  settings.Engine
	dialect keyset.Dialect

	size   int // of the pool for sales
	sizing sync.Mutex
	regrow *time.Timer // restores that size
}

// MaxMoney is the largest amount of money. JavaScript's integers are exact up to it, and a sum
// of a thousand such amounts does not overflow int64.
const MaxMoney = 1<<53 - 1

// ErrNotFound means that the record does not exist.
var ErrNotFound = errors.New("not found")

// Open opens the database in the settings, creates its missing tables, and checks that it
// responds. It returns a settings.Error for problems that the operator can repair.
func Open(ctx context.Context, s *settings.Settings) (*Store, error) { return open(ctx, s, true) }

// OpenExisting opens a database that a server has created. It changes no data.
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
	return errors.Join(s.read.Close(), s.write.Close(), s.side.Close()) // closing one twice is no error
}

// Reader is the pool for lists and checks.
func (s *Store) Reader() *sql.DB { return s.read }

// Side is the pool for work beside the shop, such as a backup.
func (s *Store) Side() *sql.DB { return s.side }

// Engine is the kind of database.
func (s *Store) Engine() settings.Engine { return s.engine }
