package keyset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// VerifyOptions are the options of [Keyset.Verify].
type VerifyOptions struct {
	// Samples is the number of positions to compare in each order. Default: 5.
	Samples int
	// CountRows is the size limit of a list for counting the rows behind each sample. This
	// count finds every row that a walk would lose. Default: 100,000.
	CountRows int64
}

// Report is the result of [Keyset.Verify].
type Report struct {
	Rows   int64         // rows of the list
	Orders []OrderReport // each column in both directions, and the default order
}

// OrderReport describes how one order of a list is read.
type OrderReport struct {
	Ordering string // in the form of a client
	Samples  int    // compared positions
	Plan     string // EXPLAIN of a page in the middle
	Slow     string // why the database does not seek by an index; "" if it does
}

// sampler is a source that can compare its walks with the order of the database.
type sampler interface {
	verify(ctx context.Context, k verified, opts VerifyOptions) (*Report, error)
}

// verified is a keyset without its row type.
type verified interface {
	resourceName() string
	orders() ([]string, []Order, error)
	tieColumns() []Key
	allColumns() []Key
}

func (k *Keyset[T]) resourceName() string { return k.resource }
func (k *Keyset[T]) tieColumns() []Key    { return k.tieOrder.keys }

func (k *Keyset[T]) allColumns() []Key {
	keys := make([]Key, len(k.names))
	for i, name := range k.names {
		keys[i], _ = k.key(name, false)
	}
	return keys
}

func (k *Keyset[T]) orders() (names []string, orders []Order, err error) {
	for _, name := range append([]string{""}, k.names...) {
		for _, sign := range []string{"", "-"} {
			if name == "" && sign == "-" {
				continue
			}
			order, err := k.Order(sign + name)
			if err != nil {
				return nil, nil, err
			}
			names, orders = append(names, sign+name), append(orders, order)
		}
	}
	return names, orders, nil
}

// Verify compares a list with its database, at start-up or in a test. For a [SQLSource],
// and for a type that embeds one, it reads the types of the sort keys. It looks for NULLs
// and duplicates that the declaration excludes. It compares sampled positions in every
// order with the ORDER BY of the database, and explains a page of each order. The first
// disagreement is a [WalkError]. A slow plan is part of the report and not an error,
// because the planner of a small table scans it. Any other source is walked in both
// directions.
//
// The queries for NULLs and duplicates read the whole list. opts may be nil.
func (k *Keyset[T]) Verify(ctx context.Context, source Seeker[T], opts *VerifyOptions) (*Report, error) {
	var o VerifyOptions
	if opts != nil {
		o = *opts
	}
	if o.Samples < 2 {
		o.Samples = 5
	}
	o.CountRows = cmp.Or(o.CountRows, 100_000)
	var report *Report
	var err error
	if s, ok := source.(sampler); ok {
		report, err = s.verify(ctx, k, o)
	} else {
		report, err = k.verifyWalks(ctx, source)
	}
	if w := (*WalkError)(nil); errors.As(err, &w) && w.List == "" {
		err = &WalkError{List: k.resource, Column: w.Column, Problem: w.Problem}
	}
	if err == nil {
		k.verified.Store(true)
	}
	return report, err
}

// verifyWalks reads at most a thousand rows of each order, in pages and in one query.
func (k *Keyset[T]) verifyWalks(ctx context.Context, source Seeker[T]) (*Report, error) {
	names, orders, err := k.orders()
	if err != nil {
		return nil, err
	}
	report := &Report{}
	for i, order := range orders {
		n := len(order.keys)
		last := order.keys[n-1]
		for _, backward := range []bool{false, true} {
			whole, err := k.seek(ctx, source, Seek{Order: order, Limit: 1000, Backward: backward})
			if err != nil {
				return report, err
			}
			report.Rows = max(report.Rows, int64(len(whole.Rows)))
			at, walked := []Value(nil), 0
			for walked < len(whole.Rows) {
				part, err := k.seek(ctx, source, Seek{Order: order, Limit: 7, Backward: backward, After: at})
				if err != nil {
					return report, err
				}
				m := min(len(part.Keys), len(whole.Keys)-walked*n)
				if len(part.Rows) == 0 || !equalValues(part.Keys[:m], whole.Keys[walked*n:walked*n+m]) {
					return report, k.broken(last, fmt.Sprintf("loses rows: ordered by %q, pages and the whole list differ after %d rows", names[i], walked))
				}
				walked += len(part.Rows)
				at = slices.Clone(part.Keys[len(part.Keys)-n:])
			}
		}
		report.Orders = append(report.Orders, OrderReport{Ordering: names[i], Samples: int(report.Rows)})
	}
	return report, nil
}

// verify implements sampler.
func (s SQLSource[T]) verify(ctx context.Context, k verified, o VerifyOptions) (*Report, error) {
	names, orders, err := k.orders()
	if err != nil {
		return nil, err
	}
	columns := k.allColumns()
	if _, err := s.forms(ctx, orders[0].cache, columns); err != nil {
		return nil, err
	}
	if _, err := s.outputs(ctx, orders[0].cache); err != nil {
		return nil, err
	}
	report := &Report{}
	if report.Rows, err = s.verifyRows(ctx, columns, k.tieColumns()); err != nil {
		return report, err
	}
	for i, order := range orders {
		r, err := s.verifyOrder(ctx, names[i], order, report.Rows, o)
		if err != nil {
			return report, err
		}
		report.Orders = append(report.Orders, r)
	}
	return report, nil
}

// verifyRows counts the rows, their NULLs and the distinct values of unique columns.
func (s SQLSource[T]) verifyRows(ctx context.Context, columns, tie []Key) (int64, error) {
	b := *s.counting()
	b.From = s.Base.From
	st, err := newStatement(s.Dialect, &b)
	if err != nil {
		return 0, err
	}
	st.write("SELECT COUNT(*)")
	for _, k := range columns {
		st.write(", COUNT(")
		st.fragment(&fragment{sql: k.Expr, args: k.Args})
		st.write(")")
	}
	st.fromWhere()
	counts := make([]int64, 1+len(columns))
	dest := make([]any, len(counts))
	for i := range counts {
		dest[i] = &counts[i]
	}
	if err := s.row(ctx, st, dest); err != nil {
		return 0, err
	}
	n := counts[0]
	for i, k := range columns {
		if !k.Nullable && counts[1+i] < n {
			return n, &WalkError{Column: k.Name, Problem: fmt.Sprintf("has %d NULLs but was not declared Nullable", n-counts[1+i])}
		}
	}
	counted, err := s.Count(ctx)
	if err != nil {
		return n, err
	}
	unique := [][]Key{tie}
	for _, k := range columns {
		if k.Unique && !k.Nullable && (len(tie) > 1 || tie[0].Name != k.Name) {
			unique = append(unique, []Key{k})
		}
	}
	for _, keys := range unique {
		st, err := newStatement(s.Dialect, &b)
		if err != nil {
			return n, err
		}
		st.write("SELECT COUNT(*) FROM (SELECT DISTINCT ")
		for i, k := range keys {
			if i > 0 {
				st.write(", ")
			}
			st.fragment(&fragment{sql: k.Expr, args: k.Args})
			fmt.Fprintf(&st.b, " AS mainstay_k%d", i+1)
		}
		st.fromWhere()
		st.write(") mainstay_d")
		var distinct int64
		if err := s.row(ctx, st, []any{&distinct}); err != nil {
			return n, err
		}
		if distinct < n {
			return n, &WalkError{Column: keys[0].Name, Problem: fmt.Sprintf("was declared unique and is not: %d rows have %d values. A join may multiply rows", n, distinct)}
		}
	}
	if counted != n {
		return n, fmt.Errorf("keyset: the list has %d rows and its count says %d; check CountFrom", n, counted)
	}
	return n, nil
}

func (s SQLSource[T]) row(ctx context.Context, st *statement, dest []any) error {
	rows, err := s.run(ctx, st.b.String(), st.args)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return errors.Join(errors.New("keyset: the database returned no row"), rows.Err())
	}
	return errors.Join(rows.Scan(dest...), rows.Err())
}

// verifyOrder compares positions with the order of the database.
func (s SQLSource[T]) verifyOrder(ctx context.Context, name string, order Order, rows int64, o VerifyOptions) (OrderReport, error) {
	r := OrderReport{Ordering: name}
	wrong := func(problem string, args ...any) (OrderReport, error) {
		return r, &WalkError{Column: order.keys[0].Name, Problem: fmt.Sprintf("ordered by %q: %s", name, fmt.Sprintf(problem, args...))}
	}
	n := len(order.keys)
	var middle []Value
	last := int64(-1)
	for i := range int64(o.Samples) {
		offset := i * (rows - 2) / int64(o.Samples-1)
		if rows < 2 || offset == last {
			continue
		}
		last = offset
		pair, err := s.at(ctx, order, offset)
		if err != nil {
			return r, err
		}
		if len(pair.Rows) < 2 { // rows were deleted during Verify
			break
		}
		first, second := pair.Keys[:n:n], pair.Keys[n:]
		if equalValues(first, second) {
			return wrong("two rows have the same sort keys")
		}
		next, err := s.Seek(ctx, Seek{Order: order, After: first, Limit: 1})
		if err != nil {
			return r, err
		}
		if len(next.Rows) == 0 || !equalValues(next.Keys, second) {
			return wrong("the row behind row %d is another than the database sorts there; its comparison and its order disagree", offset)
		}
		back, err := s.Seek(ctx, Seek{Order: order, After: second, Backward: true, Limit: 1})
		if err != nil {
			return r, err
		}
		if len(back.Rows) == 0 || !equalValues(back.Keys, first) {
			return wrong("the row before row %d is another than the database sorts there; its comparison and its order disagree", offset+1)
		}
		if rows <= o.CountRows {
			behind, err := s.behind(ctx, Seek{Order: order, After: first, Limit: 1})
			if err != nil {
				return r, err
			}
			if behind != rows-offset-1 {
				return wrong("%d rows lie behind row %d, and a walk finds %d of them", rows-offset-1, offset, behind)
			}
		}
		r.Samples++
		if i <= int64(o.Samples)/2 {
			middle = first
		}
	}
	if middle == nil {
		return r, nil
	}
	var err error
	r.Plan, r.Slow, err = s.explain(ctx, Seek{Order: order, After: middle, Limit: 26})
	return r, err
}

// at reads the rows at an offset, with their keys.
func (s SQLSource[T]) at(ctx context.Context, order Order, offset int64) (Batch[T], error) {
	forms, err := s.forms(ctx, order.cache, order.keys)
	if err != nil {
		return Batch[T]{}, err
	}
	base := s.Base
	base.Keys = true
	st, err := newStatement(s.Dialect, &base)
	if err != nil {
		return Batch[T]{}, err
	}
	at := taps(s.Dialect, s.Base.Columns, order.keys, forms)
	plan, err := Seek{Order: order, Limit: 2, forms: forms, taps: at}.plan(s.Dialect)
	if err != nil {
		return Batch[T]{}, err
	}
	w := &condWriter{statement: st, plan: plan}
	st.selectFrom(w.keys)
	w.orderBy(segment{}, w.expr)
	w.limit(&fragment{sql: "?", args: []any{offset}})
	rows, err := s.run(ctx, st.b.String(), st.args)
	if err != nil {
		return Batch[T]{}, err
	}
	return s.collect(rows, Batch[T]{}, len(base.Columns), forms, at, nil)
}

// behind counts the rows behind a position.
func (s SQLSource[T]) behind(ctx context.Context, q Seek) (int64, error) {
	var err error
	if q.forms, err = s.forms(ctx, q.Order.cache, q.Order.keys); err != nil {
		return 0, err
	}
	b := *s.counting()
	b.From, b.Columns = s.Base.From, []string{countAll}
	st, err := newStatement(s.Dialect, &b)
	if err != nil {
		return 0, err
	}
	plan, err := q.plan(s.Dialect)
	if err != nil {
		return 0, err
	}
	filtered := st.selectFrom(nil)
	if len(plan.segments) > 0 {
		st.write(map[bool]string{true: " AND ", false: " WHERE "}[filtered])
		(&condWriter{statement: st, plan: plan}).where()
	}
	return s.scalar(ctx, st.b.String(), st.args)
}
