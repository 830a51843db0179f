package mysql

import (
	"context"
	"encoding/hex"

	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// Lock takes GET_LOCK on a connection of its own, under a name that stands for the
// database too, since the server has one set of names for all of them.
func (m *Source) Lock(ctx context.Context, job string) (func() error, error) {
	return server.SessionLock{
		Prepare: []string{"SET SESSION wait_timeout = 604800"},
		Take:    "SELECT GET_LOCK(?, 0)", Give: "SELECT RELEASE_LOCK(?)",
		Key: mysqlLockName(m.target.database, job),
	}.Lock(ctx, m.db, m.opts.QueryTimeout)
}

// mysqlLockName is at most the 64 bytes that are allowed.
func mysqlLockName(database, job string) string {
	return "backup:" + hex.EncodeToString(server.RunKey(database+"\x00"+job))
}
