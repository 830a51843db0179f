// The parser needs 64 bits.

//go:build !386 && !arm

// Package grammar_test parses the statements for MySQL 8 with a parser of that grammar.
package grammar_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/pingcap/tidb/pkg/parser"
	_ "github.com/pingcap/tidb/pkg/parser/test_driver"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the lists are verified here
	os.Exit(m.Run())
}

// statements are the texts that a source sent to a server.
type statements struct {
	mu   sync.Mutex
	seen map[string]bool
	db   *sql.DB
}

// QueryContext implements keyset.Queryer.
func (s *statements) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s.mu.Lock()
	s.seen[query] = true
	s.mu.Unlock()
	return s.db.QueryContext(ctx, query, args...)
}

// row is a row of every list here.
type row struct {
	id     int64
	k      any
	closed any
}

func scan(r keyset.Scanner) (x row, err error) { return x, r.Scan(&x.id, &x.k, &x.closed) }

var types = []string{
	"BIGINT", "INT UNSIGNED", "DECIMAL(12,3)", "FLOAT", "DOUBLE", "VARCHAR(40)", "VARCHAR(40) COLLATE utf8mb4_bin", "DATE", "DATETIME(6)", "TIME",
	"TIMESTAMP NULL", "YEAR", "ENUM('b','a','c')", "SET('x','y')", "BIT(6)", "BINARY(4)", "BLOB", "TEXT",
}

var values = map[string][]string{
	"DATE": {"2026-01-02", "2026-03-04"}, "DATETIME": {"2026-01-02 03:04:05.678", "2026-01-02"}, "TIME": {"11:12:13", "01:02:03"},
	"TIMESTAMP": {"2026-01-02 03:04:05", "2026-01-03"}, "ENUM": {"a", "b", "c"}, "SET": {"x", "y", "x,y"},
}

// Every statement that a source sends to MySQL is one of MySQL's grammar. MariaDB runs them.
func TestMySQLGrammar(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	server.CreateDatabase(t, "grammar")
	db, err := sql.Open("mysql", server.DSN("grammar")+"&time_zone=%27%2B00%3A00%27")
	require.NoError(t, err)
	defer db.Close()
	sent := &statements{seen: map[string]bool{}, db: db}
	for i, typ := range types {
		if i%testserver.Sample(3, 1) != 0 {
			continue
		}
		table := fmt.Sprint("t", i)
		_, err := db.Exec("CREATE TABLE " + table + " (id INT PRIMARY KEY, shop INT NOT NULL, k " + typ + ", closed INT, KEY shop_k (shop, k(4), id), KEY shop_closed (shop, closed, id))")
		if err != nil {
			_, err = db.Exec("CREATE TABLE " + table + " (id INT PRIMARY KEY, shop INT NOT NULL, k " + typ + ", closed INT, KEY shop_k (shop, k, id), KEY shop_closed (shop, closed, id))")
		}
		require.NoError(t, err)
		choices, ok := values[strings.FieldsFunc(typ, func(r rune) bool { return r == '(' || r == ' ' })[0]]
		if !ok {
			choices = []string{"1", "2", "9"}
		}
		for id := range 40 {
			_, err := db.Exec("INSERT INTO "+table+" VALUES (?, 1, ?, ?)", id, sql.NullString{String: choices[id%len(choices)], Valid: id%5 > 0}, sql.NullInt64{Int64: int64(id % 7), Valid: id%3 > 0})
			require.NoError(t, err, typ)
		}
		nulls := []keyset.Nulls{keyset.NullsNative, keyset.NullsFirst, keyset.NullsLast}[i%3]
		for name, base := range bases(table) {
			walkAll(t, sent, typ+" "+name, base, nulls)
		}
	}
	sent.seen["SELECT CONNECTION_ID()"], sent.seen["KILL CONNECTION 7"] = true, true // of an export whose client leaves
	p := parser.New()
	for text := range sent.seen {
		_, _, err := p.ParseSQL(text)
		assert.NoError(t, err, text)
	}
	assert.Greater(t, len(sent.seen), 1000)
	for _, wrong := range []string{"SELECT a FROM t ORDER BY a NULLS LAST", "SELECT a FROM t OFFSET 3 ROWS", "SELECT TOP (3) a FROM t"} {
		_, _, err := p.ParseSQL(wrong)
		assert.Error(t, err, wrong)
	}
	t.Logf("%d statements", len(sent.seen))
}

func bases(table string) map[string]keyset.Base {
	columns := []string{"t.id", "t.k", "t.closed"}
	derived := []string{"mainstay_q.id", "mainstay_q.k", "mainstay_q.closed"}
	return map[string]keyset.Base{
		"table":  {Columns: columns, From: table + " t"},
		"filter": {Columns: columns, From: table + " AS t LEFT JOIN " + table + " x ON x.id = t.id + ?", Where: "t.shop = ? AND t.id > ?", Args: []any{1, 1, 3}},
		"query":  {Columns: derived, Query: "SELECT * FROM `" + table + "` WHERE shop = ?", Args: []any{1}},
		"group":  {Columns: derived, Query: "SELECT id, MAX(k) AS k, MAX(closed) AS closed FROM " + table + " GROUP BY id HAVING COUNT(*) > ?", Args: []any{0}},
		"with":   {Columns: derived, Query: "WITH c AS (SELECT * FROM " + table + ") SELECT * FROM c WHERE shop = ?", Args: []any{1}},
	}
}

// walkAll issues every statement of a list: pages in all orders there and back, counts, pages by
// number, an export and Verify.
func walkAll(t *testing.T, sent *statements, name string, base keyset.Base, nulls keyset.Nulls) {
	t.Helper()
	prefix := strings.TrimSuffix(base.Columns[0], "id")
	cursors, err := keyset.NewCursors(keyset.EphemeralKeyRing(), nil)
	require.NoError(t, err)
	list, err := keyset.New(name, pagination.Standard, cursors, []keyset.Column[row]{
		{Name: "id", Expr: prefix + "id", Unique: true},
		{Name: "k", Expr: prefix + "k", Nullable: true, Nulls: nulls},
		{Name: "closed", Expr: prefix + "closed", Nullable: true, Nulls: nulls},
		{Name: "near", Expr: "ABS(" + prefix + "id - ?)", Args: []any{11}},
	}, nil)
	require.NoError(t, err)
	source := keyset.SQLSource[row]{DB: sent, Dialect: keyset.MySQL, Base: base, Scan: scan}
	_, err = list.Verify(t.Context(), source, nil)
	require.NoError(t, err, name)
	for _, ordering := range []string{"", "k", "-k,closed", "closed,-k,id", "-near,k"} {
		for _, size := range []int{7, pagination.Standard.Size} {
			page, err := list.Page(t.Context(), source, keyset.Query{Ordering: ordering, Size: size})
			require.NoError(t, err, name)
			for range 3 {
				if page.Next == "" {
					break
				}
				page, err = list.Page(t.Context(), source, keyset.Query{Ordering: ordering, Size: size, Token: page.Next})
				require.NoError(t, err, name)
			}
			_, err = list.Page(t.Context(), source, keyset.Query{Ordering: ordering, Size: size, Token: page.Previous})
			require.NoError(t, err, name)
		}
		source.Order, err = list.Order(ordering)
		require.NoError(t, err)
		for _, source.DeepKey = range []string{"", prefix + "id"} {
			for _, offset := range []int64{0, 5} {
				_, err = source.List(t.Context(), 10, offset)
				require.NoError(t, err, name)
			}
		}
	}
	_, err = source.CountUpTo(t.Context(), 20)
	require.NoError(t, err)
	_, err = source.EstimateCount(t.Context())
	require.NoError(t, err)
	for _, err := range list.All(t.Context(), source, &keyset.AllOptions{Ordering: "k,-closed", Batch: 9}) {
		require.NoError(t, err)
	}
}
