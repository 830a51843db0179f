package keyset

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"slices"
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
	// ends the walk with [ErrWalk].
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
		cursorParam: orDefault(o.CursorParam, "cursor"), sizeParam: offered(o.SizeParam, "page_size"),
		orderingParam: offered(o.OrderingParam, "ordering"),
		scope:         o.Scope, count: count, counted: o.Count != nil, strict: o.Strict, trace: o.Trace, logger: o.Logger,
	}
	if k.logger == nil {
		k.logger = slog.Default()
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

// setOrders reads the order of the tie-break and the default order.
func (k *Keyset[T]) setOrders(ordering string) (err error) {
	if len(k.tie) == 0 {
		return errors.New("keyset: no column is Unique and not Nullable, so no order is total; add one or set TieBreak")
	}
	if name, twice := repeated(k.tie); twice {
		return fmt.Errorf("keyset: TieBreak has %q twice", name)
	}
	for _, name := range k.tie {
		switch c, ok := k.columns[name]; {
		case !ok:
			return fmt.Errorf("keyset: TieBreak names %q, which is no column", name)
		case c.Nullable:
			return fmt.Errorf("keyset: column %q breaks ties and must not be Nullable", name)
		}
	}
	var names []string
	for name := range strings.SplitSeq(ordering, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		plain, _ := direction(name)
		if _, ok := k.columns[plain]; !ok {
			return fmt.Errorf("keyset: Ordering names %q, which is no column", name)
		}
		names = append(names, plain)
	}
	if name, twice := repeated(names); twice {
		return fmt.Errorf("keyset: Ordering has %q twice", name)
	}
	if k.tieOrder, _, err = k.parseOrdering(strings.Join(k.tie, ","), true); err != nil {
		return err
	}
	k.initial, _, err = k.parseOrdering(ordering, true)
	return err
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// offered returns the name of a parameter, or "" if clients may not send it.
func offered(s, def string) string {
	if s == "-" {
		return ""
	}
	return orDefault(s, def)
}

// Order returns the order for sort names in the form of a client, such as
// "-created_at,name", or "created_at desc, name" as in AIP-132. The tie-break completes it.
// It ignores unknown names, or rejects them in strict mode. Without a known name the order
// is the default one.
func (k *Keyset[T]) Order(ordering string) (Order, error) {
	if ordering == "" {
		return k.initial, nil
	}
	o, _, err := k.parseOrdering(ordering, k.strict)
	return o, err
}

func (k *Keyset[T]) key(name string, desc bool) (Key, bool) {
	c, ok := k.columns[name]
	return Key{
		Name: name, Expr: c.Expr, Args: c.Args, Desc: desc,
		Nullable: c.Nullable, Nulls: c.Nulls, Unique: c.Unique,
	}, ok
}

// parseOrdering also reports whether it left out a name.
func (k *Keyset[T]) parseOrdering(ordering string, strict bool) (_ Order, ignored bool, err error) {
	keys := make([]Key, 0, 4)
	add := func(name string, desc bool) bool {
		key, ok := k.key(name, desc)
		if ok = ok && !slices.ContainsFunc(keys, func(have Key) bool { return have.Name == name }); ok {
			keys = append(keys, key)
		}
		return ok
	}
	for name := range strings.SplitSeq(ordering, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		plain, desc := direction(name)
		if !add(plain, desc) {
			if strict {
				return Order{}, false, invalidParameter(k.orderingParam, "The list cannot be sorted by one of these names, or one is repeated.")
			}
			ignored = true
		}
	}
	if len(keys) == 0 && len(k.initial.keys) > 0 {
		return k.initial, ignored, nil
	}
	// The tie-break has the direction of the last key, so that one scan of one index gives
	// the order.
	desc := len(keys) > 0 && keys[len(keys)-1].Desc
	for _, name := range k.tie {
		add(name, desc)
	}
	order, err := newOrder(&k.cache, k.tie, keys)
	return order, ignored, err
}

// direction reads "-name", or "name desc" as in AIP-132.
func direction(name string) (plain string, desc bool) {
	if plain, word, ok := strings.Cut(name, " "); ok {
		switch strings.TrimSpace(word) {
		case "asc":
			return plain, false
		case "desc":
			return plain, true
		}
	}
	return strings.CutPrefix(name, "-")
}

// Query is a request for one page, without HTTP. The zero value is the first page of the
// default size in the default order.
type Query struct {
	// Size is the number of rows. Default: 0, the size of the preset. A number above the
	// preset's maximum is reduced to it.
	Size int
	// Token is the Next or Previous of a [Result], or "last" for the last page. Default:
	// "", the first page.
	Token string
	// Ordering is the order, in the form of [Keyset.Order]. Default: the keyset's own.
	Ordering string
	// Scope identifies the filter and the tenant. Tokens are bound to the scope and to the
	// order, not to the size. Default: "".
	Scope string
}

// LastPage is the token of the last page of every list.
const LastPage = "last"

// Result is one page of a list.
type Result[T any] struct {
	Rows     []T              // never nil
	Next     string           // token of the next page; "" at the end
	Previous string           // token of the page before; "" at the beginning
	Total    pagination.Total // by Options.Count
	Ignored  []string         // corrected, unknown and repeated parameters; in strict mode only tracking parameters

	size int
}

// Page reads one page. The error is a [pagination.RequestError] for a fault of the client,
// a [WalkError] if the source breaks the order, and the error of the source otherwise.
func (k *Keyset[T]) Page(ctx context.Context, source Seeker[T], q Query) (*Result[T], error) {
	order, ignored, err := k.ordering(q.Ordering)
	if err != nil {
		return nil, err
	}
	size := q.Size
	switch most := k.most(); {
	case size == 0:
		size = k.preset.Size
	case size < 0 || size > most && k.strict:
		return nil, k.sizeError()
	}
	p := pageRequest{order: order, size: min(size, k.most()), token: q.Token, scope: k.newScope(order, "?page", q.Scope)}
	if ignored {
		p.ignored = append(p.ignored, orDefault(k.orderingParam, "ordering"))
	}
	if p.size < size {
		p.ignored = append(p.ignored, orDefault(k.sizeParam, "page_size"))
	}
	return k.page(ctx, source, p, nil, func() string { return web.CountKey(k.resource, q.Scope, nil) })
}

func (k *Keyset[T]) ordering(names string) (Order, bool, error) {
	if names == "" {
		return k.initial, false, nil
	}
	return k.parseOrdering(names, k.strict)
}

func (k *Keyset[T]) most() int {
	if k.preset.MaxSize > 0 {
		return k.preset.MaxSize
	}
	return pagination.NoLimit - 1
}

func (k *Keyset[T]) sizeError() error {
	return invalidParameter(k.sizeParam, fmt.Sprintf("The page size must be a whole number from 1 to %d.", k.most()))
}

func invalidParameter(param, detail string) error {
	return &pagination.RequestError{
		Status: http.StatusBadRequest, Detail: detail, Parameter: param,
		Problem: true, Kind: pagination.ErrInvalidParameter, Reason: detail,
	}
}

// pageRequest is a checked request for a page.
type pageRequest struct {
	order   Order
	size    int
	token   string
	scope   Scope
	ignored []string
}

// page reads a page and writes the tokens of its neighbours.
func (k *Keyset[T]) page(ctx context.Context, source Seeker[T], p pageRequest, only *filter[T], countKey func() string) (*Result[T], error) {
	k.unverified(ctx)
	var at Position
	var err error
	switch p.token {
	case "":
	case LastPage:
		at.Backward = true
	default:
		if at, err = k.decode(ctx, source, p.scope, p.order, p.token); err != nil {
			return nil, err
		}
	}
	found, err := k.read(ctx, source, p.order, at, p.size, only)
	if err != nil {
		return nil, err
	}
	result := &Result[T]{Rows: found.rows, Ignored: p.ignored, size: p.size}
	if result.Total, err = k.count.Total(ctx, source, countKey); err != nil {
		return nil, err
	}
	if found.next != nil {
		if result.Next, err = k.encode(p.scope, p.order, *found.next); err != nil {
			return nil, err
		}
	}
	if found.previous != nil {
		result.Previous, err = k.encode(p.scope, p.order, *found.previous)
	}
	return result, err
}

// unverified warns once about a list that Verify has not checked.
func (k *Keyset[T]) unverified(ctx context.Context) {
	if !k.verified.Load() && k.verified.CompareAndSwap(false, true) {
		k.logger.WarnContext(ctx, "keyset: a list is used that was not verified; call its Verify at start-up or in a test", "list", k.resource)
	}
}

func (k *Keyset[T]) newScope(order Order, filter, tenant string) Scope {
	return NewScope(k.resource, order.String(), filter, tenant)
}

// encode writes a cursor. It writes a short cursor if the values are too long.
func (k *Keyset[T]) encode(scope Scope, order Order, at Position) (string, error) {
	cursor, err := k.cursors.Encode(scope, at)
	if !errors.Is(err, errLong) {
		return cursor, err
	}
	short := Position{Backward: at.Backward, Inclusive: at.Inclusive, short: true, sum: sumOf(at.Values)}
	for _, name := range k.tie {
		i := slices.IndexFunc(order.keys, func(key Key) bool { return key.Name == name })
		if i < 0 {
			return "", err
		}
		short.Values = append(short.Values, at.Values[i])
	}
	return k.cursors.Encode(scope, short)
}

func sumOf(values []Value) uint64 {
	h := fnv.New64a()
	for _, v := range values {
		fmt.Fprintf(h, "%d:%d:%d:%d:%s", v.kind, v.nano, v.num, len(v.text), v.text)
	}
	return h.Sum64()
}

func (k *Keyset[T]) decode(ctx context.Context, source Seeker[T], scope Scope, order Order, cursor string) (Position, error) {
	at, err := k.cursors.open(&scope, len(order.keys), len(k.tie), cursor)
	if err == nil && at.short {
		at, err = k.lookUp(ctx, source, order, at)
	}
	if err == nil {
		for i, v := range at.Values {
			if v.IsNull() && !order.keys[i].Nullable {
				err = fmt.Errorf("%w: NULL in a key that has none", ErrInvalidCursor)
			}
		}
	}
	if err == nil || !errors.Is(err, ErrInvalidCursor) {
		return at, err
	}
	kind, detail := ErrInvalidCursor, "Invalid cursor"
	if errors.Is(err, ErrExpiredCursor) {
		kind, detail = ErrExpiredCursor, "Expired cursor"
	}
	status := http.StatusNotFound
	if k.strict {
		status = http.StatusBadRequest
	}
	return at, &pagination.RequestError{
		Status: status, Detail: detail, Parameter: k.cursorParam, Problem: k.strict,
		Kind: kind, Reason: strings.TrimPrefix(err.Error(), ErrInvalidCursor.Error()+": "),
	}
}

// lookUp completes a short position by a look-up of its row.
func (k *Keyset[T]) lookUp(ctx context.Context, source Seeker[T], order Order, at Position) (Position, error) {
	keys := slices.Clone(k.tieOrder.keys)
	for _, key := range order.keys {
		if !slices.Contains(k.tie, key.Name) {
			keys = append(keys, key)
		}
	}
	q := Seek{Order: k.tieOrder, After: at.Values, Inclusive: true, Limit: 1, also: keys}
	b, err := source.Seek(ctx, q)
	if err != nil {
		return Position{}, err
	}
	if err := k.checked(q, &b); err != nil {
		return Position{}, err
	}
	gone := fmt.Errorf("%w: its row was changed or deleted, and its values are too long for a cursor", ErrInvalidCursor)
	if len(b.Rows) == 0 {
		return Position{}, gone
	}
	full := Position{Backward: at.Backward, Inclusive: at.Inclusive, Values: make([]Value, len(order.keys))}
	for i, key := range order.keys {
		full.Values[i] = b.Keys[slices.IndexFunc(keys, func(have Key) bool { return have.Name == key.Name })]
	}
	if sumOf(full.Values) != at.sum {
		return Position{}, gone
	}
	return full, nil
}

// stretch is the content of a page and the positions of its neighbours.
type stretch[T any] struct {
	rows           []T
	next, previous *Position
}

// read reads one page from a position. Without values it starts at the beginning, or at the
// end.
func (k *Keyset[T]) read(ctx context.Context, source Seeker[T], order Order, at Position, size int, only *filter[T]) (stretch[T], error) {
	g, err := k.gather(ctx, source, Seek{
		Order: order, After: at.Values, Inclusive: at.Inclusive, Backward: at.Backward,
		Limit: size + 1, usual: k.preset.Size + 1,
	}, only)
	if err != nil {
		return stretch[T]{}, err
	}
	rows := g.rows
	var ahead, behind *Position // seen in the direction of the cursor
	if g.rest != nil {
		ahead = &Position{Values: g.rest, Backward: at.Backward}
	}
	switch {
	case at.Values == nil && !at.Backward, at.Values == nil && len(rows) == 0:
	case at.Values == nil: // no page is behind the last one
	case len(rows) > 0:
		behind = &Position{Values: g.first, Backward: !at.Backward}
	default:
		// There is no row ahead. The row of the position may be the only neighbour left, so
		// the way back includes it.
		behind = &Position{Values: at.Values, Backward: !at.Backward, Inclusive: !at.Inclusive}
	}
	if at.Backward {
		slices.Reverse(rows)
		return stretch[T]{rows: notNil(rows), next: behind, previous: ahead}, nil
	}
	return stretch[T]{rows: notNil(rows), next: ahead, previous: behind}, nil
}

func notNil[T any](rows []T) []T {
	if rows == nil {
		return []T{}
	}
	return rows
}

// gathered are at most size rows in the order of the walk.
type gathered[T any] struct {
	rows  []T
	first []Value // keys of the first row
	rest  []Value // keys of the last row before more rows; nil at the end of the list
}

// seek reads and checks a batch.
func (k *Keyset[T]) seek(ctx context.Context, source Seeker[T], q Seek) (Batch[T], error) {
	b, err := source.Seek(ctx, q)
	if err == nil {
		err = k.checked(q, &b)
	}
	return b, err
}

// gather reads at most q.Limit-1 rows.
func (k *Keyset[T]) gather(ctx context.Context, source Seeker[T], q Seek, only *filter[T]) (gathered[T], error) {
	if only != nil {
		return k.gatherKept(ctx, source, q, only)
	}
	b, err := k.seek(ctx, source, q)
	if err != nil || len(b.Rows) == 0 {
		return gathered[T]{}, err
	}
	n := len(q.Order.keys)
	g := gathered[T]{rows: b.Rows, first: b.Keys[:n:n]}
	if size := q.Limit - 1; len(b.Rows) > size {
		g.rows = b.Rows[:size]
		if size > 0 {
			g.rest = b.Keys[(size-1)*n : size*n : size*n]
		}
	}
	return g, nil
}
