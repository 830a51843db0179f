package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// replaceable rejects a database that the server would not let go. Its replication would
// break, or the old database could not be dropped.
func (p *Source) replaceable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.opts.QueryTimeout)
	defer cancel()
	found, err := queryStrings(ctx, p.db, `
		SELECT 'the subscription ' || quote_ident(subname) FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
		UNION ALL SELECT 'the replication slot ' || quote_ident(slot_name) FROM pg_replication_slots WHERE database = current_database()
		UNION ALL SELECT 'the prepared transaction ' || quote_literal(gid) FROM pg_prepared_xacts WHERE database = current_database() ORDER BY 1`)
	if err != nil {
		return fmt.Errorf("backup: look for what keeps the database from being replaced: %w", err)
	}
	if len(found) > 0 {
		return fmt.Errorf("backup: the database %q has %s: drop or end it first, or restore beside the original", p.target.database, server.ShortList(found))
	}
	return nil
}

// exchange gives the database second the name of the original, and renames the original to
// before. Both names change in one transaction. If the process or the server is killed, the
// name belongs either to the old database or to the new one. An error means that no name
// has changed, unless it wraps [driver.ErrHalfway].
func (p *Source) exchange(ctx context.Context, original, second, before string) error {
	aside, err := p.aside(ctx)
	if err != nil {
		return err
	}
	defer aside.Close()
	for try := 1; ; try++ {
		err = p.rename(ctx, aside, original, second, before)
		if err == nil || try == 3 || ctx.Err() != nil || errors.Is(err, driver.ErrHalfway) {
			return err
		}
	}
}

func (p *Source) rename(ctx context.Context, aside *sql.DB, original, second, before string) error {
	const end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ($1, $2) AND usename IS NOT NULL"
	if _, err := aside.ExecContext(ctx, end, original, second); err != nil {
		return fmt.Errorf("backup: end the sessions in the database %q: %w", original, err)
	}
	tx, err := aside.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("backup: begin to rename the database %q: %w", original, err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "SET TRANSACTION READ WRITE"); err != nil {
		return fmt.Errorf("backup: begin to rename the database %q: %w", original, err)
	}
	// The rename locks the database against new sessions. It waits five seconds for
	// sessions that have connected since.
	var ending sync.WaitGroup
	defer ending.Wait()
	ended, stop := context.WithCancel(ctx)
	defer stop()
	ending.Go(func() {
		for {
			select {
			case <-ended.Done():
				return
			case <-time.After(50 * time.Millisecond):
				_, _ = aside.ExecContext(ended, end, original, second) // the rename reports the failure
			}
		}
	})
	for _, names := range [][2]string{{original, before}, {second, original}} {
		statement := "ALTER DATABASE " + quotePostgres(names[0]) + " RENAME TO " + quotePostgres(names[1])
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("backup: %s: %w", statement, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return p.afterCommit(ctx, before, err)
	}
	return nil
}

// afterCommit checks whether the server executed a COMMIT that returned an error.
func (p *Source) afterCommit(ctx context.Context, before string, failed error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.opts.QueryTimeout)
	defer cancel()
	for {
		aside, err := p.aside(ctx)
		if err == nil {
			var renamed bool
			err = aside.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)", before).Scan(&renamed)
			_ = aside.Close() // used only for a query
			if err == nil && renamed {
				return nil
			}
			if err == nil {
				return fmt.Errorf("backup: rename the databases: %w", failed)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("backup: rename the databases: %w: %w", driver.ErrHalfway, failed)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// aside connects to a database of the server that the exchange does not rename.
func (p *Source) aside(ctx context.Context) (*sql.DB, error) {
	var errs []error
	for _, name := range []string{"template1", "postgres"} {
		if name == p.target.database {
			continue
		}
		db, err := p.open(name)
		if err != nil {
			return nil, err
		}
		if err = db.PingContext(ctx); err == nil {
			return db, nil
		}
		_ = db.Close()
		errs = append(errs, fmt.Errorf("backup: connect to the database %q: %w", name, err))
	}
	return nil, errors.Join(errs...)
}
