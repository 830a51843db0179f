package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"

	"github.com/mainstay-go/mainstay/backup/bundle"
	"github.com/mainstay-go/mainstay/backup/driver"
)

var ownDatabases = regexp.MustCompile(`_(?:scratch|replaced)_[0-9]{8}t[0-9]{6}_[0-9a-f]{6}$`)

// NewServer returns one source for all databases of a server. It leaves out the system
// databases and the temporary databases of this package. Each database is dumped in its own
// transaction. A database that cannot be dumped fails the backup of all: to leave it out, use
// [bundle.NewEach]. opts may be nil.
func NewServer(db *sql.DB, opts *Options) (*bundle.Source, error) {
	whole, err := open(db, "*", opts)
	if err != nil {
		return nil, err
	}
	return bundle.NewEach(bundle.Options{
		Database: "all databases",
		List:     whole.databases,
		Open:     func(name string) (driver.Source, error) { return open(db, name, opts) },
		Lock:     whole.Lock,
	})
}

func (m *Source) databases(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, m.opts.QueryTimeout)
	defer cancel()
	var names []string
	err := m.each(ctx, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') ORDER BY 1", func(r []string) {
		if !ownDatabases.MatchString(r[0]) {
			names = append(names, r[0])
		}
	})
	if err != nil {
		return nil, fmt.Errorf("backup: list the databases: %w", err)
	}
	return names, nil
}
