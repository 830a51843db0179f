package backups

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/health"
)

// rows is a database with this number of rows, or one that does not respond.
type rows int64

func (r *rows) Describe() driver.Description { return driver.Description{Extension: ".txt"} }

func (r *rows) Abilities() driver.Abilities { return driver.Abilities{} }

func (r *rows) Dump(_ context.Context, w io.Writer) (driver.Contents, error) {
	if *r < 0 {
		return driver.Contents{}, errors.New("connection refused")
	}
	_, err := w.Write(make([]byte, 4000))
	return driver.Contents{Tables: []driver.Table{{Name: "sales", Rows: int64(*r)}}}, err
}

// TestCheck verifies that the check reports problems that a fresh backup hides.
func TestCheck(t *testing.T) {
	t.Parallel()
	folder, err := backup.NewFolder(filepath.Join(t.TempDir(), "backups"))
	if err != nil {
		t.Fatal(err)
	}
	source := rows(100)
	var elsewhere Last
	job, err := backup.New(JobName, &source, folder, &backup.Options{Compression: backup.None, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	check := func(status health.Status, say string) {
		t.Helper()
		r := Check(job, func(context.Context) (Last, error) { return elsewhere, nil }, unseen).Checker.Check(t.Context())
		if r.Status != status || !strings.Contains(r.Summary, say) || strings.Contains(r.Summary, "refused") {
			t.Errorf("%v %q, want %v and %q", r.Status, r.Summary, status, say)
		}
	}
	check(health.Fail, "there is no backup")
	elsewhere = Last{Folder: "other", Time: time.Now(), Size: 4000}
	check(health.Pass, "newest is")
	elsewhere = Last{}
	report, err := job.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	check(health.Pass, "newest is")
	for _, n := range []rows{-1, 10} {
		source = n
		if _, err := job.Backup(t.Context()); err == nil {
			t.Fatal(n)
		}
		check(health.Warn, map[rows]string{-1: "the last run failed at dump", 10: "1 suspect"}[n])
		elsewhere = Last{Folder: "other", Time: time.Now(), Size: 4000}
		check(health.Pass, "newest is")
		elsewhere = Last{}
	}
	source = 100
	if _, err := job.Backup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(folder.Path(), report.Manifest.File), 10); err != nil {
		t.Fatal(err)
	}
	check(health.Warn, "is damaged")
}

// TestCheckOfSeveralProblems verifies that a suspect backup hides no interrupted restore.
func TestCheckOfSeveralProblems(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "backups")
	folder, err := backup.NewFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	source := rows(100)
	job, err := backup.New(JobName, &source, folder, &backup.Options{Compression: backup.None, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := job.Backup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "restoring.pos.20260101T000000Z.aaaaaa.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"before the next backup", "after it"} {
		r := Check(job, func(context.Context) (Last, error) { return Last{}, nil }, unseen).Checker.Check(t.Context())
		if r.Status != health.Fail || !strings.Contains(r.Summary, "a restore is unfinished") {
			t.Errorf("%s: %v %q", what, r.Status, r.Summary)
		}
		if _, err := job.Backup(t.Context()); !errors.Is(err, backup.ErrSuspect) {
			t.Fatal(err)
		}
	}
}

func unseen(context.Context, Last) error { return nil }
