package pagination

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Queryer runs a query. *sql.DB, *sql.Tx and *sql.Conn are ones, and so is what embeds
// them.
type Queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// SQLSource reads a list through database/sql. It is a [Lister], a [Counter], a
// [CappedCounter], an [Estimator] and a [Seeker]. It is a small value: make one for each
// request, with that request's filter.
type SQLSource[T any] struct {
	// DB runs the queries; a *sql.Tx reads count and rows from one snapshot.
	DB Queryer
	// Dialect is the database's.
	Dialect Dialect
	// Base is the statement without order and limit.
	Base Base
	// Scan reads one row: the Columns of Base, in their order.
	Scan func(*sql.Rows) (T, error)
	// Order is the order of List. Seek has its own.
	Order Order
	// CountFrom replaces Base.From for counting, to leave out joins that change no row's
	// presence. Where and its Args must do with it. Default: Base.From.
	CountFrom string
	// DeepKey names an expression that is unique in the list and never NULL, such as
	// "s.id", for lists that are paged far by number or offset on MariaDB, MySQL or SQLite:
	// the rows before a page are then passed over in the index of the order alone, and
	// only those of the page are looked up. The index must hold all that Where and Order
	// name. PostgreSQL is slower that way and is not asked to. Default: "", one plain
	// statement.
	DeepKey string
}

// List reads rows from an offset.
func (s SQLSource[T]) List(ctx context.Context, limit int, offset int64) ([]T, error) {
	st, err := newStatement(s.Dialect, &s.Base)
	if err != nil {
		return nil, err
	}
	plan, err := Seek{Order: s.Order, Limit: limit}.plan(s.Dialect)
	if err != nil {
		return nil, err
	}
	if err := plan.visible(s.Base.Columns); err != nil {
		return nil, err
	}
	w := &condWriter{statement: st, plan: plan}
	filtered := st.writeSelect()
	deep := s.DeepKey != "" && offset > 0 && (s.Dialect == MySQL || s.Dialect == SQLite)
	if deep {
		// The keys alone, in a table of their own: MariaDB takes no LIMIT right behind IN.
		if filtered {
			st.write(" AND ")
		} else {
			st.write(" WHERE ")
		}
		st.write(s.DeepKey, " IN (SELECT mainstay_k FROM (")
		st.writeKeys(s.DeepKey + " AS mainstay_k")
	}
	w.orderBy(segment{}, plan.exprs())
	w.limit()
	if offset > 0 {
		st.write(" OFFSET ", strconv.FormatInt(offset, 10))
	}
	if deep {
		st.write(") mainstay_p)")
		w.orderBy(segment{}, plan.exprs())
	}
	return s.query(ctx, limit, st.b.String(), st.args)
}

// Seek reads rows behind a position.
func (s SQLSource[T]) Seek(ctx context.Context, q Seek) ([]T, error) {
	return s.seekInto(ctx, make([]T, 0, min(q.Limit, 1024)), q)
}

// seekInto appends the rows to a list, so that a long walk reuses one.
func (s SQLSource[T]) seekInto(ctx context.Context, list []T, q Seek) ([]T, error) {
	query, args, err := q.SQL(s.Dialect, s.Base)
	if err != nil {
		return nil, err
	}
	return s.queryInto(ctx, list, query, args)
}

func (s SQLSource[T]) query(ctx context.Context, limit int, query string, args []any) ([]T, error) {
	return s.queryInto(ctx, make([]T, 0, min(limit, 1024)), query, args)
}

func (s SQLSource[T]) queryInto(ctx context.Context, list []T, query string, args []any) ([]T, error) {
	rows, err := s.DB.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		row, err := s.Scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, rows.Err()
}

// counting is the base of a count.
func (s SQLSource[T]) counting() *Base {
	b := s.Base
	b.Columns = []string{"COUNT(*)"}
	if s.CountFrom != "" {
		b.From = s.CountFrom
	}
	return &b
}

// Count counts the rows. The statement has no order, no limit and no window function.
func (s SQLSource[T]) Count(ctx context.Context) (int64, error) {
	st, err := newStatement(s.Dialect, s.counting())
	if err != nil {
		return 0, err
	}
	st.writeSelect()
	return s.scalar(ctx, st.b.String(), st.args)
}

// CountUpTo counts no further than most.
func (s SQLSource[T]) CountUpTo(ctx context.Context, most int64) (int64, error) {
	b := s.counting()
	b.Columns = []string{"1 AS one"}
	st, err := newStatement(s.Dialect, b)
	if err != nil {
		return 0, err
	}
	st.write("SELECT COUNT(*) FROM (")
	st.writeSelect()
	st.write(" LIMIT ", strconv.FormatInt(most, 10), ") mainstay_c")
	return s.scalar(ctx, st.b.String(), st.args)
}

// EstimateCount asks the planner: EXPLAIN on PostgreSQL, MariaDB and MySQL, whose figure
// may be far off for a filter over several columns; the statistics of ANALYZE on SQLite,
// which know whole tables only, so a filtered list is counted.
func (s SQLSource[T]) EstimateCount(ctx context.Context) (int64, error) {
	b := s.counting()
	b.Columns = []string{"1 AS one"}
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
		if s.Base.Where != "" || !isIdentifier(b.From) {
			return s.Count(ctx)
		}
		n, err := s.scalar(ctx, "SELECT COALESCE(MAX(CAST(stat AS INTEGER)), -1) FROM sqlite_stat1 WHERE tbl = ?1", []any{b.From})
		if err != nil || n < 0 { // never analysed
			return s.Count(ctx)
		}
		return n, nil
	default:
		return s.Count(ctx)
	}
	st.writeSelect()
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
	rows, err := s.DB.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return errors.Join(errors.New("pagination: the database returned no count"), rows.Err())
	}
	if err := rows.Scan(to); err != nil {
		return err
	}
	return rows.Err()
}

// plannedRows reads the planner's figure out of an EXPLAIN in JSON.
func plannedRows(d Dialect, plan string) (int64, error) {
	if d == Postgres {
		var explained []struct {
			Plan struct {
				Rows float64 `json:"Plan Rows"`
			} `json:"Plan"`
		}
		if err := json.Unmarshal([]byte(plan), &explained); err != nil || len(explained) == 0 {
			return 0, fmt.Errorf("pagination: EXPLAIN was not understood: %w", err)
		}
		return int64(explained[0].Plan.Rows), nil
	}
	var explained any
	if err := json.Unmarshal([]byte(plan), &explained); err != nil {
		return 0, fmt.Errorf("pagination: EXPLAIN was not understood: %w", err)
	}
	return int64(joinedRows(explained)), nil
}

// joinedRows multiplies the rows of the tables of a join, as MariaDB's and MySQL's plans
// nest them, by the share that passes each filter.
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
		for _, child := range n {
			product *= joinedRows(child)
		}
	case []any:
		for _, child := range n {
			product *= joinedRows(child)
		}
	}
	return product
}
