package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// scratchSource is a fakeSource with scratch databases that can fail in each way.
type scratchSource struct {
	*fakeSource
	create, restore, drop error // when it fails, and how
	got                   driver.Contents
	db                    driver.Queryer
	tests                 int
	swept                 time.Time
	asked                 func(error) error // what becomes of the errors of assertions
}

func (s *scratchSource) Abilities() driver.Abilities {
	able := s.fakeSource.Abilities()
	able.Test, able.SweepTests = s.test, s.sweepTests
	return able
}

func (s *scratchSource) test(ctx context.Context, r io.Reader, o driver.RestoreOptions, use func(context.Context, driver.Queryer, driver.Contents) error) error {
	s.tests++
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
	if s.asked != nil {
		err = s.asked(err)
	}
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

func TestRestoreTestsAreWeekly(t *testing.T) {
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
		if report.Restored {
			days = append(days, day)
		}
	}
	if fmt.Sprint(days) != "[0 7 14 21 28]" || source.tests != 5 {
		t.Errorf("restore tests on the days %v", days)
	}
	if want := now.Add(-leftoverAge); !source.swept.Equal(want) {
		t.Errorf("swept before %v instead of %v", source.swept, want)
	}
	s, err := j.Status(t.Context())
	if err != nil || !s.Restored.Equal(time.Date(2026, 1, 29, 2, 0, 30, 0, time.UTC)) {
		t.Errorf("restored %v, %v", s.Restored, err)
	}
	// Reading it back again does not forget the restore test.
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
		t.Errorf("a cheaper verification forgot the restore test: %v, %v", again.Restored, err)
	}
}

func TestRestoreTestOutcomes(t *testing.T) {
	t.Parallel()
	errNo := errors.New("no right to create it")
	for name, c := range map[string]struct {
		source func(*scratchSource)
		every  time.Duration
		bad    bool // the backup is found bad
		fails  bool // the run fails
		tested bool
		warns  string
	}{
		"good":                       {tested: true},
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
			j, _ := newTestJob(t, source, &Options{RestoreTest: RestoreTestOptions{Every: c.every}})
			report, err := j.Backup(t.Context())
			var stage *StageError
			if (err != nil) != c.fails || errors.Is(err, ErrVerification) != c.bad {
				t.Errorf("%v", err)
			}
			if c.fails && (!errors.As(err, &stage) || stage.Stage != "verify" || !stage.Published) {
				t.Errorf("%#v", err)
			}
			if report.Restored != c.tested || !strings.Contains(strings.Join(report.Warnings, ";"), c.warns) || (c.warns == "") != (len(report.Warnings) == 0) {
				t.Errorf("%+v", report)
			}
			e, err := j.Find(t.Context(), "")
			if err != nil || e.Verified.IsZero() {
				t.Fatalf("the backup itself is good: %+v, %v", e, err)
			}
			if c.bad && (e.RestoreTest == nil || e.RestoreTest.OK || e.RestoreTest.Problem == "") || !c.bad && !c.tested && e.RestoreTest != nil {
				t.Errorf("kept %+v", e.RestoreTest)
			}
			if _, err := j.Restore(t.Context(), "", "x", nil); (err != nil) != c.bad || c.bad && !strings.Contains(err.Error(), "did not pass its restore test") {
				t.Errorf("restored without a name: %v", err)
			}
			if _, err := j.Restore(t.Context(), e.ID, "x", nil); err != nil {
				t.Errorf("restored by name: %v", err)
			}
			if e.Restored().IsZero() == c.tested {
				t.Errorf("restored %v", e.Restored())
			}
		})
	}
}

// TestRestoreTestDoesNotPrune: retention comes only after a backup that passed.
func TestRestoreTestDoesNotPrune(t *testing.T) {
	t.Parallel()
	source := newScratch(7)
	j, _ := newTestJob(t, source, &Options{Retention: Policy{Last: 1, MinKeep: 1, Force: true}, RestoreTest: RestoreTestOptions{Every: 1}})
	first := mustBackup(t, j)
	source.restore = errors.New("syntax error")
	if _, err := j.Backup(t.Context()); !errors.Is(err, ErrVerification) {
		t.Fatal(err)
	}
	if _, err := j.Find(t.Context(), first.ID); err != nil {
		t.Error("the last backup that could be restored is gone")
	}
	// It stays, too, when later ones are only read back: nothing is deleted until one passes.
	source.restore, source.create = nil, errors.New("no right")
	j.opts.RestoreTest.Every = 0
	for range 2 {
		run, err := j.Backup(t.Context())
		require.ErrorIs(t, err, ErrSuspended)
		require.ErrorContains(t, err, "syntax error")
		require.NotNil(t, run.Manifest)
	}
	if _, err := j.Find(t.Context(), first.ID); err != nil {
		t.Error("the newest that was restored is gone")
	}
	source.create, j.opts.RestoreTest.Every = nil, 1
	mustBackup(t, j)
	if _, err := j.Find(t.Context(), first.ID); err == nil {
		t.Error("a newer one was restored, and the old one still stays")
	}
}

func TestRestoreTestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	folder, err := NewFolder(t.TempDir() + "/b")
	if err != nil {
		t.Fatal(err)
	}
	ok := func(context.Context, driver.Queryer) error { return nil }
	for name, c := range map[string]struct {
		source driver.Source
		o      RestoreTestOptions
	}{
		"cannot":         {newFake(1), RestoreTestOptions{Every: time.Hour}},
		"cannot, though": {newFake(1), RestoreTestOptions{Assertions: []Assertion{{Name: "a", Check: ok}}}},
		"no name":        {newScratch(1), RestoreTestOptions{Assertions: []Assertion{{Query: "SELECT 1"}}}},
		"no question":    {newScratch(1), RestoreTestOptions{Assertions: []Assertion{{Name: "a"}}}},
		"two questions":  {newScratch(1), RestoreTestOptions{Assertions: []Assertion{{Name: "a", Query: "SELECT 1", Check: ok}}}},
	} {
		if _, err := New("pos", c.source, folder, &Options{RestoreTest: c.o}); err == nil {
			t.Error(name)
		}
	}
	if _, err := New("pos", newFake(1), folder, &Options{RestoreTest: RestoreTestOptions{Every: time.Hour, At: newScratch(1)}}); err != nil {
		t.Error(err)
	}
}

func TestRestoreTestOfAnEncryptedBackup(t *testing.T) {
	t.Parallel()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	source := newScratch(7)
	j, _ := newTestJob(t, source, &Options{Recipients: []age.Recipient{identity.Recipient()}})
	if report, err := j.Backup(t.Context()); err != nil || report.Restored || len(report.Warnings) > 0 {
		t.Errorf("a host without the key: %+v, %v", report, err)
	}
	if _, err := j.TestRestore(t.Context(), ""); !errors.Is(err, ErrNoIdentity) {
		t.Error(err)
	}
	j.opts.Identities = []age.Identity{identity}
	if v, err := j.TestRestore(t.Context(), ""); err != nil || !v.RestoreTest.OK || v.RestoreTest.Rows != 7 {
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
