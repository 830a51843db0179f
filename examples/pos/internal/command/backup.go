package command

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/backupcli"
	"github.com/mainstay-go/mainstay/examples/pos/internal/backups"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/notify"
)

// runBackup makes and manages backups, beside a running server or without one.
func runBackup(ctx context.Context, env Env, args []string) int {
	s, rest, err := settings.Load(args, env.Getenv)
	if err != nil {
		return refuse(env, err)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger := slog.New(slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	channel, err := notifier(s, logger)
	if err != nil {
		return refuse(env, err)
	}
	// Only making a backup needs the database. A restore must work without it.
	takes := len(rest) == 0 || strings.HasPrefix(rest[0], "-")
	if !takes && rest[0] == "restore" && s.Database.Engine == settings.SQLite && !slices.ContainsFunc(rest, isTarget) {
		// A database that does not open cannot report its path.
		rest = append(rest, "--to="+filepath.Join(s.Data, "pos_restore_"+time.Now().UTC().Format("20060102T150405Z")+".db"))
	}
	open := func(ctx context.Context, o backup.Options) (*backup.Job, func(), error) {
		db, err := store.OpenSide(ctx, s, !takes)
		if errors.As(err, new(*settings.Error)) && !errors.As(err, new(*store.DamagedError)) {
			return nil, nil, &backupcli.SettingError{Err: err}
		}
		if err != nil {
			return nil, nil, err
		}
		o.Logger = logger
		job, err := backups.New(s, db, &o) // the job opens no file here, so only a setting can be wrong
		if err != nil {
			closeQuietly(db)
			return nil, nil, &backupcli.SettingError{Err: err}
		}
		return job, func() { closeQuietly(db) }, nil
	}
	o := &backupcli.Options{Name: "pos backup", State: backups.Told(s), Stdout: env.Stdout, Stderr: env.Stderr}
	if channel != nil {
		// The next run, or the server, sends a message that the mail server does not accept now.
		if o.Notifier, err = notify.NewSpool(outbox(s), channel, &notify.SpoolOptions{Logger: logger}); err != nil {
			o.Notifier = channel // the disk may be broken
		}
	}
	code := backupcli.Run(ctx, rest, open, o)
	if takes && code == 0 && !wantsHelp(rest) && s.Database.Engine != settings.SQLite {
		recordBackup(ctx, s, logger)
	}
	return code
}

// recordBackup stores the time of a backup that the host's scheduler made. The health checks of
// the other servers read it, and they make no second backup that day.
func recordBackup(ctx context.Context, s *settings.Settings, logger *slog.Logger) {
	if err := recordNewest(ctx, s, logger); err != nil {
		logger.Warn("the backup is made, and the other servers on the database do not know of it", "error", err)
	}
}

func recordNewest(ctx context.Context, s *settings.Settings, logger *slog.Logger) error {
	st, err := store.OpenExisting(ctx, s)
	if err != nil {
		return err
	}
	defer closeQuietly(st)
	job, err := backups.New(s, st.Side(), &backup.Options{Logger: logger})
	if err != nil {
		return err
	}
	newest, err := backups.Newest(ctx, job)
	if err != nil || newest.ID == "" {
		return err
	}
	return keepLastBackup(ctx, s, st, newest)
}

func isTarget(arg string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return strings.HasPrefix(arg, "-") && (name == "to" || name == "overwrite")
}

// closeQuietly closes a reader and ignores the error.
func closeQuietly(c io.Closer) { _ = c.Close() }
