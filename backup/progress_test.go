package backup

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
)

func TestProgress(t *testing.T) {
	t.Parallel()
	const piece, pieces = 10_000, 500
	source := newFake(3)
	source.dump = func(w io.Writer) error {
		for i := range pieces {
			time.Sleep(10 * time.Millisecond) // in the bubble: 1 MB/s
			if _, err := w.Write(make([]byte, piece)); err != nil {
				return err
			}
			driver.RowsTo(w)(int64(i + 1))
		}
		return nil
	}
	var events []Progress
	j, _ := newTestJob(t, source, &Options{Trace: &Trace{Progress: func(_ context.Context, p Progress) { events = append(events, p) }}})
	synctest.Test(t, func(t *testing.T) {
		m := mustBackup(t, j)
		require.Equal(t, "sweep", events[0].Stage)
		assert.Equal(t, "retain", events[len(events)-1].Stage)
		dump := 0
		var before Progress
		for _, p := range events {
			assert.Equal(t, m.ID, p.ID)
			assert.GreaterOrEqual(t, p.Raw, before.Raw)
			if p.Stage == "dump" {
				dump++
				if _, known := p.Remaining(); known {
					t.Error("there is no backup to go by")
				}
			}
			if p.Stage == "dump" && p.Raw > 0 {
				assert.InDelta(t, 1e6, p.Rate, 1e5)
				assert.GreaterOrEqual(t, p.Took-before.Took, progressEvery)
			}
			before = p
		}
		assert.Equal(t, int64(piece*pieces), before.Raw)
		assert.Equal(t, int64(pieces), before.Rows)
		assert.True(t, dump >= 20 && dump <= 26, "%d events in 5 s", dump)

		events = nil
		mustBackup(t, j)
		for _, p := range events {
			if left, known := p.Remaining(); known {
				assert.Equal(t, m.RawSize, p.Expected)
				assert.InDelta(t, (5*time.Second - p.Took).Seconds(), left.Seconds(), 0.6)
				return
			}
		}
		t.Error("no event knows what remains")
	})
}

// A restore tells how far it is, of a size that is known.
func TestProgressOfRestore(t *testing.T) {
	t.Parallel()
	var events []Progress
	j, _ := newTestJob(t, newFake(3), nil)
	m := mustBackup(t, j)
	j.opts.Trace = &Trace{Progress: func(_ context.Context, p Progress) { events = append(events, p) }}
	_, err := j.Restore(t.Context(), m.ID, "x", nil)
	require.NoError(t, err)
	require.NotEmpty(t, events)
	assert.Equal(t, "restore", events[0].Stage)
	assert.Equal(t, m.RawSize, events[0].Expected)
}
