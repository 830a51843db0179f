package keyset

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// explain returns the plan of a page and the reason if it does not seek.
func (s SQLSource[T]) explain(ctx context.Context, q Seek) (plan, slow string, err error) {
	command := map[Dialect]string{Postgres: "EXPLAIN ", MySQL: "EXPLAIN ", SQLite: "EXPLAIN QUERY PLAN "}[s.Dialect]
	if command == "" {
		return "", "", nil
	}
	if q.forms, err = s.forms(ctx, q.Order.cache, q.Order.keys); err != nil {
		return "", "", err
	}
	base := s.Base
	if index := s.indexFor(ctx, q.Order); index != "" {
		if base, err = base.forced(index); err != nil {
			return "", "", err
		}
	}
	base.Keys = true
	query, args, err := q.SQL(s.Dialect, base)
	if err != nil {
		return "", "", err
	}
	table, err := s.table(ctx, command+query, args)
	if err != nil {
		return "", "", err
	}
	lines := make([]string, len(table))
	for i, line := range table {
		lines[i] = strings.Join(line, "\t")
	}
	union := strings.Contains(query, "mainstay_u")
	if s.Dialect == MySQL {
		slow = slowMySQL(planRows(table), union)
	} else {
		slow = slowPlan(s.Dialect, lines[1:], union)
	}
	return strings.Join(lines[1:], "\n"), slow, nil
}

// table returns a result as text, with the names of the columns as its first line.
func (s SQLSource[T]) table(ctx context.Context, query string, args []any) ([][]string, error) {
	rows, err := s.run(ctx, query, args)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names := make([]string, map[Dialect]int{Postgres: 1, MySQL: 10, SQLite: 4}[s.Dialect])
	if c, ok := rows.(interface{ Columns() ([]string, error) }); ok {
		if names, err = c.Columns(); err != nil {
			return nil, err
		}
	}
	table := [][]string{names}
	for rows.Next() {
		cells, dest := make([]any, len(names)), make([]any, len(names))
		for i := range cells {
			dest[i] = &cells[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		line := make([]string, len(names))
		for i, c := range cells {
			switch c := c.(type) {
			case nil:
			case []byte:
				line[i] = string(c)
			default:
				line[i] = fmt.Sprint(c)
			}
		}
		table = append(table, line)
	}
	return table, rows.Err()
}

// slowMySQL looks for a scan, for a sort, and for a look-up that reads the rows up to the
// position. The first table of each SELECT decides.
func slowMySQL(plan []planRow, union bool) string {
	const few = 1000
	for i, r := range plan {
		if strings.HasPrefix(r.table, "<") {
			continue
		}
		first := i == 0 || plan[i-1].id != r.id
		switch {
		case r.access == "ALL":
			return "the server scans the table: add an index with the keys of the order"
		case r.access == "ref" && first && r.rows > few:
			return "the server looks up the filter in the index " + r.key + " and reads every row up to the position: " +
				"add an index with the columns of the filter and then the keys of the order, or name it in SQLSource.Index"
		case r.sorts() && !union:
			return "the server sorts the list: add an index with the keys of the order"
		}
	}
	return ""
}

// slowPlan looks for a scan of a table, and for a sort. The sort above a union is allowed,
// because it sorts a few pages of rows.
func slowPlan(d Dialect, lines []string, union bool) string {
	for _, line := range lines {
		switch {
		case d == Postgres && strings.Contains(line, "Seq Scan"):
			return "PostgreSQL scans the table: add an index with the keys of the order"
		case d == Postgres && strings.Contains(line, "Sort") && !strings.Contains(line, "Sort Key") && !union:
			return "PostgreSQL sorts the list: add an index with the keys of the order"
		case d == SQLite && strings.Contains(line, "TEMP B-TREE") && !union:
			return "SQLite sorts the list: add an index with the keys of the order"
		case d == SQLite && strings.Contains(line, "\tSCAN ") && !strings.Contains(line, "mainstay_") && !strings.Contains(line, "subquery"):
			return "SQLite scans the table: add an index with the keys of the order"
		}
	}
	return ""
}

// planRow is a line of EXPLAIN on MariaDB and MySQL.
type planRow struct {
	id, table, access, possible, key, extra string
	length                                  int
	rows                                    int64
}

// inOrder reports whether the server looks up the filter in an index that has the order.
func (r planRow) inOrder() bool { return r.access == "ref" && !r.sorts() }

func (r planRow) sorts() bool {
	return strings.Contains(r.extra, "filesort") || strings.Contains(r.extra, "temporary")
}

// planRows reads a table whose first line has the names of its columns.
func planRows(table [][]string) []planRow {
	if len(table) == 0 {
		return nil
	}
	list := make([]planRow, len(table)-1)
	for i, line := range table[1:] {
		cell := func(name string) string {
			if at := slices.Index(table[0], name); at >= 0 {
				return line[at]
			}
			return ""
		}
		list[i] = planRow{
			id: cell("id"), table: cell("table"), access: cell("type"), possible: cell("possible_keys"), key: cell("key"), extra: cell("Extra"),
		}
		list[i].length, _ = strconv.Atoi(cell("key_len")) // not a number for an index merge
		list[i].rows, _ = strconv.ParseInt(cell("rows"), 10, 64)
	}
	return list
}
