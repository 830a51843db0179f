package backup

import (
	"bytes"
	"errors"
	"io"
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
	unlock, err := folder.Lock(t.Context())
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
	assert.Equal(t, []string{"sweep", "preflight", "dump", "publish", "verify", "replicate", "retain"}, names)
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
	dir := filepath.Join(t.TempDir(), "history")
	j, folder := newTestJob(t, newFake(1), &Options{HistoryDir: dir})
	require.NoError(t, os.WriteFile(folder.Path(), []byte("no folder"), 0o600))
	_, err := j.Backup(t.Context())
	require.Error(t, err)
	require.NoError(t, os.Remove(folder.Path()))
	mustBackup(t, j)
	runs := mustHistory(t, j, 0)
	require.Len(t, runs, 2)
	assert.Equal(t, "lock", runs[1].Stage)
	assert.NoFileExists(t, filepath.Join(folder.Path(), historyName))
}

// A storage that cannot append has no history unless it is told where.
func TestHistoryOfOtherStorages(t *testing.T) {
	t.Parallel()
	_, folder := newTestJob(t, newFake(1), nil)
	plain := struct{ Storage }{folder}
	j, err := New("pos", newFake(1), plain, &Options{Logger: silent})
	require.NoError(t, err)
	mustBackup(t, j)
	_, err = j.History(t.Context(), 0)
	require.ErrorIs(t, err, ErrNoHistory)

	j, err = New("pos", newFake(1), plain, &Options{Logger: silent, HistoryDir: t.TempDir()})
	require.NoError(t, err)
	mustBackup(t, j)
	assert.Len(t, mustHistory(t, j, 0), 1)
}

func TestHistoryRotation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _ := newTestJob(t, newFake(1), &Options{HistoryDir: dir})
	line := Run{Time: time.Date(2026, 1, 1, 2, 0, 0, 0, time.UTC), ID: "pos_old", OK: true, Host: strings.Repeat("x", 20_000)}
	var wg sync.WaitGroup
	const writers, each = 8, 20 // 3.2 MB, in three rotations
	for range writers {
		wg.Go(func() {
			for range each {
				if err := appendHistory(t.Context(), dir, line); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	m := mustBackup(t, j)
	runs := mustHistory(t, j, 0)
	assert.Equal(t, m.ID, runs[0].ID)
	assert.Greater(t, len(runs), historyLimit/22_000, "the older file is gone too")
	assert.Less(t, len(runs), writers*each)
	assert.Len(t, mustHistory(t, j, 5), 5)
	size := int64(0)
	for _, name := range []string{historyName, historyOlder} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		size += info.Size()
	}
	assert.Less(t, size, int64(2*historyLimit+50_000))
}
