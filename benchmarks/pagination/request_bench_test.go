package pagination_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/mainstay-go/mainstay/pagination"
)

// BenchmarkParse reads page and size out of a request. The target is at most 120 ns
// without an allocation.
func BenchmarkParse(b *testing.B) {
	numbered := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/sales?category=3&page=2&page_size=25&search=flat+white", nil)
	b.Run("mainstay", func(b *testing.B) {
		pager, err := pagination.NewPageNumber(pagination.Standard, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if req, err := pager.Parse(numbered); err != nil || req.Number != 2 || req.Size != 25 {
				b.Fatal(req, err)
			}
		}
	})
	b.Run("net-url", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			query := numbered.URL.Query()
			page, err1 := strconv.Atoi(query.Get("page"))
			size, err2 := strconv.Atoi(query.Get("page_size"))
			if err1 != nil || err2 != nil || page != 2 || size != 25 {
				b.Fatal(page, size)
			}
		}
	})
	skipped := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/sales?category=3&limit=25&offset=50&search=flat+white", nil)
	b.Run("mainstay-offset", func(b *testing.B) {
		pager, err := pagination.NewLimitOffset(pagination.Standard, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if req, err := pager.Parse(skipped); err != nil || req.Offset != 50 || req.Limit != 25 {
				b.Fatal(req, err)
			}
		}
	})
}

// BenchmarkLink writes the link to the next page and keeps the other parameters.
func BenchmarkLink(b *testing.B) {
	const url = "http://shop.example/sales?category=3&page=2&page_size=25&search=flat+white"
	const next = "http://shop.example/sales?category=3&page=3&page_size=25&search=flat+white"
	b.Run("mainstay", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got := pagination.ReplaceQueryParam(url, "page", "3"); got != next {
				b.Fatal(got)
			}
		}
	})
	b.Run("net-url", func(b *testing.B) {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
		b.ReportAllocs()
		for b.Loop() {
			u := *r.URL
			query := u.Query()
			query.Set("page", "3")
			u.RawQuery = query.Encode()
			if got := u.String(); got != next {
				b.Fatal(got)
			}
		}
	})
}
