package pagination

import (
	"context"
	"math"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each parameter without effect is in the page, in the header and in the trace. A strict
// paginator rejects it, except one of a tracker.
func TestIgnoredParameters(t *testing.T) {
	t.Parallel()
	var traced []string
	trace := &Trace{Page: func(_ context.Context, e PageEvent) { traced = e.Ignored }}
	filters := []string{"status"}
	numbers := func(strict bool) *PageNumber {
		return mustPageNumber(t, Preset{Size: 5, MaxSize: 20}, &PageNumberOptions{FilterParams: filters, OutOfRange: LastPage, Strict: strict, Trace: trace})
	}
	offsets := func(strict bool) *LimitOffset {
		return mustLimitOffset(t, Preset{Size: 5, MaxSize: 20}, &LimitOffsetOptions{FilterParams: filters, Strict: strict, Trace: trace})
	}
	for _, c := range []struct {
		numbers  bool
		url      string
		want     []string
		header   string
		accepted bool // by a strict paginator
	}{
		{true, "/?page=2&page_size=7&status=1", nil, "", true},
		{true, "/?page_size=abc", []string{"page_size"}, "page_size", false},
		{true, "/?page_size=0", []string{"page_size"}, "page_size", false},
		{true, "/?page_size=21", []string{"page_size"}, "page_size", false},
		{true, "/?page_size=", []string{"page_size"}, "page_size", false},
		{true, "/?page=1&page=2", []string{"page"}, "page", false},
		{true, "/?page_size=7&page_size=x", []string{"page_size"}, "page_size", false},
		{true, "/?pagesize=7&stauts=1", []string{"pagesize", "stauts"}, "pagesize, stauts", false},
		{true, "/?a%0D%0Ab=7&é=", []string{"a\r\nb", "é"}, "a%0D%0Ab, %C3%A9", false},
		{true, "/?utm_source=mail&gclid=1&status=2&status=3", []string{"gclid", "utm_source"}, "gclid, utm_source", true},
		{true, "/?page=99", []string{"page"}, "page", true},
		{true, "/?limit=7&x=1&x=2", []string{"limit", "x"}, "limit, x", false},
		{false, "/?limit=7&offset=3&status=1", nil, "", true},
		{false, "/?limit=x&offset=y", []string{"limit", "offset"}, "limit, offset", false},
		{false, "/?limit=21", []string{"limit"}, "limit", false},
		{false, "/?offset=-1&page=2", []string{"offset", "page"}, "offset, page", false},
		{false, "/?offset=1&offset=2&fbclid=x", []string{"fbclid", "offset"}, "fbclid, offset", false},
	} {
		run := byPage
		traced = nil
		var got, strict outcome
		if c.numbers {
			page, err := Paginate(request(c.url), numbers(false), Lister[int](items(50)))
			require.NoError(t, err, c.url)
			assert.Equal(t, c.want, page.Ignored, c.url)
			assert.Equal(t, c.want, traced, c.url)
			got, strict = answer(t, page, err), run(t, numbers(true), items(50), c.url)
		} else {
			page, err := PaginateOffset(request(c.url), offsets(false), Lister[int](items(50)))
			require.NoError(t, err, c.url)
			assert.Equal(t, c.want, page.Ignored, c.url)
			assert.Equal(t, c.want, traced, c.url)
			got, strict = answer(t, page, err), byOffset(t, offsets(true), items(50), c.url)
		}
		assert.Equal(t, c.header, got.header.Get("X-Ignored-Parameters"), c.url)
		if c.accepted {
			assert.Equal(t, 200, strict.Status, c.url)
		} else {
			assert.Equal(t, 400, strict.Status, c.url)
			assert.Contains(t, strict.body, `"parameter":"`, c.url)
		}
	}
	// Without FilterParams every other parameter may be a filter.
	page, err := Paginate(request("/?anything=1&utm_source=x"), mustPageNumber(t, Standard, nil), Lister[int](items(3)))
	require.NoError(t, err)
	assert.Equal(t, []string{"utm_source"}, page.Ignored)
	lenient, err := Paginate(request("/?page=x"), mustPageNumber(t, Standard, &PageNumberOptions{LenientPage: true}), Lister[int](items(3)))
	require.NoError(t, err)
	assert.Equal(t, []string{"page"}, lenient.Ignored)
	whole, err := Paginate(request("/?page_size=x"), mustPageNumber(t, Preset{Size: Unpaginated}, nil), Lister[int](items(3)))
	require.NoError(t, err)
	rec := httptest.NewRecorder()
	require.NoError(t, whole.Write(rec))
	assert.Equal(t, "page_size", rec.Header().Get("X-Ignored-Parameters"))
}

// Without HTTP a size above the maximum is reduced and named, or rejected in strict mode.
func TestIgnoredSizes(t *testing.T) {
	t.Parallel()
	preset := Preset{Size: 5, MaxSize: 20}
	page, err := Read(t.Context(), mustPageNumber(t, preset, nil), PageRequest{Size: math.MaxInt32}, Lister[int](items(50)))
	require.NoError(t, err)
	assert.Equal(t, 20, page.PageSize)
	assert.Equal(t, []string{"page_size"}, page.Ignored)
	_, err = Read(t.Context(), mustPageNumber(t, preset, &PageNumberOptions{Strict: true}), PageRequest{Size: 21}, Lister[int](items(50)))
	require.ErrorIs(t, err, ErrInvalidParameter)
	offset, err := ReadOffset(t.Context(), mustLimitOffset(t, preset, nil), OffsetRequest{Limit: 21}, Lister[int](items(50)))
	require.NoError(t, err)
	assert.Len(t, offset.Results, 20)
	assert.Equal(t, []string{"limit"}, offset.Ignored)
	_, err = ReadOffset(t.Context(), mustLimitOffset(t, preset, &LimitOffsetOptions{Strict: true}), OffsetRequest{Limit: 21}, Lister[int](items(50)))
	require.ErrorIs(t, err, ErrInvalidParameter)
}

// A tracking parameter makes no further count, and each policy has its own.
func TestRememberedCountKeys(t *testing.T) {
	t.Parallel()
	kept := map[string]int64{}
	remember := func(ctx context.Context, key string, _ time.Duration, load func(context.Context) (int64, error)) (int64, error) {
		if n, ok := kept[key]; ok {
			return n, nil
		}
		n, err := load(ctx)
		kept[key] = n
		return n, err
	}
	read := func(policy CountPolicy, url string) Total {
		p := mustPageNumber(t, Preset{Size: 5, MaxSize: 20}, &PageNumberOptions{Count: policy.Remembered(time.Minute, remember), Resource: "items"})
		page, err := Paginate(request(url), p, Lister[int](items(50)))
		require.NoError(t, err)
		return page.Count
	}
	assert.Equal(t, Total{N: 10, Precision: AtLeast}, read(CountCapped(10), "/?f=1"))
	assert.Equal(t, Total{N: 50}, read(CountPolicy{}, "/?f=1"))
	assert.Equal(t, Total{N: 50}, read(CountPolicy{}, "/?f=1&utm_source=mail&page=2"))
	assert.Len(t, kept, 2)
}
