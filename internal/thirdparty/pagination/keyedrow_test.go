package pagination_test

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// A key that is a column of the list is read on its way to the destination, whatever that is.
func TestKeysInColumns(t *testing.T) {
	t.Parallel()
	db := memory(t, "CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT, n INT)")
	for i := range 30 {
		_, err := db.Exec("INSERT INTO t VALUES (?, ?, ?)", i, map[bool]any{true: nil, false: fmt.Sprint(i % 4)}[i%5 == 0], i%3)
		require.NoError(t, err)
	}
	for name, scan := range map[string]func(keyset.Scanner) (pair, error){
		"same types": func(r keyset.Scanner) (x pair, err error) {
			var k *string
			var n int64
			if err = r.Scan(&x.ID, &k, &n); k != nil {
				x.K = *k
			}
			return x, err
		},
		"conversions": func(r keyset.Scanner) (x pair, err error) {
			var k sql.NullString
			var n int16
			var id string
			if err = r.Scan(&id, &k, &n); err == nil {
				x.K = k.String
				_, err = fmt.Sscan(id, &x.ID)
			}
			return x, err
		},
		"raw bytes": func(r keyset.Scanner) (x pair, err error) {
			var k sql.RawBytes
			err = r.Scan(&x.ID, &k, new(any))
			x.K = string(k)
			return x, err
		},
		"without the package": func(r keyset.Scanner) (x pair, err error) {
			var k sql.NullString
			rows := r.(interface{ Unwrap() keyset.Rows }).Unwrap().(*sql.Rows)
			columns, err := rows.Columns()
			if err != nil {
				return x, err
			}
			dest := []any{&x.ID, &k, new(any)}
			for range columns[3:] {
				dest = append(dest, new(any))
			}
			err = rows.Scan(dest...)
			x.K = k.String
			return x, err
		},
	} {
		k, err := keyset.New("t", pagination.Preset{Size: 4, MaxSize: 200}, mustCursors(t), []keyset.Column[pair]{
			{Name: "k", Expr: "t.k", Nullable: true},
			{Name: "again", Expr: "t.k", Nullable: true},
			{Name: "n", Expr: "t.n"},
			{Name: "id", Expr: "t.id", Unique: true},
		}, nil)
		require.NoError(t, err)
		source := pairSource(db, keyset.Base{Columns: []string{"t.id", "t.k", "t.n"}, From: "t"})
		source.Scan = scan
		for _, ordering := range []string{"k", "-n,k", "k,again,-n"} {
			seen := map[int64]bool{}
			for x, err := range k.All(t.Context(), source, &keyset.AllOptions{Ordering: ordering, Batch: 4}) {
				require.NoError(t, err, name)
				require.False(t, seen[x.ID], name)
				seen[x.ID] = true
				if x.ID%5 == 0 {
					require.Empty(t, x.K)
				} else {
					require.Equal(t, fmt.Sprint(x.ID%4), x.K, name)
				}
			}
			assert.Len(t, seen, 30, name)
		}
		_, err = k.Verify(t.Context(), source, nil)
		require.NoError(t, err)
		source.Scan = func(r keyset.Scanner) (x pair, err error) { return x, r.Scan(&x.ID, &x.K, new(any)) }
		_, err = k.Page(t.Context(), source, keyset.Query{Ordering: "k"})
		require.ErrorContains(t, err, "converting NULL to string", name)
	}
}

// A list follows a change of its table, and may be read from many databases.
func TestListOfManyDatabases(t *testing.T) {
	t.Parallel()
	k := pairs(t, "t.k")
	var all []*sql.DB
	for i := range 3 {
		db := memory(t, "CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT)")
		all = append(all, db)
		_, err := db.Exec("INSERT INTO t VALUES (?, 'x')", i)
		require.NoError(t, err)
	}
	for round := range 250 {
		for i, db := range all[round/100:] {
			page, err := k.Page(t.Context(), pairSource(db, keyset.Base{From: "t"}), keyset.Query{})
			require.NoError(t, err)
			require.Equal(t, int64(i+round/100), page.Rows[0].ID)
		}
	}
	source := pairSource(all[2], keyset.Base{From: "t"})
	for _, s := range []string{"DROP TABLE t", "CREATE TABLE t (k TEXT, extra INT, id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES ('y', 1, 7)"} {
		_, err := all[2].Exec(s)
		require.NoError(t, err)
	}
	page, err := k.Page(t.Context(), source, keyset.Query{})
	require.NoError(t, err)
	assert.Equal(t, pair{ID: 7, K: "y"}, page.Rows[0])
	require.NoError(t, all[2].Close())
	_, err = k.Page(t.Context(), source, keyset.Query{})
	require.Error(t, err)
}
