//go:build engines

package backup

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

const (
	killEngine = "MAINSTAY_BACKUP_KILL_ENGINE"
	killDSN    = "MAINSTAY_BACKUP_KILL_DSN"
)

// killJob is a job of which a backup is taken, kept and deleted in turn.
func killJob(t *testing.T, engine, dsn, folder string) *Job {
	t.Helper()
	var from Source
	switch engine {
	case "sqlite":
		db, err := sql.Open("sqlite", dsn)
		require.NoError(t, err)
		t.Cleanup(func() { db.Close() })
		s := NewSQLite(db)
		s.Scratch = filepath.Dir(folder)
		from = s
	case "postgres":
		from = source(t, dsn, nil)
	case "mariadb":
		from = mysqlSource(t, dsn, nil)
	}
	storage, err := NewFolder(folder)
	require.NoError(t, err)
	j, err := New("pos", from, storage, &Options{
		Compression: Zstd, Logger: slog.New(slog.DiscardHandler), Retention: Policy{Last: 4, MinKeep: 3, Force: true},
	})
	require.NoError(t, err)
	return j
}

// TestKilledEngines kills a process that takes backups of a real database without pause,
// and deletes old ones, at random moments. After each kill every backup that is listed
// must be restored to what its manifest says, and none may be gone that retention keeps.
func TestKilledEngines(t *testing.T) {
	if engine := os.Getenv(killEngine); engine != "" {
		j := killJob(t, engine, os.Getenv(killDSN), os.Getenv(killFolder))
		fmt.Println("running")
		for {
			// The lock of the one before may outlive it for a moment.
			if _, err := j.Backup(t.Context()); err != nil && !errors.Is(err, ErrLocked) {
				t.Fatal(err)
			}
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "shop.db")
		db, err := sql.Open("sqlite", path)
		require.NoError(t, err)
		defer db.Close()
		_, err = db.Exec(`CREATE TABLE sales (id INTEGER PRIMARY KEY, line TEXT);
			INSERT INTO sales WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i < 3000) SELECT i, hex(randomblob(40)) FROM s`)
		require.NoError(t, err)
		killAll(t, "sqlite", path, 80)
	})
	t.Run("mariadb", func(t *testing.T) {
		t.Parallel()
		server := testserver.MariaDB(t)
		server.Exec(t, "CREATE DATABASE shop; USE shop; CREATE TABLE sales (id int PRIMARY KEY, line char(80)) ENGINE=InnoDB; INSERT INTO sales SELECT seq, MD5(seq) FROM seq_1_to_3000;")
		killAll(t, "mariadb", server.DSN("shop"), 30)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		server := testserver.Postgres(t)
		server.CreateDatabase(t, "shop")
		server.Exec(t, "shop", "CREATE TABLE sales AS SELECT i AS id, md5(i::text) AS line FROM generate_series(1, 3000) i")
		killAll(t, "postgres", server.DSN("shop"), 30)
	})
}

// killAll kills so many times, or MAINSTAY_KILLS.
func killAll(t *testing.T, engine, dsn string, kills int) {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("MAINSTAY_KILLS")); err == nil {
		kills = n
	}
	folder := filepath.Join(t.TempDir(), "backups")
	j := killJob(t, engine, dsn, folder)
	began := time.Now()
	_, err := j.Backup(t.Context())
	require.NoError(t, err)
	aim := aim{time.Since(began)}

	secrets := t.TempDir() // which those that are killed leave behind
	restored := map[string]bool{}
	var before []Entry
	partial := 0
	for range kills {
		victim := exec.Command(os.Args[0], "-test.run=^TestKilledEngines$")
		victim.Env = append(os.Environ(), killEngine+"="+engine, killDSN+"="+dsn, killFolder+"="+folder, "TMPDIR="+secrets)
		killAfter(t, victim, aim.moment())

		entries, err := j.List(t.Context())
		require.NoError(t, err)
		listed := map[string]bool{}
		for _, e := range entries {
			listed[e.ID] = true
			require.Equal(t, Good, e.State, "%s: %s", e.ID, e.Problem)
			if !restored[e.ID] {
				v, err := j.Drill(t.Context(), e.ID)
				require.NoError(t, err)
				require.EqualValues(t, 3000, v.Drill.Rows)
				restored[e.ID] = true
			}
		}
		newer := 0 // than what was there before
		for _, e := range entries {
			if len(before) == 0 || e.Time().After(before[0].Time()) {
				newer++
			}
		}
		aim.learn(newer > 0)
		for i, e := range before {
			require.True(t, listed[e.ID] || newer+i >= 4, "%s is gone, and %d are newer", e.ID, newer+i)
		}
		before = entries
		left, err := filepath.Glob(filepath.Join(folder, ".tmp-*"))
		require.NoError(t, err)
		if len(left) > 0 {
			partial++
		}
		for _, path := range left {
			require.NoError(t, os.Remove(path))
		}
	}
	t.Logf("%d kills: %d backups, all restored; %d kills left a partial file", kills, len(restored), partial)
	assert.Greater(t, len(restored), kills/20)
	assert.Positive(t, partial, "no kill hit a dump")

	// The next run, two days later, sweeps what is no backup and nothing else.
	j.now = func() time.Time { return time.Now().Add(48 * time.Hour) }
	var report Report
	require.Eventually(t, func() bool { report, err = j.Backup(t.Context()); return !errors.Is(err, ErrLocked) }, 10*time.Second, 20*time.Millisecond)
	require.NoError(t, err)
	kept := strings.Join(report.Swept, " ")
	for _, e := range before {
		assert.NotContains(t, kept, e.Manifest.File)
	}
	stray, err := filepath.Glob(filepath.Join(folder, "pos_*"))
	require.NoError(t, err)
	entries, err := j.List(t.Context())
	require.NoError(t, err)
	listed := map[string]bool{}
	for _, e := range entries {
		listed[e.ID] = true
	}
	for _, path := range stray {
		assert.True(t, listed[stem("pos", filepath.Base(path))], "%s was not swept", path)
	}
}
