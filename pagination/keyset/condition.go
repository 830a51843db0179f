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

// value writes the value of a key in the form that compares in the order of the database.
// SQLite with sample statistics (STAT4) prepares a statement again when it learns the value
// of a bare parameter. If few rows are left, it may then leave the index of the order. It
// does not look into expressions, and the plus in the form makes an expression of any
// value.
func (w *condWriter) value(i int) {
	k := &w.plan.keys[i]
	before, after := k.form.bind()
	w.write(before)
	w.param(&k.param)
	w.write(after)
}

// expr writes the expression of a key as an operand. Without brackets, "a > 1" or "a IS
// NULL" would be read together with the comparison behind it.
func (w *condWriter) expr(i int) {
	k := &w.plan.keys[i]
	before, after := k.form.order()
	if before == "" && !w.dialect.operand(k.expr.sql) {
		before, after = "(", ")"
	}
	w.write(before)
	w.fragment(&k.expr)
	w.write(after)
}

// compared writes the expression of a key in the form for a comparison with a value.
func (w *condWriter) compared(i int) {
	before, after := w.plan.keys[i].form.compared()
	w.write(before)
	w.expr(i)
	w.write(after)
}

// null writes a test for NULL. In PostgreSQL, a row value that contains a NULL is neither
// IS NULL nor IS NOT NULL, and sorts among the other rows.
func (w *condWriter) null(i int, test string) {
	zeros := w.plan.keys[i].form.zeros && test == " IS NULL"
	if zeros {
		w.write("(")
	}
	w.expr(i)
	switch {
	case zeros:
		w.write(" <=> NULL)")
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

// only writes a segment as a complete condition.
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

// never adds an alternative that matches no row. If every alternative has an equality or IS
// NULL, MariaDB looks the key up by that condition alone. It then reads all rows with that
// key, including the rows before the position: its planner prefers a look-up to a range of
// the same index and ignores the LIMIT there. With this alternative a look-up cannot
// satisfy the condition. The planner must use the range, and an impossible comparison does
// not widen it.
func (w *condWriter) never() {
	w.write(" OR ")
	w.expr(0)
	w.write(" < NULL")
}

// bound writes a condition that holds for every row behind the position. It is for
// databases that do not derive a range from an OR, which can then begin in the right place.
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

// hold writes that a key is NULL or equals the position's value. If SQLite expects many
// such rows, it prefers to read and sort all of them from the primary key's index or from
// an index that begins with another column. The likelihood in the statement prevents that.
// It also prevents a scan of the table, independent of the statistics of ANALYZE.
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
// key, PostgreSQL prefers the primary key's index if it expects few remaining rows. The
// position is hidden from its planner, so it keeps the index that has the order.
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

// hidden writes the value of a key so that PostgreSQL does not know it during planning.
// Only a value with its own type can be hidden, because a sub-select does not infer another
// type.
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
// omits the keys that are equal to a value in the segment. It omits the NULLS clause of
// keys that are all NULL or never NULL in it. Either could keep a database from using its
// index. Keys held to NULL stay: PostgreSQL does not treat IS NULL as an equality, and
// would not see that the index has the rows in order. On PostgreSQL the clause of later
// keys stays too: only an index with the same clause has those rows in order, and
// PostgreSQL uses it only with the clause. On MariaDB all keys stay: it reads such a
// segment as a range and sees no equality.
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

// limit writes the number of rows. The usual page size of a list is part of the text, so
// that the database plans for it once. Other sizes are bound, so that a client that chooses
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
