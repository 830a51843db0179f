package pagination

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/mainstay-go/mainstay/pagination/internal/web"
)

// Unpaginated as a default size returns the whole list if the request has no size. Use it
// only for lists that cannot grow.
const Unpaginated = -1

// Preset is a default page size and the largest size that a client may request.
type Preset struct {
	Size    int // rows in a page if the request has no size; or [Unpaginated]
	MaxSize int // the largest size for a client; 0 = no maximum
}

// The presets.
var (
	Standard = Preset{Size: 25, MaxSize: 100}   // lists that people read
	Large    = Preset{Size: 50, MaxSize: 200}   // dense lists and tables
	Small    = Preset{Size: 10, MaxSize: 50}    // widgets and heavy rows
	Report   = Preset{Size: 100, MaxSize: 1000} // reports
)

// OutOfRange selects the response to a page past the last one.
type OutOfRange uint8

// The responses to a page past the last one.
const (
	NotFound OutOfRange = iota // [ErrInvalidPage], as Django REST Framework
	Empty                      // 200 with no rows
	LastPage                   // 200 with the last page; NotFound unless the count is exact and not remembered
)

// PageNumberOptions are the options of [NewPageNumber].
type PageNumberOptions struct {
	// PageParam is the parameter with the page number. Default: "page".
	PageParam string
	// SizeParam is the parameter with the page size; "-" = clients cannot choose it.
	// Default: "page_size".
	SizeParam string
	// FilterParams names the other parameters of the list, such as its filter. Any further
	// parameter is then in [Page].Ignored. Default: nil, all except the tracking parameters
	// utm_*, gclid, fbclid and msclkid.
	FilterParams []string
	// Count decides how the total is found. Default: exactly.
	Count CountPolicy
	// OutOfRange is the response to a page past the last one. Default: NotFound.
	OutOfRange OutOfRange
	// LenientPage serves page 1 for a page below 1 or a page that is not a number. Use it where existing clients rely on
	// it. It excludes Strict. Default: false; [ErrInvalidPage], as Django REST Framework.
	LenientPage bool
	// MaxPages is the last page that is served if the total is not known exactly: the
	// database then reads over all pages before it. Default: 10,000.
	MaxPages int64
	// Strict rejects values that are corrected otherwise: 400 with a problem document for a
	// bad page, a bad size, a size above the maximum, a repeated paging parameter and a
	// parameter that FilterParams excludes. Default: false; [Page].Ignored then names the
	// parameters.
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

// PageNumber pages a list by ?page= and ?page_size=. It is safe for concurrent use.
type PageNumber struct {
	preset     Preset
	pageParam  string
	sizeParam  string // "" = not offered
	params     web.Params
	first      []string
	count      CountPolicy
	outOfRange OutOfRange
	maxPages   int64
	strict     bool
	lenient    bool
	base       web.LinkBase
	resource   string
	scope      func(*http.Request) string
	trace      *Trace
}

// NewPageNumber returns a paginator with the given sizes. opts may be nil.
func NewPageNumber(preset Preset, opts *PageNumberOptions) (*PageNumber, error) {
	var o PageNumberOptions
	if opts != nil {
		o = *opts
	}
	if err := preset.check(); err != nil {
		return nil, err
	}
	p := &PageNumber{
		preset: preset, pageParam: cmp.Or(o.PageParam, "page"), sizeParam: cmp.Or(o.SizeParam, "page_size"),
		count: o.Count, outOfRange: o.OutOfRange, maxPages: o.MaxPages, strict: o.Strict, lenient: o.LenientPage,
		resource: o.Resource, scope: o.Scope, trace: o.Trace,
	}
	if p.sizeParam == "-" {
		p.sizeParam = ""
	}
	if p.pageParam == p.sizeParam {
		return nil, errors.New("pagination: PageParam and SizeParam must differ")
	}
	var err error
	if p.params, err = web.NewParams(o.FilterParams, p.pageParam, p.sizeParam); err != nil {
		return nil, err
	}
	if p.outOfRange > LastPage {
		return nil, fmt.Errorf("pagination: OutOfRange is %d; it is NotFound, Empty or LastPage", p.outOfRange)
	}
	p.maxPages = cmp.Or(p.maxPages, 10_000)
	if p.strict && p.lenient {
		return nil, errors.New("pagination: Strict rejects what LenientPage accepts: set one of them")
	}
	if p.maxPages < 0 {
		return nil, errors.New("pagination: MaxPages must be positive")
	}
	p.first = []string{p.pageParam}
	p.base, err = newLinkBase(o.Links)
	return p, err
}

func (s Preset) check() error {
	if s.Size < 1 && s.Size != Unpaginated || s.MaxSize < 0 || s.MaxSize > NoLimit-1 || s.Size > NoLimit-1 {
		return errors.New("pagination: a page size must be positive or Unpaginated, a maximum 0 or positive, both below 2^31-1")
	}
	if s.MaxSize > 0 && s.Size > s.MaxSize {
		return errors.New("pagination: the page size exceeds its maximum")
	}
	return nil
}

func (s Preset) most() int64 {
	if s.MaxSize > 0 {
		return int64(s.MaxSize)
	}
	return NoLimit - 1
}

// PageRequest is the request of a client for a page.
type PageRequest struct {
	Number int64 // from 1; 0 with Last
	Size   int   // after default and maximum; [Unpaginated] for the whole list
	Last   bool  // the request is for "last"

	// Scope names the filter and the tenant in the key of a remembered count. Parse
	// leaves it empty, and only [Read] uses it.
	Scope string
	// Ignored names the parameters with a corrected value. [Read] passes it on.
	Ignored []string
}

// Parse reads page and size from a request's query string, without allocation. The
// error is a [RequestError].
func (p *PageNumber) Parse(r *http.Request) (PageRequest, error) {
	raw := r.URL.RawQuery
	if err := checkQuery(raw, p.strict); err != nil {
		return PageRequest{}, err
	}
	var number, size string
	var sized bool
	for raw != "" {
		name, value, rest, ok := web.NextPair(raw)
		if ok {
			if web.IsName(name, p.pageParam) {
				number = value
			} else if p.sizeParam != "" && web.IsName(name, p.sizeParam) {
				size, sized = value, true
			}
		}
		raw = rest
	}
	req := PageRequest{Number: 1, Size: p.preset.Size}
	if sized {
		if err := p.readSize(&req, size); err != nil {
			return PageRequest{}, err
		}
	}
	switch {
	case number == "":
	case web.IsName(number, "last"):
		req.Number, req.Last = 0, true
	default:
		n, ok := web.ParseInt(number)
		if p.lenient && (!ok || n < 1) {
			req.Ignored = append(req.Ignored, p.pageParam)
			return req, nil
		}
		if !ok {
			return PageRequest{}, invalidPage(p.pageParam, "not a number", p.strict)
		}
		if n < 1 {
			return PageRequest{}, invalidPage(p.pageParam, "below 1", p.strict)
		}
		req.Number = n
	}
	return req, nil
}

func (p *PageNumber) readSize(req *PageRequest, value string) error {
	n, ok := web.Positive(value, 1, p.preset.most())
	if ok {
		req.Size = int(n)
	}
	if exact, _ := web.ParseInt(value); !ok || exact != n {
		if p.strict {
			return p.sizeError()
		}
		req.Ignored = append(req.Ignored, p.sizeParam)
	}
	return nil
}

func (p *PageNumber) sizeError() error {
	return invalidParameter(p.sizeParam, "The page size must be a whole number from 1 to "+strconv.FormatInt(p.preset.most(), 10)+".")
}

// Paginate reads the requested page. The error is a [RequestError] for a fault of the
// client, and the error of the source otherwise. [WriteError] writes both. A page that does
// not exist is rejected without a query for its rows.
func Paginate[T any](r *http.Request, p *PageNumber, source Lister[T]) (*Page[T], error) {
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
	page, more, err := readPage(r.Context(), p, req, source, func() string {
		return web.CountKey(p.resourceOf(r), p.scopeOf(r), p.params.Filter(nil, links.Pairs))
	})
	if err != nil || page.unpaginated {
		return page, err
	}
	page.links = links
	if p.count.fresh() {
		more = page.CurrentPage < page.TotalPages.N
	}
	if more {
		page.Next = page.pageURL(page.CurrentPage + 1)
	}
	if page.CurrentPage > 1 {
		previous := page.CurrentPage - 1
		if p.count.fresh() {
			previous = min(previous, page.TotalPages.N)
		}
		page.Previous = page.pageURL(previous)
	}
	return page, nil
}

// Read reads a page without HTTP, for gRPC, jobs and tests. The page has no links. The zero
// PageRequest is page 1 of the default size.
func Read[T any](ctx context.Context, p *PageNumber, req PageRequest, source Lister[T]) (*Page[T], error) {
	if req.Number == 0 && !req.Last {
		req.Number = 1
	}
	if req.Size == 0 {
		req.Size = p.preset.Size
	}
	if req.Number < 0 || req.Size < 0 && req.Size != Unpaginated {
		return nil, invalidPage(p.pageParam, "below 1", p.strict)
	}
	if int64(req.Size) > p.preset.most() {
		if p.strict {
			return nil, p.sizeError()
		}
		req.Size, req.Ignored = int(p.preset.most()), append(slices.Clip(req.Ignored), cmp.Or(p.sizeParam, "page_size"))
	}
	page, _, err := readPage(ctx, p, req, source, func() string { return web.CountKey(p.resource, req.Scope, nil) })
	return page, err
}

// readPage also reports whether rows follow the page.
func readPage[T any](ctx context.Context, p *PageNumber, req PageRequest, source Lister[T], key func() string) (_ *Page[T], more bool, err error) {
	done := p.trace.begin(ctx, "page")
	if req.Size == Unpaginated {
		rows, err := source.List(ctx, NoLimit, 0)
		done(PageEvent{Rows: len(rows), Ignored: req.Ignored, Err: err})
		if err != nil {
			return nil, false, err
		}
		return &Page[T]{Results: notNil(rows), Ignored: req.Ignored, unpaginated: true}, false, nil
	}
	page := &Page[T]{PageSize: req.Size, Ignored: req.Ignored, number: p}
	err = p.fill(ctx, key, req, source, func(limit int, offset int64) (int, error) {
		rows, err := source.List(ctx, limit, offset)
		page.Results = rows
		return len(rows), err
	}, &page.Count, &page.CurrentPage)
	if more = len(page.Results) > req.Size; more {
		page.Results = page.Results[:req.Size]
	}
	if err == nil && !req.Last && page.CurrentPage != req.Number {
		page.Ignored = append(slices.Clip(page.Ignored), p.pageParam)
	}
	done(PageEvent{Size: req.Size, Ignored: page.Ignored, Offset: (max(page.CurrentPage, 1) - 1) * int64(req.Size), Rows: len(page.Results), Total: page.Count, Err: err})
	if err != nil {
		return nil, false, err
	}
	page.Results = notNil(page.Results)
	page.TotalPages = Total{N: max(1, web.CeilDiv(page.Count.N, int64(req.Size))), Precision: page.Count.Precision}
	page.CountExact = notExact(page.Count)
	return page, more, nil
}

// fill finds the total and the page number, and reads the rows of the page. It does not
// depend on the row type, so one copy of it serves all lists.
func (p *PageNumber) fill(ctx context.Context, key func() string, req PageRequest, source any,
	list func(limit int, offset int64) (int, error), total *Total, current *int64,
) error {
	var err error
	*total, err = p.count.Total(ctx, source, key)
	if err != nil {
		return err
	}
	size := int64(req.Size)
	last := p.maxPages
	if total.Precision == Exact {
		last = max(1, web.CeilDiv(total.N, size))
	}
	*current = req.Number
	if req.Last {
		if total.Precision != Exact {
			return invalidPage(p.pageParam, `"last" needs an exact total`, p.strict)
		}
		*current = last
	}
	if !p.count.fresh() {
		last = max(last, p.maxPages) // an old total does not say which pages exist
	}
	if *current > last {
		switch {
		case p.outOfRange == LastPage && p.count.fresh():
			*current = last
		case p.outOfRange == Empty && p.count.fresh():
			return nil
		default:
			return invalidPage(p.pageParam, "past the last page", p.strict)
		}
	}
	if *current-1 > math.MaxInt64/size {
		return invalidPage(p.pageParam, "past every offset", p.strict)
	}
	limit := req.Size
	if !p.count.fresh() {
		limit++ // one more row shows whether there is a next page
	}
	offset := (*current - 1) * size
	n, err := list(limit, offset)
	if err != nil || p.count.fresh() {
		return err
	}
	if n == 0 && *current > 1 && p.outOfRange != Empty {
		return invalidPage(p.pageParam, "past the last row", p.strict)
	}
	if n > 0 && total.Precision != Unknown {
		total.N = max(total.N, offset+int64(min(n, req.Size))) // the page contains these rows
	}
	return nil
}

func (p *PageNumber) resourceOf(r *http.Request) string { return cmp.Or(p.resource, r.URL.Path) }

func (p *PageNumber) scopeOf(r *http.Request) string {
	if p.scope == nil {
		return ""
	}
	return p.scope(r)
}

func notNil[T any](rows []T) []T {
	if rows == nil {
		return []T{}
	}
	return rows
}
