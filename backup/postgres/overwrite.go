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

// Original implements [driver.Abilities].
func (p *Source) Original(context.Context) (string, error) { return p.target.database, nil }

// Overwrite implements [driver.Abilities]: see [Job.RestoreOver]. The role must own the
// database, be allowed to create others, and to end the sessions in it.
func (p *Source) Overwrite(ctx context.Context, r io.Reader, o driver.RestoreOptions) (got driver.Contents, err error) {
	original := p.target.database
	second, before := server.ScratchName(original, time.Now()), server.ScratchName(original, time.Now())
	created := false
	_, got, err = p.Restore(ctx, r, driver.RestoreOptions{Target: second, Want: o.Want})
	created = err == nil
	if err == nil {
		err = o.Want.Compare(got)
	}
	if err == nil {
		if o.Touch != nil {
			err = o.Touch(ctx)
		}
	}
	if err == nil {
		server.DropIdle(p.db)
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
func (p *Source) exchange(ctx context.Context, original, second, before string) (err error) {
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
