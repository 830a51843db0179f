package mysql

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// Test restores a dump into a database beside the original, and drops it. The account needs
// the right to create and drop it. For a database shop, GRANT ALL ON `shop\_scratch\_%`.*
// gives this right.
func (m *Source) Test(ctx context.Context, r io.Reader, o driver.RestoreOptions, use func(context.Context, driver.Queryer, driver.Contents) error) error {
	name := server.ScratchName(m.database, time.Now())
	o.Target, o.Tables = name, nil
	_, got, err := m.Restore(ctx, r, o)
	if err != nil {
		return untested(err) // the database has been dropped
	}
	conn, err := m.db.Conn(ctx)
	if err == nil {
		if _, err = conn.ExecContext(ctx, "USE "+quote(name)); err == nil {
			err = untested(use(ctx, conn, got))
		}
		// Do not return a connection with another current database to the pool.
		_ = conn.Raw(func(any) error { return sqldriver.ErrBadConn })
	}
	return errors.Join(err, server.Left(m.drop(context.WithoutCancel(ctx), name)))
}

// SweepTests drops databases of killed tests that were created before a time.
func (m *Source) SweepTests(ctx context.Context, before time.Time) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, m.opts.QueryTimeout)
	defer cancel()
	names, err := m.texts(ctx, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '%\\_scratch\\_%'")
	if err != nil {
		return nil, fmt.Errorf("backup: list the databases: %w", err)
	}
	return server.DropStale(ctx, names, m.database, before, m.drop)
}
