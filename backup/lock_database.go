package backup

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// RunLocker is a [Source] that lets one run of a job at a time in, from whatever host:
// where several hosts have the same job, one of them backs up. LockRun returns
// [ErrLocked] at once if another one holds the lock. The lock ends with its process.
type RunLocker interface {
	LockRun(ctx context.Context, job string) (unlock func() error, err error)
}

var (
	_ RunLocker = (*Postgres)(nil)
	_ RunLocker = (*MySQL)(nil)
)

// unlockTimeout bounds giving a lock back. The end of the connection does it too.
const unlockTimeout = 10 * time.Second

// errLockLost tells of a lock that was not held to the end of the run.
var errLockLost = errors.New("backup: the database lock was lost during the run, with its connection; another host may have run as well")

// sessionLock is a lock that a session of a database server holds.
type sessionLock struct {
	prepare    []string // keeps the server from ending a session that only waits
	take, give string   // return true, or false or NULL
	key        any
}

// lockConnections is how many connections a run uses at once, that of its lock among
// them.
const lockConnections = 3

// LockRun takes pg_try_advisory_lock on a connection of its own. It needs a session
// that lasts: behind a pooler that hands out connections per transaction, such as
// PgBouncer in that mode, it is no lock between hosts.
func (p *Postgres) LockRun(ctx context.Context, job string) (func() error, error) {
	return sessionLock{
		prepare: []string{"SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"}, // since version 14
		take:    "SELECT pg_try_advisory_lock($1)", give: "SELECT pg_advisory_unlock($1)",
		key: int64(binary.BigEndian.Uint64(runKey(job))), //nolint:gosec // a key is any 64 bits
	}.lock(ctx, p.db, p.opts.QueryTimeout)
}

// LockRun takes GET_LOCK on a connection of its own, under a name that stands for the
// database too, since the server has one set of names for all of them.
func (m *MySQL) LockRun(ctx context.Context, job string) (func() error, error) {
	return sessionLock{
		prepare: []string{"SET SESSION wait_timeout = 604800"},
		take:    "SELECT GET_LOCK(?, 0)", give: "SELECT RELEASE_LOCK(?)",
		key: mysqlLockName(m.target.database, job),
	}.lock(ctx, m.db, m.opts.QueryTimeout)
}

// mysqlLockName is at most the 64 bytes that are allowed.
func mysqlLockName(database, job string) string {
	return "backup:" + hex.EncodeToString(runKey(database+"\x00"+job))
}

// runKey is what stands for a job among the locks of a server: other programs' are
// other numbers and names.
func runKey(job string) []byte {
	sum := sha256.Sum256([]byte("mainstay/backup\x00" + job))
	return sum[:16]
}

// lock holds the lock until unlock, which ends its session: nobody may get it from the
// pool with a lock that is not his.
func (l sessionLock) lock(ctx context.Context, db *sql.DB, timeout time.Duration) (unlock func() error, err error) {
	if n := db.Stats().MaxOpenConnections; n > 0 && n < lockConnections {
		return nil, fmt.Errorf("backup: the *sql.DB allows %d connections at once, and a run needs %d, one of them for its lock: raise SetMaxOpenConns", n, lockConnections)
	}
	asking, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := db.Conn(asking)
	if err != nil {
		return nil, fmt.Errorf("backup: connect to take the database lock: %w", err)
	}
	for _, statement := range l.prepare {
		if _, err := conn.ExecContext(asking, statement); err != nil {
			discard(conn)
			return nil, fmt.Errorf("backup: prepare the database lock: %w", err)
		}
	}
	var got sql.NullBool
	if err := conn.QueryRowContext(asking, l.take, l.key).Scan(&got); err != nil {
		discard(conn)
		return nil, fmt.Errorf("backup: take the database lock: %w", err)
	}
	if !got.Bool {
		discard(conn)
		return nil, ErrLocked
	}
	return func() error {
		defer discard(conn)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockTimeout)
		defer cancel()
		var held sql.NullBool
		if err := conn.QueryRowContext(ctx, l.give, l.key).Scan(&held); err != nil {
			return fmt.Errorf("%w: %w", errLockLost, err)
		}
		if !held.Bool {
			return errLockLost
		}
		return nil
	}, nil
}

// discard closes a connection for good rather than give it back to its pool.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close() // it is closed already
}
