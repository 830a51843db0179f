package pagination

import (
	"errors"
	"math"
	"net/http"
	"strconv"
)

// LimitOffsetOptions are the options of [NewLimitOffset].
type LimitOffsetOptions struct {
	// LimitParam is the parameter with the number of rows. Default: "limit".
	LimitParam string
	// OffsetParam is the parameter with the number of rows to skip. Default: "offset".
	OffsetParam string
	// MaxOffset refuses offsets beyond it with [ErrInvalidParameter]. Default: no
	// maximum with an exact count, which keeps offsets past the end from the database;
	// 10,000 times the limit otherwise.
	MaxOffset int64
	// Count is how the total is found. Default: exactly.
	Count CountPolicy
	// Strict refuses what is else mended: 400 with a problem document for a bad limit, a
	// bad offset and a limit above the maximum. Default: false.
	Strict bool
	// Links says where links point. Default: scheme and host of the request.
	Links *Links
	// Resource names the list in the key of a remembered count. Default: the URL's path.
	Resource string
	// Scope returns what else, outside the query string, decides which rows the list has,
	// such as the tenant. It is part of the key of a remembered count. Default: nothing.
	Scope func(*http.Request) string
	// Trace is told of each page. Default: nil.
	Trace *Trace
}

// LimitOffset pages a list by ?limit= and ?offset=. It is safe for concurrent use.
type LimitOffset struct {
	preset      Preset
	limitParam  string
	offsetParam string
	maxOffset   int64
	count       CountPolicy
	strict      bool
	base        linkBase
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
		preset: preset, limitParam: orDefault(o.LimitParam, "limit"), offsetParam: orDefault(o.OffsetParam, "offset"),
		maxOffset: o.MaxOffset, count: o.Count, strict: o.Strict, resource: o.Resource, scope: o.Scope, trace: o.Trace,
	}
	if p.limitParam == p.offsetParam {
		return nil, errors.New("pagination: LimitParam and OffsetParam must differ")
	}
	if p.maxOffset < 0 {
		return nil, errors.New("pagination: MaxOffset must be positive")
	}
	var err error
	p.base, err = newLinkBase(o.Links)
	return p, err
}

// OffsetRequest is what a client asked for.
type OffsetRequest struct {
	Limit  int   // after default and maximum; [Unpaginated] for the whole list
	Offset int64 // rows to skip
}

// Parse reads limit and offset from a request's query string, without allocation. The
// error is a [RequestError].
func (p *LimitOffset) Parse(r *http.Request) (OffsetRequest, error) {
	raw := r.URL.RawQuery
	if err := checkQuery(raw, p.strict); err != nil {
		return OffsetRequest{}, err
	}
	limit, limited := lookup(raw, p.limitParam)
	offset, skipped := lookup(raw, p.offsetParam)
	req := OffsetRequest{Limit: p.preset.Size}
	if limited {
		n, ok := positive(limit, 1, p.preset.most())
		if ok {
			req.Limit = int(n)
		}
		if p.strict {
			if exact, _ := parseInt(limit); !ok || exact != n {
				return OffsetRequest{}, invalidParameter(p.limitParam, "The limit must be a whole number from 1 to "+strconv.FormatInt(p.preset.most(), 10)+".")
			}
		}
	}
	if skipped {
		n, ok := positive(offset, 0, 0)
		if p.strict && !ok {
			return OffsetRequest{}, invalidParameter(p.offsetParam, "The offset must be a whole number of at least 0.")
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
			Parameter: p.offsetParam, problem: p.strict, kind: ErrInvalidParameter, reason: "offset past the maximum",
		}
		return OffsetRequest{}, e
	}
	return req, nil
}

// OffsetPage is one page of a list by limit and offset. Its JSON has these fields in
// this order; count_exact only when the total is not exact.
type OffsetPage[T any] struct {
	Count      Total  `json:"count"`    // rows in the whole list; null if not counted
	Next       Link   `json:"next"`     // null at the end
	Previous   Link   `json:"previous"` // null at the beginning
	Results    []T    `json:"results"`  // never null
	CountExact *False `json:"count_exact,omitempty"`

	unpaginated bool
	req         OffsetRequest
	pager       *LimitOffset
	links       linker
}

// PaginateOffset reads the page that a request asks for. The error is a [RequestError]
// when the request is at fault, else the source's; [WriteError] answers both. An offset
// past an exact total answers an empty page without a query for rows, and its previous
// link leads to the last full page.
func PaginateOffset[T any](r *http.Request, p *LimitOffset, source Lister[T]) (*OffsetPage[T], error) {
	req, err := p.Parse(r)
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	done := p.trace.begin(r, "limit")
	if req.Limit == Unpaginated {
		rows, err := source.List(ctx, NoLimit, 0)
		done(PageEvent{Rows: len(rows), Err: err})
		if err != nil {
			return nil, err
		}
		return &OffsetPage[T]{Results: notNil(rows), unpaginated: true}, nil
	}
	page := &OffsetPage[T]{req: req, pager: p}
	page.links, err = newLinker(&p.base, r, p.strict)
	if err != nil {
		return nil, err
	}
	page.Count, err = p.count.total(ctx, source, func() string {
		scope := ""
		if p.scope != nil {
			scope = p.scope(r)
		}
		return countKey(orDefault(p.resource, r.URL.Path), scope,
			appendQuery(nil, page.links.pairs, []string{p.limitParam, p.offsetParam}, nil))
	})
	more := false
	end := int64(math.MaxInt64) - int64(req.Limit) + 1 // offsets from there on have no rows
	if p.count.precision == Exact {
		end = page.Count.N
		if !p.count.fresh() { // rows may have come since, but not without end
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
	done(PageEvent{Size: req.Limit, Offset: req.Offset, Rows: len(page.Results), Total: page.Count, Err: err})
	if err != nil {
		return nil, err
	}
	page.Results = notNil(page.Results)
	page.CountExact = notExact(page.Count)
	page.link(more)
	return page, nil
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
	limit := pair{p.pager.limitParam, strconv.Itoa(p.req.Limit)}
	if offset <= 0 {
		return p.links.link([]string{p.pager.offsetParam}, limit)
	}
	at := pair{p.pager.offsetParam, strconv.FormatInt(offset, 10)}
	if at.name < limit.name {
		return p.links.link(nil, at, limit)
	}
	return p.links.link(nil, limit, at)
}

// Write answers 200 with the page as JSON, and with the headers that [Links].Headers
// asks for. A list that was returned unpaginated is written as a bare array.
func (p *OffsetPage[T]) Write(w http.ResponseWriter) error {
	if p.unpaginated {
		return writeJSON(w, p.Results)
	}
	if p.pager != nil && p.pager.base.headers {
		h := headerLinks{first: p.offsetURL(0), prev: p.Previous, next: p.Next}
		if limit := int64(p.req.Limit); p.Count.Precision == Exact {
			h.last = p.offsetURL((max(1, ceilDiv(p.Count.N, limit)) - 1) * limit)
		}
		h.write(w.Header())
		writeTotal(w.Header(), p.Count)
	}
	return writeJSON(w, p)
}

// Window returns the row of page links around the page, as [PageWindow] chooses them.
// An offset that is no multiple of the limit counts as a page more. It is nil for a page
// whose total is unknown or that no paginator made.
func (p *OffsetPage[T]) Window() []PageLink {
	if p.pager == nil || p.Count.Precision == Unknown {
		return nil
	}
	limit := int64(p.req.Limit)
	before := ceilDiv(p.req.Offset, limit)
	last := max(1, ceilDiv(p.Count.N-p.req.Offset, limit)+before)
	current := min(before, last-1) + 1 // in this order: before may be the greatest integer
	return pageLinks(PageWindow(current, last), current, func(n int64) Link {
		if n == 1 {
			return p.offsetURL(0)
		}
		return p.offsetURL(p.req.Offset + (n-current)*limit)
	})
}
