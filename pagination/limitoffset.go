package pagination

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/mainstay-go/mainstay/pagination/internal/web"
)

// LimitOffsetOptions are the options of [NewLimitOffset].
type LimitOffsetOptions struct {
	// LimitParam is the parameter with the number of rows. Default: "limit".
	LimitParam string
	// OffsetParam is the parameter with the number of rows to skip. Default: "offset".
	OffsetParam string
	// FilterParams names the other parameters of the list, such as its filter. Any further
	// parameter is then in [OffsetPage].Ignored. Default: nil, all except the tracking
	// parameters utm_*, gclid, fbclid and msclkid.
	FilterParams []string
	// MaxOffset rejects larger offsets with [ErrInvalidParameter]. Default: no maximum with
	// an exact count, because offsets past the end then never reach the database; 10,000
	// times the limit with any other count.
	MaxOffset int64
	// Count decides how the total is found. Default: exactly.
	Count CountPolicy
	// Strict rejects values that are corrected otherwise: 400 with a problem document for a
	// bad limit, a bad offset, a limit above the maximum, a repeated paging parameter and a
	// parameter that FilterParams excludes. Default: false; [OffsetPage].Ignored then names
	// the parameters.
	Strict bool
	// Links decides where links point. Default: scheme and host of the request.
	Links *Links
	// Resource names the list in the key of a remembered count. Default: the URL's path.
	Resource string
	// Scope returns anything outside the query string that decides which rows the list has,
	// such as the tenant. It is part of the key of a remembered count. Default: empty.
	Scope func(*http.Request) string
	// Trace is called for each page. Default: nil.
	Trace *Trace
}

// LimitOffset pages a list by ?limit= and ?offset=. It is safe for concurrent use.
type LimitOffset struct {
	preset      Preset
	limitParam  string
	offsetParam string
	params      web.Params
	maxOffset   int64
	count       CountPolicy
	strict      bool
	base        web.LinkBase
	resource    string
	scope       func(*http.Request) string
	trace       *Trace
}

// NewLimitOffset returns a paginator whose default and largest limit are those of the
// preset. opts may be nil.
func NewLimitOffset(preset Preset, opts *LimitOffsetOptions) (*LimitOffset, error) {
	var o LimitOffsetOptions
	if opts != nil {
		o = *opts
	}
	if err := preset.check(); err != nil {
		return nil, err
	}
	p := &LimitOffset{
		preset: preset, limitParam: cmp.Or(o.LimitParam, "limit"), offsetParam: cmp.Or(o.OffsetParam, "offset"),
		maxOffset: o.MaxOffset, count: o.Count, strict: o.Strict, resource: o.Resource, scope: o.Scope, trace: o.Trace,
	}
	if p.limitParam == p.offsetParam {
		return nil, errors.New("pagination: LimitParam and OffsetParam must differ")
	}
	if p.maxOffset < 0 {
		return nil, errors.New("pagination: MaxOffset must be positive")
	}
	var err error
	if p.params, err = web.NewParams(o.FilterParams, p.limitParam, p.offsetParam); err != nil {
		return nil, err
	}
	p.base, err = newLinkBase(o.Links)
	return p, err
}

// OffsetRequest is the request of a client for a page.
type OffsetRequest struct {
	Limit  int   // after default and maximum; [Unpaginated] for the whole list
	Offset int64 // rows to skip

	// Scope names the filter and the tenant in the key of a remembered count. Parse
	// leaves it empty, and only [ReadOffset] uses it.
	Scope string
	// Ignored names the parameters with a corrected value. [ReadOffset] passes it on.
	Ignored []string
}

// Parse reads limit and offset from a request's query string, without allocation. The
// error is a [RequestError].
func (p *LimitOffset) Parse(r *http.Request) (OffsetRequest, error) {
	raw := r.URL.RawQuery
	if err := checkQuery(raw, p.strict); err != nil {
		return OffsetRequest{}, err
	}
	limit, limited := web.Lookup(raw, p.limitParam)
	offset, skipped := web.Lookup(raw, p.offsetParam)
	req := OffsetRequest{Limit: p.preset.Size}
	if limited {
		n, ok := web.Positive(limit, 1, p.preset.most())
		if ok {
			req.Limit = int(n)
		}
		if exact, _ := web.ParseInt(limit); !ok || exact != n {
			if p.strict {
				return OffsetRequest{}, p.limitError()
			}
			req.Ignored = append(req.Ignored, p.limitParam)
		}
	}
	if skipped {
		n, ok := web.Positive(offset, 0, 0)
		if !ok {
			if p.strict {
				return OffsetRequest{}, invalidParameter(p.offsetParam, "The offset must be a whole number of at least 0.")
			}
			req.Ignored = append(req.Ignored, p.offsetParam)
		}
		req.Offset = n
	}
	most := p.maxOffset
	if most == 0 && p.count.precision != Exact && req.Limit > 0 {
		most = 10_000 * int64(req.Limit)
	}
	if most > 0 && req.Offset > most {
		e := &RequestError{
			Status: http.StatusBadRequest, Detail: "The offset must not exceed " + strconv.FormatInt(most, 10) + ".",
			Parameter: p.offsetParam, Problem: p.strict, Kind: ErrInvalidParameter, Reason: "offset past the maximum",
		}
		return OffsetRequest{}, e
	}
	return req, nil
}

// OffsetPage is one page of a list by limit and offset. Its JSON has these fields in this
// order. count_exact is present only if the total is not exact.
type OffsetPage[T any] struct {
	Count      Total  `json:"count"`                 // rows in the whole list; null if not counted
	Next       Link   `json:"next"`                  // null at the end
	Previous   Link   `json:"previous"`              // null at the beginning
	Results    []T    `json:"results"`               // never null
	CountExact *False `json:"count_exact,omitempty"` // nil if Count is exact
	// Ignored names the parameters with a corrected value, and the unknown and repeated
	// ones. [OffsetPage.Write] puts them into the header X-Ignored-Parameters.
	Ignored []string `json:"-"`

	unpaginated bool
	req         OffsetRequest
	pager       *LimitOffset
	links       web.Linker
}

// PaginateOffset reads the requested page. The error is a [RequestError] for a fault of the
// client, and the error of the source otherwise. [WriteError] writes both. An offset past
// an exact total gives an empty page without a query for rows. Its previous link leads to
// the last full page.
func PaginateOffset[T any](r *http.Request, p *LimitOffset, source Lister[T]) (*OffsetPage[T], error) {
	req, err := p.Parse(r)
	if err != nil {
		return nil, err
	}
	links, err := newLinker(&p.base, r, p.strict)
	if err == nil {
		req.Ignored, err = ignored(&p.params, links.Pairs, req.Ignored, p.strict)
	}
	if err != nil {
		return nil, err
	}
	page, more, err := readOffset(r.Context(), p, req, source, func() string {
		scope := ""
		if p.scope != nil {
			scope = p.scope(r)
		}
		return web.CountKey(cmp.Or(p.resource, r.URL.Path), scope, p.params.Filter(nil, links.Pairs))
	})
	if err == nil && !page.unpaginated {
		page.links = links
		page.link(more)
	}
	return page, err
}

// ReadOffset reads a page without HTTP, for gRPC, jobs and tests. The page has no links.
func ReadOffset[T any](ctx context.Context, p *LimitOffset, req OffsetRequest, source Lister[T]) (*OffsetPage[T], error) {
	if req.Limit == 0 {
		req.Limit = p.preset.Size
	}
	if req.Limit < 0 && req.Limit != Unpaginated || req.Offset < 0 {
		return nil, invalidParameter(p.limitParam, "The limit and the offset must not be negative.")
	}
	if int64(req.Limit) > p.preset.most() {
		if p.strict {
			return nil, p.limitError()
		}
		req.Limit, req.Ignored = int(p.preset.most()), append(slices.Clip(req.Ignored), p.limitParam)
	}
	page, _, err := readOffset(ctx, p, req, source, func() string { return web.CountKey(p.resource, req.Scope, nil) })
	return page, err
}

func (p *LimitOffset) limitError() error {
	return invalidParameter(p.limitParam, "The limit must be a whole number from 1 to "+strconv.FormatInt(p.preset.most(), 10)+".")
}

// readOffset also reports whether rows follow the page.
func readOffset[T any](ctx context.Context, p *LimitOffset, req OffsetRequest, source Lister[T], key func() string) (_ *OffsetPage[T], more bool, err error) {
	done := p.trace.begin(ctx, "limit")
	if req.Limit == Unpaginated {
		rows, err := source.List(ctx, NoLimit, 0)
		done(PageEvent{Rows: len(rows), Ignored: req.Ignored, Err: err})
		if err != nil {
			return nil, false, err
		}
		return &OffsetPage[T]{Results: notNil(rows), Ignored: req.Ignored, unpaginated: true}, false, nil
	}
	page := &OffsetPage[T]{Ignored: req.Ignored, req: req, pager: p}
	page.Count, err = p.count.Total(ctx, source, key)
	end := int64(math.MaxInt64) - int64(req.Limit) + 1 // there are no rows from this offset on
	if p.count.precision == Exact {
		end = page.Count.N
		if !p.count.fresh() { // the list may have grown since the count, but not without bound
			end = max(end, 10_000*int64(req.Limit))
		}
	}
	if err == nil && req.Offset < end {
		limit := req.Limit
		if !p.count.fresh() {
			limit++
		}
		page.Results, err = source.List(ctx, limit, req.Offset)
		if more = len(page.Results) > req.Limit; more {
			page.Results = page.Results[:req.Limit]
		}
	}
	done(PageEvent{Size: req.Limit, Ignored: req.Ignored, Offset: req.Offset, Rows: len(page.Results), Total: page.Count, Err: err})
	if err != nil {
		return nil, false, err
	}
	page.Results = notNil(page.Results)
	page.CountExact = notExact(page.Count)
	return page, more, nil
}

func (p *OffsetPage[T]) link(more bool) {
	limit := int64(p.req.Limit)
	if p.pager.count.fresh() {
		more = p.req.Offset < p.Count.N-limit
	}
	if more {
		p.Next = p.offsetURL(p.req.Offset + limit)
	}
	if p.req.Offset > 0 {
		previous := p.req.Offset - limit
		if p.Count.Precision == Exact && p.req.Offset > p.Count.N {
			previous = p.Count.N - limit
		}
		p.Previous = p.offsetURL(previous)
	}
}

func (p *OffsetPage[T]) offsetURL(offset int64) Link {
	limit := web.Pair{Name: p.pager.limitParam, Value: strconv.Itoa(p.req.Limit)}
	if offset <= 0 {
		return Link(p.links.Link([]string{p.pager.offsetParam}, limit))
	}
	at := web.Pair{Name: p.pager.offsetParam, Value: strconv.FormatInt(offset, 10)}
	if at.Name < limit.Name {
		return Link(p.links.Link(nil, at, limit))
	}
	return Link(p.links.Link(nil, limit, at))
}

// Write responds 200 with the page as JSON, and with the headers of [Links].Headers. An
// unpaginated list is written as a bare array. If a row cannot be encoded, the response is
// that of [WriteError]. Log the error.
func (p *OffsetPage[T]) Write(w http.ResponseWriter) error {
	web.WriteIgnored(w.Header(), p.Ignored)
	if p.unpaginated {
		return web.WriteJSON(w, p.Results, WriteError)
	}
	if p.pager != nil && p.pager.base.Headers {
		h := web.HeaderLinks{First: string(p.offsetURL(0)), Prev: string(p.Previous), Next: string(p.Next)}
		if limit := int64(p.req.Limit); p.Count.Precision == Exact {
			h.Last = string(p.offsetURL((max(1, web.CeilDiv(p.Count.N, limit)) - 1) * limit))
		}
		h.Write(w.Header())
		writeTotal(w.Header(), p.Count)
	}
	return web.WriteJSON(w, p, WriteError)
}

// Window returns the links to the pages around this page, as [PageWindow] selects them. An
// offset that is not a multiple of the limit counts as one page more. Window is nil if the
// total is unknown or no paginator made the page.
func (p *OffsetPage[T]) Window() []PageLink {
	if p.pager == nil || p.Count.Precision == Unknown {
		return nil
	}
	limit := int64(p.req.Limit)
	before := web.CeilDiv(p.req.Offset, limit)
	last := max(1, web.CeilDiv(p.Count.N-p.req.Offset, limit)+before)
	current := min(before, last-1) + 1 // in this order: before may be the largest integer
	return pageLinks(PageWindow(current, last), current, func(n int64) Link {
		if n == 1 {
			return p.offsetURL(0)
		}
		return p.offsetURL(p.req.Offset + (n-current)*limit)
	})
}
