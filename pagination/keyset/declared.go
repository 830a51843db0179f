package keyset

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"strconv"
)

// declared compares the declaration of an order with the list, after a seek that reached the
// end of the list. The comment of SQLSource has the rule. A check that found a fault is
// repeated at the next end.
func (s SQLSource[T]) declared(ctx context.Context, q Seek, keys []Value) error {
	key := indexKey{s.Base.From, s.Base.Where, s.Base.masked(s.Dialect), q.Order.spec}
	cache := q.Order.cache
	cache.mu.RLock()
	n := cache.ends[key] + 1
	cache.mu.RUnlock()
	if n&(n-1) == 0 {
		last := q.After
		if len(keys) > 0 {
			last = keys[len(keys)-len(q.Order.keys):]
		}
		if err := s.checkDeclared(ctx, q.Order, last); err != nil {
			return err
		}
	}
	cache.mu.Lock()
	defer cache.mu.Unlock()
	if cache.ends == nil || len(cache.ends) >= mostCached {
		cache.ends = make(map[indexKey]uint64)
	}
	cache.ends[key] = n
	return nil
}

func (s SQLSource[T]) checkDeclared(ctx context.Context, order Order, last []Value) error {
	forms, err := s.forms(ctx, order.cache, order.keys)
	if err != nil {
		return err
	}
	var never []int // keys that must not be NULL, and may be one for the database
	for i, k := range order.keys {
		if !k.Nullable && !forms[i].notNull {
			never = append(never, i)
		}
	}
	if len(never) > 0 {
		n, err := s.find(ctx, order, forms, func(w *condWriter) {
			w.write("CASE")
			for _, i := range never {
				w.write(" WHEN ")
				w.null(i, " IS NULL")
				w.write(" THEN ", strconv.Itoa(i+1))
			}
			w.write(" END")
		}, func(w *condWriter, filtered bool) {
			separator := map[bool]string{true: " AND (", false: " WHERE ("}[filtered]
			for _, i := range never {
				w.write(separator)
				w.null(i, " IS NULL")
				separator = " OR "
			}
			w.write(")")
		})
		if err != nil {
			return err
		}
		if n > 0 && n <= len(order.keys) {
			return &WalkError{Column: order.keys[n-1].Name, Problem: undeclaredNull}
		}
	}
	if uncertain, err := s.uncertain(ctx, order, forms, last); err != nil || !uncertain {
		return err
	}
	n, err := s.find(ctx, order, forms, func(w *condWriter) { w.write("1") }, func(w *condWriter, _ bool) {
		separator := " GROUP BY "
		for i := range order.keys {
			w.write(separator)
			w.expr(i)
			separator = ", "
		}
		w.write(" HAVING COUNT(*) > 1")
	})
	if err == nil && n > 0 {
		err = &WalkError{
			Column:  order.keys[len(order.keys)-1].Name,
			Problem: "was declared unique and is not: the order takes two values of the list for equal, which the database writes differently. Sort in the collation of a unique index, or add a column that tells the rows apart",
		}
	}
	return err
}

// uncertain reports whether two values of a key that breaks ties may differ in Go and be
// equal in the order. A column of a table has a unique index in its own collation. An
// expression and a column of a sub-select, of a view and of Base.Query have none.
func (s SQLSource[T]) uncertain(ctx context.Context, order Order, forms []form, last []Value) (bool, error) {
	from := 0
	if order.keys[len(order.keys)-1].Unique {
		from = len(order.keys) - 1
	}
	checked := false
	for i := from; i < len(last); i++ {
		if last[i].kind != kindText || forms[i].class == classTime || forms[i].class == classOID {
			continue
		}
		expr := order.keys[i].Expr
		list := s.Dialect.tokens(expr)
		if s.Base.Query != "" || path(expr, list) < len(list) || forms[i].compound || s.Dialect.derived(s.Base.From) {
			return true, nil
		}
		checked = true
	}
	if !checked {
		return false, nil
	}
	return s.views(ctx)
}

// derived reports whether FROM has a sub-select or a function.
func (d Dialect) derived(from string) bool {
	list := d.tokens(from)
	for i, t := range list {
		if t.kind != code || from[t.at] != '(' {
			continue
		}
		if d.isSelect(from, t.end) {
			return true
		}
		if i == 0 || !isName(from, list[i-1]) {
			continue
		}
		before := i - 2 // the token before the name in front of the bracket
		for before > 0 && from[list[before].at] == '.' {
			before -= 2
		}
		if before < 0 || from[list[before].at] == ',' || tables.MatchString(from[list[before].at:list[before].end]) {
			return true
		}
	}
	return false
}

// tables are the words before a table.
var tables = regexp.MustCompile(`^(?i:JOIN|LATERAL|ONLY)$`)

// views asks the database whether a word in FROM is the name of a view.
func (s SQLSource[T]) views(ctx context.Context) (bool, error) {
	query := map[Dialect]string{
		Postgres: "SELECT COUNT(*) FROM pg_class WHERE relkind IN ('v', 'm', 'f') AND relname IN (",
		MySQL:    "SELECT COUNT(*) FROM information_schema.tables WHERE table_type LIKE '%VIEW%' AND table_schema NOT IN ('sys', 'information_schema') AND table_name IN (",
		SQLite:   "SELECT COUNT(*) FROM sqlite_master WHERE type = 'view' AND lower(name) IN (",
	}[s.Dialect]
	if query == "" {
		return false, nil
	}
	st := &statement{dialect: s.Dialect, prefix: s.Dialect.prefix(), question: s.Dialect.prefix() == "", base: &s.Base}
	st.inOrder = st.question
	st.write(query)
	separator := ""
	for _, t := range s.Dialect.tokens(s.Base.From) {
		if isName(s.Base.From, t) {
			st.write(separator)
			st.param(&fragment{sql: "?", args: []any{string(s.Dialect.nameOf(s.Base.From[t.at:t.end]))}})
			separator = ", "
		}
	}
	st.write(")")
	n, err := s.scalar(ctx, st.b.String(), st.args)
	return n > 0, err
}

// find returns the number in the first row of a statement over the list, or 0 without a row.
func (s SQLSource[T]) find(ctx context.Context, order Order, forms []form, column func(*condWriter), tail func(w *condWriter, filtered bool)) (int, error) {
	b := s.Base
	b.Columns, b.Args = onlyOne, b.Args[min(columnArgs(s.Dialect, &b), len(b.Args)):]
	st, err := newStatement(s.Dialect, &b)
	if err != nil {
		return 0, err
	}
	plan, err := Seek{Order: order, Limit: 1, forms: forms}.plan(s.Dialect)
	if err != nil {
		return 0, err
	}
	w := &condWriter{statement: st, plan: plan}
	w.write("SELECT ")
	if s.Dialect == SQLServer {
		w.write("TOP (1) ")
	}
	column(w)
	w.write(" AS mainstay_n")
	tail(w, w.fromWhere())
	switch s.Dialect {
	case SQLServer: // has TOP
	case Oracle:
		w.write(" FETCH FIRST 1 ROWS ONLY")
	default:
		w.write(" LIMIT 1")
	}
	rows, err := s.run(ctx, st.b.String(), st.args)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var n sql.NullInt64
	if rows.Next() {
		err = rows.Scan(&n)
	}
	return int(n.Int64), errors.Join(err, rows.Err())
}
