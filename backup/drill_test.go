package backup

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
	"github.com/mainstay-go/mainstay/backup/sqlite"
)

// scratchSource is a fakeSource with scratch databases that can fail in each way.
type scratchSource struct {
	*fakeSource
	create, restore, drop error // when it fails, and how
	got                   driver.Contents
	db                    driver.Queryer
	drills                int
	swept                 time.Time
}

func (s *scratchSource) Abilities() driver.Abilities {
	able := s.fakeSource.Abilities()
	able.Test, able.SweepTests = s.test, s.sweepTests
	return able
}

func (s *scratchSource) test(ctx context.Context, r io.Reader, o driver.RestoreOptions, use func(context.Context, driver.Queryer, driver.Contents) error) error {
	s.drills++
	if s.create != nil {
		return s.create
	}
	if s.restore != nil {
		_, _ = io.CopyN(io.Discard, r, 10)
		return s.restore
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	got := s.got
	if got.Tables == nil {
		got = o.Want
	}
	err := use(ctx, s.db, got)
	if s.drop != nil {
		err = errors.Join(err, server.Left(s.drop))
	}
	return err
}

func (s *scratchSource) sweepTests(_ context.Context, before time.Time) ([]string, error) {
	s.swept = before
	return nil, nil
}

func newScratch(rows int64) *scratchSource { return &scratchSource{fakeSource: newFake(rows)} }

func TestDrillsAreWeekly(t *testing.T) {
	t.Parallel()
	source := newScratch(7)
	j, _ := newTestJob(t, source, nil)
	now := time.Date(2026, 1, 1, 2, 0, 0, 0, time.UTC)
	j.now = func() time.Time { return now }
	var days []int
	for day := range 30 {
		now = time.Date(2026, 1, 1+day, 2, 0, 10*(day%5), 0, time.UTC) // not exactly a day
		report, err := j.Backup(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if report.Drilled {
			days = append(days, day)
		}
	}
	if fmt.Sprint(days) != "[0 7 14 21 28]" || source.drills != 5 {
		t.Errorf("drills on the days %v", days)
	}
	if want := now.Add(-leftoverAge); !source.swept.Equal(want) {
		t.Errorf("swept before %v instead of %v", source.swept, want)
	}
	s, err := j.Status(t.Context())
	if err != nil || !s.Restored.Equal(time.Date(2026, 1, 29, 2, 0, 30, 0, time.UTC)) {
		t.Errorf("restored %v, %v", s.Restored, err)
	}
	// Reading it back again does not forget the drill.
	entries, err := j.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := j.Verify(t.Context(), e.ID); err != nil {
			t.Fatal(err)
		}
	}
	if again, err := j.Status(t.Context()); err != nil || !again.Restored.Equal(s.Restored) {
		t.Errorf("a cheaper verification forgot the drill: %v, %v", again.Restored, err)
	}
}

func TestDrillOutcomes(t *testing.T) {
	t.Parallel()
	errNo := errors.New("no right to create it")
	for name, c := range map[string]struct {
		source  func(*scratchSource)
		every   time.Duration
		bad     bool // the backup is found bad
		fails   bool // the run fails
		drilled bool
		warns   string
	}{
		"good":                       {drilled: true},
		"none wanted":                {every: -1},
		"cannot be made":             {source: func(s *scratchSource) { s.create = errNo }, warns: "no right"},
		"cannot be made, but wanted": {source: func(s *scratchSource) { s.create = errNo }, every: 1, fails: true},
		"no room":                    {source: func(s *scratchSource) { s.restore = syscall.ENOSPC }, warns: "no space"},
		"not dropped":                {source: func(s *scratchSource) { s.drop = errNo }, warns: "left behind"},
		"the restore fails":          {source: func(s *scratchSource) { s.restore = errors.New("syntax error") }, bad: true, fails: true},
		"a row is missing":           {source: func(s *scratchSource) { s.got = driver.Contents{Tables: []driver.Table{{Name: "t", Rows: 6}}} }, bad: true, fails: true},
		"a table too many": {source: func(s *scratchSource) {
			s.got = driver.Contents{Tables: []driver.Table{{Name: "t", Rows: 7}, {Name: "u"}}}
		}, bad: true, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := newScratch(7)
			if c.source != nil {
				c.source(source)
			}
			j, _ := newTestJob(t, source, &Options{Drill: DrillOptions{Every: c.every}})
			report, err := j.Backup(t.Context())
			var stage *StageError
			if (err != nil) != c.fails || errors.Is(err, ErrVerification) != c.bad {
				t.Errorf("%v", err)
			}
			if c.fails && (!errors.As(err, &stage) || stage.Stage != "verify" || !stage.Published) {
				t.Errorf("%#v", err)
			}
			if report.Drilled != c.drilled || !strings.Contains(strings.Join(report.Warnings, ";"), c.warns) || (c.warns == "") != (len(report.Warnings) == 0) {
				t.Errorf("%+v", report)
			}
			e, err := j.Find(t.Context(), "")
			if err != nil || e.Verified.IsZero() {
				t.Fatalf("the backup itself is good: %+v, %v", e, err)
			}
			if c.bad && (e.Drill == nil || e.Drill.OK || e.Drill.Problem == "") || !c.bad && !c.drilled && e.Drill != nil {
				t.Errorf("kept %+v", e.Drill)
			}
			if _, err := j.Restore(t.Context(), "", "x", nil); (err != nil) != c.bad || c.bad && !strings.Contains(err.Error(), "did not pass its drill") {
				t.Errorf("restored without a name: %v", err)
			}
			if _, err := j.Restore(t.Context(), e.ID, "x", nil); err != nil {
				t.Errorf("restored by name: %v", err)
			}
			if e.Restored().IsZero() == c.drilled {
				t.Errorf("restored %v", e.Restored())
			}
		})
	}
}

// TestDrillDoesNotPrune: retention comes only after a backup that passed.
func TestDrillDoesNotPrune(t *testing.T) {
	t.Parallel()
	source := newScratch(7)
	j, _ := newTestJob(t, source, &Options{Retention: Policy{Last: 1, MinKeep: 1, Force: true}, Drill: DrillOptions{Every: 1}})
	first := mustBackup(t, j)
	source.restore = errors.New("syntax error")
	if _, err := j.Backup(t.Context()); !errors.Is(err, ErrVerification) {
		t.Fatal(err)
	}
	if _, err := j.Find(t.Context(), first.ID); err != nil {
		t.Error("the last backup that could be restored is gone")
	}
	// It stays, too, when later ones are only read back.
	source.restore, source.create = nil, errors.New("no right")
	j.opts.Drill.Every = 0
	mustBackup(t, j)
	mustBackup(t, j)
	if _, err := j.Find(t.Context(), first.ID); err != nil {
		t.Error("the newest that was restored is gone")
	}
	source.create, j.opts.Drill.Every = nil, 1
	mustBackup(t, j)
	if _, err := j.Find(t.Context(), first.ID); err == nil {
		t.Error("a newer one was restored, and the old one still stays")
	}
}

func TestDrillOptionsAreChecked(t *testing.T) {
	t.Parallel()
	folder, err := NewFolder(t.TempDir() + "/b")
	if err != nil {
		t.Fatal(err)
	}
	ok := func(context.Context, driver.Queryer) error { return nil }
	for name, c := range map[string]struct {
		source driver.Source
		o      DrillOptions
	}{
		"cannot":         {newFake(1), DrillOptions{Every: time.Hour}},
		"cannot, though": {newFake(1), DrillOptions{Assertions: []Assertion{{Name: "a", Check: ok}}}},
		"no name":        {newScratch(1), DrillOptions{Assertions: []Assertion{{Query: "SELECT 1"}}}},
		"no question":    {newScratch(1), DrillOptions{Assertions: []Assertion{{Name: "a"}}}},
		"two questions":  {newScratch(1), DrillOptions{Assertions: []Assertion{{Name: "a", Query: "SELECT 1", Check: ok}}}},
	} {
		if _, err := New("pos", c.source, folder, &Options{Drill: c.o}); err == nil {
			t.Error(name)
		}
	}
	if _, err := New("pos", newFake(1), folder, &Options{Drill: DrillOptions{Every: time.Hour, At: newScratch(1)}}); err != nil {
		t.Error(err)
	}
}

func TestDrillOfAnEncryptedBackup(t *testing.T) {
	t.Parallel()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	source := newScratch(7)
	j, _ := newTestJob(t, source, &Options{Recipients: []age.Recipient{identity.Recipient()}})
	if report, err := j.Backup(t.Context()); err != nil || report.Drilled || len(report.Warnings) > 0 {
		t.Errorf("a host without the key: %+v, %v", report, err)
	}
	if _, err := j.Drill(t.Context(), ""); !errors.Is(err, ErrNoIdentity) {
		t.Error(err)
	}
	j.opts.Identities = []age.Identity{identity}
	if v, err := j.Drill(t.Context(), ""); err != nil || !v.Drill.OK || v.Drill.Rows != 7 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestStaleScratch(t *testing.T) {
	t.Parallel()
	made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	long := strings.Repeat("d", 60)
	multi := strings.Repeat("ä", 30)
	for _, database := range []string{"shop", long, multi, "Shop"} {
		name := server.ScratchName(database, made)
		if len(name) > 63 {
			t.Errorf("%s has %d bytes", name, len(name))
		}
		if !server.StaleScratch(database, name, made.Add(time.Second)) || server.StaleScratch(database, name, made) {
			t.Errorf("%s is not known again", name)
		}
	}
	later := made.Add(1000 * time.Hour)
	for _, name := range []string{
		"shop", "shop_scratch_", "shop_scratch_20260102t030405", "shop_scratch_20260102t030405_abcdef_keep",
		"shop_restore_20260102t030405", "other_scratch_20260102t030405_abcdef", "shop2_scratch_20260102t030405_abcdef",
		"shop_scratch_20261302t030405_abcdef", "shop_scratch_20260102t030405_ABCDEF", "xshop_scratch_20260102t030405_abcdef", "",
	} {
		if server.StaleScratch("shop", name, later) {
			t.Errorf("%s would be dropped", name)
		}
	}
}

// shopDB is a database in a file with two tables.
func shopDB(t *testing.T) (*sql.DB, string) {
	t.Helper()
	dir := t.TempDir()
	db, err := sql.Open("sqlite", filepath.Join(dir, "shop.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec(`CREATE TABLE sales (id INTEGER PRIMARY KEY, total INT NOT NULL);
		CREATE TABLE items (sale INT NOT NULL REFERENCES sales (id), price INT NOT NULL);
		INSERT INTO sales VALUES (1, 30), (2, 5); INSERT INTO items VALUES (1, 10), (1, 20), (2, 5)`); err != nil {
		t.Fatal(err)
	}
	return db, dir
}

func TestDrillOfSQLite(t *testing.T) {
	t.Parallel()
	db, dir := shopDB(t)
	source := sqlite.New(db)
	source.Scratch = dir
	asked := 0
	j, _ := newTestJob(t, source, &Options{Drill: DrillOptions{Every: 1, Assertions: []Assertion{
		{Name: "totals agree", Query: "SELECT COUNT(*) = 0 FROM sales WHERE total <> (SELECT SUM(price) FROM items WHERE sale = sales.id)"},
		{Name: "it is a copy", Check: func(ctx context.Context, db driver.Queryer) error {
			asked++
			rows, err := db.QueryContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'")
			if err != nil {
				return err
			}
			defer rows.Close()
			var file string
			if !rows.Next() {
				return errors.New("no database")
			}
			if err := rows.Scan(&file); err != nil {
				return err
			}
			if strings.HasSuffix(file, "shop.db") || !strings.HasPrefix(file, dir) {
				return fmt.Errorf("asked %s", file)
			}
			if info, err := os.Stat(filepath.Dir(file)); err != nil || info.Mode().Perm() != 0o700 {
				return fmt.Errorf("%v, %w", info.Mode(), err)
			}
			return nil
		}},
	}}})
	report, err := j.Backup(t.Context())
	if err != nil || !report.Drilled || asked != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	data, err := os.ReadFile(filepath.Join(j.storage.(*Folder).Path(), report.Manifest.ID+verifySuffix))
	if err != nil {
		t.Fatal(err)
	}
	var v Verification
	if err := json.Unmarshal(data, &v); err != nil || v.Drill == nil || !v.Drill.OK || v.Drill.Rows != 5 || v.Drill.Tables != 2 || len(v.Drill.Assertions) != 2 {
		t.Errorf("kept %s, %v", data, err)
	}

	// The books do not agree: the backup is what was there, and does not pass.
	if _, err := db.Exec("UPDATE sales SET total = 31 WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	_, err = j.Backup(t.Context())
	if !errors.Is(err, ErrVerification) || !strings.Contains(err.Error(), "it does not hold that totals agree") {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "mainstay-sqlite-"+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAssertions(t *testing.T) {
	t.Parallel()
	db, _ := shopDB(t)
	for query, holds := range map[string]bool{
		"SELECT 1": true, "SELECT 0": false, "SELECT 0.5": true, "SELECT 0.0": false, "SELECT 'true'": true, "SELECT '0'": false, "SELECT 'no'": false,
		"SELECT NULL": false, "SELECT 1 WHERE 0": false, "SELECT 1 UNION SELECT 2": false, "SELECT 1, 2": false, "SELECT x'31'": true,
		"SELECT nonsense": false, "": false, "SELECT 1 FROM sales WHERE id = 1": true,
	} {
		if err := (&Assertion{Name: "a", Query: query}).holds(t.Context(), db); (err == nil) != holds {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// TestSweepScratchOfSQLite removes what killed processes left, and nothing else.
func TestSweepScratchOfSQLite(t *testing.T) {
	t.Parallel()
	db, dir := shopDB(t)
	source := sqlite.New(db)
	source.Scratch = dir
	old := time.Now().Add(-48 * time.Hour)
	folder := func(name string, when time.Time, files ...string) {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(path, f), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(filepath.Join(path, f), when, when); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	folder("mainstay-sqlite-"+"1", old, "copy.db")
	folder("mainstay-sqlite-"+"2", old, "copy.db", "copy.db"+"-journal")
	folder("mainstay-sqlite-"+"3", old)
	folder("mainstay-sqlite-"+"4", old, "copy.db", "mine.txt")
	folder("mainstay-sqlite-"+"5", time.Now(), "copy.db")
	folder("mainstay-sqlite-"+"x", old, "copy.db")
	folder("other", old, "copy.db")
	dropped, err := source.SweepTests(t.Context(), time.Now().Add(-24*time.Hour))
	if err != nil || fmt.Sprint(dropped) != fmt.Sprint([]string{"mainstay-sqlite-" + "1", "mainstay-sqlite-" + "2", "mainstay-sqlite-" + "3"}) {
		t.Errorf("dropped %v, %v", dropped, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 5 { // with the database
		t.Errorf("left %v, %v", left, err)
	}
}
