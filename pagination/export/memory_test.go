package export_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/export"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// TestExportMemory reads a long list and sees that memory does not grow with it.
func TestExportMemory(t *testing.T) {
	cursors, err := keyset.NewCursors(keyset.EphemeralKeyRing(), nil)
	require.NoError(t, err)
	k, err := keyset.New("rows", pagination.Preset{Size: 5}, cursors, []keyset.Column[int64]{
		{Name: "id", Expr: "id", Unique: true, Value: func(n int64) any { return n }},
	}, nil)
	require.NoError(t, err)
	const total = 2_000_000
	source := keyset.SeekerFunc[int64](func(_ context.Context, q keyset.Seek) ([]int64, error) {
		var from int64
		if len(q.After) > 0 {
			from = q.After[0].Any().(int64)
		}
		rows := make([]int64, 0, q.Limit)
		for n := from + 1; n <= total && len(rows) < q.Limit; n++ {
			rows = append(rows, n)
		}
		return rows, nil
	})
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	written, err := export.WriteNDJSON(discard{}, k.All(t.Context(), source, nil), &export.Options[int64]{Every: total / 4, Progress: func(int64, int64) error {
		runtime.GC()
		runtime.ReadMemStats(&now)
		assert.Less(t, int64(now.HeapAlloc)-int64(before.HeapAlloc), int64(8<<20))
		return nil
	}})
	require.NoError(t, err)
	assert.EqualValues(t, total, written)
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
