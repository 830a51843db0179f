package keyset

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/internal/web"
)

// Page is one page of a keyset list over HTTP. Its JSON has these fields in this order.
type Page[T any] struct {
	Next     pagination.Link   `json:"next"`            // null at the end
	Previous pagination.Link   `json:"previous"`        // null at the beginning
	Count    *pagination.Total `json:"count,omitempty"` // absent unless Options.Count is set
	Results  []T               `json:"results"`         // never null
	// CountExact is false when the count is not exact, and absent otherwise.
	CountExact *pagination.False `json:"count_exact,omitempty"`
	// Ignored names the parameters with a corrected value, and the unknown and repeated
	// ones. [Page.Write] puts them into the header X-Ignored-Parameters.
	Ignored []string `json:"-"`

	first, last string
	headers     bool
}

// Write writes status 200 and the page as JSON, with the headers of pagination.Links.Headers.
// If a row cannot be encoded, the response is that of [pagination.WriteError]. Log the error.
func (p *Page[T]) Write(w http.ResponseWriter) error {
	web.WriteIgnored(w.Header(), p.Ignored)
	if p.headers {
		if p.Count != nil && p.Count.Precision != pagination.Unknown {
			w.Header().Set("X-Total-Count", strconv.FormatInt(p.Count.N, 10))
		}
		web.HeaderLinks{First: p.first, Prev: string(p.Previous), Next: string(p.Next), Last: p.last}.Write(w.Header())
	}
	return web.WriteJSON(w, p, pagination.WriteError)
}

// Paginate reads the requested page. "?cursor=last" is the last page. The error is a
// [pagination.RequestError] for a fault of the client, a [WalkError] if the source breaks
// the order, and the error of the source otherwise. [pagination.WriteError] writes all
// three.
func (k *Keyset[T]) Paginate(r *http.Request, source Seeker[T]) (*Page[T], error) {
	return k.paginate(r, source, nil)
}

func (k *Keyset[T]) paginate(r *http.Request, source Seeker[T], only *filter[T]) (*Page[T], error) {
	p, links, err := k.request(r)
	if err != nil {
		return nil, err
	}
	found, err := k.page(r.Context(), source, p, only, func() string {
		return web.CountKey(k.resource, k.tenant(r), k.params.Filter(nil, links.Pairs))
	})
	if err != nil {
		return nil, err
	}
	page := &Page[T]{Results: found.Rows, Ignored: found.Ignored, headers: k.base.Headers}
	if k.counted {
		page.Count = new(found.Total)
		if found.Total.Precision != pagination.Exact {
			page.CountExact = &pagination.False{}
		}
	}
	before, behind := links.Frame(k.cursorParam)
	link := func(token string) pagination.Link {
		if token == "" {
			return ""
		}
		return pagination.Link(before + token + behind)
	}
	page.Next, page.Previous = link(found.Next), link(found.Previous)
	if page.headers {
		page.first, page.last = links.Link([]string{k.cursorParam}), string(link(LastPage))
	}
	return page, nil
}

// request reads the parameters of a request.
func (k *Keyset[T]) request(r *http.Request) (p pageRequest, links web.Linker, err error) {
	raw := r.URL.RawQuery
	order, ignored, err := k.requestOrder(r)
	if err != nil {
		return p, links, err
	}
	p.order = order
	if ignored {
		p.ignored = append(p.ignored, k.orderingParam)
	}
	p.size = k.preset.Size
	if value, ok := web.Lookup(raw, k.sizeParam); ok && k.sizeParam != "" {
		n, ok := web.Positive(value, 1, int64(k.most()))
		if ok {
			p.size = int(n)
		}
		if exact, _ := web.ParseInt(value); !ok || exact != n {
			if k.strict {
				return p, links, k.sizeError()
			}
			p.ignored = append(p.ignored, k.sizeParam)
		}
	}
	links, reason := web.NewLinker(&k.base, r)
	if reason != "" {
		return p, links, &pagination.RequestError{
			Status: http.StatusBadRequest, Detail: "Invalid host.",
			Problem: k.strict, Kind: pagination.ErrInvalidParameter, Reason: reason,
		}
	}
	names, rejected, why := k.params.Ignored(links.Pairs)
	if k.strict && rejected != "" {
		return p, links, invalidParameter(rejected, why)
	}
	for _, name := range names {
		if !slices.Contains(p.ignored, name) {
			p.ignored = append(p.ignored, name)
		}
	}
	var buf [128]byte
	p.scope = k.newScope(p.order, string(k.params.Filter(buf[:0], links.Pairs)), k.tenant(r))
	p.token = web.Value(links.Pairs, k.cursorParam)
	return p, links, nil
}

// RequestOrder returns the requested order, for a list by page number over the same source.
func (k *Keyset[T]) RequestOrder(r *http.Request) (Order, error) {
	order, _, err := k.requestOrder(r)
	return order, err
}

func (k *Keyset[T]) requestOrder(r *http.Request) (Order, bool, error) {
	if len(r.URL.RawQuery) > web.MaxQuery {
		return Order{}, false, &pagination.RequestError{
			Status: http.StatusRequestURITooLong, Detail: "Query string too long.",
			Problem: k.strict, Kind: pagination.ErrInvalidParameter, Reason: "query string of more than 16 KiB",
		}
	}
	if k.orderingParam == "" {
		return k.initial, false, nil
	}
	return k.ordering(web.QueryValue(r.URL.RawQuery, k.orderingParam))
}

// Wants reports whether a request has the cursor parameter, even an empty one. Use it for a
// list that otherwise serves pages by number.
func (k *Keyset[T]) Wants(r *http.Request) bool {
	if len(r.URL.RawQuery) > web.MaxQuery {
		return false
	}
	_, ok := web.Lookup(r.URL.RawQuery, k.cursorParam)
	return ok
}

func (k *Keyset[T]) tenant(r *http.Request) string {
	if k.scope == nil {
		return ""
	}
	return k.scope(r)
}
