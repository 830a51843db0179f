package keyset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/internal/web"
)

// JSONAPIProfile is the URI of the cursor pagination profile of JSON:API.
const JSONAPIProfile = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination/"

const jsonAPIType = `application/vnd.api+json;profile="` + JSONAPIProfile + `"`

// The parameters of the profile.
const (
	paramSize   = "page[size]"
	paramAfter  = "page[after]"
	paramBefore = "page[before]"
	paramSort   = "sort"
)

// Document is a page in the cursor pagination profile of JSON:API. Its rows must marshal
// as resource objects.
type Document[T any] struct {
	Data []T `json:"data"` // never null
	// Links are the URLs of the neighbouring pages, with the other parameters of the request.
	Links struct {
		Prev pagination.Link `json:"prev"` // null at the beginning of the list
		Next pagination.Link `json:"next"` // null at the end of the list; that of a range may lead to an empty page
	} `json:"links"`
	// Meta has the total, if Options.Count is set, and a mark for a truncated range.
	Meta struct {
		Page struct {
			Total          *pagination.Total `json:"total,omitempty"` // absent unless Options.Count is set
			EstimatedTotal *struct {
				BestGuess pagination.Total `json:"bestGuess"`
			} `json:"estimatedTotal,omitempty"` // in place of a total that is not exact
			RangeTruncated bool `json:"rangeTruncated,omitempty"` // a range has more rows than the page
		} `json:"page"`
	} `json:"meta"`

	ignored []string // tracking parameters
}

// Write writes status 200 and the document with the media type of the profile. The header
// X-Ignored-Parameters names tracking parameters. If a row cannot be encoded, the response is
// that of [WriteJSONAPIError]. Log the error.
func (d *Document[T]) Write(w http.ResponseWriter) error {
	web.WriteIgnored(w.Header(), d.ignored)
	return web.WriteAs(w, jsonAPIType, d, WriteJSONAPIError)
}

// JSONAPI reads the page requested by page[size], page[after], page[before] and sort. Both
// cursors together are a range, whose default size is the maximum. A cursor is bound to the filter, see
// [Options].FilterParams. The other parameter names in [Options] do not apply. Every fault
// of the client is an error, also an unknown or repeated parameter. [WriteJSONAPIError]
// writes it.
func (k *Keyset[T]) JSONAPI(r *http.Request, source Seeker[T]) (*Document[T], error) {
	raw := r.URL.RawQuery
	if len(raw) > web.MaxQuery {
		return nil, &pagination.RequestError{Status: http.StatusRequestURITooLong, Detail: "Query string too long.", Kind: pagination.ErrInvalidParameter}
	}
	links, reason := web.NewLinker(&k.base, r)
	if reason != "" {
		return nil, &pagination.RequestError{Status: http.StatusBadRequest, Detail: "Invalid host.", Kind: pagination.ErrInvalidParameter, Reason: reason}
	}
	order, ignored, err := k.ordering(web.QueryValue(raw, paramSort))
	if err != nil || ignored {
		return nil, &jsonAPIError{invalidParameter(paramSort, "The list cannot be sorted by one of these names."), "unsupported-sort", 0}
	}
	params := web.Params{Own: []string{paramSize, paramAfter, paramBefore, paramSort}, Filters: k.params.Filters}
	for _, pair := range links.Pairs {
		if strings.HasPrefix(pair.Name, "page[") && !slices.Contains(params.Own, pair.Name) {
			return nil, invalidParameter(pair.Name, "The list has no such parameter.")
		}
	}
	tracking, rejected, why := params.Ignored(links.Pairs)
	if rejected != "" {
		return nil, invalidParameter(rejected, why)
	}
	args := ConnectionArgs{After: web.QueryValue(raw, paramAfter), Before: web.QueryValue(raw, paramBefore), Scope: k.tenant(r), ignored: tracking}
	for _, name := range []string{paramAfter, paramBefore} {
		if value, ok := web.Lookup(raw, name); ok && value == "" {
			return nil, invalidParameter(name, "The cursor is empty.")
		}
	}
	size := k.preset.Size
	if args.After != "" && args.Before != "" {
		size = k.most()
	}
	if value, ok := web.Lookup(raw, paramSize); ok {
		if size, err = k.jsonAPISize(web.QueryValue(raw, paramSize), value); err != nil {
			return nil, err
		}
	}
	if args.Before != "" && args.After == "" {
		args.Last = &size
	} else {
		args.First = &size
	}
	filter := params.Filter(nil, links.Pairs)
	scope := k.newScope(order, "?json:api"+string(filter), args.Scope)
	conn, err := k.connect(r.Context(), source, order, scope, filter, args)
	if err != nil {
		if e := (*pagination.RequestError)(nil); errors.As(err, &e) && (e.Parameter == "after" || e.Parameter == "before") {
			e.Status, e.Parameter = http.StatusBadRequest, "page["+e.Parameter+"]"
		}
		return nil, err
	}
	d := k.document(conn, args)
	// A neighbour keeps the parameters of the request, except the cursors.
	link := func(drop, set, cursor string) pagination.Link {
		if cursor == "" {
			return ""
		}
		return pagination.Link(links.Link([]string{drop}, web.Pair{Name: set, Value: cursor}))
	}
	prev, next := "", ""
	if len(conn.Edges) == 0 {
		if prev, err = k.around(r.Context(), source, order, scope, args.After, true); err == nil {
			next, err = k.around(r.Context(), source, order, scope, args.Before, false)
		}
		if err != nil {
			return nil, err
		}
	} else {
		if conn.PageInfo.HasPreviousPage {
			prev = *conn.PageInfo.StartCursor
		}
		if conn.PageInfo.HasNextPage || args.Before != "" {
			next = *conn.PageInfo.EndCursor
		}
	}
	d.Links.Prev, d.Links.Next = link(paramAfter, paramBefore, prev), link(paramBefore, paramAfter, next)
	return d, nil
}

// jsonAPISize reads a page size: digits alone.
func (k *Keyset[T]) jsonAPISize(value, escaped string) (int, error) {
	n, _ := web.ParseInt(escaped)
	if strings.Trim(value, "0123456789") != "" || n < 1 {
		return 0, invalidParameter(paramSize, fmt.Sprintf("The page size must be a whole number from 1 to %d.", k.most()))
	}
	if n > int64(k.most()) {
		return 0, &jsonAPIError{invalidParameter(paramSize, fmt.Sprintf("The page size must be at most %d.", k.most())), "max-size-exceeded", k.most()}
	}
	return int(n), nil
}

// around returns the cursor of the rows before or behind an empty page, or "" if there are
// none. The cursor includes the row of the page's own cursor.
func (k *Keyset[T]) around(ctx context.Context, source Seeker[T], order Order, scope Scope, cursor string, backward bool) (string, error) {
	if cursor == "" {
		return "", nil
	}
	at, err := k.decode(ctx, source, scope, order, cursor)
	if err != nil {
		return "", err
	}
	q := Seek{Order: order, After: at.Values, Inclusive: !at.Inclusive, Backward: backward, Limit: 1}
	b, err := k.seek(ctx, source, q)
	if err != nil || len(b.Rows) == 0 {
		return "", err
	}
	return k.cursor(ctx, source, scope, order, Position{Values: at.Values, Inclusive: q.Inclusive})
}

// jsonAPIError is an error with a type of the profile.
type jsonAPIError struct {
	error
	kind    string
	maxSize int // 0 = absent
}

func (e *jsonAPIError) Unwrap() error { return e.error }

func (k *Keyset[T]) document(conn *Connection[T], args ConnectionArgs) *Document[T] {
	d := &Document[T]{Data: make([]T, len(conn.Edges)), ignored: conn.Ignored}
	for i, e := range conn.Edges {
		d.Data[i] = e.Node
	}
	if k.counted {
		if total := &conn.TotalCount; total.Precision == pagination.Exact {
			d.Meta.Page.Total = total
		} else if total.Precision != pagination.Unknown {
			d.Meta.Page.EstimatedTotal = &struct {
				BestGuess pagination.Total `json:"bestGuess"`
			}{*total}
		}
	}
	d.Meta.Page.RangeTruncated = args.After != "" && args.Before != "" && conn.PageInfo.HasNextPage
	return d
}

// WriteJSONAPIError writes an error of [Keyset.JSONAPI] as an error document. An error that
// is not a [pagination.RequestError] is a 500 with a constant text, so log it.
func WriteJSONAPIError(w http.ResponseWriter, err error) {
	if errors.As(err, &web.Refused{}) {
		return
	}
	e := &pagination.RequestError{Status: http.StatusInternalServerError, Detail: "The list could not be read."}
	errors.As(err, &e)
	type parameter struct {
		Parameter string `json:"parameter"`
	}
	type object struct {
		Status string                    `json:"status"`
		Title  string                    `json:"title"`
		Detail string                    `json:"detail"`
		Source *parameter                `json:"source,omitempty"`
		Links  map[string][]string       `json:"links,omitempty"`
		Meta   map[string]map[string]int `json:"meta,omitempty"`
	}
	o := object{Status: strconv.Itoa(e.Status), Title: http.StatusText(e.Status), Detail: e.Detail}
	if e.Parameter != "" {
		o.Source = &parameter{e.Parameter}
	}
	if typed := (*jsonAPIError)(nil); errors.As(err, &typed) {
		o.Links = map[string][]string{"type": {JSONAPIProfile + typed.kind}}
		if typed.maxSize > 0 {
			o.Meta = map[string]map[string]int{"page": {"maxSize": typed.maxSize}}
		}
	}
	body, err := json.Marshal(map[string][]object{"errors": {o}})
	if err != nil { // only strings and numbers: cannot fail
		body = []byte(`{"errors":[]}`)
	}
	w.Header().Set("Content-Type", jsonAPIType)
	w.WriteHeader(e.Status)
	w.Write(append(body, '\n'))
}
