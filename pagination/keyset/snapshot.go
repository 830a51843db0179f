package keyset

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Snapshot calls f with a read-only transaction that sees one state of the database, so
// that a walk in it reads every row of that state once: also rows whose sort keys change
// meanwhile. PostgreSQL, MariaDB, MySQL (InnoDB) and SQLite in WAL mode keep the state
// without locks on writers. A long snapshot keeps old row versions alive. Snapshot refuses
// the other dialects.
func Snapshot(ctx context.Context, db *sql.DB, d Dialect, f func(tx *sql.Tx) error) error {
	opts := &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	switch d {
	case Postgres, MySQL:
	case SQLite:
		opts = nil // a transaction of SQLite is a snapshot from its first read on
	default:
		return fmt.Errorf("keyset: Snapshot does not know how %v keeps a state; begin the transaction yourself and set SQLSource.DB to it", d)
	}
	tx, err := db.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	return errors.Join(f(tx), tx.Rollback())
}

// pin gives a walk a connection of its own on MariaDB and MySQL, whose servers go on with
// a query when the client leaves. The query is killed there when ctx ends.
func (s SQLSource[T]) pin(ctx context.Context) (Seeker[T], func(), error) {
	db, ok := s.DB.(*sql.DB)
	if !ok || s.Dialect != MySQL || s.Query != nil || db.Stats().MaxOpenConnections == 1 {
		return s, func() {}, nil
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	s.DB = conn
	id, err := s.scalar(ctx, "SELECT CONNECTION_ID()", nil)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		// The connection may be gone already, and nothing waits for the result.
		_, _ = db.ExecContext(kill, fmt.Sprintf("KILL CONNECTION %d", id))
	})
	return s, func() {
		if !stop() {
			<-done
		}
		conn.Close()
	}, nil
}
