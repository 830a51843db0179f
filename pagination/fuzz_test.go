package pagination

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination/internal/web"
)

// FuzzParse sends any query string. No answer may be an internal error, no size may
// exceed its maximum, and links must lead to the same list: the same parameters.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "page=2&page_size=25", "page=last", "page=%zz;&a;b=1", "page=9223372036854775808", "limit=-1&offset=1e9",
		"p%61ge=%2B2&page=\x00", "page_size=%F0%9F", "=&&=&flag", "limit=5&offset=1000", "page=1_0",
	} {
		f.Add(seed)
	}
	numbers := mustPageNumber(f, Preset{Size: 5, MaxSize: 20}, nil)
	strict := mustPageNumber(f, Preset{Size: 5, MaxSize: 20}, &PageNumberOptions{Strict: true})
	limits := mustLimitOffset(f, Preset{Size: 5, MaxSize: 20}, nil)
	list := items(100)
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "http://testserver/", nil)
		r.URL.RawQuery = query
		check := func(err error, size int, links ...Link) {
			t.Helper()
			if err != nil {
				rec := httptest.NewRecorder()
				WriteError(rec, err)
				require.Contains(t, []int{400, 404, 414}, rec.Code)
				return
			}
			require.LessOrEqual(t, size, 20)
			for _, l := range links {
				if l == "" {
					continue
				}
				u, err := url.Parse(string(l))
				require.NoError(t, err)
				require.Equal(t, "testserver", u.Host)
				parsed, err := url.ParseQuery(u.RawQuery)
				require.NoError(t, err, "a link that net/url does not read: %s", l)
				for _, p := range web.SortedPairs(query) {
					if p.Name != "page" && p.Name != "limit" && p.Name != "offset" {
						require.Contains(t, parsed[p.Name], p.Value)
					}
				}
			}
		}
		page, err := Paginate(r, numbers, Lister[int](list))
		if err == nil {
			check(nil, len(page.Results), page.Next, page.Previous)
		} else {
			check(err, 0)
		}
		_, err = strict.Parse(r)
		check(err, 0)
		offset, err := PaginateOffset(r, limits, Lister[int](list))
		if err == nil {
			check(nil, len(offset.Results), offset.Next, offset.Previous)
		} else {
			check(err, 0)
		}
	})
}
