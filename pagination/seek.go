package pagination

import (
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
//   - Mixed directions or NULLs: on PostgreSQL a UNION ALL of one range for each run of
//     keys, each with its own limit; on SQLite too, which merges the ranges without a sort
//     where all keys are among the columns; on MariaDB and MySQL the OR form, which
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
	if err := p.visible(base.Columns); err != nil {
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
