package querycount

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/pagination/internal/lex"
)

// Open is sql.Open with counting: it opens a database with a registered driver.
func Open(driverName, dsn string) (*sql.DB, error) {
	db, err := sql.Open(driverName, dsn)
	if err != nil {
		return nil, err
	}
	d := db.Driver()
	if err := db.Close(); err != nil {
		return nil, err
	}
	if dc, ok := d.(driver.DriverContext); ok {
		c, err := dc.OpenConnector(dsn)
		if err != nil {
			return nil, err
		}
		return sql.OpenDB(Wrap(c)), nil
	}
	return sql.OpenDB(Wrap(dsnConnector{d, dsn})), nil
}

// Wrap returns a connector whose connections count their statements, for sql.OpenDB. The
// driver's connection is behind an Unwrap method, for [sql.Conn.Raw].
func Wrap(c driver.Connector) driver.Connector { return connector{c} }

type connector struct{ driver.Connector }

// Connect opens a connection.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{inner, dialectOf(packageOf(inner))}, nil
}

// Close closes the connector, if the connector has a Close method.
func (c connector) Close() error {
	if closer, ok := c.Connector.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

type dsnConnector struct {
	d   driver.Driver
	dsn string
}

func (c dsnConnector) Connect(context.Context) (driver.Conn, error) { return c.d.Open(c.dsn) }
func (c dsnConnector) Driver() driver.Driver                        { return c.d }

// conn has every optional interface of a connection that database/sql uses. If the driver
// lacks one, the method does the same as database/sql without it.
type conn struct {
	driver.Conn
	dialect string
}

// packageOf returns the package of a driver.
func packageOf(c driver.Conn) string {
	t := reflect.TypeOf(c)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath()
}

// dialectOf derives the dialect from the package of a driver.
func dialectOf(pkg string) string {
	for _, known := range []struct{ part, dialect string }{
		{"mysql", lex.MySQL}, {"pgx", lex.Postgres}, {"pgdriver", lex.Postgres}, {"lib/pq", lex.Postgres}, {"sqlite", lex.SQLite}, {"libsql", lex.SQLite}, {"mssql", lex.SQLServer},
	} {
		if strings.Contains(pkg, known.part) {
			return known.dialect
		}
	}
	return ""
}

var (
	_ driver.Pinger             = (*conn)(nil)
	_ driver.ExecerContext      = (*conn)(nil)
	_ driver.QueryerContext     = (*conn)(nil)
	_ driver.ConnPrepareContext = (*conn)(nil)
	_ driver.ConnBeginTx        = (*conn)(nil)
	_ driver.SessionResetter    = (*conn)(nil)
	_ driver.Validator          = (*conn)(nil)
	_ driver.NamedValueChecker  = (*conn)(nil)
	_ driver.StmtExecContext    = (*stmt)(nil)
	_ driver.StmtQueryContext   = (*stmt)(nil)
	_ driver.NamedValueChecker  = (*stmt)(nil)
	_ driver.ColumnConverter    = (*stmt)(nil) //nolint:staticcheck // drivers that still have it must keep it when wrapped
)

// Unwrap returns the driver's own connection.
func (c *conn) Unwrap() driver.Conn { return c.Conn }

func (c *conn) Ping(ctx context.Context) error {
	if p, ok := c.Conn.(driver.Pinger); ok {
		return p.Ping(ctx)
	}
	return nil
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if e, ok := c.Conn.(driver.ExecerContext); ok {
		start := time.Now()
		res, err := e.ExecContext(ctx, query, args)
		c.count(ctx, query, err, start)
		return res, err
	}
	if e, ok := c.Conn.(driver.Execer); ok { //nolint:staticcheck // what old drivers have
		values, err := plainValues(ctx, args)
		if err != nil {
			return nil, err
		}
		start := time.Now()
		res, err := e.Exec(query, values)
		c.count(ctx, query, err, start)
		return res, err
	}
	return nil, driver.ErrSkip
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if q, ok := c.Conn.(driver.QueryerContext); ok {
		start := time.Now()
		rows, err := q.QueryContext(ctx, query, args)
		c.count(ctx, query, err, start)
		return rows, err
	}
	if q, ok := c.Conn.(driver.Queryer); ok { //nolint:staticcheck // what old drivers have
		values, err := plainValues(ctx, args)
		if err != nil {
			return nil, err
		}
		start := time.Now()
		rows, err := q.Query(query, values)
		c.count(ctx, query, err, start)
		return rows, err
	}
	return nil, driver.ErrSkip
}

// count counts a statement unless the driver declined it: database/sql then prepares it,
// and the prepared statement counts. A statement on a dead connection has not reached the
// server.
func (c *conn) count(ctx context.Context, query string, err error, start time.Time) {
	if !errors.Is(err, driver.ErrSkip) && !errors.Is(err, driver.ErrBadConn) {
		Record(ctx, c.dialect, query, time.Since(start))
	}
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	var inner driver.Stmt
	var err error
	if p, ok := c.Conn.(driver.ConnPrepareContext); ok {
		inner, err = p.PrepareContext(ctx, query)
	} else if inner, err = c.Conn.Prepare(query); err == nil && ctx.Err() != nil {
		_ = inner.Close() // unused; the caller needs the context's error
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return &stmt{inner, c, query}, nil
}

func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if b, ok := c.Conn.(driver.ConnBeginTx); ok {
		return b.BeginTx(ctx, opts)
	}
	if opts.Isolation != 0 || opts.ReadOnly {
		return nil, errors.New("querycount: the driver knows neither isolation levels nor read-only transactions")
	}
	tx, err := c.Conn.Begin() //nolint:staticcheck // what old drivers have
	if err == nil && ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), tx.Rollback())
	}
	return tx, err
}

func (c *conn) ResetSession(ctx context.Context) error {
	if r, ok := c.Conn.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

func (c *conn) IsValid() bool {
	if v, ok := c.Conn.(driver.Validator); ok {
		return v.IsValid()
	}
	return true
}

func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if n, ok := c.Conn.(driver.NamedValueChecker); ok {
		return n.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

type stmt struct {
	driver.Stmt
	conn  *conn
	query string
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if e, ok := s.Stmt.(driver.StmtExecContext); ok {
		start := time.Now()
		res, err := e.ExecContext(ctx, args)
		s.conn.count(ctx, s.query, err, start)
		return res, err
	}
	values, err := plainValues(ctx, args)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	res, err := s.Stmt.Exec(values) //nolint:staticcheck // what old drivers have
	s.conn.count(ctx, s.query, err, start)
	return res, err
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if q, ok := s.Stmt.(driver.StmtQueryContext); ok {
		start := time.Now()
		rows, err := q.QueryContext(ctx, args)
		s.conn.count(ctx, s.query, err, start)
		return rows, err
	}
	values, err := plainValues(ctx, args)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	rows, err := s.Stmt.Query(values) //nolint:staticcheck // what old drivers have
	s.conn.count(ctx, s.query, err, start)
	return rows, err
}

func (s *stmt) CheckNamedValue(v *driver.NamedValue) error {
	if n, ok := s.Stmt.(driver.NamedValueChecker); ok {
		return n.CheckNamedValue(v)
	}
	return s.conn.CheckNamedValue(v)
}

func (s *stmt) ColumnConverter(i int) driver.ValueConverter {
	if c, ok := s.Stmt.(driver.ColumnConverter); ok { //nolint:staticcheck // what old drivers have
		return c.ColumnConverter(i)
	}
	return driver.DefaultParameterConverter
}

// plainValues does what database/sql does for a driver without context support.
func plainValues(ctx context.Context, args []driver.NamedValue) ([]driver.Value, error) {
	values := make([]driver.Value, len(args))
	for i, a := range args {
		if a.Name != "" {
			return nil, errors.New("querycount: the driver does not support named arguments")
		}
		values[i] = a.Value
	}
	return values, ctx.Err()
}
