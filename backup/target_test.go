package backup

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// faultyStorage stands before a folder and behaves as its hooks say.
type faultyStorage struct {
	*Folder
	mu  sync.Mutex
	put func(ctx context.Context, name string, write func(io.Writer) error) (int64, error)
	all func(ctx context.Context) error // before every call
}

func (s *faultyStorage) set(all func(context.Context) error, put func(context.Context, string, func(io.Writer) error) (int64, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all, s.put = all, put
}

func (s *faultyStorage) before(ctx context.Context) error {
	s.mu.Lock()
	all := s.all
	s.mu.Unlock()
	if all == nil {
		return nil
	}
	return all(ctx)
}

func (s *faultyStorage) Put(ctx context.Context, name string, write func(io.Writer) error) (int64, error) {
	if err := s.before(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	put := s.put
	s.mu.Unlock()
	if put != nil {
		return put(ctx, name, write)
	}
	return s.Folder.Put(ctx, name, write)
}

func (s *faultyStorage) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := s.before(ctx); err != nil {
		return nil, err
	}
	return s.Folder.Open(ctx, name)
}

func (s *faultyStorage) List(ctx context.Context) ([]Object, error) {
	if err := s.before(ctx); err != nil {
		return nil, err
	}
	return s.Folder.List(ctx)
}

func (s *faultyStorage) Remove(ctx context.Context, name string) error {
	if err := s.before(ctx); err != nil {
		return err
	}
	return s.Folder.Remove(ctx, name)
}

func newFaulty(t *testing.T) *faultyStorage {
	t.Helper()
	folder, err := NewFolder(filepath.Join(t.TempDir(), "target"))
	if err != nil {
		t.Fatal(err)
	}
	return &faultyStorage{Folder: folder}
}

func targetOf(t *testing.T, j *Job, name string) *Job {
	t.Helper()
	there, err := j.Target(name)
	if err != nil {
		t.Fatal(err)
	}
	return there
}

func goodIDs(t *testing.T, j *Job) []string {
	t.Helper()
	entries, err := j.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		if e.good() {
			list = append(list, e.ID)
		}
	}
	return list
}

// mustBehind runs a backup that must be published, with its target behind.
func mustBehind(t *testing.T, j *Job, why string) Run {
	t.Helper()
	report, err := j.Backup(t.Context())
	var failed *StageError
	if !errors.As(err, &failed) || failed.Stage != "replicate" || !failed.Published || !strings.Contains(err.Error(), why) {
		t.Fatalf("the run ended with %v, without %q", err, why)
	}
	if report.Manifest == nil || !report.Verified || len(report.Targets) != 1 || report.Targets[0].OK {
		t.Fatalf("the report is %+v", report)
	}
	status, err := j.Status(t.Context())
	if err != nil || status.Newest == nil || status.Newest.ID != report.Manifest.ID {
		t.Fatalf("the local backup is not the newest good one: %+v, %v", status, err)
	}
	if status.Last == nil || status.Last.OK || status.Last.Stage != "replicate" || len(status.Last.Targets) != 1 || status.Last.Targets[0].FailingSince.IsZero() {
		t.Fatalf("the status is %+v", status.Last)
	}
	return report
}

func TestReplicate(t *testing.T) {
	t.Parallel()
	attic := newFaulty(t)
	var traced []TargetOutcome
	source := newFake(7)
	j, folder := newTestJob(t, source, &Options{
		Targets: []Target{{Name: "attic", Storage: attic}},
		Trace:   &Trace{Target: func(_ context.Context, o TargetOutcome) { traced = append(traced, o) }},
	})
	m := mustBackup(t, j)
	there := targetOf(t, j, "attic")
	if got := goodIDs(t, there); !slices.Equal(got, []string{m.ID}) {
		t.Fatalf("the target holds %v", got)
	}
	if len(traced) != 1 || !traced[0].OK || traced[0].Newest != m.ID || !slices.Equal(traced[0].Copied, []string{m.ID}) || traced[0].Pending != 0 {
		t.Errorf("traced: %+v", traced)
	}
	// It stands alone: the local folder is gone, and the copy restores.
	if err := os.RemoveAll(folder.Path()); err != nil {
		t.Fatal(err)
	}
	if v, err := there.Verify(t.Context(), ""); err != nil || !v.Decoded {
		t.Errorf("verify there: %+v, %v", v, err)
	}
	if _, err := there.Restore(t.Context(), "", "new", nil); err != nil || len(source.restored) != 100_000 {
		t.Errorf("restore from there: %v", err)
	}
	if _, err := j.Target("cellar"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown target: %v", err)
	}
}

func TestTargetComesBackAfterThreeDays(t *testing.T) {
	t.Parallel()
	attic := newFaulty(t)
	j, _ := newTestJob(t, newFake(7), &Options{Targets: []Target{{Name: "attic", Storage: attic, Retention: Policy{Last: 3, MinKeep: 2}}}})
	now := time.Now().Add(-20 * 24 * time.Hour)
	j.now = func() time.Time { now = now.Add(time.Second); return now }
	var ids []string
	for range 3 {
		ids = append(ids, mustBackup(t, j).ID)
		now = now.Add(24 * time.Hour)
	}
	attic.set(func(context.Context) error { return errors.New("no route to host") }, nil)
	began := now
	for day := range 3 {
		report := mustBehind(t, j, "no route to host")
		ids = append(ids, report.Manifest.ID)
		o := report.Targets[0]
		if o.Pending != -1 || o.Newest != "" && o.Newest != ids[2] || o.FailingSince.Before(began) || o.FailingSince.After(began.Add(time.Minute)) {
			t.Errorf("day %d: %+v", day, o)
		}
		now = now.Add(24 * time.Hour)
	}
	// A run that fails before it comes to the targets does not forget that.
	source := j.source.(*fakeSource)
	source.dump = func(io.Writer) error { return errors.New("no database") }
	if _, err := j.Backup(t.Context()); err == nil {
		t.Fatal("no error")
	}
	if s, err := j.Status(t.Context()); err != nil || s.Last.Targets[0].FailingSince.After(began.Add(time.Minute)) {
		t.Errorf("%+v %v", s.Last, err)
	}
	source.dump = nil

	attic.set(nil, nil)
	report, err := j.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids = append(ids, report.Manifest.ID)
	slices.Reverse(ids)
	if got := goodIDs(t, targetOf(t, j, "attic")); !slices.Equal(got, ids[:3]) {
		t.Errorf("the target holds %v of %v", got, ids)
	}
	// Of those it lacked, its retention keeps three: the newest first.
	if o := report.Targets[0]; !slices.Equal(o.Copied, ids[:3]) || len(o.Deleted) != 3 || !o.FailingSince.IsZero() {
		t.Errorf("%+v", o)
	}
	if got := goodIDs(t, j); !slices.Equal(got, ids) {
		t.Errorf("here are %v of %v", got, ids)
	}
}

func TestTargetCutsHalfWay(t *testing.T) {
	t.Parallel()
	attic := newFaulty(t)
	j, _ := newTestJob(t, newFake(7), &Options{Compression: None, Targets: []Target{{Name: "attic", Storage: attic}}})
	first := mustBackup(t, j)
	// The worst kind: what it got remains, under the final name.
	attic.set(nil, func(ctx context.Context, name string, write func(io.Writer) error) (int64, error) {
		n, err := attic.Folder.Put(ctx, name, func(w io.Writer) error {
			_ = write(&shortWriter{w, 1000})
			return nil
		})
		return n, errors.Join(err, errors.New("connection reset"))
	})
	second := mustBehind(t, j, "connection reset")
	there := targetOf(t, j, "attic")
	if got := goodIDs(t, there); !slices.Equal(got, []string{first.ID}) {
		t.Errorf("the target lists %v", got)
	}
	attic.set(nil, nil)
	third := mustBackup(t, j)
	if got := goodIDs(t, there); !slices.Equal(got, []string{third.ID, second.Manifest.ID, first.ID}) {
		t.Errorf("afterwards it lists %v", got)
	}
	for _, id := range goodIDs(t, there) {
		if _, err := there.Verify(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
}

type shortWriter struct {
	to   io.Writer
	left int
}

func (w *shortWriter) Write(p []byte) (int, error) {
	p = p[:min(len(p), w.left)]
	n, err := w.to.Write(p)
	if w.left -= n; err == nil && w.left == 0 {
		err = io.ErrShortWrite
	}
	return n, err
}

func TestTargetLies(t *testing.T) {
	t.Parallel()
	lies := map[string]func(s *faultyStorage) func(context.Context, string, func(io.Writer) error) (int64, error){
		"keeps nothing": func(*faultyStorage) func(context.Context, string, func(io.Writer) error) (int64, error) {
			return func(_ context.Context, _ string, write func(io.Writer) error) (int64, error) {
				c := &countingWriter{to: io.Discard}
				err := write(c)
				return c.n, err
			}
		},
		"keeps no manifest": func(s *faultyStorage) func(context.Context, string, func(io.Writer) error) (int64, error) {
			return func(ctx context.Context, name string, write func(io.Writer) error) (int64, error) {
				if strings.HasSuffix(name, manifestSuffix) && !strings.HasSuffix(name, verifySuffix) {
					return 1, write(io.Discard)
				}
				return s.Folder.Put(ctx, name, write)
			}
		},
		"keeps other bytes": func(s *faultyStorage) func(context.Context, string, func(io.Writer) error) (int64, error) {
			return func(ctx context.Context, name string, write func(io.Writer) error) (int64, error) {
				return s.Folder.Put(ctx, name, func(w io.Writer) error { return write(zeroWriter{w}) })
			}
		},
		"keeps half": func(s *faultyStorage) func(context.Context, string, func(io.Writer) error) (int64, error) {
			return func(ctx context.Context, name string, write func(io.Writer) error) (int64, error) {
				var n int64
				_, err := s.Folder.Put(ctx, name, func(w io.Writer) error {
					c := &countingWriter{to: io.Discard}
					err := write(io.MultiWriter(c, zeroWriter{io.Discard}))
					n = c.n
					_, _ = w.Write(make([]byte, n/2))
					return err
				})
				return n, err
			}
		},
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			attic := newFaulty(t)
			j, _ := newTestJob(t, newFake(7), &Options{Targets: []Target{{Name: "attic", Storage: attic, Retention: Policy{Last: 1, MinKeep: 1}}}})
			first := mustBackup(t, j)
			attic.set(nil, lie(attic))
			mustBehind(t, j, "attic")
			there := targetOf(t, j, "attic")
			if got := goodIDs(t, there); !slices.Equal(got, []string{first.ID}) {
				t.Errorf("good there: %v", got)
			}
			if _, err := there.Verify(t.Context(), first.ID); err != nil {
				t.Error(err)
			}
		})
	}
}

type zeroWriter struct{ to io.Writer }

func (w zeroWriter) Write(p []byte) (int, error) { return w.to.Write(make([]byte, len(p))) }

// TestTargetHangs has one target that obeys its context late and one that never returns:
// neither holds up the run, the other target, or the retention here.
func TestTargetHangs(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	polite, rude, healthy := newFaulty(t), newFaulty(t), newFaulty(t)
	polite.set(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, nil)
	rude.set(func(context.Context) error { <-release; return errors.New("late") }, nil)
	j, _ := newTestJob(t, newFake(7), &Options{Targets: []Target{
		{Name: "polite", Storage: polite, Timeout: 100 * time.Millisecond},
		{Name: "rude", Storage: rude, Timeout: 100 * time.Millisecond},
		{Name: "healthy", Storage: healthy},
	}})
	for run := range 2 {
		report, err := j.Backup(t.Context())
		var failed *StageError
		if !errors.As(err, &failed) || failed.Stage != "replicate" || errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		o := report.Targets
		if o[0].OK || o[1].OK || !o[2].OK || !strings.Contains(o[0].Error, "longer than 100ms") {
			t.Errorf("run %d: %+v", run, o)
		}
		if want := []string{"it hangs", "an earlier run is still waiting"}[run]; !strings.Contains(o[1].Error, want) {
			t.Errorf("run %d: %q, without %q", run, o[1].Error, want)
		}
	}
	if got := goodIDs(t, targetOf(t, j, "healthy")); len(got) != 2 {
		t.Errorf("the healthy one holds %v", got)
	}
}

// TestTargetLocked: that another host holds a target is no reason to say that this
// run was locked out.
func TestTargetLocked(t *testing.T) {
	t.Parallel()
	attic := newFaulty(t)
	j, _ := newTestJob(t, newFake(7), &Options{Targets: []Target{{Name: "attic", Storage: attic}}})
	unlock, err := attic.Abilities().Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	mustBehind(t, j, "another run")
	if _, err := j.Backup(t.Context()); errors.Is(err, ErrLocked) {
		t.Errorf("%v", err)
	}
}

// TestReplicateDamaged: what is damaged here is not spread, and what is damaged there
// is replaced.
func TestReplicateDamaged(t *testing.T) {
	t.Parallel()
	attic := newFaulty(t)
	j, folder := newTestJob(t, newFake(7), &Options{Targets: []Target{{Name: "attic", Storage: attic}}})
	first := mustBackup(t, j)
	there := targetOf(t, j, "attic")
	if err := os.Truncate(filepath.Join(attic.Path(), first.File), first.Size/2); err != nil {
		t.Fatal(err)
	}
	second := mustBackup(t, j)
	if got := goodIDs(t, there); !slices.Equal(got, []string{second.ID, first.ID}) {
		t.Errorf("the copy was not replaced: %v", got)
	}
	if _, err := there.Verify(t.Context(), first.ID); err != nil {
		t.Error(err)
	}
	// The same size and other bytes, here; and the target lacks it.
	for _, name := range []string{first.ID + manifestSuffix, first.File} {
		if err := attic.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder.Path(), first.File), make([]byte, first.Size), 0o600); err != nil {
		t.Fatal(err)
	}
	report := mustBehind(t, j, "the local file is damaged")
	if got := goodIDs(t, there); !slices.Equal(got, []string{report.Manifest.ID, second.ID}) {
		t.Errorf("the target holds %v", got)
	}
	if e, err := j.Find(t.Context(), first.ID); err != nil || e.State != Damaged {
		t.Errorf("here it is %v, %v", e.State, err)
	}
	mustBackup(t, j) // it counts for nothing now
}

func TestTargetMarks(t *testing.T) {
	t.Parallel()
	attic := newFaulty(t)
	source := newFake(1000)
	j, _ := newTestJob(t, source, &Options{Targets: []Target{{Name: "attic", Storage: attic}}})
	first := mustBackup(t, j)
	if err := j.Pin(t.Context(), first.ID, true); err != nil {
		t.Fatal(err)
	}
	source.contents.Tables = []driver.Table{{Name: "t", Rows: 1}}
	report, err := j.Backup(t.Context())
	if !errors.Is(err, ErrSuspect) {
		t.Fatal(err)
	}
	there := targetOf(t, j, "attic")
	if got := goodIDs(t, there); !slices.Equal(got, []string{first.ID}) {
		t.Errorf("a suspect backup was copied: %v", got)
	}
	if err := j.Accept(t.Context(), report.Manifest.ID); err != nil {
		t.Fatal(err)
	}
	mustBackup(t, j)
	entries, err := there.List(t.Context())
	if err != nil || len(entries) != 3 || !entries[1].Accepted || entries[1].State != Good || !entries[2].Pinned {
		t.Errorf("%+v %v", entries, err)
	}
}

func TestTargetsAreChecked(t *testing.T) {
	t.Parallel()
	s := newFaulty(t)
	for name, list := range map[string][]Target{
		"name":     {{Name: "A b", Storage: s}},
		"two":      {{Name: "a", Storage: s}, {Name: "a", Storage: s}},
		"storage":  {{Name: "a"}},
		"Timeout":  {{Name: "a", Storage: s, Timeout: -1}},
		"negative": {{Name: "a", Storage: s, Retention: Policy{Days: -1}}},
	} {
		if _, err := New("pos", newFake(1), s, &Options{Targets: list, Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
