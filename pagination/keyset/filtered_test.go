package keyset

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
)

// TestFiltered walks lists of which a part may be seen, there and back.
func TestFiltered(t *testing.T) {
	t.Parallel()
	all := make([]int64, 400)
	for i := range all {
		all[i] = int64(i + 1)
	}
	k, err := New("rows", pagination.Preset{Size: 5}, mustCursors(t, EphemeralKeyRing(), nil), []Column[int64]{
		{Name: "id", Expr: "id", Unique: true, Value: func(n int64) any { return n }},
	}, nil)
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		seen   func(int64) bool
		rounds int
		whole  bool // every page but the last is full
	}{
		"all":              {func(int64) bool { return true }, 0, true},
		"every other":      {func(n int64) bool { return n%2 == 0 }, 0, true},
		"every 20th":       {func(n int64) bool { return n%20 == 0 }, 0, true},
		"the first":        {func(n int64) bool { return n == 1 }, 0, false},
		"the last":         {func(n int64) bool { return n == 400 }, 0, false},
		"none":             {func(int64) bool { return false }, 0, false},
		"all, one round":   {func(int64) bool { return true }, 1, true},
		"few, one round":   {func(n int64) bool { return n%50 == 1 }, 1, false},
		"some, two rounds": {func(n int64) bool { return n%7 == 3 }, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			want := []int64{}
			for _, n := range all {
				if tc.seen(n) {
					want = append(want, n)
				}
			}
			queries := 0
			source := SeekerFunc[int64](func(ctx context.Context, q Seek) ([]int64, error) {
				queries++
				return memorySeek(&all)(ctx, q)
			})
			get := func(url pagination.Link) *Page[int64] {
				queries = 0
				page, err := k.PaginateFiltered(
					httptest.NewRequest(http.MethodGet, string(url), nil), source,
					func(_ context.Context, rows []int64) ([]bool, error) {
						keep := make([]bool, len(rows))
						for i, n := range rows {
							keep[i] = tc.seen(n)
						}
						return keep, nil
					}, &FilterOptions{Rounds: tc.rounds},
				)
				require.NoError(t, err)
				require.NotNil(t, page.Results)
				assert.LessOrEqual(t, queries, max(tc.rounds, 5))
				return page
			}
			there, back := []int64{}, []int64{}
			page := get("http://testserver/")
			for pages := 1; ; pages++ {
				require.Less(t, pages, 200)
				there = append(there, page.Results...)
				if page.Next == "" {
					break
				}
				if tc.whole {
					require.Len(t, page.Results, 5)
				}
				page = get(page.Next)
			}
			assert.Equal(t, want, there)
			for pages := 1; ; pages++ {
				require.Less(t, pages, 200)
				back = append(slices.Clone(page.Results), back...)
				if page.Previous == "" {
					break
				}
				page = get(page.Previous)
			}
			assert.Equal(t, want, back)
		})
	}

	refused := errors.New("the policy server is down")
	_, err = k.PaginateFiltered(httptest.NewRequest(http.MethodGet, "/", nil), memorySeek(&all), func(context.Context, []int64) ([]bool, error) { return nil, refused }, nil)
	require.ErrorIs(t, err, refused)
	_, err = k.PaginateFiltered(httptest.NewRequest(http.MethodGet, "/", nil), SeekerFunc[int64](func(context.Context, Seek) ([]int64, error) { return nil, refused }), nil, nil)
	require.ErrorIs(t, err, refused)
}

// Two rows with the same keys are an error, also if a round ends between them.
func TestFilteredSeesTwins(t *testing.T) {
	t.Parallel()
	k := numberKeyset(t)
	for twin := int64(1); twin <= 60; twin++ {
		source := doubled(60, twin)
		var err error
		for url := "/"; url != "" && err == nil; {
			var page *Page[int64]
			page, err = k.PaginateFiltered(httptest.NewRequest(http.MethodGet, url, nil), source, func(_ context.Context, rows []int64) ([]bool, error) {
				keep := make([]bool, len(rows))
				for i, n := range rows {
					keep[i] = n == twin || n > 50
				}
				return keep, nil
			}, nil)
			if err == nil {
				url = string(page.Next)
			}
		}
		require.ErrorIs(t, err, ErrWalk, "twin %d", twin)
	}
}

func numberKeyset(t testing.TB) *Keyset[int64] {
	t.Helper()
	k, err := New("rows", pagination.Preset{Size: 5}, mustCursors(t, EphemeralKeyRing(), nil), []Column[int64]{
		{Name: "id", Expr: "id", Unique: true, Value: func(n int64) any { return n }},
	}, nil)
	require.NoError(t, err)
	return k
}
