package pagination

import (
	"slices"
	"strconv"
)

// condWriter writes the conditions of a plan.
type condWriter struct {
	*statement
	plan    *seekPlan
	first   int   // arguments of the base
	numbers []int // 1 + argument number of each key's value; 0 = none yet
}

// value writes the value of a key. SQLite with sample statistics (STAT4) prepares a
// statement again once it knows a bare parameter of it, for longer than the statement
// runs, and then may leave the index of the order where it takes few rows to be left. An
// expression, which the plus makes of a value of any type, it does not look into.
func (w *condWriter) value(i int) {
	v := w.plan.keys[i].value
	if w.dialect == SQLite {
		w.write("+")
	}
	if w.question {
		w.mark(0, v.Any())
		return
	}
	if w.numbers[i] == 0 {
		w.args = append(w.args, v.Any())
		w.numbers[i] = len(w.args)
	}
	w.mark(w.numbers[i]-1, nil)
}

// where writes all segments as one condition.
func (w *condWriter) where() {
	p := w.plan
	if len(p.segments) == 1 {
		w.only(p.segments[0])
		return
	}
	if w.bound(p) {
		w.write(" AND ")
	}
	w.write("(")
	for i, s := range p.segments {
		if i > 0 {
			w.write(" OR ")
		}
		w.write("(")
		w.segment(s)
		w.write(")")
	}
	if w.dialect == MySQL && !slices.ContainsFunc(p.segments, func(s segment) bool { return !s.fixesFirst() }) {
		w.never()
	}
	w.write(")")
}

// only writes a segment that is a condition of its own.
func (w *condWriter) only(s segment) {
	if w.dialect != MySQL || !s.fixesFirst() {
		w.segment(s)
		return
	}
	w.write("(")
	w.segment(s)
	w.never()
	w.write(")")
}

// never adds what is true of no row. An equality or IS NULL in every alternative makes
// MariaDB look the key up by that alone and read all that have it, the ones before the
// position too, since to its planner a look-up is better than a range of the same index
// and it knows of no LIMIT then. With this alternative no look-up answers the condition,
// and the planner is left with the range, which an impossible comparison does not widen.
func (w *condWriter) never() { w.write(" OR ", w.plan.keys[0].expr, " < NULL") }

// bound writes what holds for every row behind the position: it lets a database that
// does not derive a range from an OR begin in the right place.
func (w *condWriter) bound(p *seekPlan) bool {
	k := p.keys[0]
	if w.dialect == MySQL || !p.bound && !p.union || len(p.segments) == 0 {
		return false
	}
	switch {
	case k.value.IsNull() && k.nullsLast:
		w.write(k.expr, " IS NULL")
	case k.value.IsNull():
		return false
	case k.nullable && k.nullsLast:
		w.write("(")
		w.compare(0, 1, false, false)
		w.write(" OR ", k.expr, " IS NULL)")
	default:
		w.compare(0, 1, false, false)
	}
	return true
}

func (w *condWriter) segment(s segment) {
	amongNulls := false
	for i := range s.from {
		null := w.plan.keys[i].value.IsNull()
		amongNulls = amongNulls || null
		w.hold(i, null)
		w.write(" AND ")
	}
	switch s.test {
	case isNull:
		w.hold(s.from, true)
	case isNotNull:
		w.write(w.plan.keys[s.from].expr, " IS NOT NULL")
	default:
		w.compare(s.from, s.to, s.strict, amongNulls)
	}
}

// hold writes that a key is NULL, or has the position's value. Where SQLite takes the rows
// with that to be many, it would rather read and sort them all from an index that begins
// with another column, or from the primary key's. The share that it is told keeps it both
// from that and from scanning the table, whatever ANALYZE found.
func (w *condWriter) hold(i int, null bool) {
	if w.dialect == SQLite {
		w.write("likelihood(")
	}
	w.write(w.plan.keys[i].expr)
	if null {
		w.write(" IS NULL")
	} else {
		w.write(" = ")
		w.value(i)
	}
	if w.dialect == SQLite {
		w.write(", 0.015625)")
	}
}

// compare writes that keys[from:to] are behind the position. Among the NULLs of another
// key PostgreSQL likes the primary key's index when it takes few rows to be left there; it
// is not told where the position is, and keeps to the index that has the order.
func (w *condWriter) compare(from, to int, strict, amongNulls bool) {
	value := w.value
	if amongNulls && w.dialect == Postgres {
		value = w.hidden
	}
	op := " >"
	if w.plan.keys[from].desc {
		op = " <"
	}
	if !strict {
		op += "="
	}
	if to-from == 1 {
		w.write(w.plan.keys[from].expr, op, " ")
		value(from)
		return
	}
	w.write("(")
	for i := from; i < to; i++ {
		if i > from {
			w.write(", ")
		}
		w.write(w.plan.keys[i].expr)
	}
	w.write(")", op, " (")
	for i := from; i < to; i++ {
		if i > from {
			w.write(", ")
		}
		value(i)
	}
	w.write(")")
}

// hidden writes the value of a key so that PostgreSQL does not know it while it plans. An
// integer alone has a type that compares with every column that such a key may have.
func (w *condWriter) hidden(i int) {
	if w.plan.keys[i].value.kind != KindInt {
		w.value(i)
		return
	}
	w.write("(SELECT CAST(")
	w.value(i)
	w.write(" AS bigint))")
}

// orderBy writes the order of a segment, or of the whole list for the zero segment. It
// leaves out the keys that the segment holds equal to a value, and the NULLS clause of
// keys that are all NULL or never NULL in it: either would keep a database from using its
// index. Keys held to NULL stay, since PostgreSQL does not take IS NULL for an equality
// and would not see that the index has the rows in order. So does the clause of later
// keys on PostgreSQL: only an index with the same clause has the rows behind in order,
// and PostgreSQL wants to see the clause to use that index. On MariaDB all keys stay,
// since it reads such a segment as a range and knows of no equality then.
func (w *condWriter) orderBy(s segment, exprs []string) {
	separator := " ORDER BY "
	for i := range exprs {
		k := w.plan.keys[i]
		if i < s.from && !k.value.IsNull() && w.dialect != MySQL {
			continue
		}
		w.write(separator)
		separator = ", "
		clause := k.nullable && !k.native && (i >= s.to || i > 0 && w.dialect == Postgres)
		if clause && (w.dialect == MySQL || w.dialect == Generic) {
			// 1 for NULL: ascending puts it last.
			test := exprs[i] + " IS NULL"
			if w.dialect == Generic {
				test = "CASE WHEN " + test + " THEN 1 ELSE 0 END"
			}
			w.write(test)
			if !k.nullsLast {
				w.write(" DESC")
			}
			w.write(", ")
		}
		w.write(exprs[i])
		if k.desc {
			w.write(" DESC")
		}
		if clause && (w.dialect == Postgres || w.dialect == SQLite) {
			if k.nullsLast {
				w.write(" NULLS LAST")
			} else {
				w.write(" NULLS FIRST")
			}
		}
	}
}

func (w *condWriter) limit() { w.write(" LIMIT ", strconv.Itoa(w.plan.limit)) }
