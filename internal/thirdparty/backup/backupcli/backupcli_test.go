// Package backupcli_test tests backup/backupcli over SQLite.
package backupcli_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/backupcli"
	"github.com/mainstay-go/mainstay/backup/sqlite"
	"github.com/mainstay-go/mainstay/notify"
)

// shop is a service with a database and the command.
type shop struct {
	t       *testing.T
	db      *sql.DB
	folder  *backup.Folder
	targets []backup.Target
	sent    []notify.Message
	refuse  error
	stderr  io.Writer // nil: one that is read
}

func newShop(t *testing.T) *shop {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "shop.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec("CREATE TABLE sales (id INTEGER PRIMARY KEY); INSERT INTO sales VALUES (1), (2), (3)"); err != nil {
		t.Fatal(err)
	}
	folder, err := backup.NewFolder(filepath.Join(t.TempDir(), "backups"))
	if err != nil {
		t.Fatal(err)
	}
	return &shop{t: t, db: db, folder: folder}
}

func (s *shop) run(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	var out, problems bytes.Buffer
	open := func(_ context.Context, o backup.Options) (*backup.Job, func(), error) {
		o.Logger = slog.New(slog.DiscardHandler)
		o.Targets = s.targets
		j, err := backup.New("shop", sqlite.New(s.db), s.folder, &o)
		return j, nil, err
	}
	stderrTo := s.stderr
	if stderrTo == nil {
		stderrTo = &problems
	}
	code = backupcli.Run(s.t.Context(), args, open, &backupcli.Options{
		Name: "shop backup", Stdout: &out, Stderr: stderrTo,
		Notifier: notify.Func(func(_ context.Context, m notify.Message) error {
			s.sent = append(s.sent, m)
			return s.refuse
		}),
	})
	return code, out.String(), problems.String()
}

func (s *shop) want(code int, args ...string) (stdout, stderr string) {
	s.t.Helper()
	got, stdout, stderr := s.run(args...)
	if got != code {
		s.t.Errorf("%v: exit %d, want %d\n%s%s", args, got, code, stdout, stderr)
	}
	if strings.Count(strings.TrimSpace(stderr), "\n") > 0 || code == backupcli.Good && stderr != "" {
		s.t.Errorf("%v: said\n%s", args, stderr)
	}
	return stdout, stderr
}

// A folder that cannot even be listed is a failure like any other: somebody is told.
func TestUnreadableFolderIsTold(t *testing.T) {
	s := newShop(t)
	if err := os.WriteFile(s.folder.Path(), []byte("no folder"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.want(backupcli.Failed, "--notify")
	if len(s.sent) != 1 || s.sent[0].Level != notify.Critical {
		t.Errorf("sent: %v", s.sent)
	}
}

func TestTour(t *testing.T) {
	s := newShop(t)
	s.want(backupcli.Stale, "check")
	s.want(backupcli.Usage, "verify")
	out, _ := s.want(backupcli.Good, "list")
	if !strings.Contains(out, "no backups yet") {
		t.Errorf("list: %s", out)
	}
	out, _ = s.want(backupcli.Good, "--compress", "--keep-days=30")
	if !strings.Contains(out, "1 tables, 3 rows") || !strings.Contains(out, "read back") {
		t.Errorf("backup: %s", out)
	}
	for _, method := range []string{"zstd", "gzip", "none"} {
		s.want(backupcli.Good, "--compress="+method)
	}
	out, _ = s.want(backupcli.Good, "list", "--json")
	var list []struct {
		ID       string           `json:"id"`
		State    backup.State     `json:"state"`
		Verified *time.Time       `json:"verified"`
		Backup   *backup.Manifest `json:"backup"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 4 || list[0].State != backup.Good || list[0].Verified == nil || list[0].Backup.RowsTotal != 3 {
		t.Errorf("list: %v\n%s", err, out)
	}
	s.want(backupcli.Good, "verify")
	out, _ = s.want(backupcli.Good, "verify", "--all")
	if strings.Count(out, "good:") != 4 {
		t.Errorf("verify --all: %s", out)
	}
	s.want(backupcli.Good, "check")
	s.want(backupcli.Stale, "check", "--max-age=1ns")
	s.want(backupcli.Good, "pin", list[0].ID)
	s.want(backupcli.Good, "pin", "--remove", list[0].ID)
	out, _ = s.want(backupcli.Good, "prune", "--dry-run")
	if strings.Count(out, "keep") != 4 || !strings.Contains(out, "within 30 days") {
		t.Errorf("prune: %s", out)
	}
	target := filepath.Join(t.TempDir(), "new.db")
	out, _ = s.want(backupcli.Good, "restore", list[1].ID, "--to", target)
	if !strings.Contains(out, "3 rows") {
		t.Errorf("restore: %s", out)
	}
	s.want(backupcli.Failed, "restore", "--to", target)
	out, _ = s.want(backupcli.Good, "--json")
	var report struct {
		OK     bool
		Backup backup.Manifest
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || !report.OK || report.Backup.ID == "" {
		t.Errorf("--json: %v\n%s", err, out)
	}
	if len(s.sent) != 0 {
		t.Errorf("messages without --notify: %v", s.sent)
	}
}

func TestUsage(t *testing.T) {
	s := newShop(t)
	for _, args := range [][]string{
		{"frobnicate"},
		{"--frobnicate"},
		{"--compress=rar"},
		{"--keep-days=0"},
		{"--keep-days=soon"},
		{"--encrypt-to=nobody"},
		{"extra", "arguments"},
		{"verify", "--all", "x"},
		{"pin"},
		{"accept"},
		{"restore", "a", "b"},
		{"verify", "../../etc/passwd"},
		{"pin", "shop_20260101T000000Z_abcdef"},
		{"list", "x"},
		{"history", "x"},
		{"check", "--max-age=old"},
		{"verify", "--identity=/does/not/exist"},
	} {
		if _, stderr := s.want(backupcli.Usage, args...); stderr == "" {
			t.Errorf("%v: no word", args)
		}
	}
	if out, _ := s.want(backupcli.Good, "--help"); !strings.Contains(out, "keep-days") {
		t.Errorf("--help: %s", out)
	}
}

// Everything that a person may type at night has an answer, and every command JSON.
func TestAnswers(t *testing.T) {
	s := newShop(t)
	for _, args := range [][]string{{"help"}, {"--help"}, {"-h"}} {
		if out, _ := s.want(backupcli.Good, args...); !strings.Contains(out, "shop backup restore ") || !strings.Contains(out, "keep-days") {
			t.Errorf("%v: %s", args, out)
		}
	}
	if out, _ := s.want(backupcli.Good, "restore", "--help"); !strings.Contains(out, "-overwrite") || strings.Contains(out, "keep-days") {
		t.Errorf("restore --help: %s", out)
	}
	for args, hint := range map[string]string{"--compress gzip": "--compress=gzip", "--notify always": "--notify=always"} {
		if _, stderr := s.want(backupcli.Usage, strings.Fields(args)...); !strings.Contains(stderr, hint) {
			t.Errorf("%s: %s", args, stderr)
		}
	}
	if out, _ := s.want(backupcli.Good, "--check-config"); !strings.Contains(out, "nothing stands in the way") {
		t.Errorf("--check-config: %s", out)
	}
	if out, _ := s.want(backupcli.Good, "list"); !strings.Contains(out, "no backups yet") {
		t.Errorf("--check-config has taken a backup: %s", out)
	}
	out, _ := s.want(backupcli.Good, "--keep")
	id := strings.Fields(out)[0]
	if out, _ := s.want(backupcli.Good, "list"); !strings.Contains(out, "good, pinned") {
		t.Errorf("--keep: %s", out)
	}
	if out, _ := s.want(backupcli.Good, "pin", "--remove", id); !strings.Contains(out, "no longer pinned") {
		t.Errorf("pin --remove: %s", out)
	}
	if out, _ := s.want(backupcli.Good, "pin", id); !strings.Contains(out, id+"  pinned") {
		t.Errorf("pin: %s", out)
	}
	s.want(backupcli.Usage, "accept", id)
	s.want(backupcli.Usage, "prune", "--keep-last=-1")
	if _, err := s.db.Exec("DELETE FROM sales WHERE id > 1"); err != nil {
		t.Fatal(err)
	}
	out, _ = s.want(backupcli.Incomplete, "--json")
	var run struct{ Backup backup.Manifest }
	if err := json.Unmarshal([]byte(out), &run); err != nil || run.Backup.Suspect == "" {
		t.Fatalf("%v: %s", err, out)
	}
	if out, stderr := s.want(backupcli.Incomplete, "prune", "--dry-run"); !strings.Contains(out, "keep") || !strings.Contains(stderr, "suspect") {
		t.Errorf("prune: %s%s", out, stderr)
	}
	if out, _ := s.want(backupcli.Good, "accept", run.Backup.ID, "--json"); !strings.Contains(out, run.Backup.ID) {
		t.Errorf("accept: %s", out)
	}
	for _, args := range []string{
		"--json", "--check-config --json", "list --json", "verify --json", "verify --all --restore --json", "restore --json --to=" + filepath.Join(t.TempDir(), "r.db"),
		"prune --dry-run --json", "prune --json", "pin --json " + id, "pin --remove --json " + id, "check --json", "history --json", "notify-test --json",
	} {
		if out, _ := s.want(backupcli.Good, strings.Fields(args)...); !json.Valid([]byte(out)) {
			t.Errorf("%s: no JSON\n%s", args, out)
		}
	}
	// What fails says so in JSON too.
	if err := os.Chmod(s.folder.Path(), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"--json", "--check-config --json"} {
		if out, _ := s.want(backupcli.Failed, strings.Fields(args)...); !json.Valid([]byte(out)) || !strings.Contains(out, "chmod go-w") {
			t.Errorf("%s: %s", args, out)
		}
	}
}

func TestHistory(t *testing.T) {
	s := newShop(t)
	if out, _ := s.want(backupcli.Good, "history"); !strings.Contains(out, "no runs yet") {
		t.Errorf("history: %s", out)
	}
	s.want(backupcli.Good)
	healthy := s.db
	broken, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "no", "such", "folder.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	s.db = broken
	s.want(backupcli.Failed)
	s.db = healthy
	s.want(backupcli.Good, "--verify=none")
	out, _ := s.want(backupcli.Good, "history")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 4 || !strings.Contains(lines[1], "shop_") || strings.Contains(lines[1], "read back") ||
		!strings.Contains(lines[2], "FAILED at") || !strings.Contains(lines[3], "restored for a trial") {
		t.Errorf("history:\n%s", out)
	}
	out, _ = s.want(backupcli.Good, "history", "--json", "--last=2")
	var runs []backup.Run
	if err := json.Unmarshal([]byte(out), &runs); err != nil || len(runs) != 2 || !runs[0].OK || runs[1].OK || runs[1].Error == "" || runs[0].Rows != 3 {
		t.Errorf("history --json: %v\n%s", err, out)
	}
}

func TestDamaged(t *testing.T) {
	s := newShop(t)
	s.want(backupcli.Good)
	entries, err := s.folder.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name, ".zst") {
			continue
		}
		path := filepath.Join(s.folder.Path(), e.Name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.want(backupcli.VerificationFailed, "verify")
	s.want(backupcli.Usage, "restore") // there is no good one any more
	s.want(backupcli.Stale, "check")
}

func TestEncrypted(t *testing.T) {
	s := newShop(t)
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(key, []byte("# a comment\n"+identity.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.want(backupcli.Good, "--encrypt-to", identity.Recipient().String())
	if out, _ := s.want(backupcli.Good, "verify"); !strings.Contains(out, "--identity") {
		t.Errorf("verify: %s", out)
	}
	s.want(backupcli.Usage, "restore")
	s.want(backupcli.Good, "verify", "--identity", key)
	s.want(backupcli.Good, "restore", "--identity", key)
}

// TestNotify: a message on failure, one on the first success after it, none else.
func TestNotify(t *testing.T) {
	s := newShop(t)
	s.want(backupcli.Good, "--notify")
	if len(s.sent) != 0 {
		t.Errorf("a success after nothing: %v", s.sent)
	}
	healthy := s.db
	broken, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "no", "such", "folder.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	s.db = broken
	s.want(backupcli.Failed, "--notify")
	if len(s.sent) != 1 || s.sent[0].Level != notify.Critical || !strings.Contains(s.sent[0].Text, "The newest good backup is") {
		t.Fatalf("after a failure: %v", s.sent)
	}
	s.db = healthy
	s.want(backupcli.Good, "--notify")
	s.want(backupcli.Good, "--notify")
	if len(s.sent) != 2 || s.sent[1].Level != notify.Recovery {
		t.Errorf("after the recovery: %v", s.sent)
	}
	s.db, s.refuse = broken, errors.New("no route to the mail server")
	if code, _, stderr := s.run("--notify"); code != backupcli.Failed || !strings.Contains(stderr, "no route") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestLocked(t *testing.T) {
	s := newShop(t)
	unlock, err := s.folder.Abilities().Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.want(backupcli.Locked)
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	s.want(backupcli.Good)
}

func TestTarget(t *testing.T) {
	s := newShop(t)
	blocked := filepath.Join(t.TempDir(), "attic")
	attic, err := backup.NewFolder(blocked)
	if err != nil {
		t.Fatal(err)
	}
	s.targets = []backup.Target{{Name: "attic", Storage: attic}}
	s.want(backupcli.Usage, "list", "--target", "cellar")
	if out, _ := s.want(backupcli.Good, "--notify"); !strings.Contains(out, "target attic: 1 copied, 0 deleted, up to date") {
		t.Errorf("said %s", out)
	}
	if out, _ := s.want(backupcli.Good, "list", "--target", "attic", "--json"); strings.Count(out, `"state": "good"`) != 1 {
		t.Errorf("said %s", out)
	}
	s.want(backupcli.Good, "verify", "--target=attic", "--all")
	if err := os.Rename(blocked, blocked+"-away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.want(backupcli.Incomplete, "--notify")
	var report struct {
		OK      bool                   `json:"ok"`
		Backup  *backup.Manifest       `json:"backup"`
		Targets []backup.TargetOutcome `json:"targets"`
	}
	if code, text, problems := s.run("--notify", "--json"); code != backupcli.Incomplete || json.Unmarshal([]byte(text), &report) != nil ||
		report.OK || report.Backup == nil || len(report.Targets) != 1 || report.Targets[0].OK {
		t.Errorf("exit %d, %s %s", code, text, problems)
	}
	if n := len(s.sent); n != 2 || s.sent[n-1].Level != notify.Warning || !strings.Contains(s.sent[n-1].Text, "attic") {
		t.Errorf("sent %+v", s.sent)
	}
	if _, problem := s.want(backupcli.Incomplete, "check"); !strings.Contains(problem, "a target is not up to date: target attic, since ") {
		t.Errorf("check said %s", problem)
	}
	if err := errors.Join(os.Remove(blocked), os.Rename(blocked+"-away", blocked)); err != nil {
		t.Fatal(err)
	}
	if out, _ := s.want(backupcli.Good, "--notify"); !strings.Contains(out, "target attic: 3 copied") {
		t.Errorf("said %s", out)
	}
	if last := s.sent[len(s.sent)-1]; last.Level != notify.Recovery {
		t.Errorf("sent %+v", last)
	}
	restored := filepath.Join(t.TempDir(), "restored.db")
	s.want(backupcli.Good, "restore", "--target", "attic", "--to", restored)
}

// TestOpening: only what the operator has set wrong is a usage error, and people are told
// of everything else.
func TestOpening(t *testing.T) {
	var sent []notify.Message
	told := notifierFunc(func(_ context.Context, m notify.Message) error { sent = append(sent, m); return nil })
	run := func(ctx context.Context, failure error, args ...string) int {
		open := func(context.Context, backup.Options) (*backup.Job, func(), error) { return nil, nil, failure }
		return backupcli.Run(ctx, args, open, &backupcli.Options{Notifier: told, Stdout: io.Discard, Stderr: io.Discard})
	}
	if code := run(t.Context(), &backupcli.SettingError{Err: errors.New("no such database")}, "--notify"); code != backupcli.Usage || len(sent) != 0 {
		t.Errorf("a wrong setting: %d, %v", code, sent)
	}
	if code := run(t.Context(), errors.New("connection refused"), "--notify"); code != backupcli.Failed || len(sent) != 1 || !strings.Contains(sent[0].Text, "connection refused") {
		t.Errorf("a database that is down: %d, %v", code, sent)
	}
	if code := run(t.Context(), errors.New("connection refused"), "list"); code != backupcli.Failed || len(sent) != 1 {
		t.Errorf("list: %d, %v", code, sent)
	}
	for text, want := range map[string]int{"terminated signal received": backupcli.Terminated, "interrupt signal received": backupcli.Interrupted} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New(text))
		if code := run(ctx, ctx.Err()); code != want {
			t.Errorf("%s: %d", text, code)
		}
	}
	if code := run(t.Context(), nil, "notify-test"); code != backupcli.Good || len(sent) != 2 {
		t.Errorf("notify-test: %d, %v", code, sent)
	}
}

type notifierFunc func(context.Context, notify.Message) error

func (f notifierFunc) Notify(ctx context.Context, m notify.Message) error { return f(ctx, m) }
