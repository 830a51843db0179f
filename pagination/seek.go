package pagination

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Seek asks for the rows behind a position in an order.
type Seek struct {
	// Order is the order of the list. Going backwards, rows are wanted in the opposite
	// order; the paginator turns them round.
	Order Order
	// After is the position, one value for each key of the order; nil = the beginning (or
	// the end, backwards).
	After []Value
	// Inclusive asks for the row at the position too.
	Inclusive bool
	// Backward walks towards the beginning.
	Backward bool
	// Limit is the number of rows wanted, at least 1. Paginators ask for one more than
	// they show.
	Limit int
}

// Fragment is a part of a SQL statement with its arguments. Its ToSql method makes it a
// Sqlizer of squirrel, and gorm, bun and goqu take the pair as it is.
type Fragment struct {
	SQL  string // with "?" for each argument
	Args []any
}

// ToSql returns the fragment.
//
//nolint:revive,staticcheck // the name that squirrel's interface has
func (f Fragment) ToSql() (string, []any, error) { return f.SQL, f.Args, nil }

// SQL returns the whole statement for a dialect in the form that its indexes answer
// best. The index should have the order's keys as its columns, in the order's directions
// or all of them reversed, behind the columns that the filter holds equal.
//
//   - One direction, no NULLs: (a, b) < (?, ?) on PostgreSQL and SQLite, which seek by it;
//     MariaDB and MySQL read the index from its start for it and get the OR form.
//   - Mixed directions or NULLs: on PostgreSQL and SQLite a UNION ALL of one range for
//     each run of keys, each with its own limit; on MariaDB and MySQL the OR form, which
//     their range optimiser makes the same ranges of. MariaDB makes none when a filter
//     holds the index's first column equal: name the index in [Base].From then, as in
//     "sales FORCE INDEX (sales_tenant_created)".
//   - NULLs not in their native place: UNION ALL on each of them.
//   - Generic: a bound on the first key and the OR form.
func (q Seek) SQL(d Dialect, base Base) (string, []any, error) {
	s, err := newStatement(d, &base)
	if err != nil {
		return "", nil, err
	}
	p, err := q.plan(d)
	if err != nil {
		return "", nil, err
	}
	w := &condWriter{statement: s, plan: p, first: len(s.args), numbers: make([]int, len(p.keys))}
	if len(p.segments) > 1 && p.union {
		if err := w.union(); err != nil {
			return "", nil, err
		}
		return s.b.String(), s.args, nil
	}
	filtered := s.writeSelect()
	stretch := segment{} // the whole list
	if len(p.segments) > 0 {
		if filtered {
			s.write(" AND ")
		} else {
			s.write(" WHERE ")
		}
		w.where()
	}
	if len(p.segments) == 1 {
		stretch = p.segments[0]
	}
	w.orderBy(stretch, p.exprs())
	w.limit()
	return s.b.String(), s.args, nil
}

// Where returns the condition alone, in "?" form, for a statement that another builder
// writes: a row comparison or OR form, with a bound on the first key where the dialect
// needs it to find the place in the index. For mixed directions and NULLs on PostgreSQL
// and SQLite [Seek.SQL] is faster. The SQL is "1=1" for the beginning of the list.
func (q Seek) Where(d Dialect) (Fragment, error) {
	p, err := q.plan(d)
	if err != nil {
		return Fragment{}, err
	}
	if len(p.segments) == 0 || len(q.After) == 0 {
		return Fragment{SQL: "1=1"}, nil
	}
	w := &condWriter{statement: &statement{dialect: d, question: true}, plan: p, numbers: make([]int, len(p.keys))}
	w.where()
	return Fragment{SQL: w.b.String(), Args: w.args}, nil
}

// OrderBy returns what follows ORDER BY, already reversed when the seek goes backwards.
func (q Seek) OrderBy(d Dialect) (string, error) {
	p, err := q.plan(d)
	if err != nil {
		return "", err
	}
	w := &condWriter{statement: &statement{dialect: d}, plan: p}
	w.orderBy(segment{}, p.exprs())
	return strings.TrimPrefix(w.b.String(), " ORDER BY "), nil
}

// scanKey is a key in the direction of the walk.
type scanKey struct {
	expr      string
	desc      bool
	nullable  bool
	nullsLast bool
	native    bool // NULLs are where the index has them
	value     Value
}

// A seekPlan says which ranges hold the rows behind a position, in the order of the
// walk. The ranges are disjoint: innermost first, the rows that share all keys but the
// last with the position, then those that share one key less.
type seekPlan struct {
	keys     []scanKey
	segments []segment
	union    bool // the ranges are separate SELECTs
	bound    bool // the OR form gets a bound on the first key
	limit    int
}

// segment is a range: the first keys equal to the position, the next ones behind it.
type segment struct {
	from, to int // keys[:from] are equal, keys[from:to] are compared
	test     segmentTest
	strict   bool // the position itself is not in it
}

// fixesFirst reports whether the first key has one value, or NULL, in the segment.
func (s segment) fixesFirst() bool { return s.from > 0 || s.test == isNull }

type segmentTest uint8

const (
	isBehind  segmentTest = iota // compared with the position's value
	isNull                       // NULL
	isNotNull                    // anything but NULL
)

func (q Seek) plan(d Dialect) (*seekPlan, error) {
	if len(q.Order.keys) == 0 {
		return nil, errors.New("pagination: Seek needs an Order made by NewOrder")
	}
	if q.Limit < 1 {
		return nil, errors.New("pagination: Seek needs a positive Limit")
	}
	if len(q.After) != 0 && len(q.After) != len(q.Order.keys) {
		return nil, errors.New("pagination: a position needs one value for each key of its order")
	}
	p := &seekPlan{keys: make([]scanKey, len(q.Order.keys)), limit: q.Limit, bound: d == Generic}
	mixed, foreign := false, false
	for i, k := range q.Order.keys {
		sk := scanKey{expr: k.Expr, desc: k.Desc != q.Backward, nullable: k.Nullable, native: true}
		if k.Nullable {
			nativeLast := k.Desc // NULLs below every value
			if d == Postgres {
				nativeLast = !k.Desc
			}
			last := nativeLast
			switch {
			case k.Nulls != NullsNative:
				last = k.Nulls == NullsLast
			case d == Generic:
				return nil, fmt.Errorf("pagination: say where the NULLs of key %q stand; this database's own place is not known", k.Name)
			}
			sk.native = last == nativeLast && d != Generic
			sk.nullsLast = last != q.Backward
		}
		if len(q.After) != 0 {
			sk.value = q.After[i]
			if sk.value.IsNull() && !k.Nullable {
				return nil, fmt.Errorf("pagination: key %q has a NULL but was not declared Nullable", k.Name)
			}
			if !sk.value.IsNull() && sk.value.kind != k.Kind {
				return nil, fmt.Errorf("pagination: key %q needs a value of kind %v", k.Name, k.Kind)
			}
		}
		mixed = mixed || sk.nullable || i > 0 && sk.desc != p.keys[i-1].desc
		foreign = foreign || !sk.native
		p.keys[i] = sk
	}
	ranges := d == Postgres || d == SQLite
	p.union = ranges && mixed || d == MySQL && foreign
	if len(q.After) == 0 {
		if first := p.keys[0]; p.union && first.nullable && !first.native {
			p.segments = []segment{{test: isNotNull, to: 1}, {test: isNull, to: 1}}
			if !first.nullsLast {
				slices.Reverse(p.segments)
			}
		}
		return p, nil
	}
	rows := d == Postgres || d == SQLite && p.joined(len(p.keys)) == 0
	for to := len(p.keys); to > 0; {
		from := to - 1
		if rows {
			from = p.joined(to)
		}
		p.addSegments(from, to, !q.Inclusive || to < len(p.keys))
		to = from
	}
	return p, nil
}

// joined returns the first of the keys that do for one row comparison ending before a key.
// A NULL in it makes a comparison neither true nor false, so that only its first key may
// have some: behind that one they would be lost. SQLite gets one for a whole order alone:
// an INTEGER PRIMARY KEY takes no part in the search for one, so that it would pass over
// all rows that share the keys before.
func (p *seekPlan) joined(to int) int {
	from := to - 1
	for ; from > 0; from-- {
		before, k := p.keys[from-1], p.keys[from]
		if before.desc != k.desc || k.nullable || before.nullable && before.value.IsNull() {
			break
		}
	}
	return from
}

// addSegments adds the ranges that share keys[:from] with the position and differ from
// it in keys[from:to].
func (p *seekPlan) addSegments(from, to int, strict bool) {
	k := p.keys[from]
	switch {
	case !k.nullable:
		p.segments = append(p.segments, segment{from: from, to: to, strict: strict})
	case !k.value.IsNull():
		p.segments = append(p.segments, segment{from: from, to: to, strict: strict})
		if k.nullsLast {
			p.segments = append(p.segments, segment{from: from, to: to, test: isNull})
		}
	case !k.nullsLast:
		p.segments = append(p.segments, segment{from: from, to: to, test: isNotNull})
	}
}

func (p *seekPlan) exprs() []string {
	exprs := make([]string, len(p.keys))
	for i, k := range p.keys {
		exprs[i] = k.expr
	}
	return exprs
}

// condWriter writes the conditions of a plan.
type condWriter struct {
	*statement
	plan    *seekPlan
	first   int   // arguments of the base
	numbers []int // 1 + argument number of each key's value; 0 = none yet
}

func (w *condWriter) value(i int) {
	v := w.plan.keys[i].value
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
		k := w.plan.keys[i]
		if k.value.IsNull() {
			amongNulls = true
			w.isNull(k)
		} else {
			w.write(k.expr, " = ")
			w.value(i)
		}
		w.write(" AND ")
	}
	switch s.test {
	case isNull:
		w.isNull(w.plan.keys[s.from])
	case isNotNull:
		w.write(w.plan.keys[s.from].expr, " IS NOT NULL")
	default:
		w.compare(s.from, s.to, s.strict, amongNulls)
	}
}

// isNull writes that a key is NULL. SQLite takes the NULLs of an index to be as many as
// the rows of one value; where they are many it would rather read and sort them all from
// an index that begins with another column. The share that it is told keeps it both from
// that and from scanning the table, whatever ANALYZE found.
func (w *condWriter) isNull(k scanKey) {
	if w.dialect == SQLite {
		w.write("likelihood(", k.expr, " IS NULL, 0.015625)")
		return
	}
	w.write(k.expr, " IS NULL")
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

// union writes one SELECT for each segment. Each has its own limit and its own order,
// without the keys that are fixed in it, so that it reads a stretch of the index; the
// few rows that come out are put in order once more. A bare LIMIT is not allowed in a
// compound everywhere, hence the derived tables.
func (w *condWriter) union() error {
	names, err := outputNames(w.base.Columns)
	if err != nil {
		return err
	}
	exprs, extra := w.plan.exprs(), make([]string, len(w.plan.keys))
	outer := make([]string, len(exprs))
	for i, e := range exprs {
		outer[i] = "mainstay_k" + strconv.Itoa(i+1)
		extra[i] = e + " AS " + outer[i]
	}
	w.write("SELECT ", strings.Join(names, ", "), " FROM (")
	for i, s := range w.plan.segments {
		if i > 0 {
			w.write(" UNION ALL ")
		}
		w.write("SELECT * FROM (")
		if w.writeSelect(extra...) {
			w.write(" AND ")
		} else {
			w.write(" WHERE ")
		}
		w.only(s)
		w.orderBy(s, exprs)
		w.limit()
		w.write(") mainstay_s", strconv.Itoa(i+1))
	}
	w.write(") mainstay_u")
	w.orderBy(segment{}, outer)
	w.limit()
	return nil
}

// outputNames returns the names of result columns as the outer SELECT must say them.
func outputNames(columns []string) ([]string, error) {
	names := make([]string, len(columns))
	for i, c := range columns {
		name := strings.TrimSpace(c)
		if at := strings.LastIndex(strings.ToUpper(name), " AS "); at >= 0 && !strings.HasSuffix(name, ")") {
			name = strings.TrimSpace(name[at+4:])
		} else if at := strings.LastIndexByte(name, '.'); at >= 0 {
			name = name[at+1:]
		}
		if !isIdentifier(name) {
			return nil, fmt.Errorf("pagination: column %q needs a name: write it as … AS name", c)
		}
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("pagination: two columns are called %s: give one another name with AS", name)
		}
		names[i] = name
	}
	return names, nil
}

func isIdentifier(s string) bool {
	if len(s) > 2 && (s[0] == '"' && s[len(s)-1] == '"' || s[0] == '`' && s[len(s)-1] == '`') {
		return strings.IndexByte(s[1:len(s)-1], s[0]) < 0
	}
	for i, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r < 0x80 && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}
