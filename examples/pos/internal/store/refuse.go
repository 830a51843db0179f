package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Away reports whether the database refused a request or could not be reached. It returns true
// for any error that a statement or its values did not cause, and for unknown codes. The caller
// cannot know whether the change was made. The same request may succeed later.
func Away(err error) bool {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	var lite *sqlite.Error
	switch {
	case errors.As(err, &pg):
		return pg.Code == "42501" || !fault(pg.Code) // a missing right, as after a failover to another role
	case errors.As(err, &my):
		return slices.Contains(refusals, my.Number) || !fault(string(my.SQLState[:]))
	case errors.As(err, &lite):
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE:
			return false
		}
		return true
	}
	var network net.Error
	var unsent interface{ SafeToRetry() bool } // pgconn's "conn closed" and the like
	return errors.As(err, &network) || errors.As(err, &unsent) || errors.As(err, new(*pgconn.ConnectError)) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, mysql.ErrBusyBuffer) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

// refusals are temporary errors of MySQL that have the class of a wrong statement: connections
// (1203, 1226), rights (1044, 1142, 1143, 1227), the database during a restore (1049), and
// prepared statements (1461).
var refusals = []uint16{1044, 1049, 1142, 1143, 1203, 1226, 1227, 1461}

// fault reports whether a SQLSTATE means a wrong statement or value, which no retry repairs.
func fault(state string) bool {
	switch state[:min(2, len(state))] {
	case "0A", "21", "22", "23", "34", "42":
		return true
	}
	return false
}

// transient reports whether the database aborted a transaction because of a deadlock or a
// conflict. The caller must retry. A key that another transaction has just taken is such a
// conflict: the next attempt reads the row of that key.
func transient(err error) bool {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	var lite *sqlite.Error
	switch {
	case errors.As(err, &pg):
		return pg.Code == "40001" || pg.Code == "40P01" || pg.Code == "23505"
	case errors.As(err, &my):
		switch my.Number {
		case 1213, 1205, 1020, 1062, 8002, 8022, 9007: // the last three are TiDB's
			return true
		}
		return false
	case errors.As(err, &lite):
		return lite.Code()&0xff == sqlite3.SQLITE_BUSY
	}
	return false
}

// tooMany reports whether the database refused a connection because it has too many.
func tooMany(err error) bool {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	switch {
	case errors.As(err, &pg):
		return pg.Code == "53300" || pg.Code == "53400"
	case errors.As(err, &my):
		return my.Number == 1040 || my.Number == 1203 || my.Number == 1226
	}
	return false
}

// regrow is how long a pool stays smaller after the database refused a connection.
const regrow = 10 * time.Second

// connected runs f, which first gets a connection. If the database has no free connection, the
// pool shrinks to its open connections, and f waits for a free one.
func (s *Store) connected(ctx context.Context, pool *sql.DB, f func() error) error {
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil || !tooMany(err) || ctx.Err() != nil {
			return err
		}
		s.shrink(pool)
		if !pause(ctx, attempt) {
			return err
		}
	}
}

// shrink limits a pool for a while to its open connections, so that callers wait for a free
// one.
func (s *Store) shrink(pool *sql.DB) {
	s.sizing.Lock()
	defer s.sizing.Unlock()
	works := max(1, pool.Stats().OpenConnections)
	if works >= s.size {
		return
	}
	pool.SetMaxOpenConns(works)
	if s.regrow == nil {
		s.regrow = time.AfterFunc(regrow, func() {
			s.sizing.Lock()
			defer s.sizing.Unlock()
			s.regrow = nil
			pool.SetMaxOpenConns(s.size)
		})
	}
}

// serverReason returns one line with the cause of an error and without a password.
func serverReason(err error) string {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	var op *net.OpError
	switch {
	case errors.As(err, &pg):
		return pg.Message
	case errors.As(err, &my):
		return my.Message
	case errors.As(err, &op):
		return op.Err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}
