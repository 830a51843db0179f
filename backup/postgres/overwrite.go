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

// Overwrite restores the dump into a second database, which then takes the name of the
// original in a moment. Objects that the original has now keep their present owners and
// privileges, and the database its settings: they are compared before the names change, and
// a difference ends the restore. Other objects get those of the backup. The role must own
// the database, be allowed to create others and to end the sessions in it, and be a member
// of every role that owns something.
func (p *Source) Overwrite(ctx context.Context, r io.Reader, o driver.RestoreOptions) (got driver.Contents, err error) {
	if len(o.Tables) > 0 {
		return got, errors.New("backup: single tables of PostgreSQL are restored beside the original: copy their rows from there")
	}
	original := p.target.database
	on, err := p.server(ctx, p.db)
	if err != nil {
		return got, err
	}
	second, before := server.ScratchName(original, time.Now()), server.ScratchName(original, time.Now())
	// What the original is now decides about owners, privileges and settings.
	now, err := p.archive(ctx, on.major, original, io.Discard, "--schema-only", "--create")
	if err != nil {
		return got, err
	}
	settings, err := settingsOf(ctx, p.db)
	if err != nil {
		return got, err
	}
	want := o.Want
	if want.Settings != nil && want.Settings[setNoPublic] == "" {
		delete(settings, setNoPublic) // the backup has objects there
	} else if want.Settings[setNoPublic] != "" {
		settings[setNoPublic] = "true"
	}
	want.Settings = settings
	_, got, err = p.restore(ctx, anyServer{p.db, on}, r, driver.RestoreOptions{Target: second, Want: want}, restoreHow{present: now.toc})
	created := err == nil
	if err == nil {
		err = o.Want.Compare(got)
	}
	if err == nil {
		err = p.sameRights(ctx, original, second)
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
			err = errors.Join(err, p.drop(context.WithoutCancel(ctx), p.db, second))
		}
		return got, err
	}
	if err := p.drop(context.WithoutCancel(ctx), p.db, before); err != nil {
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

// sameRights compares owners, privileges and settings of the original with those of the
// database that is to replace it.
func (p *Source) sameRights(ctx context.Context, original, second string) error {
	before, err := rightsOf(ctx, p.db, access)
	if err != nil {
		return err
	}
	db, err := p.open(second)
	if err != nil {
		return err
	}
	defer db.Close()
	after, err := rightsOf(ctx, db, access)
	if err != nil {
		return err
	}
	if err := compareRights(before, after); err != nil {
		return err
	}
	if before, err = rightsOf(ctx, p.db, ofDatabase, original); err != nil {
		return err
	}
	if after, err = rightsOf(ctx, p.db, ofDatabase, second); err != nil {
		return err
	}
	return compareRights(before, after)
}
