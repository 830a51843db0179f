package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/mainstay-go/mainstay/backup/internal/server"
)

var errPooled = errors.New("backup: the connection goes through a pooler that gives each transaction another session of the server, such as PgBouncer with pool_mode = transaction: connect to the server itself, or set pool_mode = session for this database")

// unpooled fails if two connections of the pool share a session of the server, or if a
// connection changes its session. Locks and settings would then affect other sessions.
func (p *Source) unpooled(ctx context.Context) error {
	if n := p.db.Stats().MaxOpenConnections; n == 1 {
		return nil // the lock of a run reports it
	}
	ctx, cancel := context.WithTimeout(ctx, p.opts.QueryTimeout)
	defer cancel()
	err := func() error {
		idle, err := server.Conn(ctx, p.db)
		if err != nil {
			return err
		}
		defer idle.Close()
		var first, between, again int
		const pid = "SELECT pg_backend_pid()"
		if err := idle.QueryRowContext(ctx, pid).Scan(&first); err != nil {
			return err
		}
		busy, err := server.Conn(ctx, p.db)
		if err != nil {
			return err
		}
		defer busy.Close()
		tx, err := busy.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := tx.QueryRowContext(ctx, pid).Scan(&between); err != nil {
			return err
		}
		if between == first {
			return errPooled
		}
		if err := idle.QueryRowContext(ctx, pid).Scan(&again); err != nil {
			return err
		}
		if again != first {
			return errPooled
		}
		return nil
	}()
	switch {
	case err == nil, errors.Is(err, errPooled):
		return err
	case strings.Contains(err.Error(), "prepared statement"): // the other session does not have it, or has another one
		return errPooled
	}
	return fmt.Errorf("backup: connect to PostgreSQL: %w", err)
}
