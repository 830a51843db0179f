package keyset

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/internal/web"
)

// Column is an expression that a list can be sorted by. The columns of a [Keyset] are the
// allowed sort names. A client selects one of these names, and its text never becomes SQL.
type Column[T any] struct {
	// Name is the public name: ?ordering=-name.
	Name string
	// Expr is the SQL expression, such as "s.created_at".
	Expr string
	// Args are the values of the "?" in Expr. Default: none.
	Args []any
	// Nullable says that the column may be NULL. Default: false. A NULL in the page then
	// ends the walk with [ErrWalk]. A [SQLSource] also looks for NULLs outside the page when
	// a walk reaches the end of the list.
	Nullable bool
	// Nulls is the place of the NULLs. Default: the native place of the database.
	Nulls Nulls
	// Unique says that no two rows have the same value. Default: false.
	Unique bool
	// Value returns the value of a row in a form that [NewValue] accepts. It is for sources
	// that return no keys, such as a [SeekerFunc]. Default: nil. [SQLSource] and the
	// adapters do not need it, since their statements select the sort keys.
	Value func(T) any
	// Collated says that the source of a Value sorts text by a collation. The walk then
	// cannot check the order of its text. Default: false, text sorts by its bytes.
	Collated bool
}

// Options are the options of [New].
type Options struct {
	// CursorParam is the parameter with the cursor. Default: "cursor".
	CursorParam string
	// SizeParam is the parameter with the page size; "-" = clients cannot choose it.
	// Default: "page_size".
	SizeParam string
	// OrderingParam is the parameter with the sort names, separated by commas, "-" before
	// a name for descending; "-" = clients cannot choose. Default: "ordering".
	OrderingParam string
	// Ordering is the order for a request without one, in the same form. Default: the
	// tie-break, ascending.
	Ordering string
	// TieBreak names the columns at the end of every order that is not yet total. They must
	// be unique, or unique together if there are several. Default: the first column that is
	// Unique and not Nullable.
	TieBreak []string
	// FilterParams names the parameters that decide which rows the list has. A cursor is
	// bound to their values. Default: all parameters except those of the paginator and the
	// tracking parameters utm_*, gclid, fbclid and msclkid.
	FilterParams []string
	// Scope returns a further part of the filter from outside the query string, such as the
	// tenant or the user. A cursor is bound to it. Default: empty.
	Scope func(*http.Request) string
	// Count finds the total of the list. Default: pagination.CountNone, since a keyset page
	// needs no total.
	Count *pagination.CountPolicy
	// Strict rejects values that are corrected otherwise: 400 with a problem document for a
	// bad cursor (instead of 404), a bad size, a size above the maximum, an unknown or
	// repeated sort name, a repeated paging parameter and a parameter that FilterParams
	// excludes. Default: false; [Result].Ignored then names the parameters.
	Strict bool
	// Links decides where links point. Default: scheme and host of the request.
	Links *pagination.Links
	// Trace is called for each page. Default: nil.
	Trace *pagination.Trace
	// Logger receives one warning if a list is used without [Keyset.Verify]. Default:
	// slog.Default().
	Logger *slog.Logger
}

// Keyset pages a list by position: each page begins behind the last row of the page before.
// Inserts and deletes elsewhere do not shift rows, and every page costs the same. It is
// safe for concurrent use.
type Keyset[T any] struct {
	resource string
	preset   pagination.Preset
	cursors  *Cursors
	columns  map[string]Column[T]
	names    []string // in the order of the declaration
	tie      []string
	initial  Order
	tieOrder Order
	cache    listCache
	verified atomic.Bool
	logger   *slog.Logger

	cursorParam   string
	sizeParam     string // "" = not offered
	orderingParam string // "" = not offered
	params        web.Params
	scope         func(*http.Request) string
	count         pagination.CountPolicy
	counted       bool
	strict        bool
	base          web.LinkBase
	trace         *pagination.Trace
}

// New returns a paginator. resource names the list. Cursors of another list are rejected,
// even with the same columns. New fails if the columns allow no total order.
func New[T any](resource string, preset pagination.Preset, cursors *Cursors, columns []Column[T], opts *Options) (*Keyset[T], error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if preset.Size < 1 || preset.MaxSize < 0 || preset.MaxSize > 0 && preset.Size > preset.MaxSize ||
		preset.Size >= pagination.NoLimit || preset.MaxSize >= pagination.NoLimit {
		return nil, errors.New("keyset: the page size must be positive, at most its maximum, and below 2^31-1")
	}
	if resource == "" || cursors == nil {
		return nil, errors.New("keyset: New needs a resource and cursors")
	}
	count := pagination.CountNone()
	if o.Count != nil {
		count = *o.Count
	}
	k := &Keyset[T]{
		resource: resource, preset: preset, cursors: cursors,
		columns: make(map[string]Column[T], len(columns)), tie: o.TieBreak,
		cursorParam: cmp.Or(o.CursorParam, "cursor"), sizeParam: offered(o.SizeParam, "page_size"),
		orderingParam: offered(o.OrderingParam, "ordering"),
		scope:         o.Scope, count: count, counted: o.Count != nil, strict: o.Strict, trace: o.Trace, logger: cmp.Or(o.Logger, slog.Default()),
	}
	for _, c := range columns {
		if c.Name == "" || strings.ContainsAny(c.Name, ", ") || strings.HasPrefix(c.Name, "-") {
			return nil, fmt.Errorf("keyset: column %q needs a name without comma, blank and leading minus", c.Name)
		}
		if _, twice := k.columns[c.Name]; twice {
			return nil, fmt.Errorf("keyset: two columns are called %q", c.Name)
		}
		k.columns[c.Name] = c
		key, _ := k.key(c.Name, false)
		if err := key.check(); err != nil {
			return nil, err
		}
		k.names = append(k.names, c.Name)
		if len(o.TieBreak) == 0 && len(k.tie) == 0 && c.Unique && !c.Nullable {
			k.tie = []string{c.Name}
		}
	}
	if k.cursorParam == "-" || k.cursorParam == k.sizeParam || k.cursorParam == k.orderingParam || k.sizeParam != "" && k.sizeParam == k.orderingParam {
		return nil, errors.New(`keyset: CursorParam, SizeParam and OrderingParam must differ, and CursorParam must not be "-"`)
	}
	var err error
	if k.params, err = web.NewParams(o.FilterParams, k.cursorParam, k.sizeParam, k.orderingParam); err != nil {
		return nil, err
	}
	if err := k.setOrders(o.Ordering); err != nil {
		return nil, err
	}
	k.base, err = web.NewLinkBase((*web.Links)(o.Links))
	if err != nil {
		return nil, err
	}
	return k, nil
}

// offered returns the name of a parameter, or "" if clients may not send it.
func offered(s, def string) string {
	if s == "-" {
		return ""
	}
	return cmp.Or(s, def)
}
