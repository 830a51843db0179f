package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// Test implements [driver.Abilities] with a database beside the original. The account needs
// the right to create databases (CREATEDB).
func (p *Source) Test(ctx context.Context, r io.Reader, o driver.RestoreOptions, use func(context.Context, driver.Queryer, driver.Contents) error) error {
	name := server.ScratchName(p.target.database, time.Now())
	on, err := p.server(ctx, p.db)
	if err != nil {
		return err
	}
	_, got, err := p.restore(ctx, anyServer{p.db, on}, r, driver.RestoreOptions{Target: name, Want: o.Want}, restoreHow{test: true})
	if err != nil {
		return untested(err) // the database has been dropped
	}
	db, err := p.open(name)
	if err == nil {
		err = errors.Join(untested(use(ctx, db, got)), db.Close())
	}
	return errors.Join(err, server.Left(p.drop(context.WithoutCancel(ctx), p.db, name)))
}

// SweepTests implements [driver.Abilities].
func (p *Source) SweepTests(ctx context.Context, before time.Time) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.QueryTimeout)
	defer cancel()
	names, err := queryStrings(ctx, p.db, "SELECT datname FROM pg_database WHERE datname LIKE '%\\_scratch\\_%'")
	if err != nil {
		return nil, fmt.Errorf("backup: list the databases: %w", err)
	}
	return server.DropStale(ctx, names, p.target.database, before, func(ctx context.Context, name string) error { return p.drop(ctx, p.db, name) })
}
