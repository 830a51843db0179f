package keyset

import (
	"slices"
	"strconv"
	"strings"
)

// union writes one SELECT for each segment.
func (w *condWriter) union() error {
	names, err := w.dialect.outputNames(w.base.Columns)
	if err != nil {
		return err
	}
	w.b.Grow(len(w.plan.segments) * (len(w.columns.sql) + len(w.from.sql) + len(w.filter.sql) + 200))
	if w.dialect == SQLite && w.plan.returned(w.dialect, w.base.Columns) {
		w.merge()
		return nil
	}
	w.stack(names)
	return nil
}

// merge writes the SELECTs with one order and one limit for all. SQLite runs them in
// parallel, each along its part of the index, and stops at the limit: half the time of
// stack. It needs the keys among the columns.
func (w *condWriter) merge() {
	for i, s := range w.plan.segments {
		if i > 0 {
			w.write(" UNION ALL ")
		}
		w.segmentSelect(s, w.keys)
	}
	w.orderBy(segment{}, w.expr)
	w.limit(nil)
}

// returned reports whether all keys are among the columns of the result. SQLite does not
// find a sub-select there.
func (p *seekPlan) returned(d Dialect, columns []string) bool {
	for _, k := range p.keys {
		if strings.IndexByte(k.expr.sql, '(') >= 0 || !slices.ContainsFunc(columns, func(column string) bool {
			expr, _ := d.splitAlias(column)
			return expr == k.expr.sql && len(k.expr.args) == 0
		}) {
			return false
		}
	}
	return true
}

// stack writes the SELECTs as derived tables, because some databases do not allow a bare
// LIMIT in a compound. Each SELECT has its own limit and its own order, without the keys
// that are fixed in it, so that it reads one part of the index. The few resulting rows are
// then sorted again.
func (w *condWriter) stack(names []string) {
	outer := func(i int) { w.write("mainstay_o", strconv.Itoa(i+1)) }
	w.write("SELECT ", strings.Join(names, ", "))
	if w.base.Keys {
		for i := range w.plan.selected {
			w.key(i, func() { outer(i) })
		}
	}
	w.write(" FROM (")
	for i, s := range w.plan.segments {
		if i > 0 {
			w.write(" UNION ALL ")
		}
		w.write("SELECT * FROM (")
		w.segmentSelect(s, func() {
			for i, k := range w.plan.selected { // begins with the keys of the order
				before, after := k.form.sorted()
				w.write(", ", before)
				if i < len(w.plan.keys) {
					w.expr(i)
				} else {
					w.fragment(&k.expr)
				}
				w.write(after, " AS ")
				outer(i)
			}
		})
		w.orderBy(s, w.expr)
		w.limit(nil)
		w.write(") mainstay_s", strconv.Itoa(i+1))
	}
	w.write(") mainstay_u")
	w.orderBy(segment{}, outer)
	w.limit(nil)
}

// keys writes the sort keys as columns of the result.
func (w *condWriter) keys() {
	if !w.base.Keys {
		return
	}
	for i := range w.plan.selected {
		w.key(i, func() { w.fragment(&w.plan.selected[i].expr) })
	}
}

// key writes one sort key so that the driver returns its whole value, unless a column of
// the list holds it.
func (w *condWriter) key(i int, expr func()) {
	if w.plan.selected[i].tap {
		return
	}
	before, after := w.plan.selected[i].form.sel()
	w.write(", ", before)
	expr()
	w.write(after, " AS mainstay_k", strconv.Itoa(i+1))
}

// segmentSelect writes the SELECT of a segment, without order and limit.
func (w *condWriter) segmentSelect(s segment, extra func()) {
	if w.selectFrom(extra) {
		w.write(" AND ")
	} else {
		w.write(" WHERE ")
	}
	w.only(s)
}
