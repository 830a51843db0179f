package backup

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/internal/atomicfile"
)

// Original implements [Overwriter].
func (p *Postgres) Original(context.Context) (string, error) { return p.target.database, nil }

// Overwrite implements [Overwriter]: see [Job.RestoreOver]. The role must own the
// database, be allowed to create others, and to end the sessions in it.
func (p *Postgres) Overwrite(ctx context.Context, dump func(func(io.Reader) error) error, want Contents) (got Contents, err error) {
	original := p.target.database
	second, before := scratchName(original, time.Now()), scratchName(original, time.Now())
	created := false
	err = dump(func(r io.Reader) error {
		_, got, err = p.Restore(ctx, r, second)
		created = err == nil
		return err
	})
	if err == nil {
		err = sameContents(want, got)
	}
	if err == nil {
		dropIdle(p.db)
		err = p.exchange(ctx, original, second, before)
	}
	if err != nil {
		if created {
			err = errors.Join(err, p.drop(context.WithoutCancel(ctx), second))
		}
		return got, err
	}
	if err := p.drop(context.WithoutCancel(ctx), before); err != nil {
		got.Warnings = append(got.Warnings, fmt.Sprintf("what was there before is still there as %s: drop it", before))
	}
	return got, nil
}

// exchange gives a database another's name, which is then called before. It works from
// a third one, for nobody may be in either.
func (p *Postgres) exchange(ctx context.Context, original, second, before string) (err error) {
	aside, err := p.open("template1")
	if err != nil {
		return err
	}
	defer aside.Close()
	do := func(ctx context.Context, statement string) error {
		if _, err := aside.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("backup: %s: %w", statement, err)
		}
		return nil
	}
	if err := do(ctx, "ALTER DATABASE "+quotePostgres(original)+" ALLOW_CONNECTIONS false"); err != nil {
		return err
	}
	renamed := false
	defer func() {
		late := context.WithoutCancel(ctx)
		if err != nil && renamed {
			err = errors.Join(err, do(late, "ALTER DATABASE "+quotePostgres(before)+" RENAME TO "+quotePostgres(original)))
		}
		if err != nil {
			err = errors.Join(err, do(late, "ALTER DATABASE "+quotePostgres(original)+" ALLOW_CONNECTIONS true"))
		}
	}()
	for _, name := range []string{original, second} {
		// The server waits five seconds for sessions to end before it refuses the name.
		// Those of its own processes have no user.
		for try := 0; ; try++ {
			if _, err = aside.ExecContext(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename IS NOT NULL", name); err != nil {
				return fmt.Errorf("backup: end the sessions in the database %q: %w", name, err)
			}
			to := before
			if name == second {
				to = original
			}
			if err = do(ctx, "ALTER DATABASE "+quotePostgres(name)+" RENAME TO "+quotePostgres(to)); err == nil {
				break
			}
			if try == 3 || ctx.Err() != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond)
		}
		renamed = true
	}
	return nil
}

// dropIdle closes the idle connections of a pool, which are of no use once their
// database is another, and leaves it with the number that database/sql begins with.
func dropIdle(db *sql.DB) {
	db.SetMaxIdleConns(0)
	db.SetMaxIdleConns(2)
}

// Original implements [Overwriter].
func (m *MySQL) Original(context.Context) (string, error) { return m.target.database, nil }

// Overwrite implements [Overwriter]: see [Job.RestoreOver].
func (m *MySQL) Overwrite(ctx context.Context, dump func(func(io.Reader) error) error, want Contents) (got Contents, err error) {
	second := scratchName(m.target.database, time.Now())
	err = dump(func(r io.Reader) error {
		_, got, err = m.Restore(ctx, r, second)
		return err
	})
	if err != nil {
		return got, err
	}
	err = errors.Join(sameContents(want, got), m.drop(context.WithoutCancel(ctx), second))
	if err != nil {
		return got, err
	}
	server, client, options, err := m.toRestore(ctx)
	if err != nil {
		return got, err
	}
	defer options.remove()
	if err := ctx.Err(); err != nil {
		return got, err
	}
	ctx = context.WithoutCancel(ctx) // from here on it is finished
	if err := m.createAnew(ctx); err != nil {
		return got, err
	}
	dropIdle(m.db)
	err = dump(func(r io.Reader) error {
		got, err = m.feed(ctx, client, options, r, m.target.database)
		return err
	})
	got.ServerVersion, got.ClientVersion = server.version, client.version
	return got, err
}

// createAnew drops the database and creates it, on one connection: no other can be made
// in between.
func (m *MySQL) createAnew(ctx context.Context) error {
	like := m.likeOriginal(ctx)
	conn, err := m.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer conn.Close()
	for _, statement := range []string{"DROP DATABASE ", "CREATE DATABASE "} {
		statement += quoteMySQL(m.target.database)
		if strings.HasPrefix(statement, "CREATE") {
			statement += like
		}
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("backup: %s: %w", statement, err)
		}
	}
	return nil
}

// Original implements [Overwriter]: the path of the file.
func (s *SQLite) Original(ctx context.Context) (string, error) { return s.file(ctx) }

// Overwrite implements [Overwriter]: see [Job.RestoreOver]. It closes the idle
// connections of the *sql.DB, since a connection of its own would be in the way.
func (s *SQLite) Overwrite(ctx context.Context, dump func(func(io.Reader) error) error, want Contents) (got Contents, err error) {
	original, err := s.file(ctx)
	if err != nil {
		return got, err
	}
	second := filepath.Join(filepath.Dir(original), ".tmp-"+filepath.Base(original)+"-"+randomDigits())
	defer os.Remove(second)
	err = dump(func(r io.Reader) error {
		_, got, err = s.Restore(ctx, r, second)
		return err
	})
	if err == nil {
		err = sameContents(want, got)
	}
	if err != nil {
		return got, err
	}
	s.db.SetMaxIdleConns(0)
	defer dropIdle(s.db)
	alone := sql.OpenDB(dsnConnector{original, s.db.Driver()})
	defer alone.Close()
	conn, err := alone.Conn(ctx)
	if err != nil {
		return got, fmt.Errorf("sqlite: %w", err)
	}
	defer conn.Close()
	// Leaving the write-ahead log is granted to the only connection, and nobody can open
	// the file until the new one is in its place: a log that stayed would be taken for
	// the new file's.
	mode := ""
	err = conn.QueryRowContext(ctx, "PRAGMA journal_mode = DELETE").Scan(&mode)
	if err == nil && mode != "delete" {
		err = fmt.Errorf("its journal mode is %s", mode)
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, "BEGIN EXCLUSIVE")
	}
	if err != nil {
		return got, fmt.Errorf("sqlite: %s is in use: stop whoever has it open, then restore again: %w", original, err)
	}
	info, err := os.Stat(original)
	if err == nil {
		err = os.Chmod(second, info.Mode().Perm())
	}
	if err == nil {
		err = atomicfile.Rename(second, original)
	}
	if err != nil {
		return got, fmt.Errorf("sqlite: %w", err)
	}
	return got, nil
}
