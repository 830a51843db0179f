package keyset

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
)

// threes is a result of the number 3.
type threes struct{ rows int }

func (r *threes) Next() bool { r.rows--; return r.rows >= 0 }
func (*threes) Err() error   { return nil }
func (*threes) Close() error { return nil }

func (*threes) Scan(dest ...any) error {
	for _, d := range dest {
		if n, ok := d.(*int64); ok {
			*n = 3
		}
	}
	return nil
}

// vendorBases are base statements in the syntax that both vendors have.
func vendorBases(d Dialect) map[string]Base {
	p := d.prefix()
	columns := []string{"t.id", "t.k", "t.closed"}
	return map[string]Base{
		"table":   {Columns: columns, From: "t"},
		"filter":  {Columns: columns, From: "shop.t t", Where: "t.shop = ? AND t.kind IN (?, ?)", Args: []any{1, "a", "b"}},
		"columns": {Columns: []string{"t.id", "t.k + ? AS k2", "t.closed"}, From: "t LEFT JOIN c ON c.id = t.c AND c.x = ?", Where: "t.shop = ?", Args: []any{1, 2, 3}},
		"group":   {Columns: columns, Query: "SELECT id, MAX(k) AS k, MIN(closed) AS closed FROM s WHERE shop = ? GROUP BY id HAVING COUNT(*) > ?", Args: []any{1, 2}},
		"with":    {Columns: columns, Query: "WITH c AS (SELECT id, k, closed FROM s WHERE shop = ?), d AS (SELECT id FROM c) SELECT c.id, k, closed FROM c WHERE k > ?", Args: []any{1, 2}},
		"union":   {Columns: columns, Query: "SELECT id, k, closed FROM s UNION ALL SELECT id, k, closed FROM r WHERE shop = ?", Args: []any{1}},
		"numbers": {
			Columns: columns, From: "t", Args: []any{"one", "two"},
			Where: fmt.Sprintf("t.a = %[1]s2 AND (t.b = %[1]s1 OR t.c = %[1]s2 OR t.d = '%[1]s9')", p),
		},
		"builder": {Columns: columns, Query: fmt.Sprintf(`SELECT * FROM "t" WHERE shop = %[1]s1 AND kind = %[1]s2`, p), Args: []any{"one", "two"}},
	}
}

var vendorOrders = map[string][]Key{
	"one direction": {{Name: "k", Expr: "t.k", Desc: true}, {Name: "id", Expr: "t.id", Desc: true, Unique: true}},
	"mixed":         {{Name: "k", Expr: "t.k"}, {Name: "id", Expr: "t.id", Desc: true, Unique: true}},
	"native NULLs":  {{Name: "closed", Expr: "t.closed", Nullable: true}, {Name: "id", Expr: "t.id", Unique: true}},
	"NULLs first":   {{Name: "closed", Expr: "t.closed", Nullable: true, Nulls: NullsFirst, Desc: true}, {Name: "k", Expr: "t.k"}, {Name: "id", Expr: "t.id", Unique: true}},
	"NULLs last":    {{Name: "k", Expr: "t.k"}, {Name: "closed", Expr: "t.closed", Nullable: true, Nulls: NullsLast}, {Name: "id", Expr: "t.id", Unique: true}},
	"expression":    {{Name: "near", Expr: "abs(t.k - ?)", Args: []any{7}}, {Name: "id", Expr: "t.id", Unique: true}},
}

// Every statement for SQL Server and Oracle is one of the vendor's grammar, with a value for
// each placeholder.
func TestVendorGrammar(t *testing.T) {
	t.Parallel()
	texts := map[Dialect]map[string]bool{SQLServer: {}, Oracle: {}}
	for d, seen := range texts {
		check := func(name, sql string, args []any) {
			seen[sql] = true
			assert.Empty(t, checkGrammar(d, sql, len(args)), "%s, %v\n%s", name, d, sql)
			for _, a := range args {
				assert.NotNil(t, a)
			}
		}
		for name, base := range vendorBases(d) {
			for orderName, keys := range vendorOrders {
				name := name + ", " + orderName
				order, err := NewOrder(nil, keys...)
				require.NoError(t, err)
				source := SQLSource[int]{
					Dialect: d, Base: base, Order: order, Scan: func(Scanner) (int, error) { return 0, nil },
					Query: func(_ context.Context, query string, args ...any) (Rows, error) {
						check(name, query, args)
						if strings.HasSuffix(query, "1 = 0") {
							return &threes{}, nil
						}
						if strings.HasPrefix(query, "SELECT COUNT(") || strings.HasPrefix(query, "WITH") && strings.Contains(query, ") SELECT COUNT(") {
							return &threes{rows: 1}, nil
						}
						return &threes{rows: 2}, nil
					},
				}
				for _, call := range []func() error{
					func() error { _, err := source.Count(t.Context()); return err },
					func() error { _, err := source.CountUpTo(t.Context(), 100); return err },
					func() error {
						return ignoreWalkError(source.checkDeclared(t.Context(), order, make([]Value, len(order.keys))))
					},
					func() error { _, err := source.EstimateCount(t.Context()); return err },
					func() error { _, err := source.List(t.Context(), 10, 0); return err },
					func() error { _, err := source.List(t.Context(), 10, 30); return err },
				} {
					require.NoError(t, call(), name)
				}
				verifyVendor(t, source, keys)
				for _, q := range vendorSeeks(t, order) {
					for _, keys := range []bool{false, true} {
						base.Keys = keys
						sql, args, err := q.SQL(d, base)
						require.NoError(t, err)
						check(name, sql, args)
					}
					_, err := source.behind(t.Context(), q)
					require.NoError(t, err)
				}
			}
		}
	}
	assert.Greater(t, len(texts[SQLServer]), 300)
	assert.Greater(t, len(texts[Oracle]), 300)
}

// verifyVendor issues the statements of Verify. The result has no order, so that it fails.
func verifyVendor(t *testing.T, source SQLSource[int], keys []Key) {
	t.Helper()
	var columns []Column[int]
	for _, k := range keys {
		columns = append(columns, Column[int]{Name: k.Name, Expr: k.Expr, Args: k.Args, Nullable: k.Nullable, Nulls: k.Nulls, Unique: k.Unique})
	}
	list, err := New("t", pagination.Standard, mustCursors(t, EphemeralKeyRing(), nil), columns, nil)
	require.NoError(t, err)
	_, err = list.Verify(t.Context(), source, nil)
	require.ErrorIs(t, err, ErrWalk)
}

// vendorSeeks are the first page, and pages behind values and NULLs.
func vendorSeeks(t *testing.T, order Order) (list []Seek) {
	t.Helper()
	value, err := NewValue(5)
	require.NoError(t, err)
	for _, behind := range []string{"nothing", "values", "NULLs"} {
		q := Seek{Order: order, Limit: 26}
		for _, k := range order.keys {
			switch {
			case behind == "nothing":
			case behind == "NULLs" && k.Nullable:
				q.After = append(q.After, Value{})
			default:
				q.After = append(q.After, value)
			}
		}
		for _, q.Backward = range []bool{false, true} {
			for _, q.Inclusive = range []bool{false, true} {
				list = append(list, q)
				if q.After != nil {
					until := q
					until.Until = q.After
					list = append(list, until)
				}
			}
		}
	}
	return append(list, Seek{Order: order, Limit: 26}, Seek{Order: order, Limit: 26, usual: 26})
}

// Oracle binds by place: each placeholder has its own value, in the order of the text.
// SQL Server binds by name: a name that the text repeats has one value.
func TestVendorPlaceholders(t *testing.T) {
	t.Parallel()
	order, err := NewOrder(nil, Key{Name: "near", Expr: "abs(t.k - ?)", Args: []any{7}}, Key{Name: "id", Expr: "t.id", Unique: true})
	require.NoError(t, err)
	five, err := NewValue(5)
	require.NoError(t, err)
	q := Seek{Order: order, Limit: 26, After: []Value{five, five}}
	for _, c := range []struct {
		dialect Dialect
		where   string
		sql     string
		args    []any
	}{
		{
			Oracle, "t.a = :2 AND t.b = :1 AND t.c = :2",
			"SELECT t.id, abs(t.k - :1) AS mainstay_k1, t.id AS mainstay_k2 FROM t WHERE (t.a = :2 AND t.b = :3 AND t.c = :4)" +
				" AND abs(t.k - :5) >= :6 AND ((abs(t.k - :7) = :8 AND t.id > :9) OR (abs(t.k - :10) > :11)) ORDER BY abs(t.k - :12), t.id OFFSET 0 ROWS FETCH NEXT :13 ROWS ONLY",
			[]any{7, "two", "one", "two", 7, int64(5), 7, int64(5), int64(5), 7, int64(5), 7, 26},
		},
		{
			SQLServer, "t.a = @p2 AND t.b = @p1 AND t.c = @p2",
			"SELECT t.id, abs(t.k - @p3) AS mainstay_k1, t.id AS mainstay_k2 FROM t WHERE (t.a = @p2 AND t.b = @p1 AND t.c = @p2)" +
				" AND abs(t.k - @p4) >= @p5 AND ((abs(t.k - @p4) = @p5 AND t.id > @p6) OR (abs(t.k - @p4) > @p5)) ORDER BY abs(t.k - @p4), t.id OFFSET 0 ROWS FETCH NEXT @p7 ROWS ONLY",
			[]any{"one", "two", 7, 7, int64(5), int64(5), 26},
		},
	} {
		sql, args, err := q.SQL(c.dialect, Base{Columns: []string{"t.id"}, From: "t", Where: c.where, Args: []any{"one", "two"}, Keys: true})
		require.NoError(t, err)
		assert.Equal(t, c.sql, sql)
		assert.Equal(t, c.args, args)
		_, _, err = q.SQL(c.dialect, Base{Columns: []string{"t.id"}, From: "t", Where: c.where, Args: []any{"one"}})
		require.ErrorContains(t, err, "2 and 1 Args")
		_, _, err = q.SQL(c.dialect, Base{Columns: []string{"t.id"}, From: "t", Where: c.where + " AND t.x = ?", Args: []any{"one", "two", "three"}})
		require.ErrorContains(t, err, "not both forms")
	}
	for _, d := range []Dialect{SQLServer, Oracle} {
		numbered, err := NewOrder(nil, Key{Name: "near", Expr: "abs(t.k - " + d.prefix() + "1)"}, Key{Name: "id", Expr: "t.id", Unique: true})
		require.NoError(t, err)
		_, _, err = Seek{Order: numbered, Limit: 26}.SQL(d, Base{Columns: []string{"t.id"}, From: "t"})
		require.ErrorContains(t, err, "the placeholder "+d.prefix()+"1")
	}
}

func ignoreWalkError(err error) error {
	if errors.Is(err, ErrWalk) {
		return nil
	}
	return err
}
