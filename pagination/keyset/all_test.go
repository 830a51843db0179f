package keyset

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// doubled returns the numbers from 1 to n. Each of twins is there twice.
func doubled(n int64, twins ...int64) SeekerFunc[int64] {
	var rows []int64
	for i := int64(1); i <= n; i++ {
		rows = append(rows, i)
		for _, twin := range twins {
			if i == twin {
				rows = append(rows, i)
			}
		}
	}
	return func(ctx context.Context, q Seek) ([]int64, error) { return memorySeek(&rows)(ctx, q) }
}

// Two rows with the same keys are an error, also if a batch ends between them.
func TestAllSeesTwins(t *testing.T) {
	t.Parallel()
	k := numberKeyset(t)
	read := func(source SeekerFunc[int64], size int) (n int, err error) {
		for _, err = range k.All(t.Context(), source, &AllOptions{Batch: size}) {
			if err == nil {
				n++
			}
		}
		return n, err
	}
	for _, size := range []int{1, 2, 3, 7, 0} {
		for twin := int64(1); twin <= 12; twin++ {
			_, err := read(doubled(12, twin), size)
			require.ErrorIs(t, err, ErrWalk, "batch %d, twin %d", size, twin)
		}
		n, err := read(doubled(12), size)
		require.NoError(t, err)
		assert.Equal(t, 12, n)
	}
	_, err := read(doubled(1500, 1000), 0)
	require.ErrorIs(t, err, ErrWalk)
}
