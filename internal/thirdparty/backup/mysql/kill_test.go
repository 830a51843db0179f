//go:build unix

package mysql_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/mysql"
	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/internal/thirdparty/backup/killing"
)

const (
	killDSN    = "MAINSTAY_MYSQL_KILL_DSN"
	killFolder = "MAINSTAY_MYSQL_KILL_FOLDER"
	killID     = "MAINSTAY_MYSQL_KILL_ID"
	killStep   = "MAINSTAY_MYSQL_KILL_STEP"
)

// TestKilled kills a process at random moments that takes backups, tests them by a restore
// and deletes old ones.
func TestKilled(t *testing.T) {
	testserver.NeedsLong(t)
	if killing.Victim(t, func() driver.Source {
		db, err := sql.Open("mysql", os.Getenv(killDSN))
		require.NoError(t, err)
		source, err := mysql.New(db, "shop", nil)
		require.NoError(t, err)
		return source
	}) {
		return
	}
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	server := testserver.MariaDB(t)
	load(t, server, "shop", "CREATE TABLE sales (id INT PRIMARY KEY, line CHAR(80)); INSERT INTO sales SELECT seq, MD5(seq) FROM seq_1_to_3000;")
	killing.Backups(t, sourceOf(t, server, "shop", nil), killing.Times(testserver.Sample(5, 10)), killDSN+"="+server.DSN(""))
	// The databases of killed restore tests go when they are old enough.
	_, err := sourceOf(t, server, "shop", nil).SweepTests(t.Context(), time.Now().Add(time.Hour))
	require.NoError(t, err)
	assert.Empty(t, server.Exec(t, "SHOW DATABASES LIKE '%scratch%'"))
}

// TestKilledBetweenSteps kills an overwriting restore before each of its statements, from the
// first one that could change anything. Afterwards Check fails, or the database is whole; and
// the same restore, again, brings it back. After some steps that restore is killed as well.
func TestKilledBetweenSteps(t *testing.T) {
	testserver.NeedsLong(t)
	if folder := os.Getenv(killFolder); folder != "" {
		db, watch := stepping(t, os.Getenv(killDSN))
		left, err := strconv.Atoi(os.Getenv(killStep))
		require.NoError(t, err)
		began := false
		watch.watch(func(statement string) error {
			began = began || strings.HasPrefix(statement, "CREATE DATABASE `shop_scratch_")
			if began {
				if left--; left < 0 {
					return syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
				}
			}
			return nil
		})
		source, err := mysql.New(db, "shop", nil)
		require.NoError(t, err)
		_, err = jobAt(t, folder, source, nil).RestoreOver(t.Context(), os.Getenv(killID), "shop", nil)
		require.NoError(t, err)
		return
	}
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	server := testserver.MariaDB(t, "--log-bin-trust-function-creators=1")
	loadRich(t, server)
	job := jobOf(t, sourceOf(t, server, "shop", nil), &backup.Options{NoRetention: true})
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	folder, _ := folders.Load(job)
	whole := described(t, server, "shop", true)
	grants := server.Exec(t, "SHOW GRANTS FOR app@'%'")
	halfway, step, every, twice := 0, 0, testserver.Sample(41, 17), 0
	if os.Getenv("MAINSTAY_KILLS") != "" {
		every = 1
	}
	for ; ; step += every {
		victim := killing.Again(t, "TestKilledBetweenSteps", killDSN+"="+server.DSN(""), killFolder+"="+folder.(string), killID+"="+report.Manifest.ID, killStep+"="+strconv.Itoa(step))
		out, err := victim.CombinedOutput()
		if err == nil {
			break // it came to its end
		}
		require.Contains(t, err.Error(), "killed", "%s", out)
		s, err := job.Check(t.Context(), time.Hour)
		if changed := len(s.Unfinished) > 0 && s.Unfinished[0].Changed; !changed {
			equal(t, whole, described(t, server, "shop", true))
		} else {
			halfway++
		}
		if len(s.Unfinished) > 0 && s.Unfinished[0].Changed && twice < 2 {
			twice++
			again := killing.Again(t, "TestKilledBetweenSteps", killDSN+"="+server.DSN(""), killFolder+"="+folder.(string), killID+"="+report.Manifest.ID, killStep+"="+strconv.Itoa(step-8))
			out, err = again.CombinedOutput()
			require.ErrorContains(t, err, "killed", "%s", out)
			before := s.Unfinished[0].Safety
			s, err = job.Check(t.Context(), time.Hour)
			for _, u := range s.Unfinished {
				require.Equal(t, before, u.Safety, "of the state before both")
			}
		}
		for _, left := range leftovers(t, server) {
			require.ErrorIs(t, err, backup.ErrHalfway)
			require.ErrorContains(t, err, left, "check names what a kill before the step %d has left", step)
		}
		_, err = job.RestoreOver(t.Context(), report.Manifest.ID, "shop", nil)
		require.NoError(t, err, "after a kill before the step %d", step)
		_, err = job.Check(t.Context(), time.Hour)
		require.NotErrorIs(t, err, backup.ErrHalfway)
		equal(t, whole, described(t, server, "shop", true))
		require.Empty(t, leftovers(t, server), "the next restore cleans up")
	}
	t.Logf("%d kills, %d of them in the exchange", step/every, halfway)
	assert.Greater(t, step, 20)
	assert.Positive(t, halfway)
	assert.Equal(t, grants, server.Exec(t, "SHOW GRANTS FOR app@'%'"), "the run that was not killed keeps them")
}

// TestExchangeIsUndone has each statement of an exchange fail, alone and with all that follow.
// A failure leaves the original as it was, or the error wraps ErrHalfway and Check fails.
func TestExchangeIsUndone(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	server := testserver.MariaDB(t, "--log-bin-trust-function-creators=1")
	loadRich(t, server)
	job := jobOf(t, sourceOf(t, server, "shop", nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	var dump bytes.Buffer
	_, err = sourceOf(t, server, "shop", nil).Dump(t.Context(), &dump)
	require.NoError(t, err)
	dumped := dump.Bytes()
	server.Exec(t, "INSERT INTO shop.t VALUES (3, 'c'); CREATE TABLE shop.later (id INT)")
	before, grants := described(t, server, "shop", true), server.Exec(t, "SHOW GRANTS FOR app@'%'")
	db, watch := stepping(t, server.DSN(""))
	source, err := mysql.New(db, "shop", nil)
	require.NoError(t, err)
	for _, forever := range []bool{false, true} {
		step, undone, halfway, every := 0, 0, 0, testserver.Sample(29, 7)
		if forever {
			every = testserver.Sample(41, 23)
		}
		if os.Getenv("MAINSTAY_KILLS") != "" {
			every = 1
		}
		for ; ; step += every {
			left, began, failed, at := step, false, 0, ""
			watch.watch(func(statement string) error {
				began = began || strings.HasPrefix(statement, "CREATE DATABASE `shop_replaced_")
				if !began {
					return nil
				}
				if left--; left == -1 || left < 0 && forever {
					if failed++; failed == 1 {
						at = statement
					}
					return fmt.Errorf("the disk of the server is full (step %d)", step)
				}
				return nil
			})
			touched := false
			_, err := source.Overwrite(t.Context(), bytes.NewReader(dumped), driver.RestoreOptions{Want: report.Manifest.Contents, Touch: func(context.Context) error { touched = true; return nil }})
			watch.watch(nil)
			if failed == 0 {
				require.NoError(t, err)
				break
			}
			if errors.Is(err, driver.ErrHalfway) {
				require.True(t, touched)
				require.True(t, forever, "%s: %v", at, err)
				halfway++
				_, err = job.RestoreOver(t.Context(), report.Manifest.ID, "shop", nil)
				require.NoError(t, err, at)
				server.Exec(t, "INSERT INTO shop.t VALUES (3, 'c'); CREATE TABLE shop.later (id INT)")
			} else if err != nil {
				undone++
			}
			now := described(t, server, "shop", true)
			if err == nil && now != before { // a statement whose failure costs a warning only
				_, err = job.RestoreOver(t.Context(), report.Manifest.ID, "shop", nil)
				require.NoError(t, err, at)
				server.Exec(t, "INSERT INTO shop.t VALUES (3, 'c'); CREATE TABLE shop.later (id INT)")
				now = described(t, server, "shop", true)
			}
			equal(t, before, now)
			if !forever && !strings.HasPrefix(at, "GRANT") { // the failure of which is a warning
				require.Equal(t, grants, server.Exec(t, "SHOW GRANTS FOR app@'%'"), at)
			}
			server.Exec(t, "GRANT EXECUTE ON FUNCTION shop.f TO app@'%'")
		}
		t.Logf("forever %v: %d steps, %d undone, %d halfway", forever, step, undone, halfway)
		assert.Equal(t, forever, halfway > 0)
		assert.Positive(t, undone)
		server.Exec(t, "INSERT INTO shop.t VALUES (3, 'c'); CREATE TABLE shop.later (id INT)")
	}
}
