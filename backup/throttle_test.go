package backup

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestThrottle(t *testing.T) {
	t.Parallel()
	_, folder := newTestJob(t, newFake(1), nil)
	s := Throttle(folder, 100_000, 50_000)
	assert.NotNil(t, s.Abilities().Lock, "what wraps a storage keeps its abilities")
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b"} { // one line for both
			wg.Go(func() {
				_, err := s.Put(t.Context(), name, func(w io.Writer) error {
					_, err := w.Write(make([]byte, 500_000))
					return err
				})
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.InDelta(t, 10, time.Since(start).Seconds(), 0.3)
		start = time.Now()
		r, err := s.Open(t.Context(), "a")
		require.NoError(t, err)
		n, err := io.Copy(io.Discard, r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		assert.EqualValues(t, 500_000, n)
		assert.InDelta(t, 10, time.Since(start).Seconds(), 0.3)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = s.Put(ctx, "c", func(w io.Writer) error {
			_, err := w.Write(make([]byte, 500_000))
			return err
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.InDelta(t, 11, time.Since(start).Seconds(), 0.3)
	})
	free := Throttle(folder, 0, 0)
	require.NoError(t, putIn(t.Context(), free, "d", make([]byte, 1<<20)))
}
