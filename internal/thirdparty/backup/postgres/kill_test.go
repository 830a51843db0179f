package postgres_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

const (
	killDSN    = "MAINSTAY_POSTGRES_KILL_DSN"
	killFolder = "MAINSTAY_POSTGRES_KILL_FOLDER"
	killID     = "MAINSTAY_POSTGRES_KILL_ID"
)

// kills is how often a test kills its victim.
func kills(t *testing.T, most int) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("MAINSTAY_KILLS")); err == nil {
		return n
	}
	if testing.Short() {
		return 1
	}
	return most
}

// killed starts this test again as another process, which says that it runs, and kills it
// after a moment.
func killed(t *testing.T, after time.Duration, environment ...string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	victim := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$")
	victim.Env = append(os.Environ(), environment...)
	out, err := victim.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, victim.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	assert.Equal(t, "running\n", line, "%v", err)
	time.Sleep(after)
	require.NoError(t, victim.Process.Kill())
	_ = victim.Wait()
}

// unlocked repeats a call until the server has noticed that the holder of its lock is dead.
func unlocked(t *testing.T, call func() error) {
	t.Helper()
	var err error
	for range 600 {
		if err = call(); !errors.Is(err, backup.ErrLocked) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	require.NoError(t, err)
}

// TestKilledRuns kills a process that makes backups and deletes old ones without pause.
// Each backup that is listed afterwards can be restored, and no backup is gone that
// retention keeps.
func TestKilledRuns(t *testing.T) {
	testserver.NeedsLong(t)
	policy := &backup.Options{Retention: backup.Policy{Last: 4, MinKeep: 3, Force: true}}
	if dsn := os.Getenv(killDSN); dsn != "" {
		job := jobIn(t, os.Getenv(killFolder), source(t, dsn, nil), policy)
		fmt.Println("running")
		for {
			// The lock of the victim before may outlive it for a moment.
			if _, err := job.Backup(t.Context()); err != nil && !errors.Is(err, backup.ErrLocked) {
				t.Fatal(err)
			}
		}
	}
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", "CREATE TABLE sales AS SELECT i AS id, md5(i::text) AS line FROM generate_series(1, 3000) i")
	folder := filepath.Join(t.TempDir(), "backups")
	job := jobIn(t, folder, source(t, server.DSN("shop"), nil), policy)
	start := time.Now()
	_, err := job.Backup(t.Context())
	require.NoError(t, err)
	within := time.Since(start)
	secrets := t.TempDir()
	tested := map[string]bool{}
	var before []backup.Entry
	for range kills(t, testserver.Sample(1, 2)) {
		killed(t, rand.N(2*within), killDSN+"="+server.DSN("shop"), killFolder+"="+folder, "TMPDIR="+secrets)
		entries, err := job.List(t.Context())
		require.NoError(t, err)
		listed := map[string]int{}
		for i, e := range entries {
			listed[e.ID] = i + 1
			require.Equal(t, backup.Good, e.State, "%s: %s", e.ID, e.Problem)
			if !tested[e.ID] {
				v, err := job.TestRestore(t.Context(), e.ID)
				require.NoError(t, err)
				require.EqualValues(t, 3000, v.RestoreTest.Rows)
				tested[e.ID] = true
			}
		}
		newer := 0
		for _, e := range entries {
			if len(before) == 0 || e.Time().After(before[0].Time()) {
				newer++
			}
		}
		for i, e := range before {
			require.True(t, listed[e.ID] > 0 || newer+i >= 4, "%s is gone, and %d are newer", e.ID, newer+i)
		}
		before = entries
	}
	unlocked(t, func() error { _, err := job.Backup(t.Context()); return err })
	assert.NotContains(t, strings.Join(databases(t, server), " "), "scratch")
}

// TestKilledOverwrite kills a process that overwrites the database without pause. The
// database is whole after each kill, the old one or the new one, and takes connections. A
// second overwriting restore ends well and removes the marker.
func TestKilledOverwrite(t *testing.T) {
	testserver.NeedsLong(t)
	if dsn := os.Getenv(killDSN); dsn != "" {
		job := jobIn(t, os.Getenv(killFolder), source(t, dsn, nil), nil)
		fmt.Println("running")
		for {
			if _, err := job.RestoreOver(t.Context(), os.Getenv(killID), "shop", nil); err != nil && !errors.Is(err, backup.ErrLocked) {
				t.Fatal(err)
			}
		}
	}
	t.Parallel()
	server := guardedServer(t)
	server.Exec(t, "postgres", "ALTER DATABASE two RENAME TO shop")
	folder := filepath.Join(t.TempDir(), "backups")
	job := jobIn(t, folder, source(t, server.DSN("shop"), nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	id := report.Manifest.ID
	whole, about := script(t, server.DSN("shop")), aboutDatabase(t, server, "shop")
	start := time.Now()
	_, err = job.RestoreOver(t.Context(), id, "shop", nil)
	require.NoError(t, err)
	within := time.Since(start)
	halfway := 0
	for i := range kills(t, 2) {
		for range 1 + i%2 { // also kill the restore that follows
			killed(t, rand.N(within*3/2), killDSN+"="+server.DSN("shop"), killFolder+"="+folder, killID+"="+id)
		}
		equal(t, whole, script(t, server.DSN("shop")))
		equal(t, about, aboutDatabase(t, server, "shop"))
		_, err := job.Check(t.Context(), time.Hour)
		if errors.Is(err, backup.ErrHalfway) {
			halfway++
		}
		for _, left := range leftovers(t, server) {
			require.ErrorContains(t, err, left, "check names what the kill has left")
		}
		unlocked(t, func() error { _, err := job.RestoreOver(t.Context(), id, "shop", nil); return err })
		_, err = job.Check(t.Context(), time.Hour)
		require.NotErrorIs(t, err, backup.ErrHalfway)
		equal(t, whole, script(t, server.DSN("shop")))
		require.Empty(t, leftovers(t, server), "the next restore cleans up")
	}
	t.Logf("%d kills met an exchange", halfway)
}
