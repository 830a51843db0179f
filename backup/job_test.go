package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/internal/atomicfile"
)

// fakeSource dumps what it is told.
type fakeSource struct {
	dump     func(w io.Writer) error
	contents driver.Contents
	restored []byte
}

func (s *fakeSource) Describe() driver.Description {
	return driver.Description{Engine: "fake", Extension: ".bin"}
}

func (s *fakeSource) Abilities() driver.Abilities { return driver.Abilities{Restore: s.restore} }

func (s *fakeSource) Dump(_ context.Context, w io.Writer) (driver.Contents, error) {
	if s.dump == nil {
		_, err := w.Write(bytes.Repeat([]byte("0123456789"), 10_000))
		return s.contents, err
	}
	return s.contents, s.dump(w)
}

func (s *fakeSource) restore(_ context.Context, r io.Reader, o driver.RestoreOptions) (string, driver.Contents, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return o.Target, driver.Contents{}, err
	}
	s.restored = data
	return o.Target, s.contents, nil
}

func newFake(rows int64) *fakeSource {
	return &fakeSource{contents: driver.Contents{Tables: []driver.Table{{Name: "t", Rows: rows}}}}
}

func newTestJob(t *testing.T, source driver.Source, opts *Options) (*Job, *Folder) {
	t.Helper()
	o := Options{}
	if opts != nil {
		o = *opts
	}
	o.Logger = slog.New(slog.DiscardHandler)
	folder, err := NewFolder(filepath.Join(t.TempDir(), "backups"))
	if err != nil {
		t.Fatal(err)
	}
	j, err := New("pos", source, folder, &o)
	if err != nil {
		t.Fatal(err)
	}
	return j, folder
}

func mustBackup(t *testing.T, j *Job) *Manifest {
	t.Helper()
	report, err := j.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report.Manifest
}

// files lists a folder, hidden files too, without the lock.
func files(t *testing.T, folder *Folder) []string {
	t.Helper()
	entries, err := os.ReadDir(folder.Path())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if n := e.Name(); n != lockName && n != statusFile && n != historyName && n != ".history.lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestBackupVerifyRestore(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for _, compression := range []Compression{"", Zstd, ZstdBetter, Gzip, None} {
		for _, encrypted := range []bool{false, true} {
			t.Run(fmt.Sprint(compression, encrypted), func(t *testing.T) {
				opts := &Options{Compression: compression}
				if encrypted {
					opts.Recipients = []age.Recipient{identity.Recipient()}
				}
				source := newFake(7)
				j, folder := newTestJob(t, source, opts)
				m := mustBackup(t, j)
				if m.RowsTotal != 7 || m.RawSize != 100_000 || m.Size == 0 {
					t.Errorf("manifest %+v", m)
				}
				info, err := os.Stat(filepath.Join(folder.Path(), m.File))
				if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
					t.Errorf("artefact: %v, %v", info, err)
				}
				v, err := j.Verify(t.Context(), "")
				if err != nil || !v.OK || v.Decoded == encrypted {
					t.Errorf("verification %+v, %v", v, err)
				}
				if _, err := j.Restore(t.Context(), "", "x", nil); encrypted != errors.Is(err, ErrNoIdentity) {
					t.Errorf("restore without identity: %v", err)
				}
				j.opts.Identities = []age.Identity{identity}
				if v, err := j.Verify(t.Context(), m.ID); err != nil || !v.Decoded {
					t.Errorf("verification %+v, %v", v, err)
				}
				if _, err := j.Restore(t.Context(), m.ID, "x", nil); err != nil || len(source.restored) != 100_000 {
					t.Errorf("restored %d bytes, %v", len(source.restored), err)
				}
			})
		}
	}
}

// TestStockTools opens artefacts with the tools that everybody has.
func TestStockTools(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(identity.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		opts    Options
		command string
	}{
		"zstd":     {Options{Compression: ZstdBetter}, `zstd -dc "$0"`},
		"gzip":     {Options{Compression: Gzip}, `gzip -dc "$0"`},
		"age zstd": {Options{Recipients: []age.Recipient{identity.Recipient()}}, `age -d -i ` + keyFile + ` "$0" | zstd -dc`},
	} {
		t.Run(name, func(t *testing.T) {
			for tool := range strings.FieldsSeq(name) {
				if _, err := exec.LookPath(tool); err != nil {
					t.Skipf("%s is not installed: apt-get install %[1]s", tool)
				}
			}
			j, folder := newTestJob(t, newFake(1), &test.opts)
			m := mustBackup(t, j)
			out, err := exec.Command("/bin/sh", "-c", test.command, filepath.Join(folder.Path(), m.File)).Output()
			if err != nil || len(out) != 100_000 {
				t.Errorf("%d bytes, %v", len(out), err)
			}
		})
	}
}

// TestFailedDumpLeavesNothing has dumps fail at all stages; nothing may be listed,
// nothing deleted and nothing left lying about.
func TestFailedDumpLeavesNothing(t *testing.T) {
	failure := errors.New("connection lost")
	source := newFake(3)
	j, folder := newTestJob(t, source, &Options{Retention: Policy{Last: 1, MinKeep: 1}})
	good := mustBackup(t, j)
	before := files(t, folder)
	for name, dump := range map[string]func(io.Writer) error{
		"at once": func(io.Writer) error { return failure },
		"midway": func(w io.Writer) error {
			_, err := w.Write(make([]byte, 1<<20))
			return errors.Join(err, failure)
		},
		"empty": func(io.Writer) error { return nil },
	} {
		source.dump = dump
		report, err := j.Backup(t.Context())
		var stage *StageError
		if !errors.As(err, &stage) || stage.Published || stage.Stage != "dump" || report.Manifest != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name != "empty" && !errors.Is(err, failure) {
			t.Errorf("%s: the cause is lost: %v", name, err)
		}
		if after := files(t, folder); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("%s: the folder went from %v to %v", name, before, after)
		}
	}
	if s, err := j.Status(t.Context()); err != nil || s.Last == nil || s.Last.OK || s.Last.Stage != "dump" || s.Newest.ID != good.ID {
		t.Errorf("status %+v, %v", s, err)
	}
	source.dump = nil
	mustBackup(t, j)
	if s, _ := j.Status(t.Context()); s.Last == nil || !s.Last.OK || runtime.GOOS == "linux" && s.Free <= 0 {
		t.Errorf("the status does not recover: %+v", s)
	}
}

func TestCancelledRun(t *testing.T) {
	source := newFake(1)
	j, folder := newTestJob(t, source, nil)
	ctx, cancel := context.WithCancel(t.Context())
	source.dump = func(w io.Writer) error {
		cancel()
		_, err := w.Write([]byte("x"))
		return err
	}
	if _, err := j.Backup(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left := files(t, folder); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestTimeout: a dump that hangs is ended.
func TestTimeout(t *testing.T) {
	source := newFake(1)
	j, folder := newTestJob(t, source, &Options{Timeout: time.Minute})
	source.dump = func(w io.Writer) error {
		for {
			time.Sleep(time.Second) // of the bubble
			if _, err := w.Write([]byte("x")); err != nil {
				return err
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := j.Backup(t.Context())
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "longer than 1m0s") || time.Since(began) > 2*time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
	if left := files(t, folder); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestDamage changes a stored backup in every way; each must be found, and none
// restored.
func TestDamage(t *testing.T) {
	for name, spoil := range map[string]func(data []byte) []byte{
		"a bit":      func(d []byte) []byte { d[len(d)/2] ^= 1; return d },
		"the last":   func(d []byte) []byte { d[len(d)-1] ^= 0x80; return d },
		"cut":        func(d []byte) []byte { return d[:len(d)-1] },
		"longer":     func(d []byte) []byte { return append(d, 0) },
		"another":    func([]byte) []byte { return []byte("hello") },
		"emptied":    func([]byte) []byte { return nil },
		"frame more": func(d []byte) []byte { return append(d, d...) },
	} {
		for _, compression := range []Compression{Zstd, Gzip, None} {
			t.Run(name+" "+string(compression), func(t *testing.T) {
				source := newFake(1)
				j, folder := newTestJob(t, source, &Options{Compression: compression})
				m := mustBackup(t, j)
				path := filepath.Join(folder.Path(), m.File)
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, spoil(data), 0o600); err != nil {
					t.Fatal(err)
				}
				if _, err := j.Verify(t.Context(), m.ID); !errors.Is(err, ErrVerification) {
					t.Errorf("verify: %v", err)
				}
				if _, err := j.Restore(t.Context(), m.ID, "x", nil); err == nil || source.restored != nil {
					t.Errorf("restore: %v, %d bytes", err, len(source.restored))
				}
				if entries, err := j.List(t.Context()); err != nil || len(entries) != 1 || entries[0].State != Damaged {
					t.Errorf("listed as %+v, %v", entries, err)
				}
				if _, err := j.Check(t.Context(), time.Hour); !errors.Is(err, ErrStale) {
					t.Errorf("check: %v", err)
				}
			})
		}
	}
}

// TestRestoreCompares: a restore that ends well and lacks something is none.
func TestRestoreCompares(t *testing.T) {
	source := newFake(7)
	j, _ := newTestJob(t, source, nil)
	mustBackup(t, j)
	for name, got := range map[string][]driver.Table{
		"rows": {{Name: "t", Rows: 6}}, "more rows": {{Name: "t", Rows: 8}}, "no table": {}, "another table": {{Name: "u", Rows: 7}}, "one more": {{Name: "t", Rows: 7}, {Name: "u", Rows: 0}},
	} {
		source.contents.Tables = got
		report, err := j.Restore(t.Context(), "", "new", nil)
		if !errors.Is(err, ErrVerification) || report.Target != "new" {
			t.Errorf("%s: %v, %+v", name, err, report)
		}
	}
}

// TestDamageUnopened: a host that cannot open a backup still finds out that it was changed.
func TestDamageUnopened(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	j, folder := newTestJob(t, newFake(1), &Options{Recipients: []age.Recipient{identity.Recipient()}})
	m := mustBackup(t, j)
	path := filepath.Join(folder.Path(), m.File)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Verify(t.Context(), m.ID); !errors.Is(err, ErrVerification) {
		t.Errorf("verify: %v", err)
	}
}

// TestDamageOfTheDump: the stored bytes are right, and what they decode to is not what was
// dumped.
func TestDamageOfTheDump(t *testing.T) {
	j, folder := newTestJob(t, newFake(1), nil)
	m := mustBackup(t, j)
	path := filepath.Join(folder.Path(), m.ID+manifestSuffix)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(string(data), m.RawSHA256, strings.Repeat("0", 64), 1)
	if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Verify(t.Context(), m.ID); !errors.Is(err, ErrVerification) {
		t.Errorf("verify: %v", err)
	}
	if _, err := j.Restore(t.Context(), m.ID, "x", nil); err == nil {
		t.Error("restored")
	}
}

func TestForeignManifests(t *testing.T) {
	j, folder := newTestJob(t, newFake(1), nil)
	m := mustBackup(t, j)
	path := filepath.Join(folder.Path(), m.ID+manifestSuffix)
	original, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, replace := range map[string][2]string{
		"newer":        {`"format": 1`, `"format": 2`},
		"other id":     {`"id": "` + m.ID, `"id": "pos_20200101T000000Z_abcdef`},
		"other folder": {`"file": "` + m.File, `"file": "../../etc/passwd`},
		"not JSON":     {"{", "["},
	} {
		changed := strings.Replace(string(original), replace[0], replace[1], 1)
		if changed == string(original) {
			t.Fatalf("%s changes nothing", name)
		}
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		entries, err := j.List(t.Context())
		if err != nil || len(entries) != 1 || entries[0].State != Unknown || entries[0].Problem == "" {
			t.Errorf("%s: %+v, %v", name, entries, err)
		}
		if _, err := j.Restore(t.Context(), m.ID, "", nil); err == nil {
			t.Errorf("%s: restored", name)
		}
		decisions, _ := plan(time.Now().AddDate(1, 0, 0), entries, Policy{Last: 1, MinKeep: 1, Zone: time.UTC})
		if len(decisions) != 1 || !decisions[0].Keep {
			t.Errorf("%s: would be deleted", name)
		}
	}
}

func TestOneRunAtATime(t *testing.T) {
	source := newFake(1)
	j, folder := newTestJob(t, source, nil)
	other, err := New("pos", newFake(1), folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	source.dump = func(w io.Writer) error {
		if _, err := other.Backup(context.Background()); !errors.Is(err, ErrLocked) {
			t.Errorf("a second run: %v", err)
		}
		_, err := w.Write([]byte("x"))
		return err
	}
	mustBackup(t, j)
	if s, _ := j.Status(t.Context()); s.Last == nil || !s.Last.OK {
		t.Error("the run that was turned away changed the status")
	}
}

// TestLeftovers plants what crashes leave: invisible at once, swept after a day.
func TestLeftovers(t *testing.T) {
	j, folder := newTestJob(t, newFake(1), nil)
	good := mustBackup(t, j)
	orphan := newID("pos", time.Now().Add(-48*time.Hour)) + ".bin.zst"
	young := newID("pos", time.Now()) + ".bin.zst"
	temp := atomicfile.TempPrefix + orphan
	stranger := "holiday.jpg"
	for _, name := range []string{orphan, young, temp, stranger} {
		path := filepath.Join(folder.Path(), name)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if name != young {
			if err := os.Chtimes(path, time.Time{}, time.Now().Add(-48*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if entries, err := j.List(t.Context()); err != nil || len(entries) != 1 || entries[0].ID != good.ID {
		t.Errorf("listed: %v, %v", entries, err)
	}
	report, err := j.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Swept) != 2 {
		t.Errorf("swept %v", report.Swept)
	}
	left := strings.Join(files(t, folder), " ")
	for name, want := range map[string]bool{orphan: false, temp: false, young: true, stranger: true, good.File: true} {
		if strings.Contains(" "+left+" ", " "+name+" ") != want {
			t.Errorf("%s is there: %v", name, !want)
		}
	}
}

func TestWritableByOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	j, folder := newTestJob(t, newFake(1), nil)
	if err := os.MkdirAll(folder.Path(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(folder.Path(), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Backup(t.Context()); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("a folder that others may write to: %v", err)
	}
}

func TestSuspect(t *testing.T) {
	source := newFake(1000)
	j, _ := newTestJob(t, source, nil)
	first := mustBackup(t, j)
	for name, contents := range map[string]driver.Contents{
		"rows gone":   {Tables: []driver.Table{{Name: "t", Rows: 400}}},
		"table gone":  {Tables: []driver.Table{{Name: "u", Rows: 1000}}},
		"no tables":   {},
		"and nothing": {Tables: []driver.Table{{Name: "t", Rows: 0}}},
	} {
		source.contents = contents
		report, err := j.Backup(t.Context())
		var stage *StageError
		if !errors.Is(err, ErrSuspect) || !errors.As(err, &stage) || !stage.Published || len(report.Deleted) != 0 {
			t.Errorf("%s: %v", name, err)
		}
		if e, err := j.Find(t.Context(), ""); err != nil || e.ID != first.ID {
			t.Errorf("%s: the newest good one is %v, %v", name, e.ID, err)
		}
	}
	source.contents = driver.Contents{Tables: []driver.Table{{Name: "t", Rows: 400}}}
	report, _ := j.Backup(t.Context())
	if err := j.Accept(t.Context(), report.Manifest.ID); err != nil {
		t.Fatal(err)
	}
	if e, _ := j.Find(t.Context(), ""); e.ID != report.Manifest.ID {
		t.Error("an accepted backup does not count")
	}
	mustBackup(t, j)
}

func TestConstruction(t *testing.T) {
	folder, err := NewFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "-a", "A", "a b", "../a", "a/b", "a.b", strings.Repeat("a", 64), "a\x00", "ü"} {
		if _, err := New(name, newFake(1), folder, nil); err == nil {
			t.Errorf("a job named %q", name)
		}
	}
	for name, opts := range map[string]*Options{
		"compression": {Compression: "rar"}, "timeout": {Timeout: -1}, "retention": {Retention: Policy{Last: -1}},
	} {
		if _, err := New("pos", newFake(1), folder, opts); err == nil {
			t.Errorf("a wrong %s was accepted", name)
		}
	}
	if _, err := New("pos", nil, folder, nil); err == nil {
		t.Error("no source")
	}
	if _, err := NewFolder(""); err == nil {
		t.Error("no folder")
	}
}

func FuzzManifest(f *testing.F) {
	j, _ := New("pos", newFake(1), &Folder{f.TempDir()}, &Options{Logger: slog.New(slog.DiscardHandler)})
	report, err := j.Backup(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	data, err := report.Manifest.encode(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":1}`))
	f.Add([]byte(`null`))
	id := report.Manifest.ID
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseManifest("pos", id, data, nil)
		if err != nil {
			return
		}
		if m.ID != id || !strings.HasPrefix(m.File, id+".") && m.File != id || strings.ContainsAny(m.File, `/\`) || m.Size < 0 {
			t.Fatalf("accepted: %+v", m)
		}
	})
}

// Two jobs in one storage would overwrite each other's status: the second one is rejected
// before it writes. A shared history shows each job its own runs.
func TestStorageOfAnotherJob(t *testing.T) {
	t.Parallel()
	history, err := NewFolder(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.Chmod(history.Path(), 0o700))
	j, folder := newTestJob(t, newFake(7), &Options{RestoreTest: RestoreTestOptions{Every: -1}, History: history})
	mustBackup(t, j)
	before, err := j.Status(t.Context())
	require.NoError(t, err)
	for _, hist := range []Storage{nil, history} {
		second, err := New("archive", newFake(3), folder, &Options{RestoreTest: RestoreTestOptions{Every: -1}, History: hist, Logger: silent})
		require.NoError(t, err)
		_, err = second.Preflight(t.Context())
		require.ErrorContains(t, err, "holds files of the job pos")
		run, err := second.Backup(t.Context())
		require.ErrorIs(t, err, errShared)
		require.Nil(t, run.Manifest)
		runs, err := second.History(t.Context(), 0)
		require.NoError(t, err)
		if hist != nil {
			require.Len(t, runs, 1)
			require.Equal(t, "lock", runs[0].Stage)
		} else {
			require.Empty(t, runs)
		}
	}
	after, err := j.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, before.Last, after.Last)
	runs, err := j.History(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, runs, 1)

	// The job whose first run failed has left no manifest, but its status.
	j, folder = newTestJob(t, &fakeSource{dump: func(io.Writer) error { return errors.New("down") }}, nil)
	_, err = j.Backup(t.Context())
	require.Error(t, err)
	second, err := New("archive", newFake(3), folder, nil)
	require.NoError(t, err)
	_, err = second.Backup(t.Context())
	require.ErrorIs(t, err, errShared)
}
