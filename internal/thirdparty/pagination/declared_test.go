package pagination_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// declared is a list of typeRow with the number of its statements.
func declared(t testing.TB, db *sql.DB, e engine, base keyset.Base, columns ...keyset.Column[typeRow]) (*keyset.Keyset[typeRow], keyset.SQLSource[typeRow], *[]string) {
	t.Helper()
	k, err := keyset.New("declared", pagination.Preset{Size: 3, MaxSize: 100}, mustCursors(t), columns, nil)
	require.NoError(t, err)
	sent := new([]string)
	base.Columns = []string{"t.id"}
	return k, keyset.SQLSource[typeRow]{
		Dialect: e.dialect, Base: base,
		Query: func(ctx context.Context, query string, args ...any) (keyset.Rows, error) {
			*sent = append(*sent, query)
			return db.QueryContext(ctx, query, args...)
		},
		Scan: func(r keyset.Scanner) (x typeRow, err error) { return x, r.Scan(&x.ID) },
	}, sent
}

// byTokens walks by tokens, from the first page or backwards from the last one.
func byTokens(t testing.TB, k *keyset.Keyset[typeRow], s keyset.SQLSource[typeRow], q keyset.Query) (n int, err error) {
	t.Helper()
	backward := q.Token != ""
	for {
		page, err := k.Page(t.Context(), s, q)
		if err != nil {
			return n, err
		}
		n += len(page.Rows)
		require.LessOrEqual(t, n, 1000, "a walk that does not end")
		if q.Token = page.Next; backward {
			q.Token = page.Previous
		}
		if q.Token == "" {
			return n, nil
		}
	}
}

// NULLs that were not declared are an error, also where the database sorts them last. The
// comparison with a position excludes them there.
func TestUndeclaredNulls(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := e.open(t)
			exec(t, db, "CREATE TABLE n (id INTEGER PRIMARY KEY, shop INT NOT NULL, a INT NOT NULL, k INT)",
				"INSERT INTO n VALUES (1,1,1,5),(2,1,1,6),(3,1,1,NULL),(4,1,1,NULL),(5,1,2,7),(6,1,2,NULL),(7,1,2,8),(8,1,2,NULL),(9,1,3,5),(10,1,3,NULL),"+
					"(21,2,1,1),(22,2,1,2),(23,2,2,3),(24,2,2,4),(25,2,3,5)")
			k := keyset.Column[typeRow]{Name: "k", Expr: "t.k"}
			a := keyset.Column[typeRow]{Name: "a", Expr: "t.a"}
			shop := func(n int) keyset.Base { return keyset.Base{From: "n t", Where: "t.shop = ?", Args: []any{n}} }
			for _, ordering := range []string{"k", "-k", "a,k", "a,-k", "-a,k", "-a,-k", "k,-id", "-k,id"} {
				for _, token := range []string{"", keyset.LastPage} {
					list, source, _ := declared(t, db, e, shop(1), k, a, byID)
					var broken *keyset.WalkError
					_, err := byTokens(t, list, source, keyset.Query{Ordering: ordering, Token: token})
					require.ErrorAs(t, err, &broken, ordering)
					assert.Equal(t, "k", broken.Column)
					_, err = byTokens(t, list, source, keyset.Query{Ordering: ordering, Token: token})
					require.ErrorAs(t, err, &broken, "the second walk by %s", ordering)
				}
				list, source, _ := declared(t, db, e, shop(1), k, a, byID)
				var last error
				for _, err := range list.All(t.Context(), source, &keyset.AllOptions{Ordering: ordering, Batch: 2}) {
					last = err
				}
				require.ErrorIs(t, last, keyset.ErrWalk, ordering)
			}
			list, source, sent := declared(t, db, e, shop(2), k, a, byID)
			for range 20 {
				n, err := byTokens(t, list, source, keyset.Query{Ordering: "k"})
				require.NoError(t, err)
				require.Equal(t, 5, n)
			}
			checks := 0
			for _, text := range *sent {
				if strings.Contains(text, "mainstay_n") {
					checks++
				}
			}
			assert.Equal(t, 5, checks, "after 1, 2, 4, 8 and 16 walks: %v", *sent)
			list, source, _ = declared(t, db, e, shop(2), k, a, byID)
			query, failed := source.Query, 0
			source.Query = func(ctx context.Context, text string, args ...any) (keyset.Rows, error) {
				if strings.Contains(text, "mainstay_n") { // a check that takes longer than a request may
					return nil, context.DeadlineExceeded
				}
				return query(ctx, text, args...)
			}
			for range 20 {
				if _, err := byTokens(t, list, source, keyset.Query{Ordering: "k"}); err != nil {
					require.ErrorIs(t, err, context.DeadlineExceeded)
					failed++
				}
			}
			assert.Equal(t, 5, failed, "at 1, 2, 4, 8 and 16 walks")
			list, source, _ = declared(t, db, e, shop(2), k, a, byID)
			source.Base = shop(1) // the filter of another request
			source.Base.Columns = []string{"t.id"}
			found := false
			for range 20 {
				_, err := byTokens(t, list, source, keyset.Query{Ordering: map[bool]string{true: "k", false: "-k"}[e.dialect == keyset.Postgres]})
				found = found || err != nil
			}
			assert.True(t, found, "the check is repeated")
			k.Nullable = true
			list, source, sent = declared(t, db, e, shop(1), k, a, byID)
			n, err := byTokens(t, list, source, keyset.Query{Ordering: "k"})
			require.NoError(t, err)
			assert.Equal(t, 10, n)
			for _, text := range *sent {
				assert.NotContains(t, text, "THEN 1 WHEN", "k may be NULL")
			}
		})
	}
}

// A key that is unique by its bytes may have values that the collation of the order takes
// for equal.
func TestEqualByCollation(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := e.open(t)
			expr, ddl := "t.k COLLATE NOCASE", "TEXT UNIQUE"
			switch e.dialect {
			case keyset.MySQL:
				expr, ddl = "t.k COLLATE utf8mb4_general_ci", "VARCHAR(9) COLLATE utf8mb4_bin UNIQUE"
			case keyset.Postgres:
				exec(t, db, "CREATE COLLATION nc (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
				expr = "t.k COLLATE nc"
			}
			exec(t, db, "CREATE TABLE u (id INTEGER PRIMARY KEY, k "+ddl+" NOT NULL)",
				"INSERT INTO u VALUES (1,'a'),(2,'A'),(3,'b'),(4,'B'),(5,'c'),(6,'C')")
			k := keyset.Column[typeRow]{Name: "k", Expr: expr, Unique: true}
			inner := k
			inner.Expr = "t.k"
			walk := func(base keyset.Base, column keyset.Column[typeRow], ordering string) (int, []string, error) {
				list, source, sent := declared(t, db, e, base, column)
				n, err := byTokens(t, list, source, keyset.Query{Ordering: ordering, Size: 3})
				return n, *sent, err
			}
			for _, ordering := range []string{"k", "-k"} {
				var broken *keyset.WalkError
				_, _, err := walk(keyset.Base{From: "u t"}, k, ordering)
				require.ErrorAs(t, err, &broken)
				assert.Equal(t, "k", broken.Column)
				_, _, err = walk(keyset.Base{From: "(SELECT t.id, " + expr + " AS k FROM u t) t"}, inner, ordering)
				require.ErrorAs(t, err, &broken)
			}
			exec(t, db, "DELETE FROM u WHERE id % 2 = 0")
			n, sent, err := walk(keyset.Base{From: "u t"}, k, "k")
			require.NoError(t, err)
			assert.Equal(t, 3, n)
			assert.Contains(t, strings.Join(sent, "\n"), "HAVING COUNT(*) > 1")
			_, sent, err = walk(keyset.Base{From: "u t"}, inner, "k")
			require.NoError(t, err)
			assert.NotContains(t, strings.Join(sent, "\n"), "HAVING", "a plain column costs nothing")
		})
	}
}

// A column that was declared unique is compared with itself, unless a unique index excludes
// two values that its collation takes for equal.
func TestUniqueIndexes(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := e.open(t)
			text := "VARCHAR(9)"
			switch e.dialect {
			case keyset.SQLite:
				text += " COLLATE NOCASE"
			case keyset.Postgres:
				exec(t, db, "CREATE COLLATION nc (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
				text += " COLLATE nc"
			}
			walk := func(from, ordering string) (string, error) {
				list, source, sent := declared(t, db, e, keyset.Base{From: from}, keyset.Column[typeRow]{Name: "k", Expr: "t.k", Unique: true}, keyset.Column[typeRow]{Name: "shop", Expr: "t.shop"})
				_, err := byTokens(t, list, source, keyset.Query{Ordering: ordering, Size: 3})
				return strings.Join(*sent, "\n"), err
			}
			exec(t, db, "CREATE TABLE twins (id INTEGER PRIMARY KEY, shop INT NOT NULL, k "+text+" NOT NULL)", "INSERT INTO twins VALUES (1,1,'a'),(2,1,'b'),(3,1,'c'),(4,1,'C'),(5,1,'d')")
			for _, ordering := range []string{"k", "-k", "shop,k"} {
				_, err := walk("twins t", ordering)
				var broken *keyset.WalkError
				require.ErrorAs(t, err, &broken, ordering)
				assert.Equal(t, "k", broken.Column)
			}
			if e.dialect == keyset.MySQL { // a TEXT is sorted by its first characters
				exec(t, db, "CREATE TABLE twins2 (id INTEGER PRIMARY KEY, shop INT NOT NULL, k TEXT NOT NULL, UNIQUE (k(500)))",
					"INSERT INTO twins2 VALUES (1,1,'a'),(2,1,'b'),(3,1,CONCAT(REPEAT('c',200),1)),(4,1,CONCAT(REPEAT('C',200),2)),(5,1,'d')")
				for _, ordering := range []string{"k", "-k"} {
					_, err := walk("twins2 t", ordering)
					require.ErrorIs(t, err, keyset.ErrWalk, ordering)
				}
			}
			indexes := map[string][2]bool{ // whether a walk by k and by shop and k is sure
				"":                                     {},
				"CREATE INDEX i ON w (k)":              {},
				"CREATE UNIQUE INDEX i ON w (id, k)":   {},
				"CREATE UNIQUE INDEX i ON w (k)":       {true, true},
				"CREATE UNIQUE INDEX i ON w (k, shop)": {false, true},
				"CREATE VIEW v AS SELECT * FROM w":     {},
			}
			if e.dialect != keyset.MySQL {
				indexes["CREATE UNIQUE INDEX i ON w (k) WHERE shop > 0"] = [2]bool{}
				indexes["CREATE UNIQUE INDEX i ON w (lower(k))"] = [2]bool{}
			}
			if e.dialect == keyset.SQLite {
				indexes["CREATE UNIQUE INDEX i ON w (k COLLATE BINARY)"] = [2]bool{}
			}
			if e.dialect == keyset.Postgres {
				indexes[`CREATE UNIQUE INDEX i ON w (k COLLATE "C")`] = [2]bool{}
				indexes["CREATE UNIQUE INDEX i ON w (k); CREATE TABLE child () INHERITS (w)"] = [2]bool{}
			}
			for index, sure := range indexes {
				exec(t, db, "CREATE TABLE w (id INTEGER PRIMARY KEY, shop INT NOT NULL, k "+text+" NOT NULL)", "INSERT INTO w VALUES (1,1,'a'),(2,1,'b'),(3,1,'c')")
				from := "w AS t"
				if strings.Contains(index, "VIEW") {
					from = "v t"
				}
				if index != "" {
					exec(t, db, index)
				}
				for i, ordering := range []string{"k", "shop,k"} {
					sent, err := walk(from, ordering)
					require.NoError(t, err)
					assert.Equal(t, !sure[i], strings.Contains(sent, "HAVING COUNT(*) > 1"), "%q by %s", index, ordering)
				}
				exec(t, db, map[bool]string{true: "DROP VIEW v", false: "SELECT 1"}[from == "v t"], "DROP TABLE IF EXISTS child", "DROP TABLE w")
			}
		})
	}
}

// A nullable text of a joined table is sorted before columns that are unique together.
func TestTiesOfAnotherTable(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := e.open(t)
			exec(t, db, "CREATE TABLE c (id INT PRIMARY KEY, name VARCHAR(9))", "INSERT INTO c VALUES (1,'x'),(2,'y')",
				"CREATE TABLE t (id INT NOT NULL, shop INT NOT NULL, customer INT NOT NULL, PRIMARY KEY (id, shop))", "INSERT INTO t VALUES (1,1,1),(1,2,1),(2,1,2),(2,2,3)")
			k, err := keyset.New("ties", pagination.Preset{Size: 3}, mustCursors(t), []keyset.Column[typeRow]{
				{Name: "name", Expr: "c.name", Nullable: true}, {Name: "id", Expr: "t.id"}, {Name: "shop", Expr: "t.shop"},
			}, &keyset.Options{TieBreak: []string{"id", "shop"}})
			require.NoError(t, err)
			_, source, _ := declared(t, db, e, keyset.Base{From: "t LEFT JOIN c ON c.id = t.customer"}, byID)
			for _, ordering := range []string{"name", "-name"} {
				n, err := byTokens(t, k, source, keyset.Query{Ordering: ordering})
				require.NoError(t, err)
				assert.Equal(t, 4, n)
			}
		})
	}
}

// A table changes while a process serves its list, and two tenants have tables of other
// types behind one text.
func TestChangedTables(t *testing.T) {
	t.Parallel()
	type change struct{ before, after, value string }
	dsn := newPostgres(t) + "&timezone=Europe/Berlin"
	db := open(t, "pgx", dsn+"&default_query_exec_mode=exec") // no statement of pgx is prepared
	exec(t, db, "CREATE EXTENSION citext")
	series := "generate_series(1, 30) AS s(i)"
	changes := map[keyset.Dialect][]change{
		keyset.Postgres: {
			{"text NOT NULL", "citext NOT NULL", "CASE WHEN i % 3 = 0 THEN 'x' ELSE 'X' END || i % 7"},
			{"varchar(9) NOT NULL", "char(5) NOT NULL", "'x' || i % 7"},
			{"real NOT NULL", "float8 NOT NULL", "i % 7 * 1.1"},
			{"real NOT NULL", "float8 NOT NULL", "1 + i * 1e-12"},
			{"date NOT NULL", "timestamp NOT NULL", "timestamp '2026-01-01' + i * interval '1 hour'"},
			{"date NOT NULL", "timestamptz NOT NULL", "timestamptz '2026-01-01' + i * interval '1 hour'"},
			{"time NOT NULL", "timetz NOT NULL", "CAST(CASE WHEN i % 2 = 0 THEN '01:00+00' ELSE '13:00-03' END AS timetz) + i % 7 * interval '1 minute'"},
			{"int NOT NULL", "numeric NOT NULL", "i % 7 * 2"},
			{"name NOT NULL", "citext NOT NULL", "CASE WHEN i % 3 = 0 THEN 'x' ELSE 'X' END || i % 7"},
			{"int NOT NULL", "text NOT NULL", "i % 13"},
			{"text NOT NULL", "bigint NOT NULL", "i % 13"},
			{"bigint NOT NULL", "real NOT NULL", "16777210 + i % 13"},
			{"timestamp NOT NULL", "time NOT NULL", "TIMESTAMP '2026-01-01' + i % 13 * INTERVAL '1 hour'"},
			{"timestamp NOT NULL", "timestamptz NOT NULL", "timestamptz '2026-01-01' + i * interval '10 minutes'"},
			{"timestamptz NOT NULL", "timestamp NOT NULL", "timestamp '2026-01-01' + i * interval '10 minutes'"},
			{"timestamptz NOT NULL", "date NOT NULL", "TIMESTAMP '2026-01-01' + i % 13 * INTERVAL '1 day'"},
		},
		keyset.MySQL: {
			{"VARCHAR(9) NOT NULL", "ENUM('open','paid','failed') NOT NULL", "ELT(1 + i MOD 3, 'open', 'paid', 'failed')"},
			{"ENUM('open','paid','failed') NOT NULL", "VARCHAR(9) NOT NULL", "ELT(1 + i MOD 3, 'open', 'paid', 'failed')"},
			{"TIME NOT NULL", "ENUM('open','paid','failed') NOT NULL", "1 + i MOD 3"},
			{"TIME NOT NULL", "SET('open','paid') NOT NULL", "1 + i MOD 3"},
			{"DATETIME NOT NULL", "BIT(48) NOT NULL", "20250101000000 + i MOD 7"},
			{"DECIMAL(10,2) NOT NULL", "VARCHAR(9) NOT NULL", "i MOD 13 * 1.5"},
			{"DECIMAL(10,2) NOT NULL", "DECIMAL(10,4) NOT NULL", "i MOD 7 * 1.1111"},
			{"INT NOT NULL", "VARCHAR(9) NOT NULL", "i MOD 13"},
			{"BIGINT UNSIGNED NOT NULL", "DECIMAL(10,1) NOT NULL", "i MOD 13"},
			{"INT NOT NULL", "ENUM('b','a','d','c') NOT NULL", "1 + i MOD 4"},
			{"VARCHAR(9) NOT NULL", "INT NOT NULL", "i MOD 13"},
			{"INT NOT NULL", "BIT(20) NOT NULL", "i MOD 13"},
			{"DECIMAL(10,2) NOT NULL", "DECIMAL(10,6) NOT NULL", "1 + i * 0.000001"},
		},
		keyset.SQLite: {{"TEXT NOT NULL", "TIMESTAMP NOT NULL", "strftime('%Y-%m-%dT%H:%M:%SZ', 1700000000 + i, 'unixepoch')"}},
	}
	for _, driver := range []string{"pgx", "postgres", "sqlite", "mysql"} {
		d := keyset.Postgres
		switch driver {
		case "postgres":
			db = open(t, driver, dsn)
		case "sqlite":
			d, db, series = keyset.SQLite, openSQLite(t), "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30) SELECT i FROM n) s"
		case "mysql":
			d, db, series = keyset.MySQL, openMariaDB(t), "(SELECT seq AS i FROM seq_1_to_30) s"
		}
		for _, c := range changes[d] {
			fill := func(ddl string) {
				exec(t, db, "DROP TABLE IF EXISTS t", "CREATE TABLE t (id INT PRIMARY KEY, k "+ddl+")", "INSERT INTO t SELECT i, "+c.value+" FROM "+series)
			}
			for _, columns := range [][]string{{"t.id"}, {"t.id", "t.k"}} {
				fill(c.before)
				k, s := asked(t, db, d, keyset.Base{Columns: columns, From: "t"}, keyset.Column[typeRow]{Name: "k", Expr: "t.k"}, keyset.Column[typeRow]{Name: "id", Expr: "t.id", Unique: true})
				bothWays(t, k, s, "k", 30)
				fill(c.after)
				for range 2 { // a type that the result does not show is an error once
					if n, err := byTokens(t, k, s, keyset.Query{Ordering: "-k"}); err == nil {
						require.Equal(t, 30, n, "%v", c)
						break
					}
				}
				bothWays(t, k, s, "k", 30)
			}
		}
	}
	exec(t, db, "DROP TABLE t", "CREATE TABLE t (id INT PRIMARY KEY, k INT NOT NULL)", "INSERT INTO t SELECT seq, seq FROM seq_1_to_5")
	k, s := asked(t, db, keyset.MySQL, keyset.Base{Columns: []string{"t.id"}, From: "t"}, keyset.Column[typeRow]{Name: "k", Expr: "t.k"}, keyset.Column[typeRow]{Name: "id", Expr: "t.id", Unique: true})
	_, err := byTokens(t, k, s, keyset.Query{Ordering: "-k"})
	require.NoError(t, err)
	exec(t, db, "ALTER TABLE t MODIFY k INT", "UPDATE t SET k = NULL WHERE id = 5")
	_, err = byTokens(t, k, s, keyset.Query{Ordering: "-k"})
	require.ErrorContains(t, err, `"k" has a NULL`)
}

// Requests of two tenants, whose tables have other types, run at the same time. The source of
// one asks its database, and meanwhile a request of the other stores other types.
func TestTenantsAtOnce(t *testing.T) {
	t.Parallel()
	var tenants [2]keyset.SQLSource[typeRow]
	var k *keyset.Keyset[typeRow]
	for i, ddl := range []string{"VARCHAR(9)", "ENUM('open','paid','failed')"} {
		db := open(t, "mysql", newMariaDB(t))
		exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY, shop INT NOT NULL, k "+ddl+" NOT NULL, KEY (shop, k, id))",
			"INSERT INTO t SELECT seq, 1, ELT(1 + seq MOD 3, 'open', 'paid', 'failed') FROM seq_1_to_30")
		k, tenants[i] = asked(t, db, keyset.MySQL, keyset.Base{Columns: []string{"t.id"}, From: "t", Where: "t.shop = ?", Args: []any{1}}, keyset.Column[typeRow]{Name: "k", Expr: "t.k"}, byID)
	}
	first, err := k.Page(t.Context(), tenants[0], keyset.Query{Ordering: "k"})
	require.NoError(t, err)
	db, asks := tenants[1].DB, 0
	tenants[1].Query = func(ctx context.Context, query string, args ...any) (keyset.Rows, error) {
		if strings.HasPrefix(query, "EXPLAIN") {
			asks++
			for _, token := range []string{"", first.Next} {
				_, err := k.Page(t.Context(), tenants[0], keyset.Query{Ordering: "k", Token: token})
				require.NoError(t, err)
			}
		}
		return db.QueryContext(ctx, query, args...)
	}
	n, err := byTokens(t, k, tenants[1], keyset.Query{Ordering: "k"})
	require.NoError(t, err)
	assert.Equal(t, 30, n)
	assert.Positive(t, asks)
}

var byID = keyset.Column[typeRow]{Name: "id", Expr: "t.id", Unique: true}

func exec(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		_, err := db.Exec(s)
		require.NoError(t, err, s)
	}
}
