package keyset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// counting is the base of a count.
func (s SQLSource[T]) counting() *Base {
	b := s.Base
	b.Args = b.Args[min(columnArgs(s.Dialect, &b), len(b.Args)):]
	b.Columns = onlyOne
	if s.CountFrom != "" {
		b.From = s.CountFrom
	}
	return &b
}

// Count counts the rows. The statement has no order, no limit and no window function.
func (s SQLSource[T]) Count(ctx context.Context) (int64, error) {
	b := s.counting()
	b.Columns = []string{countAll}
	if err := s.Base.check(s.Dialect); err != nil {
		return 0, err
	}
	st, err := newStatement(s.Dialect, b)
	if err != nil {
		return 0, err
	}
	st.selectFrom(nil)
	return s.scalar(ctx, st.b.String(), st.args)
}

// CountUpTo counts at most most rows.
func (s SQLSource[T]) CountUpTo(ctx context.Context, most int64) (int64, error) {
	if err := s.Base.check(s.Dialect); err != nil {
		return 0, err
	}
	st, err := newStatement(s.Dialect, s.counting())
	if err != nil {
		return 0, err
	}
	st.write("SELECT COUNT(*) FROM (")
	limit := fragment{sql: "?", args: []any{most}}
	if s.Dialect == SQLServer { // FETCH needs an order there, and a constant is none
		st.write("SELECT TOP (")
		st.param(&limit)
		st.write(") 1 AS one")
		st.fromWhere()
	} else {
		st.selectFrom(nil)
		before, after := " LIMIT ", ""
		if s.Dialect == Oracle {
			before, after = " FETCH FIRST ", " ROWS ONLY"
		}
		st.write(before)
		st.param(&limit)
		st.write(after)
	}
	st.write(") mainstay_c")
	return s.scalar(ctx, st.b.String(), st.args)
}

// EstimateCount returns the planner's estimate. On PostgreSQL, MariaDB and MySQL it comes
// from EXPLAIN and may be far off for a filter over several columns. On SQLite it comes
// from the statistics of ANALYZE. They cover whole tables only, so a filtered list is
// counted.
func (s SQLSource[T]) EstimateCount(ctx context.Context) (int64, error) {
	b := s.counting()
	st, err := newStatement(s.Dialect, b)
	if err != nil {
		return 0, err
	}
	switch s.Dialect {
	case Postgres:
		st.write("EXPLAIN (FORMAT JSON) ")
	case MySQL:
		st.write("EXPLAIN FORMAT=JSON ")
	case SQLite:
		if b.Where != "" || !isIdentifier(b.From) {
			return s.Count(ctx)
		}
		n, err := s.scalar(ctx, "SELECT COALESCE(MAX(CAST(stat AS INTEGER)), -1) FROM sqlite_stat1 WHERE tbl = ?1", []any{b.From})
		if err != nil || n < 0 { // ANALYZE never ran
			return s.Count(ctx)
		}
		return n, nil
	default:
		return s.Count(ctx)
	}
	st.selectFrom(nil)
	plan, err := s.text(ctx, st.b.String(), st.args)
	if err != nil {
		return 0, err
	}
	return plannedRows(s.Dialect, plan)
}

func (s SQLSource[T]) scalar(ctx context.Context, query string, args []any) (n int64, err error) {
	err = s.one(ctx, &n, query, args)
	return n, err
}

func (s SQLSource[T]) text(ctx context.Context, query string, args []any) (text string, err error) {
	err = s.one(ctx, &text, query, args)
	return text, err
}

func (s SQLSource[T]) one(ctx context.Context, to any, query string, args []any) error {
	rows, err := s.run(ctx, query, args)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return errors.Join(errors.New("keyset: the database returned no count"), rows.Err())
	}
	if err := rows.Scan(to); err != nil {
		return err
	}
	if rows.Next() {
		return errors.New("keyset: the database returned several counts, as for a GROUP BY; write the whole statement into Base.Query")
	}
	return rows.Err()
}

// plannedRows reads the planner's estimate from an EXPLAIN in JSON.
func plannedRows(d Dialect, plan string) (int64, error) {
	if d == Postgres {
		var explained []struct {
			Plan struct {
				Rows float64 `json:"Plan Rows"`
			} `json:"Plan"`
		}
		if err := json.Unmarshal([]byte(plan), &explained); err != nil || len(explained) == 0 {
			return 0, fmt.Errorf("keyset: EXPLAIN was not understood: %w", err)
		}
		return int64(explained[0].Plan.Rows), nil
	}
	var explained any
	if err := json.Unmarshal([]byte(plan), &explained); err != nil {
		return 0, fmt.Errorf("keyset: EXPLAIN was not understood: %w", err)
	}
	return int64(joinedRows(explained)), nil
}

// joinedRows multiplies the rows of the tables of a join, nested as in the plans of MariaDB
// and MySQL, by the share that passes each filter.
func joinedRows(node any) float64 {
	product := 1.0
	switch n := node.(type) {
	case map[string]any:
		for _, name := range []string{"rows", "rows_examined_per_scan"} {
			if rows, ok := n[name].(float64); ok {
				product = rows
				if share, ok := n["filtered"].(float64); ok {
					product *= share / 100
				}
				return product
			}
		}
		for name, child := range n {
			if !strings.Contains(name, "subqueries") { // a filter multiplies no rows
				product *= joinedRows(child)
			}
		}
	case []any:
		for _, child := range n {
			product *= joinedRows(child)
		}
	}
	return product
}
