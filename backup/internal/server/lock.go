// Package server contains code for all sources of database servers: locks, names,
// connections.
package server

import (
	"context"
	"crypto/sha256"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// unlockTimeout is the time limit for releasing a lock. The end of the connection also
// releases it.
const unlockTimeout = 10 * time.Second

// errLockLost means that a lock was lost before the end of the run.
var errLockLost = errors.New("backup: the database lock was lost during the run, with its connection; another host may have run as well")

// SessionLock is a lock that a session of a database server holds.
type SessionLock struct {
	Prepare    []string // prevents the server from ending an idle session
	Take, Give string   // return true, or false or NULL
	Key        any
}

// lockConnections is the number of connections that a run uses at once, including the one
// for its lock.
const lockConnections = 3

// RunKey identifies a job among the locks of a server. Locks of other programs have other
// numbers and names.
func RunKey(job string) []byte {
	sum := sha256.Sum256([]byte("mainstay/backup\x00" + job))
	return sum[:16]
}

// Lock holds the lock until unlock, which ends its session. The session never returns to
// the pool, because another user of the pool would then hold the lock.
func (l SessionLock) Lock(ctx context.Context, db *sql.DB, timeout time.Duration) (unlock func() error, err error) {
	if n := db.Stats().MaxOpenConnections; n > 0 && n < lockConnections {
		return nil, fmt.Errorf("backup: the *sql.DB allows %d connections at once, and a run needs %d, one of them for its lock: raise SetMaxOpenConns", n, lockConnections)
	}
	asking, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := Conn(asking, db)
	if err != nil {
		return nil, fmt.Errorf("backup: connect to take the database lock: %w", err)
	}
	for _, statement := range l.Prepare {
		if _, err := conn.ExecContext(asking, statement); err != nil {
			Discard(conn)
			return nil, fmt.Errorf("backup: prepare the database lock: %w", err)
		}
	}
	var got sql.NullBool
	if err := conn.QueryRowContext(asking, l.Take, l.Key).Scan(&got); err != nil {
		Discard(conn)
		return nil, fmt.Errorf("backup: take the database lock: %w", err)
	}
	if !got.Bool {
		Discard(conn)
		return nil, driver.ErrLocked
	}
	return func() error {
		defer Discard(conn)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockTimeout)
		defer cancel()
		var held sql.NullBool
		if err := conn.QueryRowContext(ctx, l.Give, l.Key).Scan(&held); err != nil {
			return fmt.Errorf("%w: %w", errLockLost, err)
		}
		if !held.Bool {
			return errLockLost
		}
		return nil
	}, nil
}

// Discard closes a connection instead of returning it to its pool.
func Discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return sqldriver.ErrBadConn })
	_ = conn.Close() // it is closed already
}
