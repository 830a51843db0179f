package mysql_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestComposedStatements: a routine that puts a statement together may still change the
// original. A restore under another name says so, and one over the original does not.
func TestComposedStatements(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	load(t, server, "shop", `CREATE TABLE t (id INT);
		CREATE PROCEDURE add_one() EXECUTE IMMEDIATE CONCAT('INSERT INTO sh', 'op.t VALUES (1)');
		CREATE PROCEDURE plain() EXECUTE IMMEDIATE 'INSERT INTO t VALUES (2)';`)
	job := jobOf(t, sourceOf(t, server, "shop", nil), nil)
	report, err := job.Backup(t.Context())
	require.NoError(t, err)
	beside, err := job.Restore(t.Context(), report.ID, "copy", nil)
	require.NoError(t, err)
	warnings := strings.Join(beside.Contents.Warnings, "\n")
	assert.Contains(t, warnings, "may still name the database shop: read them before they run: routine add_one")
	assert.NotContains(t, warnings, "plain")
	server.Exec(t, "CALL copy.add_one()")
	assert.Equal(t, "1\n", server.Exec(t, "SELECT COUNT(*) FROM shop.t"), "the warning is true")
	over, err := job.RestoreOver(t.Context(), report.ID, "shop", nil)
	require.NoError(t, err)
	assert.NotContains(t, strings.Join(over.Contents.Warnings, "\n"), "add_one")
}
