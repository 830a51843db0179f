package keyset

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Snapshot calls f with a read-only transaction that reads one state of the database. A
// walk in it reads every row of that state once, even if the sort keys of a row change
// during the walk. PostgreSQL, MariaDB, MySQL (InnoDB) and SQLite in WAL mode keep the
// state without locks on writers. A long snapshot keeps old row versions alive. Snapshot
// rejects the other dialects.
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

// killable returns the source on its own connection. It is for MariaDB and MySQL, whose
// servers continue a query when the client disconnects. The query is killed when ctx ends.
func (s SQLSource[T]) killable(ctx context.Context) (SQLSource[T], func(), error) {
	db, ok := s.DB.(interface {
		Conn(ctx context.Context) (*sql.Conn, error)
	})
	if !ok || s.Dialect != MySQL || s.Query != nil {
		return s, func() {}, nil
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return s, nil, err
	}
	s.DB = conn
	id, err := s.scalar(ctx, "SELECT CONNECTION_ID()", nil)
	if err != nil {
		return s, nil, errors.Join(err, conn.Close())
	}
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(killed)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		// The pool may have to wait for the connection that ends here, see below.
		if other, err := db.Conn(ctx); err == nil {
			_, _ = other.ExecContext(ctx, fmt.Sprintf("KILL CONNECTION %d", id)) // it may have ended already
			other.Close()
		}
	})
	return s, func() {
		ended := !stop()
		conn.Close()
		if ended {
			<-killed
		}
	}, nil
}
