package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func mustHistory(t *testing.T, j *Job, n int) []Run {
	t.Helper()
	runs, err := j.History(t.Context(), n)
	require.NoError(t, err)
	return runs
}

func TestHistory(t *testing.T) {
	t.Parallel()
	source := newFake(7)
	j, folder := newTestJob(t, source, nil)
	assert.Empty(t, mustHistory(t, j, 0))

	first := mustBackup(t, j)
	source.dump = func(w io.Writer) error {
		_, _ = w.Write(make([]byte, 1000))
		return errors.New("the server went away " + strings.Repeat("é", historyText))
	}
	_, err := j.Backup(t.Context())
	require.Error(t, err)
	unlock, err := folder.Abilities().Lock(t.Context())
	require.NoError(t, err)
	_, err = j.Backup(t.Context())
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, unlock())
	source.dump = nil
	second := mustBackup(t, j)

	runs := mustHistory(t, j, 0)
	require.Len(t, runs, 3, "the one that was locked out is the other's matter")
	assert.Equal(t, []string{second.ID, first.ID}, []string{runs[0].ID, runs[2].ID})
	good, bad := runs[0], runs[1]
	assert.True(t, good.OK && good.Published && good.Verified)
	assert.Equal(t, []int64{100_000, second.Size, 7, 1}, []int64{good.RawSize, good.Size, good.Rows, int64(good.Tables)})
	assert.True(t, good.Time.Equal(second.Started))
	var names []string
	for _, s := range good.Stages {
		names = append(names, s.Name)
		assert.True(t, s.OK)
	}
	assert.Equal(t, []string{"sweep", "preflight", "dump", "publish", "verify", "scrub", "replicate", "retain"}, names)
	assert.False(t, bad.OK || bad.Published)
	assert.Equal(t, "dump", bad.Stage)
	assert.Contains(t, bad.Error, "the server went away")
	assert.Less(t, len(bad.Error), historyText+10)
	assert.Equal(t, RunStage{"dump", false, bad.Stages[2].TookMS}, bad.Stages[2])
	assert.Len(t, mustHistory(t, j, 2), 2)

	s := j.Stats()
	assert.Equal(t, []uint64{4, 2, 1, 0, 1}, []uint64{s.Runs, s.Good, s.Failed, s.Incomplete, s.Locked})
	assert.Equal(t, StageCounts{Dump: 1}, s.FailedAt)
	assert.Equal(t, []uint64{200_000, uint64(first.Size + second.Size), 14}, []uint64{s.RawBytes, s.Bytes, s.Rows})
	assert.False(t, s.Running)
	assert.True(t, s.LastGood.Equal(second.Started))
}

// A power cut leaves half a line, or zeros where the file system had made room.
func TestHistoryTorn(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newFake(1), nil)
	for range 3 {
		mustBackup(t, j)
	}
	path := filepath.Join(folder.Path(), historyName)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for _, torn := range [][]byte{
		whole[:len(whole)-1], // all but its end: it is whole
		whole[:len(whole)-2],
		whole[:last+1],
		append(bytes.Clone(whole[:last+20]), make([]byte, 300)...),
		append(bytes.Clone(whole[:last]), "\n\n{}\nnull\n[1]\n"...),
	} {
		require.NoError(t, os.WriteFile(path, torn, 0o600))
		want := 2
		if len(torn) == len(whole)-1 {
			want = 3
		}
		assert.Len(t, mustHistory(t, j, 0), want)
		m := mustBackup(t, j)
		runs := mustHistory(t, j, 0)
		require.Len(t, runs, want+1, "after %q", torn)
		assert.Equal(t, m.ID, runs[0].ID)
	}
}

// Where the folder of the backups is what is broken, the history beside it says so.
func TestHistoryElsewhere(t *testing.T) {
	t.Parallel()
	beside, err := NewFolder(filepath.Join(t.TempDir(), "history"))
	require.NoError(t, err)
	j, folder := newTestJob(t, newFake(1), &Options{History: beside})
	require.NoError(t, os.WriteFile(folder.Path(), []byte("no folder"), 0o600))
	_, err = j.Backup(t.Context())
	require.Error(t, err)
	require.NoError(t, os.Remove(folder.Path()))
	mustBackup(t, j)
	runs := mustHistory(t, j, 0)
	require.Len(t, runs, 2)
	assert.Equal(t, "lock", runs[1].Stage)
	assert.NoFileExists(t, filepath.Join(folder.Path(), historyName))
}

// bare is a storage of a third party that can store files and nothing else.
type bare struct{ Storage }

func (bare) Abilities() Abilities { return Abilities{} }

// Every storage keeps a history, also one without abilities.
func TestHistoryOfOtherStorages(t *testing.T) {
	t.Parallel()
	_, folder := newTestJob(t, newFake(1), nil)
	j, err := New("pos", newFake(1), bare{folder}, &Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	mustBackup(t, j)
	mustBackup(t, j)
	assert.Len(t, mustHistory(t, j, 0), 2)
	status, err := j.Status(t.Context())
	require.NoError(t, err)
	assert.True(t, status.Last.OK)
	assert.EqualValues(t, -1, status.Free)
}

// A crash between the two writes of a rotation leaves lines in both files.
func TestHistoryRotation(t *testing.T) {
	t.Parallel()
	j, folder := newTestJob(t, newFake(1), nil)
	const written = 150 // 3 MB
	for i := range written {
		line := Run{Time: time.Date(2026, 1, 1, 2, 0, i, 0, time.UTC), ID: fmt.Sprint("pos_", i), OK: true, Host: strings.Repeat("x", 20_000)}
		require.NoError(t, (&run{Job: j}).appendHistory(t.Context(), line))
	}
	older, err := os.ReadFile(filepath.Join(folder.Path(), historyOlder))
	require.NoError(t, err)
	m := mustBackup(t, j)
	runs := mustHistory(t, j, 0)
	assert.Equal(t, m.ID, runs[0].ID)
	assert.Greater(t, len(runs), historyLimit/22_000, "the older file is gone too")
	assert.Less(t, len(runs), written)
	assert.Len(t, mustHistory(t, j, 5), 5)
	for _, name := range []string{historyName, historyOlder} {
		info, err := os.Stat(filepath.Join(folder.Path(), name))
		require.NoError(t, err)
		assert.Less(t, info.Size(), int64(historyLimit+30_000))
	}
	require.NoError(t, os.WriteFile(filepath.Join(folder.Path(), historyName), older, 0o600))
	assert.Len(t, mustHistory(t, j, 0), bytes.Count(older, []byte("\n")))
}

// Two jobs' processes that share a history of its own write one after the other.
func TestHistoryConcurrent(t *testing.T) {
	t.Parallel()
	beside, err := NewFolder(filepath.Join(t.TempDir(), "history"))
	require.NoError(t, err)
	j, _ := newTestJob(t, newFake(1), &Options{History: beside})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 5 {
				line := Run{Time: time.Date(2026, 1, 1, 2, i, k, 0, time.UTC), ID: fmt.Sprint("pos_", i, "_", k)}
				if err := (&run{Job: j}).appendHistory(t.Context(), line); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	assert.Len(t, mustHistory(t, j, 0), 40)
}
