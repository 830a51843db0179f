package mysql

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// connections is the number of connections that a run uses at once: for the lock, for the
// restore, for the check that reads it back, and for queries about the server.
const connections = 4

// Lock takes GET_LOCK on a separate connection. The name of the lock contains the database,
// because a server has one namespace of locks for all databases.
func (m *Source) Lock(ctx context.Context, job string) (func() error, error) {
	if n := m.db.Stats().MaxOpenConnections; n > 0 && n < connections {
		return nil, fmt.Errorf("backup: the *sql.DB allows %d connections at once, and a run needs %d: raise SetMaxOpenConns", n, connections)
	}
	return server.SessionLock{
		Prepare: []string{"SET SESSION wait_timeout = 604800"},
		Take:    "SELECT GET_LOCK(?, 0)", Give: "SELECT RELEASE_LOCK(?)",
		Key: lockName(m.database, job),
	}.Lock(ctx, m.db, m.opts.QueryTimeout)
}

// lockName returns a name of at most 64 bytes, the limit for a lock.
func lockName(database, job string) string {
	return "backup:" + hex.EncodeToString(server.RunKey(database+"\x00"+job))
}

// waited explains a lock timeout with the sessions that may hold the lock. It uses the
// first system table of the server that lists them.
func (m *Source) waited(ctx context.Context, table string, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, m.opts.QueryTimeout)
	defer cancel()
	var holders []string
	for _, query := range []string{
		`SELECT p.ID, p.USER, p.HOST, p.COMMAND, p.TIME FROM information_schema.METADATA_LOCK_INFO l JOIN information_schema.PROCESSLIST p ON p.ID = l.THREAD_ID
			WHERE l.TABLE_SCHEMA = ? AND l.TABLE_NAME = ? AND p.ID <> CONNECTION_ID()`,
		`SELECT t.PROCESSLIST_ID, t.PROCESSLIST_USER, t.PROCESSLIST_HOST, t.PROCESSLIST_COMMAND, t.PROCESSLIST_TIME
			FROM performance_schema.metadata_locks l JOIN performance_schema.threads t ON t.THREAD_ID = l.OWNER_THREAD_ID
			WHERE l.OBJECT_SCHEMA = ? AND l.OBJECT_NAME = ? AND l.LOCK_STATUS = 'GRANTED' AND t.PROCESSLIST_ID <> CONNECTION_ID()`,
		`SELECT ID, USER, HOST, COMMAND, TIME FROM information_schema.PROCESSLIST
			WHERE DB = ? AND ? <> '' AND ID <> CONNECTION_ID() AND COALESCE(STATE, '') NOT LIKE 'Waiting for %lock%' AND COMMAND NOT IN ('Daemon', 'Binlog Dump')
			ORDER BY TIME DESC LIMIT 5`,
	} {
		err := m.each(ctx, query, func(r []string) {
			holders = append(holders, fmt.Sprintf("%s (%s from %s, %s since %s s)", r[0], r[1], r[2], r[3], r[4]))
		}, m.database, table)
		if err == nil && len(holders) > 0 {
			break
		}
	}
	who := "this account may not see which session holds it: GRANT PROCESS ON *.* to it"
	if len(holders) > 0 {
		who = "it is held by the session " + strings.Join(holders, ", or ") + "; KILL it, or wait for it"
	}
	return fmt.Errorf("backup: the table %s stayed locked for %v: %s: %w", table, m.opts.LockWait.Round(time.Second), who, cause)
}
