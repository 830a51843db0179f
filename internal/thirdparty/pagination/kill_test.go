package pagination_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// MariaDB goes on with a query when the client leaves. All ends it on the server, also
// where the pool has no other connection.
func TestQueryEndsOnMariaDB(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	server.CreateDatabase(t, "kill")
	watch := open(t, "mysql", server.DSN("kill"))
	for _, s := range []string{"CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_100"} {
		_, err := watch.Exec(s)
		require.NoError(t, err)
	}
	running := func() (n int) {
		require.NoError(t, watch.QueryRow("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%SLEEP(2)%' AND info NOT LIKE '%processlist%'").Scan(&n))
		return n
	}
	k, err := keyset.New("t", pagination.Standard, mustCursors(t), []keyset.Column[int]{{Name: "id", Expr: "id", Unique: true}}, nil)
	require.NoError(t, err)
	for _, connections := range []int{1, 2, 0} {
		t.Run(fmt.Sprint(connections, " connections"), func(t *testing.T) {
			db := open(t, "mysql", server.DSN("kill"))
			db.SetMaxOpenConns(connections)
			source := keyset.SQLSource[int]{
				DB: db, Dialect: keyset.MySQL, Base: keyset.Base{Columns: []string{"id"}, From: "t", Where: "SLEEP(2) = 0 AND id > ?", Args: []any{0}},
				Scan: func(r keyset.Scanner) (id int, err error) { return id, r.Scan(&id) },
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				for _, err := range k.All(ctx, source, &keyset.AllOptions{Batch: 50}) {
					if err != nil {
						ended <- err
						return
					}
				}
				ended <- nil
			}()
			require.Eventually(t, func() bool { return running() == 1 }, 15*time.Second, 20*time.Millisecond)
			cancel()
			require.ErrorIs(t, <-ended, context.Canceled)
			require.Eventually(t, func() bool { return running() == 0 }, 15*time.Second, 20*time.Millisecond, "the query goes on")
			require.NoError(t, db.Ping())
		})
	}
	// A loop may query between the rows, with a pool of one connection.
	db := open(t, "mysql", server.DSN("kill"))
	db.SetMaxOpenConns(1)
	source := keyset.SQLSource[int]{
		DB: db, Dialect: keyset.MySQL, Base: keyset.Base{Columns: []string{"id"}, From: "t"},
		Scan: func(r keyset.Scanner) (id int, err error) { return id, r.Scan(&id) },
	}
	n := 0
	for _, err := range k.All(t.Context(), source, &keyset.AllOptions{Batch: 30}) {
		require.NoError(t, err)
		require.NoError(t, db.PingContext(t.Context()))
		n++
	}
	assert.Equal(t, 100, n)
}

// A snapshot has every row of one state once, though rows move, come and go meanwhile.
func TestSnapshotWalk(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := e.open(t)
			for _, s := range []string{"CREATE TABLE s (id INT PRIMARY KEY, k INT NOT NULL)", "CREATE INDEX s_k ON s (k, id)"} {
				_, err := db.Exec(s)
				require.NoError(t, err)
			}
			for id := range 60 {
				_, err := db.Exec(fmt.Sprintf("INSERT INTO s VALUES (%d, %d)", id, id%20))
				require.NoError(t, err)
			}
			k, err := keyset.New("s", pagination.Standard, mustCursors(t), []keyset.Column[int]{{Name: "k", Expr: "k"}, {Name: "id", Expr: "id", Unique: true}}, nil)
			require.NoError(t, err)
			seen := map[int]int{}
			require.NoError(t, keyset.Snapshot(t.Context(), db, e.dialect, func(tx *sql.Tx) error {
				source := keyset.SQLSource[int]{
					DB: tx, Dialect: e.dialect, Base: keyset.Base{Columns: []string{"id"}, From: "s"},
					Scan: func(r keyset.Scanner) (id int, err error) { return id, r.Scan(&id) },
				}
				i := 0
				for id, err := range k.All(t.Context(), source, &keyset.AllOptions{Ordering: "k", Batch: 7}) {
					if err != nil {
						return err
					}
					seen[id]++
					if i++; i%7 == 0 { // behind, before, new, gone
						for _, s := range []string{"UPDATE s SET k = 100 - k WHERE id = %d", "DELETE FROM s WHERE id = 59 - %d", "INSERT INTO s VALUES (1000 + %d, 50)"} {
							_, err := db.Exec(fmt.Sprintf(s, id))
							if err != nil {
								return err
							}
						}
					}
				}
				return nil
			}))
			assert.Len(t, seen, 60)
			for id, n := range seen {
				assert.Equal(t, 1, n, "row %d", id)
				assert.Less(t, id, 60)
			}
			require.Error(t, keyset.Snapshot(t.Context(), db, keyset.SQLServer, nil))
			require.ErrorIs(t, keyset.Snapshot(t.Context(), db, e.dialect, func(*sql.Tx) error { return context.Canceled }), context.Canceled)
		})
	}
}
