package pagination_test

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	_ "github.com/lib/pq"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// columnType is a type with values in SQL. refused types are an error and never a short
// list.
type columnType struct {
	name    string // of the type, or of the case
	ddl     string // default: name
	values  []string
	expr    string // default: t.k
	options string // of the table
	refused bool
	sorted  string // what the database is told to sort by for comparison; default: expr
	verify  bool   // only Verify finds the fault
}

type typeRow struct{ ID int64 }

// TestColumnTypes walks a list by a column of each type, both ways, with NULLs, ties and
// mixed directions, and compares with the order of the database. A plain run walks with an eighth of
// the types over a second driver or protocol of an engine, and with each type in two of three places
// of NULLs.
func TestColumnTypes(t *testing.T) {
	t.Parallel()
	maria := func(params string) func(testing.TB) *sql.DB {
		return func(t testing.TB) *sql.DB {
			return open(t, "mysql", newMariaDB(t)+params)
		}
	}
	postgres := func(driver, params string) func(testing.TB) *sql.DB {
		return func(t testing.TB) *sql.DB {
			return open(t, driver, newPostgres(t)+params)
		}
	}
	setUp := map[keyset.Dialect][]string{
		keyset.Postgres: {
			"CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')", "CREATE TYPE pair AS (a int, b text)", "CREATE DOMAIN posint AS int CHECK (VALUE > 0)",
			"CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
			"CREATE COLLATION noaccents (provider = icu, locale = 'und-u-ks-level1-kc-true', deterministic = false)",
			"CREATE COLLATION german (provider = icu, locale = 'de-DE-u-co-phonebk')", "CREATE EXTENSION citext", "CREATE EXTENSION hstore",
			"CREATE TYPE nested AS (p pair, d date)", "CREATE DOMAIN person AS citext", "CREATE DOMAIN couple AS pair", "CREATE DOMAIN couples AS couple", "CREATE DOMAIN feeling AS mood", "CREATE DOMAIN moment AS timestamptz(0)",
			"CREATE EXTENSION ltree", "CREATE EXTENSION cube", "CREATE EXTENSION seg", "CREATE EXTENSION isn",
			"CREATE TYPE floatrange AS RANGE (subtype = float8)", `CREATE TYPE textrange AS RANGE (subtype = text, collation = "C")`,
			"CREATE DOMAIN words AS text[]", "CREATE DOMAIN small AS posint CHECK (VALUE < 100)", "CREATE DOMAIN code AS char(4)",
			"CREATE DOMAIN span AS int4range", "CREATE DOMAIN raw AS bytea", "CREATE DOMAIN area AS box", "CREATE DOMAIN document AS json",
			`CREATE TYPE "Weird ""Mood" AS ENUM ('b?', 'a''$1')`, "CREATE SCHEMA elsewhere", "CREATE TYPE elsewhere.mood AS ENUM ('late', 'early')",
			"CREATE TYPE bag AS (words text[], share numeric, ids int[])", "CREATE TYPE holder AS (id int, doc json)",
		},
	}
	for _, e := range []struct {
		name    string
		dialect keyset.Dialect
		open    func(testing.TB) *sql.DB
		types   []columnType
	}{
		{"SQLite", keyset.SQLite, openSQLite, sqliteTypes},
		{"PostgreSQL, pgx", keyset.Postgres, postgres("pgx", ""), postgresTypes},
		{"PostgreSQL, pgx exec mode", keyset.Postgres, postgres("pgx", "&default_query_exec_mode=exec"), postgresTypes},
		{"PostgreSQL, pgx simple protocol", keyset.Postgres, postgres("pgx", "&default_query_exec_mode=simple_protocol"), postgresTypes},
		{"PostgreSQL, pq", keyset.Postgres, postgres("postgres", "&TimeZone=Europe/Berlin"), postgresTypes},
		{"MariaDB", keyset.MySQL, maria("&time_zone=%27%2B00:00%27&sql_mode=%27%27"), mariadbTypes},
		{"MariaDB, text protocol and times", keyset.MySQL, maria("&interpolateParams=true&parseTime=true&loc=Europe%2FBerlin&time_zone=%27%2B00:00%27&sql_mode=%27%27"), mariadbTypes},
	} {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && strings.Contains(e.name, ",") {
				t.Skip("another driver or protocol of an engine")
			}
			db := e.open(t)
			db.SetMaxOpenConns(1)
			for _, s := range setUp[e.dialect] {
				_, err := db.Exec(s)
				require.NoError(t, err, s)
			}
			each := testserver.Sample(4, 1) // mixed has all types
			if strings.Contains(e.name, ",") {
				each = testserver.Sample(16, 1)
			}
			for i, c := range e.types {
				if i%each != 0 {
					continue
				}
				t.Run(c.name, func(t *testing.T) { walkType(t, db, e.dialect, c) })
			}
			t.Run("mixed", func(t *testing.T) { walkMixed(t, db, e.dialect, e.types) })
		})
	}
}

// tables numbers the tables: a driver keeps plans of a table that has gone.
var tables atomic.Int64

func walkType(t *testing.T, db *sql.DB, dialect keyset.Dialect, c columnType) {
	ddl, expr := c.ddl, c.expr
	if ddl == "" && c.name != "no type" {
		ddl = c.name
	}
	if expr == "" {
		expr = "t.k"
	}
	table := fmt.Sprintf("t%d", tables.Add(1))
	expr = strings.ReplaceAll(expr, "FROM t ", "FROM "+table+" ")
	id := "BIGINT"
	if strings.Contains(c.options, "STRICT") {
		id = "INT"
	}
	_, err := db.Exec("CREATE TABLE " + table + " (id " + id + " PRIMARY KEY, k " + ddl + ")" + c.options)
	require.NoError(t, err)
	values := append(slices.Clone(c.values), "NULL")
	var rows []string
	for i := range 40 {
		rows = append(rows, fmt.Sprintf("(%d, %s)", i*7%40+1, values[i%len(values)]))
	}
	sorted := map[string]string{expr: c.sorted}
	_, err = db.Exec("INSERT INTO " + table + " (id, k) VALUES " + strings.Join(rows, ", "))
	require.NoError(t, err)
	places := []keyset.Nulls{keyset.NullsNative, keyset.NullsFirst, keyset.NullsLast}
	if !testserver.Long() && !c.refused { // NULLs come first for one type and last for the next
		places = []keyset.Nulls{keyset.NullsNative, places[1+len(c.name)%2]}
	}
	for _, nulls := range places {
		k, err := keyset.New("t", pagination.Preset{Size: 3, MaxSize: 100}, mustCursors(t), []keyset.Column[typeRow]{
			{Name: "k", Expr: expr, Nullable: true, Nulls: nulls},
			{Name: "id", Expr: "t.id", Unique: true},
		}, nil)
		require.NoError(t, err)
		source := keyset.SQLSource[typeRow]{
			DB: db, Dialect: dialect, Base: keyset.Base{Columns: []string{"t.id"}, From: table + " t"},
			Scan: func(r keyset.Scanner) (x typeRow, err error) { return x, r.Scan(&x.ID) },
		}
		if nulls != keyset.NullsLast && !c.refused { // the key is read from a column of the list
			source.Base.Columns = append(source.Base.Columns, expr+" AS value")
			source.Scan = func(r keyset.Scanner) (x typeRow, err error) { return x, r.Scan(&x.ID, new(any)) }
		}
		if c.refused {
			_, err := k.Verify(t.Context(), source, nil)
			require.Error(t, err)
			_, err = k.Paginate(httptest.NewRequest(http.MethodGet, "/?ordering=k", nil), source)
			require.Error(t, err)
			continue
		}
		if c.verify {
			_, err := k.Verify(t.Context(), source, nil)
			require.ErrorIs(t, err, keyset.ErrWalk)
			continue
		}
		orderings := []string{"k,-id", "-k"}
		if nulls == keyset.NullsNative {
			orderings = []string{"k", "-k,id"}
			_, err = k.Verify(t.Context(), source, nil)
			require.NoError(t, err)
		}
		for _, ordering := range orderings {
			order, err := k.Order(ordering)
			require.NoError(t, err)
			want := referenceTypes(t, db, dialect, table, order, sorted)
			size := 3 + rand.IntN(9)
			there, back := walkLinks(t, k, source, fmt.Sprintf("/?ordering=%s&page_size=%d", ordering, size), len(want))
			require.Equal(t, want, there, "%s nulls=%d size=%d", ordering, nulls, size)
			require.Equal(t, want, back, "%s nulls=%d size=%d, backwards", ordering, nulls, size)
		}
	}
}

// walkLinks follows the next links, and the previous links from the end.
func walkLinks(t testing.TB, k *keyset.Keyset[typeRow], source keyset.Seeker[typeRow], url string, most int) (there, back []int64) {
	t.Helper()
	read := func(url string) *keyset.Page[typeRow] {
		page, err := k.Paginate(httptest.NewRequest(http.MethodGet, url, nil), source)
		require.NoError(t, err, url)
		return page
	}
	page := read(url)
	for {
		for _, r := range page.Results {
			there = append(there, r.ID)
		}
		require.LessOrEqual(t, len(there), most, "a walk that does not end")
		if page.Next == "" {
			break
		}
		page = read(string(page.Next))
	}
	for {
		for _, r := range slices.Backward(page.Results) {
			back = append(back, r.ID)
		}
		require.LessOrEqual(t, len(back), most)
		if page.Previous == "" {
			break
		}
		page = read(string(page.Previous))
	}
	slices.Reverse(back)
	return there, back
}

func referenceTypes(t testing.TB, db *sql.DB, dialect keyset.Dialect, table string, order keyset.Order, sorted map[string]string) (ids []int64) {
	t.Helper()
	var by []string
	for _, k := range order.Keys() {
		direction := ""
		if k.Desc {
			direction = " DESC"
		}
		if instead := sorted[k.Expr]; instead != "" {
			k.Expr = instead
		}
		if k.Nullable {
			last := k.Nulls == keyset.NullsLast || k.Nulls == keyset.NullsNative && k.Desc != (dialect == keyset.Postgres)
			null := k.Expr + " IS NULL"
			if dialect == keyset.Postgres { // a row with a NULL in it is a value
				null = "num_nonnulls(" + k.Expr + ") = 0"
			}
			by = append(by, "CASE WHEN "+null+" THEN "+map[bool]string{true: "1 ELSE 0", false: "0 ELSE 1"}[last]+" END")
		}
		by = append(by, k.Expr+direction)
	}
	rows, err := db.Query("SELECT t.id FROM " + table + " t ORDER BY " + strings.Join(by, ", "))
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var id int64
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	return ids
}

// A TIMESTAMP in a zone whose clocks go back has one text for two instants.
func TestTimestampZone(t *testing.T) {
	t.Parallel()
	dsn := newMariaDB(t)
	for zone, ok := range map[string]bool{"%2B02:00": true, "SYSTEM": true} {
		db := open(t, "mysql", dsn+"&time_zone=%27"+zone+"%27")
		_, err := db.Exec("CREATE TABLE IF NOT EXISTS t (id BIGINT PRIMARY KEY, k TIMESTAMP NULL)")
		require.NoError(t, err)
		k, err := keyset.New("t", pagination.Preset{Size: 3}, mustCursors(t), []keyset.Column[typeRow]{
			{Name: "k", Expr: "t.k", Nullable: true}, {Name: "id", Expr: "t.id", Unique: true},
		}, nil)
		require.NoError(t, err)
		var system string
		require.NoError(t, db.QueryRow("SELECT @@system_time_zone").Scan(&system))
		_, err = k.Verify(t.Context(), keyset.SQLSource[typeRow]{
			DB: db, Dialect: keyset.MySQL, Base: keyset.Base{Columns: []string{"t.id"}, From: "t"},
			Scan: func(r keyset.Scanner) (x typeRow, err error) { return x, r.Scan(&x.ID) },
		}, nil)
		if ok = ok && (zone != "SYSTEM" || system == "UTC"); ok {
			require.NoError(t, err, zone)
			continue
		}
		var broken *keyset.WalkError
		require.True(t, errors.As(err, &broken), zone)
		assert.Equal(t, "k", broken.Column)
	}
}

// MariaDB sorts a VARCHAR by its first max_sort_length bytes. A page with two values that
// may lie behind them is an error.
func TestLongPrefix(t *testing.T) {
	t.Parallel()
	db := open(t, "mysql", newMariaDB(t))
	for _, s := range []string{
		"CREATE TABLE t (id BIGINT PRIMARY KEY, k VARCHAR(2000))",
		"INSERT INTO t SELECT seq, CONCAT(REPEAT('a', 600), seq * 7 % 10) FROM seq_1_to_30",
	} {
		_, err := db.Exec(s)
		require.NoError(t, err)
	}
	source := keyset.SQLSource[typeRow]{
		DB: db, Dialect: keyset.MySQL, Base: keyset.Base{Columns: []string{"t.id"}, From: "t"},
		Scan: func(r keyset.Scanner) (x typeRow, err error) { return x, r.Scan(&x.ID) },
	}
	for expr, ok := range map[string]bool{"t.k": false, "LEFT(t.k, 170)": true} {
		k, err := keyset.New("t", pagination.Preset{Size: 4}, mustCursors(t), []keyset.Column[typeRow]{
			{Name: "k", Expr: expr}, {Name: "id", Expr: "t.id", Unique: true},
		}, nil)
		require.NoError(t, err)
		_, err = k.Page(t.Context(), source, keyset.Query{Ordering: "k"})
		if ok {
			require.NoError(t, err)
			there, _ := walkLinks(t, k, source, "/?ordering=k", 30)
			require.Len(t, there, 30)
			continue
		}
		var broken *keyset.WalkError
		require.ErrorAs(t, err, &broken)
		assert.Equal(t, "k", broken.Column)
		assert.Contains(t, broken.Problem, "512 bytes")
	}
}
