package pagination

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func items(n int) Slice[int] {
	s := make(Slice[int], n)
	for i := range s {
		s[i] = i + 1
	}
	return s
}

// request is what a server makes of a URL; the query is taken as it was sent.
func request(target string) *http.Request {
	path, query, _ := strings.Cut(target, "?")
	r := httptest.NewRequest(http.MethodGet, "http://testserver"+path, nil)
	r.URL.RawQuery = query
	return r
}

func mustPageNumber(t testing.TB, preset Preset, opts *PageNumberOptions) *PageNumber {
	t.Helper()
	p, err := NewPageNumber(preset, opts)
	require.NoError(t, err)
	return p
}

func mustLimitOffset(t testing.TB, preset Preset, opts *LimitOffsetOptions) *LimitOffset {
	t.Helper()
	p, err := NewLimitOffset(preset, opts)
	require.NoError(t, err)
	return p
}

// outcome is a page of either style, read back from the bytes that a client gets.
type outcome struct {
	Status   int
	Detail   string  `json:"detail"`
	Count    *int64  `json:"count"`
	Next     *string `json:"next"`
	Previous *string `json:"previous"`
	Results  []int   `json:"results"`
	Pages    []int64
	body     string
	header   http.Header
}

type written interface {
	Write(http.ResponseWriter) error
	Window() []PageLink
}

func answer(t testing.TB, page written, err error) outcome {
	t.Helper()
	rec := httptest.NewRecorder()
	var got outcome
	if err != nil {
		WriteError(rec, err)
	} else {
		require.NoError(t, page.Write(rec))
		for _, l := range page.Window() {
			got.Pages = append(got.Pages, l.Number)
			if l.Number == Break {
				assert.Empty(t, l.URL)
			} else {
				assert.NotEmpty(t, l.URL)
			}
		}
	}
	got.body, got.header = rec.Body.String(), rec.Header()
	if !strings.HasPrefix(got.body, "[") {
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &got), got.body)
	}
	got.Status = rec.Code
	assert.NotContains(t, got.body, `\u0026`)
	return got
}

func byPage(t testing.TB, p *PageNumber, source Lister[int], url string) outcome {
	t.Helper()
	page, err := Paginate(request(url), p, source)
	return answer(t, page, err)
}

func byOffset(t testing.TB, p *LimitOffset, source Lister[int], url string) outcome {
	t.Helper()
	page, err := PaginateOffset(request(url), p, source)
	return answer(t, page, err)
}

// exchange is a request, and what Django REST Framework answered when it was run.
type exchange struct {
	Kind   string   `json:"kind"`
	URL    string   `json:"url"`
	Status int      `json:"status"`
	Detail string   `json:"detail"`
	Pages  []*int64 `json:"pages"`
	Body   struct {
		Count    *int64  `json:"count"`
		Next     *string `json:"next"`
		Previous *string `json:"previous"`
		Results  []int   `json:"results"`
	} `json:"body"`
}

func exchanges(t *testing.T, file string) []exchange {
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var list []exchange
	require.NoError(t, json.Unmarshal(data, &list))
	require.NotEmpty(t, list)
	return list
}

func (x exchange) pages() []int64 {
	var pages []int64
	for _, n := range x.Pages {
		if n == nil {
			pages = append(pages, Break)
		} else {
			pages = append(pages, *n)
		}
	}
	return pages
}

// setups are the paginators and lists that the exchanges were produced with.
func setups(t *testing.T) map[string]func(t testing.TB, url string) outcome {
	numbers := mustPageNumber(t, Preset{Size: 5, MaxSize: 20}, nil)
	fixed := mustPageNumber(t, Preset{Size: 5, MaxSize: 20}, &PageNumberOptions{SizeParam: "-"})
	limits := mustLimitOffset(t, Preset{Size: 10, MaxSize: 15}, nil)
	optional := mustLimitOffset(t, Preset{Size: Unpaginated, MaxSize: 15}, nil)
	fromZero := func(n int) Slice[int] {
		s := items(n)
		for i := range s {
			s[i]--
		}
		return s
	}
	return map[string]func(t testing.TB, url string) outcome{
		"page_number(size 5, max 20, 100 items)":      func(t testing.TB, url string) outcome { return byPage(t, numbers, items(100), url) },
		"page_number empty set":                       func(t testing.TB, url string) outcome { return byPage(t, numbers, items(0), url) },
		"page_number 5 items, size 5":                 func(t testing.TB, url string) outcome { return byPage(t, numbers, fromZero(5), url) },
		"page_number 6 items, size 5":                 func(t testing.TB, url string) outcome { return byPage(t, numbers, fromZero(6), url) },
		"page_number without page_size_query_param":   func(t testing.TB, url string) outcome { return byPage(t, fixed, items(100), url) },
		"limit_offset(default 10, max 15, 100 items)": func(t testing.TB, url string) outcome { return byOffset(t, limits, items(100), url) },
		"limit_offset empty set":                      func(t testing.TB, url string) outcome { return byOffset(t, limits, items(0), url) },
		"limit_offset default None":                   func(t testing.TB, url string) outcome { return byOffset(t, optional, items(100), url) },
	}
}

func TestDjangoRESTFramework(t *testing.T) {
	kinds := setups(t)
	for _, x := range exchanges(t, "testdata/drf_pagination.json") {
		t.Run(x.Kind+" "+x.URL, func(t *testing.T) {
			run := kinds[x.Kind]
			require.NotNil(t, run, "unknown set-up")
			got := run(t, x.URL)
			// The two deviations that the package's comment states.
			switch x.URL {
			case "/?page=1_0":
				assert.Equal(t, 404, got.Status)
				return
			case "/?limit=5&offset=101":
				previous := "http://testserver/?limit=5&offset=95"
				x.Body.Previous = &previous
			}
			compare(t, x, got)
		})
	}
}

// TestDjangoRESTFrameworkRandom replays what testdata/drf_random.py made up: repeated
// parameters, numbers of all shapes, broken escapes, odd paths.
func TestDjangoRESTFrameworkRandom(t *testing.T) {
	kinds := setups(t)
	for _, x := range exchanges(t, "testdata/drf_random.json") {
		t.Run(x.Kind+" "+x.URL, func(t *testing.T) {
			got := kinds[x.Kind](t, x.URL)
			if strings.HasPrefix(x.Kind, "limit_offset") && x.Body.Previous != nil && len(x.Body.Results) == 0 {
				// Past the end DRF links to one page before, which is past the end as
				// well; here the link leads back to the last full page.
				require.NotNil(t, got.Previous)
				back := kinds[x.Kind](t, strings.TrimPrefix(*got.Previous, "http://testserver"))
				assert.Nil(t, back.Next)
				assert.Equal(t, *x.Body.Count > 0, len(back.Results) > 0)
				x.Body.Previous, x.Pages = got.Previous, nil
				got.Pages = nil
			}
			compare(t, x, got)
		})
	}
}

func compare(t *testing.T, want exchange, got outcome) {
	t.Helper()
	require.Equal(t, want.Status, got.Status, got.body)
	assert.Equal(t, want.Detail, got.Detail)
	assert.Equal(t, want.Body.Count, got.Count)
	assert.Equal(t, want.Body.Next, got.Next)
	assert.Equal(t, want.Body.Previous, got.Previous)
	assert.Equal(t, want.Body.Results, got.Results)
	assert.Equal(t, want.pages(), got.Pages)
}

// An offset near the end of the integers is far past the end, not the first page.
func TestWindowAtTheGreatestOffset(t *testing.T) {
	got := byOffset(t, mustLimitOffset(t, Preset{Size: 10, MaxSize: 15}, nil), items(100), "/?limit=1&offset=9223372036854775807")
	assert.Equal(t, []int64{1, Break, 98, 99, 100}, got.Pages)
}

// TestOwnPaginator is a paginator that says that there is one item.
func TestOwnPaginator(t *testing.T) {
	t.Parallel()
	first := Source[int]{
		ListFunc:  func(context.Context, int, int64) ([]int, error) { return []int{1}, nil },
		CountFunc: func(context.Context) (int64, error) { return 1, nil },
	}
	got := byPage(t, mustPageNumber(t, Preset{Size: 5}, nil), first, "/")
	assert.Equal(t, []int{1}, got.Results)
	assert.Nil(t, got.Next)
	assert.Nil(t, got.Previous)
	assert.EqualValues(t, 1, *got.Count)
	assert.Equal(t, []int64{1}, got.Pages)
}
