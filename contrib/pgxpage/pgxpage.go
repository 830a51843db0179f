// Package pgxpage pages lists of pgx by keyset, without database/sql. It also counts the
// statements of pgx for querycount.
//
// The tags of a struct declare the columns, see keyset.Model:
//
//	model, err := keyset.NewModel[Sale]("db", "")
//	sales, err := keyset.New("sales", pagination.Standard, cursors, model.Sort, nil)
//	page, err := sales.Paginate(r, pgxpage.Source(pool, model, keyset.Base{
//		From: "sales", Where: "product = $1", Args: []any{product},
//	}))
package pgxpage

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/mainstay-go/mainstay/internal/batch"
	"github.com/mainstay-go/mainstay/pagination/keyset"
	"github.com/mainstay-go/mainstay/pagination/querycount"
)

// Querier runs a query. *pgxpool.Pool, *pgx.Conn and pgx.Tx implement it.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Source returns the rows of a base. If the base has no Columns, it gets those of the
// model. For a list by page number, set Order of the source.
func Source[T any](db Querier, model *keyset.Model[T], base keyset.Base) keyset.SQLSource[T] {
	if base.Columns == nil {
		base.Columns = model.Columns
	}
	return keyset.SQLSource[T]{
		Dialect: keyset.Postgres, Base: base, Scan: model.Scan,
		Query: func(ctx context.Context, query string, args ...any) (keyset.Rows, error) {
			r, err := db.Query(ctx, query, args...)
			if err != nil {
				return nil, err
			}
			return rows{r}, nil
		},
	}
}

// rows is the result of pgx with the Close of database/sql.
type rows struct{ pgx.Rows }

// Columns returns the names of the columns, which the source compares with the sort keys.
func (r rows) Columns() ([]string, error) {
	fields := r.FieldDescriptions()
	names := make([]string, len(fields))
	for i := range fields {
		names[i] = fields[i].Name
	}
	return names, nil
}

// TypeNames returns the types of the columns, with which the source notices that a table has
// changed.
func (r rows) TypeNames() []string {
	fields, conn := r.FieldDescriptions(), r.Conn()
	if conn == nil {
		return nil
	}
	names := make([]string, len(fields))
	for i := range fields {
		if t, ok := conn.TypeMap().TypeForOID(fields[i].DataTypeOID); ok {
			names[i] = strings.ToUpper(t.Name)
		}
	}
	return names
}

// Close closes the result.
func (r rows) Close() error {
	r.Rows.Close()
	return r.Err()
}

// Tracer counts the statements of pgx for querycount, including those of batches. Set it as
// Tracer of a pgx.ConnConfig. It also counts a statement that failed before it reached the
// server.
type Tracer struct{}

type traceKey struct{}

type trace struct {
	sql   string
	start time.Time
	batch map[string]bool // the texts of a batch so far
}

// TraceQueryStart implements pgx.QueryTracer.
func (Tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, traceKey{}, trace{sql: data.SQL, start: time.Now()})
}

// TraceQueryEnd implements pgx.QueryTracer.
func (Tracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if t, ok := ctx.Value(traceKey{}).(trace); ok {
		querycount.Record(ctx, "postgres", t.sql, time.Since(t.start))
	}
}

// TraceBatchStart implements pgx.BatchTracer.
func (Tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return context.WithValue(ctx, traceKey{}, trace{start: time.Now(), batch: map[string]bool{}})
}

// TraceBatchQuery implements pgx.BatchTracer. The statements of one batch with one text take
// one round trip, so that they are no N+1.
func (Tracer) TraceBatchQuery(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	if t, ok := ctx.Value(traceKey{}).(trace); ok {
		if t.batch[data.SQL] {
			ctx = batch.Mark(ctx)
		}
		t.batch[data.SQL] = true
		querycount.Record(ctx, "postgres", data.SQL, time.Since(t.start))
	}
}

// TraceBatchEnd implements pgx.BatchTracer.
func (Tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// TraceCopyFromStart implements pgx.CopyFromTracer.
func (Tracer) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceCopyFromStartData) context.Context {
	return context.WithValue(ctx, traceKey{}, trace{sql: "COPY " + data.TableName.Sanitize(), start: time.Now()})
}

// TraceCopyFromEnd implements pgx.CopyFromTracer.
func (Tracer) TraceCopyFromEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromEndData) {
	if t, ok := ctx.Value(traceKey{}).(trace); ok {
		querycount.Record(ctx, "postgres", t.sql, time.Since(t.start))
	}
}
