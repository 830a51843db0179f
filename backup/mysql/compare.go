package mysql

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// compare compares the restored database with the dump.
func (r *restoring) compare(ctx context.Context, tables []driver.Table) error {
	want := r.dump
	if len(r.o.Tables) > 0 {
		var err error
		if want, err = want.Only(r.o.Tables); err != nil {
			return err
		}
	}
	inv, err := r.m.inventory(ctx, r.target)
	if err != nil {
		return err
	}
	charset, collation, err := r.m.defaults(ctx, r.s, r.target)
	if err != nil {
		return err
	}
	r.got = inv.contents()
	r.got.Tables = tables
	r.got.ServerVersion = r.server.version
	r.got.Settings = map[string]string{"charset": charset, "collation": collation}
	if err := want.Compare(r.got); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	for _, kind := range []struct {
		name      string
		want, got int64
	}{{"views", want.Views, r.got.Views}, {"triggers", want.Triggers, r.got.Triggers}, {"routines", want.Routines, r.got.Routines}, {"events", want.Events, r.got.Events}} {
		if kind.want != kind.got {
			return fmt.Errorf("backup: %w: it has %d %s instead of %d", driver.ErrDiffers, kind.got, kind.name, kind.want)
		}
	}
	if c := r.dump.Settings["collation"]; c != "" && c != collation {
		return fmt.Errorf("backup: %w: its default collation is %s instead of %s", driver.ErrDiffers, collation, c)
	}
	r.warnings(ctx)
	return nil
}

// warnings reports differences in the behaviour of the restored database.
func (r *restoring) warnings(ctx context.Context) {
	if len(r.changed) > 0 {
		r.got.Warnings = append(r.got.Warnings, "this account may not create objects of other accounts (GRANT SET USER ON *.* to it, or set mysql.Options.Definers), so that these belong to it now: "+server.ShortList(r.changed))
	}
	var unknown []string
	for definer := range r.lost {
		at := max(strings.LastIndexByte(definer, '@'), 0)
		var n int
		err := r.s.QueryRowContext(ctx, "SELECT COUNT(*) FROM mysql.user WHERE User = ? AND Host = ?", definer[:at], strings.TrimPrefix(definer[at:], "@")).Scan(&n)
		if err == nil && n == 0 && at > 0 {
			unknown = append(unknown, quoteAccount(definer))
		}
	}
	slices.Sort(unknown)
	if len(unknown) > 0 {
		r.got.Warnings = append(r.got.Warnings, fmt.Sprintf("views, triggers or routines belong to %s, which this server does not know: they fail until CREATE USER", server.ShortList(unknown)))
	}
	r.got.Warnings = append(r.got.Warnings, r.pastWarning()...)
	r.got.Warnings = append(r.got.Warnings, r.composedWarning()...)
	if n := len(r.events); n > 0 {
		r.got.Warnings = append(r.got.Warnings, fmt.Sprintf("the %d events of the restored database are disabled: ALTER EVENT … ENABLE, where they are to run", n))
	}
}
