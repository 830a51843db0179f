package mysql_test

import (
	"database/sql"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/mysql"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

const (
	killDSN    = "MAINSTAY_MYSQL_KILL_DSN"
	killFolder = "MAINSTAY_MYSQL_KILL_FOLDER"
	killID     = "MAINSTAY_MYSQL_KILL_ID"
)

// TestKilled kills a process that overwrites the database without pause. After each kill the
// database is whole, or Check fails until a restore has ended well; and every backup that is
// listed can be read.
func TestKilled(t *testing.T) {
	if dsn := os.Getenv(killDSN); dsn != "" {
		db, err := sql.Open("mysql", dsn)
		require.NoError(t, err)
		source, err := mysql.New(db, "shop", nil)
		require.NoError(t, err)
		job := jobAt(t, os.Getenv(killFolder), source, nil)
		for {
			_, err := job.RestoreOver(t.Context(), os.Getenv(killID), "shop", nil)
			require.NoError(t, err)
		}
	}
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	server := testserver.MariaDB(t)
	load(t, server, "shop", moved+`CREATE TABLE big (id INT PRIMARY KEY, v CHAR(100)); INSERT INTO big SELECT seq, MD5(seq) FROM seq_1_to_20000;
		CREATE TABLE c1 LIKE big; CREATE TABLE c2 LIKE big; CREATE TABLE c3 LIKE big;`)
	job := jobOf(t, sourceOf(t, server, "shop", nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	id := report.Manifest.ID
	whole := described(t, server, "shop", true)
	folder, _ := folders.Load(job)
	self, err := os.Executable()
	require.NoError(t, err)
	halfway := 0
	for range 5 {
		victim := exec.CommandContext(t.Context(), self, "-test.run=^TestKilled$")
		victim.Env = append(os.Environ(), killDSN+"="+server.DSN(""), killFolder+"="+folder.(string), killID+"="+id)
		require.NoError(t, victim.Start())
		time.Sleep(300*time.Millisecond + rand.N(1200*time.Millisecond)) // the moment of a kill
		require.NoError(t, victim.Process.Kill())
		_ = victim.Wait()
		_, err := job.Check(t.Context(), time.Hour)
		if errors.Is(err, backup.ErrHalfway) {
			halfway++
			_, err = job.RestoreOver(t.Context(), id, "shop", nil)
			if err != nil { // the safety backup of half a database is suspect; nothing else may stand in the way
				require.NoError(t, job.Settle(t.Context()))
				server.Exec(t, "DROP DATABASE IF EXISTS shop")
				_, err = job.Restore(t.Context(), id, "shop", nil)
				require.NoError(t, err)
				whole = described(t, server, "shop", true)
				continue
			}
			_, err = job.Check(t.Context(), time.Hour)
			require.NotErrorIs(t, err, backup.ErrHalfway)
		}
		equal(t, whole, described(t, server, "shop", true))
	}
	t.Logf("%d kills met an exchange", halfway)
	entries, err := job.List(t.Context())
	require.NoError(t, err)
	for _, e := range entries {
		_, err := job.Verify(t.Context(), e.ID)
		assert.NoError(t, err, e.ID)
	}
}
