package pgxpage_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/contrib/pgxpage"
	"github.com/mainstay-go/mainstay/internal/pagesuite"
	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
	"github.com/mainstay-go/mainstay/pagination/querycount"
)

// Sale is a row of the list.
type Sale struct {
	ID        int64      `db:"id" page:"sort,unique"`
	Product   string     `db:"product"`
	Status    int        `db:"status" page:"sort"`
	CreatedAt time.Time  `db:"created_at" page:"sort"`
	ClosedAt  *time.Time `db:"closed_at" page:"sort"`
}

func TestPgx(t *testing.T) {
	t.Parallel()
	pagesuite.Run(t, "", "", "pgx", func(t *testing.T, e pagesuite.Engine) pagesuite.List[Sale] {
		pool, err := pgxpool.New(t.Context(), e.DSN)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		model, err := keyset.NewModel[Sale]("db", "")
		require.NoError(t, err)
		sales, err := keyset.New("sales", pagination.Standard, pagesuite.Cursors(t), model.Sort, nil)
		require.NoError(t, err)
		return pagesuite.List[Sale]{
			Keyset: sales, ID: func(s Sale) int64 { return s.ID },
			Source: func(product string) keyset.SQLSource[Sale] {
				return pgxpage.Source(pool, model, keyset.Base{From: "sales", Where: "product = $1", Args: []any{product}})
			},
		}
	})
}

// The tracer counts queries, batches and copies, and the shapes are those of PostgreSQL.
func TestTracer(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "trace")
	config, err := pgx.ParseConfig(server.DSN("trace"))
	require.NoError(t, err)
	config.Tracer = pgxpage.Tracer{}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	ctx, counter := querycount.With(t.Context())
	_, err = conn.Exec(ctx, "CREATE TABLE t (a int, b text)")
	require.NoError(t, err)
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"a", "b"}, pgx.CopyFromRows([][]any{{1, "x"}, {2, "y"}}))
	require.NoError(t, err)
	batch := &pgx.Batch{}
	for i := range 9 {
		batch.Queue("SELECT b FROM t WHERE a = $1", i)
	}
	require.NoError(t, conn.SendBatch(ctx, batch).Close())
	for _, text := range []string{"$$it's$$", "E'it\\'s'"} {
		_, err = conn.Exec(ctx, "SELECT b FROM t WHERE b = "+text)
		require.NoError(t, err)
	}
	_, err = conn.Exec(ctx, "SELECT nothing")
	require.Error(t, err)
	assert.Equal(t, 14, counter.Total())
	var shapes []string
	for _, s := range counter.Shapes() {
		shapes = append(shapes, s.SQL)
		assert.Contains(t, s.Caller, "pgxpage_test.go")
		assert.Positive(t, s.Took)
	}
	assert.ElementsMatch(t, []string{
		"CREATE TABLE t (a int, b text)", `COPY "t"`, "SELECT b FROM t WHERE a = ?", "SELECT b FROM t WHERE b = ?", "SELECT nothing",
	}, shapes)
	// A batch is no N+1. A loop is one, of statements and of batches.
	assert.Empty(t, counter.Repeated(3))
	for i := range 4 {
		_, err = conn.Exec(ctx, "SELECT b FROM t WHERE a = $1 AND b <> ''", i)
		require.NoError(t, err)
		one := &pgx.Batch{}
		one.Queue("SELECT b FROM t WHERE a > $1", i)
		one.Queue("SELECT b FROM t WHERE a > $1", -i)
		require.NoError(t, conn.SendBatch(ctx, one).Close())
	}
	require.Len(t, counter.Repeated(3), 2)
}

// Name is a row with a text that schemas have in other types.
type Name struct {
	ID   int64  `db:"id" page:"sort,unique"`
	Name string `db:"name" page:"sort"`
}

// One keyset serves tenants whose tables have other types behind one text.
func TestPgxTenants(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "tenants")
	server.Exec(t, "tenants", "CREATE EXTENSION citext; CREATE SCHEMA a; CREATE SCHEMA b; "+
		"CREATE TABLE a.names AS SELECT i AS id, 'x' || i % 7 AS name FROM generate_series(1, 30) i; "+
		"CREATE TABLE b.names AS SELECT i AS id, (CASE WHEN i % 3 = 0 THEN 'x' ELSE 'X' END || i % 7)::citext AS name FROM generate_series(1, 30) i")
	model, err := keyset.NewModel[Name]("db", "")
	require.NoError(t, err)
	names, err := keyset.New("names", pagination.Preset{Size: 4}, pagesuite.Cursors(t), model.Sort, nil)
	require.NoError(t, err)
	pools := map[string]*pgxpool.Pool{}
	for _, schema := range []string{"a", "b", "a", "b"} {
		if pools[schema] == nil {
			pools[schema], err = pgxpool.New(t.Context(), server.DSN("tenants")+"&search_path="+schema+",public")
			require.NoError(t, err)
			t.Cleanup(pools[schema].Close)
		}
		seen := map[int64]bool{}
		for q := (keyset.Query{Ordering: "name"}); ; {
			page, err := names.Page(t.Context(), pgxpage.Source(pools[schema], model, keyset.Base{From: "names"}), q)
			require.NoError(t, err)
			for _, row := range page.Rows {
				require.False(t, seen[row.ID])
				seen[row.ID] = true
			}
			if q.Token = page.Next; q.Token == "" {
				break
			}
		}
		require.Len(t, seen, 30, schema)
	}
}
