package pagination

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const at = "http://testserver/"

func text(s string) *string { return &s }

func TestPageNumberRules(t *testing.T) {
	t.Parallel()
	p := mustPageNumber(t, Preset{Size: 5, MaxSize: 20}, nil)
	for _, tc := range []struct {
		url      string
		first    int // first item; 0 = refused with 404
		next     string
		previous string
	}{
		{"/?page=", 1, at + "?page=2", ""},
		{"/?page=last", 96, "", at + "?page=19"},
		{"/?page=-1", 0, "", ""},
		{"/?page=2.0", 0, "", ""},
		{"/?page=21", 0, "", ""},
		{"/?page=99999999999999999999", 0, "", ""},
		{"/?page=9223372036854775808", 0, "", ""},
		{"/?page=9223372036854775807", 0, "", ""},
		{"/?page=-0", 0, "", ""},
		{"/?page=%2B2", 6, at + "?page=3", at},
		{"/?page=%092%0A", 6, at + "?page=3", at},
		{"/?page=%C2%A02", 6, at + "?page=3", at},
		{"/?page=002", 6, at + "?page=3", at},
		{"/?page=" + strings.Repeat("0", 500) + "2", 6, at + "?page=3", at},
		{"/?page=%D9%A2", 0, "", ""}, // an Arabic-Indic 2
		{"/?page=2%00", 0, "", ""},
		{"/?page=%zz", 0, "", ""},
		{"/?page=3&page=", 1, at + "?page=2", ""},
		{"/?p%61ge=2", 6, at + "?page=3", at},
		{"/?page_size=0", 1, at + "?page=2&page_size=0", ""},
		{"/?page_size=abc", 1, at + "?page=2&page_size=abc", ""},
		{"/?page_size=10&page=10", 91, "", at + "?page=9&page_size=10"},
		{"/?page=2&filter=even", 6, at + "?filter=even&page=3", at + "?filter=even"},
		{"/?page=2&filter=", 6, at + "?filter=&page=3", at + "?filter="},
		{"/?q=a+b&page=2", 6, at + "?page=3&q=a+b", at + "?q=a+b"},
		{"/?q=%zz&page=2", 6, at + "?page=3&q=%25zz", at + "?q=%25zz"},
		{"/?a;b=1&page=2", 6, at + "?a%3Bb=1&page=3", at + "?a%3Bb=1"},
	} {
		got := byPage(t, p, items(100), tc.url)
		if tc.first == 0 {
			assert.Equal(t, 404, got.Status, tc.url)
			assert.JSONEq(t, `{"detail":"Invalid page."}`, got.body)
			continue
		}
		require.Equal(t, 200, got.Status, tc.url)
		assert.Equal(t, tc.first, got.Results[0], tc.url)
		assert.Equal(t, link(tc.next), got.Next, tc.url)
		assert.Equal(t, link(tc.previous), got.Previous, tc.url)
	}
}

func link(s string) *string {
	if s == "" {
		return nil
	}
	return text(s)
}

func TestLimitOffsetRules(t *testing.T) {
	t.Parallel()
	p := mustLimitOffset(t, Preset{Size: 10, MaxSize: 15}, nil)
	for _, tc := range []struct {
		url            string
		rows           int
		next, previous string
	}{
		{"/?limit=5", 5, "?limit=5&offset=5", ""},
		{"/?limit=5&offset=5", 5, "?limit=5&offset=10", "?limit=5"},
		{"/?limit=5&offset=95", 5, "", "?limit=5&offset=90"},
		{"/?limit=5&offset=100", 0, "", "?limit=5&offset=95"},
		{"/?limit=5&offset=1000", 0, "", "?limit=5&offset=95"},
		{"/?limit=5&offset=99999999999999999999", 0, "", "?limit=5&offset=95"},
		{"/?offset=-1", 10, "?limit=10&offset=10", ""},
		{"/?limit=0", 10, "?limit=10&offset=10", ""},
		{"/?limit=11235&offset=50", 15, "?limit=15&offset=65", "?limit=15&offset=35"},
		{"/?limit=9223372036854775808", 15, "?limit=15&offset=15", ""},
	} {
		got := byOffset(t, p, items(100), tc.url)
		require.Equal(t, 200, got.Status, tc.url)
		assert.Len(t, got.Results, tc.rows, tc.url)
		for want, have := range map[string]*string{tc.next: got.Next, tc.previous: got.Previous} {
			if want == "" {
				continue
			}
			assert.Equal(t, text("http://testserver/"+want), have, tc.url)
		}
		assert.Equal(t, tc.next == "", got.Next == nil, tc.url)
		assert.Equal(t, tc.previous == "", got.Previous == nil, tc.url)
	}
}

func TestFieldOrderAndBytes(t *testing.T) {
	t.Parallel()
	p := mustPageNumber(t, Preset{Size: 5, MaxSize: 20}, nil)
	page, err := Paginate(request("/?a=1&page=2"), p, Lister[string](Slice[string]{"a", "b", "c", "d", "e", "<b> & co"}))
	require.NoError(t, err)
	rec := httptest.NewRecorder()
	require.NoError(t, page.Write(rec))
	assert.Equal(t, `{"count":6,"total_pages":2,"current_page":2,"page_size":5,"next":null,"previous":"http://testserver/?a=1","results":["<b> & co"]}`+"\n", rec.Body.String())

	got := byPage(t, p, Slice[int](nil), "/")
	assert.Equal(t, `{"count":0,"total_pages":1,"current_page":1,"page_size":5,"next":null,"previous":null,"results":[]}`+"\n", got.body)

	// A page can be kept in a cache as JSON and read back.
	data, err := json.Marshal(page)
	require.NoError(t, err)
	var back Page[string]
	require.NoError(t, json.Unmarshal(data, &back))
	assert.Equal(t, page.Count, back.Count)
	assert.Equal(t, page.Previous, back.Previous)
	assert.Equal(t, page.Results, back.Results)

	got = byPage(t, mustPageNumber(t, Preset{Size: Unpaginated}, nil), items(3), "/")
	assert.Equal(t, "[1,2,3]\n", got.body)
	got = byOffset(t, mustLimitOffset(t, Preset{Size: Unpaginated}, nil), items(3), "/")
	assert.Equal(t, "[1,2,3]\n", got.body)
}

// untouchable fails the test when the list is read.
type untouchable struct {
	Slice[int]
	t testing.TB
}

func (u untouchable) List(context.Context, int, int64) ([]int, error) {
	u.t.Error("the list was read for a page that does not exist")
	return nil, nil
}

func TestMissingPageIsNotRead(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"/?page=3", "/?page=9223372036854775807", "/?page=0"} {
		_, err := Paginate(request(url), mustPageNumber(t, Preset{Size: 5}, nil), Lister[int](untouchable{items(10), t}))
		require.ErrorIs(t, err, ErrInvalidPage)
	}
	page, err := PaginateOffset(request("/?offset=10"), mustLimitOffset(t, Preset{Size: 5}, nil), Lister[int](untouchable{items(10), t}))
	require.NoError(t, err)
	assert.Empty(t, page.Results)
}

func TestOutOfRange(t *testing.T) {
	t.Parallel()
	empty := mustPageNumber(t, Preset{Size: 5}, &PageNumberOptions{OutOfRange: Empty})
	got := byPage(t, empty, items(12), "/?page=9")
	assert.Equal(t, 200, got.Status)
	assert.Empty(t, got.Results)
	assert.Nil(t, got.Next)
	assert.Equal(t, text(at+"?page=3"), got.Previous)

	last := mustPageNumber(t, Preset{Size: 5}, &PageNumberOptions{OutOfRange: LastPage})
	got = byPage(t, last, items(12), "/?page=9")
	assert.Equal(t, []int{11, 12}, got.Results)
}

func TestLenientPage(t *testing.T) {
	t.Parallel()
	p := mustPageNumber(t, Preset{Size: 5, MaxSize: 20}, &PageNumberOptions{LenientPage: true})
	for _, query := range []string{"/?page=0", "/?page=-3", "/?page=x", "/?page=1.5", "/?page=0&page_size=5"} {
		got := byPage(t, p, items(12), query)
		assert.Equal(t, 200, got.Status, query)
		assert.Equal(t, []int{1, 2, 3, 4, 5}, got.Results, query)
	}
	assert.Equal(t, 404, byPage(t, p, items(12), "/?page=9").Status, "a page past the last one is the matter of OutOfRange")
	assert.Equal(t, []int{11, 12}, byPage(t, p, items(12), "/?page=last").Results)
	_, err := NewPageNumber(Standard, &PageNumberOptions{LenientPage: true, Strict: true})
	require.Error(t, err)
}

func TestStrict(t *testing.T) {
	t.Parallel()
	p := mustPageNumber(t, Preset{Size: 5, MaxSize: 20}, &PageNumberOptions{Strict: true})
	l := mustLimitOffset(t, Preset{Size: 5, MaxSize: 20}, &LimitOffsetOptions{Strict: true})
	for _, tc := range []struct {
		url       string
		got       outcome
		parameter string
	}{
		{"page=0", byPage(t, p, items(9), "/?page=0"), "page"},
		{"page=3", byPage(t, p, items(9), "/?page=3"), "page"},
		{"size", byPage(t, p, items(9), "/?page_size=abc"), "page_size"},
		{"size 0", byPage(t, p, items(9), "/?page_size=0"), "page_size"},
		{"size 21", byPage(t, p, items(9), "/?page_size=21"), "page_size"},
		{"limit", byOffset(t, l, items(9), "/?limit=-1"), "limit"},
		{"limit 21", byOffset(t, l, items(9), "/?limit=21"), "limit"},
		{"offset", byOffset(t, l, items(9), "/?offset=x"), "offset"},
	} {
		assert.Equal(t, 400, tc.got.Status, tc.url)
		assert.Equal(t, "application/problem+json", tc.got.header.Get("Content-Type"), tc.url)
		assert.Contains(t, tc.got.body, `"parameter":"`+tc.parameter+`"`, tc.url)
		assert.Contains(t, tc.got.body, `"status":400`, tc.url)
	}
	assert.Equal(t, 200, byPage(t, p, items(9), "/?page=2&page_size=5").Status)
}

func TestHugeQuery(t *testing.T) {
	t.Parallel()
	r := request("/")
	r.URL.RawQuery = "page=2&x=" + strings.Repeat("a", 10<<20)
	_, err := Paginate(r, mustPageNumber(t, Standard, nil), Lister[int](items(100)))
	var refused *RequestError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, http.StatusRequestURITooLong, refused.Status)
	require.ErrorIs(t, err, ErrInvalidParameter)
	_, err = PaginateOffset(r, mustLimitOffset(t, Standard, nil), Lister[int](items(100)))
	require.ErrorIs(t, err, ErrInvalidParameter)
}

func TestParseDoesNotAllocate(t *testing.T) {
	p := mustPageNumber(t, Standard, nil)
	r := request("/?category=3&page=2&page_size=25&search=caf%C3%A9")
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		req, err := p.Parse(r)
		if err != nil || req.Number != 2 || req.Size != 25 {
			t.Fatal(req, err)
		}
	}))
}

func TestSourceFailure(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial tcp 10.1.2.3: password wrong")
	source := Source[int]{
		CountFunc: func(context.Context) (int64, error) { return 10, nil },
		ListFunc:  func(context.Context, int, int64) ([]int, error) { return nil, secret },
	}
	_, err := Paginate(request("/"), mustPageNumber(t, Standard, nil), Lister[int](source))
	require.ErrorIs(t, err, secret)
	rec := httptest.NewRecorder()
	WriteError(rec, err)
	assert.Equal(t, 500, rec.Code)
	assert.NotContains(t, rec.Body.String(), "10.1.2.3")

	list := ListerFunc[int](items(5).List)
	_, err = Paginate(request("/"), mustPageNumber(t, Standard, nil), Lister[int](list))
	require.ErrorContains(t, err, "no Count method")
}

func TestNonsenseOptions(t *testing.T) {
	t.Parallel()
	for _, preset := range []Preset{{}, {Size: -2}, {Size: 10, MaxSize: 5}, {Size: 1, MaxSize: -1}, {Size: 1<<31 - 1}} {
		_, err := NewPageNumber(preset, nil)
		require.Error(t, err)
		_, err = NewLimitOffset(preset, nil)
		require.Error(t, err)
	}
	for _, o := range []PageNumberOptions{
		{PageParam: "p", SizeParam: "p"},
		{MaxPages: -1},
		{Links: &Links{Base: "/relative"}},
		{Links: &Links{Base: "https://shop.example", Relative: true}},
		{Links: &Links{TrustedProxies: []string{"not an address"}}},
		{Links: &Links{AllowedHosts: []string{"shop.example:80"}}},
		{OutOfRange: 3},
		{FilterParams: []string{"page_size"}},
	} {
		_, err := NewPageNumber(Standard, &o)
		require.Error(t, err, "%+v", o)
	}
	_, err := NewLimitOffset(Standard, &LimitOffsetOptions{LimitParam: "x", OffsetParam: "x"})
	require.Error(t, err)
	_, err = NewLimitOffset(Standard, &LimitOffsetOptions{MaxOffset: -1})
	require.Error(t, err)
	_, err = NewLimitOffset(Standard, &LimitOffsetOptions{FilterParams: []string{"offset"}})
	require.Error(t, err)
}

func TestMaxOffset(t *testing.T) {
	t.Parallel()
	p := mustLimitOffset(t, Standard, &LimitOffsetOptions{MaxOffset: 50})
	assert.Equal(t, 200, byOffset(t, p, items(100), "/?offset=50").Status)
	assert.Equal(t, 400, byOffset(t, p, items(100), "/?offset=51").Status)
	p = mustLimitOffset(t, Preset{Size: 2}, &LimitOffsetOptions{Count: CountNone()})
	assert.Equal(t, 400, byOffset(t, p, items(100), "/?offset=20001").Status)
}

// countingSource counts how often it was counted.
type countingSource struct {
	Slice[int]
	counted, capped *int
}

func (s countingSource) Count(ctx context.Context) (int64, error) {
	*s.counted++
	return s.Slice.Count(ctx)
}

func (s countingSource) CountUpTo(_ context.Context, most int64) (int64, error) {
	*s.capped++
	return min(most, int64(len(s.Slice))), nil
}

func (s countingSource) EstimateCount(context.Context) (int64, error) {
	return int64(len(s.Slice)) * 9 / 10, nil
}

func TestCountPolicies(t *testing.T) {
	t.Parallel()
	page := func(policy CountPolicy, n int, url string) (*Page[int], *int, error) {
		counted := new(int)
		p := mustPageNumber(t, Preset{Size: 10}, &PageNumberOptions{Count: policy, MaxPages: 1000})
		got, err := Paginate(request(url), p, Lister[int](countingSource{items(n), counted, new(int)}))
		return got, counted, err
	}
	got, counted, err := page(CountNone(), 25, "/?page=2")
	require.NoError(t, err)
	assert.Zero(t, *counted)
	assert.Equal(t, Unknown, got.Count.Precision)
	assert.Equal(t, Link(at+"?page=3"), got.Next)
	assert.Nil(t, got.Window())
	rec := httptest.NewRecorder()
	require.NoError(t, got.Write(rec))
	assert.True(t, strings.HasPrefix(rec.Body.String(), `{"count":null,"total_pages":null,"current_page":2,`), rec.Body.String())
	assert.True(t, strings.HasSuffix(rec.Body.String(), `"count_exact":false}`+"\n"), rec.Body.String())

	got, _, err = page(CountNone(), 25, "/?page=3")
	require.NoError(t, err)
	assert.Empty(t, got.Next)
	assert.Len(t, got.Results, 5)
	for _, url := range []string{"/?page=4", "/?page=last", "/?page=1001"} {
		_, _, err = page(CountNone(), 25, url)
		require.ErrorIs(t, err, ErrInvalidPage, url)
	}

	got, _, err = page(CountCapped(50), 70, "/?page=6")
	require.NoError(t, err)
	assert.Equal(t, AtLeast, got.Count.Precision)
	assert.Equal(t, Link(at+"?page=7"), got.Next, "there are pages past the cap")
	got, _, err = page(CountCapped(50), 30, "/?page=last")
	require.NoError(t, err)
	assert.Equal(t, Total{N: 30}, got.Count)
	assert.EqualValues(t, 3, got.CurrentPage)

	got, counted, err = page(CountEstimated(100), 200, "/")
	require.NoError(t, err)
	assert.Equal(t, Total{N: 180, Precision: Estimate}, got.Count)
	assert.Zero(t, *counted)
	got, counted, err = page(CountEstimated(1000), 200, "/")
	require.NoError(t, err)
	assert.Equal(t, Total{N: 200}, got.Count, "small lists are counted")
	assert.Equal(t, 1, *counted)
}

func TestRememberedCount(t *testing.T) {
	t.Parallel()
	kept := map[string]int64{}
	policy := CountPolicy{}.Remembered(time.Minute, func(ctx context.Context, key string, ttl time.Duration, load func(context.Context) (int64, error)) (int64, error) {
		assert.Equal(t, time.Minute, ttl)
		if n, ok := kept[key]; ok {
			return n, nil
		}
		n, err := load(ctx)
		kept[key] = n
		return n, err
	})
	tenant := "a"
	p := mustPageNumber(t, Preset{Size: 10, MaxSize: 100}, &PageNumberOptions{
		Count: policy, Resource: "items", Scope: func(*http.Request) string { return tenant },
	})
	counted := 0
	get := func(n int, url string) (*Page[int], error) {
		return Paginate(request(url), p, Lister[int](countingSource{items(n), &counted, new(int)}))
	}
	for _, url := range []string{"/?f=1", "/?f=1&page=2", "/?page_size=20&f=1", "/?page=last&f=1"} {
		page, err := get(25, url)
		require.NoError(t, err)
		assert.EqualValues(t, 25, page.Count.N)
	}
	assert.Equal(t, 1, counted, "paging parameters are not part of the key")
	_, err := get(25, "/?f=2")
	require.NoError(t, err)
	tenant = "b"
	_, err = get(25, "/?f=2")
	require.NoError(t, err)
	assert.Equal(t, 3, counted, "filter and tenant are")

	// The list grew: pages that the old total does not know are served, and the total
	// follows what was seen. The list shrank: a page that is gone is refused.
	page, err := get(45, "/?f=2&page=4")
	require.NoError(t, err)
	assert.EqualValues(t, 40, page.Count.N)
	assert.EqualValues(t, 4, page.TotalPages.N)
	assert.NotEmpty(t, page.Next)
	page, err = get(12, "/?f=2&page=2")
	require.NoError(t, err)
	assert.Empty(t, page.Next)
	_, err = get(12, "/?f=2&page=3")
	require.ErrorIs(t, err, ErrInvalidPage)
}

func TestLinkTargets(t *testing.T) {
	t.Parallel()
	next := func(links *Links, change func(*http.Request)) (string, error) {
		r := request("/list?b=2")
		r.RemoteAddr = "10.0.0.1:999"
		if change != nil {
			change(r)
		}
		page, err := Paginate(r, mustPageNumber(t, Preset{Size: 5}, &PageNumberOptions{Links: links}), Lister[int](items(10)))
		if err != nil {
			return "", err
		}
		return string(page.Next), nil
	}
	forwarded := func(r *http.Request) {
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("X-Forwarded-Host", "shop.example")
	}
	for _, tc := range []struct {
		name   string
		links  *Links
		change func(*http.Request)
		want   string
	}{
		{"default", nil, nil, "http://testserver/list?b=2&page=2"},
		{"stranger's header", nil, forwarded, "http://testserver/list?b=2&page=2"},
		{"proxy's header", &Links{TrustedProxies: []string{"10.0.0.0/8"}}, func(r *http.Request) {
			r.Header.Set("X-Forwarded-For", "203.0.113.9")
			forwarded(r)
		}, "https://shop.example/list?b=2&page=2"},
		{"other proxy's header", &Links{TrustedProxies: []string{"10.9.0.0/16"}}, forwarded, "http://testserver/list?b=2&page=2"},
		{"base", &Links{Base: "https://shop.example/api/"}, forwarded, "https://shop.example/api/list?b=2&page=2"},
		{"relative", &Links{Relative: true}, nil, "/list?b=2&page=2"},
		{"relative, two slashes", &Links{Relative: true}, func(r *http.Request) { r.URL.Path = "//evil.example/x" }, "/evil.example/x?b=2&page=2"},
		{"allowed", &Links{AllowedHosts: []string{"TestServer"}}, nil, "http://testserver/list?b=2&page=2"},
		{"allowed domain", &Links{AllowedHosts: []string{".example"}}, func(r *http.Request) { r.Host = "a.example:8080" }, "http://a.example:8080/list?b=2&page=2"},
	} {
		got, err := next(tc.links, tc.change)
		require.NoError(t, err, tc.name)
		assert.Equal(t, tc.want, got, tc.name)
	}
	_, err := next(&Links{AllowedHosts: []string{"shop.example"}}, nil)
	require.ErrorIs(t, err, ErrInvalidParameter)
	_, err = next(&Links{AllowedHosts: []string{".shop.example"}}, func(r *http.Request) { r.Host = "evilshop.example" })
	require.ErrorIs(t, err, ErrInvalidParameter)
	// What net/http lets through over HTTP/2.
	for _, host := range []string{
		"evil.example/.shop.example", "evil.example?.shop.example", "evil.example#.shop.example", `evil.example\.shop.example`,
		"evil.example:80@a.shop.example", "a.shop.example:80/x", "a>;.shop.example", "[::1].shop.example", "[evil.shop.example]",
		"a.shop.example:", " a.shop.example", "a.shop.example:80:80", "%61.shop.example", "é.shop.example",
	} {
		for _, links := range []*Links{nil, {AllowedHosts: []string{".shop.example"}}} {
			got, err := next(links, func(r *http.Request) { r.Host = host })
			if host == "a.shop.example:" { // an empty port is one
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, ErrInvalidParameter, "%q: %s", host, got)
		}
	}
	for host, want := range map[string]string{
		"": "/list?b=2&page=2", "127.0.0.1:80": "http://127.0.0.1:80/list?b=2&page=2", "[::1]:80": "http://[::1]:80/list?b=2&page=2",
		"my_service": "http://my_service/list?b=2&page=2", "[::1]": "http://[::1]/list?b=2&page=2",
	} {
		got, err := next(nil, func(r *http.Request) { r.Host = host })
		require.NoError(t, err, host)
		assert.Equal(t, want, got)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	links := &Links{Headers: true}
	p := mustPageNumber(t, Preset{Size: 5}, &PageNumberOptions{Links: links})
	h := byPage(t, p, items(12), "/?page=2").header
	assert.Equal(t, "12", h.Get("X-Total-Count"))
	assert.Equal(t, `<http://testserver/>; rel="first", <http://testserver/>; rel="prev", <http://testserver/?page=3>; rel="next", <http://testserver/?page=3>; rel="last"`, h.Get("Link"))
	h = byPage(t, p, items(2), "/").header
	assert.Equal(t, `<http://testserver/>; rel="first", <http://testserver/>; rel="last"`, h.Get("Link"), "one page has the header too")
	o := mustLimitOffset(t, Preset{Size: 5}, &LimitOffsetOptions{Links: links})
	h = byOffset(t, o, items(12), "/?offset=5").header
	assert.Equal(t, `<http://testserver/?limit=5>; rel="first", <http://testserver/?limit=5>; rel="prev", <http://testserver/?limit=5&offset=10>; rel="next", <http://testserver/?limit=5&offset=10>; rel="last"`, h.Get("Link"))
	// A path may hold what ends a link; the header must not.
	h = byPage(t, p, items(12), "/%3E%3B%20rel=%22x%22").header
	assert.NotContains(t, h.Get("Link"), `>; rel="x"`)
}

func TestTrace(t *testing.T) {
	t.Parallel()
	var events []PageEvent
	trace := &Trace{Page: func(_ context.Context, e PageEvent) { events = append(events, e) }}
	p := mustPageNumber(t, Preset{Size: 5}, &PageNumberOptions{Trace: trace})
	byPage(t, p, items(12), "/?page=3")
	byPage(t, p, items(12), "/?page=4")
	require.Len(t, events, 2)
	assert.Equal(t, "page", events[0].Style)
	assert.EqualValues(t, 10, events[0].Offset)
	assert.Equal(t, 2, events[0].Rows)
	require.ErrorIs(t, events[1].Err, ErrInvalidPage)

	byOffset(t, mustLimitOffset(t, Preset{Size: 5}, &LimitOffsetOptions{Trace: trace}), items(12), "/?offset=3")
	require.Len(t, events, 3)
	for i, want := range []PageEvent{
		{Style: "limit", Size: 5, Offset: 3, Rows: 5, Total: Total{N: 12}},
	} {
		got := events[2+i]
		got.Took = 0
		assert.Equal(t, want, got)
	}
}

func TestQueryParams(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ url, name, value, want string }{
		{"http://h/", "page", "2", "http://h/?page=2"},
		{"http://h", "page", "2", "http://h?page=2"},
		{"http://h/?page=1&page=3", "page", "2", "http://h/?page=2"},
		{"http://h/?flag", "z", "1", "http://h/?flag=&z=1"},
		{"http://h/?a[b]=1&A=2", "z", "1", "http://h/?A=2&a%5Bb%5D=1&z=1"},
		{"http://h/?q=*&r=~.-_", "z", "1", "http://h/?q=%2A&r=~.-_&z=1"},
		{"http://[::1]:8000/?x=1", "z", "1", "http://[::1]:8000/?x=1&z=1"},
		{"http://h/?x=1#frag", "z", "1", "http://h/?x=1&z=1#frag"},
		{"http://h/?q=%zz", "z", "1", "http://h/?q=%25zz&z=1"},
		{"http://h/?a;b=1", "z", "1", "http://h/?a%3Bb=1&z=1"},
		{"http://h/?&&x=1&", "z", "1", "http://h/?x=1&z=1"},
		{"http://h/?=v", "z", "1", "http://h/?=v&z=1"},
		{"http://h/?q=%ff%ff", "z", "1", "http://h/?q=%EF%BF%BD%EF%BF%BD&z=1"},
		{"http://h/?q=%E2%82", "z", "1", "http://h/?q=%EF%BF%BD&z=1"},
		{"http://h/?q=a%2Bb+c", "z", "ä ö", "http://h/?q=a%2Bb+c&z=%C3%A4+%C3%B6"},
	} {
		assert.Equal(t, tc.want, ReplaceQueryParam(tc.url, tc.name, tc.value), tc.url)
	}
	assert.Equal(t, "http://h/?a=1", RemoveQueryParam("http://h/?page=2&a=1&page=3", "page"))
	assert.Equal(t, "http://h/", RemoveQueryParam("http://h/?page=2", "page"))
	assert.Equal(t, "http://h/#f", RemoveQueryParam("http://h/?page=2#f", "page"))
}

func TestPageWindow(t *testing.T) {
	t.Parallel()
	// Django REST Framework's rule, written as it is there: a set, then the breaks.
	reference := func(current, last int64) []int64 {
		if last <= 5 {
			var all []int64
			for n := int64(1); n <= last; n++ {
				all = append(all, n)
			}
			return all
		}
		included := map[int64]bool{1: true, current - 1: true, current: true, current + 1: true, last: true}
		if current <= 4 {
			included[2], included[3] = true, true
		}
		if current >= last-3 {
			included[last-1], included[last-2] = true, true
		}
		var shown []int64
		for n := int64(1); n <= last; n++ {
			if included[n] {
				shown = append(shown, n)
			}
		}
		if current > 4 {
			shown = append(shown[:1], append([]int64{Break}, shown[1:]...)...)
		}
		if current < last-3 {
			end := len(shown) - 1
			shown = append(shown[:end:end], Break, shown[end])
		}
		return shown
	}
	for last := int64(1); last <= 40; last++ {
		for current := int64(1); current <= last; current++ {
			require.Equal(t, reference(current, last), PageWindow(current, last), "%d of %d", current, last)
		}
	}
	assert.Equal(t, []int64{1, Break, 4, 5, 6, Break, 9}, PageWindow(5, 9))
	assert.Equal(t, PageWindow(9, 9), PageWindow(99, 9))
	assert.Equal(t, []int64{1}, PageWindow(0, 0))
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	p := mustPageNumber(t, Standard, nil)
	data, err := json.Marshal(p.OpenAPIResponse(Schema{"type": "array"}))
	require.NoError(t, err)
	var doc struct {
		Type       string
		Required   []string
		Properties map[string]map[string]any
	}
	require.NoError(t, json.NewDecoder(bytes.NewReader(data)).Decode(&doc))
	assert.Equal(t, []string{"count", "results"}, doc.Required)
	assert.Equal(t, map[string]any{"type": "integer", "example": 123.0}, doc.Properties["count"])
	assert.Equal(t, map[string]any{
		"type": "string", "nullable": true, "format": "uri", "example": "http://api.example.org/accounts/?page=4",
	}, doc.Properties["next"])
	l := mustLimitOffset(t, Standard, &LimitOffsetOptions{Count: CountNone()})
	properties := l.OpenAPIResponse(nil)["properties"].(Schema)
	assert.Equal(t, "http://api.example.org/accounts/?offset=400&limit=100", properties["next"].(Schema)["example"])
	assert.Equal(t, true, properties["count"].(Schema)["nullable"])
	assert.Contains(t, properties, "count_exact")
	assert.Len(t, p.OpenAPIParameters(), 2)
	assert.Len(t, l.OpenAPIParameters(), 2)
}

// A remembered count must not let an offset far past every row walk the whole list.
func TestOffsetPastARememberedCount(t *testing.T) {
	t.Parallel()
	remember := func(ctx context.Context, _ string, _ time.Duration, load func(context.Context) (int64, error)) (int64, error) {
		return load(ctx)
	}
	p := mustLimitOffset(t, Small, &LimitOffsetOptions{Count: CountPolicy{}.Remembered(time.Minute, remember)})
	asked := 0
	source := Source[int]{
		ListFunc:  func(context.Context, int, int64) ([]int, error) { asked++; return nil, nil },
		CountFunc: func(context.Context) (int64, error) { return 500_000, nil },
	}
	for offset, want := range map[string]int{"499999": 1, "500000": 0, "9223372036854775807": 0} {
		asked = 0
		got := byOffset(t, p, source, "/?offset="+offset)
		assert.Equal(t, 200, got.Status)
		assert.Equal(t, want, asked, offset)
	}
	source.CountFunc = func(context.Context) (int64, error) { return 5, nil }
	asked = 0
	byOffset(t, p, source, "/?offset=50")
	assert.Equal(t, 1, asked, "rows that came since it was counted")
}
