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

// Test implements [driver.Abilities] with a database beside the original. The
// account must be allowed to create and drop it, which GRANT ALL ON `shop\_scratch\_%`.*
// gives for a database shop. Events of a database run in a copy of it too: while the
// server's event scheduler is on, a dump with events is refused.
func (m *Source) Test(ctx context.Context, r io.Reader, o driver.RestoreOptions, use func(context.Context, driver.Queryer, driver.Contents) error) error {
	if o.Want.Events > 0 {
		var on bool
		if err := m.db.QueryRowContext(ctx, "SELECT @@event_scheduler = 'ON'").Scan(&on); err != nil {
			return fmt.Errorf("backup: ask for the event scheduler: %w", err)
		}
		if on {
			return fmt.Errorf("backup: the database has %d events, which would run in the scratch database too: drill on a server without an event scheduler (DrillOptions.At)", o.Want.Events)
		}
	}
	name := server.ScratchName(m.target.database, time.Now())
	_, got, err := m.Restore(ctx, r, driver.RestoreOptions{Target: name, Want: o.Want})
	if err != nil {
		return err // and it has been dropped
	}
	conn, err := m.db.Conn(ctx)
	if err == nil {
		if _, err = conn.ExecContext(ctx, "USE "+quoteMySQL(name)); err == nil {
			err = use(ctx, conn, got)
		}
		// Nobody may get a connection from the pool that is in another database.
		_ = conn.Raw(func(any) error { return sqldriver.ErrBadConn })
	}
	return errors.Join(err, server.Left(m.drop(context.WithoutCancel(ctx), name)))
}

// SweepTests implements [driver.Abilities].
func (m *Source) SweepTests(ctx context.Context, before time.Time) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, m.opts.QueryTimeout)
	defer cancel()
	names, err := queryStrings(ctx, m.db, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '%\\_scratch\\_%'")
	if err != nil {
		return nil, fmt.Errorf("backup: list the databases: %w", err)
	}
	return server.DropStale(ctx, names, m.target.database, before, m.drop)
}
