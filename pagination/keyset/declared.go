package keyset

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
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
	if !s.collated(order, last) {
		return nil
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
			Problem: "was declared unique and is not: the collation of the order takes two values of the list for equal. Sort in the collation of the unique index, or add a column that tells the rows apart",
		}
	}
	return err
}

// collated reports whether a key that breaks ties is text in a collation that may differ
// from that of the column and its unique index.
func (s SQLSource[T]) collated(order Order, last []Value) bool {
	from := 0
	if order.keys[len(order.keys)-1].Unique {
		from = len(order.keys) - 1
	}
	for i := from; i < len(last); i++ {
		expr := strings.NewReplacer("[", "", "]", "").Replace(order.keys[i].Expr)
		column := operand(expr) && strings.IndexByte(stripped(expr), '(') < 0
		if last[i].kind == kindText && (!column || collate.MatchString(stripped(s.Base.From+" "+s.Base.Query))) {
			return true
		}
	}
	return false
}

var collate = regexp.MustCompile(`(?i)\bCOLLATE\b`)

// find returns the number in the first row of a statement over the list, or 0 without a row.
func (s SQLSource[T]) find(ctx context.Context, order Order, forms []form, column func(*condWriter), tail func(w *condWriter, filtered bool)) (int, error) {
	b := s.Base
	b.Columns, b.Args = onlyOne, b.Args[min(columnArgs(&b), len(b.Args)):]
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
	var n int64
	if rows.Next() {
		err = rows.Scan(&n)
	}
	return int(n), errors.Join(err, rows.Err())
}
