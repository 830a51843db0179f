package command

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/backupcli"
	"github.com/mainstay-go/mainstay/examples/pos/internal/backups"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

// backUp is the backup command, for the same job as the server's nightly one.
func backUp(ctx context.Context, env Env, args []string) int {
	s, rest, err := settings.Load(args, env.Getenv)
	if err != nil {
		return refuse(env, err)
	}
	logger := slog.New(slog.DiscardHandler) // the command says itself what happened
	channel, err := notifier(s, logger)
	if err != nil {
		return refuse(env, err)
	}
	verb := "run"
	if len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		verb = rest[0]
	}
	if verb == "restore" && !slices.ContainsFunc(rest, func(a string) bool { return strings.HasPrefix(strings.TrimLeft(a, "-"), "to") && a[0] == '-' }) &&
		s.Database.Engine == settings.SQLite {
		// Named here, so that a restore works also where the database does not open.
		rest = append(rest, "--to="+filepath.Join(s.Data, "pos_restore_"+time.Now().UTC().Format("20060102T150405Z")+".db"))
	}
	open := func(ctx context.Context, o backup.Options) (*backup.Job, func(), error) {
		o.Logger = logger
		return openBackups(ctx, s, verb, o)
	}
	return backupcli.Run(ctx, rest, open, &backupcli.Options{Name: "pos backup", Notifier: channel, Stdout: env.Stdout, Stderr: env.Stderr})
}

// openBackups opens the shop's database and its backups. All but taking a backup works
// without the database too: it is most needed when that is gone.
func openBackups(ctx context.Context, s *settings.Settings, verb string, o backup.Options) (*backup.Job, func(), error) {
	lite := s.Database.Engine == settings.SQLite
	if _, err := os.Stat(s.SQLitePath()); lite && verb == "run" && errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("there is no database in %s: start the server first, or name its folder with --data", s.Data)
	}
	st, err := openIfThere(ctx, s)
	switch {
	case err == nil && st != nil:
		job, err := backups.New(s, st, &o)
		if err != nil {
			_ = st.Close()
			return nil, nil, err
		}
		return job, func() { _ = st.Close() }, nil
	case !lite || verb == "run":
		return nil, nil, err
	}
	scratch, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, nil, err
	}
	folder, err := backup.NewFolder(s.BackupDir())
	if err != nil {
		return nil, nil, err
	}
	job, err := backup.New(backups.JobName, backup.NewSQLite(scratch), folder, &o)
	return job, func() { _ = scratch.Close() }, err
}

// openIfThere opens the database; it makes none where there is none.
func openIfThere(ctx context.Context, s *settings.Settings) (*store.Store, error) {
	if s.Database.Engine == settings.SQLite {
		if _, err := os.Stat(s.SQLitePath()); err != nil {
			return nil, nil //nolint:nilerr // what is not there is not opened
		}
	}
	return store.Open(ctx, s)
}
