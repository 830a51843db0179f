package pagination

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Seeker is a list that can be read from a position in an order. [SQLSource] is one for
// database/sql; for other libraries, [Seek.SQL] is the statement, or [Seek.Where] and
// [Seek.OrderBy] are its parts.
type Seeker[T any] interface {
	// Seek returns at most q.Limit rows behind q.After, in the order of the walk: a
	// backward seek returns the row nearest to the position first.
	Seek(ctx context.Context, q Seek) ([]T, error)
}

// SeekerFunc makes a function a [Seeker].
type SeekerFunc[T any] func(ctx context.Context, q Seek) ([]T, error)

// Seek calls f.
func (f SeekerFunc[T]) Seek(ctx context.Context, q Seek) ([]T, error) { return f(ctx, q) }

// Column is something that a list can be sorted by. The columns of a [Keyset] are the
// whitelist of its sort names: what a client sends chooses among them and never becomes
// SQL.
type Column[T any] struct {
	Name     string      // the public name: ?ordering=-name
	Expr     string      // SQL expression, such as "s.created_at"
	Kind     Kind        // type of its values
	Nullable bool        // may be NULL; declare it, or the rows with NULLs are lost
	Nulls    Nulls       // place of NULLs, whatever the direction; default: the database's own
	Unique   bool        // no two rows have the same value
	Value    func(T) any // the value of a row, as [NewValue] takes it; nil for NULL
}

// KeysetOptions are the options of [NewKeyset].
type KeysetOptions struct {
	// CursorParam is the parameter with the cursor. Default: "cursor".
	CursorParam string
	// SizeParam is the parameter with the page size; "-" = clients cannot choose it.
	// Default: "page_size".
	SizeParam string
	// OrderingParam is the parameter with the sort names, separated by commas, "-" before
	// a name for descending; "-" = clients cannot choose. Default: "ordering".
	OrderingParam string
	// Ordering is the order when the client does not choose, in the same form. Default:
	// the tie-break, ascending.
	Ordering string
	// TieBreak names the columns that end every order that is not total yet; they must be
	// unique, together if there are several. Default: the first column that is Unique and
	// not Nullable.
	TieBreak []string
	// FilterParams names the parameters that decide which rows the list has. A cursor is
	// bound to their values. Default: all parameters but those of the paginator.
	FilterParams []string
	// Scope returns what else decides which rows the list has, such as the tenant or the
	// user. A cursor is bound to it. Default: nothing.
	Scope func(*http.Request) string
	// Strict refuses what is else mended: 400 with a problem document for a bad cursor
	// (instead of 404), a bad size, a size above the maximum and an unknown sort name.
	// Default: false.
	Strict bool
	// Links says where links point. Default: scheme and host of the request.
	Links *Links
	// Trace is told of each page. Default: nil.
	Trace *Trace
}

// Keyset pages a list by position: each page begins behind the last row of the one
// before, so rows that come or go elsewhere shift nothing, and every page costs the
// same. It is safe for concurrent use.
type Keyset[T any] struct {
	resource string
	preset   Preset
	cursors  *Cursors
	columns  map[string]Column[T]
	tie      []string
	initial  Order

	cursorParam   string
	sizeParam     string // "" = not offered
	orderingParam string // "" = not offered
	own           []string
	filterParams  []string
	scope         func(*http.Request) string
	strict        bool
	base          linkBase
	trace         *Trace
}

// NewKeyset returns a paginator. resource names the list: cursors of another list are
// refused, even with the same columns. The error says so if the columns allow no total
// order.
func NewKeyset[T any](resource string, preset Preset, cursors *Cursors, columns []Column[T], opts *KeysetOptions) (*Keyset[T], error) {
	var o KeysetOptions
	if opts != nil {
		o = *opts
	}
	if err := preset.check(); err != nil {
		return nil, err
	}
	if resource == "" || cursors == nil || preset.Size == Unpaginated {
		return nil, errors.New("pagination: NewKeyset needs a resource, a page size and cursors")
	}
	k := &Keyset[T]{
		resource: resource, preset: preset, cursors: cursors,
		columns: make(map[string]Column[T], len(columns)), tie: o.TieBreak,
		cursorParam: orDefault(o.CursorParam, "cursor"), sizeParam: orDefault(o.SizeParam, "page_size"),
		orderingParam: orDefault(o.OrderingParam, "ordering"), filterParams: slices.Sorted(slices.Values(o.FilterParams)),
		scope: o.Scope, strict: o.Strict, trace: o.Trace,
	}
	for _, c := range columns {
		if c.Name == "" || strings.ContainsAny(c.Name, ", ") || strings.HasPrefix(c.Name, "-") || c.Value == nil {
			return nil, fmt.Errorf("pagination: column %q needs a name without comma, blank and leading minus, and a Value", c.Name)
		}
		if _, twice := k.columns[c.Name]; twice {
			return nil, fmt.Errorf("pagination: two columns are called %q", c.Name)
		}
		k.columns[c.Name] = c
		if len(o.TieBreak) == 0 && len(k.tie) == 0 && c.Unique && !c.Nullable {
			k.tie = []string{c.Name}
		}
	}
	if k.sizeParam == "-" {
		k.sizeParam = ""
	}
	if k.orderingParam == "-" {
		k.orderingParam = ""
	}
	k.own = []string{k.cursorParam, k.sizeParam, k.orderingParam}
	if k.cursorParam == k.sizeParam || k.cursorParam == k.orderingParam || k.sizeParam != "" && k.sizeParam == k.orderingParam {
		return nil, errors.New("pagination: CursorParam, SizeParam and OrderingParam must differ")
	}
	if len(k.tie) == 0 {
		return nil, errors.New("pagination: no column is Unique and not Nullable, so no order is total; add one or set TieBreak")
	}
	var err error
	if k.initial, err = k.parseOrdering(o.Ordering, true); err != nil {
		return nil, err
	}
	for name := range k.columns { // each column must do for an order of its own
		if _, err := k.parseOrdering(name, true); err != nil {
			return nil, err
		}
	}
	k.base, err = newLinkBase(o.Links)
	return k, err
}

// Order returns the order for sort names as a client sends them ("-created_at,name"),
// completed by the tie-break. Unknown names are left out, and refused in strict mode; if
// none is known the order is the default one.
func (k *Keyset[T]) Order(ordering string) (Order, error) {
	if ordering == "" {
		return k.initial, nil
	}
	return k.parseOrdering(ordering, k.strict)
}

func (k *Keyset[T]) parseOrdering(ordering string, strict bool) (Order, error) {
	keys := make([]Key, 0, 4)
	add := func(name string, desc bool) bool {
		c, ok := k.columns[name]
		if ok && !slices.ContainsFunc(keys, func(have Key) bool { return have.Name == name }) {
			keys = append(keys, Key{
				Name: name, Expr: c.Expr, Kind: c.Kind, Desc: desc,
				Nullable: c.Nullable, Nulls: c.Nulls, Unique: c.Unique,
			})
		}
		return ok
	}
	for name := range strings.SplitSeq(ordering, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		plain, desc := strings.CutPrefix(name, "-")
		if !add(plain, desc) && strict {
			return Order{}, invalidParameter(k.orderingParam, "The list cannot be sorted by one of these names.")
		}
	}
	if len(keys) == 0 && len(k.initial.keys) > 0 {
		return k.initial, nil
	}
	// The tie-break goes the way of the last key, so that one scan of one index gives the
	// order.
	desc := len(keys) > 0 && keys[len(keys)-1].Desc
	for _, name := range k.tie {
		if !add(name, desc) {
			return Order{}, fmt.Errorf("pagination: TieBreak names %q, which is no column", name)
		}
	}
	return NewOrder(k.tie, keys...)
}

// RequestOrder returns the order that a request asks for, for a page-number list over
// the same source.
func (k *Keyset[T]) RequestOrder(r *http.Request) (Order, error) {
	if err := checkQuery(r.URL.RawQuery, k.strict); err != nil {
		return Order{}, err
	}
	if k.orderingParam == "" {
		return k.initial, nil
	}
	return k.Order(queryValue(r.URL.RawQuery, k.orderingParam))
}

// Wants reports whether a request has the cursor's parameter, even an empty one: for
// lists that serve pages by number otherwise.
func (k *Keyset[T]) Wants(r *http.Request) bool {
	if len(r.URL.RawQuery) > maxQuery {
		return false
	}
	_, ok := lookup(r.URL.RawQuery, k.cursorParam)
	return ok
}

// KeysetPage is one page of a keyset list. Its JSON has these fields in this order.
type KeysetPage[T any] struct {
	Next     Link `json:"next"`     // null at the end
	Previous Link `json:"previous"` // null at the beginning
	Results  []T  `json:"results"`  // never null

	first   Link
	headers bool
}

// Write answers 200 with the page as JSON, and with the Link header that
// [Links].Headers asks for (first, prev and next: there is no last).
func (p *KeysetPage[T]) Write(w http.ResponseWriter) error {
	if p.headers {
		headerLinks{first: p.first, prev: p.Previous, next: p.Next}.write(w.Header())
	}
	return writeJSON(w, p)
}

// Paginate reads the page that a request asks for. The error is a [RequestError] when
// the request is at fault, else the source's; [WriteError] answers both.
func (k *Keyset[T]) Paginate(r *http.Request, source Seeker[T]) (*KeysetPage[T], error) {
	return k.paginate(r, source, nil)
}

func (k *Keyset[T]) paginate(r *http.Request, source Seeker[T], only *filter[T]) (*KeysetPage[T], error) {
	order, err := k.RequestOrder(r)
	if err != nil {
		return nil, err
	}
	size, err := k.requestSize(r)
	if err != nil {
		return nil, err
	}
	links, err := newLinker(&k.base, r, k.strict)
	if err != nil {
		return nil, err
	}
	scope := k.requestScope(r, order, links.pairs)
	var at Position
	if cursor := queryValue(r.URL.RawQuery, k.cursorParam); cursor != "" {
		if at, err = k.decode(scope, order, cursor); err != nil {
			return nil, err
		}
	}
	done := k.trace.begin(r, "cursor")
	found, err := k.read(r.Context(), source, order, at, size, only)
	done(PageEvent{Size: size, Rows: len(found.rows), Total: Total{Precision: Unknown}, Err: err})
	if err != nil {
		return nil, err
	}
	page := &KeysetPage[T]{Results: found.rows, headers: k.base.headers}
	if page.headers {
		page.first = links.link([]string{k.cursorParam})
	}
	link := func(to *Position) (Link, error) {
		if to == nil {
			return "", nil
		}
		cursor, err := k.cursors.Encode(scope, *to)
		return links.link(nil, pair{k.cursorParam, cursor}), err
	}
	if page.Next, err = link(found.next); err != nil {
		return nil, err
	}
	page.Previous, err = link(found.previous)
	return page, err
}

func (k *Keyset[T]) requestSize(r *http.Request) (int, error) {
	sizes := PageNumber{preset: k.preset, sizeParam: k.sizeParam, strict: k.strict}
	req := PageRequest{Size: k.preset.Size}
	if k.sizeParam == "" {
		return req.Size, nil
	}
	value, ok := lookup(r.URL.RawQuery, k.sizeParam)
	if !ok {
		return req.Size, nil
	}
	err := sizes.readSize(&req, value)
	return req.Size, err
}

func (k *Keyset[T]) requestScope(r *http.Request, order Order, pairs []pair) Scope {
	filter := make([]byte, 0, 256)
	if len(k.filterParams) == 0 {
		filter = appendQuery(filter, pairs, k.own, nil)
	} else {
		kept := make([]pair, 0, len(k.filterParams))
		for _, p := range pairs {
			if slices.Contains(k.filterParams, p.name) {
				kept = append(kept, p)
			}
		}
		filter = appendQuery(filter, kept, nil, nil)
	}
	tenant := ""
	if k.scope != nil {
		tenant = k.scope(r)
	}
	return k.newScope(order, string(filter), tenant)
}

func (k *Keyset[T]) newScope(order Order, filter, tenant string) Scope {
	return NewScope(k.resource, order.String(), filter, tenant)
}

func (k *Keyset[T]) decode(scope Scope, order Order, cursor string) (Position, error) {
	at, err := k.cursors.Decode(scope, order.kinds(), cursor)
	if err == nil {
		for i, v := range at.Values {
			if v.IsNull() && !order.keys[i].Nullable {
				err = fmt.Errorf("%w: NULL in a key that has none", ErrInvalidCursor)
			}
		}
	}
	if err == nil {
		return at, nil
	}
	return at, &RequestError{
		Status: lenientStatus(k.strict), Detail: "Invalid cursor", Parameter: k.cursorParam, problem: k.strict,
		kind: ErrInvalidCursor, reason: strings.TrimPrefix(err.Error(), ErrInvalidCursor.Error()+": "),
	}
}

// stretch is what a page shows and where its neighbours begin.
type stretch[T any] struct {
	rows           []T
	next, previous *Position
}

// read reads one page from a position; no values = from the beginning.
func (k *Keyset[T]) read(ctx context.Context, source Seeker[T], order Order, at Position, size int, only *filter[T]) (stretch[T], error) {
	rows, rest, err := k.gather(ctx, source, Seek{
		Order: order, After: at.Values, Inclusive: at.Inclusive, Backward: at.Backward, Limit: size + 1,
	}, only)
	if err != nil {
		return stretch[T]{}, err
	}
	var ahead, behind *Position // of a reader who goes the way of the cursor
	if rest != nil {
		if ahead, err = k.position(order, *rest, at.Backward); err != nil {
			return stretch[T]{}, err
		}
	}
	switch {
	case at.Values == nil && !at.Backward:
	case len(rows) > 0:
		if behind, err = k.position(order, rows[0], !at.Backward); err != nil {
			return stretch[T]{}, err
		}
	case at.Values != nil:
		// Nothing is ahead. The row of the position may be the only neighbour left, so the
		// way back includes it.
		behind = &Position{Values: at.Values, Backward: !at.Backward, Inclusive: !at.Inclusive}
	}
	if at.Backward {
		slices.Reverse(rows)
		return stretch[T]{rows: notNil(rows), next: behind, previous: ahead}, nil
	}
	return stretch[T]{rows: notNil(rows), next: ahead, previous: behind}, nil
}

// gather returns at most q.Limit-1 rows in the order of the walk, and the row behind
// which the rest of the list begins, nil at its end.
func (k *Keyset[T]) gather(ctx context.Context, source Seeker[T], q Seek, only *filter[T]) (rows []T, rest *T, err error) {
	if only != nil {
		return k.gatherKept(ctx, source, q, only)
	}
	rows, err = source.Seek(ctx, q)
	if size := q.Limit - 1; err == nil && len(rows) > size {
		return rows[:size], &rows[size-1], nil
	}
	return rows, nil, err
}

func (k *Keyset[T]) position(order Order, row T, backward bool) (*Position, error) {
	at := &Position{Values: make([]Value, len(order.keys)), Backward: backward}
	for i, key := range order.keys {
		v, err := NewValue(key.Kind, k.columns[key.Name].Value(row))
		if err != nil {
			return nil, fmt.Errorf("%w (column %q)", err, key.Name)
		}
		if v.IsNull() && !key.Nullable {
			return nil, fmt.Errorf("pagination: column %q has a NULL but was not declared Nullable", key.Name)
		}
		at.Values[i] = v
	}
	return at, nil
}
