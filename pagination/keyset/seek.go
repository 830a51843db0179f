package keyset

import "strings"

// Seek describes the rows behind a position in an order.
type Seek struct {
	// Order is the order of the list. A backward seek returns the rows in the opposite
	// order, and the paginator reverses them.
	Order Order
	// After is the position, one value for each key of the order. Default: nil, the
	// beginning (or the end, backwards).
	After []Value
	// Until is the position at which the seek ends. The seek does not include it. Default:
	// nil, the end of the list.
	Until []Value
	// Inclusive includes the row at the position.
	Inclusive bool
	// Backward reads towards the beginning.
	Backward bool
	// Limit is the number of rows to read, at least 1. Paginators read one row more than
	// they show.
	Limit int

	usual int    // the limit of the usual page, which is part of the text
	forms []form // how each key is written; nil = as an unknown type
	also  []Key  // keys to select: the order's and more, for the row of a short cursor
	taps  []int  // columns of the result that hold a key; -1 = a separate column

	outputs []name // the names of Base.Columns that the database reported

	symbolic bool   // arguments are references
	values   source // of the references to After
}

// Fragment is a part of a SQL statement with its arguments. Its ToSql method makes it a
// Sqlizer of squirrel.
type Fragment struct {
	SQL  string // with "?" for each argument
	Args []any  // in the order of SQL
}

// ToSql returns the fragment.
//
//nolint:revive,staticcheck // the name that squirrel's interface has
func (f Fragment) ToSql() (string, []any, error) { return f.SQL, f.Args, nil }

// SQL returns the whole statement for a dialect, in the form that suits its indexes best.
// The columns of the index should be: first the columns that the filter holds equal, then
// the keys of the order, in their directions or all reversed.
//
//   - One direction without NULLs: (a, b) < (?, ?) on PostgreSQL and SQLite. For that form
//     MariaDB and MySQL read the index from its start, so they get the OR form.
//   - Mixed directions or NULLs: a UNION ALL of one range for each run of keys on PostgreSQL
//     and SQLite. MariaDB and MySQL get the OR form: their range optimiser derives the same
//     ranges from it. They use none if a filter holds the first column of the index equal,
//     unless the statement names the index. [SQLSource] does it. For other uses of SQL, name
//     it in [Base].From, as in "sales FORCE INDEX (sales_tenant_created)".
//   - NULLs outside their native place: UNION ALL on PostgreSQL, SQLite, and MariaDB or MySQL.
//   - SQL Server, Oracle and Generic: a bound on the first key and the OR form.
//
// The limit is an argument of the statement, so that page sizes make no new statements.
func (q Seek) SQL(d Dialect, base Base) (string, []any, error) {
	s, err := newStatement(d, &base)
	if err != nil {
		return "", nil, err
	}
	p, err := q.plan(d)
	if err != nil {
		return "", nil, err
	}
	if err := base.visible(d, q.Order.keys, q.outputs); err != nil {
		return "", nil, err
	}
	if err := base.windowless(d); err != nil {
		return "", nil, err
	}
	w := &condWriter{statement: s, plan: p}
	if q.Until != nil {
		end, err := Seek{Order: q.Order, After: q.Until, Backward: !q.Backward, Limit: q.Limit, forms: q.forms, symbolic: q.symbolic, values: fromUntil}.plan(d)
		if err != nil {
			return "", nil, err
		}
		s.until = (&condWriter{statement: s, plan: end}).where
	}
	if len(p.segments) > 1 && p.union {
		if err := w.union(); err != nil {
			return "", nil, err
		}
		return s.b.String(), s.args, nil
	}
	filtered := s.selectFrom(w.keys)
	stretch := segment{} // the whole list
	if len(p.segments) > 0 {
		s.write(also(filtered))
		w.where()
	}
	if len(p.segments) == 1 {
		stretch = p.segments[0]
	}
	w.orderBy(stretch, w.expr)
	w.limit(nil)
	return s.b.String(), s.args, nil
}

// Where returns the condition alone, in "?" form, for a statement from another builder. The
// condition is a row comparison or the OR form, with a bound on the first key if the
// dialect needs it to find the place in the index. Add [Seek.OrderBy] of the same seek.
// [Seek.SQL] is up to a thousand times faster in a long list for mixed directions, and for
// NULLs outside their native place. The adapters in contrib use it too. The SQL is "1=1" at
// the beginning of the list.
func (q Seek) Where(d Dialect) (Fragment, error) {
	p, err := q.plan(d)
	if err != nil {
		return Fragment{}, err
	}
	if len(p.segments) == 0 || len(q.After) == 0 {
		return Fragment{SQL: "1=1"}, nil
	}
	w := &condWriter{statement: questions(d), plan: p}
	w.where()
	return Fragment{SQL: w.b.String(), Args: w.args}, nil
}

// OrderBy returns the text after ORDER BY, reversed for a backward seek. It omits the place
// of NULLs that the position has already passed, so that an index without such a clause has
// the order. The expressions must have no arguments.
func (q Seek) OrderBy(d Dialect) (string, error) {
	p, err := q.plan(d)
	if err != nil {
		return "", err
	}
	w := &condWriter{statement: questions(d), plan: p}
	stretch := segment{}
	if len(p.segments) == 1 && len(q.After) > 0 {
		stretch = p.segments[0]
	}
	w.orderBy(stretch, w.expr)
	return strings.TrimPrefix(w.b.String(), " ORDER BY "), nil
}

// questions is a statement with "?" for each argument.
func questions(d Dialect) *statement {
	return &statement{dialect: d, question: true, inOrder: true, base: &Base{Question: true}}
}
