package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// Restore reads a dump into a new database of the server and counts it. Without a
// target the name is that of the original and the time. Owners and privileges are
// left out: everything belongs to the role that restores. What was set by ALTER
// DATABASE is no part of a dump.
func (p *Source) Restore(ctx context.Context, r io.Reader, o driver.RestoreOptions) (string, driver.Contents, error) {
	target := o.Target
	if len(o.Tables) > 0 {
		return "", driver.Contents{}, errors.New("backup: single tables cannot be restored of PostgreSQL yet")
	}
	if target == "" {
		target = fmt.Sprintf("%.40s_restore_%s", p.target.database, time.Now().UTC().Format("20060102t150405"))
		target = strings.ToValidUTF8(target, "") // a name has 63 bytes
	}
	on, err := p.server(ctx, p.db)
	if err != nil {
		return "", driver.Contents{}, err
	}
	client, err := findPostgresClient(ctx, "pg_restore", p.opts.Restore, on.major)
	if err != nil {
		return "", driver.Contents{}, err
	}
	secrets, err := newPassfile(p.target.password)
	if err != nil {
		return "", driver.Contents{}, err
	}
	defer secrets.Remove()

	// template0 holds nothing of the site's own, and the encoding must be the dump's.
	create := "CREATE DATABASE " + quotePostgres(target) + " TEMPLATE template0" + p.likeOriginal(ctx)
	if err := p.exec(ctx, create); err != nil {
		return "", driver.Contents{}, fmt.Errorf("backup: create the database %q (a restore never goes into an existing one): %w", target, err)
	}
	err = client.run(ctx, secrets, r, nil,
		"--exit-on-error", "--no-owner", "--no-privileges", "--no-password", "--dbname="+p.target.public(target))
	var got driver.Contents
	if err == nil {
		got, err = p.countsOf(ctx, target)
	}
	if err != nil {
		return "", driver.Contents{}, errors.Join(err, p.drop(context.WithoutCancel(ctx), target))
	}
	got.ServerVersion = on.version
	return target, got, nil
}

// likeOriginal returns the options that make a database sort and encode as the
// original does, so that indexes and text mean the same. Where that cannot be
// asked, the template's apply.
func (p *Source) likeOriginal(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, p.opts.QueryTimeout)
	defer cancel()
	var options string
	err := p.db.QueryRowContext(ctx, `SELECT format(' ENCODING %L LC_COLLATE %L LC_CTYPE %L', pg_encoding_to_char(encoding), datcollate, datctype)
		FROM pg_database WHERE datname = current_database()`).Scan(&options)
	if err != nil {
		return ""
	}
	return options
}

// countsOf counts another database of the server.
func (p *Source) countsOf(ctx context.Context, database string) (driver.Contents, error) {
	db, err := p.open(database)
	if err != nil {
		return driver.Contents{}, err
	}
	defer db.Close()
	return countPostgres(ctx, db)
}

// drop removes a database that this package has created. It ends sessions in it,
// such as those of a pg_restore that was killed.
func (p *Source) drop(ctx context.Context, database string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	ended := `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid() AND usename IS NOT NULL`
	if _, err := queryStrings(ctx, p.db, ended, database); err != nil {
		return fmt.Errorf("backup: end the sessions in the database %q: %w", database, err)
	}
	if err := p.exec(ctx, "DROP DATABASE IF EXISTS "+quotePostgres(database)); err != nil {
		return fmt.Errorf("backup: drop the database %q: %w", database, err)
	}
	return nil
}

func (p *Source) exec(ctx context.Context, statement string) error {
	_, err := p.db.ExecContext(ctx, statement)
	return err
}

func quotePostgres(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
