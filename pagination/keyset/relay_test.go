package keyset

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/internal/web"
)

func TestRelayConnection(t *testing.T) {
	t.Parallel()
	rows := []int64{1, 2, 3, 4, 5, 6, 7}
	source := memorySeek(&rows)
	k, err := New("rows", pagination.Preset{Size: 3, MaxSize: 5}, mustCursors(t, EphemeralKeyRing(), nil), []Column[int64]{
		{Name: "id", Expr: "id", Unique: true, Value: func(n int64) any { return n }},
	}, nil)
	require.NoError(t, err)
	number := func(n int) *int { return &n }
	nodes := func(c *Connection[int64]) (list []int64) {
		for _, e := range c.Edges {
			list = append(list, e.Node)
		}
		return list
	}
	first, err := k.Connection(t.Context(), source, ConnectionArgs{First: number(3)})
	require.NoError(t, err)
	assert.Equal(t, []int64{1, 2, 3}, nodes(first))
	assert.True(t, first.PageInfo.HasNextPage)
	assert.False(t, first.PageInfo.HasPreviousPage)
	assert.Equal(t, first.Edges[2].Cursor, *first.PageInfo.EndCursor)

	second, err := k.Connection(t.Context(), source, ConnectionArgs{First: number(9), After: *first.PageInfo.EndCursor})
	require.NoError(t, err)
	assert.Equal(t, []int64{4, 5, 6, 7}, nodes(second))
	assert.False(t, second.PageInfo.HasNextPage)
	assert.True(t, second.PageInfo.HasPreviousPage)

	last, err := k.Connection(t.Context(), source, ConnectionArgs{Last: number(2)})
	require.NoError(t, err)
	assert.Equal(t, []int64{6, 7}, nodes(last), "the order does not flip")
	assert.True(t, last.PageInfo.HasPreviousPage)
	back, err := k.Connection(t.Context(), source, ConnectionArgs{Last: number(9), Before: *last.PageInfo.StartCursor})
	require.NoError(t, err)
	assert.Equal(t, []int64{1, 2, 3, 4, 5}, nodes(back))
	assert.False(t, back.PageInfo.HasPreviousPage)
	assert.True(t, back.PageInfo.HasNextPage)

	none, err := k.Connection(t.Context(), source, ConnectionArgs{First: number(0)})
	require.NoError(t, err)
	assert.Empty(t, none.Edges)
	assert.True(t, none.PageInfo.HasNextPage)
	assert.Nil(t, none.PageInfo.StartCursor)
	data, err := web.EncodeJSON(none)
	require.NoError(t, err)
	assert.JSONEq(t, `{"edges":[],"pageInfo":{"hasNextPage":true,"hasPreviousPage":false,"startCursor":null,"endCursor":null},"totalCount":null}`, string(data))

	for _, args := range []ConnectionArgs{
		{First: number(-1)},
		{Last: number(-1)},
		{First: number(1), Before: "x"},
		{After: "x"},
		{Before: "x"},
		{After: *first.PageInfo.EndCursor, Scope: "another tenant"},
		{After: *first.PageInfo.EndCursor, Ordering: "-id"},
	} {
		_, err := k.Connection(t.Context(), source, args)
		var refused *pagination.RequestError
		require.ErrorAs(t, err, &refused, "%+v", args)
	}
}

// PageInfo follows the algorithm of the specification: the edges between the cursors are
// counted, before first and last.
func TestRelayPageInfo(t *testing.T) {
	t.Parallel()
	rows := []int64{1, 2, 3, 4, 5}
	k, source := numberKeyset(t), memorySeek(&rows)
	whole, err := k.Connection(t.Context(), source, ConnectionArgs{})
	require.NoError(t, err)
	for before := 0; before <= 5; before++ {
		for first := 0; first <= 5; first++ {
			for last := 0; last <= 5; last++ {
				args, n := ConnectionArgs{First: &first, Last: &last}, before
				if before < 5 {
					args.Before = whole.Edges[before].Cursor
				}
				c, err := k.Connection(t.Context(), source, args)
				require.NoError(t, err)
				assert.Equal(t, n > last, c.PageInfo.HasPreviousPage, "before %d, first %d, last %d", before, first, last)
				assert.Equal(t, n > first, c.PageInfo.HasNextPage, "before %d, first %d, last %d", before, first, last)
				assert.Len(t, c.Edges, min(n, first, last))
			}
		}
	}
}
