package keyset

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// noRows is a driver whose statements return no rows.
type noRows struct{}

func (noRows) Connect(context.Context) (driver.Conn, error) { return noRows{}, nil }
func (noRows) Driver() driver.Driver                        { return nil }
func (noRows) Prepare(string) (driver.Stmt, error)          { return noRows{}, nil }
func (noRows) Begin() (driver.Tx, error)                    { return nil, driver.ErrSkip }
func (noRows) NumInput() int                                { return 0 }
func (noRows) Exec([]driver.Value) (driver.Result, error)   { return nil, driver.ErrSkip }
func (noRows) Query([]driver.Value) (driver.Rows, error)    { return noRows{}, nil }
func (noRows) Columns() []string                            { return nil }
func (noRows) Next([]driver.Value) error                    { return io.EOF }
func (noRows) Close() error                                 { return nil }

// A page may close the prepared statement that another page is about to run.
func TestStatementClosedByAnotherPage(t *testing.T) {
	t.Parallel()
	db := sql.OpenDB(noRows{})
	defer db.Close()
	c := &compiled{text: "SELECT", kept: true}
	stmt, err := c.prepare(t.Context(), db)
	require.NoError(t, err)
	s := SQLSource[int64]{DB: db, Dialect: SQLite}
	for _, closes := range []func(){func() {}, c.close} {
		closes()
		rows, err := s.runPrepared(t.Context(), c, stmt, nil)
		require.NoError(t, err)
		require.NoError(t, rows.Close())
	}
}

// A list whose requests choose their columns keeps a statement for each choice.
func TestStatementsOfColumns(t *testing.T) {
	t.Parallel()
	order, err := NewOrder(nil, Key{Name: "id", Expr: "t.id", Unique: true})
	require.NoError(t, err)
	statement := func(columns ...string) *compiled {
		s := SQLSource[int64]{Base: Base{Columns: columns, From: "t"}}
		c, err := s.compile(t.Context(), Seek{Order: order, Limit: 3})
		require.NoError(t, err)
		return c
	}
	one, two := statement("t.id"), statement("t.id", "t.name")
	require.Same(t, one, statement("t.id"))
	require.Same(t, two, statement("t.id", "t.name"))
	require.NotSame(t, two, statement("t.name", "t.id"))
}

// Only a statement that groups is put behind a limit, which ends the use of indexes.
func TestWhole(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]bool{
		"SELECT group_id, GROUP_CONCAT(x) FROM t":            false,
		"SELECT 'GROUP BY' AS a FROM t -- GROUP BY":          false,
		"SELECT a FROM t group\nby a":                        true,
		"WITH g AS (SELECT a FROM t GROUP BY a) TABLE g":     true,
		"SELECT * FROM (SELECT a FROM t GROUP  BY a) d -- x": true,
	} {
		require.Equal(t, want, whole(query) != query, query)
	}
}
