//go:build unix

package backup

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

const (
	killFolder = "MAINSTAY_BACKUP_KILL_FOLDER"
	killTarget = "MAINSTAY_BACKUP_KILL_TARGET"
)

// TestKilled kills a process that takes backups without pause at random moments, in one
// folder, MAINSTAY_KILLS times or 40, and more often until both a whole backup and a partial file
// were left. After each kill every backup that is listed must verify; at the end the next run
// must succeed and sweep nothing that is good.
func TestKilled(t *testing.T) {
	if folder := os.Getenv(killFolder); folder != "" {
		backupForever(t, folder)
		return
	}
	if testing.Short() {
		t.Skip("it starts processes; run it without -short")
	}
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "backups")
	storage, err := NewFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	source := newFake(1)
	source.dump = func(w io.Writer) error {
		_, err := w.Write(make([]byte, 512<<10))
		return err
	}
	j, err := New("pos", source, storage, &Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	kills, partial, seen := timesKilled(40), 0, map[string]bool{}
	aim := aim{30 * time.Millisecond}
	missed := func() bool { return len(seen) < kills/20 || partial == 0 }
	for n := 0; n < kills || n < 10*kills && missed(); n++ {
		killOnce(t, folder, "", aim.moment())
		entries, err := j.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		aim.learn(len(entries) > len(seen))
		for _, e := range entries {
			if e.State != Good {
				t.Fatalf("listed after a kill: %s, %s (%s)", e.ID, e.State, e.Problem)
			}
			if seen[e.ID] {
				continue
			}
			seen[e.ID] = true
			if _, err := j.Verify(t.Context(), e.ID); err != nil {
				t.Fatalf("listed after a kill: %v", err)
			}
		}
		names, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasPrefix(name.Name(), ".tmp-") {
				partial++
				os.Remove(filepath.Join(folder, name.Name()))
			}
		}
	}
	if missed() {
		t.Errorf("the kills hit nothing: %d backups, %d partial files", len(seen), partial)
	}
	// The clock of the next run is two days later, so that leftovers are old enough.
	j.now = func() time.Time { return time.Now().Add(48 * time.Hour) }
	report, err := j.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, swept := range report.Swept {
		if id := stem("pos", swept); seen[id] && !strings.Contains(swept, "verify") {
			t.Errorf("swept a part of a good backup: %s", swept)
		}
	}
	entries, err := j.List(t.Context())
	if err != nil || len(entries) != len(seen)+1 {
		t.Errorf("%d backups after the sweep, %d before, %v", len(entries), len(seen), err)
	}
}

// TestKilledReplicating kills a process that copies to a target. After each kill every
// backup that the target lists must verify; the next run must bring it up to date.
func TestKilledReplicating(t *testing.T) {
	testserver.NeedsLong(t)
	if testing.Short() {
		t.Skip("it starts processes; run it without -short")
	}
	t.Parallel()
	here, there := filepath.Join(t.TempDir(), "here"), filepath.Join(t.TempDir(), "there")
	storage, err := NewFolder(here)
	if err != nil {
		t.Fatal(err)
	}
	attic, err := NewFolder(there)
	if err != nil {
		t.Fatal(err)
	}
	source := newFake(1)
	source.dump = func(w io.Writer) error {
		_, err := w.Write(make([]byte, 512<<10))
		return err
	}
	j, err := New("pos", source, storage, &Options{
		NoRetention: true, Logger: slog.New(slog.DiscardHandler),
		Targets: []Target{{Name: "attic", Storage: attic, NoRetention: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	copied := targetOf(t, j, "attic")
	seen, behind := map[string]bool{}, 0
	aim := aim{40 * time.Millisecond}
	kills := timesKilled(20)
	missed := func() bool { return len(seen) == 0 || behind == 0 }
	for n := 0; n < kills || n < 10*kills && missed(); n++ { // on a slow machine the aim takes a while
		killOnce(t, here, there, aim.moment())
		entries, err := copied.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		aim.learn(len(entries) > len(seen))
		for _, e := range entries {
			if e.State != Good {
				t.Fatalf("the target lists after a kill: %s, %s (%s)", e.ID, e.State, e.Problem)
			}
			if !seen[e.ID] {
				seen[e.ID] = true
				if v, err := copied.readBack(t.Context(), e.Manifest, nil); err != nil || !v {
					t.Fatalf("the target lists after a kill: %s: %v", e.ID, err)
				}
			}
		}
		if len(goodIDs(t, j)) > len(entries) {
			behind++
		}
	}
	if missed() {
		t.Errorf("the kills hit nothing: %d copies, %d times behind", len(seen), behind)
	}
	mustBackup(t, j)
	if a, b := goodIDs(t, j), goodIDs(t, copied); !slices.Equal(a, b) {
		t.Errorf("%d backups here and %d there", len(a), len(b))
	}
}

// TestProcessesTakeTurns has four processes take backups into one folder without pause:
// one at a time dumps, and the others are turned away.
func TestProcessesTakeTurns(t *testing.T) {
	if folder := os.Getenv(killFolder); folder != "" {
		takeTurns(t, folder)
		return
	}
	if testing.Short() {
		t.Skip("it starts processes; run it without -short")
	}
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "backups")
	var rivals []*exec.Cmd
	var said []*strings.Builder
	for range 4 {
		rival := exec.Command(os.Args[0], "-test.run=^TestProcessesTakeTurns$")
		rival.Env = append(os.Environ(), killFolder+"="+folder)
		out := &strings.Builder{}
		rival.Stdout, rival.Stderr = out, out
		if err := rival.Start(); err != nil {
			t.Fatal(err)
		}
		rivals, said = append(rivals, rival), append(said, out)
	}
	locked := 0
	for i, rival := range rivals {
		if err := rival.Wait(); err != nil {
			t.Errorf("%v: %s", err, said[i])
		}
		locked += strings.Count(said[i].String(), "locked")
	}
	if locked == 0 {
		t.Error("nobody was turned away")
	}
	storage, err := NewFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	j, err := New("pos", newFake(1), storage, &Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(goodIDs(t, j)); n != 4*10 {
		t.Errorf("%d good backups of 40", n)
	}
}

func takeTurns(t *testing.T, folder string) {
	storage, err := NewFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	busy, refused := folder+".busy", folder+".refused"
	source := newFake(1)
	source.dump = func(w io.Writer) error {
		file, err := os.OpenFile(busy, os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			t.Errorf("two dump at once: %v", err)
		}
		file.Close()
		// The first dump goes on until another process was turned away: on any machine they meet.
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(refused); err == nil {
				break
			}
		}
		_, err = w.Write(make([]byte, 64<<10))
		return errors.Join(err, os.Remove(busy))
	}
	j, err := New("pos", source, storage, &Options{NoRetention: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for good := 0; good < 10; {
		switch _, err := j.Backup(t.Context()); {
		case err == nil:
			good++
		case errors.Is(err, ErrLocked):
			os.Stdout.WriteString("locked\n")
			if err := os.WriteFile(refused, nil, 0o600); err != nil {
				t.Error(err)
			}
		default:
			t.Fatal(err)
		}
	}
}

// timesKilled is MAINSTAY_KILLS, or few.
func timesKilled(few int) int {
	if n, err := strconv.Atoi(os.Getenv("MAINSTAY_KILLS")); err == nil && n > 0 {
		return n
	}
	return few
}

func killOnce(t *testing.T, folder, target string, after time.Duration) {
	t.Helper()
	victim := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	victim.Env = append(os.Environ(), killFolder+"="+folder, killTarget+"="+target)
	killAfter(t, victim, after)
}

// aim chooses the moments of kills such that about every second run comes to its end
// before, however slow the machine is.
type aim struct{ within time.Duration }

func (a *aim) moment() time.Duration { return rand.N(a.within) }

func (a *aim) learn(done bool) {
	if done {
		a.within = max(a.within*4/5, 5*time.Millisecond)
	} else {
		a.within = min(a.within*5/4, 10*time.Second)
	}
}

// killAfter starts a process, and kills it so long after it has said that it runs.
func killAfter(t *testing.T, victim *exec.Cmd, after time.Duration) {
	t.Helper()
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "running\n" {
		t.Errorf("the victim said %q, %v", line, err)
	}
	time.Sleep(after)
	victim.Process.Kill()
	victim.Wait()
}

func backupForever(t *testing.T, folder string) {
	storage, err := NewFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	source := newFake(1)
	data := make([]byte, 512<<10)
	for i := range data {
		data[i] = byte(rand.Int())
	}
	source.dump = func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
	opts := &Options{Compression: Zstd, NoRetention: true, Logger: slog.New(slog.DiscardHandler)}
	if target := os.Getenv(killTarget); target != "" {
		storage, err := NewFolder(target)
		if err != nil {
			t.Fatal(err)
		}
		opts.Targets = []Target{{Name: "attic", Storage: storage, NoRetention: true}}
	}
	j, err := New("pos", source, storage, opts)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("running\n")
	for {
		if _, err := j.Backup(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
