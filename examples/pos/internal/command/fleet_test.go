package command

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/examples/pos/internal/backups"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/health"
)

// TestBackupElsewhere keeps a backup as one of two servers that have the same host and port. The
// other one must not take it for its own, and report that there is no backup.
func TestBackupElsewhere(t *testing.T) {
	one, two := settings.Default(), settings.Default()
	one.Data, two.Data = t.TempDir(), t.TempDir()
	st, err := store.Open(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := keepLastBackup(t.Context(), one, st, backups.Last{ID: "a", Size: 4000}); err != nil {
		t.Fatal(err)
	}
	if last, err := backupElsewhere(t.Context(), one, st); err != nil || !last.Time.IsZero() {
		t.Errorf("the server that made it: %+v, %v", last, err)
	}
	if last, err := backupElsewhere(t.Context(), two, st); err != nil || last.Size != 4000 || last.Unseen > time.Minute || filepath.Base(last.Folder) != "backups" {
		t.Errorf("the other server: %+v, %v", last, err)
	}

	// Five hours later nobody has seen it, until the server that made it looks again.
	last, err := lastBackup(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	last.Seen = last.Seen.Add(-5 * time.Hour)
	if err := setLastBackup(t.Context(), st, last); err != nil {
		t.Fatal(err)
	}
	job, err := backups.New(two, st.Side(), &backup.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	check := backups.Check(job, func(ctx context.Context) (backups.Last, error) { return backupElsewhere(ctx, two, st) },
		func(ctx context.Context, own backups.Last) error { return keepSeen(ctx, two, st, own) })
	if r := check.Checker.Check(t.Context()); r.Status == health.Pass || !strings.Contains(r.Summary, "nobody has seen the newest backup") {
		t.Errorf("%v: %s", r.Status, r.Summary)
	}
	for _, own := range []backups.Last{{}, {ID: "b"}, {ID: "a"}} {
		if err := keepSeen(t.Context(), one, st, own); err != nil {
			t.Fatal(err)
		}
		if last, err = backupElsewhere(t.Context(), two, st); err != nil || (last.Unseen < time.Minute) != (own.ID == "a") {
			t.Errorf("%+v: %+v, %v", own, last, err)
		}
	}
}
