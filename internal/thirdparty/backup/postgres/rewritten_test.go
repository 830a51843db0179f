package postgres_test

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestRewrittenTable begins a dump while a transaction replaces all rows of a table. The
// snapshot of the dump finds neither the old rows nor the new ones.
func TestRewrittenTable(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	server.Exec(t, "shop", "CREATE TABLE totals (day int); INSERT INTO totals VALUES (1), (2)")
	p := source(t, server.DSN("shop"), nil)
	for _, change := range []string{"TRUNCATE totals; INSERT INTO totals VALUES (3), (4)", "ALTER TABLE totals ALTER day TYPE bigint"} {
		nightly, err := connect(t, server.DSN("shop")).BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = nightly.ExecContext(t.Context(), change)
		require.NoError(t, err)
		outcome := make(chan error, 1)
		go func() {
			_, err := p.Dump(t.Context(), io.Discard)
			outcome <- err
		}()
		require.Eventually(t, func() bool {
			return server.Exec(t, "", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pg_dump %' AND wait_event_type = 'Lock'") == "1\n"
		}, time.Minute, 10*time.Millisecond)
		require.NoError(t, nightly.Commit())
		err = <-outcome
		require.ErrorIs(t, err, driver.ErrTransient, change)
		require.ErrorContains(t, err, "may find no rows in public.totals")
		_, got := dumped(t, p)
		assert.EqualValues(t, 2, got.Tables[0].Rows)
	}
}
