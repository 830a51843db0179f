package keyset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// outputs runs the columns of the list over no rows, once for each list. It returns their
// names, and rejects a column that changes which rows there are: an aggregate makes a row of
// no rows. Plain columns need no statement.
func (s SQLSource[T]) outputs(ctx context.Context, cache *listCache) ([]name, error) {
	if s.Dialect.plain(s.Base.Columns) {
		return nil, nil
	}
	key := typeKey{dialect: s.Dialect, from: s.Base.From, query: s.Base.masked(s.Dialect), expr: strings.Join(s.Base.Columns, "\x00")}
	cache.mu.RLock()
	names, ok := cache.outputs[key]
	cache.mu.RUnlock()
	if ok {
		return names, nil
	}
	names, row, err := s.nothing(ctx, s.Base)
	switch {
	case err != nil:
	case row:
		err = s.manyRows(ctx)
	default:
		err = s.setReturning(ctx)
	}
	if err != nil {
		return nil, err
	}
	cache.mu.Lock()
	defer cache.mu.Unlock()
	if cache.outputs == nil || len(cache.outputs) >= mostCached {
		cache.outputs = make(map[typeKey][]name)
	}
	cache.outputs[key] = names
	return names, nil
}

// nothing selects the columns of a base from no rows. It returns their names, and whether
// there is a row.
func (s SQLSource[T]) nothing(ctx context.Context, b Base) (names []name, row bool, err error) {
	st, err := newStatement(s.Dialect, &b)
	if err != nil {
		return nil, false, err
	}
	st.write(also(st.selectFrom(nil)), "1 = 0")
	rows, err := s.run(ctx, st.b.String(), st.args)
	if err != nil {
		return nil, false, fmt.Errorf("keyset: Base.Columns could not be read: %w", err)
	}
	defer rows.Close()
	if c, ok := rows.(interface{ Columns() ([]string, error) }); ok {
		texts, err := c.Columns()
		if err != nil {
			return nil, false, err
		}
		if len(texts) == len(b.Columns) {
			for _, text := range texts {
				names = append(names, s.Dialect.reported(text))
			}
		}
	}
	row = rows.Next()
	return names, row, rows.Err()
}

// manyRows returns the error for columns that make one row of many, and names the column.
func (s SQLSource[T]) manyRows(ctx context.Context) error {
	for i, sql := range s.Base.Columns {
		if _, row, err := s.nothing(ctx, s.Base.only(s.Dialect, i)); err == nil && row {
			return fmt.Errorf("keyset: Base.Columns has %q, which makes one row of the list; use a sub-select over its own table, or write the whole statement into Base.Query", sql)
		}
	}
	return errors.New("keyset: Base.Columns make one row of the list; write the whole statement into Base.Query")
}

// only returns the base with one of its columns.
func (b Base) only(d Dialect, i int) Base {
	before, own := Base{Columns: b.Columns[:i]}, Base{Columns: b.Columns[i : i+1]}
	from, all := columnArgs(d, &before), columnArgs(d, &b) // none if the placeholders have numbers
	if all <= len(b.Args) {
		b.Args = slices.Concat(b.Args[from:from+columnArgs(d, &own)], b.Args[all:])
	}
	b.Columns = own.Columns
	return b
}

// setReturning rejects a column that makes several rows of one. Only PostgreSQL has such
// functions.
func (s SQLSource[T]) setReturning(ctx context.Context) error {
	multiplies := func(b Base) (bool, error) {
		if s.Dialect != Postgres || !s.Dialect.calls(b.Columns...) {
			return false, nil
		}
		st, err := newStatement(s.Dialect, &b)
		if err != nil {
			return false, err
		}
		st.write("EXPLAIN (COSTS OFF) ")
		st.selectFrom(func() { st.write(constant) })
		return s.multiplies(ctx, st)
	}
	if found, err := multiplies(s.Base); err != nil || !found {
		return err
	}
	for i, sql := range s.Base.Columns {
		if found, err := multiplies(s.Base.only(s.Dialect, i)); err == nil && found {
			return fmt.Errorf("keyset: Base.Columns has %q, which %s", sql, severalRows)
		}
	}
	return errors.New("keyset: Base.Columns has a column which " + severalRows)
}

const severalRows = "makes several rows of one; call the function in From, behind CROSS JOIN LATERAL, or write the whole statement into Base.Query"

// constant is a further column. It keeps the node of a sub-select in From above the node of
// the functions in it.
const constant = ", 1 AS mainstay_one"

// calls reports whether one of the texts may call a function outside of its sub-selects.
func (d Dialect) calls(texts ...string) bool {
	return slices.ContainsFunc(texts, func(sql string) bool { return strings.IndexByte(d.stripped(sql), '(') >= 0 })
}

// multiplies reads a plan of PostgreSQL and reports whether a column of the outer SELECT
// calls a function that returns rows.
func (s SQLSource[T]) multiplies(ctx context.Context, st *statement) (bool, error) {
	plan, err := s.table(ctx, st.b.String(), st.args)
	if err != nil {
		return false, err
	}
	for i, line := range plan[1:] {
		node, ok := strings.CutPrefix(strings.TrimSpace(line[0]), "->")
		switch strings.TrimSpace(node) {
		case "ProjectSet":
			return true, nil
		case "Result", "Gather", "Gather Merge": // may stand above it
		default:
			if ok || i == 0 {
				return false, nil
			}
		}
	}
	return false, nil
}

// checkKeys rejects a sort key that makes one row of the list, or several rows of one.
func (s SQLSource[T]) checkKeys(ctx context.Context, keys []Key) error {
	found, err := s.changesRows(ctx, keys)
	if err != nil || !found {
		return err
	}
	problem := "makes one row of the list; use a sub-select over its own table, or write the whole statement into Base.Query"
	if s.Dialect == Postgres {
		problem = severalRows
	}
	for i, k := range keys {
		if found, err = s.changesRows(ctx, keys[i:i+1]); err == nil && found {
			return &WalkError{Column: k.Name, Problem: problem}
		}
	}
	return &WalkError{Column: keys[0].Name, Problem: problem}
}

// changesRows asks the database whether a key changes how many rows there are. PostgreSQL
// itself rejects the functions that make one row of many.
func (s SQLSource[T]) changesRows(ctx context.Context, keys []Key) (bool, error) {
	if !slices.ContainsFunc(keys, func(k Key) bool { return s.Dialect.calls(k.Expr) }) {
		return false, nil
	}
	b := s.Base
	b.Columns, b.Args = onlyOne, b.Args[min(columnArgs(s.Dialect, &b), len(b.Args)):]
	st, err := newStatement(s.Dialect, &b)
	if err != nil {
		return false, err
	}
	if s.Dialect == Postgres {
		st.write("EXPLAIN (COSTS OFF) ")
		st.selectKeys(keys, constant)
		return s.multiplies(ctx, st)
	}
	st.selectKeys(keys, "")
	rows, err := s.run(ctx, st.b.String(), st.args)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	return rows.Next(), rows.Err()
}

// selectKeys writes SELECT with the keys as mainstay_k1, mainstay_k2, … and further columns,
// over no rows.
func (s *statement) selectKeys(keys []Key, further string) {
	s.write("SELECT ")
	for i, k := range keys {
		if i > 0 {
			s.write(", ")
		}
		s.fragment(&fragment{sql: k.Expr, args: k.Args})
		s.write(" AS mainstay_k", strconv.Itoa(i+1))
	}
	s.write(further)
	s.columns.first = 0
	s.write(also(s.fromWhere()), "1 = 0")
}

// also returns the word before a further condition.
func also(filtered bool) string {
	if filtered {
		return " AND "
	}
	return " WHERE "
}
