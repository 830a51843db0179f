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
// original. Objects that exist in the original keep their present owners and privileges,
// and the database keeps its settings. Overwrite compares these before the names change,
// and stops on a difference. Other objects get the owners and privileges in the backup. The
// role must own the database. It must be allowed to create databases and to end sessions in
// the original. It must be a member of every role that owns an object.
func (p *Source) Overwrite(ctx context.Context, r io.Reader, o driver.RestoreOptions) (got driver.Contents, err error) {
	if len(o.Tables) > 0 {
		return got, errors.New("backup: single tables of PostgreSQL are restored beside the original: copy their rows from there")
	}
	original := p.target.database
	on, err := p.server(ctx, p.db)
	if err != nil {
		return got, err
	}
	if err := p.replaceable(ctx); err != nil {
		return got, err
	}
	if err := p.unpooled(ctx); err != nil {
		return got, err
	}
	second, before := server.ScratchName(original, time.Now()), server.ScratchName(original, time.Now())
	// Use the present owners, privileges and settings of the original.
	now, err := p.archive(ctx, on.major, original, io.Discard, nil, "--schema-only", "--create")
	if err != nil {
		return got, err
	}
	settings, err := settingsOf(ctx, p.db)
	if err != nil {
		return got, err
	}
	want := o.Want
	if want.Settings != nil && want.Settings[setNoPublic] == "" {
		delete(settings, setNoPublic) // the backup has objects in the schema public
	} else if want.Settings[setNoPublic] != "" {
		settings[setNoPublic] = "true"
	}
	if text := o.Want.Settings[setMonetary]; text != "" {
		settings[setMonetary] = text
	}
	want.Settings = settings
	_, got, err = p.restore(ctx, anyServer{p.db, on}, r, driver.RestoreOptions{Target: second, Want: want, Creates: o.Creates}, restoreHow{present: now.toc})
	created := err == nil
	if err == nil {
		err = o.Want.Compare(got)
	}
	if err == nil {
		err = p.sameRights(ctx, original, second)
	}
	if err == nil {
		err = o.Creating(ctx, before)
	}
	if err == nil && o.Touch != nil {
		err = o.Touch(ctx)
	}
	if err == nil {
		server.DropIdle(p.db)
		err = p.exchange(ctx, original, second, before)
	}
	if err != nil {
		if created && !errors.Is(err, driver.ErrHalfway) {
			err = errors.Join(err, server.Left(p.drop(context.WithoutCancel(ctx), p.db, second)))
		}
		return got, err
	}
	if err := p.drop(context.WithoutCancel(ctx), p.db, before); err != nil {
		got.Warnings = append(got.Warnings, fmt.Sprintf("what was there before is still there as %s: drop it", before))
	}
	return got, nil
}
