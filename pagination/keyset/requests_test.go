package keyset

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
)

// numbers is a keyset of rows that are numbers.
func numbers(t testing.TB, opts *Options) *Keyset[int64] {
	t.Helper()
	k, err := New("rows", pagination.Preset{Size: 2, MaxSize: 50}, mustCursors(t, EphemeralKeyRing(), nil), []Column[int64]{
		{Name: "id", Expr: "id", Unique: true, Value: func(n int64) any { return n }},
	}, opts)
	require.NoError(t, err)
	return k
}

func TestHugeQuery(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.URL.RawQuery = "page=2&x=" + strings.Repeat("a", 10<<20)
	k := numbers(t, nil)
	assert.False(t, k.Wants(r))
	_, err := k.Paginate(r, SeekerFunc[int64](func(context.Context, Seek) ([]int64, error) {
		t.Error("the list was read")
		return nil, nil
	}))
	require.ErrorIs(t, err, pagination.ErrInvalidParameter)
}

func TestTrace(t *testing.T) {
	t.Parallel()
	var events []pagination.PageEvent
	k := numbers(t, &Options{Trace: &pagination.Trace{Page: func(_ context.Context, e pagination.PageEvent) { events = append(events, e) }}})
	rows := []int64{1, 2, 3}
	_, err := k.Paginate(httptest.NewRequest(http.MethodGet, "/?page_size=x&utm_source=mail&ordering=password", nil), memorySeek(&rows))
	require.NoError(t, err)
	require.Len(t, events, 1)
	events[0].Took = 0
	assert.Equal(t, pagination.PageEvent{
		Style: "cursor", Size: 2, Rows: 2, Total: pagination.Total{Precision: pagination.Unknown},
		Ignored: []string{"ordering", "page_size", "utm_source"},
	}, events[0])

	first, last := 3, 1
	_, err = k.Connection(t.Context(), memorySeek(&rows), ConnectionArgs{First: &first, Last: &last, Ordering: "password"})
	require.NoError(t, err)
	_, err = k.Connection(t.Context(), memorySeek(&rows), ConnectionArgs{After: "forged"})
	require.ErrorIs(t, err, ErrInvalidCursor)
	doc, err := k.JSONAPI(httptest.NewRequest(http.MethodGet, "/?page[size]=2&utm_source=mail", nil), memorySeek(&rows))
	require.NoError(t, err)
	_, err = k.Page(t.Context(), memorySeek(&rows), Query{Size: 1, Ordering: "password"})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	require.NoError(t, doc.Write(w))
	assert.Equal(t, "utm_source", w.Header().Get("X-Ignored-Parameters"))
	for i, want := range []pagination.PageEvent{{Size: 1, Rows: 1, Ignored: []string{"ordering"}}, {}, {Size: 2, Rows: 2, Ignored: []string{"utm_source"}}, {Size: 1, Rows: 1, Ignored: []string{"ordering"}}} {
		got := events[i+1]
		assert.Equal(t, i == 1, got.Err != nil)
		want.Style, want.Total.Precision, want.Took, want.Err = "cursor", pagination.Unknown, got.Took, got.Err
		assert.Equal(t, want, got)
	}
}

// TestLastPage jumps to the end and walks back.
func TestLastPage(t *testing.T) {
	t.Parallel()
	rows := []int64{1, 2, 3, 4, 5}
	k := numbers(t, nil)
	page, err := k.Page(t.Context(), memorySeek(&rows), Query{Token: LastPage})
	require.NoError(t, err)
	assert.Equal(t, []int64{4, 5}, page.Rows)
	assert.Empty(t, page.Next)
	page, err = k.Page(t.Context(), memorySeek(&rows), Query{Token: page.Previous})
	require.NoError(t, err)
	assert.Equal(t, []int64{2, 3}, page.Rows)
	page, err = k.Page(t.Context(), memorySeek(&rows), Query{Token: page.Next})
	require.NoError(t, err)
	assert.Equal(t, []int64{4, 5}, page.Rows)
}

// A tracking parameter changes no filter, and another one does.
func TestTrackingParameters(t *testing.T) {
	t.Parallel()
	rows := []int64{1, 2, 3, 4, 5}
	k := numbers(t, nil)
	page, err := k.Paginate(httptest.NewRequest(http.MethodGet, "http://h/", nil), memorySeek(&rows))
	require.NoError(t, err)
	_, err = k.Paginate(httptest.NewRequest(http.MethodGet, string(page.Next)+"&utm_campaign=x&gclid=1", nil), memorySeek(&rows))
	require.NoError(t, err)
	_, err = k.Paginate(httptest.NewRequest(http.MethodGet, string(page.Next)+"&status=1", nil), memorySeek(&rows))
	require.ErrorIs(t, err, ErrInvalidCursor)
}
