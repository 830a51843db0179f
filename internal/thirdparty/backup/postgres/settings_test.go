package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestOtherSettings restores on a server, and for a role, that write times in another zone.
func TestOtherSettings(t *testing.T) {
	folder := t.TempDir()
	old := testserver.Postgres(t, "-c", "timezone=Europe/Berlin")
	old.CreateDatabase(t, "shop")
	old.Exec(t, "shop", "CREATE TABLE sales (id INT PRIMARY KEY, at TIMESTAMPTZ, spans TSTZRANGE[], paid BYTEA); INSERT INTO sales VALUES (1, now(), ARRAY[tstzrange(now(), NULL)], '\\x00ff'::bytea)")
	run, err := jobIn(t, folder, source(t, old.DSN("shop"), nil), nil).Backup(t.Context())
	require.NoError(t, err)
	fresh := testserver.Postgres(t, "-c", "timezone=Asia/Kathmandu", "-c", "bytea_output=escape")
	fresh.CreateDatabase(t, "other")
	job := jobIn(t, folder, source(t, fresh.DSN("shop"), nil), nil)
	_, err = job.Restore(t.Context(), run.ID, "shop", nil)
	require.NoError(t, err)
	const same = "SET timezone = 'UTC'; SET bytea_output = 'hex'; SELECT * FROM sales"
	assert.Equal(t, old.Exec(t, "shop", same), fresh.Exec(t, "shop", same))
	old.Exec(t, "shop", "ALTER DATABASE shop SET timezone = 'America/St_Johns'; ALTER ROLE ALL SET bytea_output = 'escape'")
	_, err = jobIn(t, folder, source(t, old.DSN("shop"), nil), nil).Restore(t.Context(), run.ID, "copy", nil)
	require.NoError(t, err)
}
