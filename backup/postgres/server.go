package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/backup/bundle"
	"github.com/mainstay-go/mainstay/backup/driver"
)

// NewServer returns one source for all databases of a server. It leaves out templates and
// the temporary databases of this package. db and url name any database of the server, such
// as postgres. Each database is dumped with its own snapshot. A database that cannot be dumped
// fails the backup of all: to leave it out, use [bundle.NewEach]. opts may be nil.
func NewServer(db *sql.DB, url string, opts *Options) (*bundle.Source, error) {
	whole, err := New(db, url, opts)
	if err != nil {
		return nil, err
	}
	parts := &parts{whole: whole, opened: map[string]*Source{}}
	return bundle.NewEach(bundle.Options{
		Database: "all databases",
		List:     whole.databases,
		Open:     parts.open,
		Lock:     whole.Lock,
	})
}

func (p *Source) databases(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.QueryTimeout)
	defer cancel()
	names, err := queryStrings(ctx, p.db, `SELECT datname FROM pg_database WHERE NOT datistemplate AND datallowconn
		AND datname !~ '_scratch_[0-9]{8}t[0-9]{6}_[0-9a-f]{6}$' ORDER BY datname`)
	if err != nil {
		return nil, fmt.Errorf("backup: list the databases: %w", err)
	}
	return names, nil
}

// parts holds the pools of the databases of a server. An idle pool holds no connection.
type parts struct {
	whole *Source

	mu     sync.Mutex
	opened map[string]*Source
}

func (s *parts) open(name string) (driver.Source, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.opened[name]; p != nil {
		return p, nil
	}
	db, err := s.whole.open(name)
	if err != nil {
		return nil, err
	}
	db.SetConnMaxIdleTime(5 * time.Second)
	p := &Source{db: db, target: s.whole.target, opts: s.whole.opts, kept: map[string]bool{}}
	p.target.full, p.target.database = p.target.to(name), name
	s.opened[name] = p
	return p, nil
}
