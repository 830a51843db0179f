package keyset

import (
	"slices"
	"strconv"
)

// condWriter writes the conditions of a plan.
type condWriter struct {
	*statement
	plan *seekPlan
}

// value writes the value of a key, in the form that compares as the database sorts.
// SQLite with sample statistics (STAT4) prepares a statement again once it knows a bare
// parameter of it, and then may leave the index of the order where few rows are left. It
// does not look into an expression, and the plus of the form makes one of any value.
func (w *condWriter) value(i int) {
	k := &w.plan.keys[i]
	before, after := k.form.bind()
	w.write(before)
	w.param(&k.param)
	w.write(after)
}

// expr writes the expression of a key.
func (w *condWriter) expr(i int) { w.fragment(&w.plan.keys[i].expr) }

// compared writes the expression of a key as it compares with a value.
func (w *condWriter) compared(i int) {
	before, after := w.plan.keys[i].form.compared()
	w.write(before)
	w.expr(i)
	w.write(after)
}

// null writes a test for NULL. A row of PostgreSQL with a NULL in it is neither IS NULL
// nor IS NOT NULL, and sorts among the rows.
func (w *condWriter) null(i int, test string) {
	w.expr(i)
	switch {
	case !w.plan.keys[i].form.composite:
		w.write(test)
	case test == " IS NULL":
		w.write(" IS NOT DISTINCT FROM NULL")
	default:
		w.write(" IS DISTINCT FROM NULL")
	}
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
func (w *condWriter) never() {
	w.write(" OR ")
	w.expr(0)
	w.write(" < NULL")
}

// bound writes what holds for every row behind the position: it lets a database that
// does not derive a range from an OR begin in the right place.
func (w *condWriter) bound(p *seekPlan) bool {
	k := p.keys[0]
	if w.dialect == MySQL || !p.bound && !p.union || len(p.segments) == 0 {
		return false
	}
	switch {
	case k.value.IsNull() && k.nullsLast:
		w.null(0, " IS NULL")
	case k.value.IsNull():
		return false
	case k.nullable && k.nullsLast:
		w.write("(")
		w.compare(0, 1, false, false)
		w.write(" OR ")
		w.null(0, " IS NULL")
		w.write(")")
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
		w.null(s.from, " IS NOT NULL")
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
	if null {
		w.null(i, " IS NULL")
	} else {
		w.compared(i)
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
		w.compared(from)
		w.write(op, " ")
		value(from)
		return
	}
	w.write("(")
	for i := from; i < to; i++ {
		if i > from {
			w.write(", ")
		}
		w.compared(i)
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

// hidden writes the value of a key so that PostgreSQL does not know it while it plans.
// Only a value with a type of its own can be hidden: a sub-select gives it no other.
func (w *condWriter) hidden(i int) {
	k := &w.plan.keys[i]
	switch {
	case k.form.typed():
		w.write("(SELECT ")
		w.value(i)
		w.write(")")
	case k.value.kind == kindInt: // compares with every column that holds such a value
		w.write("(SELECT CAST(")
		w.value(i)
		w.write(" AS bigint))")
	default:
		w.value(i)
	}
}

// orderBy writes the order of a segment, or of the whole list for the zero segment. It
// leaves out the keys that the segment holds equal to a value, and the NULLS clause of
// keys that are all NULL or never NULL in it: either would keep a database from using its
// index. Keys held to NULL stay, since PostgreSQL does not take IS NULL for an equality
// and would not see that the index has the rows in order. So does the clause of later
// keys on PostgreSQL: only an index with the same clause has the rows behind in order,
// and PostgreSQL wants to see the clause to use that index. On MariaDB all keys stay,
// since it reads such a segment as a range and knows of no equality then.
func (w *condWriter) orderBy(s segment, expr func(int)) {
	separator := " ORDER BY "
	for i, k := range w.plan.keys {
		if i < s.from && !k.value.IsNull() && w.dialect != MySQL {
			continue
		}
		w.write(separator)
		separator = ", "
		clause := k.nullable && !k.native && (i >= s.to || i > 0 && w.dialect == Postgres)
		if clause && !w.dialect.nullsClause() {
			// 1 for NULL: ascending puts it last.
			if w.dialect != MySQL {
				w.write("CASE WHEN ")
			}
			expr(i)
			w.write(" IS NULL")
			if w.dialect != MySQL {
				w.write(" THEN 1 ELSE 0 END")
			}
			if !k.nullsLast {
				w.write(" DESC")
			}
			w.write(", ")
		}
		expr(i)
		if k.desc {
			w.write(" DESC")
		}
		if clause && w.dialect.nullsClause() {
			if k.nullsLast {
				w.write(" NULLS LAST")
			} else {
				w.write(" NULLS FIRST")
			}
		}
	}
}

// limit writes the number of rows. The usual page of a list has it in its text, so that
// the database plans for it once. Other sizes are bound, so that a client that chooses
// sizes makes no new statements.
func (w *condWriter) limit(offset *fragment) {
	number := func() {
		if w.plan.literal > 0 {
			w.write(strconv.Itoa(w.plan.literal))
		} else {
			w.param(&w.plan.limit)
		}
	}
	if w.dialect == SQLServer || w.dialect == Oracle {
		w.write(" OFFSET ")
		if offset == nil {
			w.write("0")
		} else {
			w.param(offset)
		}
		w.write(" ROWS FETCH NEXT ")
		number()
		w.write(" ROWS ONLY")
		return
	}
	w.write(" LIMIT ")
	number()
	if offset != nil {
		w.write(" OFFSET ")
		w.param(offset)
	}
}
