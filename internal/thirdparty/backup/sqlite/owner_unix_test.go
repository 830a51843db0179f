//go:build unix

package sqlite_test

import (
	"bytes"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/sqlite"
)

// TestOverwriteKeepsTheOwner restores over a file that belongs to the account of a service.
func TestOverwriteKeepsTheOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a file to another account")
	}
	db, path := open(t, "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	require.NoError(t, os.Chown(path, 65534, 65533))
	source := sqlite.New(db)
	var dump bytes.Buffer
	want, err := source.Dump(t.Context(), &dump)
	require.NoError(t, err)
	got, err := source.Overwrite(t.Context(), &dump, driver.RestoreOptions{Want: want})
	require.NoError(t, err)
	require.Empty(t, got.Warnings)
	info, err := os.Stat(path)
	require.NoError(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	require.Equal(t, [2]uint32{65534, 65533}, [2]uint32{stat.Uid, stat.Gid})
}
