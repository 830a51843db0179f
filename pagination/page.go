package pagination

import (
	"net/http"
	"strconv"

	"github.com/mainstay-go/mainstay/pagination/internal/web"
)

// Page is one page of a list by page number. Its JSON always has all these fields, in this
// order. Only count_exact is absent if the total is exact.
type Page[T any] struct {
	Count       Total  `json:"count"`                 // rows in the whole list; null if not counted
	TotalPages  Total  `json:"total_pages"`           // at least 1; null if not counted
	CurrentPage int64  `json:"current_page"`          // from 1
	PageSize    int    `json:"page_size"`             // the size used, after default and maximum
	Next        Link   `json:"next"`                  // null on the last page
	Previous    Link   `json:"previous"`              // null on the first page
	Results     []T    `json:"results"`               // never null
	CountExact  *False `json:"count_exact,omitempty"` // nil if Count is exact
	// Ignored names the parameters with a corrected value, and the unknown and repeated
	// ones. [Page.Write] puts them into the header X-Ignored-Parameters.
	Ignored []string `json:"-"`

	unpaginated bool
	number      *PageNumber
	links       web.Linker
}

// False is the JSON value false. A field of type *False is false or absent.
type False struct{}

// MarshalJSON writes false.
func (False) MarshalJSON() ([]byte, error) { return []byte("false"), nil }

// UnmarshalJSON accepts any value: only the presence of the field counts.
func (*False) UnmarshalJSON([]byte) error { return nil }

// Write responds 200 with the page as JSON, and with the headers of [Links].Headers. Links
// contain "&" and not its escape \u0026. An unpaginated list is written as a bare array.
// If a row cannot be encoded, the response is that of [WriteError]. Log the error.
func (p *Page[T]) Write(w http.ResponseWriter) error {
	web.WriteIgnored(w.Header(), p.Ignored)
	if p.unpaginated {
		return web.WriteJSON(w, p.Results, WriteError)
	}
	if p.number != nil && p.number.base.Headers {
		h := web.HeaderLinks{First: string(p.pageURL(1)), Prev: string(p.Previous), Next: string(p.Next)}
		if p.Count.Precision == Exact {
			h.Last = string(p.pageURL(p.TotalPages.N))
		}
		h.Write(w.Header())
		writeTotal(w.Header(), p.Count)
	}
	return web.WriteJSON(w, p, WriteError)
}

// Window returns the links to the pages around this page, as [PageWindow] selects them. It
// is nil if the total is unknown or no paginator made the page.
func (p *Page[T]) Window() []PageLink {
	if p.number == nil || p.Count.Precision == Unknown {
		return nil
	}
	return pageLinks(PageWindow(p.CurrentPage, p.TotalPages.N), p.CurrentPage, p.pageURL)
}

func (p *Page[T]) pageURL(number int64) Link {
	if number == 1 {
		return Link(p.links.Link(p.number.first))
	}
	return Link(p.links.Link(nil, web.Pair{Name: p.number.pageParam, Value: strconv.FormatInt(number, 10)}))
}

func pageLinks(window []int64, current int64, url func(int64) Link) []PageLink {
	links := make([]PageLink, len(window))
	for i, n := range window {
		if n != Break {
			links[i] = PageLink{Number: n, URL: string(url(n)), Active: n == current}
		}
	}
	return links
}

func writeTotal(h http.Header, t Total) {
	if t.Precision != Unknown {
		h.Set("X-Total-Count", strconv.FormatInt(t.N, 10))
	}
}

// notExact is the count_exact field of a page with that total.
func notExact(t Total) *False {
	if t.Precision == Exact {
		return nil
	}
	return &False{}
}
