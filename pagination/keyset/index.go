package keyset

import (
	"context"
	"errors"
	"strings"
)

// indexKey identifies the order of a list with its filter.
type indexKey struct{ from, where, query, order string }

// indexFor returns the index that the statements of an order name, or "". MariaDB and MySQL
// cap the cost of a look-up by the columns that the filter holds equal. They prefer it to
// the range behind a position, in an index that may have another order, and then read every
// row up to the position. FORCE INDEX leaves them the range.
func (s SQLSource[T]) indexFor(ctx context.Context, order Order) string {
	if s.Dialect != MySQL {
		return ""
	}
	if s.Index != nil {
		return s.Index(order)
	}
	if s.Base.Where == "" && s.Base.Query == "" {
		return ""
	}
	key := indexKey{s.Base.From, s.Base.Where, s.Base.masked(s.Dialect), order.spec}
	cache := order.cache
	cache.mu.RLock()
	name, ok := cache.indexes[key]
	cache.mu.RUnlock()
	if ok {
		return name
	}
	name = s.chooseIndex(ctx, order)
	if ctx.Err() != nil { // not an answer of the database
		return name
	}
	cache.mu.Lock()
	defer cache.mu.Unlock()
	if cache.indexes == nil || len(cache.indexes) >= mostCached {
		cache.indexes = make(map[indexKey]string)
	}
	cache.indexes[key] = name
	return name
}

// chooseIndex returns the index that begins with columns that the filter holds equal and
// continues with the keys of the order. The server finds such an index: with it, the list
// is a look-up without a sort. If the server prefers to sort the rows of another index, an
// index with many more rows does not count. Without an answer there is no index to name.
func (s SQLSource[T]) chooseIndex(ctx context.Context, order Order) string {
	const mostCandidates, mostRows = 12, 10
	if _, err := s.Base.forced("x"); err != nil {
		return ""
	}
	free, err := s.explainList(ctx, s.Base, order)
	if err != nil || len(free) == 0 {
		return ""
	}
	// A view or a later table of a join has no such index behind the first name of FROM.
	candidates := strings.Split(free[0].possible, ",")
	if free[0].inOrder() {
		candidates = []string{free[0].key}
	}
	best, length := "", 0
	for _, name := range candidates[:min(len(candidates), mostCandidates)] {
		base, err := s.Base.forced(name)
		if name == "" || err != nil {
			continue
		}
		forced, err := s.explainList(ctx, base, order)
		if err != nil || len(forced) == 0 {
			continue
		}
		first := forced[0]
		if first.key == name && first.inOrder() && first.length > length && (!free[0].sorts() || first.rows <= mostRows*max(free[0].rows, 1)) {
			best, length = name, first.length
		}
	}
	return best
}

// explainList explains the first page of a list.
func (s SQLSource[T]) explainList(ctx context.Context, base Base, order Order) ([]planRow, error) {
	base.Args = base.Args[min(columnArgs(s.Dialect, &base), len(base.Args)):]
	base.Columns = onlyOne
	st, err := newStatement(s.Dialect, &base)
	if err != nil {
		return nil, err
	}
	st.write("EXPLAIN ")
	st.selectFrom(nil)
	separator := " ORDER BY "
	for _, k := range order.keys {
		st.write(separator)
		separator = ", "
		st.fragment(&fragment{sql: k.Expr, args: k.Args})
		if k.Desc {
			st.write(" DESC")
		}
	}
	st.write(" LIMIT 26")
	table, err := s.table(ctx, st.b.String(), st.args)
	if err != nil {
		return nil, err
	}
	return planRows(table), nil
}

// forced returns the base with FORCE INDEX behind the first table of its statement.
func (b Base) forced(index string) (Base, error) {
	text := &b.From
	at := 0
	if b.Query != "" {
		text = &b.Query
		at = MySQL.findWord(b.Query, "FROM") + len("FROM")
		if at >= len(b.Query) || !strings.EqualFold(word(b.Query, MySQL.skipSpace(b.Query, 0)), "SELECT") || MySQL.foreignClause(b.Query) != "" {
			return b, errNoTable
		}
	}
	end := tableEnd(*text, at)
	if end < 0 {
		return b, errNoTable
	}
	*text = (*text)[:end] + " FORCE INDEX (`" + strings.ReplaceAll(index, "`", "``") + "`)" + (*text)[end:]
	return b, nil
}

var errNoTable = errors.New("keyset: an index can be named only if FROM begins with a table and has no index hint; write the hint into Base")

// tableEnd returns the index behind the table at i, with its partitions and its alias. It
// returns -1 for anything but a plain table, and for a table with an index hint.
func tableEnd(sql string, i int) int {
	name := func(i int) int {
		if i < len(sql) && (sql[i] == '`' || sql[i] == '"') {
			return MySQL.skip(sql, i)
		}
		return i + len(word(sql, min(i, len(sql))))
	}
	i = MySQL.skipSpace(sql, i)
	end := name(i)
	if end == i {
		return -1
	}
	for {
		dot := MySQL.skipSpace(sql, end)
		if dot >= len(sql) || sql[dot] != '.' {
			break
		}
		end = name(MySQL.skipSpace(sql, dot+1))
	}
	aliased := false
	for {
		next := MySQL.skipSpace(sql, end)
		if next >= len(sql) {
			return end
		}
		switch w := strings.ToUpper(word(sql, next)); w {
		case "PARTITION":
			open := MySQL.skipSpace(sql, next+len(w))
			closing := strings.IndexByte(sql[open:], ')')
			if closing < 0 {
				return -1
			}
			end = open + closing + 1
			continue
		case "AS":
			end = name(MySQL.skipSpace(sql, next+len(w)))
			aliased = true
			continue
		case "USE", "FORCE", "IGNORE", "FOR", "TABLESAMPLE":
			return -1
		case "WHERE", "JOIN", "INNER", "LEFT", "RIGHT", "CROSS", "NATURAL", "STRAIGHT_JOIN":
			return end
		case "":
			if quoted := name(next); !aliased && quoted > next {
				end, aliased = quoted, true
				continue
			}
			if sql[next] == ',' || sql[next] == ')' {
				return end
			}
			return -1
		}
		if aliased {
			return -1
		}
		end, aliased = name(next), true
	}
}
