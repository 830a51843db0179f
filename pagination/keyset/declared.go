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
// repeated at the next end. One that did not finish, for example because it takes longer than a
// request may, counts, so that the last page can be read at the next end.
func (s SQLSource[T]) declared(ctx context.Context, q Seek, keys []Value) error {
	key := indexKey{s.Base.From, s.Base.Where, s.Base.masked(s.Dialect), q.Order.spec}
	cache := q.Order.cache
	cache.mu.RLock()
	n := cache.ends[key] + 1
	cache.mu.RUnlock()
	var err error
	if n&(n-1) == 0 {
		last := q.After
		if len(keys) > 0 {
			last = keys[len(keys)-len(q.Order.keys):]
		}
		err = s.checkDeclared(ctx, q.Order, last)
		var fault *WalkError
		if errors.As(err, &fault) {
			return err
		}
	}
	cache.mu.Lock()
	defer cache.mu.Unlock()
	if cache.ends == nil || len(cache.ends) >= mostCached {
		cache.ends = make(map[indexKey]uint64)
	}
	cache.ends[key] = n
	return err
}

func (s SQLSource[T]) checkDeclared(ctx context.Context, order Order, last []Value) error {
	forms, err := s.forms(ctx, order.cache, order.keys)
	if err != nil {
		return err
	}
	var never []int // keys that must not be NULL
	for i, k := range order.keys {
		if !k.Nullable {
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
// equal in the order. A unique index of a table excludes that, in the collation of its
// columns. An expression and a column of a sub-select or of Base.Query have no index.
func (s SQLSource[T]) uncertain(ctx context.Context, order Order, forms []form, last []Value) (bool, error) {
	from := 0
	if order.keys[len(order.keys)-1].Unique {
		from = len(order.keys) - 1
	}
	for i := from; i < len(last); i++ {
		if last[i].kind != kindText || forms[i].class == classTime || forms[i].class == classOID {
			continue
		}
		if s.Base.Query != "" || forms[i].compound || forms[i].prefix > 0 || s.Dialect.derived(s.Base.From) {
			return true, nil
		}
		if indexed, err := s.indexed(ctx, order.keys, i); err != nil || !indexed {
			return true, err
		}
	}
	return false, nil
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

// indexed asks the database whether each table in FROM with the column of a key has a unique
// index of columns of the order.
func (s SQLSource[T]) indexed(ctx context.Context, keys []Key, i int) (bool, error) {
	// column returns the name of a column, and its qualifiers.
	column := func(k Key) (name, string) {
		list := s.Dialect.tokens(k.Expr)
		if n := len(list); path(k.Expr, list) == n {
			return s.Dialect.nameOf(k.Expr[list[n-1].at:list[n-1].end]), k.Expr[:list[n-1].at]
		}
		return "", ""
	}
	own, table := column(keys[i])
	query := map[Dialect]string{
		Postgres: "SELECT COALESCE(MIN(CASE WHEN (c.relkind <> 'r' OR NOT c.relhassubclass) AND EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid " +
			"AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT EXISTS (SELECT 1 FROM pg_attribute x WHERE x.attrelid = c.oid " +
			"AND x.attnum = ANY(i.indkey) AND (x.attname NOT IN (KEYS) OR x.attcollation <> 0 AND x.attcollation <> ALL(i.indcollation)))) THEN 1 ELSE 0 END), 0) " +
			"FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relkind NOT IN ('i', 'I') AND c.relname IN (TABLES) AND a.attname = KEY",
		MySQL: "SELECT COALESCE(MIN(u.whole), 0) FROM (SELECT COALESCE(MAX(i.whole), 0) AS whole FROM information_schema.columns c LEFT JOIN " +
			"(SELECT table_schema, table_name, SUM(column_name IS NULL OR column_name NOT IN (KEYS)) = 0 AS whole FROM information_schema.statistics " +
			"WHERE non_unique = 0 AND table_schema IN (DATABASE(), TABLES) AND table_name IN (TABLES) GROUP BY table_schema, table_name, index_name) i " +
			"ON i.table_schema = c.table_schema AND i.table_name = c.table_name WHERE c.table_schema IN (DATABASE(), TABLES) AND c.table_name IN (TABLES) " +
			"AND c.column_name = KEY GROUP BY c.table_schema, c.table_name) u",
		SQLite: `SELECT COALESCE(MIN(EXISTS (SELECT 1 FROM pragma_index_list(m.name) i WHERE i."unique" AND NOT i.partial AND NOT EXISTS ` +
			"(SELECT 1 FROM pragma_index_xinfo(i.name) x WHERE x.key AND (x.name IS NULL OR lower(x.name) NOT IN (KEYS) " +
			"OR x.coll = 'BINARY' AND m.sql LIKE '%COLLATE%' AND lower(x.name) = KEY)))), 0) " + // perhaps finer than the column
			"FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE lower(m.name) IN (TABLES) AND lower(c.name) = KEY",
	}[s.Dialect]
	if own == "" || query == "" {
		return own != "", nil
	}
	values := map[string][]any{"KEY": {string(own)}}
	for _, k := range keys {
		if name, of := column(k); name != "" && of == table && !k.Nullable { // an index lets NULLs repeat
			values["KEYS"] = append(values["KEYS"], string(name))
		}
	}
	if len(values["KEYS"]) == 0 {
		return false, nil
	}
	for _, t := range s.Dialect.tokens(s.Base.From) {
		if isName(s.Base.From, t) {
			values["TABLES"] = append(values["TABLES"], string(s.Dialect.nameOf(s.Base.From[t.at:t.end])))
		}
	}
	st := &statement{dialect: s.Dialect, prefix: s.Dialect.prefix(), question: s.Dialect.prefix() == "", base: &s.Base}
	st.inOrder = st.question
	from := 0
	for _, at := range lists.FindAllStringIndex(query, -1) {
		st.write(query[from:at[0]])
		for j, v := range values[query[at[0]:at[1]]] {
			if j > 0 {
				st.write(", ")
			}
			st.param(&fragment{sql: "?", args: []any{v}})
		}
		from = at[1]
	}
	st.write(query[from:])
	n, err := s.scalar(ctx, st.b.String(), st.args)
	return n == 1, err
}

// lists are the places of values in the statements of indexed.
var lists = regexp.MustCompile(`\b(KEYS?|TABLES)\b`)

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
