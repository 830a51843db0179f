package pagination

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAttach(t *testing.T) {
	t.Parallel()
	type parent struct {
		id       int
		children []string
	}
	parents := make([]parent, 2500)
	for i := range parents {
		parents[i].id = i / 2
	}
	var calls []int
	err := Attach(
		t.Context(), parents,
		func(p parent) (int, bool) { return p.id, p.id != 7 },
		func(_ context.Context, ids []int) (map[int][]string, error) {
			calls = append(calls, len(ids))
			return GroupBy([]string{"0", "7", "42", "42"}, func(s string) int { n, _ := strconv.Atoi(s); return n }), nil
		},
		func(p *parent, children []string) { p.children = children },
	)
	require.NoError(t, err)
	assert.Equal(t, []int{1000, 249}, calls)
	assert.Equal(t, []string{"42", "42"}, parents[85].children)
	assert.Nil(t, parents[14].children, "a row without a key gets nothing")
	assert.Nil(t, parents[9].children)

	fail := errors.New("lost")
	require.ErrorIs(t, Attach(t.Context(), parents, func(p parent) (int, bool) { return p.id, true },
		func(context.Context, []int) (map[int]int, error) { return nil, fail }, func(*parent, int) {}), fail)
	require.NoError(t, Attach(t.Context(), parents, func(parent) (int, bool) { return 0, false },
		func(context.Context, []int) (map[int]int, error) { return nil, fail }, func(*parent, int) {}))

	in, args := In([]int{1, 2})
	assert.Equal(t, "(?, ?)", in)
	assert.Equal(t, []any{1, 2}, args)
	in, _ = In([]int{})
	assert.Equal(t, "(NULL)", in)
}
